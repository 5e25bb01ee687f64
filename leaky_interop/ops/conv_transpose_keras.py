"""Transposed convolutions of Keras: its layers and its function, and what they cannot say as a convolution that does the same."""

import dataclasses
from typing import Any

from ..op import Value, exports, imports, product
from .conv import Conv, conv_to_keras
from .conv_transpose import ConvTranspose, open_crops
from .precision import floats_only
from .promotion import as_value
from .window import Pads, no_pads, reach, spread


def keras_crops(padding: str, output_padding: Any, kernel: Any, strides: Any, dilations: Any) -> Pads:
    """What Keras crops: with 'same', the length is stride times the input's, or a base length plus output_padding."""
    spatial = len(strides)
    extra = (None,) * spatial if output_padding is None else spread(output_padding, spatial)
    crops = []
    for w, s, q in zip(reach(kernel, dilations), strides, extra, strict=True):
        if padding == "valid":
            crops.append((0, -(max(w, s) - w if q is None else q)))
        else:
            total = w - s if q is None else w - w % 2 - q
            crops.append((max(total // 2, 0), total - max(total // 2, 0)))
    return tuple(crops)


def conv_transpose_of_keras(call: Any, x: Value, kernel: Value, bias: Value | None) -> Value:
    """A layer's or an operation's transposed convolution; its kernel is (*spatial, out, in)."""
    spatial = x.rank - 2
    kernel = kernel.transpose(spatial + 1, spatial, *range(spatial))
    strides, dilations = spread(call.strides, spatial), spread(call.dilation_rate, spatial)
    crops = keras_crops(call.padding, call.output_padding, kernel.shape[2:], strides, dilations)
    return ConvTranspose(strides=strides, crops=crops, dilations=dilations, groups=1)(x, kernel, bias)


@imports("keras", "Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose", channels_last=True)
def conv_transpose_from_keras(layer, x):
    return layer.activate(conv_transpose_of_keras(layer, x, layer.weight("kernel"), layer.weight("bias")))


@imports("keras", "ops.ConvTranspose", channels_last=True)
def conv_transpose_operation_from_keras(call, x, kernel):
    return conv_transpose_of_keras(call, x, as_value(call, kernel), None)


@exports("keras", ConvTranspose, channels_last=True)
def conv_transpose_to_keras(op, keras, x, kernel, bias):
    floats_only(keras, "a transposed convolution")
    open_crops(op, keras)
    strided = max(op.strides) > 1
    appends = all(-after < s for s, (_, after) in zip(op.strides, op.crops, strict=True))
    native = (
        keras.holds(kernel, bias) and appends and not (strided and max(op.dilations) > 1)
    )  # the layer refuses these
    if not native or op.groups > 1:
        if all(isinstance(n, int) for n in keras.inputs[0].shape[2:]) or not strided:
            return turned_round_for_keras(op, keras, x, kernel, bias)
        if not native:
            raise keras.refuse(
                f"{op}, of an open size",
                why="the Keras layer takes no computed kernel, strides with dilation or places beyond the stride",
                instead="Fix the size with input_shapes",
            )
        return grouped_for_keras(op, keras, x, kernel, bias)
    spatial, span = len(op.strides), kernel.shape[2:]
    padding, extra, left = "valid", tuple(max(-after, 0) for _, after in op.crops), op.crops
    for name in ("valid", "same"):
        if keras_crops(name, None, span, op.strides, op.dilations) == op.crops:
            padding, extra, left = name, None, no_pads(spatial)
            break
    if extra is not None:
        left = tuple((before, max(after, 0)) for before, after in op.crops)
    kernel = kernel.transpose(*range(2, spatial + 2), 1, 0)
    layer = getattr(keras.layers, f"Conv{spatial}DTranspose")(
        kernel.shape[-2], span, op.strides, padding, output_padding=extra, dilation_rate=op.dilations,
        use_bias=bias is not None,
    )  # fmt: skip
    y = keras.place(layer, kernel=kernel, bias=bias)(x)
    if any(pair != (0, 0) for pair in left):
        y = keras.place(getattr(keras.layers, f"Cropping{spatial}D")(left if spatial > 1 else left[0]), part="crop")(y)
    return y


def turned_round_for_keras(op: ConvTranspose, keras: Any, x: Any, kernel: Any, bias: Any) -> Any:
    """The convolution that does the same: of the data with zeros between its elements, by the kernel turned round."""
    spatial, port = len(op.strides), keras.inputs[0]
    if max(op.strides) > 1:
        sizes = (*port.shape[2:], port.shape[1])
        for axis, stride in enumerate(op.strides):  # one by one: TensorFlow pads at most 6 axes
            if stride > 1:
                x = keras.ops.reshape(x, (-1, sizes[axis], 1, product(sizes[axis + 1 :])))
                x = keras.ops.pad(x, ((0, 0), (0, 0), (0, stride - 1), (0, 0)))
        x = keras.ops.reshape(x, (-1, *(n * s for n, s in zip(port.shape[2:], op.strides, strict=True)), port.shape[1]))
    borders = tuple(
        (w - 1 - before, w - s - after)  # s - 1 zeros already stand behind the last element
        for w, s, (before, after) in zip(reach(kernel.shape[2:], op.dilations), op.strides, op.crops, strict=True)
    )
    if any(p < 0 for pair in borders for p in pair):
        x = x[(slice(None), *(slice(max(-b, 0), min(a, 0) or None) for b, a in borders), slice(None))]
    pads = tuple((max(b, 0), max(a, 0)) for b, a in borders)
    conv = Conv(strides=(1,) * spatial, pads=pads, dilations=op.dilations, groups=op.groups)
    return conv_to_keras(conv, keras, x, turned_weight(keras, kernel, op.groups), bias)


def turned_weight(keras: Any, kernel: Any, groups: int) -> Any:
    """`turned`, of a weight (as a view) or of a computed kernel."""
    inputs, outputs, *spatial = kernel.shape
    grouped, order = (groups, inputs // groups, outputs, *spatial), (0, 2, 1, *range(3, len(spatial) + 3))
    final = (groups * outputs, inputs // groups, *spatial)
    if isinstance(kernel, Value):
        view = kernel.reshape(*grouped).transpose(*order).reshape(*final).const
        for axis, size in enumerate(spatial, start=2):
            view = view.take(tuple(reversed(range(size))), axis)
        return keras.graph.parameter(view)
    swapped = keras.ops.transpose(keras.ops.reshape(kernel, grouped), order)
    return keras.ops.flip(keras.ops.reshape(swapped, final), tuple(range(2, len(final))))


def grouped_for_keras(op: ConvTranspose, keras: Any, x: Any, kernel: Value, bias: Value | None) -> Any:
    """One transposed convolution per group of channels: Keras has no groups here."""
    alone = dataclasses.replace(op, groups=1)
    inputs, outputs = kernel.shape[0] // op.groups, kernel.shape[1]

    def part(weight: Value, size: int, group: int) -> Value:
        return keras.graph.parameter(weight.const.take(tuple(range(group * size, (group + 1) * size)), 0))

    parts = [
        conv_transpose_to_keras(
            alone, keras, own, part(kernel, inputs, g), None if bias is None else part(bias, outputs, g)
        )
        for g, own in enumerate(keras.ops.split(x, op.groups, axis=-1))
    ]
    return keras.ops.concatenate(parts, axis=-1)
