"""The rectified linear units beside LeakyRelu: Relu, its Keras form with three settings, PRelu, thresholds.

| meaning          | keras                                        | torch             | onnx            |
|------------------|----------------------------------------------|-------------------|-----------------|
| Relu             | ReLU, relu                                   | ReLU              | Relu            |
| Clip(0, m)       | ReLU(max_value=m)                            | ReLU6, clamp      | Clip            |
| ThresholdedRelu  | ReLU(threshold=t), default 0                 | Threshold(t, 0)   | ThresholdedRelu, default 1 |
| PRelu            | PReLU; shared_axes have slope size 1         | PReLU, a slope per channel | PRelu, the slope broadcasts |
| RRelu at inference | none                                       | RReLU: LeakyRelu((lower + upper) / 2) | none |
"""

import numpy as np

from ..op import Moved, Operand, Perm, Pointwise, Value, case, exports, imports, op, shortest, weight
from .activation import LeakyRelu
from .bounds import Clip
from .compare import GreaterOrEqual, Where
from .math import Mul, Sub


@op
class Relu(Pointwise):
    """x where x > 0, else 0. NaN stays NaN."""

    tolerance = "exact"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        with np.errstate(invalid="ignore"):
            return np.maximum(x, x.dtype.type(0))


@op
class ThresholdedRelu(Pointwise):
    """x where x > threshold, else 0."""

    threshold: float
    tolerance = "exact"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        with np.errstate(invalid="ignore"):
            return np.where(x > x.dtype.type(self.threshold), x, x.dtype.type(0))


@op
class PRelu(Pointwise):
    """x where x >= 0, slope * x elsewhere, with a learned slope that broadcasts against x."""

    tolerance = "exact"
    weights = (1,)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, slope = arrays
        with np.errstate(invalid="ignore", over="ignore"):
            return np.where(x >= 0, x, x * slope)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(self, (perm, perm), (perm,))


# --- relu -------------------------------------------------------------------------------------------------------------


@imports("torch", "aten.relu.default")
@imports("onnx", "Relu")
def relu_from_native(call, x):
    return Relu()(x)


@imports("keras", "ReLU", "ops.Relu", "ops.ReLU", "activations.relu")
def relu_from_keras(layer, x):
    """Keras' ReLU: max_value above, x between, negative_slope * (x - threshold) up to and including the threshold."""
    limit = getattr(layer, "max_value", None)
    slope, threshold = (float(getattr(layer, name, 0.0) or 0.0) for name in ("negative_slope", "threshold"))
    if threshold == 0.0:
        if slope != 0.0:
            leaky = LeakyRelu(negative_slope=slope)(x)
            return leaky if limit is None else Clip(minimum=None, maximum=float(limit))(leaky)
        return Relu()(x) if limit is None else Clip(minimum=0.0, maximum=float(limit))(x)
    if slope == 0.0:
        kept = ThresholdedRelu(threshold=threshold)(x)
        return kept if limit is None else Clip(minimum=None, maximum=float(limit))(kept)
    # A number above the threshold is kept, every other one (the threshold itself as well) lies on the slope.
    line = Sub()(x, threshold)
    sloped = Mul()(line, slope)
    low = Where()(GreaterOrEqual()(x.graph.constant(np.asarray(threshold, x.dtype)), x), sloped, x)
    return low if limit is None else Where()(GreaterOrEqual()(x, float(limit)), x.graph.constant(np.asarray(limit, x.dtype)), low)


@exports("torch", Relu)
def relu_to_torch(op, torch, x):
    return torch.place(torch.nn.ReLU())(x)


@exports("keras", Relu)
def relu_to_keras(op, keras, x):
    return keras.place(keras.layers.ReLU())(x)


@exports("onnx", Relu)
def relu_to_onnx(op, onnx, x):
    return onnx.Relu(x)


# --- thresholds -------------------------------------------------------------------------------------------------------


@imports("torch", "aten.threshold.default")
def threshold_from_torch(call, x, threshold, value):
    if value == 0:
        return ThresholdedRelu(threshold=float(threshold))(x)
    other = x.graph.constant(np.asarray(value, x.dtype))
    return Where()(GreaterOrEqual()(x.graph.constant(np.asarray(threshold, x.dtype)), x), other, x)


@imports("keras", "ops.Threshold", "activations.threshold")
def threshold_from_keras(call, x):
    return threshold_from_torch(call, x, call.threshold, call.default_value)


@imports("onnx", "ThresholdedRelu")
def thresholded_relu_from_onnx(node, x):
    return ThresholdedRelu(threshold=shortest(node.alpha))(x)


@exports("torch", ThresholdedRelu)
def thresholded_relu_to_torch(op, torch, x):
    return torch.place(torch.nn.Threshold(op.threshold, 0.0))(x)


@exports("keras", ThresholdedRelu)
def thresholded_relu_to_keras(op, keras, x):
    if op.threshold < 0:  # the layer refuses these
        return keras.ops.where(keras.ops.greater(x, op.threshold), x, keras.ops.zeros_like(x))
    return keras.place(keras.layers.ReLU(threshold=op.threshold))(x)


@exports("onnx", ThresholdedRelu)
def thresholded_relu_to_onnx(op, onnx, x):
    if onnx.inputs[0].dtype != np.float32:  # the runtime has no other kernel
        return onnx.Where(onnx.Greater(x, op.threshold), x, 0.0)
    return onnx.ThresholdedRelu(x, alpha=op.threshold)


# --- learned and random slopes ----------------------------------------------------------------------------------------


@imports("torch", "aten.prelu.default", "aten._prelu_kernel.default")
def prelu_from_torch(call, x, slope):
    if slope.rank == 1 and x.rank > 1:  # a slope per channel, or one for all
        slope = slope.reshape(slope.shape[0], *(1,) * (x.rank - 2))
    return PRelu()(x, slope)


@imports("torch", "aten.rrelu.default", "aten.rrelu_with_noise_functional.default")
def rrelu_from_torch(call, x, *rest):
    lower, upper = (float(v) for v in rest if isinstance(v, float))
    return LeakyRelu(negative_slope=(lower + upper) / 2)(x)


@imports("keras", "PReLU")
def prelu_from_keras(layer, x):
    return PRelu()(x, layer.weight("alpha"))


@imports("onnx", "PRelu", since=7)
def prelu_from_onnx(node, x, slope):
    return PRelu()(x, slope)


@imports("onnx", "PRelu")
def old_prelu_from_onnx(node, x, slope):
    """Before opset 7 the slope is one number or one per channel, without broadcasting."""
    return prelu_from_torch(node, x, slope)


@exports("torch", PRelu)
def prelu_to_torch(op, torch, x, slope):
    sizes, rank = torch.inputs[1].shape, torch.inputs[0].rank
    aligned = (1,) * (rank - len(sizes)) + tuple(sizes)
    per_channel = rank > 1 and all(s == 1 for i, s in enumerate(aligned) if i != 1)
    if torch.holds(slope) and per_channel:
        return torch.place(torch.nn.PReLU(aligned[1]), weight=slope.reshape(aligned[1]))(x)
    slope = torch.tensor(slope)
    return torch.where(x >= 0, x, x * slope)


@exports("keras", PRelu)
def prelu_to_keras(op, keras, x, slope):
    rank = keras.inputs[0].rank
    if keras.holds(slope) and slope.rank < rank + (slope.rank == rank and slope.shape[0] == 1):
        sizes = (1,) * (rank - slope.rank) + tuple(slope.shape)
        shared = [axis for axis in range(1, rank) if sizes[axis] == 1]
        if all(s == 1 or isinstance(d, int) for s, d in zip(sizes, keras.inputs[0].shape, strict=True)):
            layer = keras.layers.PReLU(shared_axes=shared or None)
            return keras.place(layer, alpha=slope.reshape(*sizes[1:]))(x)
    return keras.ops.where(keras.ops.greater_equal(x, 0), x, keras.ops.multiply(x, keras.tensor(slope)))


@exports("onnx", PRelu)
def prelu_to_onnx(op, onnx, x, slope):
    if onnx.inputs[0].dtype != np.float32 or not onnx.holds(slope):  # PRelu broadcasts one way only, and in float32 here
        slope = onnx.tensor(slope)
        return onnx.Where(onnx.GreaterOrEqual(x, 0.0), x, onnx.Mul(x, slope))
    return onnx.PRelu(x, slope)


case("relu/plain", Relu(), (2, 3, 4))
case("relu/special", Relu(), Operand((6,), numbers=(np.nan, np.inf, -np.inf, -0.0, -1.0, 2.0)))
for kind in ("float16", "bfloat16", "float64"):
    case(f"relu/{kind}", Relu(), Operand((2, 5), dtype=kind))
for threshold in (0.7, 0.0, -0.4):
    case(
        f"thresholded_relu/threshold={threshold}", ThresholdedRelu(threshold=threshold), (2, 3, 9),
        composed={"keras": "Relu" if threshold == 0 else "a comparison and Where"} if threshold <= 0 else {},
    )  # fmt: skip
case("prelu/per_channel", PRelu(), (2, 3, 4, 5), weight(3, 1, 1))
case("prelu/one_slope", PRelu(), (2, 3, 4, 5), weight(1, 1, 1))
case(
    "prelu/per_element", PRelu(), (2, 3, 4), weight(3, 4), composed={"torch": "a comparison, a product and Where"},
)  # fmt: skip
case("prelu/1d", PRelu(), (2, 3, 7), weight(3, 1))
case("prelu/rank_2", PRelu(), (5, 3), weight(3))
