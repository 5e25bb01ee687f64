"""Reads ONNX: every node under the schema of its own opset, defaults from that schema.

Integer arithmetic on sizes (Shape, Gather, Concat ...) is followed symbolically, so a Reshape whose target is computed
from the input's shape reads as one with symbolic sizes.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.inliner
import onnx.shape_inference
from onnx import helper, numpy_helper

from ...deferring import defer
from ...errors import Computed, Refused, Usage
from ...graph import Anchor, Graph, Parameter, Value
from ...layout import settle
from ...numeric import is_float
from ...op import importer_of
from ...ort import as_proto, hollowed, stored
from ...passes import after_import
from ...passes.detours import straighten
from ...sizes import Dim, Shape, symbol
from ..base import Importing, check_dtype
from . import bodies
from .calls import NodeCall
from .naming import OWN, titles
from .run import Program, describe
from .types import read_type
from .views import VIEWS, viewed

FRAMEWORK = "onnx"
LEARNING = "ai.onnx.ml"
FROZEN = "leaky_interop.frozen"  # model metadata: the names of weights that training leaves alone
CONSTANTS = "leaky_interop.constants"  # model metadata: the names of initializers that are no weights
def load(
    model: Any, *, example: Any = None, input_shapes: Any = None, static_batch: bool = False, dynamic_batch: bool = False,
    trust: bool = True,
) -> Graph:
    """The graph of a ModelProto or an onnx_ir model whose tensors are in memory.

    trust : also read ai.onnx.ml, whose kernels in onnxruntime have read beyond their data
    """
    if isinstance(model, onnx.ModelProto) or model.functions:
        proto, lent, whole = as_proto(model), {}, None
        proto = onnx.inliner.inline_local_functions(proto) if proto.functions else proto
    else:  # large weights stay where they are: in memory maps
        (proto, lent), whole = hollowed(model), lambda: as_proto(model)
    return Reader(proto, input_shapes, static_batch, dynamic_batch, lent, whole, trust).read()


class Reader:
    def __init__(
        self, model: onnx.ModelProto, input_shapes: Any, static_batch: bool, dynamic_batch: bool,
        lent: Mapping[str, np.ndarray], whole: Callable[[], onnx.ModelProto] | None, trust: bool,
    ):  # fmt: skip
        self.model, self.lent, self.whole = model, lent, whole
        self.opsets = {o.domain if o.domain != "ai.onnx" else "": o.version for o in model.opset_import}
        self.importing = Importing(FRAMEWORK, describe(model))
        self.graph = self.importing.graph
        self.input_shapes = input_shapes
        self.static_batch, self.dynamic_batch, self.trust = static_batch, dynamic_batch, trust
        self.env: dict[str, Value | None] = {"": None}
        self.own = model.producer_name == OWN
        listed = {p.key: json.loads(p.value) for p in model.metadata_props if p.key in (FROZEN, CONSTANTS, VIEWS)}
        self.told = told if isinstance(told := listed.get(VIEWS), dict) else {}
        self.frozen, self.constants = (set(listed.get(key, ())) for key in (FROZEN, CONSTANTS))
        self.path = self.label = ""

    @classmethod
    def within(cls, outer: Reader, graph: Graph | None = None) -> Reader:
        """A reader of a subgraph: into a graph of its own, or into the one around it."""
        bodies.check_depth(outer)
        made = cls.__new__(cls)
        made.__dict__ |= outer.__dict__
        made.importing = Importing(FRAMEWORK, outer.label)
        made.importing.missing = outer.importing.missing
        if graph is not None:
            made.importing.graph = graph
        made.graph = made.importing.graph
        made.env = bodies.Scope(outer, made.graph)
        made.path = f"{outer.label}."
        return made

    def read(self) -> Graph:
        proto, graph = self.model.graph, self.graph
        self.weights(proto)
        for index, info in enumerate(i for i in proto.input if i.name not in self.env):
            self.env[info.name] = self.input(info, index)
        self.nodes(proto.node)
        lost = [o.name for o in proto.output if self.env.get(o.name) is None]
        if lost and not self.importing.missing:
            why = "the operator that computes it is read without this result"
            raise Refused(f"output {lost[0]!r}", describe(self.model), why, "Take it out of the model's outputs")
        graph.outputs = [v for o in proto.output if (v := self.env.get(o.name)) is not None]
        graph.output_names = [o.name for o in proto.output]
        graph.structure = None if len(graph.outputs) == 1 else tuple(range(len(graph.outputs)))
        whole = self.whole
        if self.dynamic_batch:
            graph.program = Program(self.model, lambda: _open_batch(whole() if whole else self.model))
        else:
            graph.program = Program(self.model, whole)
        return self.importing.finish(straighten, settle, after_import)

    def body(self, proto: Any) -> None:
        """Read a subgraph's weights and nodes."""
        self.weights(proto)
        self.nodes(proto.node)

    def results(self, proto: Any) -> list[Value]:
        """The values that a subgraph gives."""
        return [self.env[o.name] for o in proto.output]  # type: ignore[misc]

    def weights(self, proto: Any) -> None:
        for tensor in proto.initializer:
            self.env[tensor.name] = self.weight(tensor.name, tensor)
        for sparse in proto.sparse_initializer:
            self.env[sparse.values.name] = self.weight(sparse.values.name, sparse)

    def weight(self, name: str, tensor: Any) -> Value:
        """A stored tensor: a weight (see `holds_weights`) in at least one axis unless told so, otherwise a constant."""
        if isinstance(tensor, onnx.SparseTensorProto):
            return self.graph.constant(_dense(tensor))
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
        weighty = holds_weights(dtype) or name in self.frozen
        plain = tensor.data_type == onnx.TensorProto.STRING or not weighty or not (tensor.dims or self.own)
        if plain or name in self.constants:
            return self.graph.constant(stored(tensor, self.lent))
        parameter = Parameter(
            name=name,
            shape=tuple(tensor.dims),
            dtype=dtype,
            read=lambda: stored(tensor, self.lent),
            root=tensor,
            trainable=name not in self.frozen and is_float(dtype) and dtype.itemsize > 1,
        )
        return self.graph.parameter(viewed(parameter, self.told[name]) if name in self.told else parameter)

    def input(self, info: Any, index: int) -> Value:
        kind = info.type.tensor_type
        if not info.type.HasField("tensor_type"):
            value = self.graph.input(info.name, (), read_type(info.type)[1])
            check_dtype(value, f"onnx input {info.name!r}")
            return value
        value = self.graph.input(info.name, self.shape(info.name, kind, index), helper.tensor_dtype_to_np_dtype(kind.elem_type))
        check_dtype(value, f"onnx input {info.name!r}")
        value.anchor = Anchor(info.name)
        return value

    def shape(self, name: str, kind: Any, index: int) -> Shape:
        """An input's shape: what the file fixes stays fixed, what it leaves open is a symbol (or what the caller says)."""
        stated = self.stated(name, index)
        if not kind.HasField("shape"):
            if stated is None:
                raise Usage(f"input {name!r} has no shape", hint=f"Pass input_shapes={{{name!r}: (...)}}")
            dims: list[Any] = list(stated)
        else:
            dims = [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else d.dim_param or None for d in kind.shape.dim]
        if stated is not None:
            clash = len(stated) != len(dims) or any(
                isinstance(d, int) and isinstance(s, int) and s != d for d, s in zip(dims, stated, strict=True)
            )
            if clash:
                raise Usage(f"input {name!r} takes ({', '.join(map(str, dims))}), not {tuple(stated)}")
            dims = [s if isinstance(s, int) else d for d, s in zip(dims, stated, strict=True)]
        result: list[Dim] = []
        for axis, dim in enumerate(dims):
            if axis == 0 and (self.dynamic_batch or (not isinstance(dim, int) and not self.static_batch)):
                result.append(symbol(dim if isinstance(dim, str) and not self.dynamic_batch else "batch"))
            elif isinstance(dim, int):
                result.append(dim)
            else:
                result.append(1 if axis == 0 else symbol(dim or f"{name}_{axis}"))
        return tuple(result)

    def stated(self, name: str, index: int) -> tuple[int | None, ...] | None:
        shapes = self.input_shapes
        if isinstance(shapes, tuple) and shapes and not isinstance(shapes[0], tuple | list):
            shapes = [shapes]
        if not shapes:
            return None
        found = shapes.get(name) if isinstance(shapes, Mapping) else shapes[index] if index < len(shapes) else None
        return None if found is None else tuple(d if isinstance(d, int) and d >= 0 else None for d in found)

    def nodes(self, nodes: Sequence[Any]) -> None:
        weights = {name for name, v in self.env.items() if v is not None and v.const is not None and v.const.name}
        for node, name in zip(nodes, titles(nodes, weights), strict=True):
            if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
                self.env[node.output[0]] = self.constant(node)
            else:
                self.node(node, node.name if self.own and node.name else name)

    def constant(self, node: Any) -> Value:
        attribute = node.attribute[0]
        value = helper.get_attribute_value(attribute)
        if attribute.name in ("value", "sparse_value"):
            return self.weight(node.output[0], value)
        dtype: Any = {"f": np.float32, "i": np.int64, "s": object}[attribute.name.removeprefix("value_")[0]]
        if dtype is object:
            value = value.decode() if isinstance(value, bytes) else [text.decode() for text in value]
        return self.graph.constant(value, dtype)

    def node(self, node: Any, name: str) -> None:
        domain = "" if node.domain == "ai.onnx" else node.domain
        native = f"{domain}.{node.op_type}" if domain else node.op_type
        source = f"onnx {native} {node.name or next(o for o in node.output if o)!r}"
        source += f" in {self.path[:-1]}" if self.path else ""
        if domain == LEARNING and not self.trust:
            why, hint = "it is no layer of a network, and its kernels in onnxruntime have read beyond their data", "Pass trust=True (--trust)"
            raise Refused(f"{node.op_type}, of classical machine learning", source, why, hint)
        opset = self.opsets.get(domain, 1)
        importer = importer_of(FRAMEWORK, native, opset)
        lacking = any(i not in self.env for i in node.input)
        if importer is None or lacking:
            if importer is None:
                self.unread(node, native if domain else f"{native} (opset {opset})", source, name)
            return
        self.label = self.path + name
        call = NodeCall(self, node, opset)
        results = self.importing.call(
            self.now_or_later(importer),
            call,
            [self.env[i] for i in node.input],
            name=name,
            source=source,
            left_out=call.left_out,
            keys=None if self.path else list(node.output),
        )
        if call.unread and not self.importing.missing:
            listed = ", ".join(f"{name}={call.attributes[name]!r}" for name in sorted(call.unread))
            raise Refused(listed, source, "its meaning is not known here", "Leave it out if the network does not need it")
        for output, value in zip(node.output, results, strict=False):
            if output and not (value is None and self.importing.missing):
                self.env[output] = value

    def now_or_later(self, importer: Callable[..., Any]) -> Callable[..., Any]:
        """An importer; what it needs to know and the network computes is left to the run, where that can be."""

        @functools.wraps(importer)
        def read(call: NodeCall, *operands: Value | None) -> Any:
            start = len(self.graph.nodes)
            try:
                return importer(call, *operands)
            except Computed:
                del self.graph.nodes[start:]
                if (later := defer(call, call.native.op_type, *operands)) is None:
                    raise
                return later

        return read

    def unread(self, node: Any, native: str, source: str, name: str) -> None:
        """Note an unsupported node; its results get stand-ins where the file or shape inference tells their shapes."""
        outputs = [o for o in node.output if o]
        kinds = [self.inferred.get(o) for o in outputs]
        known = all(k is not None and k.HasField("shape") for k in kinds)
        claims = [(_sizes(k), helper.tensor_dtype_to_np_dtype(k.elem_type)) for k in kinds] if known else []
        operands = [self.env.get(i) for i in node.input]
        made = self.importing.unsupported(native, source, operands, name=name, claims=claims, keys=outputs)
        self.env.update(zip(outputs, made, strict=False))

    @functools.cached_property
    def inferred(self) -> dict[str, Any]:
        """The tensor type of every value that shape inference or the file itself knows, by name."""
        known = onnx.shape_inference.infer_shapes(self.model).graph
        return {i.name: i.type.tensor_type for i in (*known.value_info, *known.output)}


def holds_weights(dtype: np.dtype) -> bool:
    """Whether stored numbers of a dtype are weights: floats, and the 8 bits or fewer of quantised ones, which do not train."""
    return is_float(dtype) or (dtype.itemsize == 1 and dtype.kind != "b")


def _open_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose inputs and outputs leave their first size open: onnxruntime insists on what a file fixes."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    for info in (*opened.graph.input, *opened.graph.output, *opened.graph.value_info):
        if info.type.tensor_type.shape.dim:
            info.type.tensor_type.shape.dim[0].Clear()
    return opened


def _sizes(kind: Any) -> tuple[int | None, ...]:
    """The sizes of a tensor type; None is an open one."""
    return tuple(d.dim_value if d.dim_value > 0 else None for d in kind.shape.dim)


def _dense(sparse: Any) -> np.ndarray:
    """The dense array of a sparse tensor; indices are linear or by coordinates."""
    values, indices = numpy_helper.to_array(sparse.values), numpy_helper.to_array(sparse.indices)
    result = np.zeros(tuple(sparse.dims), values.dtype)
    result[np.unravel_index(indices, result.shape) if indices.ndim == 1 else tuple(indices.T)] = values
    return result
