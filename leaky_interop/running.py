"""Runs any model on arrays, in its own framework: ONNX by onnxruntime."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from . import frameworks
from .loading import open_model


def run(model: Any, arrays: Any, *, example: Any = None, weights: Any = None) -> list[np.ndarray]:
    """The outputs of a model, flat, in its own order and layout, at inference.

    Parameters
    ----------
    model : a Keras, PyTorch or ONNX model, a path, or "package.module:factory"
    arrays : one array, arrays in the order of the model's inputs, or a dict by input name
    weights : weights file for a factory

    Raises Usage where the arrays do not fit, RuntimeFailure where the framework fails.
    """
    native = open_model(model, weights)
    engine = frameworks.get(frameworks.of(native) or "")
    if isinstance(arrays, Mapping):
        return engine.run(native, {name: to_array(a) for name, a in arrays.items()})
    single = not isinstance(arrays, tuple | list)
    return engine.run(native, [to_array(a) for a in ([arrays] if single else arrays)])


def to_array(given: Any) -> np.ndarray:
    """A numpy array of what the user brings; tensors of a framework that is loaded included."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(given, torch.Tensor):
        from .frameworks.torch.arrays import to_numpy

        return to_numpy(given)
    return np.asarray(given)
