"""What Chainer computed, instead of Chainer: the values of a recording's runs, and no others."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import Refused
from ...files.chainer import Recording


def owns(model: Any) -> bool:
    """Whether a model is a recording of a Chainer network."""
    return isinstance(model, Recording)


class Program:
    """Answers with recorded values. Raises Refused for arrays that Chainer has not seen."""

    def __init__(self, model: Recording):
        self.model = model

    @property
    def recorded(self) -> list[list[np.ndarray]]:
        """The inputs of every run: what a verification takes, since no others can be run."""
        return [[run[i] for i in self.model.inputs] for run in self.model.runs]

    def whole(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Flat outputs of the run on these arrays."""
        found = self._run_on(arrays)
        return [found[i] for i in self.model.outputs]

    def settings(self, arrays: Sequence[np.ndarray]) -> list[tuple[str, list[np.ndarray]]]:
        """Outputs in the one setting that was recorded."""
        return [("chainer, as recorded", self.whole(arrays))]

    def run(
        self,
        arrays: Sequence[np.ndarray],
        watch: Callable[[Any, np.ndarray], None] | None = None,
        *,
        keys: Collection[Any] | None = None,
        given: Mapping[Any, np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Flat outputs. `watch(key, array)` sees each value in `keys` (all, if None); nothing can be replaced."""
        if given:
            why = "a recording holds what Chainer computed and cannot be run on other values"
            hint = "Name the recording first, the other model second; cut the converted network instead"
            raise Refused("running a recorded Chainer network in parts", why=why, hint=hint)
        for key, array in self._run_on(arrays).items():
            if watch is not None and (keys is None or key in keys):
                watch(key, array)
        return self.whole(arrays)

    def _run_on(self, arrays: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
        for inputs, run in zip(self.recorded, self.model.runs, strict=True):
            if len(inputs) == len(arrays) and all(map(_same, inputs, arrays)):
                return run
        raise Refused(
            f"running {self.model.network} on these arrays", why="a recording holds what Chainer computed on its own example",
            hint="Record the network again with these arrays as its example",
        )  # fmt: skip


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    other = np.asarray(other)
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def run(model: Recording, arrays: Sequence[np.ndarray] | Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The recorded outputs on recorded inputs, in order or by name."""
    if isinstance(arrays, Mapping):
        arrays = [arrays[model.values[i].name] for i in model.inputs]
    return Program(model).whole(arrays)


def describe(model: Recording) -> str:
    """A model in a line."""
    count = sum(w.array.size for w in model.weights if w.name)
    return f"chainer {model.network} ({count:,} parameters)"


def knows_inputs(model: Recording) -> bool:
    """Whether the model itself tells what inputs it takes: always."""
    return True
