"""Smooth activations: one number in, one number out, without a kink or with a soft one.

| meaning     | keras                              | torch                              | onnx                             |
|-------------|------------------------------------|------------------------------------|----------------------------------|
| Sigmoid     | sigmoid                            | Sigmoid                            | Sigmoid                          |
| Elu         | ELU(alpha=1), elu                  | ELU(alpha=1)                       | Elu(alpha=1)                     |
| Selu        | selu: 1.67326324, 1.05070098       | SELU: the same                     | Selu: 1.67326319, 1.05070102, settable |
| Celu        | celu(alpha=1)                      | CELU(alpha=1)                      | Celu(alpha=1)                    |
| Gelu        | activations.gelu exact, ops.gelu by tanh | GELU exact                   | Gelu-20 exact; before it by Erf  |
| Silu        | silu, swish                        | SiLU                               | x * Sigmoid(x)                   |
| HardSigmoid | clip(x / 6 + 1 / 2) (Keras 2: x / 5) | Hardsigmoid: as Keras            | alpha 0.2, beta 0.5              |
| Softplus    | softplus                           | Softplus(beta=1, threshold=20)     | Softplus                         |
"""

import math

import numpy as np

from ..numeric import erf
from ..op import Operand, Pointwise, Value, case, exports, imports, op, shortest
from .math import Add, Mul
from .table import unary, widened

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _stable_sigmoid(x: np.ndarray) -> np.ndarray:
    positive = 1 / (1 + np.exp(-np.abs(x)))
    return np.where(x >= 0, positive, np.exp(-np.abs(x)) * positive)


def _module(name: str):
    """A torch.nn module of this name, placed."""
    return lambda torch, x: torch.place(getattr(torch.nn, name)())(x)


def _activation(name: str):
    """A Keras activation of this name, as a layer."""
    return lambda keras, x: keras.place(keras.layers.Activation(name))(x)


def _magnitude(x: np.ndarray) -> np.ndarray:
    """What rounding inside a gated activation is relative to: the gate's argument times the slope of the gate."""
    return np.abs(x) * (1 + np.abs(x)) * (0.5 + _stable_sigmoid(x)) + 1e-6


Sigmoid = unary("Sigmoid", "1 / (1 + exp(-x)).", _stable_sigmoid, torch=_module("Sigmoid"), keras=_activation("sigmoid"),
                onnx="Sigmoid", terms=np.ones_like)  # onnxruntime's is a rational approximation  # fmt: skip
Tanh = unary("Tanh", "The hyperbolic tangent.", np.tanh, torch=_module("Tanh"), keras=_activation("tanh"), onnx="Tanh",
             terms=lambda x: np.abs(np.tanh(x)) * 2)  # fmt: skip
Softsign = unary("Softsign", "x / (1 + |x|).", lambda x: x / (1 + np.abs(x)), torch=_module("Softsign"),
                 keras=_activation("softsign"), onnx="Softsign")  # fmt: skip
LogSigmoid = unary("LogSigmoid", "-log(1 + exp(-x)).", lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))),
                   torch=_module("LogSigmoid"), keras=_activation("log_sigmoid"),
                   onnx=lambda o, x: o.Neg(o.Softplus(o.Neg(x))), terms=lambda x: np.abs(x) + 1)  # fmt: skip
Silu = unary("Silu", "x * sigmoid(x).", lambda x: x * _stable_sigmoid(x), torch=_module("SiLU"), keras=_activation("silu"),
             onnx=lambda o, x: o.Mul(x, o.Sigmoid(x)), terms=_magnitude)  # fmt: skip
Mish = unary("Mish", "x * tanh(log(1 + exp(x))).", lambda x: x * np.tanh(np.logaddexp(0, x)), torch=_module("Mish"),
             keras=_activation("mish"), onnx=lambda o, x: o.Mish(x) if o.opset >= 18 else o.Mul(x, o.Tanh(o.Softplus(x))),
             terms=_magnitude)  # fmt: skip
HardSwish = unary("HardSwish", "x * clip(x / 6 + 1 / 2, 0, 1).", lambda x: x * np.clip(x + 3, 0, 6) / 6,
                  torch=_module("Hardswish"), keras=_activation("hard_silu"),
                  onnx=lambda o, x: o.Mul(x, o.HardSigmoid(x, alpha=1 / 6, beta=0.5)), terms=_magnitude)  # fmt: skip
TanhShrink = unary("TanhShrink", "x - tanh(x).", lambda x: x - np.tanh(x), torch=_module("Tanhshrink"),
                   keras=_activation("tanh_shrink"), onnx=lambda o, x: o.Sub(x, o.Tanh(x)), terms=np.abs)  # fmt: skip

for _native, _kind in (("aten.sigmoid.default", Sigmoid), ("aten.tanh.default", Tanh), ("aten.log_sigmoid.default", LogSigmoid),
                       ("aten.silu.default", Silu), ("aten.mish.default", Mish), ("aten.hardswish.default", HardSwish),
                       ("ops.Sigmoid", Sigmoid), ("ops.Tanh", Tanh), ("ops.Softsign", Softsign), ("ops.LogSigmoid", LogSigmoid),
                       ("ops.Silu", Silu), ("ops.Mish", Mish), ("ops.HardSilu", HardSwish), ("ops.TanhShrink", TanhShrink),
                       ("activations.sigmoid", Sigmoid), ("activations.tanh", Tanh), ("activations.softsign", Softsign),
                       ("activations.log_sigmoid", LogSigmoid), ("activations.silu", Silu), ("activations.mish", Mish),
                       ("activations.hard_silu", HardSwish), ("activations.tanh_shrink", TanhShrink)):  # fmt: skip

    def _read(call, x, _kind=_kind):
        return _kind()(x)

    imports("torch" if _native.startswith("aten.") else "keras", _native)(_read)


@imports("keras", "Activation")
def activation_from_keras(layer, x):
    return layer.activate(x)


@imports("onnx", "Mish")
def mish_from_onnx(node, x):
    return Mish()(x)


@imports("onnx", "HardSwish")
def hard_swish_from_onnx(node, x):
    return HardSwish()(x)


@imports("onnx", "Swish")
def swish_from_onnx(node, x):
    return Silu()(x) if node.alpha == 1.0 else Mul()(x, Sigmoid()(Mul()(x, shortest(node.alpha))))


# --- exponential units ------------------------------------------------------------------------------------------------


class _Scaled(Pointwise):
    """An exponential below 0, computed as expm1 or as exp - 1 by different runtimes: its error is relative to `alpha`."""

    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(self.formula, *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        return 1, self.scale * (np.abs(arrays[0].astype(float)) + 2 * abs(self.alpha))

    scale = 1.0


@op
class Elu(_Scaled):
    """x where x > 0, alpha * (exp(x) - 1) elsewhere."""

    alpha: float

    def formula(self, x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0)))


@op
class Selu(_Scaled):
    """gamma * x where x > 0, gamma * alpha * (exp(x) - 1) elsewhere."""

    alpha: float
    gamma: float

    def formula(self, x: np.ndarray) -> np.ndarray:
        return np.where(x > 0, self.gamma * x, self.gamma * self.alpha * np.expm1(np.minimum(x, 0)))


@op
class Celu(_Scaled):
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""

    alpha: float

    def formula(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, 0) + np.minimum(0, self.alpha * np.expm1(np.minimum(x, 0) / self.alpha))


@imports("torch", "aten.elu.default")
def elu_from_torch(call, x, alpha, scale, input_scale):
    if scale == 1 and input_scale == 1:
        return Elu(alpha=float(alpha))(x)
    return Selu(alpha=float(alpha), gamma=float(scale))(x)


@imports("torch", "aten.selu.default")
@imports("keras", "ops.Selu", "activations.selu")
def selu_from_native(call, x):
    return Selu(alpha=SELU_ALPHA, gamma=SELU_SCALE)(x)


@imports("torch", "aten.celu.default")
def celu_from_torch(call, x, alpha):
    return Celu(alpha=float(alpha))(x)


@imports("keras", "ELU", "ops.Elu", "activations.elu")
def elu_from_keras(layer, x):
    return Elu(alpha=float(layer.alpha))(x)


@imports("keras", "ops.Celu", "activations.celu")
def celu_from_keras(call, x):
    return Celu(alpha=float(call.alpha))(x)


@imports("onnx", "Elu")
def elu_from_onnx(node, x):
    return Elu(alpha=shortest(node.alpha))(x)


@imports("onnx", "Celu")
def celu_from_onnx(node, x):
    return Celu(alpha=shortest(node.alpha))(x)


@imports("onnx", "Selu", since=6)
def selu_from_onnx(node, x):
    numbers = (shortest(node.alpha), shortest(node.gamma))
    if all(np.float32(a) == np.float32(b) for a, b in zip(numbers, (SELU_ALPHA, SELU_SCALE), strict=True)):
        return Selu(alpha=SELU_ALPHA, gamma=SELU_SCALE)(x)
    return Selu(alpha=numbers[0], gamma=numbers[1])(x)


@exports("torch", Elu)
def elu_to_torch(op, torch, x):
    return torch.place(torch.nn.ELU(op.alpha))(x)


@exports("keras", Elu)
def elu_to_keras(op, keras, x):
    return keras.place(keras.layers.ELU(alpha=op.alpha))(x)


@exports("onnx", Elu)
def elu_to_onnx(op, onnx, x):
    return onnx.Elu(x, alpha=op.alpha)


@exports("torch", Selu)
def selu_to_torch(op, torch, x):
    if (op.alpha, op.gamma) == (SELU_ALPHA, SELU_SCALE):
        return torch.place(torch.nn.SELU())(x)
    return torch.place(torch.nn.ELU(op.alpha))(x) * op.gamma


@exports("keras", Selu)
def selu_to_keras(op, keras, x):
    if (op.alpha, op.gamma) == (SELU_ALPHA, SELU_SCALE):
        return keras.place(keras.layers.Activation("selu"))(x)
    return keras.ops.multiply(keras.ops.elu(x, op.alpha), op.gamma)


@exports("onnx", Selu)
def selu_to_onnx(op, onnx, x):
    return onnx.Selu(x, alpha=op.alpha, gamma=op.gamma)


@exports("torch", Celu)
def celu_to_torch(op, torch, x):
    return torch.place(torch.nn.CELU(op.alpha))(x)


@exports("keras", Celu)
def celu_to_keras(op, keras, x):
    return keras.ops.celu(x, op.alpha)


@exports("onnx", Celu)
def celu_to_onnx(op, onnx, x):
    return onnx.Celu(x, alpha=op.alpha)


# --- gelu -------------------------------------------------------------------------------------------------------------


@op
class Gelu(Pointwise):
    """x * Phi(x): the normal distribution by erf, or approximated by tanh."""

    approximate: bool
    tolerance = "sum"

    def formula(self, x: np.ndarray) -> np.ndarray:
        if self.approximate:
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return 0.5 * x * (1 + erf(x / math.sqrt(2)))

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(self.formula, *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """1 + erf cancels for negative x, so the error is relative to |x|."""
        x = np.abs(arrays[0].astype(float))
        return 4, x * (1 + x * np.exp(-np.minimum(x, 30) ** 2 / 2))


@imports("torch", "aten.gelu.default")
def gelu_from_torch(call, x, approximate):
    return Gelu(approximate=approximate == "tanh")(x)


@imports("keras", "ops.Gelu", "activations.gelu")
def gelu_from_keras(call, x):
    return Gelu(approximate=bool(call.approximate))(x)


@imports("onnx", "Gelu", "com.microsoft.Gelu", "com.microsoft.FastGelu")
def gelu_from_onnx(node, x, bias=None):
    x = x if bias is None else Add()(x, bias)
    return Gelu(approximate=node.native.op_type == "FastGelu" or (node.has("approximate") and node.approximate == "tanh"))(x)


@exports("torch", Gelu)
def gelu_to_torch(op, torch, x):
    return torch.place(torch.nn.GELU(approximate="tanh" if op.approximate else "none"))(x)


@exports("keras", Gelu)
def gelu_to_keras(op, keras, x):
    return keras.ops.gelu(x, approximate=op.approximate)


@exports("onnx", Gelu)
def gelu_to_onnx(op, onnx, x):
    if onnx.opset >= 20:
        return onnx.Gelu(x, approximate="tanh" if op.approximate else "none")
    half = onnx.Mul(x, 0.5)
    if not op.approximate:
        return onnx.Mul(half, onnx.Add(onnx.Erf(onnx.Div(x, math.sqrt(2))), 1.0))
    inner = onnx.Mul(onnx.Add(x, onnx.Mul(onnx.Mul(onnx.Mul(x, x), x), 0.044715)), math.sqrt(2 / math.pi))
    return onnx.Mul(half, onnx.Add(onnx.Tanh(inner), 1.0))


# --- softplus, hard sigmoid --------------------------------------------------------------------------------------------


@op
class Softplus(Pointwise):
    """log(1 + exp(beta * x)) / beta, and x itself where beta * x is above the threshold (None: nowhere)."""

    beta: float
    threshold: float | None
    tolerance = "sum"

    def formula(self, x: np.ndarray) -> np.ndarray:
        y = np.logaddexp(0, self.beta * x) / self.beta
        return y if self.threshold is None else np.where(self.beta * x > self.threshold, x, y)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(self.formula, *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        x = arrays[0].astype(float)
        return 4, self.formula(x) * (1 + np.abs(self.beta * x)) + 1e-7 / abs(self.beta)


@imports("torch", "aten.softplus.default")
def softplus_from_torch(call, x, beta, threshold):
    return Softplus(beta=float(beta), threshold=_telling(float(threshold), x))(x)


def _telling(threshold: float, x: Value) -> float | None:
    """A threshold above which the result is x anyway tells nothing: in float32 from 17, in float64 from 37 on."""
    return None if threshold >= (37 if x.dtype == np.float64 else 17) else threshold


@imports("keras", "ops.Softplus", "activations.softplus")
@imports("onnx", "Softplus")
def softplus_from_native(call, x):
    return Softplus(beta=1.0, threshold=None)(x)


@exports("torch", Softplus)
def softplus_to_torch(op, torch, x):
    threshold = op.threshold if op.threshold is not None else 40.0 if torch.inputs[0].dtype == np.float64 else 20.0
    return torch.place(torch.nn.Softplus(op.beta, threshold))(x)


@exports("keras", Softplus)
def softplus_to_keras(op, keras, x):
    if op.beta == 1 and op.threshold is None:
        return keras.place(keras.layers.Activation("softplus"))(x)
    scaled = keras.ops.multiply(x, op.beta)
    y = keras.ops.divide(keras.ops.softplus(scaled), op.beta)
    return y if op.threshold is None else keras.ops.where(keras.ops.greater(scaled, op.threshold), x, y)


@exports("onnx", Softplus)
def softplus_to_onnx(op, onnx, x):
    if op.beta == 1 and op.threshold is None:
        return onnx.Softplus(x)
    scaled = onnx.Mul(x, op.beta)
    y = onnx.Div(onnx.Softplus(scaled), op.beta)
    return y if op.threshold is None else onnx.Where(onnx.Greater(scaled, op.threshold), x, y)


@op
class HardSigmoid(Pointwise):
    """clip(alpha * x + beta, 0, 1)."""

    alpha: float
    beta: float
    tolerance = "sum"

    def formula(self, x: np.ndarray) -> np.ndarray:
        return np.clip(self.alpha * x + self.beta, 0, 1)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(self.formula, *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        return 2, np.abs(self.alpha * arrays[0].astype(float)) + abs(self.beta)


@imports("torch", "aten.hardsigmoid.default")
@imports("keras", "ops.HardSigmoid", "activations.hard_sigmoid")
def hard_sigmoid_from_native(call, x):
    return HardSigmoid(alpha=1 / 6, beta=0.5)(x)


@imports("onnx", "HardSigmoid")
def hard_sigmoid_from_onnx(node, x):
    alpha = 1 / 6 if np.float32(node.alpha) == np.float32(1 / 6) else shortest(node.alpha)
    return HardSigmoid(alpha=alpha, beta=shortest(node.beta))(x)


def _is_sixth(op: HardSigmoid) -> bool:
    return op.alpha == 1 / 6 and op.beta == 0.5


@exports("torch", HardSigmoid)
def hard_sigmoid_to_torch(op, torch, x):
    return torch.place(torch.nn.Hardsigmoid())(x) if _is_sixth(op) else torch.clamp(x * op.alpha + op.beta, 0.0, 1.0)


@exports("keras", HardSigmoid)
def hard_sigmoid_to_keras(op, keras, x):
    if _is_sixth(op):
        return keras.place(keras.layers.Activation("hard_sigmoid"))(x)
    return keras.ops.clip(keras.ops.add(keras.ops.multiply(x, op.alpha), op.beta), 0.0, 1.0)


@exports("onnx", HardSigmoid)
def hard_sigmoid_to_onnx(op, onnx, x):
    return onnx.HardSigmoid(x, alpha=op.alpha, beta=op.beta)


for _name, _kind in (("sigmoid", Sigmoid), ("tanh", Tanh), ("softsign", Softsign), ("log_sigmoid", LogSigmoid), ("silu", Silu),
                     ("mish", Mish), ("hard_swish", HardSwish), ("tanh_shrink", TanhShrink)):  # fmt: skip
    _way = {"silu": "Sigmoid and Mul", "log_sigmoid": "Softplus between two Neg", "hard_swish": "HardSigmoid and Mul",
            "tanh_shrink": "Tanh and Sub"}  # fmt: skip
    _reason = {"onnx": _way[_name]} if _name in _way else {}
    if _name in ("tanh_shrink", "softsign"):
        _reason["torch"] = "the operators of its formula"
    case(f"{_name}/wide", _kind(), Operand((3, 4, 25), low=-12.0, high=12.0), composed=_reason)
for _alpha in (0.6, 1.0, 2.5):
    _way = {"torch": "several operators"} if _alpha == 2.5 else {}
    case(f"elu/alpha={_alpha}", Elu(alpha=_alpha), (3, 4, 25))
    case(f"celu/alpha={_alpha}", Celu(alpha=_alpha), (3, 4, 25))
case("selu/standard", Selu(alpha=SELU_ALPHA, gamma=SELU_SCALE), (3, 4, 25))
case("selu/other", Selu(alpha=1.5, gamma=0.9), (3, 4, 25), composed={"torch": "Elu and Mul", "keras": "Elu and Mul"})
for _approximate in (False, True):
    case(f"gelu/approximate={_approximate}", Gelu(approximate=_approximate), Operand((3, 4, 25), low=-6.0, high=6.0))
case("softplus/standard", Softplus(beta=1.0, threshold=None), Operand((3, 4, 25), low=-30.0, high=30.0))
case("softplus/beta", Softplus(beta=2.5, threshold=3.0), Operand((3, 4, 25), low=-4.0, high=4.0),
     composed={"keras": "Where and others", "onnx": "Where and others"})  # fmt: skip
case("hard_sigmoid/sixth", HardSigmoid(alpha=1 / 6, beta=0.5), (3, 4, 25))
case("hard_sigmoid/fifth", HardSigmoid(alpha=0.2, beta=0.45), (3, 4, 25),
     composed={"keras": "Clip of a line", "torch": "Clip of a line"})  # fmt: skip
