"""Hoists transposes to the inputs: what stands behind operators that work on permuted data as well moves to the door.

`settle` slides transposes down until something needs them. Where only operators with an `under` lie between an input and
such a transpose, it belongs at the input, where it is one with the port's layout. Computes the same.
"""

from __future__ import annotations

from ..graph import Graph, Node, Rewrite, Value, consumers, inherit
from ..op import Moved, Perm, invert
from ..ops.shape import Reshape
from ..ops.transpose import Transpose


def hoist_to_inputs(graph: Graph) -> Graph:
    """Move every transpose to its graph input that can go there."""
    while (found := _find(graph)) is not None:
        graph = _apply(graph, *found)
    return graph


def _find(graph: Graph) -> tuple[Node, dict[int, Moved]] | None:
    users = consumers(graph)
    for node in graph.nodes:
        if isinstance(node.op, Transpose) and node.inputs[0] not in graph.inputs:
            moves: dict[int, Moved] = {}
            if _reaches_input(node.inputs[0], node.op.perm, graph, users, moves) and moves:  # type: ignore[arg-type]
                return node, moves
    return None


def _reaches_input(value: Value, perm: Perm, graph: Graph, users: dict, moves: dict[int, Moved]) -> bool:
    """Plan for `value` to be computed permuted, back to the inputs."""
    if value in graph.inputs or _free(value, perm):
        return True
    node = value.node
    if node is None or len(node.outputs) != 1 or len(users[id(value)]) != 1:
        return False
    if any(v is None or v.rank != len(perm) for v in node.inputs[:1]):  # the rank changes on the way
        return False
    moved = node.op.under(invert(perm), node.inputs)
    if moved is None or moved.outputs[0] != invert(perm):
        return False
    for operand, turn in zip(node.inputs, moved.inputs, strict=True):
        if operand is None or operand.const is not None:
            continue
        if turn is None or operand.rank != len(perm) or not _reaches_input(operand, invert(turn), graph, users, moves):
            return False
    moves[id(node)] = moved
    return True


def _free(value: Value, perm: Perm) -> bool:
    """Whether only axes of size 1 change places: that is a reshape, which moves no number."""
    moving = [axis for axis in perm if value.shape[axis] != 1]
    return value.node is not None and isinstance(value.node.op, Reshape) and moving == sorted(moving)


def _apply(graph: Graph, transpose: Node, moves: dict[int, Moved]) -> Graph:
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        if node is transpose:
            rewrite.put(node.outputs[0], rewrite.get(node.inputs[0]))  # type: ignore[arg-type]
        elif id(node) not in moves:
            rewrite.copy(node)
        else:
            moved = moves[id(node)]
            operands = [
                _turned(rewrite, node, v, None if turn is None else invert(turn), v is None or v.node is None or id(v.node) not in moves)
                for v, turn in zip(node.inputs, moved.inputs, strict=True)
            ]
            (new,) = rewrite.emit(node, moved.op, operands)
            inherit(new, node.outputs[0], ("transpose", invert(moved.outputs[0])))  # type: ignore[arg-type]
            rewrite.put(node.outputs[0], new)
    return rewrite.finish()


def _turned(rewrite: Rewrite, node: Node, old: Value | None, perm: Perm | None, at_door: bool) -> Value | None:
    """An operand of a moved node: inputs and weights get the transpose, computed values have it already."""
    new = rewrite.get(old)
    if new is None or perm is None or not at_door or new.rank == 0:
        return new
    if new.const is not None:
        full = new.const.reshape(*(1,) * (len(perm) - new.rank), *new.const.shape)
        return rewrite.new.parameter(full.transpose(*perm))
    op = Transpose(perm=perm)
    made = next((n for n in rewrite.new.nodes if n.op == op and n.inputs == (new,)), None)
    return made.outputs[0] if made else rewrite.emit(node, op, (new,), name="")[0]
