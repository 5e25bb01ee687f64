"""Resizing by sizes or scales that the network computes: the arithmetic of resample.py, said in torch, axis by axis."""

import math
from collections.abc import Callable
from typing import Any

from ..deferring import Deferred, Results, deferrable
from ..errors import Refused
from ..op import Value, product
from .deferred import entries, listed
from .deferred_axes import count_of
from .resample import TIE

REGION = "tf_crop_and_resize"
KNOWN = {"asymmetric", "align_corners", "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", REGION}


def resized_axes(chosen: Any, rank: int) -> list[int]:
    return [a % rank for a in chosen] if chosen else list(range(rank))


def _resized(
    node: Any, new: Callable[[], Any], x: Value, roi: Value | None = None, scales: Value | None = None, sizes: Value | None = None
) -> Results:
    given = node.attributes
    coordinates = given.get("coordinate_transformation_mode", "asymmetric")
    if coordinates not in KNOWN or (coordinates == "half_pixel_symmetric" and node.mode == "nearest"):
        raise Refused(f"resizing with {coordinates} coordinates and computed sizes", why="only a known size has them here")
    if coordinates == REGION and (node.mode == "cubic" or given.get("antialias") or roi is None):
        raise Refused("resizing a computed region otherwise than nearest or linear", why="the definition leaves its border open")
    axes = resized_axes(given.get("axes"), x.rank)
    counted = scales if scales is not None and product(scales.shape) != 0 else sizes
    if counted is None or count_of(counted, "sizes") != len(axes):
        raise Refused("resizing by another number of sizes than there are axes", why="it has no meaning")
    return [(tuple(new() if a in axes else d for a, d in enumerate(x.shape)), x.dtype)]


@deferrable("Resize", numbers=[1, 2, 3], since=11, results=_resized, tolerance="sum")
def resize_to_torch(op, torch, x, roi=None, scales=None, sizes=None):
    port, mode = torch.inputs[0], op["mode"]
    if mode != "nearest" and port.dtype.kind not in "fV":
        raise torch.refuse(f"{mode} resizing of integers", why="only ONNX rounds it", instead="Cast to float32 before")
    axes = resized_axes(op["axes"], port.rank)
    numbers = None
    own = torch.call(torch.module.tensor, [x.size(a) for a in axes], dtype=torch.float32)
    if scales is not None and torch.inputs[2].shape != (0,):
        numbers, counts = listed(torch, 2), (torch.tensor(scales) * own).long().tolist()
    elif op["keep_aspect_ratio_policy"] in (None, "stretch"):
        counts = listed(torch, 3)
    else:
        ratios = torch.tensor(sizes) / own
        ratio = ratios.min() if op["keep_aspect_ratio_policy"] == "not_larger" else ratios.max()
        numbers, counts = [ratio.item()] * len(axes), (ratio * own + 0.5).long().tolist()
    wide = torch.float32 if port.dtype.itemsize < 4 else torch.torch_dtype(port.dtype)
    y = x if mode == "nearest" else x.to(wide)
    region = entries(torch, 1) if op["coordinate_transformation_mode"] == REGION else None
    beyond = []
    for position, axis in enumerate(axes):
        size, count = y.size(axis), counts[position]
        scale = count / size if numbers is None else numbers[position]
        if region is None:
            places = _places(op, torch, size, count, scale)
        else:
            start, end = region[position], region[position + len(axes)]
            places = _region_places(torch, size, count, start, end)
            outside = (places < 0) | (places > size - 1)
            beyond.append(outside.reshape([-1 if a == axis else 1 for a in range(port.rank)]))
            places = places.clamp(0, size - 1)
        if mode == "nearest":
            y = y.index_select(axis, _nearest(op["nearest_mode"], places).clamp(torch.call(min, 0, size), size - 1).long())
        else:
            y = _mixed(op, torch, y, axis, size, places, wide, torch.call(max, 1 / scale, 1.0) if op["antialias"] else 1)
    for outside in beyond:
        y = y.masked_fill(outside, op["extrapolation_value"])
    return y if mode == "nearest" else y.to(torch.torch_dtype(port.dtype))


def _region_places(torch: Any, size: Any, count: Any, start: Any, end: Any) -> Any:
    """The same within a region: see `crop_resize.positions`."""
    place = torch.call(torch.arange, count, dtype=torch.float32) + 0.5 * torch.call(max, 2 - count, 0)  # one: in the middle
    return start * (size - 1) + place * (end - start) * (size - 1) / torch.call(max, count - 1, 1)


def _places(op: Deferred, torch: Any, size: Any, count: Any, scale: Any) -> Any:
    """Where in the input each place of the output falls: see `resample.places`; nearest in float32, as onnxruntime does."""
    dtype = torch.float32 if op["mode"] == "nearest" else torch.float64
    place, coordinates = torch.call(torch.arange, count, dtype=dtype), op["coordinate_transformation_mode"]
    if coordinates == "align_corners":
        return place * (size - 1) / torch.call(max, count - 1, 1)
    if coordinates == "asymmetric":
        return place / scale
    place = (place + 0.5) / scale - 0.5
    if coordinates == "pytorch_half_pixel":
        return place * (count > 1)
    return place + (size - count / scale) / 2 if coordinates == "half_pixel_symmetric" else place


def _nearest(rounding: str, places: Any) -> Any:
    whole = places.floor()
    if rounding == "floor":
        return whole
    if rounding == "ceil":
        return places.ceil()
    above = places - whole - 0.5
    return whole + (above > TIE if rounding == "round_prefer_floor" else above >= -TIE)


def _mixed(op: Deferred, torch: Any, x: Any, axis: int, size: Any, places: Any, wide: Any, step: Any) -> Any:
    """Linear or cubic: the weight of each element at each place; beyond the border it is repeated, or weighs nothing.

    step: how wide an element is, if it is antialiased; otherwise 1
    """
    reach = 1 if op["mode"] == "linear" else 2
    if op["antialias"]:
        reach = torch.call(math.ceil, reach * step)
    elements = torch.call(torch.arange, 0 - reach, size + reach)
    distance = (elements - places.unsqueeze(1)).abs() / step
    weights = (1 - distance).clamp(min=0) if op["mode"] == "linear" else _keys(torch, distance, op["cubic_coeff_a"])
    if op["exclude_outside"]:
        weights = weights * ((elements >= 0) & (elements < size))
    if op["exclude_outside"] or op["antialias"]:
        weights = weights / weights.sum(1, keepdim=True)
    bordered = x.index_select(axis, elements.clamp(torch.call(min, 0, size), size - 1))
    return torch.tensordot(bordered, weights.to(wide), dims=([axis], [1])).movedim(-1, axis)


def _keys(torch: Any, x: Any, a: float) -> Any:
    """The cubic convolution kernel (Keys 1981)."""
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return torch.where(x <= 1, inner, torch.where(x < 2, outer, 0.0))
