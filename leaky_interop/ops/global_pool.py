"""Global pooling and norms: every framework's spelling of a reduction, exported by reduce.py.

| meaning              | keras                    | torch                                  | onnx              |
|----------------------|--------------------------|----------------------------------------|-------------------|
| mean over all places | GlobalAveragePooling     | adaptive_avg_pool to 1                 | GlobalAveragePool |
| largest of all       | GlobalMaxPooling         | adaptive_max_pool to 1                 | GlobalMaxPool     |
| norm                 | ops.norm                 | linalg.vector_norm, norm               | GlobalLpPool      |
"""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, exports, imports, shortest
from .functions import Abs
from .math import Div, Mul, Pow
from .promotion import as_value, floating, in_one_dtype
from .reduce import ReduceL1, ReduceL2, ReduceMax, ReduceMean, ReduceMin, ReduceSum, axes_of, entries, reduced
from .shape import with_axes, without
from .svd import norm_of_matrices


def spatial_axes(layer: Any, x: Value) -> tuple[int, ...]:
    """All axes of a Keras layer's data but the batch and the channels."""
    return tuple(range(1, x.rank - 1) if layer.data_format == "channels_last" else range(2, x.rank))


@imports("keras", "GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D")
def global_mean_from_keras(layer, x, mask=None):
    layer.follow(mask)
    x, axes = floating(layer, x), spatial_axes(layer, x)
    if mask is None:
        return reduced(ReduceMean, x, axes, layer.keepdims)
    kept = with_axes(mask.cast(x.dtype), [3 - axes[0]])  # along the channels
    total = reduced(ReduceSum, Mul()(x, kept), axes, layer.keepdims)
    return Div()(total, reduced(ReduceSum, kept, axes, layer.keepdims))


@imports("keras", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D")
def global_max_from_keras(layer, x):
    return reduced(ReduceMax, x, spatial_axes(layer, x), layer.keepdims)


@imports("matlab", "globalAveragePooling2dLayer", channels_last=True)
def global_mean_from_matlab(layer, x):
    return reduced(ReduceMean, x, range_of_places(x), True)


@imports("matlab", "globalMaxPooling2dLayer", channels_last=True)
def global_max_from_matlab(layer, x):
    return reduced(ReduceMax, x, range_of_places(x), True)


@exports("matlab", ReduceMean, channels_last=True)
def global_mean_to_matlab(op, matlab, x):
    return _global_pool_to_matlab(op, matlab, x, "globalAveragePooling2dLayer")


@exports("matlab", ReduceMax, channels_last=True)
def global_max_to_matlab(op, matlab, x):
    return _global_pool_to_matlab(op, matlab, x, "globalMaxPooling2dLayer")


def _global_pool_to_matlab(op: Any, matlab: Any, x: Any, function: str) -> Any:
    if matlab.axes(op) != (1, 2) or matlab.inputs[0].rank != 4:
        why = "MATLAB reduces an image over its height and width together"
        raise matlab.refuse(f"{op}", why=why, instead="Use a global pooling")
    y = matlab.layer(function, x)
    return y if op.keepdims else matlab.flattened(y, implied=True)


@imports("onnx", "GlobalAveragePool")
def global_mean_from_onnx(node, x):
    return reduced(ReduceMean, x, range_of_places(x), True)


@imports("onnx", "GlobalMaxPool")
def global_max_from_onnx(node, x):
    return reduced(ReduceMax, x, range_of_places(x), True)


@imports("onnx", "GlobalLpPool")
def global_norm_from_onnx(node, x):
    return norm(x, shortest(float(node.p)), range_of_places(x), True)


def range_of_places(x: Value) -> tuple[int, ...]:
    """The axes behind the batch and the channels."""
    return tuple(range(2, x.rank))


@imports("keras", "ops.Average")
def average_from_keras(call, x, weights=None):
    x = floating(call, x)
    if weights is None:
        return reduced(ReduceMean, x, call.axis, False)
    x, weights = in_one_dtype(call, x, weights)
    if weights.rank < x.rank and call.backend != "torch":
        weights = weights.reshape(*(d if a == call.axis % x.rank else 1 for a, d in enumerate(x.shape)))
    below = -1 if call.backend == "torch" else call.axis  # torch always adds up the weights of the last axis
    return Div()(reduced(ReduceSum, Mul()(x, weights), call.axis, False), reduced(ReduceSum, weights, below, False))


@imports("keras", "ops.CountNonzero")
def count_nonzero_from_keras(call, x):
    x, axis, _ = entries(as_value(call, x).cast(bool).cast(np.int32), call.axis, False)
    y = reduced(ReduceSum, x, axis, False)
    return y.transpose(*reversed(range(y.rank))) if call.backend == "torch" else y  # which turns the axes around


def norm(x: Value, order: float, axes: Any, keepdims: Any) -> Value:
    """The vector norm over all of the axes together."""
    if order in (1, 2):
        return reduced(ReduceL1 if order == 1 else ReduceL2, x, axes, keepdims)
    if math.isinf(order):
        return reduced(ReduceMax if order > 0 else ReduceMin, Abs()(x), axes, keepdims)
    if order == 0:
        return reduced(ReduceSum, x.cast(bool).cast(x.dtype), axes, keepdims)
    wide = x.cast(np.float32) if x.dtype.itemsize < 4 else x  # powers of narrower numbers overflow
    return Pow()(reduced(ReduceSum, Pow()(Abs()(wide), order), axes, keepdims), 1 / order).cast(x.dtype)


@imports("torch", "aten.linalg_vector_norm.default")
def vector_norm_from_torch(call, x, order, axes, keepdims, dtype):
    return norm(x if dtype is None else x.cast(dtype), order, axes, keepdims)


@imports("torch", "aten.norm.ScalarOpt_dim")
def norm_from_torch(call, x, order, axes, keepdims):
    return norm(x, 2 if order is None else order, axes, keepdims)


@imports("torch", "aten.norm.Scalar")
def whole_norm_from_torch(call, x, order):
    return norm(x, order, None, False)


@imports("keras", "ops.Norm")
def norm_from_keras(call, x):
    x = floating(call, x)
    axes = axes_of(x, call.axis)
    order = {None: 2, "fro": 2}.get(call.ord, call.ord)
    of_matrix = len(axes) == 2 and call.ord not in (None, "fro")
    if of_matrix and call.ord in (1, -1, math.inf, -math.inf):  # of the sums along one axis the largest or the smallest
        rows, columns = (a % x.rank for a in (call.axis or (0, 1)))
        along, across = (rows, columns) if abs(call.ord) == 1 else (columns, rows)
        sums = reduced(ReduceSum, Abs()(x), along, True)
        y = reduced(ReduceMax if call.ord > 0 else ReduceMin, sums, across, True)
        return y if call.keepdims else without(y, axes)
    if of_matrix and call.ord in (2, -2, "nuc"):
        return norm_of_matrices(call, x, call.axis)
    if isinstance(order, str) or of_matrix or (len(axes) > 2 and call.ord is not None):
        raise Refused(
            f"a matrix norm of order {call.ord}",
            why="matrices have norms of order 1, 2, inf, their negatives, fro and nuc",
            hint="Write it out",
        )
    return norm(x, order, axes, call.keepdims)
