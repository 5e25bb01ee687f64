"""Passes over the graph: each says what it promises, and computes the same outputs from the same inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..graph import Graph
from .attention import recognise_attention
from .dense import fold_bias
from .edges import recognise_edge_pads
from .feature_order import absorb_feature_order
from .hoist import hoist_to_inputs
from .idioms import recognise
from .norm import recognise_norms
from .pads import fold_pads
from .reshapes import merge_reshapes
from .shuffle import recognise_shuffles
from .slices import fold_slices

AFTER_IMPORT = (
    recognise_norms,
    recognise_attention,
    recognise,
    fold_pads,
    fold_slices,
    recognise_edge_pads,
    recognise_shuffles,
    merge_reshapes,
    fold_bias,
    absorb_feature_order,
    hoist_to_inputs,
    absorb_feature_order,  # reshapes take up what was hoisted onto them
)
BEFORE_KERAS = (merge_reshapes, absorb_feature_order, hoist_to_inputs, absorb_feature_order)


def after_import(graph: Graph) -> Graph:
    """What every freshly imported graph goes through."""
    return _all(AFTER_IMPORT, graph)


def before_keras(graph: Graph) -> Graph:
    """What a graph goes through once it is laid out channels last."""
    return _all(BEFORE_KERAS, graph)


def _all(passes: Iterable[Callable[[Graph], Graph]], graph: Graph) -> Graph:
    for one in passes:
        graph = one(graph)
    return graph
