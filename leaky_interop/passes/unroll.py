"""Writes branches and loops out as plain operators, for targets that hold none. Computes the same.

Of a branch both sides are computed and one is picked, element by element: only where neither can fail on what is meant
for the other. A loop is written out round after round where their number is known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from ..bodies import inline, tells_sizes
from ..graph import Graph, Node, Rewrite, Value, inherit
from ..op import Op, agree
from ..ops.compare import Where
from ..ops.control import If, Loop, Scan
from ..ops.gather import Gather, GatherElements, GatherND
from ..ops.index import Select
from ..ops.join import Concat
from ..ops.scatter import Scatter
from ..ops.sequence import members
from ..ops.shape import Reshape

MOST_ROUNDS = 512
MOST_NODES = 20_000  # of one loop, written out
CAN_FAIL = (Gather, GatherElements, GatherND, Scatter, Loop)  # on indices out of range, or for ever


def unroll(graph: Graph) -> Graph:
    """The graph with every branch and loop written out that can be, those inside first."""
    if any(node.op.bodies for node in graph.nodes):
        rewrite = Rewrite(graph)
        for node in graph.nodes:
            rewrite.copy(node, node.op.with_bodies(unroll) if node.op.bodies else None)
        graph = rewrite.finish()
    while any(_can(node) for node in graph.nodes):
        rewrite = Rewrite(graph)
        for node in graph.nodes:
            if not _can(node):
                rewrite.copy(node)
                continue
            operands = [rewrite.get(v) for v in node.inputs]
            for old, new in zip(node.outputs, WAYS[type(node.op)](rewrite, node, operands), strict=True):
                inherit(new, old)
                rewrite.put(old, new)
        graph = rewrite.finish()
    return graph


def _can(node: Node) -> bool:
    op = node.op
    if isinstance(op, If):
        if any(v.dtype.kind == "L" for v in node.outputs):
            return False
        pairs = zip(op.then.outputs, op.other.outputs, strict=True)
        same = all(agree(o.shape, a.shape) and agree(o.shape, b.shape) for o, (a, b) in zip(node.outputs, pairs, strict=True))
        return same and not any(_can_fail(inner) for body in op.bodies for inner in body.all_nodes())
    rounds = None
    if isinstance(op, Loop):
        rounds = op.rounds(*node.inputs[:2])  # type: ignore[arg-type]
    elif type(op) is Scan:
        rounds = op.length(*op.parts(node.inputs)[1])
    if not isinstance(rounds, int) or not 0 < rounds <= MOST_ROUNDS:
        return False
    if any(v is not None and v.dtype.kind == "L" and members(v) is None for v in node.inputs) or any(map(tells_sizes, op.bodies)):
        return False
    return rounds * sum(1 for body in op.bodies for _ in body.all_nodes()) <= MOST_NODES


def _can_fail(node: Node) -> bool:
    """Whether an operator fails, rather than computes something, on what the other branch is for."""
    divides = type(node.op).__name__ in ("Div", "Mod", "Remainder", "FloorDiv")
    return isinstance(node.op, CAN_FAIL) or (divides and node.outputs[0].dtype.kind in "iu")


def _branches(rewrite: Rewrite, node: Node, operands: Sequence[Value | None]) -> list[Value]:
    op = node.op
    assert isinstance(op, If)
    condition, *captured = operands
    then, other = (_inlined(rewrite, node, body, captured, side) for body, side in ((op.then, "then"), (op.other, "other")))
    return [rewrite.emit(node, Where(), (condition, a, b))[0] for a, b in zip(then, other, strict=True)]


def _rounds(rewrite: Rewrite, node: Node, operands: Sequence[Value | None]) -> list[Value]:
    op = node.op
    assert isinstance(op, Loop)
    trips, going, *rest = operands
    carried, captured = rest[: op.carried], rest[op.carried :]
    rows: list[list[Value]] = []
    for step in range(op.rounds(trips, going)):  # type: ignore[arg-type]
        given = (rewrite.new.constant(step, "int64"), going, *carried, *captured)
        going, *results = _inlined(rewrite, node, op.body, given, step)
        carried = results[: op.carried]
        rows.append(results[op.carried :])
    return [*carried, *(_stacked(rewrite, node, row, 0) for row in zip(*rows, strict=True))]  # type: ignore[list-item]


def _places(rewrite: Rewrite, node: Node, operands: Sequence[Value | None]) -> list[Value]:
    op = node.op
    assert isinstance(op, Scan)
    states, lists, captured = op.parts(operands)
    count = op.length(*lists)
    rows: list[list[Value]] = []
    for step in range(count):
        walked = zip(lists, op.axes, op.backwards, strict=True)
        at = [rewrite.emit(node, Select(axis=a, index=count - 1 - step if back else step), (x,))[0] for x, a, back in walked]
        results = _inlined(rewrite, node, op.body, (*states, *at, *captured), step)
        states = results[: op.states]
        rows.append(results[op.states :])
    turns = zip(zip(*rows, strict=True), op.result_axes, op.result_backwards, strict=True)
    return [*states, *(_stacked(rewrite, node, row[::-1] if back else row, axis) for row, axis, back in turns)]


def _inlined(rewrite: Rewrite, node: Node, body: Graph, operands: Sequence[Value | None], part: object) -> list[Value]:
    """A body's nodes, each under the name of the node around it, the part (a side, a round), and its own."""

    def emit(inner: Node, op: Op, values: list[Value]) -> Sequence[Value]:
        like = dataclasses.replace(inner, source=inner.source or node.source)
        return rewrite.emit(like, op, values, name=f"{node.name}.{part}.{inner.name}")

    return inline(rewrite.new, body, operands, emit)


def _stacked(rewrite: Rewrite, node: Node, row: Sequence[Value], axis: int) -> Value:
    shaped = [rewrite.emit(node, Reshape(shape=(*v.shape[:axis], 1, *v.shape[axis:])), (v,))[0] for v in row]
    return rewrite.emit(node, Concat(axis=axis), shaped)[0]


WAYS = {If: _branches, Loop: _rounds, Scan: _places}
