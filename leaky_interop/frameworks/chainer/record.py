"""Has a Chainer network recorded: starts the interpreter that has Chainer and puts what it wrote in place."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import MissingFile, Refused, RuntimeFailure, Usage
from ...files import atomic, read_recording, write_npz
from ...files.source import private_folder
from .environment import interpreter

RECORDER = Path(__file__).with_name("recorder.py")
TIMEOUT = 3600  # seconds for one network
REFUSED = 3  # how the recorder ends where it says itself what is wrong


def record(
    source: str, path: str | os.PathLike[str], example: Any = None, input_shapes: Any = None, *, weights: Any = None
) -> Path:
    """Record what a Chainer network computes: a file that `load`, `convert`, `verify` and `inspect` take as its model.

    Parameters
    ----------
    source : "package.module:factory" or "folder/file.py:factory"; the factory, which may be a class, takes no arguments
    path : the file to write, ending in .chainer
    example : array, or tuple of arrays, to run the network on
    input_shapes : instead of an example, shapes in order or by name; normal random numbers in float32
    weights : an .npz file of chainer.serializers.save_npz, loaded strictly

    The network's own code is run, in the interpreter that has Chainer. Raises Refused where there is none and for networks
    that compute outside of Chainer's functions, RuntimeFailure where the code fails.
    """
    path = Path(path)
    if path.suffix != ".chainer" or not path.parent.is_dir():
        raise Usage(
            f"the recording {path.name!r} cannot be written",
            hint="Give a file name ending in .chainer, in a folder that exists",
        )
    if weights is not None and not Path(weights).is_file():
        raise MissingFile(f"there is no file {weights}", hint="Check the spelling and the folder")
    arrays = _example(example, input_shapes)
    python = interpreter()
    with private_folder() as folder, atomic(path) as temporary:
        write_npz(folder / "example.npz", {f"arr_{i}": a for i, a in enumerate(arrays)})
        job = {
            "source": source, "paths": [str(Path.cwd()), *_pythonpath()],
            "weights": None if weights is None else str(Path(weights).resolve()),
            "example": str(folder / "example.npz"), "target": str(Path(temporary).resolve()),
        }  # fmt: skip
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        _run(python, folder / "job.json", source)
        read_recording(temporary)
    return path


def _pythonpath() -> list[str]:
    """Where the user says that his code is. This interpreter's own packages are of no use to the other."""
    return [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]


def _example(example: Any, input_shapes: Any) -> list[np.ndarray]:
    if example is not None:
        several = example.values() if isinstance(example, Mapping) else example
        return [
            np.asarray(a)
            for a in (several if isinstance(several, tuple | list) or several is not example else (example,))
        ]
    if not input_shapes:
        raise Usage(
            "an example is needed",
            why="a Chainer network does not say what it takes",
            hint="Give example=..., or input_shapes=[(2, 3, 32, 32)]",
        )
    shapes = list(input_shapes.values()) if isinstance(input_shapes, Mapping) else list(input_shapes)
    shapes = [tuple(input_shapes)] if shapes and not isinstance(shapes[0], tuple | list) else shapes
    rng = np.random.default_rng(0)
    return [rng.standard_normal([2 if d is None else d for d in shape]).astype(np.float32) for shape in shapes]


def _run(python: Path, job: Path, source: str) -> None:
    command = [str(python), "-W", "ignore", str(RECORDER), str(job)]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, env=environment)
    except subprocess.TimeoutExpired:
        raise RuntimeFailure(f"{source} did not run to its end", why=f"it took more than {TIMEOUT} s") from None
    if done.returncode == REFUSED and done.stdout.strip():
        what, why, hint = json.loads(done.stdout.strip().splitlines()[-1])
        raise Refused(what, source, why, hint)
    if done.returncode:
        raise RuntimeFailure(
            f"{source} could not be recorded", why=(done.stderr.strip().splitlines() or ["it died"])[-1]
        )
