"""Arithmetic between arrays: a row each (see `table`). Operands broadcast as numpy's do and have one dtype.

| meaning                  | keras                      | torch                 | onnx                          |
|--------------------------|----------------------------|-----------------------|-------------------------------|
| integers divided by `/`  | as floats                  | as floats             | truncated towards 0           |
| remainder, sign of y     | mod                        | remainder, %          | Mod; floats: a composition    |
| remainder, sign of x     | a composition              | fmod                  | Mod, fmod=1                   |
| two layers' results      | layers.Add()([x, y]) ...   | x + y                 | Add, Sum                      |
| x + alpha * y            | -                          | add(x, y, alpha)      | -                             |
"""

import functools
from typing import Any

import numpy as np

from ..op import Operand, Pointwise, agree, case, constant, exports, imports, op
from .adding import avoided, otherwise
from .logic import And, Or
from .precision import IN_32_BITS, whole_quotient
from .promotion import aligned, floating, in_one_dtype, in_stated_dtype
from .table import SIGNS, binary, tensors, widened


def merges(keras: Any) -> bool:
    """Whether a layer of Keras may merge the operands: results of one rank and one batch, of floats."""
    values = keras.node.inputs
    if not all(v.const is None and v.sizes is None and v.dtype.kind in "fV" for v in values):
        return False
    first = values[0].shape
    return len(first) > 1 and all(len(v.shape) == len(first) and agree(v.shape[0], first[0]) for v in values)


def merged(layer: str, function: str) -> Any:
    """How Keras writes an operator: as the layer that merges results, or as a function of anything else."""

    def write(keras: Any, x: Any, y: Any) -> Any:
        own = function != "add" or not avoided(keras, x, y)
        if own and merges(keras):
            return keras.place(getattr(keras.layers, layer)())([x, y])
        return getattr(keras.ops, function)(x, y) if own else otherwise(keras, x, y)

    return write


def _divide(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype == object:  # sizes, which are not negative
        return x // y
    if x.dtype.kind in "iu":
        return x // y + ((x % y != 0) & ((x < 0) != (y < 0)))
    return x / y


def _divide_to_torch(torch, x, y):
    if torch.outputs[0].dtype.kind in "iu":
        return torch.div(*tensors(torch, x, y), rounding_mode="trunc")
    x, _ = tensors(torch, x, y)  # 2 / x would be x.reciprocal() * 2, which rounds twice
    return x / y


def _divide_to_keras(keras, x, y):
    if keras.outputs[0].dtype.kind not in "iu":
        return keras.ops.divide(x, y)
    whole_quotient(keras)
    if keras.outputs[0].dtype.kind == "u":
        return keras.ops.floor_divide(x, y)
    quotient = keras.ops.floor_divide(keras.ops.absolute(x), keras.ops.absolute(y))
    return keras.ops.where(
        keras.ops.not_equal(keras.ops.less(x, 0), keras.ops.less(y, 0)), keras.ops.negative(quotient), quotient
    )


def _modulo_to_onnx(onnx, x, y):
    if onnx.outputs[0].dtype.kind in "iu":
        return onnx.Mod(x, y)
    rest = onnx.Mod(x, y, fmod=1)
    away = onnx.And(onnx.Not(onnx.Equal(rest, 0.0)), onnx.Xor(onnx.Less(rest, 0.0), onnx.Less(y, 0.0)))
    return onnx.Where(away, onnx.Add(rest, y), rest)


def _fmod_to_keras(keras, x, y):
    rest = _modulo_to_keras(keras, *(abs(v) if isinstance(v, int | float) else keras.ops.absolute(v) for v in (x, y)))
    return keras.ops.where(keras.ops.less(x, 0), keras.ops.negative(rest), rest)


def _fmod_to_onnx(onnx, x, y):
    return onnx.Mod(x, y, fmod=1)


def _floor_divide_to_keras(keras, x, y):
    whole_quotient(keras)
    return keras.ops.floor_divide(x, y)


def _floor_divide_to_onnx(onnx, x, y):
    """The quotient without its remainder, so that 1 // 0.1 is 9 although 1 / 0.1 rounds to 10."""
    exact = onnx.Div(onnx.Sub(x, _modulo_to_onnx(onnx, x, y)), y)
    if onnx.outputs[0].dtype.kind in "iu":
        return exact
    return onnx.Where(onnx.Equal(y, 0.0), onnx.Div(x, y), onnx.Round(exact))


def _angle_to_onnx(onnx, y, x):
    """atan(y / x), turned by half a circle where x is negative. Signs of zeros count; infinities are like ones."""
    infinite = onnx.And(onnx.IsInf(x), onnx.IsInf(y))
    x, y = (onnx.Where(infinite, onnx.Sign(v), v) for v in (x, y))
    below, left = (
        onnx.Or(onnx.Less(v, 0.0), onnx.And(onnx.Equal(v, 0.0), onnx.Less(onnx.Reciprocal(v), 0.0))) for v in (y, x)
    )
    half = onnx.Where(below, np.full((), -np.pi, onnx.inputs[0].dtype), np.pi)
    inner = onnx.Where(onnx.Equal(y, 0.0), onnx.Where(left, onnx.Neg(y), y), onnx.Atan(onnx.Div(y, x)))
    return onnx.Where(left, onnx.Add(inner, half), inner)


def _hypotenuse_to_onnx(onnx, x, y):
    """Scaled by the longer side, so that no square overflows."""
    x, y = onnx.Abs(x), onnx.Abs(y)
    long = onnx.Max(x, y)
    ratio = onnx.Div(onnx.Min(x, y), long)
    length = onnx.Mul(long, onnx.Sqrt(onnx.Add(onnx.Mul(ratio, ratio), 1.0)))
    return onnx.Where(onnx.Or(onnx.Equal(long, 0.0), onnx.IsInf(long)), long, length)


def _power_to_torch(torch, x, y):
    """A negative number is no base of `**` in source: -2 ** y is -(2 ** y)."""
    return torch.pow(x, y) if isinstance(x, int | float) and x < 0 else x**y


def _power_to_onnx(onnx, x, y):
    """onnxruntime takes whole exponents of 32 and 64 bits alone."""
    dtype = onnx.inputs[1].dtype
    if dtype.kind in "iu" and dtype.name not in ("int32", "int64"):
        y = onnx.Cast(onnx.typed(y, dtype), to=onnx.element_type("int64"))
    return onnx.Pow(x, y)


def _modulo_to_keras(keras, x, y):
    """A bare number would be one of 32 bits on TensorFlow, whatever stands beside it."""
    x, y = (np.asarray(v, keras.outputs[0].dtype) if isinstance(v, int | float) else v for v in (x, y))
    return keras.ops.mod(x, y)


def _multiply_to_keras(keras, x, y):
    first, second = keras.node.inputs
    return keras.ops.square(x) if first is second else merged("Multiply", "multiply")(keras, x, y)


ADDITIVE = {"legacy": True, "symbolic": True}

Add = binary("Add", "x + y.", np.add, torch="+", keras=merged("Add", "add"), onnx="Add", ops=("ops.Add",),
             read=lambda x, y: (Or() if x.dtype == bool else Add())(x, y), **ADDITIVE)  # fmt: skip
Sub = binary("Sub", "x - y.", np.subtract, torch="-", keras=merged("Subtract", "subtract"), onnx="Sub",
             ops=("ops.Subtract",), **ADDITIVE)  # fmt: skip
Mul = binary("Mul", "x * y.", np.multiply, torch="*", keras=_multiply_to_keras, onnx="Mul", ops=("ops.Multiply",),
             aten=("aten.mul.Tensor", "aten.mul.Scalar", "aten.multiply.Tensor", "aten.multiply.Scalar"),
             read=lambda x, y: (And() if x.dtype == bool else Mul())(x, y), **ADDITIVE)  # fmt: skip
Div = binary("Div", "x / y; integers are divided and truncated towards 0.", _divide, torch=_divide_to_torch,
             keras=_divide_to_keras, onnx="Div", **ADDITIVE)  # fmt: skip
Pow = binary("Pow", "x to the power y.", np.power, torch=_power_to_torch, keras="power", onnx=_power_to_onnx,
             aten=("aten.pow.Tensor_Tensor", "aten.pow.Tensor_Scalar", "aten.pow.Scalar"))  # fmt: skip
Mod = binary("Mod", "The rest of x / y, with the sign of y.", np.mod, torch="%", keras=_modulo_to_keras, onnx=_modulo_to_onnx, ops=("ops.Mod",),
             aten=("aten.remainder.Tensor", "aten.remainder.Scalar", "aten.remainder.Scalar_Tensor"),
             symbolic=True)  # fmt: skip
Fmod = binary("Fmod", "The rest of x / y, with the sign of x.", np.fmod, torch="fmod", keras=_fmod_to_keras,
              onnx=_fmod_to_onnx, aten=("aten.fmod.Tensor", "aten.fmod.Scalar"), ops=("ops.Fmod",))  # fmt: skip
FloorDiv = binary("FloorDiv", "x / y rounded down.", np.floor_divide, torch="floor_divide", keras=_floor_divide_to_keras,
                  onnx=_floor_divide_to_onnx, aten=("aten.floor_divide.default", "aten.floor_divide.Scalar"),
                  ops=("ops.FloorDivide",),
                  symbolic=True)  # fmt: skip
Atan2 = binary("Atan2", "The angle of the point (y, x).", np.arctan2, torch="atan2", keras="arctan2",
               onnx=_angle_to_onnx, aten=("aten.atan2.default", "aten.arctan2.default"),
               operands=lambda call, y, x: [floating(call, v) for v in in_one_dtype(call, y, x)])  # fmt: skip
Hypot = binary("Hypot", "sqrt(x * x + y * y) without overflow.", np.hypot, torch="hypot", keras="hypot",
               onnx=_hypotenuse_to_onnx, aten=("aten.hypot.default",), scalars=False)  # fmt: skip


# --- importers that do more than promote ------------------------------------------------------------------------------


def scaled(call: Any, y: Any, alpha: Any) -> Any:
    return y if alpha == 1 else Mul()(*in_one_dtype(call, y, alpha))


@imports("torch", "aten.add.Tensor", "aten.add.Scalar")
def add_from_torch(call, x, y, alpha):
    x, y = in_one_dtype(call, x, scaled(call, y, alpha))
    return (Or() if x.dtype == bool else Add())(x, y)


@imports("torch", "aten.sub.Tensor", "aten.sub.Scalar", "aten.subtract.Tensor", "aten.subtract.Scalar")
def subtract_from_torch(call, x, y, alpha):
    return Sub()(*in_one_dtype(call, x, scaled(call, y, alpha)))


@imports("torch", "aten.rsub.Tensor", "aten.rsub.Scalar")
def reversed_subtract_from_torch(call, x, y, alpha):
    return Sub()(*in_one_dtype(call, y, scaled(call, x, alpha)))


@imports("torch", "aten.div.Tensor", "aten.div.Scalar", "aten.divide.Tensor", "aten.divide.Scalar",
         "aten.true_divide.Tensor", "aten.true_divide.Scalar")  # fmt: skip
@imports("keras", "ops.Divide", "ops.TrueDivide")
def true_divide(call, x, y):
    return Div()(*(floating(call, v) for v in in_one_dtype(call, x, y)))


def _from_chainer(kind: Any, *, constant: str = "") -> None:
    """Chainer's operators: on two variables (Add), a number last (AddConstant) or first (SubFromConstant)."""

    def read(call, *operands):
        number = (float(call.value),) if constant else ()
        return kind()(*(number + operands if "From" in constant else operands + number))

    read.__name__ = f"{kind.__name__} from chainer"
    imports("chainer", f"{kind.__name__}{constant}")(read)


for _kind in (Add, Sub, Mul, Div):
    _from_chainer(_kind)
    _from_chainer(_kind, constant="Constant" if _kind in (Add, Mul) else "FromConstant")


@imports("chainer", "PowVarConst")
def power_from_chainer(call, x):
    return Mul()(x, x) if call.value == 2 else Pow()(x, float(call.value))


@imports("torch", "aten.square.default")
@imports("keras", "ops.Square")
def square(call, x):
    x = x.cast(np.int64) if x.dtype == bool and call.graph.framework == "torch" else x
    (x,) = in_stated_dtype(call, x)
    return Mul()(x, x)


@imports("onnx", "Pow")
def old_power_from_onnx(node, x, y):
    return Pow()(*aligned(node, x, y))


@imports("onnx", "Pow", since=7)
def power_from_onnx(node, x, y):
    """The result has the dtype of the base, whatever that of the exponent."""
    if y.dtype.kind in "iu" or x.dtype.kind not in "iu":
        return Pow()(x, y.cast(x.dtype))
    return Pow()(x.cast(y.dtype), y).cast(x.dtype)


@imports("onnx", "Mod")
def modulo_from_onnx(node, x, y):
    return (Fmod() if node.fmod else Mod())(x, y)


@imports("onnx", "Sum")
def sum_from_onnx(node, *operands):
    return functools.reduce(Add(), operands)


# --- means of several arrays ------------------------------------------------------------------------------------------


@op
class Average(Pointwise):
    """The mean of several arrays, element by element."""

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(lambda *wide: functools.reduce(np.add, wide) / len(wide), *arrays)


@imports("onnx", "Mean")
def average_from_onnx(node, *operands):
    return Average()(*operands)


@exports("onnx", Average)
def average_to_onnx(op, onnx, *operands):
    return onnx.Mean(*operands) if onnx.runs("Mean") else onnx.Div(onnx.Sum(*operands), float(len(operands)))


@exports("torch", Average)
def average_to_torch(op, torch, *operands):
    return functools.reduce(SIGNS["+"], operands) / len(operands)


@exports("keras", Average)
def average_to_keras(op, keras, *operands):
    if merges(keras):
        return keras.place(keras.layers.Average())(list(operands))
    return keras.ops.divide(functools.reduce(keras.ops.add, operands), len(operands))


def _merges_from_keras(kind, floats=False):
    def read(layer, operands):
        """Operands of fewer axes get theirs after the batch."""
        operands = in_one_dtype(layer, *operands)
        operands = [floating(layer, v) for v in operands] if floats else operands
        rank = max(v.rank for v in operands)
        return kind(*(v.reshape(v.shape[0], *(1,) * (rank - v.rank), *v.shape[1:]) for v in operands))

    return read


def fold(kind):
    """A merge of any number of operands, from the left."""
    return _merges_from_keras(lambda *operands: functools.reduce(kind(), operands))


# --- matlab -----------------------------------------------------------------------------------------------------------


@imports("matlab", "additionLayer")
def add_from_matlab(layer, *parts):
    return functools.reduce(Add(), parts)


@imports("matlab", "multiplicationLayer")
def mul_from_matlab(layer, *parts):
    return functools.reduce(Mul(), parts)


@exports("matlab", Add)
@exports("matlab", Sub)
@exports("matlab", Mul)
@exports("matlab", Div)
def arithmetic_to_matlab(op, matlab, x, y):
    """Two results of one shape have a layer; with fixed numbers only the input layer computes, when it normalises."""
    function = {Add: "additionLayer", Mul: "multiplicationLayer"}.get(type(op), "")
    if function and matlab.computed(x) and matlab.computed(y) and matlab.inputs[0].shape == matlab.inputs[1].shape:
        return matlab.layer(function, x, y, NumInputs=2)
    return matlab.normalised(type(op).__name__, x, y)


for _layer, _kind in (("Add", Add), ("Subtract", Sub), ("Multiply", Mul)):
    imports("keras", _layer)(fold(_kind))
imports("keras", "Average")(_merges_from_keras(lambda *operands: Average()(*operands), floats=True))

SIGNED = {"dtype": "int32", "low": -9, "high": 9}
NOT_ZERO = {"numbers": (3, -2, 4, -7)}

for kind in (Add, Sub, Mul, Div, Mod, Fmod, FloorDiv, Atan2, Hypot):
    name = kind.__name__
    way = {
        Mod: {"onnx": "Mod with fmod=1, turned"},
        Fmod: {"keras": "mod of magnitudes"},
        FloorDiv: {"onnx": "the quotient without its rest"},
        Atan2: {"onnx": "Atan, turned"},
        Hypot: {"onnx": "Sqrt, scaled"},
    }.get(kind, {})
    case(f"math/{name}", kind(), (2, 3, 4), (2, 3, 4), composed=way)
    case(f"math/{name}_broadcast", kind(), (2, 3, 4), (4,), composed=way)
    case(f"math/{name}_number", kind(), (2, 3), constant(0.3), composed=way)
    case(f"math/{name}_of_a_number", kind(), constant(0.3), (2, 3), composed=way)
    lacking = {} if kind in (Add, Sub, Mul) else dict(IN_32_BITS)  # which are layers in Keras
    if kind is Atan2:
        lacking["onnx"] = "onnxruntime has no Atan for float64"
    for dtype in ("float16", "bfloat16", "float64"):
        case(f"math/{name}_{dtype}", kind(), Operand((3, 4), dtype=dtype), Operand((3, 4), dtype=dtype), composed=way,
             refused=lacking if dtype == "float64" else None)  # fmt: skip
    if kind not in (Atan2, Hypot):
        whole = {"keras": "floor_divide of magnitudes"} if kind is Div else {} if kind is Mod else way
        case(
            f"math/{name}_integers",
            kind(),
            Operand((3, 4), **SIGNED),
            Operand((4,), "constant", "int32", **NOT_ZERO),
            composed=whole,
        )
case("math/Add_one_axis_more", Add(), (3, 4), (2, 3, 4))
case("math/Mul_square", Mul(), (3, 4), (3, 4))
case("math/Pow", Pow(), Operand((2, 3, 4), low=0.1, high=3.0), (2, 3, 4))
case("math/Pow_number", Pow(), (2, 3), constant(3.0))
case("math/Pow_of_a_number", Pow(), constant(0.3), (2, 3))
for dtype in ("float16", "bfloat16", "float64"):
    case(f"math/Pow_{dtype}", Pow(), Operand((2, 3), dtype=dtype, low=0.1, high=3.0), Operand((2, 3), dtype=dtype),
         refused=IN_32_BITS if dtype == "float64" else None)  # fmt: skip
case("average/two", Average(), (2, 3, 4), (2, 3, 4))
case("average/three", Average(), (2, 3, 4), (2, 1, 4), (2, 3, 1))
