"""Lines of Python out of expressions, as the common formatters break them: at 88 columns."""

from __future__ import annotations

import ast
import copy
import io
import math
import tokenize
from collections.abc import Iterable, Sequence
from typing import Any

WIDTH = 88


def unparse(node: ast.AST) -> str:
    """One line of Python."""
    text = ast.unparse(_Plain().visit(copy.deepcopy(node)))
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.string.strip()]
    line: list[str] = []
    end = 0
    for place, token in enumerate(tokens):
        word, gap = token.string, text[end : token.start[1]]
        start, quoted, _ = word.partition("'")
        if token.type == tokenize.STRING and quoted and start in ("", "f") and '"' not in word and "\\" not in word:
            word = f'{start}"{word[len(start) + 1 : -1]}"'
        if token.type == tokenize.NUMBER:
            word = word.replace("e+", "e")
        if word == "**" and _simple(tokens, place):
            gap = ""
        if line and line[-1] == "**" and _simple(tokens, place - 1):
            gap = ""
        line += [gap, word]
        end = token.end[1]
    return "".join(line)


def _simple(tokens: Sequence[tokenize.TokenInfo], place: int) -> bool:
    """Whether both operands of a power are names or numbers, which formatters then write without spaces."""
    before, after = tokens[place - 1], tokens[place + 1]
    after_that = tokens[place + 2].string if place + 2 < len(tokens) else ""
    plain = (tokenize.NAME, tokenize.NUMBER)
    return before.type in plain and after.type in plain and after_that not in ("(", "[", ".")


class _Plain(ast.NodeTransformer):
    """Constants as Python writes them: no hints, negative and non-finite numbers as expressions; spaced slices."""

    def visit_Slice(self, node: ast.Slice) -> ast.expr:
        """The colon between ends that are more than a name or a number stands apart from them."""
        self.generic_visit(node)
        ends = (node.lower, node.upper)
        if node.step is None and any(isinstance(e, ast.Attribute | ast.Call | ast.BinOp | ast.Subscript) for e in ends):
            node.lower = node.lower and ast.Name(f"{ast.unparse(node.lower)} ")
            node.upper = node.upper and ast.Name(f" {ast.unparse(node.upper)}")
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return _constant(node.value)


def _constant(content: Any) -> ast.expr:
    if isinstance(content, tuple):
        return ast.Tuple([_constant(c) for c in content])
    if isinstance(content, float) and not math.isfinite(content):
        return ast.Call(ast.Name("float"), [ast.Constant(str(content))], [])
    if isinstance(content, int | float) and not isinstance(content, bool) and math.copysign(1, content) < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-content))
    return ast.Constant(content)


def width(node: ast.expr) -> int:
    """Columns of an expression whose values have no names yet."""
    return len(ast.unparse(node))


def lines(node: ast.expr, indent: int = 0, before: str = "", after: str = "") -> list[str]:
    """The lines of an expression between two texts: one where it fits, otherwise its arguments below each other."""
    space = " " * indent
    if not _long(node):
        one = f"{space}{before}{unparse(node)}{after}"
        if len(one) <= WIDTH:
            return [one]
    if isinstance(node, ast.BinOp) and len(_chain(node)) == 2 and (opened := _opened(node.right)) is not None:
        first = f"{before}{unparse(ast.BinOp(node.left, node.op, ast.Name('_')))[:-1]}"
        if indent + len(first) + len(opened[0]) <= WIDTH:
            return lines(node.right, indent, first, after)
    if isinstance(node, ast.BinOp):
        return [f"{space}{before}(", *_operands(node, indent + 4), f"{space}){after}"]
    on_operators = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.BinOp)
    if on_operators and indent + len(before) + len(unparse(node.func)) >= WIDTH:
        method = unparse(ast.Call(ast.Attribute(ast.Name("_"), node.func.attr), node.args, node.keywords))[1:]
        return [f"{space}{before}(", *_operands(node.func.value, indent + 4), f"{space}){method}{after}"]
    if isinstance(node, ast.ListComp | ast.GeneratorExp):
        (loop,) = node.generators
        rest = f"for {unparse(loop.target)} in {unparse(loop.iter)}"
        opening, closing = "[]" if isinstance(node, ast.ListComp) else "()"
        inside = [*lines(node.elt, indent + 4), f"{space}    {rest}"]
        return [f"{space}{before}{opening}", *inside, f"{space}{closing}{after}"]
    if isinstance(node, ast.Starred):
        return lines(node.value, indent, f"{before}*", after)
    opened = _opened(node)
    if (
        isinstance(node, ast.Call)
        and _called_before(node) is not None
        and len(one := f"{space}{before}{unparse(node.func)}(") <= WIDTH
    ):
        opened = f"{unparse(node.func)}(", _given(node), ")"  # the call of what a call gave: its last brackets
    if opened is None:
        return [f"{space}{before}{unparse(node)}{after}"]
    head, parts, tail = opened
    inside = ", ".join(f"{name}{unparse(part)}" for name, part in parts)
    if not any(_long(p) for _, p in parts) and not _long(node) and len(inside) + indent + 4 <= WIDTH:
        body = [f"{space}    {inside}"]
    else:
        comma = (
            ","
            if len(parts) > 1
            or isinstance(node, ast.List | ast.Tuple | ast.Dict | ast.Constant)
            or not _long(parts[0][1])
            else ""
        )
        body = [line for name, part in parts for line in lines(part, indent + 4, name, comma)]
    return [f"{space}{before}{head}", *body, f"{space}{tail}{after}"]


def _operands(node: ast.BinOp, indent: int) -> list[str]:
    """The lines of operators in brackets: one where it fits, otherwise one for each operand."""
    one = f"{' ' * indent}{unparse(node)}"
    return [one] if len(one) <= WIDTH else [line for sign, part in _chain(node) for line in lines(part, indent, sign)]


def _chain(node: ast.BinOp) -> list[tuple[str, ast.expr]]:
    """The operands of a chain of operators that bind alike, each with its operator before it."""
    kind = (
        (ast.Add, ast.Sub)
        if isinstance(node.op, ast.Add | ast.Sub)
        else (ast.Mult, ast.Div, ast.MatMult, ast.FloorDiv, ast.Mod)
    )
    sign = ast.unparse(ast.BinOp(ast.Name("_"), node.op, ast.Name("_"))).strip("_").strip()
    left = node.left
    first = _chain(left) if isinstance(left, ast.BinOp) and isinstance(left.op, kind) else [("", left)]
    return [*first, (f"{sign} ", node.right)]


def returned(node: ast.expr, indent: int) -> list[str]:
    """The lines of a return statement; several values stand without brackets."""
    if isinstance(node, ast.Tuple) and len(node.elts) > 1:
        one = f"{' ' * indent}return {', '.join(map(unparse, node.elts))}"
        if len(one) <= WIDTH:
            return [one]
    return lines(node, indent, "return ")


def _opened(node: ast.expr) -> tuple[str, list[tuple[str, ast.expr]], str] | None:
    """What opens an expression, its parts with what stands before each, and what closes it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, tuple):
        node = _constant(node.value)
    if isinstance(node, ast.Call) and (inner := _called_before(node)) is not None:
        head, parts, tail = inner
        given = [*map(unparse, node.args), *(f"{k.arg}={unparse(k.value)}" for k in node.keywords)]
        method = f".{node.func.attr}" if isinstance(node.func, ast.Attribute) else ""
        return head, parts, f"{tail}{method}({', '.join(given)})"
    if isinstance(node, ast.Call) and (node.args or node.keywords):
        return f"{unparse(node.func)}(", _given(node), ")"
    if isinstance(node, ast.List | ast.Tuple) and node.elts:
        return "[("[isinstance(node, ast.Tuple)], [("", e) for e in node.elts], "])"[isinstance(node, ast.Tuple)]
    if isinstance(node, ast.Dict) and node.keys:
        pairs = zip(node.keys, node.values, strict=True)
        return "{", [(f"{unparse(k)}: " if k else "**", v) for k, v in pairs], "}"
    return None


def _called_before(node: ast.Call) -> tuple[str, list[tuple[str, ast.expr]], str] | None:
    """The opened call whose result a call calls, or of whose result it calls a method with a constant."""
    if isinstance(node.func, ast.Call):
        return _opened(node.func)
    if not isinstance(node.func, ast.Attribute) or node.keywords or not all(isinstance(a, ast.Constant) for a in node.args):
        return None
    made = node.func.value
    plain = isinstance(made, ast.Call) and isinstance(made.func, ast.Attribute) and isinstance(made.func.value, ast.Name)
    return _opened(made) if plain and len(node.args) == 1 else None


def _given(node: ast.Call) -> list[tuple[str, ast.expr]]:
    """The arguments of a call, with what stands before each."""
    return [*(("", a) for a in node.args), *((f"{k.arg}=" if k.arg else "**", k.value) for k in node.keywords)]


def _long(node: ast.AST) -> bool:
    """Whether an expression is a container of layers, or holds one: these have a line for each."""
    if getattr(node, "is_long", False):
        return True
    return any(_long(child) for child in ast.iter_child_nodes(node))


def signature(name: str, parameters: Iterable[str], returns: str, indent: int) -> list[str]:
    """The first lines of a function."""
    parameters, space = list(parameters), " " * indent
    one = f"{space}def {name}({', '.join(parameters)}) -> {returns}:"
    if len(one) <= WIDTH:
        return [one]
    inside = f"{space}    {', '.join(parameters)}"
    body = [inside] if len(inside) <= WIDTH else [f"{space}    {p}," for p in parameters]
    return [f"{space}def {name}(", *body, f"{space}) -> {returns}:"]


def docstring(text: Sequence[str], indent: int) -> list[str]:
    """A docstring of one or several lines; nothing in them ends it."""
    space = " " * indent
    plain = ["".join(c if c.isprintable() else "?" for c in line).replace("\\", "/").replace('"', "'") for line in text]
    if len(plain) == 1:
        return [f'{space}"""{plain[0]}"""']
    return [f'{space}"""{plain[0]}', *(f"{space}{line}".rstrip() for line in plain[1:]), f'{space}"""']
