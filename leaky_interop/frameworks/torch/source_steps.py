"""Reads a graph module that this package has built as steps: each call as the expression that a person would write."""

from __future__ import annotations

import ast
import builtins
import math
import operator
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ... import names
from ...code.steps import Path, Step, call, common, dotted, literal, place, value
from ...errors import Refused
from .export import NAMES, VALUES

BINARY = {
    operator.add: ast.Add, operator.sub: ast.Sub, operator.mul: ast.Mult, operator.truediv: ast.Div,
    operator.floordiv: ast.FloorDiv, operator.mod: ast.Mod, operator.pow: ast.Pow, operator.matmul: ast.MatMult,
    operator.and_: ast.BitAnd, operator.or_: ast.BitOr, operator.xor: ast.BitXor, torch.matmul: ast.MatMult,
    operator.lshift: ast.LShift, operator.rshift: ast.RShift,
}  # fmt: skip
COMPARE = {
    operator.lt: ast.Lt, operator.le: ast.LtE, operator.gt: ast.Gt, operator.ge: ast.GtE, operator.eq: ast.Eq,
    operator.ne: ast.NotEq,
}  # fmt: skip
UNARY = {operator.neg: ast.USub, operator.invert: ast.Invert}
SPREAD = ("reshape", "permute", "expand", "view", "repeat", "flip", "tile")  # methods that take sizes one by one
USUAL = {  # settings that nobody writes out
    "keepdim": (False,), "mode": ("constant",), "value": (None,), "attn_mask": (None,), "is_causal": (False,),
    "enable_gqa": (False,), "approximate": ("none",), "align_corners": (None,), "largest": (True,), "sorted": (True,),
}  # fmt: skip
REDUCING = ("mean", "sum", "prod", "amax", "amin", "std", "var", "squeeze", "flip")  # one axis alone is a number
RESERVED = {"F", "nn", "np", "re", "torch", "Path", "Tensor", "load", "load_file", "self"}


class Steps:
    """The steps of one graph module; `inputs` and `returned` are its ends."""

    def __init__(self, model: torch.fx.GraphModule):
        self.model = model
        self.modules = dict(model.named_modules())
        self.native: dict[torch.fx.Node, ast.expr] = {}
        self.steps: list[Step] = []
        self.inputs: list[int] = []
        self.absorbed: set[torch.fx.Node] = set()  # nodes that a step before them says too
        self.count = 0
        self.scopes = self.find_scopes()
        for node in model.graph.nodes:
            self.visit(node)

    # scopes

    def find_scopes(self) -> dict[torch.fx.Node, Path]:
        """The module of the source in which each node is computed."""
        found: dict[torch.fx.Node, Path] = {}
        named = self.model.meta.get(NAMES, {})
        for node in reversed(self.model.graph.nodes):
            if node.op == "call_module":
                found[node] = self.container(str(node.target).split(".")[:-1])
            elif node.name in named and not _measures(node):
                found[node] = self.container(names.encode("torch", named[node.name]).split(".")[:-1])
            elif (users := [found[u] for u in node.users if u in found]) and node.op != "placeholder":
                found[node] = common(users)
        for node in self.model.graph.nodes:
            if node.target is operator.getitem and node.args[0] in found:
                found[node] = found[node.args[0]]
        return found

    def container(self, parts: Sequence[str]) -> Path:
        """The innermost container of a path: a layer that holds others is none."""
        for count in range(len(parts), 0, -1):
            found = [self.modules.get(".".join(parts[:i])) for i in range(1, count + 1)]
            if all(type(m) is torch.nn.Module for m in found):
                return tuple(parts[:count])
        return ()

    # nodes

    def visit(self, node: torch.fx.Node) -> None:
        if node in self.native or node in self.absorbed:
            return
        if node.op == "placeholder":
            self.inputs.append(self.number(node))
        elif node.op == "output":
            self.returned = self.argument(node.args[0])
        elif node.op == "get_attr":
            self.weight(node)
        elif (split := _unbound(node)) is not None:
            self.unbind(node, split)
        else:
            self.step(node, self.expression(node))

    def number(self, node: torch.fx.Node) -> int:
        self.native[node] = value(self.count)
        self.count += 1
        return self.count - 1

    def step(self, node: torch.fx.Node, expression: ast.expr) -> None:
        self.steps.append(
            Step(self.scopes.get(node, ()), expression, [self.number(node)], _measures(node), base=_base(node))
        )

    def unbind(self, node: torch.fx.Node, parts: list[torch.fx.Node]) -> None:
        """A split into slices of one, each without its axis: several results at once."""
        expression = self.method(node.args[0], "unbind", literal(node.args[2]))
        results = [self.number(part) for part in parts]
        self.absorbed |= set(node.users)
        self.steps.append(Step(self.scopes.get(node, ()), expression, results, base="part", names=_attends(parts)))

    def weight(self, node: torch.fx.Node) -> None:
        """A weight, read in the scope that holds it and those that use it."""
        path = tuple(str(node.target).split("."))
        owner, key = self.modules[".".join(path[:-1])], path[-1]
        if key in owner._non_persistent_buffers_set and len(path) == 1:
            return  # read by `argument`, where it is used
        users = [self.scopes.get(u, ()) for u in node.users]
        scope = (
            common([path[:-1], *users]) if type(owner) is torch.nn.Module or len(path) == 1 else common(users or [()])
        )
        self.steps.append(Step(scope, place(path), [self.number(node)], inline=True))

    def expression(self, node: torch.fx.Node) -> ast.expr:
        if node.op == "call_module":
            function: ast.expr = place(tuple(str(node.target).split(".")))
            return ast.Call(function, [self.argument(a, node) for a in node.args], self.keywords(node))
        if node.op == "call_method":
            return self.method_of(node)
        return self.function(node)

    def method(self, on: Any, name: str, *args: ast.expr, **kwargs: ast.expr) -> ast.expr:
        return call(ast.Attribute(self.argument(on), name), *args, **kwargs)

    def method_of(self, node: torch.fx.Node) -> ast.expr:
        """A tensor's method: the plainest of those that do the same."""
        name, on, args = str(node.target), node.args[0], list(node.args[1:])
        shape = self.shape(on)
        if name == "size" and len(args) == 1:
            return ast.Subscript(ast.Attribute(self.argument(on, node), "shape"), literal(args[0]))
        if name == "select" and isinstance(args[0], int) and 0 <= args[0] < 4 and not node.kwargs:
            return self.index(on, (*[slice(None)] * args[0], args[1]), node)
        if name in SPREAD and len(args) == 1 and isinstance(args[0], tuple | list) and args[0]:
            args = list(args[0])
        if name in REDUCING and args and isinstance(args[0], tuple | list) and len(args[0]) == 1:
            args[0] = args[0][0]
        if name == "permute" and len(moved := [i for i, a in enumerate(args) if a != i]) == 2:
            name, args = "transpose", moved
        if (
            name in ("reshape", "squeeze")
            and shape is not None
            and (start := _flattens(shape, self.shape(node))) is not None
        ):
            name, args = "flatten", [start]
        base = self.argument(on, node)
        if isinstance(base, ast.Constant):
            base = ast.Tuple([base])
        given = [self.argument(a, node) for a in args]
        if name == "reshape" and len(args) == 5 and args[2] == 3:  # queries, keys and values in one
            for content, hint in zip(given[3:], ("heads", "width"), strict=True):
                content.kind = hint  # type: ignore[attr-defined]
        return ast.Call(ast.Attribute(base, name), given, self.keywords(node))

    def function(self, node: torch.fx.Node) -> ast.expr:
        target, args = node.target, node.args
        if target in BINARY and len(args) == 2 and not node.kwargs:
            left, right = (self.argument(a, node) for a in args)
            return ast.BinOp(left, BINARY[target](), right)  # type: ignore[index,operator]
        if target in COMPARE and len(args) == 2 and not node.kwargs:
            left, right = (self.argument(a, node) for a in args)
            return ast.Compare(left, [COMPARE[target]()], [right])  # type: ignore[index,operator]
        if target in UNARY:
            return ast.UnaryOp(UNARY[target](), self.argument(args[0], node))  # type: ignore[index,operator]
        if target is operator.getitem:
            return self.index(args[0], args[1], node)
        if target is getattr:
            return ast.Attribute(self.argument(args[0], node), str(args[1]))
        arguments = [self.argument(a, node) for a in args]
        if target is torch.cat and len(args) == 2:
            return call("torch.cat", arguments[0], dim=arguments[1])
        return ast.Call(dotted(_qualified(target)), arguments, self.keywords(node))

    def index(self, on: Any, at: Any, node: torch.fx.Node) -> ast.expr:
        at = at[0] if isinstance(at, tuple) and len(at) == 1 else at
        return ast.Subscript(self.argument(on, node), self.argument(at, node))

    def keywords(self, node: torch.fx.Node) -> list[ast.keyword]:
        given = {k: v for k, v in node.kwargs.items() if not self.is_usual(node, k, v)}
        return [ast.keyword(k, self.argument(v, node)) for k, v in given.items()]

    def is_usual(self, node: torch.fx.Node, key: str, content: Any) -> bool:
        """Whether a keyword says what holds anyway; the scale of attention does, if it is the root of the width."""
        if any(content is usual for usual in USUAL.get(key, ())):
            return True
        shape = self.shape(node.args[0]) if node.target is F.scaled_dot_product_attention and key == "scale" else None
        return shape is not None and isinstance(shape[-1], int) and content == 1 / math.sqrt(shape[-1])

    def argument(self, content: Any, user: torch.fx.Node | None = None) -> ast.expr:
        """An argument of a call."""
        if isinstance(content, torch.fx.Node):
            return self.native[content] if content in self.native else self.constant(content, user)
        if isinstance(content, tuple | list):
            kind = ast.Tuple if isinstance(content, tuple) else ast.List
            return kind([self.argument(c, user) for c in content])
        if isinstance(content, dict):
            return ast.Dict([ast.Constant(str(k)) for k in content], [self.argument(c, user) for c in content.values()])
        if isinstance(content, slice):
            parts = (content.start, content.stop, content.step)
            return ast.Slice(*(None if p is None else self.argument(p, user) for p in parts))
        if isinstance(content, torch.dtype | torch.memory_format | torch.layout):
            return dotted(str(content))
        if isinstance(content, torch.device):
            return call("torch.device", ast.Constant(str(content)))
        if content is Ellipsis or content is None or isinstance(content, bool | int | float | str | complex):
            return literal(content)
        raise Refused(
            f"an argument of {type(content)} in source code", str(user), "it has no literal", "Write a .pt2 file"
        )

    def constant(self, node: torch.fx.Node, user: torch.fx.Node | None) -> ast.expr:
        """A constant that is not saved: each block that reads it has its own."""
        scope = () if user is None else self.scopes.get(user, ())
        self.steps.append(Step(scope, place((f"!{node.target}",)), [self.count], inline=True))
        self.count += 1
        return value(self.count - 1)

    def shape(self, node: Any) -> tuple[Any, ...] | None:
        """The shape of a value, open sizes as texts; None where it is not known."""
        return self.model.meta.get(VALUES, {}).get(node.name) if isinstance(node, torch.fx.Node) else None


def _measures(node: torch.fx.Node) -> bool:
    """Whether a node reads the size of a value, or where it is."""
    return node.target is getattr or (node.op == "call_method" and node.target == "size")


def _unbound(node: torch.fx.Node) -> list[torch.fx.Node] | None:
    """The slices that a split into ones gives, each read only without its axis; None for everything else."""
    if node.op != "call_method" or node.target != "split" or node.args[1:2] != (1,) or len(node.args) != 3:
        return None
    parts: dict[int, torch.fx.Node] = {}
    for item in node.users:
        users = list(item.users)
        if item.target is not operator.getitem or len(users) != 1:
            return None
        (user,) = users
        if user.op != "call_method" or user.target != "squeeze" or tuple(user.args[1:]) != (node.args[2],):
            return None
        parts[item.args[1]] = user  # type: ignore[index]
    if len(parts) < 2 or sorted(parts) != list(range(len(parts))):
        return None
    return [parts[i] for i in range(len(parts))]


def _attends(parts: Sequence[torch.fx.Node]) -> list[str]:
    """Names of the three parts of a product that attention is made of; none for others."""
    reached = set(parts)
    for _ in range(3):
        reached |= {user for node in reached for user in node.users}
    wanted = (torch.matmul, F.scaled_dot_product_attention)
    return ["q", "k", "v"] if len(parts) == 3 and any(node.target in wanted for node in reached) else []


def _flattens(before: tuple[Any, ...], after: tuple[Any, ...] | None) -> int | None:
    """From which axis on a reshape makes one axis of all; None where it does something else."""
    if after is None or not 0 < len(after) < len(before) or before[: len(after) - 1] != after[:-1]:
        return None
    merged, last = before[len(after) - 1 :], after[-1]
    return len(after) - 1 if all(isinstance(d, int) for d in (*merged, last)) and math.prod(merged) == last else None


def _qualified(function: Any) -> str:
    """A function as source code calls it."""
    name = getattr(function, "__name__", "")
    for module, said in ((F, "F"), (torch, "torch"), (builtins, ""), (math, "math")):
        if getattr(module, name, None) is function:
            return f"{said}.{name}" if said else name
    found = torch.fx.node._get_qualified_name(function)
    if found.startswith("torch."):
        return found
    raise Refused(f"{found} in source code", why="it is no function of torch", hint="Write a .pt2 file")


def _base(node: torch.fx.Node) -> str:
    """What a result is called where it needs a name: after its layer or function."""
    if node.op == "call_module":
        *owners, own = str(node.target).split(".")
        word = next((p for p in (own, *reversed(owners)) if not p.isdigit()), "y")
    elif node.target is getattr:
        word = str(node.args[1])
    else:
        word = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "y")
    found = names.identifier(word)
    return f"{found}_" if found in RESERVED else found
