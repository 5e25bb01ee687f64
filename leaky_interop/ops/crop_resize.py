"""ONNX's Resize of a region (tf_crop_and_resize): corners of the region lie on corners of the result.

Read as what it computes: one matrix an axis, or elements taken by index, and a number in every place beyond the data.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Dim, Shape, Value
from .compare import Where
from .contract import along
from .gather import Gather
from .matmul import MatMul
from .resample import TIE


def positions(size: int, count: int, start: float, end: float) -> np.ndarray:
    """Where in the input, in elements, each place of the output falls; start and end are parts of size - 1.

    In float32 and in onnxruntime's order, since which element is nearest hangs on the last bit.
    """
    start, end, last = np.float32(start), np.float32(end), np.float32(size - 1)  # type: ignore[assignment]
    if count == 1:
        return np.array([np.float32(0.5) * (start + end) * last])
    return start * last + np.arange(count, dtype=np.float32) * (end - start) * last / np.float32(count - 1)


def nearest(places: np.ndarray, rounding: str) -> np.ndarray:
    """The element that each place takes; what is close to a half is one, as in onnxruntime."""
    whole = np.floor(places)
    above = places - whole - 0.5
    up = {"floor": 0, "ceil": places > whole, "round_prefer_floor": above > TIE, "round_prefer_ceil": above >= -TIE}
    return whole + up[rounding]


def linear(places: np.ndarray, size: int) -> np.ndarray:
    """The matrix (out, in) of weights."""
    distance = np.abs(places[:, None] - np.arange(size))
    return np.maximum(1 - distance, 0)


def region_resized(
    x: Value, shape: Shape, axes: Sequence[int], region: Sequence[float], mode: str, rounding: str, beyond: float
) -> Value:
    """`region`: a start for each axis, then an end for each; 0 is the first element, 1 the last.

    Raises Refused for cubic mixing, for open sizes, and where onnxruntime departs from the definition.
    """
    if mode == "cubic":
        raise Refused("cubic resizing of a region", why="the definition leaves its border open", hint="Use linear")
    sizes: list[tuple[Dim, Dim]] = [(x.shape[a], shape[a]) for a in axes]
    if not all(isinstance(n, int) and isinstance(m, int) for n, m in sizes):
        raise Refused(
            "resizing a region of an open size", why="its weights depend on it", hint="Fix the sizes with input_shapes"
        )
    outside = np.zeros((1,) * x.rank, bool)
    for axis, (size, count), start, end in zip(axes, sizes, region[: len(axes)], region[len(axes) :], strict=True):
        if size == count and (start, end) == (0, 1):
            continue
        if size == count:
            raise Refused(
                f"resizing a region to the size that axis {axis} has anyway",
                why="onnxruntime ignores the region there, against the definition", hint="Write it as slicing and resizing",
            )  # fmt: skip
        places = positions(size, count, start, end)  # type: ignore[arg-type]
        around = [1] * x.rank
        around[axis] = -1
        outside = outside | ((places < 0) | (places > size - 1)).reshape(around)
        places = np.clip(places, 0, size - 1)
        if mode == "nearest":
            index = np.clip(nearest(places, rounding), 0, size - 1)
            x = Gather(axis=axis)(x, x.graph.constant(index.astype(np.int64)))
        else:
            x = _mixed(x, axis, linear(places, size))  # type: ignore[arg-type]
    if not outside.any():
        return x
    return Where()(x.graph.constant(outside), x.graph.constant(np.array(beyond, x.dtype)), x)


def _mixed(x: Value, axis: int, matrix: np.ndarray) -> Value:
    def held(weights: np.ndarray) -> Any:
        return x.graph.constant(weights.astype(x.dtype))

    return along(x, x.shape, axis, matrix, held, MatMul(), lambda y, dims: y.reshape(*dims))
