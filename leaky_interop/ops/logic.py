"""Logic on booleans and on the bits of integers: a row each (see `table`).

torch writes both with one sign, `x & y`; Keras and ONNX have a function for each. ONNX shifts only unsigned integers:
signed ones are shifted as the unsigned ones of the same bits.
"""

import numpy as np

from ..op import Operand, case, constant, importer_of, imports
from .promotion import as_value, in_one_dtype
from .table import binary, unary


def boolean(call, x):
    """`x` as truth: whatever is not zero is true."""
    return as_value(call, x).cast(bool)


def booleans(call, *operands):
    """Operands as truth."""
    return [boolean(call, x) for x in operands]


def _shift_left_to_onnx(onnx, x, y):
    return _shifted(onnx, x, y, "LEFT")


def _shift_right_to_onnx(onnx, x, y):
    """A negative number shifts in ones: turn its bits around, shift, and turn them back."""
    if onnx.outputs[0].dtype.kind == "u":
        return onnx.BitShift(x, y, direction="RIGHT")
    negative = onnx.Less(x, 0)
    shifted = _shifted(onnx, onnx.Where(negative, onnx.BitwiseNot(x), x), y, "RIGHT")
    return onnx.Where(negative, onnx.BitwiseNot(shifted), shifted)


def _shifted(onnx, x, y, direction):
    dtype = onnx.outputs[0].dtype
    if dtype.kind == "u":
        return onnx.BitShift(x, y, direction=direction)
    unsigned = onnx.element_type(f"u{dtype.name}")
    x, y = (onnx.Cast(onnx.typed(v, dtype), to=unsigned) for v in (x, y))
    return onnx.Cast(onnx.BitShift(x, y, direction=direction), to=onnx.element_type(dtype))


def _shifts(call, x, y):
    """Keras on TensorFlow shifts by as many places as there are, at most, and never back."""
    from .bounds import clipped

    x, y = in_one_dtype(call, x, y)
    places = 8 * y.dtype.itemsize - 1
    return x, clipped(y, 0, places) if call.graph.framework == "keras" and call.backend == "tensorflow" else y


LOGIC = {"tolerance": "exact", "predicate": True, "operands": booleans, "legacy": True}
BITS = {"tolerance": "exact", "scalars": False}
SHIFTS = {**BITS, "operands": _shifts}

Not = unary("Not", "Whether x is false.", np.logical_not, torch="logical_not", keras="logical_not", onnx="Not",
            tolerance="exact", predicate=True, operand=boolean)  # fmt: skip
And = binary("And", "Whether both are true.", np.logical_and, torch="&", keras="logical_and", onnx="And",
             aten=("aten.logical_and.default",), **LOGIC)  # fmt: skip
Or = binary("Or", "Whether one or both are true.", np.logical_or, torch="|", keras="logical_or", onnx="Or",
            aten=("aten.logical_or.default",), **LOGIC)  # fmt: skip
Xor = binary("Xor", "Whether just one is true.", np.logical_xor, torch="^", keras="logical_xor", onnx="Xor",
             aten=("aten.logical_xor.default",), **LOGIC)  # fmt: skip


def _of_bits(name):
    """The names of a torch operator on bits, which is the logical one where the operands are booleans."""
    overloads = ("Tensor", "Scalar", "Scalar_Tensor")
    return (*(f"aten.bitwise_{name}.{o}" for o in overloads), *(f"aten.__{name}__.{o}" for o in overloads[:2]))


BitwiseNot = unary("BitwiseNot", "Every bit turned around.", np.invert, torch="bitwise_not", keras="bitwise_not",
                   onnx="BitwiseNot", operand=as_value, read=lambda x: (Not() if x.dtype == bool else BitwiseNot())(x),
                   **BITS)  # fmt: skip
BitwiseAnd = binary("BitwiseAnd", "The bits set in both.", np.bitwise_and, torch="&", keras="bitwise_and",
                     onnx="BitwiseAnd", aten=_of_bits("and"),
                      read=lambda *v: (And() if v[0].dtype == bool else BitwiseAnd())(*v),
                    **BITS)  # fmt: skip
BitwiseOr = binary("BitwiseOr", "The bits set in one or both.", np.bitwise_or, torch="|", keras="bitwise_or",
                    onnx="BitwiseOr", aten=_of_bits("or"),
                     read=lambda *v: (Or() if v[0].dtype == bool else BitwiseOr())(*v),
                   **BITS)  # fmt: skip
BitwiseXor = binary("BitwiseXor", "The bits set in just one.", np.bitwise_xor, torch="^", keras="bitwise_xor",
                     onnx="BitwiseXor", aten=_of_bits("xor"),
                      read=lambda *v: (Xor() if v[0].dtype == bool else BitwiseXor())(*v),
                    **BITS)  # fmt: skip
LeftShift = binary("LeftShift", "Bits moved up by y places.", np.left_shift, torch="<<", keras="bitwise_left_shift",
                   onnx=_shift_left_to_onnx, ops=("ops.LeftShift",),
                   aten=("aten.bitwise_left_shift.Tensor", "aten.bitwise_left_shift.Tensor_Scalar",
                         "aten.__lshift__.Tensor", "aten.__lshift__.Scalar"), **SHIFTS)  # fmt: skip
RightShift = binary("RightShift", "Bits moved down by y places; negative numbers stay negative.", np.right_shift,
                    torch=">>", keras="bitwise_right_shift", onnx=_shift_right_to_onnx, ops=("ops.RightShift",),
                    aten=("aten.bitwise_right_shift.Tensor", "aten.bitwise_right_shift.Tensor_Scalar",
                          "aten.__rshift__.Tensor", "aten.__rshift__.Scalar"), **SHIFTS)  # fmt: skip

imports("keras", "ops.BitwiseInvert")(importer_of("keras", "ops.BitwiseNot"))


@imports("onnx", "BitShift")
def shift_from_onnx(node, x, y):
    return (LeftShift() if node.direction == "LEFT" else RightShift())(x, y)


case("not/booleans", Not(), Operand((3, 4), dtype="bool"))
for kind in (And, Or, Xor):
    case(f"{kind.__name__.lower()}/broadcast", kind(), Operand((3, 4), dtype="bool"), Operand((4,), dtype="bool"))
case("bitwise_not/signed", BitwiseNot(), Operand((3, 4), dtype="int32", low=-9, high=9))
for kind in (BitwiseAnd, BitwiseOr, BitwiseXor):
    numbers = {"low": -9, "high": 9}
    case(
        f"bits/{kind.__name__}",
        kind(),
        Operand((3, 4), dtype="int32", **numbers),
        Operand((4,), dtype="int32", **numbers),
    )
    case(f"bits/{kind.__name__}_with_a_number", kind(), Operand((3, 4), dtype="int64", **numbers), constant(5, "int64"))
for kind in (LeftShift, RightShift):
    case(f"bits/{kind.__name__}_signed", kind(), Operand((3, 4), dtype="int32", low=-99, high=99),
         Operand((4,), dtype="int32", high=4))  # fmt: skip
    case(f"bits/{kind.__name__}_unsigned", kind(), Operand((3, 4), dtype="uint8", high=200), constant(2, "uint8"))
