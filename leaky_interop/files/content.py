"""The whole content of a small file: texts and models whose format another part of the package reads."""

from __future__ import annotations

import os
from pathlib import Path

from leaky_interop.errors import UnsafeFile

from .source import MIB, opened, size_of


def content(path: str | os.PathLike[str], most: int) -> bytes:
    """The bytes of a regular file, which may not be more than `most`."""
    path = Path(path)
    with opened(path) as handle:
        size = size_of(handle)
        if size > most:
            raise UnsafeFile(
                f"{path.name} has {size / MIB:,.0f} MiB",
                why=f"a file of its kind is read up to {most // MIB} MiB",
                hint="Take the part of it that holds the layers",
            )
        return handle.read(size)
