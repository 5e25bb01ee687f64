"""What a network takes and gives, as onnxruntime says, and where a picture's axes are in it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..errors import Usage
from ..numeric import dtype

KINDS = {
    "float": "float32", "double": "float64", "float16": "float16", "bfloat16": "bfloat16", "bool": "bool",
    **{name: name for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
}  # fmt: skip
LAYOUTS = {"nchw": (1, 2, 3), "nhwc": (3, 1, 2)}  # axes of channels, height, width


@dataclasses.dataclass(frozen=True)
class Port:
    """An input or output; a size that is open is None."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype

    @property
    def batch(self) -> int | None:
        """How many rows go in at once; None for any number."""
        return self.shape[0] if self.shape else None

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


def port(native: Any) -> Port:
    """onnxruntime's description of an input or output."""
    kind = native.type.removeprefix("tensor(").removesuffix(")")
    if kind not in KINDS:
        raise Usage(f"{native.name} is of type {native.type}", why="tensors of numbers are what is run here")
    shape = tuple(d if isinstance(d, int) and d > 0 else None for d in native.shape)
    return Port(native.name, shape, dtype(KINDS[kind]))


@dataclasses.dataclass(frozen=True)
class Picture:
    """How an input or output holds pictures."""

    layout: str
    channels: int
    height: int | None
    width: int | None

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width, where both are fixed."""
        return None if self.height is None or self.width is None else (self.height, self.width)


def picture(found: Port, layout: str | None = None) -> Picture:
    """Where the channels, height and width are. Raises Usage where the shape does not say."""
    if len(found.shape) != 4:
        raise Usage(f"{found} holds no pictures", why="a batch of pictures has four axes")
    fits = [name for name, (axis, *_) in LAYOUTS.items() if found.shape[axis] in (1, 3) and layout in (None, name)]
    if not fits and layout in LAYOUTS and found.shape[LAYOUTS[layout][0]] is None:
        raise Usage(f"{found} holds pictures of any number of channels", hint="Fix it when the network is converted")
    if len(fits) > 1 and sum(d in (1, 3) for d in found.shape[1:]) > 1:
        why = "its channels may be first or last"
        raise Usage(
            f"{found} does not say its layout", why=why, hint='State layout = "nchw" or "nhwc" in the preprocessing'
        )
    if not fits:
        raise Usage(f"{found} holds no pictures", why="no axis has the 1 or 3 channels that a picture has")
    axes = LAYOUTS[fits[0]]
    channels, height, width = (found.shape[axis] for axis in axes)
    assert channels is not None
    return Picture(fits[0], channels, height, width)
