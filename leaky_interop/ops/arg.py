"""Positions of the largest and smallest entry.

| meaning | keras                | torch                | onnx                       |
|---------|----------------------|----------------------|----------------------------|
| ArgMax  | ops.argmax (int32)   | argmax, max along an axis | ArgMax                |
| ArgMin  | ops.argmin (int32)   | argmin, min along an axis | ArgMin                |

The first position wins a tie; ONNX's `select_last_index` looks at the reversed data. Positions are int64.
"""

from typing import Any

import numpy as np

from ..op import Link, Moved, Op, Operand, Perm, Shape, Value, case, exports, imports, op, product
from .flip import Flip
from .index import dropped
from .math import Add, Mul
from .promotion import as_value
from .reduce import ReduceMax, ReduceMin, reduced


@op
class ArgReduction(Op):
    """Base: the position of an extreme entry along one axis, the first where several are equal."""

    axis: int
    keepdims: bool
    tolerance = "exact"

    def function(self, x: np.ndarray, axis: int, keepdims: bool) -> np.ndarray:
        """The reduction in numpy."""
        raise NotImplementedError

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        shape = inputs[0].shape
        return [((*shape[: self.axis], *(1,) * self.keepdims, *shape[self.axis + 1 :]), np.dtype(np.int64))]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return self.function(arrays[0], axis=self.axis, keepdims=self.keepdims).astype(np.int64)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        moved = type(self)(axis=perm[self.axis], keepdims=self.keepdims)
        return Moved(moved, (perm,), (perm if self.keepdims else dropped(perm, (self.axis,)),))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        shift = 0 if self.keepdims else 1
        return [Link({0: a}, a - shift * (a > self.axis)) for a in range(inputs[0].rank) if a != self.axis]


@op
class ArgMax(ArgReduction):
    """The first position of the largest entry along an axis; NaN counts as the largest."""

    function = staticmethod(np.argmax)


@op
class ArgMin(ArgReduction):
    """The first position of the smallest entry along an axis; NaN counts as the smallest."""

    function = staticmethod(np.argmin)


def located(kind: type[ArgReduction], x: Value, axis: int | None, keepdims: Any) -> Value:
    """The position along an axis; without one, in the flattened data."""
    if axis is None or x.rank == 0:
        y = kind(axis=0, keepdims=False)(x.reshape(product(x.shape)))
        return y.reshape(*(1,) * x.rank) if keepdims and x.rank else y
    return kind(axis=axis % x.rank, keepdims=bool(keepdims))(x)


@imports("torch", "aten.argmax.default")
def argmax_from_torch(call, x, axis, keepdims):
    return located(ArgMax, x, axis, keepdims)


@imports("torch", "aten.argmin.default")
def argmin_from_torch(call, x, axis, keepdims):
    return located(ArgMin, x, axis, keepdims)


@imports("torch", "aten.max.dim")
def max_with_position_from_torch(call, x, axis, keepdims):
    return reduced(ReduceMax, x, axis, keepdims), located(ArgMax, x, axis, keepdims)


@imports("torch", "aten.min.dim")
def min_with_position_from_torch(call, x, axis, keepdims):
    return reduced(ReduceMin, x, axis, keepdims), located(ArgMin, x, axis, keepdims)


@imports("keras", "ops.Argmax")
def argmax_from_keras(call, x):
    return located(ArgMax, as_value(call, x), call.axis, call.keepdims).cast(np.int32)


@imports("keras", "ops.Argmin")
def argmin_from_keras(call, x):
    return located(ArgMin, as_value(call, x), call.axis, call.keepdims).cast(np.int32)


def _from_onnx(kind: type[ArgReduction], node: Any, x: Value) -> Value:
    if not (node.has("select_last_index") and node.select_last_index):
        return located(kind, x, node.axis, node.keepdims)
    axis = node.axis % x.rank
    last = node.graph.of_sizes(x.shape[axis] - 1)
    return Add()(Mul()(located(kind, Flip(axes=(axis,))(x), axis, node.keepdims), -1), last)


@imports("onnx", "ArgMax")
def argmax_from_onnx(node, x):
    return _from_onnx(ArgMax, node, x)


@imports("onnx", "ArgMin")
def argmin_from_onnx(node, x):
    return _from_onnx(ArgMin, node, x)


@exports("torch", ArgMax)
def argmax_to_torch(op, torch, x):
    return _ordered(torch, x).argmax(op.axis, op.keepdims)


@exports("torch", ArgMin)
def argmin_to_torch(op, torch, x):
    return _ordered(torch, x).argmin(op.axis, op.keepdims)


def _ordered(torch: Any, x: Any) -> Any:
    """Numbers for booleans, which torch does not order."""
    return x.int() if torch.inputs[0].dtype == bool else x


@exports("keras", ArgMax)
def argmax_to_keras(op, keras, x):
    return keras.ops.cast(keras.ops.argmax(_without_negative_zeros(keras, x), op.axis, op.keepdims), "int64")


@exports("keras", ArgMin)
def argmin_to_keras(op, keras, x):
    return keras.ops.cast(keras.ops.argmin(_without_negative_zeros(keras, x), op.axis, op.keepdims), "int64")


def _without_negative_zeros(keras: Any, x: Any) -> Any:
    """Keras takes them for smaller than 0 on TensorFlow."""
    if keras.backend.backend() != "tensorflow" or keras.inputs[0].dtype.kind not in "fV":
        return x
    return keras.ops.where(keras.ops.equal(x, 0), keras.ops.zeros_like(x), x)


@exports("onnx", ArgMax)
def argmax_to_onnx(op, onnx, x):
    return onnx.ArgMax(x, axis=op.axis, keepdims=int(op.keepdims))


@exports("onnx", ArgMin)
def argmin_to_onnx(op, onnx, x):
    return onnx.ArgMin(x, axis=op.axis, keepdims=int(op.keepdims))


_TIED = Operand((2, 6, 3), dtype="int32", low=0, high=3)
case("argmax/channels", ArgMax(axis=1, keepdims=False), (2, 3, 4, 5))
case("argmax/ties", ArgMax(axis=1, keepdims=True), _TIED)
case("argmin/last", ArgMin(axis=2, keepdims=True), (2, 3, 4))
case("argmin/ties", ArgMin(axis=1, keepdims=False), _TIED)
