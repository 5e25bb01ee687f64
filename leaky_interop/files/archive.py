"""Zip files from strangers (`.keras`, `.pt2`, `.pth`, `.npz`): every entry is judged before one byte is unpacked."""

from __future__ import annotations

import json
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from leaky_interop.errors import UnsafeFile

from .source import FLOOR, MIB, believe, copy, damaged, opened, size_of

MOST_ENTRIES = 200_000
MOST_JSON = 64 * MIB
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
BROKEN = (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, UnicodeDecodeError, zlib.error, struct.error)


class Archive:
    """A zip whose entries have harmless names, kinds, sizes and places."""

    def __init__(self, handle: IO[bytes], name: str) -> None:
        self.name = name
        handle.seek(0)
        try:
            self.zip = zipfile.ZipFile(handle)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, struct.error) as error:
            raise damaged(name, str(error)) from None
        self.entries = {entry.filename: entry for entry in self.zip.infolist()}
        self._judge(size_of(handle))

    def _judge(self, size: int) -> None:
        listed = self.zip.infolist()
        if len(listed) > MOST_ENTRIES:
            raise UnsafeFile(f"{self.name} holds {len(listed):,} entries", why=f"at most {MOST_ENTRIES:,} are read")
        if len(self.entries) != len(listed):
            names = [entry.filename for entry in listed]
            twice = next(name for name in names if names.count(name) > 1)
            raise self._unsafe(twice, "two entries have this name")
        for entry in listed:
            self._judge_entry(entry)
        end = 0
        for entry in sorted(listed, key=lambda entry: entry.header_offset):
            if entry.header_offset < end:
                raise self._unsafe(entry.filename, "it overlaps another entry")
            end = entry.header_offset + entry.compress_size
        if end > size:
            raise damaged(self.name, "an entry goes beyond the end of the file")
        believe(sum(entry.file_size for entry in listed), size, self.name)

    def _judge_entry(self, entry: zipfile.ZipInfo) -> None:
        name, parts = entry.filename, entry.filename.split("/")
        # zipfile shortens a name at a NUL and may rewrite separators: what was written is judged too.
        marks = "\\\0" if name.endswith(".npy") else "\\:\0"  # an array may be called x:0, as TensorFlow does
        if name.startswith("/") or ".." in parts or any(mark in entry.orig_filename for mark in marks):
            raise self._unsafe(name, "its name leads outside the archive")
        mode = entry.external_attr >> 16
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise self._unsafe(name, "it is a link or a device")
        if entry.flag_bits & 0x1 or entry.compress_type not in COMPRESSIONS:
            raise self._unsafe(name, "it is encrypted or compressed in an unusual way")
        believe(entry.file_size, entry.compress_size, f"entry {name!r} of {self.name}")

    def _unsafe(self, entry: str, why: str) -> UnsafeFile:
        return UnsafeFile(f"{self.name} has an unsafe entry", where=repr(entry), why=why)

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """One entry as a stream; a broken one is a clear error."""
        if name not in self.entries:
            raise damaged(self.name, f"it has no {name}")
        try:
            with self.zip.open(self.entries[name]) as stream:
                yield stream
        except BROKEN as error:
            raise damaged(self.name, f"{name}: {error}") from None

    def read(self, name: str, most: int = FLOOR) -> bytes:
        """One entry's bytes."""
        with self.open(name) as stream:
            if self.entries[name].file_size > most:
                raise self._unsafe(name, f"it is larger than {most // MIB} MiB")
            return stream.read()

    def read_json(self, name: str) -> Any:
        """One entry as JSON, its size and depth bounded."""
        return parse_json(self.read(name, MOST_JSON), f"{name} of {self.name}")

    def unpack(self, name: str, target: Path) -> None:
        """One entry into a new file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        with self.open(name) as stream:
            copy(stream, target)


@contextmanager
def archive(path: Path) -> Iterator[Archive]:
    """The zip file at `path`, judged."""
    with opened(path) as handle:
        found = Archive(handle, path.name)
        with found.zip:
            yield found


def parse_json(text: str | bytes, what: str) -> Any:
    """JSON in which nothing is nested beyond reason."""
    try:
        return json.loads(text)
    except RecursionError:
        raise UnsafeFile(f"{what} is nested too deeply") from None
    except ValueError as error:  # UnicodeDecodeError is one, too
        raise damaged(what, str(error)) from None
