"""EmbeddingBag: rows of a table, added up (or averaged, or the largest of each column) over bags of entries. Importers only.

| torch               | meaning                                                              |
|---------------------|----------------------------------------------------------------------|
| offsets             | where each bag begins among the entries; the last may only end one   |
| mode                | 0 sum, 1 mean, 2 largest; an empty bag gives zeros                   |
| per_sample_weights  | a factor for every entry, in mode sum                                |
| padding_idx         | entries that count for nothing                                       |

The further results serve PyTorch's own gradient and are not read.
"""

from typing import Any

import numpy as np

from ..op import imports
from .bounds import Maximum
from .compare import Greater, LessOrEqual, NotEqual, Where
from .embed import looked_up
from .expand import expanded, filled
from .index import sliced
from .math import Div, Mul, Sub
from .promotion import in_one_dtype
from .range import ranged
from .reduce import ReduceSum, reduced
from .scatter import put
from .shape import with_axes

SUM, MEAN, LARGEST = 0, 1, 2


@imports("torch", "aten._embedding_bag.default", "aten._embedding_bag_forward_only.default")
def bag_from_torch(call, table, entries, offsets, scaled, mode, sparse, factors, ends, padding):
    entries, offsets = entries.cast(np.int64), offsets.cast(np.int64)
    count = entries.shape[0]
    offsets = sliced(offsets, {0: slice(0, offsets.shape[0] - 1)}) if ends else offsets
    bags = offsets.shape[0]
    places = ranged(call.graph, 0, count, 1, np.int64)
    begun = LessOrEqual()(with_axes(offsets, [0]), with_axes(places, [1])).cast(np.int64)
    bag = Sub()(reduced(ReduceSum, begun, 1, False), 1)  # the last that has begun

    def per_bag(rows: Any, start: Any, reduction: str) -> Any:
        empty = filled(call.graph, (bags, *rows.shape[1:]), start, rows.dtype)
        return put(call, empty, [0], [bag], rows, reduction)

    rows = looked_up(entries, table)
    used = NotEqual()(entries, padding) if padding is not None and padding >= 0 else None
    ones = filled(call.graph, (count,), 1, rows.dtype) if used is None else used.cast(rows.dtype)
    if factors is not None:
        rows = Mul()(*in_one_dtype(call, rows, with_axes(factors, [1])))
    neutral = -np.inf if mode == LARGEST else 0
    if used is not None:
        rows = Where()(expanded(with_axes(used, [1]), rows.shape), rows, filled(call.graph, (), neutral, rows.dtype))
    y = per_bag(rows, neutral, "max" if mode == LARGEST else "add")
    if mode == MEAN:
        y = Div()(y, Maximum()(with_axes(per_bag(ones, 0, "add"), [1]), 1.0))
    if mode == LARGEST:
        filled_bags = Greater()(with_axes(per_bag(ones, 0, "add"), [1]), 0.0)
        y = Where()(filled_bags, y, filled(call.graph, (), 0, y.dtype))
    return y, None, None, None
