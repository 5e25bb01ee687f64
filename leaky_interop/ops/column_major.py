"""Flattening as MATLAB does it: column by column.

| meaning                           | matlab                                          |
|-----------------------------------|-------------------------------------------------|
| (h, w, c) data in column order    | flattenLayer; fullyConnectedLayer does it itself |

The height runs fastest, then the width, then the channels. The other frameworks flatten row by row, channels first or
last. Reading spells it as Transpose and Reshape; writing reorders the weights behind a Reshape, so that this operator
can take its place: see `frameworks/matlab/write.py`.
"""

from typing import Any

import numpy as np

from ..op import Op, Shape, Value, exports, imports, op, product


@op
class ColumnMajor(Op):
    """An image as (N, C * W * H): the height runs fastest. It is (N, H, W, C) where channels stand `last`."""

    last: bool
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        return [((x.shape[0], product(x.shape[1:])), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        turned = x.transpose((0, 3, 2, 1) if self.last else (0, 1, 3, 2))
        return turned.reshape(len(x), int(np.prod(x.shape[1:])))


def column_major(x: Value) -> Value:
    """The features of images (N, H, W, C) in MATLAB's order; features are left as they are."""
    return x if x.rank < 3 else x.transpose(0, *reversed(range(1, x.rank))).reshape(x.shape[0], product(x.shape[1:]))


@imports("matlab", "flattenLayer")
def column_major_from_matlab(layer, x):
    return column_major(x)


@exports("matlab", ColumnMajor, channels_last=True)
def column_major_to_matlab(op, matlab, x):
    return matlab.flattened(x)
