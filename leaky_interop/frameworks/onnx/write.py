"""Writes ONNX: a graph becomes a checked ModelProto whose nodes and values carry the source's layer names."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from ... import names
from ...graph import Graph, Parameter, Value
from ...sizes import Dim, Size, fold, symbol
from ..base import Builder
from .read import CONSTANTS, FROZEN

FRAMEWORK = "onnx"
OPSET = 21  # taken by every supported onnxruntime and by most other runtimes
IR_VERSION = 10  # what opset 21 came with; onnx would write its own newest, which runtimes lag behind
SMALL = 1024  # bytes; what the checker needs to see of a weight is its shape, so larger ones are checked as inputs


def prepare(graph: Graph) -> Graph:
    """The graph as ONNX computes it: canonical already."""
    return graph


def save(model: onnx.ModelProto, path: Path, graph: Graph) -> None:
    """Write an `.onnx` file."""
    path.write_bytes(model.SerializeToString())


def build(graph: Graph, *, opset: int | None = None) -> tuple[onnx.ModelProto, dict[int, Any]]:
    """A model, and the name of what computes each canonical value (by id)."""
    builder = OnnxBuilder(graph, opset or OPSET)
    builder.export()
    return builder.finish()


@dataclasses.dataclass(eq=False)
class Symbol:
    """A value of the model being written. Arithmetic on it writes nodes (used for sizes)."""

    builder: OnnxBuilder
    name: str = ""
    made_by: _Node | None = None

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
class _Node:
    kind: str
    domain: str
    inputs: list[Symbol | None]
    outputs: list[Symbol]
    attributes: dict[str, Any]
    name: str
    source: str


class OnnxBuilder(Builder):
    """`onnx` as exporters see it: every operator is a function that writes a node, `onnx.LeakyRelu(x, alpha=0.3)`."""

    framework = FRAMEWORK

    def __init__(self, graph: Graph, opset: int):
        super().__init__(graph)
        self.opset = opset
        self.nodes: list[_Node] = []
        self.weights: dict[Any, tuple[Symbol, Parameter]] = {}  # by identity: tied weights are one
        self.frozen: list[str] = []
        self.constants: list[str] = []
        self.names = names.Unique()
        for value in graph.inputs:
            self.made[id(value)] = Symbol(self, self.names(value.name))
        for name in graph.output_names:
            self.names(name)  # kept for the outputs

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        if not kind[:1].isupper():
            raise AttributeError(kind)
        return lambda *inputs, **attributes: self.write(kind, inputs, **attributes)

    def write(self, kind: str, inputs: Sequence[Any], *, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Write a node; attributes that are None are left out. Several outputs come as a tuple."""
        operands = [None if i is None else self.tensor(i) for i in inputs]
        while operands and operands[-1] is None:
            operands.pop()
        attributes = {k: v for k, v in attributes.items() if v is not None}
        made = _Node(kind, domain, operands, [], attributes, self.node.name, self.node.source)
        made.outputs = [Symbol(self, made_by=made) for _ in range(outputs)]
        self.nodes.append(made)
        return made.outputs[0] if outputs == 1 else tuple(made.outputs)

    def tensor(self, value: Any) -> Any:
        if isinstance(value, Symbol | Value) or value is None:
            return super().tensor(value)
        return self.held(self.graph.constant(value))

    def held(self, value: Value) -> Symbol:
        parameter = value.const
        assert parameter is not None
        key = parameter.identity
        if key not in self.weights:
            made = Symbol(self, self.names(parameter.name or f"{self.node.name or 'constant'}_constant"))
            self.weights[key] = (made, parameter)
            if not parameter.name and parameter.shape and parameter.dtype.kind in "fV":
                self.constants.append(made.name)
            elif parameter.name and not parameter.trainable:
                self.frozen.append(made.name)
        return self.weights[key][0]

    def integers(self, numbers: Any) -> Any:
        """Plain ints as a 1-D int64 tensor; symbols pass."""
        return numbers if isinstance(numbers, Symbol) else np.atleast_1d(np.asarray(numbers, np.int64))

    def size(self, dim: Dim) -> Symbol | np.ndarray:
        """A size as a tensor of shape (1,), computed from the inputs' shapes where it is not known."""
        if isinstance(dim, int):
            return self.integers(dim)
        return fold(dim, self.measured, lambda a, b: a // b, lambda a, b: self.Max(self.integers(a), self.integers(b)))

    def measured(self, name: str) -> Symbol:
        for value in self.graph.inputs:
            for axis, dim in enumerate(value.shape):
                if dim == symbol(name):
                    key: Any = ("size", name)
                    if key not in self.made:
                        self.made[key] = self.Shape(self.made[id(value)], start=axis, end=axis + 1)
                    return self.made[key]
        raise AssertionError(f"no input has the size {name!r}")

    def shape(self, dims: Iterable[Dim]) -> Any:
        """A shape for Reshape: one unknown size is -1, more are computed."""
        dims = tuple(dims)
        if sum(isinstance(d, Size) for d in dims) <= 1 and 0 not in dims:
            return np.asarray([-1 if isinstance(d, Size) else d for d in dims], np.int64)
        return self.sizes(dims)

    def sizes(self, dims: Iterable[Dim]) -> Any:
        """Sizes as a 1-D int64 tensor: a constant where all are known."""
        dims = tuple(dims)
        if not any(isinstance(d, Size) for d in dims):
            return np.asarray(dims, np.int64)
        return self.Concat(*(self.size(d) for d in dims), axis=0)

    def size_tensor(self, value: Value) -> Any:
        assert value.sizes is not None
        flat = self.sizes(value.sizes.reshape(-1))
        shaped = flat if value.rank == 1 else self.Reshape(flat, np.asarray(value.shape, np.int64))
        return shaped if value.dtype == np.int64 else self.Cast(shaped, to=self.element_type(value.dtype))

    def element_type(self, dtype: Any) -> int:
        from ...numeric import dtype as by_name

        return helper.np_dtype_to_tensor_dtype(by_name(dtype))

    def finished(self, value: Value, native: Symbol) -> Symbol:
        if native.made_by is not None and not native.name:
            native.name = self.names(value.name)
        return native

    # the proto

    def finish(self) -> tuple[onnx.ModelProto, dict[int, Any]]:
        outputs = self.output_symbols()
        node_names = names.Unique()
        protos = []
        for made in self.nodes:
            base = made.name or made.kind.lower()
            for index, output in enumerate(made.outputs):
                output.name = output.name or self.names(f"{base}_{made.kind.lower()}" + (f"_{index}" if index else ""))
            proto = helper.make_node(
                made.kind,
                ["" if i is None else i.name for i in made.inputs],
                [o.name for o in made.outputs],
                name=node_names(base),
                domain=made.domain,
                **made.attributes,
            )
            if made.source:
                proto.metadata_props.add(key="leaky_interop.source", value=made.source)
            protos.append(proto)
        infos = [_info(s.name, v) for s, v in zip(outputs, self.graph.outputs, strict=True)]
        inputs = [_info(self.made[id(v)].name, v) for v in self.graph.inputs]
        domains = {p.domain for p in protos} - {""}
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, 1) for d in sorted(domains))]
        graph = helper.make_graph(protos, "leaky_interop", inputs, infos)
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="leaky_interop")
        for key, listed in ((FROZEN, self.frozen), (CONSTANTS, self.constants)):
            if listed:
                model.metadata_props.add(key=key, value=json.dumps(listed))
        self.add_weights(model)
        handles = {key: s.name for key, s in self.made.items() if isinstance(key, int)}
        return model, handles

    def output_symbols(self) -> list[Symbol]:
        """The output values under their names; one that is an input, a weight or two outputs passes an Identity."""
        found: list[Symbol] = []
        for value, name in zip(self.graph.outputs, self.graph.output_names, strict=True):
            native = self.tensor(value)
            if native.made_by is None or native in found:
                native = self.write("Identity", (native,))
            native.name = name
            found.append(native)
        return found

    def add_weights(self, model: onnx.ModelProto) -> None:
        """Check the model with its large weights as inputs, then give it all of them."""
        skeleton = onnx.ModelProto()
        skeleton.CopyFrom(model)
        for made, parameter in self.weights.values():
            array = np.ascontiguousarray(parameter.array())
            tensor = model.graph.initializer.add(name=made.name, data_type=self.element_type(array.dtype), dims=array.shape)
            tensor.raw_data = array.tobytes()
            if array.nbytes <= SMALL:
                skeleton.graph.initializer.add().CopyFrom(tensor)
            else:
                skeleton.graph.input.append(helper.make_tensor_value_info(made.name, tensor.data_type, array.shape))
        onnx.checker.check_model(skeleton, full_check=True)


def _info(name: str, value: Value) -> onnx.ValueInfoProto:
    """Type and shape of a port; a symbol keeps its name, an expression stays open."""
    dims = [d if isinstance(d, int) else str(d) if d == symbol(str(d)) else None for d in value.shape]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), dims)
