"""What is asked of a runtime: a small product in which every value of every axis meets every type.

Three families, for each variant, operator and type of the runtime:

* slopes: every slope, alone, rank 1, on all numbers; the gradients too, where the runtime has them.
* shapes: every rank and an empty array, alone, with slope 0.1. (PReLU's slope has an axis, so it has no rank 0.)
* placements: after a convolution, before a max pool and in a quantised graph, with the slopes of PLACED.

A runtime that compiles for every job says that it is costly: its shapes are asked in float32, its placements and
gradients with the slopes of COSTLY. Every slope still meets every type.

Integers are a family of their own: leaky_relu of a few int32 numbers with the slopes 0.2 and 2. They are right where the
result is the product itself; a runtime may refuse them.

Numbers: the special ones first and again last, ordinary ones between, 127 in all: a kernel's vector body and its scalar
tail both see every special number. What each placement leaves out, so that what is right stays exact:

* conv: no -0.0, because the sum 0.0 + -0.0 of a convolution is 0.0. A 1 x 1 kernel of ones passes all else unchanged.
* max_pool: a maximum over NaN is defined differently everywhere, so a window with a NaN in it is not judged. Windows
  repeat one number (the pool then changes nothing) or hold four random ones (it must choose).
* quantised, of int8, and quantised uint8 and int16: float32 only, the type of their scales. 256 codes. Scales are
  powers of two and the numbers lie on the grid, so that quantising changes nothing before the operator; after it the
  product is rounded to float32 and then, ties to even, to the grid of y. A fused kernel works in fixed point and may
  be one step of that grid off: the distance is counted in steps. Only slopes with finite products are asked.
* slope gradient (of prelu): small integers, whose sum is exact in every type.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from . import oracle

SLOPES: Final[dict[str, float | None]] = {
    "left out": None, "0": 0.0, "1e-45": 1e-45, "1e-8": 1e-8, "0.01": 0.01, "0.1": 0.1, "0.2": 0.2, "0.3": 0.3,
    "1/3": 1 / 3, "0.5": 0.5, "1": 1.0, "1.5": 1.5, "2": 2.0, "-0.1": -0.1, "-1": -1.0, "1e10": 1e10, "1e38": 1e38,
    "nan": math.nan, "inf": math.inf,
}  # fmt: skip
PLACED: Final = ("left out", "0", "0.1", "1/3", "2", "-0.1", "1e10", "nan")
QUANTISED: Final = ("left out", "0", "0.1", "0.2", "1/3", "2", "-0.1")
COSTLY: Final = ("0.1", "-0.1")
WHOLE: Final = ("0.2", "2")  # slopes of the integer family
SHAPES: Final[dict[str, tuple[int, ...]]] = {
    "rank 0": (), "rank 1": (127,), "rank 2": (14, 9), "rank 3": (2, 7, 9), "rank 4": (2, 3, 3, 7),
    "rank 5": (3, 2, 3, 1, 7), "empty": (2, 0, 3),
}  # fmt: skip
FLOATS: Final = ("float16", "bfloat16", "float32", "float64")
PLOTTED: Final = ("0.1", "2", "-0.1")  # slopes whose alone/rank 1/output cells keep a curve
CHANNELS: Final = 16  # of the convolution: enough for the blocked layouts of AVX-512
ORDINARY: Final = 97
X_SCALE, Y_SCALE = 0.25, 0.125  # of the quantised graphs
QUANTA: Final = {  # by placement: its integers, and the zero points of x and y
    "quantised": ("int8", 3, -5),
    "quantised uint8": ("uint8", 131, 123),
    "quantised int16": ("int16", 0, 0),
}

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Case:
    """One cell's question, without the runtime and its variant."""

    operator: str
    dtype: str
    placement: str
    shape: str
    slope: str
    what: str = "output"

    @property
    def job(self) -> dict[str, Any]:
        """What the worker is told, but for the variant."""
        slope, gradient = SLOPES[self.slope], self.what != "output"
        return {
            "operator": self.operator,
            "dtype": self.dtype,
            "placement": self.placement,
            "slope": slope,
            "gradient": gradient,
        }

    @property
    def xs(self) -> list[float]:
        """The inputs in order, as float64."""
        return list(_inputs(self))

    def arrays(self, index: int | None = None) -> Arrays:
        """The arrays that the worker is sent; with an index, only what that element of the result is made of."""
        xs = self.xs
        if self.placement == "max_pool":
            windows = (
                [xs[i : i + 4] for i in range(0, len(xs), 4)] if index is None else [xs[4 * index : 4 * index + 4]]
            )
            top, bottom = ([x for w in windows for x in w[half : half + 2]] for half in (0, 2))
            made = {"x": oracle.array(top + bottom, (1, 1, 2, len(top)), self.dtype)}
        elif self.placement == "alone":
            shape = SHAPES[self.shape] if self.shape != "rank 1" else (len(xs),)
            if index is not None:
                xs, shape = [xs[index]], (1,) * len(shape)
            made = {"x": oracle.array(xs, shape, self.dtype)}
        else:
            xs = xs if index is None else [xs[index % len(xs)]]  # every channel of a convolution is a copy
            made = {"x": oracle.array(xs, (1, 1, 1, len(xs)), self.dtype)}
        if self.placement == "conv":
            made["w"] = oracle.array([1.0] * CHANNELS, (CHANNELS, 1, 1, 1), self.dtype)
        if self.placement in QUANTA:
            integer, x_zero, y_zero = QUANTA[self.placement]
            made |= {"x_scale": np.array(X_SCALE, np.float32), "x_zero_point": np.array(x_zero, integer),
                     "y_scale": np.array(Y_SCALE, np.float32), "y_zero_point": np.array(y_zero, integer)}  # fmt: skip
        if self.operator == "prelu":
            made["slope"] = oracle.array([oracle.rounded(self.job["slope"], self.dtype)], (1,), self.dtype)
        return made


def cases(about: Mapping[str, Any]) -> Iterator[Case]:
    """The product for a runtime that describes itself so."""
    costly = bool(about.get("costly"))
    for operator in about["operators"]:
        given = [s for s in SLOPES if s != "left out"]
        slopes = ["left out", *given] if operator == "leaky_relu" and about.get("default") is not None else given
        few = [s for s in slopes if s in COSTLY or not costly]
        for dtype in about["dtypes"]:
            alone = functools.partial(Case, operator, dtype, "alone")
            if dtype not in FLOATS:
                yield from (alone("rank 1", s) for s in WHOLE if operator == "leaky_relu")
                continue
            yield from (alone("rank 1", s) for s in slopes)
            if about.get("gradients"):
                yield from (alone("rank 1", s, "gradient") for s in few)
            if about.get("gradients") and operator == "prelu":
                yield from (alone("rank 1", s, "slope gradient") for s in ("0.1", "2", "-1"))
            if dtype == "float32" or not costly:
                yield from (alone(s, "0.1") for s in SHAPES if s != "rank 1" and (s, operator) != ("rank 0", "prelu"))
            for placement in about["placements"]:
                quantised = QUANTISED if dtype == "float32" else ()
                asked = {"alone": (), **dict.fromkeys(QUANTA, quantised)}.get(placement, PLACED)
                yield from (Case(operator, dtype, placement, "rank 4", s) for s in asked if s in few)


@functools.lru_cache(maxsize=256)
def _inputs(case: Case) -> tuple[float, ...]:
    """The inputs of a case, which hold whatever its slope is."""
    if case.dtype not in FLOATS:
        return (-7.0, -5.0, -1.0, 0.0, 3.0)
    if case.what == "slope gradient":
        return (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, -4.0, -1.0)
    if case.placement in QUANTA:
        integer, zero, _ = QUANTA[case.placement]
        least, most = int(np.iinfo(integer).min), int(np.iinfo(integer).max)
        return tuple((q - zero) * X_SCALE for q in range(least, most + 1, (most - least) // 255))
    special, ordinary = specials(case.dtype), _ordinary(case.dtype)
    if case.placement == "max_pool":
        repeated = [x for x in special if x == x]
        return (*(x for x in repeated for _ in range(4)), *ordinary[: len(ordinary) // 4 * 4])
    if case.placement == "conv":
        special = tuple(x for x in special if not oracle.same(x, -0.0))
    return (*special, *ordinary, *special)[: math.prod(SHAPES[case.shape])]


@functools.cache
def specials(kind: str) -> tuple[float, ...]:
    """Both signs of: one, zero, the smallest and largest subnormal, the smallest normal, the largest, infinity; NaN."""
    normal = oracle.smallest_normal(kind)
    sizes = (1.0, 0.0, oracle.smallest(kind), normal - oracle.smallest(kind), normal, oracle.largest(kind), math.inf)
    return (*(sign * size for size in sizes for sign in (-1.0, 1.0)), math.nan)


@functools.cache
def _ordinary(kind: str) -> tuple[float, ...]:
    """Normal numbers, seeded: sums of uniform ones, the same on every version of numpy."""
    draws = np.random.RandomState(7).random_sample((ORDINARY, 12)).sum(axis=1) - 6  # about normal
    return tuple(oracle.rounded(3 * float(x), kind) for x in draws)
