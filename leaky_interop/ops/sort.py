"""Sorting and the largest entries.

| meaning | keras                            | torch                  | onnx                       |
|---------|----------------------------------|------------------------|----------------------------|
| TopK    | ops.top_k (last axis, largest)   | topk, sort and narrow  | TopK                       |
| Sort    | ops.sort, ops.argsort            | sort, argsort          | TopK of all entries        |

Both give values and positions (int64), ordered; equal entries keep their order. The largest of all entries is Sort,
however it was spelled.
"""

from typing import Any

import numpy as np

from ..op import Moved, Op, Operand, Perm, Shape, Value, agree, case, exports, imports, invert, op, product
from .promotion import as_value
from .shape import of_rank_1


@op
class TopK(Op):
    """The `count` largest (or smallest) entries along an axis, in order, and their positions."""

    axis: int
    count: int
    largest: bool
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        shape = (*inputs[0].shape[: self.axis], self.count, *inputs[0].shape[self.axis + 1 :])
        return [(shape, inputs[0].dtype), (shape, np.dtype(np.int64))]

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(y.take(np.arange(self.count), self.axis) for y in _ordered(arrays[0], self.axis, self.largest))

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(TopK(axis=perm[self.axis], count=self.count, largest=self.largest), (perm,), (perm, perm))


@op
class Sort(Op):
    """All entries along an axis in order, and the positions they had."""

    axis: int
    descending: bool
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(inputs[0].shape, inputs[0].dtype), (inputs[0].shape, np.dtype(np.int64))]

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return _ordered(arrays[0], self.axis, self.descending)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(Sort(axis=perm[self.axis], descending=self.descending), (perm,), (perm, perm))


def _ordered(x: np.ndarray, axis: int, descending: bool) -> tuple[np.ndarray, np.ndarray]:
    """Values and positions; a descending order is the ascending one of the reversed data, read backwards."""
    places = np.argsort(np.flip(x, axis) if descending else x, axis=axis, kind="stable")
    if descending:
        places = np.flip(x.shape[axis] - 1 - places, axis)
    return np.take_along_axis(x, places, axis), places.astype(np.int64)


def first_entries(x: Value, count: Any, axis: int, largest: bool) -> tuple[Value, Value]:
    """TopK, or Sort where it takes all entries."""
    axis %= x.rank
    if agree(count, x.shape[axis]):
        return Sort(axis=axis, descending=largest)(x)
    return TopK(axis=axis, count=int(count), largest=largest)(x)


# --- torch ------------------------------------------------------------------------------------------------------------


@imports("torch", "aten.topk.default")
@of_rank_1
def topk_from_torch(call, x, count, axis, largest, ordered):
    return first_entries(x, count, axis, largest)


@imports("torch", "aten.sort.default")
@of_rank_1
def sort_from_torch(call, x, axis, descending):
    return Sort(axis=axis % x.rank, descending=descending)(x)


@imports("torch", "aten.sort.stable")
def stable_sort_from_torch(call, x, stable, axis, descending):
    return Sort(axis=axis % x.rank, descending=descending)(x)


@imports("torch", "aten.argsort.default")
@of_rank_1
def argsort_from_torch(call, x, axis, descending):
    return Sort(axis=axis % x.rank, descending=descending)(x)[1]


@imports("torch", "aten.argsort.stable")
def stable_argsort_from_torch(call, x, stable, axis, descending):
    return Sort(axis=axis % x.rank, descending=descending)(x)[1]


def places_matter(fw: Any) -> bool:
    """Whether something reads the positions, of which torch's topk gives any of equal entries; so does a source in torch."""
    places = fw.node.outputs[1]
    read = any(v is places for n in fw.graph.nodes for v in n.inputs) or any(v is places for v in fw.graph.outputs)
    return read and fw.graph.framework != "torch"


@exports("torch", TopK)
def topk_to_torch(op, torch, x):
    if not places_matter(torch):
        return torch.unpack(x.topk(op.count, op.axis, op.largest), 2)
    found = x.sort(stable=True, dim=op.axis, descending=op.largest)
    return tuple(part.narrow(op.axis, 0, op.count) for part in torch.unpack(found, 2))


@exports("torch", Sort)
def sort_to_torch(op, torch, x):
    return torch.unpack(x.sort(stable=True, dim=op.axis, descending=op.descending), 2)


# --- keras ------------------------------------------------------------------------------------------------------------


@imports("keras", "ops.TopK")
def topk_from_keras(call, x):
    values, places = first_entries(x, call.k, -1, True)
    return values, places.cast(call.stated[1])


@imports("keras", "ops.Sort")
def sort_from_keras(call, x):
    x, axis = (x.reshape(product(x.shape)), 0) if call.axis is None else (x, call.axis % x.rank)
    return Sort(axis=axis, descending=False)(x)[0]


@imports("keras", "ops.Argsort")
def argsort_from_keras(call, x):
    x = as_value(call, x)
    x, axis = (x.reshape(product(x.shape)), 0) if call.axis is None else (x, call.axis % x.rank)
    return Sort(axis=axis, descending=False)(x)[1].cast(np.int32)


@exports("keras", TopK)
def topk_to_keras(op, keras, x):
    rank = keras.inputs[0].rank
    by_torch = keras.backend.backend() == "torch" and isinstance(keras.inputs[0].shape[op.axis], int) and places_matter(keras)
    if not op.largest or by_torch:
        values, places = sort_to_keras(Sort(axis=op.axis, descending=op.largest), keras, x)
        before = (slice(None),) * op.axis
        return values[(*before, slice(op.count))], places[(*before, slice(op.count))]
    turn = tuple(a for a in range(rank) if a != op.axis)
    last = op.axis == rank - 1
    values, places = keras.ops.top_k(x if last else keras.ops.transpose(x, (*turn, op.axis)), op.count)
    if not last:
        back = invert((*turn, op.axis))
        values, places = keras.ops.transpose(values, back), keras.ops.transpose(places, back)
    return values, keras.ops.cast(places, "int64")


@exports("keras", Sort)
def sort_to_keras(op, keras, x):
    size = keras.inputs[0].shape[op.axis]
    x = keras.ops.flip(x, op.axis) if op.descending else x
    places = keras.ops.argsort(x, op.axis)
    values = keras.ops.take_along_axis(x, places, op.axis)
    if op.descending:
        if not isinstance(size, int):
            raise keras.refuse(str(op), why="positions from the end need the size", instead="Fix it with input_shapes")
        values, places = keras.ops.flip(values, op.axis), keras.ops.subtract(size - 1, keras.ops.flip(places, op.axis))
    return values, keras.ops.cast(places, "int64")


# --- onnx -------------------------------------------------------------------------------------------------------------


@imports("onnx", "TopK")
def topk_from_onnx(node, x, count=None):
    """All opsets: `k` as an attribute (1) or an input (10); `largest` from 11 on."""
    largest = bool(node.largest) if node.has("largest") else True
    return first_entries(x, node.k if count is None else node.sizes(count)[0], node.axis, largest)


@exports("onnx", TopK)
def topk_to_onnx(op, onnx, x):
    return onnx.TopK(x, np.array([op.count], np.int64), axis=op.axis, largest=int(op.largest), outputs=2)


@exports("onnx", Sort)
def sort_to_onnx(op, onnx, x):
    size = onnx.sizes([onnx.inputs[0].shape[op.axis]])
    return onnx.TopK(x, size, axis=op.axis, largest=int(op.descending), outputs=2)


_PIECES = {"keras": "comes back as positions and what is taken at them"}
_FIRST = _PIECES | {"torch": "topk keeps no order of equal entries: the first of a stable sort"}
case("topk/last", TopK(axis=2, count=3, largest=True), (2, 3, 7), composed=_FIRST)
case("topk/channels_smallest", TopK(axis=1, count=2, largest=False), (2, 5, 3), composed=_FIRST)
case("topk/channels", TopK(axis=1, count=4, largest=True), (2, 5, 3), composed=_FIRST)
for _largest in (True, False):
    case(f"topk/equal{_largest}", TopK(axis=1, count=5, largest=_largest), Operand((4, 40), dtype="int32", low=0, high=4), composed=_FIRST)
case("sort/ascending", Sort(axis=1, descending=False), (2, 5, 3), composed=_PIECES)
case("sort/descending", Sort(axis=2, descending=True), (2, 3, 6), composed=_PIECES)
case("sort/int32", Sort(axis=1, descending=True), Operand((2, 40), dtype="int32", low=0, high=1000), composed=_PIECES)
