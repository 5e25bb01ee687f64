"""Rows brought together by the segment that each belongs to.

| keras.ops            | meaning               | a segment without rows | sorted, on TensorFlow |
|----------------------|-----------------------|------------------------|-----------------------|
| segment_sum          | the sum of its rows   | 0                      | 0                     |
| segment_prod         | the product           | 1                      | 1                     |
| segment_max, _min    | the largest, smallest | -inf, inf              | 0                     |

TensorFlow has the lowest and the highest finite number for -inf and inf. Rows of a segment that does not exist are left
out. The torch backend computes in float32 whatever the dtype.
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, imports
from .compare import Less, Where
from .expand import filled
from .index import sliced
from .logic import And
from .promotion import as_value
from .scatter import ScatterND

KINDS = {
    "SegmentSum": ("add", 0),
    "SegmentProd": ("mul", 1),
    "SegmentMax": ("max", -np.inf),
    "SegmentMin": ("min", np.inf),
}


@imports("keras", *(f"ops.{name}" for name in KINDS))
def segments_from_keras(call, data, ids):
    reduction, empty = KINDS[type(call.native).__name__]
    data = as_value(call, data)
    wide = data.cast(np.float32) if call.backend == "torch" else data
    if call.backend == "tensorflow" and np.isinf(empty):
        empty = 0 if call.sorted else _furthest(wide.dtype, empty)
    count = _count(call, ids)
    if isinstance(ids, Value):
        ids = ids.cast(np.int64)
        there = And()(Less()(as_value(call, -1, np.int64), ids), Less()(ids, as_value(call, count, np.int64)))
        places = Where()(there, ids, as_value(call, count, np.int64))
    else:
        rows = np.asarray(ids, np.int64)
        places = call.graph.constant(np.where((rows >= 0) & (rows < count), rows, count))
    blank = filled(call.graph, (count + 1, *data.shape[1:]), empty, wide.dtype)  # the last row takes what is left out
    found = ScatterND(reduction=reduction)(blank, places.reshape(data.shape[0], 1), wide)
    return sliced(found, {0: slice(0, count)}).cast(data.dtype)


def _count(call: Any, ids: Any) -> int:
    """How many segments there are."""
    if call.num_segments is not None:
        return int(call.num_segments)
    if isinstance(ids, Value):
        raise Refused(
            "segments whose number the network computes",
            why="the result's size depends on numbers",
            hint="Pass num_segments",
        )
    rows = np.asarray(ids)
    unsorted_sum = type(call.native).__name__ == "SegmentSum" and not call.sorted
    if call.backend == "tensorflow" and unsorted_sum:  # it counts those that occur
        return len(np.unique(rows))
    return int(rows.max()) + 1


def _furthest(dtype: np.dtype, sign: float) -> Any:
    """The lowest or the highest number of a dtype."""
    limits = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    return limits.min if sign < 0 else limits.max
