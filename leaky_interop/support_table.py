"""The operators that are supported, and what each framework that runs here calls them: generated from what is registered.

An importer belongs to the operator that its name says (`leaky_relu_from_keras`), or the native name, otherwise to one
that its code makes, of its own family first. So every native name stands in exactly one row.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
from collections.abc import Callable, Iterator
from typing import Any

from . import frameworks
from .op import EXPORTERS, IMPORTERS, REFUSING, Op
from .report.phrases import markdown_table

HEADS = {"keras": "Keras", "torch": "PyTorch", "onnx": "ONNX"}
METHODS = {"transpose": "Transpose", "reshape": "Reshape", "cast": "Cast"}  # of a Value, which apply these operators
NOTHING = "(none)"  # the row of what leaves no operator: Identity, Shape
SEVERAL = "(several)"  # the row of what becomes a composition of other families' operators


@dataclasses.dataclass(frozen=True)
class Row:
    """One operator: by framework, the native names that are read as it, and the exporter that writes it."""

    operator: str
    family: str
    reads: dict[str, tuple[str, ...]]
    writes: dict[str, str]

    def cell(self, framework: str) -> str:
        """Native names; what is not both read and written says so."""
        names, exporter = self.reads.get(framework, ()), self.writes.get(framework, "")
        if not exporter and self.operator not in (NOTHING, SEVERAL):
            return f"{', '.join(names)} (read only)" if names else "-"
        return ", ".join(names) or ("written only" if exporter else "-")


@dataclasses.dataclass(frozen=True)
class Support:
    """The rows of the table, by family."""

    rows: tuple[Row, ...]

    @property
    def head(self) -> tuple[str, ...]:
        return "operator", *(HEADS[name] for name in frameworks.NAMES)

    def cells(self) -> Iterator[tuple[str, ...]]:
        """The table's lines."""
        for row in self.rows:
            yield row.operator, *(row.cell(name) for name in frameworks.NAMES)

    def to_markdown(self) -> str:
        """The table of docs/operators.md."""
        return markdown_table(self.head, (map(_code, line) for line in self.cells()))

    def __str__(self) -> str:
        lines = [self.head, *self.cells()]
        width = max(len(line[0]) for line in lines)
        return "\n".join(f"{line[0]:<{width}}  {'; '.join(line[1:])}" for line in lines)


def support() -> Support:
    """Every operator, by family, and what each framework calls it."""
    from . import ops

    kinds = {kind.__name__: kind for kind in _all(Op) if kind.__module__.startswith(f"{ops.__name__}.")}
    reads: dict[str, dict[str, list[str]]] = {}
    for (framework, native), versions in sorted(IMPORTERS.items()):
        if framework not in frameworks.NAMES or all(importer in REFUSING for _, importer in versions):
            continue
        owners = (_made_by(native, importer, kinds) for _, importer in versions)
        operator = next(filter(None, owners), NOTHING)
        first = min(since for since, _ in versions)
        name = f"{native} (opset {first} on)" if first > 1 else native
        reads.setdefault(operator, {}).setdefault(framework, []).append(name)
    writes = {
        (kind.__name__, framework): exporter.__name__
        for (framework, kind), exporter in EXPORTERS.items()
        if framework in frameworks.NAMES
    }
    written = {name for name, _ in writes} & set(kinds)
    rows = [
        Row(
            operator=name,
            family=kinds[name].__module__.rpartition(".")[2] if name in kinds else "",
            reads={framework: tuple(natives) for framework, natives in reads.get(name, {}).items()},
            writes={f: writes[name, f] for f in frameworks.NAMES if (name, f) in writes},
        )
        for name in sorted(written | set(reads))
    ]
    return Support(tuple(sorted(rows, key=lambda row: (row.operator in (NOTHING, SEVERAL), row.family, row.operator))))


def _all(kind: type[Op]) -> Iterator[type[Op]]:
    for inner in kind.__subclasses__():
        yield inner
        yield from _all(inner)


def _made_by(native: str, importer: Callable[..., Any], kinds: dict[str, type[Op]]) -> str | None:
    """The operator that an importer belongs to."""
    from .graph import snake

    stem = re.split("[_ ]from[_ ]", getattr(importer, "__name__", ""))[0].replace(" ", "_")
    by_name = next((name for name in kinds if snake(name) == stem), None)
    if by_name or native in kinds:
        return by_name or native
    found = list(_mentioned(importer, kinds, set()))
    made = [name for name in found if name in kinds]
    if not made:
        return METHODS[found[-1]] if found else None  # a method only where nothing else is made
    called = _letters(native.removeprefix("aten.").removeprefix("ops.").removeprefix("activations.").partition(".")[0])
    alike = [name for name in made if len(name) > 2 and _letters(name) in called]
    own = [name for name in made if kinds[name].__module__ == importer.__module__]
    if not alike and not own and len(made) > 1:
        return SEVERAL
    return max(alike, key=len) if alike else (own or made)[0]


def _letters(name: str) -> str:
    return re.sub("[^a-z]", "", name.lower())


def _mentioned(item: Any, kinds: dict[str, type[Op]], seen: set[int]) -> Iterator[str]:
    """The operators and METHODS that a function refers to, in the order of its code, helpers included."""
    if id(item) in seen:
        return
    seen.add(id(item))
    if isinstance(item, type) and item.__name__ in kinds and kinds[item.__name__] is item:
        yield item.__name__
    elif isinstance(item, Op) and type(item).__name__ in kinds:
        yield type(item).__name__
    elif isinstance(item, functools.partial):
        yield from _mentioned((item.func, item.args, item.keywords), kinds, seen)
    elif isinstance(item, tuple | list | dict):
        for inner in item.values() if isinstance(item, dict) else item:
            yield from _mentioned(inner, kinds, seen)
    elif isinstance(item, types.FunctionType) and item.__module__.startswith("leaky_interop."):
        cells = [cell.cell_contents for cell in item.__closure__ or ()]
        yield from _mentioned([*cells, item.__defaults__, item.__kwdefaults__], kinds, seen)
        yield from _in_code(item.__code__, item.__globals__, kinds, seen)


def _in_code(code: types.CodeType, scope: dict[str, Any], kinds: dict[str, type[Op]], seen: set[int]) -> Iterator[str]:
    for name in code.co_names:
        if name in scope:
            yield from _mentioned(scope[name], kinds, seen)
        elif name in METHODS:
            yield name
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _in_code(inner, scope, kinds, seen)


def _code(cell: str) -> str:
    """A cell with its native names in code spans."""
    if cell in ("-", "written only"):
        return cell
    names, note = (cell.removesuffix(" (read only)"), " (read only)") if cell.endswith(" (read only)") else (cell, "")
    return ", ".join(f"`{name}`" for name in names.split(", ")) + note
