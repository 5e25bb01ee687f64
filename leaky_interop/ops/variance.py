"""Variance and standard deviation.

| meaning            | keras             | torch                              | onnx     |
|--------------------|-------------------|------------------------------------|----------|
| ReduceVariance     | ops.var           | var, correction 1 when left out    | composed |
| its square root    | ops.std           | std, correction 1 when left out    | composed |

The sum of squared distances from the mean is divided by n - correction: 0 in Keras, 1 in torch unless told otherwise.
"""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, case, exports, imports, op, product
from .bounds import Clip
from .functions import Rsqrt, Sqrt
from .math import Add
from .precision import exact_in_keras
from .promotion import floating
from .reduce import ReduceMean, Reduction, reduced
from .reduce_exports import reduce_in_onnx


@op
class ReduceVariance(Reduction):
    """The sum of squared distances from the mean, divided by n - correction."""

    correction: float
    tolerance = "sum"

    def function(self, x: np.ndarray, **how: Any) -> np.ndarray:
        with np.errstate(all="ignore"):
            count = math.prod(x.shape[a] for a in self.axes)
            return np.var(x, **how) * np.float64(count) / max(count - self.correction, 0)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """Squares of the distances are off as the mean is: relative to the squares of the data themselves."""
        x = arrays[0].astype(np.float64)
        how = {"axis": self.axes, "keepdims": self.keepdims}
        count = self.length(*arrays)
        return count, 2 * np.square(np.abs(x)).sum(**how) / max(count - self.correction, 1)


def variance(call: Any, x: Any, axes: Any, correction: Any, keepdims: Any) -> Value:
    """The variance of floats; torch corrects by 1 where nothing is said."""
    return reduced(
        ReduceVariance, floating(call, x), axes, keepdims, correction=1.0 if correction is None else float(correction)
    )


def mean_and_inverse_deviation(x: Value, axes: Any, epsilon: float) -> tuple[Value, Value]:
    """The statistics of a normalisation, their axes kept: the mean, and 1 / sqrt(variance + epsilon)."""
    spread = reduced(ReduceVariance, x, axes, True, correction=0.0)
    return reduced(ReduceMean, x, axes, True), Rsqrt()(Add()(spread, epsilon))


@imports("torch", "aten.var.correction")
def variance_from_torch(call, x, axes, correction, keepdims):
    return variance(call, x, axes, correction, keepdims)


@imports("torch", "aten.var.dim")
def unbiased_variance_from_torch(call, x, axes, unbiased, keepdims):
    return variance(call, x, axes, int(unbiased), keepdims)


@imports("torch", "aten.var.default")
def whole_variance_from_torch(call, x, unbiased):
    return variance(call, x, None, int(unbiased), False)


@imports("torch", "aten.std.correction")
def deviation_from_torch(call, x, axes, correction, keepdims):
    return Sqrt()(variance(call, x, axes, correction, keepdims))


@imports("torch", "aten.std.dim")
def unbiased_deviation_from_torch(call, x, axes, unbiased, keepdims):
    return Sqrt()(variance(call, x, axes, int(unbiased), keepdims))


@imports("torch", "aten.std.default")
def whole_deviation_from_torch(call, x, unbiased):
    return Sqrt()(variance(call, x, None, int(unbiased), False))


@imports("torch", "aten.var_mean.correction")
def variance_and_mean_from_torch(call, x, axes, correction, keepdims):
    return variance(call, x, axes, correction, keepdims), reduced(ReduceMean, x, axes, keepdims)


@imports("torch", "aten.var_mean.dim")
def unbiased_variance_and_mean_from_torch(call, x, axes, unbiased, keepdims):
    return variance(call, x, axes, int(unbiased), keepdims), reduced(ReduceMean, x, axes, keepdims)


@imports("torch", "aten.std_mean.correction")
def deviation_and_mean_from_torch(call, x, axes, correction, keepdims):
    return Sqrt()(variance(call, x, axes, correction, keepdims)), reduced(ReduceMean, x, axes, keepdims)


@imports("keras", "ops.Var")
def variance_from_keras(call, x):
    return variance(call, x, call.axis, 0, call.keepdims)


@imports("keras", "ops.Std")
def deviation_from_keras(call, x):
    return Sqrt()(variance(call, x, call.axis, 0, call.keepdims))


@imports("keras", "ops.Moments")
def moments_from_keras(call, x):
    """Those of halves are computed in float32, and kept within float16."""
    if call.backend == "tensorflow" and x.dtype.kind in "iub":
        raise Refused(f"moments of {x.dtype}", why="TensorFlow rounds their means to whole numbers", hint="Cast them to float32")
    x = floating(call, x)
    half = x.dtype if x.dtype.itemsize == 2 and (x.dtype == np.float16 or call.backend == "tensorflow") else None
    x = x if half is None else x.cast(np.float32)
    found = reduced(ReduceMean, x, call.axes, call.keepdims), variance(call, x, call.axes, 0, call.keepdims)
    most = float(np.finfo(np.float16).max)
    return found if half is None else tuple(Clip(minimum=-most, maximum=most)(v).cast(half) for v in found)


@exports("torch", ReduceVariance)
def variance_to_torch(op, torch, x):
    correction = int(op.correction) if op.correction == int(op.correction) else op.correction
    return x.var(op.axes, correction=correction, keepdim=op.keepdims)


def entries(op: ReduceVariance, fw: Any) -> Any:
    """How many numbers one result is made of; a native tensor where that is known only at run time."""
    count = product(fw.inputs[0].shape[a] for a in op.axes)
    return count if isinstance(count, int) else fw.tensor(fw.graph.of_sizes(count))


def share(count: int, correction: float) -> float:
    """What turns a mean of squares into a corrected one."""
    return count / (count - correction) if count > correction else math.inf


@exports("keras", ReduceVariance)
def variance_to_keras(op, keras, x):
    exact_in_keras(keras, "a variance")
    y = keras.ops.var(x, axis=op.axes, keepdims=op.keepdims)
    if not op.correction:
        return y
    count = entries(op, keras)
    if isinstance(count, int):
        return keras.ops.multiply(y, share(count, op.correction))
    count = keras.ops.cast(count, keras.outputs[0].dtype.name)
    return keras.ops.multiply(y, keras.ops.divide(count, keras.ops.subtract(count, op.correction)))


@exports("onnx", ReduceVariance)
def variance_to_onnx(op, onnx, x):
    centred = onnx.Sub(x, reduce_in_onnx(onnx, "ReduceMean", x, op.axes, True))
    y = reduce_in_onnx(onnx, "ReduceMean", onnx.Mul(centred, centred), op.axes, op.keepdims)
    if not op.correction:
        return y
    count = entries(op, onnx)
    if isinstance(count, int):
        return onnx.Mul(y, share(count, op.correction))
    count = onnx.Cast(count, to=onnx.element_type(onnx.outputs[0].dtype))
    return onnx.Mul(y, onnx.Div(count, onnx.Sub(count, op.correction)))


_PIECES = {"onnx": "comes back as the mean of squared distances"}
case("variance/biased", ReduceVariance(axes=(1, 2), keepdims=False, correction=0.0), (2, 3, 4), composed=_PIECES)
case(
    "variance/unbiased", ReduceVariance(axes=(2, 3), keepdims=True, correction=1.0), (2, 3, 4, 5),
    composed=_PIECES | {"keras": "comes back with the share it is multiplied by"},
)  # fmt: skip
