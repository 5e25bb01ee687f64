"""Convolutions and matrix products of codes in ONNX, the only one that has them as operators."""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, exports, imports
from .quantize import RANGES
from .quantized import Codes, ConvInteger, DynamicQuantize, MatMulInteger, QuantizedConv, QuantizedMatMul, Windowed
from .shape import with_axes, without
from .window import fixed, flat_pads, pads_from_onnx


def _window(node: Any, x: Value, kernel: Value) -> dict[str, Any]:
    spatial = kernel.rank - 2
    strides, dilations = tuple(node.strides or (1,) * spatial), tuple(node.dilations or (1,) * spatial)
    pads = pads_from_onnx(node, x.shape[2:], kernel.shape[2:], strides, dilations)
    return {"strides": strides, "pads": pads, "dilations": dilations, "groups": node.group}


@imports("onnx", "ConvInteger")
def conv_integer_from_onnx(node, x, kernel, x_zero=None, kernel_zero=None):
    return ConvInteger(**_window(node, x, kernel))(x, kernel, x_zero, kernel_zero)


@imports("onnx", "QLinearConv")
def quantized_conv_from_onnx(node, x, x_scale, x_zero, kernel, scale, kernel_zero, y_scale, y_zero, bias=None):
    operands = (x, x_scale, x_zero, kernel, scale, kernel_zero, y_scale, y_zero, bias)
    return QuantizedConv(**_window(node, x, kernel))(*operands)


@imports("onnx", "MatMulInteger")
def matmul_integer_from_onnx(node, a, b, a_zero=None, b_zero=None):
    return as_matrices(a, b, lambda a, b: MatMulInteger()(a, b, a_zero, b_zero))


@imports("onnx", "QLinearMatMul")
def quantized_matmul_from_onnx(node, a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero):
    single = all(math.prod(v.shape) == 1 for v in (a_scale, y_scale, y_zero))
    if not single or b_scale.rank > 1:
        raise Refused("QLinearMatMul with scales of rows", why="onnxruntime takes one, and for the second factor one a column",
                      hint="Use DequantizeLinear, MatMul and QuantizeLinear")  # fmt: skip
    if a.dtype.name not in RANGES:
        raise Refused(f"QLinearMatMul of {a.dtype}", why="only whole codes are multiplied", hint="Use DequantizeLinear and MatMul")
    return as_matrices(a, b, lambda a, b: QuantizedMatMul()(a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero))


def as_matrices(a: Value, b: Value, multiplied: Any) -> Value:
    """A product as numpy's matmul has it: an operand with one axis counts as a row or a column."""
    left, right = a.rank == 1, b.rank == 1
    y = multiplied(with_axes(a, [0]) if left else a, with_axes(b, [-1]) if right else b)
    return without(y, [y.rank - 2] * left + [y.rank - 1] * right)


@imports("onnx", "DynamicQuantizeLinear")
def dynamic_quantize_from_onnx(node, x):
    return DynamicQuantize()(x)


def _pads(op: Windowed, onnx: Any, x: Any, zero: Any) -> tuple[Any, Any]:
    """The data and its pads; pads that depend on the size become a Pad by the code of 0."""
    if fixed(op.pads):
        return x, flat_pads(op.pads)
    begins, ends = ([pair[side] for pair in op.pads] for side in (0, 1))
    return onnx.Pad(x, onnx.sizes([0, 0, *begins, 0, 0, *ends]), None if zero is None else onnx.Reshape(zero, np.zeros(0, np.int64))), None


def _settings(op: Windowed, pads: Any) -> dict[str, Any]:
    return {"strides": list(op.strides), "dilations": list(op.dilations), "group": op.groups, "pads": pads}


def _lacks(onnx: Any, x: int, other: int, *zeros: int) -> bool:
    """Whether onnxruntime has no kernel: for int8 with uint8, and where a zero point is not one number."""
    pair = tuple(onnx.inputs[i].dtype.name for i in (x, other))
    singles = (onnx.inputs[i] is None or math.prod(d for d in onnx.inputs[i].shape if isinstance(d, int)) == 1 for i in zeros)
    return pair == ("int8", "uint8") or not all(singles)


def _as_lowered(op: Codes, onnx: Any) -> Any:
    return onnx.composed(lambda *operands: [op.lowered(np.float32, *operands)])[0]


@exports("onnx", ConvInteger)
def conv_integer_to_onnx(op, onnx, x, kernel, x_zero, kernel_zero):
    if _lacks(onnx, 0, 0, 2, 3):
        return _as_lowered(op, onnx)
    x, pads = _pads(op, onnx, x, x_zero)
    return onnx.ConvInteger(x, kernel, x_zero, kernel_zero, **_settings(op, pads))


@exports("onnx", QuantizedConv)
def quantized_conv_to_onnx(op, onnx, x, x_scale, x_zero, *others):
    if _lacks(onnx, 0, 3):
        return _as_lowered(op, onnx)
    x, pads = _pads(op, onnx, x, x_zero)
    return onnx.QLinearConv(x, x_scale, x_zero, *others, **_settings(op, pads))


@exports("onnx", MatMulInteger)
def matmul_integer_to_onnx(op, onnx, *operands):
    if _lacks(onnx, 0, 0, 2):
        return _as_lowered(op, onnx)
    return onnx.MatMulInteger(*operands)


@exports("onnx", QuantizedMatMul)
def quantized_matmul_to_onnx(op, onnx, *operands):
    if _lacks(onnx, 0, 3):
        return _as_lowered(op, onnx)
    return onnx.QLinearMatMul(*operands)


@exports("onnx", DynamicQuantize)
def dynamic_quantize_to_onnx(op, onnx, x):
    return onnx.write("DynamicQuantizeLinear", (x,), outputs=3)
