"""Arrays and structures from MATLAB's `.mat` files of version 5 to 7, looked over before scipy reads them.

The look finds what scipy would believe: sizes that are not there, elements that unpack to far more than is stored,
structures within structures without end, and anything that is neither numbers nor a structure of them.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from leaky_interop.errors import UnsafeFile, Usage, require

from .source import MIB, believe, damaged, opened

MAGIC = b"MATLAB 5.0 MAT-file"
NEWER = b"MATLAB 7.3 MAT-file"
HEADER = 128
MATRIX, COMPRESSED, UINT32, INT32 = 14, 15, 6, 5
CELL, STRUCTURE, CHARACTERS = 1, 2, 4
NUMERIC = range(6, 16)  # the array types double, single and the integers
DEPTH = 2  # a structure per layer, and the numbers in it
LARGEST = 8192 * MIB  # unpacked


def read_mat(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The variables of a file: an array, or a dict of arrays for a structure. Others (text, cells) are left out."""
    scipy_io = require("scipy.io", "matlab")
    path = Path(path)
    with opened(path) as handle:
        content = handle.read()
    if content.startswith(NEWER):
        hint = "Save it again with save('net.mat','-struct','weights','-v7')"
        raise Usage(f"{path.name} was saved as version 7.3, which is not read", hint=hint)
    if not content.startswith(MAGIC) or len(content) < HEADER:
        raise damaged(path.name, "it does not begin as a MATLAB file does")
    wanted = [name for name, kind in _look(content, path.name) if kind in NUMERIC or kind == STRUCTURE]
    try:
        loaded = scipy_io.loadmat(io.BytesIO(content), variable_names=wanted) if wanted else {}
    except Exception as error:  # scipy's exceptions share no base class of their own
        raise damaged(path.name, str(error).partition("\n")[0]) from None
    found: dict[str, Any] = {}
    for name in wanted:
        value = loaded.get(name)
        if isinstance(value, np.ndarray) and value.dtype.names:
            if value.size == 1:
                item = value.reshape(-1)[0]
                found[name] = {f: item[f] for f in value.dtype.names if _is_numbers(item[f])}
        elif _is_numbers(value):
            found[name] = value
    return found


def write_mat(path: Path, structures: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write a structure of arrays for each name."""
    scipy_io = require("scipy.io", "matlab")
    scipy_io.savemat(path, {name: dict(fields) for name, fields in structures.items()}, long_field_names=True)


def _is_numbers(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "fiub"


def _look(content: bytes, name: str) -> list[tuple[str, int]]:
    """The name and array type of every variable. Raises where something is not as it has to be."""
    mark = content[126:128]
    if mark not in (b"IM", b"MI"):
        raise damaged(name, "it does not say in which order its bytes stand")
    order: Literal["<", ">"] = "<" if mark == b"IM" else ">"
    found, unpacked = [], 0
    for kind, body in _elements(content, HEADER, order, name):
        if kind == COMPRESSED:
            body = _unpacked(body, name, unpacked)
            unpacked += len(body)
            ((kind, body),) = list(_elements(body, 0, order, name)) or [(0, b"")]
        if kind == MATRIX:
            found.append(_matrix(body, order, name, 0))
    return found


def _unpacked(packed: bytes | memoryview, name: str, before: int) -> bytes:
    stream, parts, size = zlib.decompressobj(), [], 0
    rest: bytes | memoryview = packed
    try:
        while rest and not stream.eof:
            part = stream.decompress(rest, MIB)
            rest, size = stream.unconsumed_tail, size + len(part)
            believe(size, len(packed), f"a variable of {name}")
            if before + size > LARGEST:
                raise UnsafeFile(f"{name} unpacks to more than {LARGEST // MIB:,} MiB", why="reading it would exhaust memory")
            parts.append(part)
    except zlib.error as error:
        raise damaged(name, str(error)) from None
    if not stream.eof:
        raise damaged(name, "a compressed variable does not end")
    return b"".join(parts)


def _elements(content: bytes | memoryview, place: int, order: str, name: str) -> Iterator[tuple[int, memoryview]]:
    """Type and content of the elements that follow each other; small ones have both in eight bytes."""
    view = memoryview(content)
    while len(view) - place >= 8:
        kind, size = struct.unpack_from(f"{order}II", view, place)
        start = place + 8
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, place + 4
            if size > 4:
                raise damaged(name, "a small element is larger than four bytes")
        if size > len(view) - start:
            raise damaged(name, "an element goes beyond the end of what holds it")
        yield kind, view[start : start + size]
        place = max(start + size, place + 8)
        place += 0 if kind == COMPRESSED else -place % 8
    if place < len(view) and any(view[place:]):
        raise damaged(name, "there are bytes behind its last element")


def _matrix(body: memoryview, order: str, name: str, depth: int) -> tuple[str, int]:
    """The name and type of an array, after it and what it holds were looked over."""
    parts = list(_elements(body, 0, order, name))
    if not parts:
        return "", NUMERIC[0]  # an empty array in a structure
    if len(parts) < 3 or parts[0][0] != UINT32 or len(parts[0][1]) != 8 or len(parts[1][1]) % 4:
        raise damaged(name, "an array does not begin with its type, size and name")
    kind = struct.unpack(f"{order}II", parts[0][1])[0] & 0xFF
    sizes = struct.unpack(f"{order}{len(parts[1][1]) // 4}i", parts[1][1])
    own = bytes(parts[2][1]).decode("latin-1")
    if min(sizes, default=0) < 0 or len(sizes) > 32 or math.prod(sizes) > len(body):
        raise UnsafeFile(f"{name} has an array of size {'x'.join(map(str, sizes))}", repr(own), f"it stores {len(body):,} bytes")
    if kind not in (CELL, STRUCTURE, CHARACTERS, *NUMERIC) and kind != 5:
        raise UnsafeFile(f"{name} holds an object", repr(own), "only numbers, and structures of them, are read",
                         "Save the numbers alone: save('net.mat','-struct','weights')")  # fmt: skip
    if kind in (CELL, STRUCTURE):
        if depth == DEPTH:
            raise UnsafeFile(f"{name} nests structures more than {DEPTH} deep", repr(own))
        for inner, content in parts[3:]:
            if inner == MATRIX:
                _matrix(content, order, name, depth + 1)
    return own, kind
