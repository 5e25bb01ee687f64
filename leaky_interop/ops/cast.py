"""Casts, what leaves data as it is, and the sizes of a value.

| meaning | keras                                 | torch                     | onnx           |
|---------|---------------------------------------|---------------------------|----------------|
| Cast    | ops.cast                              | to, float, type_as        | Cast, CastLike |
| BitCast | ops.view                              | view(dtype)               | since 26       |
| nothing | ops.copy                              | contiguous, clone, detach |                |
| sizes   | ops.size                              | size, numel               | Shape, Size    |

Floats of 8 bits and fewer, integers of 4 and 2 bits: see narrow.py, which reads ONNX's two.

Sizes are known before the run, as numbers or expressions: no operator remains of them.
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Link, Moved, Op, Operand, Perm, Shape, Value, case, exports, imports, op, product
from .expand import expanded
from .join import joined
from .narrow import INTEGERS, LARGEST, NO_FLOAT4, SATURATING, in_float32, narrow_in_keras, narrow_in_torch, narrowed


def each(function: Any, *arrays: np.ndarray) -> np.ndarray:
    """A function of texts or numbers on every element."""
    return np.asarray(np.frompyfunc(function, len(arrays), 1)(*arrays), object)


def as_text(number: Any) -> str:
    """A number as onnxruntime writes it: eight digits of a float, "INF" and "NaN"."""
    if isinstance(number, str):
        return number
    if isinstance(number, bool | np.bool_ | int | np.integer):
        return str(int(number))
    if np.isnan(float(number)):
        return "NaN"
    return f"{float(number):.8g}".replace("inf", "INF")


@op
class Cast(Op):
    """The numbers in another dtype: float to integer truncates, to bool asks whether it is not zero.

    What a narrower float cannot hold becomes infinite, NaN where it has no infinity, its largest where it has neither.
    """

    dtype: str
    tolerance = "exact"
    symbolic = True
    any_dtype = True
    texts = True

    @property
    def grid(self) -> str:  # type: ignore[override]
        return "made" if self.dtype in LARGEST else "kept"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        from ..numeric import dtype

        return [(inputs[0].shape, dtype(self.dtype))]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        from ..numeric import dtype

        (x,) = arrays
        if self.dtype == "object":
            return each(as_text, x)
        if x.dtype == object and x.size and not isinstance(x.flat[0], str):  # sizes
            return x
        with np.errstate(invalid="ignore", over="ignore"):
            number = float if dtype(self.dtype).kind in "fV" else int
            return (each(number, x) if x.dtype == object else x).astype(dtype(self.dtype))

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(self, (perm,), (perm,))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        return [Link({0: axis}, axis) for axis in range(inputs[0].rank)]


@imports(
    "torch", "aten.to.dtype", "aten.to.other", "aten.to.dtype_layout", "aten._to_copy.default", "aten.type_as.default"
)
def cast_from_torch(call, x, dtype, *_):
    """float8_e4m3fn saturates (as of torch 2.13; other float8 become infinite or NaN), a power of two is the nearer one."""
    if dtype is None:
        return x
    dtype = np.dtype(dtype.dtype if isinstance(dtype, Value) else dtype)
    if dtype.kind == "c":  # a pair of each number and 0
        real = x.cast(np.empty(0, dtype).real.dtype).reshape(*x.shape, 1)
        nothing = x.graph.constant(np.zeros((1,) * real.rank, real.dtype))
        return joined(call, [real, expanded(nothing, real.shape)], -1)
    return narrowed(x, dtype, dtype.name == "float8_e4m3fn", "nearest")


@imports("torch", "aten.to.device")
def moved_from_torch(call, x, device, dtype, *_):
    return x.cast(dtype)


@imports("keras", "ops.Cast", "ops.ConvertToTensor")
def cast_from_keras(call, x, dtype=None):
    dtype = call.dtype if dtype is None else dtype
    return x if dtype is None else x.cast(dtype)


@imports("onnx", "Cast")
def old_cast_from_onnx(node, x):
    return x.cast("float32" if node.to == "FLOAT" else "float64" if node.to == "DOUBLE" else node.to.lower())


@imports("torch", "aten.contiguous.default", "aten.clone.default", "aten.detach.default", "aten.alias.default")
@imports("torch", "aten.lift_fresh_copy.default", "aten.lift_fresh.default", "aten.positive.default")
@imports("keras", "ops.Copy")
def unchanged(call, x, *_):
    return x


@exports("torch", Cast)
def cast_to_torch(op, torch, x):
    if op.dtype == "object":
        return x if torch.inputs[0].dtype == object else torch.control("ToText")(x)
    if torch.inputs[0].dtype == object:
        return torch.control("FromText", dtype=torch.torch_dtype(op.dtype))(x)
    if op.dtype in INTEGERS:
        return narrow_in_torch(torch, x, op.dtype)
    return narrow_in_torch(torch, in_float32(torch, x), op.dtype) if op.dtype in LARGEST else x.to(torch.torch_dtype(op.dtype))


@exports("onnx", Cast)
def cast_to_onnx(op, onnx, x):
    if op.dtype in INTEGERS and onnx.inputs[0].dtype.kind not in "iub":  # onnxruntime rounds there, instead of truncating
        x = onnx.Cast(x, to=onnx.element_type("int32"))
    return onnx.Cast(x, to=onnx.element_type(op.dtype), saturate=0 if op.dtype in SATURATING else None)


@exports("keras", Cast)
def cast_to_keras(op, keras, x):
    if op.dtype in INTEGERS:
        return narrow_in_keras(keras, x, op.dtype)
    if op.dtype in keras.lacking:  # Keras holds it in more bits
        low = keras.ops.bitwise_and(keras.ops.cast(x, "int64"), np.array(np.iinfo(op.dtype).max, np.int64))
        return keras.ops.cast(low, "int32") if op.dtype == "uint16" else low
    return narrow_in_keras(keras, keras.ops.cast(x, "float32"), op.dtype) if op.dtype in LARGEST else keras.ops.cast(x, op.dtype)


# --- bits ---------------------------------------------------------------------------------------------------------------


@op
class BitCast(Op):
    """The bits of numbers of the dtype `source` read as another dtype of the same width."""

    source: str
    dtype: str
    tolerance = "exact"
    any_dtype = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        from ..numeric import dtype

        if dtype(self.dtype).itemsize != inputs[0].dtype.itemsize:
            raise ValueError(f"{self} does not fit the width of {inputs[0]!r}")
        return [(inputs[0].shape, dtype(self.dtype))]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        from ..numeric import dtype

        held = arrays[0].astype(dtype(self.source))  # verification also runs networks in float64
        return np.ascontiguousarray(held).view(dtype(self.dtype)).reshape(held.shape)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(self, (perm,), (perm,))


def bit_cast(x: Value, dtype: Any) -> Value:
    """The operator; a boolean's bits are those of 0 and 1, and any other bit makes one true."""
    dtype = np.dtype(dtype)
    if dtype.itemsize != x.dtype.itemsize:
        raise Refused(f"the bits of {x.dtype} as {dtype}", why="only a dtype of the same width keeps the shape")
    return x.cast(dtype) if dtype == x.dtype or bool in (x.dtype, dtype) else BitCast(source=x.dtype.name, dtype=dtype.name)(x)


@imports("torch", "aten.view.dtype")
def bit_cast_from_torch(call, x, dtype):
    return bit_cast(x, dtype)


@imports("keras", "ops.View")
def bit_cast_from_keras(call, x):
    return bit_cast(x, call.dtype or x.dtype)


@imports("onnx", "BitCast", since=26)
def bit_cast_from_onnx(node, x):
    return bit_cast(x, node.numpy_dtype(node.to))


@exports("torch", BitCast)
def bit_cast_to_torch(op, torch, x):
    return x.view(torch.torch_dtype(op.dtype))


@exports("keras", BitCast)
def bit_cast_to_keras(op, keras, x):
    held = {keras.inputs[0].dtype.name, op.dtype}.intersection(keras.lacking)
    if held:
        raise keras.refuse(f"the bits of {min(held)}", why="Keras on this backend holds it in more bits", instead="Use KERAS_BACKEND=tensorflow")
    return keras.ops.view(x, op.dtype)


@exports("onnx", BitCast)
def bit_cast_to_onnx(op, onnx, x):
    return onnx.BitCast(x, to=onnx.element_type(op.dtype))


# --- sizes ------------------------------------------------------------------------------------------------------------


@imports("onnx", "Shape")
def shape_from_onnx(node, x):
    start, end = (node.start or 0, node.end) if node.has("start") else (0, None)
    return node.graph.of_sizes(x.shape[start:end])


@imports("onnx", "Size")
@imports("keras", "ops.Size")
def count_of_elements(call, x):
    return call.graph.of_sizes(product(x.shape))


for _name, _from, _to in (("float32", "float32", "int32"), ("int64", "int64", "float64"), ("float16", "float16", "int16"),
                          ("bytes", "int8", "uint8")):  # fmt: skip
    case(f"bit_cast/{_name}", BitCast(source=_from, dtype=_to), Operand((2, 3), dtype=_from))
case("cast/to_int32", Cast(dtype="int32"), (2, 3))
case("cast/to_float64", Cast(dtype="float64"), (2, 3))
case("cast/to_bool", Cast(dtype="bool"), (2, 3))
for _name in LARGEST:
    case(f"cast/to_{_name}", Cast(dtype=_name), (2, 3, 5), refused=NO_FLOAT4 if _name == "float4_e2m1fn" else {},
         composed=dict.fromkeys(("torch", "keras"), "held in a wider type: what rounds to its numbers"))  # fmt: skip
for _name in INTEGERS:
    case(f"cast/to_{_name}", Cast(dtype=_name), (2, 3, 5),
         composed=dict.fromkeys(("torch", "keras", "onnx"), "truncated first; held in a wider type: what wraps its numbers"))  # fmt: skip
    case(f"cast/int32_to_{_name}", Cast(dtype=_name), Operand((2, 3, 5), dtype="int32", low=-99, high=99),
         composed=dict.fromkeys(("torch", "keras"), "held in a wider type: what wraps its numbers"))  # fmt: skip
