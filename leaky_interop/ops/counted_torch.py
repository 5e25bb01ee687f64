"""PyTorch's histograms: how many numbers lie between each two edges. Importers only.

| torch               | the bin of a number                                                        |
|---------------------|----------------------------------------------------------------------------|
| histc               | its distance from the lowest edge, in widths of a bin, rounded down        |
| histogram           | the last edge that is not above it                                         |

The last bin holds its upper edge too. Without a range, or with an empty one, it is that of the data; where all of them are
one number, from 1 below it to 1 above. What is NaN or outside is in no bin.
"""

from typing import Any

import numpy as np

from ..op import Value, imports, product
from .bounds import Minimum
from .compare import Equal, GreaterOrEqual, Less, LessOrEqual, Where
from .functions import Floor
from .index import sliced
from .logic import And
from .math import Add, Div, Mul, Sub
from .reduce import ReduceMax, ReduceMin, ReduceSum, reduced
from .shape import with_axes


def _ends(x: Value, low: Any, high: Any) -> tuple[Value, Value]:
    """The lowest and the highest edge, without axes."""
    if low != high:
        return tuple(x.graph.constant(np.asarray(end, x.dtype)) for end in (low, high))  # type: ignore[return-value]
    low, high = (reduced(kind, x, [0], False) for kind in (ReduceMin, ReduceMax))
    one = Equal()(low, high)
    return Where()(one, Sub()(low, 1.0), low), Where()(one, Add()(high, 1.0), high)


def _counted(hot: Value, weights: Value | None, dtype: Any) -> Value:
    """The sum along axis 0 of what is in each bin."""
    if weights is None:
        return reduced(ReduceSum, hot.cast(np.int32), [0], False).cast(dtype)
    return reduced(ReduceSum, Where()(hot, with_axes(weights.cast(dtype), [1]), 0.0), [0], False)


@imports("torch", "aten.histc.default")
def counts_from_torch(call, x, bins, low, high):
    x = x.reshape(product(x.shape))
    low, high = _ends(x, low, high)
    inside = And()(GreaterOrEqual()(x, low), LessOrEqual()(x, high))
    place = Floor()(Div()(Mul()(Sub()(x, low), float(bins)), Sub()(high, low)))
    place = with_axes(Minimum()(place, float(bins - 1)), [1])
    numbers = call.graph.constant(np.arange(bins), x.dtype)
    return _counted(And()(Equal()(place, numbers), with_axes(inside, [1])), None, x.dtype)


@imports("torch", "aten.histogram.bin_ct")
def histogram_from_torch(call, x, bins, ends, weights, density):
    """Edges in even steps from both ends, as torch.linspace counts them; constant ones rounded once, as it does."""
    steps = np.arange(bins + 1)
    low, high = _ends(x.reshape(product(x.shape)), *(ends or (0.0, 0.0)))
    from_low = steps < (bins + 1) // 2
    if low.is_constant:
        first, last = low.array(), high.array()
        width = np.float64((last - first) / x.dtype.type(bins))
        edges = call.graph.constant(np.where(from_low, first + width * steps, last - width * (bins - steps)), x.dtype)
    else:
        step = Div()(Sub()(high, low), float(bins))
        up, down = (call.graph.constant(n, x.dtype) for n in (steps, bins - steps))
        rising, falling = Add()(low, Mul()(step, up)), Sub()(high, Mul()(step, down))
        edges = Where()(call.graph.constant(from_low), rising, falling)
    return histogram_of_edges_from_torch(call, x, edges, weights, density)


@imports("torch", "aten.histogram.bins_tensor")
def histogram_of_edges_from_torch(call, x, edges, weights, density):
    x = with_axes(x.reshape(product(x.shape)), [1])
    weights = None if weights is None else weights.reshape(product(weights.shape))
    lower, upper = sliced(edges, {0: slice(0, -1)}), sliced(edges, {0: slice(1, None)})
    last = call.graph.constant(np.arange(int(edges.shape[0]) - 1) == int(edges.shape[0]) - 2)
    under = Where()(last, LessOrEqual()(x, upper), Less()(x, upper))
    counts = _counted(And()(GreaterOrEqual()(x, lower), under), weights, x.dtype)
    if density:
        counts = Div()(counts, Mul()(reduced(ReduceSum, counts, [0], True), Sub()(upper, lower)))
    return counts, edges
