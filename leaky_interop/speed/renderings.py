"""The record of speed as a table, as JSON and as Markdown."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator

from ..report.phrases import markdown_table, measured, number, printable
from .record import Speed, Subject, Timing

FORMAT = 1  # of the JSON; it changes only when a field changes its meaning or goes away
HEAD = (
    "model", "runtime", "threads", "batch", "median ms", "p90", "p99", "rows/s", "memory MB", "cold start s", "numbers",
)  # fmt: skip


def cells(speed: Speed) -> Iterator[tuple[str, ...]]:
    """A row a timing, then what gave no result."""
    for timing, subject in speed.rows():
        yield _row(timing, subject)
    timed = {(t.model, t.runtime) for t in speed.timings}
    for subject in speed.subjects:
        if (subject.model, subject.runtime) not in timed:
            yield (subject.model, subject.runtime, *("-",) * 8, subject.problem or "was not timed")


def _row(timing: Timing, subject: Subject) -> tuple[str, ...]:
    times = (f"{1000 * t:.3g}" for t in (timing.median, timing.p90, timing.p99))
    start = "-" if subject.cold_start is None else f"{subject.cold_start:.2f}"
    return (
        timing.model, timing.runtime, str(timing.threads), str(timing.batch), *times, f"{timing.rate:,.4g}",
        f"{timing.peak_bytes / 2**20:.0f}", start, agreement(subject),
    )  # fmt: skip


def agreement(subject: Subject) -> str:
    """Whether the outputs are those of the runtime that all are compared with."""
    if subject.runtime == subject.reference:
        return "the reference"
    if subject.agrees:
        return (
            "equal"
            if subject.error is None or not subject.error.absolute
            else f"agree: {number(subject.error.ratio)} of the limit"
        )
    return f"DIFFER: {subject.problem or measured(subject.error)}"


def summary(speed: Speed) -> list[str]:
    """What a reader must know beside the table."""
    lines = [
        f"{s.model}: the outputs of {s.runtime} differ from those of {s.reference} beyond the limits of the network: "
        f"{s.problem or measured(s.error)}"
        for s in speed.subjects
        if not s.agrees
    ]
    return lines + list(speed.notes)


def as_json(speed: Speed) -> str:
    def finite(data: object) -> object:
        if isinstance(data, dict):
            return {key: finite(value) for key, value in data.items()}
        if isinstance(data, list | tuple):
            return [finite(value) for value in data]
        return number(data) if isinstance(data, float) and not math.isfinite(data) else data

    data = {"format": FORMAT, "passed": speed.passed, **dataclasses.asdict(speed)}
    return json.dumps(finite(data), indent=2, allow_nan=False) + "\n"


def as_markdown(speed: Speed) -> str:
    """The table and what is to be known of it."""
    about = f"Measured on {speed.machine}, in {speed.rounds} rounds; " + ", ".join(
        f"{n} {v}" for n, v in speed.versions.items()
    )
    rows = ([" ".join(printable(cell).replace("|", r"\|").split()) for cell in row] for row in cells(speed))
    notes = "".join(f"\n* {printable(line)}" for line in summary(speed))
    return f"{markdown_table(HEAD, rows)}\n{about}.\n{notes}{chr(10) if notes else ''}"
