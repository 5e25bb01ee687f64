"""Writing so that nothing is lost: the earlier file survives whole, or the new one is whole, whatever happens.

Everything is written into a new folder beside the target, under the target's own name, flushed to the disk and then
renamed over it. The folder is locked while its writer lives, so that the next write to the same target can tell a
killed run's folder, which it removes, from that of another writer at work, which it leaves alone.
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

from leaky_interop.errors import Usage

MARK = ".leaky_interop-"
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name to write to; what was written there replaces `path` when the block ends without an error.

    The name ends as the target's does. Further files written beside it (an ONNX model's data) are moved along, before
    the target itself; give them names of their own if a crash between the two moves must not matter.
    """
    target = Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would follow a link at the target)
    if target.is_dir():
        raise Usage(f"{target.name} is a folder", hint="Name a file to write to")
    if not target.parent.is_dir():
        raise Usage(f"the folder of {target.name} does not exist", hint="Make it first")
    _remove_leftovers(target)
    folder, lock = _locked_folder(target)
    try:
        yield folder / target.name
        _move(folder, target)
    except OSError as error:
        if error.errno in DISK:
            raise Usage(f"{target.name} cannot be written", why=error.strerror or "") from error
        raise
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _locked_folder(target: Path) -> tuple[Path, int]:
    """A new folder beside the target and the descriptor that holds its lock."""
    while True:
        try:
            folder = Path(tempfile.mkdtemp(prefix=f"{MARK}{target.name}-", dir=target.parent))
        except OSError as error:
            raise Usage(f"{target.name} cannot be written", why=error.strerror or "") from None
        with suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)  # another writer took it for a leftover before it was locked


def _move(folder: Path, target: Path) -> None:
    written = sorted(folder.iterdir(), key=lambda file: file.name == target.name)  # the target last
    if not written or written[-1].name != target.name:
        raise FileNotFoundError(f"nothing was written to {target.name}")
    for file in written:
        _flush(file)
    for file in written:
        file.replace(target.parent / file.name)
    _flush(target.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(target: Path) -> None:
    """Remove the folders that killed writers to this very target left."""
    ours = re.compile(re.escape(f"{MARK}{target.name}-") + r"\w{8}")
    for folder in target.parent.iterdir():
        if not ours.fullmatch(folder.name):
            continue
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue  # gone already, or not a folder of ours
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass  # its writer lives
        finally:
            os.close(lock)
