"""Functions of one number: a row each (see `table`).

| meaning          | keras                     | torch         | onnx                                        |
|------------------|---------------------------|---------------|---------------------------------------------|
| round            | half to even              | half to even  | half to even                                |
| log2, log10      | own                       | own           | Log times a constant                        |
| expm1, log1p     | own                       | own           | compositions that keep small numbers exact  |
| erfc             | 1 - erf                   | own           | 1 - Erf                                     |
| trunc, isfinite  | own                       | own           | compositions                                |
"""

import math

import numpy as np

from ..op import Operand, case, importer_of, imports
from .compare import Equal
from .logic import And
from .precision import IN_32_BITS
from .promotion import as_value, floating
from .table import unary


def _erf(x: np.ndarray) -> np.ndarray:
    from ..numeric import erf

    return erf(x)


def _erfc(x: np.ndarray) -> np.ndarray:
    return np.fromiter(map(math.erfc, x.astype(float).ravel().tolist()), float, x.size).reshape(x.shape).astype(x.dtype)


def expm1_to_onnx(onnx, x):
    """exp(x) - 1 cancels near 0: there it is 2t / (1 - t) with t = tanh(x / 2)."""
    t = onnx.Tanh(onnx.Mul(x, 0.5))
    near = onnx.Div(onnx.Mul(t, 2.0), onnx.Sub(1.0, t))
    return onnx.Where(onnx.Less(onnx.Abs(x), 1.0), near, onnx.Sub(onnx.Exp(x), 1.0))


def log1p_to_onnx(onnx, x):
    """log(1 + x), corrected by what the sum u = 1 + x rounded away: log(u) * x / (u - 1)."""
    u = onnx.Add(x, 1.0)
    log = onnx.Log(u)
    corrected = onnx.Div(onnx.Mul(log, x), onnx.Sub(u, 1.0))
    whole = onnx.Where(onnx.Equal(u, x), log, corrected)  # x is so large that the 1 is lost, or infinite
    return onnx.Where(onnx.Equal(u, 1.0), x, whole)


def _tan_to_onnx(onnx, x):
    return onnx.Tan(x) if onnx.runs("Tan") else onnx.Div(onnx.Sin(x), onnx.Cos(x))


def _is_finite_to_onnx(onnx, x):
    return onnx.Not(onnx.Or(onnx.IsNaN(x), onnx.IsInf(x)))


def _whole(call, x):
    """What rounds to integers leaves them alone in torch; Keras computes in floats."""
    return floating(call, x) if call.graph.framework == "keras" else as_value(call, x)


def _rounding(kind):
    return {"tolerance": "exact", "operand": _whole, "read": lambda x: x if x.dtype.kind in "iub" else kind()()(x)}


EXACT = {"tolerance": "exact", "operand": as_value}

Abs = unary("Abs", "|x|.", np.abs, torch="abs", keras="absolute", onnx="Abs",
            read=lambda x: x if x.dtype == bool else Abs()(x), **EXACT)  # fmt: skip
Neg = unary("Neg", "-x.", np.negative, torch="neg", keras="negative", onnx="Neg", **EXACT)
Sign = unary("Sign", "-1, 0 or 1.", np.sign, torch="sign", keras="sign", onnx="Sign",
             read=lambda x: x if x.dtype == bool else Sign()(x), **EXACT)  # fmt: skip
Floor = unary("Floor", "The largest integer that is not above x.", np.floor, torch="floor", keras="floor",
              onnx="Floor", **_rounding(lambda: Floor))  # fmt: skip
Ceil = unary("Ceil", "The smallest integer that is not below x.", np.ceil, torch="ceil", keras="ceil",
             onnx="Ceil", **_rounding(lambda: Ceil))  # fmt: skip
Round = unary("Round", "The nearest integer, the even one of two.", np.rint, torch=lambda torch, x: torch.round(x),
              keras=lambda keras, x: keras.ops.round(x), onnx="Round", grid="made",
              read=lambda x: x if x.dtype.kind in "iu" else Round()(x), **EXACT)  # fmt: skip
Trunc = unary("Trunc", "The nearest integer that is not farther from 0.", np.trunc, torch="trunc", keras="trunc",
              onnx=lambda onnx, x: onnx.Where(onnx.Less(x, 0), onnx.Ceil(x), onnx.Floor(x)),
              **_rounding(lambda: Trunc))  # fmt: skip
Exp = unary("Exp", "e to the power x.", np.exp, torch="exp", keras="exp", onnx="Exp")
Expm1 = unary("Expm1", "exp(x) - 1, exact for small x.", np.expm1, torch="expm1", keras="expm1", onnx=expm1_to_onnx)
Log = unary("Log", "The natural logarithm.", np.log, torch="log", keras="log", onnx="Log")
Log2 = unary(
    "Log2",
    "The logarithm to base 2.",
    np.log2,
    torch="log2",
    keras="log2",
    onnx=lambda o, x: o.Mul(o.Log(x), 1 / math.log(2)),
)
Log10 = unary(
    "Log10",
    "The logarithm to base 10.",
    np.log10,
    torch="log10",
    keras="log10",
    onnx=lambda o, x: o.Mul(o.Log(x), 1 / math.log(10)),
)
Log1p = unary("Log1p", "log(1 + x), exact for small x.", np.log1p, torch="log1p", keras="log1p", onnx=log1p_to_onnx)
Sqrt = unary("Sqrt", "The square root.", np.sqrt, torch="sqrt", keras="sqrt", onnx="Sqrt")
Rsqrt = unary(
    "Rsqrt",
    "1 / sqrt(x).",
    lambda x: 1 / np.sqrt(x),
    torch="rsqrt",
    keras="rsqrt",
    onnx=lambda o, x: o.Reciprocal(o.Sqrt(x)),
)
Reciprocal = unary("Reciprocal", "1 / x.", lambda x: 1 / x, torch="reciprocal", onnx="Reciprocal",
                   keras=lambda keras, x: keras.ops.divide(1.0, x))  # its own makes float32 of float16  # fmt: skip
Sin = unary(
    "Sin", "The sine.", np.sin, torch="sin", keras="sin", onnx="Sin", terms=np.ones_like
)  # near its zeros it cancels
Cos = unary("Cos", "The cosine.", np.cos, torch="cos", keras="cos", onnx="Cos", terms=np.ones_like)
Tan = unary(
    "Tan", "The tangent.", np.tan, torch="tan", keras="tan", onnx=_tan_to_onnx, terms=lambda x: 1 + np.tan(x) ** 2
)
Asin = unary("Asin", "The inverse sine.", np.arcsin, torch="asin", keras="arcsin", onnx="Asin")
Acos = unary("Acos", "The inverse cosine.", np.arccos, torch="acos", keras="arccos", onnx="Acos")
Atan = unary("Atan", "The inverse tangent.", np.arctan, torch="atan", keras="arctan", onnx="Atan")
Sinh = unary("Sinh", "The hyperbolic sine.", np.sinh, torch="sinh", keras="sinh", onnx="Sinh")
Cosh = unary("Cosh", "The hyperbolic cosine.", np.cosh, torch="cosh", keras="cosh", onnx="Cosh")
Asinh = unary("Asinh", "The inverse hyperbolic sine.", np.arcsinh, torch="asinh", keras="arcsinh", onnx="Asinh")
Acosh = unary("Acosh", "The inverse hyperbolic cosine.", np.arccosh, torch="acosh", keras="arccosh", onnx="Acosh")
Atanh = unary("Atanh", "The inverse hyperbolic tangent.", np.arctanh, torch="atanh", keras="arctanh", onnx="Atanh")
Erf = unary("Erf", "The error function.", _erf, torch="erf", keras="erf", onnx="Erf")
Erfc = unary("Erfc", "1 - erf(x).", _erfc, torch="erfc", keras=lambda k, x: k.ops.subtract(1.0, k.ops.erf(x)),
             onnx=lambda o, x: o.Sub(1.0, o.Erf(x)), terms=lambda x: 1 + np.abs(_erf(x)))  # fmt: skip
IsNaN = unary(
    "IsNaN", "Whether x is not a number.", np.isnan, torch="isnan", keras="isnan", onnx="IsNaN", predicate=True
)
IsInf = unary(
    "IsInf",
    "Whether x is infinite.",
    np.isinf,
    torch="isinf",
    keras="isinf",
    onnx=lambda onnx, x: onnx.IsInf(x),
    predicate=True,
)
IsFinite = unary("IsFinite", "Whether x is a number, and finite.", np.isfinite, torch="isfinite", keras="isfinite",
                 onnx=_is_finite_to_onnx, predicate=True)  # fmt: skip


@imports("onnx", "IsInf")
def is_infinite_from_onnx(node, x):
    if node.detect_negative and node.detect_positive:
        return IsInf()(x)
    if not node.detect_negative and not node.detect_positive:
        return And()(IsInf()(x), Equal()(x, 0))
    return Equal()(x, math.inf if node.detect_positive else -math.inf)


ALIASES = {
    "absolute": "abs", "negative": "neg", "fix": "trunc", "sgn": "sign", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan",
    "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh", "special_erf": "erf", "special_erfc": "erfc",
    "special_expm1": "expm1", "special_log1p": "log1p",
}  # fmt: skip
for _alias, _name in ALIASES.items():
    imports("torch", f"aten.{_alias}.default")(importer_of("torch", f"aten.{_name}.default"))
imports("onnx", "Tan")(importer_of("torch", "aten.tan.default"))
imports("keras", "ops.Reciprocal")(importer_of("torch", "aten.reciprocal.default"))
imports("keras", "ops.Abs")(importer_of("keras", "ops.Absolute"))
imports("keras", "ops.Erfc")(importer_of("torch", "aten.erfc.default"))
imports("keras", "activations.exponential")(importer_of("keras", "ops.Exp"))

RANGES = {
    Log: (0.1, 5), Log2: (0.1, 5), Log10: (0.1, 5), Log1p: (-0.9, 3), Sqrt: (0, 5), Rsqrt: (0.1, 5), Asin: (-1, 1),
    Acos: (-1, 1), Acosh: (1, 5), Atanh: (-0.9, 0.9), Tan: (-1.5, 1.5),
}  # fmt: skip
NO_FLOAT64 = (Asin, Acos, Atan, Sinh, Cosh, Asinh, Acosh, Atanh, Erf, Erfc)
WIDE = (Abs, Neg, Sign, Round, Trunc, Exp, Expm1, Rsqrt, Erf, IsNaN, IsInf, IsFinite)  # Keras keeps their 64 bits
ONNX_WAYS = {
    Expm1: "Tanh near 0, Exp elsewhere", Log2: "Log, scaled", Log10: "Log, scaled", Log1p: "Log, corrected",
    Trunc: "Floor or Ceil", Erfc: "1 - Erf", IsFinite: "neither IsNaN nor IsInf",
}  # fmt: skip

KINDS = (Abs, Neg, Sign, Floor, Ceil, Round, Trunc, Exp, Expm1, Log, Log2, Log10, Log1p, Sqrt, Rsqrt, Reciprocal,
         Sin, Cos, Tan, Asin, Acos, Atan, Sinh, Cosh, Asinh, Acosh, Atanh, Erf, Erfc, IsNaN, IsInf,
         IsFinite)  # fmt: skip

for _kind in KINDS:
    _low, _high = RANGES.get(_kind, (-4, 4))
    for _dtype in ("float32", "float16", "bfloat16", "float64"):
        _ways = {"onnx": ONNX_WAYS[_kind]} if _kind in ONNX_WAYS else {}
        _refused = {} if _kind in WIDE else dict(IN_32_BITS)
        if _kind in NO_FLOAT64:
            _refused["onnx"] = "onnxruntime has no kernel"
        if _kind is Erfc:
            _ways["keras"] = "1 - erf"
        if _kind is Tan and _dtype == "float64":
            _ways["onnx"] = "Sin and Cos"
        case(
            f"{_kind.__name__}/{_dtype}", _kind(), Operand((2, 3, 5), dtype=_dtype, low=_low, high=_high),
            composed=_ways,
            refused=_refused if _dtype == "float64" else None,
        )  # fmt: skip
