"""Broadcasting to a shape, and filling one with a number.

| meaning               | keras                        | torch                            | onnx            |
|-----------------------|------------------------------|----------------------------------|-----------------|
| Expand                | RepeatVector, broadcast_to   | expand, broadcast_to             | Expand          |
| Expand of one number  | ops.zeros_like, ones_like    | full, zeros, ones_like, new_full | ConstantOfShape |

Repeating an axis of size 1 is Expand, however it was spelled. A fill whose shape is known is a constant.
"""

from typing import Any

import numpy as np

from ..deferring import defer
from ..op import (
    Dim,
    Link,
    Moved,
    Op,
    Operand,
    Perm,
    Shape,
    Size,
    Value,
    agree,
    broadcast,
    case,
    exports,
    imports,
    invert,
    op,
    product,
)  # fmt: skip
from .promotion import as_value
from .shape import Reshape, with_axes
from .transpose import Transpose


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
        back = invert(full)
        return Moved(Expand(shape=tuple(self.shape[b] for b in back)), (perm,), (full,))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        extra = len(self.shape) - inputs[0].rank
        return [Link({0: a}, a + extra) for a in range(inputs[0].rank) if inputs[0].shape[a] != 1]


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
    if agree(x.shape, tuple(shape)):
        return x
    while x.node is not None and isinstance(x.node.op, Expand):
        x = x.node.inputs[0]  # type: ignore[assignment]
    return Expand(shape=tuple(shape))(x)


def filled(graph: Any, shape: Shape, number: Any, dtype: Any) -> Value:
    """One number everywhere: a constant, or its expansion where a size is known only at run time.

    number: of Python, a size, or a Value without axes.
    """
    if isinstance(number, Size):
        number = graph.of_sizes(number)
    return expanded(number.cast(dtype) if isinstance(number, Value) else graph.constant(np.asarray(number).astype(dtype)), shape)


# --- broadcasting -----------------------------------------------------------------------------------------------------


@imports("torch", "aten.expand.default", "aten.broadcast_to.default")
def expand_from_torch(call, x, shape, implicit=False):
    kept = (1,) * (len(shape) - x.rank) + x.shape
    return expanded(x, tuple(k if d == -1 else d for d, k in zip(shape, kept, strict=True)))


@imports("torch", "aten.expand_as.default")
def expand_as_from_torch(call, x, other):
    return expanded(x, other.shape)


@imports("keras", "ops.BroadcastTo")
def expand_from_keras(call, x):
    return expanded(x, broadcast(x.shape, tuple(call.shape)))


@imports("keras", "RepeatVector")
def repeat_vector_from_keras(layer, x):
    return expanded(with_axes(x, [1]), (x.shape[0], layer.n, x.shape[1]))


@imports("onnx", "Expand")
def expand_from_onnx(node, x, shape):
    return expanded(x, broadcast(x.shape, node.sizes(shape)))


@exports("torch", Expand)
def expand_to_torch(op, torch, x):
    if not isinstance(x, bool | int | float):
        kept = (None,) * (len(op.shape) - torch.inputs[0].rank) + torch.inputs[0].shape
        return x.expand(
            [-1 if k is not None and agree(d, k) else torch.size(d) for d, k in zip(op.shape, kept, strict=True)]
        )
    sizes, dtype = [torch.size(d) for d in op.shape], torch.outputs[0].dtype
    like = next((torch.made[id(v)] for v in torch.graph.inputs if v.dtype == dtype and dtype.kind in "fV"), None)
    if like is not None:  # where the network is cast, these numbers are too
        return like.new_full(sizes, x)
    return torch.call(torch.full, sizes, x, dtype=torch.torch_dtype(dtype))


@exports("onnx", Expand)
def expand_to_onnx(op, onnx, x):
    if isinstance(x, bool | int | float):
        value = np.array([x]).astype(onnx.outputs[0].dtype)
        return onnx.ConstantOfShape(onnx.sizes(op.shape), value=value)
    kept = (1,) * (len(op.shape) - onnx.inputs[0].rank) + onnx.inputs[0].shape
    return onnx.Expand(x, onnx.sizes(1 if agree(d, k) else d for d, k in zip(op.shape, kept, strict=True)))


@exports("keras", Expand)
def expand_to_keras(op, keras, x):
    before = keras.inputs[0].shape
    if isinstance(x, bool | int | float):
        x, before = np.full((1,) * len(op.shape), x, keras.outputs[0].dtype), (1,) * len(op.shape)
    elif len(before) < len(op.shape):
        extra = len(op.shape) - len(before)
        x, before = keras.ops.expand_dims(x, tuple(range(extra))), (1,) * extra + before
    for axis, (old, new) in enumerate(zip(before, op.shape, strict=True)):
        if not agree(old, new):  # Keras broadcasts to known shapes only; picking entry 0 as often as needed is the same
            x = keras.ops.repeat(x, new, axis) if isinstance(new, int) else keras.ops.take(x, keras.zeros(new), axis)
    return x


# --- filling ----------------------------------------------------------------------------------------------------------


def _torch_dtype(number: Any, dtype: Any) -> Any:
    """What torch makes of a number without a dtype."""
    kinds = {bool: np.bool_, int: np.int64, float: np.float32, Size: np.int64}
    return dtype or (number.dtype if isinstance(number, Value) else kinds[type(number)])


@imports("torch", "aten.full.default")
def full_from_torch(call, shape, number, dtype, *_):
    return filled(call.graph, shape, number, _torch_dtype(number, dtype))


@imports("torch", "aten.scalar_tensor.default")
def scalar_tensor_from_torch(call, number, dtype, *_):
    return filled(call.graph, (), number, dtype or np.float32)


@imports("torch", "aten.zeros.default", "aten.empty.memory_format")
def zeros_from_torch(call, shape, dtype, *_):
    return filled(call.graph, shape, 0, dtype or np.float32)


@imports("torch", "aten.ones.default")
def ones_from_torch(call, shape, dtype, *_):
    return filled(call.graph, shape, 1, dtype or np.float32)


@imports("torch", "aten.full_like.default")
def full_like_from_torch(call, x, number, dtype, *_):
    return filled(call.graph, x.shape, number, dtype or x.dtype)


@imports("torch", "aten.zeros_like.default", "aten.empty_like.default")
def zeros_like_from_torch(call, x, dtype, *_):
    return filled(call.graph, x.shape, 0, dtype or x.dtype)


@imports("torch", "aten.ones_like.default")
def ones_like_from_torch(call, x, dtype, *_):
    return filled(call.graph, x.shape, 1, dtype or x.dtype)


@imports("torch", "aten.empty_strided.default", "aten.empty_permuted.default")
def empty_from_torch(call, shape, order, dtype, *_):
    """Whatever stands in memory: nobody may read it before it is written over."""
    return filled(call.graph, shape, 0, dtype or np.float32)


@imports("torch", "aten.new_empty_strided.default")
def new_empty_from_torch(call, x, shape, strides, dtype, *_):
    return filled(call.graph, shape, 0, dtype or x.dtype)


@imports("torch", "aten.new_zeros.default", "aten.new_empty.default")
def new_zeros_from_torch(call, x, shape, dtype, *_):
    return filled(call.graph, shape, 0, dtype or x.dtype)


@imports("torch", "aten.new_ones.default")
def new_ones_from_torch(call, x, shape, dtype, *_):
    return filled(call.graph, shape, 1, dtype or x.dtype)


@imports("torch", "aten.new_full.default")
def new_full_from_torch(call, x, shape, number, dtype, *_):
    return filled(call.graph, shape, number, dtype or x.dtype)


@imports("torch", "aten.zero.default")
def zero_from_torch(call, x):
    return filled(call.graph, x.shape, 0, x.dtype)


@imports("torch", "aten.fill.Scalar", "aten.fill.Tensor")
def fill_from_torch(call, x, number):
    return expanded(as_value(call, number, x.dtype), x.shape)


@imports("torch", "aten.copy.default")
def copy_from_torch(call, x, source, *_):
    return expanded(source.cast(x.dtype), x.shape)


@imports("keras", "ops.ZerosLike", "ops.EmptyLike")
def zeros_like_from_keras(call, x, *_, dtype=None):
    return filled(call.graph, x.shape, 0, dtype or call.dtype or x.dtype)


@imports("keras", "ops.OnesLike")
def ones_like_from_keras(call, x, dtype=None):
    return filled(call.graph, x.shape, 1, dtype or call.dtype or x.dtype)


@imports("keras", "ops.FullLike")
def full_like_from_keras(call, x, number):
    """An array's last axes keep their own sizes on torch, which repeats it along those before alone."""
    number = as_value(call, number, call.dtype or x.dtype)
    before = len(x.shape) - number.rank
    return expanded(number, (*x.shape[:before], *(number.shape if call.backend == "torch" else x.shape[before:])))


@imports("keras", "ops.Full")
def full_from_keras(call, number):
    number = as_value(call, number)
    return expanded(number.cast(call.stated[0]), call.shape)


@imports("onnx", "ConstantOfShape")
def full_from_onnx(node, shape):
    value = np.zeros(1, np.float32) if node.value is None else node.value
    if shape.content() is None:
        return defer(node, "Expand", node.graph.constant(value.reshape(())), shape, attributes={})
    return filled(node.graph, node.sizes(shape), value.reshape(()), value.dtype)


case("expand/rows_and_planes", Expand(shape=(2, 3, 4, 5)), (2, 3, 1, 5))
case("expand/new_axes", Expand(shape=(2, 3, 4)), (4,))
case("expand/int64", Expand(shape=(2, 3)), Operand((2, 1), dtype="int64"))
