"""Transposed convolutions of any rank. Data is (N, C, *spatial), the kernel (in, out / groups, *spatial).

Every input element adds its multiple of the kernel; neighbours lie `strides` apart. Of the whole result, of length
(in - 1) * stride + span, `crops` are cut off: (before, after). A negative crop appends places that only
the bias reaches.

| what is said by   | keras                                | torch                   | onnx                        |
|-------------------|--------------------------------------|-------------------------|-----------------------------|
| kernel            | (*spatial, out, in)                  | canonical               | canonical                   |
| crop before       | "same": half of span - stride        | padding                 | pads                        |
| crop after        | "same": the rest; - output_padding   | padding - output_padding | pads - output_padding      |
| groups            | no                                   | groups                  | group                       |
"""

import math
from typing import Any

import numpy as np

from ..op import Dim, Link, Op, Operand, Shape, Value, agree, case, exports, imports, op, weight
from .by_example import conv_transpose_by_example
from .conv import Conv, conv_from_torch
from .window import Pads, batched, fixed, flat_pads, no_pads, reach, spread


@op
class ConvTranspose(Op):
    """The transpose of a convolution: spreads every element by the kernel, then adds a bias per output channel."""

    strides: tuple[int, ...]
    crops: Pads
    dilations: tuple[int, ...]
    groups: int
    tolerance = "sum"
    weights = (1, 2)

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        x, kernel, _ = inputs
        if not agree(x.shape[1], kernel.shape[0]):
            raise ValueError(f"{self} with kernel {kernel.shape} takes {kernel.shape[0]} channels, not {x!r}")
        spans = zip(x.shape[2:], self.strides, reach(kernel.shape[2:], self.dilations), self.crops, strict=True)
        sizes = ((n - 1) * s + w - before - after for n, s, w, (before, after) in spans)
        return [((x.shape[0], kernel.shape[1] * self.groups, *sizes), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        """A convolution of the data, zeros put between its elements, with the kernel turned round."""
        x, kernel, bias = arrays
        spatial = x.ndim - 2
        spread_out = np.zeros(
            (*x.shape[:2], *((n - 1) * s + 1 for n, s in zip(x.shape[2:], self.strides, strict=True))), x.dtype
        )
        spread_out[(slice(None), slice(None), *(slice(None, None, s) for s in self.strides))] = x
        borders = [
            (w - 1 - before, w - 1 - after)
            for w, (before, after) in zip(reach(kernel.shape[2:], self.dilations), self.crops, strict=True)
        ]
        padded = np.pad(spread_out, ((0, 0), (0, 0), *((max(b, 0), max(a, 0)) for b, a in borders)))
        inside = (slice(max(-b, 0), n - max(-a, 0)) for (b, a), n in zip(borders, padded.shape[2:], strict=True))
        plain = (1,) * spatial
        conv = Conv(strides=plain, pads=no_pads(spatial), dilations=self.dilations, groups=self.groups)
        return conv.reference(padded[(slice(None), slice(None), *inside)], turned(kernel, self.groups), bias)

    def length(self, *arrays: np.ndarray) -> int:
        _, kernel, bias = arrays
        taps = zip(kernel.shape[2:], self.strides, self.dilations, strict=True)
        met = (-(-k * math.gcd(s, d) // s) for k, s, d in taps)  # how many kernel elements meet in one place
        return kernel.shape[0] // self.groups * math.prod(met) + (bias is not None)

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        if self.groups > 1:
            return []
        made = {1: 1} if inputs[2] is None else {1: 1, 2: 0}
        return [Link({0: 1, 1: 0}, None), Link(made, 1)]


def turned(kernel: np.ndarray, groups: int) -> np.ndarray:
    """The kernel of the convolution that does the same: (in, out / groups, ..) -> (out, in / groups, ..), mirrored."""
    inputs, outputs, *spatial = kernel.shape
    swapped = kernel.reshape(groups, inputs // groups, outputs, *spatial).swapaxes(1, 2)
    mirrored = swapped.reshape(groups * outputs, inputs // groups, *spatial)
    return mirrored[(slice(None), slice(None), *(slice(None, None, -1) for _ in spatial))]


# --- torch ------------------------------------------------------------------------------------------------------------


@imports("torch", "aten.conv_transpose1d.default", "aten.conv_transpose2d.input", "aten.conv_transpose3d.input")
@batched
def conv_transpose_from_torch(call, x, kernel, bias, stride, padding, output_padding, groups, dilation):
    if not isinstance(groups, int):
        return conv_transpose_by_example(x, kernel, bias, stride, padding, output_padding, groups, dilation)
    spatial = kernel.rank - 2
    crops = tuple((p, p - q) for p, q in zip(spread(padding, spatial), spread(output_padding, spatial), strict=True))
    op = ConvTranspose(strides=spread(stride, spatial), crops=crops, dilations=spread(dilation, spatial), groups=groups)
    return op(x, kernel, bias)


@imports("torch", "aten.convolution.default", "aten._convolution.default", "aten._convolution.deprecated")
def convolution_from_torch(call, x, kernel, bias, stride, padding, dilation, transposed, output_padding, groups, *modes):
    """modes: how cuDNN is to look for its fastest kernel, in the form that traces hold."""
    if transposed:
        return conv_transpose_from_torch(call, x, kernel, bias, stride, padding, output_padding, groups, dilation)
    return conv_from_torch(call, x, kernel, bias, stride, padding, dilation, groups)


@imports("chainer", "Deconvolution2DFunction")
def conv_transpose_from_chainer(call, x, kernel, bias=None):
    """Chainer writes down the size of the result, asked for or not: the end is cropped to it."""
    strides, dilations = (call.sy, call.sx), (call.dy, call.dx)
    spans = reach(kernel.shape[2:], dilations)
    sizes = zip(x.shape[2:], strides, spans, (call.ph, call.pw), (call.outh, call.outw), strict=True)
    crops = tuple((p, (n - 1) * s + w - p - out) for n, s, w, p, out in sizes)
    return ConvTranspose(strides=strides, crops=crops, dilations=dilations, groups=call.groups)(x, kernel, bias)


@exports("torch", ConvTranspose)
def conv_transpose_to_torch(op, torch, x, kernel, bias):
    spatial = len(op.strides)
    open_crops(op, torch)
    padding, extra, cut = [], [], []
    for (before, after), s, d in zip(op.crops, op.strides, op.dilations, strict=True):
        own = min(before, after + max(s, d) - 1)  # torch appends fewer places than that
        if own < 0:
            raise too_long(op, torch)
        padding.append(own)
        extra.append(max(own - after, 0))
        cut.append(slice(before - own or None, min(own - after, 0) or None))
    if torch.holds(kernel, bias):
        conv = getattr(torch.nn, f"ConvTranspose{spatial}d")(
            kernel.shape[0], kernel.shape[1] * op.groups, kernel.shape[2:], op.strides, tuple(padding), tuple(extra),
            op.groups, bias=bias is not None, dilation=op.dilations,
        )  # fmt: skip
        y = torch.place(conv, weight=kernel, bias=bias)(x)
    else:
        function = getattr(torch.nn.functional, f"conv_transpose{spatial}d")
        y = function(x, torch.tensor(kernel), torch.tensor(bias), op.strides, padding, extra, op.groups, op.dilations)
    return y if all(c == slice(None) for c in cut) else y[(slice(None), slice(None), *cut)]


def open_crops(op: ConvTranspose, fw: Any) -> None:
    """Refuse crops that depend on the input's size."""
    if not fixed(op.crops):
        raise fw.refuse(
            f"a transposed convolution cropped by {op.crops}",
            why="what is cropped depends on the input's size",
            instead="Fix the size with input_shapes",
        )


def too_long(op: ConvTranspose, fw: Any) -> Exception:
    """The refusal of more appended places than a framework appends."""
    return fw.refuse(
        f"a transposed convolution cropped by {op.crops}",
        why="output padding must be smaller than the stride here",
        instead="Pad the result in an operator of its own",
    )


# --- matlab -----------------------------------------------------------------------------------------------------------


@imports("matlab", "transposedConv2dLayer", channels_last=True)
def conv_transpose_from_matlab(layer, x):
    """The kernel is (height, width, out, in). 'same' crops what makes the result stride times as long, most at the end."""
    channels, filters, size = x.shape[1], layer.NumFilters, layer.FilterSize
    fans = (math.prod(size) * channels, math.prod(size) * filters)
    kernel = layer.weight("Weights", *size, filters, channels, fans=fans).transpose(3, 2, 0, 1)
    crops = (layer.Cropping[:2], layer.Cropping[2:])
    if layer.Cropping == "same":
        surplus = [w - s for w, s in zip(size, layer.Stride, strict=True)]
        if min(surplus) < 0:
            raise layer.refuse("Cropping 'same' of a filter that is smaller than the stride", why="nothing is to be cropped")
        crops = tuple((n // 2, n - n // 2) for n in surplus)
    op = ConvTranspose(strides=layer.Stride, crops=crops, dilations=(1, 1), groups=1)
    return op(x, kernel, layer.weight("Bias", 1, 1, filters).reshape(filters))


@exports("matlab", ConvTranspose, channels_last=True)
def conv_transpose_to_matlab(op, matlab, x, kernel, bias):
    matlab.must_be_image(op, kernel, bias)
    open_crops(op, matlab)
    crops = op.crops[0] + op.crops[1]
    if op.groups > 1 or max(op.dilations) > 1 or min(crops) < 0:
        raise matlab.refuse(f"{op}", why="MATLAB's layer has no groups, no dilation and appends nothing",
                            instead="Crop at least 0 on every side")  # fmt: skip
    bias = np.zeros(kernel.shape[1], np.float32) if bias is None else bias
    surplus = (w - s for w, s in zip(kernel.shape[2:], op.strides, strict=True))
    same = matlab.stated("Cropping") == "same" and op.crops == tuple((n // 2, n - n // 2) for n in surplus)
    return matlab.layer(
        "transposedConv2dLayer", x, FilterSize=kernel.shape[2:], NumFilters=kernel.shape[1], Stride=op.strides,
        Cropping="same" if same else crops, Weights=kernel.transpose(2, 3, 1, 0), Bias=bias.reshape(1, 1, kernel.shape[1]),
    )  # fmt: skip


# --- onnx -------------------------------------------------------------------------------------------------------------


@imports("onnx", "ConvTranspose")
def conv_transpose_from_onnx(node, x, kernel, bias=None):
    spatial = kernel.rank - 2
    plain = (1,) * spatial
    strides, dilations = tuple(node.strides or plain), tuple(node.dilations or plain)
    extra, span = tuple(node.output_padding or (0,) * spatial), reach(kernel.shape[2:], dilations)
    flat = tuple(node.pads or (0,) * (2 * spatial)) if node.auto_pad in ("NOTSET", "VALID") else ()
    totals: list[Dim] = []
    if node.output_shape:
        lengths = node.output_shape[-spatial:]
        totals = [
            (n - 1) * s + w + q - m for n, s, w, q, m in zip(x.shape[2:], strides, span, extra, lengths, strict=True)
        ]
    elif not flat:
        totals = [
            max(w - s + q, 0) for w, s, q in zip(span, strides, extra, strict=True)
        ]  # as long as input times stride
    halves = [halved(t, node.auto_pad == "SAME_UPPER") for t in totals] or list(
        zip(flat[:spatial], flat[spatial:], strict=True)
    )
    crops = tuple((before, after - q) for (before, after), q in zip(halves, extra, strict=True))
    return ConvTranspose(strides=strides, crops=crops, dilations=dilations, groups=node.group)(x, kernel, bias)


def halved(total: Dim, more_after: bool) -> tuple[Dim, Dim]:
    """What is cropped on either side when both together are known; what is appended goes to the end."""
    if isinstance(total, int) and total < 0:
        return 0, total
    less, more = total // 2, total - total // 2
    return (less, more) if more_after else (more, less)


@exports("onnx", ConvTranspose)
def conv_transpose_to_onnx(op, onnx, x, kernel, bias):
    open_crops(op, onnx)
    extra = [max(-after, 0) for _, after in op.crops]
    if any(q >= s for q, s in zip(extra, op.strides, strict=True)):  # onnxruntime's limit
        raise too_long(op, onnx)
    return onnx.ConvTranspose(
        x, kernel, bias, kernel_shape=list(kernel.shape[2:]) if onnx.holds(kernel) else None, strides=list(op.strides),
        dilations=list(op.dilations), group=op.groups, output_padding=extra if any(extra) else None,
        pads=flat_pads(tuple((before, max(after, 0)) for before, after in op.crops)),
    )  # fmt: skip


# --- cases ------------------------------------------------------------------------------------------------------------


def _case(
    name: str, x: tuple[int, ...], kernel: tuple[int, ...], bias: bool = True, groups: int = 1, **fields: Any
) -> None:
    spatial = len(kernel) - 2
    differences = {k: fields.pop(k) for k in ("composed", "refused") if k in fields}
    plain = {"strides": (1,) * spatial, "crops": no_pads(spatial), "dilations": (1,) * spatial, "groups": groups}
    operands = (x, weight(*kernel), weight(kernel[1] * groups) if bias else None)
    case(f"conv_transpose/{name}", ConvTranspose(**plain | fields), *operands, **differences)


TURNED = {
    "keras": "comes back as zeros put between elements and a Conv: Keras has no groups, nor strides with dilation, here"
}
LONGER = {"onnx": "onnxruntime appends fewer places than the stride"}

_case("valid", (2, 3, 5, 6), (3, 4, 3, 3))
_case("no_bias", (2, 3, 5, 6), (3, 4, 3, 3), bias=False)
_case("strides_differ", (2, 3, 5, 4), (3, 4, 3, 2), strides=(2, 3), crops=((0, 0), (0, -1)))
_case("same_uneven", (2, 3, 5, 7), (3, 4, 3, 5), strides=(2, 2), crops=((0, 1), (1, 2)))
_case("same_even", (2, 3, 4, 4), (3, 4, 4, 4), strides=(2, 2), crops=((1, 1), (1, 1)))
_case("output_padding", (2, 3, 5, 4), (3, 4, 3, 3), strides=(2, 3), crops=((1, 0), (1, -1)))
_case("kernel_smaller_than_stride", (2, 3, 4, 5), (3, 2, 2, 1), strides=(3, 2), crops=((0, -1), (0, -1)))
_case("gaps_without_padding", (2, 3, 4, 5), (3, 2, 2, 1), strides=(3, 2))
_case("dilated", (2, 3, 6, 5), (3, 4, 3, 2), dilations=(2, 3), crops=((1, 2), (2, 0)))
_case(
    "strides_with_dilation",
    (2, 3, 6, 5),
    (3, 4, 3, 2),
    strides=(2, 3),
    dilations=(2, 1),
    crops=((1, 1), (0, 0)),
    composed=TURNED,
)
_case(
    "appended_beyond_the_stride",
    (2, 3, 4, 4),
    (3, 2, 2, 2),
    dilations=(3, 3),
    crops=((1, -1), (1, 0)),
    refused=LONGER,
    composed=TURNED,
)
_case("groups", (2, 4, 5, 6), (4, 3, 3, 3), groups=2, strides=(2, 2), crops=((1, 1), (1, 0)), composed=TURNED)
_case(
    "depthwise",
    (2, 3, 5, 4),
    (3, 1, 4, 4),
    groups=3,
    strides=(2, 2),
    crops=((1, 1), (1, 1)),
    bias=False,
    composed=TURNED,
)
_case("groups_stride_one", (2, 4, 5, 6), (4, 3, 3, 2), groups=2, crops=((0, 2), (1, 1)), composed=TURNED)
_case("crops_beyond_the_kernel", (2, 3, 5, 6), (3, 4, 2, 3), strides=(2, 2), crops=((3, 0), (0, 4)))
_case("1d", (2, 3, 7), (3, 4, 3), strides=(2,), crops=((0, 1),))
_case("1d_output_padding", (2, 3, 7), (3, 4, 5), strides=(3,), crops=((2, 1),))
_case("3d", (2, 3, 3, 4, 2), (3, 2, 2, 3, 3), strides=(2, 1, 2), crops=((0, 0), (1, 1), (0, 1)))
for _dtype in ("float16", "bfloat16"):
    case(
        f"conv_transpose/{_dtype}",
        ConvTranspose(strides=(2, 1), crops=((0, 1), (1, 1)), dilations=(1, 1), groups=1),
        Operand((2, 3, 4, 5), dtype=_dtype),
        weight(3, 4, 3, 3, dtype=_dtype),
        weight(4, dtype=_dtype),
    )
