"""Computes once what a network would compute anew at every run from its weights alone: normalised kernels, sums of tables.

Not for a network that shall train on, so it is done only when asked for, with the folding of batch norms. The arithmetic
is done in float64 and rounded once.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..graph import Graph, Node, Parameter, Rewrite, Value
from ..numeric import is_float, rounded


def store_computed(graph: Graph) -> Graph:
    """The graph in which every value that depends on weights and constants alone is a weight; and a note of how many."""
    wide: dict[int, np.ndarray] = {}
    counted: dict[int, int] = {}  # numbers that a value is computed from; the source rounds between, this does not
    rewrite, count, ends = Rewrite(graph), 0, {id(v) for v in graph.outputs}
    for node in graph.nodes:
        results = None if any(v in ends for v in map(id, node.outputs)) else _computed(node, wide)
        if results is None:
            rewrite.copy(node)
            continue
        count += 1
        for value, result in zip(node.outputs, results, strict=True):
            wide[id(value)] = result
            array = rounded(result, value.dtype) if is_float(value.dtype) else result.astype(value.dtype)
            terms = sum(v.const.array().size for v in node.inputs if v is not None and v.const is not None)
            terms += sum(counted.get(id(v), 0) for v in node.inputs)
            counted[id(value)] = terms
            summed = (terms, np.abs(array)) if is_float(value.dtype) else None
            made = Parameter(
                node.name or value.name,
                array.shape,
                array.dtype,
                partial(np.asarray, array),
                array,
                home="layer",
                summed=summed,
            )
            rewrite.put(value, rewrite.new.parameter(made))
    done = rewrite.finish()
    if count:
        done.notes.append(
            f"computed once from weights, which do not train as before: {count} operator{'s' * (count != 1)}"
        )
    return done


def _computed(node: Node, wide: dict[int, np.ndarray]) -> list[np.ndarray] | None:
    """What a node gives, in float64 where it is a float; None where it reads data, holds graphs or draws."""
    inputs: list[Any] = []
    for value in node.inputs:
        if value is not None and value.const is None and id(value) not in wide:
            return None
        inputs.append(None if value is None else wide[id(value)] if id(value) in wide else _wide(value))
    steady = node.op.deterministic and node.op.folds and not node.op.open and not node.op.bodies
    if (
        not steady
        or not inputs
        or not all(v.dtype.kind in "fViub" and all(isinstance(d, int) for d in v.shape) for v in node.outputs)
    ):
        return None
    with np.errstate(all="ignore"):
        results = node.op.reference(*inputs)
    found = list(results) if isinstance(results, tuple) else [results]
    return [np.asarray(r) for r in found]


def _wide(value: Value) -> np.ndarray:
    array = value.array()
    return array.astype(np.float64) if is_float(value.dtype) else array
