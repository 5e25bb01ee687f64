"""How ONNX spells branches and loops: If, Loop, Scan as of opset 9, and Scan-8 over a batch."""

import contextlib
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, agree, imports, kinds, symbol, tells_sizes
from .control import FOREVER, If, Loop, Scan
from .join import Concat
from .optional import Optional

ONE_KIND = "a value has one rank and one type, whichever way it is computed"
SHORT = 64  # times that a loop is written out


@imports("onnx", "If")
def if_from_onnx(node, condition):
    known, branches = condition.content(), (node.then_branch, node.else_branch)
    if known is not None:  # one branch is all that ever runs
        return node.inlined(branches[0 if np.all(known) else 1])
    then, other = (node.read_body(branch, []) for branch in branches)
    for index, (one, two) in enumerate(zip(then.outputs, other.outputs, strict=True)):
        kind = kinds.joined(one.dtype, two.dtype)
        if kind is None or one.rank != two.rank:
            raise node.refused("an If whose branches differ in rank or type", why=ONE_KIND)
        then.outputs[index], other.outputs[index] = as_kind(one, kind), as_kind(two, kind)
    (then, other), captured = node.closed(then, other)
    return If(label=node.label, then=then, other=other)(condition.reshape(), *captured)


@imports("onnx", "Loop")
def loop_from_onnx(node, trips, condition, *carried):
    trips = node.graph.constant(FOREVER, np.int64) if trips is None else trips.reshape()
    condition = node.graph.constant(True) if condition is None else condition.reshape()
    count, begins = trips.content(), condition.content()
    short = isinstance(count, int) and begins is True and 0 < count <= SHORT
    try:
        body, given = carried_body(node, carried)
        if short and tells_sizes(body):
            with contextlib.suppress(Refused):
                return written_out(node, count, carried)
        (body,), captured = node.closed(body)
    except Refused:
        if not short:  # written out, every round knows its number
            raise
        return written_out(node, count, carried)
    loop = Loop(label=node.label, carried=len(carried), body=body)
    if count == FOREVER and begins is True and loop.endless:
        raise node.refused("a Loop without an end", why="nothing stops it")
    return loop(trips, condition, *map(as_kind, carried, given), *captured)


def as_kind(value: Value, kind: Any) -> Value:
    """A value as an optional, where that is what holds it."""
    return Optional(kind=None)(value) if isinstance(kind, kinds.Optional) and not isinstance(value.dtype, kinds.Optional) else value


def carried_body(node, carried):
    """The body of a Loop, read until shapes and kinds of its carried values hold for every round; those kinds."""
    before = [(v.shape, v.dtype) for v in carried]
    while True:
        body = node.read_body(node.body, [((), np.dtype(np.int64)), ((), np.dtype(bool)), *before])
        after = []
        for index, ((shape, dtype), value) in enumerate(zip(before, body.outputs[1:], strict=False)):
            kind = kinds.joined(dtype, value.dtype)
            if kind is None or value.rank != len(shape):
                raise node.refused("a Loop whose carried value changes its rank or type", why=ONE_KIND)
            dims = enumerate(zip(shape, value.shape, strict=True))
            after.append((tuple(a if agree(a, b) else symbol(f"{node.label}_{index}_{axis}") for axis, (a, b) in dims), kind))
        if after == before:
            outputs = zip(body.outputs[1:], (kind for _, kind in after), strict=False)
            body.outputs[: 1 + len(after)] = [body.outputs[0].reshape(), *(as_kind(v, kind) for v, kind in outputs)]
            return body, [kind for _, kind in after]
        before = after


def written_out(node, count, carried):
    """A short Loop that no condition ends, round after round."""
    graph = node.graph
    rows = []
    for step in range(count):
        going, *results = node.inlined(node.body, [graph.constant(step, np.int64), graph.constant(True), *carried], str(step))
        if going.content() is not True:
            raise node.refused("a Loop with a condition, and sizes that differ from round to round", why="its end is not known")
        carried = results[: len(carried)]
        rows.append(results[len(carried) :])
    stacks = [Concat(axis=0)(*(r.reshape(1, *r.shape) for r in row)) for row in zip(*rows, strict=True)]
    return (*carried, *stacks)


@imports("onnx", "Scan", since=9)
def scan_from_onnx(node, *operands):
    lists = node.num_scan_inputs
    states, places = operands[: len(operands) - lists], operands[len(operands) - lists :]
    axes = [a % x.rank for a, x in zip(node.scan_input_axes or [0] * lists, places, strict=True)]
    kinds = [(v.shape, v.dtype) for v in states]
    kinds += [((*x.shape[:a], *x.shape[a + 1 :]), x.dtype) for x, a in zip(places, axes, strict=True)]
    body = node.read_body(node.body, kinds)
    for state, result in zip(states, body.outputs, strict=False):
        if result.dtype != state.dtype or not agree(result.shape, state.shape):
            raise node.refused("a Scan whose state changes its shape or type", why="ONNX wants it to keep them")
    rows = body.outputs[len(states) :]
    result_axes = [a % (v.rank + 1) for a, v in zip(node.scan_output_axes or [0] * len(rows), rows, strict=True)]
    (body,), captured = node.closed(body)
    return Scan(
        label=node.label,
        states=len(states),
        axes=tuple(axes),
        backwards=tuple(map(bool, node.scan_input_directions or [0] * lists)),
        result_axes=tuple(result_axes),
        result_backwards=tuple(map(bool, node.scan_output_directions or [0] * len(rows))),
        body=body,
    )(*operands, *captured)


@imports("onnx", "Scan")
def batched_scan_from_onnx(node, lengths, *operands):
    """Scan-8 runs once for each entry of a batch, axis 0 of everything: a Scan over the batch of a Scan."""
    if lengths is not None:
        raise node.refused("a Scan with sequence lengths", why="entries of one batch would have different sizes")
    lists = node.num_scan_inputs
    states = len(operands) - lists
    inner = node.read_body(node.body, [(x.shape[1:] if i < states else x.shape[2:], x.dtype) for i, x in enumerate(operands)])
    backwards = tuple(map(bool, node.directions or [0] * lists))
    (inner,), captured = node.closed(inner)
    rows = len(inner.outputs) - states
    scan = Scan(
        label=f"{node.label}_entry",
        states=states,
        axes=(0,) * lists,
        backwards=backwards,
        result_axes=(0,) * rows,
        result_backwards=(False,) * rows,
        body=inner,
    )
    body = node.composed([(x.shape[1:], x.dtype) for x in operands], captured, scan)
    count = len(operands)
    return Scan(
        label=node.label,
        states=0,
        axes=(0,) * count,
        backwards=(False,) * count,
        result_axes=(0,) * len(body.outputs),
        result_backwards=(False,) * len(body.outputs),
        body=body,
    )(*operands, *captured)
