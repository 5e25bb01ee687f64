"""Gradients of a Keras network on the tensorflow and torch backends, and what stands still meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from ...errors import Refused, Usage
from ...graph import Parameter
from .run import Program, to_numpy

RANDOM = ("rate", "stddev", "dropout", "recurrent_dropout")  # the fields that make a layer random in training

Gradients = tuple[list[np.ndarray | None], list[np.ndarray | None]]


def gradients(
    program: Program,
    parameters: Sequence[Parameter],
    arrays: Sequence[np.ndarray],
    cotangents: Callable[[list[np.ndarray]], list[np.ndarray]],
    *,
    training: bool,
) -> Gradients:
    """Gradients of sum(cotangent * output) with respect to each input and each parameter, as the model holds them.

    As PyTorch's, in `frameworks/torch/train.py`.
    """
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "torch"):
        raise Usage(f"gradients of Keras on {backend}", hint="Set KERAS_BACKEND to tensorflow or torch")
    if program.states:
        why = "its layers keep their states in variables of their own, which no gradient goes through"
        raise Refused("gradients of a stateful network", why=why, hint="Build it with stateful=False and the same weights")
    inputs = [keras.ops.convert_to_tensor(a) for a in arrays]
    real = [x for x, a in zip(inputs, arrays, strict=True) if a.dtype.kind in "fV"]
    weights = [p.root.value for p in parameters]

    def outputs() -> list[Any]:
        return [o for o in keras.tree.flatten(program.call(inputs, training=training)) if o is not None]

    with still(program.model):
        if backend == "torch":
            from ..torch.train import pulled_back

            for x in real:
                x.requires_grad_()
            found = iter(pulled_back(outputs(), [*real, *weights], cotangents))
        else:
            import tensorflow

            with tensorflow.GradientTape() as tape:
                for x in (*real, *weights):
                    tape.watch(x)
                results = outputs()
            given = [tensorflow.convert_to_tensor(c) for c in cotangents([to_numpy(o) for o in results])]
            pulled = tape.gradient(results, [*real, *weights], output_gradients=given)
            found = iter([None if g is None else to_numpy(tensorflow.convert_to_tensor(g)) for g in pulled])
    return [next(found) if a.dtype.kind in "fV" else None for a in arrays], list(found)


@contextlib.contextmanager
def still(model: keras.Model) -> Iterator[None]:
    """A model without dropout and noise, whose weights and statistics are put back."""
    kept = [(w, to_numpy(w.value).copy()) for w in model.weights]
    quiet = [
        (layer, name, getattr(layer, name))
        for layer in model._flatten_layers()
        for name in RANDOM
        if _rate(layer, name)
    ]
    for layer, name, _ in quiet:
        setattr(layer, name, 0.0)
    try:
        yield
    finally:
        for layer, name, value in quiet:
            setattr(layer, name, value)
        for weight, numbers in kept:
            if not np.array_equal(to_numpy(weight.value), numbers, equal_nan=numbers.dtype.kind == "f"):
                weight.assign(numbers)


def _rate(layer: Any, name: str) -> bool:
    """Whether a layer has a chance of changing numbers under this name."""
    return isinstance(getattr(layer, name, None), float) and getattr(layer, name) > 0


def standing_still(program: Program) -> list[str]:
    """The names of layers that are held still besides random ones: none."""
    return []


def trains(program: Program) -> bool:
    """Whether the network has a training mode: every Keras model has one."""
    return True
