"""Comparisons, and choices by them: a row each (see `table`), and `Where`.

| meaning             | keras             | torch                     | onnx                              |
|---------------------|-------------------|---------------------------|-----------------------------------|
| not equal           | not_equal         | !=                        | Not(Equal)                        |
| one or the other    | where, select     | where, masked_fill        | Where                             |
| faults replaced     | nan_to_num        | nan_to_num                | Where of IsNaN, IsInf             |
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Operand, Pointwise, Shape, Size, Value, agree, case, constant, exports, imports, op
from .precision import IN_32_BITS
from .promotion import as_value, in_one_dtype, in_stated_dtype
from .table import binary


def _equal(x: np.ndarray, y: np.ndarray) -> Any:
    if x.dtype != object:
        return np.equal(x, y)
    return np.asarray(np.frompyfunc(_equal_sizes, 2, 1)(x, y), bool)  # of sizes, or of text


def _equal_sizes(x: Any, y: Any) -> bool:
    """Whether two sizes are equal; an open one is never a negative number, and may be any other."""
    if not isinstance(x, Size) and not isinstance(y, Size):
        return bool(x == y)
    if agree(x, y):
        return True
    if any(not isinstance(v, Size) and v < 0 for v in (x, y)):
        return False
    raise Refused(
        f"the comparison {x} == {y}", why="it is decided by an open size", hint="Fix that dimension with input_shapes"
    )


def _named(name: str, aliases: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"aten.{n}.{overload}" for n in (name, *aliases) for overload in ("Tensor", "Scalar"))


COMPARISON = {"tolerance": "exact", "predicate": True}


def _ordered_in_keras(function: str) -> Any:
    """Of truths too, for which TensorFlow knows no order."""

    def write(keras: Any, *operands: Any) -> Any:
        if keras.inputs[0].dtype == bool:
            operands = tuple(int(v) if isinstance(v, bool) else keras.ops.cast(v, "uint8") for v in operands)
        return getattr(keras.ops, function)(*operands)

    return write


Equal = binary("Equal", "x == y.", _equal, torch="==", keras="equal", onnx="Equal", aten=_named("eq", ()), legacy=True,
               symbolic=True, **COMPARISON)  # fmt: skip
NotEqual = binary("NotEqual", "x != y; NaN differs from itself.", np.not_equal, torch="!=", keras="not_equal",
                  onnx=lambda onnx, x, y: onnx.Not(onnx.Equal(x, y)), aten=_named("ne", ("not_equal",)),
                  **COMPARISON)  # fmt: skip
Less = binary("Less", "x < y.", np.less, torch="<", keras=_ordered_in_keras("less"), onnx="Less",
              aten=_named("lt", ("less",)), ops=("ops.Less",), legacy=True, **COMPARISON)  # fmt: skip
LessOrEqual = binary("LessOrEqual", "x <= y.", np.less_equal, torch="<=", keras=_ordered_in_keras("less_equal"),
                     onnx="LessOrEqual", aten=_named("le", ("less_equal",)), ops=("ops.LessEqual",), **COMPARISON)  # fmt: skip
Greater = binary("Greater", "x > y.", np.greater, torch=">", keras=_ordered_in_keras("greater"), onnx="Greater",
                 aten=_named("gt", ("greater",)), ops=("ops.Greater",), legacy=True, **COMPARISON)  # fmt: skip
GreaterOrEqual = binary("GreaterOrEqual", "x >= y.", np.greater_equal, torch=">=",
                        keras=_ordered_in_keras("greater_equal"), onnx="GreaterOrEqual",
                        aten=_named("ge", ("greater_equal",)), ops=("ops.GreaterEqual",), **COMPARISON)  # fmt: skip


# --- choices ----------------------------------------------------------------------------------------------------------


@op
class Where(Pointwise):
    """x where the condition holds, y elsewhere. Operands: condition, x, y."""

    tolerance = "exact"
    scalars = True
    symbolic = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        condition, x, _ = inputs
        if condition.dtype != bool:
            raise TypeError(f"{self} takes a boolean condition, received {condition!r}: cast in the importer")
        ((shape, _),) = super().infer(*inputs[1:])
        like = Value(condition.graph, "", shape, condition.dtype)
        return [(super().infer(condition, like)[0][0], x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        condition, x, y = arrays
        return np.where(condition.astype(bool), x, y)

    def __call__(self, *operands: Any) -> Any:
        """A bare number takes the dtype of the other choice, not that of the condition."""
        condition, x, y = operands
        dtype = next(v.dtype for v in (x, y) if isinstance(v, Value))
        return super().__call__(
            condition, *(v if isinstance(v, Value) else condition.graph.constant(v, dtype) for v in (x, y))
        )


@imports("torch", "aten.where.self", "aten.where.ScalarSelf", "aten.where.ScalarOther", "aten.where.Scalar")
@imports("keras", "ops.Where")
def where(call, condition, x=None, y=None):
    if x is None or y is None:
        raise Refused("where without the two choices", why="how many places it finds depends on the data", hint="Use nonzero")
    return Where()(as_value(call, condition).cast(bool), *in_one_dtype(call, x, y))


@imports("torch", "aten.masked_fill.Scalar", "aten.masked_fill.Tensor")
def masked_fill_from_torch(call, x, mask, value):
    return Where()(mask, as_value(call, value, x.dtype), x)


@imports("keras", "ops.Select")
def select_from_keras(call, conditions, choices, default=0):
    """The first condition that holds decides."""
    *choices, result = in_stated_dtype(call, *in_one_dtype(call, *choices, default))
    for condition, choice in reversed(list(zip(conditions, choices, strict=True))):
        result = Where()(as_value(call, condition).cast(bool), choice, result)
    return result


@imports("onnx", "Where")
def where_from_onnx(node, condition, x, y):
    return Where()(condition, x, y)


@exports("torch", Where)
def where_to_torch(op, torch, condition, x, y):
    if _numbers(x, y):  # of themselves they would be float32 or int64
        x = torch.tensor(torch.node.inputs[1])
    return torch.where(torch.tensor(torch.node.inputs[0]), x, y)


def _numbers(*operands):
    return all(isinstance(o, bool | int | float) for o in operands)


@exports("keras", Where)
def where_to_keras(op, keras, condition, x, y):
    if _numbers(x, y):  # of themselves they would be float32 or int32
        x = np.asarray(x, keras.outputs[0].dtype)
    return keras.ops.where(condition, x, y)


@exports("onnx", Where)
def where_to_onnx(op, onnx, condition, x, y):
    return onnx.Where(onnx.typed(condition, np.dtype(bool)), onnx.typed(x, onnx.outputs[0].dtype), y)


@op
class NanToNum(Pointwise):
    """x, its faults replaced: NaN by `nan`, the infinities by `highest` and `lowest`."""

    nan: float
    highest: float
    lowest: float
    tolerance = "exact"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        number = x.dtype.type
        with np.errstate(over="ignore"):
            nan, highest, lowest = number(self.nan), number(self.highest), number(self.lowest)
        x = np.where(np.isnan(x), nan, x)
        return np.where(x == np.inf, highest, np.where(x == -np.inf, lowest, x)).astype(arrays[0].dtype)


@imports("torch", "aten.nan_to_num.default")
def nan_to_num_from_torch(call, x, nan, highest, lowest):
    return _nan_to_num(x, nan, highest, lowest)


@imports("keras", "ops.NanToNum")
def nan_to_num_from_keras(call, x):
    return _nan_to_num(x, call.nan, call.posinf, call.neginf)


def _nan_to_num(x, nan, highest, lowest):
    """What is left out is 0 for NaN and the largest and smallest number of the dtype for the infinities."""
    if x.dtype.kind not in "fV":
        return x
    largest = float(np.nextafter(x.dtype.type(np.inf), x.dtype.type(0)))
    return NanToNum(
        nan=float(nan or 0.0),
        highest=largest if highest is None else float(highest),
        lowest=-largest if lowest is None else float(lowest),
    )(x)


@exports("torch", NanToNum)
def nan_to_num_to_torch(op, torch, x):
    return torch.nan_to_num(x, nan=op.nan, posinf=op.highest, neginf=op.lowest)


@exports("keras", NanToNum)
def nan_to_num_to_keras(op, keras, x):
    return keras.ops.nan_to_num(x, nan=op.nan, posinf=op.highest, neginf=op.lowest)


@exports("onnx", NanToNum)
def nan_to_num_to_onnx(op, onnx, x):
    x = onnx.Where(onnx.IsNaN(x), op.nan, x)
    x = onnx.Where(onnx.IsInf(x, detect_negative=0), op.highest, x)
    return onnx.Where(onnx.IsInf(x, detect_positive=0), op.lowest, x)


SPECIAL = (float("nan"), float("inf"), float("-inf"), 0.0, -0.0, 1.5, -2.0)

for kind in (Equal, NotEqual, Less, LessOrEqual, Greater, GreaterOrEqual):
    whole = {"dtype": "int32", "low": -2, "high": 2}
    case(f"compare/{kind.__name__}", kind(), (2, 3, 4), (4,))
    case(f"compare/{kind.__name__}_number", kind(), (2, 3), constant(0.25))
    case(f"compare/{kind.__name__}_integers", kind(), Operand((3, 4), **whole), Operand((4,), **whole))
    case(
        f"compare/{kind.__name__}_special",
        kind(),
        Operand((7,), numbers=SPECIAL),
        Operand((7,), numbers=SPECIAL[::-1]),
    )
case("where/broadcast", Where(), Operand((3, 1), dtype="bool"), (2, 1, 4), (3, 4))
case("where/number", Where(), Operand((3, 4), dtype="bool"), (3, 4), constant(0.25))
case("where/two_numbers", Where(), Operand((3, 4), dtype="bool"), constant(2.0, "float64"), constant(0.25, "float64"),
     refused=IN_32_BITS)  # fmt: skip
case(
    "where/special",
    Where(),
    Operand((7,), numbers=(0, 1, 0, 1, 1, 1, 0), dtype="bool"),
    Operand((7,), numbers=SPECIAL),
    (7,),
)
for name in ("int64", "int16", "bool", "float16", "bfloat16"):
    case(
        f"where/{name}",
        Where(),
        Operand((3, 4), dtype="bool"),
        Operand((3, 4), dtype=name),
        Operand((3, 4), dtype=name),
    )
for name in ("float32", "float16", "float64", "bfloat16"):
    case(f"nan_to_num/{name}", NanToNum(nan=0.5, highest=7.0, lowest=-9.0), Operand((7,), dtype=name, numbers=SPECIAL),
         composed={"onnx": "Where of IsNaN and IsInf"})  # fmt: skip
