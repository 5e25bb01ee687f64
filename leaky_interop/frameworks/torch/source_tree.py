"""The modules of a built model as expressions that make them again, in blocks that become classes."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ... import names
from ...code.folding import Definitions, inner
from ...code.scopes import blocks
from ...code.steps import Block, Made, Path, call, dotted, literal, operands, place, value, walk
from ...code.words import is_name, numbered, title
from . import control
from .source_modules import constructor, counts, filled, marked, own_parameters, sequence
from .source_steps import Steps

if TYPE_CHECKING:
    from .source import Source

SMALL = 16  # numbers of a constant that is written out
MANY = 4  # results and further inputs of a block that is still a class


class Tree:
    """The blocks of one graph module: the network's own, or that of a branch or loop at `prefix`."""

    def __init__(self, source: Source, model: torch.fx.GraphModule, prefix: str):
        self.source = source
        self.model = model
        self.prefix = prefix
        self.steps = Steps(model)
        self.modules = self.steps.modules
        self.at: dict[Path, Block] = {}  # blocks by where their modules stand
        self.kinds: dict[Path, str] = {}  # how each container that is no class is written
        self.root = blocks(self.steps.steps, self.steps.inputs, operands(self.steps.returned), self.accepts)
        for block in [*inner(self.root), self.root]:
            self.at.setdefault(block.path, block)
        for block in [*inner(self.root), self.root]:
            if block.is_sequence:
                keys = self.modules[".".join(block.path)]._modules
                block.entries.append(("", sequence({key: self.construct((*block.path, key)) for key in keys})))
            else:
                self.fill(block)
        self.definitions = Definitions(self.root, join=True)

    # blocks

    def accepts(self, block: Block) -> bool:
        """Whether a scope can be a class, or a sequence of layers."""
        block.expression = ast.Call(place(block.path), [value(i) for i in block.inputs], [])
        block.base = next((names.identifier(p) for p in reversed(block.path) if not p.isdigit()), "y")
        container = self.modules[".".join(block.path)]
        if type(container) is not nn.Module:
            return False
        keys = list(container._modules)
        if self.follows(block, keys) and not container._parameters and not container._buffers:
            block.is_sequence = True
            return True
        own = [*keys, *container._parameters, *container._buffers]
        few = len(block.results) <= MANY and len(block.inputs) <= MANY + 1
        return few and all(is_name(key) for key in own)

    def follows(self, block: Block, keys: Sequence[str]) -> bool:
        """Whether a block's layers, all of them, follow one another in the order in which they stand."""
        if len(block.inputs) != 1 or len(block.results) != 1 or any(hasattr(nn.Sequential, key) for key in keys):
            return False
        current, called = block.inputs[0], []
        for item in block.items:
            e = item.expression
            if (
                not isinstance(e, ast.Call)
                or not isinstance(e.func, ast.Name)
                or e.keywords
                or len(e.args) != 1
                or len(item.results) != 1
            ):
                return False
            if not isinstance(e.args[0], ast.Name) or e.args[0].id != f"%{current}":
                return False
            called.append(tuple(e.func.id[1:].split(".")))
            current = item.results[0]
        numbers = [int(key) for key in keys if key.isdigit()]
        plain = numbers == sorted(numbers) if len(numbers) == len(keys) else not numbers and all(map(is_name, keys))
        return plain and called == [(*block.path, key) for key in keys] and current == block.results[0]

    def fill(self, block: Block) -> None:
        """The attributes of a block's class: weights of its own, constants, layers."""
        container = self.modules[".".join(block.path)]
        for key, weight in self.weights_of(block.path):
            block.entries.append((key, weight))
        found: dict[str, str] = {}
        for item in block.items:
            for node in walk(item.expression):
                if isinstance(node, ast.Name) and node.id.startswith("@!"):
                    target = node.id[2:]
                    if target not in found:
                        taken = {*container._modules, *container._parameters, *container._buffers, *found.values()}
                        found[target] = next(
                            k for k in numbered("constant") if k not in taken and not hasattr(nn.Module, k)
                        )
                        block.entries.append((found[target], self.constant((*block.path, found[target]), target)))
                    node.id = "@" + ".".join((*block.path, found[target]))
        for key in container._modules:
            self.put(block, block.path, key)

    def put(self, block: Block, owner: Path, key: str) -> None:
        """A module of a block's class, and what can only be put into it afterwards."""
        path = (*owner, key)
        block.entries.append((".".join(path[len(block.path) :]), self.construct(path)))
        self.put_inside(block, path)

    def put_inside(self, block: Block, path: Path) -> None:
        if path in self.at and not self.at[path].is_sequence:
            return
        module = self.modules[".".join(path)]
        if isinstance(module, (*control.KINDS, nn.MultiheadAttention)):  # what stands below comes with it
            return
        bare = self.kinds.get(path) == "module"
        for key, weight in self.weights_of(path) if bare else ():
            block.entries.append((".".join((*path, key)[len(block.path) :]), weight))
        for key in module._modules:
            if bare or not self.is_container(path):
                self.put(block, path, key)
            else:
                self.put_inside(block, (*path, key))

    def is_container(self, path: Path) -> bool:
        return path in self.at or path in self.kinds

    def weights_of(self, path: Path) -> Iterator[tuple[str, ast.expr]]:
        """The weights that a container itself holds."""
        container = self.modules[".".join(path)]
        for key, weight in container._parameters.items():
            if weight is not None:
                yield key, self.parameter(weight)
        for key, buffer in container._buffers.items():
            if buffer is not None and key not in container._non_persistent_buffers_set:
                yield key, call("register_buffer", _empty(buffer))

    def parameter(self, weight: nn.Parameter) -> ast.expr:
        return call(
            "nn.Parameter", _empty(weight), **({} if weight.requires_grad else {"requires_grad": ast.Constant(False)})
        )

    def constant(self, path: Path, target: str) -> ast.expr:
        """A constant as a buffer: written out where it is short, otherwise saved."""
        tensor = self.model.get_buffer(target)
        kind = {} if tensor.dtype in (torch.float32, torch.int64, torch.bool) else {"dtype": dotted(str(tensor.dtype))}
        if (
            tensor.ndim == 1
            and tensor.dtype == torch.int64
            and len(tensor) > 1
            and torch.equal(tensor, torch.arange(len(tensor)))
        ):
            made = call("torch.arange", literal(len(tensor), "size"))
        elif tensor.numel() <= SMALL:
            made = call("torch.tensor", literal(_tuples(tensor.tolist()), "values"), **kind)
        else:
            self.source.state[self.prefix + ".".join(path)] = tensor.detach().contiguous().clone()
            return call("register_buffer", _empty(tensor))
        return call("register_buffer", made, persistent=ast.Constant(False))

    def construct(self, path: Path) -> ast.expr:
        """The expression that makes the module at a path."""
        module = self.modules[".".join(path)]
        block = self.at.get(path)
        if block is not None:
            return Made(block, [])
        if isinstance(module, control.KINDS):
            return self.flow(path, module)
        if type(module) is not nn.Module:
            return self.layer(path, module)
        keys = list(module._modules)
        made = {key: self.construct((*path, key)) for key in keys} if self.kind(path, module) != "module" else {}
        if self.kinds[path] == "list":
            return call("nn.ModuleList", marked(ast.List(list(filled(made)))))
        if self.kinds[path] == "weights":
            return call("nn.ParameterList", marked(ast.List([w for _, w in self.weights_of(path)])))
        if self.kinds[path] == "dict":
            return call("nn.ModuleDict", marked(ast.Dict([ast.Constant(k) for k in made], list(made.values()))))
        return call("nn.Module")

    def kind(self, path: Path, module: nn.Module) -> str:
        """How a container that is no class is written."""
        keys, own = list(module._modules), [*module._parameters, *module._buffers]
        if keys and not own and counts(keys):
            kind = "list"
        elif own and not keys and not module._buffers and own == [str(i) for i in range(len(own))]:
            kind = "weights"
        elif keys and not own and not any(hasattr(nn.ModuleDict, key) for key in keys):
            kind = "dict"
        else:
            kind = "module"
        self.kinds[path] = kind
        return kind

    def layer(self, path: Path, module: nn.Module) -> ast.expr:
        trained = [p.requires_grad for _, p in own_parameters(module)]
        if any(trained) and not all(trained):
            name = self.prefix + ".".join(path)
            self.source.frozen += [f"{name}.{k}" for k, p in own_parameters(module) if not p.requires_grad]
        return constructor(module)

    def flow(self, path: Path, module: nn.Module) -> ast.expr:
        """A branch, loop or list: the graphs that it holds have classes of their own."""
        made: dict[str, ast.expr] = {}
        for key, body in module.named_children():
            name = self.source.unique(title(f"{names.identifier('_'.join(path))}_{key}"))
            prefix = f"{self.prefix}{'.'.join(path)}.{key}."
            self.source.bodies[name] = type(self)(self.source, body, prefix).text(name)  # type: ignore[arg-type]
            made[key] = call(name)
        settings = {k: v for k, v in vars(module).items() if not k.startswith("_") and k != "training"}
        made |= {k: ast.parse(repr(v), mode="eval").body for k, v in settings.items()}
        return call(type(module).__name__, **made)


def _empty(tensor: torch.Tensor) -> ast.expr:
    kind = {} if tensor.dtype == torch.float32 else {"dtype": dotted(str(tensor.dtype))}
    sizes = [literal(size, "size") for size in tensor.shape]
    return call("torch.empty", *(sizes or [ast.Tuple([])]), **kind)


def _tuples(content: Any) -> Any:
    return tuple(map(_tuples, content)) if isinstance(content, list) else content
