"""What becomes of a network's outputs: rows of named values, or scores with their labels, the best first."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import Usage

if TYPE_CHECKING:
    from .ports import Port

MOST_LABELS = 64 << 20  # bytes of a file of labels
DONE = ("Softmax", "Sigmoid", "HardSigmoid")  # an output that comes from one of these is a probability already


def labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The labels in a text file, one a line; the first names class 0."""
    from .. import files

    try:
        lines = files.content(path, MOST_LABELS).decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise Usage(f"the labels in {os.path.basename(path)} are not UTF-8", why=str(error)) from None  # noqa: PTH119
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise Usage(f"there are no labels in {os.path.basename(path)}")  # noqa: PTH119
    return tuple(line.strip() for line in lines)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Postprocessing:
    """With nothing set a row holds the outputs as they are; with any of these the classes of the one output.

    softmax: True makes probabilities of logits, False leaves scores alone; None makes them of a LogSoftmax alone, the one
    case in which it is certain that they are logits.
    """

    labels: tuple[str, ...] | None = None
    top_k: int | None = None  # 5, or fewer classes, where only another setting asks for classes
    softmax: bool | None = None
    threshold: float | None = None  # classes of a lower score are left out

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise Usage(f"top_k={self.top_k}", why="it is how many classes to name, 1 or more")
        if self.threshold is not None and not np.isfinite(self.threshold):
            raise Usage(f"threshold={self.threshold}", why="it is a finite number")

    @property
    def classes(self) -> bool:
        """Whether rows name classes."""
        return bool(self.labels) or self.top_k is not None or bool(self.softmax) or self.threshold is not None

    def fits(self, outputs: Sequence[Port], last_operators: Sequence[str]) -> None:
        """Raises Usage where the network's outputs are no scores of classes, or not those that are asked for."""
        if not self.classes:
            return
        if len(outputs) != 1:
            raise Usage(f"the network has {len(outputs)} outputs", why="classes are those of one output")
        shape = outputs[0].shape
        if len([d for d in shape[1:] if d != 1]) > 1 or len(shape) < 2 or outputs[0].dtype.kind not in "fV":
            raise Usage(
                f"the output {outputs[0]} holds no scores of classes", why="they are one row of fractions an input"
            )
        count = int(np.prod([d or 0 for d in shape[1:]]))
        if self.labels and count and len(self.labels) != count:
            raise Usage(f"there are {len(self.labels)} labels", why=f"the network has {count} classes")
        if self.softmax and last_operators[0] in DONE:
            why = f"the network ends in {last_operators[0]}"
            raise Usage("softmax is asked for", why=why, hint="Its outputs are probabilities already: leave it out")

    def columns(self, outputs: Sequence[Port]) -> list[str]:
        """The names of a row's values."""
        if not self.classes:
            return [p.name for p in outputs]
        kinds = ("class", "label", "score") if self.labels else ("class", "score")
        return [f"{kind}_{place}" for place in range(1, self._places(outputs[0].shape) + 1) for kind in kinds]

    def _places(self, shape: Sequence[int | None]) -> int:
        known = int(np.prod([d or 0 for d in shape[1:]]))
        return min(self.top_k or 5, known or self.top_k or 5)

    def rows(
        self, found: Sequence[np.ndarray], outputs: Sequence[Port], last_operators: Sequence[str]
    ) -> list[dict[str, Any]]:
        """One row for each along the outputs' first axis; an output that is one number is a plain number."""
        if not self.classes:
            plain = [a.astype(np.float32) if a.dtype.kind == "V" else a for a in found]
            names = [p.name for p in outputs]
            return [dict(zip(names, map(_value, row), strict=True)) for row in zip(*plain, strict=True)]
        scores = found[0].reshape(len(found[0]), -1).astype(np.float64)
        if self.labels and len(self.labels) != scores.shape[1]:
            raise Usage(f"there are {len(self.labels)} labels", why=f"the network has {scores.shape[1]} classes")
        names, places = self.columns(outputs), min(self._places(found[0].shape), self._places(outputs[0].shape))
        # Before softmax, which may round two scores to one. Of equal ones the lower class is first, and NaN is last.
        order = np.argsort(-scores, axis=1, kind="stable")[:, :places]
        if self.softmax or (self.softmax is None and last_operators[0] == "LogSoftmax"):
            scores = softmax(scores)
        return [dict.fromkeys(names) | self._row(one, best) for one, best in zip(scores, order, strict=True)]

    def _row(self, scores: np.ndarray, order: np.ndarray) -> dict[str, Any]:
        row: dict[str, Any] = {}
        for place, index in enumerate(order.tolist(), 1):
            score = float(scores[index])
            if self.threshold is not None and not score >= self.threshold:
                break
            row[f"class_{place}"] = index
            if self.labels:
                row[f"label_{place}"] = self.labels[index]
            row[f"score_{place}"] = score
        return row


def softmax(scores: np.ndarray) -> np.ndarray:
    """Rows of probabilities, the largest taken off first so that nothing overflows."""
    with np.errstate(invalid="ignore"):  # a row of infinities becomes NaN, as it should
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _value(one: Any) -> Any:
    return one.item() if np.ndim(one) == 0 else one
