"""Quantiles, percentiles and medians of Keras: sorted data, and what lies between two of its entries. Importers only.

| meaning                         | on tensorflow                            | on torch                              |
|---------------------------------|------------------------------------------|---------------------------------------|
| the rank q * (n - 1)            | in float64                               | in the data's dtype, at least float32 |
| between the entries beside it   | above * (1 - f) + below * f              | from the nearer one (lerp)            |
| half-precision data             | stays                                    | in float32                            |

An entry that is not a number makes the result NaN; the nan... functions leave such entries out. In a network ops.quantile
forgets its method: the operation computes "linear", whatever it was given. So does what is read here.
"""

import math
from typing import Any

import numpy as np

from ..op import Value, imports, product
from .bounds import Clip, Maximum, Minimum
from .compare import Less, Where
from .functions import Ceil, Floor, IsNaN, Round
from .gather import picked, picked_along
from .logic import Not
from .math import Add, Div, Mul, Sub
from .promotion import as_value
from .reduce import ReduceAny, ReduceSum, entries, reduced
from .sort import Sort

ROUNDED = {"lower": Floor, "higher": Ceil, "nearest": Round}


def _quantile(call: Any, x: Any, q: Any, method: str, *, ignoring: bool) -> Value:
    """Quantiles along the axes of the call; those of several q stand along a new first axis."""
    x, axis, keepdims = entries(as_value(call, x), call.axis, call.keepdims)
    lone = x.rank == 0
    x = x.reshape(1) if lone else x
    axes = sorted(a % x.rank for a in (range(x.rank) if axis is None else [axis] if isinstance(axis, int) else axis))
    others = [a for a in range(x.rank) if a not in axes]
    kept = tuple(1 if a in axes else d for a, d in enumerate(x.shape)) if keepdims and not lone else ()
    shape = kept or tuple(x.shape[a] for a in others)
    stated, on_torch = call.stated[0], call.backend == "torch"
    x = x.transpose(*others, *axes).reshape(*(x.shape[a] for a in others), product(x.shape[a] for a in axes))
    x = x.cast(np.float32 if on_torch and stated.itemsize == 2 else stated)
    count, rows = product(q.shape), x.rank - 1
    several, q = q.rank > 0, q.reshape(count).cast(x.dtype if on_torch else np.float64)

    lacking = IsNaN()(x)
    if ignoring:
        found = reduced(ReduceSum, Not()(lacking).cast(q.dtype), rows, True)
        lacking, x = reduced(ReduceSum, lacking.cast(np.int32), rows, True), Where()(lacking, math.inf, x)
        lacking = Less()(found, 1)
        last = Maximum()(Sub()(found, 1), 0.0)
    else:
        lacking = reduced(ReduceAny, lacking, rows, True)
        last = call.graph.of_sizes([x.shape[rows] - 1]).cast(q.dtype)
    x, rank = Sort(axis=rows, descending=False)(x)[0], Mul()(q, last)

    def at(place: Value) -> Value:
        pick = picked_along if ignoring else picked
        return pick(call, x, place.cast(np.int64), rows)

    y = (_from_torch if on_torch else _from_tensorflow)(at, x.dtype, rank, last, method)
    y = Where()(lacking, math.nan, y).cast(stated)
    return y.transpose(rows, *range(rows)).reshape(*(count,) * several, *shape)


def _from_torch(at: Any, dtype: Any, rank: Value, last: Value, method: str) -> Value:
    rank = ROUNDED[method]()(rank) if method in ROUNDED else rank
    below = Floor()(rank)
    low = at(below)
    if method in ROUNDED:
        return low
    distance = Sub()(at(Ceil()(rank)), low)
    weight = Sub()(rank, below) if method == "linear" else Add()(Mul()(rank, 0.0), 0.5)
    near = Add()(low, Mul()(distance, weight))
    far = Sub()(Add()(low, distance), Mul()(distance, Sub()(1.0, weight)))
    return Where()(Less()(weight, 0.5), near, far)


def _from_tensorflow(at: Any, dtype: Any, rank: Value, last: Value, method: str) -> Value:
    def place(kind: type) -> Value:
        return Minimum()(Clip(minimum=0.0, maximum=None)(kind()(rank)), last)

    if method in ROUNDED:
        return at(place(ROUNDED[method]))
    if method == "midpoint":
        return Mul()(Add()(at(place(Floor)), at(place(Ceil))), 0.5)
    below = Clip(minimum=0.0, maximum=None)(Sub()(place(Ceil), 1.0))
    above = Minimum()(Add()(below, 1.0), last)
    share = Sub()(above, rank).cast(dtype)
    return Add()(Mul()(at(above), Sub()(1.0, share)), Mul()(at(below), share))


def _numbers(call: Any, q: Any) -> Value:
    """Which quantiles, as Keras holds them: Python's numbers in float32."""
    return as_value(call, np.asarray(q, np.float32) if isinstance(q, list | tuple | int | float) else q)


@imports("keras", "ops.Quantile")
def quantile_from_keras(call, x, q):
    return _quantile(call, x, _numbers(call, q), "linear", ignoring=False)


@imports("keras", "ops.Nanquantile")
def quantile_without_nan_from_keras(call, x, q):
    return _quantile(call, x, _numbers(call, q), call.method, ignoring=True)


@imports("keras", "ops.Percentile")
def percentile_from_keras(call, x, q):
    return _quantile(call, x, Div()(_numbers(call, q).cast(np.float32), 100.0), call.method, ignoring=False)


@imports("keras", "ops.Nanpercentile")
def percentile_without_nan_from_keras(call, x, q):
    return _quantile(call, x, Div()(_numbers(call, q).cast(np.float32), 100.0), call.method, ignoring=True)


@imports("keras", "ops.Median")
def median_from_keras(call, x):
    return _quantile(call, x, _numbers(call, 0.5), "linear", ignoring=False)


@imports("keras", "ops.Nanmedian")
def median_without_nan_from_keras(call, x):
    return _quantile(call, x, _numbers(call, 0.5), "linear", ignoring=True)
