"""Matrix products of two computed operands, and the choice between them and Dense.

| meaning | keras                                | torch                               | onnx   |
|---------|--------------------------------------|-------------------------------------|--------|
| MatMul  | ops.matmul, dot, tensordot, Dot      | matmul, bmm, mm, mv, dot, tensordot | MatMul |
| Dense   | the same with a weight of two axes   | the same with such a weight         | MatMul, Gemm with such |

A product with a named weight of two axes is Dense, so that every framework gets a native layer.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..op import (
    Link,
    Moved,
    Op,
    Operand,
    Perm,
    Shape,
    Value,
    agree,
    broadcast,
    case,
    exports,
    imports,
    op,
    product,
    shortest,
)  # fmt: skip
from .dense import Dense
from .local_norm import LpNormalize
from .math import Add, Mul
from .precision import IN_32_BITS, exact_in_keras, product_in_keras
from .promotion import in_one_dtype, in_stated_dtype
from .shape import with_axes, without
from .table import widened


@op
class MatMul(Op):
    """The product of matrices that stand in the last two axes; the axes before broadcast. Both have at least two."""

    tolerance = "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        a, b = inputs
        if a.rank < 2 or b.rank < 2 or not agree(a.shape[-1], b.shape[-2]) or a.dtype != b.dtype:
            raise ValueError(f"{self} does not multiply {a!r} by {b!r}")
        return [((*broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]), a.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(np.matmul, *arrays)

    def length(self, *arrays: np.ndarray) -> int:
        return arrays[0].shape[-1]

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        rank = max(inputs[0].rank, inputs[1].rank)
        perm = (*range(rank - len(perm)), *(p + rank - len(perm) for p in perm))
        return Moved(self, (perm, perm), (perm,)) if perm[-2:] == (rank - 2, rank - 1) else None

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        a, b = (v.rank for v in inputs)
        rank = max(a, b)
        return [Link({0: a - 1, 1: b - 2}, None), Link({0: a - 2}, rank - 2), Link({1: b - 1}, rank - 1)]


def is_weight(value: Value) -> bool:
    """Whether a value is a matrix that a layer may own."""
    return value.const is not None and bool(value.const.name) and value.rank == 2


def matrix_product(call: Any, a: Any, b: Any) -> Value:
    """numpy's matmul: an operand with one axis counts as a row or a column; a weight on the right makes a Dense."""
    a, b = in_one_dtype(call, a, b)
    a, b = in_stated_dtype(call, a, b) if getattr(call, "name", "") and a.dtype.kind in "iub" else (a, b)
    truth = a.dtype == bool  # whether any pair is true: frameworks multiply numbers
    a, b = (v.cast(np.int32) if truth else v for v in (a, b))
    if is_weight(b) and a.rank and not is_weight(a):
        return Dense()(a, b.transpose(1, 0), None)
    left, right = a.rank == 1, b.rank == 1
    y = MatMul()(with_axes(a, [0]) if left else a, with_axes(b, [-1]) if right else b)
    y = without(y, [y.rank - 2] * left + [y.rank - 1] * right)
    return y.cast(bool) if truth else y


def contracted(call: Any, a: Any, b: Any, axes_a: Sequence[int], axes_b: Sequence[int]) -> Value:
    """numpy's tensordot: the sum over pairs of axes; what is left of `a` comes first, then what is left of `b`."""
    a, b = in_one_dtype(call, a, b)
    axes_a, axes_b = [i % a.rank for i in axes_a], [i % b.rank for i in axes_b]
    rest_a, rest_b = ([i for i in range(v.rank) if i not in axes] for v, axes in ((a, axes_a), (b, axes_b)))
    size = product(a.shape[i] for i in axes_a)
    left = a.transpose(*rest_a, *axes_a).reshape(*(a.shape[i] for i in rest_a), size)
    right = b.transpose(*axes_b, *rest_b).reshape(size, product(b.shape[i] for i in rest_b))
    y = matrix_product(call, left, right)
    return y.reshape(*(a.shape[i] for i in rest_a), *(b.shape[i] for i in rest_b))


def affine(call: Any, a: Value, b: Value, c: Value | None, alpha: float, beta: float) -> Value:
    """alpha * a @ b + beta * c: a Dense with bias where that is what it says."""
    kernel = b.transpose(1, 0) if is_weight(b) else None
    bias = (
        c.reshape(c.shape[-1])
        if c is not None and c.rank and c.const is not None and math.prod(c.shape) == c.shape[-1]
        else None
    )
    if (
        kernel is not None
        and alpha == 1
        and beta == 1
        and (c is None or (bias is not None and bias.shape == kernel.shape[:1]))
    ):
        return Dense()(a, kernel, bias)
    y = matrix_product(call, a, b)
    y = y if alpha == 1 else Mul()(y, alpha)
    if c is None or beta == 0:  # what is multiplied by 0 is not even read
        return y
    return Add()(y, c if beta == 1 else Mul()(c, beta))


# --- torch ------------------------------------------------------------------------------------------------------------


@imports("torch", "aten.matmul.default", "aten.mm.default", "aten.bmm.default", "aten.mv.default", "aten.dot.default")
@imports("torch", "aten.vdot.default")
@imports("keras", "ops.Matmul")
def matrix_product_from_framework(call, a, b):
    return matrix_product(call, a, b)


@imports("torch", "aten.addmm.default", "aten.addmv.default", "aten.baddbmm.default")
def affine_from_torch(call, c, a, b, beta, alpha):
    return affine(call, a, b, c, alpha, beta)


@imports("torch", "aten.addbmm.default")
def summed_affine_from_torch(call, c, a, b, beta, alpha):
    """The products of a batch of matrices, added up: one product of longer rows and columns."""
    flat_a = a.transpose(1, 0, 2).reshape(a.shape[1], a.shape[0] * a.shape[2])
    return affine(call, flat_a, b.reshape(b.shape[0] * b.shape[1], b.shape[2]), c, alpha, beta)


@imports("torch", "aten.tensordot.default")
def tensordot_from_torch(call, a, b, axes_a, axes_b):
    return contracted(call, a, b, axes_a, axes_b)


@exports("torch", MatMul)
def matmul_to_torch(op, torch, a, b):
    return torch.matmul(a, b)


# --- keras ------------------------------------------------------------------------------------------------------------


@imports("keras", "ops.Tensordot")
def tensordot_from_keras(call, a, b):
    if isinstance(call.axes, int):
        return contracted(call, a, b, range(a.rank - call.axes, a.rank), range(call.axes))
    pair = (axes if isinstance(axes, tuple | list) else (axes,) for axes in call.axes)
    return contracted(call, a, b, *pair)


@imports("keras", "ops.Dot")
def dot_from_keras(call, a, b):
    a, b = in_stated_dtype(call, *in_one_dtype(call, a, b))
    if not a.rank or not b.rank:
        return Mul()(a, b)
    product_of_each = b.rank < 3 or call.backend == "torch"  # where it is matmul, whatever the ranks
    return matrix_product(call, a, b) if product_of_each else contracted(call, a, b, [-1], [-2])


@imports("keras", "ops.Vdot")
def vdot_from_keras(call, a, b):
    a, b = in_one_dtype(call, a, b)
    return matrix_product(call, a.reshape(product(a.shape)), b.reshape(product(b.shape)))


@imports("keras", "ops.Inner")
def inner_from_keras(call, a, b):
    a, b = in_one_dtype(call, a, b)
    if not a.rank or not b.rank:
        return Mul()(a, b)
    return contracted(call, a, b, [-1], [-1])


@imports("keras", "ops.Outer")
def outer_from_keras(call, a, b):
    a, b = in_stated_dtype(call, *in_one_dtype(call, a, b))
    return Mul()(a.reshape(product(a.shape), 1), b.reshape(1, product(b.shape)))


@imports("keras", "Dot")
def dot_layer_from_keras(layer, values):
    """Batched: one axis of each is summed over, the batch stands first, at least one axis stays."""
    a, b = values
    axes = layer.axes if isinstance(layer.axes, tuple | list) else (layer.axes, layer.axes)
    first, second = axes[0] % a.rank, axes[1] % b.rank
    if layer.normalize:
        a = LpNormalize(axes=(first,), order=2, epsilon=1e-7)(a)
        b = LpNormalize(axes=(second,), order=2, epsilon=1e-7)(b)
    rest_a, rest_b = ([i for i in range(1, v.rank) if i != axis] for v, axis in ((a, first), (b, second)))
    left = a.transpose(0, *rest_a, first).reshape(a.shape[0], product(a.shape[i] for i in rest_a), a.shape[first])
    right = b.transpose(0, second, *rest_b).reshape(b.shape[0], b.shape[second], product(b.shape[i] for i in rest_b))
    rest = [a.shape[i] for i in rest_a] + [b.shape[i] for i in rest_b]
    return MatMul()(left, right).reshape(a.shape[0], *(rest or [1]))


@exports("keras", MatMul)
def matmul_to_keras(op, keras, a, b):
    exact_in_keras(keras, "a matrix product")
    return product_in_keras(keras, a, b)


# --- onnx -------------------------------------------------------------------------------------------------------------


@imports("onnx", "MatMul")
def matmul_from_onnx(node, a, b):
    return matrix_product(node, a, b)


@imports("onnx", "Gemm")
def gemm_from_onnx(node, a, b, c=None):
    """All opsets: before 7 a flag allowed the broadcasting that is always allowed since."""

    a = a.transpose(1, 0) if node.transA else a
    alpha, beta = shortest(node.alpha), shortest(node.beta)
    if node.transB and alpha == 1 and beta == 1 and (c is None or c.shape == b.shape[:1]):
        return Dense()(a, b, c)
    return affine(node, a, b.transpose(1, 0) if node.transB else b, c, alpha, beta)


@exports("onnx", MatMul)
def matmul_to_onnx(op, onnx, a, b):
    return onnx.MatMul(a, b)


case("matmul/rank_2", MatMul(), (3, 5), (5, 4))
case("matmul/batches_broadcast", MatMul(), (2, 1, 3, 5), (4, 5, 2))
case("matmul/float16", MatMul(), Operand((2, 3, 5), dtype="float16"), Operand((2, 5, 4), dtype="float16"))
case("matmul/float64", MatMul(), Operand((3, 5), dtype="float64"), Operand((5, 4), dtype="float64"), refused=IN_32_BITS)
case("matmul/int32", MatMul(), Operand((3, 5), dtype="int32"), Operand((5, 4), dtype="int32"),
     composed={"keras": "sums of products"})  # fmt: skip
