"""The arithmetic of resizing: where an output place falls in the input, which element is nearest, which weights mix.

Everything is separable, so it is said per axis: a list of indices, or a matrix (out, in). Coordinates are exact
fractions; frameworks compute them in float32, and `rounds_alike` says whether that picks the same elements.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

import numpy as np

HALF = Fraction(1, 2)


def places(size: int, count: int, scale: float | None, coordinates: str) -> list[Fraction]:
    """Where in the input, in elements, each place of the output falls."""
    step = Fraction(size, count) if scale is None else 1 / Fraction(str(scale))
    shift = Fraction(0)
    if coordinates == "half_pixel_symmetric" and scale is not None:
        shift = Fraction(size, 2) * (1 - count / (Fraction(str(scale)) * size))
    if coordinates == "align_corners":
        return [i * Fraction(size - 1, count - 1) if count > 1 else Fraction(0) for i in range(count)]
    if coordinates == "asymmetric":
        return [i * step for i in range(count)]
    if coordinates == "pytorch_half_pixel" and count == 1:
        return [Fraction(0)]
    return [(i + HALF) * step - HALF + shift for i in range(count)]


ROUNDINGS = {
    "floor": math.floor,
    "ceil": math.ceil,
    "round_prefer_floor": lambda x: math.ceil(x - HALF),
    "round_prefer_ceil": lambda x: math.floor(x + HALF),
}


@functools.lru_cache(64)
def nearest(size: int, count: int, scale: float | None, coordinates: str, rounding: str) -> tuple[int, ...]:
    """The element that each place of the output takes."""
    rounded = map(ROUNDINGS[rounding], places(size, count, scale, coordinates))
    return tuple(min(max(i, 0), size - 1) for i in rounded)


def rounds_alike(size: int, count: int, scale: float | None, coordinates: str, rounding: str, *, divides: bool) -> bool:
    """Whether coordinates computed in float32 pick the same elements as exact ones.

    divides: by the scale, as onnxruntime does; torch and TensorFlow multiply by its inverse.
    """
    place, one = np.arange(count, dtype=np.float32), np.float32(1)
    factor = np.float32(count / size if scale is None else scale) if divides else None
    inverse = np.float32(size) / np.float32(count) if scale is None else np.float32(1 / scale)

    def stretched(x: np.ndarray) -> np.ndarray:
        return x / factor if divides else x * inverse

    half = np.float32(0.5)
    if coordinates == "asymmetric":
        found = stretched(place)
    elif coordinates == "align_corners":
        found = place * np.float32(size - 1) / np.float32(max(count - 1, 1))
    else:
        found = stretched(place + half) - (half if divides else 0 * one)
        if not divides and rounding == "round_prefer_ceil":
            rounding = "floor"  # floor((i + 0.5) * scale): the half that would be subtracted is added again
    rounded = {
        "floor": np.floor, "ceil": np.ceil, "round_prefer_floor": lambda x: np.ceil(x - half),
        "round_prefer_ceil": lambda x: np.floor(x + half),
    }[rounding](found)  # fmt: skip
    taken = np.clip(rounded, 0, size - 1).astype(int)
    return tuple(taken.tolist()) == nearest(size, count, scale, coordinates, rounding_of(coordinates, rounding, divides))


def rounding_of(coordinates: str, rounding: str, divides: bool) -> str:
    """The rounding that was asked for, before `rounds_alike` simplified it."""
    return "round_prefer_ceil" if coordinates != "asymmetric" and not divides and rounding == "floor" else rounding
