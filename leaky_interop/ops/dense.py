"""Dense layers. The canonical kernel is (out, in).

| part    | keras                                  | torch            | onnx                                       |
|---------|----------------------------------------|------------------|--------------------------------------------|
| kernel  | (in, out)                              | (out, in)        | Gemm: either; MatMul: (in, out)            |
| bias    | use_bias, True                         | bias, True       | Gemm's C; an Add behind MatMul             |
| axes    | any number, the last one is transformed | the same        | Gemm: two; MatMul: any number              |

What MatMul, Gemm and their like mean is decided in matmul.py; an Add behind a Dense is folded by passes/dense.py.
"""

from typing import Any

import numpy as np

from ..op import Link, Moved, Op, Operand, Perm, Shape, Value, agree, case, exports, imports, op, weight
from .column_major import column_major
from .precision import IN_32_BITS, exact_in_keras, product_in_keras


@op
class Dense(Op):
    """x @ kernel.T + bias along the last axis."""

    tolerance = "sum"
    weights = (1, 2)

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        x, kernel, bias = inputs
        if (
            kernel.rank != 2
            or not agree(x.shape[-1], kernel.shape[1])
            or len({v.dtype for v in inputs if v is not None}) > 1
        ):
            raise ValueError(f"Dense with kernel {kernel!r} and bias {bias!r} does not fit {x!r}")
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
        others = [Link({0: axis}, axis) for axis in range(last)]
        return [Link({0: last, 1: 1}, None), Link(made, last), *others]


@imports("torch", "aten.linear.default")
def dense_from_torch(call, x, kernel, bias):
    return Dense()(x, kernel, bias)


@imports("chainer", "LinearFunction")
def dense_from_chainer(call, x, kernel, bias=None):
    return Dense()(x, kernel, bias)


@imports("keras", "Dense")
def dense_from_keras(layer, x):
    return layer.activate(Dense()(x, layer.weight("kernel").transpose(1, 0), layer.weight("bias")))


@imports("matlab", "fullyConnectedLayer")
def dense_from_matlab(layer, x):
    """The kernel is (out, in), and what comes in is flattened column by column."""
    x, units = column_major(x), layer.OutputSize
    kernel = layer.weight("Weights", units, x.shape[1], fans=(x.shape[1], units))
    return Dense()(x, kernel, layer.weight("Bias", units, 1).reshape(units))


@exports("matlab", Dense)
def dense_to_matlab(op, matlab, x, kernel, bias):
    if not matlab.holds(kernel, bias) or matlab.inputs[0].rank != 2:
        why = "a fully connected layer has weights of its own and transforms features"
        raise matlab.refuse("a dense layer with computed weights, or along one of several axes", why=why, instead="Flatten first")
    bias = np.zeros(kernel.shape[0], np.float32) if bias is None else bias
    settings = {"OutputSize": kernel.shape[0], "Weights": kernel, "Bias": bias.reshape(kernel.shape[0], 1)}
    return matlab.layer("fullyConnectedLayer", x, flattens=True, **settings)


@exports("torch", Dense)
def dense_to_torch(op, torch, x, kernel, bias):
    if not torch.holds(kernel, bias):
        return torch.nn.functional.linear(x, torch.tensor(kernel), torch.tensor(bias))
    linear = torch.nn.Linear(kernel.shape[1], kernel.shape[0], bias=bias is not None)
    return torch.place(linear, weight=kernel, bias=bias)(x)


@exports("keras", Dense)
def dense_to_keras(op, keras, x, kernel, bias):
    exact_in_keras(keras, "a dense layer")
    if not keras.holds(kernel, bias) or keras.inputs[0].rank < 2:
        y = product_in_keras(keras, x, keras.ops.transpose(keras.tensor(kernel)))
        return y if bias is None else keras.ops.add(y, keras.tensor(bias))
    dense = keras.layers.Dense(kernel.shape[0], use_bias=bias is not None)
    return keras.place(dense, kernel=kernel.transpose(1, 0), bias=bias)(x)


@exports("onnx", Dense)
def dense_to_onnx(op, onnx, x, kernel, bias):
    if onnx.inputs[0].rank == 2 and onnx.runs("Gemm"):
        return onnx.Gemm(x, kernel, bias, transB=1)
    y = onnx.MatMul(x, kernel.transpose(1, 0) if onnx.holds(kernel) else onnx.Transpose(kernel, perm=[1, 0]))
    return y if bias is None else onnx.Add(y, bias)


case("dense/basic", Dense(), (2, 5), weight(4, 5), weight(4))
case("dense/no_bias", Dense(), (2, 5), weight(4, 5), None)
case("dense/rank_4", Dense(), (2, 3, 4, 5), weight(6, 5), weight(6))
case("dense/rank_3_no_bias", Dense(), (2, 3, 5), weight(6, 5), None)
case("dense/one_unit", Dense(), (2, 3), weight(1, 3), weight(1))
for _dtype, _refused in (("float16", {}), ("float64", IN_32_BITS)):
    _weights = (weight(4, 5, dtype=_dtype), weight(4, dtype=_dtype))
    case(f"dense/{_dtype}", Dense(), Operand((2, 5), dtype=_dtype), *_weights, refused=_refused)
