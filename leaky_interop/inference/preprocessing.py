"""What is done to a picture before a network sees it, stated once: `(pixel / divisor - mean) / std`, after a resize.

The recipe travels inside the ONNX file, as JSON under `KEY` in the model's metadata. It names everything that decides a
number: the size, how a picture is brought to it and by which filter, the order of the colours, and three numbers a
channel. Arithmetic is in 32 bits in the order of the formula, which is Keras' and torchvision's own order.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import Usage
from .ports import LAYOUTS, Picture, Port, picture

if TYPE_CHECKING:
    from PIL.Image import Image

KEY = "leaky_interop.preprocessing"
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")  # Pillow's; all but nearest are antialiased
FITS = ("stretch", "crop", "pad")
COLOURS = ("rgb", "bgr")
MOST_PIXELS = 100_000_000  # of a resized picture: one that is 1 x 100,000 must not become 256 x 25,600,000
RANGES = ((-1.0, 1.0), (0.0, 1.0), (0.0, 255.0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """A recipe. With `size` None a picture keeps its own size.

    fit: "stretch" to the size, whatever the proportions; "crop" the centre after the shorter side was brought to
    `shorter`; "pad" with `padding`, after the whole picture was brought inside (a letterbox).
    """

    size: tuple[int, int] | None = None  # height, width
    fit: Literal["stretch", "crop", "pad"] = "stretch"
    shorter: int | None = None
    filter: str = "bilinear"
    padding: float = 0.0  # a pixel from 0 to 255
    colours: Literal["rgb", "bgr"] = "rgb"  # of networks with three channels
    divisor: float = 1.0
    mean: tuple[float, ...] = ()  # one number, or one a channel in the network's order; none is 0
    std: tuple[float, ...] = ()  # as above; none is 1
    layout: Literal["nchw", "nhwc"] | None = None  # None: found from the network
    output_range: tuple[float, float] | None = None  # of pictures that the network makes

    def __post_init__(self) -> None:
        for field, known in (("fit", FITS), ("filter", FILTERS), ("colours", COLOURS), ("layout", (*LAYOUTS, None))):
            if (value := getattr(self, field)) not in known:
                raise Usage(
                    f"preprocessing: {field} is {value!r}", why=f"it is one of {', '.join(filter(None, known))}"
                )
        if (self.shorter is not None) != (self.fit == "crop" and self.size is not None):
            raise Usage('preprocessing: shorter is given with fit = "crop" and a size, and not without')
        if self.size is not None and not all(0 < d <= 1 << 15 for d in (*self.size, self.shorter or 1)):
            raise Usage(f"preprocessing: the size {self.size} is not that of a picture")
        if self.shorter is not None and self.size is not None and self.shorter < max(self.size):
            raise Usage(f"preprocessing: shorter = {self.shorter}", why=f"no {self.size} can be cut out of that")
        numbers = (self.divisor, *self.mean, *self.std, self.padding)
        if not np.isfinite(numbers).all() or 0 in (self.divisor, *self.std):
            raise Usage("preprocessing: divisor, mean and std are finite numbers", why="the divisor and std are not 0")
        if len(self.mean) not in (0, 1, 3) or len(self.std) not in (0, 1, 3):
            raise Usage("preprocessing: mean and std are one number, or one for each of three channels")
        if self.output_range not in (None, *RANGES):
            raise Usage(f"preprocessing: output_range is {self.output_range}", why="it is -1..1, 0..1 or 0..255")

    @property
    def arithmetic(self) -> bool:
        """Whether pixels change at all."""
        return self.divisor != 1 or any(self.mean) or any(s != 1 for s in self.std)

    def fitted(self, port: Port) -> tuple[Preprocessing, Picture]:
        """The recipe with the network's own size and layout in it. Raises Usage where the two do not fit."""
        shape = picture(port, self.layout)
        if shape.channels == 1 and 3 in (len(self.mean), len(self.std)):
            raise Usage("the preprocessing is for three colours", where=str(port), why="the network takes one channel")
        if port.dtype.kind == "u" and port.dtype.itemsize == 1 and self.arithmetic:
            raise Usage("the preprocessing makes fractions", where=str(port), why="the network takes bytes")
        if port.dtype.kind != "f" and port.dtype.name not in ("uint8", "bfloat16"):
            raise Usage(f"{port} takes no pictures", why="they come as floating-point numbers or as bytes")
        wanted = tuple(
            own or stated for own, stated in zip((shape.height, shape.width), self.size or (None, None), strict=True)
        )
        if None in wanted:
            return self, shape
        if self.size is not None and wanted != self.size and self.fit != "crop":
            return dataclasses.replace(self, size=wanted), shape
        if self.size is not None and wanted != self.size:
            shorter = round(self.shorter * max(wanted) / max(self.size))  # type: ignore[operator]
            return dataclasses.replace(self, size=wanted, shorter=shorter), shape
        return dataclasses.replace(self, size=wanted), shape

    def sample(self, image: Any, name: str, shape: Picture, kind: np.dtype) -> np.ndarray:
        """A picture's file, the bytes of one, or a `PIL.Image`, as `apply` makes it."""
        from .. import files

        is_file = isinstance(image, str | os.PathLike | bytes)
        made = files.read_image(image, name) if is_file else files.plain(image, name or "the picture")
        return self.apply(made, shape, kind)

    def apply(self, image: Image, shape: Picture, kind: np.dtype) -> np.ndarray:
        """A picture of mode RGB or L as the network takes it, in its layout, without the batch."""
        placed, corner = self.framed(image, shape)
        pixels = np.asarray(placed)
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        if shape.channels == 3 and self.colours == "bgr":
            pixels = pixels[..., ::-1]
        height, width = self.size or pixels.shape[:2]
        whole = pixels.shape[:2] == (height, width)
        chw = shape.layout == "nchw"
        if kind == np.uint8:
            made = np.full((height, width, shape.channels), round(self.padding), np.uint8)
            made[corner[0] : corner[0] + pixels.shape[0], corner[1] : corner[1] + pixels.shape[1]] = pixels
            return np.ascontiguousarray(np.moveaxis(made, 2, 0)) if chw else made
        result = np.empty((shape.channels, height, width) if chw else (height, width, shape.channels), np.float32)
        view = np.moveaxis(result, 0, 2) if chw else result
        if not whole:
            view[...] = self.padding
        view[corner[0] : corner[0] + pixels.shape[0], corner[1] : corner[1] + pixels.shape[1]] = pixels
        return self.normalised(result, 0 if chw else 2).astype(kind, copy=False)

    def normalised(self, array: np.ndarray, axis: int) -> np.ndarray:
        """The formula, in place, on 32-bit numbers with their channels at `axis`."""

        def of(values: tuple[float, ...]) -> np.ndarray:
            return np.asarray(values, np.float32).reshape([-1 if i == axis else 1 for i in range(array.ndim)])

        if self.divisor != 1:
            array /= np.float32(self.divisor)
        if any(self.mean):
            array -= of(self.mean)
        if any(s != 1 for s in self.std):
            array /= of(self.std)
        return array

    def framed(self, image: Image, shape: Picture) -> tuple[Image, tuple[int, int]]:
        """The picture in the network's colours, resized and cropped; and where its top left corner stands in the frame."""
        mode = "L" if shape.channels == 1 else "RGB"
        if image.mode != mode:
            image = image.convert(mode)
        if self.size is None:
            return image, (0, 0)
        height, width = self.size
        if self.fit == "stretch":
            return self._resized(image, width, height), (0, 0)
        if self.fit == "crop":
            assert self.shorter is not None
            short, long = sorted(image.size)
            longer = int(self.shorter * long / short)  # cut off, not rounded: as torchvision's Resize does
            if self.shorter * longer > MOST_PIXELS:
                why = f"with its shorter side at {self.shorter} pixels it has {longer:,} on the other"
                raise Usage(f"the picture is {image.width} x {image.height}", why=why)
            portrait = image.width <= image.height
            image = self._resized(image, *((self.shorter, longer) if portrait else (longer, self.shorter)))
            # rounded half to even, as torchvision's CenterCrop does
            left, top = round((image.width - width) / 2), round((image.height - height) / 2)
            return image.crop((left, top, left + width, top + height)), (0, 0)
        # as darknet's letterbox_image: whole numbers, cut off
        if width * image.height < height * image.width:
            inner = (width, max(1, image.height * width // image.width))
        else:
            inner = (max(1, image.width * height // image.height), height)
        return self._resized(image, *inner), ((height - inner[1]) // 2, (width - inner[0]) // 2)

    def _resized(self, image: Image, width: int, height: int) -> Image:
        from PIL.Image import Resampling

        return (
            image if image.size == (width, height) else image.resize((width, height), Resampling[self.filter.upper()])
        )

    # --- text ---------------------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """What `from_json` reads; fields at their defaults are left out."""
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if getattr(self, f.name) != f.default}
        return json.dumps(given)

    @classmethod
    def from_fields(cls, given: Any, where: str, base: Preprocessing | None = None) -> Preprocessing:
        """A recipe of plain values; what they leave out is as in `base`. Raises Usage for a field of another name or type."""
        if not isinstance(given, Mapping):
            raise Usage(f"{where} is no table of fields")
        fields = {f.name: str(f.type) for f in dataclasses.fields(cls)}
        values = {}
        for name, value in given.items():
            if name not in fields:
                raise Usage(f"{where} has no field {name!r}", why=f"there is {', '.join(fields)}")
            values[name] = _typed(name, value, fields[name], where)
        return dataclasses.replace(base or cls(), **values)


def _typed(name: str, value: Any, kind: str, where: str) -> Any:
    """A value of JSON or TOML as its field holds it."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None and "None" in kind:
        return None
    if kind.startswith("tuple["):
        row = [value] if number else value
        whole = "int" in kind
        if isinstance(row, list) and all(
            isinstance(v, int if whole else int | float) and not isinstance(v, bool) for v in row
        ):
            made = tuple(v if whole else float(v) for v in row)
            if name == "size" and len(made) == 1:
                made *= 2
            if "..." in kind or len(made) == 2:
                return made
    elif kind.startswith("int"):
        if number and isinstance(value, int):
            return value
    elif kind == "float":
        if number:
            return float(value)
    elif isinstance(value, str):
        return value
    raise Usage(f"{where}: {name} is {value!r}", why=f"it is of the kind {kind}")
