"""Marks a Scan that is a recurrent layer under a mask, for Keras, which has it as a layer. Computes the same."""

from __future__ import annotations

import dataclasses

from ..graph import Graph, Rewrite
from ..ops.recurrent_masked import MaskedRecurrent, is_masked


def mark_masked(graph: Graph) -> Graph:
    """The graph with every such Scan under its own name."""
    found = {id(node) for node in graph.nodes if is_masked(node.op, node.inputs)}
    if not found:
        return graph
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        marked = id(node) in found
        rewrite.copy(
            node,
            MaskedRecurrent(**{f.name: getattr(node.op, f.name) for f in dataclasses.fields(node.op)})
            if marked
            else None,
        )  # type: ignore[arg-type]
    return rewrite.finish()
