"""The record for a terminal: a matrix of runtimes and types, then what is wrong, then what is known."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ..report.phrases import printable
from .record import VERDICTS, Cell, Conformance, Difference, Runtime

if TYPE_CHECKING:
    from rich.text import Text

MARKS = {"exact": "✓", "within": "≈", "known": "k", "refused": "-", "wrong": "x", "crashed": "!"}
STYLES = {
    "exact": "green",
    "within": "green",
    "known": "yellow",
    "refused": "dim",
    "wrong": "bold red",
    "crashed": "bold red",
}
FLOATS = ("float16", "bfloat16", "float32", "float64")
DTYPES = (*FLOATS, "int32")
MOST = 20  # wrong cells that are printed; the other renderings have them all


def render(record: Conformance, *, colour: bool = False, width: int = 160) -> str:
    """The whole text."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("runtime", "variant", "version", *DTYPES, "slope held as", "gradient at 0", "s"):
        table.add_column(name, overflow="fold")
    for runtime in record.runtimes:
        for row in _rows(record, runtime):
            table.add_row(*(item if isinstance(item, Text) else Text(item) for item in row))
    stream = io.StringIO()
    console = Console(file=stream, width=width, force_terminal=colour, no_color=not colour)
    console.print(table)
    for line in _lines(record):
        console.print(Text(printable(line)), soft_wrap=True)
    return stream.getvalue()


def _rows(record: Conformance, runtime: Runtime) -> Iterator[list[str | Text]]:
    if runtime.status != "ran":
        yield [
            printable(runtime.name),
            printable(f"{runtime.status}: {runtime.message}"),
            "",
            *[""] * len(DTYPES),
            "",
            "",
            "",
        ]
        return
    cells = list(record.of(runtime.name))
    held = ", ".join(
        f"{dtype}: {' or '.join(h.measured) or '?'}" for dtype, h in runtime.held.items() if dtype != "int32"
    )
    for place, variant in enumerate(runtime.variants):
        counts = [Counter(c.verdict for c in cells if c.variant == variant and c.dtype == dtype) for dtype in DTYPES]
        first = place == 0
        yield [
            printable(runtime.name) if first else "",
            printable(variant),
            printable(runtime.version) if first else "",
            *map(_counted, counts),
            held if first else "",
            ", ".join(runtime.at_zero) if first else "",
            f"{runtime.seconds:.1f}" if first else "",
        ]


def _counted(counts: Counter[str]) -> Text:
    """How many cells have each verdict: "✓52 k3 x1"."""
    from rich.text import Text

    text = Text()
    for verdict in VERDICTS:
        if counts[verdict]:
            text.append(f"{MARKS[verdict]}{counts[verdict]} ", STYLES[verdict])
    return text


def _lines(record: Conformance) -> Iterator[str]:
    yield "  ".join(f"{mark} {verdict}" for verdict, mark in MARKS.items())
    bad = [cell for cell in record.cells if not cell.passed]
    if bad:
        yield f"Wrong or crashed, and not known ({len(bad)}):"
        yield from (f"  {cell.id}: {described(cell)}" for cell in bad[:MOST])
        if bad[MOST:]:
            yield f"  and {len(bad) - MOST} more"
    holding: dict[str, list[Difference]] = {}
    for difference in record.known:
        if difference.status == "holds":
            holding.setdefault(difference.id, []).append(difference)
    if holding:
        yield "Known differences that were met again:"
    for name, same in holding.items():
        yield f"  {name} ({', '.join(f'{d.runtime} {d.cells}' for d in same)}): {same[0].reason}"
    gone = [d for d in record.known if d.status == "gone"]
    if gone:
        yield "Known differences that no longer hold; take them out, or give their versions:"
        yield from (f"  {d.id} of {d.runtime}" for d in gone)
    yield f"{'Passed' if record.passed else 'Failed'}: {_summed(record.cells)}"


def _summed(cells: Iterable[Cell]) -> str:
    counts = Counter(cell.verdict for cell in cells)
    return ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v]) or "nothing was asked"


def described(cell: Cell) -> str:
    """What a cell found, in one line: "2 of 127 differ (zero 2): x = -0.0 gives 0.0, but should be -0.0"."""
    if cell.message:
        return cell.message
    if not cell.where:
        return "exact" if not cell.at_zero else f"exact; gradient at 0: {cell.at_zero}"
    places = ", ".join(f"{where} {count}" for where, count in cell.where.items())
    found = f"{sum(cell.where.values())} of {cell.judged} differ ({places})"
    if cell.numbers:
        n = cell.numbers[0]
        found += f": x = {n.x!r} gives {n.got!r}, but should be {n.want!r}"
    return f"{found}; gradient at 0: {cell.at_zero}" if cell.at_zero else found
