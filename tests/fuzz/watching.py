"""Sees what a process opens, starts and changes while a file is read: by Python's audit events, so not what C code does."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

EVENTS = {
    "os.system",
    "subprocess.Popen",
    "socket.connect",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.exec",
    "os.fork",
    "ctypes.dlopen",
}
CHANGES = {"os.remove", "os.rename", "os.rmdir"}
ROOT = Path(__file__).parents[2]
LIBRARIES = tuple(
    {
        sys.prefix,
        sys.base_prefix,
        "/usr",
        "/lib",
        "/proc",
        "/sys/",
        "/dev/null",
        "/dev/urandom",
        str(ROOT / "leaky_interop"),
    }
)


class Watch:
    """While `on`, `seen` grows by each thing that is not the reading of libraries or of what lies in `folder`."""

    def __init__(self, folder: Path, secret: str = "secret.bin"):
        self.folder, self.secret = str(folder), secret
        self.on = False
        self.seen: list[str] = []
        sys.addaudithook(self.event)

    def event(self, name: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if name == "open":
            path, mode = arguments[:2]
            text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else self.folder
            is_inside = not text.startswith("/") or text.startswith(self.folder)
            is_library = text.startswith(LIBRARIES) and set(mode or "") <= set("rbt")
            if text.endswith(self.secret) or not (is_inside or is_library):
                self.seen.append(f"open {text[:200]!r} {mode}")
        elif name in CHANGES:
            text = os.fsdecode(arguments[0])
            if text.startswith("/") and not text.startswith(self.folder):
                self.seen.append(f"{name} {text[:200]!r}")
        elif name in EVENTS:
            self.seen.append(f"{name} {arguments!r}"[:300])
