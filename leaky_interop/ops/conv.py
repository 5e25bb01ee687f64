"""Convolutions of any rank. Data is (N, C, *spatial), the kernel (out, in / groups, *spatial), pads are explicit pairs.

| field     | keras                                | torch                | onnx                |
|-----------|--------------------------------------|----------------------|---------------------|
| kernel    | (*spatial, in / groups, out)         | canonical            | canonical           |
| pads      | "same": as even as possible, rest at the end | one number a side | begins, then ends |
| "same"    | depends on the size: ceil(size / stride) | stride 1 only    | auto_pad            |
| groups    | from the kernel's shape              | groups               | group               |

One filter or more per channel (groups == in) is a layer of its own in Keras: see depthwise.py.
"""

import dataclasses
import math
from typing import Any

import numpy as np

from ..op import Link, Op, Operand, Shape, Value, agree, case, exports, imports, op, weight
from .by_example import conv_by_example
from .pad import pad
from .precision import floats_only
from .promotion import as_value
from .window import (
    Pads,
    batched,
    counts,
    covering_pads,
    even,
    fixed,
    flat_pads,
    is_same,
    no_pads,
    pads_from_matlab,
    pads_from_onnx,
    same_pads,
    sides_for_matlab,
    spread,
    windows,
)  # fmt: skip

BLOCK = 2**17  # numbers of windows that are laid out at a time: a processor's cache holds them


@op
class Conv(Op):
    """Cross-correlation: each output is the sum of a window times the kernel, plus a bias per output channel."""

    strides: tuple[int, ...]
    pads: Pads
    dilations: tuple[int, ...]
    groups: int
    tolerance = "sum"
    weights = (1, 2)

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        x, kernel, _ = inputs
        if not agree(x.shape[1], kernel.shape[1] * self.groups):
            raise ValueError(
                f"{self} with kernel {kernel.shape} takes {kernel.shape[1] * self.groups} channels, not {x!r}"
            )
        sizes = counts(x.shape[2:], kernel.shape[2:], self.strides, self.dilations, self.pads)
        return [((x.shape[0], kernel.shape[0], *sizes), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, kernel, bias = arrays
        wide = np.float32 if x.dtype.itemsize < 4 else x.dtype
        padded = np.pad(x.astype(wide), ((0, 0), (0, 0), *self.pads))
        view = windows(padded, kernel.shape[2:], self.strides, self.dilations)
        batch, channels, *out = view.shape[: x.ndim]
        inner, count = channels // self.groups, x.ndim - 2
        view = view.reshape(batch, self.groups, inner, *out, *kernel.shape[2:])
        order = (0, 1, 2, *range(3 + count, 3 + 2 * count), *range(3, 3 + count))
        matrix = kernel.astype(wide).reshape(self.groups, kernel.shape[0] // self.groups, -1)
        y = np.empty((batch, *matrix.shape[:2], *out), wide)
        axis = next((a for a, size in enumerate(out) if 2 * size >= max(out)), 0)  # the first long one is taken in parts
        each = math.prod((self.groups, matrix.shape[2], *out[:axis], *out[axis + 1 :]))
        rows = max(1, BLOCK // max(1, each))
        for sample, result in zip(view.transpose(order), y, strict=True):
            for start in range(0, out[axis], rows):
                part = (..., slice(start, start + rows), *(slice(None),) * (count - 1 - axis))
                size = sample[part].shape[-count:]
                columns = sample[part].reshape(self.groups, matrix.shape[2], math.prod(size))
                result[part] = (matrix @ columns).reshape(*matrix.shape[:2], *size)
        y = y.reshape(batch, kernel.shape[0], *out)
        if bias is not None:
            y = y + bias.astype(wide).reshape(-1, *(1,) * count)
        return y.astype(x.dtype)

    def length(self, *arrays: np.ndarray) -> int:
        return int(np.prod(arrays[1].shape[1:])) + (arrays[2] is not None)

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        if self.groups > 1:
            return []
        made = {1: 0} if inputs[2] is None else {1: 0, 2: 0}
        return [Link({0: 1, 1: 1}, None), Link(made, 1)]


# --- torch ------------------------------------------------------------------------------------------------------------


@imports("torch", "aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default")
@batched
def conv_from_torch(call, x, kernel, bias, stride, padding, dilation, groups):
    if not isinstance(groups, int):
        return conv_by_example(x, kernel, bias, stride, padding, dilation, groups)
    spatial = kernel.rank - 2
    pads = tuple((p, p) for p in spread(padding, spatial))
    op = Conv(strides=spread(stride, spatial), pads=pads, dilations=spread(dilation, spatial), groups=groups)
    return op(x, kernel, bias)


@imports("torch", "aten.conv1d.padding", "aten.conv2d.padding", "aten.conv3d.padding")
@batched
def conv_from_torch_by_name(call, x, kernel, bias, stride, padding, dilation, groups):
    """padding is "valid" or "same"; the latter only with stride 1, where the odd pad also goes to the end."""
    spatial = kernel.rank - 2
    strides, dilations = spread(stride, spatial), spread(dilation, spatial)
    reach = [(k - 1) * d for k, d in zip(kernel.shape[2:], dilations, strict=True)]
    pads = tuple((r // 2, r - r // 2) for r in reach) if padding == "same" else no_pads(spatial)
    return Conv(strides=strides, pads=pads, dilations=dilations, groups=groups)(x, kernel, bias)


@exports("torch", Conv)
def conv_to_torch(op, torch, x, kernel, bias):
    spatial = len(op.strides)
    padding = tuple(before for before, _ in op.pads)
    if not even(op.pads):
        x = torch.nn.functional.pad(x, [torch.size(p) for pair in reversed(op.pads) for p in pair])
        padding = (0,) * spatial
    if not torch.holds(kernel, bias):
        function = getattr(torch.nn.functional, f"conv{spatial}d")
        return function(x, torch.tensor(kernel), torch.tensor(bias), op.strides, padding, op.dilations, op.groups)
    conv = getattr(torch.nn, f"Conv{spatial}d")(
        kernel.shape[1] * op.groups, kernel.shape[0], kernel.shape[2:], op.strides, padding, op.dilations, op.groups,
        bias=bias is not None,
    )  # fmt: skip
    return torch.place(conv, weight=kernel, bias=bias)(x)


# --- chainer ----------------------------------------------------------------------------------------------------------


@imports("chainer", "Convolution2DFunction")
def conv_from_chainer(call, x, kernel, bias=None):
    strides, padding, dilations = (call.sy, call.sx), (call.ph, call.pw), (call.dy, call.dx)
    pads = covering_pads(x.shape[2:], kernel.shape[2:], strides, dilations, padding, call.cover_all)
    return Conv(strides=strides, pads=pads, dilations=dilations, groups=call.groups)(x, kernel, bias)


@imports("chainer", "ConvolutionND")
def conv_of_any_rank_from_chainer(call, x, kernel, bias=None):
    spatial = call.ndim
    strides, dilations = spread(call.stride, spatial), spread(call.dilate, spatial)
    pads = covering_pads(
        x.shape[2:], kernel.shape[2:], strides, dilations, spread(call.pad, spatial), call.cover_all
    )
    return Conv(strides=strides, pads=pads, dilations=dilations, groups=call.groups)(x, kernel, bias)


# --- keras ------------------------------------------------------------------------------------------------------------


def keras_window(layer: Any, sizes: Shape, kernel: Any) -> dict[str, Any]:
    """The strides, dilations and pads of a Keras convolution, layer or operation, in canonical form."""
    spatial = len(sizes)
    strides, dilations = spread(layer.strides, spatial), spread(layer.dilation_rate, spatial)
    pads = no_pads(spatial)
    if layer.padding == "same":
        pads = same_pads(sizes, kernel, strides, dilations)
    elif layer.padding == "causal":
        pads = (((kernel[0] - 1) * dilations[0], 0),)
    return {"strides": strides, "dilations": dilations, "pads": pads}


def canonical_kernel(kernel: Value) -> Value:
    """(*spatial, in / groups, out) -> (out, in / groups, *spatial)."""
    return kernel.transpose(kernel.rank - 1, kernel.rank - 2, *range(kernel.rank - 2))


@imports("keras", "Conv1D", "Conv2D", "Conv3D", channels_last=True)
def conv_from_keras(layer, x):
    kernel = canonical_kernel(layer.weight("kernel"))
    op = Conv(**keras_window(layer, x.shape[2:], kernel.shape[2:]), groups=layer.groups)
    return layer.activate(op(x, kernel, layer.weight("bias")))


@imports("keras", "ops.Conv", channels_last=True)
def conv_operation_from_keras(call, x, kernel):
    kernel = canonical_kernel(as_value(call, kernel))
    groups = x.shape[1] // kernel.shape[1]
    return Conv(**keras_window(call, x.shape[2:], kernel.shape[2:]), groups=groups)(x, kernel, None)


@exports("keras", Conv, channels_last=True)
def conv_to_keras(op, keras, x, kernel, bias):
    floats_only(keras, "a convolution")
    if max(op.strides) > 1 and max(op.dilations) > 1:  # refused by Keras: every place is computed, then some are kept
        whole = dataclasses.replace(op, strides=(1,) * len(op.strides))
        y = conv_to_keras(whole, keras, x, kernel, bias)
        return y[(slice(None), *(slice(None, None, s) for s in op.strides), slice(None))]
    x, padding = padded_for_keras(op, keras, x, kernel)
    if not keras.holds(kernel, bias):
        y = conv_of_computed(op, keras, padding, x, keras.tensor(kernel))
        return y if bias is None else keras.ops.add(y, keras.tensor(bias))
    return place_in_keras(op, keras, padding, kernel, bias)(x)


def conv_of_computed(op: Conv, keras: Any, padding: str, x: Any, kernel: Any) -> Any:
    """A convolution whose kernel is no weight; keras.ops.conv takes no groups, so each is a convolution of its own."""
    kernel = keras.ops.transpose(kernel, (*range(2, len(op.strides) + 2), 1, 0))
    settings = (op.strides, padding, "channels_last", op.dilations)
    if op.groups == 1:
        return keras.ops.conv(x, kernel, *settings)
    parts = zip(*(keras.ops.split(a, op.groups, axis=-1) for a in (x, kernel)), strict=True)
    return keras.ops.concatenate([keras.ops.conv(part, own, *settings) for part, own in parts], axis=-1)


def padded_for_keras(op: Any, keras: Any, x: Any, kernel: Any) -> tuple[Any, str]:
    """The data, padded by a layer where neither "same" nor "valid" says how; and which of the two then does."""
    spatial = len(op.strides)
    if not fixed(op.pads) or any(pair != (0, 0) for pair in op.pads):
        if is_same(op.pads, keras.inputs[0].shape[2:], kernel.shape[2:], op.strides, op.dilations):
            return x, "same"
        if not fixed(op.pads):
            raise keras.refuse(
                f"pads {op.pads} that depend on the input's size",
                why="Keras knows no size that is open, and only its own 'same' pads by size",
                instead="Fix the size with input_shapes",
            )
        layer = getattr(keras.layers, f"ZeroPadding{spatial}D")(op.pads if spatial > 1 else op.pads[0])
        x = keras.place(layer, part="pad")(x)
    return x, "valid"


def place_in_keras(op: Any, keras: Any, padding: str, kernel: Value, bias: Value | None) -> Any:
    """The layer that holds this kernel: DepthwiseConv where every channel has filters of its own, Conv otherwise."""
    spatial, inputs = len(op.strides), kernel.shape[1] * op.groups
    settings = {"dilation_rate": op.dilations, "use_bias": bias is not None}
    if op.groups == inputs > 1 and spatial < 3 and len(set(op.strides)) == 1:  # TensorFlow wants equal strides
        kernel = kernel.reshape(inputs, kernel.shape[0] // inputs, *kernel.shape[2:]).transpose(
            *range(2, spatial + 2), 0, 1
        )
        layer = getattr(keras.layers, f"DepthwiseConv{spatial}D")(
            kernel.shape[:-2], op.strides, padding, depth_multiplier=kernel.shape[-1], **settings
        )
        return keras.place(layer, kernel=kernel, bias=bias)
    kernel = kernel.transpose(*range(2, spatial + 2), 1, 0)
    layer = getattr(keras.layers, f"Conv{spatial}D")(
        kernel.shape[-1], kernel.shape[:-2], op.strides, padding, groups=op.groups, **settings
    )
    return keras.place(layer, kernel=kernel, bias=bias)


# --- onnx -------------------------------------------------------------------------------------------------------------


@imports("onnx", "Conv")
def conv_from_onnx(node, x, kernel, bias=None):
    spatial = kernel.rank - 2
    strides, dilations = tuple(node.strides or (1,) * spatial), tuple(node.dilations or (1,) * spatial)
    pads = pads_from_onnx(node, x.shape[2:], kernel.shape[2:], strides, dilations)
    return Conv(strides=strides, pads=pads, dilations=dilations, groups=node.group)(x, kernel, bias)


@exports("onnx", Conv)
def conv_to_onnx(op, onnx, x, kernel, bias):
    pads: dict[str, Any] = {"pads": flat_pads(op.pads)}
    if not fixed(op.pads):
        same = is_same(op.pads, onnx.inputs[0].shape[2:], kernel.shape[2:], op.strides, op.dilations)
        if same and max(op.dilations) == 1:  # onnxruntime does not pad by itself where there is dilation
            pads = {"auto_pad": "SAME_UPPER"}
        else:
            begins, ends = ([pair[side] for pair in op.pads] for side in (0, 1))
            x, pads = onnx.Pad(x, onnx.sizes([0, 0, *begins, 0, 0, *ends])), {}
    return onnx.Conv(
        x, kernel, bias, kernel_shape=list(kernel.shape[2:]) if onnx.holds(kernel) else None, strides=list(op.strides),
        dilations=list(op.dilations), group=op.groups, **pads,
    )  # fmt: skip


# --- matlab -----------------------------------------------------------------------------------------------------------


@imports("matlab", "convolution2dLayer", channels_last=True)
def conv_from_matlab(layer, x):
    """The kernel is (height, width, in, out)."""
    channels, filters, area = x.shape[1], layer.NumFilters, layer.FilterSize[0] * layer.FilterSize[1]
    kernel = layer.weight("Weights", *layer.FilterSize, channels, filters, fans=(area * channels, area * filters))
    return conv_of_matlab(layer, x, kernel.transpose(3, 2, 0, 1), layer.weight("Bias", 1, 1, filters), 1)


@imports("matlab", "groupedConvolution2dLayer", channels_last=True)
def grouped_conv_from_matlab(layer, x):
    """The kernel is (height, width, in / groups, out / groups, groups)."""
    groups = x.shape[1] if layer.NumGroups == "channel-wise" else layer.NumGroups
    each, filters, area = x.shape[1] // groups, layer.NumFiltersPerGroup, layer.FilterSize[0] * layer.FilterSize[1]
    kernel = layer.weight("Weights", *layer.FilterSize, each, filters, groups, fans=(area * each, area * filters))
    kernel = kernel.transpose(4, 3, 2, 0, 1).reshape(groups * filters, each, *layer.FilterSize)
    return conv_of_matlab(layer, x, kernel, layer.weight("Bias", 1, 1, filters, groups).transpose(3, 2, 0, 1), groups)


MATLAB_MODES = {"symmetric-include-edge": "symmetric", "symmetric-exclude-edge": "reflect", "replicate": "edge"}


def conv_of_matlab(layer: Any, x: Value, kernel: Value, bias: Value, groups: int) -> Value:
    """A convolution, of data that is padded first where the padding is not zeros."""
    sizes, strides, dilations = x.shape[2:], layer.Stride, layer.DilationFactor
    pads = pads_from_matlab(layer.Padding, sizes, layer.FilterSize, strides, dilations)
    if layer.PaddingValue != 0:
        mode = MATLAB_MODES.get(layer.PaddingValue, "constant")
        x, pads = pad(x, ((0, 0), (0, 0), *pads), mode, layer.PaddingValue), no_pads(2)
    op = Conv(strides=strides, pads=pads, dilations=dilations, groups=groups)
    return op(x, kernel, bias.reshape(kernel.shape[0]))


@exports("matlab", Conv, channels_last=True)
def conv_to_matlab(op, matlab, x, kernel, bias):
    matlab.must_be_image(op, kernel, bias)
    size, filters = kernel.shape[2:], kernel.shape[0] // op.groups
    bias = np.zeros(kernel.shape[0], np.float32) if bias is None else bias
    settings = {
        "FilterSize": size, "Stride": op.strides, "DilationFactor": op.dilations, "Padding": sides_for_matlab(op, matlab, size),
    }  # fmt: skip
    if op.groups == 1:
        weights = {"Weights": kernel.transpose(2, 3, 1, 0), "Bias": bias.reshape(1, 1, filters)}
        return matlab.layer("convolution2dLayer", x, NumFilters=filters, **settings, **weights)
    channel_wise = matlab.stated("NumGroups") == "channel-wise"
    settings |= {"NumFiltersPerGroup": filters, "NumGroups": "channel-wise" if channel_wise else op.groups}
    kernel = kernel.reshape(op.groups, filters, *kernel.shape[1:]).transpose(3, 4, 2, 1, 0)
    bias = bias.reshape(1, 1, op.groups, filters).transpose(0, 1, 3, 2)
    return matlab.layer("groupedConvolution2dLayer", x, **settings, Weights=kernel, Bias=bias)


# --- cases ------------------------------------------------------------------------------------------------------------


def _conv(name: str, x: tuple[int, ...], kernel: tuple[int, ...], bias: bool = True, **fields: Any) -> None:
    spatial = len(kernel) - 2
    plain = {"strides": (1,) * spatial, "pads": no_pads(spatial), "dilations": (1,) * spatial, "groups": 1}
    case(f"conv/{name}", Conv(**plain | fields), x, weight(*kernel), weight(kernel[0]) if bias else None)


_conv("valid", (2, 3, 8, 8), (4, 3, 3, 3))
_conv("no_bias", (2, 3, 8, 8), (4, 3, 3, 3), bias=False)
_conv("uneven_pads", (2, 3, 8, 9), (4, 3, 3, 3), strides=(2, 2), pads=((0, 1), (2, 1)))
_conv("same_even_size", (2, 3, 8, 8), (4, 3, 3, 3), strides=(2, 2), pads=((0, 1), (0, 1)))
_conv("stride_and_dilation_differ", (2, 3, 11, 13), (4, 3, 3, 2), strides=(1, 3), dilations=(2, 1))
_conv("strides_with_dilation", (2, 3, 11, 13), (4, 3, 3, 2), strides=(2, 3), dilations=(2, 3), pads=((1, 2), (0, 3)))
_conv("dilated", (2, 3, 11, 13), (4, 3, 3, 2), dilations=(2, 3), pads=((2, 2), (1, 2)))
_conv("strides_differ", (2, 3, 11, 13), (4, 3, 3, 2), strides=(3, 2), pads=((1, 1), (0, 0)))
_conv("pads_beyond_the_kernel", (2, 2, 5, 5), (3, 2, 2, 2), pads=((3, 0), (0, 4)))
_conv("groups", (2, 4, 8, 8), (6, 2, 3, 3), groups=2)
_conv("depthwise", (2, 4, 7, 8), (4, 1, 3, 2), groups=4, strides=(2, 2), pads=((1, 1), (0, 1)))
_conv("depthwise_two_per_channel", (2, 3, 7, 8), (6, 1, 3, 2), groups=3, pads=((1, 1), (0, 1)), bias=False)
_conv("depthwise_strides_differ", (2, 3, 7, 8), (6, 1, 3, 2), groups=3, strides=(1, 2))
_conv("depthwise_strides_with_dilation", (2, 3, 9, 9), (3, 1, 3, 2), groups=3, strides=(2, 2), dilations=(2, 2))
_conv("depthwise_1d", (2, 3, 9), (6, 1, 3), groups=3, dilations=(2,), pads=((4, 0),))
_conv("depthwise_3d", (2, 3, 4, 5, 4), (3, 1, 2, 2, 3), groups=3)
_conv("one_channel", (2, 1, 6, 6), (3, 1, 3, 3))
_conv("1d", (2, 3, 9), (4, 3, 4))
_conv("1d_causal", (2, 3, 9), (4, 3, 3), dilations=(3,), pads=((6, 0),))
_conv("1d_groups", (2, 4, 9), (6, 2, 3), groups=2, strides=(2,))
_conv("3d", (2, 3, 5, 6, 7), (4, 3, 2, 3, 2), pads=((1, 1), (0, 0), (1, 1)))
_conv("3d_uneven_strided", (1, 2, 5, 6, 7), (4, 2, 2, 3, 2), pads=((1, 0), (0, 2), (0, 1)), strides=(2, 1, 3))
_conv("3d_groups", (2, 4, 4, 5, 4), (4, 2, 2, 2, 3), groups=2)
for _dtype in ("float16", "bfloat16"):
    case(
        f"conv/{_dtype}",
        Conv(strides=(2, 1), pads=((0, 1), (1, 1)), dilations=(1, 1), groups=1),
        Operand((2, 3, 7, 6), dtype=_dtype),
        weight(4, 3, 3, 3, dtype=_dtype),
        weight(4, dtype=_dtype),
    )
