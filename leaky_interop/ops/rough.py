"""The arithmetic of a recurrent cell on two kinds of numbers, so that each cell is written down once.

`Rough` computes with arrays, and on demand with a bound of the error: the reference of a recurrent operator and its
tolerance. `Wired` computes with values of a graph: the same cell written out in other operators.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..op import Op, Shape, Value
from .dense import Dense
from .index import Select, sliced
from .join import Concat, cut
from .math import Add, Mul, Sub

SLOPE_STEP = 1e-3  # over which the steepness of an activation is measured


@dataclasses.dataclass(frozen=True)
class Rough:
    """An array, and how far an honest computation of it may be off, in units of four roundings (None: not asked).

    Every operation adds its own rounding to what its operands bring along.
    """

    value: np.ndarray
    error: np.ndarray | None

    def _made(self, value: np.ndarray, error: Callable[[], np.ndarray]) -> Rough:
        return Rough(value, None if self.error is None else error())

    def __add__(self, other: Rough) -> Rough:
        value = self.value + other.value
        return self._made(value, lambda: self.error + other.error + np.abs(value))  # type: ignore[operator]

    def __mul__(self, other: Rough) -> Rough:
        a, b = self.value, other.value
        return self._made(a * b, lambda: np.abs(a) * other.error + np.abs(b) * self.error + np.abs(a * b))

    def complement(self) -> Rough:
        """1 - x."""
        value = 1 - self.value
        return self._made(value, lambda: self.error + np.abs(value))  # type: ignore[operator]

    def linear(self, kernel: np.ndarray, bias: np.ndarray | None) -> Rough:
        """x @ kernel.T + bias, a sum in any order."""
        value = self.value @ kernel.T
        value = value if bias is None else value + bias

        def error() -> np.ndarray:
            terms = kernel.shape[1] + (bias is not None)
            size = np.abs(self.value) @ np.abs(kernel).T + (0 if bias is None else np.abs(bias))
            return self.error @ np.abs(kernel).T + math.sqrt(terms) * size  # type: ignore[operator]

        return self._made(value, error)

    def apply(self, activation: Op | None) -> Rough:
        """An activation: its error is one rounding, and what its steepness makes of the error that comes in."""
        if activation is None:
            return self
        value = activation.reference(self.value)

        def error() -> np.ndarray:
            x = self.value.astype(np.float64)
            below, here, above = (np.asarray(activation.reference(x + d)) for d in (-SLOPE_STEP, 0, SLOPE_STEP))
            slope = np.maximum(np.abs(above - here), np.abs(here - below)) / SLOPE_STEP
            return slope * self.error + np.maximum(np.abs(here), 1)

        return self._made(np.asarray(value), error)

    def parts(self, count: int) -> list[Rough]:
        """The last axis cut into equal parts."""
        values = np.split(self.value, count, -1)
        errors = [None] * count if self.error is None else np.split(self.error, count, -1)
        return [Rough(v, e) for v, e in zip(values, errors, strict=True)]

    def at(self, time: int, axis: int) -> Rough:
        """One step in time."""
        return Rough(self.value.take(time, axis), None if self.error is None else self.error.take(time, axis))

    def zeros(self, *shape: int) -> Rough:
        """Zeros that are exact."""
        return Rough(np.zeros(shape, self.value.dtype), None if self.error is None else np.zeros(shape))

    @staticmethod
    def rows(weight: np.ndarray | None, start: int, stop: int) -> np.ndarray | None:
        """Some rows of a weight."""
        return None if weight is None else weight[start:stop]

    @staticmethod
    def stack(steps: list[Rough], axis: int) -> Rough:
        """Steps as one sequence."""
        errors = None if steps[0].error is None else np.stack([s.error for s in steps], axis)  # type: ignore[misc]
        return Rough(np.stack([s.value for s in steps], axis), errors)

    @staticmethod
    def concat(sequences: list[Rough]) -> Rough:
        """Features of several sequences side by side."""
        errors = None if sequences[0].error is None else np.concatenate([s.error for s in sequences], -1)  # type: ignore[misc]
        return Rough(np.concatenate([s.value for s in sequences], -1), errors)


@dataclasses.dataclass(frozen=True)
class Wired:
    """A value of a graph, computed by canonical operators."""

    value: Value

    def __add__(self, other: Wired | Zeros) -> Wired:
        return self if isinstance(other, Zeros) else Wired(Add()(self.value, other.value))

    def __mul__(self, other: Wired | Zeros) -> Wired | Zeros:
        return other if isinstance(other, Zeros) else Wired(Mul()(self.value, other.value))

    def complement(self) -> Wired:
        """1 - x."""
        return Wired(Sub()(1.0, self.value))

    def linear(self, kernel: Value, bias: Value | None) -> Wired:
        """x @ kernel.T + bias."""
        return Wired(Dense()(self.value, kernel, bias))

    def apply(self, activation: Op | None) -> Wired:
        """An activation."""
        return self if activation is None else Wired(activation(self.value))

    def parts(self, count: int) -> list[Wired]:
        """The last axis cut into equal parts."""
        axis = self.value.rank - 1
        sizes = (self.value.shape[axis] // count,) * count
        return [Wired(v) for v in cut(self.value, sizes, axis)]

    def at(self, time: int, axis: int) -> Wired:
        """One step in time."""
        return Wired(Select(axis=axis, index=time)(self.value))

    def zeros(self, *shape: Any) -> Zeros:
        """Zeros, of which nothing is computed."""
        return Zeros()

    @staticmethod
    def rows(weight: Value | None, start: int, stop: int) -> Value | None:
        """Some rows of a weight."""
        return None if weight is None else sliced(weight, {0: slice(start, stop)})

    @staticmethod
    def stack(steps: list[Wired], axis: int) -> Wired:
        """Steps as one sequence."""

        def longer(shape: Shape) -> Shape:
            return (*shape[:axis], 1, *shape[axis:])

        return Wired(Concat(axis=axis)(*(s.value.reshape(*longer(s.value.shape)) for s in steps)))

    @staticmethod
    def concat(sequences: list[Wired]) -> Wired:
        """Features of several sequences side by side."""
        values = [s.value for s in sequences]
        return Wired(values[0] if len(values) == 1 else Concat(axis=values[0].rank - 1)(*values))


class Zeros:
    """The state before the first step, where none is given: what it adds is left out."""

    rows = staticmethod(Wired.rows)

    def __add__(self, other: Any) -> Any:
        return other

    def __mul__(self, other: Any) -> Zeros:
        return self

    def linear(self, kernel: Value, bias: Value | None) -> Any:
        """The bias is all that is left."""
        return self if bias is None else Wired(bias)

    def parts(self, count: int) -> list[Zeros]:
        """As many zeros."""
        return [self] * count
