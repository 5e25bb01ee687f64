"""keras.ops.unique: which values there are, as many as the data decides or as `size` says.

TensorFlow counts in 32 bits, torch in 64.
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, imports
from .expand import expanded
from .found import Unique
from .gather import Gather
from .join import Concat


@imports("keras", "ops.Unique")
def unique_from_keras(call, x):
    """`size` cuts the entries, or fills them up: with fill_value (0), where each stands first with 1, how often with 0."""
    if not call.sorted:
        raise Refused("unique with sorted=False", why="Keras' backends differ in the order", hint="Use sorted=True")
    axis = None if call.axis is None else call.axis % x.rank
    y, *counts = Unique(label=call.unique("unique"), axis=axis, ordered=True)(x)
    first, inverse, counts = (v.cast(np.int64 if call.backend == "torch" else np.int32) for v in counts)
    if call.size is not None:
        y = of_length(y, axis or 0, call.size, 0 if call.fill_value is None else call.fill_value)
        first, counts = of_length(first, 0, call.size, 1), of_length(counts, 0, call.size, 0)
    inverse = inverse.reshape(*x.shape) if axis is None else inverse
    asked = (True, call.return_index, call.return_inverse, call.return_counts)
    return [v for v, wanted in zip((y, first, inverse, counts), asked, strict=True) if wanted]


def of_length(x: Value, axis: int, size: int, fill: Any) -> Value:
    """The first entries along an axis, with others behind them where there are fewer."""
    tail = expanded(x.graph.constant(np.asarray(fill).astype(x.dtype)), (*x.shape[:axis], size, *x.shape[axis + 1 :]))
    return Gather(axis=axis)(Concat(axis=axis)(x, tail), x.graph.constant(np.arange(size)))
