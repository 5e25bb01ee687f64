"""Measures models in runtimes side by side: every one in a process of its own, all of them taking turns.

First each gives one result, and all results of a model are compared: a number is worth nothing where the outputs are
others. Then the turns: in every round each runtime has a short turn at a batch size before any has the next one, in
changing order, so that what disturbs the machine disturbs all alike. Only one process works at a time.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import MissingFramework, Usage
from ..processes import Died, Process, search_path
from ..stages import stage
from .record import Speed, Subject, Timing
from .runtimes import RUNTIMES, lacking, variables

if TYPE_CHECKING:
    from .forms import Subjected

STARTS = 2  # the quicker one counts: what the first read from the disk, the second finds in memory
LIMIT = 900.0  # seconds for one answer, a compilation included
PAUSE = 0.02  # seconds between turns, in which the threads of the last one come to rest


def bench(
    *models: Any,
    runtimes: Sequence[str] | None = None,
    batches: Sequence[int] = (1, 8),
    threads: Sequence[int] | None = None,
    seconds: float = 1.0,
    rounds: int = 5,
    input_shapes: Any = None,
    weights: Any = None,
    allow_root: str | os.PathLike[str] | None = None,
    trust: bool = False,
) -> Speed:
    """Latency, throughput, memory and cold start of models, each in every runtime.

    Parameters
    ----------
    models : Keras, PyTorch or ONNX models, paths, or "package.module:factory"; a model runs in its own framework as it
        is, and in the others converted. A living PyTorch module is measured as it is exported, for no file holds its code
    runtimes : names out of onnxruntime, openvino, torch_eager, torch_compile, keras_torch, keras_tensorflow and
        keras_jax; by default all that are installed
    batches : batch sizes, of models that leave theirs open
    threads : numbers of threads; by default one for each processor
    seconds : how long every runtime is timed at every batch size, in `rounds` turns
    input_shapes, weights, allow_root, trust : as for `load`

    Returns a Speed; `passed` says whether all runtimes gave the same numbers, within the limits of the network.
    Raises Usage, Unsupported, Refused and UnsafeFile where a model cannot be read.
    """
    _check(models, batches, threads, seconds, rounds)
    wanted, notes = _wanted(runtimes)
    found: list[Subject] = []
    timings: list[Timing] = []
    from ..files.source import private_folder

    with private_folder() as home:
        from ..loading import open_model
        from .forms import prepare

        prepared = []
        formats = [RUNTIMES[runtime][0] for runtime in wanted]
        for index, (model, called) in enumerate(zip(models, _names(models), strict=True)):
            stage(f"prepare {called}")
            folder = home / str(index)
            folder.mkdir()
            opened = model, open_model(model, weights, allow_root=allow_root, trust=trust)
            prepared.append(prepare(opened, called, formats, sorted(set(batches)), folder, input_shapes, trust))
            if prepared[-1].batches != sorted(set(batches)):
                notes.append(f"{called} takes a batch of {prepared[-1].batches[0]} only")
        for number in threads or [
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        ]:
            with ExitStack() as stack:
                runs = [Run(subject, runtime, number) for subject in prepared for runtime in wanted]
                for run in runs:
                    stack.callback(run.stop)
                found = _worse(found, _started(runs, 1 if found else STARTS))
                stage(f"time with {number} thread{'s' if number > 1 else ''}")
                timings += _timed([run for run in runs if not run.problem], seconds, rounds)
                notes += [f"{run.subject.name} in {run.runtime}: {run.failed}" for run in runs if run.failed]
    return Speed(
        subjects=tuple(found),
        timings=tuple(timings),
        notes=tuple(dict.fromkeys(notes)),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        versions={"python": platform.python_version(), **{s.runtime: s.version for s in found if s.version}},
        rounds=rounds,
    )


class Run:
    """One model in one runtime with a number of threads, while it is measured."""

    def __init__(self, subject: Subjected, runtime: str, threads: int):
        self.subject, self.runtime, self.threads = subject, runtime, threads
        self.framework = RUNTIMES[runtime][0]
        self.process: Process | None = None
        self.cold_start = math.inf
        self.version = ""
        self.outputs: list[np.ndarray] = []
        self.problem = subject.refused.get(self.framework, "")  # why it gives no result
        self.failed = ""  # why it stopped later
        self.peaks: dict[int, int] = {}
        self.times: dict[int, list[float]] = {}

    def start(self) -> None:
        """A new process, and its first result."""
        from .worker import read_arrays

        self.stop()
        folder = self.subject.folder
        job, results = folder / f"{self.runtime}.json", folder / f"{self.runtime}.npz"
        form = self.subject.forms[self.framework]
        job.write_text(
            json.dumps({"runtime": self.runtime, "threads": self.threads, "form": form, "arrays": "."}),
            encoding="utf-8",
        )
        compiled = tempfile.mkdtemp(dir=folder)  # torch.compile finds nothing there that it has compiled before
        environment = {
            **os.environ, **variables(self.runtime, self.threads),
            "PYTHONPATH": search_path(), "TORCHINDUCTOR_CACHE_DIR": compiled,
        }  # fmt: skip
        began = time.perf_counter()
        self.process = Process([sys.executable, "-m", "leaky_interop.speed.worker", str(job)], environment)
        answer = self.ask(do="first", batch=self.subject.batches[0], path=str(results))
        if self.problem:
            return
        self.cold_start = min(self.cold_start, time.perf_counter() - began)
        self.version = answer["version"]
        outputs = read_arrays(results)
        order = self.subject.order[self.framework]
        self.outputs = outputs if order is None or len(order) != len(outputs) else [outputs[i] for i in order]

    def ask(self, **question: Any) -> dict[str, Any]:
        """The answer; nothing where there is none, and why in `problem` or, once there was a result, in `failed`."""
        try:
            assert self.process is not None
            answer = self.process.ask(question, LIMIT)
            why = answer.get("error", "")
        except Died as error:
            answer, why = {}, str(error)
        if why and not self.version:
            self.problem = why
        elif why:
            self.failed = f"at a batch of {question['batch']} {why}"
        return answer

    def turn(self, batch: int, seconds: float) -> None:
        if batch not in self.peaks:
            self.peaks[batch] = self.ask(do="warm", batch=batch).get("peak_bytes", 0)
        if not self.failed:
            self.times.setdefault(batch, []).extend(
                self.ask(do="time", batch=batch, seconds=seconds).get("seconds", [])
            )

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()
            self.process = None

    def timings(self) -> Iterator[Timing]:
        for batch, times in self.times.items():
            if times:
                median, p90, p99 = (float(q) for q in np.percentile(times, [50, 90, 99]))
                yield Timing(
                    model=self.subject.name, runtime=self.runtime, threads=self.threads, batch=batch, calls=len(times),
                    median=median, p90=p90, p99=p99, rate=batch * len(times) / sum(times), peak_bytes=self.peaks[batch],
                )  # fmt: skip


def _started(runs: Sequence[Run], starts: int) -> list[Subject]:
    """Start all, each so many times, in turns; compare what they gave."""
    for turn in range(starts):
        for run in runs[:: -1 if turn % 2 else 1]:
            if not run.problem:
                stage(f"start {run.subject.name} in {run.runtime}")
                run.start()
    found = []
    for subject in dict.fromkeys(id(run.subject) for run in runs):
        own = [run for run in runs if id(run.subject) == subject]
        there = [run for run in own if not run.problem]
        reference = min(there, key=lambda run: run.framework != run.subject.framework, default=None)
        stage(f"compare the outputs of {own[0].subject.name}")
        judge = own[0].subject.judges(own[0].subject.batches[0]) if len(there) > 1 else None
        for run in own:
            error: Any = None
            if judge is not None and not run.problem and run is not reference:
                assert reference is not None
                error = judge(reference.outputs, run.outputs)
            found.append(_subject(run, reference, error))
    return found


def _worse(before: Sequence[Subject], now: Sequence[Subject]) -> list[Subject]:
    """The subjects as they were first; where one differs with another number of threads, as it is then."""
    return [b if n.agrees or not b.agrees else n for b, n in zip(before or now, now, strict=True)]


def _subject(run: Run, reference: Run | None, error: Any) -> Subject:
    return Subject(
        model=run.subject.name,
        runtime=run.runtime,
        version=run.version,
        cold_start=None if run.problem else run.cold_start,
        reference=reference.runtime if reference else "",
        error=None if isinstance(error, str) else error,
        problem=error if isinstance(error, str) else run.problem,
    )


def _timed(runs: Sequence[Run], seconds: float, rounds: int) -> Iterator[Timing]:
    """All at every batch size, in turns; smaller batches first, so that the peak of memory grows with them."""
    for batch in sorted({batch for run in runs for batch in run.subject.batches}):
        for turn in range(rounds):
            for run in runs[:: -1 if turn % 2 else 1]:
                if batch in run.subject.batches and not run.failed:
                    run.turn(batch, seconds / rounds)
                    time.sleep(PAUSE)
    for run in runs:
        yield from run.timings()


def _check(
    models: Sequence[Any], batches: Sequence[int], threads: Sequence[int] | None, seconds: float, rounds: int
) -> None:
    if not models:
        raise Usage("no model is given")
    for what, numbers in (
        ("batch size", batches),
        ("number of threads", threads or (1,)),
        ("number of rounds", (rounds,)),
    ):
        for number in numbers:
            if not (isinstance(number, int) and number > 0):
                raise Usage(f"{number!r} is no {what}", why="it is 1 or more")
    if not batches:
        raise Usage("no batch size is given")
    if not 0 < seconds < math.inf:
        raise Usage(f"{seconds} is no time to measure for", why="it is more than 0")


def _wanted(names: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The runtimes to ask, and a note for each that cannot be; an error where one was asked for by name."""
    for name in names or ():
        if name not in RUNTIMES:
            raise Usage(f"there is no runtime {name!r}", hint=f"Those that can be asked are {', '.join(RUNTIMES)}")
        if needed := lacking(name):
            raise MissingFramework(f"{name} needs {needed}, which is not installed")
    if names:
        return list(dict.fromkeys(names)), []
    missing = {name: lacking(name) for name in RUNTIMES}
    return [n for n, lack in missing.items() if not lack], [
        f"{n} was not asked: it needs {lack}" for n, lack in missing.items() if lack
    ]


def _names(models: Sequence[Any]) -> list[str]:
    """What each model is called: its file's name or its factory; numbered where two are alike."""
    called = [Path(m).name if isinstance(m, str | os.PathLike) else type(m).__name__ for m in models]
    return [f"{name} ({i + 1})" if called.count(name) > 1 else name for i, name in enumerate(called)]
