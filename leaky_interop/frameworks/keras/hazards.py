"""Places in a Keras model where a backend is known to compute something else than the model says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras

from ...ops.adding import mistaken
from ...ops.window import spread
from .walk import functional, nodes


def hazards(model: Any) -> list[str]:
    """Each in a sentence."""
    known = "what is converted is the definition, so numbers may differ"
    rules = {
        "tensorflow": (
            ([layer.name for layer in _layers(model) if _adds_a_bias_channels_first(layer)],
             "Keras on TensorFlow adds the bias of a channels_first convolution along the wrong axis where the output is as wide "
             "as it has channels"),
            (list(_sums_along_another_axis(functional(model))),
             "Keras on TensorFlow takes a second operand with one axis longer than 1 for a bias, and may add it along another axis"),
        ),
        "torch": (
            (list(_averages_a_repeated_border(functional(model))),
             "Keras on PyTorch counts the border twice in a mean over windows with uneven 'same' pads"),
            (_pads(functional(model), _by_the_edge),
             "Keras on PyTorch repeats the last entry where a symmetric pad turns back, which shows from two places on"),
            (_pads(functional(model), _for_all_axes),
             "Keras on PyTorch pads the last axis alone where one pair of pads is given for all"),
        ),
    }  # fmt: skip
    found = rules.get(keras.backend.backend(), ())
    return [f"{', '.join(names)}: {what}; {known}" for names, what in found if names]


def _calls(function: Any) -> Iterator[Any]:
    """The calls of Keras' own layers and operations in a functional graph and those nested in it."""
    for node in nodes(function) if function is not None else ():
        if isinstance(node.operation, keras.Model):
            yield from _calls(functional(node.operation))
        elif type(node.operation).__module__.startswith("keras."):
            yield node


def _averages_a_repeated_border(function: Any) -> Iterator[str]:
    """Means over windows whose 'same' pads are, or may be, longer after than before."""
    for node in _calls(function):
        pool = node.operation
        if type(pool).__name__.startswith("Average") and getattr(pool, "padding", "") == "same":
            shape = node.input_tensors[0].shape
            sizes = shape[2:] if pool.data_format == "channels_first" else shape[1:-1]
            axes = zip(sizes, spread(pool.pool_size, len(sizes)), spread(pool.strides or pool.pool_size, len(sizes)), strict=True)
            if any(n is None or max(0, (-(-n // s) - 1) * s + k - n) % 2 for n, k, s in axes):
                yield pool.name


def _pads(function: Any, rule: Callable[[Any], bool]) -> list[str]:
    """The names of the calls of `ops.pad` that a rule holds for."""
    return [n.operation.name for n in _calls(function) if type(n.operation).__name__ == "Pad" and rule(n)]


def _by_the_edge(node: Any) -> bool:
    """Whether a pad is symmetric, of more than one place."""
    return node.operation.mode == "symmetric" and max(map(max, node.operation.pad_width)) > 1


def _for_all_axes(node: Any) -> bool:
    """Whether a pad states one pair for several axes."""
    return len(node.operation.pad_width) == 1 < len(node.input_tensors[0].shape)


def _sums_along_another_axis(function: Any) -> Iterator[str]:
    """Additions, as layers or functions."""
    for node in _calls(function):
        if type(node.operation).__name__ == "Add":
            shapes = [tuple(tensor.shape) for tensor in node.input_tensors]
            if any(mistaken(shapes[0], shape) for shape in shapes[1:]):
                yield node.operation.name


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
