"""Runs Keras: a model as its owner would, or call by call."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ...numeric import dtype
from .holding import as_held
from .walk import beside_float64, functional, walk

# By model written here: what it holds in wider types, by value, and for each flat output. See `holding.HELD`.
NARROW: weakref.WeakKeyDictionary[Any, tuple[dict[Any, str], list[str]]] = weakref.WeakKeyDictionary()


def owns(model: Any) -> bool:
    """Whether a model is Keras'."""
    return isinstance(model, keras.Model)


def run(model: Any, arrays: Sequence[np.ndarray] | Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs of the model itself, flat, at inference; arrays in its flat order or by input name."""
    if isinstance(arrays, Mapping):
        arrays = [arrays[t._keras_history.operation.name] for t in model.inputs]
    with no_gradients():
        outputs = call(model, [keras.ops.convert_to_tensor(as_held(a)) for a in arrays])
        return _narrow(model, [to_numpy(o) for o in keras.tree.flatten(outputs)])


def _narrow(model: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Flat outputs in the element types that they stand for."""
    ends = NARROW[model][1] if model in NARROW else [""] * len(arrays)
    return [a.astype(dtype(kind)) if kind else a for a, kind in zip(arrays, ends, strict=True)]


def call(model: Any, inputs: Sequence[Any], *, training: bool = False) -> Any:
    """The nested outputs of a model on its flat inputs, tensors of the backend."""
    struct = getattr(model, "_inputs_struct", None)
    if struct is not None:
        return model(keras.tree.pack_sequence_as(struct, list(inputs)), training=training)
    return model(inputs[0] if len(inputs) == 1 else list(inputs), training=training)


class Program:
    """Runs a functional graph call by call."""

    def __init__(
        self, model: Any, function: Any = None, pack: Callable[[Sequence[Any]], Any] | None = None, weights: Sequence[Any] = (),
        states: Sequence[Any] = (),
    ):
        self.model = model
        self.weights = weights  # the model's own variables: further inputs of the function
        self.function = functional(model) if function is None else function
        self.states = states  # variables in which layers remember earlier calls: its last inputs, and last outputs
        self.pack = pack  # flat inputs as a subclassed model takes them

    def whole(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Flat outputs of the user's own model on flat inputs."""
        count = len(arrays) - len(self.states)
        with no_gradients(), self.remembering(arrays[count:]):
            outputs = self.call([keras.ops.convert_to_tensor(as_held(a)) for a in arrays[:count]])
            found = _narrow(self.model, [to_numpy(o) for o in keras.tree.flatten(outputs)])
            return [*found, *(to_numpy(v.value) for v in self.states)]

    @contextlib.contextmanager
    def remembering(self, arrays: Sequence[Any]) -> Iterator[None]:
        """Inside the block the layers remember what is given; afterwards what they did before."""
        before = [to_numpy(v.value).copy() for v in self.states]
        for variable, array in zip(self.states, arrays, strict=True):
            variable.assign(array)
        try:
            yield
        finally:
            for variable, array in zip(self.states, before, strict=True):
                variable.assign(array)

    def call(self, inputs: Sequence[Any], *, training: bool = False) -> Any:
        """The nested outputs of the user's own model on flat inputs, tensors of the backend."""
        if self.pack is None:
            return call(self.model, inputs, training=training)
        return self.model(self.pack(inputs), training=training)

    def settings(self, arrays: Sequence[np.ndarray]) -> list[tuple[str, list[np.ndarray]]]:
        """Outputs in every setting that users run the model in."""
        return [(f"keras, {keras.backend.backend()} backend", self.whole(arrays) if self.states else run(self.model, arrays))]

    def run(
        self,
        arrays: Sequence[np.ndarray],
        watch: Callable[[Any, np.ndarray], None] | None = None,
        *,
        keys: Collection[Any] | None = None,
        given: Mapping[Any, np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Flat outputs. `watch(key, array)` sees each value in `keys` (all, if None); consumers read the `given` values."""

        narrow = NARROW[self.model][0] if self.model in NARROW else {}

        def see(key: Any, tensor: Any) -> Any:
            if watch is not None and (keys is None or key in keys):
                array = to_numpy(tensor)
                watch(key, array.astype(dtype(narrow[key])) if key in narrow else array)
            return keras.ops.convert_to_tensor(as_held(given[key])) if given and key in given else tensor

        def apply(operation: Any, args: Any, kwargs: Any, key: Any, node: Any) -> list[Any]:
            if isinstance(operation, keras.Layer) and operation._call_has_training_arg:
                kwargs = {**kwargs, "training": False}
            if functional(self.model) is None:  # code of the user's own, in which `x * 0.3` is the backend's
                args, kwargs = beside_float64((args, kwargs))
            results = keras.tree.flatten(operation(*args, **kwargs))
            return [see((key, i), r) for i, r in enumerate(results)]

        if self.function is None:  # traced with a fixed batch: only the whole model runs with any other
            return self.whole(arrays)
        with no_gradients():
            inputs = [see(("input", i), keras.ops.convert_to_tensor(as_held(a))) for i, a in enumerate(arrays)]
            count = len(inputs) - len(self.states)
            with self.remembering(inputs[count:]):
                inputs = [*inputs[:count], *(w.value for w in self.weights)]
                found = _narrow(self.model, [to_numpy(o) for o in walk(self.function, inputs, apply)])
                return [*found, *(to_numpy(v.value) for v in self.states)]


def leaves(structure: Any) -> list[Any]:
    """Nested outputs in Keras' flat order: dicts by their sorted keys."""
    return keras.tree.flatten(structure)


def to_numpy(tensor: Any) -> np.ndarray:
    """The numbers of a backend tensor. Keras' own way stumbles over one of bfloat16 without axes on TensorFlow."""
    plain = keras.backend.backend() == "tensorflow" and hasattr(tensor, "numpy")
    return np.asarray(tensor.numpy() if plain else keras.ops.convert_to_numpy(tensor))


def no_gradients() -> Any:
    """Keeps the torch backend from recording a tape."""
    if keras.backend.backend() != "torch":
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()


def describe(model: Any) -> str:
    """A model in a line."""
    kind = "Sequential" if isinstance(model, keras.Sequential) else "functional" if functional(model) else "subclassed"
    return f"keras {kind} {model.name!r} ({sum(int(np.prod(w.shape)) for w in model.weights):,} parameters)"


def knows_inputs(model: Any) -> bool:
    """Whether the model itself tells what inputs it takes."""
    return functional(model) is not None
