"""Relu, thresholds, and Keras' relu with all its settings.

| meaning                   | keras                                   | torch                      | onnx            |
|---------------------------|-----------------------------------------|----------------------------|-----------------|
| Relu                      | ReLU, relu                              | ReLU                       | Relu            |
| Clip(0, m): see `bounds`  | ReLU(max_value=m)                       | ReLU6, clamp               | Clip            |
| Threshold                 | ReLU(threshold=t); ops.threshold(t, v)  | Threshold(t, v)            | ThresholdedRelu |
| CappedLeakyRelu           | ReLU(max_value, negative_slope, threshold) | Where                   | Where           |

ThresholdedRelu has 1.0 where nothing is said. torch's Threshold lets NaN stay, the others do not.
At the threshold itself Keras is below it (it computes x > threshold), whatever its documentation says.
"""

import numpy as np

from ..errors import Refused
from ..op import Operand, Pointwise, case, exports, imports, op, shortest
from .activation import EDGES, FLOATS, Bent, LeakyRelu, below
from .bounds import Clip
from .functions import Neg
from .join import joined
from .precision import IN_32_BITS, extreme
from .table import unary


def _relu_to_keras(keras, x):
    if keras.inputs[0].dtype.kind not in "fV":  # layers compute in floats
        return extreme(keras, "maximum", x, 0)
    return keras.place(keras.layers.ReLU())(x)


def _relu_to_onnx(onnx, x):
    return onnx.Relu(x) if onnx.inputs[0].dtype.kind in "fV" else onnx.Max(x, 0)


Relu = unary("Relu", "The larger of x and 0.", lambda x: np.maximum(x, 0), onnx=_relu_to_onnx, tolerance="exact",
             torch=lambda torch, x: torch.place(torch.nn.ReLU())(x), keras=_relu_to_keras)  # fmt: skip


@op
class Threshold(Pointwise):
    """x where x > threshold, value elsewhere. NaN is not larger: it becomes `value` too, unless it passes."""

    threshold: float
    value: float
    nan_passes: bool
    tolerance = "exact"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        keeps = x > x.dtype.type(self.threshold)
        return np.where(keeps | np.isnan(x) if self.nan_passes else keeps, x, x.dtype.type(self.value))


@op
class CappedLeakyRelu(Bent):
    """x where x > threshold, but at most max_value; negative_slope * (x - threshold) elsewhere. The slope is not 0."""

    negative_slope: float
    threshold: float
    max_value: float | None

    def results(self, x: np.ndarray) -> dict[str, np.ndarray]:
        number = x.dtype.type
        above = x if self.max_value is None else np.minimum(np.maximum(x, number(0)), number(self.max_value))
        with np.errstate(invalid="ignore"):
            distance = x - number(self.threshold)
        found = below(distance, self.negative_slope).items()
        return {name: np.where(x > number(self.threshold), above, low) for name, low in found}


@imports("chainer", "ReLU")
@imports("torch", "aten.relu.default")
@imports("onnx", "Relu")
@imports("matlab", "reluLayer")
def relu(call, x):
    return Relu()(x)


@imports("keras", "ReLU", "ops.ReLU", "ops.Relu", "activations.relu")
def relu_from_keras(layer, x):
    settings = (getattr(layer, name, None) for name in ("negative_slope", "threshold", "max_value"))
    slope, threshold, cap = (None if s is None else float(s) for s in settings)
    slope, threshold = slope or 0.0, threshold or 0.0
    if slope:
        if threshold == 0 and cap is None:
            return LeakyRelu(negative_slope=slope)(x)
        if not np.isfinite(slope):
            what = f"ReLU(negative_slope={slope}, threshold={threshold}, max_value={cap})"
            raise Refused(what, why="Keras makes NaN of every number above the threshold", hint="Use a finite slope")
        return CappedLeakyRelu(negative_slope=slope, threshold=threshold, max_value=cap)(x)
    if threshold:
        x = Threshold(threshold=threshold, value=0.0, nan_passes=False)(x)
    elif cap is None:
        return Relu()(x)
    return x if cap is None else Clip(minimum=0.0, maximum=cap)(x)


@imports("chainer", "ClippedReLU")
def clipped_relu_from_chainer(call, x):
    return Clip(minimum=0.0, maximum=float(call.cap))(x)


@imports("chainer", "CReLU")
def concatenated_relu_from_chainer(call, x):
    """relu(x) and relu(-x), one after the other."""
    return joined(call, [Relu()(x), Relu()(Neg()(x))], call.axis)


def _above(x, threshold, value, *, nan_passes):
    """The operator; among whole numbers both frameworks take what is before the point of the threshold."""
    number = int if x.dtype.kind in "iu" else float
    return Threshold(threshold=number(threshold), value=number(value), nan_passes=nan_passes)(x)


@imports("torch", "aten.threshold.default")
def threshold_from_torch(call, x, threshold, value):
    return _above(x, threshold, value, nan_passes=True)


@imports("keras", "ops.Threshold")
def threshold_from_keras(call, x):
    return _above(x, call.threshold, call.default_value, nan_passes=False)


@imports("onnx", "ThresholdedRelu")
def threshold_from_onnx(node, x):
    return Threshold(threshold=shortest(node.alpha), value=0.0, nan_passes=False)(x)


@exports("matlab", Relu)
def relu_to_matlab(op, matlab, x):
    return matlab.layer("reluLayer", x)


@exports("torch", Threshold)
def threshold_to_torch(op, torch, x):
    if op.nan_passes:
        return torch.place(torch.nn.Threshold(op.threshold, op.value))(x)
    return torch.where(x > op.threshold, x, op.value)


@exports("keras", Threshold)
def threshold_to_keras(op, keras, x):
    if op.nan_passes:
        return keras.ops.where(keras.ops.less_equal(x, op.threshold), op.value, x)
    if op.value == 0 and op.threshold > 0:
        return keras.place(keras.layers.ReLU(threshold=op.threshold))(x)
    return keras.ops.where(keras.ops.greater(x, op.threshold), x, op.value)  # ops.threshold lets NaN pass on torch


@exports("onnx", Threshold)
def threshold_to_onnx(op, onnx, x):
    if op.nan_passes:
        return onnx.Where(onnx.LessOrEqual(x, op.threshold), op.value, x)
    if op.value == 0 and onnx.inputs[0].dtype.kind in "fV" and onnx.runs("ThresholdedRelu"):
        return onnx.ThresholdedRelu(x, alpha=op.threshold)
    return onnx.Where(onnx.Greater(x, op.threshold), x, op.value)


@exports("torch", CappedLeakyRelu)
def capped_leaky_relu_to_torch(op, torch, x):
    above = x if op.max_value is None else torch.clamp(x, 0.0, op.max_value)
    below = x if op.threshold == 0 else x - op.threshold
    return torch.where(x > op.threshold, above, below * op.negative_slope)


@exports("keras", CappedLeakyRelu)
def capped_leaky_relu_to_keras(op, keras, x):
    settings = {"max_value": op.max_value, "negative_slope": op.negative_slope, "threshold": op.threshold}
    if op.negative_slope < 0 or op.threshold < 0:  # the layer refuses these, the function does not
        return keras.activations.relu(x, **settings)
    return keras.place(keras.layers.ReLU(**settings))(x)


@exports("onnx", CappedLeakyRelu)
def capped_leaky_relu_to_onnx(op, onnx, x):
    above = x if op.max_value is None else onnx.Clip(x, 0.0, op.max_value)
    below = x if op.threshold == 0 else onnx.Sub(x, op.threshold)
    return onnx.Where(onnx.Greater(x, op.threshold), above, onnx.Mul(below, op.negative_slope))


for dtype in FLOATS:
    case(f"relu/{dtype}", Relu(), Operand((2, 3, 4), dtype=dtype))
case(
    "relu/int32",
    Relu(),
    Operand((2, 3), dtype="int32", low=-5, high=5),
    composed={"onnx": "Max(x, 0)", "keras": "Maximum"},
)
case("relu/edges", Relu(), Operand((10,), numbers=EDGES))
for dtype in FLOATS:
    for value, passes in ((0.0, False), (-7.5, False), (-7.5, True)):
        ways = {"keras": "Where"} if passes else {"torch": "Where"}
        if value or dtype == "float64":
            ways["onnx"] = "Where"
        if value:
            ways["keras"] = "Where"
        narrow = IN_32_BITS if value and dtype == "float64" else None
        made = Threshold(threshold=0.75, value=value, nan_passes=passes)
        name = f"threshold/{dtype}_{value}{'_nan_passes' if passes else ''}"
        case(name, made, Operand((2, 3, 4), dtype=dtype), composed=ways, refused=narrow)
        case(f"{name}_edges", made, Operand((10,), dtype=dtype, numbers=EDGES), composed=ways, refused=narrow)
case("threshold/below_zero", Threshold(threshold=-0.5, value=0.0, nan_passes=False), (2, 3, 4),
     composed={"torch": "Where", "keras": "Where"})  # fmt: skip
for name, *settings in (("all", 0.1, 0.5, 6.0), ("no_cap", 0.25, 1.0, None), ("no_threshold", 0.1, 0.0, 2.0),
                        ("negative", -0.5, -1.0, 2.0)):  # fmt: skip
    slope, threshold, cap = settings
    made = CappedLeakyRelu(negative_slope=slope, threshold=threshold, max_value=cap)
    for dtype in FLOATS:
        numbers = (*EDGES[:-1], threshold, threshold + 0.125)
        case(f"capped_leaky_relu/{name}_{dtype}", made, Operand((11,), dtype=dtype, numbers=numbers),
             composed={"torch": "Where", "onnx": "Where"})  # fmt: skip
