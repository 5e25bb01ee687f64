"""What a value may be besides an array: a sequence of arrays, or an optional that may be absent.

Such a kind stands where a value has its dtype; the value's own shape is then (). What the arrays inside look like belongs
to the kind: a size that is not fixed, or differs between them, is None; so is the whole shape where their rank is open.
At run time a sequence is a list and an absent optional None, in numpy and PyTorch as in onnxruntime.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

Sizes = tuple[int | None, ...]


@dataclasses.dataclass(frozen=True)
class Sequence:
    """A list of arrays of one dtype. `empty`: it is known to have none, and goes with sequences of any shape."""

    element: np.dtype
    shape: Sizes | None
    empty: bool = False
    kind = "L"
    itemsize = 8

    @property
    def name(self) -> str:
        return f"sequence of {self.element.name}"

    def __str__(self) -> str:
        return self.name

    def joined(self, other: Any) -> Any:
        """The kind that holds this one and another; None where none does."""
        if isinstance(other, Optional):
            return other.joined(self)
        if not isinstance(other, Sequence) or other.element != self.element:
            return None
        if self.empty or other.empty:
            return other if self.empty else self
        return Sequence(self.element, common(self.shape, other.shape))


@dataclasses.dataclass(frozen=True)
class Optional:
    """An array (of this shape) or a sequence, or nothing."""

    content: Any
    shape: Sizes | None = None
    kind = "L"
    itemsize = 8

    @property
    def name(self) -> str:
        return f"optional {self.content.name}"

    def __str__(self) -> str:
        return self.name

    def joined(self, other: Any) -> Any:
        """The kind that holds this one and another; None where none does."""
        inner = other.content if isinstance(other, Optional) else other
        if isinstance(self.content, Sequence):
            content = self.content.joined(inner)
            return None if content is None else Optional(content)
        return Optional(self.content) if inner == self.content else None


def common(one: Sizes | None, other: Sizes | None) -> Sizes | None:
    """The sizes that two shapes share."""
    if one is None or other is None or len(one) != len(other):
        return None
    return tuple(a if a == b else None for a, b in zip(one, other, strict=True))


def of_dtype(dtype: Any) -> Any:
    """A kind as it is, anything else as numpy's dtype."""
    return dtype if isinstance(dtype, Sequence | Optional) else np.dtype(dtype)


def element(dtype: Any) -> np.dtype:
    """The dtype of the arrays inside."""
    while isinstance(dtype, Sequence | Optional):
        dtype = dtype.content if isinstance(dtype, Optional) else dtype.element
    return dtype


def joined(one: Any, other: Any) -> Any:
    """The kind or dtype that holds both; None where none does."""
    if one == other:
        return one
    if isinstance(one, Sequence | Optional):
        return one.joined(other)
    return other.joined(one) if isinstance(other, Optional) else None
