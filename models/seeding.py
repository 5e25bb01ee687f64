"""Seeded random weights for a network of either framework, chosen so that a wrong conversion shows.

Kernels are scaled by their fan-in, which keeps activations near unit scale however deep the network is; everything
that a fresh network leaves at 0 or 1 (biases, normalisation scales, shifts and statistics, PReLU slopes) gets a value
of its own, so that an exchanged, dropped or defaulted weight changes the output.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

DEFAULT_GAIN = math.sqrt(2.0)  # He et al. 2015: the half that a rectifier takes away


def randomise(model: Any, seed: int, *, gain: float = DEFAULT_GAIN) -> Any:
    """Fill every weight of a Keras or PyTorch `model` in place from `seed`, and return the model.

    The standard deviation of a kernel is `gain / sqrt(fan_in)`; networks that add up many branches take a smaller gain.
    """
    generator = np.random.default_rng(seed)
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(model, keras.Model):  # asked first: on its torch backend it is a Module too
        for layer in keras_layers(model):
            for role, variable in _keras_weights(layer):
                variable.assign(_draw(generator, role, tuple(variable.shape), gain, _keras_fan_in(layer, variable)))
            if hasattr(layer, "finalize_state"):  # Normalization computes with what it makes of its weights
                layer.finalize_state()
        return model
    import torch

    with torch.no_grad():
        for module in model.modules():
            for role, tensor in _torch_weights(module):
                values = _draw(generator, role, tuple(tensor.shape), gain, _torch_fan_in(module, tensor))
                tensor.copy_(torch.from_numpy(values))
    return model


def keras_layers(model: Any) -> Iterator[Any]:
    """Yield every layer that is not itself a model, those of nested models included, each once."""
    seen = set()
    for layer in model.layers:
        for inner in keras_layers(layer) if hasattr(layer, "layers") else (layer,):
            if id(inner) not in seen:
                seen.add(id(inner))
                yield inner


def _draw(generator: np.random.Generator, role: str, shape: tuple[int, ...], gain: float, fan_in: float) -> np.ndarray:
    """Return float32 values for a weight by the role it plays."""
    if role == "kernel":
        values = generator.normal(0.0, gain / math.sqrt(fan_in), shape)
    elif role in ("scale", "variance"):
        values = generator.uniform(0.5, 1.5, shape)
    elif role == "slope":
        values = generator.uniform(-0.3, 0.6, shape)
    else:  # bias, shift, mean
        values = generator.normal(0.0, 0.2, shape)
    return values.astype(np.float32)


_KERAS_ROLES = {
    "kernel": "kernel",
    "bias": "bias",
    "gamma": "scale",
    "beta": "shift",
    "moving_mean": "mean",
    "moving_variance": "variance",
    "alpha": "slope",
    "depthwise_kernel": "kernel",
    "pointwise_kernel": "kernel",
    "variable": "scale",  # of keras.applications' ConvNeXt, its layers' scale
    "mean": "mean",  # Normalization's, as are the next
    "variance": "variance",
}


def _keras_weights(layer: Any) -> Iterator[tuple[str, Any]]:
    for variable in layer.weights:
        if not variable.path.endswith(("seed_generator_state", "/count")):  # counters, no weights of the network
            yield _KERAS_ROLES[re.sub(r"_\d+$", "", variable.name)], variable


def _keras_fan_in(layer: Any, variable: Any) -> float:
    name, shape = type(layer).__name__, variable.shape
    if "Depthwise" in name or variable.name == "depthwise_kernel":  # kernel: *window, inputs, multiplier
        return math.prod(shape[:-2])
    if "Transpose" in name:  # kernel: *window, outputs, inputs; each output sees one window position in `strides`
        return math.prod(shape[:-2]) * shape[-1] / math.prod(layer.strides)
    return math.prod(shape[:-1])


def _torch_weights(module: Any) -> Iterator[tuple[str, Any]]:
    name = type(module).__name__
    weight_role = "scale" if "Norm" in name else "slope" if name == "PReLU" else "kernel"
    roles = {"weight": weight_role, "bias": "bias", "running_mean": "mean", "running_var": "variance"}
    tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    for tensor_name, tensor in tensors:
        if tensor_name != "num_batches_tracked":
            yield roles[tensor_name], tensor


def _torch_fan_in(module: Any, tensor: Any) -> float:
    if "Transpose" in type(module).__name__:  # kernel: inputs, outputs, *window
        return tensor.shape[0] * math.prod(tensor.shape[2:]) / math.prod(module.stride)
    return math.prod(tensor.shape[1:])
