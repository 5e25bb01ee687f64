"""Layer and RMS normalisation in Keras: as layers, and as functions with weights of their own."""

from typing import Any

import numpy as np

from ..op import Value, exports, imports
from .layer_norm import LayerNorm, RMSNorm, fixed_sizes, is_last, on_last_axes
from .math import Mul
from .moments import in_one_dtype, standardized_in_keras
from .precision import exact_in_keras
from .variance import mean_and_inverse_deviation


def axes_from_keras(axis: Any, rank: int) -> tuple[int, ...]:
    """Keras' axis, a number or several, as sorted axes."""
    return tuple(sorted(a % rank for a in ((axis,) if isinstance(axis, int) else axis)))


@imports("keras", "LayerNormalization")
def layer_norm_from_keras(layer, x, mask=None):
    y = layer_norm_function_from_keras(layer, x, *(layer.weight(n, cast=False) for n in ("gamma", "beta")))
    return y.cast(layer.compute_dtype)


@imports("keras", "ops.LayerNorm")
def layer_norm_function_from_keras(call, x, gamma=None, beta=None):
    """Weights are reshaped, not transposed: so does Keras where positive and negative axes are mixed."""
    axes = axes_from_keras(call.axis, x.rank)
    numbers, gamma, beta = in_floats(x, *(over(x, axes, w) for w in (gamma, beta)))
    if getattr(call, "rms_scaling", False):
        return scaled_by_deviation(numbers, gamma, axes, epsilon_of(call)).cast(x.dtype)
    return in_one_dtype(LayerNorm(axes=axes, epsilon=epsilon_of(call)), numbers, gamma, beta).cast(x.dtype)


def in_floats(x: Value, *weights: Value | None) -> tuple[Value | None, ...]:
    """Whole numbers, and what they are scaled by, in float32, as Keras computes them; floats as they are."""
    if x.dtype.kind in "fV":
        return (x, *weights)
    return tuple(None if v is None else v.cast(np.float32) for v in (x, *weights))


def scaled_by_deviation(x: Value, gamma: Value | None, axes: tuple[int, ...], epsilon: float) -> Value:
    """What Keras' rms_scaling does: x over its deviation from the mean, which it does not subtract; no beta."""
    wide = x.cast(np.float32) if x.dtype.itemsize < 4 else x
    y = Mul()(wide, mean_and_inverse_deviation(wide, axes, epsilon)[1])
    if gamma is not None:
        shape = tuple(size if axis in axes else 1 for axis, size in enumerate(x.shape))
        y = Mul()(y, gamma.cast(y.dtype).reshape(*shape))
    return y.cast(x.dtype)


@imports("keras", "RMSNormalization")
def rms_norm_from_keras(layer, x):
    return rms_norm_function_from_keras(layer, x, layer.weight("scale"))


@imports("keras", "ops.RMSNorm")
def rms_norm_function_from_keras(call, x, scale=None):
    """Keras broadcasts the scale along the last axes whatever the others are."""
    axes = axes_from_keras(call.axis, x.rank)
    norm = RMSNorm(axes=axes, epsilon=epsilon_of(call))
    numbers, scale = in_floats(x, scale)
    if scale is None or (is_last(axes, x.rank) and scale.rank == len(axes)):
        return in_one_dtype(norm, numbers, over(x, axes, scale)).cast(x.dtype)
    return Mul()(norm(numbers, None), scale).cast(x.dtype)


def epsilon_of(call: Any) -> float:
    """Keras' functions take its own setting, 1e-7, where none is given."""
    return 1e-7 if call.epsilon is None else call.epsilon


def over(x: Value, axes: tuple[int, ...], value: Any) -> Value | None:
    """A weight in the shape of these axes."""
    if value is None:
        return None
    return (value if isinstance(value, Value) else x.graph.constant(value)).reshape(*(x.shape[a] for a in axes))


@exports("keras", LayerNorm)
def layer_norm_to_keras(op, keras, x, scale, bias):
    exact_in_keras(keras, type(op).__name__)
    if fixed_sizes(keras, op.axes) is None:
        return standardized_in_keras(keras, x, op.axes, op.epsilon)
    axis = axis_in_keras(op.axes)
    if keras.holds(scale, bias):
        norm = keras.layers.LayerNormalization(axis, op.epsilon, center=bias is not None, scale=scale is not None)
        norm = keras.place(norm, gamma=scale, beta=bias)
    else:
        weights = keras.tensor(scale), keras.tensor(bias)

        def norm(data: Any) -> Any:
            return keras.ops.layer_normalization(data, *weights, axis, op.epsilon)

    return on_last_axes(op.axes, keras.inputs[0].rank, x, keras.ops.transpose, norm)


@exports("keras", RMSNorm)
def rms_norm_to_keras(op, keras, x, scale):
    exact_in_keras(keras, type(op).__name__)
    axis = axis_in_keras(op.axes)
    if scale is not None and keras.holds(scale):
        norm = keras.place(keras.layers.RMSNormalization(axis, op.epsilon), scale=scale)
    else:
        scale = keras.tensor(scale)

        def norm(data: Any) -> Any:
            return keras.ops.rms_normalization(data, scale, axis, op.epsilon)

    return on_last_axes(op.axes, keras.inputs[0].rank, x, keras.ops.transpose, norm)


def axis_in_keras(axes: tuple[int, ...]) -> Any:
    """The last axes as users write them. Keras takes others too, but normalises wrong ones on the torch backend."""
    return -1 if len(axes) == 1 else list(range(-len(axes), 0))
