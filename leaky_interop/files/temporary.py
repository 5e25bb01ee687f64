"""Temporary folders that outlive no one: each is locked while its owner lives, so a killed owner's can be told and removed.

A lock (flock) dies with its process, however that ends. On file systems without locks nobody's folder is removed but one's own.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE = "leaky_interop_"  # in the system's temporary folder
LOCKLESS = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)  # what file systems without flock answer
OWN: set[tuple[int, int]] = set()  # device and number of the folders that this process has locked


@contextmanager
def locked_folder(parent: Path, mark: str, name: str = "") -> Iterator[Path]:
    """A new folder below `parent` that only this user can read, gone afterwards; dead ones of the same mark go as well.

    It is called mark, name, a dash and eight letters. Raises OSError where no folder can be made.
    """
    remove_dead(parent, mark)
    folder, descriptor = _locked(parent, f"{mark}{name}-" if name else mark)
    OWN.add(own := _identity(descriptor))
    try:
        yield folder
    finally:
        OWN.discard(own)
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def remove_dead(parent: Path, mark: str) -> None:
    """Remove what killed owners left below `parent`: folders of this user that `locked_folder` has named."""
    ours = re.compile(re.escape(mark) + r"(.+-)?[a-z0-9_]{8}", re.DOTALL)
    try:
        found = [name for name in os.listdir(parent) if ours.fullmatch(name)]  # noqa: PTH208  (names are enough)
    except OSError:  # a folder that can be written and not read
        return
    for name in found:
        with suppress(OSError), opened_folder(parent / name) as descriptor:
            if os.fstat(descriptor).st_uid == os.geteuid() and lock(descriptor, fcntl.LOCK_NB):
                shutil.rmtree(parent / name, ignore_errors=True)


@contextmanager
def opened_folder(folder: Path) -> Iterator[int]:
    """A descriptor of the folder, which may not be a link."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def is_own(descriptor: int) -> bool:
    """Whether this is a folder that this process itself has made and locked: waiting for its lock would never end."""
    return _identity(descriptor) in OWN


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def lock(descriptor: int, flags: int = 0) -> bool:
    """Take the exclusive lock; False where another process has it (with LOCK_NB) or the file system has none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | flags)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in LOCKLESS:
            raise
        return False
    return True


def _locked(parent: Path, prefix: str) -> tuple[Path, int]:
    """A new folder and the descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            lock(descriptor)
            if folder.exists():
                return folder, descriptor
            os.close(descriptor)  # another process took it for a dead one before it was locked
