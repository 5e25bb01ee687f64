"""TorchScript modules as ordinary ones, which `torch.export` traces.

`torch.export` takes no script module, and torch's own converter fixes the sizes of its example and drops the modules'
names. So the compiled code is run here step by step: each script module becomes a module of the same class name, with the
same parameters under the same names, whose methods compute what the compiled graph says. Sizes stay symbolic, loops over
known counts are unrolled, and a branch on a number of a tensor is refused. Only operators of ATen are ever called.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ...errors import Refused
from .decompose import definition, importer_for, is_random
from .script_fused import attention, encoder_layer
from .script_numbers import CODES, LAYOUTS, PLAIN, TYPES

KEPT = "leaky_interop::CallMethod"  # what calls of methods are called while functions are inlined
MANGLED = re.compile(r"___torch_mangle_\d+\.|^__torch__\.")
HINT = "Export the network with torch.export where its Python code is"


def is_script(model: Any) -> bool:
    """Whether a module is compiled."""
    return isinstance(model, torch.jit.ScriptModule)


def scripted(model: Any) -> torch.nn.Module:
    """An ordinary module that computes what the script module does, with its weights, shared and under their names."""
    return _module(model, {})


def converts(name: str) -> bool:
    """Whether an operator, by its name in ATen, is one that converts, or part of TorchScript's own language."""
    if f"aten::{name}" in LANGUAGE or f"prim::{name}" in LANGUAGE:
        return True
    plain = name.removesuffix("_")
    packets = [getattr(torch.ops.aten, n) for n in {name, plain} if hasattr(torch.ops.aten, n)]
    found = [getattr(packet, overload) for packet in packets for overload in packet.overloads()]
    known = set(torch._C._dispatch_get_all_op_names())  # what is not there is TorchScript's own
    return any(
        importer_for(str(f), f._schema) or is_random(f) or (f.name() in known and definition(f) is not None)
        for f in found
    )


class Scripted(torch.nn.Module):
    """Runs the methods of one script module."""

    source: Any
    graphs: dict[str, Any]
    entry: str  # the method that a call runs: one of the forms of forward

    def method(self, name: str, *arguments: Any, **named: Any) -> Any:
        """What a method returns."""
        method = self.source._get_method(name)
        parameters = method.schema.arguments[1:]
        given = dict(zip((p.name for p in parameters), arguments, strict=False)) | named
        values = [given[p.name] if p.name in given else p.default_value for p in parameters]
        if name not in self.graphs:
            self.graphs[name] = _inlined(method.graph)
        graph = self.graphs[name]
        env = dict(zip((v.debugName() for v in graph.inputs()), (self, *values), strict=True))
        results = _run(graph, env)
        return results[0] if len(results) == 1 else tuple(results)


def _module(model: Any, shared: dict[Any, Any]) -> Scripted:
    """The module and those within; `shared` keeps tied weights tied."""
    qualified = MANGLED.sub("", MANGLED.sub("", model._c.qualified_name))
    package, _, name = qualified.rpartition(".")
    entry = next((name for name in model._c._method_names() if name.startswith("forward")), None)
    called = {"forward": _forward(model._c._get_method(entry).schema), "entry": entry} if entry else {}
    made: Scripted = type(name, (Scripted,), {"__module__": package or "__main__", "__qualname__": name, **called})()
    made.source, made.graphs, made.training = model._c, {}, getattr(model, "training", False)
    for key, tensor in model._parameters.items():
        wanted = (
            tensor if tensor is None else shared.setdefault(tensor, torch.nn.Parameter(tensor, tensor.requires_grad))
        )
        made.register_parameter(key, wanted)
    for key, tensor in model._buffers.items():
        made.register_buffer(key, tensor)
    for key, child in model._modules.items():
        made.add_module(key, _module(child, shared))
    return made


def _forward(schema: Any) -> Callable[..., Any]:
    def forward(self: Scripted, *arguments: Any, **named: Any) -> Any:
        return self.method(self.entry, *arguments, **named)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    taken = [
        inspect.Parameter(a.name, kind, default=a.default_value if a.has_default_value() else inspect.Parameter.empty)
        for a in schema.arguments
    ]
    forward.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]
    return forward


def _inlined(graph: Any) -> Any:
    """A copy of a method's graph in which functions are inlined, and calls of other modules' methods are not."""
    graph = graph.copy()
    for node in graph.findAllNodes("prim::CallMethod", True):
        kept = graph.create(KEPT, list(node.inputs()), node.outputsSize())
        kept.s_("name", node.s("name"))
        kept.insertBefore(node)
        for old, new in zip(node.outputs(), kept.outputs(), strict=True):
            new.setType(old.type())
        node.replaceAllUsesWith(kept)
        node.destroy()
    torch._C._jit_pass_inline(graph)
    return graph


def _run(block: Any, env: dict[str, Any]) -> list[Any]:
    """What a block returns. `env`: the values of this block and of those around it, by name."""
    for node in block.nodes():
        inputs = [env[v.debugName()] for v in node.inputs()]
        results = _step(node, inputs, env)
        env.update(zip((v.debugName() for v in node.outputs()), results, strict=True))
    returned = block.return_node() if hasattr(block, "return_node") else block.returnNode()
    return [env[v.debugName()] for v in returned.inputs()]


def _step(node: Any, inputs: Sequence[Any], env: dict[str, Any]) -> Sequence[Any]:
    """What one step gives."""
    kind = node.kind()
    if kind in STEPS:
        return STEPS[kind](node, inputs, env)
    if kind in PLAIN and not any(isinstance(i, torch.Tensor) for i in inputs):
        return [PLAIN[kind](*inputs)]
    if kind in ASKED:
        return [_numbered(getattr(inputs[0], kind.removeprefix("prim::")))]
    if kind == "prim::unchecked_cast":
        return inputs
    if kind in ("prim::ListUnpack", "prim::TupleUnpack"):
        return list(inputs[0])
    return _called(node, kind, inputs)


def _called(node: Any, kind: str, inputs: Sequence[Any]) -> Sequence[Any]:
    """The results of an operator of ATen."""
    namespace, _, name = kind.partition("::")
    text = node.schema()
    if namespace != "aten" or text in ("", "(no schema)"):
        raise Refused(f"{kind} of TorchScript", _place(node), "only operators of ATen are converted", HINT)
    schema = torch._C.parse_schema(text)
    found = getattr(getattr(torch.ops.aten, name, None), schema.overload_name or "default", None)
    if found is None:
        raise Refused(f"{text} of TorchScript", _place(node), "it is no operator of tensors", HINT)
    given = map(_number, node.inputs(), inputs) if sum(isinstance(i, torch.Tensor) for i in inputs) > 1 else inputs
    values = [_plain(a, v) for a, v in zip(schema.arguments, given, strict=True)]
    places = [v for a, v in zip(schema.arguments, values, strict=True) if not a.kwarg_only]
    named = {a.name: v for a, v in zip(schema.arguments, values, strict=True) if a.kwarg_only}
    made = found(*places, **named)
    if len(schema.returns) == 1:
        return [list(made) if isinstance(made, tuple) else made]
    return list(made) if schema.returns else []


def _number(place: Any, value: Any) -> Any:
    """What a trace holds as a tensor is the Python number that it was: it does not make floats of 64 bits of whole numbers."""
    constant = isinstance(value, torch.Tensor) and not value.ndim and place.node().kind() == "prim::Constant"
    return value.item() if constant and value.dtype in (torch.float64, torch.int64) else value


def _numbered(value: Any) -> Any:
    """An element type or a layout as the number that TorchScript compares it as."""
    kinds = TYPES if isinstance(value, torch.dtype) else LAYOUTS if isinstance(value, torch.layout) else ()
    return kinds.index(value) if value in kinds else value


def _plain(argument: Any, value: Any) -> Any:
    """An argument as Python's operators take it: TorchScript counts element types, layouts and memory formats."""
    kind = str(argument.real_type if hasattr(argument, "real_type") else argument.type)
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    return next((CODES[name](value) for name in CODES if name in kind), value)


def _place(node: Any) -> str:
    lines = [line.strip() for line in node.sourceRange().splitlines() if line.strip()]
    return lines[0] if lines else ""


def _attribute(node: Any, inputs: Sequence[Any], env: dict[str, Any]) -> Sequence[Any]:
    owner, name = inputs[0], node.s("name")
    if not isinstance(owner, Scripted):
        raise Refused(
            f"an object of class {type(owner).__name__} of TorchScript", _place(node), "it is no module", HINT
        )
    inside = owner._modules.keys() | owner._parameters.keys() | owner._buffers.keys() | {"training"}
    return [getattr(owner, name) if name in inside else owner.source.getattr(name)]


def _method(node: Any, inputs: Sequence[Any], env: dict[str, Any]) -> Sequence[Any]:
    owner, *arguments = inputs
    if not isinstance(owner, Scripted):
        raise Refused(f"a method of {type(owner).__name__} of TorchScript", _place(node), "it is no module", HINT)
    name = node.s("name")
    if name.startswith("forward"):
        owner.entry = name
        made = owner(*arguments)
    else:
        made = owner.method(name, *arguments)
    return [made] if node.outputsSize() == 1 else list(made or ())


def _branch(node: Any, inputs: Sequence[Any], env: dict[str, Any]) -> Sequence[Any]:
    if isinstance(inputs[0], torch.Tensor):
        why = "which branch runs depends on a number of a tensor"
        raise Refused("a branch of TorchScript", _place(node), why, HINT)
    yes, no = node.blocks()
    return _run(yes if inputs[0] else no, env)


def _loop(node: Any, inputs: Sequence[Any], env: dict[str, Any]) -> Sequence[Any]:
    (body,) = node.blocks()
    most, going, *carried = inputs
    names, count = [v.debugName() for v in body.inputs()], 0
    while going and count < most:
        env.update(zip(names, (count, *carried), strict=True))
        going, *carried = _run(body, env)
        count += 1
    return carried


def _raised(node: Any, inputs: Sequence[Any], env: dict[str, Any]) -> Sequence[Any]:
    raise Refused(
        "an error that TorchScript raises", _place(node), str(inputs[0])[:200], "Give an example that it takes"
    )


def _nested(node: Any, inputs: Sequence[Any], env: dict[str, Any]) -> Sequence[Any]:
    what = f"{node.kind().partition('::')[2]} of TorchScript"
    hint = "Make the encoder with enable_nested_tensor=False, or leave the mask out"
    raise Refused(what, _place(node), "rows of different lengths are no tensor of another framework", hint)


def _is_a(value: Any, kind: Any) -> bool:
    """Whether a value is of a type of TorchScript's."""
    inner = kind.containedTypes()
    if kind.kind() == "ListType":
        return isinstance(value, list) and all(_is_a(item, inner[0]) for item in value)
    if kind.kind() == "TupleType":
        return isinstance(value, tuple) and len(value) == len(inner) and all(map(_is_a, value, inner))
    return isinstance(value, CLASSES[kind.kind()])


CLASSES: dict[str, tuple[type, ...]] = {
    "TensorType": (torch.Tensor,),
    "IntType": (int, torch.SymInt),
    "FloatType": (float, torch.SymFloat),
    "BoolType": (bool, torch.SymBool),
    "StringType": (str,),
    "NoneType": (type(None),),
    "DictType": (dict,),
}
STEPS: dict[str, Callable[[Any, Sequence[Any], dict[str, Any]], Sequence[Any]]] = {
    "prim::Constant": lambda node, inputs, env: [node.output().toIValue()],
    "prim::GetAttr": _attribute,
    KEPT: _method,
    "prim::If": _branch,
    "prim::Loop": _loop,
    "prim::RaiseException": _raised,
    "prim::ListConstruct": lambda node, inputs, env: [list(inputs)],
    "prim::TupleConstruct": lambda node, inputs, env: [tuple(inputs)],
    "prim::DictConstruct": lambda node, inputs, env: [dict(zip(inputs[::2], inputs[1::2], strict=True))],
    "prim::Uninitialized": lambda node, inputs, env: [None],
    "prim::isinstance": lambda node, inputs, env: [any(_is_a(inputs[0], kind) for kind in node.tys("types"))],
    "prim::Print": lambda node, inputs, env: [],
    "aten::warn": lambda node, inputs, env: [],
    "aten::size": lambda node, inputs, env: [list(inputs[0].shape) if len(inputs) == 1 else inputs[0].shape[inputs[1]]],
    "aten::dim": lambda node, inputs, env: [inputs[0].ndim],
    "aten::numel": lambda node, inputs, env: [inputs[0].numel()],
    "aten::is_floating_point": lambda node, inputs, env: [inputs[0].is_floating_point()],
    "aten::__is__": lambda node, inputs, env: [inputs[0] is inputs[1]],
    "aten::__isnot__": lambda node, inputs, env: [inputs[0] is not inputs[1]],
    "aten::is_grad_enabled": lambda node, inputs, env: [False],  # as a network runs
    "aten::is_autocast_enabled": lambda node, inputs, env: [False],
    "aten::_native_multi_head_attention": lambda node, inputs, env: attention(*inputs),
    "aten::_transformer_encoder_layer_fwd": lambda node, inputs, env: [encoder_layer(*inputs)],
    "aten::_nested_tensor_from_mask": _nested,
    "aten::_nested_tensor_from_mask_left_aligned": _nested,
    "aten::to_padded_tensor": _nested,
    "aten::append": lambda node, inputs, env: [inputs[0].append(inputs[1]) or inputs[0]],
}

# What scripts may name besides operators of tensors: TorchScript's own, which change nothing outside.
ASKED = {
    f"prim::{name}"
    for name in "dtype device type index layout data requires_grad is_cuda is_cpu is_meta is_nested is_sparse is_quantized itemsize".split()
}
LISTS = "insert pop remove count reverse clear find split join lower upper startswith endswith replace strip update get".split()
LANGUAGE = {
    *STEPS,
    *PLAIN,
    *ASKED,
    *(f"prim::{name}" for name in ("unchecked_cast", "TupleUnpack", "ListUnpack", "id", "name", "grad")),
    *(f"aten::{name}" for name in ("item", *LISTS)),
}
