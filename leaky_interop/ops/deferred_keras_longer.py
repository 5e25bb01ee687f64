"""Results that are longer than their data, in Keras: Expand, Tile, Pad, OneHot, Range, windows and centred crops.

Each is taken out of the data at computed places (see deferred_keras.py); what cannot be meant is an error when it runs.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .adding import added
from .deferred_keras import FAR, Numbers, in_keras
from .fourier import COEFFICIENTS
from .precision import in_32_bits


@in_keras("Expand")
def expand_to_keras(op, keras, x, shape):
    """Sizes are those of the shape but where it says 1; along an axis of 1 every step stays where it is."""
    n = Numbers(keras)
    wanted = n.entries(1, keras.inputs[1].shape[0])
    rank = len(op.results[0][0])
    wanted = [1] * (rank - len(wanted)) + wanted
    own = [1] * (rank - len(n.sizes)) + n.sizes
    strides = [0] * (rank - len(n.sizes)) + n.strides()
    sizes, steps = [], []
    for size, wish, stride in zip(own, wanted, strides, strict=True):
        result = n.where(n.equal(wish, 1), size, n.where(n.equal(size, 1), wish, size))
        if not (isinstance(size, int) and size == 1):
            fits = n.either(n.equal(wish, result), n.equal(wish, 1))
            result = result if fits is True else n.sure(result, fits)
        sizes.append(result)
        steps.append(n.where(n.equal(size, 1), 0, stride))
    return n.taken(x, sizes, steps)


@in_keras("Tile")
def tile_to_keras(op, keras, x, repeats):
    n = Numbers(keras)
    for axis, (size, count) in enumerate(zip(n.sizes, n.entries(1, len(n.sizes)), strict=True)):
        if not (isinstance(count, int) and count == 1):
            x = keras.ops.take(x, n.first(size * count) % keras.ops.maximum(size, 1), axis=axis)
    return x


@in_keras("Pad")
def pad_to_keras(op, keras, x, pads, value=None, axes=None):
    n = Numbers(keras)
    rank = len(n.sizes)
    count = keras.inputs[1].shape[0] // 2
    pads = n.entries(1, 2 * count)
    named = list(range(count)) if axes is None else n.entries(3, count)
    borders = []
    for axis in range(rank):
        border: Any = (0, 0)
        for j, name in enumerate(named):
            here = n.equal(name % rank, axis)
            border = [n.where(here, pads[j + k], old) for k, old in zip((0, count), border, strict=True)]
        borders.append(border)
    number = None if value is None else keras.tensor(value)
    return _bordered(n, x, borders, op["mode"] or "constant", number)


def _bordered(n: Numbers, x: Any, borders: Sequence[Sequence[Any]], mode: str, value: Any) -> Any:
    """Padded, or cut where a border is negative: what lies outside is a number, or found inside."""
    if mode == "constant":
        return _with_border(n, x, borders, value)
    for axis, (size, (before, after)) in enumerate(zip(n.sizes, borders, strict=True)):
        if (before, after) == (0, 0):
            continue
        places = n.first(before + size + after) - before
        if mode == "edge":
            places = n.ops.minimum(n.ops.maximum(places, 0), size - 1)
        elif mode == "wrap":
            places = places % size
        else:
            period = n.ops.maximum(2 * (size - 1), 1)
            places = places % period
            places = n.ops.minimum(places, period - places) % size
        x = n.ops.take(x, places, axis=axis)
    return x


def _with_border(n: Numbers, x: Any, borders: Sequence[Sequence[Any]], value: Any) -> Any:
    """Out of one number followed by the flat data: place 0 is outside."""
    outside = np.zeros(1, np.int32) if value is None else n.ops.reshape(value, (1,))
    flat = n.ops.concatenate([n.ops.cast(outside, x.dtype), n.ops.reshape(x, (-1,))])
    places, inside, rank = 1, True, len(n.sizes)
    for axis, (size, stride, (before, after)) in enumerate(zip(n.sizes, n.strides(), borders, strict=True)):
        along = n.along(axis, n.first(before + size + after) - before, rank)
        places = added(n.keras, along * stride, places)
        inside = n.both(inside, n.both(n.ops.greater_equal(along, 0), n.ops.less(along, size)))
    return n.ops.take(flat, n.ops.where(inside, places, 0), axis=0)


@in_keras("CenterCropPad")
def centre_crop_pad_to_keras(op, keras, x, sizes):
    """Half of what is missing goes before, rounded towards nothing."""
    n = Numbers(keras)
    rank = len(n.sizes)
    axes = list(range(rank)) if op["axes"] is None else [a % rank for a in op["axes"]]
    borders: list[Any] = [(0, 0)] * rank
    for axis, wanted in zip(axes, n.entries(1, len(axes)), strict=True):
        more = wanted - n.sizes[axis]
        first = (more + n.where(more < 0, 1, 0)) // 2
        borders[axis] = (first, more - first)
    return _with_border(n, x, borders, None)


@in_keras("OneHot")
def one_hot_to_keras(op, keras, ids, depth, values):
    n = Numbers(keras)
    rank = len(n.sizes)
    axis = op["axis"] % (rank + 1)
    (depth,) = n.entries(1, 1)
    ids = keras.ops.cast(keras.ops.clip(ids, -FAR, FAR), "int32")
    if op.opset >= 11:  # negative ones count from the end
        ids = keras.ops.where(ids < 0, ids + depth, ids)
    values = keras.tensor(keras.node.inputs[2])
    hit = keras.ops.equal(keras.ops.expand_dims(ids, axis), n.along(axis, n.first(depth), rank + 1))
    return keras.ops.where(hit, values[1], values[0])


@in_keras("Range")
def range_to_keras(op, keras, *bounds):
    """start + i * step, as many as fit; of floats, reckoned in float64 and rounded once."""
    n, ops, dtype = Numbers(keras), keras.ops, keras.outputs[0].dtype
    wide = "float64" if dtype.kind in "fV" else "int64"
    if wide == "float64" and in_32_bits(keras, np.dtype(wide)):
        raise keras.refuse("a computed range of floats", why=f"Keras counts it in float32 on the {keras.backend.backend()} backend",
                           instead="Set KERAS_BACKEND=tensorflow, or make a range of integers")  # fmt: skip
    start, stop, step = (ops.cast(ops.reshape(keras.tensor(b), ()), wide) for b in keras.node.inputs)
    if wide == "float64":
        count = ops.ceil((stop - start) / step)
    else:
        span = ops.subtract(stop, start)
        span = n.sure(span, ops.logical_and(span > -FAR, span < FAR))  # so that it can be divided in 32 bits
        span, stride = (ops.cast(ops.clip(v, -FAR, FAR), "int32") for v in (span, step))
        count = 0 - (0 - span) // stride
    places = ops.cast(n.first(ops.clip(count, 0, FAR)), wide)
    return ops.cast(ops.add(ops.multiply(places, step), start), dtype.name)


@in_keras(*(f"{name}Window" for name in COEFFICIENTS))
def window_to_keras(op, keras, size):
    n, ops, dtype = Numbers(keras), keras.ops, keras.outputs[0].dtype
    wide = "float32" if in_32_bits(keras, np.dtype("float64")) else "float64"
    if dtype.itemsize > np.dtype(wide).itemsize:
        raise keras.refuse(
            f"a computed window of {dtype}",
            why=f"Keras computes it in float32 on the {keras.backend.backend()} backend",
            instead="Set KERAS_BACKEND=tensorflow",
        )
    (count,) = n.entries(0, 1)
    period = ops.cast(count if op["periodic"] else count - 1, wide)
    turn = ops.divide(ops.cast(n.first(count), wide) * (2 * math.pi), period)
    first, *rest = COEFFICIENTS[op.kind.removesuffix("Window")]
    total = ops.zeros_like(turn) + first
    for k, coefficient in enumerate(rest, 1):
        total = total + ops.cos(turn * float(k)) * coefficient
    return ops.cast(total, dtype.name)
