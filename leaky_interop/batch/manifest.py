"""A manifest: the conversions of a batch as rows of a CSV file, or objects in a JSON list.

    source,target,input_shapes,weights,options
    a/net.keras,,,,
    package.module:make,nets/made.onnx,"x:None,3",w.safetensors,--opset 18 --io native

`source` alone is needed. `source` and `weights` are paths from the manifest's folder (or the source a factory), `target`
is one below the folder of results; without it a source keeps its path and gets the ending of --to. `input_shapes` and
`options` are as on the command line: several shapes are parted by spaces, and in JSON both may be lists.
"""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from .. import files
from ..converting import SUFFIXES
from ..errors import Usage
from ..loading import FACTORY
from .plan import Job, distinct, suffix_of

FIELDS = ("source", "target", "input_shapes", "weights", "options")
LARGEST = 1 << 24


def read_manifest(
    path: Path, to: str | None, options: Iterable[str] = (), check: Callable[[Sequence[str]], None] = lambda _: None
) -> list[Job]:
    """The jobs of a manifest. options: of every row, before its own. check: raises Usage for options that are wrong."""
    if path.suffix.lower() not in (".csv", ".json"):
        raise Usage(f"{path.name} is no manifest", hint="Give a folder of models, a .csv or a .json")
    suffix = suffix_of(to) if to else None
    try:
        text = files.content(path, LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Usage(f"{path.name} is no text", why=f"byte {error.start} is not UTF-8") from None
    rows = _of_json(text, path.name) if path.suffix.lower() == ".json" else _of_csv(text, path.name)
    jobs = []
    for place, row in rows:
        try:
            job = _job(row, path.parent, suffix, tuple(options))
            check(job.options)
        except Usage as error:
            raise Usage(error.what, place, error.why, error.hint) from None
        jobs.append(job)
    return distinct(jobs)


def _of_csv(text: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    lines = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in lines:
            if None in row:
                raise Usage(f"row {lines.line_num} of {name} has more cells than there are columns")
            yield f"row {lines.line_num} of {name}", dict(row)
    except csv.Error as error:
        raise Usage(f"{name} cannot be read", f"row {lines.line_num}", str(error)) from None


def _of_json(text: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Usage(f"{name} is no JSON", why=str(error)) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Usage(f"{name} holds no conversions", hint='Write a list of objects: [{"source": "net.keras"}]')
    yield from ((f"row {number} of {name}", row) for number, row in enumerate(rows, 1))


def _job(row: dict[str, Any], folder: Path, suffix: str | None, options: tuple[str, ...]) -> Job:
    if unknown := row.keys() - set(FIELDS):
        raise Usage(f"there is no field {min(unknown)!r}", hint=f"There is {', '.join(FIELDS)}")
    source, target, weights = (_text(row, field) for field in ("source", "target", "weights"))
    if not source:
        raise Usage("there is no source")
    factory = FACTORY.fullmatch(source) is not None
    if not target and factory:
        raise Usage("there is no target", hint="A network in code has no path that its file could have")
    if not target and suffix is None:
        raise Usage("there is no target", hint="Name one, or give --to")
    kept = Path(source).name if Path(source).is_absolute() else source
    target = target or PurePosixPath(kept).with_suffix(suffix or "").as_posix()
    place = PurePosixPath(target)
    if place.is_absolute() or ".." in place.parts or not place.name:
        raise Usage(f"the target {target!r} leads out of the folder of results", hint="Name a path below it")
    if place.suffix not in SUFFIXES:
        raise Usage(f"the target {target!r} is not understood", hint=f"Its name ends in {', '.join(SUFFIXES)}")
    shapes = [part for shape in _list(row, "input_shapes") for part in ("--input-shape", shape)]
    return Job(
        kept,
        source if factory else str(folder / source),
        place.as_posix(),
        (*options, *shapes, *_list(row, "options")),
        folder / weights if weights else None,
    )


def _text(row: dict[str, Any], field: str) -> str:
    found = row.get(field) or ""
    if not isinstance(found, str) or "\0" in found:
        raise Usage(f"its {field} is no text")
    return found.strip()


def _list(row: dict[str, Any], field: str) -> list[str]:
    found = row.get(field)
    if isinstance(found, list) and all(isinstance(part, str) for part in found):
        return found
    try:
        return shlex.split(_text(row, field))
    except ValueError as error:
        raise Usage(f"its {field} cannot be read", why=str(error)) from None
