"""Writing so that nothing is lost: the earlier file survives whole, or the new one is whole, whatever happens.

Everything is written into a locked folder beside the target, under the target's own name, flushed to the disk and then
renamed over it. One file is committed by its rename. Several (a source and its weights) are committed by the rename of
their folder to its READY name: from then on the new ones count. They are moved under a lock of the target's folder, one
writer at a time; where a kill falls between the moves, the target is not there until the next write to its folder, which
finishes them.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leaky_interop.errors import LeakyInteropError, Usage

from .temporary import PRIVATE, is_own, lock, locked_folder, remove_dead

MARK = ".leaky_interop-"
READY = ".ready"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
EARLIER = "The earlier file is as it was"
LITTLE = 1 << 16  # bytes; a disk with less is full, whatever words a framework has for it


@contextmanager
def atomic(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A name to write to; what was written there replaces `path` when the block ends without an error.

    The name ends as the target's does. Further files written beside it (the weights of a source) are moved along, before
    the target itself. Raises Usage where nothing can be written: a full disk, a folder that is only for reading.
    """
    target = Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would follow a link at the target)
    if target.is_dir():
        raise Usage(f"{target.name} is a folder", hint="Name a file to write to")
    if not target.parent.is_dir():
        raise Usage(f"the folder of {target.name} does not exist", hint="Make it first")
    inside = False
    try:
        with locked_folder(target.parent, MARK, target.name) as folder:
            inside = True
            yield folder / target.name
            inside = False
            _commit(folder, target)
    except LeakyInteropError:
        raise
    except Exception as error:
        if reason := _full(error, target.parent) or (not inside and isinstance(error, OSError) and error.strerror):
            raise Usage(f"{target.name} cannot be written", why=reason, hint=EARLIER) from error
        raise


def remove_leftovers(folder: Path | None = None) -> None:
    """Remove what killed writers left in a folder; without one, what they left in the temporary folder."""
    remove_dead(*((Path(tempfile.gettempdir()), PRIVATE) if folder is None else (folder, MARK)))


def _ready(target: Path) -> Path:
    return target.with_name(f"{MARK}{target.name}{READY}")


def _commit(folder: Path, target: Path) -> None:
    """Put what was written in place of what is there."""
    written = sorted(folder.iterdir(), key=lambda file: file.name == target.name)
    if not written or written[-1].name != target.name:
        raise FileNotFoundError(f"nothing was written to {target.name}")
    for path in (*written, folder):
        _flush(path)
    parent = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not is_own(parent):  # a file that is written for another one, in that one's own temporary folder
            lock(parent)
        _finish(target.parent)
        for file in written:
            if (place := target.with_name(file.name)).is_dir():
                raise Usage(f"{place.name} is a folder", hint=f"It is in the way of {target.name}")
        if len(written) == 1:
            written[0].replace(target)
        else:
            folder.rename(_ready(target))
            os.fsync(parent)
            try:
                _finish(target.parent)
            except BaseException:  # Ctrl-C between two moves: what has begun is finished first
                _finish(target.parent)
                raise
        os.fsync(parent)
    finally:
        os.close(parent)


def _finish(parent: Path) -> None:
    """Move all that is committed below `parent` into place.

    The earlier target goes first and the new one comes last: whoever looks in between finds none, and never one file of
    each.
    """
    for ready in parent.glob(f"{MARK}*{READY}"):
        if ready.is_symlink():
            continue
        name = ready.name.removeprefix(MARK).removesuffix(READY)
        written = sorted(ready.iterdir(), key=lambda file: file.name == name)
        if len(written) > 1:
            (parent / name).unlink(missing_ok=True)
        for file in written:
            file.replace(parent / file.name)
        ready.rmdir()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _full(error: BaseException, folder: Path) -> str:
    """What is wrong with the disk, where that is what the error is about; frameworks wrap it in errors of their own."""
    seen: BaseException | None = error
    while seen is not None:
        for number in FULL:
            if getattr(seen, "errno", None) == number or os.strerror(number) in str(seen):
                return os.strerror(number)
        seen = seen.__cause__ or seen.__context__
    return os.strerror(errno.ENOSPC) if shutil.disk_usage(folder).free < LITTLE else ""
