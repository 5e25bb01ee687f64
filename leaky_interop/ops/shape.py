"""The same numbers in another shape.

| meaning | keras                          | torch                             | onnx                          |
|---------|--------------------------------|-----------------------------------|-------------------------------|
| Reshape | Reshape, Flatten, ops.squeeze  | reshape, view, flatten, unsqueeze | Reshape, Flatten, (Un)Squeeze |

A -1 and a 0 in a requested shape are resolved while importing: a canonical shape is complete.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from ..errors import Computed, Refused
from ..op import (
    Dim,
    Moved,
    Op,
    Parameter,
    Perm,
    Shape,
    Value,
    agree,
    case,
    exports,
    imports,
    invert,
    may_agree,
    op,
    product,
    symbols,
)  # fmt: skip
from ..sizes import Size, is_measured
from .transpose import Transpose


@op
class Reshape(Op):
    """The same numbers in row-major order under another shape; sizes known only at run time are expressions."""

    shape: tuple[Dim, ...]
    tolerance = "exact"
    symbolic = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        if not may_agree(product(x.shape), product(self.shape)):
            raise ValueError(f"{self} does not hold the elements of {x!r}")
        return [(self.shape, x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return arrays[0].reshape(self.shape)

    def view(self, *inputs: Value | None) -> Parameter | None:
        return inputs[0].const.reshape(*self.shape) if inputs[0].const is not None else None  # type: ignore[arg-type]

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        """Groups of axes that are merged or split may trade places; within a group the order must stay."""
        (x,) = inputs
        groups = axis_groups(x.shape, self.shape)
        if groups is None:
            return None
        order = [
            axis for axis in invert(perm) if x.shape[axis] != 1
        ]  # the axes that matter, as they come in
        places, last = [], -1
        for ins, _ in groups:
            moving = [axis for axis in ins if x.shape[axis] != 1]
            if moving:
                last = order.index(moving[0])
                if order[last : last + len(moving)] != moving:
                    return None
            places.append(last)
        ranked = sorted(range(len(groups)), key=lambda g: places[g])
        axes = [axis for g in ranked for axis in groups[g][1]]
        back = invert(axes)
        return Moved(Reshape(shape=tuple(self.shape[a] for a in axes)), (perm,), (back,))


def axis_groups(before: Shape, after: Shape) -> list[tuple[list[int], list[int]]] | None:
    """Which axes of `before` become which axes of `after`: the smallest groups with equal products, or None."""
    groups: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(before) and j < len(after):
        ins, outs, left, right = [i], [j], before[i], after[j]
        i, j = i + 1, j + 1
        while not agree(left, right):
            if _grows(left, right) and i < len(before):
                ins.append(i)
                left, i = left * before[i], i + 1
            elif _grows(right, left) and j < len(after):
                outs.append(j)
                right, j = right * after[j], j + 1
            else:
                return None
        groups.append((ins, outs))
    if not groups:
        return None
    groups[-1][0].extend(range(i, len(before)))  # what is left has size 1
    groups[-1][1].extend(range(j, len(after)))
    return groups


def _grows(part: Dim, whole: Dim) -> bool:
    """Whether `part` is the side of a group that still lacks factors."""
    if isinstance(part, int) and isinstance(whole, int):
        return part < whole
    if symbols(part) != symbols(whole):
        return symbols(part) < symbols(whole)
    return agree(whole // part * part, whole)


# --- reshape ----------------------------------------------------------------------------------------------------------


def known_shape(x: Value, shape: tuple[Dim, ...], zero_copies: bool = False) -> tuple[Dim, ...]:
    """A requested shape with its -1 computed, and its 0 copied where that is the rule."""
    sizes = [x.shape[i] if zero_copies and d == 0 else d for i, d in enumerate(shape)]
    if -1 in sizes:
        left, rest = list(x.shape), []
        for size in sizes:
            same = next((d for d in left if agree(d, size)), None)
            if same is not None:
                left.remove(same)
            elif size != -1:
                rest.append(size)
        sizes[sizes.index(-1)] = product(left) // product(rest)
    return tuple(sizes)


def without(x: Value, axes: Any) -> Value:
    """The value without some axes of size 1."""
    return x.reshape(*(d for axis, d in enumerate(x.shape) if axis not in axes))


def of_rank_1(importer: Callable[..., Any]) -> Callable[..., Any]:
    """Let an importer of a torch operator along an axis take data without axes: it gets one of size 1, and loses it after."""

    @wraps(importer)
    def either(call: Any, x: Any, *rest: Any) -> Any:
        if x.rank:
            return importer(call, x, *rest)
        given = (r.reshape(1) if isinstance(r, Value) and not r.rank else r for r in rest)
        results = importer(call, x.reshape(1), *given)
        return tuple(y.reshape() for y in results) if isinstance(results, tuple) else results.reshape()

    return either


def with_axes(x: Value, axes: Any) -> Value:
    """The value with new axes of size 1, counted in the result."""
    rank = x.rank + len(axes)
    places, sizes = {a % rank for a in axes}, iter(x.shape)
    return x.reshape(*(1 if axis in places else next(sizes) for axis in range(rank)))


def merged(x: Value, start: int, stop: int) -> Value:
    """The axes start .. stop - 1 as one; none gives a new axis of size 1."""
    return x.reshape(*x.shape[:start], product(x.shape[start:stop]), *x.shape[stop:])


def unit_axes(before: Shape, after: Shape) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The axes of size 1 that a reshape removes and those that it adds, where it does one of these and nothing else."""
    longer, shorter = (before, after) if len(before) > len(after) else (after, before)
    extra, place = [], 0
    for axis, dim in enumerate(longer):
        if place < len(shorter) and agree(dim, shorter[place]):
            place += 1
        elif dim == 1:
            extra.append(axis)
        else:
            return None
    if place < len(shorter) or not extra:
        return None
    return (tuple(extra), ()) if longer is before else ((), tuple(extra))


@imports("torch", "aten.view.default", "aten.reshape.default", "aten._unsafe_view.default")
def reshape_from_torch(call, x, shape):
    return x.reshape(*known_shape(x, shape))


@imports("torch", "aten.view_as.default", "aten.reshape_as.default")
def reshape_like_from_torch(call, x, other):
    return x.reshape(*other.shape)


@imports("torch", "aten.flatten.using_ints")
def flatten_from_torch(call, x, start, end):
    start, end = (axis % max(x.rank, 1) for axis in (start, end))
    return merged(x, start, end + 1)


@imports("torch", "aten.ravel.default")
@imports("keras", "ops.Ravel")
def ravel_to_one_axis(call, x):
    return x.reshape(product(x.shape))


@imports("torch", "aten.unflatten.int")
def unflatten_from_torch(call, x, axis, sizes):
    axis %= x.rank
    rest = product(s for s in sizes if s != -1)
    sizes = (x.shape[axis] // rest if s == -1 else s for s in sizes)
    return x.reshape(*x.shape[:axis], *sizes, *x.shape[axis + 1 :])


@imports("chainer", "Reshape")
def reshape_from_chainer(call, x):
    return x.reshape(*known_shape(x, call.shape))


@imports("chainer", "ExpandDims")
def expand_dims_from_chainer(call, x):
    return with_axes(x, [call.axis % (x.rank + 1)])


@imports("torch", "aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims")
def squeeze_from_torch(call, x, axes=None):
    if not x.rank:
        return x
    wanted = range(x.rank) if axes is None else axes if isinstance(axes, tuple) else (axes,)
    return without(x, [a % x.rank for a in wanted if x.shape[a] == 1])  # axes of another size are left alone


@imports("torch", "aten.unsqueeze.default")
def unsqueeze_from_torch(call, x, axis):
    return with_axes(x, [axis])


@imports("keras", "Flatten")
def flatten_from_keras(layer, x):
    if layer.data_format == "channels_first" and x.rank > 2:  # Keras flattens channels-last whatever the data format
        x = x.transpose(0, *range(2, x.rank), 1)
    return merged(x, 1, x.rank)


@imports("keras", "Reshape")
def reshape_layer_from_keras(layer, x):
    return x.reshape(x.shape[0], *known_shape(x, (x.shape[0], *layer.target_shape))[1:])


@imports("keras", "ops.Reshape")
def reshape_from_keras(call, x):
    shape = call.newshape if isinstance(call.newshape, tuple | list) else (call.newshape,)
    return x.reshape(*known_shape(x, _with_open_sizes(x, tuple(shape))))


def _with_open_sizes(x: Value, shape: tuple[Dim | None, ...]) -> tuple[Dim, ...]:
    """A shape in which a layer's code has None for what it read of an open size: those of x, in their order.

    Beside a -1, which is the batch or holds it, they are those behind the first axis. Raises Refused where the numbers differ.
    """
    inferred, missing = -1 in shape, shape.count(None)
    if missing + inferred <= 1:
        return tuple(-1 if d is None else d for d in shape)
    sizes = [d for d in x.shape[inferred:] if isinstance(d, Size)]
    if len(sizes) != missing:
        why = f"which of the sizes of {x!r} are meant is not known"
        raise Refused(f"a reshape to {shape}", why=why, hint="Fix the sizes with input_shapes")
    found = iter(sizes)
    return tuple(next(found) if d is None else d for d in shape)


@imports("keras", "ops.ExpandDims")
def expand_dims_from_keras(call, x):
    return with_axes(x, call.axis if isinstance(call.axis, tuple | list) else [call.axis])


@imports("keras", "ops.Squeeze")
def squeeze_from_keras(call, x):
    axes = call.axis if isinstance(call.axis, tuple | list) else [call.axis]
    return without(x, [a for a, d in enumerate(x.shape) if d == 1] if call.axis is None else [a % x.rank for a in axes])


@imports("onnx", "Reshape")
def old_reshape_from_onnx(node, x):
    return x.reshape(*known_shape(x, tuple(node.shape), zero_copies=True))


@imports("onnx", "Reshape", since=5)
def reshape_from_onnx(node, x, shape):
    zero_copies = not (node.has("allowzero") and node.allowzero)
    return x.reshape(*known_shape(x, node.sizes(shape), zero_copies=zero_copies))


@imports("onnx", "Flatten")
def flatten_from_onnx(node, x):
    axis = node.axis + x.rank if node.axis < 0 else node.axis
    return x.reshape(product(x.shape[:axis]), product(x.shape[axis:]))


@imports("onnx", "Squeeze")
def squeeze_from_onnx(node, x, axes=None):
    axes = (node.axes if node.has("axes") else axes and node.sizes(axes)) or [
        a for a, d in enumerate(x.shape) if d == 1
    ]
    dropped = sorted({a % x.rank for a in axes})
    for axis in [a for a in reversed(dropped) if is_measured(x.shape[a])]:  # 1, as the file says: a run tells no other
        x = first_along(x, axis)
        dropped = [a - (a > axis) for a in dropped if a != axis]
    if any(symbols((x.shape[a],)) for a in dropped):
        raise Computed("squeezing an open size", why="only a run tells whether it is 1", hint="Fix it with input_shapes")
    return without(x, dropped)


def first_along(x: Value, axis: int) -> Value:
    """The first entry along an axis, without that axis."""
    from .index import Select  # whose module needs this one

    return Select(axis=axis, index=0)(x)


@imports("onnx", "Unsqueeze")
def unsqueeze_from_onnx(node, x, axes=None):
    return with_axes(x, node.axes if axes is None else node.sizes(axes))


def _flattens(op: Reshape, before: Shape) -> bool:
    return len(before) > 1 and len(op.shape) == 2 and agree(op.shape[0], before[0])


@exports("torch", Reshape)
def reshape_to_torch(op, torch, x):
    before = torch.inputs[0].shape
    removed, added = unit_axes(before, op.shape) or ((), ())
    if removed:
        return x.squeeze(removed if len(removed) > 1 else removed[0])
    if len(added) == 1:
        return x.unsqueeze(added[0])
    if _flattens(op, before):
        return x.flatten(1)
    return x.reshape(torch.shape(op.shape))


@exports("onnx", Reshape)
def reshape_to_onnx(op, onnx, x):
    before = onnx.inputs[0].shape
    removed, added = unit_axes(before, op.shape) or ((), ())
    if removed:
        return onnx.Squeeze(x, np.array(removed, np.int64))
    if added:
        return onnx.Unsqueeze(x, np.array(added, np.int64))
    if _flattens(op, before):
        return onnx.Flatten(x, axis=1)
    return onnx.Reshape(x, onnx.shape(op.shape), allowzero=1 if 0 in op.shape else None)


@exports("keras", Reshape)
def reshape_to_keras(op, keras, x):
    before = keras.inputs[0].shape
    if _flattens(op, before):
        return keras.place(keras.layers.Flatten())(x)
    removed, added = unit_axes(before, op.shape) or ((), ())
    if sum(not isinstance(d, int) for d in op.shape[1:]) > 1 and (removed or added):
        return keras.ops.squeeze(x, removed) if removed else keras.ops.expand_dims(x, added)
    if op.shape and before and agree(op.shape[0], before[0]):
        return keras.place(keras.layers.Reshape(keras.static_shape(op.shape[1:])))(x)
    return keras.ops.reshape(x, keras.static_shape(op.shape))


@exports("matlab", Transpose)
@exports("matlab", Reshape)
def reshape_to_matlab(op, matlab, x):
    """What weights behind it absorb has become ColumnMajor before."""
    raise matlab.refuse(f"{op}", why="MATLAB's layers keep the order of axes, and flatten column by column",
                        instead="Cut the network there")  # fmt: skip


case("reshape/flatten", Reshape(shape=(2, 60)), (2, 3, 4, 5))
case("reshape/split", Reshape(shape=(2, 3, 5, 4)), (2, 60))
case("reshape/batch_merges", Reshape(shape=(6, 4)), (2, 3, 4))
case("reshape/regroups", Reshape(shape=(2, 4, 3)), (2, 3, 4))
case("reshape/unit_axes_added", Reshape(shape=(2, 1, 3, 1)), (2, 3))
case("reshape/unit_axes_removed", Reshape(shape=(3, 2)), (1, 3, 1, 2))
case("reshape/to_rank_0", Reshape(shape=()), (1, 1))
