"""Images read at computed places: bent by an affine or projective map, scaled and moved, or at any coordinates.

| keras.ops.image       | where a pixel is read                                                                           |
|-----------------------|-------------------------------------------------------------------------------------------------|
| affine_transform      | (a0 x + a1 y + a2, b0 x + b1 y + b2), divided by c0 x + c1 y + 1 where it is TensorFlow that maps |
| perspective_transform | the same, with the eight numbers that carry four points to four others                          |
| map_coordinates       | at given coordinates of every axis                                                              |
| scale_and_translate   | (x + 0.5 - translation) / scale - 0.5 along each axis, mixed by a kernel                        |

Beyond the border the backends differ: TensorFlow folds a place before it is rounded, Keras' own code (torch, JAX) the two
elements beside it. Where they do, the conversion computes as the backend that runs the model.
"""

import functools
import itertools
import operator
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import imports, refuses

refuses(
    "keras", "ops.ElasticTransform", what="which bends images at random",
    why="no two frameworks draw the same numbers", instead="Bend the images before the network",
)  # fmt: skip


# --- one axis: elements, whether they are inside, weights ------------------------------------------------------------


def folded(ops: Any, index: Any, size: int, fill: str, backend: str) -> Any:
    """Elements beyond the border as ones inside, in map_coordinates."""
    if fill in ("constant", "nearest"):
        return ops.clip(index, 0, size - 1)
    if fill == "wrap":
        return ops.mod(index, size)
    if backend == "tensorflow":
        place = ops.mod(ops.abs(index), 2 * size)
        return ops.where(place < size, place, 2 * size - place - (fill == "reflect"))
    if fill == "mirror":
        return _mirrored(ops, index, size)
    return ops.floor_divide(_mirrored(ops, 2 * index + 1, 2 * size + 1) - 1, 2)


def _mirrored(ops: Any, index: Any, size: int) -> Any:
    return ops.abs(ops.mod(index + size - 1, 2 * (size - 1)) - (size - 1))


def elements(ops: Any, place: Any, order: int) -> list[tuple[Any, Any]]:
    """The elements that are mixed along one axis, with their weights; None is a weight of one."""
    if "int" in str(place.dtype):
        return [(ops.cast(place, "int32"), None)]
    if order == 0:
        return [(ops.cast(ops.round(place), "int32"), None)]
    lower = ops.floor(place)
    first = ops.cast(lower, "int32")
    return [(first, 1 - (place - lower)), (first + 1, place - lower)]


def mixed(ops: Any, read: Any, axes: list[list[tuple[Any, Any, Any]]]) -> Any:
    """The sum over all choices of one (element, inside, weight) per axis; `read(elements, inside)` gives the numbers."""
    total = None
    for chosen in itertools.product(*axes):
        places, inside, weights = zip(*chosen, strict=True)
        value = read(places, [i for i in inside if i is not None])
        shares = [w for w in weights if w is not None]
        value = functools.reduce(operator.mul, shares) * value if shares else value
        total = value if total is None else total + value
    return total


# --- any coordinates ---------------------------------------------------------------------------------------------------


@imports("keras", "ops.MapCoordinates")
def map_coordinates_from_keras(call, inputs, coordinates):
    shape, fill, fixed = inputs.shape, call.fill_mode, call.fill_value
    if not all(isinstance(n, int) for n in shape):
        raise Refused(
            "map_coordinates of an open size", why="places are counted with it", hint="Fix it with input_shapes"
        )
    if call.backend == "tensorflow" and fill == "mirror":
        raise Refused(
            "map_coordinates that mirrors", why="on TensorFlow it reads beyond the border", hint="Use reflect"
        )
    whole = inputs.dtype.kind in "iu"
    fixed = int(fixed) if whole else fixed
    strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]  # type: ignore[arg-type]

    def code(ops, x, *places):
        flat = ops.reshape(x, (-1,))
        axes = []
        for place, size in zip(places, shape, strict=True):
            found = elements(ops, place, call.order)
            axes.append([(folded(ops, i, size, fill, call.backend), _inside(ops, i, size, fill), w) for i, w in found])

        def read(indices: Any, inside: list[Any]) -> Any:
            place = sum(i * stride for i, stride in zip(indices, strides, strict=True))
            values = ops.take(flat, place)
            if call.backend == "tensorflow":
                values = ops.cast(values, places[0].dtype)
            if not inside:
                return values
            return ops.where(functools.reduce(ops.logical_and, inside), values, ops.cast(fixed, values.dtype))

        result = mixed(ops, read, axes)
        result = ops.round(result) if whole and "float" in str(result.dtype) else result
        return ops.cast(result, x.dtype)

    return call.written(lambda ops, x, c: code(ops, x, *(c[a] for a in range(len(shape)))), inputs, coordinates)


def _inside(ops: Any, index: Any, size: int, fill: str) -> Any:
    return ops.logical_and(index >= 0, index < size) if fill == "constant" else None
