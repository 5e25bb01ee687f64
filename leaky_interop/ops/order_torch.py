"""What PyTorch reads off sorted data: the entry of a rank, the median, places in a sorted list. Importers only.

| function     | which                                                                                   |
|--------------|-----------------------------------------------------------------------------------------|
| kthvalue     | the k-th smallest entry; NaN is larger than any other                                    |
| median       | the lower one of two in the middle; NaN, and where the first stands, if there is any     |
| searchsorted | how many entries are smaller (right: not larger); of NaN, all                            |
"""

import numpy as np

from ..op import imports, product
from .arg import ArgMax, located
from .compare import Greater, GreaterOrEqual, Where
from .functions import IsNaN
from .gather import GatherElements, picked
from .logic import Not
from .promotion import as_value
from .reduce import ReduceAny, ReduceSum, reduced
from .shape import of_rank_1, with_axes
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


@imports("torch", "aten.searchsorted.Tensor", "aten.searchsorted.Scalar")
def searchsorted_from_torch(call, ordered, x, in_32_bits, right, side, sorter):
    x = as_value(call, x)
    if sorter is not None:
        ordered = GatherElements(axis=ordered.rank - 1)(ordered, sorter)
    column, row = with_axes(x, [-1]), ordered if ordered.rank == 1 else with_axes(ordered, [-2])
    beyond = (Greater if right or side == "right" else GreaterOrEqual)()(row, column)
    count = reduced(ReduceSum, Not()(beyond).cast(np.int64), [-1], False)
    return count.cast(np.int32) if in_32_bits else count
