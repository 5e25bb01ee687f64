"""Keras' convolutions with filters per channel: read as convolutions with as many groups as channels.

| native        | kernel                                     | canonical                                       |
|---------------|--------------------------------------------|-------------------------------------------------|
| DepthwiseConv | (*spatial, in, multiplier)                 | Conv, kernel (in * multiplier, 1, *spatial)     |
| SeparableConv | the same, then (1.., in * multiplier, out) | the same without bias, then Conv with kernel 1  |

Output channel c * multiplier + m is filter m of channel c in every framework. They are written by conv.py.
"""

from typing import Any

from ..op import Value, imports
from .conv import Conv, canonical_kernel, keras_window
from .promotion import as_value
from .window import no_pads


def per_channel(kernel: Value) -> Value:
    """(*spatial, in, multiplier) -> (in * multiplier, 1, *spatial)."""
    spatial = kernel.shape[:-2]
    turned = kernel.transpose(kernel.rank - 2, kernel.rank - 1, *range(kernel.rank - 2))
    return turned.reshape(kernel.shape[-2] * kernel.shape[-1], 1, *spatial)


def depthwise(call: Any, x: Value, kernel: Value, bias: Value | None) -> Value:
    """The convolution of every channel by itself."""
    kernel = per_channel(kernel)
    return Conv(**keras_window(call, x.shape[2:], kernel.shape[2:]), groups=x.shape[1])(x, kernel, bias)


def pointwise(x: Value, kernel: Value, bias: Value | None) -> Value:
    """The convolution that mixes channels at every place."""
    spatial = x.rank - 2
    op = Conv(strides=(1,) * spatial, pads=no_pads(spatial), dilations=(1,) * spatial, groups=1)
    return op(x, canonical_kernel(kernel), bias)


@imports("keras", "DepthwiseConv1D", "DepthwiseConv2D", channels_last=True)
def depthwise_conv_from_keras(layer, x):
    return layer.activate(depthwise(layer, x, layer.weight("kernel"), layer.weight("bias")))


@imports("keras", "SeparableConv1D", "SeparableConv2D", channels_last=True)
def separable_conv_from_keras(layer, x):
    y = depthwise(layer, x, layer.weight("depthwise_kernel"), None)
    return layer.activate(pointwise(y, layer.weight("pointwise_kernel"), layer.weight("bias")))


@imports("keras", "ops.DepthwiseConv", channels_last=True)
def depthwise_conv_operation_from_keras(call, x, kernel):
    return depthwise(call, x, as_value(call, kernel), None)


@imports("keras", "ops.SeparableConv", channels_last=True)
def separable_conv_operation_from_keras(call, x, depthwise_kernel, pointwise_kernel):
    y = depthwise(call, x, as_value(call, depthwise_kernel), None)
    return pointwise(y, as_value(call, pointwise_kernel), None)
