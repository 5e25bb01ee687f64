"""Masks that come along with Keras' data: which calls they reach, and which of those would use them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import keras

from ...errors import Refused
from .walk import functional, nodes, stated_arguments


def find_masked(function: Any, outside: bool, found: dict[int, bool]) -> list[bool]:
    """Add the calls with whose data a mask comes along, those in nested models too; says it of the outputs.

    found: by the call's id, whether the mask is known. Keras marks what it sees while a model is made; a mask that
    enters a nested model later, it follows at run time only. outside: whether a mask enters with the inputs.
    """
    entered = {id(tensor) for tensor in function.inputs if outside}
    for node in nodes(function):
        operation = node.operation
        marked = any(_has_mask(t) for t in node.input_tensors)
        unmarked = any(id(t) in entered for t in node.input_tensors)
        if marked or unmarked:
            found[id(node)] = not unmarked
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


class Masks:
    """The masks that come along with symbolic tensors, handed to calls as Keras does when it runs them.

    Keras notes them among a call's arguments only now and then; otherwise each layer asks its tensors.
    """

    def __init__(self, env: dict[int, Any], read: Callable[[Any, Any, Any, Any], list[Any]], traced_twice: bool):
        self.env = env
        self.read = read  # a call of the graph that computes a mask, on values
        self.traced_twice = traced_twice  # and a mask may then hold the size of one trace's batch
        self.taken_off: set[int] = set()  # tensors that MultiHeadAttention has read: it takes their masks off

    def added(self, node: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
        """A layer call's keyword arguments with the masks that come along; to be asked call by call, in order."""
        operation = node.operation
        if not isinstance(operation, keras.Layer) or isinstance(operation, keras.Model):
            return kwargs
        names = inspect.signature(operation.call).parameters
        given = dict(zip(names, node.arguments.args, strict=False)) | node.arguments.kwargs
        tensors = {n: v for n, v in given.items() if n in names and _is_data(v)}
        asked = {"mask" if len(tensors) == 1 else f"{n}_mask": v for n, v in tensors.items()}
        asked = {n: v for n, v in asked.items() if n in names and given.get(n) is None}
        found = {n: keras.tree.map_structure(self.of, v) for n, v in asked.items()}
        kwargs = kwargs | {n: m for n, m in found.items() if any(p is not None for p in keras.tree.flatten(m))}
        if type(operation).__name__ == "MultiHeadAttention":
            kwargs = {**kwargs, "query_mask": self.of(given["query"])}  # whatever is given
            if operation.compute_dtype == given["query"].dtype:  # otherwise it reads, and strips, a cast of its own
                self.taken_off |= {id(given[n]) for n in ("query", "value", "key") if given.get(n) is not None}
        return kwargs

    def of(self, tensor: Any) -> Any:
        """The mask of a symbolic tensor as a value; None for none."""
        mask = getattr(tensor, "_keras_mask", None)
        return None if mask is None or id(tensor) in self.taken_off else self.value(mask)

    def value(self, tensor: Any) -> Any:
        """What a symbolic tensor stands for. Masks are computed by calls that no output needs."""
        if id(tensor) not in self.env:
            operation, index, _ = tensor._keras_history
            node = operation._inbound_nodes[index] if operation is not None else None
            if node is None or node.is_input or self.traced_twice:
                raise refusal()
            args, kwargs = keras.tree.map_structure(
                lambda a: self.value(a) if isinstance(a, keras.KerasTensor) else a, stated_arguments(node)
            )
            results = self.read(operation, args, kwargs, node)
            self.env.update({id(t): r for t, r in zip(node.output_tensors, results, strict=True)})
        return self.env[id(tensor)]


def _is_data(value: Any) -> bool:
    """Whether an argument is a tensor or nested tensors."""
    leaves = keras.tree.flatten(value)
    return bool(leaves) and all(isinstance(v, keras.KerasTensor) for v in leaves)


def given_masks(kwargs: Mapping[str, Any]) -> bool:
    """Whether a mask is among the arguments."""
    return any(name.endswith("mask") and not is_empty(value) for name, value in kwargs.items())


def is_empty(mask: Any) -> bool:
    """Whether no mask is given."""
    return all(m is None for m in keras.tree.flatten(mask))
