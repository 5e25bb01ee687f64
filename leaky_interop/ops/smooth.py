"""Smooth activations. Straight lines are in `activation`, `relu` and `hard`, exponentials below zero in `elu`.

| meaning    | keras                                  | torch                        | onnx                      |
|------------|----------------------------------------|------------------------------|---------------------------|
| Gelu       | activations.gelu exact, ops.gelu tanh  | GELU, exact                  | Gelu since opset 20       |
| Softplus   | softplus                               | Softplus, beta, threshold 20 | Softplus                  |
| Mish       | mish                                   | Mish                         | Mish since opset 18       |
| Softsign   | softsign                               | Softsign                     | Softsign                  |
| Silu, LogSigmoid, TanhShrink | of these names       | of these names               | compositions              |

onnxruntime computes most of them only up to float32: in float64 they are written as their definition.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Op, Operand, Pointwise, Value, case, exports, imports, op, shortest
from .bounds import Clip
from .compare import LessOrEqual, Where
from .functions import Sqrt, log1p_to_onnx
from .join import Split
from .math import Add, Div, Mul
from .precision import IN_32_BITS
from .promotion import floating, in_stated_dtype
from .table import unary, widened


def _erf(x: np.ndarray) -> np.ndarray:
    from ..numeric import erf

    return erf(x)


def activation(name: str, meaning: str, function: Callable[..., Any], *, module: str, aten: str, keras: str, onnx: Any,
               reads: str = "", **fields: Any) -> type[Op]:  # fmt: skip
    """A row that is a module in torch, and in Keras a name that layers.Activation takes. reads: the ONNX operator."""
    kind = unary(
        name, meaning, function, onnx=onnx,
        torch=lambda torch, x: torch.place(getattr(torch.nn, module)())(x),
        keras=lambda keras_, x: keras_.place(keras_.layers.Activation(keras))(x), **fields,
    )  # fmt: skip

    def read(call: Any, x: Value) -> Value:
        return kind()(floating(call, x) if x.dtype.kind in "iub" else x)

    camel = "".join(part.capitalize() for part in keras.split("_"))
    imports("torch", f"aten.{aten}.default")(read)
    imports("keras", f"ops.{camel}", f"activations.{keras}")(read)
    if reads:
        imports("onnx", reads)(read)
    return kind


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, x.dtype.type(0))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _softplus_to_onnx(onnx, x):
    """log(1 + exp(x)), by way of exp(-|x|), which never overflows."""
    if onnx.runs("Softplus"):
        return onnx.Softplus(x)
    return onnx.Add(onnx.Max(x, 0.0), log1p_to_onnx(onnx, onnx.Exp(onnx.Neg(onnx.Abs(x)))))


def _mish_to_onnx(onnx, x):
    if onnx.opset >= 18 and onnx.runs("Mish"):
        return onnx.Mish(x)
    return onnx.Mul(x, onnx.Tanh(_softplus_to_onnx(onnx, x)))


def _softsign_to_onnx(onnx, x):
    return onnx.Softsign(x) if onnx.runs("Softsign") else onnx.Div(x, onnx.Add(onnx.Abs(x), 1.0))


Tanh = activation("Tanh", "The hyperbolic tangent.", np.tanh, module="Tanh", aten="tanh", keras="tanh", onnx="Tanh",
                  terms=lambda x: 2 * np.abs(np.tanh(x)))  # onnxruntime's quotient is 5.5 ulp off  # fmt: skip
Sigmoid = activation("Sigmoid", "1 / (1 + exp(-x)).", _sigmoid, module="Sigmoid", aten="sigmoid", keras="sigmoid",
                     onnx="Sigmoid", terms=np.ones_like)  # onnxruntime's is exact to a digit of 1  # fmt: skip
Silu = activation("Silu", "x * sigmoid(x); swish.", lambda x: x * _sigmoid(x), module="SiLU", aten="silu", keras="silu",
                  onnx=lambda onnx, x: onnx.Mul(x, onnx.Sigmoid(x)), terms=np.abs)  # fmt: skip
LogSigmoid = activation("LogSigmoid", "log(sigmoid(x)), which is -softplus(-x).", lambda x: -_softplus(-x),
                        module="LogSigmoid", aten="log_sigmoid", keras="log_sigmoid",
                        terms=lambda x: 1 + np.maximum(-x, 0),
                        onnx=lambda onnx, x: onnx.Neg(_softplus_to_onnx(onnx, onnx.Neg(x))))  # fmt: skip
Mish = activation("Mish", "x * tanh(softplus(x)).", lambda x: x * np.tanh(_softplus(x)), module="Mish", aten="mish",
                  keras="mish", onnx=_mish_to_onnx, reads="Mish",
                  terms=lambda x: 2 * np.abs(x))  # onnxruntime's takes its tanh, and is 6.5 ulp off  # fmt: skip
Softsign = activation("Softsign", "x / (1 + |x|).", lambda x: x / (1 + np.abs(x)), module="Softsign", aten="softsign",
                      keras="softsign", onnx=_softsign_to_onnx, reads="Softsign")  # fmt: skip
TanhShrink = activation("TanhShrink", "x - tanh(x).", lambda x: x - np.tanh(x), module="Tanhshrink", aten="tanhshrink",
                        keras="tanh_shrink", onnx=lambda onnx, x: onnx.Sub(x, onnx.Tanh(x)),
                        terms=lambda x: np.abs(x) + np.abs(np.tanh(x)))  # fmt: skip


def swish(x: Value, alpha: float) -> Value:
    """x * sigmoid(alpha * x)."""
    return Silu()(x) if alpha == 1.0 else Mul()(x, Sigmoid()(Mul()(x, alpha)))


@imports("onnx", "Swish", since=24)
def swish_from_onnx(node, x):
    return swish(x, shortest(node.alpha))


@imports("onnx", "SwiGLU", since=28)
def gated_swish_from_onnx(node, x, y):
    return Mul()(swish(x, shortest(node.alpha)), y)


@imports("chainer", "Sigmoid")
def sigmoid_from_chainer(call, x):
    return Sigmoid()(x)


@imports("chainer", "Tanh")
def tanh_from_chainer(call, x):
    return Tanh()(x)


for _kind, _function in ((Tanh, "tanhLayer"), (Sigmoid, "sigmoidLayer"), (Silu, "swishLayer")):

    def _from_matlab(layer: Any, x: Value, kind: type[Op] = _kind) -> Value:
        return kind()(x)

    def _to_matlab(op: Op, matlab: Any, x: Any, function: str = _function) -> Any:
        return matlab.layer(function, x)

    _from_matlab.__name__, _to_matlab.__name__ = f"{_kind.__name__}_from_matlab", f"{_kind.__name__}_to_matlab"
    imports("matlab", _function)(_from_matlab)
    exports("matlab", _kind)(_to_matlab)


# --- gelu -------------------------------------------------------------------------------------------------------------


@op
class Gelu(Pointwise):
    """x times the normal distribution's integral up to x; `approximate`: by tanh."""

    approximate: bool
    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        def integral(x: np.ndarray) -> np.ndarray:
            if self.approximate:
                return np.tanh(x.dtype.type(math.sqrt(2 / math.pi)) * (x + x.dtype.type(0.044715) * x**3))
            return _erf(x * x.dtype.type(math.sqrt(0.5)))

        return widened(lambda x: x.dtype.type(0.5) * x * (1 + integral(x)), *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[Any, np.ndarray]:
        return 1, 2 * np.abs(np.asarray(arrays[0], float))  # torch's erf in 32 bits: 3 eps of |x| near 3, measured


@imports("torch", "aten.gelu.default")
def gelu_from_torch(call, x, approximate):
    return Gelu(approximate=approximate == "tanh")(x)


@imports("keras", "ops.Gelu", "activations.gelu")
def gelu_from_keras(call, x):
    return Gelu(approximate=bool(call.approximate))(x)


@imports("matlab", "geluLayer")
def gelu_from_matlab(layer, x):
    return Gelu(approximate=layer.Approximation == "tanh")(x)


@exports("matlab", Gelu)
def gelu_to_matlab(op, matlab, x):
    return matlab.layer("geluLayer", x, Approximation="tanh" if op.approximate else "none")


@imports("onnx", "Gelu")
def gelu_from_onnx(node, x):
    return Gelu(approximate=node.approximate == "tanh")(x)


@exports("torch", Gelu)
def gelu_to_torch(op, torch, x):
    return torch.place(torch.nn.GELU(approximate="tanh" if op.approximate else "none"))(x)


@exports("keras", Gelu)
def gelu_to_keras(op, keras, x):
    if (
        keras.inputs[0].dtype == np.float64 and keras.backend.backend() == "tensorflow"
    ):  # its own holds float32 constants
        return _gelu_by_definition(keras.ops, op, x)
    return keras.ops.gelu(x, approximate=True) if op.approximate else keras.place(keras.layers.Activation("gelu"))(x)


def _gelu_by_definition(ops, op, x):
    integral = ops.erf(ops.multiply(x, math.sqrt(0.5)))
    if op.approximate:
        cubed = ops.multiply(ops.multiply(x, ops.multiply(x, x)), 0.044715)
        integral = ops.tanh(ops.multiply(ops.add(x, cubed), math.sqrt(2 / math.pi)))
    return ops.multiply(ops.multiply(x, 0.5), ops.add(integral, 1.0))


@exports("onnx", Gelu)
def gelu_to_onnx(op, onnx, x):
    if onnx.opset >= 20 and onnx.runs("Gelu"):
        return onnx.Gelu(x, approximate="tanh" if op.approximate else "none")
    if not op.approximate:
        integral = onnx.Erf(onnx.Mul(x, math.sqrt(0.5)))
    else:
        cubed = onnx.Mul(onnx.Mul(x, onnx.Mul(x, x)), 0.044715)
        integral = onnx.Tanh(onnx.Mul(onnx.Add(x, cubed), math.sqrt(2 / math.pi)))
    return onnx.Mul(onnx.Mul(x, 0.5), onnx.Add(integral, 1.0))


# --- softplus ---------------------------------------------------------------------------------------------------------

SURE = {"float64": 40.0}  # 20 elsewhere: from here on softplus(x) is x, to the last digit that the dtype holds


@op
class Softplus(Pointwise):
    """log(1 + exp(beta * x)) / beta; x where beta * x > threshold, which is infinite where that changes nothing."""

    beta: float
    threshold: float
    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        def function(x: np.ndarray) -> np.ndarray:
            scaled = x * x.dtype.type(self.beta)
            return np.where(scaled > self.threshold, x, _softplus(scaled) / x.dtype.type(self.beta))

        return widened(function, *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[Any, np.ndarray]:
        return 1, np.maximum(np.asarray(arrays[0], float), 0) + 1 / self.beta


EXACT = Softplus(beta=1.0, threshold=math.inf)


@imports("torch", "aten.softplus.default")
def softplus_from_torch(call, x, beta, threshold):
    sure = threshold >= SURE.get(x.dtype.name, 20.0)
    return Softplus(beta=float(beta), threshold=math.inf if sure else float(threshold))(x)


@imports("keras", "ops.Softplus", "activations.softplus")
@imports("onnx", "Softplus")
def softplus(call, x):
    return EXACT(x)


@exports("torch", Softplus)
def softplus_to_torch(op, torch, x):
    sure = SURE.get(torch.inputs[0].dtype.name, 20.0)
    return torch.place(torch.nn.Softplus(op.beta, sure if op.threshold == math.inf else op.threshold))(x)


@exports("keras", Softplus)
def softplus_to_keras(op, keras, x):
    if op == EXACT:
        return keras.place(keras.layers.Activation("softplus"))(x)
    scaled = keras.ops.multiply(x, op.beta)
    smooth = keras.ops.divide(keras.ops.softplus(scaled), op.beta)
    return smooth if op.threshold == math.inf else keras.ops.where(keras.ops.greater(scaled, op.threshold), x, smooth)


@exports("onnx", Softplus)
def softplus_to_onnx(op, onnx, x):
    scaled = x if op.beta == 1 else onnx.Mul(x, op.beta)
    smooth = _softplus_to_onnx(onnx, scaled)
    smooth = smooth if op.beta == 1 else onnx.Div(smooth, op.beta)
    return smooth if op.threshold == math.inf else onnx.Where(onnx.Greater(scaled, op.threshold), x, smooth)


# --- Keras' own, and compositions -------------------------------------------------------------------------------------


@imports("keras", "Activation")
def activation_from_keras(layer, x):
    return layer.activate(x)


@imports("torch", "aten.glu.default")
def gated_from_torch(call, x, axis):
    return _gated(x, axis)


@imports("keras", "ops.Glu", "activations.glu")
def gated_from_keras(call, x):
    return _gated(x, call.axis)


def _gated(x: Value, axis: int) -> Value:
    """The first half times the sigmoid of the second."""
    half = x.shape[axis] // 2
    first, second = Split(axis=axis % x.rank, sizes=(half, half))(x)
    return Mul()(first, Sigmoid()(second))


@imports("keras", "ops.Squareplus", "activations.squareplus")
def squareplus_from_keras(call, x):
    """Whole numbers are squared as such, and wrap around."""
    wide, squared = in_stated_dtype(call, x, Mul()(x, x))
    return Div()(Add()(wide, Sqrt()(Add()(squared, call.b))), 2)


def _signed(call: Any, x: Value) -> Value:
    """What is compared with -1. Of bytes without a sign torch compares it with 255."""
    if x.dtype == np.uint8:
        raise Refused("an activation of uint8", why="torch takes -1 for 255 beside it", hint="Cast the data to float32")
    return x


@imports("keras", "ops.SparseSigmoid", "activations.sparse_sigmoid")
def sparse_sigmoid_from_keras(call, x):
    (x,) = in_stated_dtype(call, _signed(call, x))
    return Clip(minimum=0.0, maximum=1.0)(Mul()(Add()(x, 1), 0.5))


@imports("keras", "ops.SparsePlus", "activations.sparse_plus")
def sparse_plus_from_keras(call, x):
    """0 up to -1, x from 1 on, and a parabola between."""
    (x,) = in_stated_dtype(call, _signed(call, x))
    inner = Clip(minimum=-1.0, maximum=1.0)(x)
    parabola = Mul()(Mul()(Add()(inner, 1), Add()(inner, 1)), 0.25)
    return Where()(LessOrEqual()(x, 1), parabola, x)


for _kind in (Tanh, Sigmoid, Silu, LogSigmoid, Mish, Softsign, TanhShrink):
    for _dtype in ("float32", "float16", "bfloat16", "float64"):
        _way = {"onnx": "its definition"} if _dtype == "float64" and _kind in (LogSigmoid, Mish) else {}
        case(f"{_kind.__name__}/{_dtype}", _kind(), Operand((2, 3, 5), dtype=_dtype, low=-6.0, high=6.0), composed=_way)
for _dtype in ("float32", "float16", "bfloat16", "float64"):
    _wide = Operand((2, 3, 5), dtype=_dtype, low=-6.0, high=6.0)
    _way = {"onnx": "its definition"} if _dtype == "float64" else {}
    case(
        f"gelu/exact_{_dtype}",
        Gelu(approximate=False),
        _wide,
        refused={"onnx": "onnxruntime has no Erf"} if _way else None,
    )
    case(
        f"gelu/tanh_{_dtype}",
        Gelu(approximate=True),
        _wide,
        composed={**_way, **({"keras": "its definition"} if _way else {})},
    )
    case(f"softplus/exact_{_dtype}", EXACT, _wide, composed=_way)
for _beta, _threshold in ((2.0, math.inf), (0.5, 1.5)):
    _ways = {"keras": "softplus, scaled", "onnx": "Softplus, scaled"}
    _made = Softplus(beta=_beta, threshold=_threshold)
    case(f"softplus/beta={_beta}_threshold={_threshold}", _made, _wide, composed=_ways, refused=IN_32_BITS)
    case(
        f"softplus/beta={_beta}_threshold={_threshold}_float32",
        Softplus(beta=_beta, threshold=_threshold),
        (2, 3, 5),
        composed=_ways,
    )
