"""Where the maxima of a pool stand, and putting them back there.

| meaning    | keras    | torch                          | onnx                                             |
|------------|----------|--------------------------------|--------------------------------------------------|
| MaxIndices | composed | return_indices: in one channel's image | a second output of MaxPool: in the whole tensor |
| unpooling  | composed | max_unpool2d                   | MaxUnpool                                        |

storage_order=1 of ONNX counts down the columns of an image. What is put back is read as ScatterElements on zeros.
"""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Dim, Operand, Value, case, exports, imports, product
from .arg import ArgMax
from .expand import filled
from .gather import Gather
from .math import Add, FloorDiv, Mod, Mul
from .norm import reads_further_outputs
from .pad import pad
from .pool import MaxIndices, MaxPool, begins, lowest, max_pool, onnx_settings, onnx_window, torch_padding
from .range import ranged
from .scatter import ScatterElements
from .window import windows

# --- where they stand -------------------------------------------------------------------------------------------------


@imports("onnx", "MaxPool")
def max_pool_from_onnx(node, x):
    y, places = max_pool(x, *onnx_window(node, x))
    if not reads_further_outputs(node):
        return y
    if node.storage_order:
        places = _down_the_columns(places, x)
    return y, Add()(places, _first_of_each_image(x))


def _down_the_columns(places: Value, x: Value) -> Value:
    if x.rank != 4 or not all(isinstance(n, int) for n in x.shape[2:]):
        raise Refused("storage_order=1", why="only the columns of images of a known size are counted down")
    height, width = x.shape[2:]
    places = places.cast(np.int32)  # in which Keras divides exactly
    return Add()(FloorDiv()(places, width), Mul()(Mod()(places, width), height)).cast(np.int64)


def _first_of_each_image(x: Value) -> Value:
    """The number of each channel's first element in the whole tensor."""
    size = product(x.shape[2:])
    firsts = Mul()(ranged(x.graph, 0, x.shape[0] * x.shape[1], 1, np.int64), x.graph.of_sizes(size))
    return firsts.reshape(*x.shape[:2], *(1,) * (x.rank - 2))


def picked(op: MaxIndices, x: Value) -> tuple[Value]:
    """The largest element of every window by its number in the window, and that one's number in the image."""
    pool: Any = op.of
    sizes = x.shape[2:]
    if not all(isinstance(n, int) for n in sizes):
        raise Refused("the places of maxima in an open size", why="every element is picked by its number",
                      hint="Fix the size with input_shapes")  # fmt: skip
    if not isinstance(pool, MaxPool):
        return (_picked_adaptively(pool, x),)
    whole = tuple(n + sum(p) for n, p in zip(sizes, pool.pads, strict=True))
    padded = pad(x, ((0, 0), (0, 0), *pool.pads), "constant", lowest(x.dtype))
    numbers = windows(np.arange(math.prod(whole)).reshape(1, 1, *whole), pool.kernel, pool.strides, pool.dilations)
    counts = numbers.shape[2 : x.rank]
    numbers = numbers.reshape(math.prod(counts), -1)
    flat = padded.reshape(*x.shape[:2], math.prod(whole))
    values = Gather(axis=2)(flat, x.graph.constant(numbers.reshape(-1))).reshape(*x.shape[:2], *numbers.shape)
    strides = [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    taps = np.stack(np.unravel_index(np.arange(numbers.shape[1]), pool.kernel), -1) * pool.dilations @ strides
    corners = np.stack(np.unravel_index(np.arange(math.prod(counts)), counts), -1) * pool.strides
    corners = (corners - [before for before, _ in pool.pads]) @ strides
    place = Gather(axis=0)(x.graph.constant(taps), ArgMax(axis=3, keepdims=False)(values))
    return (Add()(place, x.graph.constant(corners)).reshape(*x.shape[:2], *counts),)


def _picked_adaptively(pool: Any, x: Value) -> Value:
    numbers = pool.numbers(x.shape[2:])
    count, longest = numbers.shape
    flat = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
    values = Gather(axis=2)(flat, x.graph.constant(numbers.reshape(-1))).reshape(*x.shape[:2], count, longest)
    taps = Add()(ArgMax(axis=3, keepdims=False)(values), x.graph.constant(np.arange(count) * longest))
    return Gather(axis=0)(x.graph.constant(numbers.reshape(-1)), taps).reshape(*x.shape[:2], *pool.output)


@exports("torch", MaxIndices)
def max_indices_to_torch(op, torch, x):
    if not isinstance(op.of, MaxPool):
        function = getattr(torch.nn.functional, f"adaptive_max_pool{len(op.of.output)}d_with_indices")
        return torch.unpack(function(x, op.of.output, return_indices=True), 2)[1]
    pool, spatial = op.of, len(op.of.kernel)
    native = torch_padding(pool, torch.inputs[0].shape[2:], begins(pool.pads))
    if native is None:
        return torch.composed(lambda x: picked(op, x))
    function = getattr(torch.nn.functional, f"max_pool{spatial}d_with_indices")
    padding, ceil = native
    made = function(x, pool.kernel, pool.strides, padding, pool.dilations, ceil_mode=ceil, return_indices=True)
    return torch.unpack(made, 2)[1]


@exports("keras", MaxIndices)
def max_indices_to_keras(op, keras, x):
    return keras.composed(lambda x: picked(op, x))


@exports("onnx", MaxIndices)
def max_indices_to_onnx(op, onnx, x):
    settings = onnx_settings(op.of, onnx) if isinstance(op.of, MaxPool) else None
    pool, port = op.of, onnx.inputs[0]
    if settings is None or not onnx.runs("MaxPool"):
        return onnx.composed(lambda x: picked(op, x))
    windows_of = {"kernel_shape": list(pool.kernel), "strides": list(pool.strides), "dilations": list(pool.dilations)}
    _, places = onnx.MaxPool(x, outputs=2, **windows_of, **settings)
    return onnx.Mod(places, onnx.size(product(port.shape[2:])))


# --- putting them back ------------------------------------------------------------------------------------------------


def unpooled(x: Value, places: Value, sizes: tuple[Dim, ...]) -> Value:
    """x at these numbers of each channel's image, zeros elsewhere."""
    flat = (*x.shape[:2], product(x.shape[2:]))
    empty = filled(x.graph, (*x.shape[:2], product(sizes)), 0, x.dtype)
    y = ScatterElements(axis=2, reduction="none")(empty, places.reshape(*flat), x.reshape(*flat))
    return y.reshape(*x.shape[:2], *sizes)


@imports("torch", "aten.max_unpool2d.default")
def max_unpool_from_torch(call, x, places, sizes):
    return _batched(x, places, tuple(sizes), 2)


@imports("torch", "aten.max_unpool3d.default")
def max_unpool_of_volumes_from_torch(call, x, places, sizes, strides, padding):
    return _batched(x, places, tuple(sizes), 3)


def _batched(x: Value, places: Value, sizes: tuple[Dim, ...], spatial: int) -> Value:
    if x.rank == spatial + 2:
        return unpooled(x, places, sizes)
    y = unpooled(x.reshape(1, *x.shape), places.reshape(1, *x.shape), sizes)
    return y.reshape(*y.shape[1:])


@imports("onnx", "MaxUnpool", since=9)
def max_unpool_from_onnx(node, x, places, shape=None):
    """Places count in the whole tensor that the window gives; a larger shape is that one with zeros behind it.

    So it is in the specification's own case. onnxruntime and PyTorch let places count in the larger tensor.
    """
    kernel = node.kernel_shape
    strides, pads = node.strides or [1] * len(kernel), node.pads or [0] * 2 * len(kernel)
    begins_, ends = pads[: len(kernel)], pads[len(kernel) :]
    rows = zip(x.shape[2:], kernel, strides, begins_, ends, strict=True)
    sizes = tuple((n - 1) * s - b - e + k for n, k, s, b, e in rows)
    total = product((*x.shape[:2], *sizes))
    empty = filled(x.graph, (total,), 0, x.dtype)
    flat = product(x.shape)
    y = ScatterElements(axis=0, reduction="none")(empty, places.reshape(flat), x.reshape(flat))
    y = y.reshape(*x.shape[:2], *sizes)
    if shape is None:
        return y
    return pad(y, [(0, wanted - n) for wanted, n in zip(node.sizes(shape), y.shape, strict=True)], "constant", 0.0)


# --- cases ------------------------------------------------------------------------------------------------------------

_PLACED = {"keras": "the largest element of every window", "onnx": "places in one image out of those in all"}
for _name, _shape, _fields in (
    ("2d", (2, 3, 6, 5), {}),
    ("overlapping", (2, 3, 6, 7), {"kernel": (3, 2), "strides": (1, 2), "pads": ((1, 1), (0, 0))}),
    ("dilated", (2, 3, 7, 7), {"dilations": (2, 3), "strides": (1, 1)}),
    ("1d", (2, 3, 7), {"kernel": (3,), "strides": (2,), "pads": ((1, 1),), "dilations": (1,)}),
    ("3d", (2, 2, 4, 4, 3), {"kernel": (2, 2, 2), "strides": (2, 2, 1), "pads": ((0, 0),) * 3, "dilations": (1, 1, 1)}),
):
    _pool: Any = {"kernel": (2, 2), "strides": (2, 2), "pads": ((0, 0), (0, 0)), "dilations": (1, 1)} | _fields
    case(f"max_indices/{_name}", MaxIndices(of=MaxPool(**_pool)), _shape, composed=_PLACED)
case("max_indices/pads_of_a_side",
     MaxIndices(of=MaxPool(kernel=(2, 2), strides=(1, 1), pads=((0, 1), (1, 0)), dilations=(1, 1))), (2, 3, 4, 5),
     composed=_PLACED | {"torch": _PLACED["keras"]})  # fmt: skip
case("max_indices/equal_ones",
     MaxIndices(of=MaxPool(kernel=(2, 2), strides=(2, 2), pads=((0, 0), (0, 0)), dilations=(1, 1))),
     Operand((1, 2, 4, 4), low=1, high=1), composed=_PLACED)  # fmt: skip
