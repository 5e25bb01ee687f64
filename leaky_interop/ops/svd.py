"""Singular values, and what is made of them, of matrices that stand in the last two axes.

| meaning        | keras                     | torch            | onnx                          |
|----------------|---------------------------|------------------|-------------------------------|
| SingularValues | ops.svd(compute_uv=False) | linalg.svdvals   | Jacobi's rotations            |
| PseudoInverse  | ops.pinv                  | linalg.pinv      | Jacobi's rotations            |
| ranks, least squares, norms of matrices | of these two, as in every framework |       |       |

Singular values are what they are; their vectors are so only up to a sign, which backends choose differently.
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Op, Operand, Shape, Value, case, exports, imports, op
from .compare import Equal, Greater, GreaterOrEqual, Where
from .expand import expanded
from .functions import Abs, Neg, Sqrt
from .gather import Gather
from .index import sliced
from .join import Concat
from .linalg import in_float32, transposed
from .math import Add, Div, Mul, Sub
from .matmul import MatMul
from .precision import exact_in_keras
from .promotion import floating, in_one_dtype
from .reduce import ReduceMax, ReduceMin, ReduceSum, axes_of, reduced
from .shape import with_axes, without
from .sort import Sort
from .table import widened

LARGEST = 32  # columns of a matrix whose rotations are written out
SWEEPS = 9  # over all pairs of columns; they converge quadratically


@op
class SingularValues(Op):
    """The singular values of matrices, from the largest on."""

    tolerance = "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        *batch, m, n = inputs[0].shape
        if not (isinstance(m, int) and isinstance(n, int)):
            raise Refused(f"the singular values of matrices of {m} rows and {n} columns", hint="Fix both with input_shapes")
        return [((*batch, min(m, n)), inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(lambda x: np.linalg.svd(x, compute_uv=False), *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """Each errs by a share of the largest."""
        values = np.linalg.svd(arrays[0].astype(np.float64), compute_uv=False)
        return max(arrays[0].shape[-2:]) ** 2, np.broadcast_to(values[..., :1], values.shape)

    def lowered(self, exact, x):
        _, lengths, scale = _orthogonal_columns(x if x.shape[-2] >= x.shape[-1] else transposed(x))
        lengths, _ = Sort(axis=x.rank - 2, descending=True)(without(lengths, [x.rank - 2]))
        return Mul()(lengths, without(scale, [x.rank - 1])).cast(x.dtype)


@op
class PseudoInverse(Op):
    """Moore and Penrose's inverse; singular values at most `cutoff` times the largest count as 0."""

    cutoff: float
    tolerance = "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        *batch, m, n = inputs[0].shape
        return [((*batch, n, m), inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(lambda x: np.linalg.pinv(x, rcond=self.cutoff), *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        x = arrays[0].astype(np.float64)
        values = np.linalg.svd(x, compute_uv=False)
        kept = np.where(values > self.cutoff * values[..., :1], values, np.inf)
        worst = np.max(values, initial=0.0) / np.min(kept, initial=np.inf)
        return max(x.shape[-2:]) ** 2, np.asarray(np.max(np.abs(self.reference(x)), initial=0.0) * worst)

    def lowered(self, exact, x):
        """A of orthogonal columns A V has the inverse V (A V)^T, over the squared lengths of the columns."""
        wide = x.shape[-2] < x.shape[-1]
        turned, lengths, scale = _orthogonal_columns(transposed(x) if wide else x)
        rows = turned.shape[-2] - turned.shape[-1]
        kept = Greater()(lengths, Mul()(reduced(ReduceMax, lengths, -1, True), self.cutoff))
        share = Where()(kept, Div()(1.0, Mul()(lengths, lengths)), 0.0)
        columns, turns = (sliced(turned, {turned.rank - 2: s}) for s in (slice(0, rows), slice(rows, None)))
        y = Div()(MatMul()(Mul()(turns, share), transposed(columns)), scale)
        return (transposed(y) if wide else y).cast(x.dtype)


def _orthogonal_columns(x: Value) -> tuple[Value, Value, Value]:
    """Hestenes' rotations of pairs of columns, each half of them at once, until all are orthogonal.

    Returns the turned columns over what turned them, the lengths of the columns, and the scale that both lack, so
    that no square overflows.
    """
    rows, columns = x.shape[-2:]
    if not isinstance(rows, int) or not isinstance(columns, int) or columns > LARGEST:
        raise Refused(
            f"the singular values of {columns} columns", why="the rotations are written out one by one",
            hint=f"Convert to PyTorch, or use at most {LARGEST} columns",
        )  # fmt: skip
    x = x.cast(np.float32) if x.dtype.itemsize < 4 else x
    scale = reduced(ReduceMax, Abs()(x), [-2, -1], True)
    scale = Where()(Greater()(scale, 0.0), scale, 1.0)
    even = columns + columns % 2
    eye = expanded(x.graph.constant(np.eye(columns), x.dtype), (*x.shape[:-2], columns, columns))
    both = Concat(axis=x.rank - 2)(Div()(x, scale), eye)
    if even != columns:
        both = Concat(axis=x.rank - 1)(both, expanded(x.graph.constant(np.zeros((1, 1)), x.dtype), (*both.shape[:-1], 1)))
    half, last = even // 2, x.rank - 1
    circle = np.arange(even)
    circle[1:] = np.roll(circle[1:], 1)  # the first stays, the others walk round: each meets each once a sweep
    seats = np.concatenate([np.arange(half), np.arange(half, even)[::-1]])  # who sits in a row, then who opposite
    step = x.graph.constant(np.argsort(seats)[circle][seats].astype(np.int64))
    if half:
        both = Gather(axis=last)(both, x.graph.constant(seats.astype(np.int64)))
        for _ in range(SWEEPS * (even - 1)):
            both = Gather(axis=last)(_rotated(both, rows, half), step)
        both = Gather(axis=last)(both, x.graph.constant(np.argsort(seats).astype(np.int64)))
    both = sliced(both, {last: slice(0, columns)})
    top = sliced(both, {last - 1: slice(0, rows)})
    return both, Sqrt()(reduced(ReduceSum, Mul()(top, top), -2, True)), scale


def _rotated(both: Value, rows: int, half: int) -> Value:
    """Each column of the left half turned against the one of the right half until the two are orthogonal."""
    last = both.rank - 1
    p, q = (sliced(both, {last: s}) for s in (slice(0, half), slice(half, None)))
    a, b = (sliced(v, {last - 1: slice(0, rows)}) for v in (p, q))
    aa, bb, ab = (reduced(ReduceSum, Mul()(*pair), -2, True) for pair in ((a, a), (b, b), (a, b)))
    none = Equal()(ab, 0.0)
    slope = Div()(Sub()(bb, aa), Mul()(Where()(none, 1.0, ab), 2.0))
    size = Abs()(slope)
    tangent = Div()(1.0, Add()(size, Sqrt()(Add()(Mul()(size, size), 1.0))))
    tangent = Where()(none, 0.0, Where()(GreaterOrEqual()(slope, 0.0), tangent, Neg()(tangent)))
    cosine = Div()(1.0, Sqrt()(Add()(Mul()(tangent, tangent), 1.0)))
    sine = Mul()(cosine, tangent)
    return Concat(axis=last)(
        Sub()(Mul()(cosine, p), Mul()(sine, q)),
        Add()(Mul()(sine, p), Mul()(cosine, q)),
    )


# --- reading ----------------------------------------------------------------------------------------------------------


def _cutoff(x: Value, times: int = 1) -> float:
    """What backends take for 0, relative to the largest singular value."""
    sizes = x.shape[-2:]
    if not all(isinstance(size, int) for size in sizes):
        raise Refused(f"singular values of matrices of the open shape {sizes}", hint="Fix it with input_shapes")
    return float(times * max(sizes) * np.finfo(x.dtype).eps)


@imports("keras", "ops.SVD")
def svd_from_keras(call, x):
    if call.compute_uv:
        raise Refused(
            "the singular vectors of a matrix", why="their signs are left open, and backends choose them differently",
            hint="Use compute_uv=False, or pinv, lstsq, matrix_rank and norm, which do not depend on them",
        )  # fmt: skip
    return SingularValues()(x)


@imports("torch", "aten.linalg_svdvals.default")
def singular_values_from_torch(call, x, driver):
    return SingularValues()(x)


def symmetric(x: Value) -> Value:
    """The symmetric matrix of a lower triangle: the other half does not count."""
    return Where()(x.graph.constant(np.tri(int(x.shape[-1]), dtype=bool)), x, transposed(x))


@imports("torch", "aten.linalg_pinv.default")
def pseudo_inverse_from_torch(call, x, cutoff, hermitian):
    return PseudoInverse(cutoff=float(cutoff))(symmetric(x) if hermitian else x)


@imports("torch", "aten.linalg_pinv.atol_rtol_float", "aten.linalg_pinv.atol_rtol_tensor")
def pseudo_inverse_of_two_cutoffs_from_torch(call, x, absolute, relative, hermitian):
    if absolute not in (None, 0.0) or isinstance(relative, Value):
        raise Refused("pinv with a cutoff that is not relative, or computed", hint="Pass rtol as a number")
    y = PseudoInverse(cutoff=_cutoff(x) if relative is None else float(relative))
    return y(symmetric(x) if hermitian else x)


@imports("keras", "ops.Pinv")
def pseudo_inverse_from_keras(call, x):
    default = _cutoff(x, 10 if call.backend == "tensorflow" else 1)
    return PseudoInverse(cutoff=default if call.rcond is None else float(call.rcond))(x)


@imports("keras", "ops.MatrixRank")
def matrix_rank_from_keras(call, x):
    values = SingularValues()(x)
    least = Mul()(reduced(ReduceMax, values, -1, True), _cutoff(x)) if call.tol is None else float(call.tol)
    return reduced(ReduceSum, Greater()(values, least).cast(np.int32), -1, False)


@imports("keras", "ops.Lstsq")
def least_squares_from_keras(call, a, b):
    a, b = in_one_dtype(call, a, b)
    inverse = PseudoInverse(cutoff=_cutoff(a) if call.rcond is None else float(call.rcond))(a)
    return MatMul()(inverse, b) if b.rank == a.rank else MatMul()(inverse, with_axes(b, [-1])).reshape(*inverse.shape[:-1])


def norm_of_matrices(call: Any, x: Value, axes: Any) -> Value:
    """Of order 2, -2 or "nuc": the largest singular value, the smallest, the sum of all."""
    x = floating(call, x)
    rows, columns = axes_of(x, axes) if axes is None else (a % x.rank for a in axes)
    matrices = x.transpose(*(a for a in range(x.rank) if a not in (rows, columns)), rows, columns)
    kind = {2: ReduceMax, -2: ReduceMin, "nuc": ReduceSum}[call.ord]
    y = reduced(kind, SingularValues()(matrices), -1, False)
    return with_axes(y, sorted((rows, columns))) if call.keepdims else y


# --- writing ----------------------------------------------------------------------------------------------------------


@exports("torch", SingularValues)
def singular_values_to_torch(op, torch, x):
    return in_float32(torch, torch.linalg.svdvals, x)


@exports("torch", PseudoInverse)
def pseudo_inverse_to_torch(op, torch, x):
    return in_float32(torch, lambda x: torch.linalg.pinv(x, rtol=op.cutoff), x)


@exports("keras", SingularValues)
def singular_values_to_keras(op, keras, x):
    exact_in_keras(keras, "singular values")
    return in_float32(keras, lambda x: keras.ops.svd(x, compute_uv=False), x)


@exports("keras", PseudoInverse)
def pseudo_inverse_to_keras(op, keras, x):
    exact_in_keras(keras, "a pseudo-inverse")
    return in_float32(keras, lambda x: keras.ops.pinv(x, rcond=op.cutoff), x)


_ROTATIONS = {"onnx": "its rotations, written out"}
_RANK_2 = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, -1.0], [0.5, 0.25, 0.0]])
case("singular_values/tall", SingularValues(), (2, 5, 3), composed=_ROTATIONS)
case("singular_values/wide", SingularValues(), (3, 6), composed=_ROTATIONS)
case("singular_values/column", SingularValues(), (2, 4, 1), composed=_ROTATIONS)
case("singular_values/float16", SingularValues(), Operand((3, 3), dtype="float16"),
     composed=dict.fromkeys(("keras", "torch", "onnx"), "computed in float32"))  # fmt: skip
case("pseudo_inverse/tall", PseudoInverse(cutoff=1e-6), (2, 5, 3), composed=_ROTATIONS)
case("pseudo_inverse/wide", PseudoInverse(cutoff=1e-6), (3, 4), composed=_ROTATIONS)
case("pseudo_inverse/rank", PseudoInverse(cutoff=1e-5), Operand((4, 3), numbers=_RANK_2), composed=_ROTATIONS)
case("pseudo_inverse/large_cutoff", PseudoInverse(cutoff=0.5), (3, 4, 4), composed=_ROTATIONS)
