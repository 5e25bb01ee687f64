"""Passes over the graph: each says what it promises, and computes the same outputs from the same inputs."""

from __future__ import annotations

from ..graph import Graph
from .dense import fold_bias
from .feature_order import absorb_feature_order
from .hoist import hoist_to_inputs
from .pads import fold_pads
from .slices import fold_slices


def after_import(graph: Graph) -> Graph:
    """What every freshly imported graph goes through."""
    return hoist_to_inputs(absorb_feature_order(fold_bias(fold_slices(fold_pads(graph)))))


def before_keras(graph: Graph) -> Graph:
    """What a graph goes through once it is laid out channels last."""
    return hoist_to_inputs(absorb_feature_order(graph))
