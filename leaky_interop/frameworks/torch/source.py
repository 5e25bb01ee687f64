"""Writes a converted network as PyTorch source with its weights beside it: code that runs without this package.

The source is generated from a model that this package has built itself, never from text of a stranger's file: names in
it are identifiers already.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from keyword import iskeyword
from pathlib import Path
from typing import Any

import torch

from ... import names
from . import control

HEADER = '''"""{title}

Written by leaky_interop from {origin}.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn


{classes}
def load(weights=Path(__file__).with_name("{weights}")):
    """The network with its trained weights, in evaluation mode."""
    model = Network()
    state = load_file(weights)
    for name, owner in {tied}.items():
        state[name] = state[owner]
    model.load_state_dict(state, strict=True, assign=True){retie}
    return model.eval()
'''


def save_source(model: torch.fx.GraphModule, path: Path, origin: str) -> None:
    """Write `net.safetensors` at `path` and `net.py` beside it.

    Raises ModuleNotFoundError without safetensors.
    """
    from safetensors.torch import save_file

    state: dict[str, torch.Tensor] = {}
    tied: dict[str, str] = {}
    owners: dict[int, str] = {}
    for name, tensor in _tensors(model).items():
        owner = owners.setdefault(id(tensor), name)
        if owner == name:
            state[name] = tensor.detach().contiguous()
        else:
            tied[name] = owner
    parameters = dict(model.named_parameters(remove_duplicate=False))
    retie = "".join(
        f"\n    {_put(name, 'register_parameter', f'model.get_parameter({owner!r})', 'model')}"
        for name, owner in tied.items()
        if name in parameters
    )
    text = HEADER.format(
        title=f"A network of {sum(p.numel() for p in model.parameters()):,} parameters.",
        origin=" ".join(origin.split()).replace('"""', "'''").replace("\\", "/"),
        classes=_classes(model),
        weights=path.name,
        tied=tied,
        retie=retie,
    )
    save_file(state, path)
    path.with_suffix(".py").write_text(text, encoding="utf-8")


def _tensors(model: torch.fx.GraphModule) -> dict[str, torch.Tensor]:
    """Every parameter and buffer, unsaved constants included, shared ones under each of their names."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return parameters | dict(model.named_buffers(remove_duplicate=False))


CLASS = '''class {name}(nn.Module):
    """{shapes}"""

    def __init__(self):
        super().__init__()
{modules}

{forward}
'''


def _classes(model: torch.fx.GraphModule) -> str:
    """The classes of branches, loops and lists, of the graphs that they hold, and of the network."""
    kinds = {type(m) for m in model.modules()}
    texts = [f"{inspect.getsource(kind)}\n\n" for kind in control.KINDS if kind in kinds]
    texts += [text + "\n" for text in _graph_classes(model, "Network", names.Unique(["Network", *(kind.__name__ for kind in control.KINDS)]))]
    return "".join(texts)


def _graph_classes(model: torch.fx.GraphModule, name: str, unique: names.Unique) -> Iterator[str]:
    """The class of a graph, after those of the graphs inside it."""
    flows: dict[str, str] = {}
    for path, module in _modules_of(model):
        if not isinstance(module, control.KINDS):
            continue
        held = {}
        for key, body in module.named_children():
            held[key] = unique("".join(part.title() for part in f"{names.identifier(path)}_{key}".split("_")))
            yield from _graph_classes(body, held[key], unique)  # type: ignore[arg-type]
        settings = {k: v for k, v in vars(module).items() if not k.startswith("_") and k != "training"}
        arguments = [f"{k}={v}()" for k, v in held.items()] + [f"{k}={v!r}" for k, v in settings.items()]
        flows[path] = f"{type(module).__name__}({', '.join(arguments)})"
    shapes = ", ".join(f"{n.target}" for n in model.graph.nodes if n.op == "placeholder")
    yield CLASS.format(
        name=name,
        shapes=f"Takes {shapes}." if shapes else "Takes nothing.",
        modules=_modules(model, flows) or "        pass",
        forward=_forward(model),
    )


def _modules_of(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The modules of one graph, without those inside branches and loops."""
    inside: tuple[str, ...] = ()
    for path, module in model.named_modules():
        if not path.startswith(inside or "\n"):
            yield path, module
        if isinstance(module, control.KINDS):
            inside = (*inside, f"{path}.")


def _modules(model: torch.fx.GraphModule, flows: Mapping[str, str]) -> str:
    """The statements that build the submodules, then the free parameters and buffers of containers.

    flows: by path, the expressions of branches and loops.
    """
    lines = []
    for path, module in _modules_of(model):
        container = type(module) is torch.nn.Module
        if path:
            expression = flows.get(path) or f"nn.{'Module()' if container else repr(module)}"
            lines.append(_put(path, "add_module", expression))
        where = _read("self", path)
        for key, parameter in module.named_parameters(recurse=False):
            if not path or container:
                empty = f"torch.empty({tuple(parameter.shape)}, dtype={parameter.dtype})"
                made = f"nn.Parameter({empty}, requires_grad={parameter.requires_grad})"
                lines.append(_put(f"{path}.{key}".strip("."), "register_parameter", made))
            elif not parameter.requires_grad:
                lines.append(f"{where}.{key}.requires_grad_(False)")
        if not path or container:
            for key, buffer in module.named_buffers(recurse=False):
                lines.append(f'{where}.register_buffer("{key}", torch.empty({tuple(buffer.shape)}, dtype={buffer.dtype}))')
    return "\n".join(f"        {line}" for line in lines)


def _plain(path: str) -> bool:
    """Whether a path can be written with dots: "0" and "class" cannot."""
    return all(part.isidentifier() and not iskeyword(part) for part in path.split("."))


def _read(root: str, path: str) -> str:
    """The expression of a submodule."""
    if not path:
        return root
    return f"{root}.{path}" if _plain(path) else f'{root}.get_submodule("{path}")'


def _put(path: str, method: str, made: str, root: str = "self") -> str:
    """The statement that gives a module, parameter or buffer its place."""
    owner, _, key = path.rpartition(".")
    where = _read(root, owner)
    return f"{where}.{key} = {made}" if _plain(key) else f'{where}.{method}("{key}", {made})'


def _forward(model: torch.fx.GraphModule) -> str:
    """The graph's own code, one method, without the statements that only free memory."""
    code: Any = model.graph.python_code("self").src
    kept = []
    for line in code.strip().splitlines():
        statement, _, _ = line.partition(";  ")
        if statement.strip():
            kept.append(f"    {statement.rstrip()}")
    return "\n".join(kept) + "\n"
