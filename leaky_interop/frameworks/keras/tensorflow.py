"""Keeps Keras from importing TensorFlow where another backend computes.

Keras' serializer (`Layer.get_config`, `Model.save`) finds out whether TensorFlow is installed by importing it, in case
the object at hand is one of TensorFlow's own. That takes seconds and hundreds of megabytes. While TensorFlow has not
been imported by anyone there can be no such object, so that the answer "not installed" changes nothing.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Inside the block Keras does not import TensorFlow to look for it; where it is loaded nothing changes."""
    from keras.src.utils import module_utils

    lazy = getattr(module_utils, "tensorflow", None)
    if keras.backend.backend() == "tensorflow" or "tensorflow" in sys.modules or not hasattr(lazy, "_available"):
        yield
        return
    before = lazy._available
    lazy._available = False
    try:
        yield
    finally:
        lazy._available = before
