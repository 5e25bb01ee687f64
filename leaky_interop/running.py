"""Runs any model on arrays, in its own framework: ONNX by onnxruntime."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import frameworks
from .errors import LeakyInteropError, Usage
from .loading import open_model

STYLE = re.compile("\x1b\\[[0-9;]*m")  # Keras writes errors in bold


def run(
    model: Any,
    arrays: Any,
    *,
    example: Any = None,
    weights: Any = None,
    allow_root: str | os.PathLike[str] | None = None,
    trust: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    signature: str | None = None,
) -> list[np.ndarray]:
    """The outputs of a model, flat, in its own order and layout, at inference.

    Parameters
    ----------
    model : a Keras, PyTorch or ONNX model, a path, or "package.module:factory"
    arrays : one array, arrays in the order of the model's inputs, or a dict by input name
    weights : weights file for a factory
    allow_root, trust, custom_objects, signature : as for `load`, where files are opened

    Raises Usage where the arrays do not fit, RuntimeFailure where the framework fails.
    """
    native = open_model(
        model, weights, allow_root=allow_root, trust=trust, custom_objects=custom_objects, signature=signature
    )
    engine = frameworks.get(frameworks.of(native) or "")
    feeds: Any
    if isinstance(arrays, Mapping):
        feeds = {name: to_array(a) for name, a in arrays.items()}
    else:
        feeds = [to_array(a) for a in (arrays if isinstance(arrays, tuple | list) else [arrays])]
    try:
        return engine.run(native, feeds)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, LeakyInteropError):
            raise
        given = ", ".join(map(described, feeds.values() if isinstance(feeds, dict) else feeds))
        text = f"it lacks an array for {error}" if isinstance(error, KeyError) else STYLE.sub("", str(error))
        why = " ".join(text.partition("Arguments received")[0].split())
        raise Usage(f"the model does not take {given}", why=why, hint="Its inspection says what it takes") from error


def output_names_of(model: Any, count: int) -> list[str]:
    """A name for each flat output of a native model: an ONNX file's own, otherwise output, or output_0, output_1 ..."""
    if frameworks.of(model) == "onnx":
        from .ort import as_proto

        return [o.name for o in as_proto(model).graph.output]
    if frameworks.of(model) == "tensorflow":
        return list(model.outputs)
    return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]


def to_array(given: Any) -> Any:
    """A numpy array of what the user brings; tensors of a framework that is loaded included.

    A list of arrays is a sequence of them, None an optional that is not there.
    """
    torch = sys.modules.get("torch")
    arrays = (np.ndarray,) if torch is None else (np.ndarray, torch.Tensor)
    if given is None or (isinstance(given, list) and all(isinstance(g, arrays) for g in given)):
        return given if given is None else [to_array(g) for g in given]
    if torch is not None and isinstance(given, torch.Tensor):
        from .frameworks.torch.arrays import to_numpy

        return to_numpy(given)
    return np.asarray(given)


def described(given: Any) -> str:
    """What an input was given, in a word: dtype and shape, or of a sequence those of its members."""
    if isinstance(given, list):
        return f"[{', '.join(map(described, given))}]"
    return "nothing" if given is None else f"{given.dtype}{list(given.shape)}"
