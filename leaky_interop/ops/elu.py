"""Exponentials below zero: Elu and its relatives.

| meaning | keras                 | torch           | onnx                                          |
|---------|-----------------------|-----------------|-----------------------------------------------|
| Elu     | ELU, alpha 1.0        | ELU, alpha 1.0  | Elu, alpha 1.0                                |
| Celu    | celu, alpha 1.0       | CELU, alpha 1.0 | Celu, alpha 1.0, float32 only                 |
| Selu    | selu, fixed constants | SELU, the same  | Selu, whose constants may be chosen           |

onnxruntime has none of them in float64: there they are written as their definition, with exp(x) - 1 kept exact.
"""

import math
from typing import Any

import numpy as np

from ..op import Operand, Pointwise, case, exports, imports, op, shortest
from .compare import LessOrEqual, Where
from .functions import Expm1, expm1_to_onnx
from .math import Mul
from .smooth import activation
from .table import widened

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def _selu_to_onnx(onnx, x):
    if onnx.runs("Selu"):
        return onnx.Selu(x, alpha=SELU_ALPHA, gamma=SELU_SCALE)
    return onnx.Mul(onnx.Where(onnx.Less(x, 0.0), onnx.Mul(expm1_to_onnx(onnx, x), SELU_ALPHA), x), SELU_SCALE)


Selu = activation("Selu", "Elu, scaled so that layers keep mean and variance.",
                  lambda x: SELU_SCALE * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))), module="SELU",
                  aten="selu", keras="selu", onnx=_selu_to_onnx,
                  terms=lambda x: 2 * np.where(x > 0, np.abs(x), 1 + np.exp(np.minimum(x, 0))))  # fmt: skip


@imports("onnx", "Selu")
def selu_from_onnx(node, x):
    """Two constants, which the other frameworks do not let choose; float32 holds the usual ones in two ways."""
    alpha, scale = float(node.alpha), float(node.gamma)
    if math.isclose(alpha, SELU_ALPHA, rel_tol=1e-6) and math.isclose(scale, SELU_SCALE, rel_tol=1e-6):
        return Selu()(x)
    return Mul()(Elu(alpha=shortest(alpha))(x), shortest(scale))


@op
class Elu(Pointwise):
    """x where x > 0, alpha * (exp(x) - 1) elsewhere."""

    alpha: float
    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(lambda x: np.where(x > 0, x, x.dtype.type(self.alpha) * np.expm1(np.minimum(x, 0))), *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[Any, np.ndarray]:
        x = np.asarray(arrays[0], float)
        return 1, np.where(x > 0, np.abs(x), abs(self.alpha) * (1 + np.exp(np.minimum(x, 0))))


@op
class Celu(Pointwise):
    """x where x > 0, alpha * (exp(x / alpha) - 1) elsewhere."""

    alpha: float
    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        def function(x: np.ndarray) -> np.ndarray:
            alpha = x.dtype.type(self.alpha)
            return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))

        return widened(function, *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[Any, np.ndarray]:
        x = np.asarray(arrays[0], float)
        return 1, np.where(x > 0, np.abs(x), abs(self.alpha) * (1 + np.exp(np.minimum(x, 0) / self.alpha)) + np.abs(x))


@imports("torch", "aten.elu.default")
def elu_from_torch(call, x, alpha, scale, input_scale):
    """torch's decompositions write SELU and CELU as an ELU with two more factors."""
    alpha, scale, input_scale = float(alpha), float(scale), float(input_scale)
    if (scale, input_scale) == (1.0, 1.0):
        return Elu(alpha=alpha)(x)
    if scale == 1.0 and math.isclose(input_scale * alpha, 1.0, rel_tol=1e-12):
        return Celu(alpha=alpha)(x)
    if input_scale == 1.0:
        usual = math.isclose(alpha, SELU_ALPHA, rel_tol=1e-12) and math.isclose(scale, SELU_SCALE, rel_tol=1e-12)
        return Selu()(x) if usual else Mul()(Elu(alpha=alpha)(x), scale)
    below = Mul()(Expm1()(Mul()(x, input_scale)), alpha * scale)
    return Where()(LessOrEqual()(x, 0), below, Mul()(x, scale))


@imports("keras", "ELU", "ops.Elu", "activations.elu")
def elu_from_keras(layer, x):
    return Elu(alpha=float(layer.alpha))(x)


@imports("chainer", "ELU")
def elu_from_chainer(call, x):
    return Elu(alpha=float(call.alpha))(x)


@imports("torch", "aten.celu.default")
def celu_from_torch(call, x, alpha):
    return Celu(alpha=float(alpha))(x)


@imports("keras", "ops.Celu", "activations.celu")
def celu_from_keras(call, x):
    return Celu(alpha=float(call.alpha))(x)


@imports("onnx", "Elu")
def elu_from_onnx(node, x):
    return Elu(alpha=shortest(node.alpha))(x)


@imports("onnx", "Celu")
def celu_from_onnx(node, x):
    return Celu(alpha=shortest(node.alpha))(x)


@imports("matlab", "eluLayer")
def elu_from_matlab(layer, x):
    return Elu(alpha=layer.Alpha)(x)


@exports("matlab", Elu)
def elu_to_matlab(op, matlab, x):
    return matlab.layer("eluLayer", x, Alpha=op.alpha)


@exports("torch", Elu)
def elu_to_torch(op, torch, x):
    return torch.place(torch.nn.ELU(op.alpha))(x)


@exports("torch", Celu)
def celu_to_torch(op, torch, x):
    return torch.place(torch.nn.CELU(op.alpha))(x)


@exports("keras", Elu)
def elu_to_keras(op, keras, x):
    return keras.place(keras.layers.ELU(alpha=op.alpha))(x)


@exports("keras", Celu)
def celu_to_keras(op, keras, x):
    return keras.ops.celu(x, op.alpha)


@exports("onnx", Elu)
def elu_to_onnx(op, onnx, x):
    if onnx.runs("Elu"):
        return onnx.Elu(x, alpha=op.alpha)
    return onnx.Where(onnx.Less(x, 0.0), onnx.Mul(expm1_to_onnx(onnx, x), op.alpha), x)


@exports("onnx", Celu)
def celu_to_onnx(op, onnx, x):
    if onnx.runs("Celu"):
        return onnx.Celu(x, alpha=op.alpha)
    return onnx.Where(onnx.Less(x, 0.0), onnx.Mul(expm1_to_onnx(onnx, onnx.Div(x, op.alpha)), op.alpha), x)


for _dtype in ("float32", "float16", "bfloat16", "float64"):
    _way = {"onnx": "Where of Exp"} if _dtype == "float64" else {}
    case(f"elu/{_dtype}", Elu(alpha=0.6), Operand((2, 3, 5), dtype=_dtype), composed=_way)
    case(f"celu/{_dtype}", Celu(alpha=0.6), Operand((2, 3, 5), dtype=_dtype), composed=_way)
    case(f"selu/{_dtype}", Selu(), Operand((2, 3, 5), dtype=_dtype), composed=_way)
case("elu/negative_alpha", Elu(alpha=-0.5), (2, 3, 5))
case("celu/large_alpha", Celu(alpha=3.0), (2, 3, 5))
