"""Resizing by sizes or scales that the network computes, in Keras: deferred_resize.py's arithmetic on computed places.

The nearest are taken in float32, as onnxruntime does; what mixes elements weighs them in float64, which a Keras backend keeps
only in the plain arithmetic used here.
"""

from typing import Any

from ..deferring import Deferred
from .deferred_keras import Numbers, in_keras
from .deferred_resize import REGION, resized_axes
from .precision import exact_in_keras
from .resample import TIE


@in_keras("Resize")
def resize_to_keras(op, keras, x, roi=None, scales=None, sizes=None):
    n, port, ops = Numbers(keras), keras.inputs[0], keras.ops
    nearest = op["mode"] == "nearest"
    if op["coordinate_transformation_mode"] == REGION:
        raise keras.refuse("resizing a computed region", why="it has no such operation", instead="Make initializers of region and sizes")
    if not nearest:
        exact_in_keras(keras, "resizing")
    if not nearest and port.dtype.kind not in "fV":
        raise keras.refuse(
            f"{op['mode']} resizing of integers", why="only ONNX rounds it", instead="Cast to float32 before"
        )
    axes = resized_axes(op["axes"], port.rank)
    own = ops.stack([ops.cast(n.sizes[a], "float32") for a in axes])
    scaled = scales is not None and keras.inputs[2].shape != (0,)
    numbers: Any = ops.reshape(keras.tensor(keras.node.inputs[2 if scaled else 3]), (-1,))
    if scaled:
        counts = ops.cast(numbers * own, "int32")
    elif op["keep_aspect_ratio_policy"] in (None, "stretch"):
        numbers, counts = None, ops.cast(numbers, "int32")
    else:
        ratios = ops.divide(ops.cast(numbers, "float32"), own)
        ratio = (ops.min if op["keep_aspect_ratio_policy"] == "not_larger" else ops.max)(ratios)
        numbers, counts = ops.zeros_like(own) + ratio, ops.cast(ratio * own + 0.5, "int32")
    wide = "float32" if port.dtype.itemsize < 4 else port.dtype.name
    y = x if nearest else ops.cast(x, wide)
    for position, axis in enumerate(axes):
        size, count = n.sizes[axis], counts[position]
        scale = None if numbers is None else numbers[position]
        places = _places(op, n, size, count, scale)
        if nearest:
            found = ops.cast(_nearest(ops, op["nearest_mode"], places), "int32")
            y = ops.take(y, ops.minimum(ops.maximum(found, 0), size - 1), axis=axis)
        else:
            y = _mixed(op, n, y, axis, size, places, wide, _step(op, n, size, count, scale))
    return y if nearest else ops.cast(y, port.dtype.name)


def _places(op: Deferred, n: Numbers, size: Any, count: Any, scale: Any) -> Any:
    """Where in the input each place of the output falls: see `resample.places`."""
    dtype = "float32" if op["mode"] == "nearest" else "float64"
    coordinates, place = op["coordinate_transformation_mode"], n.ops.cast(n.first(count), dtype)
    last, size, count = (n.ops.cast(v, dtype) for v in (count - 1, size, count))
    scale = n.ops.divide(count, size) if scale is None else n.ops.cast(scale, dtype)
    if coordinates == "align_corners":
        return n.ops.divide(place * (size - 1), n.ops.where(last > 0, last, n.ops.ones_like(last)))
    if coordinates == "asymmetric":
        return n.ops.divide(place, scale)
    place = n.ops.divide(place + 0.5, scale) - 0.5
    if coordinates == "pytorch_half_pixel":
        return place * n.ops.cast(last > 0, dtype)
    return (
        place + n.ops.divide(size - n.ops.divide(count, scale), 2) if coordinates == "half_pixel_symmetric" else place
    )


def _step(op: Deferred, n: Numbers, size: Any, count: Any, scale: Any) -> Any:
    """How wide an element is, if it is antialiased; otherwise None."""
    if not op["antialias"]:
        return None
    size, count = (n.ops.cast(v, "float64") for v in (size, count))
    step = n.ops.divide(size, count) if scale is None else n.ops.divide(n.ops.ones_like(size), n.ops.cast(scale, "float64"))
    return n.ops.where(step > 1, step, n.ops.ones_like(step))


def _nearest(ops: Any, rounding: str, places: Any) -> Any:
    whole = ops.floor(places)
    if rounding == "floor":
        return whole
    if rounding == "ceil":
        return ops.ceil(places)
    above = places - whole - 0.5
    return whole + ops.cast(above > TIE if rounding == "round_prefer_floor" else above >= -TIE, "float32")


def _mixed(op: Deferred, n: Numbers, x: Any, axis: int, size: Any, places: Any, wide: str, step: Any) -> Any:
    """Linear or cubic: the weight of each element at each place; beyond the border it is repeated, or weighs nothing."""
    ops, reach = n.ops, 1 if op["mode"] == "linear" else 2
    if step is not None:
        reach = ops.cast(ops.ceil(reach * step), "int32")
    elements = n.first(size + 2 * reach) - reach
    distance = ops.abs(ops.cast(elements, "float64") - ops.expand_dims(places, 1))
    if step is not None:
        distance = ops.divide(distance, step)
    nothing = ops.zeros_like(distance)
    if op["mode"] == "linear":
        weights = ops.where(distance < 1, 1 - distance, nothing)
    else:
        a = op["cubic_coeff_a"]
        inner = ((a + 2) * distance - (a + 3)) * distance * distance + 1
        outer = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        weights = ops.where(distance <= 1, inner, ops.where(distance < 2, outer, nothing))
    if op["exclude_outside"]:
        weights = ops.where(ops.logical_and(elements >= 0, elements < size), weights, nothing)
    if op["exclude_outside"] or op["antialias"]:
        weights = ops.divide(weights, ops.sum(weights, axis=1, keepdims=True))
    bordered = ops.take(x, ops.minimum(ops.maximum(elements, 0), size - 1), axis=axis)
    mixed = ops.matmul(ops.moveaxis(bordered, axis, -1), ops.transpose(ops.cast(weights, wide)))
    return ops.moveaxis(mixed, -1, axis)
