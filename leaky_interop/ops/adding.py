"""Sums that TensorFlow's backend of Keras computes as the model says.

Its `ops.add(x, y)` takes a y with one axis longer than 1 for a bias, wherever that axis stands: it adds it along the last
axis of x where the sizes agree, else along the second. A column of 4 numbers added to a 4 x 4 matrix becomes a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Sizes = Sequence[int | None]


def added(keras: Any, x: Any, y: Any) -> Any:
    """x + y, where y may be taken for a bias and be none."""
    return otherwise(keras, x, y) if avoided(keras, x, y) else keras.ops.add(x, y)


def otherwise(keras: Any, x: Any, y: Any) -> Any:
    """x + y as x - (-y), which is the same number."""
    opposite = keras.ops.negative(y) if keras.outputs[0].dtype.kind != "u" else keras.ops.subtract(keras.ops.zeros_like(y), y)
    return keras.ops.subtract(x, opposite)


def avoided(keras: Any, x: Any, y: Any) -> bool:
    """Whether Keras' own sum would be another one on the backend at hand."""
    shapes = (tuple(getattr(v, "shape", ())) for v in (x, y))
    return keras.backend.backend() == "tensorflow" and mistaken(*shapes)


def mistaken(x: Sizes, y: Sizes) -> bool:
    """Whether `ops.add` may add a y of these sizes along another axis than it should; None is any size."""
    long = [axis for axis, size in enumerate(y) if size is not None and size > 1]
    if len(x) < 2 or len(long) > 1:
        return False
    return any(_along_another(x, y, axis) for axis in long or [a for a, size in enumerate(y) if size is None])


def _along_another(x: Sizes, y: Sizes, axis: int) -> bool:
    """The one axis of y longer than 1 belongs to that of x which is as far from the end."""
    taken = [along for along in (len(x) - 1, 1) if None in (x[along], y[axis]) or x[along] == y[axis]]
    where = axis - len(y) + len(x)
    sure = taken[:1] == [where] and None not in (x[where], y[axis])  # the last is tried first
    return bool(taken) and (len(y) > len(x) or not (sure or set(taken) == {where}))
