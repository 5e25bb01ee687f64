"""The external data of an ONNX model: opened one path part at a time, below one folder, never through a link."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from leaky_interop.errors import MissingFile, UnsafeFile, Usage

KEYS = {"location", "offset", "length", "checksum"}
HINT = "Keep the data beside the model, in a file of its own"


class ExternalFiles:
    """The data files of one model, each opened once and kept open until the context ends."""

    def __init__(self, model: Path, allow_root: str | os.PathLike[str] | None = None) -> None:
        self.model = model
        self.allow_root = Path(allow_root).resolve() if allow_root is not None else None
        self.open: dict[str, int] = {}

    def __enter__(self) -> ExternalFiles:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self.open.values():
            os.close(descriptor)

    def read(self, tensor: Any, size: int, place: str) -> np.ndarray:
        """The tensor's bytes, as a memory map."""
        given = {entry.key: entry.value for entry in tensor.external_data}
        if unknown := given.keys() - KEYS:
            raise self._unsafe(f"its entry has the key {min(unknown)!r}", place)
        if len(given) != len(tensor.external_data):
            raise self._unsafe("its entry has a key twice", place)
        location = given.get("location", "")
        offset = self._number(given.get("offset", "0"), "offset", place)
        length = self._number(given["length"], "length", place) if "length" in given else size
        if length != size:
            raise self._unsafe(f"its length is {length}, and its shape needs {size} bytes", place)
        descriptor = self._descriptor(location, place)
        if offset + length > os.fstat(descriptor).st_size:
            raise self._unsafe(f"it goes beyond the end of {PurePosixPath(location).name}", place)
        if not length:
            return np.empty(0, np.uint8)
        with os.fdopen(os.dup(descriptor), "rb") as handle:
            return np.memmap(handle, np.uint8, "r", offset, (length,))

    def _number(self, text: str, what: str, place: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) <= 19):
            raise self._unsafe(f"its {what} is {text[:40]!r}", place)
        return int(text)

    def _descriptor(self, location: str, place: str) -> int:
        if location not in self.open:
            folder, parts = self._contained(location, place)
            try:
                self.open[location] = _open_below(folder, parts)
            except FileNotFoundError:
                name = self.model.name
                raise MissingFile(f"{name} needs the data file {location!r}, which is not beside it") from None
            except OSError as error:
                why = f"{location!r} is or passes a link, or cannot be opened ({error.strerror})"
                raise self._unsafe(why, place) from None
            status = os.fstat(self.open[location])
            if not stat.S_ISREG(status.st_mode):
                raise self._unsafe(f"{location!r} is not a regular file", place)
            if status.st_nlink > 1:
                raise self._unsafe(f"{location!r} is a hard link to a file that has another name, too", place)
        return self.open[location]

    def _contained(self, location: str, place: str) -> tuple[Path, tuple[str, ...]]:
        """The folder to start from and the parts to open below it, one by one, without following links."""
        parts = PurePosixPath(location).parts
        outside = not parts or location.startswith("/") or ".." in parts
        if outside or any(mark in location for mark in "\\:\0"):
            raise self._unsafe(f"the location {location[:200]!r} leads outside the model's folder", place)
        folder = self.model.parent
        if self.allow_root is None:
            return folder, parts
        real = folder.joinpath(*parts).resolve()
        for root in (self.allow_root, folder.resolve()):
            if real.is_relative_to(root):
                return root, real.relative_to(root).parts
        raise self._unsafe(f"{location!r} leads outside the allowed folder", place)

    def _unsafe(self, why: str, place: str) -> UnsafeFile:
        return UnsafeFile(f"{self.model.name} has unsafe external data", where=place, why=why, hint=HINT)


def _open_below(folder: Path, parts: tuple[str, ...]) -> int:
    if os.open not in os.supports_dir_fd:
        raise Usage("external data cannot be opened safely on this system", hint="Save the model as one file")
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for index, part in enumerate(parts):
        last = os.O_NONBLOCK if index == len(parts) - 1 else os.O_DIRECTORY
        try:
            found = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | last, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = found
    return descriptor
