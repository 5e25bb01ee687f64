"""Numbers sorted into bins: all of these count comparisons.

| keras.ops    | meaning                                                                                   |
|--------------|-------------------------------------------------------------------------------------------|
| in_top_k     | fewer than k predictions are above that of the target; TensorFlow: and all of a row finite |
| multi_hot    | 1 where any of the entries along axis 1 (or the only one) names this place                |
| bincount     | how often each number occurs, or the sum of the weights where it does                     |

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
