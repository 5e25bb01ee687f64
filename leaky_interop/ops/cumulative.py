"""Running sums and products.

| meaning | keras                 | torch   | onnx                              |
|---------|-----------------------|---------|-----------------------------------|
| CumSum  | ops.cumsum            | cumsum  | CumSum, with exclusive, reverse   |
| CumProd | ops.cumprod           | cumprod | the same since 26, else composed  |
"""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from ..op import Link, Moved, Op, Operand, Perm, Value, case, exports, imports, op, product
from .expand import uniform
from .precision import IN_32_BITS, exact_in_keras, in_32_bits
from .promotion import as_value
from .range import ranged
from .reduce_exports import reduce_in_onnx
from .table import widened


@op
class Cumulative(Op):
    """Base of the running reductions along one axis.

    Over all entries up to this one; exclusive: without this one; reverse: from this one to the end.
    """

    axis: int
    exclusive: bool
    reverse: bool
    tolerance = "sum"
    neutral: ClassVar[int]

    def function(self, x: np.ndarray, axis: int) -> np.ndarray:
        """The running reduction in numpy."""
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        x = np.flip(x, self.axis) if self.reverse else x
        if self.exclusive:
            entries = np.moveaxis(x, self.axis, 0)
            first = np.full_like(entries[:1], self.neutral)
            x = np.moveaxis(np.concatenate([first, entries[:-1]]), 0, self.axis)
        y = widened(lambda a: self.function(a, self.axis), x)
        return np.flip(y, self.axis) if self.reverse else y

    def length(self, *arrays: np.ndarray) -> int:
        return arrays[0].shape[self.axis]

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(dataclasses.replace(self, axis=perm[self.axis]), (perm,), (perm,))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        return [Link({0: a}, a) for a in range(inputs[0].rank) if a != self.axis]


@op
class CumSum(Cumulative):
    """Running sums."""

    neutral = 0
    function = staticmethod(np.cumsum)


@op
class CumProd(Cumulative):
    """Running products."""

    neutral = 1
    function = staticmethod(np.cumprod)


PLAIN = {"exclusive": False, "reverse": False}


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
    return CumSum(axis=axis, **PLAIN)(x) if x.rank else x


@imports("keras", "ops.Cumsum")
def cumsum_from_keras(call, x):
    x, axis = _prepared(call, x, call.axis, call.dtype)
    if x.rank == 1 and isinstance(step := uniform(x), int):  # how Keras counts to a size of the data
        return ranged(call.graph, step, step * x.shape[0] + step, step, x.dtype)
    return CumSum(axis=axis, **PLAIN)(x)


@imports("onnx", "CumSum", since=11)
def cumsum_from_onnx(node, x, axis):
    return _from_onnx(CumSum, node, x, axis)


@imports("onnx", "CumProd", since=26)
def cumprod_from_onnx(node, x, axis):
    return _from_onnx(CumProd, node, x, axis)


def _from_onnx(kind: type[Cumulative], node: Any, x: Value, axis: Value) -> Value:
    (axis,) = node.sizes(axis)
    return kind(axis=axis % x.rank, exclusive=bool(node.exclusive), reverse=bool(node.reverse))(x)


@imports("torch", "aten.cumprod.default")
def cumprod_from_torch(call, x, axis, dtype):
    x, axis = _prepared(call, x, axis, dtype)
    return CumProd(axis=axis, **PLAIN)(x) if x.rank else x


@imports("keras", "ops.Cumprod")
def cumprod_from_keras(call, x):
    x, axis = _prepared(call, x, call.axis, call.dtype)
    return CumProd(axis=axis, **PLAIN)(x)


@exports("torch", CumSum)
@exports("torch", CumProd)
def cumulative_to_torch(op, torch, x):
    x = x.flip(op.axis) if op.reverse else x
    if op.exclusive:
        before = (slice(None),) * op.axis
        first = torch.full_like(x[(*before, slice(1))], op.neutral)
        x = torch.cat([first, x[(*before, slice(-1))]], op.axis)
    run = x.cumsum if isinstance(op, CumSum) else x.cumprod
    y = run(op.axis, dtype=torch.torch_dtype(torch.outputs[0].dtype))
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
@exports("keras", CumProd)
def cumulative_to_keras(op, keras, x):
    total = isinstance(op, CumSum)
    exact_in_keras(keras, f"a running {'sum' if total else 'product'}")
    if total:
        functions = keras.ops.cumsum, keras.ops.add, keras.ops.zeros_like
    else:
        functions = keras.ops.cumprod, keras.ops.multiply, keras.ops.ones_like
    x = keras.ops.flip(x, op.axis) if op.reverse else x
    if op.exclusive:
        before = (slice(None),) * op.axis
        x = keras.ops.concatenate([functions[2](x[(*before, slice(1))]), x[(*before, slice(-1))]], op.axis)
    y = _running(op, keras, x, *functions)
    return keras.ops.flip(y, op.axis) if op.reverse else y


@exports("onnx", CumSum)
def cumsum_to_onnx(op, onnx, x):
    return onnx.CumSum(x, np.array(op.axis, np.int64), exclusive=int(op.exclusive), reverse=int(op.reverse))


@exports("onnx", CumProd)
def cumprod_to_onnx(op, onnx, x):
    """Before opset 26: for each entry, the product of all, of which those that do not belong to it are replaced by 1."""
    if onnx.opset >= 26:
        return onnx.CumProd(x, np.array(op.axis, np.int64), exclusive=int(op.exclusive), reverse=int(op.reverse))
    port = onnx.inputs[0]
    size = port.shape[op.axis]
    if not isinstance(size, int):
        raise onnx.refuse(
            str(op), why="ONNX has no running product", instead="Fix the size of that axis with input_shapes"
        )
    taken = np.tril(np.ones((size, size), bool), -1 if op.exclusive else 0)
    earlier = (taken.T if op.reverse else taken).reshape(size, size, *(1,) * (port.rank - op.axis - 1))
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
_MASKED = {"onnx": "comes back as a masked product"}
case("cumprod/channels", CumProd(axis=1, **PLAIN), (2, 5, 3), composed=_MASKED)
case("cumprod/exclusive", CumProd(axis=1, exclusive=True, reverse=False), (2, 5, 3), composed=_PIECES | _MASKED)
case("cumprod/reverse", CumProd(axis=2, exclusive=False, reverse=True), (2, 3, 5), composed=_PIECES | _MASKED)
case("cumprod/exclusive_reverse", CumProd(axis=0, exclusive=True, reverse=True), (4, 3), composed=_PIECES | _MASKED)
