"""Weights of a network's Keras form put onto its PyTorch form, by hand: proof that both are the same network.

It shares no code with the converter, so that it can serve as a second opinion on it. A Keras layer is named like the
PyTorch module's path, with underscores for dots.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

_TORCH_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
    "alpha": "weight",
}


def copy_weights(keras_model: Any, torch_model: Any) -> None:
    """Load the weights of `keras_model` into `torch_model`; no weight of either may be left over."""
    import keras
    import torch

    paths = {path.replace(".", "_"): path for path, _ in torch_model.named_modules()}
    state = {key: value for key, value in torch_model.state_dict().items() if key.endswith("num_batches_tracked")}
    for name, layer in _named_layers(keras_model):
        for variable in layer.weights:
            if variable.name in _TORCH_NAMES:
                values = _torch_form(layer, variable.name, keras.ops.convert_to_numpy(variable))
                state[f"{paths[name]}.{_TORCH_NAMES[variable.name]}"] = torch.from_numpy(values.copy())
    torch_model.load_state_dict(state, strict=True)


def _named_layers(model: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _named_layers(layer, f"{prefix}{layer.name}_")
        else:
            yield prefix + layer.name, layer


def _torch_form(layer: Any, name: str, values: np.ndarray) -> np.ndarray:
    if name != "kernel":
        return values.ravel()[_unflattened_order(layer)]
    if "Depthwise" in type(layer).__name__:  # (*window, inputs, multiplier) to (inputs * multiplier, 1, *window)
        return np.moveaxis(values, (-2, -1), (0, 1)).reshape(-1, 1, *values.shape[:-2])
    if type(layer).__name__ == "Dense":
        return values[_flattened_order(layer)][:, _unflattened_order(layer)].T
    return np.moveaxis(values, (-1, -2), (0, 1))  # (*window, a, b) to (b, a, *window), transposed convolutions too


def _order(shape: tuple[int, ...]) -> np.ndarray:
    """Return where the features of a channels-last `shape`, taken channels-first, stand."""
    return np.moveaxis(np.arange(math.prod(shape)).reshape(shape), -1, 0).ravel()


def _flattened_order(dense: Any) -> Any:
    """Return the order of a dense layer's inputs where they come from a Flatten, directly or through a dropout."""
    source = dense.input._keras_history.operation
    while type(source).__name__ == "Dropout":
        source = source.input._keras_history.operation
    return _order(source.input.shape[1:]) if type(source).__name__ == "Flatten" else slice(None)


def _unflattened_order(layer: Any) -> Any:
    """Return the order of a layer's features where they go on, one by one, to a Reshape into an image."""
    while len(layer.output.shape) == 2 and (consumers := layer._outbound_nodes):
        layer = consumers[0].operation
        if type(layer).__name__ == "Reshape":
            return _order(layer.output.shape[1:])
        if type(layer).__name__ not in ("BatchNormalization", "LeakyReLU"):
            break
    return slice(None)
