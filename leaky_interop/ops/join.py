"""Operators that join values along an axis and cut them apart again.

| meaning | keras                              | torch                                   | onnx                   |
|---------|------------------------------------|-----------------------------------------|------------------------|
| Concat  | Concatenate, ops.stack, vstack ... | cat, stack, hstack ...                  | Concat                 |
| Split   | ops.split, unstack, array_split    | split, chunk, tensor_split, unbind      | Split                  |

Stacking is joining along a new axis of size 1, unstacking cuts into entries and drops the axis.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import (
    Dim,
    Link,
    Moved,
    Op,
    Operand,
    Perm,
    Shape,
    Value,
    agree,
    case,
    ceil_divide,
    exports,
    imports,
    op,
    product,
    together,
)
from .math import merges
from .promotion import as_value, widest
from .shape import Reshape, with_axes, without


@op
class Concat(Op):
    """All inputs one after the other along an axis."""

    axis: int
    tolerance = "exact"
    symbolic = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        first = inputs[0]
        sizes = list(first.shape)
        for x in inputs[1:]:
            found = [
                None if a == self.axis else together(s, d) for a, (s, d) in enumerate(zip(sizes, x.shape, strict=True))
            ]
            if x.dtype != first.dtype or any(d is None for a, d in enumerate(found) if a != self.axis):
                raise ValueError(f"{self} does not join {first!r} and {x!r}")
            found[self.axis] = sizes[self.axis] + x.shape[self.axis]
            sizes = found
        return [(tuple(sizes), first.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.concatenate(arrays, self.axis)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(Concat(axis=perm[self.axis]), (perm,) * len(inputs), (perm,))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        others = (a for a in range(inputs[0].rank) if a != self.axis)
        return [Link(dict.fromkeys(range(len(inputs)), a), a) for a in others]


@op
class Split(Op):
    """The input cut along an axis into parts of given sizes, one output each."""

    axis: int
    sizes: tuple[Dim, ...]
    tolerance = "exact"
    symbolic = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        if not agree(sum(self.sizes), x.shape[self.axis]):
            raise ValueError(f"{self} does not cut {x!r} up")
        return [((*x.shape[: self.axis], size, *x.shape[self.axis + 1 :]), x.dtype) for size in self.sizes]

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.split(arrays[0], np.cumsum(self.sizes[:-1], dtype=int), self.axis))

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(Split(axis=perm[self.axis], sizes=self.sizes), (perm,), (perm,) * len(self.sizes))


def joined(call: Any, values: Sequence[Any], axis: int) -> Value:
    """Values (and constant arrays) one after the other along an axis, in the widest dtype among them."""
    operands = [as_value(call, v) for v in values]
    dtype = widest([v.dtype for v in operands])
    operands = [v.cast(dtype) for v in operands]
    return operands[0] if len(operands) == 1 else Concat(axis=axis % operands[0].rank)(*operands)


def stacked(call: Any, values: Sequence[Any], axis: int) -> Value:
    """Values side by side along a new axis; what was unbound just before is the data itself."""
    operands = [as_value(call, v) for v in values]
    axis %= operands[0].rank + 1
    nodes = [v.node.inputs[0] if v.node is not None and isinstance(v.node.op, Reshape) else None for v in operands]
    cut = nodes[0].node if nodes[0] is not None else None
    if cut is not None and cut.op == Split(axis=axis, sizes=(1,) * len(nodes)) and nodes == list(cut.outputs):
        return cut.inputs[0]  # type: ignore[return-value]
    return joined(call, [with_axes(v, [axis]) for v in operands], axis)


def cut(x: Value, sizes: Sequence[Dim], axis: int) -> tuple[Value, ...]:
    """The input cut into parts of these sizes; those of a weight are views of it."""
    if len(sizes) == 1:
        return (x,)
    if x.const is not None:
        stops = np.cumsum(sizes).tolist()
        spans = (tuple(range(stop - size, stop)) for stop, size in zip(stops, sizes, strict=True))
        return tuple(x.graph.parameter(x.const.take(span, axis % x.rank)) for span in spans)
    return tuple(Split(axis=axis % x.rank, sizes=tuple(sizes))(x))


def parts(size: Dim, count: int, *, even: bool) -> list[Dim]:
    """Sizes of `count` parts: even, the larger ones first; or all of the rounded-up size but the last."""
    if even:
        return [(size + count - 1 - i) // count for i in range(count)]
    each = ceil_divide(size, count)
    return [each] * (count - 1) + [size - each * (count - 1)]


def pieces(size: int, each: int) -> list[Dim]:
    """Sizes of pieces of `each`, a smaller one last."""
    return [min(each, size - start) for start in range(0, size, each)] or [0]


def between(size: Dim, bounds: Sequence[int]) -> list[Dim]:
    """Sizes of the parts between increasing bounds; negative bounds count from the end."""
    places = [0, *(b + size if b < 0 else min(b, size) if isinstance(size, int) else b for b in bounds), size]
    return [stop - start for start, stop in itertools.pairwise(places)]


def split_along(x: Value, how: Any, axis: int) -> tuple[Value, ...]:
    """numpy's array_split: into a number of parts, or at bounds."""
    size = x.shape[axis]
    return cut(x, parts(size, how, even=True) if isinstance(how, int) else between(size, [int(b) for b in how]), axis)


# --- joining ----------------------------------------------------------------------------------------------------------


@imports("torch", "aten.cat.default", "aten.concat.default", "aten.concatenate.default")
def concat_from_torch(call, values, axis):
    live = [v for v in values if v.shape != (0,)]  # torch skips these, whatever the rank of the others
    return joined(call, live or values, axis)


@imports("chainer", "Concat")
def concat_from_chainer(call, *values):
    return joined(call, values, call.axis)


@imports("torch", "aten.stack.default")
def stack_from_torch(call, values, axis):
    return stacked(call, values, axis)


@imports("keras", "Concatenate")
def concatenate_from_keras(layer, values):
    return joined(layer, values, layer.axis)


@imports("keras", "ops.Concatenate")
def concat_from_keras(call, values):
    values = [as_value(call, v) for v in values]
    return (
        joined(call, values, call.axis) if call.axis is not None else joined(call, [v.reshape(product(v.shape)) for v in values], 0)
    )


@imports("keras", "ops.Append")
def append_from_keras(call, first, second):
    return concat_from_keras(call, [first, second])


@imports("keras", "ops.Stack")
def stack_from_keras(call, values):
    return stacked(call, values, call.axis)


def _at_least(values: Sequence[Any], call: Any, rank: int) -> list[Value]:
    """Values with axes added as numpy's atleast_nd does: (n,) is (1, n) and (1, n, 1)."""
    made = []
    for value in (as_value(call, v) for v in values):
        if value.rank < 1 <= rank:
            value = value.reshape(1)
        if value.rank < 2 <= rank:
            value = with_axes(value, [0])
        made.append(with_axes(value, [-1]) if value.rank < 3 <= rank else value)
    return made


@imports("torch", "aten.hstack.default")
@imports("keras", "ops.Hstack")
def hstack_values(call, values):
    values = _at_least(values, call, 1)
    return joined(call, values, 0 if values[0].rank == 1 else 1)


@imports("torch", "aten.vstack.default")
@imports("keras", "ops.Vstack")
def vstack_values(call, values):
    return joined(call, _at_least(values, call, 2), 0)


@imports("torch", "aten.dstack.default")
@imports("keras", "ops.Dstack")
def dstack_values(call, values):
    return joined(call, _at_least(values, call, 3), 2)


@imports("onnx", "Concat")
def concat_from_onnx(node, *values):
    return joined(node, values, 1 if node.axis is None else node.axis)


@imports("matlab", "depthConcatenationLayer")
def concat_from_matlab(layer, *parts):
    return Concat(axis=parts[0].rank - 1)(*parts)


@exports("matlab", Concat)
def concat_to_matlab(op, matlab, *parts):
    if op.axis != 3 or matlab.outputs[0].rank != 4:
        raise matlab.refuse(f"{op}", why="only the channels of images are joined", instead="Join before flattening")
    return matlab.layer("depthConcatenationLayer", *parts, NumInputs=len(parts))


@exports("torch", Concat)
def concat_to_torch(op, torch, *values):
    return torch.cat(values, op.axis)


@exports("onnx", Concat)
def concat_to_onnx(op, onnx, *values):
    return onnx.Concat(*values, axis=op.axis)


@exports("keras", Concat)
def concat_to_keras(op, keras, *values):
    if op.axis and merges(keras):
        return keras.place(keras.layers.Concatenate(axis=op.axis))(list(values))
    return keras.ops.concatenate(values, op.axis)


# --- cutting ----------------------------------------------------------------------------------------------------------


@imports("torch", "aten.split.Tensor", "aten.unsafe_split.Tensor")
def split_from_torch(call, x, each, axis):
    return cut(x, pieces(x.shape[axis], each), axis)


@imports("torch", "aten.split_with_sizes.default", "aten.split.sizes", "aten.unsafe_split_with_sizes.default")
def split_with_sizes_from_torch(call, x, sizes, axis):
    return cut(x, sizes, axis)


@imports("torch", "aten.chunk.default", "aten.unsafe_chunk.default")
def chunk_from_torch(call, x, count, axis):
    return cut(x, pieces(x.shape[axis], -(-x.shape[axis] // count)), axis)


@imports("torch", "aten.tensor_split.sections")
def tensor_split_from_torch(call, x, count, axis):
    return cut(x, parts(x.shape[axis], count, even=True), axis)


@imports("torch", "aten.tensor_split.indices")
def tensor_split_at_from_torch(call, x, bounds, axis):
    return cut(x, between(x.shape[axis], bounds), axis)


@imports("torch", "aten.unbind.int")
def unbind_from_torch(call, x, axis):
    axis %= x.rank
    return [without(part, [axis]) for part in cut(x, [1] * x.shape[axis], axis)]


@imports("keras", "ops.Split", "ops.ArraySplit")
def split_from_keras(call, x):
    return split_along(x, call.indices_or_sections, call.axis)


@imports("keras", "ops.Hsplit")
def hsplit_from_keras(call, x):
    return split_along(x, call.indices_or_sections, min(x.rank - 1, 1))


@imports("keras", "ops.Vsplit")
def vsplit_from_keras(call, x):
    return split_along(x, call.indices_or_sections, 0)


@imports("keras", "ops.Dsplit")
def dsplit_from_keras(call, x):
    return split_along(x, call.indices_or_sections, 2)


@imports("keras", "ops.Unstack")
def unstack_from_keras(call, x):
    if call.num is not None and not agree(call.num, x.shape[call.axis]):
        raise Refused(f"{call.num} parts of {x.shape[call.axis]} entries", why="Keras counts them when it runs", hint="Leave num out")
    return unbind_from_torch(call, x, call.axis)


@imports("onnx", "Split")
def split_from_onnx(node, x, sizes=None):
    """All opsets: sizes as an attribute (2, 11) or an input (1, 13), none for even parts, `num_outputs` from 18 on."""
    given = node.split if node.has("split") else None
    if sizes is not None:  # opset 1 holds them as floats
        given = node.sizes(sizes) if sizes.const is None else tuple(int(s) for s in sizes.array())
    if given is None:
        given = parts(x.shape[node.axis], len(node.native.output), even=False)
    return cut(x, given, node.axis or 0)


@exports("torch", Split)
def split_to_torch(op, torch, x):
    first, *rest = op.sizes
    if isinstance(first, int) and all(isinstance(s, int) and s == first for s in rest[:-1]) and 0 < rest[-1] <= first:
        return torch.unpack(x.split(first, op.axis), len(op.sizes))
    return torch.unpack(x.split([torch.size(s) for s in op.sizes], op.axis), len(op.sizes))


@exports("onnx", Split)
def split_to_onnx(op, onnx, x):
    return onnx.Split(x, onnx.sizes(op.sizes), axis=op.axis, outputs=len(op.sizes))


@exports("keras", Split)
def split_to_keras(op, keras, x):
    bounds: list[int] = []
    for size in op.sizes[:-1]:
        if not isinstance(size, int):
            raise keras.refuse(str(op), why="Keras splits at known places", instead="Fix the sizes with input_shapes")
        bounds.append(size + (bounds[-1] if bounds else 0))
    return keras.ops.split(x, bounds, op.axis)


case("concat/channels", Concat(axis=1), (2, 3, 4, 5), (2, 2, 4, 5))
case("concat/three_along_the_last", Concat(axis=2), (2, 3, 4), (2, 3, 1), (2, 3, 6))
case("concat/batch", Concat(axis=0), (2, 3), (1, 3))
case("concat/weight_first", Concat(axis=1), Operand((2, 1, 4), "weight"), (2, 3, 4))
case("concat/int64", Concat(axis=1), Operand((2, 3), dtype="int64"), Operand((2, 2), dtype="int64"))
case("split/even", Split(axis=1, sizes=(2, 2, 2)), (2, 6, 4))
case("split/uneven", Split(axis=2, sizes=(1, 4, 2)), (2, 3, 7, 5))
case("split/rest_last", Split(axis=1, sizes=(3, 3, 1)), (2, 7))
