"""Operators that write entries at given positions of a copy.

| meaning         | keras                         | torch                              | onnx            |
|-----------------|-------------------------------|------------------------------------|-----------------|
| ScatterElements | composed, with known shapes   | scatter, scatter_add, scatter_reduce | ScatterElements |
| ScatterND       | ops.scatter_update            | index_put, x[i, j] = y, index_copy | ScatterND       |

Where the same place is written twice without a reduction, frameworks disagree about who wins.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Moved, Op, Operand, Perm, Shape, Value, broadcast, case, constant, exports, imports, op, product
from .bounds import Maximum
from .compare import Where
from .cumulative import CumSum
from .expand import expanded, filled
from .gather import Gather, as_places, from_the_start, index_in_torch, whole
from .join import stacked
from .math import Add, Div, FloorDiv, Mul, Sub
from .promotion import as_value
from .shape import of_rank_1

FUNCTIONS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
TO_TORCH = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
FROM_TORCH = {name: reduction for reduction, name in TO_TORCH.items()} | {"add": "add", "multiply": "mul", "mean": "mean"}


class Scatter(Op):
    """Base: what happens where an entry is written."""

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(inputs[0].shape, inputs[0].dtype)]

    def written(self, x: np.ndarray, places: Any, updates: np.ndarray) -> np.ndarray:
        """A copy of x with the updates at these places."""
        wide = x.astype(np.float32) if x.dtype.kind in "fV" and x.dtype.itemsize < 4 else x.copy()
        if self.reduction == "none":  # type: ignore[attr-defined]
            wide[places] = updates
        else:
            FUNCTIONS[self.reduction].at(wide, places, updates.astype(wide.dtype))  # type: ignore[attr-defined]
        return wide.astype(x.dtype)


@op
class ScatterElements(Scatter):
    """y[i, index[i, j, k], k] = updates[i, j, k] for axis 1, combined with what was there by the reduction."""

    axis: int
    reduction: str
    tolerance = "rounding"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, index, updates = arrays
        places = list(np.indices(index.shape, sparse=True))
        places[self.axis] = index.astype(np.int64)
        return self.written(x, tuple(places), updates[tuple(slice(n) for n in index.shape)])

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(ScatterElements(axis=perm[self.axis], reduction=self.reduction), (perm,) * 3, (perm,))


@op
class ScatterND(Scatter):
    """y[index[n, 0], index[n, 1], ...] = updates[n], combined with what was there by the reduction."""

    reduction: str
    tolerance = "rounding"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, index, updates = arrays
        return self.written(x, tuple(np.moveaxis(index.astype(np.int64), -1, 0)), updates)


# --- torch ------------------------------------------------------------------------------------------------------------


@imports("torch", "aten.scatter.src", "aten.scatter.value")
@of_rank_1
def scatter_from_torch(call, x, axis, index, updates):
    return _along(call, x, axis, index, updates, "none")


@imports("torch", "aten.scatter.reduce", "aten.scatter.value_reduce")
@of_rank_1
def scatter_with_reduction_from_torch(call, x, axis, index, updates, reduction):
    return _along(call, x, axis, index, updates, FROM_TORCH[reduction])


@imports("torch", "aten.scatter_add.default")
@of_rank_1
def scatter_add_from_torch(call, x, axis, index, updates):
    return _along(call, x, axis, index, updates, "add")


@imports("torch", "aten.scatter_reduce.two")
@of_rank_1
def scatter_reduce_from_torch(call, x, axis, index, updates, reduction, include_self):
    """Where what is there shall not count, the reduction's neutral number is written there first."""
    kind = "add" if reduction == "mean" else FROM_TORCH[reduction]
    if not include_self:
        x = _along(call, x, axis, index, neutral(kind, x.dtype), "none")
    y = _along(call, x, axis, index, updates, kind)
    if reduction != "mean":
        return y
    zeros = filled(call.graph, x.shape, 0, x.dtype)
    count = _along(call, zeros, axis, index, 1, "add")
    count = Add()(count, 1) if include_self else Maximum()(count, 1)
    return (Div() if x.dtype.kind in "fV" else FloorDiv())(y, count)


@imports("torch", "aten.index_reduce.default")
@of_rank_1
def index_reduce_from_torch(call, x, axis, index, updates, reduction, include_self):
    axis %= x.rank
    index = index.reshape(*(d if a == axis else 1 for a, d in enumerate(updates.shape)))
    index = expanded(index.cast(np.int64), updates.shape)
    return scatter_reduce_from_torch(call, x, axis, index, updates, reduction, include_self)


def neutral(reduction: str, dtype: np.dtype) -> Any:
    """The number that a reduction leaves every other number as it is."""
    if reduction in ("add", "mul"):
        return reduction == "mul" and 1
    if dtype.kind == "b":
        return reduction == "min"
    if dtype.kind in "iu":
        return np.iinfo(dtype).min if reduction == "max" else np.iinfo(dtype).max
    return -np.inf if reduction == "max" else np.inf


def _along(call: Any, x: Value, axis: int, index: Value, updates: Any, reduction: str) -> Value:
    updates = as_value(call, updates, x.dtype)
    updates = expanded(updates, index.shape) if not updates.rank else updates
    return ScatterElements(axis=axis % x.rank, reduction=reduction)(x, index, updates)


def put(call: Any, x: Value, axes: Sequence[int], places: Sequence[Value], updates: Any, reduction: str) -> Value:
    """x[..., places, ...] = updates, the indexed axes brought to the front and back."""
    shape = broadcast(*(p.shape for p in places))
    index = stacked(call, [expanded(p.cast(np.int64), shape) for p in places], -1)
    rest = [a for a in range(x.rank) if a not in axes]
    order = (*axes, *rest)
    updates = as_value(call, updates, x.dtype)
    adjacent = list(axes) == list(range(axes[0], axes[0] + len(axes)))
    front, count = axes[0] if adjacent else 0, len(shape)
    full = [x.shape[a] for a in rest]
    updates = expanded(updates, (*full[:front], *shape, *full[front:]))
    updates = updates.transpose(*range(front, front + count), *range(front), *range(front + count, updates.rank))
    y = ScatterND(reduction=reduction)(x.transpose(*order), index, updates)
    return y.transpose(*(order.index(a) for a in range(x.rank)))


@imports("torch", "aten.index_put.default")
def index_put_from_torch(call, x, indices, updates, accumulate):
    axes = [a for a, i in enumerate(indices) if i is not None]
    if len(axes) == 1 and indices[axes[0]].dtype == bool:
        return through_mask(call, x, axes[0], indices[axes[0]], as_value(call, updates, x.dtype), accumulate)
    indices = as_places(call, indices)
    axes = [a for a, i in enumerate(indices) if i is not None]
    return put(call, x, axes, [indices[a] for a in axes], updates, "add" if accumulate else "none")


def through_mask(call: Any, x: Value, axis: int, mask: Value, updates: Value, accumulate: bool) -> Value:
    """x with what stands under a mask of the axes from `axis` on replaced by one update after the other, in order."""
    before, after = x.shape[:axis], x.shape[axis + mask.rank :]
    rank = axis + 1 + len(after)
    updates = updates.reshape(*(1,) * (rank - updates.rank), *updates.shape)
    if updates.shape[axis] == 1:  # one for all
        chosen = updates.reshape(*updates.shape[:axis], *(1,) * mask.rank, *updates.shape[axis + 1 :])
    else:
        place = CumSum(axis=0, exclusive=False, reverse=False)(mask.reshape(product(mask.shape)).cast(np.int64))
        place = Maximum()(Sub()(place, 1), 0)
        chosen = Gather(axis=axis)(updates, place).reshape(*updates.shape[:axis], *mask.shape, *updates.shape[axis + 1 :])
    mask = expanded(mask.reshape(*(1,) * len(before), *mask.shape, *(1,) * len(after)), x.shape)
    return Where()(mask, Add()(x, chosen) if accumulate else expanded(chosen, x.shape), x)


@imports("torch", "aten.masked_scatter.default")
def masked_scatter_from_torch(call, x, mask, source):
    """Both broadcast to one shape; what stands under the mask takes the entries of the source in order."""
    shape = broadcast(x.shape, mask.shape)
    size = product(shape)
    flat, mask = expanded(x, shape).reshape(size), expanded(mask, shape).reshape(size)
    return through_mask(call, flat, 0, mask, source.reshape(product(source.shape)), False).reshape(*shape)


@imports("torch", "aten.index_copy.default")
@of_rank_1
def index_copy_from_torch(call, x, axis, index, updates):
    return put(call, x, [axis % x.rank], [index], updates, "none")


@imports("torch", "aten.index_add.default")
@of_rank_1
def index_add_from_torch(call, x, axis, index, updates, alpha):
    return put(call, x, [axis % x.rank], [index], updates if alpha == 1 else Mul()(updates, alpha), "add")


@imports("torch", "aten.index_fill.int_Scalar", "aten.index_fill.int_Tensor")
@of_rank_1
def index_fill_from_torch(call, x, axis, index, number):
    return put(call, x, [axis % x.rank], [index], number, "none")


@exports("torch", ScatterElements)
def scatter_elements_to_torch(op, torch, x, index, updates):
    index = index_in_torch(torch, op.axis, index)
    if op.reduction == "none":
        return x.scatter(op.axis, index, updates)
    return x.scatter_reduce(op.axis, index, updates, TO_TORCH[op.reduction])


@exports("torch", ScatterND)
def scatter_nd_to_torch(op, torch, x, index, updates):
    places = torch.unpack(index.unbind(-1), torch.inputs[1].shape[-1])
    if op.reduction in ("none", "add"):
        return x.index_put(places, updates, op.reduction == "add")
    shape, count = torch.inputs[0].shape, len(places)  # index_put replaces or adds: the rest along one axis, of all places
    place: Any = 0
    for dim, along in zip(shape, places, strict=False):
        place = place * torch.size(dim) + along % torch.size(dim)
    rest = shape[count:]
    place = place.reshape(-1, *(1 for _ in rest)).expand(-1, *map(torch.size, rest))
    updates = updates.reshape(-1, *map(torch.size, rest))
    flat = x.flatten(0, count - 1).scatter_reduce(0, place, updates, TO_TORCH[op.reduction])
    return flat.reshape(torch.shape(shape))


# --- keras ------------------------------------------------------------------------------------------------------------


def _places(call: Any, index: Any) -> Value:
    """Places in integers of a width that every framework indexes with."""
    index = whole(as_value(call, index))
    return index if index.dtype.itemsize >= 4 else index.cast(np.int64)


@imports("keras", "ops.ScatterUpdate")
def scatter_update_from_keras(call, x, index, updates):
    index, updates = _places(call, index), as_value(call, updates, x.dtype)
    return ScatterND(reduction=call.reduction or "none")(x, index, updates)


@imports("keras", "ops.Scatter")
def scatter_from_keras(call, index, updates):
    index, updates = as_value(call, index), as_value(call, updates)
    if call.backend == "torch" and index.dtype in (bool, np.uint8):
        raise Refused(f"a scatter to places of {index.dtype}", why="Keras on torch takes them for a mask", hint="Cast them to int32")
    index = _places(call, index)
    return ScatterND(reduction="add")(filled(call.graph, tuple(call.shape), 0, updates.dtype), index, updates)


def _from_the_start_in_keras(keras: Any, index: Any, sizes: Shape) -> Any:
    """Places counted from the start: TensorFlow's backend takes no others. `sizes`: of the axes that the last one names."""
    known = keras.node.inputs[1]
    if known.is_constant and not (known.array() < 0).any():
        return index
    if not all(isinstance(n, int) for n in sizes):
        raise keras.refuse("a place that may count from the end", why="its axis has an open size", instead="Fix it with input_shapes")
    return keras.ops.mod(index, np.asarray(sizes, keras.inputs[1].dtype))


@exports("keras", ScatterND)
def scatter_nd_to_keras(op, keras, x, index, updates):
    """Keras takes a list of places, not a grid."""
    places, depth = keras.inputs[1].shape, keras.inputs[1].shape[-1]
    index = _from_the_start_in_keras(keras, index, keras.inputs[0].shape[:depth])
    if len(places) != 2:
        index = keras.ops.reshape(index, keras.static_shape((product(places[:-1]), depth)))
        rest = keras.inputs[0].shape[depth:]
        updates = keras.ops.reshape(updates, keras.static_shape((product(places[:-1]), *rest)))
    return keras.ops.scatter_update(x, index, updates, None if op.reduction == "none" else op.reduction)


@exports("keras", ScatterElements)
def scatter_elements_to_keras(op, keras, x, index, updates):
    shape = keras.inputs[1].shape
    if not all(isinstance(d, int) for d in shape):
        raise keras.refuse(str(op), why="Keras scatters to a list of places", instead="Fix the sizes with input_shapes")
    columns: list[Any] = [np.broadcast_to(grid, shape).reshape(-1) for grid in np.indices(shape, np.int32, sparse=True)]
    if keras.graph.framework != "torch":  # which knows no negative ones
        index = _from_the_start_in_keras(keras, index, keras.inputs[0].shape[op.axis : op.axis + 1])
    columns[op.axis] = keras.ops.reshape(keras.ops.cast(index, "int32"), (-1,))
    if shape != keras.inputs[2].shape:
        updates = updates[tuple(slice(n) for n in shape)]
    places = keras.ops.stack(columns, axis=1)
    reduction = None if op.reduction == "none" else op.reduction
    return keras.ops.scatter_update(x, places, keras.ops.reshape(updates, (-1,)), reduction)


# --- onnx -------------------------------------------------------------------------------------------------------------


@imports("onnx", "Scatter")
@imports("onnx", "ScatterElements")
def scatter_elements_from_onnx(node, x, index, updates):
    reduction = node.reduction if node.has("reduction") else "none"
    axis = node.axis % x.rank
    return ScatterElements(axis=axis, reduction=reduction)(x, from_the_start(index, x.shape[axis]), updates)


@imports("onnx", "ScatterND")
def scatter_nd_from_onnx(node, x, index, updates):
    return ScatterND(reduction=node.reduction if node.has("reduction") else "none")(x, index, updates)


@exports("onnx", ScatterElements)
def scatter_elements_to_onnx(op, onnx, x, index, updates):
    def scatter(x, updates):
        return onnx.ScatterElements(x, index, updates, axis=op.axis, reduction=_reduction_in_onnx(op))

    return _combined_in_onnx(op, onnx, scatter, x, updates)


@exports("onnx", ScatterND)
def scatter_nd_to_onnx(op, onnx, x, index, updates):
    index = index if onnx.inputs[1].dtype == np.int64 else onnx.Cast(index, to=onnx.element_type(np.int64))

    def scatter(x, updates):
        return onnx.ScatterND(x, index, updates, reduction=_reduction_in_onnx(op))

    return _combined_in_onnx(op, onnx, scatter, x, updates)


def _reduction_in_onnx(op: Any) -> str | None:
    return None if op.reduction == "none" else op.reduction


def _combined_in_onnx(op: Any, onnx: Any, scatter: Any, x: Any, updates: Any) -> Any:
    """onnxruntime combines no halves and no booleans: those in float32 and int32."""
    dtype = onnx.inputs[0].dtype
    if op.reduction == "none" or (dtype.kind != "b" and dtype.itemsize > 2):
        return scatter(x, updates)
    wide = onnx.element_type(np.dtype(np.float32 if dtype.kind in "fV" else np.int32))
    return onnx.Cast(scatter(onnx.Cast(x, to=wide), onnx.Cast(updates, to=wide)), to=onnx.element_type(dtype))


_PLACES = constant([[[2, 0], [1, 3]], [[0, 1], [3, 2]]], "int64")
_LIST = {"keras": "comes back with the list of places it is made of"}
case("scatter_elements/none", ScatterElements(axis=1, reduction="none"), (2, 4, 2), _PLACES, (2, 2, 2), composed=_LIST)
case("scatter_elements/add", ScatterElements(axis=1, reduction="add"), (2, 4, 3), _PLACES, (2, 2, 2), composed=_LIST)
case("scatter_elements/max", ScatterElements(axis=1, reduction="max"), (2, 4, 2), _PLACES, (2, 2, 2), composed=_LIST)
_ROWS = constant([[0, 2], [1, 0]], "int64")
case("scatter_nd/none", ScatterND(reduction="none"), (2, 3, 4), _ROWS, (2, 4))
case(
    "scatter_nd/add",
    ScatterND(reduction="add"),
    (2, 3, 4),
    constant([[[1], [0]]], "int64"),
    (1, 2, 3, 4),
    composed=_LIST,
)
_FLAT = {"torch": "comes back as entries along one axis, of all places"}
_TWICE = constant([[0, 2], [1, -3], [0, 2]], "int64")
case("scatter_nd/min", ScatterND(reduction="min"), (2, 3, 4), _ROWS, (2, 4), composed=_FLAT)
case("scatter_nd/mul_twice", ScatterND(reduction="mul"), (2, 3, 4), _TWICE, (3, 4), composed=_FLAT)
case("scatter_nd/max_of_numbers", ScatterND(reduction="max"), (2, 3), _TWICE, (3,), composed=_FLAT)
case(
    "scatter_nd/int64", ScatterND(reduction="none"), Operand((3, 4), dtype="int64"), _ROWS, Operand((2,), dtype="int64")
)
