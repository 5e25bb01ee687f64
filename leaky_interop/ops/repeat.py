"""Operators that repeat what is there: a b a b (Tile) and a a b b (Repeat).

| meaning | keras      | torch             | onnx                       |
|---------|------------|-------------------|----------------------------|
| Tile    | ops.tile   | repeat, tile      | Tile                       |
| Repeat  | ops.repeat | repeat_interleave | Unsqueeze, Expand, Reshape |

What repeats an axis of size 1 is Expand.
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Dim, Moved, Op, Perm, Shape, Size, Value, case, exports, imports, invert, op, product
from .expand import expanded, filled
from .gather import Gather
from .shape import with_axes


@op
class Tile(Op):
    """The whole input repeated `repeats` times along each axis: a b a b."""

    repeats: tuple[Dim, ...]
    tolerance = "exact"
    symbolic = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        return [(tuple(d * r for d, r in zip(x.shape, self.repeats, strict=True)), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.tile(arrays[0], self.repeats)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        back = invert(perm)
        return Moved(Tile(repeats=tuple(self.repeats[b] for b in back)), (perm,), (perm,))


@op
class Repeat(Op):
    """Every entry along one axis `repeats` times: a a b b."""

    repeats: int
    axis: int
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        return [((*x.shape[: self.axis], x.shape[self.axis] * self.repeats, *x.shape[self.axis + 1 :]), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.repeat(arrays[0], self.repeats, self.axis)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(Repeat(repeats=self.repeats, axis=perm[self.axis]), (perm,), (perm,))


def tiled(x: Value, repeats: Any) -> Value:
    """The whole input repeated; what repeats an axis of size 1 is Expand."""
    repeats = (1,) * (x.rank - len(repeats)) + tuple(repeats)
    x = with_axes(x, range(len(repeats) - x.rank)) if len(repeats) > x.rank else x
    left = tuple(1 if d == 1 else r for d, r in zip(x.shape, repeats, strict=True))
    x = expanded(x, tuple(r if d == 1 else d for d, r in zip(x.shape, repeats, strict=True)))
    return x if all(r == 1 for r in left) else Tile(repeats=left)(x)


def repeated(x: Value, repeats: Any, axis: int | None) -> Value:
    """Every entry along an axis repeated (no axis: of the flattened input), equally often or as a constant says."""
    x, axis = (x.reshape(product(x.shape)), 0) if axis is None else (x, axis % x.rank)
    if isinstance(repeats, Value):
        if not repeats.is_constant:
            raise Refused("a repeat whose counts are computed", why="the result's size would depend on the data")
        repeats = repeats.array()
    counts = np.asarray(repeats).reshape(-1)
    if (counts != counts[0]).any():
        return Gather(axis=axis)(x, x.graph.constant(np.repeat(np.arange(x.shape[axis]), counts)))
    count = counts[0] if isinstance(counts[0], Size) else int(counts[0])
    if isinstance(count, Size) and x.shape[axis] != 1:
        raise Refused("a repeat as often as a size of the data says", why="only an axis of size 1 is repeated so")
    if count == 1 or x.shape[axis] == 1:
        return expanded(x, (*x.shape[:axis], x.shape[axis] * count, *x.shape[axis + 1 :]))
    return Repeat(repeats=count, axis=axis)(x)


# --- frameworks -------------------------------------------------------------------------------------------------------


@imports("torch", "aten.repeat.default", "aten.tile.default")
def tile_from_torch(call, x, repeats):
    if 0 in repeats:
        shape = (*(1,) * (len(repeats) - x.rank), *x.shape)
        return filled(call.graph, tuple(n * r for n, r in zip(shape, repeats[-len(shape) :], strict=True)), 0, x.dtype)
    return tiled(x, repeats)


@imports("keras", "ops.Tile")
def tile_from_keras(call, x):
    return tiled(x, call.repeats if isinstance(call.repeats, tuple | list) else [call.repeats])


@imports("onnx", "Tile")
def old_tile_from_onnx(node, x, tiles, axis):
    (count,), (axis,) = node.sizes(tiles), node.sizes(axis)  # stored as floats
    return tiled(x, [int(count) if a == int(axis) else 1 for a in range(x.rank)])


@imports("onnx", "Tile", since=6)
def tile_from_onnx(node, x, repeats):
    return tiled(x, node.sizes(repeats))


@exports("torch", Tile)
def tile_to_torch(op, torch, x):
    return x.repeat([torch.size(r) for r in op.repeats])


@exports("onnx", Tile)
def tile_to_onnx(op, onnx, x):
    return onnx.Tile(x, onnx.sizes(op.repeats))


@exports("keras", Tile)
def tile_to_keras(op, keras, x):
    if op.open:
        raise keras.refuse(
            str(op), why="Keras tiles a known number of times", instead="Fix the sizes with input_shapes"
        )
    return keras.ops.tile(x, op.repeats)


@imports("torch", "aten.repeat_interleave.self_int", "aten.repeat_interleave.self_Tensor")
def repeat_from_torch(call, x, repeats, axis, output_size):
    return repeated(x, repeats, axis)


@imports("keras", "ops.Repeat")
def repeat_from_keras(call, x):
    return repeated(x, call.repeats, call.axis)


@exports("torch", Repeat)
def repeat_to_torch(op, torch, x):
    return x.repeat_interleave(op.repeats, op.axis)


@exports("onnx", Repeat)
def repeat_to_onnx(op, onnx, x):
    rank, after = onnx.inputs[0].rank, op.axis + 1
    wide = onnx.Unsqueeze(x, np.array([after], np.int64))
    wide = onnx.Expand(wide, np.array([op.repeats if a == after else 1 for a in range(rank + 1)], np.int64))
    return onnx.Reshape(wide, onnx.shape(onnx.outputs[0].shape))


@exports("keras", Repeat)
def repeat_to_keras(op, keras, x):
    return keras.ops.repeat(x, op.repeats, op.axis)


case("tile/two_axes", Tile(repeats=(1, 3, 2)), (2, 3, 4))
case("tile/batch", Tile(repeats=(2, 1)), (2, 3))
_PIECES = {"onnx": "comes back as an Expand of a new axis and its merging"}
case("repeat/channels", Repeat(repeats=3, axis=1), (2, 3, 4), composed=_PIECES)
case("repeat/last", Repeat(repeats=2, axis=2), (2, 3, 4), composed=_PIECES)
