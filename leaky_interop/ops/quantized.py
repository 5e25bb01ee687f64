"""Convolutions and matrix products of codes: exact in whole numbers, and rounded to codes again where their result is one.

| meaning         | onnx                  | what it computes                                             |
|-----------------|-----------------------|--------------------------------------------------------------|
| ConvInteger     | ConvInteger           | the convolution of (x - zero) with (kernel - zero), in int32 |
| QuantizedConv   | QLinearConv           | that plus a bias in int32, as codes of a result              |
| MatMulInteger   | MatMulInteger         | (a - zero) @ (b - zero), in int32                            |
| QuantizedMatMul | QLinearMatMul         | that, as codes of a result                                   |
| DynamicQuantize | DynamicQuantizeLinear | codes of 0 to 255, and the scale and zero point it chose     |

How whole numbers become codes is onnxruntime's way: they are rounded to float32, multiplied by the scale of the operands
divided by that of the result, in this order, and rounded half to even. ONNX's reference multiplies in float64, which can
end on the other side of a half. DynamicQuantizeLinear of zeros alone has the scale 1, as in onnxruntime.

No framework but onnxruntime multiplies codes. Their products are whole numbers below 2**16, so a sum of them is exact in
floats while it stays below 2**53 (2**24 in float32); where it may not, one operand is taken apart in digits.
"""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Op, Operand, Shape, Value, agree, broadcast, case, constant, op, weight
from .bounds import Maximum, Minimum
from .compare import Equal, Where
from .conv import Conv
from .functions import Floor, Round
from .math import Add, Div, Mul, Sub
from .matmul import MatMul
from .quantize import FLOAT32, RANGES, coded
from .reduce import ReduceMax, ReduceMin
from .window import Pads, counts

INT32 = np.dtype(np.int32)
WHOLE = {np.float64: 2.0**53, np.float32: 2.0**24}  # up to here floats hold every whole number


def centred(x: Any, zero: Any, dtype: Any, axis: int | None = None) -> Any:
    """Codes less their zero point, of which an axis may have one for each entry; arrays or values."""
    x = x.astype(dtype) if isinstance(x, np.ndarray) else x.cast(dtype)
    if zero is None:
        return x
    zero = zero.astype(dtype) if isinstance(zero, np.ndarray) else zero.cast(dtype)
    size = math.prod(zero.shape)
    shape = () if size == 1 else zero.shape
    if axis is not None and len(shape) == 1:
        shape = tuple(size if i == axis else 1 for i in range(len(x.shape)))
    zero = zero.reshape(shape) if isinstance(zero, np.ndarray) else zero.reshape(*shape)
    return x - zero if isinstance(x, np.ndarray) else Sub()(x, zero)


def largest(x: Value, zero: Value | None) -> float:
    """The largest magnitude that a centred code can have."""
    low, high = RANGES[x.dtype.name]
    if zero is not None and zero.const is not None:
        z = zero.array().astype(float)
        return max(float(high - z.min()), float(z.max() - low))
    return float(high - low) if zero is not None else float(max(high, -low))


def weight_sum(x: Value, zero: Value | None, axes: tuple[int, ...], zero_axis: int | None) -> float:
    """The largest sum of the magnitudes of centred codes along axes: of a weight the true one, otherwise what it can be."""
    if x.const is not None and (zero is None or zero.const is not None):
        numbers = centred(x.array(), None if zero is None else zero.array(), np.float64, zero_axis)
        return float(np.abs(numbers).sum(axes).max(initial=0.0))
    return math.prod(x.shape[a] for a in axes if isinstance(x.shape[a], int)) * largest(x, zero)


def whole(contract: Any, x: Value, most: float, total: float, exact: Any) -> Value:
    """contract(x), exact in int32, of whole numbers x in floats of at most `most`; `total`: of the other operand, the sum.

    Where the floats do not hold every sum, x is taken apart: x = high * base + low, low in [0, base).
    """
    if most * total <= WHOLE[exact]:
        return contract(x).cast(INT32)
    base = 2.0 ** math.floor(math.log2(max(WHOLE[exact] / max(total, 1.0), 2.0)))
    if base < 4 or base >= 2 * most:
        raise Refused("a sum of so many codes", why=f"{np.dtype(exact)} does not hold it", hint="Convert to PyTorch or ONNX")
    high = Floor()(Div()(x, base))
    low = Sub()(x, Mul()(high, base))
    upper = whole(contract, high, math.ceil(most / base), total, exact)
    return Add()(Mul()(upper, int(base)), contract(low).cast(INT32))


def requantised(sums: np.ndarray, multiplier: Any, zero: Any, dtype: np.dtype) -> np.ndarray:
    """Whole numbers as codes; a multiplier that differs along an axis comes in a shape that broadcasts."""
    with np.errstate(all="ignore"):
        numbers = np.rint(sums.astype(np.float32) * multiplier)
        return np.clip(numbers + (0 if zero is None else zero.astype(np.float32)), *RANGES[dtype.name]).astype(dtype)


def requantised_value(sums: Value, scales: Any, zero: Value | None, dtype: np.dtype, shape: Any) -> Value:
    """The same in operators. scales: of the two operands and of the result; shape: to which the second's is reshaped."""
    first, second, result = (s.cast(FLOAT32).reshape(*_shape(s, shape)) for s in scales)
    multiplier = Div()(Mul()(first, second), result)
    zero = None if zero is None else zero.cast(FLOAT32).reshape()
    return coded(Round()(Mul()(sums.cast(FLOAT32), multiplier)), zero, dtype.name)


def _shape(scale: Value, shape: Any) -> tuple[Any, ...]:
    return () if math.prod(scale.shape) == 1 else shape(scale)


class Codes(Op):
    """An operator on codes. Scales are not negative, and float32 where they are narrower."""

    tolerance = "exact"
    grid = "made"
    folds = False


class Windowed(Codes):
    """What ConvInteger and QuantizedConv share."""

    strides: tuple[int, ...]
    pads: Pads
    dilations: tuple[int, ...]
    groups: int

    def shape(self, x: Value, kernel: Value) -> Shape:
        if not agree(x.shape[1], kernel.shape[1] * self.groups):
            raise ValueError(f"{self} with kernel {kernel.shape} takes {kernel.shape[1] * self.groups} channels, not {x!r}")
        sizes = counts(x.shape[2:], kernel.shape[2:], self.strides, self.dilations, self.pads)
        return (x.shape[0], kernel.shape[0], *sizes)

    @property
    def conv(self) -> Conv:
        return Conv(strides=self.strides, pads=self.pads, dilations=self.dilations, groups=self.groups)

    def sums(self, x: Any, kernel: Any, x_zero: Any, kernel_zero: Any) -> np.ndarray:
        wide = [centred(x, x_zero, np.float64), centred(kernel, kernel_zero, np.float64, 0)]
        return self.conv.reference(*wide, None).astype(np.int64).astype(np.int32)

    def lowered_sums(self, exact: Any, x: Value, kernel: Value, x_zero: Value | None, kernel_zero: Value | None) -> Value:
        weights = centred(kernel, kernel_zero, np.dtype(exact), 0)
        total = weight_sum(kernel, kernel_zero, tuple(range(1, kernel.rank)), 0)
        data = centred(x, x_zero, np.dtype(exact))
        return whole(lambda part: self.conv(part, weights, None), data, largest(x, x_zero), total, exact)


@op
class ConvInteger(Windowed):
    """The convolution of codes less their zero points; one zero point of the kernel, or one for each output channel."""

    strides: tuple[int, ...]
    pads: Pads
    dilations: tuple[int, ...]
    groups: int

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(self.shape(*inputs[:2]), INT32)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return self.sums(*arrays)

    def lowered(self, exact: Any, *inputs: Value | None) -> Value:
        return self.lowered_sums(exact, *inputs)


@op
class QuantizedConv(Windowed):
    """A convolution of codes with codes as its result: x, its scale and zero; the kernel's; the result's; a bias in int32.

    The kernel's scale and zero point may be one for each output channel.
    """

    strides: tuple[int, ...]
    pads: Pads
    dilations: tuple[int, ...]
    groups: int

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        x, _, _, kernel, _, _, _, zero, _ = inputs
        return [(self.shape(x, kernel), x.dtype if zero is None else zero.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, x_scale, x_zero, kernel, scale, kernel_zero, y_scale, zero, bias = arrays
        sums = self.sums(x, kernel, x_zero, kernel_zero)
        channels = (-1, *(1,) * (x.ndim - 2))
        sums = sums if bias is None else sums + bias.reshape(channels)
        one, other, result = (np.asarray(s).astype(np.float32) for s in (x_scale, scale, y_scale))
        multiplier = one.reshape(()) * other.reshape(() if other.size == 1 else channels) / result.reshape(())
        return requantised(sums, multiplier, zero, x.dtype if zero is None else zero.dtype)

    def lowered(self, exact: Any, *inputs: Value | None) -> Value:
        x, x_scale, x_zero, kernel, scale, kernel_zero, y_scale, zero, bias = inputs
        sums = self.lowered_sums(exact, x, kernel, x_zero, kernel_zero)
        ones = (1,) * (x.rank - 2)
        sums = sums if bias is None else Add()(sums, bias.reshape(kernel.shape[0], *ones))
        dtype = x.dtype if zero is None else zero.dtype
        return requantised_value(sums, (x_scale, scale, y_scale), zero, dtype, lambda s: (*s.shape, *ones))


class Product(Codes):
    """What MatMulInteger and QuantizedMatMul share: matrices in the last two axes, of at least two."""

    def shape(self, a: Value, b: Value) -> Shape:
        if a.rank < 2 or b.rank < 2 or not agree(a.shape[-1], b.shape[-2]):
            raise ValueError(f"{self} does not multiply {a!r} by {b!r}")
        return (*broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])

    def sums(self, a: Any, b: Any, a_zero: Any, b_zero: Any) -> np.ndarray:
        wide = [centred(a, a_zero, np.float64, a.ndim - 2), centred(b, b_zero, np.float64, b.ndim - 1)]
        return np.matmul(*wide).astype(np.int64).astype(np.int32)

    def lowered_sums(self, exact: Any, a: Value, b: Value, a_zero: Value | None, b_zero: Value | None) -> Value:
        other = centred(b, b_zero, np.dtype(exact), b.rank - 1)
        if not isinstance(b.shape[-2], int):
            raise Refused("a product of codes over an axis of open size", why="how large it may be is not known", hint="Fix the size")
        total = weight_sum(b, b_zero, (b.rank - 2,), b.rank - 1)
        data = centred(a, a_zero, np.dtype(exact), a.rank - 2)
        return whole(lambda part: MatMul()(part, other), data, largest(a, a_zero), total, exact)


@op
class MatMulInteger(Product):
    """The product of codes less their zero points: one, or one for each row of `a` and column of `b`."""

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(self.shape(*inputs[:2]), INT32)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return self.sums(*arrays)

    def lowered(self, exact: Any, *inputs: Value | None) -> Value:
        return self.lowered_sums(exact, *inputs)


@op
class QuantizedMatMul(Product):
    """A product of codes with codes as its result: a, its scale and zero; b's, of which each column may have one; the result's."""

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        a, _, _, b, _, _, _, zero = inputs
        return [(self.shape(a, b), a.dtype if zero is None else zero.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        a, a_scale, a_zero, b, b_scale, b_zero, y_scale, zero = arrays
        one, other, result = (np.asarray(s).astype(np.float32) for s in (a_scale, b_scale, y_scale))
        multiplier = one.reshape(()) * other.reshape(() if other.size == 1 else -1) / result.reshape(())
        return requantised(self.sums(a, b, a_zero, b_zero), multiplier, zero, a.dtype if zero is None else zero.dtype)

    def lowered(self, exact: Any, *inputs: Value | None) -> Value:
        a, a_scale, a_zero, b, b_scale, b_zero, y_scale, zero = inputs
        sums = self.lowered_sums(exact, a, b, a_zero, b_zero)
        dtype = a.dtype if zero is None else zero.dtype
        return requantised_value(sums, (a_scale, b_scale, y_scale), zero, dtype, lambda s: s.shape)


@op
class DynamicQuantize(Codes):
    """Codes of 0 to 255 for the range of the numbers at hand, which is made to include 0; their scale and zero point."""

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(inputs[0].shape, np.dtype(np.uint8)), ((), FLOAT32), ((), np.dtype(np.uint8))]

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        with np.errstate(all="ignore"):
            low, high = np.minimum(x.min(initial=0), x.dtype.type(0)), np.maximum(x.max(initial=0), x.dtype.type(0))
            scale = np.asarray((high - low) / x.dtype.type(255) if high != low else x.dtype.type(1), x.dtype)
            zero = np.rint(np.clip(-low / scale, 0, 255))
            codes = np.clip(np.rint(x / scale) + zero, 0, 255)
        return codes.astype(np.uint8), scale, np.asarray(zero).astype(np.uint8)

    def lowered(self, exact: Any, *inputs: Value | None) -> tuple[Value, ...]:
        (x,) = inputs
        axes = tuple(range(x.rank))
        low = Minimum()(ReduceMin(axes=axes, keepdims=False)(x), 0.0)
        high = Maximum()(ReduceMax(axes=axes, keepdims=False)(x), 0.0)
        scale = Where()(Equal()(high, low), 1.0, Div()(Sub()(high, low), 255.0))
        zero = coded(Round()(Div()(Sub()(0.0, low), scale)), None, "uint8")
        return coded(Round()(Div()(x, scale)), zero.cast(FLOAT32), "uint8"), scale, zero


# --- cases ------------------------------------------------------------------------------------------------------------

PLAIN = dict.fromkeys(("torch", "keras"), "plain arithmetic")
ALL = {**PLAIN, "onnx": "plain arithmetic, where onnxruntime has no kernel"}
KINDS = {"uint8": {"low": 0, "high": 256}, "int8": {"low": -128, "high": 128}}


def _codes(*shape: int, dtype: str, kind: str = "input") -> Operand:
    return Operand(shape, kind, dtype, **KINDS[dtype])


def _conv(name: str, x: str, w: str, shape: tuple[int, ...], kernel: tuple[int, ...], *, each: bool = False, **fields: Any) -> None:
    """Both convolutions; each: the kernel's scale and zero point for every output channel."""
    settings = {"strides": (1, 1), "pads": ((0, 0), (0, 0)), "dilations": (1, 1), "groups": 1} | fields
    data, weights = _codes(*shape, dtype=x), weight(*kernel, dtype=w, **KINDS[w])
    zeros = constant(np.arange(kernel[0]) * 3 % 100 if each else 7, w)
    as_onnx = ALL if each or (x, w) == ("int8", "uint8") else PLAIN
    case(f"conv_integer/{name}", ConvInteger(**settings), data, weights, constant(11, x), zeros, composed=as_onnx)
    scales = constant(np.linspace(0.01, 0.05, kernel[0]) if each else 0.013)
    bias = Operand((kernel[0],), "constant", "int32", -3000, 3000)
    case(f"quantized_conv/{name}", QuantizedConv(**settings), data, constant(0.021), constant(11, x), weights, scales,
         constant(np.zeros(kernel[0]), w) if each else zeros, constant(0.37), constant(99, x), bias,
         composed=ALL if (x, w) == ("int8", "uint8") else PLAIN)  # fmt: skip


for _x in KINDS:
    for _w in KINDS:
        _conv(f"{_x}_{_w}", _x, _w, (2, 3, 7, 6), (4, 3, 3, 2), pads=((1, 0), (2, 1)), strides=(2, 1))
        for _name, _a, _b in (("rank_2", (5, 70), (70, 3)), ("batches", (2, 1, 3, 9), (4, 9, 2))):
            _one, _other = _codes(*_a, dtype=_x), _codes(*_b, dtype=_w)
            case(f"matmul_integer/{_name}_{_x}_{_w}", MatMulInteger(), _one, _other, constant(11, _x), constant(5, _w), composed=PLAIN)
            case(f"quantized_matmul/{_name}_{_x}_{_w}", QuantizedMatMul(), _one, constant(0.021), constant(11, _x), _other,
                 constant(0.3), constant(5, _w), constant(1.7), constant(99, _x),
                 composed=ALL if (_x, _w) == ("int8", "uint8") else PLAIN)  # fmt: skip
_conv("each_channel", "uint8", "int8", (2, 4, 6, 6), (6, 2, 3, 3), each=True, groups=2, dilations=(2, 1))
_conv("long_sums", "uint8", "uint8", (1, 300, 3, 3), (2, 300, 3, 3))
case("conv_integer/no_zeros", ConvInteger(strides=(1,), pads=((0, 0),), dilations=(1,), groups=1),
     _codes(2, 3, 7, dtype="uint8"), weight(2, 3, 3, dtype="uint8", **KINDS["uint8"]), None, None, composed=PLAIN)  # fmt: skip
case("matmul_integer/each", MatMulInteger(), _codes(5, 9, dtype="uint8"), _codes(9, 3, dtype="int8"),
     constant([1, 2, 3, 4, 250], "uint8"), constant([-1, 0, 99], "int8"), composed=ALL)  # fmt: skip
case("matmul_integer/long", MatMulInteger(), _codes(2, 3000, dtype="uint8"), _codes(3000, 3, dtype="uint8"), None, None,
     composed=PLAIN)  # fmt: skip
case("dynamic_quantize/plain", DynamicQuantize(), (2, 3, 5), composed=PLAIN)
case("dynamic_quantize/positive", DynamicQuantize(), Operand((2, 3, 5), low=2, high=9), composed=PLAIN)
case("dynamic_quantize/negative", DynamicQuantize(), Operand((7,), low=-9, high=-2), composed=PLAIN)
