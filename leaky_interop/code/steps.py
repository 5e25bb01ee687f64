"""What a network computes, step by step, as Python expressions whose names are still open.

An expression is an `ast.expr` with three kinds of names that are no Python yet: "%3" is the value of that number,
"@a.b" is a submodule or weight of the network, "$size" a parameter that a step reads; a `Made` node is a block's call or
constructor. A constant's `kind` is a hint how it may be called where it becomes a parameter.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Path = tuple[str, ...]


@dataclasses.dataclass(eq=False)
class Step:
    """One expression and the values that it gives, in the scope of the source's module that computes it."""

    scope: Path
    expression: ast.expr
    results: list[int]
    inline: bool = False  # written where it is used, however often: reading a weight
    base: str = ""  # what its result is called, if it needs a name
    names: list[str] = dataclasses.field(default_factory=list)  # and what several are called
    weight: int = 1  # how much of a line it takes, of `naming.DEPTH`

    @property
    def inputs(self) -> list[int]:
        return operands(self.expression)


@dataclasses.dataclass(eq=False)
class Block:
    """Steps that are written as one definition, and called."""

    path: Path
    items: list[Item]
    inputs: list[int]
    results: list[int]
    expression: ast.expr = dataclasses.field(default_factory=lambda: ast.Constant(None))  # the call of it
    entries: list[tuple[str, ast.expr]] = dataclasses.field(default_factory=list)  # attributes that its class sets
    is_sequence: bool = False  # its members follow one another, and nothing else: no definition of its own
    inline: bool = False
    base: str = ""
    names: list[str] = dataclasses.field(default_factory=list)
    weight: int = 1


Item = Step | Block


class Made(ast.expr):
    """A block's own call or constructor: `operands` come before the arguments that are found later."""

    _fields = ("operands", "keywords")

    def __init__(self, block: Block, operands: list[ast.expr]):
        super().__init__()
        self.block = block
        self.operands = operands
        self.keywords: list[ast.keyword] = []  # the arguments of its definition's parameters, once these are known

    def __copy__(self) -> Made:
        made = Made(self.block, self.operands)
        made.keywords = self.keywords
        return made

    def __deepcopy__(self, memo: Any) -> Made:
        made = Made(self.block, copy.deepcopy(self.operands, memo))
        made.keywords = copy.deepcopy(self.keywords, memo)
        return made


def value(number: int) -> ast.expr:
    """A computed value."""
    return ast.Name(f"%{number}")


def place(path: Path) -> ast.expr:
    """A submodule or weight of the network."""
    return ast.Name("@" + ".".join(path))


def literal(content: Any, hint: str = "") -> ast.expr:
    """A constant that may become a parameter."""
    return ast.Constant(content, kind=hint or None)


def call(function: str | ast.expr, *args: ast.expr, **kwargs: ast.expr) -> ast.Call:
    """A call; the function as an expression or as dotted names."""
    found = dotted(function) if isinstance(function, str) else function
    return ast.Call(found, list(args), [ast.keyword(k, v) for k, v in kwargs.items()])


def with_calls(node: ast.expr, change: Callable[[ast.Call], None]) -> ast.expr:
    """An expression each of whose calls `change` has been given, the innermost first."""
    for found in reversed([n for n in ast.walk(node) if isinstance(n, ast.Call)]):
        change(found)
    return node


def dotted(name: str) -> ast.expr:
    """Names joined by dots."""
    first, *rest = name.split(".")
    found: ast.expr = ast.Name(first)
    for part in rest:
        found = ast.Attribute(found, part)
    return found


def operands(expression: ast.AST) -> list[int]:
    """The values that an expression reads, in order, each as often as it is read."""
    return [int(n.id[1:]) for n in walk(expression) if isinstance(n, ast.Name) and n.id.startswith("%")]


def walk(node: ast.AST) -> Iterator[ast.AST]:
    """Every node of an expression, from left to right."""
    yield node
    for child in ast.iter_child_nodes(node):
        yield from walk(child)


def constants(node: ast.AST) -> list[ast.Constant]:
    """The constants of an expression, from left to right."""
    return [n for n in walk(node) if isinstance(n, ast.Constant)]


def common(scopes: Sequence[Path]) -> Path:
    """The innermost scope that holds all of these."""
    first = min(scopes, key=len)
    count = next((i for i in range(len(first)) if any(s[i] != first[i] for s in scopes)), len(first))
    return tuple(first[:count])
