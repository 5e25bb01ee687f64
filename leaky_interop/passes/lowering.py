"""Says in other operators what a framework has no exporter for: see `Op.lowered`. Every result keeps its anchor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import Refused
from ..frameworks.base import attribute
from ..graph import Graph, Node, Rewrite, Value, inherit
from ..op import EXPORTERS, Op


def lower(graph: Graph, framework: str, exact: Any) -> Graph:
    """A graph in which no operator is left that the framework does not know, but others do.

    exact: the widest float dtype in which the framework adds and multiplies.
    """

    def wanting(op: Op) -> bool:
        return (framework, type(op)) not in EXPORTERS and type(op).lowered is not Op.lowered

    while any(wanting(node.op) for node in graph.all_nodes()):  # what was said in others may have to be said again
        graph = _once(graph, wanting, exact)
    return graph


def _once(graph: Graph, wanting: Callable[[Op], bool], exact: Any) -> Graph:
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        if not wanting(node.op):
            bodies = node.op.bodies
            rewrite.copy(node, node.op.with_bodies(lambda body: _once(body, wanting, exact)) if bodies else None)
            continue
        start = len(rewrite.new.nodes)
        rewrite.new.source, rewrite.new.left_out = node.source, node.left_out
        try:
            made = _empty(rewrite.new, node) or node.op.lowered(exact, *map(rewrite.get, node.inputs))
        except Refused as error:
            raise Refused(error.what, error.where or node.source or node.name, error.why, error.hint) from error
        results = made if isinstance(made, tuple) else (made,)
        attribute(rewrite.new, start, node.name, None if node.op.weights else results[0].node)
        for old, new in zip(node.outputs, results, strict=True):
            inherit(new, old)
            rewrite.put(old, new)
    return rewrite.finish()


def _empty(graph: Graph, node: Node) -> tuple[Value, ...] | None:
    """The results of a node that has no entries to compute; None where it has some, or a size tells only at run time."""
    sizes = [v.shape for v in node.outputs]
    known = all(isinstance(d, int) for shape in sizes for d in shape)
    if not known or not all(0 in shape for shape in sizes):
        return None
    return tuple(graph.constant(np.zeros(v.shape, v.dtype)) for v in node.outputs)
