"""PyTorch's layers as source code: the constructor call of each, in which what is usual is left out."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from ...code.steps import call, dotted, literal, with_calls
from ...errors import Refused

WEIGHTS = ("weight", "bias")  # what a layer has or has not; its constructor takes whether
SKIPPED = ("device", "dtype", "init", "_weight", "_freeze")
STATED = ("p", "negative_slope", "alpha", "upscale_factor")  # written even where they are the default
NAMED = ("dim", "size", "min_val", "approximate", "lower")  # first parameters that nobody gives by position


def constructor(module: nn.Module) -> ast.expr:
    """The call that makes a layer like this one, all settings as keywords: `shortened` leaves out what is usual.

    Raises Refused for a layer that its settings do not make again.
    """
    settings = _settings(module)
    again = type(module)(**settings, device="meta") if _takes_device(module) else type(module)(**settings)
    if _own_repr(again) != _own_repr(module):
        raise Refused(f"{module} in source code", why=f"its settings make {again}", hint="Write a .pt2 file")
    made = call(
        f"nn.{type(module).__name__}",
        **{name: literal(_shortest(name, content), name) for name, content in settings.items()},
    )
    weights = dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))
    kinds = {t.dtype for t in weights.values() if t.is_floating_point()} - {torch.float32}
    for kind in sorted(kinds, key=str)[:1]:
        made.keywords.append(ast.keyword("dtype", dotted(str(kind))))
    trained = [p.requires_grad for _, p in own_parameters(module)]
    constant = any(key in module._non_persistent_buffers_set for key in WEIGHTS)
    if constant or (trained and not any(trained)):
        return call(ast.Attribute(made, "requires_grad_"), ast.Constant(False))
    return made


def shortened(node: ast.expr) -> ast.expr:
    """An expression whose layers are made as people make them: required settings by position, usual ones left out."""
    return with_calls(node, _shorten)


def _shorten(found: ast.Call) -> None:
    made = _layer(found)
    if made is None:
        return
    parameters = _parameters(made)
    kept: list[Any] = [k for k in found.keywords if not _is_usual(k, parameters, made)]
    while kept and (first := next(iter(parameters), None)) == kept[0].arg:
        if found.args and parameters[first].default is not inspect.Parameter.empty:
            break
        if not found.args and first in NAMED:
            break
        found.args.append(kept.pop(0).value)
        del parameters[first]
    found.keywords = kept


def _layer(found: ast.Call) -> type[nn.Module] | None:
    """The class of torch.nn that a call makes."""
    f = found.func
    if isinstance(f, ast.Attribute) and isinstance(f.value, ast.Name) and f.value.id == "nn" and found.keywords:
        made = getattr(nn, f.attr)
        return (
            made
            if isinstance(made, type) and issubclass(made, nn.Module) and made.__module__.startswith("torch.")
            else None
        )
    return None


def _is_usual(keyword: ast.keyword, parameters: dict[str, inspect.Parameter], made: type[nn.Module]) -> bool:
    if not isinstance(keyword.value, ast.Constant) or keyword.arg not in parameters or keyword.arg in STATED:
        return False
    content, default = keyword.value.value, parameters[keyword.arg].default
    return type(content) is type(default) and bool(content == default)


def _parameters(made: type[nn.Module]) -> dict[str, inspect.Parameter]:
    source = nn.RNNBase if issubclass(made, nn.RNNBase) else made
    found = dict(list(inspect.signature(source.__init__).parameters.items())[1:])
    if issubclass(made, nn.RNNBase):
        del found["mode"]
        if made is nn.RNN:
            found["nonlinearity"] = inspect.Parameter("nonlinearity", inspect.Parameter.KEYWORD_ONLY, default="tanh")
    return found


def _takes_device(module: nn.Module) -> bool:
    return "device" in _parameters(type(module))


def _settings(module: nn.Module) -> dict[str, Any]:
    """The arguments of a layer's constructor, as the layer has kept them."""
    found = {}
    for name, parameter in _parameters(type(module)).items():
        if (
            name in SKIPPED
            or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            or not hasattr(module, name)
        ):
            continue
        content = getattr(module, name)
        if name == "bias" and not isinstance(content, bool):
            if not getattr(module, "affine", getattr(module, "elementwise_affine", True)):
                continue
            content = content is not None
        found[name] = tuple(content) if isinstance(content, torch.Size | list) else content
    window = found.get("kernel_size")
    if isinstance(module, nn.MultiheadAttention):
        found |= {"bias": module.in_proj_bias is not None}
        found = {k: v for k, v in found.items() if k not in ("kdim", "vdim") or v != module.embed_dim}
    if "stride" in found and _parameters(type(module))["stride"].default is None and found["stride"] == window:
        del found["stride"]
    return found


def _shortest(name: str, content: Any) -> Any:
    """One number for several that are the same, where that means as many."""
    if isinstance(content, tuple) and content and all(type(c) is type(content[0]) and c == content[0] for c in content):
        return content[0] if len(content) == 1 or name != "normalized_shape" else content
    return content


def own_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that come with a layer, those of the layer in it included where it brings one along."""
    return module.named_parameters(recurse=isinstance(module, nn.MultiheadAttention))


def _own_repr(module: nn.Module) -> str:
    """How a layer prints by itself, without what was put below it."""
    return f"{type(module).__name__}({module.extra_repr()})"


def counts(keys: Sequence[str]) -> bool:
    """Whether keys are numbers that rise, with few gaps."""
    if not all(k.isdigit() and str(int(k)) == k for k in keys):
        return False
    numbers = [int(k) for k in keys]
    return numbers == sorted(numbers) and numbers[-1] < 2 * len(numbers) + 1


def filled(made: dict[str, ast.expr]) -> Iterator[ast.expr]:
    """Members by number; an nn.Identity where a number is missing."""
    for number in range(int(max(made, key=int)) + 1):
        yield made.get(str(number)) or call("nn.Identity")


def sequence(made: dict[str, ast.expr]) -> ast.expr:
    if counts(list(made)):
        members = call("nn.Sequential", *filled(made))
        return marked(members) if len(made) > 1 else members
    if all(key.isdigit() for key in made):
        pairs = ast.Dict([ast.Constant(k) for k in made], list(made.values()))
        return call("nn.Sequential", call("OrderedDict", marked(pairs)))
    members = call("OrderedDict", **made)
    return call("nn.Sequential", marked(members) if len(made) > 1 else members)


def marked(node: Any) -> Any:
    """A container of layers: `text` gives each a line."""
    node.is_long = True
    return node


def repeated(node: Any) -> Any:
    """An expression in which a container of equal members says so."""

    class Repeat(ast.NodeTransformer):
        def visit_Call(self, found: ast.Call) -> ast.expr:
            self.generic_visit(found)
            members = found.args
            if len(members) == 1 and isinstance(members[0], ast.List):
                members = members[0].elts
            kind = ast.unparse(found.func)
            if (
                kind not in ("nn.Sequential", "nn.ModuleList")
                or len(members) < 3
                or len({ast.unparse(m) for m in members}) > 1
            ):
                return found
            counted = ast.comprehension(ast.Name("_"), call("range", ast.Constant(len(members))), [], 0)
            if kind == "nn.Sequential":
                return call(kind, ast.Starred(ast.GeneratorExp(members[0], [counted])))
            return call(kind, ast.ListComp(members[0], [counted]))

    return Repeat().visit(node)
