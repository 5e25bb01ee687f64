"""Runs a signature by TensorFlow itself; what lies between inputs and outputs, by onnxruntime on what tf2onnx made of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ...files.saved_model import SavedModel
from .function import Session


def owns(model: Any) -> bool:
    """Whether a model is a signature of a SavedModel."""
    return isinstance(model, SavedModel)


class Program:
    """TensorFlow's outputs, and the values between as the program of the ONNX model has them."""

    def __init__(self, session: Session, inner: Any):
        self.session, self.inner = session, inner

    def whole(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Flat outputs of the signature."""
        return self.session.run(arrays)

    def settings(self, arrays: Sequence[np.ndarray]) -> list[tuple[str, list[np.ndarray]]]:
        """Outputs in the one setting in which TensorFlow runs."""
        return [("tensorflow", self.whole(arrays))]

    def run(
        self,
        arrays: Sequence[np.ndarray],
        watch: Callable[[Any, np.ndarray], None] | None = None,
        *,
        keys: Collection[Any] | None = None,
        given: Mapping[Any, np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Flat outputs. `watch(key, array)` sees each value of the ONNX model in `keys` (all, if None)."""
        if watch is None:
            return self.whole(arrays)
        return self.inner.run(arrays, watch, keys=keys, given=given)


def run(model: SavedModel, arrays: Sequence[np.ndarray] | Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Outputs of the signature, in the order of their names. Raises ValueError where the arrays do not fit it."""
    if isinstance(arrays, Mapping):
        if strange := sorted(set(arrays) - set(model.inputs)):
            raise ValueError(f"there is no input {', '.join(map(repr, strange))}")
        arrays = [arrays[name] for name in model.inputs]
    if len(arrays) != len(model.inputs):
        raise ValueError(f"{len(arrays)} arrays for the inputs {', '.join(model.inputs)}")
    for (name, port), array in zip(model.inputs.items(), arrays, strict=True):
        fits = len(port.shape) == np.ndim(array) and all(
            d in (None, n) for d, n in zip(port.shape, np.shape(array), strict=True)
        )
        if not fits or (array.dtype != port.dtype and port.dtype != object):
            open_shape = ", ".join("None" if d is None else str(d) for d in port.shape)
            raise ValueError(f"input {name!r} is {port.dtype}[{open_shape}]")
    return Session(model).run(arrays)


def describe(model: SavedModel) -> str:
    """A model in a line."""
    count = sum(array.size for array in model.variables.values())
    return f"tensorflow SavedModel {model.name!r}, signature {model.signature!r} ({count:,} parameters)"


def knows_inputs(model: SavedModel) -> bool:
    """Whether the model itself tells what inputs it takes: always."""
    return True
