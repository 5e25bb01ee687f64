"""Recognises edge padding that is spelled as slices of the border joined to the data (Keras has no such mode)."""

from __future__ import annotations

from ..graph import Graph, Node, Rewrite, Value, consumers
from ..ops.index import Slice
from ..ops.join import Concat
from ..ops.pad import Pad


def recognise_edge_pads(graph: Graph) -> Graph:
    """One edge Pad for each chain of joined borders, axis after axis. Computes the same."""
    return _merged(_recognised(graph))


def _recognised(graph: Graph) -> Graph:
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        found = _edge_pad(node)
        if found is None:
            rewrite.copy(node)
        else:
            rewrite.copy(node, found[1], (rewrite.get(found[0]),))
    return rewrite.finish()


def _edge_pad(node: Node) -> tuple[Value, Pad] | None:
    """The data and the padding that a Concat of it and slices of its first and last place amounts to."""
    if not isinstance(node.op, Concat) or len(node.inputs) < 2:
        return None
    axis = node.op.axis
    whole = [v for v in node.inputs if v is not None and _border(v, axis) is None]
    if len(whole) != 1 or whole[0].const is not None:
        return None
    data = whole[0]
    at = next(i for i, v in enumerate(node.inputs) if v is data)
    borders = [_border(v, axis) for v in node.inputs if v is not data]  # type: ignore[arg-type]
    if any(b is None or b[0] is not data for b in borders):
        return None
    ends = [b[1] for b in borders if b is not None]
    if any(ends[:at]) or not all(ends[at:]):  # what stands before the data is its first place, what stands after its last
        return None
    pads = [(0, 0)] * data.rank
    pads[axis] = (at, len(ends) - at)
    return data, Pad(pads=tuple(pads), mode="edge", value=0.0)


def _border(value: Value, axis: int) -> tuple[Value, bool] | None:
    """The data that a value is the first (False) or last (True) place of, along one axis."""
    node = value.node
    if node is None or not isinstance(node.op, Slice) or node.op.axes != (axis,) or node.op.steps != (1,):
        return None
    (data,) = node.inputs[:1]
    (start,), (stop,) = node.op.starts, node.op.stops
    if data is None or not all(isinstance(d, int) for d in (start, stop, data.shape[axis])) or stop - start != 1:
        return None
    return (data, False) if start == 0 else (data, True) if stop == data.shape[axis] else None


def _merged(graph: Graph) -> Graph:
    """Edge pads of different axes, one after the other, as one."""
    users = consumers(graph)
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        data = rewrite.get(node.inputs[0]) if node.inputs else None
        before = data.node if data is not None else None
        alone = bool(node.inputs) and len(users[id(node.inputs[0])]) == 1
        if before is not None and alone and _is_edge(node) and _is_edge(before) and _disjoint(node.op, before.op):
            pads = tuple((a + c, b + d) for (a, b), (c, d) in zip(node.op.pads, before.op.pads, strict=True))  # type: ignore[attr-defined]
            rewrite.copy(node, Pad(pads=pads, mode="edge", value=0.0), (before.inputs[0],))
        else:
            rewrite.copy(node)
    return rewrite.finish()


def _is_edge(node: Node) -> bool:
    return isinstance(node.op, Pad) and node.op.mode == "edge"


def _disjoint(a: object, b: object) -> bool:
    return not any(p != (0, 0) and q != (0, 0) for p, q in zip(a.pads, b.pads, strict=True))  # type: ignore[attr-defined]
