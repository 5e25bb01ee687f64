"""The journal of a folder of results, `batch.jsonl`: a line for every conversion that has ended, with digests of its files.

Lines are only ever appended, each in one write and flushed. A last line that a kill or a full disk has torn is no entry.
The open journal is locked, so that two batches never work on one folder; the lock dies with its process.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from .. import __version__, files
from ..errors import Usage
from .plan import Job

NAME = "batch.jsonl"

Digests = list[list[str]]  # pairs of a name, which need not be the only one, and the SHA-256 of the content


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One conversion that has ended."""

    source: str
    target: str
    options: tuple[str, ...]
    version: str  # of this package
    reads: Digests  # of the source's files
    writes: Digests  # of the target's
    code: int
    seconds: float
    reason: str


class Journal:
    """The entries of a folder, the last one of each target."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.entries: dict[str, Entry] = {}
        self.file = -1

    def __enter__(self) -> Journal:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self.file = os.open(self.out / NAME, flags, 0o666)
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.file)
            what = f"another batch is writing to {self.out.name}"
            raise Usage(what, hint="Wait for its end, or give another folder") from None
        except OSError as error:
            raise Usage(f"the journal {NAME} cannot be opened", why=error.strerror or "") from None
        with os.fdopen(os.dup(self.file), "rb") as file:
            text = file.read()
        for line in text.split(b"\n"):
            if (entry := _entry(line)) is not None:
                self.entries[entry.target] = entry
        self.torn = bool(text) and not text.endswith(b"\n")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self.file)

    def add(self, entry: Entry) -> None:
        """Write an entry down."""
        line = json.dumps(dataclasses.asdict(entry)).encode() + b"\n"
        try:
            written = os.write(self.file, b"\n" * self.torn + line)
            self.torn = written < len(line) + self.torn
            os.fsync(self.file)
        except OSError as error:
            raise Usage(f"the journal {NAME} cannot be written", why=error.strerror or "") from None
        if self.torn:
            raise Usage(f"the journal {NAME} cannot be written", why="No space left on device")
        self.entries[entry.target] = entry

    def holds(self, job: Job, reads: Digests) -> bool:
        """Whether this very conversion has been made, and what it wrote is still whole."""
        entry = self.entries.get(job.target)
        if entry is None or entry.code or not reads:
            return False
        same = (entry.source, entry.options, entry.version, entry.reads) == (job.name, job.options, __version__, reads)
        return same and bool(entry.writes) and entry.writes == self.written(job)

    def written(self, job: Job) -> Digests:
        """Digests of what a job has written; nothing where its target is not there."""
        target, *others = job.files(self.out)
        if not target.is_file():
            return []
        return _digests(dict.fromkeys([*files.parts(target), *(file for file in others if file.is_file())]))


def read_by(job: Job) -> Digests:
    """Digests of all that a job reads; nothing where that cannot be known: a network in code."""
    if not Path(job.source).is_file():
        return []
    named = [Path(option) for option in job.options if Path(option).is_file()]
    weights = [job.weights] if job.weights and job.weights.is_file() else []
    try:
        return _digests([*files.parts(job.source), *weights, *named])
    except OSError:  # what cannot be read is for the conversion to say
        return []


def _digests(paths: Iterable[Path]) -> Digests:
    found = []
    for path in paths:
        with path.open("rb") as file:
            found.append([path.name, hashlib.file_digest(file, "sha256").hexdigest()])
    return found


def _entry(line: bytes) -> Entry | None:
    """The entry of a line; None for a torn or foreign one."""
    try:
        data = json.loads(line)
        entry = Entry(**data | {"options": tuple(data["options"])})
        return entry if isinstance(entry.target, str) and isinstance(entry.code, int) else None
    except (KeyError, RecursionError, TypeError, ValueError):
        return None
