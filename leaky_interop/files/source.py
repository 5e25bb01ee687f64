"""Opening a stranger's file: one descriptor, looked at once, so that what was checked is what is read.

The requirements: never follow a name found inside a file; never block on a device or a pipe; never trust a size that
the file itself declares before it is compared with what is really there; say the bare file name and no local path.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO

from leaky_interop.errors import MissingFile, UnsafeFile, Usage

from .temporary import PRIVATE, locked_folder

MIB = 1 << 20
BLOCK = MIB
# A declared size is believed up to here; above it, it must not exceed EXPANSION times what is stored.
FLOOR = 256 * MIB
EXPANSION = 100


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """The file, opened for reading, after it proved to be a regular and not empty one."""
    path = Path(path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise MissingFile(f"there is no file {path}", hint="Check the spelling and the folder") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise Usage(f"{path.name} cannot be opened", why=why) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise Usage(f"{path.name} is {what}")
    with os.fdopen(descriptor, "rb") as handle:
        if status.st_size == 0:
            raise Usage(f"{path.name} is empty", hint="Copy or download it again")
        yield handle


def beside(path: Path) -> Path | None:
    """A file that nobody named, found by its name beside one that somebody did; None where there is none.

    Raises UnsafeFile where it is a link, which could lead to any other file of this machine.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return None
    if stat.S_ISLNK(status.st_mode) or (stat.S_ISREG(status.st_mode) and status.st_nlink > 1):
        hint = "Put the file itself there, if you trust what it leads to"
        raise UnsafeFile(f"{path.name} is a link", why="it could lead to any file of this machine", hint=hint)
    return path if stat.S_ISREG(status.st_mode) else None


def size_of(handle: IO[bytes]) -> int:
    """Bytes in the open file; its place stays."""
    place = handle.tell()
    size = handle.seek(0, os.SEEK_END)
    handle.seek(place)
    return size


@contextmanager
def private_folder() -> Iterator[Path]:
    """A new folder that only this user can read, gone afterwards, or with the next one where its process was killed."""
    with locked_folder(Path(tempfile.gettempdir()), PRIVATE) as folder:
        yield folder


def copy(handle: IO[bytes], target: Path) -> None:
    """Everything from the handle's place on, into a new file."""
    with target.open("xb") as out:
        while block := handle.read(BLOCK):
            out.write(block)


def believe(declared: int, stored: int, what: str, expansion: int = EXPANSION) -> None:
    """Refuse a declared size that is large and far beyond what is stored: reading it would exhaust memory."""
    if declared > FLOOR and declared > expansion * stored:
        raise UnsafeFile(
            f"{what} declares {declared / MIB:,.0f} MiB and stores {stored:,} bytes",
            why="reading it would exhaust memory",
            hint="If it is honest, save it again without compression",
        )


def damaged(name: str, why: str = "") -> Usage:
    """The error for a file of a known kind that does not read to its end."""
    return Usage(f"{name} is truncated or damaged", why=why, hint="Copy or download it again")
