"""Bounds: the larger, the smaller, and what is clipped to a range.

| meaning                 | keras                                   | torch                       | onnx               |
|-------------------------|-----------------------------------------|-----------------------------|--------------------|
| Clip(0, 6)              | ReLU(max_value=6), relu6                | ReLU6                       | Clip               |
| Clip(0, m)              | ReLU(max_value=m)                       | clamp                       | Clip               |
| Clip(-1, 1)             | hard_tanh                               | Hardtanh                    | Clip               |
| Clip(low, high)         | clip                                    | clamp, Hardtanh(low, high)  | Clip               |
| one bound               | maximum, minimum                        | clamp                       | Clip               |
| a bound that is data    | maximum, minimum; layers of these names | maximum, minimum            | Max, Min           |

NaN passes through all of them. Before opset 11 the bounds of ONNX's Clip are attributes.
"""

import functools
from typing import Any

import numpy as np

from ..op import Operand, Pointwise, Value, case, exports, imports, maximum, op, shortest
from .math import fold, merged
from .precision import IN_32_BITS, exact_in_keras, extreme
from .promotion import in_one_dtype, number_of
from .table import binary

UNBOUNDED = float(np.finfo(np.float32).max)


@op
class Clip(Pointwise):
    """x, raised to `minimum` and then lowered to `maximum`; None is no bound."""

    minimum: float | None
    maximum: float | None
    tolerance = "exact"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        number = x.dtype.type
        with np.errstate(invalid="ignore"):
            x = x if self.minimum is None else np.maximum(x, number(self.minimum))
            return x if self.maximum is None else np.minimum(x, number(self.maximum))


def clipped(x: Value, minimum: Any, maximum: Any) -> Value:
    """`x` between bounds that are numbers, values or None: numbers become fields, all else Maximum and Minimum."""
    low, high = number_of(minimum), number_of(maximum)
    if low is None and minimum is not None:
        return clipped(Maximum()(x, minimum), None, maximum)
    if high is None and maximum is not None:
        return Minimum()(clipped(x, minimum, None), maximum)
    if low is None and high is None:
        return x
    whole = x.dtype.kind in "iu"
    low, high = (None if n is None else int(n) if whole else float(n) for n in (low, high))
    return Clip(minimum=low, maximum=high)(x)


def _bound(kind: Any, field: str) -> Any:
    """Maximum or Minimum of two operands; a Clip where one is a number."""

    def read(x: Value, y: Value) -> Value:
        for data, bound in ((x, y), (y, x)):
            if number_of(bound) is not None and bound.rank <= data.rank:
                return clipped(data, **{"minimum": None, "maximum": None, field: bound})
        return kind()(x, y)

    return read


def _larger(x: np.ndarray, y: np.ndarray) -> Any:
    return np.frompyfunc(maximum, 2, 1)(x, y) if x.dtype == object else np.maximum(x, y)


def _bounded_to_keras(layer: str, function: str) -> Any:
    write = merged(layer, function)

    def write_exactly(keras: Any, x: Any, y: Any) -> Any:
        exact_in_keras(keras, layer)
        if keras.outputs[0].dtype == bool:
            return getattr(keras.ops, "logical_or" if function == "maximum" else "logical_and")(x, y)
        if keras.outputs[0].dtype.kind in "iu":
            return extreme(keras, function, x, y)
        return write(keras, x, y)

    return write_exactly


Maximum = binary("Maximum", "The larger of two; NaN if one is.", _larger, torch="maximum",
                 keras=_bounded_to_keras("Maximum", "maximum"), onnx=lambda onnx, x, y: onnx.Max(x, y),
                 aten=("aten.maximum.default", "aten.max.other"),
                 ops=("ops.Maximum",), read=lambda x, y: _bound(Maximum, "minimum")(x, y), tolerance="exact",
                 symbolic=True)  # fmt: skip
Minimum = binary("Minimum", "The smaller of two; NaN if one is.", np.minimum, torch="minimum",
                 keras=_bounded_to_keras("Minimum", "minimum"), onnx=lambda onnx, x, y: onnx.Min(x, y),
                 aten=("aten.minimum.default", "aten.min.other"),
                 ops=("ops.Minimum",), read=lambda x, y: _bound(Minimum, "maximum")(x, y),
                 tolerance="exact")  # fmt: skip


# --- clip -------------------------------------------------------------------------------------------------------------


@imports("torch", "aten.clamp.default", "aten.clamp.Tensor", "aten.clip.default", "aten.clip.Tensor")
def clip_from_torch(call, x, minimum, maximum):
    given = [b for b in (minimum, maximum) if b is not None]
    x, *given = in_one_dtype(call, x, *given)
    return clipped(x, given[0] if minimum is not None else None, given[-1] if maximum is not None else None)


@imports("torch", "aten.clamp_min.default", "aten.clamp_min.Tensor")
def clamp_min_from_torch(call, x, minimum):
    return clipped(*in_one_dtype(call, x, minimum), None)


@imports("torch", "aten.clamp_max.default", "aten.clamp_max.Tensor")
def clamp_max_from_torch(call, x, maximum):
    x, maximum = in_one_dtype(call, x, maximum)
    return clipped(x, None, maximum)


@imports("torch", "aten.relu6.default")
@imports("keras", "ops.Relu6", "activations.relu6")
def relu6(call, x):
    return clipped(x, 0, 6)


@imports("torch", "aten.hardtanh.default")
def hard_tanh_from_torch(call, x, minimum, maximum):
    return clipped(x, minimum, maximum)


@imports("keras", "ops.HardTanh", "activations.hard_tanh")
def hard_tanh_from_keras(call, x):
    return clipped(x, -1, 1)


@imports("keras", "ops.Clip")
def clip_from_keras(call, x):
    return clipped(*in_one_dtype(call, x, call.x_min, call.x_max))


@imports("onnx", "Clip")
def old_clip_from_onnx(node, x):
    """Bounds that are left out are the largest float32 numbers: no bounds, for float32."""
    low, high = (
        None if bound is None or abs(bound) >= UNBOUNDED else shortest(bound) for bound in (node.min, node.max)
    )
    return clipped(x, low, high)


@imports("onnx", "Clip", since=11)
def clip_from_onnx(node, x, minimum=None, maximum=None):
    return clipped(x, minimum, maximum)


@imports("matlab", "clippedReluLayer")
def clip_from_matlab(layer, x):
    return Clip(minimum=0.0, maximum=layer.Ceiling)(x)


@exports("matlab", Clip)
def clip_to_matlab(op, matlab, x):
    if op.minimum != 0 or op.maximum is None:
        raise matlab.refuse(f"{op}", why="MATLAB's clippedReluLayer begins at 0", instead="Write it as a layer of your own")
    return matlab.layer("clippedReluLayer", x, Ceiling=float(op.maximum))


@exports("torch", Clip)
def clip_to_torch(op, torch, x):
    if (op.minimum, op.maximum) == (0.0, 6.0) and torch.inputs[0].dtype.kind in "fV":
        return torch.place(torch.nn.ReLU6())(x)
    if (op.minimum, op.maximum) == (-1.0, 1.0) and torch.inputs[0].dtype.kind in "fV":
        return torch.place(torch.nn.Hardtanh())(x)
    return torch.clamp(x, op.minimum, op.maximum)


@exports("keras", Clip)
def clip_to_keras(op, keras, x):
    if op.minimum is None:
        return extreme(keras, "minimum", x, op.maximum)
    if op.maximum is None:
        return extreme(keras, "maximum", x, op.minimum)
    if op.minimum > op.maximum:  # where bounds cross, the backends of Keras disagree
        return extreme(keras, "minimum", extreme(keras, "maximum", x, op.minimum), op.maximum)
    if keras.inputs[0].dtype.kind in "fV":
        if op.minimum == 0 <= op.maximum:
            return keras.place(keras.layers.ReLU(max_value=op.maximum))(x)
        if (op.minimum, op.maximum) == (-1.0, 1.0):
            return keras.place(keras.layers.Activation("hard_tanh"))(x)
    return keras.ops.clip(x, op.minimum, op.maximum)


@exports("onnx", Clip)
def clip_to_onnx(op, onnx, x):
    if op.minimum is None:  # a Clip without a bound has the largest number for one, and makes that of infinity
        return onnx.Min(x, op.maximum)
    if op.maximum is None:
        return onnx.Max(x, op.minimum)
    return onnx.Clip(x, op.minimum, op.maximum)


# --- others -----------------------------------------------------------------------------------------------------------


@imports("onnx", "Max")
def maximum_from_onnx(node, *operands):
    return functools.reduce(_bound(Maximum, "minimum"), operands)


@imports("onnx", "Min")
def minimum_from_onnx(node, *operands):
    return functools.reduce(_bound(Minimum, "maximum"), operands)


imports("keras", "Maximum")(fold(Maximum))
imports("keras", "Minimum")(fold(Minimum))


for name, low, high in (("both", -0.7, 1.3), ("relu6", 0.0, 6.0), ("clipped_relu", 0.0, 1.25), ("hard_tanh", -1.0, 1.0),
                        ("crossed", 2.0, -1.0), ("minimum", 0.3, None), ("maximum", None, 0.3)):  # fmt: skip
    way = {"keras": "minimum of maximum"} if name == "crossed" else {}
    case(f"clip/{name}", Clip(minimum=low, maximum=high), Operand((3, 4, 5), low=-9.0, high=9.0), composed=way)
for name in ("float16", "bfloat16", "float64"):
    case(f"clip/{name}", Clip(minimum=-0.75, maximum=1.25), Operand((3, 4), dtype=name))
for name in ("int32", "int64", "int16", "uint8"):
    case(f"clip/{name}", Clip(minimum=1, maximum=3), Operand((3, 4), dtype=name, low=0, high=9))
for low, high in ((-0.7, 1.3), (-0.7, None), (None, 1.3)):
    numbers = (float("nan"), float("inf"), float("-inf"), -0.0, 1.0)
    case(f"clip/special_{low}_{high}", Clip(minimum=low, maximum=high), Operand((5,), numbers=numbers))
for kind in (Maximum, Minimum):
    case(f"bounds/{kind.__name__}", kind(), (2, 3, 4), (2, 1, 4))
    case(f"bounds/{kind.__name__}_other_rank", kind(), (2, 3, 4), (4,))
    for name in ("float16", "bfloat16", "float64", "int64", "int16"):
        case(
            f"bounds/{kind.__name__}_{name}", kind(), Operand((3, 4), dtype=name), Operand((3, 4), dtype=name),
            refused=IN_32_BITS if name == "float64" else None,
            composed=dict.fromkeys(IN_32_BITS, "where, and a comparison") if name == "int64" else None,
        )  # fmt: skip
