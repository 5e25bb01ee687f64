"""The files that a model consists of, as far as they can be told without reading it: to see whether it has changed."""

from __future__ import annotations

import mmap
import os
import re
from pathlib import Path, PurePosixPath

# An entry of a tensor's external data as protobuf writes it: field 1 "location", field 2 a text of less than 2**14 bytes.
LOCATION = re.compile(rb"\n\x08location\x12([\x00-\x7f]|[\x80-\xff][\x00-\x7f])")


def parts(path: str | os.PathLike[str]) -> list[Path]:
    """The file itself, then what it is read with: the data files of an ONNX model, the numbers of a MATLAB source.

    Of a SavedModel every file in its folder. What is named and not there is left out.
    """
    path = Path(path)
    if path.is_dir():
        return sorted(found for found in path.rglob("*") if found.is_file())
    named = {path.with_suffix(".mat")} if path.suffix == ".m" else set()
    if path.suffix == ".onnx":
        named = {path.parent / location for location in _locations(path)}
    return [path, *sorted(other for other in named if other.is_file())]


def _locations(path: Path) -> set[str]:
    """Names of data files below the model's folder."""
    found = set()
    with path.open("rb") as handle:
        if not os.fstat(handle.fileno()).st_size:
            return set()
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as text:
            for match in LOCATION.finditer(text):
                size = match[1][0] if len(match[1]) == 1 else (match[1][0] & 0x7F) | match[1][1] << 7
                location = text[match.end() : match.end() + size].decode("utf-8", "replace")
                parts = PurePosixPath(location).parts
                if not location.startswith("/") and ".." not in parts and "\0" not in location:
                    found.add(location)
    return found
