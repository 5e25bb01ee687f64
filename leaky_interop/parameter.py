"""The numbers that a network holds, and views of them: a transposed kernel is still the same, possibly shared, weight.

A view is a list of steps (transpose, reshape, take, cast), laid over numbers that stay where the source keeps them. The
same steps say how a canonical value follows from what the source computes: its anchor.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .sizes import evaluate

Step = tuple[Any, ...]  # ("transpose", perm) | ("reshape", shape) | ("take", index, axis) | ("cast", dtype)
PART = 2**24  # bytes of an array that are gathered at a time


def invert(perm: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes `perm`."""
    return tuple(sorted(range(len(perm)), key=perm.__getitem__))


def apply_steps(array: np.ndarray, steps: Iterable[Step], sizes: Mapping[str, int] | None = None) -> np.ndarray:
    """A view of `array` after transposes, reshapes (sizes bound from `sizes`), gathers along an axis and casts."""
    for kind, *rest in _transposed_first(steps):
        if kind == "transpose":
            array = array.transpose(rest[0])
        elif kind == "reshape":
            array = array.reshape(evaluate(rest[0], sizes or {}))
        elif kind == "take":
            array = _taken(array, np.asarray(rest[0], np.int64), rest[1])
        else:
            array = array.astype(rest[0])
    return array


def _transposed_first(steps: Iterable[Step]) -> list[Step]:
    """The same steps, transposes before gathers: what is gathered of an array then stays in the order that is asked for."""
    found: list[Step] = []
    for step in steps:
        gathers: list[Step] = []
        while step[0] == "transpose" and found and found[-1][0] == "take":
            _, index, axis = found.pop()
            gathers.insert(0, ("take", index, step[1].index(axis)))
        found += [step, *gathers]
    return found


def _taken(array: np.ndarray, index: np.ndarray, axis: int) -> np.ndarray:
    """Entries along an axis. numpy copies all of an array in another order than its own before: here it copies parts."""
    if array.flags.c_contiguous or array.ndim == 1:
        return array.take(index, axis)
    along = 0 if axis else 1
    found = np.empty((*array.shape[:axis], len(index), *array.shape[axis + 1 :]), array.dtype)
    count = max(1, array.shape[along] * PART // max(1, array.nbytes))
    for start in range(0, array.shape[along], count):
        part = (*(slice(None),) * along, slice(start, start + count))
        found[part] = array[part].take(index, axis)
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class Parameter:
    """Numbers that a network holds: a weight (named, perhaps trainable) or a constant (no name).

    The array stays where the source framework keeps it and is read on demand; `steps` lay a view over it, so a
    transposed kernel is still the same, possibly shared, weight. `root` is the identity: two parameters with one root
    are one weight. `home` says in which form its owner has it: as it is read ("own"), in the canonical layout of the
    layer that holds it ("layer"), or in the shape that the rows of a table are given first ("table"). `summed`: where a
    pass added numbers up to make these, how many, and the sums of their magnitudes, which the judge needs: what cancelled
    left its rounding errors behind.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]
    root: Any
    trainable: bool = False
    steps: tuple[Step, ...] = ()
    home: str = "own"
    summed: tuple[int, np.ndarray] | None = None

    @classmethod
    def constant(cls, array: Any) -> Parameter:
        """An unnamed constant."""
        array = np.asarray(array)
        return cls("", array.shape, array.dtype, lambda: array, array)

    @property
    def identity(self) -> tuple[int, tuple[Step, ...]]:
        """What decides whether two parameters are the same numbers seen the same way."""
        return id(self.root), self.steps

    @property
    def tie(self) -> tuple[int, tuple[Step, ...]]:
        """What two views of the same numbers share, however their axes are arranged."""
        return id(self.root), tuple(step for step in self.steps if step[0] in ("take", "cast"))

    @property
    def whole(self) -> Parameter:
        """The weight of which this view shows a part, as its owner has it; the view itself where it shows all of it."""
        indices = [step[1] for step in self.steps if step[0] == "take"]
        if not indices:
            return self
        shape = self.read().shape
        complete = math.prod(shape) == math.prod(self.shape) and all(len(set(i)) == len(i) for i in indices)
        return self if complete else dataclasses.replace(self, steps=(), shape=shape)

    @property
    def reordered(self) -> bool:
        """Whether the view shows all numbers of the weight, in an order of its own along an axis."""
        return self.whole is self and self.is_copied()

    @property
    def ordered(self) -> Parameter:
        """The weight before a view puts its numbers in another order."""
        count = next((i for i, step in enumerate(self.steps) if step[0] == "take"), len(self.steps))
        return self._after(count)

    @property
    def owned(self) -> Parameter:
        """The weight as its owner has it, before this network looks at it in another way; `whole` where that is not told."""
        kinds, count = [step[0] for step in self.steps], 0
        if self.home == "table":
            count = 2 if kinds[:2] == ["cast", "reshape"] else 1 if kinds[:1] in (["cast"], ["reshape"]) else 0
        reordered = "take" in kinds[count:] and self.whole is self
        if not kinds or self.home == "layer" or "cast" in kinds[count:] or reordered:
            return self.whole
        return self._after(count)

    def seen_from(self, other: Parameter) -> tuple[Step, ...] | None:
        """The steps that turn another view of the same weight into this one; None where its numbers do not suffice."""
        pairs = zip(self.steps, other.steps, strict=False)
        common = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(self.steps), len(other.steps)))
        array, back = apply_steps(other.read(), other.steps[:common]), []
        for step in other.steps[common:]:
            if step[0] == "transpose":
                back.append(("transpose", invert(step[1])))
            elif step[0] == "reshape":
                back.append(("reshape", array.shape))
            else:
                return None
            array = apply_steps(array, (step,))
        steps: tuple[Step, ...] = ()
        for step in (*reversed(back), *self.steps[common:]):
            steps = _join(steps, step)
        return steps

    def _after(self, count: int) -> Parameter:
        """The view after its first steps alone."""
        shape = apply_steps(np.broadcast_to(False, self.read().shape), self.steps[:count]).shape
        return dataclasses.replace(self, steps=self.steps[:count], shape=shape)

    def array(self) -> np.ndarray:
        """The numbers, in this view's layout; not to be written to."""
        return apply_steps(self.read(), self.steps)

    def is_copied(self) -> bool:
        """Whether `array` gives numbers in memory that nothing else reads: those that are gathered."""
        return any(step[0] == "take" for step in self.steps)

    @property
    def terms(self) -> tuple[int, np.ndarray]:
        """How many numbers were added up to make these besides the first, and the sums of their magnitudes."""
        if self.summed is None:
            return 0, np.abs(self.array())
        return self.summed[0], apply_steps(self.summed[1], self.steps)

    def _then(self, step: Step, shape: tuple[int, ...]) -> Parameter:
        return dataclasses.replace(self, shape=shape, steps=_join(self.steps, step))

    def transpose(self, *perm: int) -> Parameter:
        """Axes in another order, as numpy's."""
        return self._then(("transpose", perm), tuple(self.shape[p] for p in perm))

    def reshape(self, *shape: int) -> Parameter:
        """The same numbers in row-major order under another shape; one entry may be -1."""
        known = int(np.prod([s for s in shape if s >= 0]))
        full = tuple(int(np.prod(self.shape)) // max(known, 1) if s < 0 else s for s in shape)
        return self if full == self.shape else self._then(("reshape", full), full)

    def take(self, index: tuple[int, ...], axis: int) -> Parameter:
        """The entries `index` along one axis."""
        shape = (*self.shape[:axis], len(index), *self.shape[axis + 1 :])
        return self._then(("take", index, axis), shape)

    def __str__(self) -> str:
        if self.name:
            return f"{self.name}{'' if self.trainable else ' (frozen)'}"
        if int(np.prod(self.shape)) <= 4:
            return str(self.array().tolist())
        return f"constant {self.dtype}{list(self.shape)}"


def _join(steps: tuple[Step, ...], step: Step) -> tuple[Step, ...]:
    """Append one step; transposes merge, and what undoes its predecessor disappears."""
    if steps and step[0] == steps[-1][0] == "transpose":
        perm = tuple(steps[-1][1][p] for p in step[1])
        return steps[:-1] if perm == tuple(range(len(perm))) else (*steps[:-1], ("transpose", perm))
    if steps and step[0] == steps[-1][0] == "take" and step[2] == steps[-1][2]:
        index = tuple(steps[-1][1][i] for i in step[1])
        return (*steps[:-1], ("take", index, step[2]))
    if step[0] == "transpose" and step[1] == tuple(range(len(step[1]))):
        return steps
    return (*steps, step)


@dataclasses.dataclass(frozen=True)
class Anchor:
    """Where the source computes a value: the key its program watches, and the view that makes the value of it."""

    key: Any
    steps: tuple[Step, ...] = ()

    def then(self, *steps: Step) -> Anchor:
        """The anchor of a value that is this one, seen through further steps."""
        joined = self.steps
        for step in steps:
            joined = _join(joined, step)
        return Anchor(self.key, joined)


def invert_steps(steps: Iterable[Step]) -> tuple[Step, ...] | None:
    """The steps that undo transposes and reorderings; None where a reshape or cast cannot be undone from here."""
    undone: list[Step] = []
    for kind, *rest in steps:
        if kind == "transpose":
            undone.insert(0, ("transpose", invert(rest[0])))
        elif kind == "take":
            undone.insert(0, ("take", invert(rest[0]), rest[1]))
        else:
            return None
    return tuple(undone)
