"""keras.ops.slice and slice_update: parts of known sizes from places on that are known, or computed when the network runs.

Computed places that are out of range count from the end on torch; on TensorFlow the part is moved so that it lies within.
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, agree, imports
from .bounds import clipped
from .compare import GreaterOrEqual, Less, Where
from .gather import Gather
from .index import placed, selected, sliced
from .logic import And
from .math import Add, Sub


def _known(starts: Any) -> list[int] | None:
    """Where a slice begins along each axis; None where that is computed."""
    if isinstance(starts, list | tuple):
        known = [s.content() if isinstance(s, Value) else s for s in starts]
    else:
        known = starts.content() if isinstance(starts, Value) else np.asarray(starts).tolist()
    return None if known is None or None in known else [int(s) for s in known]


def _start(call: Any, starts: Any, axis: int, size: Any, x: Value) -> Value:
    """Where a computed slice begins along an axis: torch counts from the end below 0, TensorFlow lets the slice end within."""
    if not isinstance(size, int) or size < 0 or not isinstance(x.shape[axis], int):
        raise Refused("a slice of keras.ops with computed starts and open sizes", hint="Fix the sizes with input_shapes")
    start = starts[axis] if isinstance(starts, list | tuple) else selected(starts, 0, axis)
    start = start if isinstance(start, Value) else x.graph.constant(start)
    start = start.cast(np.int64)
    if call.backend == "torch":
        return Where()(Less()(start, 0), Add()(start, x.shape[axis]), start)
    return clipped(start, 0, x.shape[axis] - size)


def _updated(call: Any, x: Value, starts: Any, part: Value) -> Value:
    """`x` with a part of it replaced from computed places on: each entry looks up its own in the part."""
    inside = None
    for axis, size in enumerate(part.shape):
        places = Sub()(x.graph.constant(np.arange(x.shape[axis])), _start(call, starts, axis, size, x))
        if call.backend == "torch":  # where the part goes on at the beginning
            places = Where()(Less()(places, 0), Add()(places, x.shape[axis]), places)
        hit = And()(GreaterOrEqual()(places, 0), Less()(places, size)).reshape(x.shape[axis], *(1,) * (x.rank - 1 - axis))
        inside = hit if inside is None else And()(inside, hit)
        part = Gather(axis=axis)(part, clipped(places, 0, size - 1))
    return Where()(inside, part, x)


@imports("keras", "ops.Slice")
def slice_from_keras(call, x, starts):
    known = _known(starts)
    if known is None:
        for axis, size in enumerate(call.shape):
            x = Gather(axis=axis)(x, Add()(_start(call, starts, axis, size, x), x.graph.constant(np.arange(size))))
        return x
    if call.backend == "torch":  # which counts -1 as Python does, from the end
        return sliced(x, {a: slice(s, s + n) for a, (s, n) in enumerate(zip(known, call.shape, strict=True))})
    sizes = (x.shape[a] - known[a] if s is None or s == -1 else s for a, s in enumerate(call.shape))
    return sliced(x, {a: slice(s, s + n) for a, (s, n) in enumerate(zip(known, sizes, strict=True))})


@imports("keras", "ops.SliceUpdate")
def slice_update_from_keras(call, x, starts, part):
    known = _known(starts)
    if known is None:
        return _updated(call, x, starts, part)
    for axis, start in enumerate(known):
        if not agree(part.shape[axis], x.shape[axis]):
            rest = {a: slice(s, s + n) for a, (s, n) in enumerate(zip(known, part.shape, strict=True)) if a > axis}
            part = placed(call, sliced(x, rest), part, axis, start, start + part.shape[axis])
    return part
