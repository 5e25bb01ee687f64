"""Concatenates at once what a network concatenates in steps: a concatenation that only another one along its axis reads.

The layer in between is gone afterwards, so it is done only when asked for, with the folding of batch norms.
"""

from __future__ import annotations

from ..graph import Graph, Node, Rewrite, Value, consumers
from ..ops.join import Concat


def concatenate_at_once(graph: Graph) -> Graph:
    """The graph without concatenations inside others; and a note of how many there were."""
    users = consumers(graph)
    within = {id(n.outputs[0]): n for n in graph.nodes if isinstance(n.op, Concat) and _inside(n, users)}
    if not within:
        return graph

    def parts(value: Value | None) -> list[Value | None]:
        inner = within.get(id(value))
        return [value] if inner is None else [p for v in inner.inputs for p in parts(v)]

    rewrite = Rewrite(graph)
    for node in graph.nodes:
        if id(node.outputs[0]) not in within:
            rewrite.copy(node, inputs=[rewrite.get(p) for v in node.inputs for p in parts(v)])
    done = rewrite.finish()
    done.notes.append(f"part of the concatenation that takes them: {len(within)} concatenation{'s' * (len(within) != 1)}")
    return done


def _inside(node: Node, users: dict[int, list[Node]]) -> bool:
    """Whether one other concatenation along the same axis is all that reads what a node gives."""
    readers = users.get(id(node.outputs[0]), [])
    return len(readers) == 1 and readers[0] is not None and readers[0].op == node.op
