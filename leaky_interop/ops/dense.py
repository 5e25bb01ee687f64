"""Dense layers and matrix products. The canonical kernel is (out, in).

| meaning | keras                     | torch             | onnx         |
|---------|---------------------------|-------------------|--------------|
| Dense   | Dense, kernel (in, out)   | linear            | Gemm; MatMul + Add for more than two axes |
"""

from typing import Any

import numpy as np

from ..op import Link, Moved, Op, Perm, Shape, Value, case, exports, imports, op, shortest, weight
from .math import Add, Mul


@op
class Dense(Op):
    """x @ kernel.T + bias along the last axis."""

    tolerance = "sum"
    weights = (1, 2)

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        x, kernel, _ = inputs
        if x.shape[-1] != kernel.shape[1]:
            raise ValueError(f"Dense with kernel {kernel.shape} does not fit {x!r}")
        return [((*x.shape[:-1], kernel.shape[0]), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, kernel, bias = arrays
        wide = np.float32 if x.dtype.itemsize < 4 else x.dtype
        y = x.astype(wide) @ kernel.astype(wide).T
        return (y if bias is None else y + bias.astype(wide)).astype(x.dtype)

    def length(self, *arrays: np.ndarray) -> int:
        return arrays[1].shape[1] + (arrays[2] is not None)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(self, (perm, None, None), (perm,)) if perm[-1] == len(perm) - 1 else None

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        last = inputs[0].rank - 1
        made = {1: 0} if inputs[2] is None else {1: 0, 2: 0}
        return [Link({0: last, 1: 1}, None), Link(made, last)]


@imports("torch", "aten.linear.default")
def dense_from_torch(call, x, kernel, bias):
    return Dense()(x, kernel, bias)


@imports("keras", "Dense")
def dense_from_keras(layer, x):
    return layer.activate(Dense()(x, layer.weight("kernel").transpose(1, 0), layer.weight("bias")))


@imports("onnx", "Gemm", since=7)
def dense_from_onnx(node, a, b, c=None):
    a = a.transpose(1, 0) if node.transA else a
    kernel = b if node.transB else b.transpose(1, 0)
    if node.alpha != 1.0:
        kernel = Mul()(kernel, shortest(node.alpha))
    if c is not None and node.beta != 1.0:
        c = Mul()(c, shortest(node.beta))
    if c is None or c.shape == kernel.shape[:1]:
        return Dense()(a, kernel, c)
    return Add()(Dense()(a, kernel, None), c)


@exports("torch", Dense)
def dense_to_torch(op, torch, x, kernel, bias):
    if not torch.holds(kernel, bias):
        return torch.nn.functional.linear(x, torch.tensor(kernel), torch.tensor(bias))
    linear = torch.nn.Linear(kernel.shape[1], kernel.shape[0], bias=bias is not None)
    return torch.place(linear, weight=kernel, bias=bias)(x)


@exports("keras", Dense)
def dense_to_keras(op, keras, x, kernel, bias):
    if not keras.holds(kernel, bias):
        y = keras.ops.matmul(x, keras.ops.transpose(keras.tensor(kernel)))
        return y if bias is None else keras.ops.add(y, keras.tensor(bias))
    dense = keras.layers.Dense(kernel.shape[0], use_bias=bias is not None)
    return keras.place(dense, kernel=kernel.transpose(1, 0), bias=bias)(x)


@exports("onnx", Dense)
def dense_to_onnx(op, onnx, x, kernel, bias):
    if onnx.inputs[0].rank == 2:
        return onnx.Gemm(x, kernel, bias, transB=1)
    y = onnx.MatMul(x, kernel.transpose(1, 0) if onnx.holds(kernel) else onnx.Transpose(kernel, perm=[1, 0]))
    return y if bias is None else onnx.Add(y, bias)


case("dense/basic", Dense(), (2, 5), weight(4, 5), weight(4))
case("dense/no_bias", Dense(), (2, 5), weight(4, 5), None)
case("dense/rank_4", Dense(), (2, 3, 4, 5), weight(6, 5), weight(6))
