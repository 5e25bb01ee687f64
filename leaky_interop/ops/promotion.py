"""Operands of one dtype: what torch and Keras promote by their own rules becomes explicit casts at the importer.

Both rank kinds of numbers (bool < integer < float) above widths, and let a Python number take the dtype beside it as
long as its kind is not higher; torch treats a tensor without axes like that too. ONNX promotes nothing.
"""

from typing import Any

import numpy as np

from ..op import Size, Value, shortest

INTEGER = {"torch": np.dtype(np.int64), "keras": np.dtype(np.int32), "onnx": np.dtype(np.int64)}  # of a Python int
KINDS = {"b": 0, "i": 1, "u": 1, "f": 2, "V": 2, "O": 3}  # V: bfloat16; O: text


def in_one_dtype(call: Any, *operands: Any) -> list[Value]:
    """Values, numbers, arrays and sizes as values of the dtype that the source computes with."""
    framework = call.graph.framework
    full: list[np.dtype] = []
    weak: list[np.dtype] = []
    numbers: list[np.dtype] = []
    for operand in operands:
        if isinstance(operand, bool | int | float | Size):
            numbers.append(_dtype_of_number(operand, framework))
        elif framework == "torch" and len(operand.shape) == 0:
            weak.append(operand.dtype)
        else:
            full.append(operand.dtype)
    dtype = None
    for found in (widest(full), widest(weak), widest(numbers)):
        if found is not None and (dtype is None or KINDS[found.kind] > KINDS[dtype.kind]):
            dtype = found
    return [as_value(call, _held(call, o, dtype), dtype) for o in operands]


def _held(call: Any, operand: Any, dtype: np.dtype | None) -> Any:
    """A Python number beside float64 as the source holds it: in functional models Keras makes a float32 of it first.

    Not on TensorFlow, and not where code runs on the backend's own tensors.
    """
    narrow = isinstance(operand, float) and dtype == np.float64 and call.graph.framework == "keras"
    return float(np.float32(operand)) if narrow and not getattr(call, "in_code", True) and call.backend != "tensorflow" else operand


def widest(dtypes: list[np.dtype]) -> np.dtype | None:
    """The dtype that holds all of the highest kind among these; float16 with bfloat16 is float32. None for none."""
    highest = max((KINDS[d.kind] for d in dtypes), default=None)
    members = {d for d in dtypes if KINDS[d.kind] == highest}
    if len(members) < 2:
        return next(iter(members), None)
    if highest == KINDS["i"]:
        return np.result_type(*members)
    size = max(d.itemsize for d in members)
    return np.dtype(np.float32) if size == 2 else next(d for d in members if d.itemsize == size)


def floating(call: Any, x: Any) -> Value:
    """`x` as floats: integers and booleans become float32, the default of torch and Keras."""
    value = as_value(call, x)
    return value if KINDS[value.dtype.kind] == KINDS["f"] else value.cast(np.float32)


def in_stated_dtype(call: Any, *values: Value) -> list[Value]:
    """Values in the dtype that Keras computes a function's result in; as they are where nothing states one."""
    stated = getattr(call, "stated", ()) if call.graph.framework == "keras" else ()
    return [v.cast(stated[0]) if stated and stated[0] is not None else v for v in values]


def as_value(call: Any, x: Any, dtype: Any = None) -> Value:
    """Whatever an importer may be handed, as a value; of the given dtype if there is one."""
    if isinstance(x, Size):
        x = call.graph.of_sizes(x)
    elif isinstance(x, bool | int | float):
        x = call.graph.constant(x, _dtype_of_number(x, call.graph.framework) if dtype is None else dtype)
    elif not isinstance(x, Value):
        x = call.graph.constant(x)
    return x if dtype is None else x.cast(dtype)


def number_of(x: Any) -> Any:
    """The Python number that an operand is: a bare one, or a constant of one element. None for all else."""
    if isinstance(x, bool | int | float):
        return x
    if not isinstance(x, Value) or not x.is_constant or x.shape != (1,) * x.rank:
        return None
    number = x.array().item()
    return shortest(number) if x.dtype == np.float32 else number


def aligned(node: Any, x: Value, y: Value) -> tuple[Value, Value]:
    """ONNX before opset 7: the axes of `y` are those of `x` from `axis` on."""
    if node.broadcast and node.axis is not None and y.rank:
        y = y.reshape(*y.shape, *(1,) * (x.rank - node.axis % x.rank - y.rank))
    return x, y


def _dtype_of_number(number: Any, framework: str) -> np.dtype:
    if isinstance(number, bool):
        return np.dtype(bool)
    return np.dtype(np.float32) if isinstance(number, float) else INTEGER[framework]
