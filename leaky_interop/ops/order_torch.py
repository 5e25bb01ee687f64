"""What PyTorch reads off sorted data: the entry of a rank, the median, places in a sorted list. Importers only.

| function     | which                                                                                   |
|--------------|-----------------------------------------------------------------------------------------|
| kthvalue     | the k-th smallest entry; NaN is larger than any other                                    |
| median       | the lower one of two in the middle; NaN, and where the first stands, if there is any     |
| nanmedian    | that of what is a number; NaN if nothing is                                              |
| mode         | the smallest of the entries that occur most often, and where the last of them stands     |
| searchsorted | how many entries are smaller (right: not larger); of NaN, all                            |

Which of equal entries PyTorch names is left open, here the first (mode: the last); so is the mode of data with NaN.
"""

import numpy as np

from ..op import imports, product
from .arg import ArgMax, located
from .bounds import Maximum
from .compare import Equal, Greater, GreaterOrEqual, Where
from .functions import IsNaN
from .gather import GatherElements, picked
from .logic import Not
from .math import Add, FloorDiv, Sub
from .promotion import as_value
from .reduce import ReduceAny, ReduceMax, ReduceSum, reduced
from .shape import of_rank_1, with_axes, without
from .sort import Sort


def _ranked(call, x, index, axis, keepdim):
    """The entry of a rank along an axis, counted from 0, and where it stood."""
    found = (picked(call, y, x.graph.of_sizes(index), axis) for y in Sort(axis=axis, descending=False)(x))
    return tuple(with_axes(y, [axis]) if keepdim else y for y in found)


@imports("torch", "aten.kthvalue.default")
@of_rank_1
def kthvalue_from_torch(call, x, count, axis, keepdim):
    return _ranked(call, x, count - 1, axis % x.rank, keepdim)


@imports("torch", "aten.median.dim")
@of_rank_1
def median_from_torch(call, x, axis, keepdim):
    axis %= x.rank
    value, place = _ranked(call, x, (x.shape[axis] - 1) // 2, axis, keepdim)
    if x.dtype.kind in "iu":
        return value, place
    lost = IsNaN()(x)
    first = located(ArgMax, lost.cast(np.int32), axis, keepdim)
    spoilt = reduced(ReduceAny, lost, [axis], keepdim)
    return Where()(spoilt, value.graph.constant(np.asarray(np.nan, x.dtype)), value), Where()(spoilt, first, place)


@imports("torch", "aten.median.default")
def whole_median_from_torch(call, x):
    return median_from_torch(call, x.reshape(product(x.shape)), 0, False)[0]


@imports("torch", "aten.nanmedian.dim")
@of_rank_1
def median_of_numbers_from_torch(call, x, axis, keepdim):
    if x.dtype.kind in "iu":
        return median_from_torch(call, x, axis, keepdim)
    axis %= x.rank
    lost = IsNaN()(x)
    numbers = reduced(ReduceSum, Not()(lost).cast(np.int32), [axis], True)
    middle = Maximum()(FloorDiv()(Sub()(numbers, 1), 2), 0).cast(np.int64)
    above = x.graph.constant(np.asarray(np.inf, x.dtype))  # not every framework sorts what is no number to the end
    value = GatherElements(axis=axis)(Sort(axis=axis, descending=False)(Where()(lost, above, x))[0], middle)
    value = Where()(Equal()(numbers, 0), x.graph.constant(np.asarray(np.nan, x.dtype)), value)
    place = located(ArgMax, Equal()(x, value).cast(np.int32), axis, True)
    return tuple(y if keepdim else without(y, [axis]) for y in (value, place))


@imports("torch", "aten.nanmedian.default")
def whole_median_of_numbers_from_torch(call, x):
    return median_of_numbers_from_torch(call, x.reshape(product(x.shape)), 0, False)[0]


@imports("torch", "aten.mode.default")
@of_rank_1
def most_frequent_from_torch(call, x, axis, keepdim):
    """Every entry of the sorted data is compared with every other."""
    axis %= x.rank
    ordered, places = Sort(axis=axis, descending=False)(x)
    equal = Equal()(with_axes(ordered, [axis]), with_axes(ordered, [axis + 1]))
    often = reduced(ReduceSum, equal.cast(np.int32), [axis + 1], False)
    first = ArgMax(axis=axis, keepdims=True)(often)
    last = Sub()(Add()(first, reduced(ReduceMax, often, [axis], True).cast(np.int64)), 1)
    last = Maximum()(last, first)  # NaN equals nothing, itself neither
    found = GatherElements(axis=axis)(ordered, first), GatherElements(axis=axis)(places, last)
    return tuple(y if keepdim else without(y, [axis]) for y in found)


@imports("torch", "aten.searchsorted.Tensor", "aten.searchsorted.Scalar")
def searchsorted_from_torch(call, ordered, x, in_32_bits, right, side, sorter):
    x = as_value(call, x)
    if sorter is not None:
        ordered = GatherElements(axis=ordered.rank - 1)(ordered, sorter)
    column, row = with_axes(x, [-1]), ordered if ordered.rank == 1 else with_axes(ordered, [-2])
    beyond = (Greater if right or side == "right" else GreaterOrEqual)()(row, column)
    count = reduced(ReduceSum, Not()(beyond).cast(np.int64), [-1], False)
    return count.cast(np.int32) if in_32_bits else count
