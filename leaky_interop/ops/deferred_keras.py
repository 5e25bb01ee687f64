"""Operators whose numbers the network computes, in Keras: said with `nonzero` and `take`, whose results are as long as the data say.

No Keras operation takes a shape, an axis or a count from a tensor. But `bincount` of one number is as long as the number
says, so the places 0, 1, ... below a computed count are found in it, and `take` gives a result in the shape of its places.
So a result of computed sizes is taken out of the flat data, its places added up axis by axis. What is longer than the data
stands in deferred_keras_longer.py. JAX compiles no result of unknown size.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..op import Dim, product
from .adding import added
from .cumulative import CumProd, CumSum, cumulative_to_keras
from .deferred import IN_KERAS
from .precision import exact_in_keras
from .sort import Sort, sort_to_keras

SMALL = 256  # numbers of a constant that a configuration may hold
FAR = 2**30  # beyond every axis, and what is added to it still fits 32 bits


def in_keras(*kinds: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register how Keras says operators."""

    def register(write: Callable[..., Any]) -> Callable[..., Any]:
        IN_KERAS.update(dict.fromkeys(kinds, write))
        return write

    return register


class Numbers:
    """What a writer computes with: whole numbers that are Python's where they are known, symbolic scalars elsewhere."""

    def __init__(self, keras: Any):
        self.keras, self.ops = keras, keras.ops
        self.port = keras.inputs[0]
        self.sizes = [self.size(d) for d in self.port.shape]

    def size(self, dim: Dim) -> Any:
        """A size of the data."""
        return dim if isinstance(dim, int) else self.ops.cast(self.keras.tensor(self.keras.graph.of_sizes(dim)), "int32")

    def vector(self, position: int) -> Any:
        """The numbers of an operand as a vector, at most FAR from 0."""
        value = self.keras.node.inputs[position]
        content = value.content()
        if content is not None and isinstance(product(np.atleast_1d(content).tolist()), int):
            return np.clip(np.atleast_1d(content), -FAR, FAR).astype(np.int32)
        return self.ops.cast(self.ops.clip(self.ops.reshape(self.keras.tensor(value), (-1,)), -FAR, FAR), "int32")

    def entries(self, position: int, count: int) -> list[Any]:
        """The first numbers of an operand, one by one."""
        vector = self.vector(position)
        return [int(vector[i]) if isinstance(vector, np.ndarray) else vector[i] for i in range(count)]

    def where(self, condition: Any, yes: Any, no: Any) -> Any:
        if isinstance(condition, bool):
            return yes if condition else no
        return self.ops.where(condition, yes, no)

    def equal(self, left: Any, right: Any) -> Any:
        return left == right if isinstance(left, int) and isinstance(right, int) else self.ops.equal(left, right)

    def both(self, left: Any, right: Any) -> Any:
        return right if left is True else left if right is True else self.ops.logical_and(left, right)

    def either(self, left: Any, right: Any) -> Any:
        if isinstance(left, bool) or isinstance(right, bool):
            return left is True or right is True or (right if isinstance(left, bool) else left)
        return self.ops.logical_or(left, right)

    def among(self, axes: Any, count: int | None) -> list[Any]:
        """For each axis of the data, or of `count`, whether a vector of axes names it; none named are all named."""
        rank = self.port.rank if count is None else count
        axes = axes % rank
        named = [self.ops.any(self.ops.equal(axes, i)) for i in range(rank)]
        if count is None:  # a reduction
            none = self.ops.logical_not(self.ops.any(self.ops.ones_like(axes, dtype="bool")))
            named = [self.ops.logical_or(one, none) for one in named]
        return named

    def found(self, vector: Any) -> Any:
        """Where a vector is not zero: on the torch backend the results of several axes come as one tensor."""
        return self.ops.cast(self.ops.reshape(self.ops.nonzero(vector)[0], (-1,)), "int32")

    def first(self, count: Any) -> Any:
        """The places below a count: where the count of each number in a list of one number is still 0."""
        if isinstance(count, int) and 0 < count <= SMALL:
            return self.keras.row_numbers(count)
        one = self.keras.row_numbers(1) + count if isinstance(count, int) else self.ops.reshape(self.ops.cast(count, "int32"), (1,))
        return self.found(self.ops.equal(self.ops.bincount(self.ops.maximum(one, 0)), 0))

    def sure(self, number: Any, condition: Any) -> Any:
        """A number, where a condition holds; otherwise an error of the run: there is no second one to take."""
        return self.ops.take(self.ops.reshape(number, (1,)), self.where(condition, 0, 1), axis=0)

    def taken(self, x: Any, sizes: Sequence[Any], strides: Sequence[Any]) -> Any:
        """A result of these sizes, each step along its axes so many elements of the flat data apart."""
        flat = self.ops.reshape(x, (-1,))
        if not sizes:
            return flat[0]
        places: Any = 0
        for axis, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
            places = added(self.keras, self.along(axis, self.first(size) * stride, len(sizes)), places)
        return self.ops.take(flat, places, axis=0)

    def along(self, axis: int, vector: Any, rank: int) -> Any:
        """A vector as a tensor of one axis that is not 1."""
        return self.ops.reshape(vector, (1,) * axis + (-1,) + (1,) * (rank - 1 - axis))

    def strides(self) -> list[Any]:
        """How far apart in the flat data neighbours along each axis are."""
        strides: list[Any] = [1]
        for size in reversed(self.sizes[1:]):
            strides.insert(0, strides[0] * size)
        return strides[: len(self.sizes)]

    def reshaped(self, x: Any, sizes: Sequence[Any]) -> Any:
        """The data, in their order, in other sizes."""
        strides: list[Any] = [1]
        for size in reversed(sizes[1:]):
            strides.insert(0, strides[0] * size)
        return self.taken(x, sizes, strides[: len(sizes)])

    def picked(self, vector: Sequence[Any], index: Any) -> Any:
        """One of some numbers, by a symbolic index."""
        found = vector[0]
        for i, number in enumerate(vector[1:], 1):
            found = self.where(self.equal(index, i), number, found)
        return found


# --- reductions -------------------------------------------------------------------------------------------------------


def _folded(n: Numbers, x: Any, named: Sequence[Any], fold: Callable[..., Any]) -> Any:
    """The reduction over the named axes: along each, what is taken of the data and then their reduction is one or the other."""
    for axis, (one, size) in enumerate(zip(named, n.sizes, strict=True)):
        both = n.ops.concatenate([x, n.ops.cast(fold(x, axis=axis, keepdims=True), x.dtype)], axis=axis)
        x = n.ops.take(both, n.first(n.where(one, 1, size)) + n.where(one, size, 0), axis=axis)
    return x


def _extreme(function: str, of_booleans: str, sign: int) -> Callable[..., Any]:
    """The largest or smallest, which of no data is the extreme of the dtype: Keras takes none of empty data, so they get a border of it."""

    def reduction(n: Numbers, x: Any, named: Sequence[Any]) -> Any:
        dtype = n.port.dtype
        if dtype.kind == "b":
            return _folded(n, x, named, getattr(n.ops, of_booleans))
        fold = getattr(n.ops, function)
        least = sign * np.inf if dtype.kind in "fV" else int(getattr(np.iinfo(dtype), "min" if sign < 0 else "max"))

        def bordered(x: Any, axis: int, keepdims: bool) -> Any:
            rank = n.port.rank
            folded = fold(n.ops.pad(x, [(0, 1)] * rank, constant_values=least), axis=axis, keepdims=keepdims)
            return folded[tuple(slice(None, None if a == axis else -1) for a in range(rank))]

        some = all(isinstance(size, int) and size for size in n.sizes)
        return _folded(n, x, named, fold if some else bordered)

    return reduction


def _of_floats(n: Numbers, what: str) -> None:
    exact_in_keras(n.keras, what)
    if n.port.dtype.kind not in "fV":
        raise n.keras.refuse(f"{what} of integers", why="only ONNX has it", instead="Cast to a floating dtype before")


def _mean(n: Numbers, x: Any, named: Sequence[Any]) -> Any:
    _of_floats(n, "a mean")
    count = 1
    for one, size in zip(named, n.sizes, strict=True):
        count = count * n.where(one, size, 1)
    return n.ops.divide(_folded(n, x, named, n.ops.sum), n.ops.cast(count, n.port.dtype.name))


def _log_sum_exp(n: Numbers, x: Any, named: Sequence[Any]) -> Any:
    _of_floats(n, "a logarithm of a sum")
    top = REDUCTIONS["ReduceMax"](n, x, named)
    top = n.ops.where(n.ops.isfinite(top), top, n.ops.zeros_like(top))
    return n.ops.log(_folded(n, n.ops.exp(x - top), named, n.ops.sum)) + top


def _sum(n: Numbers, x: Any, named: Sequence[Any]) -> Any:
    return _folded(n, x, named, n.ops.sum)


def _root_of_squares(n: Numbers, x: Any, named: Sequence[Any]) -> Any:
    _of_floats(n, "a norm")
    return n.ops.sqrt(_sum(n, n.ops.square(x), named))


def _log_of_sum(n: Numbers, x: Any, named: Sequence[Any]) -> Any:
    _of_floats(n, "a logarithm of a sum")
    return n.ops.log(_sum(n, x, named))


REDUCTIONS: dict[str, Callable[..., Any]] = {
    "ReduceSum": _sum,
    "ReduceMean": _mean,
    "ReduceProd": lambda n, x, named: _folded(n, x, named, n.ops.prod),
    "ReduceMax": _extreme("max", "any", -1),
    "ReduceMin": _extreme("min", "all", 1),
    "ReduceL1": lambda n, x, named: _sum(n, n.ops.abs(x), named),
    "ReduceL2": _root_of_squares,
    "ReduceSumSquare": lambda n, x, named: _sum(n, n.ops.square(x), named),
    "ReduceLogSum": _log_of_sum,
    "ReduceLogSumExp": _log_sum_exp,
}


@in_keras(*REDUCTIONS)
def reduction_to_keras(op, keras, x, axes):
    n = Numbers(keras)
    if op.kind == "ReduceProd":
        exact_in_keras(keras, "a product")
    named = n.among(n.vector(1), None)
    y = keras.ops.cast(REDUCTIONS[op.kind](n, x, named), keras.outputs[0].dtype.name)
    if op["keepdims"]:
        return y
    kept = n.found(keras.ops.logical_not(keras.ops.stack(named)))
    return n.reshaped(y, [n.picked(n.sizes, kept[i]) for i in range(keras.outputs[0].rank)])


# --- shapes -----------------------------------------------------------------------------------------------------------


@in_keras("Reshape")
def reshape_to_keras(op, keras, x, shape):
    n = Numbers(keras)
    wanted = n.entries(1, keras.outputs[0].rank)
    if not op["allowzero"]:
        wanted = [n.where(n.equal(s, 0), n.sizes[i], s) if i < len(n.sizes) else s for i, s in enumerate(wanted)]
    whole, known = product(n.sizes), product(wanted)
    rest = whole // n.where(known < 0, -known, 1)  # with a -1 among them, the others' product is -known
    return n.reshaped(x, [n.where(s < 0, rest, s) for s in wanted])


@in_keras("Squeeze")
def squeeze_to_keras(op, keras, x, axes):
    n = Numbers(keras)
    if (known := keras.node.inputs[1].content()) is not None:
        gone = {a % len(n.sizes) for a in (known if isinstance(known, tuple) else (known,))}
        return n.reshaped(x, [size for a, size in enumerate(n.sizes) if a not in gone])
    named = n.among(n.vector(1), len(n.sizes))
    kept = n.found(keras.ops.logical_not(keras.ops.stack(named)))
    return n.reshaped(x, [n.picked(n.sizes, kept[i]) for i in range(keras.outputs[0].rank)])


@in_keras("Unsqueeze")
def unsqueeze_to_keras(op, keras, x, axes):
    n = Numbers(keras)
    sizes: list[Any] = []
    before: Any = 0  # how many of the data's own axes stand before this one
    for one in n.among(n.vector(1), keras.outputs[0].rank):
        sizes.append(n.where(one, 1, n.picked([*n.sizes, 1], before)))
        before = before + n.where(one, 0, 1)
    return n.reshaped(x, sizes)


# --- parts ------------------------------------------------------------------------------------------------------------


@in_keras("Slice")
def slice_to_keras(op, keras, x, starts, ends, axes=None, steps=None):
    n = Numbers(keras)
    count = keras.inputs[1].shape[0]
    bounds = [n.entries(i, count) for i in (1, 2)]
    bounds.append([1] * count if steps is None else n.entries(4, count))
    named = list(range(count)) if axes is None else n.entries(3, count)
    rank = len(n.sizes)
    for axis, size in enumerate(n.sizes):
        cut: list[Any] = [0, FAR, 1]
        for j, name in enumerate(named):
            here = n.equal(name % rank, axis)
            cut = [n.where(here, bound[j], whole) for bound, whole in zip(bounds, cut, strict=True)]
        if cut != [0, FAR, 1]:
            x = keras.ops.take(x, _places(n, *cut, size), axis=axis)
    return x


def _places(n: Numbers, start: Any, stop: Any, step: Any, size: Any) -> Any:
    """What Python's slice takes of an axis."""
    ops, back = n.ops, n.where(step < 0, 1, 0)
    start, stop = (ops.minimum(ops.maximum(n.where(b < 0, b + size, b), 0 - back), size - back) for b in (start, stop))
    count = 0 - (start - stop) // step
    return n.first(count) * step + start


@in_keras("Split")
def split_to_keras(op, keras, x, sizes):
    n = Numbers(keras)
    parts: list[Any] = []
    before: Any = 0
    for size in n.entries(1, len(op.results)):
        parts.append(keras.ops.take(x, n.first(size) + before, axis=op["axis"] % len(n.sizes)))
        before = before + size
    return tuple(parts)


@in_keras("TopK")
def first_entries_to_keras(op, keras, x, count):
    n, axis = Numbers(keras), op["axis"] % keras.inputs[0].rank
    (count,) = n.entries(1, 1)
    places = n.first(count)
    found = sort_to_keras(Sort(axis=axis, descending=op["largest"] in (None, 1)), keras, x)
    return tuple(keras.ops.take(part, places, axis=axis) for part in found)


@in_keras("Compress")
def kept_entries_to_keras(op, keras, x, mask):
    places = Numbers(keras).found(keras.tensor(mask))
    if op["axis"] is None:
        return keras.ops.take(keras.ops.reshape(x, (-1,)), places, axis=0)
    return keras.ops.take(x, places, axis=op["axis"] % keras.inputs[0].rank)


@in_keras("NonZero")
def places_of_nonzero_to_keras(op, keras, x):
    n = Numbers(keras)
    places, rows = n.found(keras.ops.reshape(x, (-1,))), []
    for size in reversed(n.sizes or [1]):
        rows.insert(0, places % size)
        places = places // size
    return keras.ops.cast(keras.ops.stack(rows), "int64")


# --- the same size ----------------------------------------------------------------------------------------------------


@in_keras("Trilu")
def triangle_to_keras(op, keras, x, diagonal):
    n = Numbers(keras)
    (diagonal,) = n.entries(1, 1)
    rows, columns = (n.along(axis, n.first(size), 2) for axis, size in enumerate(n.sizes[-2:]))
    compare = keras.ops.greater_equal if op["upper"] else keras.ops.less_equal
    return keras.ops.where(compare(columns, rows + diagonal), x, keras.ops.zeros_like(x))


@in_keras("CumSum", "CumProd")
def running_to_keras(op, keras, x, axis):
    """Along every axis; the result along the right one is chosen."""
    n, rank = Numbers(keras), keras.inputs[0].rank
    (axis,) = n.entries(1, 1)
    kind, how = CumSum if op.kind == "CumSum" else CumProd, {k: bool(op[k]) for k in ("exclusive", "reverse")}
    along = [cumulative_to_keras(kind(axis=a, **how), keras, x) for a in range(rank)]
    return n.picked(along, axis % rank)
