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
    if "float" not in str(place.dtype):
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


# --- affine and projective maps ---------------------------------------------------------------------------------------

# The eight numbers of a map: x reads at (n0 x + n1 y + n2), y at (n3 x + n4 y + n5), both over (n6 x + n7 y + 1).


@imports("keras", "ops.AffineTransform")
def affine_transform_from_keras(call, images, transform):
    fill = call.fill_mode if call.backend == "tensorflow" else (call.fill_mode, "in Keras")
    if call.backend == "tensorflow" and images.dtype.kind in "iu" and call.interpolation != "nearest":
        raise Refused(
            f"affine_transform of {images.dtype}",
            why="TensorFlow drops what is behind the point, so that whether 2.9999998 or 3 is computed makes a difference of 1",
            hint="Cast the images to float32, and round the result",
        )

    def code(ops, images, transform):
        numbers = ops.reshape(transform, (-1, 8)) if len(transform.shape) == 1 else ops.convert_to_tensor(transform)
        dtype = "float32" if call.backend == "tensorflow" else str(transform.dtype)
        return warped(ops, call, images, [ops.cast(numbers, dtype)[:, i] for i in range(8)], dtype, fill)

    return call.written(code, images, transform)


@imports("keras", "ops.PerspectiveTransform")
def perspective_transform_from_keras(call, images, start, end):
    fill = "constant" if call.backend == "tensorflow" else ("constant", "in Keras")
    if call.backend == "torch" and images.dtype.kind in "fV" and images.dtype != np.float32:
        raise Refused(
            f"perspective_transform in {images.dtype}",
            why="Keras on torch finds the map partly in float32 and partly not, and so reads at other places than the map's",
            hint="Use float32",
        )

    def code(ops, images, start, end):
        dtype = "float32" if call.backend == "tensorflow" else images.dtype
        points = [ops.cast(ops.reshape(p, (-1, 4, 2)), dtype) for p in (start, end)]
        return warped(ops, call, images, homography(*points), dtype, fill, projective=True)

    return call.written(code, images, start, end)


def homography(start: Any, end: Any) -> list[Any]:
    """The map that carries four points at the end to those at the start: from one's square to the other's, by adjugates."""
    a, b = (_of_square(points) for points in (start, end))
    inverse = _adjugate(b)
    product = [[sum(a[i][k] * inverse[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
    flat = [number for row in product for number in row]
    return [number / flat[8] for number in flat[:8]]


def _of_square(points: Any) -> list[list[Any]]:
    """The projective map that carries (1,0,0), (0,1,0), (0,0,1), (1,1,1) to the four points."""
    x, y = ([points[:, i, axis] for i in range(4)] for axis in (0, 1))
    columns = [[x[i], y[i], 1.0] for i in range(3)]
    basis = [[columns[j][i] for j in range(3)] for i in range(3)]
    weights = [sum(row[i] * (x[3], y[3], 1.0)[i] for i in range(3)) for row in _adjugate(basis)]
    return [[basis[i][j] * weights[j] for j in range(3)] for i in range(3)]


def _adjugate(m: list[list[Any]]) -> list[list[Any]]:
    """The inverse of a three by three matrix, but for its determinant."""

    def minor(row: int, column: int) -> Any:
        (a, b), (c, d) = ([m[i][j] for j in range(3) if j != column] for i in range(3) if i != row)
        return (a * d - b * c) * (-1) ** (row + column)

    return [[minor(j, i) for j in range(3)] for i in range(3)]


def warped(ops: Any, call: Any, images: Any, n: list[Any], dtype: str, fill: Any, *, projective: bool = False) -> Any:
    """Images read at the places that a map with these numbers, one of each per image, says."""
    first = (call.data_format or call.image_data_format) == "channels_first"
    single, whole = len(images.shape) == 3, "float" not in str(images.dtype)
    images = ops.expand_dims(images, 0) if single else images
    images = ops.transpose(images, (0, 2, 3, 1)) if first else images
    height, width, channels = images.shape[1:]
    if None in (height, width, channels):
        raise Refused(
            "warping images of open size", why="places are counted with it", hint="Fix the size with input_shapes"
        )
    n = [ops.reshape(number, (-1, 1, 1, 1)) for number in n]
    y = np.arange(height).reshape(1, -1, 1, 1).astype(dtype)
    x = np.arange(width).reshape(1, 1, -1, 1).astype(dtype)
    across, down = n[0] * x + n[1] * y + n[2], n[3] * x + n[4] * y + n[5]
    if projective or call.backend == "tensorflow":
        depth = n[6] * x + n[7] * y + 1.0
        across, down = across / depth, down / depth
    else:  # Keras' own code adds these to the channel that is read, not to the depth
        channel = np.arange(channels).reshape(1, 1, 1, -1).astype(dtype)
        across, down = across + n[7] * channel, down + n[6] * channel
    axes = []
    for place, size in ((down, height), (across, width)):
        place = place if isinstance(fill, tuple) else mapped(ops, place, size, fill)
        if call.interpolation == "nearest" and call.backend == "tensorflow":  # it rounds halves away from zero
            place = ops.where(place < 0, ops.ceil(place - 0.5), ops.floor(place + 0.5))
        found = elements(ops, place, ("nearest", "bilinear").index(call.interpolation))
        mode = fill[0] if isinstance(fill, tuple) else "constant"
        axes.append([(folded(ops, i, size, mode, "torch"), _inside(ops, i, size, mode), w) for i, w in found])
    flat = ops.reshape(images, (-1, height * width, channels))

    def read(indices: Any, inside: list[Any]) -> Any:
        place = indices[0] * width + indices[1] + np.zeros((1, 1, 1, channels), np.int32)
        values = ops.take_along_axis(flat, ops.reshape(place, (-1, height * width, channels)), 1)
        values = ops.reshape(values, (-1, height, width, channels))
        if not inside:
            return values
        fixed = ops.cast(int(call.fill_value) if whole else call.fill_value, values.dtype)
        return ops.where(functools.reduce(ops.logical_and, inside), values, fixed)

    result = mixed(ops, read, axes)
    result = ops.round(result) if whole and "float" in str(result.dtype) else result
    result = ops.cast(result, images.dtype)
    result = ops.transpose(result, (0, 3, 1, 2)) if first else result
    return ops.squeeze(result, 0) if single else result


def mapped(ops: Any, place: Any, size: int, fill: str) -> Any:
    """Places beyond the border as ones inside, as TensorFlow folds them: before they are rounded."""
    if fill == "constant":
        return place
    if fill == "wrap":
        step = max(size - 1, 1)
        below = place + size * (ops.trunc(-place / step) + 1.0)
        above = place - size * ops.trunc(place / step)
    elif fill == "reflect":
        below = place + 2.0 * size * ops.trunc(-place / (2 * size))
        below = ops.where(below < -size, below + 2.0 * size, -below - 1.0)
        above = place - 2.0 * size * ops.trunc(place / (2 * size))
        above = ops.where(above >= size, 2.0 * size - above - 1.0, above)
    else:
        below = above = place
    inside = ops.where(place < 0, below, ops.where(place > size - 1, above, place))
    return ops.clip(inside, 0.0, size - 1.0)


# --- scaled and moved --------------------------------------------------------------------------------------------------


@imports("keras", "ops.ScaleAndTranslate")
def scale_and_translate_from_keras(call, images, output_shape, scale, translation):
    kernel = {"linear": 1, "bilinear": 1, "trilinear": 1, "triangle": 1, "lanczos3": 3, "lanczos5": 5}.get(
        call.method, 2
    )
    shape = list(output_shape) if isinstance(output_shape, list | tuple) else np.asarray(output_shape).tolist()
    axes = [axis % images.rank for axis in call.spatial_dims]
    if not all(isinstance(images.shape[axis], int) for axis in axes):
        raise Refused(
            "scale_and_translate of an open size",
            why="places are counted with it",
            hint="Fix the size with input_shapes",
        )
    if images.dtype == np.float64 and call.backend != "tensorflow":
        raise Refused("scale_and_translate in float64", why=f"Keras on {call.backend} weighs in float32", hint="Use float32")
    whole = images.dtype.kind in "iu"

    def code(ops, x, scale, translation):
        result = ops.cast(x, "float32") if whole or images.dtype.itemsize == 2 else x
        if not {str(v.dtype) for v in (scale, translation)} <= {"float16", "bfloat16", "float64"}:
            scale, translation = (ops.cast(v, "float32") for v in (scale, translation))
        for i, axis in enumerate(axes):
            weights = _weights(ops, x.shape[axis], shape[axis], scale[i], translation[i], kernel, call.antialias)
            # Three axes: onnxruntime 1.32 dies of a matrix beside a cast of a transposed batch.
            weights = ops.expand_dims(ops.cast(weights, result.dtype), 0)
            result = ops.moveaxis(ops.matmul(ops.moveaxis(result, axis, -1), weights), -1, axis)
        if whole:
            low, high = (ops.cast(end(x), "float32") for end in (ops.min, ops.max))
            result = ops.minimum(ops.maximum(ops.round(result), low), high)
        return ops.cast(result, x.dtype)

    return call.written(code, images, scale, translation)


def _weights(ops: Any, size: int, count: int, scale: Any, translation: Any, kernel: int, antialias: bool) -> Any:
    """The matrix (in, out) of one axis. Kernels: 1 a triangle, 2 cubic, else lanczos of this radius."""
    dtype = str(scale.dtype)
    back = 1.0 / scale
    place = back * (np.arange(count).astype(dtype) + 0.5) - translation * back - 0.5
    entries = np.arange(size).astype(dtype)[:, None]
    x = ops.abs(ops.expand_dims(place, 0) - entries)
    x = x / ops.maximum(back, 1.0) if antialias else x
    if kernel == 1:
        weights = ops.maximum(0.0, 1.0 - x)
    elif kernel == 2:
        outer = ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
        weights = ops.where(x >= 2.0, 0.0, ops.where(x >= 1.0, outer, ((1.5 * x - 2.5) * x) * x + 1.0))
    else:
        sines = kernel * ops.sin(x * np.pi) * ops.sin(x * np.pi / kernel)
        share = ops.where(x > 1e-3, sines / ops.where(x > 0, ops.square(x) * np.pi**2, 1.0), 1.0)
        weights = ops.where(x > kernel, 0.0, share)
    total = ops.sum(weights, 0, keepdims=True)
    smallest = 1000.0 * float(np.finfo(np.float32).eps)
    weights = ops.where(ops.abs(total) > smallest, weights / ops.where(ops.equal(total, 0.0), 1.0, total), 0.0)
    return ops.where(ops.expand_dims(ops.logical_and(place >= -0.5, place <= size - 0.5), 0), weights, 0.0)
