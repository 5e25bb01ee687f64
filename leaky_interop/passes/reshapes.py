"""Merges reshapes that follow one another, and drops those that change nothing. Computes the same."""

from __future__ import annotations

from ..graph import Graph, Rewrite, consumers
from ..ops.shape import Reshape


def merge_reshapes(graph: Graph) -> Graph:
    """One reshape for each chain of reshapes that nobody reads in between."""
    users = consumers(graph)
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        data = rewrite.get(node.inputs[0]) if node.inputs else None
        if not isinstance(node.op, Reshape) or data is None:
            rewrite.copy(node)
        elif data.shape == node.op.shape and node.outputs[0] not in graph.outputs:
            rewrite.put(node.outputs[0], data)
        elif data.node is not None and isinstance(data.node.op, Reshape) and len(users[id(node.inputs[0])]) == 1:
            rewrite.copy(node, inputs=(data.node.inputs[0],))
        else:
            rewrite.copy(node)
    return rewrite.finish()
