"""What PyTorch's linear algebra gives beside a result: factors, pivots, signs of success. Importers only.

| torch                                  | read as                                                          |
|----------------------------------------|------------------------------------------------------------------|
| inv_ex, cholesky_ex, solve_ex          | the result; the sign of success                                  |
| cholesky, cholesky_solve, .._inverse   | triangular systems                                               |
| triangular_solve                       | one of them, of a matrix that may be transposed                  |
| lu_factor_ex, lu, lu_unpack, lu_solve  | LuFactors, its halves, and the permutation that its pivots make  |

Where a matrix is singular, or not positive definite, the sign is the number of the first pivot that is 0, or none.
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, imports
from .arg import ArgMax
from .compare import Equal, Greater, Where
from .expand import expanded, filled
from .index import sliced
from .linalg import (
    SolveTriangular,
    cholesky_from_torch,
    inverse_from_framework,
    sign_and_log_det_from_framework,
    solve_from_torch,
    transposed,
)
from .logic import Not
from .lu import LuFactors, exchanged, lu_factors_from_torch
from .math import Add, Sub
from .matmul import MatMul
from .picking import diagonal
from .range import lower_triangle_from_torch, upper_triangle_from_torch
from .reduce import ReduceAny, reduced
from .shape import with_axes


def _first(failed: Value) -> Value:
    """Which entry of the last axis failed first, counted from 1; 0 for none."""
    if failed.shape[-1] == 0:
        return filled(failed.graph, failed.shape[:-1], 0, np.int32)
    place = ArgMax(axis=failed.rank - 1, keepdims=False)(failed.cast(np.int32))
    return Where()(reduced(ReduceAny, failed, [-1], False), Add()(place, 1), 0).cast(np.int32)


def _of_factors(factors: Value) -> Value:
    return _first(Equal()(diagonal(factors, 0, -2, -1), 0.0))


def _of_matrix(a: Value) -> Value:
    return _of_factors(LuFactors()(a)[0])


def _triangular(lower: bool, a: Value, b: Value) -> Value:
    batch = a.shape[:-2] if a.rank >= b.rank else b.shape[:-2]
    a, b = (expanded(m, (*batch, *m.shape[-2:])) for m in (a, b))
    return SolveTriangular(lower=lower)(a, b)


@imports("torch", "aten.linalg_inv_ex.default")
def inverse_and_success_from_torch(call, a, check):
    return inverse_from_framework(call, a), _of_matrix(a)


@imports("torch", "aten.linalg_cholesky_ex.default")
def cholesky_and_success_from_torch(call, x, upper, check):
    y = cholesky_from_torch(call, x, upper)
    return y, _first(Not()(Greater()(diagonal(y, 0, -2, -1), 0.0)))


imports("torch", "aten.cholesky.default")(cholesky_from_torch)


@imports("torch", "aten.cholesky_solve.default")
def solve_by_cholesky_from_torch(call, b, factor, upper):
    lower = transposed(factor) if upper else factor
    return _triangular(False, transposed(lower), _triangular(True, lower, b))


@imports("torch", "aten.cholesky_inverse.default")
def inverse_by_cholesky_from_torch(call, factor, upper):
    lower = transposed(factor) if upper else factor
    lower = lower_triangle_from_torch(call, lower, 0)
    y = SolveTriangular(lower=True)(lower, _identity(lower))
    return MatMul()(transposed(y), y)


def _identity(a: Value) -> Value:
    return expanded(a.graph.constant(np.eye(int(a.shape[-1])), a.dtype), a.shape)


@imports("torch", "aten.triangular_solve.default")
def triangular_solve_from_torch(call, b, a, upper, transpose, unitriangular):
    if unitriangular:
        raise Refused(
            "triangular_solve with ones on the diagonal", hint="Set the diagonal to 1, and leave unitriangular out"
        )
    used = upper_triangle_from_torch(call, a, 0) if upper else lower_triangle_from_torch(call, a, 0)
    used = transposed(used) if transpose else used
    return _triangular(upper == transpose, used, b), a


@imports("torch", "aten.linalg_solve_ex.default")
def solve_and_success_from_torch(call, a, b, left, check):
    return solve_from_torch(call, a, b, left), _of_matrix(a)


@imports("torch", "aten._linalg_solve_ex.default")
def decomposed_solve_from_torch(call, a, b, left, check):
    return solve_from_torch(call, a, b, left), None, None, None


@imports("torch", "aten._linalg_slogdet.default")
def decomposed_sign_and_log_det_from_torch(call, x):
    return *sign_and_log_det_from_framework(call, x), None, None


# --- both triangles in one ----------------------------------------------------------------------------------------------


@imports("torch", "aten.linalg_lu_factor_ex.default")
def lu_factors_and_success_from_torch(call, x, pivot, check):
    factors, pivots = lu_factors_from_torch(call, x, pivot)
    return factors, pivots, _of_factors(factors)


@imports("torch", "aten.linalg_lu.default")
def lu_from_torch(call, x, pivot):
    factors, pivots = lu_factors_from_torch(call, x, pivot)
    return unpacked_lu_from_torch(call, factors, pivots, True, True)


@imports("torch", "aten.lu_unpack.default")
def unpacked_lu_from_torch(call, factors, pivots, with_data, with_pivots):
    rows, columns = (int(n) for n in factors.shape[-2:])
    least = min(rows, columns)
    if not with_data:
        return _permutation(pivots, rows, factors.dtype), None, None
    left = sliced(factors, {factors.rank - 1: slice(0, least)})
    below = call.graph.constant(np.arange(rows)[:, None] > np.arange(least))
    diagonal = call.graph.constant(np.eye(rows, least), factors.dtype)
    upper = upper_triangle_from_torch(call, sliced(factors, {factors.rank - 2: slice(0, least)}), 0)
    return _permutation(pivots, rows, factors.dtype) if with_pivots else None, Where()(below, left, diagonal), upper


def _permutation(pivots: Value, rows: int, dtype: Any) -> Value:
    """The matrix that puts rows back where they stood, from the row that each changed places with, counted from 1."""
    places = pivots.graph.constant(np.arange(rows, dtype=np.int32)[:, None])
    went = expanded(places, (*pivots.shape[:-1], rows, 1))
    for j in range(int(pivots.shape[-1])):
        pivot = Sub()(with_axes(sliced(pivots, {pivots.rank - 1: slice(j, j + 1)}), [-1]), 1)
        went = exchanged(went, places, j, pivot)
    return Equal()(transposed(went), places).cast(dtype)


@imports("torch", "aten.linalg_lu_solve.default")
def solve_by_lu_from_torch(call, factors, pivots, b, left, adjoint):
    if not left or adjoint:
        raise Refused("lu_solve from the right, or of the transposed matrix", hint="Transpose both sides")
    p, lower, upper = unpacked_lu_from_torch(call, factors, pivots, True, True)
    return _triangular(False, upper, _triangular(True, lower, MatMul()(transposed(p), b)))


@imports("torch", "aten.lu_solve.default")
def old_solve_by_lu_from_torch(call, b, factors, pivots):
    return solve_by_lu_from_torch(call, factors, pivots, b, True, False)
