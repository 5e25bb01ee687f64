"""Numbers as codes of few bits, and back: a scale, and a zero point that says which code is 0.

| meaning    | onnx             | what it computes                                       |
|------------|------------------|--------------------------------------------------------|
| Quantize   | QuantizeLinear   | round(x / scale) + zero, half to even, saturated       |
| Dequantize | DequantizeLinear | (code - zero) * scale                                  |

Scale and zero point are of one number, of one number for each entry along an axis, or of one for each block of
entries along it. torch and Keras say both in plain arithmetic: see `Op.lowered`. Everything is computed in float32, as
onnxruntime does; ONNX's reference divides float16 in float16, which can round a quotient near a half to the other side.
"""

import dataclasses
from typing import Any

import numpy as np

from ..op import Moved, Op, Operand, Perm, Shape, Value, agree, case, constant, exports, imports, op
from .bounds import Clip
from .cast import Cast
from .functions import Round
from .index import sliced
from .math import Add, Div, Mul, Sub
from .narrow import LARGEST, SATURATING, narrowed
from .repeat import Repeat

RANGES = {
    "int2": (-2, 1), "uint2": (0, 3), "int4": (-8, 7), "uint4": (0, 15), "int8": (-128, 127), "uint8": (0, 255),
    "int16": (-32768, 32767), "uint16": (0, 65535),
}  # fmt: skip
FLOAT32 = np.dtype(np.float32)


class Coding(Op):
    """What Quantize and Dequantize share: operands are the data, the scale, and the zero point or None."""

    axis: int  # along which scales differ; of no meaning where there is one
    block: int  # how many entries along the axis share a scale; 0 where the scale has one axis or none
    dtype: str  # of the result
    tolerance = "exact"
    grid = "made"
    folds = False
    any_dtype = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        from ..numeric import dtype

        x, scale, zero = inputs
        if scale.rank == x.rank > 0 and self.block:
            pass
        elif scale.rank > 1 or (scale.shape not in ((), (1,)) and not agree(scale.shape[0], x.shape[self.axis])):
            raise ValueError(f"{self} of {x!r} with scales {scale!r}")
        if zero is not None and not all(map(agree, zero.shape, scale.shape)):
            raise ValueError(f"{self} with scales {scale!r} and zero points {zero!r}")
        return [(x.shape, dtype(self.dtype))]

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        if self.block:
            return None
        return Moved(dataclasses.replace(self, axis=perm[self.axis] if perm else 0), (perm, None, None), (perm,))

    def spread(self, numbers: Any, shape: Shape, reshape: Any, repeat: Any) -> Any:
        """Scales or zero points as they broadcast against the data."""
        if self.block:
            return repeat(numbers, self.block, self.axis, shape[self.axis])
        if not numbers.shape or numbers.shape == (1,):
            return reshape(numbers, ())
        return reshape(numbers, tuple(-1 if i == self.axis else 1 for i in range(len(shape))))

    def arrays(self, x: np.ndarray, *numbers: Any) -> list[Any]:
        """Scales and zero points as arrays that broadcast."""

        def repeat(a: np.ndarray, times: int, axis: int, size: int) -> np.ndarray:
            return np.repeat(a, times, axis).take(np.arange(size), axis)

        return [None if n is None else self.spread(n, x.shape, np.reshape, repeat) for n in numbers]

    def values(self, x: Value, *numbers: Value | None) -> list[Value | None]:
        """Scales and zero points as values that broadcast, in float32."""

        def reshape(value: Value, shape: tuple[int, ...]) -> Value:
            return value.reshape(*(value.shape[0] if d == -1 else d for d in shape))

        def repeat(value: Value, times: int, axis: int, size: Any) -> Value:
            return sliced(Repeat(repeats=times, axis=axis)(value), {axis: slice(0, size)})

        wide = [None if n is None else n.cast(FLOAT32) for n in numbers]
        return [None if n is None else self.spread(n, x.shape, reshape, repeat) for n in wide]


@op
class Quantize(Coding):
    """The code of the nearest multiple of the scale, the even one of two; what lies outside of the codes is the last one.

    precision: the dtype of the quotient, which is rounded to it. saturate is read where codes are floats of 8 bits.
    """

    axis: int
    block: int
    dtype: str
    saturate: bool
    precision: str

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        from ..numeric import dtype

        x, scale, zero = arrays
        scale, zero = self.arrays(x, scale, zero)
        wide = np.result_type(x.dtype if x.dtype.kind == "f" else FLOAT32, FLOAT32)
        with np.errstate(all="ignore"):
            quotient = np.asarray(x.astype(wide) / scale.astype(wide)).astype(dtype(self.precision)).astype(wide)
            if self.dtype in RANGES:
                codes = np.rint(quotient) + (0 if zero is None else zero.astype(wide))
                return np.clip(codes, *RANGES[self.dtype]).astype(dtype(self.dtype))
            codes = quotient if zero is None else quotient + zero.astype(wide)
            if self.saturate:
                codes = np.clip(codes, -LARGEST[self.dtype], LARGEST[self.dtype])
            return codes.astype(dtype(self.dtype))

    def lowered(self, exact: Any, *inputs: Value | None) -> Value:
        x, scale, zero = inputs
        scale, zero = self.values(x, scale, zero)
        quotient = Div()(x.cast(FLOAT32), scale)
        if self.precision != "float32":
            quotient = Cast(dtype="float32")(Cast(dtype=self.precision)(quotient))
        if self.dtype in RANGES:
            return coded(Round()(quotient), zero, self.dtype)
        from ..numeric import dtype

        return narrowed(quotient if zero is None else Add()(quotient, zero), dtype(self.dtype), self.saturate, "nearest")


@op
class Dequantize(Coding):
    """The number that a code stands for."""

    axis: int
    block: int
    dtype: str

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        from ..numeric import dtype

        x, scale, zero = arrays
        scale, zero = self.arrays(x, scale, zero)
        wide = np.result_type(scale.dtype if scale.dtype.kind == "f" else FLOAT32, FLOAT32)
        with np.errstate(all="ignore"):
            code = x.astype(np.int64) if x.dtype == np.int32 else x.astype(wide)
            code = code if zero is None else code - zero.astype(code.dtype)
            return (code.astype(wide) * scale.astype(wide)).astype(dtype(self.dtype))

    def lowered(self, exact: Any, *inputs: Value | None) -> Value:
        from ..numeric import dtype

        x, scale, zero = inputs
        scale, spread = self.values(x, scale, zero)
        if x.dtype == np.int32 and zero is not None:  # as whole numbers: float32 does not hold them all
            code = Sub()(x, Cast(dtype="int32")(spread)).cast(FLOAT32)
        else:
            code = x.cast(FLOAT32) if zero is None else Sub()(x.cast(FLOAT32), spread)
        return Mul()(code, scale).cast(dtype(self.dtype))


def coded(numbers: Value, zero: Value | None, dtype: str) -> Value:
    """Whole numbers in float32, moved by the zero point (in float32 too), as codes of a dtype."""
    from ..numeric import dtype as by_name

    low, high = RANGES[dtype]
    return Clip(minimum=float(low), maximum=float(high))(numbers if zero is None else Add()(numbers, zero)).cast(by_name(dtype))


# --- onnx -------------------------------------------------------------------------------------------------------------


@imports("onnx", "QuantizeLinear", "com.microsoft.QuantizeLinear")
def quantize_from_onnx(node, x, scale, zero=None):
    stated = node.numpy_dtype(node.output_dtype) if node.has("output_dtype") and node.output_dtype else None
    dtype = zero.dtype if zero is not None else stated or np.dtype(np.uint8)
    precision = node.numpy_dtype(node.precision) if node.has("precision") and node.precision else FLOAT32
    saturate = bool(node.saturate) if node.has("saturate") else True
    axis, block = _granularity(node, x)
    return Quantize(axis=axis, block=block, dtype=dtype.name, saturate=saturate, precision=precision.name)(x, scale, zero)


@imports("onnx", "DequantizeLinear", "com.microsoft.DequantizeLinear")
def dequantize_from_onnx(node, x, scale, zero=None):
    stated = node.numpy_dtype(node.output_dtype) if node.has("output_dtype") and node.output_dtype else scale.dtype
    axis, block = _granularity(node, x)
    return Dequantize(axis=axis, block=block, dtype=stated.name)(x, scale, zero)


def _granularity(node: Any, x: Value) -> tuple[int, int]:
    axis = node.axis if node.has("axis") and node.axis is not None else 1
    block = node.block_size if node.has("block_size") and node.block_size else 0
    return axis % x.rank if x.rank and -x.rank <= axis < x.rank else 0, block


@exports("onnx", Quantize)
def quantize_to_onnx(op, onnx, x, scale, zero):
    blocks = {"block_size": op.block or None, "axis": op.axis}
    if zero is None and op.dtype != "uint8":
        blocks["output_dtype"] = onnx.element_type(op.dtype)
    if op.precision != "float32":
        blocks["precision"] = onnx.element_type(op.precision)
    if not op.saturate and op.dtype in SATURATING:
        blocks["saturate"] = 0
    return onnx.QuantizeLinear(x, scale, zero, **blocks)


@exports("onnx", Dequantize)
def dequantize_to_onnx(op, onnx, x, scale, zero):
    stated = None if op.dtype == onnx.inputs[1].dtype.name else onnx.element_type(op.dtype)
    return onnx.DequantizeLinear(x, scale, zero, axis=op.axis, block_size=op.block or None, output_dtype=stated)


# --- cases ------------------------------------------------------------------------------------------------------------

PLAIN = dict.fromkeys(("torch", "keras"), "plain arithmetic")


def _cases(name: str, op: Op, *operands: Any, **more: Any) -> None:
    case(f"{type(op).__name__.lower()}/{name}", op, *operands, composed=PLAIN, **more)


for _dtype, (_low, _high) in RANGES.items():
    _zero = (_low + _high + 1) // 2 + 1
    _one = Quantize(axis=1, block=0, dtype=_dtype, saturate=True, precision="float32")
    _back = Dequantize(axis=1, block=0, dtype="float32")
    _codes = Operand((2, 3, 4), dtype=_dtype, low=_low, high=_high + 1)
    _cases(f"{_dtype}", _one, (2, 3, 4), constant(0.37), constant(_zero, _dtype))
    _cases(f"{_dtype}_no_zero", _one, (2, 3, 4), constant(0.11), None)
    _cases(f"{_dtype}", _back, _codes, constant(0.37), constant(_zero, _dtype))
    _cases(f"{_dtype}_no_zero", _back, _codes, constant(0.11), None)
for _dtype in sorted(SATURATING):
    for _saturate in (True, False):
        _op = Quantize(axis=0, block=0, dtype=_dtype, saturate=_saturate, precision="float32")
        _cases(f"{_dtype}_{_saturate}", _op, Operand((3, 7), low=-60, high=60), constant(0.13), None)
    _codes = Operand((3, 7), dtype=_dtype)
    _cases(_dtype, Dequantize(axis=1, block=0, dtype="float16"), _codes, constant(0.37, "float16"), None)
_axes, _offsets = Operand((3,), "constant", low=0.05, high=0.9), Operand((3,), "constant", "uint8", 0, 255)
_cases("axis", Quantize(axis=1, block=0, dtype="uint8", saturate=True, precision="float32"), (2, 3, 4), _axes, _offsets)
_cases("axis", Dequantize(axis=1, block=0, dtype="float32"), Operand((2, 3, 4), dtype="uint8", high=256), _axes, _offsets)
_cases("last_axis", Quantize(axis=2, block=0, dtype="int8", saturate=True, precision="float32"), (2, 4, 3), _axes, None)
_many, _offsets = Operand((2, 3, 3), "constant", low=0.05, high=0.9), Operand((2, 3, 3), "constant", "int8", -90, 90)
_cases("blocks", Quantize(axis=1, block=2, dtype="int8", saturate=True, precision="float32"), (2, 5, 3), _many, _offsets)
_cases("blocks", Dequantize(axis=1, block=2, dtype="float32"), Operand((2, 5, 3), dtype="int8", low=-128, high=128), _many, _offsets)
_cases("float16", Quantize(axis=1, block=0, dtype="int8", saturate=True, precision="float32"), Operand((2, 3), dtype="float16"),
       constant(0.37, "float16"), constant(3, "int8"))  # fmt: skip
_cases("float16", Dequantize(axis=1, block=0, dtype="float16"), Operand((2, 3), dtype="int8", low=-128, high=128),
       constant(0.37, "float16"), constant(3, "int8"))  # fmt: skip
_cases("int32", Dequantize(axis=1, block=0, dtype="float32"), Operand((2, 3), dtype="int32", low=-(2**30), high=2**30),
       constant(0.37), None)  # fmt: skip
_cases("computed", Quantize(axis=0, block=0, dtype="uint8", saturate=True, precision="float32"), (2, 3),
       Operand((2,), low=0.1, high=1.0), Operand((2,), dtype="uint8", high=256))  # fmt: skip
