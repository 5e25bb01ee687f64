"""Symbolic tensors that stand in for values while code is traced."""

from __future__ import annotations

import itertools
from typing import Any

import keras

STAND_INS = itertools.count()


def stand_in(shape: tuple[int | None, ...], dtype: str) -> Any:
    """A symbolic tensor that a traced call may also give back as it is."""
    return keras.Input(
        batch_shape=shape, dtype=dtype, name=f"stand_in_{next(STAND_INS)}"
    )  # or Keras would count up the user's
