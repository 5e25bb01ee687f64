"""Reads changed files in this process until it has done its number, or dies of one. Started by `__main__.py`.

Before each execution the input is written down, and after it the count, so that whoever watches knows what killed it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import mmap
import os
import resource
import struct
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random
from typing import Any

from . import mutation
from .readers import CANARY, PACKAGE, READERS, Reader
from .watching import Watch

GIB = 1 << 30
MEMORY = GIB  # that a reader may take above what the process had before
STATE = struct.Struct("<QdQd")  # executions, start of the present one (0 between two), accepted, seconds of the slowest


class State:
    """The counts, in a file that two processes map."""

    def __init__(self, path: Path):
        if not path.exists():
            path.write_bytes(bytes(STATE.size))
        with path.open("r+b") as file:
            self.map = mmap.mmap(file.fileno(), STATE.size)

    def read(self) -> tuple[int, float, int, float]:
        return STATE.unpack_from(self.map)

    def write(self, *values: float) -> None:
        STATE.pack_into(self.map, 0, *values)


class Harness:
    """Executes inputs and writes findings down, each kind once with its smallest input."""

    def __init__(self, reader: Reader, folder: Path, *, limits_memory: bool = False):
        self.reader, self.folder, self.limits_memory = reader, folder, limits_memory
        self.model = folder / "model"
        self.model.mkdir(exist_ok=True)
        self.prepare()
        self.state = State(folder / "state")
        self.count, self.accepted, self.slowest = 0, 0, 0.0
        self.sizes: dict[str, int] = {}
        self.watch = Watch(folder)

    def prepare(self) -> None:
        """What may be read along, and what may not: an outside file, reached by name, by a link and by a hard link."""
        (self.folder / "secret.bin").write_bytes(CANARY * 4)
        (self.model / "w.bin").write_bytes(bytes(64))
        for name, make in (("link.bin", os.symlink), ("hard.bin", os.link)):
            if not os.path.lexists(self.model / name):
                make(self.folder / "secret.bin", self.model / name)

    def execute(self, data: bytes) -> None:
        (self.folder / "input").write_bytes(data)
        started = time.perf_counter()
        self.state.write(self.count, time.monotonic(), self.accepted, self.slowest)
        self.watch.on = True
        try:
            try:
                made = self.reader.read(self.model, data)
            finally:
                self.watch.on = False
            self.accepted += 1
            if isinstance(made, list) and any(
                isinstance(part, bytes) and CANARY in part and CANARY not in data for part in made
            ):
                self.found("outside", "a file outside was read", "", data)
        except self.reader.declared as error:
            if _ran_out(error.__cause__ or error.__context__):
                self.found("memory", "MemoryError", _place(error.__cause__ or error.__context__), data)
        except MemoryError as error:
            self.found("memory", "MemoryError", _place(error), data)
        except Exception as error:
            self.found("exception", f"{type(error).__name__}: {str(error)[:200]}", _place(error), data)
        for text in self.watch.seen:
            self.found("outside", text, "", data)
        self.watch.seen.clear()
        self.count += 1
        self.slowest = max(self.slowest, time.perf_counter() - started)
        self.state.write(self.count, 0.0, self.accepted, self.slowest)
        if self.limits_memory and self.count % 500 == 1:
            limit_memory()

    def found(self, kind: str, text: str, place: str, data: bytes) -> None:
        key = f"{kind} {text.partition(':')[0] if place else text} {place}"
        if len(data) >= self.sizes.get(key, 1 << 62):
            return
        self.sizes[key] = len(data)
        name = hashlib.sha256(f"{self.reader.name} {key}".encode()).hexdigest()[:12]
        (self.folder / f"{name}.finding").write_bytes(data)
        row = {"kind": kind, "text": text, "where": place, "bytes": len(data)}
        (self.folder / f"{name}.json").write_text(json.dumps(row), encoding="utf-8")


def _ran_out(error: BaseException | None) -> bool:
    """Whether memory was asked for that is not there; Python's parser says the same of brackets in brackets."""
    frames = traceback.extract_tb(error.__traceback__) if isinstance(error, MemoryError) else []
    return bool(frames) and Path(frames[-1].filename).name != "ast.py"


def _place(error: BaseException | None) -> str:
    """The innermost line of the package in the error's traceback."""
    frames = traceback.extract_tb(error.__traceback__) if error else []
    ours = [f for f in frames if f.filename.startswith(str(PACKAGE))]
    return f"{Path(ours[-1].filename).relative_to(PACKAGE.parent)}:{ours[-1].lineno} {ours[-1].name}" if ours else ""


def limit_memory() -> None:
    """Let the process grow by `MEMORY` from what it has now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, hard))


@dataclasses.dataclass
class Job:
    reader: str
    engine: str
    folder: str
    executions: int
    seconds: float
    seed: int


def main(job: Job) -> None:
    folder = Path(job.folder)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "temporary")
    (folder / "temporary").mkdir(exist_ok=True)
    os.chdir(folder)
    sys.setrecursionlimit(1000)
    reader = READERS[job.reader]
    random = Random(job.seed)
    if job.engine == "atheris":
        import atheris

        patterns = [pattern.rpartition("/")[0].replace("/", ".") for pattern in reader.sources] or ["files"]
        with atheris.instrument_imports(include=[f"leaky_interop.{p}".rstrip(".") for p in {*patterns, "files"}]):
            harness, pool = _warm(reader, folder)
        _guided(atheris, harness, pool, job)
        return
    harness, pool = _warm(reader, folder)
    until = time.monotonic() + job.seconds
    while harness.count < job.executions and time.monotonic() < until:
        harness.execute(mutation.mutated(random.choice(pool), reader.form, random, pool))


def _warm(reader: Reader, folder: Path) -> tuple[Harness, list[bytes]]:
    """Read the valid files, which imports whatever the reader needs, before anything is limited or watched."""
    pool = reader.seeds()
    harness = Harness(reader, folder, limits_memory=True)
    for data in pool:
        try:
            reader.read(harness.model, data)
        except reader.declared as error:
            print(f"{reader.name}: a valid file is refused: {error}", file=sys.stderr)
    limit_memory()
    for data in pool:
        harness.execute(data)
    return harness, pool


def _guided(atheris: Any, harness: Harness, pool: list[bytes], job: Job) -> None:
    """Let libFuzzer choose what to change further, by the lines that were reached."""
    corpus = harness.folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, data in enumerate(pool):
        (corpus / f"valid-{number}").write_bytes(data)

    def change(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.25:
            return atheris.Mutate(data, most)
        return mutation.mutated(data, harness.reader.form, random, pool)[:most]

    options = [
        str(corpus), f"-runs={job.executions}", f"-max_total_time={max(1, int(job.seconds))}", f"-seed={job.seed}", "-max_len=262144",
        "-rss_limit_mb=0", "-timeout=600", "-verbosity=0", "-len_control=0", f"-artifact_prefix={harness.folder}/", "-use_value_profile=0",
    ]  # fmt: skip
    atheris.Setup(["fuzz", *options], harness.execute, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main(Job(**json.loads(sys.argv[1])))
