"""Runs a graph on numpy references, and knows where a run reads each size.

Sizes are dimensions of the graph's inputs, or of the first result that has them: those are told by the run itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .kinds import Optional
from .sizes import Shape, Size, evaluate, name_of, symbols

if TYPE_CHECKING:
    from .graph import Graph, Node, Value
    from .op import Op


def bind(shapes: Iterable[Shape], arrays: Iterable[np.ndarray], sizes: dict[str, int] | None = None) -> dict[str, int]:
    """The value of every symbol that stands alone as a dimension of one of several arrays, added to `sizes`."""
    sizes = {} if sizes is None else sizes
    for shape, array in zip(shapes, arrays, strict=True):
        for dim, size in zip(shape, np.shape(array) if shape else (), strict=True):
            if name := name_of(dim):
                sizes.setdefault(name, size)
    return sizes


def measures(graph: Graph) -> dict[str, tuple[Value, int]]:
    """Where a run reads each size: the first value that has it as a dimension, and the axis; inputs before results."""
    found: dict[str, tuple[Value, int]] = {}
    for value in (*graph.inputs, *(v for node in graph.nodes for v in node.outputs)):
        for axis, dim in enumerate(value.shape):
            if name := name_of(dim):
                found.setdefault(name, (value, axis))
    return found


def settings(node: Node) -> tuple[Any, ...]:
    """Everything about a node that may depend on sizes: its operator's fields, and operands that are sizes."""
    fields = (getattr(node.op, f.name) for f in dataclasses.fields(node.op))  # type: ignore[arg-type]
    return (*fields, *(tuple(v.sizes.reshape(-1)) for v in node.inputs if v is not None and v.sizes is not None))


def sources(graph: Graph) -> Callable[[Node], list[Value]]:
    """By node: its operands, and the values whose measured sizes it reads."""
    of_size = {name: value for name, (value, _) in measures(graph).items() if name[0] == "?" and value.node is not None}

    def found(node: Node) -> list[Value]:
        operands = [v for v in node.inputs if v is not None]
        if of_size:
            operands += [of_size[s] for s in sorted(_inner_symbols(node)) if s in of_size and of_size[s].node is not node]
        return operands

    return found


def _inner_symbols(node: Node) -> set[str]:
    from .op import Op

    def of(part: Any) -> set[str]:
        return set().union(*(of(getattr(part, f.name)) for f in dataclasses.fields(part))) if isinstance(part, Op) else symbols(part)

    return set().union(*map(of, settings(node)))


def interpret(
    graph: Graph,
    arrays: Iterable[np.ndarray],
    *,
    watch: Callable[[Value, np.ndarray], Any] | None = None,
    dtype: Any = None,
    compute: Callable[[Op, list[Any]], Any] | None = None,
    sizes: dict[str, int] | None = None,
) -> list[np.ndarray]:
    """Run a graph on numpy references. `dtype` replaces every floating dtype (float64 for the exact-enough run).

    compute: gives an operator's results in another way than its reference. sizes: receives what every symbol is, those
    included that only the run tells. Raises ValueError where an array does not fit an input.
    """
    arrays = [a if a is None or isinstance(a, list) else np.asarray(a) for a in arrays]
    for value, array in zip(graph.inputs, arrays, strict=True):
        check_fits(value, array)
    sizes = bind((v.shape for v in graph.inputs), arrays, sizes)

    def widen(array: Any) -> Any:
        if isinstance(array, list):
            return [widen(a) for a in array]
        if array is None:
            return None
        return array.astype(dtype) if dtype and array.dtype.kind in "fV" else array

    env = {id(v): widen(a) for v, a in zip(graph.inputs, arrays, strict=True)}
    last = {id(v): i for i, n in enumerate(graph.nodes) for v in n.inputs if v is not None}
    kept = {id(v) for v in graph.outputs}

    def read(value: Value | None) -> Any:
        if value is None:
            return None
        if value.const is not None:
            return widen(value.const.array())
        if value.sizes is not None and id(value) not in env:
            return np.asarray(evaluate(value.sizes.tolist(), sizes), dtype=value.dtype)
        return env[id(value)]

    for position, node in enumerate(graph.nodes):
        op, operands = node.op.bound(sizes), [read(v) for v in node.inputs]
        results = op.reference(*operands) if compute is None else compute(op, operands)
        for value, array in zip(node.outputs, results if isinstance(results, tuple) else (results,), strict=True):
            replaced = watch(value, array) if watch else None
            env[id(value)] = array if replaced is None else replaced
            if any(isinstance(d, Size) for d in value.shape):
                bind([value.shape], [array], sizes)
        for operand in node.inputs:
            if operand is not None and last[id(operand)] == position and id(operand) not in kept:
                env.pop(id(operand), None)
    return [read(v) for v in graph.outputs]


def check_fits(value: Value, array: np.ndarray) -> None:
    """Raise ValueError where an array does not have an input's rank or fixed sizes."""
    if value.dtype.kind == "L":
        if isinstance(array, np.ndarray) and not isinstance(value.dtype, Optional):
            raise ValueError(f"input {value.name!r} takes a {value.dtype}, received an array")
        return
    if not isinstance(array, np.ndarray):
        raise ValueError(f"input {value.name!r} takes an array, received {'nothing' if array is None else 'a sequence'}")
    fits = array.ndim == value.rank and all(
        isinstance(d, Size) or d == s for d, s in zip(value.shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join(map(str, value.shape))
        raise ValueError(f"input {value.name!r} takes shape ({wanted}), received {array.shape}")
