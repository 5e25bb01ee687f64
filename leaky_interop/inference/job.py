"""One inference job: everything that decides a row, picklable, so that any engine gives the same rows.

    job = Job(model="net.onnx", preprocessing=recipe("imagenet"), postprocessing=Postprocessing(top_k=5))
    with job.open() as session:
        results = job.results(session, [Record("a.jpg", Path("a.jpg")), Record("b.jpg", jpeg_bytes)])
    results.rows  # [{"input": "a.jpg", "class_1": 3, "score_1": 0.9, ...}, ...]
    results.bad   # [("b.jpg", "b.jpg is truncated or damaged")]

An engine may split records into batches as it likes, as long as it gives `results` every record once. What a network
computes for a row may differ in the last bits between batches of different sizes, as its kernels do; rows are the same bit
for bit where the batches are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import LeakyInteropError, RuntimeFailure, Usage
from .postprocessing import Postprocessing
from .preprocessing import Preprocessing
from .session import Session, WrongJob
from .sound import Sound

INPUT = "input"  # the column that names the record


class Record(NamedTuple):
    """One thing to run the network on.

    value: a picture (a path, a file's bytes or a `PIL.Image`); a row of a table (a mapping of columns to numbers); or the
    arrays of the network's inputs, without the batch axis.
    """

    name: str
    value: Any


class Results(NamedTuple):
    """Rows in the order of their records, and the records that could not be read, with the reason."""

    rows: list[dict[str, Any]]
    bad: list[tuple[str, str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """model: a path or "package.module:factory". columns: those of a table that go into the network, in its order."""

    model: str
    preprocessing: Preprocessing | Sound | None = None  # None: what the model's metadata says
    postprocessing: Postprocessing = dataclasses.field(default_factory=Postprocessing)
    columns: tuple[str, ...] | None = None
    providers: tuple[str, ...] | None = None
    threads: int | None = None
    batch: int | None = None  # rows that run at once; None: all that an engine hands over
    input_shapes: Any = None
    weights: str | None = None
    allow_root: str | None = None
    trust: bool = False
    signature: str | None = None

    def open(self) -> Session:
        """The session that runs it, after the outputs proved to be what the postprocessing wants."""
        session = Session(
            self.model, self.providers, self.threads,
            preprocess=self.preprocessing, input_shapes=self.input_shapes, weights=self.weights,
            allow_root=self.allow_root, trust=self.trust, signature=self.signature,
        )  # fmt: skip
        try:
            self.postprocessing.fits(session.outputs, session.last_operators)
        except Usage:
            session.close()
            raise
        return session

    def column_names(self, session: Session) -> list[str]:
        """The names of a row's values, the record's first."""
        return [INPUT, *self.postprocessing.columns(session.outputs)]

    def arrays(self, session: Session, record: Record) -> list[np.ndarray]:
        """The record as arrays in the order of the network's inputs, without the batch. Raises Usage, UnsafeFile for a bad one."""
        value = record.value
        if isinstance(value, Mapping):
            return [self._from_columns(session, value)]
        if isinstance(value, tuple | list | np.ndarray):
            return [np.asarray(a) for a in (value if isinstance(value, tuple | list) else (value,))]
        return [session.sample(value, record.name)]

    def results(self, session: Session, records: Iterable[Record]) -> Results:
        """Rows for records, those that cannot be read left out."""
        good: list[tuple[Record, list[np.ndarray]]] = []
        bad = []
        for record in records:
            try:
                good.append((record, self.arrays(session, record)))
            except LeakyInteropError as error:
                if isinstance(error, RuntimeFailure | WrongJob):
                    raise
                bad.append((record.name, str(error)))
        return Results(self.rows(session, [r.name for r, _ in good], [a for _, a in good]), bad)

    def rows(
        self, session: Session, names: Sequence[str], samples: Sequence[Sequence[np.ndarray]]
    ) -> list[dict[str, Any]]:
        """Rows for records that are read. Neighbours of one shape run together."""
        rows: list[dict[str, Any]] = []
        for start, end in _runs([tuple(a.shape for a in sample) for sample in samples]):
            feeds = [np.stack(one) for one in zip(*samples[start:end], strict=True)]
            found = session.run(feeds, self.batch)
            made = self.postprocessing.rows(found, session.outputs, session.last_operators)
            rows += [{INPUT: name, **row} for name, row in zip(names[start:end], made, strict=True)]
        return rows

    def _from_columns(self, session: Session, row: Mapping[str, Any]) -> np.ndarray:
        """The numbers of a table's row in the shape of the network's one input."""
        if len(session.inputs) != 1:
            raise WrongJob("a row of a table is given", why=f"the network has {len(session.inputs)} inputs")
        port = session.inputs[0]
        names = self.columns or tuple(row)
        if lacking := [name for name in names if name not in row]:
            raise WrongJob(f"there is no column {', '.join(map(repr, lacking))}", why=f"there is {', '.join(row)}")
        if lacking := [
            name for name in names if row[name] is None or (isinstance(row[name], list) and None in row[name])
        ]:
            raise Usage(f"the column {lacking[0]!r} is empty", why="numpy would read NaN")
        try:
            numbers = np.array([row[name] for name in names], port.dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise Usage("a value is no number", why=str(error)) from None
        shape = tuple(-1 if d is None else d for d in port.shape[1:])
        if sum(d < 0 for d in shape) > 1 or (-1 not in shape and int(np.prod(shape)) != numbers.size):
            raise Usage(f"{numbers.size} numbers are given", why=f"the network takes {port}", hint="Choose the columns")
        return numbers.reshape(shape)


def _runs(keys: Sequence[Any]) -> Iterable[tuple[int, int]]:
    """Start and end of each run of equal neighbours."""
    start = 0
    for index in range(1, len(keys) + 1):
        if index == len(keys) or keys[index] != keys[start]:
            yield start, index
            start = index
