"""Numbers made from nothing but sizes: ranges, identity matrices, triangles, grids.

| meaning  | keras                     | torch                    | onnx    |
|----------|---------------------------|--------------------------|---------|
| Range    | composed                  | arange                   | Range   |
| Triangle | ops.tril, triu            | tril, triu               | Trilu   |
| constant | (Keras makes it at once)  | (torch makes it at once) | EyeLike |
| grid     | ops.meshgrid              | meshgrid                 | composed |

All of it is constant where the sizes are known. A range that depends on the data itself is refused.
"""

import math
from typing import Any

import numpy as np

from ..errors import Computed, Refused
from ..op import Dim, Moved, Op, Operand, Perm, Shape, Size, Value, case, ceil_divide, exports, imports, op
from .expand import expanded
from .promotion import as_value
from .shape import ravel_to_one_axis


@op
class Range(Op):
    """start, start + step, ...: count numbers. It has no operands."""

    start: Dim
    step: int
    count: Dim
    dtype: str
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [((self.count,), np.dtype(self.dtype))]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return (self.start + self.step * np.arange(self.count)).astype(self.dtype)


@op
class Triangle(Op):
    """The last two axes' lower (or upper) triangle, zero elsewhere; `diagonal` is the last (first) diagonal kept."""

    upper: bool
    diagonal: int
    tolerance = "exact"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return (np.triu if self.upper else np.tril)(arrays[0], self.diagonal)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        last = tuple(range(len(perm)))[-2:]
        return Moved(self, (perm,), (perm,)) if perm[-2:] == last else None


def ranged(graph: Any, start: Any, stop: Any, step: Any, dtype: Any) -> Value:
    """start, start + step, ... before stop; a constant where all is known."""
    if not any(isinstance(n, Size) for n in (start, stop, step)):
        count = max(math.ceil((stop - start) / step), 0)
        whole = all(isinstance(n, int) for n in (start, step))
        return graph.constant((start + step * np.arange(count, dtype=np.int64 if whole else np.float64)).astype(dtype))
    if not (isinstance(start, int | Size) and isinstance(stop, int | Size) and isinstance(step, int)):
        raise Refused(
            "a range over sizes of the data with fractions", why="sizes are whole numbers", hint="Scale it after"
        )
    return graph.emit(
        Range(start=start, step=step, count=ceil_divide(stop - start, step), dtype=np.dtype(dtype).name), ()
    )[0]


def grid(vectors: Any, *, swapped: bool) -> list[Value]:
    """Each vector along an axis of its own, repeated along the others'; swapped: the first two axes trade places."""
    axes = [1, 0, *range(2, len(vectors))] if swapped and len(vectors) > 1 else list(range(len(vectors)))
    shape: list[Dim] = [1] * len(vectors)
    for vector, axis in zip(vectors, axes, strict=True):
        shape[axis] = vector.shape[0] if vector.rank else 1
    standing = (
        v.reshape(*(shape[axis] if a == axis else 1 for a in range(len(shape))))
        for v, axis in zip(vectors, axes, strict=True)
    )
    return [expanded(v, tuple(shape)) for v in standing]


# --- ranges -----------------------------------------------------------------------------------------------------------


@imports("torch", "aten.arange.default")
def range_to_from_torch(call, stop, dtype, *_):
    return range_from_torch(call, 0, stop, 1, dtype)


@imports("torch", "aten.arange.start")
def range_between_from_torch(call, start, stop, dtype, *_):
    return range_from_torch(call, start, stop, 1, dtype)


@imports("torch", "aten.arange.start_step")
def range_from_torch(call, start, stop, step, dtype, *_):
    if dtype is None:
        dtype = np.float32 if any(isinstance(n, float) for n in (start, stop, step)) else np.int64
    return ranged(call.graph, start, stop, step, dtype)


def _single(value: Value) -> Any:
    """The number that a value without axes is, or one with a single entry; None where it is computed."""
    content = value.content()
    return content[0] if isinstance(content, tuple) else content


@imports("onnx", "Range")
def range_from_onnx(node, start, stop, step):
    bounds = [int(n) if isinstance(n := _single(v), float) and n.is_integer() else n for v in (start, stop, step)]
    if None in bounds:
        raise Computed("Range over numbers that the network computes", why="the result's size would depend on the data")
    return ranged(node.graph, *bounds, start.dtype)


@exports("torch", Range)
def range_to_torch(op, torch):
    bounds = [torch.size(d) for d in (op.start, op.start + op.count * op.step)]
    return torch.call(torch.arange, *bounds, op.step, dtype=torch.torch_dtype(op.dtype))


@exports("onnx", Range)
def range_to_onnx(op, onnx):
    bounds = (onnx.size(d) for d in (op.start, op.start + op.count * op.step, op.step))
    made = onnx.Range(*(onnx.Reshape(b, np.zeros(0, np.int64)) for b in bounds))
    return made if op.dtype == "int64" else onnx.Cast(made, to=onnx.element_type(op.dtype))


@exports("keras", Range)
def range_to_keras(op, keras):
    return keras.ops.cast(keras.places(op.start, op.step, op.count), op.dtype)


# --- constants --------------------------------------------------------------------------------------------------------


@imports("onnx", "EyeLike")
def eye_from_onnx(node, x):
    dtype = x.dtype if node.dtype is None else node.numpy_dtype(node.dtype)
    if not all(isinstance(d, int) for d in x.shape):
        raise Refused(
            "EyeLike of a size that is known only at run time", why="no framework makes one", hint="Fix the sizes"
        )
    return node.graph.constant(np.eye(*x.shape, k=node.k, dtype=dtype))


# --- triangles and grids ----------------------------------------------------------------------------------------------


@imports("torch", "aten.tril.default")
def lower_triangle_from_torch(call, x, diagonal):
    return Triangle(upper=False, diagonal=diagonal)(x)


@imports("torch", "aten.triu.default")
def upper_triangle_from_torch(call, x, diagonal):
    return Triangle(upper=True, diagonal=diagonal)(x)


@imports("keras", "ops.Tril")
def lower_triangle_from_keras(call, x):
    return Triangle(upper=False, diagonal=call.k)(x)


@imports("keras", "ops.Triu")
def upper_triangle_from_keras(call, x):
    return Triangle(upper=True, diagonal=call.k)(x)


@imports("onnx", "Trilu")
def triangle_from_onnx(node, x, diagonal=None):
    return Triangle(upper=bool(node.upper), diagonal=0 if diagonal is None else node.sizes(diagonal)[0])(x)


@exports("torch", Triangle)
def triangle_to_torch(op, torch, x):
    return (x.triu if op.upper else x.tril)(op.diagonal)


@exports("keras", Triangle)
def triangle_to_keras(op, keras, x):
    rows, columns = keras.inputs[0].shape[-2:]
    low = -rows if isinstance(rows, int) else op.diagonal  # TensorFlow's backend takes no diagonal outside the matrix
    high = columns if isinstance(columns, int) else op.diagonal
    return (keras.ops.triu if op.upper else keras.ops.tril)(x, min(max(op.diagonal, low), high))


@exports("onnx", Triangle)
def triangle_to_onnx(op, onnx, x):
    return onnx.Trilu(x, np.array(op.diagonal, np.int64), upper=int(op.upper))


@imports("torch", "aten.meshgrid.default")
def old_grid_from_torch(call, vectors):
    return grid(vectors, swapped=False)


@imports("torch", "aten.meshgrid.indexing")
def grid_from_torch(call, vectors, indexing):
    return grid(vectors, swapped=indexing == "xy")


@imports("keras", "ops.Meshgrid")
def grid_from_keras(call, *arrays):
    return grid([ravel_to_one_axis(call, as_value(call, a)) for a in arrays], swapped=call.indexing == "xy")


case("triangle/lower", Triangle(upper=False, diagonal=-1), (2, 4, 5))
case("triangle/upper", Triangle(upper=True, diagonal=2), (2, 3, 4, 5))
case("triangle/int64", Triangle(upper=True, diagonal=0), Operand((3, 3), dtype="int64"))
