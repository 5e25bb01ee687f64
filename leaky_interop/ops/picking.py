"""What is picked by rules that other operators say: diagonals, reversed sequences, entries that a constant mask keeps.

| meaning           | keras                | torch           | onnx                |
|-------------------|----------------------|-----------------|---------------------|
| diagonal          | ops.diagonal, trace  | diagonal, trace | EyeLike and Mul     |
| reversed sequence | composed             | composed        | ReverseSequence     |
| kept entries      | composed             | x[mask]         | Compress, NonZero   |

They are read as Slice, Gather and GatherElements; nothing is written as one of these.
"""

import numpy as np

from ..errors import Computed
from ..op import Value, imports, product
from .compare import Less, Where
from .expand import expanded
from .gather import Gather, GatherElements
from .index import sliced
from .math import Sub
from .promotion import in_stated_dtype
from .range import ranged
from .reduce import ReduceSum, reduced


def diagonal(x: Value, offset: int, first: int, second: int) -> Value:
    """The diagonal of two axes, as a new last axis: entries of the two axes merged into one."""
    first, second = first % x.rank, second % x.rank
    others = [a for a in range(x.rank) if a not in (first, second)]
    rows, columns = x.shape[first], x.shape[second]
    count = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    start = offset if offset >= 0 else -offset * columns
    flat = x.transpose(*others, first, second).reshape(*(x.shape[a] for a in others), rows * columns)
    return sliced(
        flat, {len(others): slice(start, start + (count - 1) * (columns + 1) + 1 if count else start, columns + 1)}
    )


@imports("torch", "aten.diagonal.default")
def diagonal_from_torch(call, x, offset, first, second):
    return diagonal(x, offset, first, second)


@imports("keras", "ops.Diagonal")
def diagonal_from_keras(call, x):
    return diagonal(x, call.offset, call.axis1, call.axis2)


@imports("torch", "aten.trace.default")
def trace_from_torch(call, x):
    return reduced(ReduceSum, diagonal(x, 0, 0, 1), 0, False)


@imports("keras", "ops.Trace")
def trace_from_keras(call, x):
    (found,) = in_stated_dtype(call, diagonal(x, call.offset, call.axis1, call.axis2))
    return reduced(ReduceSum, found, -1, False)


@imports("onnx", "ReverseSequence")
def reversed_sequence_from_onnx(node, x, lengths):
    """Entry t of a sequence of length n comes from n - 1 - t where t < n, and stays behind it."""
    time, batch = node.time_axis % x.rank, node.batch_axis % x.rank
    places = ranged(node.graph, 0, x.shape[time], 1, np.int64).reshape(
        *(d if a == time else 1 for a, d in enumerate(x.shape))
    )
    count = lengths.cast(np.int64).reshape(*(d if a == batch else 1 for a, d in enumerate(x.shape)))
    index = Where()(Less()(places, count), Sub()(Sub()(count, 1), places), places)
    return GatherElements(axis=time)(x, expanded(index, x.shape))


@imports("onnx", "Compress")
def kept_entries_from_onnx(node, x, mask):
    if not mask.is_constant:
        raise Computed(
            "Compress with a computed condition", why="the result's size would depend on the data", hint="Use Where"
        )
    kept = node.graph.constant(np.flatnonzero(mask.array()))
    if node.axis is None:
        return Gather(axis=0)(x.reshape(product(x.shape)), kept)
    return Gather(axis=node.axis % x.rank)(x, kept)


@imports("onnx", "NonZero")
def places_of_nonzero_from_onnx(node, x):
    content = x.array() if x.const is not None else x.sizes
    if content is None:
        raise Computed("NonZero of computed numbers", why="the result's size would depend on the data", hint="Use Where")
    return node.graph.constant(np.stack(np.nonzero(content)).astype(np.int64))
