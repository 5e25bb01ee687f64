"""What normalisations share: their bound, weights where a framework insists on them, the definition in pieces."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..op import Op, Value, shortest
from .adding import added
from .reduce_exports import reduce_in_onnx

ROUNDINGS = 4  # of x * factor, mean * factor, bias and the factor itself: they count as that many terms of a sum
Axes = tuple[int, ...]
Weight = np.ndarray | None


def widened(*arrays: np.ndarray | None) -> list[Any]:
    """Arrays in at least float32, in which every framework computes statistics; None stays None."""
    return [None if a is None else a.astype(np.float64 if a.dtype == np.float64 else np.float32) for a in arrays]


def per_channel(array: np.ndarray | None, rank: int) -> np.ndarray | None:
    """One number a channel, shaped to broadcast along axis 1."""
    return None if array is None else array.reshape(-1, *(1,) * (rank - 2))


def standardized(x: np.ndarray, axes: Axes, epsilon: float, scale: Weight, bias: Weight) -> np.ndarray:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, statistics over `axes`."""
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)
    y = y if scale is None else y * scale
    return y if bias is None else y + bias


def standardized_terms(
    x: np.ndarray, axes: Axes, epsilon: float, scale: Weight, bias: Weight
) -> tuple[int, np.ndarray]:
    """The bound of `standardized`: as many terms as a mean adds up, and their size.

    With g the relative error of such a sum, the mean is off by g * mean|x|, and the variance, which some take as
    mean(x**2) - mean(x)**2, by g * (mean(x**2) + 2 * |mean| * mean|x|); half of that, relative to variance + epsilon,
    passes into the quotient. Data that lies far from zero is allowed more: that is what cancellation really costs.
    """
    count = int(np.prod([x.shape[a] for a in axes]))
    mean, size, square = (a.mean(axes, keepdims=True) for a in (x, np.abs(x), x * x))
    spread = x.var(axes, keepdims=True) + epsilon
    magnitude = np.abs(x) + size + np.abs(x - mean) * (square / 2 + np.abs(mean) * size) / spread
    magnitude = magnitude / np.sqrt(spread) * (1 if scale is None else np.abs(scale))
    return count + ROUNDINGS, magnitude if bias is None else magnitude + np.abs(bias)


# --- importing --------------------------------------------------------------------------------------------------------


def in_one_dtype(op: Op, x: Value, *weights: Value | None) -> Value:
    """The operator computed in its weights' dtype (float32 under mixed precision), the result in that of x."""
    dtype = next((w.dtype for w in weights if w is not None), x.dtype)
    return op(x.cast(dtype), *weights).cast(x.dtype)


def stored(epsilon: float, x: Value) -> float:
    """An epsilon that ONNX holds in 32 bits: the decimal that was meant; in float64 the very number that is added."""
    return epsilon if x.dtype == np.float64 else shortest(epsilon)


def unfilled(value: Value | None, number: float) -> Value | None:
    """None for a constant that stands there only because its framework insists on one: all ones, or all zeros."""
    return None if value is not None and value.is_constant and bool((value.array() == number).all()) else value


# --- exporting --------------------------------------------------------------------------------------------------------


def rounds(epsilon: float, dtype: Any) -> bool:
    """Whether 32 bits, all that ONNX's attribute has, would change a float64 result."""
    return bool(dtype == np.float64) and float(np.float32(epsilon)) != epsilon


def filling(fw: Any, number: float, *shape: int) -> Value:
    """The constant for a weight that is absent and yet insisted on: one and the same at every such place."""
    key = ("filling", number, shape, fw.inputs[0].dtype)
    if key not in fw.made:
        fw.made[key] = fw.graph.constant(np.full(shape, number, fw.inputs[0].dtype))
    return fw.made[key]


def affine(fw: Any, scale: Any, bias: Any, *shape: int) -> tuple[Any, Any]:
    """Scale and bias for a framework that has both or none: ones and zeros for the one that is absent."""
    return filling(fw, 1, *shape) if scale is None else scale, filling(fw, 0, *shape) if bias is None else bias


def scaled_in_keras(keras: Any, y: Any, scale: Any, bias: Any, shape: tuple[int, ...]) -> Any:
    """y * scale + bias, weights under `shape` so that they broadcast."""
    if scale is not None:
        y = keras.ops.multiply(y, keras.ops.reshape(keras.tensor(scale), shape))
    return y if bias is None else added(keras, y, keras.ops.reshape(keras.tensor(bias), shape))


def standardized_in_keras(keras: Any, x: Any, axes: Axes, epsilon: float) -> Any:
    """The definition, function by function."""
    centred = keras.ops.subtract(x, keras.ops.mean(x, axes, keepdims=True))
    variance = keras.ops.mean(keras.ops.square(centred), axes, keepdims=True)
    return keras.ops.divide(centred, keras.ops.sqrt(keras.ops.add(variance, epsilon)))


def standardized_in_onnx(onnx: Any, x: Any, axes: Axes, epsilon: float, scale: Any = None, bias: Any = None) -> Any:
    """The definition, operator by operator: for dtypes and settings that ONNX's own operators do not take."""

    def compute(data: Any, dtype: np.dtype) -> Any:
        centred = onnx.Sub(data, reduce_in_onnx(onnx, "ReduceMean", data, axes, True))
        variance = reduce_in_onnx(onnx, "ReduceMean", onnx.Mul(centred, centred), axes, True)
        return onnx.Div(centred, onnx.Sqrt(onnx.Add(variance, np.asarray(epsilon, dtype))))

    y = in_32_bits_in_onnx(onnx, x, compute)
    y = y if scale is None else onnx.Mul(y, scale)
    return y if bias is None else onnx.Add(y, bias)


def in_32_bits_in_onnx(onnx: Any, x: Any, compute: Callable[[Any, np.dtype], Any]) -> Any:
    """`compute(x, dtype)` in at least 32 bits: squares of 16-bit numbers overflow, and epsilons vanish among them."""
    dtype = onnx.inputs[0].dtype
    if dtype.itemsize >= 4:
        return compute(x, dtype)
    wide = np.dtype(np.float32)
    y = compute(onnx.Cast(x, to=onnx.element_type(wide)), wide)
    return onnx.Cast(y, to=onnx.element_type(dtype))


def reshaped_in_onnx(onnx: Any, value: Any, *shape: int) -> Any:
    """A weight under another shape: a view where it is one, a Reshape where it is computed."""
    if value is None:
        return None
    return value.reshape(*shape) if isinstance(value, Value) else onnx.Reshape(value, np.asarray(shape, np.int64))
