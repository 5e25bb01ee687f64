"""Activations of several straight lines beside those of `relu`.

| meaning      | keras                    | torch                  | onnx                              |
|--------------|--------------------------|------------------------|-----------------------------------|
| HardSigmoid  | hard_sigmoid, slope 1/6  | Hardsigmoid, slope 1/6 | HardSigmoid, slope 0.2 by default |
| HardSwish    | hard_silu                | Hardswish              | HardSwish since opset 14          |
| Shrink, soft | soft_shrink, 0.5         | Softshrink, 0.5        | Shrink, lambd 0.5, bias as lambd  |
| Shrink, hard | hard_shrink, 0.5         | Hardshrink, 0.5        | Shrink, bias 0                    |

Keras before 3 had another hard_sigmoid: slope 0.2, as ONNX still has by default.
"""

from typing import Any

import numpy as np

from ..op import Operand, Pointwise, case, exports, imports, op, shortest
from .precision import IN_32_BITS
from .smooth import activation
from .table import widened


def _hard_swish_to_onnx(onnx, x):
    if onnx.opset >= 14 and onnx.runs("HardSwish"):
        return onnx.HardSwish(x)
    return onnx.Mul(x, onnx.Clip(onnx.Add(onnx.Mul(x, 1 / 6), 0.5), 0.0, 1.0))


HardSwish = activation("HardSwish", "x * clip(x / 6 + 0.5, 0, 1); hard silu.", lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
                       module="Hardswish", aten="hardswish", keras="hard_silu", onnx=_hard_swish_to_onnx,
                       reads="HardSwish", terms=lambda x: np.abs(x) * (np.abs(x) / 6 + 0.5))  # fmt: skip


@op
class HardSigmoid(Pointwise):
    """alpha * x + beta, clipped to 0 and 1."""

    alpha: float
    beta: float
    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(lambda x: np.clip(x * x.dtype.type(self.alpha) + x.dtype.type(self.beta), 0, 1), *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[Any, np.ndarray]:
        return 1, np.abs(np.asarray(arrays[0], float)) * abs(self.alpha) + abs(self.beta)


SIXTH = HardSigmoid(alpha=1 / 6, beta=0.5)


@op
class Shrink(Pointwise):
    """x - bias where x > threshold, x + bias where x < -threshold, 0 between, NaN too (but torch lets it pass)."""

    threshold: float
    bias: float
    tolerance = "exact"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        threshold, bias = x.dtype.type(self.threshold), x.dtype.type(self.bias)
        return np.where(x > threshold, x - bias, np.where(x < -threshold, x + bias, x.dtype.type(0)))


@imports("torch", "aten.hardsigmoid.default")
@imports("keras", "ops.HardSigmoid", "activations.hard_sigmoid")
def hard_sigmoid(call, x):
    return SIXTH(x)


@imports("keras", "activations.hard_sigmoid_keras2")
def hard_sigmoid_of_keras_2(call, x):
    return HardSigmoid(alpha=0.2, beta=0.5)(x)


@imports("onnx", "HardSigmoid")
def hard_sigmoid_from_onnx(node, x):
    return HardSigmoid(alpha=shortest(node.alpha), beta=shortest(node.beta))(x)


@imports("torch", "aten.softshrink.default")
def soft_shrink_from_torch(call, x, threshold):
    return Shrink(threshold=float(threshold), bias=float(threshold))(x)


@imports("torch", "aten.hardshrink.default")
def hard_shrink_from_torch(call, x, threshold):
    return Shrink(threshold=float(threshold), bias=0.0)(x)


@imports("keras", "ops.SoftShrink", "activations.soft_shrink")
def soft_shrink_from_keras(call, x):
    return Shrink(threshold=float(call.threshold), bias=float(call.threshold))(x)


@imports("keras", "ops.HardShrink", "activations.hard_shrink")
def hard_shrink_from_keras(call, x):
    return Shrink(threshold=float(call.threshold), bias=0.0)(x)


@imports("onnx", "Shrink")
def shrink_from_onnx(node, x):
    return Shrink(threshold=shortest(node.lambd), bias=shortest(node.bias))(x)


@exports("torch", HardSigmoid)
def hard_sigmoid_to_torch(op, torch, x):
    if op.matches(SIXTH):
        return torch.place(torch.nn.Hardsigmoid())(x)
    return torch.clamp(x * op.alpha + op.beta, 0.0, 1.0)


@exports("keras", HardSigmoid)
def hard_sigmoid_to_keras(op, keras, x):
    if op.matches(SIXTH):
        return keras.place(keras.layers.Activation("hard_sigmoid"))(x)
    return keras.ops.clip(keras.ops.add(keras.ops.multiply(x, op.alpha), op.beta), 0.0, 1.0)


@exports("onnx", HardSigmoid)
def hard_sigmoid_to_onnx(op, onnx, x):
    if onnx.runs("HardSigmoid"):
        return onnx.HardSigmoid(x, alpha=op.alpha, beta=op.beta)
    return onnx.Clip(onnx.Add(onnx.Mul(x, op.alpha), op.beta), 0.0, 1.0)


@exports("torch", Shrink)
def shrink_to_torch(op, torch, x):
    if op.bias == 0 and op.threshold >= 0:
        return torch.place(torch.nn.Hardshrink(op.threshold))(x)
    if op.bias == op.threshold >= 0:
        return torch.place(torch.nn.Softshrink(op.threshold))(x)
    return torch.where(x > op.threshold, x - op.bias, torch.where(x < -op.threshold, x + op.bias, 0.0))


@exports("keras", Shrink)
def shrink_to_keras(op, keras, x):
    if op.bias == 0 and op.threshold >= 0:
        return keras.ops.hard_shrink(x, op.threshold)
    if op.bias == op.threshold >= 0:
        return keras.ops.soft_shrink(x, op.threshold)
    low = keras.ops.where(keras.ops.less(x, -op.threshold), keras.ops.add(x, op.bias), keras.ops.zeros_like(x))
    return keras.ops.where(keras.ops.greater(x, op.threshold), keras.ops.subtract(x, op.bias), low)


@exports("onnx", Shrink)
def shrink_to_onnx(op, onnx, x):
    if onnx.inputs[0].dtype != np.float64:
        return onnx.Shrink(x, lambd=op.threshold, bias=op.bias)
    low = onnx.Where(onnx.Less(x, -op.threshold), onnx.Add(x, op.bias), np.zeros((), np.float64))  # numbers of 64 bits
    return onnx.Where(onnx.Greater(x, op.threshold), onnx.Sub(x, op.bias), low)


LINES = {"torch": "clamp of a line", "keras": "clip of a line"}

for _dtype in ("float32", "float16", "bfloat16", "float64"):
    _way = {"onnx": "Clip of a line"} if _dtype == "float64" else {}
    _wide = Operand((2, 3, 5), dtype=_dtype, low=-5.0, high=5.0)
    case(f"hard_sigmoid/sixth_{_dtype}", SIXTH, _wide, composed=_way)
    case(f"hard_sigmoid/fifth_{_dtype}", HardSigmoid(alpha=0.2, beta=0.4), _wide, composed={**LINES, **_way},
         refused=IN_32_BITS if _dtype == "float64" else None)  # fmt: skip
    case(f"hard_swish/{_dtype}", HardSwish(), _wide, composed=_way)
    _way = {"onnx": "Where"} if _dtype == "float64" else {}
    _threshold = 0.7 if _dtype in ("float32", "float64") else 0.75  # a number that half-width floats hold
    case(f"shrink/hard_{_dtype}", Shrink(threshold=_threshold, bias=0.0), _wide, composed=_way)
    case(f"shrink/soft_{_dtype}", Shrink(threshold=_threshold, bias=_threshold), _wide, composed=_way)
case("shrink/other", Shrink(threshold=0.75, bias=-0.25), (2, 3, 5), composed={"torch": "Where", "keras": "Where"})
