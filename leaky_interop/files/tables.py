"""Tables from strangers, row by row: CSV by the standard library, Parquet by pyarrow."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from leaky_interop.errors import UnsafeFile, Usage, require

from .source import MIB, believe, damaged, opened, size_of

MOST_LINE = 16 * MIB  # characters
PARQUET = b"PAR1"
AT_ONCE = 1024  # rows of Parquet in memory
# What pyarrow raises of a damaged file; its own errors are among these.
BROKEN = (OSError, ValueError, TypeError, KeyError, IndexError, OverflowError, NotImplementedError)
REPETITION = 10_000  # times that Parquet's dictionaries may shrink honest numbers


def csv_rows(path: str | os.PathLike[str]) -> Iterator[dict[str, str]]:
    """The rows of a comma-, semicolon- or tab-separated file; where the first is all numbers, columns are called 0, 1, 2 ...

    A row of another length than the first has its columns left out or numbered on. Raises Usage for what is no text.
    """
    path = Path(path)
    with opened(path) as handle:
        lines = _lines(handle, path.name)
        first = next(lines, "")
        mark = max(",;\t", key=first.count)
        try:
            head = next(csv.reader([first], delimiter=mark), [])
            names = (
                [str(i) for i in range(len(head))] if all(map(_is_number, head)) else [cell.strip() for cell in head]
            )
            if len(set(names)) != len(names):
                raise Usage(f"{path.name} has two columns of one name")
            if all(map(_is_number, head)):
                yield dict(zip(names, head, strict=True))
            for row in csv.reader(lines, delimiter=mark):
                if row:
                    yield dict(zip(names, row, strict=False)) | {
                        f"extra {i}": cell for i, cell in enumerate(row[len(names) :])
                    }
        except csv.Error as error:
            raise damaged(path.name, str(error)) from None


def parquet_rows(
    path: str | os.PathLike[str], columns: list[str] | None = None, start: int = 0, stop: int | None = None
) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file from `start` up to `stop`, of these columns or all. Groups without any are not read."""
    path = Path(path)
    parquet = require("pyarrow.parquet", "inference")
    with opened(path) as handle:
        try:
            table = parquet.ParquetFile(handle)
            groups = [table.metadata.row_group(i).total_byte_size for i in range(table.metadata.num_row_groups)]
            believe(max(groups, default=0), size_of(handle), path.name, REPETITION)
            if lacking := [name for name in columns or () if name not in table.schema_arrow.names]:
                why = f"there is {', '.join(table.schema_arrow.names)}"
                raise Usage(f"{path.name} has no column {', '.join(map(repr, lacking))}", why=why)
            for group, at in _groups(table.metadata, start, stop):
                for batch in table.iter_batches(AT_ONCE, [group], columns=columns):
                    low = max(start - at, 0)
                    high = batch.num_rows if stop is None else min(stop - at, batch.num_rows)
                    if low < high:
                        yield from batch.slice(low, high - low).to_pylist()
                    at += batch.num_rows
        except BROKEN as error:
            if isinstance(error, Usage | UnsafeFile):
                raise
            raise damaged(path.name, str(error).partition("\n")[0]) from None


def _groups(metadata: Any, start: int, stop: int | None) -> Iterator[tuple[int, int]]:
    """The groups that hold some of the rows, each with the number of its first row."""
    first = 0
    for group in range(metadata.num_row_groups):
        after = first + metadata.row_group(group).num_rows
        if after > start and (stop is None or first < stop):
            yield group, first
        first = after


def parquet_count(path: str | os.PathLike[str]) -> int | None:
    """How many rows a Parquet file says it has; None where it does not parse."""
    parquet = require("pyarrow.parquet", "inference")
    with opened(path) as handle:
        try:
            return int(parquet.ParquetFile(handle).metadata.num_rows)
        except BROKEN:
            return None


def _lines(handle: IO[bytes], name: str) -> Iterator[str]:
    start = True
    while line := handle.readline(MOST_LINE):
        if len(line) == MOST_LINE:
            raise UnsafeFile(
                f"{name} has a line of more than {MOST_LINE // MIB} MiB", why="reading it would exhaust memory"
            )
        try:
            yield line.decode("utf-8-sig" if start else "utf-8")
        except UnicodeDecodeError:
            raise Usage(f"{name} is no text", why="a CSV file is read as UTF-8") from None
        start = False


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
