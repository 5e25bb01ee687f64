"""Data in another order along an axis: reversed, or rotated so that what leaves at one end enters at the other.

| meaning | keras                | torch | onnx               |
|---------|----------------------|-------|--------------------|
| Flip    | ops.flip, x[:, ::-1] | flip  | Slice with step -1 |
| Roll    | ops.roll             | roll  | two slices, joined |

Quarter turns are a Flip and a Transpose.
"""

from typing import Any

import numpy as np

from ..op import Link, Moved, Op, Perm, Value, case, exports, imports, op, product
from .promotion import as_value

END = np.iinfo(np.int64).max


@op
class Flip(Op):
    """The entries along some axes in reverse order."""

    axes: tuple[int, ...]
    tolerance = "exact"
    symbolic = True

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.flip(arrays[0], self.axes)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(Flip(axes=tuple(sorted(perm[a] for a in self.axes))), (perm,), (perm,))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        return [Link({0: a}, a) for a in range(inputs[0].rank) if a not in self.axes]


@op
class Roll(Op):
    """Entry i comes from entry i - shift, counted around the end, along each of the axes."""

    shifts: tuple[int, ...]
    axes: tuple[int, ...]
    tolerance = "exact"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.roll(arrays[0], self.shifts, self.axes)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        rows = sorted(zip((perm[a] for a in self.axes), self.shifts, strict=True))
        return Moved(Roll(shifts=tuple(s for _, s in rows), axes=tuple(a for a, _ in rows)), (perm,), (perm,))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        return [Link({0: a}, a) for a in range(inputs[0].rank) if a not in self.axes]


# --- reading --------------------------------------------------------------------------------------------------------


def quarter_turns(x: Value, count: int, first: int, second: int) -> Value:
    """numpy's rot90: turned by `count` quarters from the first axis towards the second."""
    first, second, count = first % x.rank, second % x.rank, count % 4
    order = list(range(x.rank))
    order[first], order[second] = second, first
    if count == 2:
        return Flip(axes=tuple(sorted((first, second))))(x)
    if count == 1:
        return Flip(axes=(second,))(x).transpose(*order)
    return Flip(axes=(second,))(x.transpose(*order)) if count else x


def rolled(x: Value, shifts: Any, axes: Any) -> Value:
    """Rotated along some axes; without any, as one row of numbers. An axis named twice adds its shifts up."""
    shifts, axes = (tuple(n) if isinstance(n, tuple | list) else (n,) for n in (shifts, axes))
    if axes in ((), (None,)):
        return Roll(shifts=(sum(shifts),), axes=(0,))(x.reshape(product(x.shape))).reshape(*x.shape)
    total: dict[int, int] = {}
    for shift, axis in zip(shifts * len(axes) if len(shifts) == 1 else shifts, axes, strict=True):
        total[axis % x.rank] = total.get(axis % x.rank, 0) + int(shift)
    rows = sorted((axis, shift) for axis, shift in total.items() if shift)
    return Roll(shifts=tuple(s for _, s in rows), axes=tuple(a for a, _ in rows))(x) if rows else x


@imports("torch", "aten.flip.default")
def flip_from_torch(call, x, axes):
    return Flip(axes=tuple(sorted(a % x.rank for a in axes)))(x) if axes else x


@imports("torch", "aten.rot90.default")
def turned_from_torch(call, x, count, axes):
    return quarter_turns(x, count, *axes)


@imports("keras", "ops.Flip")
def flip_from_keras(call, x):
    axes = range(x.rank) if call.axis is None else call.axis if isinstance(call.axis, tuple | list) else [call.axis]
    return Flip(axes=tuple(sorted(a % x.rank for a in axes)))(x)


@imports("keras", "ops.Fliplr")
def flip_columns_from_keras(call, x):
    return Flip(axes=(1,))(x)


@imports("keras", "ops.Flipud")
def flip_rows_from_keras(call, x):
    return Flip(axes=(0,))(x)


@imports("keras", "ops.Rot90")
def turned_from_keras(call, x):
    return quarter_turns(x, call.k, *call.axes)


@imports("torch", "aten.roll.default")
def roll_from_torch(call, x, shifts, axes):
    return rolled(x, shifts, axes)


@imports("keras", "ops.Roll")
def roll_from_keras(call, x):
    return rolled(as_value(call, x), call.shift, call.axis)


# --- writing --------------------------------------------------------------------------------------------------------


@exports("torch", Flip)
def flip_to_torch(op, torch, x):
    return x.flip(op.axes)


@exports("keras", Flip)
def flip_to_keras(op, keras, x):
    return keras.ops.flip(x, op.axes)


@exports("onnx", Flip)
def flip_to_onnx(op, onnx, x):
    back = np.full(len(op.axes), -1, np.int64)
    return onnx.Slice(x, back, np.full(len(op.axes), -END, np.int64), np.array(op.axes, np.int64), back)


@exports("torch", Roll)
def roll_to_torch(op, torch, x):
    return x.roll(op.shifts, op.axes)


@exports("keras", Roll)
def roll_to_keras(op, keras, x):
    return keras.ops.roll(x, op.shifts, op.axes)


@exports("onnx", Roll)
def roll_to_onnx(op, onnx, x):
    for shift, axis in zip(op.shifts, op.axes, strict=True):
        size, place = onnx.size(onnx.inputs[0].shape[axis]), np.array([axis], np.int64)
        if isinstance(size, np.ndarray):
            cut = size - shift % size
        else:
            cut = onnx.Sub(size, onnx.Mod(np.array([shift], np.int64), size))
        x = onnx.Concat(onnx.Slice(x, cut, size, place), onnx.Slice(x, np.zeros(1, np.int64), cut, place), axis=axis)
    return x


case("flip/two_axes", Flip(axes=(1, 3)), (2, 3, 4, 5))
_JOINED = {"onnx": "comes back as slices joined"}
case("roll/two_axes", Roll(shifts=(2, -1), axes=(1, 3)), (2, 3, 4, 5), composed=_JOINED)
case("roll/farther_than_the_size", Roll(shifts=(7,), axes=(2,)), (2, 3, 4), composed=_JOINED)
