"""The direct engine: threads decode while the network runs, rows go out in the order of their records.

At most `ahead` records are decoded at once, so memory does not grow with the run. A record that cannot be read is counted
and left out; only if none can be read is that an error.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from ..errors import LeakyInteropError, RuntimeFailure, Usage
from .job import Job, Record
from .session import Session, WrongJob
from .writers import Writer

DEFAULT_BATCH = 8
Bad = Callable[[str, str], None]


@dataclasses.dataclass
class Summary:
    """What a run came to."""

    rows: int = 0
    skipped: int = 0  # that an earlier run has written
    bad: int = 0
    seconds: float = 0.0
    batch: int = 0
    last: str = ""  # what was wrong with the last bad record

    def unread(self, why: str) -> None:
        """Counts a record that cannot be read."""
        self.bad, self.last = self.bad + 1, why

    def check(self) -> None:
        """Raises Usage where nothing could be read."""
        if self.bad and not self.rows and not self.skipped:
            what = "the input cannot be read" if self.bad == 1 else f"none of {self.bad} inputs can be read"
            raise Usage(what, why=self.last)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_job(job: Job, session: Session, records: Iterable[Record], writer: Writer, **options: Any) -> Summary:
    """Run the job over records and write its rows, as `run_records` does with the same options.

    Raises Usage where no record can be read, and what the network or the writer raises.
    """
    summary = run_records(job, session, records, writer, **options)
    summary.check()
    return summary


def run_records(
    job: Job,
    session: Session,
    records: Iterable[Record],
    writer: Writer,
    *,
    batch: int = DEFAULT_BATCH,
    workers: int | None = None,
    bad: Bad = lambda name, why: None,
    progress: Callable[[int], None] = lambda done: None,
) -> Summary:
    """A part of a run: that none of its records can be read is no error yet.

    `bad` hears of each record that cannot be read, `progress` of each batch.
    """
    batch = session.batch or batch
    summary = Summary(batch=batch)
    start = time.perf_counter()
    names: list[str] = []
    samples: list[list[np.ndarray]] = []

    def flush() -> None:
        if names:
            writer.write(job.rows(session, names, samples))
            summary.rows += len(names)
        progress(summary.rows + summary.bad + summary.skipped)
        names.clear()
        samples.clear()

    def wanted() -> Iterator[Record]:
        for record in records:
            if record.name in writer.done:
                summary.skipped += 1
            else:
                yield record

    for record, made in decoded(job, session, wanted(), workers or cores(), 2 * batch):
        if isinstance(made, LeakyInteropError):
            summary.unread(str(made))
            bad(record.name, str(made))
            continue
        if samples and [a.shape for a in made] != [a.shape for a in samples[0]]:
            flush()
        names.append(record.name)
        samples.append(made)
        if len(names) == batch:
            flush()
    flush()
    summary.seconds = time.perf_counter() - start
    return summary


def decoded(
    job: Job, session: Session, records: Iterable[Record], workers: int, ahead: int
) -> Iterator[tuple[Record, Any]]:
    """Each record with its arrays, or with the error that it met; in order, decoded by threads ahead of their use."""
    waiting: deque[tuple[Record, Future[list[np.ndarray]]]] = deque()
    records = iter(records)
    with ThreadPoolExecutor(workers, "decode") as pool:
        try:
            while True:
                for record in itertools.islice(records, ahead + workers - len(waiting)):
                    waiting.append((record, pool.submit(job.arrays, session, record)))
                if not waiting:
                    return
                record, future = waiting.popleft()
                try:
                    yield record, future.result()
                except LeakyInteropError as error:
                    if isinstance(error, RuntimeFailure | WrongJob):
                        raise
                    yield record, error
        finally:
            for _, future in waiting:
                future.cancel()
