"""What is right: y = x where x >= 0, s * x elsewhere, the product rounded once to x's type. By integers.

A float is sign * m * 2**e with integers m and e, so a product is exact and one rounding (to nearest, ties to even) makes
it a number of the type. No runtime and no numpy multiplication takes part. Special numbers follow IEEE 754: NaN is not
>= 0, so s * NaN = NaN; -0.0 >= 0, so it stays -0.0; 0 * inf = NaN.

What is left open is the precision in which a system holds the slope. Three readings are in use:

* float32: rounded to float32 (an attribute of ONNX, of TensorFlow, the arithmetic inside torch's float16 kernels);
* type: rounded to the tensor's type (JAX, the function body of ONNX's LeakyRelu-16);
* float64: as it is (a Python number, a C double).

Numbers travel as float64, which holds every number of the four types.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Final, NamedTuple

import numpy as np

from ..numeric import dtype as numpy_dtype

CONVENTIONS: Final = ("slope", "one", "mean")  # of a gradient at 0: what `at_zero` calls them
READINGS: Final = ("float32", "type", "float64")


class Format(NamedTuple):
    """A binary format of IEEE 754 (and bfloat16, built alike)."""

    precision: int  # bits of the significand, the hidden one included
    lowest: int  # exponent of the smallest normal number: 2.0**lowest
    highest: int  # exponent of the largest: below 2.0**(highest + 1)


FORMATS: Final = {
    "float16": Format(11, -14, 15),
    "bfloat16": Format(8, -126, 127),
    "float32": Format(24, -126, 127),
    "float64": Format(53, -1022, 1023),
}


def smallest(kind: str) -> float:
    """The smallest positive subnormal number of a type."""
    form = FORMATS[kind]
    return math.ldexp(1.0, form.lowest - form.precision + 1)


def smallest_normal(kind: str) -> float:
    return math.ldexp(1.0, FORMATS[kind].lowest)


def largest(kind: str) -> float:
    """The largest finite number of a type."""
    form = FORMATS[kind]
    return math.ldexp(2**form.precision - 1, form.highest - form.precision + 1)


def rounded(x: float, kind: str) -> float:
    """The number of a type nearest to a float64, ties to even; from half an ulp beyond the largest on, infinity."""
    if x == 0 or not math.isfinite(x):
        return x
    return _round(*_parts(x), kind)


def product(s: float, x: float, kind: str) -> float:
    """s * x, exact, rounded once to a type."""
    if s == 0 or x == 0 or not (math.isfinite(s) and math.isfinite(x)):
        return _special_product(s, x)
    (m, e), (n, f) = _parts(s), _parts(x)
    return _round(m * n, e + f, kind)


def held(slope: float, reading: str, kind: str) -> float:
    """The slope as a reading holds it, for a tensor of this type."""
    return rounded(slope, kind if reading == "type" else reading)


@functools.lru_cache(maxsize=200_000)
def leaky(x: float, slope: float, kind: str) -> float:
    """The definition, of one number. (The cache may take -0.0 for 0.0: neither gets into it, see `values`.)"""
    return x if x >= 0 else product(slope, x, kind)


def values(xs: Iterable[float], slope: float, reading: str, kind: str) -> list[float]:
    """leaky(x) of every x, with the slope held as a reading says."""
    s = held(slope, reading, kind)
    made = leaky.__wrapped__ if s == 0 or s != s else leaky  # a cache finds 0.0 for -0.0, and NaN never again
    return [x if x == 0 else made(x, s, kind) for x in xs]


def gradients(xs: Iterable[float], slope: float, reading: str, kind: str) -> list[float]:
    """1 above 0 and the slope, rounded to the type, below; NaN at 0 and at NaN, where the derivative is not defined."""
    s = rounded(held(slope, reading, kind), kind)
    return [1.0 if x > 0 else s if x < 0 else math.nan for x in xs]


def at_zero(slope: float, got: float, kind: str) -> str:
    """Which convention a gradient at 0 follows: that of one side, the mean of both, or no known one."""
    legal = {rounded(held(slope, reading, kind), kind) for reading in READINGS}
    if any(same(got, s) for s in legal):
        return "slope"
    if got == 1:
        return "one"
    means = {rounded((1 + s) / 2, kind) for s in legal}
    return "mean" if got in means else repr(got)


def distance(a: float, b: float, kind: str) -> float:
    """Numbers of the type between two, 0.0 and -0.0 being one; infinite where only one is NaN, or infinite, or its sign differs."""
    if a == b or (a != a and b != b):
        return 0.0
    if not (math.isfinite(a) and math.isfinite(b)):
        return math.inf
    return float(abs(_place(a, kind) - _place(b, kind)))


def same(a: float, b: float) -> bool:
    """The same number, its sign included where it is zero; every NaN is the same."""
    return (a == b and math.copysign(1, a) == math.copysign(1, b)) or (a != a and b != b)


def array(numbers: Iterable[float], shape: tuple[int, ...], kind: str) -> np.ndarray:
    """Numbers of a type as an array of that type. No rounding takes place: they are exact."""
    return np.asarray(list(numbers), np.float64).astype(numpy_dtype(kind)).reshape(shape)


def numbers(made: np.ndarray) -> list[float]:
    """The elements of an array, in order, as float64."""
    with np.errstate(invalid="ignore"):  # a signalling NaN
        return [float(x) for x in made.astype(np.float64).ravel()]


def _parts(x: float) -> tuple[int, int]:
    """A finite number as m * 2**e with integers."""
    fraction, exponent = math.frexp(x)
    return int(math.ldexp(fraction, 53)), exponent - 53


def _round(m: int, e: int, kind: str) -> float:
    """m * 2**e to the nearest number of the type, ties to even. m is not 0."""
    form, size = FORMATS[kind], abs(m)
    last = max(
        size.bit_length() + e - form.precision, form.lowest - form.precision + 1
    )  # exponent of the last bit kept
    if (drop := last - e) > 0:
        kept, rest = divmod(size, 1 << drop)
        half = 1 << (drop - 1)
        kept += rest > half or (rest == half and kept & 1)
    else:
        kept = size << -drop
    huge = kept.bit_length() + last > form.highest + 1
    return math.copysign(math.inf if huge else math.ldexp(kept, last), m)


def _special_product(s: float, x: float) -> float:
    """A product with a zero, an infinity or a NaN in it."""
    if s != s or x != x or (math.isinf(s) and x == 0) or (math.isinf(x) and s == 0):
        return math.nan
    size = math.inf if math.isinf(s) or math.isinf(x) else 0.0
    return math.copysign(size, math.copysign(1, s) * math.copysign(1, x))


def _place(x: float, kind: str) -> int:
    """Which number of its type a finite number is, counted from zero."""
    form, size = FORMATS[kind], abs(x)
    if size == 0:
        return 0
    exponent = max(math.frexp(size)[1] - 1, form.lowest)
    step = exponent - form.precision + 1
    m, e = _parts(size)
    place = (m << (e - step) if e >= step else m >> (step - e)) + ((exponent - form.lowest) << (form.precision - 1))
    return int(math.copysign(1, x)) * place
