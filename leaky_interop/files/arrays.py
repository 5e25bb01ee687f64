"""Arrays from `.npz`, `.npy` and `.safetensors`: headers first, no pickles, no size that is not really there."""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import ml_dtypes
import numpy as np

from leaky_interop.errors import LeakyInteropError, UnsafeFile, Usage

from .archive import archive, parse_json
from .identify import kind, pickled
from .source import MIB, damaged, opened, size_of

MOST_AXES = 64  # numpy's own limit
PLAIN = "biufcUS"  # numpy's letters for bool, integers, floats, complex and fixed-length text
MOST_HEADER = 100 * MIB
NPY, MOST_NPY_HEADER = b"\x93NUMPY", 10_000  # bytes; numpy parses no more
SAFETENSORS = {
    "BOOL": np.bool_,
    "U8": np.uint8,
    "I8": np.int8,
    "U16": np.uint16,
    "I16": np.int16,
    "U32": np.uint32,
    "I32": np.int32,
    "U64": np.uint64,
    "I64": np.int64,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "C64": np.complex64,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}


def arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The named arrays in a `.npz` or `.safetensors` file; the one in a `.npy` file is named after the file."""
    path = Path(path)
    found = kind(path)
    if found == "safetensors":
        return safetensors(path)
    if found == "npy":
        with opened(path) as handle:
            return {path.stem: read_npy(handle, size_of(handle), path.name)}
    if found == "npz":
        with archive(path) as members:
            result = {}
            for name, entry in members.entries.items():
                with members.open(name) as stream:
                    result[name.removesuffix(".npy")] = read_npy(stream, entry.file_size, f"{name} of {path.name}")
            return result
    raise Usage(f"{path.name} holds a model, not arrays", hint="Arrays come as .npz, .npy or .safetensors")


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, so that `arrays` reads them again; a bfloat16 as the float32 that it is as well."""
    with zipfile.ZipFile(path, "w") as members:
        for name, array in arrays.items():
            with members.open(f"{name.lstrip('/')}.npy", "w") as stream:
                plain = array.astype(np.float32) if array.dtype.kind == "V" else array
                np.lib.format.write_array(stream, np.asanyarray(plain), allow_pickle=False)


def read_npy(stream: IO[bytes], size: int, name: str) -> np.ndarray:
    """One array in numpy's format, of exactly `size` bytes with its header."""
    try:
        start = stream.read(8)
        width = 2 if start[6:7] == b"\1" else 4
        length = stream.read(width)
        if not start.startswith(NPY) or int.from_bytes(length, "little") > MOST_NPY_HEADER:
            raise damaged(name, "it does not begin as an array does")
        header = io.BytesIO(length + stream.read(int.from_bytes(length, "little")))
        read_header = np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(header)
    except LeakyInteropError:
        raise
    except Exception as error:  # numpy parses the header as Python's literals: whatever its text leads to is raised
        raise damaged(name, str(error).partition("\n")[0]) from None
    if dtype.hasobject:
        raise pickled(name)
    if dtype.kind not in PLAIN or not dtype.itemsize:
        raise Usage(f"{name} has elements of type {dtype}, which are not read")
    count = math.prod(shape)
    stored = size - stream.tell()
    if not _is_shape(shape, dtype.itemsize) or count * dtype.itemsize > stored:
        raise UnsafeFile(f"{name} declares the shape {shape} of {dtype}", why=f"it stores only {stored:,} bytes")
    data = np.frombuffer(stream.read(count * dtype.itemsize), dtype, count)
    return data.reshape(shape[::-1]).T if fortran else data.reshape(shape)


def safetensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a safetensors file, as views of one memory map."""
    with opened(path) as handle:
        size = size_of(handle)
        (length,) = struct.unpack("<Q", handle.read(8).ljust(8, b"\xff"))
        if length > min(size - 8, MOST_HEADER):
            raise damaged(path.name, "its header goes beyond the end of the file")
        header = parse_json(handle.read(length), f"the header of {path.name}")
        start = 8 + length
        data = np.memmap(handle, np.uint8, "r", start, (size - start,)) if size > start else np.empty(0, np.uint8)
    if not isinstance(header, dict):
        raise damaged(path.name, "its header is not a table")
    header.pop("__metadata__", None)
    result, covered = {}, 0
    for name, row in sorted(header.items(), key=lambda item: _offsets(item, path.name)):
        begin, end = _offsets((name, row), path.name)
        dtype, shape = SAFETENSORS.get(str(row.get("dtype"))), row.get("shape")
        if dtype is None:
            raise Usage(f"{path.name} has elements of type {row.get('dtype')!r}, which are not read", where=repr(name))
        if not isinstance(shape, list) or not all(type(d) is int and d >= 0 for d in shape):
            raise UnsafeFile(f"{path.name} has a tensor with the shape {shape!r}", where=repr(name))
        itemsize = np.dtype(dtype).itemsize
        fits = _is_shape(shape, itemsize) and end - begin == math.prod(shape) * itemsize
        if begin != covered or not fits or end > data.size:
            why = "tensors must follow each other without a gap, each as long as its shape says"
            raise UnsafeFile(f"{path.name} has a tensor at bytes {begin} to {end}", where=repr(name), why=why)
        result[name] = data[begin:end].view(dtype).reshape(shape)
        covered = end
    if covered != data.size:
        raise damaged(path.name, f"{data.size - covered:,} bytes belong to no tensor")
    return {name: result[name] for name in header}


def _is_shape(shape: Sequence[Any], itemsize: int) -> bool:
    """Whether an array can have this shape: sizes that numpy can count in bytes, a zero among them or not."""
    whole = len(shape) <= MOST_AXES and all(type(d) is int and d >= 0 for d in shape)
    return whole and math.prod(d for d in shape if d) * max(itemsize, 1) < 2**63


def _offsets(item: tuple[str, Any], file: str) -> tuple[int, int]:
    name, row = item
    offsets = row.get("data_offsets") if isinstance(row, dict) else None
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(isinstance(o, int) and o >= 0 for o in offsets):
        raise damaged(file, f"tensor {name!r} has no place")
    return offsets[0], offsets[1]
