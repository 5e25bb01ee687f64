"""`leaky-interop slopes`: the table of spellings, one slope in each of them, or the slopes that a file holds."""

from __future__ import annotations

import dataclasses
import json as as_json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Refused, Usage
from ..report.phrases import slope as written
from . import console

if TYPE_CHECKING:
    from ..spellings import Found, Spellings

FILE = "A model or source text of any of the systems: .tflite, .cfg, .prototxt, .param, .mlmodel, .py, .jl, .m, .onnx ..."


def slopes(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help=FILE)] = None,
    slope: Annotated[str | None, typer.Option(metavar="NUMBER", help="Say this slope in every spelling.")] = None,
    system: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this system: keras, torch, caffe ...")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of the README.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say how each system spells LeakyReLU's slope, and which slopes a file holds."""
    from ..spellings import Spellings, read_file, slopes

    if file is not None and (slope is not None or system is not None or markdown):
        raise Usage("a file goes with no other option than --json", hint="Ask for one thing at a time")
    if file is not None:
        _show_file(file, read_file(file), json)
        return
    table = slopes() if system is None else Spellings(slopes().of(system))
    if slope is not None:
        _show_slope(table, number(slope), json)
    elif json or markdown:
        console.say(table.to_json() if json else table.to_markdown())
    else:
        from ..spellings.table import HEAD

        console.table("", HEAD, table.cells())


def number(text: str) -> float:
    first, divided, second = text.partition("/")
    try:
        return float(first) / float(second) if divided else float(first)
    except (ValueError, ZeroDivisionError):
        raise Usage(f"--slope {text!r} is not understood", hint="Write 0.2, 1/3, nan or inf") from None


def _show_slope(table: Spellings, slope: float, json: bool) -> None:
    """What each system says for it, and the slope that it then uses."""
    rows = list(_said(table, slope))
    if json:
        console.say(as_json.dumps(rows, indent=2) + "\n")
        return
    head = ("system", "spelling", "says", "uses")
    console.table("", head, [(r["system"], r["api"], r["says"] or "-", _uses(r, slope)) for r in rows])


def _said(table: Spellings, slope: float) -> Iterator[dict[str, Any]]:
    from ..ops.activation import LeakyRelu

    for row in table:
        if not row.line:
            continue
        said: dict[str, Any] = {"system": row.system, "api": row.api, "says": None, "uses": None, "refused": None}
        try:
            if row.writer is not None:
                row.write(LeakyRelu(negative_slope=slope))
            said |= {"says": row.says(row.used(slope)), "uses": _plain(row.used(slope))}
        except Refused as error:
            said["refused"] = f"{error.why}. {error.hint}" if error.hint else error.why
        yield said


def _plain(slope: float | None) -> float | str | None:
    """A number that JSON has; the others as words."""
    return slope if slope is None or math.isfinite(slope) else str(slope)


def _uses(row: dict[str, Any], slope: float) -> str:
    if row["refused"]:
        return f"refused: {row['refused']}"
    return written(float(row["uses"])) + ("" if row["uses"] == _plain(slope) else " (rounded)")


def _show_file(file: Path, found: list[Found], json: bool) -> None:
    if json:
        rows = [dataclasses.asdict(f) | {"op": f.op and type(f.op).__name__, "slope": _plain(f.slope)} for f in found]
        console.say(as_json.dumps(rows, indent=2) + "\n")
        return
    if not found:
        console.say(f"{file.name} holds no LeakyReLU")
        return
    cells = [
        (f.name or "-", "-" if f.slope is None else written(f.slope), f.given, f.place, f"{f.system} {f.api}", f.note)
        for f in found
    ]
    console.table("", ("name", "slope", "given", "place", "spelling", "note"), cells)
