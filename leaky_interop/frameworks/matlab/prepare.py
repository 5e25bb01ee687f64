"""Lays a graph out as MATLAB computes it: images channels last, flattened column by column."""

from __future__ import annotations

import numpy as np

from ...graph import Graph, Node, Value
from ...layout import settle, wrap
from ...op import CHANNELS_LAST, EXPORTERS
from ...ops.column_major import ColumnMajor
from ...ops.shape import Reshape
from ...ops.transpose import Transpose
from ...passes.feature_order import reordered
from ...passes.hoist import hoist_to_inputs
from .run import NOT_RUN

FRAMEWORK = "matlab"


def prepare(graph: Graph) -> Graph:
    """The graph as MATLAB computes it, and a note that it is not run here."""
    turned = _column_by_column(graph)
    images = _Images(turned)
    prepared = hoist_to_inputs(settle(wrap(turned, lambda node: images.turns(node))))
    if NOT_RUN not in prepared.notes:
        prepared.notes.append(NOT_RUN)
    return prepared


class _Images:
    """Where the channels of a graph's images stand: first, but for images of which no operator tells.

    Those stand as the source has them: nothing but operators that work anywhere touches them.
    """

    def __init__(self, graph: Graph):
        self.channels_last = graph.framework in ("keras", "matlab")
        self.told: set[int] = set()
        groups = [self.values(node) for node in graph.nodes if not isinstance(node.op, Transpose | Reshape)]
        telling = [self.values(node) for node in graph.nodes if self.tells(node)]
        self.told = {id(v) for values in telling for v in values}
        before = -1
        while before < len(self.told):
            before = len(self.told)
            for values in (*groups, *reversed(groups)):
                if any(id(v) in self.told for v in values):
                    self.told |= {id(v) for v in values}

    @staticmethod
    def values(node: Node) -> list[Value]:
        return [v for v in (*node.inputs, *node.outputs) if v is not None and v.const is None and v.rank == 4]

    @staticmethod
    def wants_last(node: Node) -> bool:
        return EXPORTERS.get((FRAMEWORK, type(node.op))) in CHANNELS_LAST

    def tells(self, node: Node) -> bool:
        """Whether an operator works on one axis for channels: one that states its axes works on any."""
        return self.wants_last(node) and not hasattr(node.op, "axes") and not isinstance(node.op, ColumnMajor)

    def stands_last(self, image: Value) -> bool:
        return self.channels_last and id(image) not in self.told

    def turns(self, node: Node) -> bool:
        """Whether a node is to be written with its channels moved to the end."""
        image = node.inputs[0] if node.inputs else None
        return self.wants_last(node) and image is not None and not self.stands_last(image)


def _column_by_column(graph: Graph) -> Graph:
    """Every flattening of an image in MATLAB's order, the weights behind it reordered."""
    while True:
        images = _Images(graph)
        found = (_in_column_order(graph, node, images) for node in graph.nodes)
        changed = next((g for g in found if g is not None), None)
        if changed is None:
            return graph
        graph = changed


def _in_column_order(graph: Graph, node: Node, images: _Images) -> Graph | None:
    (x, *_) = node.inputs or (None,)
    if not isinstance(node.op, Reshape) or x is None or x.rank != 4 or len(node.op.shape) != 2:
        return None
    if x.node is not None and isinstance(x.node.op, Transpose):  # its axes are no channels, height and width
        return None
    sizes = [d for d in x.shape[1:] if isinstance(d, int)]
    if len(sizes) < 3 or node.op.shape[1] != int(np.prod(sizes)):
        return None
    last = images.stands_last(x)
    channels, height, width = (sizes[2], sizes[0], sizes[1]) if last else sizes
    places = np.arange(channels * width * height).reshape(channels, width, height)
    places = places.transpose(2, 1, 0) if last else places.transpose(0, 2, 1)
    return reordered(graph, node, ColumnMajor(last=last), tuple(places.reshape(-1).tolist()))
