"""The gradients that core ATen has as operators of their own: found in programs that differentiate something. Importers only.

| aten                                  | read as                                                          |
|---------------------------------------|------------------------------------------------------------------|
| avg_pool2d_backward, _adaptive_ ...   | a product with the averaging matrix of each axis, transposed     |
| max_pool2d_with_indices_backward      | every gradient added where its maximum stood                     |
| convolution_backward                  | a transposed convolution, a convolution over the batch, a sum    |
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, imports, product
from .adaptive_pool import means
from .conv import Conv
from .conv_transpose import conv_transpose_from_torch
from .expand import filled
from .index import sliced
from .join import cut, joined
from .matmul import MatMul
from .reduce import ReduceSum, reduced
from .scatter import ScatterElements
from .window import batched, spread


def _spread_back(gradient: Value, matrices: Sequence[np.ndarray]) -> Value:
    """Each gradient shared out by the matrices (count, size) of rows and of columns."""
    down, across = (gradient.graph.constant(m.astype(gradient.dtype)) for m in matrices)
    return MatMul()(MatMul()(down.transpose(1, 0), gradient), across)


def _known(x: Value, what: str) -> tuple[int, ...]:
    if not all(isinstance(n, int) for n in x.shape[-2:]):
        raise Refused(f"{what} of an open size", why="where its windows lie depends on the size", hint="Fix the size with input_shapes")
    return x.shape[-2:]  # type: ignore[return-value]


@imports("torch", "aten._adaptive_avg_pool2d_backward.default")
def adaptive_average_gradient_from_torch(call, gradient, x):
    sizes, counts = (_known(v, "adaptive_avg_pool2d_backward") for v in (x, gradient))
    return _spread_back(gradient, [means(size, count) for size, count in zip(sizes, counts, strict=True)])


@imports("torch", "aten.avg_pool2d_backward.default")
def average_gradient_from_torch(call, gradient, x, kernel, stride, padding, ceil_mode, counts_pads, divisor):
    """A window's share counts what it covers of the data, or of the padded data where pads count."""
    sizes, counts = (_known(v, "avg_pool2d_backward") for v in (x, gradient))
    kernel = spread(kernel, 2)
    matrices = []
    for size, count, k, s, p in zip(sizes, counts, kernel, spread(stride or kernel, 2), spread(padding, 2), strict=True):
        matrix = np.zeros((count, size))
        for row in range(count):
            begin = row * s - p
            end = min(begin + k, size + p)
            inside = slice(max(begin, 0), min(end, size))
            share = end - begin if counts_pads else inside.stop - inside.start
            matrix[row, inside] = 1 if divisor else 1 / share
        matrices.append(matrix)
    matrices[0] = matrices[0] / divisor if divisor else matrices[0]
    return _spread_back(gradient, matrices)


@imports("torch", "aten.max_pool2d_with_indices_backward.default")
@batched
def maximum_gradient_from_torch(call, gradient, x, kernel, stride, padding, dilation, ceil_mode, places):
    places = places if places.rank == 4 else places.reshape(1, *places.shape)
    x = x if x.rank == 4 else x.reshape(1, *x.shape)
    flat = (*gradient.shape[:2], product(gradient.shape[2:]))
    empty = filled(call.graph, (*x.shape[:2], product(x.shape[2:])), 0, gradient.dtype)
    y = ScatterElements(axis=2, reduction="add")(empty, places.reshape(*flat), gradient.reshape(*flat))
    return y.reshape(*x.shape)


@imports("torch", "aten.convolution_backward.default")
def convolution_gradients_from_torch(
    call, gradient, x, kernel, bias_sizes, stride, padding, dilation, transposed, output_padding, groups, wanted
):
    spatial = kernel.rank - 2
    stride, padding, dilation = (spread(n, spatial) for n in (stride, padding, dilation))
    pads = tuple((p, p) for p in padding)
    of_x = of_kernel = of_bias = None
    if wanted[0] and transposed:
        of_x = Conv(strides=stride, pads=pads, dilations=dilation, groups=groups)(gradient, kernel, None)
    elif wanted[0]:
        sizes = zip(x.shape[2:], gradient.shape[2:], kernel.shape[2:], stride, padding, dilation, strict=True)
        left = [n - ((m - 1) * s - 2 * p + (k - 1) * d + 1) for n, m, k, s, p, d in sizes]
        of_x = conv_transpose_from_torch(call, gradient, kernel, None, stride, padding, left, groups, dilation)
    if wanted[1]:
        moving, fixed = (gradient, x) if transposed else (x, gradient)
        of_kernel = _kernel_gradient(call, moving, fixed, kernel.shape, stride, pads, dilation, groups)
    if wanted[2]:
        of_bias = reduced(ReduceSum, gradient, [a for a in range(gradient.rank) if a != 1], False)
    return of_x, of_kernel, of_bias


def _kernel_gradient(call: Any, moving: Value, fixed: Value, shape: Any, stride: Any, pads: Any, dilation: Any, groups: int) -> Value:
    """The batch is summed over as channels are: steps and gaps change places. What the steps did not reach is cut off."""
    conv = Conv(strides=dilation, pads=pads, dilations=stride, groups=1)
    swapped = (1, 0, *range(2, moving.rank))
    parts = zip(*(cut(v, [v.shape[1] // groups] * groups, 1) for v in (moving, fixed)), strict=True)
    found = [conv(m.transpose(*swapped), f.transpose(*swapped), None).transpose(*swapped) for m, f in parts]
    return sliced(joined(call, found, 0), {a: slice(0, n) for a, n in enumerate(shape) if a > 1})
