"""Convolutions of any rank. Data is (N, C, *spatial), the kernel (out, in / groups, *spatial), pads are explicit pairs.

| field     | keras                                | torch                | onnx                |
|-----------|--------------------------------------|----------------------|---------------------|
| kernel    | (*spatial, in / groups, out)         | canonical            | canonical           |
| pads      | "same": as even as possible, rest at the end | one number a side | begins, then ends |
| "same"    | depends on the size: ceil(size / stride) | stride 1 only    | auto_pad            |
"""

from typing import Any

import numpy as np

from ..op import Dim, Op, Shape, Value, agree, case, ceil_divide, exports, imports, maximum, op, weight

Pads = tuple[tuple[Dim, Dim], ...]


def same_pads(sizes: Shape, kernel: Any, strides: Any, dilations: Any) -> Pads:
    """What 'same' means to Keras and TensorFlow: as even as possible, the odd one at the end (ONNX SAME_UPPER)."""
    pads = []
    for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True):
        reach = (k - 1) * d + 1
        total = (ceil_divide(size, s) - 1) * s + reach - size
        if reach < s or isinstance(total, int):
            total = maximum(total, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


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
        x, kernel, bias = inputs
        if not agree(x.shape[1], kernel.shape[1] * self.groups):
            raise ValueError(f"{self} with kernel {kernel.shape} takes {kernel.shape[1] * self.groups} channels, not {x!r}")
        sizes = (
            (size + sum(pads) - (k - 1) * d - 1) // s + 1
            for size, pads, k, d, s in zip(x.shape[2:], self.pads, kernel.shape[2:], self.dilations, self.strides, strict=True)
        )
        return [((x.shape[0], kernel.shape[0], *sizes), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, kernel, bias = arrays
        wide = np.float32 if x.dtype.itemsize < 4 else x.dtype
        spatial = tuple(range(2, x.ndim))
        padded = np.pad(x.astype(wide), ((0, 0), (0, 0), *self.pads))
        reach = tuple((k - 1) * d + 1 for k, d in zip(kernel.shape[2:], self.dilations, strict=True))
        windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=spatial)
        steps = (slice(None), slice(None), *(slice(None, None, s) for s in self.strides))
        windows = windows[(*steps, *(slice(None, None, d) for d in self.dilations))]
        batch, channels, *out = windows.shape[: x.ndim]
        inner, count = channels // self.groups, len(spatial)
        windows = windows.reshape(batch, self.groups, inner, *out, *kernel.shape[2:])
        order = (0, 1, *range(3, 3 + count), 2, *range(3 + count, 3 + 2 * count))
        columns = windows.transpose(order).reshape(batch, self.groups, int(np.prod(out)), -1)
        matrix = kernel.astype(wide).reshape(self.groups, kernel.shape[0] // self.groups, -1).transpose(0, 2, 1)
        y = (columns @ matrix).transpose(0, 1, 3, 2).reshape(batch, kernel.shape[0], *out)
        if bias is not None:
            y = y + bias.astype(wide).reshape(-1, *(1,) * count)
        return y.astype(x.dtype)

    def length(self, *arrays: np.ndarray) -> int:
        return int(np.prod(arrays[1].shape[1:])) + (arrays[2] is not None)


@imports("torch", "aten.conv1d.default", "aten.conv2d.default", "aten.conv3d.default")
def conv_from_torch(call, x, kernel, bias, stride, padding, dilation, groups):
    spatial = kernel.rank - 2
    pads = tuple((p, p) for p in spread(padding, spatial))
    op = Conv(strides=spread(stride, spatial), pads=pads, dilations=spread(dilation, spatial), groups=groups)
    return op(x, kernel, bias)


def spread(numbers: Any, spatial: int) -> tuple[int, ...]:
    """One number for every spatial axis, or the numbers themselves."""
    numbers = tuple(numbers)
    return numbers * spatial if len(numbers) == 1 else numbers


@imports("keras", "Conv1D", "Conv2D", "Conv3D", channels_last=True)
def conv_from_keras(layer, x):
    spatial = x.rank - 2
    strides, dilations = tuple(layer.strides), tuple(layer.dilation_rate)
    kernel = layer.weight("kernel")
    kernel = kernel.transpose(spatial + 1, spatial, *range(spatial))
    if layer.padding == "same":
        pads = same_pads(x.shape[2:], layer.kernel_size, strides, dilations)
    elif layer.padding == "causal":
        pads = (((layer.kernel_size[0] - 1) * dilations[0], 0),)
    else:
        pads = ((0, 0),) * spatial
    y = Conv(strides=strides, pads=pads, dilations=dilations, groups=layer.groups)(x, kernel, layer.weight("bias"))
    return layer.activate(y)


@imports("onnx", "Conv")
def conv_from_onnx(node, x, kernel, bias=None):
    spatial = kernel.rank - 2
    strides, dilations = tuple(node.strides or (1,) * spatial), tuple(node.dilations or (1,) * spatial)
    pads = pads_from_onnx(node, x.shape[2:], kernel.shape[2:], strides, dilations)
    return Conv(strides=strides, pads=pads, dilations=dilations, groups=node.group)(x, kernel, bias)


def pads_from_onnx(node: Any, sizes: Shape, kernel: Any, strides: Any, dilations: Any) -> Pads:
    """The explicit pads of an ONNX window operator: its `pads`, or what `auto_pad` makes of the sizes."""
    if node.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        upper = same_pads(sizes, kernel, strides, dilations)
        return upper if node.auto_pad == "SAME_UPPER" else tuple((after, before) for before, after in upper)
    flat = tuple(node.pads or ()) if node.auto_pad == "NOTSET" else ()
    flat = flat or (0,) * (2 * len(sizes))
    return tuple(zip(flat[: len(sizes)], flat[len(sizes) :], strict=True))


@exports("torch", Conv)
def conv_to_torch(op, torch, x, kernel, bias):
    spatial = len(op.strides)
    even = all(isinstance(before, int) and before == after for before, after in op.pads)
    if not even:
        x = torch.nn.functional.pad(x, [torch.size(p) for pair in reversed(op.pads) for p in pair])
    padding = tuple(before for before, _ in op.pads) if even else (0,) * spatial
    if not torch.holds(kernel, bias):
        function = getattr(torch.nn.functional, f"conv{spatial}d")
        return function(x, torch.tensor(kernel), torch.tensor(bias), op.strides, padding, op.dilations, op.groups)
    conv = getattr(torch.nn, f"Conv{spatial}d")(
        kernel.shape[1] * op.groups, kernel.shape[0], kernel.shape[2:], op.strides, padding, op.dilations, op.groups,
        bias=bias is not None,
    )  # fmt: skip
    return torch.place(conv, weight=kernel, bias=bias)(x)


@exports("keras", Conv, channels_last=True)
def conv_to_keras(op, keras, x, kernel, bias):
    spatial = len(op.strides)
    same = agree(op.pads, same_pads(keras.inputs[0].shape[2:], kernel.shape[2:], op.strides, op.dilations))
    if not same and any(pair != (0, 0) for pair in op.pads):
        x = getattr(keras.layers, f"ZeroPadding{spatial}D")(op.pads if spatial > 1 else op.pads[0])(x)
    conv = getattr(keras.layers, f"Conv{spatial}D")(
        kernel.shape[0], kernel.shape[2:], op.strides, "same" if same else "valid",
        dilation_rate=op.dilations, groups=op.groups, use_bias=bias is not None,
    )  # fmt: skip
    return keras.place(conv, kernel=kernel.transpose(*range(2, spatial + 2), 1, 0), bias=bias)(x)


@exports("onnx", Conv)
def conv_to_onnx(op, onnx, x, kernel, bias):
    pads = {"pads": [p for side in (0, 1) for p in (pair[side] for pair in op.pads)]}
    if any(not isinstance(p, int) for p in pads["pads"]):
        if agree(op.pads, same_pads(onnx.inputs[0].shape[2:], kernel.shape[2:], op.strides, op.dilations)):
            pads = {"auto_pad": "SAME_UPPER"}
        else:
            begins, ends = ([pair[side] for pair in op.pads] for side in (0, 1))
            x, pads = onnx.Pad(x, onnx.sizes([0, 0, *begins, 0, 0, *ends])), {}
    return onnx.Conv(
        x, kernel, bias, kernel_shape=list(kernel.shape[2:]) if onnx.holds(kernel) else None, strides=list(op.strides),
        dilations=list(op.dilations), group=op.groups, **pads,
    )  # fmt: skip


def _conv(name: str, x: tuple[int, ...], kernel: tuple[int, ...], bias: bool = True, **fields: Any) -> None:
    spatial = len(kernel) - 2
    plain = {"strides": (1,) * spatial, "pads": ((0, 0),) * spatial, "dilations": (1,) * spatial, "groups": 1}
    case(f"conv/{name}", Conv(**plain | fields), x, weight(*kernel), weight(kernel[0]) if bias else None)


_conv("valid", (2, 3, 8, 8), (4, 3, 3, 3))
_conv("no_bias", (2, 3, 8, 8), (4, 3, 3, 3), bias=False)
_conv("uneven_pads", (2, 3, 8, 9), (4, 3, 3, 3), strides=(2, 2), pads=((0, 1), (2, 1)))
_conv("same_even_size", (2, 3, 8, 8), (4, 3, 3, 3), strides=(2, 2), pads=((0, 1), (0, 1)))
_conv("stride_and_dilation_differ", (2, 3, 11, 13), (4, 3, 3, 2), strides=(1, 3), dilations=(2, 1))
_conv("groups", (2, 4, 8, 8), (6, 2, 3, 3), groups=2)
_conv("1d", (2, 3, 9), (4, 3, 4))
_conv("3d", (2, 3, 5, 6, 7), (4, 3, 2, 3, 2), pads=((1, 1), (0, 0), (1, 1)))
