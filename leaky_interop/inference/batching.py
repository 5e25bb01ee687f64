"""Finds the batch size that is fastest under a memory limit, by running the network on one of its own inputs."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import Usage
from .session import Session

MOST_BATCH = 256
SECONDS = 0.15  # each size is run at least this long, and twice
GAIN = 0.03  # a larger batch must be faster by this part to be worth its memory and its wait
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def memory_size(text: str) -> int:
    """Bytes of "500MB", "2G" or "1.5 GiB"."""
    plain = text.strip().upper().replace("IB", "").removesuffix("B").strip()
    unit = plain[-1:] if plain[-1:] in ("K", "M", "G") else ""
    try:
        number = float(plain.removesuffix(unit))
    except ValueError:
        number = 0.0
    if not 0 < number < 1e18:
        raise Usage(f"--memory-limit {text!r} is not understood", hint="Write 500MB or 2GB")
    return int(number * UNITS[unit])


def peak() -> int:
    """The most memory that this process has held, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def available() -> int:
    """Half of the memory that is free, on top of what this process holds; 4 GiB where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return 4 << 30
    return peak() + free // 2


def fastest_batch(
    session: Session, sample: Sequence[np.ndarray], limit: int | None = None, most: int = MOST_BATCH
) -> int:
    """The size, a power of two, with the most rows a second; the smaller of two that are about as fast.

    sample: one record's arrays without the batch axis. limit: bytes that the process may hold. A size is not tried when
    its predecessors' growth says that it would go beyond the limit. Raises Usage where not even one row fits.
    """
    if session.batch:
        return session.batch
    limit = limit or available()
    before = peak()
    if before > limit:
        raise Usage(
            f"the memory limit is {limit >> 20:,} MiB", why=f"the process holds {before >> 20:,} MiB before it runs"
        )
    best, best_rate, size, slower = 1, 0.0, 1, 0
    while size <= most and slower < 2:
        rate = _rate(session, sample, size)
        now = peak()
        if now > limit:
            if size == 1:
                raise Usage(f"the memory limit is {limit >> 20:,} MiB", why=f"one row takes it to {now >> 20:,} MiB")
            break
        slower = 0 if rate > best_rate * (1 + GAIN) else slower + 1
        if not slower:
            best, best_rate = size, rate
        if (
            now + (now - before) * (2 if size > 1 else 1) > limit
        ):  # each size takes twice the rows that the last one added
            break
        before, size = now, 2 * size
    return best


def _rate(session: Session, sample: Sequence[np.ndarray], size: int) -> float:
    """Rows a second: the best of several runs, since other work only ever slows one down."""
    feeds = [np.repeat(a[None], size, axis=0) for a in sample]
    session.run(feeds)
    fastest, spent, runs = float("inf"), 0.0, 0
    while spent < SECONDS or runs < 2:
        start = time.perf_counter()
        session.run(feeds)
        took = time.perf_counter() - start
        fastest, spent, runs = min(fastest, took), spent + took, runs + 1
    return size / fastest
