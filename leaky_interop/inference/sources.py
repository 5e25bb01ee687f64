"""What stands on the command line as records: files, folders, globs, standard input; told apart by suffix, then by content.

Nothing is read before its record is wanted, except an `.npy` or `.npz`, which is read when its first row is.
"""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

from .. import files
from ..errors import Usage
from ..files import images, tables
from ..files.source import BLOCK, opened
from .job import Job, Record
from .session import Session

Kind = Literal["arrays", "csv", "file", "parquet"]  # a "file" is one record: a picture or a sound

SUFFIXES: dict[str, Kind] = {
    ".npy": "arrays", ".npz": "arrays", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".wav": "file",
    **dict.fromkeys(images.SUFFIXES, "file"),
}  # fmt: skip
WILD = ("*", "?", "[")
STDIN = "-"
MOST_STDIN = 4 << 30


@dataclasses.dataclass(frozen=True)
class Source:
    """One file, and what its records are called."""

    path: Path
    name: str
    kind: Kind


def sources(given: Sequence[str], folder: Path, stdin: BinaryIO) -> list[Source]:
    """Every file that is meant, in a stable order. Standard input is kept in `folder`, since formats are read by place.

    Of a folder and all below it the pictures and sounds, hidden files left out. Raises Usage where nothing is meant.
    """
    if given.count(STDIN) > 1:
        raise Usage("standard input is given twice")
    found: list[Source] = []
    for text in given:
        path = Path(text)
        if text == STDIN:
            found.append(_from_stdin(folder / "input", stdin))
        elif path.is_dir():
            below = sorted(_below(path))
            if not below:
                raise Usage(f"there is no picture or sound in the folder {text}")
            found += [Source(Path(one), one, "file") for one in below]
        elif not path.exists() and any(mark in text for mark in WILD):
            matches = [one for one in sorted(glob.glob(text, recursive=True)) if not Path(one).is_dir()]  # noqa: PTH207
            if not matches:
                raise Usage(f"no file is called {text}")
            found += [
                Source(Path(one), one, SUFFIXES.get(Path(one).suffix.lower()) or _kind(Path(one))) for one in matches
            ]
        else:
            found.append(Source(path, text, SUFFIXES.get(path.suffix.lower()) or _kind(path)))
    return found


def count(found: Sequence[Source]) -> int | None:
    """How many records there are, where that is known without reading them."""
    counts = [1 if s.kind == "file" else files.parquet_count(s.path) if s.kind == "parquet" else None for s in found]
    return None if None in counts else sum(c for c in counts if c is not None)


def records(found: Sequence[Source], job: Job, session: Session) -> Iterator[Record]:
    """Every record of the files, in order. Raises Usage, UnsafeFile for a table or arrays that do not read."""
    for source in found:
        if source.kind == "file":
            yield Record(source.name, source.path)
        elif source.kind == "arrays":
            yield from _rows(source, session)
        else:
            chosen = None if job.columns is None else list(job.columns)
            rows: Any = files.csv_rows(source.path) if source.kind == "csv" else files.parquet_rows(source.path, chosen)
            for index, row in enumerate(rows):
                yield Record(f"{source.name}[{index}]", row)


def _rows(source: Source, session: Session) -> Iterator[Record]:
    """One record for each along the first axis of the arrays; one for an array without the batch axis."""
    found = files.arrays(source.path)
    names = [p.name for p in session.inputs]
    if len(names) == 1 and len(found) == 1:
        arrays = list(found.values())
    elif set(found) == set(names):
        arrays = [found[name] for name in names]
    else:
        why = f"the network takes {', '.join(map(str, session.inputs))}"
        raise Usage(f"{source.name} holds the arrays {', '.join(found)}", why=why)
    for array, port in zip(arrays, session.inputs, strict=True):
        if array.ndim not in (len(port.shape), len(port.shape) - 1):
            raise Usage(f"{source.name} holds an array of shape {list(array.shape)}", why=f"the network takes {port}")
    if all(array.ndim == len(port.shape) - 1 for array, port in zip(arrays, session.inputs, strict=True)):
        yield Record(source.name, tuple(arrays))
        return
    if len({len(array) if array.ndim else -1 for array in arrays}) != 1:
        raise Usage(f"{source.name} holds arrays of different numbers of rows")
    for index in range(len(arrays[0])):
        yield Record(f"{source.name}[{index}]", tuple(array[index] for array in arrays))


def _below(folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and SUFFIXES.get(Path(name).suffix.lower()) == "file":
                yield str(Path(place) / name)


def _kind(path: Path) -> Kind:
    """What a file without a known suffix is, by its first bytes."""
    with opened(path) as handle:
        head = handle.read(512)
    if head.startswith((b"\x93NUMPY", b"PK\x03\x04")):
        return "arrays"
    if head.startswith(tables.PARQUET):
        return "parquet"
    try:
        text = head.rpartition(b"\n")[0].decode("utf-8-sig") if b"\n" in head else head.decode("utf-8-sig", "ignore")
    except UnicodeDecodeError:
        return "file"
    return "csv" if text.strip() and all(c.isprintable() or c.isspace() for c in text) else "file"


def _from_stdin(path: Path, stdin: BinaryIO) -> Source:
    size = 0
    with path.open("xb") as target:
        while block := stdin.read(BLOCK):
            size += len(block)
            if size > MOST_STDIN:
                raise Usage("standard input is longer than 4 GiB", hint="Write it to a file and name that")
            target.write(block)
    if not size:
        raise Usage("standard input is empty")
    return Source(path, STDIN, _kind(path))
