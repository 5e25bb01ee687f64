"""Writes the graphs inside ONNX nodes: their nodes stand in a scope of their own, their weights in the model's.

What a body captures keeps the name that it has outside, as ONNX's outer scope allows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...graph import Graph, Node
from ...interpreter import measures
from ...op import Op
from .symbols import Body, Symbol

if TYPE_CHECKING:
    from .write import OnnxBuilder


def write_body(builder: OnnxBuilder, graph: Graph, captured: Sequence[Any]) -> Body:
    """Run the exporters of a body; its last inputs are what is captured, as it is called outside."""
    outside = dict(builder.__dict__)  # a body's nodes, and what it makes of weights and sizes, are seen by it alone
    own = len(graph.inputs) - len(captured)
    builder.graph, builder.nodes, builder.sources = graph, [], measures(graph)
    builder.made, builder.viewed = dict(builder.made), dict(builder.viewed)
    inputs = [Symbol(builder, builder.names(v.name), dtype=v.dtype) for v in graph.inputs[:own]]
    for value, symbol in zip(graph.inputs, [*inputs, *captured], strict=True):
        builder.made[id(value)] = builder.typed(symbol, value.dtype)
    builder.made = {key: symbol for key, symbol in builder.made.items() if isinstance(key, int)}
    try:
        for node in graph.nodes:
            builder.export_node(node)
        builder.node, outputs = Node(Op(), (), ()), []
        for value, name in zip(graph.outputs, graph.output_names, strict=True):
            symbol = builder.tensor(value)
            if symbol.made_by is None or symbol in outputs or symbol.made_by not in builder.nodes:
                symbol = builder.write("Identity", (symbol,))
                symbol.name = builder.names(name)
            outputs.append(symbol)
        return Body(graph, builder.nodes, inputs, outputs)
    finally:
        for name in ("graph", "nodes", "sources", "made", "viewed", "node", "inputs", "outputs"):
            setattr(builder, name, outside[name])
