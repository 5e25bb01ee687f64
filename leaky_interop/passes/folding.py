"""What `fold_batch_norm` does to a network that will not train again: fewer operators, the same outputs up to rounding."""

from __future__ import annotations

from ..graph import Graph
from .fold import fold_batch_norms
from .nested import concatenate_at_once
from .neutral import leave_out_neutral
from .repeated import share_repeated
from .stored import store_computed

PASSES = (leave_out_neutral, store_computed, share_repeated, fold_batch_norms, concatenate_at_once)


def folded(graph: Graph) -> Graph:
    """The graph after every such pass; each notes what it did."""
    for one in PASSES:
        graph = one(graph)
    return graph
