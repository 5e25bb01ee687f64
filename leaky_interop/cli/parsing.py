"""Reads what stands on the command line: shapes, tolerances, files of arrays. Every mistake is a Usage error."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import Usage

if TYPE_CHECKING:
    import numpy as np

REPORTS = (".html", ".json", ".md")
OPEN = re.compile(r"-1|\?|[A-Za-z_]\w*")  # a size that stays open: None, batch, ...
POSITION = re.compile(r"arr_\d+")  # numpy's name for an array that was saved without one

Shape = tuple[int | None, ...]


def input_shapes(texts: Sequence[str]) -> dict[str, Shape] | list[Shape] | None:
    """["x:1,3,224,224"] as {"x": (1, 3, 224, 224)}; shapes without names as a list, in the order of the inputs."""
    pairs = [_shape(text) for text in texts]
    named = {name: shape for name, shape in pairs if name}
    if not named:
        return [shape for _, shape in pairs] or None
    if len(named) != len(pairs):
        why = "every shape has a name, and each another one, or none has"
        raise Usage(f"--input-shape {' --input-shape '.join(texts)} is not understood", why=why)
    return named


def _shape(text: str) -> tuple[str, Shape]:
    name, _, sizes = text.rpartition(":")
    shape: list[int | None] = []
    for size in map(str.strip, sizes.split(",")):
        if size.isascii() and size.isdigit() and int(size) > 0:
            shape.append(int(size))
        elif OPEN.fullmatch(size):
            shape.append(None)
        else:
            raise Usage(
                f"--input-shape {text!r} is not understood",
                why=f"{size!r} is not a size",
                hint="Write name:1,3,224,224, with None for a size that is open",
            )
    return name, tuple(shape)


def tolerance(option: str, texts: Sequence[str]) -> float | dict[str, float] | None:
    """["1e-5", "out0:1e-4"] as {"": 1e-5, "out0": 1e-4}; a single number alone as a number."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, digits = text.rpartition(":")
        try:
            number = float(digits)
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf"):
            raise Usage(f"{option} {text!r} is not understood", hint="Write 1e-5, or out0:1e-4 for one output")
        if name in found:
            raise Usage(f"{option} is given twice for {name or 'all outputs'}")
        found[name] = number
    return found[""] if list(found) == [""] else found or None


def renames(texts: Sequence[str]) -> dict[str, str]:
    """["x=image"] as {"x": "image"}."""
    found: dict[str, str] = {}
    for text in texts:
        old, _, new = text.rpartition("=")
        if not (old and new) or old in found:
            raise Usage(f"--rename {text!r} is not understood", hint="Write old=new, once for each name")
        found[old] = new
    return found


def report_paths(paths: Iterable[Path]) -> list[Path]:
    """Paths of reports, checked before anything is computed."""
    for path in (found := list(paths)):
        if path.suffix.lower() not in REPORTS:
            raise Usage(f"--report {path.name} is not understood", hint=f"Its name ends in {', '.join(REPORTS)}")
        if not path.parent.is_dir():
            raise Usage(f"the folder of {path.name} does not exist", hint="Make it first")
    return found


def source(text: str) -> str:
    """A model's path, or package.module:factory, whose package may stand in the current folder."""
    if Path(text).exists():  # asked first: what follows imports every operator
        return text
    from ..loading import FACTORY

    if FACTORY.fullmatch(text) and str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # last, so that nothing there takes the place of what is installed
    return text


def target_path(source: str, target: str) -> str:
    """A file to write, which is not the source."""
    from .. import frameworks

    if target in (*frameworks.NAMES, *frameworks.FORMATS):
        raise Usage(f"{target!r} is no file name", hint="Name the file to write: net.onnx, net.keras, net.pt2")
    if Path(source).exists() and Path(target).exists() and Path(source).samefile(target):
        raise Usage(f"{target} is the source itself", hint="Write to another file")
    return target


@contextlib.contextmanager
def preprocessing(name: str | None, fold: bool, target: str, external_data: bool | None) -> Iterator[str | Path]:
    """Where to write a conversion: the target itself, or a file that becomes it once its preprocessing is in it."""
    if name is None:
        if fold:
            raise Usage("--with-preprocessing is given without --preprocess", hint="Name the preprocessing: --preprocess imagenet")
        yield target
        return
    from .. import files
    from ..inference.embedding import embed
    from ..inference.recipes import recipe

    if Path(target).suffix != ".onnx":
        raise Usage("--preprocess is given", why=f"it is kept in .onnx files, and {target} is none")
    stated = recipe(name)
    with files.atomic(target) as temporary:
        yield temporary
        embed(temporary, stated, fold=fold, external_data=external_data)


def arrays(paths: Sequence[Path]) -> list[np.ndarray] | dict[str, np.ndarray] | None:
    """Arrays by name out of an `.npz`, or in order out of `.npy` files and out of an `.npz` that names none."""
    from .. import files

    found: list[Any] = [files.arrays(path) for path in paths]
    if len(paths) == 1 and paths[0].suffix.lower() != ".npy":
        if all(POSITION.fullmatch(name) for name in found[0]):
            return [found[0][name] for name in sorted(found[0], key=lambda name: int(name.removeprefix("arr_")))]
        return dict(found[0])
    for path, content in zip(paths, found, strict=True):
        if len(content) != 1:
            why = "of several files each holds the array of one input"
            raise Usage(f"{path.name} holds {len(content)} arrays", why=why)
    return [array for content in found for array in content.values()] or None
