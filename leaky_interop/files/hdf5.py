"""HDF5 files from strangers: walked by hard links alone, every dataset plain numbers that are really stored here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from leaky_interop.errors import LeakyInteropError, UnsafeFile, require

from .source import believe, damaged

MOST_OBJECTS = 1_000_000
MOST_DEPTH = 100
EXPANSION = 1100  # what gzip reaches on zeros
FILTERS = {1, 2, 3, 4, 5, 6, 32000}  # gzip, shuffle, fletcher32, szip, nbit, scaleoffset, lzf: no plug-ins
HINT = "Save the weights again as plain datasets in one file"


@contextmanager
def hdf5(path: Path, name: str) -> Iterator[Any]:
    """The HDF5 file, opened and judged; `name` is what messages call it."""
    with _opened(path, "r", name) as file:
        for _ in datasets(file, name):
            pass
        yield file


@contextmanager
def _opened(path: Path, mode: str, name: str) -> Iterator[Any]:
    """The file; whatever h5py raises means that it is damaged."""
    try:
        with require("h5py").File(path, mode) as file:
            yield file
    except LeakyInteropError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, OverflowError) as error:
        raise damaged(name, str(error).partition("\n")[0]) from None


def datasets(file: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Every dataset with its path, after it was judged; nothing is followed that leads elsewhere."""
    h5py = require("h5py")
    stack: list[tuple[Any, str, int]] = [(file, "", 0)]
    seen: set[Any] = set()
    declared = 0
    while stack:
        group, place, depth = stack.pop()
        for key in group:
            where = f"{place}/{key}"
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise UnsafeFile(f"{name} has a link that leads elsewhere", where=where, hint=HINT)
            item = group[key]
            identity = h5py.h5o.get_info(item.id).addr
            if identity in seen:
                raise UnsafeFile(f"{name} reaches one object by two ways", where=where, hint=HINT)
            seen.add(identity)
            if len(seen) > MOST_OBJECTS or depth > MOST_DEPTH:
                raise UnsafeFile(f"{name} has too many or too deeply nested groups", where=where)
            if isinstance(item, h5py.Group):
                stack.append((item, where, depth + 1))
            elif isinstance(item, h5py.Dataset):
                declared += _judge(item, f"{name}{where}")
                yield where, item
            else:
                raise UnsafeFile(f"{name} holds something else than groups and datasets", where=where, hint=HINT)
    believe(declared, file.id.get_filesize(), name, EXPANSION)


def _judge(dataset: Any, place: str) -> int:
    """The bytes a dataset declares, once it is plain numbers stored in this very file."""
    if dataset.is_virtual or dataset.external:
        raise UnsafeFile("a dataset takes its numbers from other files", where=place, hint=HINT)
    plain = dataset.dtype.kind in "biuf" or (dataset.dtype.kind == "V" and dataset.dtype.names is None)
    if not plain or dataset.dtype.hasobject or dataset.shape is None:
        raise UnsafeFile("a dataset does not hold numbers", where=place, why=f"its type is {dataset.dtype}", hint=HINT)
    properties = dataset.id.get_create_plist()
    filters = {properties.get_filter(i)[0] for i in range(properties.get_nfilters())}
    if unknown := filters - FILTERS:
        raise UnsafeFile(
            "a dataset needs a plug-in to be unpacked", where=place, why=f"filter {min(unknown)}", hint=HINT
        )
    declared = int(np.prod(dataset.shape, dtype=object)) * int(dataset.dtype.itemsize)
    believe(declared, dataset.id.get_storage_size(), place, EXPANSION)
    return declared


def array(dataset: Any) -> np.ndarray:
    """A dataset's numbers; HDF5 has no bfloat16, so Keras stores two bytes without a meaning."""
    values = np.asarray(dataset)
    return values.view(ml_dtypes.bfloat16) if values.dtype == np.dtype("V2") else values


def widen(path: Path, name: str) -> None:
    """Write the bfloat16 numbers of a judged file of our own as float32, which holds them exactly."""
    with _opened(path, "r+", name) as file:
        narrow = [(where, array(dataset)) for where, dataset in datasets(file, name) if dataset.dtype == np.dtype("V2")]
        for where, values in narrow:
            del file[where]
            file[where] = values.astype(np.float32)


def text(attribute: Any) -> str | None:
    """A text attribute, which may come as bytes."""
    if isinstance(attribute, bytes):
        return attribute.decode("utf-8", "replace")
    return attribute if isinstance(attribute, str) else None
