"""Casts to floats of 8 bits and fewer, and to integers of 4 and 2 bits.

| meaning        | onnx                      | torch                              | keras                           |
|----------------|---------------------------|------------------------------------|---------------------------------|
| Cast           | Cast with saturate=0      | to, what overflows put in its place | rounding in float32            |
| SaturatingCast | Cast, the default         | clamp, then to                     | clip, then rounding in float32  |
| ScaleCast      | Cast to float8_e8m0fnu    | its own cast, put right            | a table of powers of two        |

What such a number is, and where it is kept in a framework that has no such type:

| type                       | torch           | keras   |
|----------------------------|-----------------|---------|
| float8 of ONNX's kinds     | its own         | float32 |
| float4_e2m1fn              | float8_e4m3fn   | float32 |
| int4, int2 / uint4, uint2  | int8 / uint8    | int8 / uint8 |

The wider type holds every number of the narrow one, -0.0 and NaN included, so nothing is lost either way. Sources wider
than float32 are rounded to it first, as ml_dtypes and onnxruntime do.
"""

from typing import Any

import numpy as np

from ..op import Link, Moved, Op, Operand, Perm, Shape, Value, case, exports, imports, op

LARGEST = {
    "float8_e4m3fn": 448.0, "float8_e4m3fnuz": 240.0, "float8_e5m2": 57344.0, "float8_e5m2fnuz": 57344.0,
    "float4_e2m1fn": 6.0,
}  # fmt: skip
SATURATING = frozenset(k for k in LARGEST if k.startswith("float8"))  # those that ONNX lets saturate or not
NO_FLOAT4 = {"onnx": "onnxruntime has no kernel"}
ENDS = (2.0**-127, 2.0**127)  # of float8_e8m0fnu
INTEGERS = {"int2": 2, "uint2": 2, "int4": 4, "uint4": 4}  # and their bits


class Narrowing(Op):
    """A cast to a narrow type, which is a field or the same always."""

    tolerance = "exact"
    any_dtype = True
    grid = "made"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        from ..numeric import dtype

        return [(inputs[0].shape, dtype(self.dtype))]

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(self, (perm,), (perm,))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        return [Link({0: axis}, axis) for axis in range(inputs[0].rank)]


@op
class SaturatingCast(Narrowing):
    """The nearest float of 8 bits, the even one of two; its largest for all that lies beyond, infinity included."""

    dtype: str

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        from ..numeric import dtype

        with np.errstate(invalid="ignore", over="ignore"):
            x = arrays[0].astype(np.float32)
        return np.clip(x, -LARGEST[self.dtype], LARGEST[self.dtype]).astype(dtype(self.dtype))


@op
class ScaleCast(Narrowing):
    """The power of two below or above x, or the nearer one (above at half of the way), in float8_e8m0fnu.

    rounding: "down", "up" or "nearest". What lies outside of 2**-127 to 2**127 becomes the nearer end where it
    saturates, otherwise NaN: negative numbers too, which ONNX leaves open and onnxruntime takes so.
    """

    rounding: str
    saturate: bool
    dtype = "float8_e8m0fnu"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        from ..numeric import dtype

        with np.errstate(invalid="ignore", over="ignore"):
            x = np.asarray(arrays[0].astype(np.float32))
            x = np.clip(x, *ENDS) if self.saturate else x
        good = (x >= ENDS[0]) & (x <= ENDS[1])
        half, exponent = np.frexp(np.where(good, x, np.float32(1)))  # half is in [0.5, 1)
        up = {"down": False, "up": half > 0.5, "nearest": half >= 0.75}[self.rounding]
        return np.where(good, np.ldexp(np.float32(1), exponent - 1 + up), np.float32(np.nan)).astype(dtype(self.dtype))


def narrowed(x: Value, dtype: Any, saturate: bool, rounding: str) -> Value:
    """A cast to any dtype; `saturate` and `rounding` are read where it is a float of 8 bits."""
    dtype = np.dtype(dtype)
    if dtype.name == ScaleCast.dtype:
        return x if x.dtype == dtype else ScaleCast(rounding=rounding, saturate=saturate)(x)
    return SaturatingCast(dtype=dtype.name)(x) if saturate and dtype.name in SATURATING else x.cast(dtype)


# --- onnx -------------------------------------------------------------------------------------------------------------


@imports("onnx", "Cast", since=6)
def cast_from_onnx(node, x):
    return narrowed(x, node.numpy_dtype(node.to), *_settings(node))


@imports("onnx", "CastLike")
def cast_like_from_onnx(node, x, like):
    return narrowed(x, like.dtype, *_settings(node))


def _settings(node: Any) -> tuple[bool, str]:
    """Whether it saturates, and how it rounds to powers of two: both came with later opsets."""
    saturate = bool(node.saturate) if node.has("saturate") else True
    return saturate, node.round_mode if node.has("round_mode") else "up"


@exports("onnx", SaturatingCast)
def saturating_cast_to_onnx(op, onnx, x):
    return onnx.Cast(x, to=onnx.element_type(op.dtype))


@exports("onnx", ScaleCast)
def scale_cast_to_onnx(op, onnx, x):
    return onnx.Cast(x, to=onnx.element_type(op.dtype), round_mode=op.rounding, saturate=int(op.saturate))


# --- torch ------------------------------------------------------------------------------------------------------------


@exports("torch", SaturatingCast)
def saturating_cast_to_torch(op, torch, x):
    return narrow_in_torch(torch, torch.clamp(in_float32(torch, x), -LARGEST[op.dtype], LARGEST[op.dtype]), op.dtype)


@exports("torch", ScaleCast)
def scale_cast_to_torch(op, torch, x):
    """torch's own rounding finds one of the two powers beside a number; which of them it is does not matter."""
    number = in_float32(torch, x)
    within = torch.clamp(number, *ENDS)
    good = (number == number) if op.saturate else (number == within)
    beside = within.to(torch.float8_e8m0fnu).to(torch.float32)
    if op.rounding == "up":
        power = torch.where(beside < within, beside * 2.0, beside)
    else:
        power = torch.where(beside > within, beside * 0.5, beside)
        if op.rounding == "nearest":
            power = torch.where(within >= power * 1.5, power * 2.0, power)
    return torch.where(good, power, float("nan")).to(torch.float8_e8m0fnu)


def in_float32(torch: Any, x: Any) -> Any:
    """`x` in float32, the result included that an exporter is still writing."""
    return x if torch.inputs[0].dtype == np.float32 else x.to(torch.float32)


def narrow_in_torch(torch: Any, x: Any, dtype: str) -> Any:
    """A cast to a narrow type as torch holds it. x: in float32, where that type is a float."""
    held = torch.torch_dtype(dtype)
    if dtype in INTEGERS:
        return wrapped(torch, x.to(torch.int32), dtype).to(held)
    if dtype == "float8_e4m3fn":  # torch saturates by itself, or makes NaN: as its version has it
        x = torch.where(torch.abs(x) > 464.0, float("nan"), x)
    elif dtype == "float4_e2m1fn":
        x = torch.where(torch.isnan(x), -0.0, torch.clamp(x, -6.0, 6.0))
        size = torch.abs(x)
        step = torch.where(size < 2.0, 0.5, torch.where(size < 4.0, 1.0, 2.0))
        x = torch.round(x / step) * step
    return x.to(held)


# --- keras ------------------------------------------------------------------------------------------------------------


@exports("keras", SaturatingCast)
def saturating_cast_to_keras(op, keras, x):
    largest = LARGEST[op.dtype]
    return narrow_in_keras(keras, keras.ops.clip(keras.ops.cast(x, "float32"), -largest, largest), op.dtype)


@exports("keras", ScaleCast)
def scale_cast_to_keras(op, keras, x):
    """The power below by its number in a table, then the one to take."""
    ops, powers = keras.ops, np.ldexp(np.float32(1), np.arange(-127, 128))
    number = ops.cast(x, "float32")
    within = ops.clip(number, *ENDS)
    good = ops.equal(number, number if op.saturate else within)
    within = ops.where(good, within, 1.0)
    code = below(keras, within, powers, -127)
    power = ops.take(powers, code)
    if op.rounding == "up":
        code = ops.add(code, ops.cast(ops.greater(within, power), "int32"))
    elif op.rounding == "nearest":
        code = ops.add(code, ops.cast(ops.greater_equal(within, ops.multiply(power, 1.5)), "int32"))
    return ops.where(good, ops.take(powers, code), np.float32(np.nan))


def narrow_in_keras(keras: Any, x: Any, dtype: str) -> Any:
    """A cast to a narrow type as Keras holds it. x: in float32, where that type is a float."""
    from ..numeric import dtype as by_name
    from ..numeric import precision_and_range

    ops = keras.ops
    if dtype in INTEGERS:
        return ops.cast(wrapped(ops, ops.cast(x, "int32"), dtype), "uint8" if dtype.startswith("u") else "int8")
    if dtype == "float4_e2m1fn":
        x = ops.where(ops.isnan(x), -0.0, ops.clip(x, -6.0, 6.0))
    precision, lowest = precision_and_range(dtype)
    largest = LARGEST[dtype]
    powers = np.ldexp(1.0, np.arange(lowest, int(np.log2(largest)) + 2)).astype(np.float32)
    known = ops.where(ops.isnan(x), 1.0, ops.clip(ops.abs(x), powers[0], powers[-1]))
    steps = (powers / 2.0 ** (precision - 1)).astype(np.float32)
    step = ops.take(steps, below(keras, known, powers, lowest))
    rounded = ops.multiply(ops.round(ops.divide(x, step)), step)
    beyond = np.inf if np.isinf(np.float32(np.inf).astype(by_name(dtype)).astype(np.float32)) else np.nan
    rounded = ops.where(ops.greater(ops.abs(rounded), largest), ops.multiply(rounded, np.float32(beyond)), rounded)
    return ops.where(ops.equal(rounded, 0.0), 0.0, rounded) if dtype.endswith("uz") else rounded


def below(keras: Any, size: Any, powers: np.ndarray, lowest: int) -> Any:
    """The number in a table of the largest power of two that is not above a size; the logarithm may be off by one."""
    ops = keras.ops
    near = ops.floor(ops.log2(ops.maximum(size, np.ldexp(np.float32(1), max(lowest, -126)))))
    code = ops.clip(ops.subtract(ops.cast(near, "int32"), lowest), 0, len(powers) - 1)
    code = ops.where(ops.less(size, ops.take(powers, code)), ops.maximum(ops.subtract(code, 1), 0), code)
    following = np.append(powers[1:], np.float32(np.inf))
    return ops.where(ops.greater_equal(size, ops.take(following, code)), ops.add(code, 1), code)


def wrapped(ns: Any, x: Any, dtype: str) -> Any:
    """The lowest bits of an integer, as two's complement where the type has a sign."""
    count = 2 ** INTEGERS[dtype]
    low = x % count
    return low if dtype.startswith("u") else ns.where(low >= count // 2, low - count, low)


for _name in sorted(SATURATING):
    case(f"saturating_cast/{_name}", SaturatingCast(dtype=_name), (2, 3, 5),
         composed=dict.fromkeys(("torch", "keras"), "the range, then Cast"))  # fmt: skip
for _rounding in ("up", "down", "nearest"):
    for _saturate in (False, True):
        case(f"scale_cast/{_rounding}{_saturate}", ScaleCast(rounding=_rounding, saturate=_saturate), Operand((2, 3, 5), low=0, high=9),
             composed=dict.fromkeys(("torch", "keras"), "one of two powers is chosen"))  # fmt: skip
