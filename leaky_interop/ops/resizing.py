"""Keras' resizing of images, read as the backend that runs the model computes it.

| interpolation                | TensorFlow                                      | torch                                | JAX      |
|------------------------------|-------------------------------------------------|--------------------------------------|----------|
| nearest                      | the centre's element                            | the same                             | the same |
| bilinear                     | centred places                                  | the same                             | the same |
| bicubic                      | a = -0.5 inside only, at 1/1024 of an element   | a = -0.75, the border repeated       | a = -0.5 inside only |
| bicubic, antialias           | a = -0.5 inside only                            | the same                             | the same |
| area, lanczos3, lanczos5     | lanczos under a window, means of areas          | none                                 | lanczos  |
| integers, other floats       | in float32, rounded, the nearest that fit       | in float32, rounded; uint8 fits      |          |
| crop_, pad_to_aspect_ratio   | sizes rounded down, divided in float32          | in float64                           |          |

`UpSampling` repeats for nearest, and resizes for all else.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Dim, Value, agree, imports
from .bounds import clipped
from .functions import Round
from .index import sliced
from .matmul import MatMul
from .pad import pad
from .resample import mixing, nearest_in_torch
from .upsample import CENTRED, PLAIN, resized

TABLE = 1024  # the steps within an element for which TensorFlow knows bicubic weights


@imports("keras", "UpSampling1D")
def upsampling_1d_from_keras(layer, x):
    channels_first = x.transpose(0, 2, 1)
    batch, channels, length = channels_first.shape
    y = resized(channels_first, (batch, channels, length * layer.size), (None,) * 3, "nearest", *PLAIN)
    return y.transpose(0, 2, 1)


@imports("keras", "UpSampling2D", "UpSampling3D", channels_last=True)
def upsampling_from_keras(layer, x):
    sizes = tuple(n * f for n, f in zip(x.shape[2:], layer.size, strict=True))
    interpolation = getattr(layer, "interpolation", "nearest")
    if interpolation == "nearest":  # repeats; image resizing centres the places instead
        return resized(x, (*x.shape[:2], *sizes), (None,) * x.rank, "nearest", *PLAIN)
    return _back(_floating(x, sizes, interpolation, layer.backend), sizes, interpolation, layer.backend, x.dtype)


@imports("keras", "Resizing", channels_last=True)
def resizing_from_keras(layer, x):
    return _image(layer, x, (layer.height, layer.width))


@imports("keras", "ops.Resize", channels_last=True)
def resize_from_keras(call, x):
    return _image(call, x, tuple(call.size))


def _image(call: Any, x: Value, sizes: tuple[int, int]) -> Value:
    """One image or a batch of them resized."""
    if x.rank == 3 and call.data_format == "channels_last":  # one image: the engine took it for a sequence
        image = x.transpose(1, 0, 2)  # (height, channels, width) -> (channels, height, width)
        return _image(call, image.reshape(1, *image.shape), sizes).reshape(x.shape[1], *sizes).transpose(1, 0, 2)
    if x.rank == 3:
        return _image(call, x.reshape(1, *x.shape), sizes).reshape(x.shape[0], *sizes)
    y = _floating(x, sizes, call.interpolation, call.backend)
    if call.crop_to_aspect_ratio:
        y = _cropped(y, sizes, call.backend)
    elif call.pad_to_aspect_ratio:
        y = _padded(y, sizes, call.backend, float(call.fill_value))
    return _back(y, sizes, call.interpolation, call.backend, x.dtype, antialias=bool(call.antialias))


def _floating(x: Value, sizes: tuple[Dim, ...], interpolation: str, backend: str) -> Value:
    """Images in the dtype that the backend resizes them in."""
    if backend == "tensorflow":
        return x if interpolation == "nearest" or x.shape[2:] == tuple(sizes) else x.cast(np.float32)
    return x if x.dtype.kind == "f" and x.dtype.itemsize >= 4 else x.cast(np.float32)


def _back(
    x: Value, sizes: tuple[Dim, ...], interpolation: str, backend: str, dtype: np.dtype, *, antialias: bool = False
) -> Value:
    """Images resized, and again in the dtype they came in."""
    y = interpolated(x, sizes, interpolation, antialias=antialias, backend=backend)
    if y.dtype == dtype or dtype.kind not in "iu":
        return y.cast(dtype)
    if backend == "tensorflow" or (dtype == np.uint8 and interpolation == "bicubic"):  # torch lets others overflow
        limits = np.iinfo(dtype)
        y = clipped(y, float(limits.min), float(limits.max))
    return Round()(y).cast(dtype)


def _cropped(x: Value, sizes: tuple[int, int], backend: str) -> Value:
    """The middle of the image in the shape of the output."""
    height, width = _known(x, sizes, "crops")
    if agree(height * sizes[1], width * sizes[0]):
        return x
    kept = (_share(width, *sizes, backend), _share(height, *sizes[::-1], backend))
    cuts = {}
    for axis, (size, part) in enumerate(zip((height, width), kept, strict=True), 2):
        part = max(min(size, part), 1)
        cuts[axis] = slice((size - part) // 2, (size - part) // 2 + part)
    return sliced(x, cuts)


def _padded(x: Value, sizes: tuple[int, int], backend: str, value: float) -> Value:
    """The image in the middle of one in the shape of the output; both ends get the same."""
    height, width = _known(x, sizes, "pads")
    if agree(height * sizes[1], width * sizes[0]):
        return x
    wanted = (_share(width, *sizes, backend), _share(height, *sizes[::-1], backend))
    ends = [(max(size, full) - size) // 2 for size, full in zip((height, width), wanted, strict=True)]
    return pad(x, [(0, 0), (0, 0), *((end, end) for end in ends)], "constant", value)


def _share(size: int, this: int, other: int, backend: str) -> int:
    """How long one axis is if the other is `size` long and both are as `this` to `other`: as the backend rounds it."""
    number = np.float32 if backend == "tensorflow" else np.float64
    return int(number(size * this) / number(other))


def _known(x: Value, sizes: tuple[int, int], what: str) -> tuple[Any, Any]:
    height, width = x.shape[2:]
    fixed = isinstance(height, int) and isinstance(width, int)
    if not fixed and not agree(height * sizes[1], width * sizes[0]):
        raise Refused(
            f"resizing that {what} to keep the aspect ratio of images of open size",
            why="how much is rounded by the backend, from the numbers",
            hint="Fix the size with input_shapes",
        )
    return height, width


def interpolated(x: Value, sizes: tuple[Dim, ...], interpolation: str, *, antialias: bool, backend: str) -> Value:
    """Keras' interpolations by name, of floats."""
    shape, scales = (*x.shape[:2], *sizes), (None,) * 4
    if interpolation == "nearest":
        return resized(x, shape, scales, "nearest", *CENTRED, picker=lambda n, m, s: nearest_in_torch(n, m, s, True))
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(interpolation, interpolation)
    if mode not in ("linear", "cubic", "area", "lanczos3", "lanczos5"):
        raise Refused(f"{interpolation} interpolation", why="no backend of Keras 3 computes it", hint="Use bilinear or bicubic")
    antialias = antialias and mode != "area"
    if mode == "cubic" and not antialias and backend == "torch":
        return resized(x, shape, scales, mode, "half_pixel", cubic_a=-0.75)
    if mode == "cubic" and not antialias and backend == "tensorflow":
        return _cubic_in_tensorflow(x, sizes)
    return resized(x, shape, scales, mode, "half_pixel", cubic_a=-0.5, inside_only=True, antialias=antialias)


def _cubic_in_tensorflow(x: Value, sizes: tuple[Dim, ...]) -> Value:
    """TensorFlow looks weights up in a table: where a place falls between two of its steps, its own matrices say so."""
    shape, scales = (*x.shape[:2], *sizes), (None,) * 4
    plain = ("cubic", "half_pixel", -0.5, True, False)
    axes = [a for a in (2, 3) if not agree(x.shape[a], shape[a])]
    if not all(isinstance(n, int) for a in axes for n in (x.shape[a], shape[a])):
        raise Refused(
            "bicubic resizing of an open size",
            why="TensorFlow rounds places to 1/1024 of an element, which only known sizes tell",
            hint="Fix the size with input_shapes, or use bilinear",
        )
    tables: dict[int, np.ndarray] = {a: mixing(x.shape[a], shape[a], None, *plain, TABLE) for a in axes}  # type: ignore[arg-type]
    exact = (mixing(x.shape[a], shape[a], None, *plain) for a in axes)  # type: ignore[arg-type]
    if all(np.array_equal(tables[a], e) for a, e in zip(axes, exact, strict=True)):
        return resized(x, shape, scales, "cubic", "half_pixel", cubic_a=-0.5, inside_only=True)
    if 2 in tables:
        x = MatMul()(x.graph.constant(tables[2].astype(x.dtype)), x)
    return MatMul()(x, x.graph.constant(tables[3].T.astype(x.dtype))) if 3 in tables else x
