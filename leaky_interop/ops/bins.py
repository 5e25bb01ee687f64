"""Numbers sorted into bins: all of these count comparisons.

| keras.ops    | meaning                                                                                   |
|--------------|-------------------------------------------------------------------------------------------|
| in_top_k     | fewer than k predictions are above that of the target; TensorFlow: and all of a row finite |
| multi_hot    | 1 where any of the entries along axis 1 (or the only one) names this place                |
| bincount     | how often each number occurs, or the sum of the weights where it does                     |
| histogram    | how many numbers lie between neighbouring edges, the last included; and the edges         |

`bincount` is as long as its largest entry says: it is converted where the entries are constants.
"""

import numpy as np

from ..errors import Refused
from ..op import Value, imports

FIX = "Compute it outside of the network, or pass constants"


@imports("keras", "ops.InTopK")
def in_top_k_from_keras(call, targets, predictions):
    def code(ops, targets, predictions):
        target = ops.take_along_axis(predictions, ops.expand_dims(ops.cast(targets, "int32"), -1), -1)
        above = ops.sum(ops.cast(ops.logical_not(predictions <= target), "int32"), -1)
        found = above < call.k
        return ops.logical_and(found, ops.all(ops.isfinite(predictions), -1)) if call.backend == "tensorflow" else found

    return call.written(code, targets, predictions)


@imports("keras", "ops.MultiHot")
def multi_hot_from_keras(call, x):
    if call.sparse:
        raise Refused("a sparse result", why="no other framework's network gives one", hint="Use sparse=False")

    def code(ops, x):
        hot = ops.one_hot(x, call.num_classes, axis=call.axis, dtype=call.dtype)
        return ops.max(hot, axis=1 if len(x.shape) > 1 else 0)

    return call.written(code, x)


@imports("keras", "ops.Bincount")
def bincount_from_keras(call, x, weights=None):
    weights = call.weights if weights is None else weights
    if isinstance(x, Value):
        raise Refused("bincount of computed numbers", why="the largest of them says how long it is", hint=FIX)
    rows = np.asarray(x)
    length = max(int(rows.max(initial=-1)) + 1, int(call.minlength or 0))
    hot = (rows[..., None] == np.arange(length)).astype(np.int32)

    def code(ops, weights):
        return ops.sum(ops.where(hot.astype(bool), ops.expand_dims(weights, -1), ops.cast(0, weights.dtype)), -2)

    return call.graph.constant(hot.sum(-2, dtype=np.int32)) if weights is None else call.written(code, weights)


@imports("keras", "ops.Histogram")
def histogram_from_keras(call, x):
    """Edges in even steps from both ends. Torch moves them apart where all numbers are one."""
    bins = call.bins
    if bins < 1:
        raise Refused("a histogram without bins", why="nothing is counted", hint="Use bins=1 or more")

    steps = np.arange(bins + 1)

    def edges(low, high, where):
        width = (high - low) / bins
        return where(steps < (bins + 1) / 2, low + width * steps.astype(x.dtype), high - width * (bins - steps).astype(x.dtype))

    def counted(ops, x, low, high, inner):
        x = ops.reshape(x, (-1,))
        place = ops.sum(ops.cast(ops.expand_dims(x, 1) >= inner, "int32"), 1, keepdims=True) if bins > 1 else 0
        inside = ops.expand_dims(ops.logical_and(x >= low, x <= high), 1)
        return ops.sum(ops.cast(ops.logical_and(ops.equal(place, np.arange(bins, dtype="int32")), inside), x.dtype), 0)

    if call.range:
        fixed = edges(*map(x.dtype.type, call.range), np.where).astype(x.dtype)
        counts = call.written(lambda ops, x: counted(ops, x, fixed[0], fixed[-1], fixed[1:-1]), x)
        return counts, call.graph.constant(fixed)

    def code(ops, x):
        low, high = ops.min(x), ops.max(x)
        if call.backend == "torch":
            apart = ops.cast(ops.equal(low, high), x.dtype) * 0.5
            low, high = low - apart, high + apart
        found = edges(low, high, ops.where)
        return counted(ops, x, low, high, ops.take(found, steps[1:-1])), found

    return call.written(code, x)
