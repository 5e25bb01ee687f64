"""The arithmetic of resizing: where an output place falls in the input, which element is nearest, which weights mix.

Everything is separable, so it is said per axis: a tuple of indices, or a matrix (out, in). Coordinates are exact
fractions here. Frameworks compute them in float32, which for a few sizes picks a neighbour; `nearest_in_torch` and
`nearest_in_onnxruntime` do as they do, so that importers and exporters notice.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

Index = tuple[int, ...]
HALF = Fraction(1, 2)
TIE = 1e-6  # what onnxruntime takes for a half
ROUNDINGS: dict[str, Callable[[Fraction], int]] = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda x: math.ceil(x - HALF),
    "round_prefer_ceil": lambda x: math.floor(x + HALF),
}


def places(size: int, count: int, scale: float | None, coordinates: str) -> list[Fraction]:
    """Where in the input, in elements, each place of the output falls. Without a scale, it is count / size."""
    step = Fraction(size, count) if scale is None else 1 / Fraction(str(scale))
    if coordinates == "align_corners":
        return [i * Fraction(size - 1, count - 1) if count > 1 else Fraction(0) for i in range(count)]
    if coordinates == "asymmetric":
        return [i * step for i in range(count)]
    if coordinates == "pytorch_half_pixel" and count == 1:
        return [Fraction(0)]
    shift = Fraction(size, 2) * (1 - count * step / size) if coordinates == "half_pixel_symmetric" else Fraction(0)
    return [(i + HALF) * step - HALF + shift for i in range(count)]


@functools.lru_cache(64)
def nearest(size: int, count: int, scale: float | None, coordinates: str, rounding: str) -> Index:
    """The element that each place of the output takes."""
    rounded = map(ROUNDINGS[rounding], places(size, count, scale, coordinates))
    return tuple(min(max(i, 0), size - 1) for i in rounded)


def nearest_in_torch(size: int, count: int, scale: float | None, centred: bool) -> Index:
    """What torch's nearest (centred: nearest-exact) and TensorFlow's nearest take: floor(place * step) in float32."""
    step = np.float32(size) / np.float32(count) if scale is None else np.float32(1 / scale)
    found = np.floor((np.arange(count, dtype=np.float32) + np.float32(0.5 if centred else 0)) * step)
    return tuple(np.minimum(found, size - 1).astype(int).tolist())


def nearest_in_onnxruntime(
    size: int, count: int, scale: float | None, coordinates: str, rounding: str, tie: float = TIE
) -> Index:
    """What onnxruntime takes: place / scale in float32. Newer versions take what is within `tie` of a half for one."""
    place, half = np.arange(count, dtype=np.float32), np.float32(0.5)
    factor = np.float32(count) / np.float32(size) if scale is None else np.float32(scale)
    if coordinates == "align_corners":
        found = place * np.float32(size - 1) / np.float32(max(count - 1, 1))
    elif coordinates == "asymmetric":
        found = place / factor
    else:
        found = (place + half) / factor - half
        if coordinates == "pytorch_half_pixel" and count == 1:
            found = np.zeros(1, np.float32)
    whole = np.floor(found)
    above = found - whole - half
    up = {
        "floor": False, "ceil": found > whole, "round_prefer_floor": above > tie, "round_prefer_ceil": above >= -tie,
    }[rounding]  # fmt: skip
    return tuple(np.clip(whole + up, 0, size - 1).astype(int).tolist())


# --- weights ----------------------------------------------------------------------------------------------------------


def keys(x: np.ndarray, a: float) -> np.ndarray:
    """The cubic convolution kernel (Keys 1981)."""
    x = np.abs(x)
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, inner, np.where(x < 2, outer, 0.0))


def lanczos(x: np.ndarray, radius: int) -> np.ndarray:
    """The sinc function under a window of a wider sinc."""
    return np.where(np.abs(x) < radius, np.sinc(x) * np.sinc(x / radius), 0.0)


def kernel_of(mode: str, cubic_a: float) -> tuple[Callable[[np.ndarray], np.ndarray], int]:
    """The weight of an element at a distance, and the distance from which on it has none."""
    if mode == "linear":
        return lambda x: np.maximum(1 - np.abs(x), 0), 1
    if mode == "cubic":
        return functools.partial(keys, a=cubic_a), 2
    radius = int(mode.removeprefix("lanczos"))
    return functools.partial(lanczos, radius=radius), radius


def area(size: int, count: int) -> np.ndarray:
    """The share of every element in the stretch of input that each place of the output covers."""
    step = size / count
    begin, end = np.arange(count)[:, None] * step, (np.arange(count)[:, None] + 1) * step
    element = np.arange(size)[None]
    return np.maximum(np.minimum(end, element + 1) - np.maximum(begin, element), 0) / step


@functools.lru_cache(64)
def mixing(
    size: int,
    count: int,
    scale: float | None,
    mode: str,
    coordinates: str,
    cubic_a: float,
    inside_only: bool,
    antialias: bool,
    steps: int = 0,
) -> np.ndarray:
    """The matrix (out, in) of weights, in float64.

    inside_only: elements beyond the border have no weight and the others make up for it; otherwise the border is
    repeated. antialias: where the output is smaller, the kernel is as wide as the step; its weights always sum to one.
    steps: the places within an element that weights are known for; none says all.
    """
    if mode == "area":
        return area(size, count)
    kernel, radius = kernel_of(mode, cubic_a)
    step = max(size / count if scale is None else 1 / scale, 1.0) if antialias else 1.0
    reach = math.ceil(radius * step)
    matrix = np.zeros((count, size))
    for row, place in enumerate(places(size, count, scale, coordinates)):
        place = Fraction(round(place * steps), steps) if steps else place
        first = math.floor(place) - reach + 1
        elements = np.arange(first, first + 2 * reach)
        weights = kernel((elements - float(place)) / step)
        if inside_only:
            weights = np.where((elements >= 0) & (elements < size), weights, 0.0)
        if inside_only or antialias:
            weights = weights / weights.sum()
        np.add.at(matrix[row], np.clip(elements, 0, size - 1), weights)
    return matrix
