"""Convolutions whose kernel differs from example to example, as StyleGAN2 has them.

They are written as one example with a group for each that it stands for: data (1, batch * in, h, w), a kernel of
(batch * out, in, ..), batch groups. With an open batch no framework has such a number of groups: each example's blocks are
multiplied by its own kernel, and for a transposed convolution the products are added up where they meet.
"""

import math

from ..errors import Refused
from .blocks import Fold, Unfold, blocks
from .matmul import MatMul
from .transpose import Transpose
from .window import reach, spread


def conv_by_example(x, kernel, bias, stride, padding, dilation, groups):
    """kernel: (batch * out, in, h, w)."""
    refuse(kernel, bias)
    inputs, area = kernel.shape[1], math.prod(kernel.shape[2:])
    op = Unfold(**blocks(kernel.shape[2:], dilation, padding, stride))
    columns = op(x.reshape(groups, inputs, *x.shape[2:]))
    made = MatMul()(kernel.reshape(groups, kernel.shape[0] // groups, inputs * area), columns)
    sizes = [size(*numbers) for numbers in zip(x.shape[2:], *settings(kernel, stride, padding, dilation), strict=True)]
    return made.reshape(1, kernel.shape[0], *sizes)


def conv_transpose_by_example(x, kernel, bias, stride, padding, output_padding, groups, dilation):
    """kernel: (batch * in, out, h, w)."""
    refuse(kernel, bias)
    outputs, area = kernel.shape[1], math.prod(kernel.shape[2:])
    inputs = kernel.shape[0] // groups
    turned = Transpose(perm=(0, 2, 1))(kernel.reshape(groups, inputs, outputs * area))
    columns = MatMul()(turned, x.reshape(groups, inputs, math.prod(x.shape[2:])))
    numbers = zip(x.shape[2:], *settings(kernel, stride, padding, dilation), spread(output_padding, 2), strict=True)
    sizes = tuple((n - 1) * s + w - 2 * p + extra for n, w, s, p, extra in numbers)
    fold = Fold(sizes=sizes, **blocks(kernel.shape[2:], dilation, padding, stride))
    return fold(columns).reshape(1, groups * outputs, *sizes)


def settings(kernel, stride, padding, dilation):
    """Of both axes: how far the kernel reaches, the strides, the pads of each side."""
    return reach(kernel.shape[2:], spread(dilation, 2)), spread(stride, 2), spread(padding, 2)


def size(n, wide, stride, pad):
    """How often the kernel fits."""
    return (n + 2 * pad - wide) // stride + 1


def refuse(kernel, bias):
    """Raise Refused for what such a convolution is not."""
    if kernel.rank != 4 or bias is not None:
        raise Refused(
            "a convolution in a number of groups that the batch decides",
            why="only convolutions of pictures, without a bias, are known as one for each example",
            hint="Fix the batch with static_batch=True (--static-batch), or add the bias afterwards",
        )
