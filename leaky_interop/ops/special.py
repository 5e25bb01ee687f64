"""Functions that ONNX has no operator for, and no short composition either.

| meaning | keras      | torch   | onnx                                                             |
|---------|------------|---------|------------------------------------------------------------------|
| I0      | ops.i0     | i0      | two Chebyshev series, as every library computes it               |
| ErfInv  | ops.erfinv | erfinv  | two polynomials in the logarithm of 1 - x**2, to float32's digits |
| Gcd     | ops.gcd    | gcd     | as many of Euclid's steps as the width of the integers can take  |
| Lcm     | ops.lcm    | lcm     | composed of Gcd                                                  |

TensorFlow's erfinv is wrong by up to 4e-8 near 0, which is much of a small number: verification names it.
"""

import functools
import math
from typing import Any

import numpy as np

from ..op import Operand, case, imports
from .compare import Equal, Where
from .functions import Abs
from .math import FloorDiv, Mul
from .precision import in_32_bits
from .promotion import in_one_dtype
from .table import binary, unary


def _scaled_bessel(x: np.ndarray) -> np.ndarray:
    """exp(-x) I0(x), its integral over the circle by as many points as the sharpest peak here needs."""
    angles = np.arange(4096) * (2 * math.pi / 4096)
    return np.exp(np.multiply.outer(x, np.cos(angles) - 1)).mean(-1)


@functools.cache
def _series() -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev coefficients of exp(-x) I0(x) up to x = 8, and of sqrt(x) times that beyond, in 32 / x - 2."""
    near = np.polynomial.chebyshev.chebinterpolate(lambda t: _scaled_bessel(4 * t + 4), 29)
    far = np.polynomial.chebyshev.chebinterpolate(lambda t: _scaled_bessel(16 / (t + 1)) * np.sqrt(16 / (t + 1)), 20)
    return near, far


def _clenshaw(onnx: Any, t: Any, coefficients: np.ndarray) -> Any:
    """The sum of coefficients times Chebyshev's polynomials of t."""
    twice, first, second = onnx.Mul(t, 2.0), None, None
    for c in coefficients[:0:-1].tolist():
        term = onnx.Mul(t, 0.0) if first is None else onnx.Mul(twice, first)
        first, second = onnx.Add(term if second is None else onnx.Sub(term, second), c), first
    return onnx.Add(onnx.Sub(onnx.Mul(t, first), second), float(coefficients[0]))


def _bessel_to_onnx(onnx, x):
    near, far = _series()
    x = onnx.Abs(x)
    inside = onnx.Min(x, np.full((), 8, onnx.inputs[0].dtype))
    outside = onnx.Max(x, np.full((), 8, onnx.inputs[0].dtype))
    low = _clenshaw(onnx, onnx.Sub(onnx.Mul(inside, 0.25), 1.0), near)
    high = onnx.Div(_clenshaw(onnx, onnx.Sub(onnx.Div(16.0, outside), 1.0), far), onnx.Sqrt(outside))
    return onnx.Mul(onnx.Exp(x), onnx.Where(onnx.Less(x, 8.0), low, high))


def erfinv(x: np.ndarray) -> np.ndarray:
    """Newton's steps from a first guess; 3 reach the last digit of float64."""
    wide = np.asarray(x, np.float64)
    inner = np.where(np.abs(wide) < 1, wide, 0.0)
    log = np.log1p(-inner * inner)
    base = 2 / (math.pi * 0.147) + log / 2
    y = np.sign(inner) * np.sqrt(np.sqrt(base * base - log / 0.147) - base)
    from ..numeric import erf

    for _ in range(4):
        y = y - (erf(y) - inner) * (math.sqrt(math.pi) / 2) * np.exp(y * y)
    y = np.where(np.abs(wide) == 1, np.copysign(np.inf, wide), np.where(np.abs(wide) < 1, y, np.nan))
    return y.astype(x.dtype)


# M. Giles, "Approximating the erfinv function", 2010: for w = -log(1 - x * x) below 5 and from there on.
CENTRAL = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164,
           0.246640727, 1.50140941)  # fmt: skip
TAIL = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047,
        1.00167406, 2.83297682)  # fmt: skip


def _horner(onnx: Any, w: Any, coefficients: tuple[float, ...]) -> Any:
    y = onnx.Add(onnx.Mul(w, coefficients[0]), coefficients[1])
    for c in coefficients[2:]:
        y = onnx.Add(onnx.Mul(y, w), c)
    return y


def _erfinv_to_onnx(onnx, x):
    if onnx.inputs[0].dtype != np.float32:
        raise onnx.refuse(f"erfinv in {onnx.inputs[0].dtype}", why="ONNX has no such operator", instead="Use float32")
    w = onnx.Neg(onnx.Log(onnx.Mul(onnx.Sub(1.0, x), onnx.Add(x, 1.0))))
    central, tail = _horner(onnx, onnx.Sub(w, 2.5), CENTRAL), _horner(onnx, onnx.Sub(onnx.Sqrt(w), 3.0), TAIL)
    y = onnx.Mul(onnx.Where(onnx.Less(w, 5.0), central, tail), x)
    at_end = onnx.Equal(onnx.Abs(x), 1.0)
    return onnx.Where(at_end, onnx.Mul(x, np.float32(np.inf)), y)


def _gcd_to_onnx(onnx, x, y):
    """Euclid's steps: consecutive Fibonacci numbers take the most of them."""
    dtype = onnx.inputs[0].dtype
    if dtype.kind == "i":
        x, y = onnx.Abs(x), onnx.Abs(y)
    one, none = np.ones((), dtype), np.zeros((), dtype)
    for _ in range(math.ceil(8 * dtype.itemsize * math.log(2) / math.log((1 + math.sqrt(5)) / 2)) + 1):
        ended = onnx.Equal(y, none)
        rest = onnx.Mod(x, onnx.Where(ended, one, y))
        x, y = onnx.Where(ended, x, y), onnx.Where(ended, none, rest)
    return x


def _gcd_to_keras(keras, x, y):
    if in_32_bits(keras, keras.outputs[0].dtype):
        raise keras.refuse("gcd in int64", why="Keras computes it in 32 bits", instead="Use int32")
    return keras.ops.gcd(x, y)


def _erfinv_terms(x: np.ndarray) -> np.ndarray:
    """Near its ends a rounding of x moves the result by as much as the curve is steep."""
    y = np.where(np.abs(x) < 1, erfinv(np.asarray(x, np.float64)), 0.0)
    return 2 * (np.abs(y) + np.abs(x) * np.exp(y * y))


I0 = unary("I0", "The modified Bessel function of the first kind, of order 0.", np.i0, torch="i0", keras="i0",
           onnx=_bessel_to_onnx, terms=lambda x: 32 * np.i0(x))  # of thirty terms  # fmt: skip
ErfInv = unary("ErfInv", "The number whose error function is x.", erfinv, torch="erfinv", keras="erfinv",
               onnx=_erfinv_to_onnx, terms=_erfinv_terms)  # fmt: skip
Gcd = binary("Gcd", "The greatest common divisor, not negative.", np.gcd, torch="gcd", keras=_gcd_to_keras,
             onnx=_gcd_to_onnx, aten=("aten.gcd.default",), ops=("ops.Gcd",), tolerance="exact", scalars=False)  # fmt: skip
imports("torch", "aten.special_i0.default")(lambda call, x: I0()(x))
imports("torch", "aten.special_erfinv.default")(lambda call, x: ErfInv()(x))


@imports("torch", "aten.lcm.default")
@imports("keras", "ops.Lcm")
def least_common_multiple(call, x, y):
    """0 where one of them is."""
    x, y = in_one_dtype(call, x, y)
    divisor = Gcd()(x, y)
    safe = Where()(Equal()(divisor, 0), 1, divisor)
    product = Mul()(FloorDiv()(x, safe), y)
    return Abs()(product) if x.dtype.kind == "i" else product


case("i0/both_series", I0(), Operand((2, 9), low=-30, high=30), composed={"onnx": "Chebyshev series"})
case("i0/float16", I0(), Operand((2, 9), dtype="float16", low=-9, high=9), composed={"onnx": "Chebyshev series"})
case("i0/float64", I0(), Operand((2, 9), dtype="float64", low=-30, high=30), composed={"onnx": "Chebyshev series"})
case("erfinv/float32", ErfInv(), Operand((3, 7), low=-0.999, high=0.999), composed={"onnx": "polynomials"})
case(
    "erfinv/ends",
    ErfInv(),
    Operand((6,), numbers=(-1.0, 1.0, 0.0, 0.01, -0.99999, 2.0)),
    composed={"onnx": "polynomials"},
)
case(
    "erfinv/float64",
    ErfInv(),
    Operand((3, 7), dtype="float64", low=-1, high=1),
    refused={"keras/jax": "in 32 bits", "onnx": "no operator"},
)
case("gcd/int32", Gcd(), Operand((3, 5), dtype="int32", low=-99, high=99), Operand((5,), dtype="int32", low=-99, high=99),
     composed={"onnx": "Euclid's steps"})  # fmt: skip
case("gcd/int64", Gcd(), Operand((3, 5), dtype="int64", low=-99, high=99), Operand((5,), dtype="int64", low=-99, high=99),
     composed={"onnx": "Euclid's steps"}, refused=dict.fromkeys(("keras/torch", "keras/jax"), "in 32 bits"))  # fmt: skip
