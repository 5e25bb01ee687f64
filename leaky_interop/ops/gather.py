"""Operators that pick entries at given positions, constant or computed.

| meaning        | keras                | torch                        | onnx                |
|----------------|----------------------|------------------------------|---------------------|
| Gather         | ops.take             | x[:, index], index_select    | Gather              |
| GatherElements | ops.take_along_axis  | gather, take_along_dim       | GatherElements      |
| GatherND       | composed             | x[i, j]                      | GatherND            |

A negative index counts from the end. In GatherElements and ScatterElements torch refuses those: constant ones are resolved
while importing, computed ones of another framework's network in torch.
"""

from typing import Any

import numpy as np

from ..op import (
    Dim,
    Moved,
    Op,
    Operand,
    Parameter,
    Perm,
    Shape,
    Value,
    agree,
    broadcast,
    case,
    constant,
    exports,
    imports,
    op,
    product,
)
from .compare import Less, Where
from .embed import Embedding
from .expand import expanded, filled, uniform
from .found import places_of_nonzero
from .index import selected
from .join import stacked
from .math import Add
from .promotion import as_value
from .shape import of_rank_1


@op
class Gather(Op):
    """The entries of x along one axis that `index` names; the axes of the index take that axis's place."""

    axis: int
    tolerance = "exact"
    symbolic = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        x, index = inputs
        return [((*x.shape[: self.axis], *index.shape, *x.shape[self.axis + 1 :]), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.take(arrays[0], arrays[1].astype(np.int64), self.axis)

    def view(self, *inputs: Value | None) -> Parameter | None:
        x, index = inputs
        if x.const is None or not index.is_constant or index.rank != 1:
            return None
        return x.const.take(tuple((index.array() % x.shape[self.axis]).tolist()), self.axis)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        if len(perm) != inputs[0].rank:
            return None
        extra, axis = inputs[1].rank - 1, perm[self.axis]
        place = {p: p + extra * (p > axis) for p in perm}
        before, after = perm[: self.axis], perm[self.axis + 1 :]
        out = (*(place[p] for p in before), *range(axis, axis + extra + 1), *(place[p] for p in after))
        return Moved(Gather(axis=axis), (perm, None), (out,))


@op
class GatherElements(Op):
    """y[i, j, k] = x[i, index[i, j, k], k] for axis 1; the index may be shorter than x along the other axes."""

    axis: int
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(inputs[1].shape, inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, index = arrays
        cut = tuple(slice(None) if a == self.axis else slice(n) for a, n in enumerate(index.shape))
        return np.take_along_axis(x[cut], index.astype(np.int64), self.axis)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(GatherElements(axis=perm[self.axis]), (perm, perm), (perm,))


@op
class GatherND(Op):
    """x[b, index[b, m, 0], index[b, m, 1], ...]: the index's last axis holds coordinates."""

    batch_axes: int
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        x, index = inputs
        return [((*index.shape[:-1], *x.shape[self.batch_axes + index.shape[-1] :]), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, index = arrays
        batch = [
            np.arange(n).reshape(-1, *(1,) * (index.ndim - 2 - a)) for a, n in enumerate(index.shape[: self.batch_axes])
        ]
        return x[(*batch, *np.moveaxis(index.astype(np.int64), -1, 0))]


def picked(call: Any, x: Any, index: Any, axis: int) -> Value:
    """Gather, or the operator that says it more plainly: Select, Expand, Embedding."""
    x, index = as_value(call, x), as_value(call, index)
    axis %= x.rank
    if index.rank == 0 and isinstance(place := index.content(), int):
        return selected(x, axis, place)
    if x.shape[axis] == 1 and uniform(index) == 0:
        return expanded(x.reshape(*x.shape[:axis], *(1,) * index.rank, *x.shape[axis + 1 :]), _gathered(x, index, axis))
    if axis == 0 and x.rank == 2 and x.const is not None and x.const.name and index.const is None:
        return Embedding()(index, x)
    return Gather(axis=axis)(x, index)


def _gathered(x: Value, index: Value, axis: int) -> Shape:
    return (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])


def picked_along(call: Any, x: Value, index: Any, axis: int) -> Value:
    axis %= x.rank
    return GatherElements(axis=axis)(x, from_the_start(as_value(call, index), x.shape[axis]))


def from_the_start(index: Value, size: Dim) -> Value:
    """A constant index, what counts from the end counted from the start."""
    return index.graph.constant(index.array() % size) if index.is_constant and isinstance(size, int) else index


def index_in_torch(torch: Any, axis: int, index: Any) -> Any:
    """Places along an axis as torch takes them: int64 and not negative, which only torch's own are sure to be."""
    index = index if torch.inputs[1].dtype == np.int64 else index.long()
    sure = torch.graph.framework == "torch" or torch.node.inputs[1].is_constant
    return index if sure else index.remainder(torch.size(torch.inputs[0].shape[axis]))


# --- torch ------------------------------------------------------------------------------------------------------------


@imports("torch", "aten.index_select.default")
@of_rank_1
def index_select_from_torch(call, x, axis, index):
    return picked(call, x, index, axis)


@imports("torch", "aten.index.Tensor")
def index_from_torch(call, x, indices):
    indices = as_places(call, indices)
    axes = [a for a, i in enumerate(indices) if i is not None]
    if len(axes) == 1:
        return Gather(axis=axes[0])(x, indices[axes[0]])
    shape = broadcast(*(indices[a].shape for a in axes))
    coordinates = [expanded(indices[a].cast(np.int64), shape) for a in axes]
    others = [a for a in range(x.rank) if a not in axes]
    y = GatherND(batch_axes=0)(x.transpose(*axes, *others), stacked(call, coordinates, -1))
    if axes != list(range(axes[0], axes[0] + len(axes))):
        return y  # indices apart from each other: their axes come first
    count, first = len(shape), axes[0]
    return y.transpose(*range(count, count + first), *range(count), *range(count + first, y.rank))


def as_places(call: Any, indices: Any) -> list[Value | None]:
    """An index for every axis: a mask becomes the places where it holds, one index for each of its axes."""
    found: list[Value | None] = []
    for index in indices:
        if index is None or index.dtype != bool:
            found.append(index)
            continue
        places = places_of_nonzero(index)
        found += [selected(places, 1, axis) for axis in range(index.rank)]
    return found


@imports("torch", "aten.masked_select.default")
def masked_select_from_torch(call, x, mask):
    shape = broadcast(x.shape, mask.shape)
    flat, mask = (expanded(v, shape).reshape(product(shape)) for v in (x, mask))
    return Gather(axis=0)(flat, selected(places_of_nonzero(mask), 1, 0))


@imports("torch", "aten.take.default")
@imports("keras", "ops.Take")
def take_entries(call, x, index):
    axis = getattr(call.native, "axis", None)
    x, index = as_value(call, x), whole(as_value(call, index))
    if axis is None and call.graph.framework == "keras" and call.backend == "torch" and x.rank > 1:
        index = Where()(Less()(index, 0), Add()(index, int(x.shape[0])), index)  # counts from the end of the first axis
    return picked(call, x.reshape(product(x.shape)) if axis is None else x, index, axis or 0)


def whole(index: Value) -> Value:
    """Places as integers: Keras on torch takes floats for them too."""
    return index.cast(np.int64) if index.dtype.kind in "fV" else index


@imports("torch", "aten.gather.default")
def gather_elements_from_torch(call, x, axis, index, sparse_gradient):
    if 0 in index.shape:  # which may have any number of axes
        return filled(call.graph, index.shape, 0, x.dtype)
    if not x.rank or not index.rank:  # one number counts as one axis of one
        shape = index.shape
        x, index = (v if v.rank else v.reshape(1) for v in (x, index))
        return picked_along(call, x, index, axis).reshape(*shape)
    return picked_along(call, x, index, axis)


@exports("torch", Gather)
def gather_to_torch(op, torch, x, index):
    whole = (slice(None),) * op.axis
    if torch.inputs[1].rank == 0:
        return x[(*whole, index.reshape(1))].squeeze(op.axis)
    return x[(*whole, index)]


@exports("torch", GatherElements)
def gather_elements_to_torch(op, torch, x, index):
    return x.gather(op.axis, index_in_torch(torch, op.axis, index))


@exports("torch", GatherND)
def gather_nd_to_torch(op, torch, x, index):
    shape, count = torch.inputs[1].shape, torch.inputs[1].shape[-1]
    batch = []
    for axis, size in enumerate(shape[: op.batch_axes]):
        place = torch.call(torch.arange, torch.size(size), device=x.device)
        batch.append(place.reshape([-1] + [1] * (len(shape) - 2 - axis)))
    return x[(*batch, *torch.unpack(index.unbind(-1), count))]


# --- keras ------------------------------------------------------------------------------------------------------------


@imports("keras", "ops.TakeAlongAxis")
def take_along_axis_from_keras(call, x, index):
    x, index = as_value(call, x), whole(as_value(call, index))
    if call.axis is None:
        return picked_along(call, x.reshape(product(x.shape)), index.reshape(product(index.shape)), 0)
    axis = call.axis % x.rank
    shape = list(broadcast(*((*v.shape[:axis], 1, *v.shape[axis + 1 :]) for v in (x, index))))
    x, index = (expanded(v, (*shape[:axis], v.shape[axis], *shape[axis + 1 :])) for v in (x, index))
    return picked_along(call, x, index, axis)


@exports("keras", Gather)
def gather_to_keras(op, keras, x, index):
    return keras.ops.take(x, index, op.axis)


@exports("keras", GatherElements)
def gather_elements_to_keras(op, keras, x, index):
    before, after = keras.inputs[0].shape, keras.inputs[1].shape
    for axis, (old, new) in enumerate(zip(before, after, strict=True)):
        if axis != op.axis and not agree(old, new):
            if not isinstance(new, int):
                raise keras.refuse(f"GatherElements of the first {new}", why="the size is open", instead="Fix it with input_shapes")
            x = x[(slice(None),) * axis + (slice(new),)]
    return keras.ops.take_along_axis(x, index, op.axis)


@exports("keras", GatherND)
def gather_nd_to_keras(op, keras, x, index):
    """One coordinate of several axes merged into one, then take."""
    shape, places = keras.inputs[0].shape, keras.inputs[1].shape
    axes = range(op.batch_axes, op.batch_axes + places[-1])
    sizes, rest = [shape[a] for a in axes], shape[axes.stop :]
    if op.batch_axes or not all(isinstance(d, int) for d in sizes):
        raise keras.refuse(
            str(op), why="Keras takes along one axis of known size", instead="Fix the sizes with input_shapes"
        )
    flat: Any = None
    for place, size in enumerate(sizes):
        entry = keras.ops.mod(index[..., place], size)
        flat = entry if flat is None else keras.ops.add(keras.ops.multiply(flat, size), entry)
    return keras.ops.take(keras.ops.reshape(x, keras.static_shape((int(np.prod(sizes)), *rest))), flat, axis=0)


# --- onnx -------------------------------------------------------------------------------------------------------------


@imports("onnx", "Gather")
def gather_from_onnx(node, x, index):
    return picked(node, x, index, node.axis)


@imports("onnx", "GatherElements")
def gather_elements_from_onnx(node, x, index):
    return picked_along(node, x, index, node.axis)


@imports("onnx", "GatherND")
def gather_nd_from_onnx(node, x, index):
    return GatherND(batch_axes=node.batch_dims if node.has("batch_dims") else 0)(x, index)


@exports("onnx", Gather)
def gather_to_onnx(op, onnx, x, index):
    return onnx.Gather(x, index, axis=op.axis)


@exports("onnx", GatherElements)
def gather_elements_to_onnx(op, onnx, x, index):
    return onnx.GatherElements(x, index, axis=op.axis)


@exports("onnx", GatherND)
def gather_nd_to_onnx(op, onnx, x, index):
    index = index if onnx.inputs[1].dtype == np.int64 else onnx.Cast(index, to=onnx.element_type(np.int64))
    return onnx.GatherND(x, index, batch_dims=op.batch_axes or None)


def _index(*shape: int, high: int, dtype: str = "int64") -> Operand:
    return Operand(shape, dtype=dtype, low=0, high=high)


case("gather/computed", Gather(axis=1), (2, 5, 3), _index(4, high=5))
case("gather/rank_2_index", Gather(axis=2), (2, 3, 6), _index(2, 4, high=6))
case("gather/rank_0_index", Gather(axis=1), (2, 5, 3), _index(high=5))
case("gather/constant_from_the_end", Gather(axis=1), (2, 5, 3), constant([-1, 0, 2], "int64"))
case("gather_elements/last", GatherElements(axis=2), (2, 3, 6), _index(2, 3, 2, high=6))
case("gather_elements/shorter", GatherElements(axis=1), (3, 5, 4), _index(2, 5, 3, high=5))
case(
    "gather_nd/pairs", GatherND(batch_axes=0), (3, 4, 5), Operand((6, 2), dtype="int64", low=0, high=3),
    composed={"keras": "comes back as a Gather of merged axes"},
)  # fmt: skip
case(
    "gather_nd/batch", GatherND(batch_axes=1), (3, 4, 5), Operand((3, 6, 2), dtype="int64", low=0, high=4),
    refused={"keras": "take has no batch axes"}, composed={"torch": "comes back with the batch as one more coordinate"},
)  # fmt: skip
