"""The record of one comparison of speed: plain data, the one source of every rendering."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from ..report.record import Error


@dataclasses.dataclass(frozen=True, kw_only=True)
class Timing:
    """One model in one runtime at one number of threads and one batch size."""

    model: str
    runtime: str
    threads: int
    batch: int
    calls: int  # how many were timed
    median: float  # seconds of one call
    p90: float  # nine of ten calls took no longer
    p99: float
    rate: float  # rows a second over all calls
    peak_bytes: int  # the most memory above that of the process before it had the model


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """One model in one runtime: how it starts, and whether it computes what the others do."""

    model: str
    runtime: str
    version: str
    cold_start: float | None  # seconds from the start of the process to the first result
    reference: str  # the runtime whose outputs these were compared with; itself for the reference
    error: Error | None  # the worst of its outputs
    problem: str = ""  # why it gave no result, or in what its outputs differ

    @property
    def agrees(self) -> bool:
        """Whether its numbers lie within the limits of the network; what gave no result does not disagree."""
        return self.version == "" or (not self.problem and (self.error is None or self.error.ratio <= 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Speed:
    """All that was measured in one run."""

    subjects: tuple[Subject, ...]
    timings: tuple[Timing, ...]
    notes: tuple[str, ...]  # what was left out, and why
    machine: str
    versions: dict[str, str]
    rounds: int

    @property
    def passed(self) -> bool:
        """Whether every runtime that gave a result gave the same one."""
        return all(subject.agrees for subject in self.subjects)

    def rows(self) -> Iterator[tuple[Timing, Subject]]:
        """Every timing with its subject: what is to be compared stands together, the quickest first."""
        of = {(s.model, s.runtime): s for s in self.subjects}
        models = list(dict.fromkeys(s.model for s in self.subjects))
        for timing in sorted(self.timings, key=lambda t: (t.threads, t.batch, models.index(t.model), t.median)):
            yield timing, of[timing.model, timing.runtime]

    def to_json(self) -> str:
        from .renderings import as_json

        return as_json(self)

    def to_markdown(self) -> str:
        from .renderings import as_markdown

        return as_markdown(self)

    def plot(self, path: object = None) -> object:
        """matplotlib's Figure of latency and throughput by batch size, written to `path` where one is given."""
        from .plot import draw

        return draw(self, path)
