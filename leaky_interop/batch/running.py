"""Runs the conversions of a batch, a few at a time, each in a worker of its own."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from .. import __version__, files
from ..errors import RuntimeFailure
from ..sandbox import TICK, Limits, Worker
from .journal import Digests, Entry, Journal, read_by
from .plan import Job
from .record import WORDS, Batch, Result

ERROR = re.compile(r"^Error: ", re.MULTILINE)  # how the command begins its last sentence
GRACE = 10.0  # seconds that workers have to end after Ctrl-C
MOST_SAID = 1 << 16  # bytes of a command's error that are read


@dataclass
class Running:
    """One conversion on its way."""

    job: Job
    reads: Digests
    said: IO[bytes]
    worker: Worker


@dataclass
class Batcher:
    """The jobs, the folder of results, and how they are run.

    limits: of each worker; None for workers without. keep_going: after a failure the next ones are begun all the same.
    told: called with every result as it comes, and with the names of what is running.
    """

    jobs: Sequence[Job]
    out: Path
    at_once: int
    limits: Limits | None
    keep_going: bool
    told: Callable[[Result | None, list[str]], None] = lambda result, names: None
    running: list[Running] = field(default_factory=list)
    results: dict[str, Result] = field(default_factory=dict)  # by target

    def run(self) -> Batch:
        """Convert everything. Raises Usage where another batch is at work on the same folder."""
        interrupted = False
        with Journal(self.out) as journal:
            for folder in {(self.out / job.target).parent for job in self.jobs}:
                files.remove_leftovers(folder)  # of a batch that was killed
            waiting = list(reversed(self.jobs))
            try:
                while waiting or self.running:
                    while waiting and len(self.running) < self.at_once:
                        self._begin(waiting.pop(), journal)
                    self._look(journal)
                    if not self.keep_going and any(r.code for r in self.results.values()):
                        waiting.clear()
                    time.sleep(TICK)
            except KeyboardInterrupt:
                interrupted = True
            finally:
                self._end()
        missing = (
            Result(source=j.name, target=j.target, result="not tried")
            for j in self.jobs
            if j.target not in self.results
        )
        self.results |= {r.target: r for r in missing}
        return Batch(results=tuple(self.results[j.target] for j in self.jobs), interrupted=interrupted)

    def _begin(self, job: Job, journal: Journal) -> None:
        reads = read_by(job)
        if journal.holds(job, reads):
            self._ended(Result(source=job.name, target=job.target, result="unchanged"))
            return
        try:
            (self.out / job.target).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"The folder of {job.target} cannot be made: {error.strerror}."
            self._ended(Result(source=job.name, target=job.target, result="unusable", code=2, reason=reason))
            return
        environment = {}
        if self.at_once > 1 and "OMP_NUM_THREADS" not in os.environ:
            environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // self.at_once))
        said = tempfile.TemporaryFile()
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            arguments = job.arguments(self.out)
            arguments[1:1] = ["--quiet"] if self.limits else ["--quiet", "--no-sandbox"]
            worker = Worker(arguments, job.name, self.limits, nowhere.fileno(), said.fileno(), environment)
        self.running.append(Running(job, reads, said, worker))
        self.told(None, [r.job.name for r in self.running])

    def _look(self, journal: Journal) -> None:
        """Write down whatever has ended."""
        for each in list(self.running):
            try:
                code, reason = each.worker.poll(), ""
                if code is None:
                    continue
                reason = self._reason(each) if code else ""
            except RuntimeFailure as error:
                code, reason = error.exit_code, str(error)
                files.remove_leftovers((self.out / each.job.target).parent)
            self.running.remove(each)
            each.said.close()
            seconds = round(time.monotonic() - each.worker.began, 3)
            code = code if 0 <= code < len(WORDS) else 5
            job = each.job
            journal.add(
                Entry(
                    source=job.name,
                    target=job.target,
                    options=job.options,
                    version=__version__,
                    reads=each.reads,
                    writes=[] if code else journal.written(job),
                    code=code,
                    seconds=seconds,
                    reason=reason,
                )
            )
            self._ended(
                Result(
                    source=job.name, target=job.target, result=WORDS[code], code=code, seconds=seconds, reason=reason
                )
            )

    def _ended(self, result: Result) -> None:
        self.results[result.target] = result
        self.told(result, [r.job.name for r in self.running])

    def _reason(self, each: Running) -> str:
        """The error that the command has printed, in one line and without the folder that the model is in."""
        each.said.seek(0)
        text = each.said.read(MOST_SAID).decode("utf-8", "replace")
        text = " ".join(ERROR.split(text)[-1].split())
        folder = each.job.source.removesuffix(each.job.name)
        return text.replace(folder, "") if folder else text

    def _end(self) -> None:
        """End what still runs, as Ctrl-C does; what does not end by itself is killed."""
        for each in self.running:
            each.worker.interrupt()
        latest = time.monotonic() + GRACE
        while self.running and time.monotonic() < latest and any(not each.worker.ended() for each in self.running):
            time.sleep(TICK)
        for each in self.running:
            each.worker.stop()
            each.said.close()
            files.remove_leftovers((self.out / each.job.target).parent)
        if self.running:
            files.remove_leftovers()
