"""Keras' operations on numbers that are compositions of others in every framework: importers only.

Each computes in the dtype that the call states of its result. Where Keras' backends differ, the one that runs the model
is followed.
"""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, imports
from .bounds import Clip, Maximum, clipped
from .compare import Equal, Greater, GreaterOrEqual, Less, NotEqual, Where
from .composed import is_close_from_torch
from .expand import filled
from .functions import Abs, Exp, IsInf, IsNaN, Log, Log1p, Log10, Neg, Sign, Sqrt
from .index import sliced
from .logic import And, Not, Or
from .math import Add, Div, FloorDiv, Mod, Mul, Pow, Sub
from .one_hot import one_hot
from .promotion import as_value, floating, in_one_dtype
from .reduce import ReduceAll, ReduceAny, ReduceMax, ReduceMean, ReduceMin, ReduceSum, entries, reduced
from .shape import with_axes


def stated(call: Any, *operands: Any) -> list[Value]:
    """Operands in the dtype that the call states of its result."""
    return [as_value(call, o).cast(call.stated[0]) for o in operands]


@imports("keras", "ops.Fabs")
def magnitude(call, x):
    return Abs()(*stated(call, x))


@imports("keras", "ops.Angle")
def angle_of_a_real_number(call, x):
    """0 or half a turn. NaN stays one on torch; TensorFlow finds that it is not below 0."""
    (x,) = stated(call, x)
    turned = Where()(Less()(x, 0), math.pi, filled(call.graph, x.shape, 0, x.dtype))
    return turned if call.backend == "tensorflow" else Where()(IsNaN()(x), x, turned)


@imports("keras", "ops.Real", "ops.Conj", "ops.Conjugate", "ops.Array")
def unchanged_if_real(call, x):
    return stated(call, x)[0]


@imports("keras", "ops.Imag")
def imaginary_part_of_a_real_number(call, x):
    return filled(call.graph, x.shape, 0, call.stated[0])


@imports("keras", "ops.Isreal")
def is_real(call, x):
    return filled(call.graph, x.shape, True, bool)


@imports("keras", "ops.Cbrt")
def cube_root(call, x):
    (x,) = stated(call, x)
    return Mul()(Sign()(x), Pow()(Abs()(x), 1.0 / 3.0))


@imports("keras", "ops.Ldexp")
def scaled_by_a_power_of_two(call, x, exponent):
    """0 and the infinities stay on TensorFlow whatever the power; elsewhere 0 times infinity is not a number."""
    x, exponent = stated(call, x, exponent)
    y = Mul()(x, Pow()(2.0, exponent))
    return Where()(Or()(IsInf()(x), Equal()(x, 0)), x, y) if call.backend == "tensorflow" else y


@imports("keras", "ops.Logaddexp2")
def log_add_exp_to_base_two(call, x, y):
    """The larger, plus the binary logarithm of 1 and what the other adds; two equal infinities stay as they are."""
    x, y = stated(call, x, y)
    added = Div()(Log1p()(Exp()(Mul()(Neg()(Abs()(Sub()(x, y))), math.log(2)))), math.log(2))
    return Where()(And()(Equal()(x, y), IsInf()(x)), x, Add()(Maximum()(x, y), added))


@imports("keras", "ops.Nextafter")
def next_float(call, x, towards):
    """Keras steps in float64 and rounds to the dtype of the result, which in any narrower one is where it began."""
    if call.stated[0] == np.float64:
        raise Refused("the next float of 64 bits", why="no framework but Keras has it", hint="Use float32")
    x, towards = stated(call, x, towards)
    return Where()(IsNaN()(towards), towards, Add()(x, Mul()(towards, 0.0)) if x.rank < towards.rank else x)


@imports("keras", "ops.Ptp")
def range_of_entries(call, x):
    x, axis, keepdims = entries(stated(call, x)[0], call.axis, call.keepdims)
    keepdims = keepdims and not (axis is None and call.backend == "torch")  # which then forgets it
    ends = (reduced(kind, x, axis, keepdims) for kind in (ReduceMax, ReduceMin))
    return (NotEqual() if x.dtype == bool else Sub())(*ends)


@imports("keras", "ops.AllClose")
def all_close(call, x, y, *_):
    x, y = in_one_dtype(call, x, y)
    close = (
        Equal()(x, y)
        if x.dtype.kind not in "fV"
        else is_close_from_torch(call, x, y, call.rtol, call.atol, call.equal_nan)
    )
    return reduced(ReduceAll, close, None, False)


@imports("keras", "ops.IsIn")
def is_among(call, x, y):
    """Compared with every entry. Among none TensorFlow finds nothing, not even inverted."""
    x, y = in_one_dtype(call, x, y)
    if 0 in y.shape:
        return filled(call.graph, x.shape, bool(call.invert) and call.backend != "tensorflow", bool)
    others = y.reshape(*(1,) * x.rank, math.prod(y.shape)) if all(isinstance(d, int) for d in y.shape) else None
    if others is None:
        raise Refused("a search in entries whose number only a run knows", hint="Fix it with input_shapes")
    found = reduced(ReduceAny, Equal()(with_axes(x, [-1]), others), -1, False)
    return Not()(found) if call.invert else found


# --- places among sorted numbers --------------------------------------------------------------------------------------


def _places(x: Value, sorted_numbers: Value, before: Any) -> Value:
    """How many of the sorted numbers stand before each entry; NaN stands behind all, unless `before` says otherwise."""
    numbers = sorted_numbers.reshape(*(1,) * x.rank, sorted_numbers.shape[0])
    return reduced(ReduceSum, before(numbers, with_axes(x, [-1])).cast(np.int32), -1, False)


def _not(kind: type) -> Any:
    return lambda numbers, x: Not()(kind()(numbers, x))


@imports("keras", "ops.Digitize")
def bin_of(call, x, bins):
    bins = np.asarray(bins, np.float32) if isinstance(bins, list | tuple) else bins
    x, bins = in_one_dtype(call, x, bins)
    return _places(*(v.cast(np.int32) if v.dtype == bool else v for v in (x, bins)), _not(Greater))


@imports("keras", "ops.SearchSorted")
def place_among(call, numbers, x):
    numbers, x = in_one_dtype(call, numbers, x)
    if call.side == "right":
        return _places(x, numbers, _not(Greater)).cast(call.stated[0])
    before = Less() if call.backend == "tensorflow" else _not(GreaterOrEqual)
    return _places(x, numbers, before).cast(call.stated[0])


@imports("keras", "ops.UnravelIndex")
def coordinates(call, index):
    """The coordinates of places in row-major order. TensorFlow's of an index of two or more axes are wrong ones: so are these."""
    index = as_value(call, index)
    forward = call.backend == "tensorflow" and index.rank != 1
    found, dtype = [], index.dtype
    for size in call.shape if forward else reversed(call.shape):
        found.append(Mod()(index, int(size)).cast(dtype))
        index = FloorDiv()(index, int(size))
    return tuple(reversed(found))


@imports("keras", "ops.Argpartition")
def partition_from_keras(call, x):
    raise Refused(
        "argpartition",
        why="which order the entries on either side of the place have is left to the backend",
        hint="Use argsort",
    )


# --- losses and scores ------------------------------------------------------------------------------------------------

EPSILON = 1e-7  # Keras' own: probabilities are kept this far from 0 and 1


def _logits(call: Any, output: Value, kind: str) -> Value | None:
    """What a probability was made of, where that is what the backend computes the loss from."""
    made = output.node is not None and type(output.node.op).__name__ == kind and call.backend == "tensorflow"
    return output if call.from_logits else output.node.inputs[0] if made else None


@imports("keras", "ops.BinaryCrossentropy")
def binary_cross_entropy_from_keras(call, target, output):
    target, output = stated(call, target, output)
    if (x := _logits(call, output, "Sigmoid")) is not None:
        return Add()(Sub()(clipped(x, 0.0, None), Mul()(x, target)), Log1p()(Exp()(Neg()(Abs()(x)))))
    p = Clip(minimum=EPSILON, maximum=1.0 - EPSILON)(output)
    return Neg()(Add()(Mul()(target, Log()(p)), Mul()(Sub()(1.0, target), Log()(Sub()(1.0, p)))))


def _log_softmax(x: Value, axis: int) -> Value:
    x = Sub()(x, reduced(ReduceMax, x, axis, True))
    return Sub()(x, Log()(reduced(ReduceSum, Exp()(x), axis, True)))


def _log_probabilities(call: Any, output: Value, axis: int) -> Value:
    """Of a distribution that first adds up to 1."""
    if (x := _logits(call, output, "Softmax")) is not None:
        return _log_softmax(x, axis)
    share = Div()(output, reduced(ReduceSum, output, axis, True))
    return Log()(Clip(minimum=EPSILON, maximum=1.0 - EPSILON)(share))


@imports("keras", "ops.CategoricalCrossentropy")
def cross_entropy_from_keras(call, target, output):
    target, output = stated(call, target, output)
    axis = call.axis % output.rank
    return Neg()(reduced(ReduceSum, Mul()(target, _log_probabilities(call, output, axis)), axis, False))


@imports("keras", "ops.SparseCategoricalCrossentropy")
def sparse_cross_entropy_from_keras(call, target, output):
    """TensorFlow keeps the probabilities from 0 and 1 before they are made to add up to 1, the others afterwards."""
    (output,) = stated(call, output)
    axis, target = call.axis % output.rank, as_value(call, target)
    if target.rank == output.rank:
        target = target.reshape(*target.shape[:-1])
    if call.backend == "tensorflow" and _logits(call, output, "Softmax") is None:
        log = _log_softmax(Log()(Clip(minimum=EPSILON, maximum=1.0 - EPSILON)(output)), axis)
    else:
        log = _log_probabilities(call, output, axis)
    chosen = one_hot(target.cast(np.int64), output.shape[axis], axis, bool)
    return Neg()(reduced(ReduceSum, Where()(chosen, log, 0.0), axis, False))


@imports("keras", "ops.CDist")
def distances(call, x, y):
    x, y = stated(call, x, y)
    away = Sub()(with_axes(x, [-2]), with_axes(y, [-3]))
    return Sqrt()(reduced(ReduceSum, Mul()(away, away), -1, False))


@imports("keras", "ops.PSNR")
def signal_to_noise(call, x, y):
    x, y = in_one_dtype(call, x, y)
    error = reduced(ReduceMean, Mul()(Sub()(x, y), Sub()(x, y)), None, False)
    return Sub()(20 * math.log10(call.max_val), Mul()(Log10()(error), 10.0))


@imports("keras", "ops.Sparsemax")
def sparsemax_from_keras(call, x):
    """The nearest distribution: what is above the threshold at which the entries left over add up to 1."""
    from .cumulative import PLAIN, CumSum
    from .sort import Sort

    (x,) = stated(call, x)
    axis = call.axis % x.rank
    ordered = Sort(axis=axis, descending=True)(x)[0]
    sums = CumSum(axis=axis, **PLAIN)(ordered)
    count = CumSum(axis=axis, **PLAIN)(filled(call.graph, x.shape, 1, x.dtype))
    inside = Greater()(Sub()(ordered, Div()(Sub()(sums, 1.0), count)), 0.0)
    total = reduced(ReduceSum, Where()(inside, sums, 0.0), axis, True)
    kept = reduced(ReduceSum, inside.cast(x.dtype), axis, True)
    return clipped(Sub()(x, Div()(Sub()(total, 1.0), kept)), 0.0, None)


# --- differences ------------------------------------------------------------------------------------------------------


@imports("keras", "ops.Diff")
def differences(call, x):
    axis = call.axis % x.rank
    for _ in range(call.n):
        pair = sliced(x, {axis: slice(1, None)}), sliced(x, {axis: slice(None, -1)})
        x = (NotEqual() if x.dtype == bool else Sub())(*pair)
    return x


@imports("keras", "ops.Trapezoid")
def area_under(call, y):
    (y,) = stated(call, y)
    axis = call.axis % y.rank
    width: Any = call.dx
    if call.x is not None:
        places = np.diff(np.asarray(call.x), axis=-1 if np.ndim(call.x) == 1 else axis)
        width = call.graph.constant(places, y.dtype)
        width = width.reshape(*width.shape, *(1,) * (y.rank - 1 - axis)) if width.rank == 1 else width
    height = Add()(sliced(y, {axis: slice(1, None)}), sliced(y, {axis: slice(None, -1)}))
    area = Mul()(height, Mul()(width, 0.5) if isinstance(width, Value) else float(np.asarray(width)) * 0.5)
    return reduced(ReduceSum, area, axis, False)


@imports("keras", "ops.SaturateCast")
def saturating_cast(call, x):
    """The nearest number that the other dtype has."""
    from ..numeric import dtype as by_name

    x, to = floating(call, x) if x.dtype == bool else x, by_name(call.dtype)
    if {x.dtype.kind, to.kind} & set("bV"):
        return x.cast(to)
    ends = [np.finfo(d) if d.kind == "f" else np.iinfo(d) for d in (x.dtype, to)]
    with np.errstate(over="ignore"):
        nearest = to.type(ends[0].max)
    if x.dtype.kind in "iu" and to.kind == "f" and np.isfinite(nearest) and int(nearest) > ends[0].max:
        why = f"Keras bounds it by the {to} beside the largest {x.dtype}, which is beyond, and makes one number of all"
        raise Refused(f"a saturating cast of {x.dtype} to {to}", why=why, hint="Use keras.ops.cast: no number is out of range")
    low, high = max(e.min for e in ends), min(e.max for e in ends)
    if x.dtype.kind == "f" and to.kind in "iu":  # the largest float that is not beyond the integers
        high = np.nextafter(x.dtype.type(high), x.dtype.type(0)) if int(x.dtype.type(high)) > int(high) else high
    return clipped(x, x.dtype.type(low).item(), x.dtype.type(high).item()).cast(to)
