"""The slopes of a file of any system: which system it is of is told by its content where it can be, else by its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import UnsafeFile, Usage
from ..ops.activation import LeakyRelu
from ..report.phrases import slope as written
from . import keras_json, python_source
from .caffe import CAFFE
from .coreml import NETWORK, PROGRAM
from .darknet import DARKNET
from .flux import FLUX
from .mxnet import MXNET
from .ncnn import NCNN
from .nnef import NNEF
from .openvino import IR, OPENVINO
from .spelling import Found
from .tensorflow import TENSORFLOW, read_saved_model
from .tensorrt import TENSORRT
from .tfjs import TFJS
from .tflite import TFLITE

MIB = 1 << 20
MOST_TEXT, MOST_BINARY = 16 * MIB, 2047 * MIB  # protobuf reads no more
NETWORKS = (".onnx", ".keras", ".h5", ".hdf5", ".pt2", ".chainer", ".m")  # read as a whole
INSPECTED = {
    "keras": ("Keras 3", "keras.layers.LeakyReLU"),
    "torch": ("PyTorch", "torch.nn.LeakyReLU"),
    "onnx": ("ONNX", "LeakyRelu"),
    "chainer": ("Chainer", "chainer.functions.leaky_relu"),
    "matlab": ("MATLAB", "leakyReluLayer(scale)"),
}
PACKAGE = Path("Data", "com.apple.CoreML", "model.mlmodel")  # inside of an .mlpackage


def read_file(path: str | os.PathLike[str]) -> list[Found]:
    """Every slope of a file (or of a SavedModel's or an .mlpackage's folder), in the order in which they stand."""
    from .. import files

    path = Path(path)
    if path.is_dir() and (model := files.beside(path / "saved_model.pb")) is not None:
        return read_saved_model(TENSORFLOW, files.content(model, MOST_BINARY))
    if (path / PACKAGE).is_file():
        path = path / PACKAGE
    suffix = path.suffix.lower()
    if suffix in NETWORKS:
        return _inspected(path)
    reader = READERS.get(suffix)
    if reader is None:
        raise Usage(f"{path.name} is of no known kind", hint=f"Known are {', '.join((*READERS, *NETWORKS))}")
    content = files.content(path, MOST_BINARY if suffix in BINARY else MOST_TEXT)
    if b"version https://git-lfs" == content[:23]:
        raise Usage(f"{path.name} is a Git LFS pointer, not the model itself", hint="Fetch it with: git lfs pull")
    try:
        return reader(content, path)
    except Usage as error:
        raise Usage(f"{path.name}: {error.what}", error.where, error.why, error.hint) from None
    except UnsafeFile as error:
        raise UnsafeFile(f"{path.name}: {error.what}", error.where, error.why, error.hint) from None


def _inspected(path: Path) -> list[Found]:
    """Slopes of a network that the package reads as a whole."""
    from ..inspection import inspect

    found = inspect(os.fspath(path))
    system, api = INSPECTED[found.framework]
    slopes = []
    for slope in found.slopes:
        one = isinstance(slope.value, float)
        slopes.append(
            Found(
                system=system,
                api=api,
                name=slope.node,
                op=LeakyRelu(negative_slope=slope.value) if one else None,  # type: ignore[arg-type]
                given="stated" if not one or slope.given.startswith("stated") else "left out",
                place=slope.origin,
                note=slope.given if one else f"PReLU, weights: {written(slope.value)}",
            )
        )
    return slopes


def _openvino(content: bytes, path: Path) -> list[Found]:
    """The constants are in the file of the same name that ends in .bin; an .xml alone still names its layers."""
    from .. import files

    constants = files.beside(path.with_suffix(".bin"))
    return OPENVINO.read(
        IR(content.decode("utf-8", "replace"), b"" if constants is None else files.content(constants, MOST_BINARY))
    )


def _coreml(content: bytes, path: Path) -> list[Found]:
    return [*NETWORK.read(content), *PROGRAM.read(content)]


def _tensorflow(content: bytes, path: Path) -> list[Found]:
    return read_saved_model(TENSORFLOW, content) if path.name == "saved_model.pb" else TENSORFLOW.read(content)


def _python(content: bytes, path: Path) -> list[Found]:
    found = python_source.read(python_source.ROWS, content)
    if b"ActivationType.LEAKY_RELU" in content:
        found += TENSORRT.read(content)
    return sorted(found, key=lambda slope: slope.line or 0)


def _javascript(content: bytes, path: Path) -> list[Found]:
    return sorted((f for spelling in TFJS for f in spelling.read(content)), key=lambda slope: slope.line or 0)


def _json(content: bytes, path: Path) -> list[Found]:
    return keras_json.read(content) if b'"class_name"' in content else MXNET.read(content)


def _read(spelling: Any) -> Callable[[bytes, Path], list[Found]]:
    return lambda content, path: spelling.read(content)


BINARY = (".tflite", ".mlmodel", ".pb")
READERS: dict[str, Callable[[bytes, Path], list[Found]]] = {
    ".tflite": _read(TFLITE), ".lite": _read(TFLITE), ".pb": _tensorflow, ".mlmodel": _coreml, ".xml": _openvino,
    ".json": _json, ".prototxt": _read(CAFFE), ".cfg": _read(DARKNET), ".param": _read(NCNN),
    ".nnef": _read(NNEF), ".py": _python, ".jl": _read(FLUX), ".js": _javascript, ".mjs": _javascript, ".ts": _javascript,
    ".cpp": _read(TENSORRT), ".cc": _read(TENSORRT), ".cxx": _read(TENSORRT), ".cu": _read(TENSORRT), ".h": _read(TENSORRT),
    ".hpp": _read(TENSORRT),
}  # fmt: skip
