"""Leaves out what adds zero to every element or multiplies it with one: a branch that is absent, a scale that was never set.

Done only when asked for, with the folding of batch norms: -0.0 + 0 is 0, what is left out gives -0.0.
"""

from __future__ import annotations

from ..graph import Graph, Node, Rewrite, Value
from ..ops.expand import uniform
from ..ops.math import Add, Div, Mul, Sub

NEUTRAL = {Add: 0, Sub: 0, Mul: 1, Div: 1}


def leave_out_neutral(graph: Graph) -> Graph:
    """The graph without operators that give what they take; and a note of how many there were."""
    rewrite, count, ends = Rewrite(graph), 0, {id(v) for v in graph.outputs}
    for node in graph.nodes:
        kept = None if id(node.outputs[0]) in ends else _unchanged(node)
        if kept is None:
            rewrite.copy(node)
        else:
            count += 1
            rewrite.put(node.outputs[0], rewrite.get(kept))  # type: ignore[arg-type]
    done = rewrite.finish()
    if count:
        done.notes.append(f"left out, adding zero or multiplying with one: {count} operator{'s' * (count != 1)}")
    return done


def _unchanged(node: Node) -> Value | None:
    """The operand that a node gives as it is."""
    if type(node.op) not in NEUTRAL:
        return None
    one, other = node.inputs
    pairs = [(one, other)] if isinstance(node.op, Sub | Div) else [(one, other), (other, one)]
    for value, constant in pairs:
        alike = (value.shape, value.dtype) == (node.outputs[0].shape, node.outputs[0].dtype)  # type: ignore[union-attr]
        if alike and uniform(constant) == NEUTRAL[type(node.op)]:  # type: ignore[arg-type]
            return value
    return None
