"""Where rows go, by the suffix of the output: JSON lines, CSV, Parquet, `.npz`; whole rows only, whatever interrupts.

JSON lines and CSV grow row by row, so that an interrupted run can go on (`resume`); the others appear when they are whole.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from ..errors import Usage, require
from ..files import atomic
from ..files.source import private_folder
from .job import INPUT

Row = dict[str, Any]


class Writer(Protocol):
    """Takes rows, batch by batch."""

    done: Container[str]  # records that an earlier run has written

    def write(self, rows: Sequence[Row]) -> None: ...


class Rows:
    """Keeps the first rows, for a table; counts the others."""

    done: Container[str] = ()

    def __init__(self, most: int) -> None:
        self.rows: list[Row] = []
        self.most, self.count = most, 0

    def write(self, rows: Sequence[Row]) -> None:
        self.rows += rows[: self.most - len(self.rows)]
        self.count += len(rows)


class Lines:
    """JSON lines, or CSV whose arrays are columns `name[0]`, `name[1]` ...: appended in whole lines."""

    def __init__(self, path: Path, columns: Sequence[str], resume: bool) -> None:
        self.path, self.columns, self.is_csv = path, list(columns), path.suffix.lower() == ".csv"
        self.head: list[str] | None = None
        self.done: Container[str] = ()
        if resume and path.exists():
            self.done = frozenset(self._earlier())
        try:
            self.file = path.open("ab" if resume else "wb")
        except OSError as error:
            raise Usage(f"{path.name} cannot be written", why=error.strerror or "") from None

    def write(self, rows: Sequence[Row]) -> None:
        text = "".join(self._as_csv(rows)) if self.is_csv else "".join(json.dumps(plain(row)) + "\n" for row in rows)
        try:
            self.file.write(text.encode())
            self.file.flush()
        except OSError as error:
            hint = "Rows until then are kept: go on with --resume"
            raise Usage(f"{self.path.name} cannot be written", why=error.strerror or "", hint=hint) from error

    def _as_csv(self, rows: Sequence[Row]) -> Iterator[str]:
        for row in rows:
            flat = flattened(row)
            if self.head is None:
                self.head = list(flat)
                yield _csv_line(self.head)
            if list(flat) != self.head:
                why = f"{len(flat)} values after {len(self.head)}"
                raise Usage("the outputs have not the same shape for every input", why=why, hint="Write .jsonl")
            yield _csv_line(flat.values())

    def _earlier(self) -> Iterator[str]:
        """The records of whole lines; a line that was cut off is removed."""
        whole = 0
        with self.path.open("r+b") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                try:
                    if not self.is_csv:
                        row = json.loads(line)
                        names, name = list(row), str(row[INPUT])
                    else:
                        (cells,) = csv.reader([line.decode()])
                        if self.head is None:
                            self.head = cells
                            names, name = list(dict.fromkeys(c.partition("[")[0] for c in cells)), ""
                        else:
                            name = cells[0]
                except (ValueError, KeyError, TypeError) as error:
                    raise Usage(f"{self.path.name} is no output to go on with", why=str(error)) from None
                if names != self.columns:
                    why = f"it has the columns {', '.join(names)}, and this run {', '.join(self.columns)}"
                    raise Usage(f"{self.path.name} is the output of another run", why=why)
                if name:
                    yield name
            file.truncate(whole)

    def close(self) -> None:
        with suppress(OSError):  # what a full disk did not take is tried again, and was told of by `write`
            self.file.close()


class Parquet:
    """A Parquet file; arrays are lists, nested as their axes are."""

    done: Container[str] = ()

    def __init__(self, path: Path) -> None:
        require("pyarrow.parquet", "inference")
        self.path, self.writer = path, None

    def write(self, rows: Sequence[Row]) -> None:
        import pyarrow
        from pyarrow import parquet

        if not rows:
            return
        if self.writer is None:
            self.schema = pyarrow.schema([(name, _arrow(rows, name)) for name in rows[0]])
            self.writer = parquet.ParquetWriter(self.path, self.schema)
        table = pyarrow.Table.from_pylist([_nested(row) for row in rows], self.schema)
        self.writer.write_table(table)

    def close(self) -> None:
        import pyarrow
        from pyarrow import parquet

        if self.writer is None:  # no row at all: a file all the same
            parquet.write_table(pyarrow.table({INPUT: pyarrow.array([], pyarrow.string())}), self.path)
        else:
            self.writer.close()


class Npz:
    """One array a column, rows along its first axis, and the records' names under `input`; spooled, so memory stays flat."""

    done: Container[str] = ()

    def __init__(self, path: Path, folder: Path) -> None:
        self.path, self.folder = path, folder
        self.kinds: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
        self.spools: dict[str, IO[bytes]] = {}
        self.texts: dict[str, list[Any]] = {}
        self.count = 0

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            for name, value in row.items():
                if isinstance(value, str) or value is None or name in self.texts:
                    self.texts.setdefault(name, []).append(value or "")
                    continue
                array = np.asarray(value)
                if name not in self.kinds:
                    self.kinds[name] = (array.shape, array.dtype)
                    self.spools[name] = (self.folder / f"{len(self.kinds)}.raw").open("w+b")
                if (array.shape, array.dtype) != self.kinds[name]:
                    why = f"{list(array.shape)} after {list(self.kinds[name][0])}"
                    raise Usage(
                        "the outputs have not the same shape for every input", where=name, why=why, hint="Write .jsonl"
                    )
                self.spools[name].write(np.ascontiguousarray(array).data)
            self.count += 1

    def close(self) -> None:
        import zipfile

        with zipfile.ZipFile(self.path, "w") as members:
            for name, values in self.texts.items():
                with members.open(f"{name.lstrip('/')}.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array(stream, np.asarray(values), allow_pickle=False)
            for name, (shape, kind) in self.kinds.items():
                spool = self.spools[name]
                spool.seek(0)
                header = {
                    "shape": (self.count, *shape),
                    "fortran_order": False,
                    "descr": np.lib.format.dtype_to_descr(kind),
                }
                with members.open(f"{name.lstrip('/')}.npy", "w", force_zip64=True) as stream:
                    np.lib.format.write_array_header_2_0(stream, header)
                    while block := spool.read(1 << 20):
                        stream.write(block)

    def release(self) -> None:
        for spool in self.spools.values():
            spool.close()


SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet", ".npz")


@contextmanager
def writer(path: Path, columns: Sequence[str], *, resume: bool = False) -> Iterator[Writer]:
    """The writer of a suffix. Raises Usage for one that nothing is written for, or that cannot be resumed."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise Usage(
            f"--output {path.name} is not understood", hint=f"Its name ends in {', '.join(SUFFIXES)} or .png, or in /"
        )
    if not path.parent.is_dir():
        raise Usage(f"the folder of {path.name} does not exist", hint="Make it first")
    if suffix in (".jsonl", ".ndjson", ".csv"):
        lines = Lines(path, columns, resume)
        try:
            yield lines
        finally:
            lines.close()
        return
    if resume:
        raise Usage(
            f"{path.name} cannot be resumed",
            why="it appears when it is whole",
            hint="Write .jsonl or .csv, or pictures",
        )
    with ExitStack() as stack:
        temporary = stack.enter_context(atomic(path))
        if suffix == ".parquet":
            made: Any = Parquet(temporary)
        else:
            made = Npz(temporary, stack.enter_context(private_folder()))
            stack.callback(made.release)
        yield made
        made.close()


def plain(row: Row) -> Row:
    """A row as JSON holds it; NaN and the infinities are null, which JSON has for them."""
    return {name: _json(value) for name, value in row.items()}


def _json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return [_json(one) for one in value.tolist()]
    if isinstance(value, list):
        return [_json(one) for one in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def flattened(row: Row) -> Row:
    """A row of single values: an array's are `name[0]`, `name[1,2]` ..."""
    flat: Row = {}
    for name, value in row.items():
        if not isinstance(value, np.ndarray):
            flat[name] = value
            continue
        for index in np.ndindex(value.shape):
            flat[f"{name}[{','.join(map(str, index))}]"] = value[index].item()
    return flat


def _csv_line(cells: Any) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(["" if cell is None else cell for cell in cells])
    return (
        line.getvalue()[:-1].replace("\r", " ").replace("\n", " ") + "\n"
    )  # one row is one line: `resume` counts on it


def _arrow(rows: Sequence[Row], name: str) -> Any:
    """The Arrow type of a column."""
    import pyarrow

    value = next((row[name] for row in rows if row[name] is not None), None)
    if isinstance(value, np.ndarray):
        kind = pyarrow.from_numpy_dtype(value.dtype)
        for _ in value.shape:
            kind = pyarrow.list_(kind)
        return kind
    if name.startswith("class_"):
        return pyarrow.int64()
    if name == INPUT or name.startswith("label_"):
        return pyarrow.string()
    return pyarrow.float64() if value is None else pyarrow.scalar(value).type


def _nested(row: Row) -> Row:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in row.items()}
