"""Means over sliding windows. See pool.py for what all pools share.

| field    | keras                  | torch                     | onnx                                      |
|----------|------------------------|---------------------------|-------------------------------------------|
| counted  | none: pads never count | count_include_pad, True   | count_include_pad, 0                      |
| pads     | valid or "same"        | one number a side         | begins, then ends                         |
| dilation | no                     | no                        | from opset 19 on                          |

Keras on the torch backend computes a mean with uneven "same" pads wrongly: what is written is right everywhere.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Operand, Shape, Value, agree, exports, imports, op
from .math import Mul
from .pool import (
    SHARED,
    SLICES,
    Pool,
    begins,
    keras_window,
    matlab_window,
    old_opset,
    onnx_settings,
    onnx_window,
    open_pads,
    pool_case,
    torch_padding,
    torch_window,
    used,
    window_for_matlab,
)  # fmt: skip
from .precision import floats_only
from .window import Pads, batched, ceil_pads, even, fixed, is_same, no_pads


@op
class AveragePool(Pool):
    """The mean of every window. Of the pads, `counted` are elements of value zero, the others no elements at all."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: Pads
    counted: Pads
    dilations: tuple[int, ...]
    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        wide = x.astype(np.float32 if x.dtype.itemsize < 4 else x.dtype)
        total = self.over(np.pad(wide, ((0, 0), (0, 0), *self.pads)), np.add)
        return (total / self.elements(x.shape[2:]).astype(wide.dtype)).astype(x.dtype)

    def elements(self, sizes: tuple[int, ...]) -> np.ndarray:
        """How many elements each window has, as an array of shape (1, 1, *counts)."""
        ones = np.pad(np.ones((1, 1, *sizes), np.int64), ((0, 0), (0, 0), *self.counted), constant_values=1)
        return self.over(np.pad(ones, ((0, 0), (0, 0), *self.uncounted())), np.add)

    def uncounted(self) -> Pads:
        """The pads that are no elements."""
        return tuple((b - x, a - y) for (b, a), (x, y) in zip(self.pads, self.counted, strict=True))

    def length(self, *arrays: np.ndarray) -> int:
        return int(np.prod(self.kernel))


# --- importing --------------------------------------------------------------------------------------------------------


def average_pool(
    x: Value, kernel: Any, strides: Any, pads: Pads, dilations: Any, ceil: bool, count_pads: bool
) -> Value:
    """The means, as a framework's settings ask for them."""
    counted = pads if count_pads else no_pads(len(pads))
    if ceil:
        pads = ceil_pads(x.shape[2:], kernel, strides, dilations, pads)
    return AveragePool(
        kernel=tuple(kernel), strides=tuple(strides), pads=pads, counted=counted, dilations=tuple(dilations)
    )(x)


@imports("torch", "aten.avg_pool1d.default", "aten.avg_pool2d.default", "aten.avg_pool3d.default")
@batched
def average_pool_from_torch(call, x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override=None):
    kernel, strides, pads = torch_window(x, kernel, stride, padding)
    plain = (1,) * len(kernel)
    y = average_pool(x, kernel, strides, pads, plain, ceil_mode, count_include_pad)
    if divisor_override is None:
        return y
    if x.dtype.kind in "iu":
        raise Refused("a mean of integers with a divisor of its own", why="it is rounded once, after the sum", hint="Cast to float32")
    if ceil_mode:
        pads = ceil_pads(x.shape[2:], kernel, strides, plain, pads)
    whole = average_pool(x, kernel, strides, pads, plain, False, True)
    return Mul()(whole, float(np.prod(kernel)) / divisor_override)


@imports("chainer", "AveragePooling2D")
def average_pool_from_chainer(call, x):
    """Every pad counts."""
    if call.cover_all:
        raise Refused("an average over windows that cover all", why="Chainer itself leaves those out on the CPU")
    kernel, strides, pads = (call.kh, call.kw), (call.sy, call.sx), ((call.ph, call.ph), (call.pw, call.pw))
    return average_pool(x, kernel, strides, pads, (1, 1), False, True)


@imports("keras", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "ops.AveragePool", channels_last=True)
def average_pool_from_keras(layer, x):
    return average_pool(x, *keras_window(layer, x), False, False)


@imports("onnx", "AveragePool")
def average_pool_from_onnx(node, x):
    count = node.has("count_include_pad") and node.count_include_pad
    return average_pool(x, *onnx_window(node, x), bool(count))


@imports("matlab", "averagePooling2dLayer", channels_last=True)
def average_pool_from_matlab(layer, x):
    """PaddingValue 0, the default, counts the pads; "mean" leaves them out of the mean."""
    kernel, strides, pads, plain = matlab_window(layer, x)
    if layer.PaddingValue not in (0, "mean"):
        raise layer.refuse(f"PaddingValue {layer.PaddingValue!r}", "only 0 and 'mean' are read")
    return average_pool(x, kernel, strides, pads, plain, False, layer.PaddingValue == 0)


# --- exporting --------------------------------------------------------------------------------------------


@exports("torch", AveragePool)
def average_pool_to_torch(op, torch, x):
    spatial, sizes = len(op.kernel), torch.inputs[0].shape[2:]
    if max(op.dilations) == 1:
        counts_pads = any(pair != (0, 0) for pair in op.counted)
        native = torch_padding(op, sizes, op.counted if counts_pads else begins(op.pads))
        if native is not None:
            padding, ceil = native
            return torch.place(
                getattr(torch.nn, f"AvgPool{spatial}d")(op.kernel, op.strides, padding, ceil, counts_pads)
            )(x)

    def padded(y: Any, pads: Pads, value: float) -> Any:
        return torch.nn.functional.pad(y, [torch.size(p) for pair in reversed(pads) for p in pair], value=value)

    def pooled(y: Any) -> Any:
        if max(op.dilations) > 1:
            return op.over(y, lambda a, b: a + b) / int(np.prod(op.kernel))
        return getattr(torch.nn.functional, f"avg_pool{spatial}d")(y, op.kernel, op.strides)

    factor = share(op, sizes, torch.inputs[0].dtype)
    held = None if factor is None else torch.tensor(torch.graph.constant(factor))
    return averaged(op, x, padded, pooled, held, lambda: torch.ones_like(x[:1, :1]))


def averaged(op: AveragePool, x: Any, padded: Any, pooled: Any, factor: Any, ones: Callable[[], Any]) -> Any:
    """The mean out of a framework's own mean over zero padding, which counts every pad, corrected where some do not."""
    mean = pooled(padded(x, op.pads, 0.0))
    if agree(op.counted, op.pads):
        return mean
    if factor is not None:
        return mean * factor
    return mean / pooled(padded(padded(ones(), op.counted, 1.0), op.uncounted(), 0.0))


def share(op: AveragePool, sizes: Shape, dtype: Any) -> np.ndarray | None:
    """Window size over counted elements, of every window; None where the sizes are open."""
    if not all(isinstance(n, int) for n in sizes) or not fixed(op.pads):
        return None
    return (np.prod(op.kernel) / op.elements(sizes)).astype(dtype)


@exports("matlab", AveragePool, channels_last=True)
def average_pool_to_matlab(op, matlab, x):
    if op.counted not in (op.pads, no_pads(2)):
        why = "MATLAB counts all pads or none"
        raise matlab.refuse(f"a mean over pads {op.pads}, of which {op.counted} count", why=why, instead="Avoid ceil mode")
    value = 0.0 if op.counted == op.pads else "mean"
    return matlab.layer("averagePooling2dLayer", x, PaddingValue=value, **window_for_matlab(op, matlab))


@exports("keras", AveragePool, channels_last=True)
def average_pool_to_keras(op, keras, x):
    floats_only(keras, "a mean over windows")
    spatial, port = len(op.kernel), keras.inputs[0]
    sizes, plain = port.shape[2:], max(op.dilations) == 1
    bare = all(pair == (0, 0) for pair in op.counted)
    pads = used(op, sizes) if bare else op.pads
    same = bare and is_same(op.pads, sizes, op.kernel, op.strides, op.dilations)
    if plain and (all(pair == (0, 0) for pair in pads) or (same and even(pads))):
        padding = "same" if any(pair != (0, 0) for pair in pads) else "valid"
        return keras.place(getattr(keras.layers, f"AveragePooling{spatial}D")(op.kernel, op.strides, padding))(x)
    if not fixed(pads):  # Keras on torch averages uneven "same" pads wrongly: sum by a convolution, which it pads rightly
        if not (same and plain and spatial < 3 and len(set(op.strides)) == 1):
            raise open_pads(keras, pads)
        return sums(op, keras, x, port.shape[1]) / sums(op, keras, keras.ops.ones_like(x[..., :1]), 1)

    def padded(y: Any, pads: Pads, value: float) -> Any:
        if value:
            return keras.ops.pad(y, ((0, 0), *pads, (0, 0)), "constant", value)
        return keras.place(getattr(keras.layers, f"ZeroPadding{spatial}D")(pads if spatial > 1 else pads[0]), part="pad")(y)

    def pooled(y: Any) -> Any:
        if not plain:
            return op.over(y, keras.ops.add, first=1) / int(np.prod(op.kernel))
        return keras.place(getattr(keras.layers, f"AveragePooling{spatial}D")(op.kernel, op.strides, "valid"))(y)

    fitted = dataclasses.replace(op, pads=pads)
    factor = share(fitted, sizes, port.dtype)
    held = None if factor is None else factor.transpose(0, *range(2, spatial + 2), 1)
    return averaged(fitted, x, padded, pooled, held, lambda: keras.ops.ones_like(x[:1, ..., :1]))


def sums(op: AveragePool, keras: Any, x: Any, channels: int) -> Any:
    """The mean over windows padded with zeros as 'same' does, every pad counted."""
    kernel = np.full((*op.kernel, channels, 1), 1 / np.prod(op.kernel), keras.inputs[0].dtype)
    return keras.ops.depthwise_conv(x, kernel, op.strides, "same", "channels_last")


@exports("onnx", AveragePool)
def average_pool_to_onnx(op, onnx, x):
    whole = agree(op.counted, op.pads)
    settings = onnx_settings(op, onnx)
    if any(pair != (0, 0) for pair in op.counted) and (not whole or settings is None):
        begins, ends = ([pair[side] for pair in op.counted] for side in (0, 1))
        x = onnx.Pad(x, onnx.sizes([0, 0, *begins, 0, 0, *ends]))
        sizes = tuple(n + sum(p) for n, p in zip(onnx.inputs[0].shape[2:], op.counted, strict=True))
        op = dataclasses.replace(op, pads=op.uncounted(), counted=no_pads(len(op.pads)))
        whole, settings = False, onnx_settings(op, onnx, sizes)
    if settings is None:
        raise onnx.refuse(
            f"an average over windows padded by {op.pads} that do not count",
            why="ONNX pads a pool by less than its window, and by numbers known in advance",
            instead="Fix the size with input_shapes",
        )
    dilations = list(op.dilations) if max(op.dilations) > 1 else None
    if dilations is not None and onnx.opset < 19:
        raise old_opset(onnx, "dilated average pooling", 19)
    return onnx.AveragePool(
        x, kernel_shape=list(op.kernel), strides=list(op.strides), dilations=dilations,
        count_include_pad=int(whole and any(pair != (0, 0) for pair in op.pads)), **settings,
    )  # fmt: skip


# --- cases ------------------------------------------------------------------------------------------------------------

UNEVEN = "comes back as Pad, AveragePool, Mul: a mean over uneven pads that do not count"


def _case(name: str, x: Any, kernel: tuple[int, ...], differences: Any = None, **fields: Any) -> None:
    fields = {"counted": no_pads(len(kernel)), **fields}
    pool_case(AveragePool, f"average_pool/{name}", x, kernel, differences, **fields)


for _name, _x, _kernel, _fields in SHARED:
    _case(_name, _x, _kernel, **_fields)
_case(
    "float64", Operand((2, 3, 7, 8), dtype="float64"), (2, 3),
    {"refused": {"onnx": "onnxruntime has no kernel for a mean in float64"}}, strides=(1, 2),
)  # fmt: skip
_keras, _torch = {"composed": {"keras": UNEVEN}}, {"composed": {"keras": UNEVEN, "torch": UNEVEN}}
_case("same_uneven", (2, 3, 8, 8), (3, 3), _keras, strides=(2, 2), pads=((0, 1), (0, 1)))
_case("stride_one_same", (2, 3, 5, 6), (2, 2), _torch, strides=(1, 1), pads=((0, 1), (0, 1)))
_case("pads_before", (2, 3, 5, 6), (3, 2), _torch, strides=(1, 2), pads=((2, 0), (1, 1)))
_case("ceil_with_pads", (2, 3, 8, 6), (3, 3), _keras, strides=(2, 2), pads=((1, 2), (1, 2)))
_case("counted", (2, 3, 7, 6), (3, 2), strides=(2, 2), pads=((1, 1), (1, 1)), counted=((1, 1), (1, 1)))
_case("counted_uneven", (2, 3, 7, 6), (3, 2), pads=((2, 1), (0, 1)), counted=((2, 1), (0, 1)))
_case(
    "counted_ceil", (2, 3, 8, 6), (3, 3), {"composed": {"keras": UNEVEN, "onnx": "comes back as Pad, AveragePool"}},
    strides=(2, 2), pads=((1, 2), (1, 2)), counted=((1, 1), (1, 1)),
)  # fmt: skip
_slices = {"composed": {"keras": SLICES, "torch": SLICES}}
_case("dilated", (2, 3, 9, 8), (3, 2), _slices, strides=(2, 1), dilations=(2, 3))
_case("dilated_padded", (2, 3, 9, 8), (3, 2), _slices, strides=(2, 1), dilations=(2, 3), pads=((1, 2), (0, 1)))
