"""The statements of a block: what is written into one line, and what its values are called.

A value that is read once is written where it is read, as long as the line stays short. The main line of a network is `x`;
a second one beside it `y`; what is kept for later is called after the layer that gives it.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from .steps import Block, Item, operands
from .text import width

DEPTH = 3  # calls in one line
SHORT = 72  # columns of an expression in a method
MAIN = ("x", "y")


@dataclasses.dataclass
class Statement:
    """An assignment to one or several names."""

    targets: list[str]
    expression: ast.expr


@dataclasses.dataclass(eq=False)
class _Line:
    expression: ast.expr
    results: list[int]
    weight: int  # how many operations
    base: str
    is_block: bool
    names: list[str]


def statements(
    block: Block, inputs: Sequence[str], read: Callable[[str], ast.expr], returned: ast.expr, taken: Iterable[str] = ()
) -> tuple[list[Statement], ast.expr]:
    """A block's statements and what it returns.

    inputs : what the block's inputs are called
    read : from "@layer" and "$size" to the expression of it
    returned : an expression of the block's results
    taken : names that stand for something else
    """
    lines = _lines(block, read, returned)
    needed = [operands(line.expression) for line in lines] + [operands(returned)]
    last = {number: i for i, numbers in enumerate(needed) for number in numbers}
    names = dict(zip(block.inputs, inputs, strict=True))
    found = []
    for i, line in enumerate(lines):
        dying = [names[n] for n in dict.fromkeys(needed[i]) if last[n] == i]
        live = {*taken, *(names[n] for n in names if last.get(n, -1) > i)}
        expression = _renamed(line.expression, names)
        targets = []
        for result in line.results:
            if result not in last:
                targets.append("_")
                continue
            wanted = line.names[len(targets)] if line.names else ""
            busy = live | {t for t in targets if t != "_"}
            chosen = (
                wanted if wanted and wanted not in busy else _name(line, dying, busy, several=len(line.results) > 1)
            )
            names[result] = chosen
            targets.append(chosen)
        found.append(Statement(targets, expression))
    last_one = _renamed(returned, names)
    if found and isinstance(last_one, ast.Name) and found[-1].targets == [last_one.id]:
        last_one = found.pop().expression
    return found, last_one


def _lines(block: Block, read: Callable[[str], ast.expr], returned: ast.expr) -> list[_Line]:
    """The lines of a block: single values written where they are read."""
    uses = Counter(n for item in block.items for n in operands(item.expression)) + Counter(operands(returned))
    inlined: dict[int, _Line] = {}
    lines: list[_Line] = []
    for item in block.items:
        expression = _resolved(item.expression, read)
        line = _Line(expression, item.results, _weight(item), item.base, isinstance(item, Block), item.names)
        given = [n for n in dict.fromkeys(operands(expression)) if n in inlined]
        for number in sorted(given, key=lambda n: inlined[n].weight > 0):
            other = inlined[number]
            together = _substituted(line.expression, {number: other.expression})
            if other.weight == 0 or (line.weight + other.weight <= DEPTH and width(together) <= SHORT):
                line.expression, line.weight = together, line.weight + other.weight
                if other in lines:
                    lines.remove(other)
        if item.inline and item.results[0] not in operands(returned):
            inlined[item.results[0]] = line
            continue
        lines.append(line)
        if len(item.results) == 1 and uses[item.results[0]] == 1 and item.results[0] not in operands(returned):
            inlined[item.results[0]] = line
    return lines


def _weight(item: Item) -> int:
    """How many operations an item is; taking a part or a size of something is none."""
    return 0 if item.inline or isinstance(item.expression, ast.Subscript | ast.Attribute) else item.weight


def _name(line: _Line, dying: Sequence[str], live: set[str], *, several: bool) -> str:
    """A name for a result: the main line's, if that ends here or has ended; otherwise after what gives it."""
    candidates = [*(n for n in dying if n in MAIN), "x"]
    candidates += [line.base, "y"] if line.is_block else ["y"]
    for chosen in () if several else candidates:
        if chosen and chosen not in live:
            return chosen
    base = line.base or "y"
    name, count = base, 1
    while name in live:
        count += 1
        name = f"{base}{count}"
    return name


def _resolved(node: ast.expr, read: Callable[[str], ast.expr]) -> ast.expr:
    """An expression whose places and parameters are written out."""

    class Read(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return read(node.id) if node.id[:1] in "@$" else node

    return Read().visit(copy.deepcopy(node))  # type: ignore[no-any-return]


def _substituted(node: ast.expr, values: dict[int, ast.expr]) -> ast.expr:
    class Put(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return values.get(int(node.id[1:]), node) if node.id[:1] == "%" else node

    return Put().visit(copy.deepcopy(node)) if values else node


def _renamed(node: ast.expr, names: dict[int, str]) -> ast.expr:
    return _substituted(node, {n: ast.Name(names[n]) for n in operands(node)})
