"""Pointwise arithmetic: one row of a table each, for all frameworks.

Both operands broadcast as numpy's do, and have one dtype: importers cast where a framework promotes.
"""

import numpy as np

from ..op import Pointwise, case, exports, imports, op


class Binary(Pointwise):
    """An operator of two operands; a constant number is written as one."""

    scalars = True


@op
class Add(Binary):
    """x + y."""

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0] + arrays[1]


@op
class Mul(Binary):
    """x * y."""

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0] * arrays[1]


@imports("torch", "aten.add.Tensor")
def add_from_torch(call, x, y, alpha):
    return Add()(x, y if alpha == 1 else Mul()(y, alpha))


@exports("torch", Add)
def add_to_torch(op, torch, x, y):
    return x + y


@imports("keras", "ops.Add")
def add_from_keras(call, x, y):
    return Add()(x, y)


@exports("keras", Add)
def add_to_keras(op, keras, x, y):
    return keras.ops.add(x, y)


@imports("onnx", "Add", since=7)
def add_from_onnx(node, x, y):
    return Add()(x, y)


@exports("onnx", Add)
def add_to_onnx(op, onnx, x, y):
    return onnx.Add(x, y)


case("add/broadcast", Add(), (2, 3, 4), (4,))
