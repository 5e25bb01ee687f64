"""Quantised networks in onnxruntime's own domain: what its quantiser and its optimiser write beside ONNX's operators.

| native (com.microsoft)                    | is                                                              |
|-------------------------------------------|-----------------------------------------------------------------|
| QLinearAdd, QLinearMul                    | the sum or product of what codes stand for, as codes            |
| QLinearSigmoid                            | the function of what codes stand for, as codes                  |
| QLinearSoftmax                            | the same, in whole numbers from a table                         |
| NhwcMaxPool                               | MaxPool with channels last                                      |
| QLinearAveragePool, QLinearConcat, -Where | the same of pools, of parts, of a choice                        |
| QLinearGlobalAveragePool                  | sums in whole numbers, as codes                                 |
| QGemm                                     | a product in whole numbers plus a bias, as codes or floats      |
| MatMulIntegerToFloat                      | a product in whole numbers, scaled, plus a bias                 |
| DynamicQuantizeMatMul                     | the same of floats that are quantised on the way                |
| QLinearConv                               | ONNX's, with channels last where `channels_last` says so        |

A sum of codes is what onnxruntime makes of it on a processor with fused multiply-add: scales and zero points are folded
into one constant first, and each product is added unrounded. Where it computes the function by its own approximation
(the exponential of Sigmoid), a number close to the middle of two codes may become the other one.
"""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Operand, Shape, Value, broadcast, case, constant, exports, imports, op, product, shortest
from .average_pool import average_pool_from_onnx
from .bounds import Clip
from .compare import Where
from .functions import Floor, Round
from .gather import Gather
from .join import Concat
from .math import Add, Div, FloorDiv, Mul, Sub
from .quantize import FLOAT32, RANGES, Dequantize, Quantize, coded
from .quantized import (
    ALL,
    INT32,
    PLAIN,
    Codes,
    DynamicQuantize,
    MatMulInteger,
)  # fmt: skip
from .quantized_onnx import as_matrices, quantized_conv_from_onnx
from .reduce import ReduceMax, ReduceSum
from .smooth import Sigmoid
from .softmax import Softmax
from .unpool import max_pool_from_onnx

DOMAIN = "com.microsoft"


def fused(x: Any, y: Any, z: Any) -> np.ndarray:
    """x * y + z of float32, rounded once."""
    return (np.float64(x) * np.float64(y) + np.float64(z)).astype(np.float32)


class Pairwise(Codes):
    """A function of two codes, which broadcast: each with its scale and zero point, then those of the result."""

    native = ""

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(broadcast(inputs[0].shape, inputs[3].shape), inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        a, a_scale, a_zero, b, b_scale, b_zero, scale, zero = arrays
        kind, numbers = a.dtype, []
        for array in (a, a_scale, a_zero, b, b_scale, b_zero, scale, zero):
            number = np.float32(0) if array is None else array.astype(np.float32)
            numbers.append(number if array is a or array is b else number.reshape(()))
        with np.errstate(all="ignore"):
            return np.clip(np.rint(self.compute(*numbers)), *RANGES[kind.name]).astype(kind)

    def compute(self, a: Any, a_scale: Any, a_zero: Any, b: Any, b_scale: Any, b_zero: Any, scale: Any, zero: Any) -> Any:
        """The code before it is rounded, in float32."""
        raise NotImplementedError

    def lowered(self, exact: Any, *inputs: Value | None) -> Value:
        """By a table of all pairs of codes: that, too, is exact, and no framework has the fused addition."""
        a, b = inputs[0], inputs[3]
        if any(v is not None and v.const is None for i, v in enumerate(inputs) if i not in (0, 3)):
            raise Refused(f"{self.native} with computed scales", why="only onnxruntime has the operator", hint="Use DequantizeLinear")
        low, high = RANGES[a.dtype.name]
        every = np.arange(low, high + 1).astype(a.dtype)
        numbers = [None if v is None or i in (0, 3) else v.array() for i, v in enumerate(inputs)]
        numbers[0], numbers[3] = every[:, None], every[None, :]
        table = self.reference(*numbers).reshape(-1)
        first, second = (v.cast(INT32) if low == 0 else Sub()(v.cast(INT32), low) for v in (a, b))
        return Gather(axis=0)(a.graph.constant(table), Add()(Mul()(first, high - low + 1), second))


@op
class QuantizedAdd(Pairwise):
    """The sum of what two codes stand for, as a code."""

    native = "QLinearAdd"

    def compute(self, a: Any, a_scale: Any, a_zero: Any, b: Any, b_scale: Any, b_zero: Any, scale: Any, zero: Any) -> Any:
        first, second = a_scale / scale, b_scale / scale
        fixed = zero - fused(first, a_zero, second * b_zero)
        return fused(first, a, fused(second, b, fixed))


@op
class QuantizedMul(Pairwise):
    """The product of what two codes stand for, as a code."""

    native = "QLinearMul"

    def compute(self, a: Any, a_scale: Any, a_zero: Any, b: Any, b_scale: Any, b_zero: Any, scale: Any, zero: Any) -> Any:
        return (a - a_zero) * (b - b_zero) * (a_scale * b_scale / scale) + zero


def _reads(kind: type[Pairwise]) -> None:
    @imports("onnx", f"{DOMAIN}.{kind.native}")
    def read(node, *operands):
        return kind()(*operands, *(None,) * (8 - len(operands)))

    @exports("onnx", kind)
    def write(op, onnx, *operands):
        return onnx.write(op.native, operands, domain=DOMAIN)

    read.__name__, write.__name__ = f"{kind.__name__} from onnx", f"{kind.__name__} to onnx"


_reads(QuantizedAdd)
_reads(QuantizedMul)


@op
class QuantizedSoftmax(Codes):
    """Softmax of what codes stand for, as codes: in whole numbers, from a table of scaled exponentials.

    x, its scale and zero point (which does not matter), the result's. Source: onnxruntime, qlinear_softmax.cc.
    """

    axes: tuple[int, ...]

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(inputs[0].shape, inputs[0].dtype)]

    def table(self, scale: np.ndarray, count: int) -> np.ndarray:
        """By how far a code stands below the largest: its exponential. The sum of `count` of them fits into 32 bits."""
        most = min((2**32 - 1) / count, float(0x7FFFFF))
        return np.floor(most * np.exp(-np.arange(256.0) * np.float64(np.float32(scale).reshape(()))) + 0.5).astype(np.int64)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, scale, _, y_scale, zero = arrays
        below = x.max(self.axes, keepdims=True).astype(np.int64) - x
        parts = self.table(scale, math.prod(x.shape[a] for a in self.axes))[below]
        total = parts.sum(self.axes, keepdims=True)
        codes = (parts * _steps(y_scale) + total // 2) // total + (0 if zero is None else zero.astype(np.int64))
        return np.minimum(codes, RANGES[x.dtype.name][1]).astype(x.dtype)

    def lowered(self, exact: Any, *inputs: Value | None) -> Value:
        """Where no 64-bit integers are at hand, in floats: as near as floats come to the middle of two codes."""
        x, scale, x_zero, y_scale, zero = inputs
        count = product(x.shape[a] for a in self.axes)
        if exact is np.float32 or scale.const is None or y_scale.const is None or not isinstance(count, int):
            steps = Floor()(Div()(1.0, _single(y_scale)))
            codes = Floor()(Add()(Mul()(Softmax(axes=self.axes)(_numbers(x, scale, x_zero)), steps), 0.5))
            return coded(codes, None if zero is None else zero.cast(FLOAT32).reshape(), x.dtype.name)
        wide = x.cast(np.int64)
        below = Sub()(ReduceMax(axes=self.axes, keepdims=True)(wide), wide)
        parts = Gather(axis=0)(x.graph.constant(self.table(scale.array(), count)), below)
        total = ReduceSum(axes=self.axes, keepdims=True)(parts)
        half = FloorDiv()(total, 2)
        codes = FloorDiv()(Add()(Mul()(parts, _steps(y_scale.array())), half), total)
        codes = codes if zero is None else Add()(codes, zero.cast(np.int64).reshape())
        return Clip(minimum=None, maximum=RANGES[x.dtype.name][1])(codes).cast(x.dtype)


def _steps(scale: np.ndarray) -> int:
    """How many codes there are between 0 and 1."""
    return math.floor(np.float32(1) / scale.astype(np.float32).reshape(()))


@imports("onnx", "com.microsoft.QLinearSoftmax")
def quantised_softmax_from_onnxruntime(node, x, scale, zero, y_scale, y_zero=None):
    """Before opset 13 all axes from `axis` on are one."""
    axis = node.axis % x.rank
    axes = (axis,) if node.stated("opset") >= 13 else tuple(range(axis, x.rank))
    return QuantizedSoftmax(axes=axes)(x, scale, zero, y_scale, y_zero)


@exports("onnx", QuantizedSoftmax)
def quantised_softmax_to_onnx(op, onnx, *operands):
    rank = onnx.inputs[0].rank
    single = len(op.axes) == 1
    if not single and op.axes != tuple(range(op.axes[0], rank)):
        raise onnx.refuse(f"{op} of rank {rank}", why="onnxruntime takes one axis, or all from one on", instead="Transpose the data")
    return onnx.write("QLinearSoftmax", operands, domain=DOMAIN, axis=op.axes[0], opset=13 if single else 12)


# --- through the numbers that codes stand for -------------------------------------------------------------------------


def _numbers(codes: Value, scale: Value, zero: Value | None) -> Value:
    return Dequantize(axis=0, block=0, dtype="float32")(codes, scale, zero)


def _codes(numbers: Value, scale: Value, zero: Value | None, dtype: np.dtype) -> Value:
    return Quantize(axis=0, block=0, dtype=dtype.name, saturate=True, precision="float32")(numbers, scale, zero)


@imports("onnx", "com.microsoft.QLinearSigmoid")
def quantised_sigmoid_from_onnxruntime(node, x, scale, zero, y_scale, y_zero=None):
    return _codes(Sigmoid()(_numbers(x, scale, zero)), y_scale, y_zero, x.dtype)


@imports("onnx", "com.microsoft.QLinearAveragePool")
def quantised_average_pool_from_onnxruntime(node, x, scale, zero, y_scale, y_zero=None):
    numbers = _first(node, _numbers(x, scale, zero))
    return _last(node, _codes(average_pool_from_onnx(node, numbers), y_scale, y_zero, x.dtype))


@imports("onnx", "com.microsoft.NhwcMaxPool")
def maximum_of_codes_from_onnxruntime(node, x):
    last = (0, *range(2, x.rank), 1)
    pooled, _ = max_pool_from_onnx(node, x.transpose(0, x.rank - 1, *range(1, x.rank - 1)))
    return pooled.transpose(*last)


@imports("onnx", "com.microsoft.QLinearConcat")
def quantised_concat_from_onnxruntime(node, y_scale, y_zero, *parts):
    triples = [parts[i : i + 3] for i in range(0, len(parts), 3)]
    dtype = parts[0].dtype
    coded_parts = [_codes(_numbers(*triple), y_scale, y_zero, dtype) for triple in triples]
    return Concat(axis=node.axis % parts[0].rank)(*coded_parts)


@imports("onnx", "com.microsoft.QLinearWhere")
def quantised_where_from_onnxruntime(node, condition, x, x_scale, x_zero, y, y_scale, y_zero, scale, zero):
    chosen = (_codes(_numbers(*v), scale, zero, x.dtype) for v in ((x, x_scale, x_zero), (y, y_scale, y_zero)))
    return Where()(condition, *chosen)


# --- in whole numbers -------------------------------------------------------------------------------------------------


def _single(scale: Value) -> Value:
    """A scale of one number without an axis, in float32."""
    return scale.cast(FLOAT32).reshape() if product(scale.shape) == 1 else scale.cast(FLOAT32)


def _as_codes(sums: Value, multiplier: Value, zero: Value | None, dtype: np.dtype) -> Value:
    zero = None if zero is None else zero.cast(FLOAT32).reshape()
    return coded(Round()(Mul()(sums.cast(FLOAT32), multiplier)), zero, dtype.name)


@imports("onnx", "com.microsoft.QLinearGlobalAveragePool")
def quantised_global_average_from_onnxruntime(node, x, scale, zero, y_scale, y_zero=None):
    x = _first(node, x)
    count = product(x.shape[2:])
    if not isinstance(count, int):
        raise Refused("QLinearGlobalAveragePool over an open size", why="it divides by the size", hint="Fix it with input_shapes")
    centred = x.cast(INT32) if zero is None else Sub()(x.cast(INT32), zero.cast(INT32).reshape())
    sums = ReduceSum(axes=tuple(range(2, x.rank)), keepdims=True)(centred)
    return _last(node, _as_codes(sums, Div()(_single(scale), Mul()(_single(y_scale), float(count))), y_zero, x.dtype))


@imports("onnx", "com.microsoft.QGemm")
def quantised_gemm_from_onnxruntime(node, a, a_scale, a_zero, b, b_scale, b_zero, bias=None, y_scale=None, y_zero=None):
    a, b = (v.transpose(1, 0) if flag else v for v, flag in ((a, node.transA), (b, node.transB)))
    sums = MatMulInteger()(a, b, a_zero, b_zero)
    sums = sums if bias is None else Add()(sums, bias)
    scale = Mul()(Mul()(_single(a_scale), shortest(node.alpha)), _single(b_scale))
    if y_scale is None:
        return Mul()(sums.cast(FLOAT32), scale)
    return _as_codes(sums, Div()(scale, _single(y_scale)), y_zero, a.dtype if y_zero is None else y_zero.dtype)


@imports("onnx", "com.microsoft.MatMulIntegerToFloat")
def matmul_to_float_from_onnxruntime(node, a, b, a_scale, b_scale, a_zero=None, b_zero=None, bias=None):
    sums = as_matrices(a, b, lambda a, b: MatMulInteger()(a, b, a_zero, b_zero))
    y = Mul()(sums.cast(FLOAT32), Mul()(_single(a_scale), _single(b_scale)))
    return y if bias is None else Add()(y, bias)


@imports("onnx", "com.microsoft.DynamicQuantizeMatMul")
def dynamic_matmul_from_onnxruntime(node, a, b, b_scale, b_zero=None, bias=None):
    codes, scale, zero = DynamicQuantize()(a)
    return matmul_to_float_from_onnxruntime(node, codes, b, scale, b_scale, zero, b_zero, bias)


@imports("onnx", "com.microsoft.QLinearConv")
def quantised_conv_from_onnxruntime(node, x, *others):
    return _last(node, quantized_conv_from_onnx(node, _first(node, x), *others))


def _first(node: Any, x: Value) -> Value:
    """The data with its channels first, as the canonical graph has it."""
    return x.transpose(0, x.rank - 1, *range(1, x.rank - 1)) if node.channels_last else x


def _last(node: Any, y: Value) -> Value:
    return y.transpose(0, *range(2, y.rank), 1) if node.channels_last else y


for _kind in (QuantizedAdd, QuantizedMul):
    for _dtype, _start in (("uint8", 0), ("int8", -128)):
        _a, _b = (Operand(shape, dtype=_dtype, low=_start, high=_start + 256) for shape in ((2, 3, 5), (3, 1)))
        _zeros = [constant(_start + n, _dtype) for n in (7, 201, 90)]
        case(f"{_kind.native}/{_dtype}", _kind(), _a, constant(0.3), _zeros[0], _b, constant(0.1), _zeros[1], constant(0.2),
             _zeros[2], composed=ALL)  # fmt: skip
for _dtype, _start in (("uint8", 0), ("int8", -128)):
    for _axes, _shape in (((1,), (2, 7, 3)), ((1, 2), (2, 7, 30))):
        case(f"quantized_softmax/{_dtype}_{len(_axes)}", QuantizedSoftmax(axes=_axes), Operand(_shape, dtype=_dtype, low=_start,
             high=_start + 256), constant(0.01), constant(3, _dtype), constant(0.003), constant(_start, _dtype),
             composed=PLAIN)  # fmt: skip
