"""What kind of model a file is, by its content first: names lie, and some real files have no suffix."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import IO, Literal

from leaky_interop.errors import UnsafeFile, Usage

from .archive import Archive
from .source import damaged, opened, size_of

Kind = Literal[
    "onnx", "keras", "h5", "pt2", "torchscript", "pth", "safetensors", "npz", "npy", "savedmodel", "chainer", "matlab", "mat"
]  # fmt: skip

SUFFIXES: dict[str, Kind] = {
    ".onnx": "onnx",
    ".keras": "keras",
    ".h5": "h5",
    ".hdf5": "h5",
    ".pt2": "pt2",
    ".pth": "pth",
    ".pt": "pth",
    ".ckpt": "pth",
    ".safetensors": "safetensors",
    ".npz": "npz",
    ".npy": "npy",
    ".chainer": "chainer",
    ".m": "matlab",
    ".mat": "mat",
}
HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP = b"PK\x03\x04"
# torch.save before version 1.6: a pickled magic number, a protocol, then the object.
OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
# What people hand in by mistake: offset, bytes, what it is, what to do.
FOREIGN = (
    (0, b"version https://git-lfs", "is a Git LFS pointer, not the model itself", "Fetch it with: git lfs pull"),
    (0, b"<!DOCTYPE", "is a web page", "The download went wrong; fetch the file itself"),
    (0, b"<html", "is a web page", "The download went wrong; fetch the file itself"),
    (0, b"\x1f\x8b", "is compressed with gzip", "Unpack it first"),
    (4, b"TFL3", "is a TensorFlow Lite model, of which only slopes are read", "Convert the network that it was made from"),
    (4, b"ORTM", "is in onnxruntime's own format, which is not read", "Use the .onnx file that it was made from"),
)


def kind(path: str | os.PathLike[str]) -> Kind:
    """What the file holds, as a Kind: a "matlab" file is a source, a "mat" its numbers."""
    path = Path(path)
    if (path / "saved_model.pb").is_file():
        return "savedmodel"
    if path.name == "saved_model.pb":
        raise Usage("saved_model.pb is one file of a SavedModel", hint="Name its folder")
    with opened(path) as handle:
        head = handle.read(512)
        for offset, magic, what, hint in FOREIGN:
            if head[offset:].startswith(magic):
                raise Usage(f"{path.name} {what}", hint=hint)
        found = _by_magic(handle, head, path.name) or _onnx(handle, path.name) or _shifted_hdf5(handle)
    if found is None and path.suffix.lower() == ".m" and b"\0" not in head:
        return "matlab"  # plain text has nothing else to know it by
    if found:
        return found
    expected = SUFFIXES.get(path.suffix.lower())
    if expected:
        raise damaged(path.name, f"it ends in {path.suffix}, but its content is not that")
    raise Usage(f"{path.name} is not a model file of a known kind", hint=f"Known are {', '.join(SUFFIXES)}")


def _by_magic(handle: IO[bytes], head: bytes, name: str) -> Kind | None:
    if head.startswith(HDF5):
        return "h5"
    if head.startswith((b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file")):
        return "mat"
    if head.startswith((ZIP, b"PK\x05\x06")):
        return _zip(Archive(handle, name))
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(OLD_TORCH):
        return "pth"
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise pickled(name)
    if head[257:262] == b"ustar":
        raise UnsafeFile(
            f"{name} is a tar file",
            why="PyTorch's oldest tar format unpickles whatever it holds",
            hint="Load it where you trust it and save its state_dict again",
        )
    if len(head) > 8 and head[8:9] == b"{" and 2 <= struct.unpack("<Q", head[:8])[0] <= size_of(handle) - 8:
        return "safetensors"
    return None


def pickled(name: str) -> UnsafeFile:
    """The refusal of a file that runs code when it is opened."""
    return UnsafeFile(
        f"{name} is a Python pickle",
        why="opening it would run whatever code it names",
        hint="Save a state_dict with torch.save or safetensors instead of whole objects",
    )


def _shifted_hdf5(handle: IO[bytes]) -> Kind | None:
    """HDF5 may start behind a user block of 512, 1024, 2048 ... bytes."""
    place, size = 512, size_of(handle)
    while place < size:
        handle.seek(place)
        if handle.read(8) == HDF5:
            return "h5"
        place *= 2
    return None


def _zip(found: Archive) -> Kind:
    names = list(found.entries)
    ends = {name.partition("/")[2] for name in names}  # PyTorch puts everything under one top folder
    if "config.json" in names:
        return "keras"
    if "chainer.json" in names:
        return "chainer"
    if "archive_format" in ends or "serialized_exported_program.json" in names:
        return "pt2"
    if "constants.pkl" in ends:
        return "torchscript"
    if "data.pkl" in ends:
        return "pth"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    raise Usage(f"{found.name} is a zip file, but not a model of a known kind")


def _onnx(handle: IO[bytes], name: str) -> Kind | None:
    """ONNX has no magic number: its outermost protobuf fields are followed, skipping over what they hold."""
    place, size, graph = 0, size_of(handle), False
    while place < size:
        handle.seek(place)
        tag, used = _varint(handle.read(10))
        field, wire = tag >> 3, tag & 7
        if not used or not 1 <= field <= 100 or wire not in (0, 2):  # a ModelProto has no other wire types
            return None
        place += used
        handle.seek(place)
        value, used = _varint(handle.read(10))
        if not used:
            return None
        place += used + (value if wire == 2 else 0)
        graph = graph or (field == 7 and wire == 2)
    if not graph:
        return None
    if place > size:
        raise damaged(name, "its graph goes beyond the end of the file")
    return "onnx"


def _varint(text: bytes) -> tuple[int, int]:
    """A protobuf integer and how many bytes it took; 0 bytes where there is none."""
    value = 0
    for index, byte in enumerate(text):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, index + 1
    return 0, 0
