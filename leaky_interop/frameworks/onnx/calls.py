"""An ONNX node as importers see it: its attributes and the schema's defaults, its bodies, its operands as sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ... import kinds
from ...bodies import close, ended, inline
from ...errors import Computed, Refused
from ...graph import Graph, Node, Value
from ...op import Op
from ...sizes import Dim, Shape
from ..base import Call, attribute
from . import bodies, contrib
from .types import read_type

if TYPE_CHECKING:
    from .read import Reader

HARMLESS = frozenset(  # attributes that only training reads, or that other inputs say again
    "broadcast consumed_inputs hidden_size is_test kernel_shape momentum num_outputs seed softmax_precision storage_order "
    "training_mode".split()
)


class NodeCall(Call):
    """A node as importers read it: its attributes, the schema's defaults for those left out, None for what has none."""

    def __init__(self, reader: Reader, node: Any, opset: int):
        known, own = contrib.attributes(node.domain, node.op_type, opset)
        defaults = {a.name: _default(a) for a in known} | own
        given = {a.name: _plain(helper.get_attribute_value(a)) for a in node.attribute}
        super().__init__(node, reader.graph, left_out=set(defaults) - set(given))
        self.attributes = defaults | given
        self.unread = {k for k, v in given.items() if k not in defaults or not _same(v, defaults[k])} - HARMLESS
        self.opset = opset
        self.reader = reader
        self.bodies: list[Reader] = []

    def __getattr__(self, name: str) -> Any:
        try:
            self.unread.discard(name)
            return self.attributes[name]
        except KeyError:
            raise AttributeError(f"{self.native.op_type} has no attribute {name!r} in opset {self.opset}") from None

    def stated(self, name: str) -> Any:
        """An attribute whose name a call has a field of its own for."""
        return self.__getattr__(name)

    def has(self, name: str) -> bool:
        """Whether this opset's schema knows an attribute."""
        return name in self.attributes

    def sizes(self, value: Value | None) -> tuple[Dim, ...]:
        """An integer operand known before the run, sizes included. Raises Computed where it is computed from data."""
        content = None if value is None else value.content()
        if content is None:
            raise Computed(
                f"{self.native.op_type} takes a shape that the network computes from its data",
                why="sizes must follow from the inputs' shapes",
                hint="Fix the inputs' sizes with input_shapes, or cut the network before it",
            )
        return content if isinstance(content, tuple) else (content,)

    @property
    def label(self) -> str:
        """The node's name, unique in the whole model: its path through the nodes around it."""
        return self.reader.label

    def refused(self, what: str, *, why: str, hint: str = "") -> Refused:
        """The error to raise where the node means what no operator here does."""
        return Refused(what, self.graph.source, why, hint)

    def inlined(self, proto: Any, inputs: Sequence[Value | None] = (), part: str = "") -> list[Value]:
        """The results of a subgraph, its nodes read into the graph at hand; part: which of several readings it is."""
        inner = self.reader.within(self.reader, self.graph)
        inner.path += f"{part}." if part else ""
        inner.env.update(zip((i.name for i in proto.input), inputs, strict=True))
        inner.body(proto)
        return inner.results(proto)

    def read_body(self, proto: Any, own: Sequence[tuple[Shape, Any]]) -> Graph:
        """A subgraph as a graph of its own that takes inputs of these shapes and dtypes; captures nothing yet: `closed`."""
        inner = self.reader.within(self.reader)
        for info, (shape, dtype) in zip(proto.input, own, strict=True):
            value = inner.graph.input(info.name, shape, dtype)
            scalar = not shape and len(info.type.tensor_type.shape.dim) == 1  # the step and the condition of a Loop
            inner.env[info.name] = value.reshape(1) if scalar else value
        inner.body(proto)
        inner.graph.outputs, inner.graph.output_names = inner.results(proto), [o.name for o in proto.output]
        inner.graph.structure = tuple(range(len(proto.output)))
        self.bodies.append(inner)
        return inner.graph

    def closed(self, *graphs: Graph) -> tuple[list[Graph], list[Value]]:
        """Several bodies, finished, and the values that they take behind their own inputs."""
        captured = close([next(b.env.captures for b in self.bodies if b.graph is graph) for graph in graphs])
        finished = [bodies.finished(graph) for graph in graphs]
        self.graph.notes += [note for body in finished for note in body.notes]
        return finished, captured

    def composed(self, own: Sequence[tuple[Shape, Any]], captured: Sequence[Value], apply: Callable[..., Any]) -> Graph:
        """A body of operators that no file spells out: what `apply` makes of its own inputs and the captured ones."""
        graph = Graph()
        graph.source = self.graph.source
        inputs = [graph.input(f"input_{i}", shape, dtype) for i, (shape, dtype) in enumerate(own)]
        results = apply(*inputs, *(graph.input(v.name or "captured", v.shape, v.dtype) for v in captured))
        return bodies.finished(ended(graph, results if isinstance(results, tuple) else [results]))

    def applied(self, body: Graph, operands: Sequence[Value]) -> list[Value]:
        """What a body makes of values, computed in their graph."""
        graph = next(v.graph for v in operands)

        def emit(node: Node, op: Op, values: list[Value]) -> Sequence[Value]:
            start, graph.source = len(graph.nodes), node.source
            results = graph.emit(op, values)
            attribute(graph, start, node.name)
            return results

        return inline(graph, body, operands, emit)

    def kind_of(self, proto: Any) -> Any:
        """What a type in the file says of an optional value that is not there."""
        return kinds.Optional(read_type(proto)[1])

    def numpy_dtype(self, element_type: int) -> np.dtype:
        """The numpy dtype of an ONNX element type."""
        return np.dtype(helper.tensor_dtype_to_np_dtype(element_type))


def _default(attribute: Any) -> Any:
    """What a schema says of an attribute that is left out; None for nothing."""
    return _plain(helper.get_attribute_value(attribute.default_value)) if attribute.default_value.type else None


def _same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b)) if isinstance(a, np.ndarray) else a == b


def _plain(attribute: Any) -> Any:
    """An attribute as Python and numpy have it."""
    if isinstance(attribute, onnx.TensorProto):
        return numpy_helper.to_array(attribute)
    return attribute.decode() if isinstance(attribute, bytes) else attribute
