"""What the ONNX writer makes before it makes protos: values, nodes, and bodies inside nodes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper

from ...graph import Graph, Value
from .types import info

if TYPE_CHECKING:
    from .write import OnnxBuilder


@dataclasses.dataclass(eq=False)
class Symbol:
    """A value of the model being written. Arithmetic on it writes nodes (used for sizes)."""

    builder: OnnxBuilder
    name: str = ""
    made_by: Written | None = None
    dtype: np.dtype | None = None  # None where nothing tells

    def __add__(self, other: Any) -> Symbol:
        return self.builder.Add(self, self.builder.integers(other))

    def __mul__(self, other: Any) -> Symbol:
        return self.builder.Mul(self, self.builder.integers(other))

    def __floordiv__(self, other: Any) -> Symbol:
        return self.builder.Div(self, self.builder.integers(other))  # sizes are not negative, so truncation is floor

    __radd__ = __add__
    __rmul__ = __mul__

    def __rfloordiv__(self, other: Any) -> Symbol:
        return self.builder.Div(self.builder.integers(other), self)


@dataclasses.dataclass(eq=False)
class Written:
    """A node of the model being written, before its values have all their names."""

    kind: str
    domain: str
    inputs: list[Symbol | None]
    outputs: list[Symbol]
    attributes: dict[str, Any]
    name: str
    source: str


@dataclasses.dataclass(eq=False)
class Body:
    """A subgraph of which everything but its values' names is known."""

    graph: Graph
    nodes: list[Any]
    inputs: list[Symbol]
    outputs: list[Symbol]

    def proto(self, builder: OnnxBuilder, name: str) -> onnx.GraphProto:
        """The subgraph, when every value around it has its name."""
        nodes = builder.protos(self.nodes)
        inputs = [info(s.name, v) for s, v in zip(self.inputs, self.graph.inputs, strict=False)]
        outputs = [info(s.name, v) for s, v in zip(self.outputs, self.graph.outputs, strict=True)]
        return helper.make_graph(nodes, name, inputs, outputs)


def dtype_of(operand: Any) -> np.dtype | None:
    """The dtype of an operand; None for an absent one, a bare number, or a symbol of which nothing tells."""
    if operand is None or isinstance(operand, bool | int | float):
        return None
    return operand.dtype if isinstance(operand, Symbol | Value) else np.asarray(operand).dtype


def read(nodes: Sequence[Written], outputs: Iterable[Symbol]) -> tuple[list[Written], set[int]]:
    """The nodes that one of these outputs needs, and the ids of all values that are read, outputs included.

    An exporter writes all results of an operator; of an LSTM's, most networks read one.
    """
    wanted = {id(symbol) for symbol in outputs}
    kept = []
    for made in reversed(nodes):
        if not any(id(symbol) in wanted for symbol in made.outputs):
            continue
        kept.append(made)
        wanted.update(id(symbol) for symbol in made.inputs if symbol is not None)
        for held in made.attributes.values():
            if isinstance(held, Body):
                held.nodes, inside = read(held.nodes, held.outputs)
                wanted |= inside
    return kept[::-1], wanted
