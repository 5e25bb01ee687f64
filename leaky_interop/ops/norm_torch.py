"""Normalisations as core ATen spells them: their statistics are further results, which a network rarely reads.

| aten                                 | results beside the normalised data                                  |
|--------------------------------------|---------------------------------------------------------------------|
| native_layer_norm, native_group_norm | mean and 1 / sqrt(variance + eps)                                   |
| _native_batch_norm_legit.no_stats    | the same, per channel                                               |
| _native_batch_norm_legit_functional  | the same, and the running statistics that a training step leaves    |
| _native_batch_norm_legit_no_training | nothing: two empty arrays                                           |

Importers only.
"""

import numpy as np

from ..op import Value, imports, product
from .expand import filled
from .group_norm import group_norm_from_torch
from .layer_norm import last_axes, layer_norm_from_torch
from .math import Add, Mul
from .norm import batch_norm_from_torch
from .reduce import ReduceMean, reduced
from .variance import ReduceVariance, mean_and_inverse_deviation


@imports("torch", "aten.native_layer_norm.default")
def layer_norm_with_statistics_from_torch(call, x, sizes, scale, bias, epsilon):
    y = layer_norm_from_torch(call, x, sizes, scale, bias, epsilon)
    return y, *mean_and_inverse_deviation(x, last_axes(x, len(sizes)), epsilon)


@imports("torch", "aten.native_group_norm.default")
def group_norm_with_statistics_from_torch(call, x, scale, bias, batch, channels, space, groups, epsilon):
    y = group_norm_from_torch(call, x, groups, scale, bias, epsilon)
    spread = x.reshape(x.shape[0], groups, product(x.shape[1:]) // groups)
    return y, *(s.reshape(x.shape[0], groups) for s in mean_and_inverse_deviation(spread, [2], epsilon))


@imports("torch", "aten._native_batch_norm_legit_no_training.default")
def batch_norm_at_inference_from_torch(call, x, scale, bias, mean, variance, momentum, epsilon):
    y = batch_norm_from_torch(call, x, scale, bias, mean, variance, False, momentum, epsilon)
    return y, *(filled(call.graph, (0,), 0, x.dtype) for _ in range(2))


@imports("torch", "aten._native_batch_norm_legit.no_stats")
def batch_statistics_norm_from_torch(call, x, scale, bias, training, momentum, epsilon):
    y = batch_norm_from_torch(call, x, scale, bias, None, None, training, momentum, epsilon)
    return y, *_per_channel(x, epsilon, x.dtype if scale is None else scale.dtype)


@imports("torch", "aten._native_batch_norm_legit_functional.default")
def batch_norm_in_training_from_torch(call, x, scale, bias, mean, variance, training, momentum, epsilon):
    """The running variance follows that of the batch as a sample of more: divided by one less than the number of entries."""
    if not training:
        y = batch_norm_at_inference_from_torch(call, x, scale, bias, mean, variance, momentum, epsilon)
        return *y, mean, variance
    y, *statistics = batch_statistics_norm_from_torch(call, x, scale, bias, training, momentum, epsilon)
    axes = _all_but_channels(x)
    wide = _wide(x)
    of_batch = reduced(ReduceMean, wide, axes, False), reduced(ReduceVariance, wide, axes, False, correction=1.0)
    return y, *statistics, *(_moved(old, new, momentum) for old, new in zip((mean, variance), of_batch, strict=True))


def _per_channel(x: Value, epsilon: float, dtype: np.dtype) -> list[Value]:
    """Computed in float32 from narrower data too, and given in the element type of the weights."""
    wide = _wide(x)
    return [s.reshape(x.shape[1]).cast(dtype) for s in mean_and_inverse_deviation(wide, _all_but_channels(x), epsilon)]


def _all_but_channels(x: Value) -> list[int]:
    return [a for a in range(x.rank) if a != 1]


def _wide(x: Value) -> Value:
    return x.cast(np.float32) if x.dtype.itemsize < 4 else x


def _moved(old: Value, new: Value, momentum: float) -> Value:
    """In float32 where either is narrower: torch leaves the rounding to whoever keeps it."""
    old = _wide(old)
    return Add()(Mul()(old, 1 - momentum), Mul()(new.cast(old.dtype), momentum))
