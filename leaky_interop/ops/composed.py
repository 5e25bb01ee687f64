"""Native operators that are compositions of others in every framework: importers only.

What they come back as is the composition; each is written so that it keeps its meaning at the edges that its own
framework handles (an infinity, a zero, a NaN).
"""

import math
from typing import Any

import numpy as np

from ..op import Value, imports
from .bounds import Clip, Maximum, Minimum
from .compare import Equal, Greater, Less, LessOrEqual, Where
from .functions import Abs, Exp, IsFinite, IsInf, IsNaN, Log, Log1p, Neg, Reciprocal, Round, Sin, Trunc
from .logic import And, Or
from .math import Add, Div, FloorDiv, Mul, Pow, Sub, scaled, true_divide
from .promotion import as_value, floating, in_one_dtype, in_stated_dtype, number_of


@imports("torch", "aten.div.Tensor_mode", "aten.div.Scalar_mode", "aten.divide.Tensor_mode", "aten.divide.Scalar_mode")
def divide_from_torch(call, x, y, rounding_mode):
    if rounding_mode == "floor":
        return FloorDiv()(*in_one_dtype(call, x, y))
    if rounding_mode is None:
        return true_divide(call, x, y)
    quotient = Div()(*in_one_dtype(call, x, y))
    return quotient if quotient.dtype.kind in "iu" else Trunc()(quotient)


@imports("torch", "aten.float_power.Tensor_Scalar", "aten.float_power.Tensor_Tensor", "aten.float_power.Scalar")
def float_power_from_torch(call, x, y):
    return Pow()(as_value(call, x, np.float64), as_value(call, y, np.float64))


@imports("torch", "aten.addcmul.default")
def addcmul_from_torch(call, x, y, z, value):
    return Add()(*in_one_dtype(call, x, Mul()(*in_one_dtype(call, scaled(call, y, value), z))))


@imports("torch", "aten.addcdiv.default")
def addcdiv_from_torch(call, x, y, z, value):
    return Add()(*in_one_dtype(call, x, true_divide(call, scaled(call, y, value), z)))


@imports("torch", "aten.lerp.Scalar", "aten.lerp.Tensor")
def lerp_from_torch(call, x, y, weight):
    """From the nearer end, as torch does."""
    x, y, weight = in_one_dtype(call, x, y, weight)
    distance = Sub()(y, x)
    from_x = Add()(x, Mul()(weight, distance))
    from_y = Sub()(y, Mul()(distance, Sub()(1.0, weight)))
    if (number := number_of(weight)) is not None:
        return from_x if abs(number) < 0.5 else from_y
    return Where()(Less()(Abs()(weight), 0.5), from_x, from_y)


@imports("torch", "aten.exp2.default", "aten.special_exp2.default")
@imports("keras", "ops.Exp2")
def exp2(call, x):
    return Pow()(2.0, floating(call, x))


@imports("torch", "aten.round.default", "aten.round.decimals")
def round_from_torch(call, x, decimals=0):
    return _rounded(x, decimals)


@imports("keras", "ops.Round")
def round_from_keras(call, x):
    return _rounded(x, call.decimals)


def _rounded(x: Value, decimals: int) -> Value:
    """To so many digits after the point: scaled up (or, below 0, down), rounded, scaled back."""
    if decimals == 0 or x.dtype.kind in "iu":
        return Round()(x)
    scale = 10.0 ** abs(decimals)
    there, back = (Mul(), Div()) if decimals > 0 else (Div(), Mul())
    return back(Round()(there(x, scale)), scale)


@imports("torch", "aten.frac.default")
def fraction_from_torch(call, x):
    return Sub()(x, Trunc()(x))


@imports("torch", "aten.sinc.default", "aten.special_sinc.default")
@imports("keras", "ops.Sinc")
def sinc(call, x):
    angle = Mul()(floating(call, x), math.pi)
    return Where()(Equal()(angle, 0), 1.0, Div()(Sin()(angle), angle))


@imports("torch", "aten.logit.default", "aten.special_logit.default")
def logit_from_torch(call, x, epsilon):
    x = floating(call, x)
    if epsilon is not None:
        x = Clip(minimum=float(epsilon), maximum=1.0 - float(epsilon))(x)
    return Log()(Div()(x, Sub()(1.0, x)))


@imports("torch", "aten.xlogy.Tensor", "aten.xlogy.Scalar_Self", "aten.xlogy.Scalar_Other")
def x_log_y_from_torch(call, x, y):
    """0 where x is 0, whatever y is; NaN where y is."""
    x, y = (floating(call, v) for v in in_one_dtype(call, x, y))
    zero = Where()(Equal()(x, 0), x, Mul()(x, Log()(y)))
    return Where()(IsNaN()(y), y, zero)


@imports("torch", "aten.logaddexp.default")
@imports("keras", "ops.Logaddexp")
def log_add_exp(call, x, y):
    """The larger, plus the logarithm of 1 and what the other adds to it; two equal infinities stay as they are."""
    x, y = in_stated_dtype(call, *in_one_dtype(call, x, y))
    larger = Maximum()(x, y)
    added = Log1p()(Exp()(Neg()(Abs()(Sub()(x, y)))))
    return Where()(And()(Equal()(x, y), IsInf()(x)), x, Add()(larger, added))


@imports("torch", "aten.deg2rad.default")
@imports("keras", "ops.Deg2rad")
def radians(call, x):
    return _scaled(call, x, math.pi / 180)


@imports("torch", "aten.rad2deg.default")
@imports("keras", "ops.Rad2deg")
def degrees(call, x):
    return _scaled(call, x, 180 / math.pi)


def _scaled(call: Any, x: Value, factor: float) -> Value:
    """Keras on torch multiplies int64 in float32 and calls it float64; on TensorFlow it is float64."""
    x = floating(call, x)
    if call.graph.framework == "keras" and call.backend == "tensorflow":
        (x,) = in_stated_dtype(call, x)
    return in_stated_dtype(call, Mul()(x, factor))[0]


@imports("torch", "aten.angle.default")
def angle_of_a_real_number_from_torch(call, x):
    """Of a number below 0 half a turn, of any other none."""
    x = floating(call, x)
    half = call.graph.constant(math.pi, x.dtype)
    return Where()(IsNaN()(x), x, Where()(Less()(x, 0), half, 0.0))


@imports("torch", "aten.copysign.Tensor", "aten.copysign.Scalar")
def copied_sign_from_torch(call, x, y):
    x, y = (floating(call, v) for v in in_one_dtype(call, x, y))
    magnitude = Abs()(x)
    return Where()(_negative(y), Neg()(magnitude), magnitude)


@imports("torch", "aten.signbit.default")
@imports("keras", "ops.Signbit")
def sign_bit(call, x):
    return _negative(as_value(call, x))


def _negative(x: Value) -> Value:
    """Whether x is below 0, or the zero that is: one over it is the infinity below 0."""
    if x.dtype.kind not in "fV":
        return Less()(x, 0)
    return Or()(Less()(x, 0), And()(Equal()(x, 0), Less()(Reciprocal()(x), 0)))


@imports("torch", "aten.isposinf.default")
@imports("keras", "ops.Isposinf")
def is_positive_infinity(call, x):
    return Equal()(floating(call, x), math.inf)


@imports("torch", "aten.isneginf.default")
@imports("keras", "ops.Isneginf")
def is_negative_infinity(call, x):
    return Equal()(floating(call, x), -math.inf)


@imports("torch", "aten.heaviside.default")
@imports("keras", "ops.Heaviside")
def heaviside(call, x, at_zero):
    x, at_zero = in_stated_dtype(call, *in_one_dtype(call, x, at_zero))
    return Where()(Equal()(x, 0), at_zero, Greater()(x, 0).cast(x.dtype))


@imports("keras", "ops.DivideNoNan")
def divide_without_nan_from_keras(call, x, y):
    quotient = true_divide(call, x, y)
    return Where()(Equal()(as_value(call, y, quotient.dtype), 0), 0.0, quotient)


@imports("keras", "ops.Isclose")
def is_close_from_keras(call, x, y, rtol, atol):
    return is_close_from_torch(call, x, y, rtol, atol, call.equal_nan)


@imports("torch", "aten.isclose.default")
def is_close_from_torch(call, x, y, relative, absolute, equal_nan):
    x, y = in_one_dtype(call, x, y)
    distance = Abs()(Sub()(x, y))
    near = And()(IsFinite()(distance), LessOrEqual()(distance, Add()(Mul()(Abs()(y), relative), absolute)))
    result = Or()(Equal()(x, y), near)
    return Or()(result, And()(IsNaN()(x), IsNaN()(y))) if equal_nan else result


@imports("torch", "aten.fmax.default")
@imports("keras", "ops.Fmax")
def maximum_without_nan(call, x, y):
    return _without_nan(Maximum(), *in_one_dtype(call, x, y))


@imports("torch", "aten.fmin.default")
@imports("keras", "ops.Fmin")
def minimum_without_nan(call, x, y):
    return _without_nan(Minimum(), *in_one_dtype(call, x, y))


def _without_nan(kind, x, y):
    """Where one is NaN, the other."""
    return Where()(IsNaN()(x), y, Where()(IsNaN()(y), x, kind(x, y)))
