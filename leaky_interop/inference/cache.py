"""Networks that were converted before: files named after everything that decided them, and after their own content.

An entry is `<key>-<digest>.onnx`: the key is a hash of the source's bytes, the options and the versions; the digest one of
the entry itself, so that a damaged one is told, removed and made again. Entries appear whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from ..files import atomic
from ..files.source import BLOCK, opened, private_folder

VARIABLE = "LEAKY_INTEROP_CACHE"
DECIDING = (
    "leaky_interop",
    "keras",
    "torch",
    "tensorflow",
    "jax",
    "onnx",
    "numpy",
)  # packages that decide what comes out


def folder() -> Path:
    """Where the entries are: the variable's folder, otherwise the platform's place for what can be made again."""
    if given := os.environ.get(VARIABLE):
        return Path(given)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "leaky_interop"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leaky_interop"


def key(files: Iterable[str | os.PathLike[str]], options: object) -> str:
    """A name for what these files become under these options, here."""
    found = hashlib.sha256(repr(options).encode())
    found.update(os.environ.get("KERAS_BACKEND", "").encode())
    for package in DECIDING:
        with suppress(metadata.PackageNotFoundError):
            found.update(f"{package} {metadata.version(package)};".encode())
    for file in files:
        found.update(digest(file).encode())
    return found.hexdigest()[:32]


def digest(path: str | os.PathLike[str]) -> str:
    """The hash of a file's content."""
    found = hashlib.sha256()
    with opened(path) as handle:
        while block := handle.read(BLOCK):
            found.update(block)
    return found.hexdigest()[:32]


def entry(name: str, make: Callable[[Path], object]) -> Path:
    """The whole entry of that key; made by `make(path)` where there is none, or only a damaged one.

    Two processes that make the same entry at once both succeed.
    """
    home = folder()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = home / f"{name}.onnx.data"  # the weights of a large network, called so inside its file
    for found in home.glob(f"{name}-*.onnx"):
        with suppress(OSError, ValueError):
            if _whole(found, kept) == found.stem.partition("-")[2]:
                return found
        found.unlink(missing_ok=True)
    with private_folder() as place:
        made, data = place / f"{name}.onnx", place / kept.name
        make(made)
        final = home / f"{name}-{_whole(made, data)}.onnx"
        with atomic(final) as temporary:
            shutil.copyfile(made, temporary)
            if data.exists():
                shutil.copyfile(data, temporary.with_name(kept.name))
    return final


def _whole(path: Path, data: Path) -> str:
    """The digest of a network's file and of the weights beside it."""
    digests = [digest(file) for file in (path, data) if file.exists()]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()[:32]
