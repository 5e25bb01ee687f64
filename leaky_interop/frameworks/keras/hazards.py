"""Places in a Keras model where a backend is known to compute something else than the model says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from ...ops.adding import mistaken
from .walk import functional, nodes


def hazards(model: Any) -> list[str]:
    """Each in a sentence."""
    if keras.backend.backend() != "tensorflow":
        return []
    known = "what is converted is the definition, so numbers may differ"
    rules = (
        ([layer.name for layer in _layers(model) if _adds_a_bias_channels_first(layer)],
         "Keras on TensorFlow adds the bias of a channels_first convolution along the wrong axis where the output is as wide "
         "as it has channels"),
        (list(_sums_along_another_axis(functional(model))),
         "Keras on TensorFlow takes a second operand with one axis longer than 1 for a bias, and may add it along another axis"),
    )  # fmt: skip
    return [f"{', '.join(names)}: {what}; {known}" for names, what in rules if names]


def _sums_along_another_axis(function: Any) -> Iterator[str]:
    """Additions, as layers or functions, in a functional graph or in one nested in it."""
    for node in nodes(function) if function is not None else ():
        operation = node.operation
        if isinstance(operation, keras.Model):
            yield from _sums_along_another_axis(functional(operation))
        elif type(operation).__name__ == "Add" and type(operation).__module__.startswith("keras."):
            shapes = [tuple(tensor.shape) for tensor in node.input_tensors]
            if any(mistaken(shapes[0], shape) for shape in shapes[1:]):
                yield operation.name


def _adds_a_bias_channels_first(layer: Any) -> bool:
    convolves = "Conv" in type(layer).__name__ and type(layer).__module__.startswith("keras.")
    return convolves and layer.data_format == "channels_first" and layer.use_bias


def _layers(model: Any) -> Iterator[Any]:
    """Every layer of a model, those of nested models too."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _layers(layer)
        else:
            yield layer
