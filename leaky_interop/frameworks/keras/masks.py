"""Masks that come along with Keras' data: which calls they reach, and which of those would use them."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from ...errors import Refused
from .walk import functional, nodes


def find_masked(function: Any, outside: bool, found: set[int]) -> list[bool]:
    """Add the ids of the calls with whose data a mask comes along, those in nested models too; says it of the outputs.

    Keras marks what it sees while a model is made; a mask that enters a nested model later, it follows at run time only.
    outside: whether a mask enters with the inputs.
    """
    entered = {id(tensor) for tensor in function.inputs if outside}
    for node in nodes(function):
        operation = node.operation
        marked = any(_has_mask(t) for t in node.input_tensors)
        unmarked = any(id(t) in entered for t in node.input_tensors)
        if marked or unmarked:
            found.add(id(node))
        inner = functional(operation) if isinstance(operation, keras.Model) else None
        if inner is not None:
            follows = find_masked(inner, marked or unmarked, found)
        else:
            follows = [unmarked and not marked and getattr(operation, "supports_masking", False)] * len(node.output_tensors)
        entered |= {id(t) for t, f in zip(node.output_tensors, follows, strict=True) if f}
    return [_has_mask(t) or id(t) in entered for t in function.outputs]


def _has_mask(tensor: Any) -> bool:
    return getattr(tensor, "_keras_mask", None) is not None


def refusal(source: str = "") -> Refused:
    """What to raise where a layer would leave part of its data out, and no operand says which."""
    return Refused(
        "a mask that comes along with the data", source, why="the layer would leave part of its input out",
        hint="Remove the mask (mask_zero=False, no Masking layer), or cut the network before the layer",
    )  # fmt: skip


def takes_mask(operation: Any) -> bool:
    """Whether a layer asks for the mask of its input."""
    layer = isinstance(operation, keras.Layer)
    return layer and any(name.endswith("mask") for name in inspect.signature(operation.call).parameters)


def ignores_masks(importer: Any) -> bool:
    """Whether an importer does not say what it makes of a mask."""
    return importer is None or not any(name.endswith("mask") for name in inspect.signature(importer).parameters)
