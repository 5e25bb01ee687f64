"""Writes PyTorch: a graph becomes an fx graph module of native named modules, whose code reads well."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch.fx.proxy import GraphAppendingTracer, Proxy

from ... import names
from ...graph import Graph, Node, Parameter, Step, Value
from ...interpreter import measures
from ...kinds import element
from ...ops.heads import in_torch
from ...passes.heads import group_heads
from ...passes.lowering import lower
from ...passes.unsigned import signed
from ...sizes import Dim, Size, fold
from ..base import Builder, arrange
from .arrays import HELD, MEMORY_FORMATS, from_numpy, torch_dtype
from .export import DTYPES, LISTS, NAMES, NARROW, SHAPES, VALUES, add_submodule, graph_module
from .places import TEXT, has_text, on_places

FRAMEWORK = "torch"
FEW = 8  # places along an axis that the code lists
UNSIGNED = ("uint16", "uint32", "uint64")  # torch stores these, casts them and does nothing else


def assign(model: Any, numbers: Iterable[tuple[torch.Tensor, np.ndarray]]) -> None:
    """Write new numbers into a model's own tensors."""
    with torch.no_grad():
        for tensor, array in numbers:
            tensor.copy_(from_numpy(array))


def prepare(graph: Graph) -> Graph:
    """The graph as PyTorch computes it: canonical already, but for what it has no operator for."""
    return signed(lower(group_heads(graph, in_torch), FRAMEWORK, np.float64), UNSIGNED)


def build(
    graph: Graph, *, opset: int | None = None, channels_last: bool = False
) -> tuple[torch.fx.GraphModule, dict[int, Any]]:
    """A graph module, and which fx value computes each canonical value (by id).

    channels_last : weights of images (and of volumes) in that memory format, which PyTorch's convolutions hand on
    """
    builder = TorchBuilder(graph)
    with torch.device("meta"):  # modules are created without numbers; `place` brings them
        builder.export()
    model, handles = builder.finish()
    for weight in model.parameters() if channels_last else ():
        if weight.ndim in MEMORY_FORMATS:
            weight.data = weight.data.to(memory_format=MEMORY_FORMATS[weight.ndim])
    return model, handles


MAKING = frozenset((  # functions that make tensors of numbers, by default in the processor's memory
    torch.arange, torch.blackman_window, torch.full, torch.hamming_window, torch.hann_window, torch.ones,
    torch.scalar_tensor, torch.tensor, torch.zeros,
))  # fmt: skip


class TorchBuilder(Builder):
    """`torch` as exporters see it: the module, and `place`, `tensor`, `size`."""

    framework = FRAMEWORK
    lacking = UNSIGNED
    text = lists = True

    def __init__(self, graph: Graph, outer: TorchBuilder | None = None):
        super().__init__(graph, torch)
        self.root = torch.nn.Module()
        self.fx = torch.fx.Graph()
        self.tracer = GraphAppendingTracer(self.fx)
        self.unique = names.Unique()
        self.tied: dict[Any, torch.nn.Parameter] = {}
        self.named: dict[str, str] = {}  # fx name -> canonical name
        self.shapes: dict[str, tuple[int | str, ...]] = {}  # by fx name
        self.narrow: dict[str, str] = {}  # fx name -> the element type that a wider one holds
        self.placed: dict[str, tuple[torch.nn.Module, Any]] = {}
        self.first: dict[Any, Parameter] = {}  # by tie: the view of a weight that is stored; other views are made of it
        self.homes: dict[Any, str] = {}  # by identity: where a weight stands
        self.attributes: list[tuple[torch.fx.Node, Parameter]] = []  # whose homes are known when all modules stand
        for value in graph.inputs:
            self.made[id(value)] = Proxy(self.fx.placeholder(self.unique(names.identifier(value.name))), self.tracer)
        if outer is not None:  # a weight is one, whichever graph reads it
            self.tied, self.first, self.mixed = outer.tied, outer.first, outer.mixed
        self.sources = measures(graph)

    def place(self, module: torch.nn.Module, **weights: Value | None) -> Callable[..., Proxy]:
        """Put a native module under the node's name, its parameters and buffers filled from weights."""
        held = {key: value.const.identity for key, value in weights.items() if value is not None and value.const}
        signature = (repr(module), tuple(sorted(held.items())))
        path = self.path(signature)
        if path not in self.placed:
            for key, value in weights.items():
                if value is not None:
                    self.fill(module, key, value)
            for key, buffer in module.named_buffers():
                if buffer.is_meta:  # counters such as num_batches_tracked
                    module.register_buffer(key, torch.zeros(buffer.shape, dtype=buffer.dtype, device="cpu"))
            left = [k for k, t in module.state_dict().items() if t.is_meta]
            assert not left, f"{type(module).__name__} {path}: no numbers for {left}"
            add_submodule(self.root, path, module)
            self.placed[path] = (module, signature)
            for key, value in weights.items():
                if value is not None and value.const is not None and value.const.name:
                    self.first.setdefault(value.const.tie, value.const)
                    self.homes.setdefault(value.const.identity, f"{path}.{key}")
        return lambda *args, **kwargs: self.call_module(path, args, kwargs)

    def control(self, kind: str, *, results: int | None = None, **settings: Any) -> Callable[..., Proxy]:
        """A module of `control` under the node's name, the graphs among its settings as modules in it.

        results : how many it gives; as many as the node, if not said
        """
        from . import control

        count = len(self.outputs) if results is None else results

        def built(body: Graph) -> torch.nn.Module:
            inner = TorchBuilder(body, self)
            inner.export()
            return inner.finish()[0]

        made = {key: built(value) if isinstance(value, Graph) else value for key, value in settings.items()}
        module = getattr(control, kind)(**made)
        path = self.path(id(module))
        add_submodule(self.root, path, module)
        self.placed[path] = (module, id(module))

        def call(*args: Any) -> Any:
            made = self.call_module(path, args, {})
            return made if count == 1 else self.unpack(made, count)

        return call

    def export_node(self, node: Node) -> None:
        """As of any framework; of what only moves or compares texts, the exporter writes what it does to their places."""
        if node.op.texts or not has_text(node):
            super().export_node(node)
            return
        self.node = node
        self.inputs = [self._port(v, True) for v in node.inputs]
        self.outputs = [self._port(v, True) for v in node.outputs]  # type: ignore[misc]
        body, operands = on_places(self, node)
        results = self.control("OnText", body=body, texts=tuple(v.dtype == TEXT for v in node.outputs))(*operands)
        for value, native in zip(node.outputs, results if isinstance(results, tuple) else (results,), strict=True):
            self.made[id(value)] = self.finished(value, native)

    def path(self, signature: Any) -> str:
        """Where the node's module stands; a second call of a shared layer finds the first one's module."""
        base = names.encode(FRAMEWORK, self.node.name or "layer")
        shared = base.rstrip("0123456789").removesuffix("_")
        if isinstance(signature, tuple) and signature[1] and self.placed.get(shared, (None, None))[1] == signature:
            return shared  # another framework numbers the calls of one layer
        path, count = base, 0
        while path in self.placed and self.placed[path][1] != signature:
            count += 1
            path = f"{base}_{count}"
        return path

    def fill(self, module: torch.nn.Module, key: str, value: Value) -> None:
        """Give a module its parameter or buffer; a constant becomes a buffer that is not saved, as everywhere."""
        parameter = value.const
        assert parameter is not None
        owner, _, key = key.rpartition(".")
        module = module.get_submodule(owner)
        if key in dict(module.named_buffers(recurse=False)):
            module.register_buffer(key, from_numpy(parameter.array()))
        elif parameter.name or isinstance(module, torch.nn.RNNBase):
            setattr(module, key, self.native_parameter(parameter))  # recurrent modules keep a second list of them
        else:
            delattr(module, key)
            module.register_buffer(key, from_numpy(parameter.array()), persistent=False)

    def native_parameter(self, parameter: Parameter) -> torch.nn.Parameter:
        """One nn.Parameter for each weight: tied weights stay tied."""
        if parameter.identity not in self.tied or not parameter.name:
            tensor = from_numpy(parameter.array(), given=parameter.is_copied())
            trains = parameter.trainable and tensor.is_floating_point()
            self.tied[parameter.identity] = torch.nn.Parameter(tensor, requires_grad=trains)
        return self.tied[parameter.identity]

    def call_module(self, path: str, args: Any, kwargs: Any) -> Proxy:
        arguments = torch.fx.node.map_aggregate((args, kwargs), lambda a: a.node if isinstance(a, Proxy) else a)
        return Proxy(self.fx.call_module(path, *arguments), self.tracer)

    def holds(self, *operands: Any) -> bool:
        """Whether a module may own these weights; not where one is stored already in another view, or seen in several orders."""
        weights = (o.const for o in operands if isinstance(o, Value) and o.const is not None and o.const.name)
        return super().holds(*operands) and all(
            id(w.root) not in self.mixed and self.first.get(w.tie, w).identity == w.identity for w in weights
        )

    def held(self, value: Value) -> Proxy:
        """A weight as a parameter of the root, a constant as a buffer that is not saved; text as a module's."""
        parameter = value.const
        assert parameter is not None
        if value.dtype.kind == "O":
            texts = parameter.array()
            return self.control("Text", texts=texts.reshape(-1).tolist(), shape=texts.shape, results=1)()
        owned = parameter.ordered if id(parameter.root) in self.mixed else parameter.owned
        first = self.first.setdefault(owned.tie, owned) if parameter.name else parameter
        steps = parameter.seen_from(first)
        if steps is None:
            first, steps = parameter, ()
        node = self.fx.get_attr(names.identifier(parameter.name or "constant"))
        self.attributes.append((node, first))
        return self.viewed(Proxy(node, self.tracer), steps)

    def viewed(self, tensor: Any, steps: Iterable[Step]) -> Any:
        """A tensor through the steps of a view."""
        for kind, *rest in steps:
            if kind == "transpose":
                tensor = tensor.permute(*rest[0])
            elif kind == "reshape":
                tensor = tensor.reshape(rest[0])
            elif kind == "take":
                index, axis = rest
                tensor = tensor[(slice(None),) * axis + (self.index(index),)]
            else:
                tensor = tensor.to(torch_dtype(rest[0]))
        return tensor

    def index(self, places: Sequence[int]) -> Any:
        """Places along an axis: a slice, a few numbers, or a constant, which is no tensor to be made at every call."""
        if tuple(places) == tuple(range(places[0], places[-1] + 1)):
            return slice(places[0], places[-1] + 1)
        return list(places) if len(places) <= FEW else self.held(self.graph.constant(places, np.int64))

    def settle_attributes(self) -> None:
        """Give every weight that a call reads its home: a module's, or one of its own under its name."""
        for node, parameter in self.attributes:
            if parameter.identity not in self.homes:
                name = names.encode(FRAMEWORK, parameter.name) if parameter.name else "constant"
                owner, _, key = name.rpartition(".")
                module = add_submodule(self.root, owner, torch.nn.Module()) if owner else self.root
                spare = itertools.chain([key], (f"{key}_{i}" for i in itertools.count(1)))
                key = next(k for k in spare if not hasattr(module, k))
                if parameter.name:
                    module.register_parameter(key, self.native_parameter(parameter))
                else:
                    module.register_buffer(key, from_numpy(parameter.array()), persistent=False)
                self.homes[parameter.identity] = f"{owner}.{key}" if owner else key
            node.target = self.homes[parameter.identity]

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Proxy:
        """A call of a function that has no tensor among its arguments; what makes one makes it where the inputs are."""
        if function in MAKING and "device" not in kwargs and (place := self.device()) is not None:
            kwargs["device"] = place
        return self.tracer.create_proxy("call_function", function, args, kwargs)

    def device(self) -> Any:
        """The device of the first input that is a tensor, as torch finds it at run time; None where there is no such input."""
        key = ("device",)
        if key not in self.made:
            tensor = next((self.made[id(v)] for v in self.graph.inputs if v.dtype.kind not in "OL"), None)
            place = None if tensor is None else self.tracer.create_proxy("call_function", getattr, (tensor, "device"), {})
            self.made[key] = place  # type: ignore[index]
        return self.made[key]  # type: ignore[index]

    def size(self, dim: Dim) -> Any:
        """A size as torch computes it from the inputs: an int where it is known."""
        if isinstance(dim, int):
            return dim
        return fold(dim, self.measured, lambda a, b: a // b, lambda a, b: torch.sym_max(a, b))

    def measured(self, name: str) -> Any:
        value, axis = self.sources[name]
        key = ("size", name)
        if key not in self.made:
            tensor = self.made[id(value)]
            self.made[key] = tensor.shape[axis] if value.dtype.kind == "O" else tensor.size(axis)  # type: ignore[index]
        return self.made[key]  # type: ignore[index]

    def shape(self, dims: Iterable[Dim]) -> tuple[Any, ...]:
        """A shape for reshape: one unknown size is -1, more are computed."""
        dims = tuple(dims)
        if sum(isinstance(d, Size) for d in dims) == 1:
            return tuple(-1 if isinstance(d, Size) else d for d in dims)
        return tuple(self.size(d) for d in dims)

    def size_tensor(self, value: Value) -> Any:
        assert value.sizes is not None
        entries = [self.size(s) for s in value.sizes.reshape(-1)]
        tensors = [self.call(torch.scalar_tensor, e, dtype=torch_dtype(value.dtype)) for e in entries]
        return torch.stack(tensors).reshape(value.shape)

    def unpack(self, results: Proxy, count: int) -> tuple[Proxy, ...]:
        """The parts of a call that returns several tensors."""
        return tuple(results[i] for i in range(count))

    def torch_dtype(self, dtype: Any) -> torch.dtype:
        return torch_dtype(dtype)

    def finished(self, value: Value, native: Any) -> Any:
        if isinstance(native, Proxy) and native.node.op not in ("placeholder", "get_attr"):
            native.node._rename(self.unique(names.identifier(value.name)))
            self.shapes[native.node.name] = sizes(value)
            self.named[native.node.name] = (self.node.name if value.index == 0 else "") or value.name
            if value.dtype.name in HELD:
                self.narrow[native.node.name] = value.dtype.name
        return native

    def finish(self) -> tuple[torch.fx.GraphModule, dict[int, Any]]:
        outputs = [o.node if isinstance(o, Proxy) else o for o in map(self.tensor, self.graph.outputs)]
        for node, value in zip(outputs, self.graph.outputs, strict=True):
            if value.dtype.name in HELD:
                self.narrow[node.name] = value.dtype.name
        structured = arrange(self.graph.structure, outputs)
        self.fx.output(structured)
        self.settle_attributes()
        model = graph_module(self.root, self.fx).eval()
        for module in model.modules():
            if type(module) is torch.nn.Module and all(key.isdigit() for key in module._modules):
                module._modules = dict(sorted(module._modules.items(), key=lambda row: int(row[0])))  # numbered ones in their order
        model.graph.eliminate_dead_code()
        model.graph.on_generate_code(lambda _: Containers(model.graph, self.unique))
        model.recompile()
        ports = {self.made[id(v)].node.name: v for v in self.graph.inputs}
        model.meta[NAMES] = self.named
        model.meta[SHAPES] = {k: tuple(None if isinstance(d, Size) else d for d in v.shape) for k, v in ports.items()}
        model.meta[DTYPES] = {k: torch_dtype(element(v.dtype)) for k, v in ports.items() if element(v.dtype) != TEXT}
        model.meta[NARROW] = self.narrow
        model.meta[VALUES] = self.shapes | {name: sizes(v) for name, v in ports.items()}
        model.meta[LISTS] = {i for i, v in enumerate(self.graph.outputs) if v.dtype.kind == "L"}
        handles = {key: p.node.name for key, p in self.made.items() if isinstance(key, int) and isinstance(p, Proxy)}
        return model, handles


def sizes(value: Value) -> tuple[int | str, ...]:
    """A value's shape, open sizes as texts."""
    return tuple(str(d) if isinstance(d, Size) else d for d in value.shape)


class Containers:
    """Makes the code of a graph look up each container of several modules once.

    nn.Module takes about half a microsecond to find a submodule, which a small network feels.
    """

    def __init__(self, graph: torch.fx.Graph, unique: names.Unique):
        targets = {tuple(str(node.target).split(".")) for node in graph.nodes if node.op == "call_module"}
        held = Counter(parts[:depth] for parts in targets for depth in range(1, len(parts)))
        self.names = {path: unique(names.identifier(".".join(path))) for path in sorted(held) if held[path] > 1}

    def __call__(self, body: list[str]) -> list[str]:
        """The lines of a function's body, with the lookups before them."""
        code, head = "".join(body), []
        for path, name in self.names.items():
            if re.search(rf'(?<![\w."]){name}(?!\w)', code):
                continue  # somebody has called a value so
            owner = self.names.get(path[:-1], "self")
            found = f"{owner}.{path[-1]}" if path[-1].isidentifier() else f'getattr({owner}, "{path[-1]}")'
            code, count = re.subn(rf"(?<![\w.]){re.escape(found)}(?!\w)", name, code)
            if count:
                head.append(f"{name} = {found}\n")
        return [*head, code]
