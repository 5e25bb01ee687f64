"""How much memory this process holds, and the most that it held. Imports no framework."""

from __future__ import annotations

import ctypes
import gc
import resource
from pathlib import Path

MEMORY = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


def resident() -> int:
    """Bytes of memory that this process holds now, after giving back what it has freed."""
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    return _memory("VmRSS")


def reset_peak() -> None:
    """Start a new peak; where the system cannot, the peak stays that of the whole process."""
    if RESET.exists():
        RESET.write_text("5")


def peak() -> int:
    """The most bytes that this process held since `reset_peak`."""
    return _memory("VmHWM")


def _memory(field: str) -> int:
    if not MEMORY.exists():  # macOS: only the peak of the whole process, in bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in MEMORY.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024
