"""Colours of images, as the arithmetic they are.

| keras.ops.image  | meaning                                                                                            |
|------------------|----------------------------------------------------------------------------------------------------|
| rgb_to_grayscale | 0.2989 red + 0.587 green + 0.114 blue; one channel stays as it is                                  |
| rgb_to_hsv       | value = the largest; saturation = range / value; hue = a sixth of a turn for each of six stretches |
| hsv_to_rgb       | back; a hue beyond a whole turn counts from its start on the torch and JAX backends alone          |

The torch backend takes less than an epsilon of red, green or blue for none.
"""

from typing import Any

import numpy as np

from ..op import imports

GREY = (0.2989, 0.587, 0.114)


def axis_of(call: Any) -> int:
    """Where channels stand, counted from the end: an image may come without a batch."""
    return -1 if (call.data_format or call.image_data_format) == "channels_last" else -3


@imports("keras", "ops.RGBToGrayscale")
def grey_from_keras(call, images):
    axis, kind = axis_of(call), images.dtype

    def code(ops, x):
        shades = ops.split(x if kind.kind in "fV" else ops.cast(x, "float32"), 3, axis)
        return ops.cast(sum(weight * shade for weight, shade in zip(GREY, shades, strict=True)), kind.name)

    return images if images.shape[axis] == 1 else call.written(code, images)


@imports("keras", "ops.RGBToHSV")
def hsv_from_keras(call, images):
    axis = axis_of(call)
    smallest = float(np.finfo(images.dtype).eps) if images.dtype.kind == "f" else 2.0**-7

    def code(ops, x):
        if call.backend == "torch":
            x = ops.where(ops.abs(x) < smallest, 0.0, x)
        red, green, blue = ops.split(x, 3, axis)
        value = ops.max(x, axis, keepdims=True)
        extent = value - ops.min(x, axis, keepdims=True)
        saturation = ops.where(value > 0, extent / ops.where(value > 0, value, 1.0), 0.0)
        sixth = 1.0 / (6.0 * ops.where(extent > 0, extent, 1.0))
        hue = ops.where(ops.equal(value, green), sixth * (blue - red) + 2 / 6, sixth * (red - green) + 4 / 6)
        hue = ops.where(ops.equal(value, red), sixth * (green - blue), hue)
        hue = ops.where(extent > 0, hue, 0.0)
        return ops.concatenate([ops.where(hue < 0, hue + 1.0, hue), saturation, value], axis)

    return call.written(code, images)


@imports("keras", "ops.HSVToRGB")
def rgb_from_keras(call, images):
    axis = axis_of(call)

    def code(ops, x):
        hue, saturation, value = ops.split(x, 3, axis)
        sixths = 6.0 * (hue if call.backend == "tensorflow" else ops.mod(hue, 1.0))
        pure = [ops.abs(sixths - 3.0) - 1.0, 2.0 - ops.abs(sixths - 2.0), 2.0 - ops.abs(sixths - 4.0)]
        return ops.concatenate([value * (1.0 - saturation + saturation * ops.clip(p, 0.0, 1.0)) for p in pure], axis)

    return call.written(code, images)
