"""Floating point facts, and how far two honest computations of one value may lie apart.

Every tolerance of the program is made here, from the four constants below; no other file may hold one. Imports numpy
only: ml_dtypes is loaded when one of its dtypes is asked for by name (an array of such a dtype brings it along anyway).

A limit is an array of absolute differences, one for each element. Four rules make them:

* exact: moves, comparisons, the relu family: no difference at all.
* rounding: pointwise functions, where only the last digits depend on the library: a few ulp of the expected value.
* sum: contractions and reductions, where the order of adding is free: grows with the square root of the length.
* network: a whole output, where the errors of all nodes meet.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np

from .report.record import Error

Array = np.ndarray[Any, np.dtype[Any]]

ROUNDING_ULP: Final = 4  # a pointwise function, in units in the last place of the expected value
SUM_FACTOR: Final = 4  # times sqrt(n) * unit roundoff * sum of magnitudes
ONE_SIDED: Final = 0.99  # from this part of the sum of magnitudes on, a sum has terms of one sign only
NETWORK_FACTOR: Final = 8  # times the distance between the network's float32 and float64 runs
FLOOR_ULP: Final = 4  # no network is asked to be nearer than this, in ulp of the output's scale


class _Format(NamedTuple):
    """A binary format of sign, exponent and fraction."""

    precision: int  # bits of the significand, the hidden one included
    lowest: int  # exponent of the smallest normal number: 2.0**lowest
    bits: type[np.integer[Any]]  # the integer of the same width
    shift: int = 0  # by which the sign of a narrower format is moved to the top of that integer


_FORMATS = {
    "float16": _Format(11, -14, np.int16),
    "bfloat16": _Format(8, -126, np.int16),
    "float32": _Format(24, -126, np.int32),
    "float64": _Format(53, -1022, np.int64),
    "float8_e4m3fn": _Format(4, -6, np.int8),
    "float8_e4m3fnuz": _Format(4, -7, np.int8),
    "float8_e5m2": _Format(3, -14, np.int8),
    "float8_e5m2fnuz": _Format(3, -15, np.int8),
    "float8_e8m0fnu": _Format(1, -127, np.uint8),  # powers of two, no sign
    "float4_e2m1fn": _Format(2, 0, np.int8, 4),
}
NARROW_FLOATS: Final = frozenset(name for name in _FORMATS if name.startswith(("float8", "float4")))
NARROW_INTEGERS: Final = frozenset(("int2", "uint2", "int4", "uint4"))  # a byte for each number in memory, packed in files
BITS: Final = {"int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "float4_e2m1fn": 4}  # of those that files pack


def dtype(name: Any) -> np.dtype[Any]:
    """The numpy dtype of a name (or of anything that numpy takes for one), those of ml_dtypes and "string" included."""
    if isinstance(name, str) and name == "string":  # as Keras and TensorFlow call it; here an array of str
        name = object
    if isinstance(name, str) and (name == "bfloat16" or name in NARROW_FLOATS or name in NARROW_INTEGERS):
        import ml_dtypes

        name = getattr(ml_dtypes, name)
    found: np.dtype[Any] = np.dtype(name)
    return found


def is_float(kind: Any) -> bool:
    """Whether a dtype is one of the binary formats that this file measures; a sequence's kind is none."""
    return getattr(kind, "kind", "") != "L" and dtype(kind).name in _FORMATS


def precision_and_range(kind: Any) -> tuple[int, int]:
    """Bits of the significand, the hidden one included, and the exponent of the smallest normal number."""
    form = _format(kind)
    return form.precision, form.lowest


def _format(kind: Any) -> _Format:
    if not is_float(kind):
        raise TypeError(f"expected one of {', '.join(_FORMATS)}; received {dtype(kind).name}")
    return _FORMATS[dtype(kind).name]


def _wide(x: Array) -> Array:
    """The same numbers as float64; signalling NaN, which any bytes may hold, are no reason to warn."""
    with np.errstate(invalid="ignore"):
        return x.astype(np.float64)


def unit_roundoff(kind: Any) -> float:
    """Largest relative error of rounding a real number to this dtype: half of the distance from 1 to its successor."""
    return 2.0 ** -_format(kind).precision


def smallest(kind: Any) -> float:
    """The smallest normal number of a float dtype."""
    return 2.0 ** _format(kind).lowest


def ulp(x: Any, kind: Any = None) -> Array:
    """Distance from |x| to the next larger number of the dtype (x's own unless given), as float64.

    It never falls below the smallest subnormal number; infinity and NaN have none and give 0.
    """
    x = np.asarray(x)
    form = _format(x.dtype if kind is None else kind)
    wide = _wide(x)
    exponent = np.frexp(np.maximum(abs(wide), 2.0**form.lowest))[1]  # the number is in [2**(exponent - 1), 2**exponent)
    return np.where(np.isfinite(wide), np.ldexp(1.0, exponent - form.precision), 0.0)


def rounded(x: Array, kind: Any) -> Array:
    """float64 numbers rounded once to a float type. numpy takes them to bfloat16 by way of float32, which rounds twice."""
    kind = dtype(kind)
    if kind.itemsize > 2 or kind == np.float16:
        return x.astype(kind)
    near = x.astype(np.float32)
    inside = np.where(np.abs(near) > np.abs(x), np.nextafter(near, np.float32(0)), near)  # towards 0, then to odd where cut
    odd = np.where((inside != x) & np.isfinite(x), inside.view(np.uint32) | 1, inside.view(np.uint32))
    return odd.astype(np.uint32).view(np.float32).astype(kind)


def erf(x: Any) -> Array:
    """The error function, elementwise and in x's dtype; worked out in float64 by the C library.

    numpy has none, and a loop over math.erf takes 0.07 s for a million elements: series in numpy gain nothing on it.
    """
    x = np.asarray(x)
    values = np.fromiter(map(math.erf, _wide(x).ravel().tolist()), np.float64, x.size).reshape(x.shape)
    return values.astype(x.dtype if is_float(x.dtype) else np.float64)


# --- comparing numbers ------------------------------------------------------------------------------------------------


def _same_kind(a: Any, b: Any) -> tuple[Array, Array]:
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype:
        raise TypeError(f"expected two arrays of one dtype; received {a.dtype.name} and {b.dtype.name}")
    return a, b


def _steps(a: Array, b: Array) -> Array:
    """Numbers of the dtype between two floats: bit patterns are ordered like the numbers, but for the sign."""
    form = _format(a.dtype)
    least = np.iinfo(form.bits).min
    places = (x.view(form.bits) << form.shift for x in (a, b))
    p, q = (np.where(bits < 0, least - bits, bits).astype(np.int64) >> form.shift for bits in places)
    return np.where(p > q, p.view(np.uint64) - q.view(np.uint64), q.view(np.uint64) - p.view(np.uint64))


def ulp_distance(a: Any, b: Any) -> Array:
    """How many numbers of their dtype two floats lie apart, elementwise, as float64.

    NaN against NaN, equal infinities and -0.0 against 0.0 are 0 apart; NaN or infinity against anything else are
    infinitely far, so that an overflow is never a small error. Exact below 2**53.
    """
    a, b = _same_kind(a, b)
    x, y = _wide(a), _wide(b)
    near = _steps(np.atleast_1d(a), np.atleast_1d(b)).astype(np.float64).reshape(np.broadcast_shapes(a.shape, b.shape))
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    return np.where(same, 0.0, np.where(np.isfinite(x) & np.isfinite(y), near, np.inf))


def same_bits(a: Any, b: Any) -> Array:
    """Whether two values are the same number, elementwise: -0.0 differs from 0.0; every NaN is the same NaN."""
    a, b = _same_kind(a, b)
    if not is_float(a.dtype):
        return np.asarray(a == b)
    x, y = _wide(a), _wide(b)
    return np.asarray(((x == y) & (np.signbit(x) == np.signbit(y))) | (np.isnan(x) & np.isnan(y)))


def shortest(x: float) -> float:
    """The shortest decimal that rounds to the same float32: 0.009999999776482582 gives 0.01.

    It undoes what storing a slope in 32 bits did to it. A number that is no float32 was never stored in one and comes
    back as it is, and so do infinities and NaN.
    """
    with np.errstate(over="ignore"):
        stored = np.float32(x)
        if not math.isfinite(x) or float(stored) != x:
            return x
        short = float(str(stored))
        # The decimal passes through float64 on its way: for a few it would round to the neighbour.
        return short if np.float32(short) == stored else x


# --- limits -----------------------------------------------------------------------------------------------------------


def exact_limit(expected: Any) -> Array:
    """No difference allowed."""
    return np.zeros(np.shape(expected))


def rounding_limit(expected: Any) -> Array:
    """ROUNDING_ULP units in the last place of each expected value."""
    return ROUNDING_ULP * ulp(expected)


def sum_limit(n: int, magnitude: Any, kind: Any) -> Array:
    """SUM_FACTOR * sqrt(n) * unit roundoff * magnitude: sums of n products that were added in another order.

    `magnitude` is the same sum over absolute values, |W| * |x| + |b|. Runtimes may flush what lies below the normal
    numbers to zero (not in float16, which they widen), TensorFlow's softmax already what lies below twice the smallest
    of those: the limit never falls under that.
    """
    bound = SUM_FACTOR * math.sqrt(n) * unit_roundoff(kind) * np.asarray(magnitude, np.float64)
    kept = 1 if dtype(kind) == np.float16 else 2 ** _format(kind).precision
    return np.maximum(bound, kept * ulp(0.0, kind))


def network_limit(propagated: Any, distance: Any, scale: Any, kind: Any) -> Array:
    """The larger of the propagated bound and NETWORK_FACTOR times the distance; never under FLOOR_ULP ulp of the scale.

    `propagated`: the nodes' limits carried to the output. `distance`: between the source's float32 and float64 runs.
    `scale`: the largest magnitude in the output.
    """
    measured = np.maximum(np.asarray(propagated, np.float64), NETWORK_FACTOR * np.asarray(distance, np.float64))
    floor: Array = FLOOR_ULP * ulp(np.asarray(scale, np.float64), kind)
    return np.maximum(measured, floor)


def compare(expected: Any, received: Any, limit: Any) -> Error | str:
    """How far `received` lies from `expected` against an absolute limit; a sentence where they cannot be subtracted.

    In this order: shapes, dtypes, positions of NaN and of either infinity, values. An allowance that is itself NaN or
    infinite (a bound that overflowed) allows nothing.
    """
    a, b = np.asarray(expected), np.asarray(received)
    if a.shape != b.shape:
        return f"shape {b.shape}, but should be {a.shape}"
    if a.dtype != b.dtype:
        return f"dtype {b.dtype.name}, but should be {a.dtype.name}"
    if a.dtype.kind == "O":
        wrong = np.asarray(a != b, bool)
        if wrong.any():
            at = _index(wrong)
            return f"other text in {np.count_nonzero(wrong)} of {a.size} places, first at {at}: {b[at]!r}, but should be {a[at]!r}"
        return Error(absolute=0.0, ulp=0.0, limit=0.0, ratio=0.0)
    if is_float(a.dtype):
        x, y = _wide(a), _wide(b)
        for name, found in (
            ("NaN", np.isnan),
            ("infinity", np.isposinf),
            ("-infinity", np.isneginf),
        ):
            wrong = found(x) != found(y)
            if wrong.any():
                at = _index(wrong)
                return (
                    f"{name} in different places: {np.count_nonzero(wrong)} of {a.size} elements, "
                    f"first at {at}: {y[at]}, but should be {x[at]}"
                )
        with np.errstate(over="ignore", invalid="ignore"):
            difference = np.where(np.isfinite(x), abs(x - y), 0.0)
        units = ulp_distance(a, b)
    else:
        difference = units = _integer_distance(a, b)
    if not a.size:
        return Error(absolute=0.0, ulp=0.0, limit=0.0, ratio=0.0)
    allowed = np.broadcast_to(np.asarray(limit, np.float64), a.shape)
    allowed = np.where(np.isfinite(allowed), allowed, 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = np.where(difference == 0, 0.0, difference / allowed)
    at = _index(ratio)
    return Error(
        absolute=float(difference.max()),
        ulp=float(units.max()),
        limit=float(allowed[at]),
        ratio=float(ratio[at]),
        index=at,
        expected=float(a[at]),
        received=float(b[at]),
    )


def _index(values: Array) -> tuple[int, ...]:
    """Where an array is largest; of a mask, the first place where it holds."""
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(values)), values.shape))


def _integer_distance(a: Array, b: Array) -> Array:
    """|a - b| of integers or booleans, as float64: no difference overflows, and none is lost."""
    if a.dtype.name in NARROW_INTEGERS:
        a, b = a.astype(np.int8), b.astype(np.int8)
    if a.dtype.kind not in "biu":
        raise TypeError(f"expected numbers; received an array of {a.dtype.name}")
    wide = np.uint64 if a.dtype.kind == "u" else np.int64
    p, q = a.astype(wide), b.astype(wide)
    unsigned = p.view(np.uint64) - q.view(np.uint64), q.view(np.uint64) - p.view(np.uint64)
    return np.where(p > q, *unsigned).astype(np.float64)
