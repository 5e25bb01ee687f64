"""Arrays, and structures of arrays, in MATLAB's `.mat` files of version 5 to 7.

They are read here and not by scipy, whose reader believes the sizes in a file: a changed byte ends the process. Only
numbers are read, one structure deep; text, cells and objects are left out without looking inside. Source: "MAT-File
Format", The MathWorks, chapter 1.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from leaky_interop.errors import UnsafeFile, Usage, require

from .source import MIB, believe, damaged, opened

MAGIC = b"MATLAB 5.0 MAT-file"
NEWER = b"MATLAB 7.3 MAT-file"
HEADER = 128  # bytes: text, version, and the order of bytes as the letters "MI"
MATRIX, COMPRESSED, UINT32 = 14, 15, 6
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}  # in an element
NUMERIC = {
    6: "f8",
    7: "f4",
    8: "i1",
    9: "u1",
    10: "i2",
    11: "u2",
    12: "i4",
    13: "u4",
    14: "i8",
    15: "u8",
}  # array types
STRUCTURE, OBJECTS, COMPLEX = 2, (3, 16, 17), 0x0800
LARGEST = 8192 * MIB  # of all variables, unpacked


def read_mat(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The variables of a file that are numbers: an array, or a dict of arrays for a structure."""
    path = Path(path)
    with opened(path) as handle:
        content = handle.read()
    if content.startswith(NEWER):
        hint = "Save it again with save('net.mat','-struct','weights','-v7')"
        raise Usage(f"{path.name} was saved as version 7.3, which is not read", hint=hint)
    if not content.startswith(MAGIC) or content[HEADER - 2 : HEADER] not in (b"IM", b"MI"):
        raise damaged(path.name, "it does not begin as a MATLAB file of version 5 to 7 does")
    reader = _Reader(path.name, "<" if content[HEADER - 2 : HEADER] == b"IM" else ">")
    found = dict(reader.variables(content))
    if not found and reader.objects:
        hint = "Save the numbers alone: save('net.mat','-struct','weights')"
        raise Usage(
            f"{path.name} holds objects of MATLAB and no numbers",
            why="what is in an object only MATLAB knows",
            hint=hint,
        )
    return found


def write_mat(path: Path, structures: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write a structure of arrays for each name."""
    scipy_io = require("scipy.io", "matlab")
    scipy_io.savemat(path, {name: dict(fields) for name, fields in structures.items()}, long_field_names=True)


class _Reader:
    """Follows the elements of a file; no size is believed before it is compared with what is there."""

    def __init__(self, name: str, order: str):
        self.name, self.order = name, order
        self.unpacked = 0
        self.objects = False

    def variables(self, content: bytes) -> Iterator[tuple[str, Any]]:
        for kind, body in self.elements(memoryview(content)[HEADER:]):
            if kind == COMPRESSED:
                kind, body = next(self.elements(memoryview(self.inflated(body))), (0, body))
            if kind == MATRIX and (made := self.matrix(body, outermost=True)) is not None:
                yield made

    def inflated(self, packed: memoryview) -> bytes:
        stream, parts, size = zlib.decompressobj(), [], 0
        rest: bytes | memoryview = packed
        try:
            while not stream.eof and (part := stream.decompress(rest, MIB)):
                rest, size = stream.unconsumed_tail, size + len(part)
                believe(size, len(packed), f"a variable of {self.name}")
                parts.append(part)
        except zlib.error as error:
            raise damaged(self.name, str(error)) from None
        self.unpacked += size
        if self.unpacked > LARGEST:
            raise UnsafeFile(
                f"{self.name} unpacks to more than {LARGEST // MIB:,} MiB", why="reading it would exhaust memory"
            )
        if not stream.eof:
            raise damaged(self.name, "a compressed variable does not end")
        return b"".join(parts)

    def elements(self, view: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Type and content of elements that follow each other; small ones have both in eight bytes."""
        place = 0
        while len(view) - place >= 8:
            kind, size = struct.unpack_from(f"{self.order}II", view, place)
            start = place + 8
            if kind >> 16:
                kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
            if size > len(view) - start or (start == place + 4 and size > 4):
                raise damaged(self.name, "an element goes beyond the end of what holds it")
            yield kind, view[start : start + size]
            place = max(start + size, place + 8)
            place += 0 if kind == COMPRESSED else -place % 8

    def matrix(self, body: memoryview, *, outermost: bool) -> tuple[str, Any] | None:
        """Name and numbers of an array, or of a structure of arrays; None for anything else."""
        parts = list(self.elements(body))
        if not parts and not outermost:
            return "", np.zeros((0, 0))  # what [] in a structure is stored as
        if len(parts) < 3 or parts[0][0] != UINT32 or len(parts[0][1]) != 8 or len(parts[1][1]) % 4:
            raise damaged(self.name, "an array does not begin with its type, size and name")
        (flags, _), sizes = (struct.unpack(f"{self.order}{len(p) // 4}i", p) for _, p in parts[:2])
        name, kind = bytes(parts[2][1]).decode("latin-1"), flags & 0xFF
        self.objects = self.objects or kind in OBJECTS
        if kind in NUMERIC and not flags & COMPLEX:
            return name, self.numbers(name, sizes, NUMERIC[kind], parts[3:])
        if kind == STRUCTURE and outermost and math.prod(sizes) == 1:
            return name, self.structure(name, parts[3:])
        return None

    def numbers(self, name: str, sizes: tuple[int, ...], kind: str, parts: list[tuple[int, memoryview]]) -> np.ndarray:
        """Numbers, which may be stored in a smaller type than their own, in MATLAB's order."""
        stored = np.dtype(self.order + STORED.get(parts[0][0], "u1")) if parts else np.dtype("u1")
        data = parts[0][1] if parts else memoryview(b"")
        count = math.prod(sizes)
        if (
            min(sizes, default=-1) < 0
            or len(sizes) > 32
            or count * stored.itemsize != len(data)
            or (parts and parts[0][0] not in STORED)
        ):
            size = "x".join(map(str, sizes))
            raise UnsafeFile(
                f"{self.name} has an array of size {size}", repr(name), f"it stores {len(data):,} bytes of it"
            )
        with np.errstate(all="ignore"):
            return np.frombuffer(data, stored).astype(kind).reshape(sizes, order="F")

    def structure(self, name: str, parts: list[tuple[int, memoryview]]) -> dict[str, np.ndarray]:
        if len(parts) < 2 or len(parts[0][1]) != 4:
            raise damaged(self.name, f"the structure {name!r} does not name its fields")
        (length,) = struct.unpack(f"{self.order}i", parts[0][1])
        letters = bytes(parts[1][1])
        if not 0 < length <= 256 or len(letters) % length or len(letters) // length != len(parts) - 2:
            raise damaged(self.name, f"the structure {name!r} has other fields than it names")
        found = {}
        for index, (kind, body) in enumerate(parts[2:]):
            field = letters[index * length : (index + 1) * length].partition(b"\0")[0].decode("latin-1")
            made = self.matrix(body, outermost=False) if kind == MATRIX else None
            if made is not None:
                found[field] = made[1]
        return found
