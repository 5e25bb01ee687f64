"""Distances between all rows of one matrix and all rows of another. Importers only.

| torch                       | rows are compared                                                       |
|-----------------------------|-------------------------------------------------------------------------|
| _cdist_forward(x, y, p)     | one by one; for p = 2 and more than 25 rows by a product of matrices    |
| _euclidean_dist(x, y)       | by a product of matrices: sqrt(max(x x - 2 x y + y y, 0))               |
| _pdist_forward(x, p)        | each two rows of one matrix once                                        |

The product is less exact where rows are close; it is kept, because it is what PyTorch computes.
"""

import numpy as np

from ..errors import Refused
from ..op import Value, imports
from .bounds import clipped
from .expand import filled
from .functions import Sqrt
from .gather import Gather
from .global_pool import norm
from .join import joined
from .math import Mul, Sub
from .matmul import matrix_product
from .reduce import ReduceSum, reduced
from .shape import with_axes

ALWAYS, NEVER, MANY = 1, 2, 25  # torch's modes of the product, and from how many rows on it takes it otherwise


@imports("torch", "aten._cdist_forward.default")
def distances_from_torch(call, x, y, order, mode):
    rows = [n for n in (x.shape[-2], y.shape[-2]) if isinstance(n, int)]
    if order == 2 and mode != NEVER and (mode == ALWAYS or max(rows, default=0) > MANY):
        return euclidean_distances_from_torch(call, x, y)
    if order == 2 and mode != NEVER and len(rows) < 2:
        raise Refused(
            "cdist of an open number of rows", why=f"PyTorch computes it in another way from {MANY + 1} rows on",
            hint="Pass compute_mode='donot_use_mm_for_euclid_dist', or fix the size with input_shapes",
        )  # fmt: skip
    return norm(Sub()(with_axes(x, [-2]), with_axes(y, [-3])), order, -1, False)


@imports("torch", "aten._euclidean_dist.default")
def euclidean_distances_from_torch(call, x, y):
    squares = [reduced(ReduceSum, Mul()(v, v), -1, True) for v in (x, y)]
    ones = [filled(call.graph, s.shape, 1, s.dtype) for s in squares]
    left = joined(call, [Mul()(x, -2.0), squares[0], ones[0]], -1)
    right = joined(call, [y, ones[1], squares[1]], -1)
    order = (*range(y.rank - 2), y.rank - 1, y.rank - 2)
    return Sqrt()(clipped(matrix_product(call, left, right.transpose(*order)), 0.0, None))


@imports("torch", "aten._pdist_forward.default")
def pairwise_distances_from_torch(call, x, order):
    if not isinstance(x.shape[0], int):
        raise Refused("pdist of an open number of rows", why="each pair is picked by its numbers", hint="Fix it with input_shapes")
    first, second = (_rows(x, places) for places in np.triu_indices(x.shape[0], 1))
    return norm(Sub()(first, second), order, -1, False)


def _rows(x: Value, places: np.ndarray) -> Value:
    return Gather(axis=0)(x, x.graph.constant(places.astype(np.int64)))
