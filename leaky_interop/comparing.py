"""Verifies two models that someone made: aligns their graphs by structure, then compares value by value."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from . import frameworks
from .alignment import Pairs, align, align_weights, known, output_order
from .draws import example_arrays
from .errors import Usage
from .graph import Graph, Value, consumers
from .judging import rule_of
from .layout import identity, to_first, to_last
from .loading import load, open_model
from .ops.math import Add, Mul
from .ops.shape import Reshape
from .ops.transpose import Transpose
from .report.record import Report
from .reproducer import reproducing
from .running import to_array
from .sizes import Size, agree, symbol, symbols
from .stages import stage
from .verification import Comparison, Pair, Verification

MOST_AXES = 6  # whose orders are tried


def verify(
    a: Any,
    b: Any,
    inputs: Any = None,
    *,
    example: Any = None,
    input_shapes: Any = None,
    weights: Any = None,
    fast_math: bool = False,
    gradients: bool = False,
    steps: int = 10,
    atol: Any = None,
    rtol: Any = None,
    reproducer: str | os.PathLike[str] | None = None,
    allow_root: str | os.PathLike[str] | None = None,
    trust: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    signature: str | None = None,
) -> Report:
    """Whether `b` computes what `a` computes.

    Parameters
    ----------
    a, b : models, paths or "package.module:factory", of one framework or of two
    inputs : arrays in the order and layout of a's inputs, or a dict by name; by default seeded random ones
    example, input_shapes : as for `load`, where a model needs them; in a's layout
    weights : weights file for a factory
    fast_math, allow_root, trust, custom_objects, signature : as for `load`, for both models
    gradients : also whether both learn alike: gradients of a seeded loss with respect to every input and trainable
        weight, at inference and in training mode (dropout off), and the weights after `steps` steps of descent
    atol, rtol : tolerances of the outputs, numbers or dicts by output name, instead of the derived ones
    reproducer : a folder to write the first node that differs to, as a model of its own with its inputs

    Returns a Report; `report.passed` is the answer and `report.first_difference` where it fails.
    """
    like = example if example is not None else inputs
    stage("load")
    opening: Any = {"weights": weights, "allow_root": allow_root, "trust": trust, "custom_objects": custom_objects}
    opening["signature"] = signature
    first = load(a, like, input_shapes, fast_math=fast_math, **opening)
    second = load_second(first, open_model(b, **opening), like, input_shapes, fast_math)
    first.notes += [note for note in second.notes if note not in first.notes]
    stage("verify")
    comparison = compare_graphs(first, second)
    with reproducing(reproducer) as evidence:
        report = _judged(comparison, inputs, atol, rtol)
        if not report.passed and evidence is not None:
            report = Verification(comparison, inputs, atol=atol, rtol=rtol, evidence=evidence).report()
    if not gradients:
        return report
    from .training import compare_training

    stage("gradients")
    aligned = align_weights(first, second, numbers=True)
    found, notes = compare_training(comparison, second, aligned, steps)
    return dataclasses.replace(report, gradients=tuple(found), notes=(*report.notes, *notes))


def _judged(comparison: Comparison, inputs: Any, atol: Any, rtol: Any) -> Report:
    """The report of a comparison; where only unlike parts of one sum differ, that of the whole, which names them."""
    run = Verification(comparison, inputs, atol=atol, rtol=rtol)
    report = again = run.report()
    while not again.passed and (fewer := _without_parts(run)) is not None:
        run = Verification(fewer, inputs)  # whatever the user allows, the whole has to agree
        again = run.report()
    if report.passed or not again.passed:
        return report
    judged = {node.name for node in again.nodes}
    parts = ", ".join(node.name for node in report.nodes if node.name not in judged)
    note = f"{parts}: compared with what follows, since the other network computes it in other parts"
    return dataclasses.replace(again, notes=(*again.notes, note))


def _without_parts(run: Verification) -> Comparison | None:
    """The comparison without the pairs that differ, where those may be unlike parts of what is the same as a whole.

    Two networks of two authors may put a sum together in other ways (a batch norm within the convolution, a mean scaled
    behind the pool), or hold values in another layout. Alignment cannot tell, so what differs is judged again with what
    follows. Only sums, products, reshapes and what is one operator in two layouts are left out: whatever is exact by
    itself, the ReLU family first of all, differs or does not. None where there is no such part, or outputs differ too.
    """
    if not all(output.passed for output in run.outputs):
        return None
    order = {id(n): i for i, n in enumerate(run.graph.nodes)}
    failed = {place for place, result in run.results.items() if not result.passed}
    parts = [p for p in run.c.pairs if isinstance(p.node.op, Reshape | Add | Mul) or rule_of(p.node) == "sum" or _turned_apart(p)]
    left_out = {id(p) for p in parts if (order[id(p.node)], p.value.index) in failed}
    return dataclasses.replace(run.c, pairs=[p for p in run.c.pairs if id(p) not in left_out]) if left_out else None


def _turned_apart(pair: Pair) -> bool:
    """Whether both nodes may do one job in two layouts: axes of one size do not tell which.

    One that works alike in every layout tells nothing unless it rounds: then it was judged by numbers of another place.
    """
    op, inputs = pair.node.op, pair.node.inputs
    rank = inputs[0].rank if inputs and inputs[0] is not None else 0
    if pair.other is None or rank > MOST_AXES:
        return False
    moved = {perm: op.under(perm, inputs) for perm in itertools.permutations(range(rank))}
    forms = {m.op for m in moved.values() if m is not None} | {op}
    everywhere = len(forms) == 1 and None not in moved.values()
    return pair.other.op in forms and not (everywhere and rule_of(pair.node) == "exact")


def load_second(first: Graph, model: Any, example: Any, input_shapes: Any, fast_math: bool = False) -> Graph:
    """The second model's graph; one that needs an example gets the first one's inputs, in either layout if need be."""
    if frameworks.get(frameworks.of(model) or "").knows_inputs(model):
        return load(model, fast_math=fast_math)
    if example is None:
        example = tuple(example_arrays(first, batch=2))
    failure: Usage | None = None
    for perm in (identity, to_first, to_last):
        try:
            shapes = input_shapes if perm is identity else None
            return load(model, _turned_example(example, perm), shapes, fast_math=fast_math)
        except Usage as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _turned_example(example: Any, perm: Any) -> Any:
    """Every array of an example, nested or not, its axes turned where it has three or more."""
    if isinstance(example, dict):
        return {k: _turned_example(v, perm) for k, v in example.items()}
    if isinstance(example, list | tuple):
        return type(example)(_turned_example(v, perm) for v in example)
    array = to_array(example)
    return np.ascontiguousarray(array.transpose(perm(array.ndim))) if array.ndim > 2 else array


def compare_graphs(first: Graph, second: Graph, aligned: Pairs | None = None) -> Comparison:
    """Two loaded graphs as one comparison on the first's nodes; `aligned` are nodes that do the same work."""
    for what, ours, theirs in (("input", first.inputs, second.inputs), ("output", first.outputs, second.outputs)):
        if len(ours) != len(theirs):
            raise Usage(f"one model has {len(ours)} {what}s, the other {len(theirs)}", why="they cannot be compared")
    turns = [_turn(v, w, *_layouts(first, v, second, w, inputs=True)) for v, w in zip(first.inputs, second.inputs, strict=True)]
    order = output_order(first, second)
    ends = [second.outputs[i] for i in order]
    back = [_turn(v, w, *_layouts(first, v, second, w, inputs=False)) for v, w in zip(first.outputs, ends, strict=True)]
    fixed = _fixed(first, second, turns)
    aligned = align(first, second, sizes=fixed) if aligned is None else aligned
    for mine, other in aligned:
        mine.roundings = max(mine.roundings, other.roundings)
    pairs = [
        Pair(mine, value, received.anchor, other)
        for mine, other in aligned
        for value, received in zip(mine.outputs, other.outputs, strict=False)
        if value.anchor is not None and received.anchor is not None and value.dtype == received.dtype
        and known(value, fixed[0]) == known(received, fixed[1])  # one network may have the batch on another axis inside
    ]
    none: list[Any] = [None] * len(first.inputs)
    return Comparison(
        first, first.program, second.program, second.framework, first.description, second.description, pairs,
        to_target=turns, to_graph=none, from_source=back, fixed=fixed[0], order=order,
    )  # fmt: skip


def _fixed(first: Graph, second: Graph, turns: Sequence[Any]) -> tuple[dict[str, int], dict[str, int]]:
    """The sizes that one network leaves open and the other fixes, by name: the first's, and the second's."""
    found: tuple[dict[str, int], dict[str, int]] = {}, {}
    for v, w, perm in zip(first.inputs, second.inputs, turns, strict=True):
        dims = v.shape if perm is None else tuple(v.shape[p] for p in perm)
        for pair in zip(dims, w.shape, strict=False):
            for sizes, dim, other in zip(found, pair, reversed(pair), strict=True):
                if isinstance(dim, Size) and isinstance(other, int) and dim == symbol(name := min(symbols(dim))):
                    sizes[name] = other
    return found


def _layouts(first: Graph, v: Value, second: Graph, w: Value, *, inputs: bool) -> tuple[bool, bool]:
    """Whether the port is channels-last in each graph, as the transposes at it tell."""
    return tuple(_turned_at(g, port, inputs) for g, port in ((first, v), (second, w)))  # type: ignore[return-value]


def _turned_at(graph: Graph, port: Value, inputs: bool) -> bool:
    if port.rank < 3:
        return False
    if not inputs:
        return port.node is not None and port.node.op == Transpose(perm=to_last(port.rank))
    users = consumers(graph).get(id(port), [])
    return bool(users) and all(n is not None and n.op == Transpose(perm=to_first(port.rank)) for n in users)


def _turn(v: Value, w: Value, last_in_first: bool, last_in_second: bool) -> tuple[int, ...] | None:
    """The permutation from the first's port to the second's. Raises Usage where no layout makes the shapes fit."""
    if v.rank != w.rank:
        raise Usage(f"{v.name!r} has {v.rank} axes in one model and {w.rank} in the other")
    same = _fits(v.shape, w.shape)
    for wanted, perm in ((last_in_first, to_first(v.rank)), (last_in_second, to_last(v.rank))) if v.rank > 2 else ():
        turned = _fits(tuple(v.shape[p] for p in perm), w.shape)
        if turned and (not same or (wanted and last_in_first != last_in_second)):
            return perm
    if not same:
        shapes = " and ".join(f"({', '.join(map(str, x.shape))})" for x in (v, w))
        raise Usage(f"{v.name!r} has shapes {shapes}", why="no layout makes them the same")
    return None


def _fits(a: Any, b: Any) -> bool:
    return all(isinstance(x, Size) or isinstance(y, Size) or agree(x, y) for x, y in zip(a, b, strict=True))

