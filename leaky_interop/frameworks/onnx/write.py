"""Writes ONNX: a graph becomes a checked ModelProto whose nodes and values carry the source's layer names."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ... import names
from ...errors import Usage
from ...graph import Graph, Parameter, Step, Value
from ...interpreter import measures
from ...op import Op
from ...ort import raw
from ...passes.lowering import lower
from ...sizes import Dim, Size, fold
from ..base import Builder, Port
from . import kernels
from .file import SMALL, stream
from .naming import OWN
from .nesting import write_body
from .read import CONSTANTS, FROZEN, holds_weights
from .run import newest_opset
from .symbols import Body, Symbol, Written, dtype_of, read
from .types import info, type_proto
from .views import VIEWS, told

FRAMEWORK = "onnx"
OLDEST = 13  # the first operator set that every exporter knows how to write, or refuses in words
OPTIONAL = onnx.defs.OpSchema.FormalParameterOption.Optional
IR_VERSION = 10  # the first with metadata on nodes; onnx would write its own newest, which runtimes lag behind


def assign(model: Any, numbers: Iterable[tuple[onnx.TensorProto, np.ndarray]]) -> None:
    """Write new numbers into a model's own tensors. Raises Usage where it was read from a copy."""
    if not isinstance(model, onnx.ModelProto) or model.functions:
        why = "an onnx_ir model, and one with local functions, is read from a copy"
        raise Usage("the weights of this ONNX model cannot be written in place", why=why, hint="Pass a plain ModelProto")
    for tensor, array in numbers:
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def prepare(graph: Graph) -> Graph:
    """The graph as ONNX computes it: canonical already, but for the steps that it has no operator for."""
    return lower(graph, FRAMEWORK, np.float64)


def build(graph: Graph, *, opset: int | None = None) -> tuple[onnx.ModelProto, dict[int, Any]]:
    """A model, and the name of what computes each canonical value (by id)."""
    builder = OnnxBuilder(graph, checked(opset, graph))
    builder.export()
    model, handles = builder.finish()
    for tensor, (_, parameter) in zip(model.graph.initializer, builder.weights.values(), strict=True):
        tensor.raw_data = raw(parameter.array()).tobytes()
    return model, handles


def build_file(
    graph: Graph, path: Path, *, opset: int | None = None, external_data: bool | None = None
) -> tuple[onnx.ModelProto, dict[int, Any]]:
    """Write a graph as an `.onnx` file, one weight at a time in memory: what `build` makes, without the weights' numbers."""
    builder = OnnxBuilder(graph, checked(opset, graph))
    builder.export()
    model, handles = builder.finish()
    weights = [parameter for _, parameter in builder.weights.values()]
    stream(model, path, lambda index: raw(weights[index].array()), external_data)
    return model, handles


def checked(opset: int | None, graph: Graph) -> int:
    """The operator set to write: by default the newest that is released and that the installed onnxruntime takes, or has fast
    kernels for."""
    kinds = {type(node.op).__name__ for node in graph.all_nodes()}
    newest = min([newest_opset(), *(last for kind, last in kernels.NEWEST.items() if kind in kinds)])
    if opset is not None and not OLDEST <= opset <= newest:
        why = f"the installed onnx and onnxruntime go up to {newest}" if opset > newest else ""
        raise Usage(f"opset {opset} cannot be written", why=why, hint=f"Choose one from {OLDEST} to {newest}")
    return opset or min(newest, kernels.fastest(graph) or newest)


class OnnxBuilder(Builder):
    """`onnx` as exporters see it: every operator is a function that writes a node, `onnx.LeakyRelu(x, alpha=0.3)`."""

    framework = FRAMEWORK
    text = lists = True

    def __init__(self, graph: Graph, opset: int):
        super().__init__(graph)
        self.opset = opset
        self.nodes: list[Written] = []
        self.weights: dict[Any, tuple[Symbol, Parameter]] = {}  # by identity: tied weights are one
        self.first: dict[Any, Parameter] = {}  # by tie: the view of a weight that is stored; others are made of it
        self.viewed: dict[Any, Symbol] = {}  # by identity: those others
        self.names = names.Unique()
        self.sources = measures(graph)
        for value in graph.inputs:
            self.made[id(value)] = Symbol(self, self.names(value.name), dtype=value.dtype)
        for name in graph.output_names:
            self.names(name)  # kept for the outputs

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        if not kind[:1].isupper():
            raise AttributeError(kind)
        return lambda *inputs, **attributes: self.write(kind, inputs, **attributes)

    def write(self, kind: str, inputs: Sequence[Any], *, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        """Write a node; attributes that are None are left out. Several outputs come as a tuple.

        A bare number takes the dtype of the operands beside it. Where onnxruntime has no kernel for a dtype, the node
        computes in a wider one between casts; this refuses where there is none.
        """
        if not domain and not onnx.defs.has(kind, max_inclusive_version=self.opset):
            why = f"ONNX has it since opset {kernels.since(kind)}"
            raise self.refuse(f"{kind} in opset {self.opset}", why=why, instead="Write a newer opset")
        types = kernels.Types(kind, self.opset, domain)
        dtypes = types.read(map(dtype_of, inputs))
        dtype = dtypes.get(types.main)
        unknown = [] if domain else sorted(k for k, v in attributes.items() if v is not None and not types.knows(k))
        if unknown:
            why = f"ONNX has it since opset {kernels.since(kind, unknown[0])}"
            raise self.refuse(f"{unknown[0]} of {kind} in opset {self.opset}", why=why, instead="Write a newer opset")
        flows = any(isinstance(v, Body) for v in attributes.values())
        if flows:
            self.check_flow(kind, inputs, types)
        elif dtype is not None and dtype.kind != "L" and not (kernels.runs(kind, dtype) and types.allows(types.main, dtype)):
            return self.detour(kind, inputs, types, dtype, outputs, attributes)
        operands = [None if i is None else self.typed(i, dtypes.get(types.input(n))) for n, i in enumerate(inputs)]
        while operands and operands[-1] is None:
            operands.pop()
        attributes = {k: v for k, v in attributes.items() if v is not None}
        made = Written(kind, domain, operands, [], attributes, self.node.name, self.node.source)
        made.outputs = [Symbol(self, made_by=made, dtype=types.result(n, dtypes, attributes)) for n in range(outputs)]
        if types.schema and (lost := types.foreign(map(dtype_of, operands), (o.dtype for o in made.outputs))):
            why = "this operator set does not take that type there"
            raise self.refuse(f"{lost} at {kind} of opset {self.opset}", why=why, instead="Write a newer opset")
        self.nodes.append(made)
        return made.outputs[0] if outputs == 1 else tuple(made.outputs)

    def detour(self, kind: str, inputs: Any, types: kernels.Types, dtype: np.dtype, outputs: int, attributes: Any) -> Any:
        """A node that computes in a wider dtype, between casts."""
        carrier = kernels.CARRIERS.get(dtype.name)
        if carrier is None:
            raise self.refuse(
                f"{kind} in {dtype.name}",
                why="onnxruntime's CPU provider has no kernel for it, and no exact composition is known",
                instead="Convert the network in float32",
            )
        wide = self.element_type(carrier)
        turned = [self.Cast(i, to=wide) if dtype_of(i) == dtype and types.turns(n, dtype) else i for n, i in enumerate(inputs)]
        results = self.write(kind, turned, outputs=outputs, **attributes)
        results = results if isinstance(results, tuple) else (results,)
        narrow = self.element_type(dtype)
        back = tuple(self.Cast(r, to=narrow) if types.output(n) == types.main else r for n, r in enumerate(results))
        return back[0] if outputs == 1 else back

    def body(self, graph: Graph, captured: Sequence[Any]) -> Body:
        """A graph inside a node, as the attribute that holds it; its last inputs are the captured values."""
        return write_body(self, graph, captured)

    def check_flow(self, kind: str, inputs: Sequence[Any], types: kernels.Types) -> None:
        """Refuse what goes into a branch or loop of an operator set that does not know its dtype there."""
        for index, dtype in enumerate(map(dtype_of, inputs)):
            if dtype is not None and dtype.kind != "L" and not types.allows(types.input(index), dtype):
                why = f"{kind} takes none there"
                raise self.refuse(f"{dtype} in a {kind} of opset {self.opset}", why=why, instead="Write a newer opset")

    def check_dtypes(self, op: Op) -> None:
        for port in (*self.inputs, *self.outputs):
            if port is not None and port.dtype.name in kernels.NOWHERE:
                why = "onnxruntime's CPU provider has no kernel for it"
                raise self.refuse(f"{type(op).__name__} in {port.dtype}", why=why, instead="Cut the network before it")

    def runs(self, kind: str) -> bool:
        """Whether onnxruntime has a kernel for an operator in the dtype of the node at hand (of its last operand)."""
        ports = [p for p in self.inputs if p is not None]
        carrier = kernels.CARRIERS.get(ports[-1].dtype.name)
        return kernels.runs(kind, ports[-1].dtype) or (carrier is not None and kernels.runs(kind, np.dtype(carrier)))

    def takes(self, kind: str, operands: Sequence[Port | None]) -> set[str]:
        """The attributes of an operator in the opset that is written; refuses operands that it does not take there."""
        schema, main = onnx.defs.get_schema(kind, self.opset), kernels.Types(kind, self.opset, "").main
        if len(operands) > schema.max_input:
            why = f"there these numbers are attributes, which must be known, in opset {self.opset}"
            raise self.refuse(f"{kind} with computed numbers", why=why, instead="Write a newer opset")
        for formal, port in zip(schema.inputs, operands, strict=False):
            if port is not None and kernels.type_string(port.dtype) not in formal.types:
                raise self.refuse(f"{kind} of {port.dtype}", why=f"opset {self.opset} does not define it", instead="Cast around it")
            if port is not None and port.dtype.kind == "V" and formal.type_str != main and not kernels.runs(kind, port.dtype):
                raise self.refuse(f"{kind} of {port.dtype}", why="onnxruntime has no kernel for it", instead="Cast around it")
        return set(schema.attributes)

    def operand(self, op: Op, position: int, value: Value | None) -> Any:
        """As everywhere, but a number keeps its dtype."""
        made = super().operand(op, position, value)
        return np.asarray(made, value.dtype) if value is not None and isinstance(made, bool | int | float) else made

    def typed(self, operand: Any, dtype: np.dtype | None) -> Symbol:
        """An operand as a symbol, a bare number in the given dtype."""
        return self.tensor(np.asarray(operand, dtype) if isinstance(operand, bool | int | float) else operand)

    def tensor(self, value: Any) -> Any:
        if isinstance(value, Symbol | Value) or value is None:
            return super().tensor(value)
        return self.held(self.graph.constant(value))

    def held(self, value: Value) -> Symbol:
        parameter = value.const
        assert parameter is not None
        if parameter.dtype == object:  # text is no weight
            texts = [text.encode() for text in parameter.array().reshape(-1)]
            return self.Constant(value=helper.make_tensor("text", onnx.TensorProto.STRING, parameter.shape, texts))
        key = parameter.identity
        whole = parameter.whole
        first = self.first.setdefault(whole.tie, whole) if parameter.name else parameter
        if first.identity != key and key not in self.viewed and (steps := parameter.seen_from(first)) is not None:
            self.viewed[key] = self.view(self.held(self.graph.parameter(first)), steps)
        if key in self.viewed:
            return self.viewed[key]
        if key not in self.weights:
            name = self.names(parameter.name or f"{self.node.name or 'constant'}_constant")
            made = Symbol(self, name, dtype=parameter.dtype)
            self.weights[key] = (made, parameter)
        return self.weights[key][0]

    def view(self, made: Symbol, steps: Iterable[Step]) -> Symbol:
        """A weight through the steps of a view, so that it stays one weight."""
        for kind, *rest in steps:
            if kind == "transpose":
                made = self.Transpose(made, perm=list(rest[0]))
            elif kind == "reshape":
                made = self.Reshape(made, np.asarray(rest[0], np.int64))
            elif kind == "take":
                made = self.Gather(made, np.asarray(rest[0], np.int64), axis=rest[1])
            else:
                made = self.Cast(made, to=self.element_type(rest[0]))
        return made

    def integers(self, numbers: Any) -> Any:
        """Plain ints as a 1-D int64 tensor; symbols pass."""
        return numbers if isinstance(numbers, Symbol) else np.atleast_1d(np.asarray(numbers, np.int64))

    def size(self, dim: Dim) -> Symbol | np.ndarray:
        """A size as a tensor of shape (1,), computed from the inputs' shapes where it is not known."""
        if isinstance(dim, int):
            return self.integers(dim)
        return fold(dim, self.measured, lambda a, b: a // b, lambda a, b: self.Max(self.integers(a), self.integers(b)))

    def measured(self, name: str) -> Symbol:
        value, axis = self.sources[name]
        key: Any = ("size", name)
        if key not in self.made:
            if self.opset >= 15:
                self.made[key] = self.Shape(self.made[id(value)], start=axis, end=axis + 1)
            else:
                self.made[key] = self.Gather(self.Shape(self.made[id(value)]), self.integers(axis), axis=0)
        return self.made[key]

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

    def type_of(self, dtype: Any, shape: Any) -> onnx.TypeProto:
        """The type of a value that an attribute holds."""
        return type_proto(dtype, shape)

    def finished(self, value: Value, native: Symbol) -> Symbol:
        native.dtype = value.dtype  # a schema does not tell what bodies give
        if native.made_by is not None and not native.name:
            native.name = self.names(value.name)
        return native

    # the proto

    def finish(self) -> tuple[onnx.ModelProto, dict[int, Any]]:
        """The checked model, whose initializers (in the order of `weights`) have no numbers yet."""
        outputs = self.output_symbols()
        self.nodes, self.wanted = read(self.nodes, outputs)
        self.weights = {key: held for key, held in self.weights.items() if id(held[0]) in self.wanted}
        protos = self.protos(self.nodes)
        infos = [info(s.name, v) for s, v in zip(outputs, self.graph.outputs, strict=True)]
        inputs = [info(self.made[id(v)].name, v) for v in self.graph.inputs]
        domains = {made.domain for made in self.nodes} - {""}
        opsets = [helper.make_opsetid("", self.opset), *(helper.make_opsetid(d, 1) for d in sorted(domains))]
        graph = helper.make_graph(protos, "leaky_interop", inputs, infos)
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name=OWN)
        for key, listed in self.roles().items():
            if listed:
                model.metadata_props.add(key=key, value=json.dumps(listed))
        self.declare_weights(model)
        known = self.wanted | {id(self.made[id(v)]) for v in self.graph.inputs}
        handles = {key: s.name for key, s in self.made.items() if isinstance(key, int) and id(s) in known}
        return model, handles

    def roles(self) -> dict[str, Any]:
        """What ONNX does not say of its weights: which are not trained, which were none, how one follows from another."""
        held = [(symbol.name, parameter) for symbol, parameter in self.weights.values()]
        return {
            FROZEN: [name for name, p in held if p.name and not p.trainable],
            CONSTANTS: [name for name, p in held if not p.name and holds_weights(p.dtype)],
            VIEWS: {name: view for name, p in held if (view := told(p))},
        }

    def protos(self, nodes: Sequence[Written]) -> list[onnx.NodeProto]:
        """The nodes of one scope, every value named; those of the bodies in them after their own names."""
        node_names = names.Unique()
        titles = {id(made): node_names(made.name) for made in self.main_nodes(nodes)}
        protos = []
        for made in nodes:
            base = made.name or made.kind.lower()
            for index, output in enumerate(made.outputs):
                output.name = output.name or self.names(f"{base}_{made.kind.lower()}" + (f"_{index}" if index else ""))
            proto = helper.make_node(
                made.kind,
                ["" if i is None else i.name for i in made.inputs],
                self.results(made),
                name=titles.get(id(made)) or node_names(base),
                domain=made.domain,
                **{k: v.proto(self, f"{base}_{k}") if isinstance(v, Body) else v for k, v in made.attributes.items()},
            )
            if made.source:
                proto.metadata_props.add(key="leaky_interop.source", value=made.source)
            protos.append(proto)
        return protos

    def results(self, made: Written) -> list[str]:
        """The names of a node's results; an optional one that nothing reads is left out."""
        optional = [r.option == OPTIONAL for r in onnx.defs.get_schema(made.kind, self.opset).outputs] if not made.domain else []
        optional += [False] * (len(made.outputs) - len(optional))
        found = ["" if o and id(s) not in self.wanted else s.name for o, s in zip(optional, made.outputs, strict=False)]
        while not found[-1]:
            found.pop()
        return found

    def main_nodes(self, nodes: Sequence[Written]) -> Iterable[Written]:
        """Of the nodes that one canonical node became, the one that bears its name: the first with a weight, or the last."""
        weights = {id(symbol) for symbol, parameter in self.weights.values() if parameter.name}
        found: dict[str, tuple[bool, Written]] = {}
        for made in nodes:
            if made.name and not found.get(made.name, (False,))[0]:
                found[made.name] = any(id(i) in weights for i in made.inputs), made
        return [made for _, made in found.values()]

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

    def declare_weights(self, model: onnx.ModelProto) -> None:
        """Check the model with its large weights as inputs, then give it all of them, without their numbers yet.

        What the checker needs to see of a weight is its shape; small ones are often shapes themselves.
        """
        skeleton = onnx.ModelProto()
        skeleton.CopyFrom(model)
        for made, parameter in self.weights.values():
            kind = self.element_type(parameter.dtype)
            tensor = model.graph.initializer.add(name=made.name, dims=parameter.shape, data_type=kind)
            if math.prod(parameter.shape) * parameter.dtype.itemsize <= SMALL:
                skeleton.graph.initializer.add().CopyFrom(tensor)
                skeleton.graph.initializer[-1].raw_data = raw(parameter.array()).tobytes()
            else:
                skeleton.graph.input.append(helper.make_tensor_value_info(made.name, kind, parameter.shape))
        onnx.checker.check_model(skeleton, full_check=True)
