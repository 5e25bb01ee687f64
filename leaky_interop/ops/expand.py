"""Operators that repeat numbers: broadcasting to a shape, tiling, repeating every entry, filling.

| meaning               | keras                        | torch                          | onnx                    |
|-----------------------|------------------------------|--------------------------------|-------------------------|
| Expand                | RepeatVector, broadcast_to   | expand, broadcast_to           | Expand                  |
| Expand of one number  | ops.zeros_like, ones_like    | full, zeros, ones_like, new_full | ConstantOfShape       |
| Tile: a b a b         | ops.tile                     | repeat, tile                   | Tile                    |
| Repeat: a a b b       | ops.repeat                   | repeat_interleave              | Unsqueeze, Expand, Reshape |

Repeating an axis of size 1 is Expand, however it was spelled. A fill whose shape is known is a constant.
"""

from typing import Any

import numpy as np

from ..op import Dim, Link, Moved, Op, Operand, Perm, Shape, Value, agree, broadcast, case, constant, exports, imports, op
from ..op import product
from .shape import Reshape, Transpose, with_axes


@op
class Expand(Op):
    """The input broadcast to `shape`, numpy's rule; the shape is complete and never smaller than the input's."""

    shape: tuple[Dim, ...]
    tolerance = "exact"
    scalars = True
    symbolic = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        if not agree(broadcast(x.shape, self.shape), self.shape):
            raise ValueError(f"{self} does not broadcast {x!r}")
        return [(self.shape, x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.broadcast_to(arrays[0], self.shape)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        extra = len(self.shape) - len(perm)
        full = (*range(extra), *(p + extra for p in perm))
        back = tuple(int(i) for i in np.argsort(full))
        return Moved(Expand(shape=tuple(self.shape[b] for b in back)), (perm,), (full,))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        extra = len(self.shape) - inputs[0].rank
        return [Link({0: a}, a + extra) for a in range(inputs[0].rank) if inputs[0].shape[a] != 1]


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
        back = np.argsort(perm)
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


def uniform(value: Value) -> Any:
    """The number that every element of a value is known to equal before the run; None where there is none."""
    while value.node is not None and isinstance(value.node.op, Expand | Reshape | Transpose):
        value = value.node.inputs[0]  # type: ignore[assignment]
    if not value.is_constant or not product(value.shape):
        return None
    numbers = value.array().reshape(-1)
    return numbers[0].item() if (numbers == numbers[0]).all() else None


def expanded(x: Value, shape: Shape) -> Value:
    """`x` broadcast to a shape; where nothing changes, `x` itself."""
    while x.node is not None and isinstance(x.node.op, Expand):
        x = x.node.inputs[0]  # type: ignore[assignment]
    return x if agree(x.shape, tuple(shape)) else Expand(shape=tuple(shape))(x)


def filled(graph: Any, shape: Shape, number: Any, dtype: Any) -> Value:
    """One number everywhere: a constant, or its expansion where a size is known only at run time."""
    return expanded(graph.constant(np.asarray(number).astype(dtype)), shape)


def tiled(x: Value, repeats: Any) -> Value:
    """The whole input repeated; what repeats an axis of size 1 is Expand."""
    repeats = (1,) * (x.rank - len(repeats)) + tuple(repeats)
    x = with_axes(x, range(len(repeats) - x.rank)) if len(repeats) > x.rank else x
    x = expanded(x, tuple(r if d == 1 else d for d, r in zip(x.shape, repeats, strict=True))) if 1 in x.shape else x
    return x


def repeated(x: Value, repeats: Any, axis: int | None) -> Value:
    """Every entry along an axis repeated (no axis: of the flattened input), equally often or as a constant says."""
    x, axis = (x.reshape(product(x.shape)), 0) if axis is None else (x, axis % x.rank)
    counts = np.asarray(repeats.array() if isinstance(repeats, Value) else repeats).reshape(-1)
    if counts.size > 1 and (counts != counts[0]).any():
        from .gather import Gather

        return Gather(axis=axis)(x, x.graph.constant(np.repeat(np.arange(x.shape[axis]), counts)))
    count = int(counts[0])
    if count == 1 or x.shape[axis] == 1:
        return expanded(x, (*x.shape[:axis], x.shape[axis] * count, *x.shape[axis + 1 :]))
    return Repeat(repeats=count, axis=axis)(x)
