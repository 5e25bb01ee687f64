"""Places in a Keras model where a backend is known to compute something else than the model says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras


def hazards(model: Any) -> list[str]:
    """Each in a sentence."""
    if keras.backend.backend() != "tensorflow":
        return []
    names = [layer.name for layer in _layers(model) if _adds_a_bias_channels_first(layer)]
    if not names:
        return []
    return [
        f"{', '.join(names)}: Keras on TensorFlow adds the bias of a channels_first convolution along the wrong axis "
        "where the output is as wide as it has channels; what is converted is the definition, so numbers may differ"
    ]


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
