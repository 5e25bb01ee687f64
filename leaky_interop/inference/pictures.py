"""Pictures that a network makes: numbers of a stated range as PNG, one for each input or all in a grid."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Usage, require
from ..files import atomic
from .job import INPUT
from .ports import LAYOUTS, picture
from .preprocessing import Preprocessing

if TYPE_CHECKING:
    from .session import Session

CERTAIN = {"Tanh": (-1.0, 1.0), "Sigmoid": (0.0, 1.0)}  # ranges that the last operator says
MOST_IN_A_GRID = 400
UNUSUAL = re.compile(r"[^\w.\[\]-]+")  # in a file's name
Row = dict[str, Any]


def of_range(text: str) -> tuple[float, float]:
    """The range in "-1..1"."""
    low, dots, high = text.partition("..")
    try:
        found = (float(low), float(high))
    except ValueError:
        found = (0.0, 0.0)
    if not dots or not -1e6 < found[0] < found[1] < 1e6:
        raise Usage(f"--output-range {text!r} is not understood", hint="Write -1..1, 0..1 or 0..255")
    return found


class Maker:
    """Makes pictures of the network's one output. Raises Usage where that holds none or its range is not known."""

    def __init__(self, session: Session, stated: tuple[float, float] | None) -> None:
        recipe = session.preprocessing
        pictures = recipe if isinstance(recipe, Preprocessing) else Preprocessing()
        if len(session.outputs) != 1:
            raise Usage(f"the network has {len(session.outputs)} outputs", why="pictures are made of one")
        self.name = session.outputs[0].name
        self.layout = (
            picture(session.outputs[0], pictures.layout).layout if None not in session.outputs[0].shape[1:] else None
        )
        self.stated_layout = pictures.layout
        self.bgr = pictures.colours == "bgr"
        range_ = stated or pictures.output_range or CERTAIN.get(session.last_operators[0])
        if range_ is None and session.outputs[0].dtype == np.uint8:
            range_ = (0.0, 255.0)
        if range_ is None:
            hint = "Pass --output-range -1..1, 0..1 or 0..255, or state output_range in the preprocessing"
            raise Usage("nothing says from where to where the network's pictures go", hint=hint)
        self.low, self.high = range_

    def picture(self, row: Row) -> Any:
        """The row's picture. What lies outside of the range is cut off; a NaN is an error."""
        from PIL import Image

        array = np.asarray(row[self.name], np.float64)
        if np.isnan(array).any():
            raise Usage(f"the picture of {row[INPUT]} holds NaN")
        if array.ndim != 3:
            raise Usage(f"an output of shape {list(array.shape)} is no picture")
        channels, height, width = LAYOUTS[self._layout(array.shape)]
        array = array.transpose(height - 1, width - 1, channels - 1)
        if array.shape[2] == 3 and self.bgr:
            array = array[..., ::-1]
        pixels = np.rint(np.clip((array - self.low) / (self.high - self.low), 0, 1) * 255).astype(np.uint8)
        return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)

    def _layout(self, shape: tuple[int, ...]) -> str:
        """The port's, or what the array itself tells where the port leaves sizes open."""
        if self.layout is None:
            from .ports import Port

            return picture(Port(self.name, (None, *shape), np.dtype(np.float32)), self.stated_layout).layout
        return self.layout


class Folder:
    """One PNG for each record, called after it; those that are there already were written by an earlier run."""

    def __init__(self, path: Path, maker: Maker, resume: bool) -> None:
        self.path, self.maker, self.resume = path, maker, resume
        self.stems: dict[str, str] = {}  # by record
        self.taken: set[str] = set()
        self.done: Container[str] = self

    def __contains__(self, name: object) -> bool:
        """Whether an earlier run has written the record's picture."""
        target = self.target(str(name))
        return self.resume and target.exists()

    def target(self, name: str) -> Path:
        """Where a record's picture goes. No two records share a file, and the order of the records decides their names."""
        if name not in self.stems:
            plain = UNUSUAL.sub("_", str(Path(name).with_suffix(""))).strip("_.")[-200:] or "picture"
            stem = next(
                s for n in itertools.count(1) if (s := plain if n == 1 else f"{plain}_{n}").lower() not in self.taken
            )
            self.taken.add(stem.lower())
            self.stems[name] = stem
        return self.path / f"{self.stems[name]}.png"

    def write(self, rows: Sequence[Row]) -> None:
        for row in rows:
            with atomic(self.target(row[INPUT])) as temporary:
                self.maker.picture(row).save(temporary, "PNG")


class Grid:
    """All pictures in one, as square as it can be."""

    done: Container[str] = ()

    def __init__(self, maker: Maker) -> None:
        self.maker = maker
        self.images: list[Any] = []

    def write(self, rows: Sequence[Row]) -> None:
        if len(self.images) + len(rows) > MOST_IN_A_GRID:
            raise Usage(
                f"a grid holds {MOST_IN_A_GRID} pictures at most", hint="Name a folder to write to: --output pictures/"
            )
        self.images += map(self.maker.picture, rows)

    def save(self, path: Path) -> None:
        from PIL import Image

        width, height = (max(image.size[axis] for image in self.images) for axis in (0, 1))
        across = math.ceil(math.sqrt(len(self.images)))
        whole = Image.new(self.images[0].mode, (across * width, math.ceil(len(self.images) / across) * height))
        for index, image in enumerate(self.images):
            whole.paste(image, (index % across * width, index // across * height))
        whole.save(path, "PNG")


def is_folder(path: Path, text: str) -> bool:
    """Whether an output names a folder for pictures."""
    return text.endswith("/") or path.is_dir()


@contextmanager
def pictures(
    path: Path, session: Session, stated: tuple[float, float] | None, *, folder: bool, resume: bool
) -> Iterator[Any]:
    """A writer of pictures into a folder, which is made if need be, or of one grid."""
    require("PIL.Image", "inference")
    maker = Maker(session, stated)
    if folder:
        path.mkdir(parents=True, exist_ok=True)
        yield Folder(path, maker, resume)
        return
    if resume:
        raise Usage(
            f"{path.name} cannot be resumed", why="it appears when it is whole", hint="Name a folder to write to"
        )
    grid = Grid(maker)
    with atomic(path) as temporary:
        yield grid
        if not grid.images:
            raise Usage("there is no picture to write")
        grid.save(temporary)
