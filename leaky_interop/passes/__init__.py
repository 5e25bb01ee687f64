"""Passes over the graph: each says what it promises, and computes the same outputs from the same inputs."""

from __future__ import annotations

from ..graph import Graph
from .feature_order import absorb_feature_order
from .pads import fold_pads


def after_import(graph: Graph) -> Graph:
    """What every freshly imported graph goes through."""
    return absorb_feature_order(fold_pads(graph))


def before_keras(graph: Graph) -> Graph:
    """What a graph goes through once it is laid out channels last."""
    return absorb_feature_order(graph)
