"""Overlapping and strided views of PyTorch: read as Gather, or as Slice where the entries lie side by side. Importers only.

| torch                          | entries                                                     |
|--------------------------------|-------------------------------------------------------------|
| as_strided(sizes, strides, at) | at + the sum of index * stride, of the data laid out in order |
| unfold(axis, size, step)       | windows along one axis, their entries as a new last axis    |
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, agree, imports, product
from .fourier import framed
from .gather import Gather
from .index import sliced


@imports("torch", "aten.as_strided.default")
def strided_from_torch(call, x, sizes, strides, offset):
    if not call.in_order():
        raise Refused(
            "as_strided of a view", why="it reads the memory behind the view, and only the data's own order converts",
            hint="Call contiguous() before, or index instead",
        )  # fmt: skip
    offset = offset or 0
    if x.rank and sizes and agree(sizes[0], x.shape[0]) and agree(strides[0], product(x.shape[1:])):  # the batch as it is
        index, count = _entries(sizes[1:], strides[1:], offset), product(x.shape[1:])
        if isinstance(count, int) and index.max(initial=0) < count:
            return _taken(x.reshape(x.shape[0], count), 1, index)
    index, count = _entries(sizes, strides, offset), product(x.shape)
    if not isinstance(count, int):
        raise Refused("as_strided across an open size", why="where its entries lie depends on the size", hint="Fix it with input_shapes")
    if index.max(initial=0) >= count:
        raise Refused("as_strided beyond the data", why="what lies there in memory is no part of the network")
    return _taken(x.reshape(count), 0, index)


@imports("torch", "aten.resize.default")
def resized_from_torch(call, x, sizes, memory_format):
    """As many of the data's first entries as the new shape holds."""
    have, wanted = product(x.shape), product(sizes)
    if not call.in_order() or not isinstance(have, int) or not isinstance(wanted, int) or wanted > have:
        raise Refused("resize_ to more than there is, or of a view", why="what lies there in memory is no part of the network")
    return sliced(x.reshape(have), {0: slice(0, wanted)}).reshape(*sizes)


def _entries(sizes: Sequence[Any], strides: Sequence[Any], offset: Any) -> np.ndarray:
    """Where every entry lies."""
    if not all(isinstance(n, int) for n in (*sizes, *strides, offset)):
        raise Refused("as_strided to an open size", why="where its entries lie depends on the size", hint="Fix it with input_shapes")
    grids = np.indices(sizes, sparse=True) if sizes else ()
    return np.broadcast_to(sum((g * s for g, s in zip(grids, strides, strict=True)), np.int64(offset)), sizes)


def _taken(flat: Value, axis: int, index: np.ndarray) -> Value:
    first, count = int(index.reshape(-1)[0]) if index.size else 0, index.size
    if np.array_equal(index.reshape(-1), np.arange(first, first + count)):
        return sliced(flat, {axis: slice(first, first + count)}).reshape(*flat.shape[:axis], *index.shape)
    return Gather(axis=axis)(flat, flat.graph.constant(np.ascontiguousarray(index)))


@imports("torch", "aten.unfold.default")
def windows_from_torch(call, x, axis, size, step):
    if not x.rank:
        return sliced(x.reshape(1), {0: slice(0, size)})
    axis %= x.rank
    frames = framed(x, axis, step, size)
    order = [a for a in range(frames.rank) if a != axis + 1]
    return frames.transpose(*order, axis + 1)
