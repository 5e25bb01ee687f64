"""Operators that cut data out by position: ranges and single entries.

| meaning | keras                          | torch                | onnx                               |
|---------|--------------------------------|----------------------|------------------------------------|
| Slice   | x[:, 1:5], Cropping, ops.slice | x[:, 1:5], narrow    | Slice                              |
| Select  | x[:, 3]                        | x[:, 3], select      | Gather with one index              |

Bounds are resolved while importing: none is negative, none passes the end, steps are positive; a negative step reads
the flipped data. A fixed bound on a size that is known only at run time is taken to fit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Dim, Link, Moved, Op, Parameter, Perm, Shape, Value, agree, case, ceil_divide, exports, imports, op
from .flip import Flip
from .join import joined
from .shape import with_axes

LAST = 10**9  # from here on a bound of an open axis means its end: 2**31 - 1, 2**63 - 1, and in tf2onnx this very number
END = np.iinfo(np.int64).max


def dropped(perm: Perm, axes: Any) -> Perm:
    """What is left of a permutation when some axes of the permuted result are dropped."""
    left = [p for i, p in enumerate(perm) if i not in axes]
    return tuple(sorted(left).index(p) for p in left)


@op
class Slice(Op):
    """Entries start, start + step, ... before stop, along some axes; the other axes are whole."""

    axes: tuple[int, ...]
    starts: tuple[Dim, ...]
    stops: tuple[Dim, ...]
    steps: tuple[int, ...]
    tolerance = "exact"
    symbolic = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        shape = list(inputs[0].shape)
        for axis, start, stop, step in zip(self.axes, self.starts, self.stops, self.steps, strict=True):
            shape[axis] = ceil_divide(stop - start, step)
        return [(tuple(shape), inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        index = [slice(None)] * arrays[0].ndim
        for axis, *bounds in zip(self.axes, self.starts, self.stops, self.steps, strict=True):
            index[axis] = slice(*bounds)
        return arrays[0][tuple(index)]

    def view(self, *inputs: Value | None) -> Parameter | None:
        parameter = inputs[0].const
        if parameter is None or self.open:
            return None
        for axis, *bounds in zip(self.axes, self.starts, self.stops, self.steps, strict=True):
            parameter = parameter.take(tuple(range(*bounds)), axis)
        return parameter

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        rows = sorted((perm[a], *rest) for a, *rest in zip(self.axes, self.starts, self.stops, self.steps, strict=True))
        return Moved(_slice(rows), (perm,), (perm,))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        return [Link({0: a}, a) for a in range(inputs[0].rank) if a not in self.axes]


def _slice(rows: Any) -> Slice:
    axes, starts, stops, steps = (tuple(column) for column in zip(*rows, strict=True))
    return Slice(axes=axes, starts=starts, stops=stops, steps=steps)


@op
class Select(Op):
    """One entry along an axis, without that axis."""

    axis: int
    index: Dim
    tolerance = "exact"
    symbolic = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        return [((*x.shape[: self.axis], *x.shape[self.axis + 1 :]), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0].take(self.index, self.axis)

    def view(self, *inputs: Value | None) -> Parameter | None:
        parameter = inputs[0].const
        if parameter is None or self.open:
            return None
        shape = parameter.shape[: self.axis] + parameter.shape[self.axis + 1 :]
        return parameter.take((self.index,), self.axis).reshape(*shape)  # type: ignore[arg-type]

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(Select(axis=perm[self.axis], index=self.index), (perm,), (dropped(perm, (self.axis,)),))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        return [Link({0: a}, a - (a > self.axis)) for a in range(inputs[0].rank) if a != self.axis]


# --- resolving --------------------------------------------------------------------------------------------------------


def resolved(bound: Dim | None, size: Dim, default: Dim, low: int, high: Dim) -> Dim:
    """A bound counted from the start: None is the default, a negative one counts from the end, then it is clamped."""
    if bound is None:
        return default
    if isinstance(bound, int) and not isinstance(size, int):
        return high if bound >= LAST else low if bound <= -LAST else bound + size if bound < 0 else max(bound, low)
    if isinstance(bound, int) and isinstance(size, int):
        return min(max(bound + size if bound < 0 else bound, low), high)
    return bound


def sliced(x: Value, cuts: Mapping[int, slice]) -> Value:
    """numpy's slicing along some axes; cuts of other axes that were made just before become one operator with these."""
    flips, rows = [], []
    for axis, cut in cuts.items():
        axis, size, step = axis % x.rank, x.shape[axis], 1 if cut.step is None else cut.step
        if step < 0:
            flips.append(axis)
            start, stop = resolved(cut.start, size, size - 1, -1, size - 1), resolved(cut.stop, size, -1, -1, size - 1)
            start, stop, step = size - 1 - start, size - 1 - stop, -step
        else:
            start, stop = resolved(cut.start, size, 0, 0, size), resolved(cut.stop, size, size, 0, size)
        if isinstance(start, int) and isinstance(stop, int):
            stop = max(start, stop)
        if not (start == 0 and agree(stop, size) and step == 1):
            rows.append((axis, start, stop, step))
    if flips:
        x = Flip(axes=tuple(sorted(flips)))(x)
    if not rows:
        return x
    before = x.node.op if x.node is not None else None
    if isinstance(before, Slice) and not {axis for axis, *_ in rows} & set(before.axes):
        rows += zip(before.axes, before.starts, before.stops, before.steps, strict=True)
        x = x.node.inputs[0]  # type: ignore[union-attr,assignment]
    return _slice(sorted(rows, key=lambda row: row[0]))(x)


def selected(x: Value, axis: int, index: Dim) -> Value:
    """One entry along an axis; a negative index counts from the end."""
    axis %= x.rank
    return Select(axis=axis, index=index + x.shape[axis] if isinstance(index, int) and index < 0 else index)(x)


def placed(call: Any, x: Value, part: Value, axis: int, start: Dim, stop: Dim) -> Value:
    """`x` with the entries start .. stop - 1 along an axis replaced."""
    sides = (sliced(x, {axis: slice(0, start)}), part, sliced(x, {axis: slice(stop, None)}))
    return joined(call, [v for v in sides if v.shape[axis % x.rank] != 0], axis)


def bound_from_end(bound: Dim, size: Dim) -> int | None:
    """A bound as Python writes it: a plain number, negative from the end; None where it is neither."""
    if isinstance(bound, int):
        return bound
    left = bound - size
    return left if isinstance(left, int) and left < 0 else None


# --- torch ------------------------------------------------------------------------------------------------------------


@imports("torch", "aten.slice.Tensor")
def slice_from_torch(call, x, axis, start, stop, step):
    return sliced(x, {axis: slice(start, stop, step)})


@imports("torch", "aten.narrow.default")
def narrow_from_torch(call, x, axis, start, length):
    start = start + x.shape[axis] if isinstance(start, int) and start < 0 else start
    return sliced(x, {axis: slice(start, start + length)})


@imports("torch", "aten.select.int")
def select_from_torch(call, x, axis, index):
    return selected(x, axis, index)


@imports("torch", "aten.slice_scatter.default")
def slice_scatter_from_torch(call, x, part, axis, start, stop, step):
    size = x.shape[axis]
    start, stop = resolved(start, size, 0, 0, size), resolved(stop, size, size, 0, size)
    if step != 1:
        raise Refused(
            "an assignment to every other entry", why="only whole ranges are replaced", hint="Use torch.where"
        )
    return placed(call, x, part, axis, start, stop)


@imports("torch", "aten.select_scatter.default")
def select_scatter_from_torch(call, x, part, axis, index):
    axis, index = axis % x.rank, index + x.shape[axis] if isinstance(index, int) and index < 0 else index
    return placed(call, x, with_axes(part, [axis]), axis, index, index + 1)


@exports("torch", Slice)
def slice_to_torch(op, torch, x):
    index = [slice(None)] * torch.inputs[0].rank
    for axis, start, stop, step in zip(op.axes, op.starts, op.stops, op.steps, strict=True):
        size = torch.inputs[0].shape[axis]
        first, last = (bound_from_end(b, size) for b in (start, stop))
        first = torch.size(start) if first is None else None if start == 0 else first
        last = None if agree(stop, size) else torch.size(stop) if last is None else last
        index[axis] = slice(first, last, None if step == 1 else step)
    return x[tuple(index)]


@exports("torch", Select)
def select_to_torch(op, torch, x):
    index = bound_from_end(op.index, torch.inputs[0].shape[op.axis])
    return x.select(op.axis, torch.size(op.index) if index is None else index)


# --- keras ------------------------------------------------------------------------------------------------------------


@imports("keras", "Cropping1D", "Cropping2D", "Cropping3D")
def cropping_from_keras(layer, x):
    first = 2 if getattr(layer, "data_format", None) == "channels_first" else 1
    pairs = layer.cropping if x.rank > 3 else [layer.cropping]
    return sliced(x, {first + i: slice(b, x.shape[first + i] - e) for i, (b, e) in enumerate(pairs)})


@imports("keras", "ops.GetItem")
def item_from_keras(call, x, key):
    key = list(key) if isinstance(key, tuple | list) else [key]  # a saved model keeps a tuple as a list
    used = sum(k is not None and k is not Ellipsis for k in key)
    if Ellipsis not in [k for k in key if not isinstance(k, Value | np.ndarray)]:
        key.append(Ellipsis)
    place = next(i for i, k in enumerate(key) if k is Ellipsis)
    key[place : place + 1] = [slice(None)] * (x.rank - used)
    axes = iter(range(x.rank))
    keyed = [(None if k is None else next(axes), k) for k in key]
    x = sliced(x, {a: k for a, k in keyed if isinstance(k, slice)})
    for axis, k in reversed(keyed):
        if isinstance(k, int):
            x = selected(x, axis, k)
        elif k is not None and not isinstance(k, slice):
            raise Refused(
                f"indexing with a {type(k).__name__}", why="x[...] takes numbers and slices", hint="Use keras.ops.take"
            )
    kept = [k for _, k in keyed if not isinstance(k, int)]
    return with_axes(x, [i for i, k in enumerate(kept) if k is None]) if None in kept else x


@exports("keras", Slice)
def slice_to_keras(op, keras, x):
    index = [slice(None)] * keras.inputs[0].rank
    for axis, start, stop, step in zip(op.axes, op.starts, op.stops, op.steps, strict=True):
        size = keras.inputs[0].shape[axis]
        first, last = bound_from_end(start, size), bound_from_end(stop, size)
        if first is None or (last is None and not agree(stop, size)):
            x = keras.ops.take(x, keras.places(start, step, keras.outputs[0].shape[axis]), axis)
        else:
            index[axis] = slice(first or None, None if agree(stop, size) else last, None if step == 1 else step)
    return x if index == [slice(None)] * len(index) else x[tuple(index)]


@exports("keras", Select)
def select_to_keras(op, keras, x):
    index = bound_from_end(op.index, keras.inputs[0].shape[op.axis])
    if index is None:
        return keras.ops.take(x, keras.tensor(keras.graph.of_sizes(op.index)), op.axis)
    return x[(slice(None),) * op.axis + (index,)]


# --- onnx -------------------------------------------------------------------------------------------------------------


@imports("onnx", "Slice")
def old_slice_from_onnx(node, x):
    axes = node.axes or range(len(node.starts))
    return sliced(x, {a: slice(*bounds) for a, *bounds in zip(axes, node.starts, node.ends, strict=True)})


@imports("onnx", "Slice", since=10)
def slice_from_onnx(node, x, starts, ends, axes=None, steps=None):
    starts, ends = node.sizes(starts), node.sizes(ends)
    axes = range(len(starts)) if axes is None else node.sizes(axes)
    steps = [1] * len(starts) if steps is None else node.sizes(steps)
    return sliced(x, {a: slice(*bounds) for a, *bounds in zip(axes, starts, ends, steps, strict=True)})


@exports("onnx", Slice)
def slice_to_onnx(op, onnx, x):
    sizes = [onnx.inputs[0].shape[a] for a in op.axes]
    starts, stops = [], []
    for start, stop, size in zip(op.starts, op.stops, sizes, strict=True):
        first, last = bound_from_end(start, size), bound_from_end(stop, size)
        starts.append(start if first is None else first)
        stops.append(END if agree(stop, size) else stop if last is None else last)
    steps = None if set(op.steps) == {1} else np.array(op.steps, np.int64)
    return onnx.Slice(x, onnx.sizes(starts), onnx.sizes(stops), np.array(op.axes, np.int64), steps)


@exports("onnx", Select)
def select_to_onnx(op, onnx, x):
    index = bound_from_end(op.index, onnx.inputs[0].shape[op.axis])
    if index is None:
        return onnx.Squeeze(onnx.Gather(x, onnx.sizes([op.index]), axis=op.axis), np.array([op.axis], np.int64))
    return onnx.Gather(x, np.array(index, np.int64), axis=op.axis)


case("slice/inner", Slice(axes=(1, 3), starts=(1, 0), stops=(3, 4), steps=(1, 1)), (2, 4, 3, 5))
case("slice/steps", Slice(axes=(1, 2), starts=(1, 0), stops=(6, 5), steps=(2, 3)), (2, 7, 5))
case("slice/batch", Slice(axes=(0,), starts=(1,), stops=(3,), steps=(1,)), (4, 3))
case("slice/empty", Slice(axes=(1,), starts=(2,), stops=(2,), steps=(1,)), (2, 3))
case("select/middle", Select(axis=1, index=2), (2, 4, 3))
case("select/last_axis", Select(axis=3, index=0), (2, 3, 4, 5))
case("select/to_rank_0", Select(axis=0, index=1), (3,))
