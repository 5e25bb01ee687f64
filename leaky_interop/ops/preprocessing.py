"""Layers in front of a network that compute with fixed numbers, as the arithmetic they are.

| Keras         | meaning                                                          |
|---------------|------------------------------------------------------------------|
| Rescaling     | x * scale + offset                                               |
| Normalization | (x - mean) / max(sqrt(variance), epsilon), or back with `invert` |

Both cast their data first. What they hold are settings and no weights: constants.

| MATLAB's Normalization | meaning                                              |
|------------------------|------------------------------------------------------|
| zerocenter             | x - Mean                                             |
| zscore                 | (x - Mean) / StandardDeviation                       |
| rescale-zero-one       | (x - Min) / (Max - Min)                              |
| rescale-symmetric      | the same times 2, minus 1                            |
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..op import Value, imports
from .math import Add, Div, Mul, Sub

EPSILON = 1e-7  # keras.config.epsilon() as it is unless somebody sets it


@imports("keras", "Rescaling")
def rescaling_from_keras(layer, x):
    x = x.cast(layer.compute_dtype)
    for kind, number, neutral in ((Mul, layer.scale, 1.0), (Add, layer.offset, 0.0)):
        if not (np.isscalar(number) and number == neutral):
            x = kind()(x, _held(layer, number, x.dtype))
    return x


@imports("keras", "Normalization")
def normalization_from_keras(layer, x):
    x = x.cast(layer.compute_dtype)
    mean, variance = (np.asarray(layer.reader.operand(v)) for v in (layer.mean, layer.variance))
    deviation = np.maximum(np.sqrt(variance), np.asarray(EPSILON, variance.dtype))
    mean, deviation = (_held(layer, v, x.dtype) for v in (mean, deviation))
    return Add()(mean, Mul()(x, deviation)) if layer.invert else Div()(Sub()(x, mean), deviation)


@imports("matlab", "imageInputLayer", "featureInputLayer")
def normalization_from_matlab(layer, x):
    """With statistics of the training data; where they are not known, nothing is done (and the user is told)."""
    roles = {"none": (), "zerocenter": ("Mean",), "zscore": ("Mean", "StandardDeviation")}.get(layer.Normalization, ("Min", "Max"))
    known = [layer.statistic(role) for role in roles]
    if any(numbers is None for numbers in known):
        return x
    if roles == ("Min", "Max"):
        known[1] = known[1] - known[0]
    neutral = all((numbers == number).all() for numbers, number in zip(known, (0, 1), strict=False))
    if not (neutral and layer.Normalization != "rescale-symmetric"):
        for kind, numbers in zip((Sub, Div), known, strict=False):
            x = kind()(x, layer.graph.constant(numbers))
    return Sub()(Mul()(x, 2.0), 1.0) if layer.Normalization == "rescale-symmetric" else x


def _held(layer: Any, numbers: Any, dtype: np.dtype) -> Value:
    """A number, or one per channel, which stands last or, with channels first, before the spatial axes."""
    array = np.asarray(numbers, dtype)
    if array.ndim == 1 and layer.image_data_format == "channels_first":
        array = array.reshape(-1, 1, 1)
    return layer.graph.constant(array)
