"""Keras' operations under the names of a backend, so that code written for a backend can be traced.

Preprocessing layers call `self.backend.numpy.clip(x, ...)` where others call `keras.ops.clip(x, ...)`, and operations
that are made of others call `backend.numpy.clip`: these take arrays of the backend alone, keras.ops takes symbolic tensors
too. Inside the blocks below the backend is keras.ops.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from typing import Any

import keras
from keras.src.backend.common.dtypes import BIT64_TO_BIT32_DTYPE as NARROWER
from keras.src.utils import backend_utils

from ...errors import Refused
from .control import FUNCTIONS

ROOMS = ("core", "linalg", "math", "nn", "numpy")  # modules of a backend whose functions keras.ops has side by side


class Operations:
    """`keras.ops` as a backend; what has no operation (the rules of dtypes and formats) is the backend's own."""

    __name__ = "keras.ops"

    def __init__(self, backend: Any):
        self._backend = self.name = keras.backend.backend()
        self.own = backend
        self.image = keras.ops.image

    def __getattr__(self, name: str) -> Any:
        if name in ROOMS:
            return self
        if name == "random":
            raise Refused(
                "a layer that draws random numbers at inference",
                why="no two runs of it agree",
                hint="Take it out of the network, and call it before",
            )
        if name == "one_hot" and self._backend == "torch":  # of whole numbers there, where keras.ops has floats
            return functools.partial(keras.ops.one_hot, dtype="int64")
        return getattr(keras.ops, name, None) or getattr(self.own, name)

    @staticmethod
    def is_tensor(value: Any) -> bool:
        """Whether it is a tensor, symbolic ones included."""
        return isinstance(value, keras.KerasTensor) or bool(keras.ops.is_tensor(value))


@contextlib.contextmanager
def float64_kept() -> Iterator[None]:
    """Inside the block keras.ops makes float64 of float64, also on backends whose rules make float32 of it."""
    before, NARROWER["float64"] = NARROWER["float64"], "float64"
    try:
        yield
    finally:
        NARROWER["float64"] = before


@contextlib.contextmanager
def backend_as_operations(operation: Any) -> Iterator[None]:
    """Inside the block a layer, or an operation made of others, computes with keras.ops where it would call a backend."""
    if type(operation).__name__ in FUNCTIONS:  # control flow, which is traced: see control.py
        yield
        return
    if isinstance(operation, keras.Layer):
        room, before = operation.__dict__, operation.__dict__.get("backend")
        owned = hasattr(before, "set_backend")  # Keras' own switch between backends, and nothing of the user's
    else:
        room = sys.modules[type(operation).__module__].__dict__
        before, owned = room.get("backend"), type(operation).__module__.startswith("keras.src.ops.")
    if not owned:
        yield
        return
    own = backend_utils.DynamicBackend  # what helpers of layers, for boxes, make for themselves
    room["backend"] = Operations(before)
    backend_utils.DynamicBackend = lambda *name: Operations(own(*name))
    try:
        yield
    finally:
        room["backend"], backend_utils.DynamicBackend = before, own
