"""Running sums and products.

| meaning | keras                 | torch   | onnx                              |
|---------|-----------------------|---------|-----------------------------------|
| CumSum  | ops.cumsum            | cumsum  | CumSum, with exclusive, reverse   |
| CumProd | ops.cumprod           | cumprod | composed                          |
"""

from typing import Any

import numpy as np

from ..op import Link, Moved, Op, Operand, Perm, Value, case, exports, imports, op, product
from .expand import uniform
from .precision import IN_32_BITS, exact_in_keras, in_32_bits
from .promotion import as_value
from .range import ranged
from .reduce import reduce_in_onnx
from .table import widened


@op
class Cumulative(Op):
    """Base of the running reductions along one axis."""

    axis: int

    def length(self, *arrays: np.ndarray) -> int:
        return arrays[0].shape[self.axis]

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        return [Link({0: a}, a) for a in range(inputs[0].rank) if a != self.axis]


@op
class CumSum(Cumulative):
    """The sum of all entries up to this one; exclusive: without this one; reverse: from this one to the end."""

    exclusive: bool
    reverse: bool
    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        x = np.flip(x, self.axis) if self.reverse else x
        if self.exclusive:
            entries = np.moveaxis(x, self.axis, 0)
            x = np.moveaxis(np.concatenate([np.zeros_like(entries[:1]), entries[:-1]]), 0, self.axis)
        y = widened(lambda a: np.cumsum(a, self.axis), x)
        return np.flip(y, self.axis) if self.reverse else y

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(CumSum(axis=perm[self.axis], exclusive=self.exclusive, reverse=self.reverse), (perm,), (perm,))


@op
class CumProd(Cumulative):
    """The product of all entries up to this one."""

    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(lambda a: np.cumprod(a, self.axis), arrays[0])

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(CumProd(axis=perm[self.axis]), (perm,), (perm,))


def _prepared(call: Any, x: Any, axis: int | None, dtype: Any) -> tuple[Value, int]:
    """The data in the dtype it is added up in, flattened where no axis is named."""
    x = as_value(call, x)
    if dtype is None and x.dtype.kind in "biu":
        dtype = np.int64 if call.graph.framework == "torch" else np.int32 if x.dtype == bool else None
    x = x if dtype is None else x.cast(dtype)
    return (x.reshape(product(x.shape)), 0) if axis is None else (x, axis % max(x.rank, 1))


@imports("torch", "aten.cumsum.default")
def cumsum_from_torch(call, x, axis, dtype):
    x, axis = _prepared(call, x, axis, dtype)
    return CumSum(axis=axis, exclusive=False, reverse=False)(x) if x.rank else x


@imports("keras", "ops.Cumsum")
def cumsum_from_keras(call, x):
    x, axis = _prepared(call, x, call.axis, call.dtype)
    if x.rank == 1 and isinstance(step := uniform(x), int):  # how Keras counts to a size of the data
        return ranged(call.graph, step, step * x.shape[0] + step, step, x.dtype)
    return CumSum(axis=axis, exclusive=False, reverse=False)(x)


@imports("onnx", "CumSum")
def cumsum_from_onnx(node, x, axis):
    (axis,) = node.sizes(axis)
    return CumSum(axis=axis % x.rank, exclusive=bool(node.exclusive), reverse=bool(node.reverse))(x)


@imports("torch", "aten.cumprod.default")
def cumprod_from_torch(call, x, axis, dtype):
    x, axis = _prepared(call, x, axis, dtype)
    return CumProd(axis=axis)(x) if x.rank else x


@imports("keras", "ops.Cumprod")
def cumprod_from_keras(call, x):
    x, axis = _prepared(call, x, call.axis, call.dtype)
    return CumProd(axis=axis)(x)


@exports("torch", CumSum)
def cumsum_to_torch(op, torch, x):
    x = x.flip(op.axis) if op.reverse else x
    if op.exclusive:
        before = (slice(None),) * op.axis
        x = torch.cat([torch.zeros_like(x[(*before, slice(1))]), x[(*before, slice(-1))]], op.axis)
    y = x.cumsum(op.axis, dtype=torch.torch_dtype(torch.outputs[0].dtype))
    return y.flip(op.axis) if op.reverse else y


def _running(op: Cumulative, keras: Any, x: Any, own: Any, join: Any, neutral: Any) -> Any:
    """What Keras has; of 64-bit integers, which it adds in 32 bits, in steps that each join twice as many entries."""
    count, step = keras.inputs[0].shape[op.axis], 1
    if not in_32_bits(keras, keras.outputs[0].dtype):
        return keras.ops.cast(own(x, op.axis), keras.outputs[0].dtype.name)
    if not isinstance(count, int):
        raise keras.refuse(
            f"{type(op).__name__} of {keras.outputs[0].dtype} along an open size",
            why=f"Keras computes it in 32 bits on the {keras.backend.backend()} backend",
            instead="Fix the size with input_shapes, or set KERAS_BACKEND=tensorflow",
        )
    before = (slice(None),) * op.axis
    while step < count:
        earlier = [neutral(x[(*before, slice(step))]), x[(*before, slice(-step))]]
        x, step = join(x, keras.ops.concatenate(earlier, op.axis)), step * 2
    return x


@exports("keras", CumSum)
def cumsum_to_keras(op, keras, x):
    exact_in_keras(keras, "a running sum")
    x = keras.ops.flip(x, op.axis) if op.reverse else x
    if op.exclusive:
        before = (slice(None),) * op.axis
        x = keras.ops.concatenate([keras.ops.zeros_like(x[(*before, slice(1))]), x[(*before, slice(-1))]], op.axis)
    y = _running(op, keras, x, keras.ops.cumsum, keras.ops.add, keras.ops.zeros_like)
    return keras.ops.flip(y, op.axis) if op.reverse else y


@exports("onnx", CumSum)
def cumsum_to_onnx(op, onnx, x):
    return onnx.CumSum(x, np.array(op.axis, np.int64), exclusive=int(op.exclusive), reverse=int(op.reverse))


@exports("torch", CumProd)
def cumprod_to_torch(op, torch, x):
    return x.cumprod(op.axis, dtype=torch.torch_dtype(torch.outputs[0].dtype))


@exports("keras", CumProd)
def cumprod_to_keras(op, keras, x):
    exact_in_keras(keras, "a running product")
    return _running(op, keras, x, keras.ops.cumprod, keras.ops.multiply, keras.ops.ones_like)


@exports("onnx", CumProd)
def cumprod_to_onnx(op, onnx, x):
    """For each entry, the product of all of which later ones are replaced by 1."""
    port = onnx.inputs[0]
    size = port.shape[op.axis]
    if not isinstance(size, int):
        raise onnx.refuse(
            str(op), why="ONNX has no running product", instead="Fix the size of that axis with input_shapes"
        )
    earlier = np.tril(np.ones((size, size), bool)).reshape(size, size, *(1,) * (port.rank - op.axis - 1))
    wide = onnx.Unsqueeze(x, np.array([op.axis], np.int64))
    kept = onnx.Where(earlier, wide, np.ones((), port.dtype))
    return reduce_in_onnx(onnx, "ReduceProd", kept, [op.axis + 1], False)


case("cumsum/channels", CumSum(axis=1, exclusive=False, reverse=False), (2, 5, 3))
case("cumsum/int64", CumSum(axis=2, exclusive=False, reverse=False), Operand((2, 3, 5), dtype="int64"),
     composed=dict.fromkeys(IN_32_BITS, "sums of 1, 2, 4 ... entries"))  # fmt: skip
case(
    "cumsum/float64",
    CumSum(axis=1, exclusive=False, reverse=False),
    Operand((2, 5), dtype="float64"),
    refused=IN_32_BITS,
)
_PIECES = {"keras": "comes back with the shift and the flips it is made of"}
_PIECES["torch"] = _PIECES["keras"]
case("cumsum/exclusive", CumSum(axis=1, exclusive=True, reverse=False), (2, 5, 3), composed=_PIECES)
case("cumsum/reverse", CumSum(axis=2, exclusive=False, reverse=True), (2, 3, 5), composed=_PIECES)
case("cumsum/exclusive_reverse", CumSum(axis=1, exclusive=True, reverse=True), (2, 5), composed=_PIECES)
case("cumprod/channels", CumProd(axis=1), (2, 5, 3), composed={"onnx": "comes back as a masked product"})
