"""One model in one runtime, in a process of its own: `python -m leaky_interop.speed.worker JOB.json`.

It loads nothing but what the runtime needs, so that its start and its memory are the runtime's. A job names files that
`speed` itself has written. Questions and answers are lines of JSON:

* first: one result at the first batch size, written beside the job
* warm: a result at a batch size; how much memory that took
* time: calls at a batch size for so many seconds; how long each took
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..numeric import dtype
from . import memory
from .runtimes import ENTRANCES

Arrays = list[np.ndarray]
MOST_CALLS = 10_000  # of one turn
MOST_TEXT = 300  # characters of a message


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Arrays in order, each with its dtype: numpy's files do not know bfloat16."""
    np.savez(path, **{f"{i}_{a.dtype.name}": a for i, a in enumerate(arrays)})  # type: ignore[arg-type]


def read_arrays(path: Path) -> Arrays:
    """What `write_arrays` wrote."""
    with np.load(path) as saved:
        return [saved[name].view(dtype(name.partition("_")[2])) for name in saved.files]


class Bench:
    """The loaded model and its arrays."""

    def __init__(self, job: Mapping[str, Any], folder: Path):
        self.folder, self.job = folder, job
        load, version = ENTRANCES[job["runtime"]](job["threads"])
        self.version = version
        self.before = memory.resident()
        memory.reset_peak()
        self.call: Callable[[Arrays], Arrays] = load(job["form"])
        self.arrays: dict[int, Arrays] = {}

    def given(self, batch: int) -> Arrays:
        if batch not in self.arrays:
            self.arrays[batch] = read_arrays(self.folder / self.job["arrays"] / f"{batch}.npz")
        return self.arrays[batch]

    def first(self, batch: int, path: str) -> dict[str, Any]:
        results = self.call(self.given(batch))
        write_arrays(Path(path), results)
        return {"version": self.version}

    def warm(self, batch: int) -> dict[str, Any]:
        self.given(batch)
        for _ in range(2):
            self.call(self.given(batch))
        return {"peak_bytes": max(memory.peak() - self.before, 0)}

    def time(self, batch: int, seconds: float) -> dict[str, Any]:
        given, times = self.given(batch), []
        self.call(given)  # not counted: it brings back what other processes pushed out of the caches
        gc.collect()
        gc.disable()
        end = time.perf_counter() + seconds
        while len(times) < MOST_CALLS and (not times or time.perf_counter() < end):
            start = time.perf_counter()
            self.call(given)
            times.append(time.perf_counter() - start)
        gc.enable()
        return {"seconds": times}


def main(path: Path) -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what frameworks print is no answer
    bench: Bench | None = None
    for line in sys.stdin:
        question = json.loads(line)
        try:
            bench = bench or Bench(json.loads(path.read_text(encoding="utf-8")), path.parent)
            answer = getattr(bench, question.pop("do"))(**question)
        except Exception as error:  # a runtime may fail in any way; that is a result too
            answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:MOST_TEXT]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
