"""Pictures from strangers: decoded by Pillow, in formats that hold pixels and no programs, after their size was judged."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import IO, Any

import numpy as np

from leaky_interop.errors import LeakyInteropError, UnsafeFile, Usage, require

from .source import damaged, opened

# Not EPS, which runs a PostScript interpreter, nor PDF and WMF, which draw.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA", "ICO")
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .bmp .dib .gif .tif .tiff .ppm .pgm .pbm .pnm .avif .jp2 .j2k .tga .ico".split()
)
MOST_PIXELS = 100_000_000  # of one picture: 300 MB as colours
WIDE = 257  # 65535 / 255: 16 bits as 8


def read_image(source: str | os.PathLike[str] | bytes, name: str = "") -> Any:
    """The picture in a file, or in the file's bytes, as a `PIL.Image` of mode RGB or L, turned as its EXIF says.

    Of several frames the first. Transparency is dropped and the colours behind it stay, as Keras' and torchvision's
    loaders do; 16 bits a channel are rounded to 8. Raises UnsafeFile for one of more than MOST_PIXELS, Usage for what is
    no picture or broken.
    """
    if isinstance(source, bytes):
        return _decoded(io.BytesIO(source), name or "the picture")
    with opened(source) as handle:
        return _decoded(handle, name or Path(source).name)


def _decoded(handle: IO[bytes], name: str) -> Any:
    image_module = require("PIL.Image", "inference")
    from PIL import ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow's own limit, which is below MOST_PIXELS
            image = image_module.open(handle, formats=FORMATS)
            if image.width * image.height > MOST_PIXELS:
                raise _too_large(name, f"{image.width} x {image.height}")
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return plain(image, name)
    except image_module.DecompressionBombError:
        raise _too_large(name, "far more pixels") from None
    except image_module.UnidentifiedImageError:
        raise Usage(f"{name} is no picture", why="its content is of no format that is read") from None
    except (LeakyInteropError, MemoryError):
        raise
    except (
        Exception
    ) as error:  # Pillow's decoders raise whatever they meet: OSError, ValueError, struct.error, KeyError
        raise damaged(name, str(error)) from None


def plain(image: Any, name: str) -> Any:
    """A picture of any mode as RGB or L."""
    if image.mode in ("RGB", "L"):
        return image
    if image.mode.startswith("I;16") or image.mode == "I":
        return _eight_bits(image, name)
    if image.mode == "F":
        why = "its pixels are floating-point numbers of no stated range"
        raise Usage(f"{name} is not read as a picture", why=why, hint="Save it with 8 or 16 bits a channel")
    return image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")


def _eight_bits(image: Any, name: str) -> Any:
    """16 bits as 8, rounded: Pillow itself would cut every brighter pixel off at 255."""
    from PIL import Image

    pixels = np.asarray(image).astype(np.int64)
    if pixels.min() < 0 or pixels.max() > 0xFFFF:
        raise Usage(f"{name} is not read as a picture", why="its pixels are integers of more than 16 bits")
    return Image.fromarray(((pixels + WIDE // 2) // WIDE).astype(np.uint8))


def _too_large(name: str, size: str) -> UnsafeFile:
    return UnsafeFile(f"{name} has {size} pixels", why=f"a picture is read up to {MOST_PIXELS:,} pixels")
