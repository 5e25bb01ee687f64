"""Absorbs the change of feature order where channels-first and channels-last data flatten differently.

Flattening (N, H, W, C) and flattening (N, C, H, W) list the same features in two orders. Where a Transpose meets a
Reshape that merges or splits those axes, the transpose is the same as a permutation of features on the flat side. That
permutation slides along `Op.links` into weights (a Dense kernel's rows, a batch norm's statistics) and is gone. Where
some operator on the way has no link, the transpose stays as it is. No number changes: weights are only reordered.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from ..graph import Graph, Node, Rewrite, Value, consumers, inherit
from ..op import Link, Op, Perm
from ..ops.shape import Reshape, axis_groups
from ..ops.transpose import Transpose

Index = tuple[int, ...]


@dataclasses.dataclass
class _Plan:
    """What one absorption changes: weights by (node, operand), and the values whose features move."""

    transpose: Node | None
    reshape: Node
    weights: dict[tuple[int, int], tuple[Index, int]] = dataclasses.field(default_factory=dict)  # -> take(index, axis)
    moved: dict[int, tuple[Index, int]] = dataclasses.field(default_factory=dict)  # value id -> new = old.take(index, axis)
    between: list[Node] = dataclasses.field(default_factory=list)  # pointwise nodes from the reshape to the transpose
    op: Op | None = None  # what the reshape becomes, where it is no reshape any more


def absorb_feature_order(graph: Graph) -> Graph:
    """Remove every transpose around a flattening or unflattening that weights can absorb."""
    while (plan := _find(graph)) is not None:
        graph = _apply(graph, plan)
    return graph


def _find(graph: Graph) -> _Plan | None:
    users = consumers(graph)
    for node in graph.nodes:
        if isinstance(node.op, Transpose) and (plan := _down(node, users) or _up(node, users)) is not None:
            return plan
    return None


def _sole(value: Value, users: dict[int, list[Node]]) -> Node | None:
    """The one node that reads a value, if there is only one and it is no graph output."""
    found = users.get(id(value), [])
    return found[0] if len(found) == 1 and found[0] is not None else None


# --- a transpose, then a reshape that merges ----------------------------------------------------------------------------


def _down(node: Node, users: dict[int, list[Node]]) -> _Plan | None:
    reshape = _sole(node.outputs[0], users)
    if reshape is None or not isinstance(reshape.op, Reshape):
        return None
    found = _merged(node.op.perm, node.outputs[0].shape, reshape.op.shape)  # type: ignore[attr-defined]
    if found is None:
        return None
    before, inner, axis = found
    plan = _Plan(node, reshape)
    if _only_ones(before, inner):
        return plan
    flat = reshape.outputs[0]
    if not all(n is not None and flat in n.inputs and _link(n, n.inputs.index(flat), axis) for n in users.get(id(flat), [])):
        return None  # asked before the features are numbered: there may be millions
    return plan if _sink(flat, axis, _order(before, inner), users, plan) else None


def _only_ones(sizes: list[int], perm: list[int]) -> bool:
    """Whether only axes of size 1 move, so that the features stay in their order."""
    long = [axis for axis in perm if sizes[axis] != 1]
    return long == sorted(long)


def _order(sizes: list[int], perm: list[int]) -> Index:
    """The features of axes of these sizes in the order that they have once the axes are permuted."""
    return tuple(np.arange(int(np.prod(sizes))).reshape(sizes).transpose(perm).reshape(-1).tolist())


def _merged(perm: Perm, split: tuple, flat: tuple) -> tuple[list[int], list[int], int] | None:
    """Where `perm` only reorders axes of one group that is merged: their sizes before, their order, the merged axis."""
    for ins, outs in axis_groups(split, flat) or ():
        others_stay = all(p == a for a, p in enumerate(perm) if a not in ins)
        if len(outs) == 1 and len(ins) > 1 and others_stay and all(isinstance(split[a], int) for a in ins):
            inner = [perm[a] - ins[0] for a in ins]
            before = [split[perm.index(a)] for a in ins]  # sizes in the order the transpose receives them
            return before, inner, outs[0]
    return None


def _sink(value: Value, axis: int, index: Index, users: dict[int, list[Node]], plan: _Plan) -> bool:
    """Plan for `value` to arrive in the transpose-free order: value == new.take(index, axis). Whether all readers can."""
    inverse = tuple(np.argsort(index).tolist())
    plan.moved[id(value)] = (inverse, axis)
    for node in users.get(id(value), []):
        if node is None or sum(v is value for v in node.inputs) != 1:
            return False
        link = _link(node, node.inputs.index(value), axis)
        if link is None or not _reorder_weights(node, link, inverse, plan, besides=value):
            return False
        if link.output is not None and not _sink(node.outputs[0], link.output, index, users, plan):
            return False
    return True


def _link(node: Node, operand: int, axis: int) -> Link | None:
    return next((k for k in node.op.links(node.inputs) if k.inputs.get(operand) == axis), None)


def _reorder_weights(node: Node, link: Link, index: Index, plan: _Plan, besides: Value | None) -> bool:
    for position, along in link.inputs.items():
        operand = node.inputs[position]
        if operand is besides:
            continue
        if operand is None or operand.const is None:
            return False
        plan.weights[id(node), position] = (index, along)
    return True


def reordered(graph: Graph, reshape: Node, op: Op, index: Index) -> Graph | None:
    """The graph with `op` in place of a flattening: its features are another order of the same, old == new.take(index).

    None where something behind it, up to the next weights, cannot take up the order.
    """
    plan = _Plan(None, reshape, op=op)
    same = index == tuple(range(len(index)))
    return _apply(graph, plan) if same or _sink(reshape.outputs[0], 1, index, consumers(graph), plan) else None


# --- a reshape that splits, then a transpose ----------------------------------------------------------------------------


def _up(node: Node, users: dict[int, list[Node]]) -> _Plan | None:
    perm: Perm = node.op.perm  # type: ignore[attr-defined]
    between: list[Node] = []
    value = node.inputs[0]
    while value is not None and value.node is not None and _sole(value, users) is not None:
        maker = value.node
        if isinstance(maker.op, Reshape):
            break
        if not maker.inputs or maker.inputs[0] is None or maker.inputs[0].rank != len(perm):
            return None
        moved = maker.op.under(perm, maker.inputs)
        if moved is None or moved.op != maker.op or len(maker.outputs) != 1 or moved.inputs[0] != perm:
            return None
        if any(v is None or (v.const is None and i) or v.rank > len(perm) for i, v in enumerate(maker.inputs)):
            return None
        between.append(maker)
        value = maker.inputs[0]
    if value is None or value.node is None or not isinstance(value.node.op, Reshape):
        return None
    reshape = value.node
    flat = reshape.inputs[0]
    if flat is None or flat.const is not None or _sole(value, users) is None:
        return None
    for ins, outs in axis_groups(flat.shape, value.shape) or ():
        others_stay = all(p == a for a, p in enumerate(perm) if a not in outs)
        if len(ins) == 1 and len(outs) > 1 and others_stay and all(isinstance(value.shape[a], int) for a in outs):
            sizes, inner = [value.shape[a] for a in outs], [perm[a] - outs[0] for a in outs]
            plan = _Plan(node, reshape, between=between)
            if _only_ones(sizes, inner):  # type: ignore[arg-type]
                return plan
            if flat.node is None or not any(k.output == ins[0] for k in flat.node.op.links(flat.node.inputs)):
                return None  # as above
            return plan if _lift(flat, ins[0], _order(sizes, inner), users, plan) else None  # type: ignore[arg-type]
    return None


def _lift(value: Value, axis: int, index: Index, users: dict[int, list[Node]], plan: _Plan) -> bool:
    """Plan for `value` to be computed in another order: new == value.take(index, axis). Whether what makes it can."""
    node = value.node
    if value.const is not None or node is None or _sole(value, users) is None or len(node.outputs) != 1:
        return False
    plan.moved[id(value)] = (index, axis)
    link = next((k for k in node.op.links(node.inputs) if k.output == axis), None)
    if link is None or not link.inputs:
        return False
    for position, along in link.inputs.items():
        operand = node.inputs[position]
        if operand is None:
            return False
        if operand.const is not None:
            plan.weights[id(node), position] = (index, along)
        elif not _lift(operand, along, index, users, plan):
            return False
    return True


# --- carrying it out ----------------------------------------------------------------------------------------------------


def _apply(graph: Graph, plan: _Plan) -> Graph:
    rewrite = Rewrite(graph)
    perm: Perm = () if plan.transpose is None else plan.transpose.op.perm  # type: ignore[attr-defined]
    second = plan.transpose is not None and plan.reshape.outputs[0] is plan.transpose.inputs[0]
    turned = bool(plan.between) or second
    for node in graph.nodes:
        if node is plan.transpose:
            rewrite.put(node.outputs[0], rewrite.get(node.inputs[0]))  # type: ignore[arg-type]
            continue
        operands = [
            v if key not in plan.weights or v is None else rewrite.new.parameter(v.const.take(*plan.weights[key]))  # type: ignore[union-attr]
            for i, v in enumerate(rewrite.get(v) for v in node.inputs)
            for key in [(id(node), i)]
        ]
        op = node.op
        steps: tuple = ()
        if plan.op is not None and node is plan.reshape:
            op = plan.op
        elif turned and node is plan.reshape:
            op, steps = Reshape(shape=tuple(node.op.shape[p] for p in perm)), (("transpose", perm),)  # type: ignore[attr-defined]
        elif any(node is n for n in plan.between):
            operands = [v if i == 0 else _broadcast_turned(rewrite, v, perm) for i, v in enumerate(operands)]
            steps = (("transpose", perm),)
        for old, new in zip(node.outputs, rewrite.emit(node, op, operands), strict=True):
            inherit(new, old, *steps, *((("take", *plan.moved[id(old)]),) if id(old) in plan.moved else ()))
            rewrite.put(old, new)
    return rewrite.finish()


def _broadcast_turned(rewrite: Rewrite, value: Value | None, perm: Perm) -> Value | None:
    """A constant operand of a pointwise operator, its axes permuted as its neighbour's."""
    if value is None or value.rank == 0 or value.const is None:
        return value
    full = value.const.reshape(*(1,) * (len(perm) - value.rank), *value.const.shape)
    return rewrite.new.parameter(full.transpose(*perm))
