"""Systems of equations and the factors of matrices that stand in the last two axes.

| meaning         | keras                | torch                     | onnx                                        |
|-----------------|----------------------|---------------------------|---------------------------------------------|
| Cholesky        | ops.cholesky         | linalg.cholesky           | column by column                            |
| SolveTriangular | ops.solve_triangular | linalg.solve_triangular   | row by row                                  |
| Solve           | ops.solve            | linalg.solve              | Gauss and Jordan's steps, with pivots       |
| QR              | ops.qr               | linalg.qr                 | Householder's reflections                   |
| inverse         | ops.inv              | linalg.inv                | Solve for the identity                      |
| logarithm of |det| | ops.slogdet     | linalg.slogdet            | of Det, rows scaled first                   |

ONNX has none of these. Its steps are written out, a dozen nodes each, for matrices of known size up to `LARGEST`. What
is left undefined (signs of eigenvectors, which of equal eigenvalues comes first) differs between the backends: it is
refused.
"""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Op, Operand, Shape, Value, agree, case, exports, imports, op
from .arg import ArgMax
from .compare import Equal, Greater, GreaterOrEqual, Where
from .det import Det
from .expand import expanded, filled
from .functions import Abs, Log, Sign, Sqrt
from .index import sliced
from .join import Concat
from .logic import Or
from .math import Add, Div, Mul, Sub
from .matmul import MatMul
from .precision import exact_in_keras
from .promotion import in_one_dtype
from .reduce import ReduceMax, ReduceSum, reduced
from .shape import with_axes
from .table import widened

LARGEST = 32  # rows of a matrix whose factors are written out step by step


def transposed(x: Value) -> Value:
    return x.transpose(*range(x.rank - 2), x.rank - 1, x.rank - 2)


def _swap(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x, -1, -2)


def worst_condition(a: np.ndarray) -> float:
    """The largest condition number of some matrices, 1 for none."""
    return float(np.max(np.linalg.cond(a.astype(np.float64)), initial=1.0)) if a.size else 1.0


class Factoring(Op):
    """Base: steps that ONNX has no operator for. Sums cancel, so errors are measured by the condition of the matrix."""

    tolerance = "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        a = inputs[0]
        if a.rank < 2 or not agree(*a.shape[-2:]):
            raise ValueError(f"{self} takes square matrices, not {a!r}")
        return [((*inputs[-1].shape,), a.dtype)]

    def size(self, a: Value) -> int:
        """How many columns there are; refused where that is open, or too many to write out."""
        rows = a.shape[-2]
        if not isinstance(rows, int) or rows > LARGEST:
            raise Refused(
                f"{type(self).__name__} of matrices with {rows} rows", why="its steps are written out one by one",
                hint=f"Convert to PyTorch, or use at most {LARGEST} rows",
            )  # fmt: skip
        return a.shape[-1]

    def terms(self, *arrays: np.ndarray) -> tuple[Any, np.ndarray]:
        results = self.reference(*(x.astype(np.float64) for x in arrays))
        first = results[0] if isinstance(results, tuple) else results
        worst = worst_condition(arrays[0])
        return arrays[0].shape[-1] ** 2, np.asarray(np.max(np.abs(first), initial=0.0) * worst)


@op
class Cholesky(Factoring):
    """The lower triangle whose product with its transpose is the matrix, of which only the lower triangle counts."""

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(np.linalg.cholesky, arrays[0])

    def lowered(self, exact, a):
        columns = []
        for j in range(self.size(a)):
            pivot = Sqrt()(_entry(a, j, j))
            below = np.arange(a.shape[-2])[:, None] >= j
            column = Where()(a.graph.constant(below), Div()(_column(a, j), pivot), 0.0)
            columns.append(column)
            a = Sub()(a, MatMul()(column, transposed(column)))
        return Concat(axis=a.rank - 1)(*columns)


@op
class SolveTriangular(Factoring):
    """x of a @ x = b, where `a` is a triangle: the other half of it does not count. Operands: a, b (both matrices)."""

    lower: bool

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        a, b = arrays
        return widened(lambda a, b: np.linalg.solve(np.tril(a) if self.lower else np.triu(a), b), a, b)

    def lowered(self, exact, a, b):
        size = self.size(a)
        found: dict[int, Value] = {}
        for i in range(size) if self.lower else reversed(range(size)):
            row = sliced(b, {b.rank - 2: slice(i, i + 1)})
            found[i] = Div()(row, _entry(a, i, i))
            b = Sub()(b, Mul()(_column(a, i), found[i]))
        return Concat(axis=b.rank - 2)(*(found[i] for i in range(size)))


@op
class Solve(Factoring):
    """x of a @ x = b. Operands: a, b (both matrices)."""

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(np.linalg.solve, *arrays)

    def lowered(self, exact, a, b):
        """Each step divides the row with the largest entry of a column and clears that column in all other rows."""
        size, graph = self.size(a), a.graph
        both = Concat(axis=a.rank - 1)(a, b)
        rows = graph.constant(np.arange(size)[:, None])
        used, chosen = None, []
        for j in range(size):
            column = _column(both, j)
            magnitude = Abs()(column) if used is None else Where()(used, -1.0, Abs()(column))
            own = Equal()(rows, ArgMax(axis=a.rank - 2, keepdims=True)(magnitude))
            row = reduced(ReduceSum, Where()(own, both, 0.0), -2, True)
            row = Div()(row, _column(row, j))
            both = Where()(own, row, Sub()(both, Mul()(column, row)))
            used = own if used is None else Or()(used, own)
            chosen.append(own.cast(a.dtype))
        return MatMul()(transposed(Concat(axis=a.rank - 1)(*chosen)), sliced(both, {both.rank - 1: slice(size, None)}))


@op
class QR(Factoring):
    """An orthogonal matrix and an upper triangle whose product is the matrix; complete: all columns of the first."""

    complete: bool

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        *batch, m, n = inputs[0].shape
        if not (isinstance(m, int) and isinstance(n, int)):
            raise Refused(f"the factors of matrices of {m} rows and {n} columns", hint="Fix both with input_shapes")
        k = m if self.complete else min(m, n)
        return [((*batch, m, k), inputs[0].dtype), ((*batch, k, n), inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        q, r = np.linalg.qr(arrays[0].astype(np.float64), "complete" if self.complete else "reduced")
        return q.astype(arrays[0].dtype), r.astype(arrays[0].dtype)

    def lowered(self, exact, a):
        """Householder's reflections; where nothing stands below the diagonal there is none, as in LAPACK."""
        self.size(a)
        m, n = a.shape[-2:]
        q = expanded(a.graph.constant(np.eye(m), a.dtype), (*a.shape[:-2], m, m))
        for j in range(min(m - 1, n)):
            below = a.graph.constant(np.arange(m)[:, None] > j)
            at = a.graph.constant(np.arange(m)[:, None] == j)
            tail = Where()(below, _column(a, j), 0.0)
            rest, head = reduced(ReduceSum, Mul()(tail, tail), -2, True), _entry(a, j, j)
            length = Sqrt()(Add()(rest, Mul()(head, head)))
            away = Add()(head, Where()(GreaterOrEqual()(head, 0.0), length, Sub()(0.0, length)))
            v = Where()(at, away, tail)
            square = Add()(rest, Mul()(away, away))
            factor = Where()(Greater()(rest, 0.0), Div()(filled(a.graph, (), 2.0, a.dtype), square), 0.0)
            a = Sub()(a, Mul()(factor, MatMul()(v, MatMul()(transposed(v), a))))
            q = Sub()(q, Mul()(factor, MatMul()(MatMul()(q, v), transposed(v))))
        k = m if self.complete else min(m, n)
        upper = a.graph.constant(np.tri(m, n, -1) == 0)
        r = Where()(upper, a, 0.0)
        return sliced(q, {q.rank - 1: slice(0, k)}), sliced(r, {r.rank - 2: slice(0, k)})


def _column(a: Value, j: int) -> Value:
    return sliced(a, {a.rank - 1: slice(j, j + 1)})


def _entry(a: Value, i: int, j: int) -> Value:
    return sliced(a, {a.rank - 2: slice(i, i + 1), a.rank - 1: slice(j, j + 1)})


# --- reading ----------------------------------------------------------------------------------------------------------


def _identity(a: Value) -> Value:
    size = a.shape[-1]
    if not isinstance(size, int):
        raise Refused("the inverse of matrices of an open size", hint="Fix it with input_shapes")
    return expanded(a.graph.constant(np.eye(size), a.dtype), a.shape)


def _solved(kind: Op, call: Any, a: Any, b: Any) -> Value:
    """b may be one vector a matrix."""
    a, b = in_one_dtype(call, a, b)
    return kind(a, b) if b.rank == a.rank else kind(a, with_axes(b, [-1])).reshape(*b.shape)


@imports("torch", "aten.linalg_cholesky.default")
def cholesky_from_torch(call, x, upper):
    return transposed(Cholesky()(transposed(x))) if upper else Cholesky()(x)


@imports("keras", "ops.Cholesky")
def cholesky_from_keras(call, x):
    y = Cholesky()(x)
    return transposed(y) if call.upper else y


@imports("torch", "aten.linalg_solve_triangular.default")
def solve_triangular_from_torch(call, a, b, upper, left, unitriangular):
    if not left or unitriangular:
        raise Refused("solve_triangular from the right, or with ones on the diagonal", hint="Write it out")
    return SolveTriangular(lower=not upper)(a, b)


@imports("keras", "ops.SolveTriangular")
def solve_triangular_from_keras(call, a, b):
    return _solved(SolveTriangular(lower=bool(call.lower)), call, a, b)


@imports("torch", "aten.linalg_solve.default")
def solve_from_torch(call, a, b, left=True):
    return _solved(Solve(), call, a, b)


@imports("keras", "ops.Solve")
def solve_from_keras(call, a, b):
    return _solved(Solve(), call, a, b)


@imports("torch", "aten.linalg_inv.default", "aten.inverse.default")
@imports("keras", "ops.Inv")
def inverse_from_framework(call, a):
    return Solve()(a, _identity(a))


@imports("keras", "ops.CholeskyInverse")
def inverse_from_its_factor(call, a):
    y = SolveTriangular(lower=not call.upper)(a, _identity(a))
    return MatMul()(y, transposed(y)) if call.upper else MatMul()(transposed(y), y)


@imports("torch", "aten.linalg_qr.default")
def qr_from_torch(call, x, mode):
    return QR(complete=mode == "complete")(x)


@imports("keras", "ops.Qr")
def qr_from_keras(call, x):
    return QR(complete=call.mode == "complete")(x)


def _sign_and_log(x: Value) -> tuple[Value, Value]:
    """Of the determinant, its rows divided by their largest entries first so that it neither overflows nor vanishes."""
    size = x.shape[-1]
    if not isinstance(size, int) or size > 2 * LARGEST:
        raise Refused(
            f"the logarithm of the determinant of {size} rows",
            why="the determinant may overflow",
            hint="Use fewer rows",
        )
    if not size:
        return tuple(filled(x.graph, x.shape[:-2], number, x.dtype) for number in (1, 0))  # type: ignore[return-value]
    largest = reduced(ReduceMax, Abs()(x), -1, True)
    largest = Where()(Greater()(largest, 0.0), largest, 1.0)
    det = Det()(Div()(x, largest))
    scale = reduced(ReduceSum, Log()(largest), [-2, -1], False)
    return Sign()(det), Add()(Log()(Abs()(det)), scale)


@imports("torch", "aten.linalg_slogdet.default", "aten.slogdet.default")
@imports("keras", "ops.Slogdet")
def sign_and_log_det_from_framework(call, x):
    return _sign_and_log(x)


@imports("keras", "ops.Logdet")
def log_det_from_keras(call, x):
    """NaN where the determinant is negative; on TensorFlow where the matrix is not positive definite: it takes a Cholesky factor."""
    if call.backend == "tensorflow":
        factor = Cholesky().lowered(np.float64, x)
        diagonal = reduced(ReduceSum, Where()(call.graph.constant(np.eye(x.shape[-1], dtype=bool)), factor, 0.0), -1, False)
        return Mul()(reduced(ReduceSum, Log()(diagonal), -1, False), 2.0)
    sign, log = _sign_and_log(x)
    return Where()(Greater()(sign, -1.0), log, math.nan)


def _ambiguous(*names: str, why: str) -> None:
    @imports("keras", *names)
    def refused_from_keras(call, *operands):
        raise Refused(type(call.native).__name__, why=why, hint="Compute it outside of the network")


_ambiguous("ops.Eig", why="its results are complex numbers, which no target here has")
_ambiguous("ops.Eigh", why="the signs of eigenvectors are left open, and backends choose them differently")
_ambiguous("ops.JVP", why="a derivative of the network's own function is no operation of its graph")
_ambiguous("ops.ViewAsComplex", "ops.ViewAsReal", "ops.Polar", why="no target here has complex numbers")


# --- writing ----------------------------------------------------------------------------------------------------------


def in_float32(fw: Any, write: Any, *operands: Any) -> Any:
    """Computed in float32 where the framework factors no half-precision matrices."""
    if fw.inputs[0].dtype.itemsize >= 4:
        return write(*operands)
    keras = fw.framework == "keras"
    wide = [fw.ops.cast(x, "float32") if keras else x.float() for x in operands]
    result, name = write(*wide), fw.inputs[0].dtype.name
    results = result if isinstance(result, tuple) else (result,)
    back = tuple(fw.ops.cast(r, name) if keras else r.to(fw.torch_dtype(fw.inputs[0].dtype)) for r in results)
    return back if isinstance(result, tuple) else back[0]


@exports("torch", Cholesky)
def cholesky_to_torch(op, torch, a):
    return in_float32(torch, torch.linalg.cholesky, a)


@exports("torch", SolveTriangular)
def solve_triangular_to_torch(op, torch, a, b):
    return in_float32(torch, lambda a, b: torch.linalg.solve_triangular(a, b, upper=not op.lower), a, b)


@exports("torch", Solve)
def solve_to_torch(op, torch, a, b):
    return in_float32(torch, torch.linalg.solve, a, b)


@exports("torch", QR)
def qr_to_torch(op, torch, a):
    mode = "complete" if op.complete else "reduced"
    return in_float32(torch, lambda a: tuple(torch.unpack(torch.linalg.qr(a, mode), 2)), a)


@exports("keras", Cholesky)
def cholesky_to_keras(op, keras, a):
    exact_in_keras(keras, "a Cholesky factor")
    return in_float32(keras, keras.ops.cholesky, a)


@exports("keras", SolveTriangular)
def solve_triangular_to_keras(op, keras, a, b):
    exact_in_keras(keras, "a system of equations")
    return in_float32(keras, lambda a, b: keras.ops.solve_triangular(a, b, lower=op.lower), a, b)


@exports("keras", Solve)
def solve_to_keras(op, keras, a, b):
    exact_in_keras(keras, "a system of equations")
    return in_float32(keras, keras.ops.solve, a, b)


@exports("keras", QR)
def qr_to_keras(op, keras, a):
    exact_in_keras(keras, "a factorisation")
    return in_float32(keras, lambda a: tuple(keras.ops.qr(a, mode="complete" if op.complete else "reduced")), a)


_STEPS = {"onnx": "its steps, written out"}
_GOOD = np.array([[4.0, 1.0, -0.5], [1.0, 3.0, 0.25], [-0.5, 0.25, 2.0]])  # symmetric, far from singular
_TWO = np.stack([_GOOD, _GOOD[::-1, ::-1]])
case("cholesky/matrix", Cholesky(), Operand((3, 3), numbers=_GOOD), composed=_STEPS)
case("cholesky/batch", Cholesky(), Operand((2, 3, 3), numbers=_TWO), composed=_STEPS)
case(
    "solve_triangular/lower", SolveTriangular(lower=True), Operand((2, 3, 3), numbers=_TWO), (2, 3, 4), composed=_STEPS
)
case("solve_triangular/upper", SolveTriangular(lower=False), Operand((3, 3), numbers=_GOOD), (3, 2), composed=_STEPS)
case("solve/matrix", Solve(), Operand((3, 3), numbers=_GOOD[[2, 0, 1]]), (3, 2), composed=_STEPS)
case("solve/batch", Solve(), Operand((2, 3, 3), numbers=_TWO[:, ::-1]), (2, 3, 1), composed=_STEPS)
case("qr/tall", QR(complete=False), (2, 5, 3), composed=_STEPS)
case("qr/wide", QR(complete=True), (3, 5), composed=_STEPS)
case("qr/square", QR(complete=False), (4, 4), composed=_STEPS)
