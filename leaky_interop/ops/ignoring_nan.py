"""Keras' reductions that leave out what is not a number: compositions, and importers only.

| meaning                | where all is NaN | of integers            |
|------------------------|------------------|------------------------|
| nansum, nanprod        | 0, 1             | the plain reduction    |
| nanmax, nanmin         | NaN              | the plain reduction    |
| nanmean, nanvar, nanstd | NaN             | in Keras' float        |
| nanargmax, nanargmin   | -1               | the plain reduction    |
| nancumsum, nancumprod  | infinities count as the largest number too | the plain one |

Every one computes in the dtype that Keras states of the result. An empty list of axes reduces nothing: each entry is a
list of one.
"""

import math
from typing import Any

import numpy as np

from ..op import Value, imports
from .arg import ArgMax, ArgMin, located
from .compare import NanToNum, Where
from .cumulative import PLAIN, CumProd, CumSum
from .functions import IsNaN, Sqrt
from .logic import Not
from .math import Div, Mul, Sub
from .promotion import as_value
from .reduce import ReduceAll, ReduceAny, ReduceMax, ReduceMin, ReduceProd, ReduceSum, entries, reduced
from .shape import merged


def _is_float(x: Value) -> bool:
    return x.dtype.kind in "fV"


def _filled(x: Value, number: float) -> Value:
    """The data with a number in place of each NaN."""
    return Where()(IsNaN()(x), number, x) if _is_float(x) else x


def _additive(name: str, kind: type, neutral: float) -> None:
    def read(call: Any, x: Any) -> Value:
        x, axis, keepdims = entries(as_value(call, x), call.axis, call.keepdims)
        return reduced(kind, _filled(x, neutral).cast(call.stated[0]), axis, keepdims)

    read.__name__ = f"{name} from keras"
    imports("keras", f"ops.{name}")(read)


def _extreme(name: str, kind: type, of_booleans: type, position: type, beyond: float) -> None:
    def read(call: Any, x: Any) -> Value:
        x, axis, keepdims = entries(as_value(call, x), call.axis, call.keepdims)
        if not _is_float(x):
            return reduced(of_booleans if x.dtype == bool else kind, x, axis, keepdims).cast(call.stated[0])
        nothing = reduced(ReduceAll, IsNaN()(x), axis, keepdims)
        return Where()(nothing, math.nan, reduced(kind, _filled(x, beyond), axis, keepdims))

    def read_position(call: Any, x: Any) -> Value:
        x = as_value(call, x)
        places = located(position, _filled(x, beyond), call.axis, call.keepdims).cast(np.int32)
        if not _is_float(x):
            return places
        return Where()(reduced(ReduceAll, IsNaN()(x), call.axis, call.keepdims), -1, places)

    read.__name__, read_position.__name__ = f"nan{name} from keras", f"nanarg{name} from keras"
    imports("keras", f"ops.Nan{name}")(read)
    imports("keras", f"ops.Nanarg{name}")(read_position)


def _mean(x: Value, axis: Any, keepdims: bool) -> Value:
    counted = Not()(IsNaN()(x)).cast(x.dtype)
    return Div()(reduced(ReduceSum, _filled(x, 0.0), axis, keepdims), reduced(ReduceSum, counted, axis, keepdims))


@imports("keras", "ops.Nanmean")
def mean_from_keras(call, x):
    x, axis, keepdims = entries(as_value(call, x), call.axis, call.keepdims)
    return _mean(x.cast(call.stated[0]), axis, keepdims)


@imports("keras", "ops.Nanvar")
def variance_from_keras(call, x):
    x, axis, keepdims = entries(as_value(call, x), call.axis, call.keepdims)
    away = Sub()(x := x.cast(call.stated[0]), _mean(x, axis, True))
    return _mean(Mul()(away, away), axis, keepdims)


@imports("keras", "ops.Nanstd")
def deviation_from_keras(call, x):
    return Sqrt()(variance_from_keras(call, x))


def _running(name: str, kind: type, neutral: float) -> None:
    def read(call: Any, x: Any) -> Value:
        x = as_value(call, x)
        if _is_float(x):
            most = float(np.finfo(np.float32).max if x.dtype.kind == "V" else np.finfo(x.dtype).max)
            x = NanToNum(nan=neutral, highest=most, lowest=-most)(x)
        x, axis = (merged(x, 0, x.rank), 0) if call.axis is None else (x, call.axis % x.rank)
        return kind(axis=axis, **PLAIN)(x.cast(call.stated[0]))

    read.__name__ = f"{name} from keras"
    imports("keras", f"ops.{name}")(read)


_additive("Nansum", ReduceSum, 0.0)
_additive("Nanprod", ReduceProd, 1.0)
_extreme("max", ReduceMax, ReduceAny, ArgMax, -math.inf)
_extreme("min", ReduceMin, ReduceAll, ArgMin, math.inf)
_running("Nancumsum", CumSum, 0.0)
_running("Nancumprod", CumProd, 1.0)
