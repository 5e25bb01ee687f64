"""Eigenvalues of symmetric matrices, and e to the power of a matrix; both in the last two axes.

| meaning              | keras                  | torch             | onnx                                            |
|----------------------|------------------------|-------------------|-------------------------------------------------|
| SymmetricEigenvalues | eigh, its first result | linalg.eigvalsh   | singular values of the matrix moved above 0     |
| MatrixExp            | composed               | linalg.matrix_exp | Taylor's series of a halved matrix, squared again |

Eigenvectors are refused: their signs are left open.
"""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Op, Operand, Shape, Value, agree, case, exports, imports, op
from .bounds import Maximum, Minimum
from .compare import Greater, Where
from .expand import expanded
from .functions import Abs, Ceil, Log2
from .linalg import in_float32, transposed
from .math import Add, Mul, Pow, Sub
from .matmul import MatMul
from .precision import IN_32_BITS, exact_in_keras
from .reduce import ReduceMax, ReduceSum, reduced
from .sort import Sort
from .svd import SingularValues, symmetric
from .table import widened

SQUARINGS = 24  # as often as a matrix is halved at most: no larger one has an exponential in float32's range and digits
SMALL = 0.5  # the norm that the series is taken at


def _identity(a: Value) -> Value:
    return expanded(a.graph.constant(np.eye(int(a.shape[-1])), a.dtype), a.shape)


class OfSquares(Op):
    """Base: of square matrices."""

    tolerance = "sum"

    def square(self, x: Value) -> None:
        if x.rank < 2 or not agree(*x.shape[-2:]):
            raise ValueError(f"{self} takes square matrices, not {x!r}")


@op
class SymmetricEigenvalues(OfSquares):
    """The eigenvalues from the smallest on; only the lower triangle counts."""

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        self.square(inputs[0])
        return [(inputs[0].shape[:-1], inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(np.linalg.eigvalsh, *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """Each errs by a share of the largest; moved above 0, all of them are as large as the matrix."""
        values = self.reference(arrays[0].astype(np.float64))
        largest = np.abs(values).max(-1, keepdims=True, initial=0)
        return arrays[0].shape[-1] ** 2, np.broadcast_to(2 * math.sqrt(arrays[0].shape[-1]) * largest, values.shape)

    def lowered(self, exact, x):
        dtype = x.dtype
        x = x.cast(np.float32) if x.dtype.itemsize < 4 else x
        x = symmetric(x)
        above = reduced(ReduceMax, reduced(ReduceSum, Abs()(x), -1, True), -2, True)
        values = SingularValues()(Add()(x, Mul()(above, _identity(x))))
        moved = Sub()(values, above.reshape(*above.shape[:-1]))
        return Sort(axis=moved.rank - 1, descending=False)(moved)[0].cast(dtype)


@op
class MatrixExp(OfSquares):
    """The sum of the powers of a matrix, each over its factorial."""

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        self.square(inputs[0])
        return [(inputs[0].shape, inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x = arrays[0].astype(np.float64)
        with np.errstate(all="ignore"):
            norm = np.abs(x).sum(-2).max(initial=0)
            halvings = max(0, math.ceil(math.log2(norm / SMALL))) if 0 < norm < np.inf else 0
            x, y = x / 2.0**halvings, np.eye(x.shape[-1])
            for k in range(18, 0, -1):
                y = np.eye(x.shape[-1]) + x @ y / k
            for _ in range(halvings):
                y = y @ y
        return np.broadcast_to(y, arrays[0].shape).astype(arrays[0].dtype)

    def length(self, *arrays: np.ndarray) -> int:
        return 64 * arrays[0].shape[-1] ** 2

    def lowered(self, exact, x):
        dtype = x.dtype
        x = x.cast(np.float32) if x.dtype.itemsize < 4 else x
        norm = reduced(ReduceMax, reduced(ReduceSum, Abs()(x), -2, True), -1, True)
        halvings = Minimum()(Maximum()(Ceil()(Log2()(Mul()(norm, 1 / SMALL))), 0.0), float(SQUARINGS + 1))
        one, small = _identity(x), Mul()(x, Pow()(0.5, halvings))
        y = one
        for k in range(18 if dtype == np.float64 else 9, 0, -1):
            y = Add()(one, Mul()(MatMul()(small, y), 1 / k))
        for k in range(SQUARINGS):
            y = Where()(Greater()(halvings, float(k)), MatMul()(y, y), y)
        return Where()(Greater()(halvings, float(SQUARINGS)), math.nan, y).cast(dtype)


@imports("torch", "aten.linalg_eigvalsh.default")
def eigenvalues_from_torch(call, x, triangle):
    return SymmetricEigenvalues()(transposed(x) if triangle.upper() == "U" else x)


@imports("torch", "aten._linalg_eigh.default", "aten.linalg_eigh.default")
def decomposed_eigenvalues_from_torch(call, x, triangle, with_vectors=True):
    if with_vectors:
        why = "the signs of eigenvectors are left open, and frameworks choose them differently"
        raise Refused("the eigenvectors of a matrix", why=why, hint="Use linalg.eigvalsh")
    return eigenvalues_from_torch(call, x, triangle), None


@imports("torch", "aten.linalg_matrix_exp.default", "aten.matrix_exp.default")
def matrix_exp_from_torch(call, x):
    return MatrixExp()(x)


@exports("torch", SymmetricEigenvalues)
def eigenvalues_to_torch(op, torch, x):
    return in_float32(torch, torch.linalg.eigvalsh, x)


@exports("torch", MatrixExp)
def matrix_exp_to_torch(op, torch, x):
    return in_float32(torch, torch.linalg.matrix_exp, x)


@exports("keras", SymmetricEigenvalues)
def eigenvalues_to_keras(op, keras, x):
    exact_in_keras(keras, "eigenvalues")
    return in_float32(keras, lambda x: keras.ops.eigh(x)[0], x)


_POWERS = dict.fromkeys(("onnx", "keras"), "a series, squared")
case("matrix_exp/batch", MatrixExp(), (2, 3, 3), composed=_POWERS)
case("matrix_exp/large", MatrixExp(), Operand((3, 4, 4), low=-9, high=9), composed=_POWERS)
case("matrix_exp/nothing", MatrixExp(), Operand((2, 2), numbers=np.zeros((2, 2))), composed=_POWERS)
case("matrix_exp/float64", MatrixExp(), Operand((3, 3), dtype="float64"), composed=_POWERS, refused=IN_32_BITS)
