"""Makes one definition of blocks that differ in numbers only: what differs becomes its parameters.

Two blocks are alike where their expressions are, constants aside. A block that lacks a step which takes one value and
gives it on changed (the projection of a shortcut) is like one that has it; a flag says which.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

from .steps import Block, Item, Made, operands, walk

ABSENT = object()  # a number of an optional step, where the step is absent
USUAL = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "strides": 1}  # of layers, whatever the framework
FEW = 2  # layers of a sequence that is written out wherever it stands
FACTORS = (2, 3, 4, 6, 8)  # a size that is so many times another is written so


@dataclasses.dataclass(eq=False)
class Definition:
    """A class or function: one block as it is written, and its parameters."""

    block: Block
    instances: list[Block]
    name: str = ""
    optional: str = ""  # the entry that not all instances have
    parameters: dict[str, list[Any]] = dataclasses.field(default_factory=dict)  # by name: each instance's argument

    @property
    def defaults(self) -> dict[str, Any]:
        """The parameters that may be left out, and what they are then."""
        usual = {**USUAL, self.optional: False}
        return {
            name: usual[name] for name, vector in self.parameters.items() if name in usual and usual[name] in vector
        }

    def sorted(self) -> list[str]:
        """The parameters as the definition lists them: those that may be left out last."""
        return sorted(self.parameters, key=lambda name: name in self.defaults)

    def arguments(self, instance: Block) -> dict[str, Any]:
        """What an instance is made with."""
        place = next(i for i, other in enumerate(self.instances) if other is instance)
        return {name: vector[place] for name, vector in self.parameters.items()}

    def lacks(self, instance: Block) -> bool:
        return bool(self.optional) and self.optional not in dict(instance.entries)


class Definitions:
    """The definitions of all blocks inside a network, each after those that it uses; their numbers are parameters.

    join : whether a block without one of its entries is written as one that has a flag for it
    """

    def __init__(self, root: Block, *, join: bool = False):
        found: dict[str, Definition] = {}
        contexts: dict[str, set[str]] = {}
        for block, context in _inner(root, root):
            text = skeleton(block)
            found.setdefault(text, Definition(block, [])).instances.append(block)
            contexts.setdefault(text, set()).add(context)
        found = {
            t: d
            for t, d in found.items()
            if not d.block.is_sequence or (len(contexts[t]) > 1 and len(d.block.items) > FEW)
        }
        self.all = list((_joined(found) if join else found).values())
        self.of = {id(instance): d for d in self.all for instance in d.instances}
        for definition in self.all:
            self.parametrise(definition)
        self.write(root, iter(()))

    def parametrise(self, definition: Definition) -> None:
        """Put parameters in place of the constants that differ between instances, and arguments into `Made`."""
        rows = [self.row(definition, instance) for instance in definition.instances]
        replaced: list[ast.expr | None] = []
        for column in zip(*rows, strict=True):
            vector = [content for content, _ in column]
            known = [v for v in vector if v is not ABSENT]
            if all(_same(v, known[0]) for v in known):
                replaced.append(None)
            else:
                hint = next((hint for _, hint in column if hint), "size")
                replaced.append(_parameter(vector, hint, definition.parameters, definition.optional))
        for vector in definition.parameters.values():
            known = [v for v in vector if v is not ABSENT]
            vector[:] = [known[0] if v is ABSENT else v for v in vector]
        if definition.optional:
            definition.parameters[definition.optional] = [not definition.lacks(i) for i in definition.instances]
        self.write(definition.block, iter(replaced))

    def row(self, definition: Definition, instance: Block) -> list[tuple[Any, str]]:
        """The constants of an instance with their hints, in the order in which the definition is written."""
        own = iter(_slots(instance))
        found: list[tuple[Any, str]] = []
        for key, expression in _slots(definition.block):
            absent = definition.lacks(instance) and key == definition.optional
            numbers = self.numbers(expression if absent else next(own)[1])
            found += [(ABSENT, hint) for _, hint in numbers] if absent else numbers
        return found

    def numbers(self, expression: ast.expr) -> list[tuple[Any, str]]:
        """The constants of an expression with their hints; of a block in it, its arguments."""
        found: list[tuple[Any, str]] = []
        for node in walk(expression):
            if isinstance(node, ast.Constant):
                found.append((node.value, node.kind or ""))
            elif isinstance(node, Made) and id(node.block) not in self.of:
                found += self.numbers(node.block.entries[0][1])
            elif isinstance(node, Made):
                found += [(content, name) for name, content in self.of[id(node.block)].arguments(node.block).items()]
        return found

    def write(self, block: Block, replaced: Iterator[ast.expr | None]) -> None:
        """Replace the constants of a block, one by one, by parameters; None keeps a constant."""
        block.entries = [(key, self.replace(e, replaced, "")) for key, e in block.entries]
        for item in block.items:
            item.expression = self.replace(item.expression, replaced, "$")

    def replace(self, node: Any, replaced: Iterator[ast.expr | None], mark: str) -> Any:
        if isinstance(node, list):
            return [self.replace(n, replaced, mark) for n in node]
        if not isinstance(node, ast.AST):
            return node
        if isinstance(node, ast.Constant):
            return _marked(next(replaced, None), mark) or node
        if isinstance(node, Made) and id(node.block) not in self.of:
            return self.replace(node.block.entries[0][1], replaced, mark)
        node = copy.copy(node)
        if isinstance(node, Made):
            arguments = self.of[id(node.block)].arguments(node.block)
            given = [(k, _marked(next(replaced, None), mark) or ast.Constant(v)) for k, v in arguments.items()]
            node.operands = self.replace(node.operands, replaced, mark)
            node.keywords = [ast.keyword(k, v) for k, v in given]
            return node
        for field, content in ast.iter_fields(node):
            setattr(node, field, self.replace(content, replaced, mark))
        return node


def inner(block: Block) -> Iterator[Block]:
    """The blocks inside a block, each after those inside it."""
    return (found for found, _ in _inner(block, block))


def _inner(block: Block, owner: Block) -> Iterator[tuple[Block, str]]:
    """The same, each with where it is written: the text of the class around it, and the way from there."""
    for item in block.items:
        if isinstance(item, Block):
            yield from _inner(item, owner if item.is_sequence else item)
            yield item, f"{skeleton(owner)} {item.path[len(owner.path) :]}"


def skeleton(block: Block, without: str = "") -> str:
    """A text that two blocks share where they differ in constants only.

    without : an entry to leave out, its call replaced by what it is given
    """
    numbers = {number: i for i, number in enumerate(block.inputs)}
    following = itertools.count(len(numbers))

    def dump(node: Any) -> str:
        if isinstance(node, ast.Constant):
            return "#"
        if isinstance(node, ast.Name):
            return f"%{numbers[int(node.id[1:])]}" if node.id.startswith("%") else relative(node.id, block)
        if isinstance(node, Made):
            return f"<{skeleton(node.block)}>({', '.join(map(dump, node.operands))})"
        if isinstance(node, ast.AST):
            return f"{type(node).__name__}({', '.join(dump(v) for k, v in ast.iter_fields(node) if k != 'ctx')})"
        return f"[{', '.join(map(dump, node))}]" if isinstance(node, list) else repr(node)

    lines = [f"{key}: {dump(e)}" for key, e in block.entries if not key or key != without]
    for item in block.items:
        if without and _key(item, block) == without:
            numbers[item.results[0]] = numbers[operands(item.expression)[0]]
            continue
        text = dump(item.expression)
        for result in item.results:
            numbers[result] = next(following)
        lines.append(f"{[numbers[r] for r in item.results]} = {text}, {item.inline}")
    return "\n".join([*lines, f"return {[numbers[r] for r in block.results]}"])


def relative(name: str, block: Block) -> str:
    """A place as a block's own text has it: without the way to the block."""
    return name if name[:1] != "@" else "@" + name[1:].removeprefix("".join(f"{part}." for part in block.path))


def _key(item: Item, block: Block) -> str:
    """Which of a block's entries an item calls, if it only takes a value and gives it on changed; otherwise ""."""
    e = item.expression
    plain = isinstance(e, ast.Call) and isinstance(e.func, ast.Name) and e.func.id[:1] == "@" and not e.keywords
    if not plain or len(item.results) != 1 or len(e.args) != 1 or not isinstance(e.args[0], ast.Name):  # type: ignore[attr-defined]
        return ""
    return relative(e.func.id, block)[1:] if e.args[0].id[:1] == "%" else ""  # type: ignore[attr-defined]


def _slots(block: Block) -> list[tuple[str, ast.expr]]:
    """All expressions of a block, each with the entry that it makes or calls."""
    return [*block.entries, *((_key(item, block), item.expression) for item in block.items)]


def _joined(found: dict[str, Definition]) -> dict[str, Definition]:
    """The definitions, those that lack one entry of another joined with it."""
    gone: set[str] = set()
    for text, definition in found.items():
        for key, _ in definition.block.entries:
            if (
                definition.optional
                or not key
                or text in gone
                or sum(_key(i, definition.block) == key for i in definition.block.items) != 1
            ):
                continue
            less = skeleton(definition.block, key)
            other = found.get(less)
            if other is not None and not other.optional and less not in gone:
                definition.instances += other.instances
                definition.optional = key
                gone.add(less)
    return {text: d for text, d in found.items() if text not in gone}


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and repr(a) == repr(b)


def _parameter(vector: list[Any], hint: str, parameters: dict[str, list[Any]], taken: str) -> ast.expr:
    """The parameter that takes these values, made where there is none; or a multiple of another one."""
    for name, other in parameters.items():
        if all(a is ABSENT or b is ABSENT or _same(a, b) for a, b in zip(vector, other, strict=True)):
            parameters[name] = [b if a is ABSENT else a for a, b in zip(vector, other, strict=True)]
            return ast.Name(name)
    sizes = {n: v for n, v in parameters.items() if all(type(s) is int and s > 1 for s in v) and len(set(v)) > 1}
    if all(type(v) is int for v in vector):
        for name, other in sizes.items():
            for factor in FACTORS:
                if all(v == factor * o for v, o in zip(vector, other, strict=True)):
                    return ast.BinOp(ast.Constant(factor), ast.Mult(), ast.Name(name))
                if all(v * factor == o for v, o in zip(vector, other, strict=True)):
                    return ast.BinOp(ast.Name(name), ast.FloorDiv(), ast.Constant(factor))
    name, count = hint, 1
    while name in parameters or name == taken:
        count += 1
        name = f"{hint}{count}"
    parameters[name] = vector
    return ast.Name(name)


def _marked(parameter: ast.expr | None, mark: str) -> ast.expr | None:
    """A parameter as a step reads it."""
    if parameter is None or not mark:
        return parameter
    found = copy.deepcopy(parameter)
    for node in walk(found):
        if isinstance(node, ast.Name):
            node.id = mark + node.id
    return found
