"""Operators that make sizes of numbers which the network computes: Reshape, Expand, Tile, Slice, Split, Range, NonZero ...

A result's size that such a number decides is a symbol of its own. Later operators reckon with it as with an input's, and
a run reads it where it appears.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..deferring import Results, deferrable
from ..op import Value
from .deferred import entries, listed, single
from .deferred_axes import count_of

New = Callable[[], Any]


def _new_shape(node: Any, new: New, x: Value, shape: Value) -> Results:
    return [(tuple(new() for _ in range(count_of(shape, "a shape"))), x.dtype)]


@deferrable("Reshape", numbers=[1], since=5, results=_new_shape)
def reshape_to_torch(op, torch, x, shape):
    """A size of 0 keeps the data's own at that place, unless a flag says that it means 0."""
    if op["allowzero"] or torch.inputs[0].rank == 0:
        return x.reshape(listed(torch, 1))
    count, rank = len(op.results[0][0]), torch.inputs[0].rank
    shape = torch.tensor(shape)
    own = torch.call(torch.module.tensor, torch.tensor(x).shape[: min(count, rank)])
    if count > rank:
        own = torch.cat([own, shape[rank:]])
    return x.reshape(torch.where(shape == 0, own, shape).tolist())


def _expanded(node: Any, new: New, x: Value, shape: Value) -> Results:
    count = count_of(shape, "a shape")
    kept = (1,) * (count - x.rank) + x.shape
    return [(tuple(d if isinstance(d, int) and d > 1 else new() for d in kept), x.dtype)]


@deferrable("Expand", numbers=[1], since=8, results=_expanded)
def expand_to_torch(op, torch, x, shape):
    if torch.inputs[0].rank == 0:
        return x.expand(listed(torch, 1))
    return x.expand(torch.call(torch.broadcast_shapes, x.shape, listed(torch, 1)))


def _tiled(node: Any, new: New, x: Value, repeats: Value) -> Results:
    return [(tuple(new() for _ in x.shape), x.dtype)]


@deferrable("Tile", numbers=[1], since=6, results=_tiled)
def tile_to_torch(op, torch, x, repeats):
    return x.repeat(listed(torch, 1))


# --- parts ------------------------------------------------------------------------------------------------------------


def _along(x: Value, axes: Value | None, count: int) -> set[int]:
    """The axes that may change: all of them where only a run tells which."""
    stated = range(count) if axes is None else axes.content()
    return set(range(x.rank)) if stated is None else {a % x.rank for a in stated}


def _cut(node: Any, new: New, x: Value, starts: Value, ends: Value, axes: Value | None = None, steps: Value | None = None) -> Results:
    changed = _along(x, axes, count_of(starts, "bounds"))
    return [(tuple(new() if a in changed else d for a, d in enumerate(x.shape)), x.dtype)]


@deferrable("Slice", numbers=[1, 2, 3, 4], since=10, results=_cut)
def slice_to_torch(op, torch, x, starts, ends, axes=None, steps=None):
    """Python's slices mean the same, but torch takes no negative step: there the places are looked up."""
    rank, values = torch.inputs[0].rank, (*torch.node.inputs, None, None)
    known = range(rank) if axes is None else values[3].content()
    forward = steps is None or min(values[4].content() or (-1,)) > 0
    bounds = [entries(torch, i) for i in (1, 2)]
    steps = [1] * len(bounds[0]) if steps is None else entries(torch, 4)
    if known is not None and forward:
        cuts: dict[int, Any] = {a % rank: slice(*cut) for a, cut in zip(known, zip(*bounds, steps, strict=True), strict=False)}
        return x[tuple(cuts.get(a, slice(None)) for a in range(max(cuts) + 1))]
    if known is None:
        bounds, steps = _on_every_axis(torch, rank, axes, (starts, 0), (ends, np.iinfo(np.int64).max), (values[4], 1))
        known = range(rank)
    for axis, cut in zip(known, zip(*bounds, steps, strict=True), strict=False):
        axis %= rank
        places = torch.call(range, x.size(axis))[slice(*cut)]
        x = x.index_select(axis, torch.call(torch.module.tensor, places, dtype=torch.int64))
    return x


def _on_every_axis(torch: Any, rank: int, axes: Any, *numbers: tuple[Any, int]) -> tuple[list[list[Any]], list[Any]]:
    """Numbers of some axes as numbers of all: what `numbers` give otherwise for the rest."""
    axes, found = torch.tensor(axes) % rank, []
    for given, otherwise in numbers:
        whole = torch.call(torch.full, [rank], otherwise, dtype=torch.int64)
        if given is not None:
            whole = whole.scatter(0, axes.long(), torch.tensor(given).long())
        whole = whole.tolist()
        found.append([whole[i] for i in range(rank)])
    *bounds, steps = found
    return bounds, steps


def _padded(node: Any, new: New, x: Value, pads: Value, value: Value | None = None, axes: Value | None = None) -> Results:
    changed = _along(x, axes, x.rank)
    return [(tuple(new() if a in changed else d for a, d in enumerate(x.shape)), x.dtype)]


@deferrable("Pad", numbers=[1, 2, 3], since=11, results=_padded)
def pad_to_torch(op, torch, x, pads, value=None, axes=None):
    """torch pads a constant from the last axis on; the other modes are looked up axis by axis."""
    rank = torch.inputs[0].rank
    number = 0 if value is None else single(torch, 2)
    pads = torch.tensor(pads).reshape(2, -1)
    if axes is not None:
        whole = torch.call(torch.zeros, [2, rank], dtype=torch.torch_dtype(torch.inputs[1].dtype))
        pads = whole.index_copy(1, (torch.tensor(axes) % rank).long(), pads)
    if op["mode"] == "constant":
        return torch.nn.functional.pad(x, pads.t().flip(0).flatten().tolist(), value=number)
    numbers = pads.flatten().tolist()
    for axis in range(rank):
        size = x.size(axis)
        places = torch.call(torch.arange, -numbers[axis], size + numbers[axis + rank])
        if op["mode"] == "edge":
            places = places.clamp(torch.call(min, 0, size), size - 1)
        elif op["mode"] == "wrap":
            places = places % size
        else:
            period = torch.call(max, 2 * (size - 1), 1)
            places = places % period
            places = torch.minimum(places, period - places) % size
        x = x.index_select(axis, places)
    return x


def _split(node: Any, new: New, x: Value, sizes: Value) -> Results:
    axis = node.axis % x.rank
    return [((*x.shape[:axis], new(), *x.shape[axis + 1 :]), x.dtype) for _ in node.native.output]


@deferrable("Split", numbers=[1], since=13, results=_split)
def split_to_torch(op, torch, x, sizes):
    return torch.unpack(x.split(listed(torch, 1), op["axis"]), len(op.results))


def _first(node: Any, new: New, x: Value, count: Value) -> Results:
    axis, size = node.axis % x.rank, new()
    shape = (*x.shape[:axis], size, *x.shape[axis + 1 :])
    return [(shape, x.dtype), (shape, np.int64)]


@deferrable("TopK", numbers=[1], since=10, results=_first)
def first_entries_to_torch(op, torch, x, count):
    if torch.inputs[0].dtype == bool:
        raise torch.refuse("TopK of booleans", why="torch does not order them", instead="Cast to int64")
    count = single(torch, 1)
    found = x.sort(dim=op["axis"], descending=op["largest"] in (None, 1), stable=True)  # of equal ones the first counts
    return tuple(part.narrow(op["axis"], 0, count) for part in torch.unpack(found, 2))


# --- made of numbers --------------------------------------------------------------------------------------------------


def _one_hot(node: Any, new: New, ids: Value, depth: Value, values: Value) -> Results:
    axis = node.axis % (ids.rank + 1)
    return [((*ids.shape[:axis], new(), *ids.shape[axis:]), values.dtype)]


@deferrable("OneHot", numbers=[1], since=9, results=_one_hot)
def one_hot_to_torch(op, torch, ids, depth, values):
    rank, depth = torch.inputs[0].rank, torch.call(int, single(torch, 1))
    axis = op["axis"] % (rank + 1)
    ids, values = ids.long(), torch.tensor(values)
    if op.opset >= 11:  # negative ones count from the end
        ids = torch.where(ids < 0, ids + depth, ids)
    places = torch.call(torch.arange, depth).reshape(-1, *(1,) * (rank - axis))
    return torch.where(ids.unsqueeze(axis) == places, values[1], values[0])


def _ranged(node: Any, new: New, start: Value, stop: Value, step: Value) -> Results:
    return [((new(),), start.dtype)]


@deferrable("Range", numbers=[0, 1, 2], since=11, results=_ranged, tolerance="sum")
def range_to_torch(op, torch, start, stop, step):
    """As ONNX defines it: start + i * step, as many as fit; none where the step leads away."""
    dtype = torch.outputs[0].dtype
    start, stop, step = (torch.tensor(v) for v in (start, stop, step))
    if dtype.kind in "fV":  # rounded once
        start, stop, step = start.double(), stop.double(), step.double()
    count = ((stop - start) / step).ceil().clamp(min=0).long().item()
    return (torch.call(torch.arange, count) * step + start).to(torch.torch_dtype(dtype))


def _compressed(node: Any, new: New, x: Value, mask: Value) -> Results:
    if node.axis is None:
        return [((new(),), x.dtype)]
    axis = node.axis % x.rank
    return [((*x.shape[:axis], new(), *x.shape[axis + 1 :]), x.dtype)]


@deferrable("Compress", numbers=[1], since=9, results=_compressed)
def kept_entries_to_torch(op, torch, x, mask):
    places = torch.tensor(mask).nonzero().reshape(-1)
    if op["axis"] is None:
        return x.flatten().index_select(0, places)
    return x.index_select(op["axis"], places)


def _places(node: Any, new: New, x: Value) -> Results:
    return [((max(x.rank, 1), new()), np.int64)]


@deferrable("NonZero", numbers=[0], since=9, results=_places)
def places_of_nonzero_to_torch(op, torch, x):
    return (x if torch.inputs[0].rank else x.reshape(1)).nonzero().t()
