"""What is compared: this project and its peers, one row each, as a user would call them.

A peer's requirements are pinned and installed without their dependencies where those would bring old frameworks; the
frameworks themselves are those of the environment that runs the benchmark.
"""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np

Arrays = list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Direction:
    """From one framework's models to another's."""

    name: str
    source: str
    target: str
    backend: str = ""  # of Keras


@dataclasses.dataclass(frozen=True)
class Converter:
    """One way to go in a direction.

    `convert(source, arrays, path)` gets a model (for ONNX sources, a path), inputs of batch 1 and a path to write ONNX
    to; it returns that path or a living model. `prepare`, not timed, does what must have happened to the model before.
    """

    name: str
    direction: str
    convert: Callable[[Any, Arrays, Path], Any]
    libraries: tuple[str, ...]  # imported before the clock starts
    requirements: tuple[str, ...] = ()  # of the environment made for it; none: the benchmark's own
    dependencies: bool = False  # install what the requirements require, too
    prepare: Callable[[Any, Arrays], Any] = lambda model, arrays: None


def tensors(arrays: Arrays, batch: int = 1) -> tuple[Any, ...]:
    import torch

    return tuple(torch.from_numpy(np.repeat(a, batch, axis=0)) for a in arrays)


def export_onnx(model: Any, arrays: Arrays, path: Path) -> Path:
    """A PyTorch model as ONNX that every peer can read, with the batch open and batch norms left as they are."""
    import torch

    names = [f"input_{index}" for index in range(len(arrays))]
    torch.onnx.export(
        model,
        tensors(arrays),
        path,
        dynamo=False,
        opset_version=13,
        training=torch.onnx.TrainingMode.PRESERVE,
        input_names=names,
        dynamic_axes={name: {0: "batch"} for name in names},
    )
    return path


def _ours(to: str, **options: Any) -> Callable[[Any, Arrays, Path], Any]:
    def convert(source: Any, arrays: Arrays, path: Path, **more: Any) -> Any:
        import leaky_interop

        torch = sys.modules.get("torch")
        keras = sys.modules.get("keras")
        living = torch is not None and isinstance(source, torch.nn.Module)
        example = tuple(arrays) if living and not (keras and isinstance(source, keras.Model)) else None
        if to == "onnx":
            leaky_interop.convert(source, path, example=example, verify=False, **options, **more)
            return path
        return leaky_interop.convert(source, to=to, io="native" if to == "keras" else "as_source", example=example)

    return convert


def _keras_export(model: Any, arrays: Arrays, path: Path) -> Path:
    model.export(path, format="onnx", verbose=False)
    return path


def _called(model: Any, arrays: Arrays) -> None:
    """Keras exports no model that has never been called."""
    model(arrays if len(arrays) > 1 else arrays[0])


def _torch_export(model: Any, arrays: Arrays, path: Path) -> Path:
    import torch

    torch.onnx.export(model, tensors(arrays), path, dynamo=True, verbose=False)
    return path


def _torch_export_open_batch(model: Any, arrays: Arrays, path: Path) -> Path:
    import torch

    shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in arrays)
    torch.onnx.export(model, tensors(arrays, batch=2), path, dynamo=True, verbose=False, dynamic_shapes=shapes)
    return path


def _onnx2torch(source: Path, arrays: Arrays, path: Path) -> Any:
    import onnx2torch

    return onnx2torch.convert(source).eval()


def _onnx2pytorch(source: Path, arrays: Arrays, path: Path) -> Any:
    import onnx
    import onnx2pytorch

    return onnx2pytorch.ConvertModel(onnx.load(source)).eval()


def _onnx2keras(model: Any, arrays: Arrays, path: Path) -> Any:
    import onnx
    import onnx2keras

    onnx_model = onnx.load(export_onnx(model, arrays, path))
    return onnx2keras.onnx_to_keras(onnx_model, [i.name for i in onnx_model.graph.input], verbose=False)


def _onnx2tf(model: Any, arrays: Arrays, path: Path) -> Any:
    import onnx2tf

    inner = importlib.import_module("onnx2tf.onnx2tf")
    images = np.random.default_rng(0).random((20, 128, 128, 3), np.float32)
    inner.download_test_image_data = lambda: images  # type: ignore[attr-defined]  # instead of a download
    exported = export_onnx(model, arrays, path)
    return onnx2tf.convert(str(exported), disable_model_save=True, non_verbose=True)


def without_torchvision() -> None:
    """Stand in for torchvision, which some peers import for operators that no network here has.

    Its package fits only one build of torch, and that seldom is the one installed.
    """
    for name in ("torchvision", "torchvision.ops", "torchvision.io"):
        sys.modules[name] = MagicMock()


WITHOUT_TORCHVISION = ("onnx2torch", "onnx2pytorch")

KERAS_TENSORFLOW = "Keras (tensorflow) to ONNX"
KERAS_TORCH = "Keras (torch) to ONNX"
TORCH_ONNX = "PyTorch to ONNX"
ONNX_TORCH = "ONNX to PyTorch"
TORCH_KERAS = "PyTorch to Keras (tensorflow)"

DIRECTIONS = (
    Direction(KERAS_TENSORFLOW, "keras", "onnx", "tensorflow"),
    Direction(KERAS_TORCH, "keras", "onnx", "torch"),
    Direction(TORCH_ONNX, "torch", "onnx"),
    Direction(ONNX_TORCH, "onnx", "torch"),
    Direction(TORCH_KERAS, "torch", "keras", "tensorflow"),
)

OURS = "leaky_interop"
FOLDED = "leaky_interop, fold_batch_norm"
_EXPORTER = {"libraries": ("onnx", "onnxscript"), "requirements": ("onnxscript==0.7.2",)}


def _engines(way: Direction) -> tuple[str, ...]:
    """The modules of this project that a conversion imports."""
    engines = (f"frameworks.{way.source}", f"frameworks.{way.target}")
    return tuple(f"leaky_interop.{module}" for module in ("converting", "verification", "files", *engines))


_ENGINES = {way.name: _engines(way) for way in DIRECTIONS}
CONVERTERS = (
    *(Converter(OURS, way.name, _ours(way.target), _ENGINES[way.name]) for way in DIRECTIONS),
    Converter(
        "keras.Model.export",
        KERAS_TENSORFLOW,
        _keras_export,
        ("onnx", "tf2onnx"),
        ("tf2onnx==1.17.0",),
        prepare=_called,
    ),
    Converter(
        "keras.Model.export",
        KERAS_TORCH,
        _keras_export,
        **_EXPORTER,
        prepare=_called,
    ),
    *(Converter(FOLDED, d, _ours("onnx", fold_batch_norm=True), _ENGINES[d]) for d in (KERAS_TENSORFLOW, KERAS_TORCH)),
    Converter("torch.onnx.export", TORCH_ONNX, _torch_export, **_EXPORTER),
    Converter("torch.onnx.export, batch open", TORCH_ONNX, _torch_export_open_batch, **_EXPORTER),
    Converter("onnx2torch", ONNX_TORCH, _onnx2torch, ("onnx2torch",), ("onnx2torch==1.5.15",)),
    Converter("onnx2pytorch", ONNX_TORCH, _onnx2pytorch, ("onnx", "onnx2pytorch"), ("onnx2pytorch==0.6.0",)),
    Converter("onnx2keras", TORCH_KERAS, _onnx2keras, ("onnx", "onnx2keras"), ("onnx2keras==0.0.25",)),
    Converter("onnx2tf", TORCH_KERAS, _onnx2tf, ("onnx2tf",), ("onnx2tf==1.29.24",), dependencies=True),
)


def direction(name: str) -> Direction:
    return next(d for d in DIRECTIONS if d.name == name)


def converters(direction_name: str) -> list[Converter]:
    """All ways to go in a direction, this project's first."""
    return [c for c in CONVERTERS if c.direction == direction_name]


def converter(name: str, direction_name: str) -> Converter:
    return next(c for c in converters(direction_name) if c.name == name)
