"""A matrix as the product of a lower and an upper triangle, both in one matrix, after rows have changed places.

| framework           | of the rows it says                                                    |
|---------------------|------------------------------------------------------------------------|
| torch               | with which row each changed places in turn, from 1 on                  |
| keras on PyTorch    | the same from 0 on                                                     |
| keras on TensorFlow | where each row went                                                    |
| onnx                | has no such operator: elimination is written out, row by row           |
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Op, Operand, Shape, Value, case, exports, imports, op
from .arg import ArgMax
from .compare import Equal, Where
from .functions import Abs
from .index import sliced
from .join import Concat
from .linalg import LARGEST, worst_condition
from .math import Add, Div, Mul, Sub
from .reduce import ReduceSum, reduced
from .shape import with_axes


@op
class LuFactors(Op):
    """Both triangles in one matrix (the lower one's diagonal is 1 and left out), and the row that each changed places with."""

    tolerance = "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        *batch, m, n = inputs[0].shape
        if not (isinstance(m, int) and isinstance(n, int)):
            raise Refused(f"the factors of matrices of {m} rows and {n} columns", hint="Fix both with input_shapes")
        return [(inputs[0].shape, inputs[0].dtype), ((*batch, min(m, n)), np.dtype(np.int32))]

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a = arrays[0].astype(np.float64)
        m, n = a.shape[-2:]
        pivots = np.zeros((*a.shape[:-2], min(m, n)), np.int32)
        for place in np.ndindex(a.shape[:-2]):
            matrix = a[place]
            for j in range(min(m, n)):
                pivots[place][j] = row = j + np.abs(matrix[j:, j]).argmax()
                matrix[[j, row]] = matrix[[row, j]]
                matrix[j + 1 :, j] /= matrix[j, j] or 1  # where nothing is left to divide by, all below is 0 too
                matrix[j + 1 :, j + 1 :] -= np.outer(matrix[j + 1 :, j], matrix[j, j + 1 :])
        return a.astype(arrays[0].dtype), pivots

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        x = arrays[0].astype(np.float64)
        return max(x.shape[-2:]) ** 2, np.asarray(np.max(np.abs(x), initial=0.0) * worst_condition(x))

    def lowered(self, exact, a):
        rows, columns = a.shape[-2:]
        if max(rows, columns) > LARGEST:
            raise Refused(
                f"the factors of matrices with {rows} rows and {columns} columns", why="the steps are written out",
                hint=f"Convert to PyTorch, or use at most {LARGEST} rows",
            )  # fmt: skip
        dtype, graph = a.dtype, a.graph
        a = a.cast(np.float32) if dtype.itemsize < 4 else a
        places, pivots = graph.constant(np.arange(rows)[:, None]), []
        for j in range(min(rows, columns)):
            below, right = np.arange(rows)[:, None] > j, np.arange(columns) > j
            column = sliced(a, {a.rank - 1: slice(j, j + 1)})
            candidates = Where()(graph.constant(np.arange(rows)[:, None] >= j), Abs()(column), -1.0)
            pivot = ArgMax(axis=a.rank - 2, keepdims=True)(candidates)
            a = exchanged(a, places, j, pivot)
            row, column = sliced(a, {a.rank - 2: slice(j, j + 1)}), sliced(a, {a.rank - 1: slice(j, j + 1)})
            divisor = sliced(row, {a.rank - 1: slice(j, j + 1)})
            share = Div()(column, Where()(Equal()(divisor, 0), 1, divisor))
            a = Where()(graph.constant(below & right), Sub()(a, Mul()(share, row)), a)
            a = Where()(graph.constant(below & (np.arange(columns) == j)), share, a)
            pivots.append(pivot.reshape(*a.shape[:-2], 1))
        return a.cast(dtype), Concat(axis=a.rank - 2)(*pivots).cast(np.int32)


def exchanged(a: Value, places: Value, j: int, pivot: Value) -> Value:
    """Row j in the place of another, and the other way round."""
    other, own = Equal()(places, pivot), Equal()(places, j)
    row = reduced(ReduceSum, Where()(other, a, 0), -2, True)
    return Where()(own, row, Where()(other, sliced(a, {a.rank - 2: slice(j, j + 1)}), a))


@imports("torch", "aten.linalg_lu_factor.default")
def lu_factors_from_torch(call, x, pivot):
    if not pivot:
        raise Refused("lu_factor with pivot=False", why="only some devices have it", hint="Let rows change places")
    factors, pivots = LuFactors()(x)
    return factors, Add()(pivots, 1)


@imports("keras", "ops.LuFactor")
def lu_factors_from_keras(call, x):
    factors, pivots = LuFactors()(x)
    if call.backend != "tensorflow":
        return factors, pivots
    rows = x.shape[-2]
    places = call.graph.constant(np.arange(rows, dtype=np.int32)[:, None])
    went = Add()(places, Mul()(sliced(with_axes(pivots, [-1]), {x.rank - 2: slice(0, 1)}), 0))  # as often as matrices
    for j in reversed(range(pivots.shape[-1])):
        went = exchanged(went, places, j, with_axes(sliced(pivots, {x.rank - 2: slice(j, j + 1)}), [-1]))
    return factors, went.reshape(*x.shape[:-1])


@exports("torch", LuFactors)
def lu_factors_to_torch(op, torch, x):
    dtype = torch.inputs[0].dtype
    factors, pivots = torch.unpack(torch.linalg.lu_factor_ex(x if dtype.itemsize >= 4 else x.float()), 3)[:2]
    return factors if dtype.itemsize >= 4 else factors.to(torch.torch_dtype(dtype)), pivots - 1


@exports("keras", LuFactors)
def lu_factors_to_keras(op, keras, x):
    if keras.backend.backend() == "torch" and keras.inputs[0].dtype.itemsize >= 4:
        return keras.ops.lu_factor(x)
    return keras.composed(lambda x: op.lowered(np.float32, x))  # TensorFlow's says otherwise which rows changed places


@exports("onnx", LuFactors)
def lu_factors_to_onnx(op, onnx, x):
    return onnx.composed(lambda x: op.lowered(np.float32, x))


_STEPS = {"onnx": "its steps, written out", "keras": "its steps, written out"}
_MIXED = np.array([[0.5, 2.0, -1.0, 0.0], [4.0, 1.0, 0.25, 1.0], [-2.0, 3.0, 1.0, -1.0]])
case("lu/wide", LuFactors(), Operand((3, 4), numbers=_MIXED), composed=_STEPS)
case("lu/tall", LuFactors(), Operand((4, 3), numbers=_MIXED.T.copy()), composed=_STEPS)
case("lu/float16", LuFactors(), Operand((3, 4), dtype="float16", numbers=_MIXED),
     composed=dict.fromkeys(("keras", "torch", "onnx"), "computed in float32"))  # fmt: skip
case("lu/batch", LuFactors(), Operand((2, 3, 3), numbers=np.stack([_MIXED[:, :3], _MIXED[::-1, 1:]])), composed=_STEPS)
