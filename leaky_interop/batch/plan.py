"""What a batch converts: the models below a folder, or the rows of a manifest, each with the file to write."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..converting import SUFFIXES
from ..errors import Usage

MODELS = (".keras", ".h5", ".hdf5", ".onnx", ".pt2", ".chainer", ".m")  # what a folder is searched for
TARGETS = {"onnx": ".onnx", "keras": ".keras", "torch": ".pt2", "matlab": ".m"}
BESIDE = {".safetensors": (".py",), ".py": (".safetensors", ".weights.h5"), ".m": (".mat",)}  # what may be written along


@dataclass(frozen=True)
class Job:
    """One conversion."""

    name: str  # the source as the table shows it: below its folder, without that folder
    source: str  # as the command takes it: a path, or package.module:factory
    target: str  # below the folder of results, with forward slashes
    options: tuple[str, ...] = ()  # of the command convert
    weights: Path | None = None

    def arguments(self, out: Path) -> list[str]:
        """The command's own."""
        weights = ["--weights", str(self.weights)] if self.weights else []
        return ["convert", *self.options, *weights, "--", self.source, str(out / self.target)]

    def files(self, out: Path) -> list[Path]:
        """What it writes."""
        target = out / self.target
        return [target, *(target.with_suffix(other) for other in BESIDE.get(target.suffix, ()))]


def suffix_of(to: str) -> str:
    """The ending of the files to write, of a framework's name or of the ending itself."""
    suffix = TARGETS.get(to, f".{to.removeprefix('.')}")
    if suffix not in SUFFIXES:
        endings = ", ".join(ending.removeprefix(".") for ending in SUFFIXES)
        raise Usage(f"--to {to!r} is not understood", hint=f"Give {', '.join(TARGETS)} or {endings}")
    return suffix


def plan(folder: Path, out: Path, to: str, options: Iterable[str] = ()) -> list[Job]:
    """A job for every model below a folder, in the order of their names; `out` is not searched, nor hidden folders."""
    suffix = suffix_of(to)
    if out.resolve() == folder.resolve():
        raise Usage("the results would go where the models are", hint="Give another folder for them")
    names = sorted(_models(folder, out.resolve()))
    jobs = [
        Job(name, str(folder / name), str(PurePosixPath(name).with_suffix(suffix)), tuple(options)) for name in names
    ]
    return distinct(jobs)


def distinct(jobs: list[Job]) -> list[Job]:
    """The jobs, of which no two may write one file."""
    if not jobs:
        raise Usage("there is no model to convert", hint=f"Models of a folder end in {', '.join(MODELS)}")
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for job in jobs:
        for file in job.files(Path()):
            owners[file.as_posix()].append(job.name)
    for target, names in owners.items():
        if len(names) > 1:
            what = f"{' and '.join(names[:3])} would all be written to {target}"
            raise Usage(what, hint="Name the targets in a manifest")
    return jobs


def _models(folder: Path, out: Path) -> Iterator[str]:
    """Paths of models below the folder; a SavedModel is one."""
    for place, folders, names in os.walk(folder):
        here = Path(place)
        if "saved_model.pb" in names:
            folders.clear()
            yield here.relative_to(folder).as_posix()
            continue
        folders[:] = [name for name in folders if not name.startswith(".") and (here / name).resolve() != out]
        for name in names:
            if Path(name).suffix.lower() in MODELS and not name.startswith("."):
                yield (here / name).relative_to(folder).as_posix()
