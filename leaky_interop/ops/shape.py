"""Operators that move numbers without computing on them: transposes, reshapes, casts.

| meaning   | keras                  | torch                        | onnx      |
|-----------|------------------------|------------------------------|-----------|
| Transpose | Permute, ops.transpose | permute, transpose, .T       | Transpose |
| Reshape   | Reshape, Flatten       | reshape, view, flatten       | Reshape, Flatten, Squeeze, Unsqueeze |
| Cast      | ops.cast               | to, type                     | Cast      |
"""

from typing import Any

import numpy as np

from ..op import Dim, Moved, Op, Parameter, Perm, Shape, Value, agree, case, exports, imports, op, product, symbols


@op
class Transpose(Op):
    """Axis i of the result is axis perm[i] of the input."""

    perm: tuple[int, ...]
    tolerance = "exact"
    symbolic = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        if sorted(self.perm) != list(range(x.rank)):
            raise ValueError(f"{self} does not permute the {x.rank} axes of {x!r}")
        return [(tuple(x.shape[p] for p in self.perm), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0].transpose(self.perm)

    def view(self, *inputs: Value | None) -> Parameter | None:
        return inputs[0].const.transpose(*self.perm) if inputs[0].const is not None else None


@op
class Reshape(Op):
    """The same numbers in row-major order under another shape; sizes that are known only at run time are expressions."""

    shape: tuple[Dim, ...]
    tolerance = "exact"
    symbolic = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        if not agree(product(x.shape), product(self.shape)):
            raise ValueError(f"{self} does not hold the elements of {x!r}")
        return [(self.shape, x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0].reshape(self.shape)

    def view(self, *inputs: Value | None) -> Parameter | None:
        return inputs[0].const.reshape(*self.shape) if inputs[0].const is not None else None  # type: ignore[arg-type]

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        """Groups of axes that are merged or split may trade places; within a group the order must stay."""
        (x,) = inputs
        groups = axis_groups(x.shape, self.shape)
        if groups is None:
            return None
        order = [axis for axis in perm if x.shape[axis] != 1]  # the axes that matter, as they come in
        places, last = [], -1
        for ins, _ in groups:
            moving = [axis for axis in ins if x.shape[axis] != 1]
            if moving:
                last = order.index(moving[0])
                if order[last : last + len(moving)] != moving:
                    return None
            places.append(last)
        ranked = sorted(range(len(groups)), key=lambda g: places[g])
        axes = [axis for g in ranked for axis in groups[g][1]]
        back = tuple(int(i) for i in np.argsort(axes))
        return Moved(Reshape(shape=tuple(self.shape[a] for a in axes)), (perm,), (back,))


def axis_groups(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Which axes of `before` become which axes of `after`: the smallest groups with equal products, or None."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) and j < len(after):
        ins, outs, left, right = [i], [j], before[i], after[j]
        i, j = i + 1, j + 1
        while not agree(left, right):
            if _grows(left, right) and i < len(before):
                ins.append(i)
                left, i = left * before[i], i + 1
            elif _grows(right, left) and j < len(after):
                outs.append(j)
                right, j = right * after[j], j + 1
            else:
                return None
        groups.append((ins, outs))
    if not groups:
        return None
    groups[-1][0].extend(range(i, len(before)))  # what is left has size 1
    groups[-1][1].extend(range(j, len(after)))
    return groups


def _grows(part: Dim, whole: Dim) -> bool:
    """Whether `part` is the side of a group that still lacks factors."""
    if isinstance(part, int) and isinstance(whole, int):
        return part < whole
    if symbols(part) != symbols(whole):
        return symbols(part) < symbols(whole)
    return agree(whole // part * part, whole)


@op
class Cast(Op):
    """The numbers in another dtype: float to integer truncates, to bool asks whether it is not zero."""

    dtype: str
    tolerance = "exact"
    symbolic = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        from ..numeric import dtype

        return [(inputs[0].shape, dtype(self.dtype))]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        from ..numeric import dtype

        return arrays[0] if arrays[0].dtype == object else arrays[0].astype(dtype(self.dtype))

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(self, (perm,), (perm,))


# --- transpose --------------------------------------------------------------------------------------------------------


@imports("torch", "aten.permute.default")
def transpose_from_torch(call, x, dims):
    return x.transpose(*(d % x.rank for d in dims))


@imports("torch", "aten.transpose.int")
def swapped_axes_from_torch(call, x, first, second):
    perm = list(range(x.rank))
    perm[first], perm[second] = perm[second], perm[first]
    return x.transpose(*perm)


@imports("torch", "aten.t.default", "aten.numpy_T.default")
def reversed_axes_from_torch(call, x):
    return x.transpose(*reversed(range(x.rank)))


@imports("keras", "Permute")
def permute_from_keras(layer, x):
    return x.transpose(0, *layer.dims)


@imports("keras", "ops.Transpose")
def transpose_from_keras(call, x):
    return x.transpose(*(reversed(range(x.rank)) if call.axes is None else (a % x.rank for a in call.axes)))


@imports("onnx", "Transpose")
def transpose_from_onnx(node, x):
    return x.transpose(*(node.perm or reversed(range(x.rank))))


@exports("torch", Transpose)
def transpose_to_torch(op, torch, x):
    return x.permute(*op.perm)


@exports("onnx", Transpose)
def transpose_to_onnx(op, onnx, x):
    return onnx.Transpose(x, perm=list(op.perm))


@exports("keras", Transpose)
def transpose_to_keras(op, keras, x):
    if op.perm[0] == 0:
        return keras.place(keras.layers.Permute(op.perm[1:]))(x)
    return keras.ops.transpose(x, op.perm)


# --- reshape ----------------------------------------------------------------------------------------------------------


@imports("torch", "aten.view.default", "aten.reshape.default", "aten._unsafe_view.default")
def reshape_from_torch(call, x, shape):
    return x.reshape(*known_shape(x, shape))


@imports("torch", "aten.flatten.using_ints")
def flatten_from_torch(call, x, start, end):
    start, end = (axis % max(x.rank, 1) for axis in (start, end))
    return x.reshape(*x.shape[:start], product(x.shape[start : end + 1]), *x.shape[end + 1 :])


@imports("keras", "Flatten")
def flatten_from_keras(layer, x):
    if layer.data_format == "channels_first" and x.rank > 2:  # Keras flattens channels-last whatever the data format
        x = x.transpose(0, *range(2, x.rank), 1)
    return x.reshape(x.shape[0], product(x.shape[1:]))


@imports("keras", "Reshape")
def reshape_layer_from_keras(layer, x):
    return x.reshape(x.shape[0], *known_shape(x, (x.shape[0], *layer.target_shape))[1:])


@imports("onnx", "Reshape", since=5)
def reshape_from_onnx(node, x, shape):
    return x.reshape(*known_shape(x, node.sizes(shape), zero_copies=not getattr(node, "allowzero", 0)))


@imports("onnx", "Flatten")
def flatten_from_onnx(node, x):
    axis = node.axis % (x.rank + 1) if node.axis < 0 else node.axis
    return x.reshape(product(x.shape[:axis]), product(x.shape[axis:]))


def known_shape(x: Value, shape: tuple[Dim, ...], zero_copies: bool = False) -> tuple[Dim, ...]:
    """A requested shape with its -1 computed, and its 0 copied where that is the rule."""
    sizes = [x.shape[i] if zero_copies and d == 0 else d for i, d in enumerate(shape)]
    if -1 in sizes:
        sizes[sizes.index(-1)] = product(x.shape) // product(s for s in sizes if s != -1)
    return tuple(sizes)


@exports("torch", Reshape)
def reshape_to_torch(op, torch, x):
    if op.shape[1:] == (product(torch.inputs[0].shape[1:]),) and op.shape[:1] == torch.inputs[0].shape[:1]:
        return x.flatten(1)
    return x.reshape(torch.shape(op.shape))


@exports("onnx", Reshape)
def reshape_to_onnx(op, onnx, x):
    if op.shape[1:] == (product(onnx.inputs[0].shape[1:]),) and op.shape[:1] == onnx.inputs[0].shape[:1]:
        return onnx.Flatten(x, axis=1)
    return onnx.Reshape(x, onnx.shape(op.shape))


@exports("keras", Reshape)
def reshape_to_keras(op, keras, x):
    before = keras.inputs[0].shape
    if op.shape[:1] == before[:1] and len(op.shape) > 1:
        if op.shape[1:] == (product(before[1:]),) and len(before) > 1:
            return keras.place(keras.layers.Flatten())(x)
        return keras.place(keras.layers.Reshape(keras.static_shape(op.shape)[1:]))(x)
    return keras.ops.reshape(x, keras.static_shape(op.shape))


# --- cast -------------------------------------------------------------------------------------------------------------


@imports("torch", "aten.to.dtype", "aten._to_copy.default", "aten.type_as.default")
def cast_from_torch(call, x, dtype, *_):
    return x.cast(dtype.dtype if isinstance(dtype, Value) else dtype)


@imports("keras", "ops.Cast")
def cast_from_keras(call, x, dtype=None):
    return x.cast(call.dtype if dtype is None else dtype)


@imports("onnx", "Cast", since=6)
def cast_from_onnx(node, x):
    return x.cast(node.dtype(node.to))


@exports("torch", Cast)
def cast_to_torch(op, torch, x):
    return x.to(torch.torch_dtype(op.dtype))


@exports("onnx", Cast)
def cast_to_onnx(op, onnx, x):
    return onnx.Cast(x, to=onnx.element_type(op.dtype))


@exports("keras", Cast)
def cast_to_keras(op, keras, x):
    return keras.ops.cast(x, op.dtype)


case("transpose/nchw_to_nhwc", Transpose(perm=(0, 2, 3, 1)), (2, 3, 4, 5))
case("transpose/batch_moves", Transpose(perm=(1, 2, 0)), (2, 3, 4))
case("reshape/flatten", Reshape(shape=(2, 60)), (2, 3, 4, 5))
case("reshape/split", Reshape(shape=(2, 3, 5, 4)), (2, 60))
case("reshape/batch_merges", Reshape(shape=(6, 4)), (2, 3, 4))
case("cast/to_int32", Cast(dtype="int32"), (2, 3))
case("cast/to_float64", Cast(dtype="float64"), (2, 3))
