"""Inputs of the networks: symbolic ones for the Keras forms, seeded arrays for both forms.

Shapes are channels-first without the batch, as in a network's SHAPES; a shape of one entry has features only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from models import Network

Shape = tuple[int | None, ...]


def keras_shape(shape: Shape, *, dynamic: bool = False) -> Shape:
    """Return the channels-last form of a channels-first `shape`; `dynamic` opens every axis but the channels."""
    channels, *spatial = shape
    return (*(None if dynamic else size for size in spatial), channels)


def keras_inputs(shapes: Mapping[str, Shape], *, dynamic: bool = False) -> dict[str, Any]:
    """Return a named `keras.Input` for each of `shapes`."""
    import keras

    return {name: keras.Input(keras_shape(shape, dynamic=dynamic), name=name) for name, shape in shapes.items()}


def channels_last(array: np.ndarray) -> np.ndarray:
    """Return a channels-first batch as the Keras forms take it."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def example(network: Network, batch: int, *, seed: int = 0, size: tuple[int, ...] | None = None) -> list[np.ndarray]:
    """Return seeded float32 inputs for the PyTorch form, in the order of SHAPES.

    Each sample is noise around a level of its own per channel, unit scale in all: pooled noise alone would look the
    same in every sample. `size` replaces the spatial axes, cut to as many as each input has.
    """
    generator = np.random.default_rng(seed)
    arrays = []
    for channels, *spatial in network.SHAPES.values():
        sizes = spatial if size is None else size[: len(spatial)]
        level = generator.normal(0.0, np.sqrt(0.5), (batch, channels, *(1 for _ in sizes)))
        noise = generator.normal(0.0, np.sqrt(0.5), (batch, channels, *sizes))
        arrays.append((level + noise).astype(np.float32))
    return arrays
