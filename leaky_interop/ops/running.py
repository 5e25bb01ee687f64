"""Running extremes, and running logarithms of sums, which only PyTorch has.

| meaning        | torch            | elsewhere                                                                      |
|----------------|------------------|--------------------------------------------------------------------------------|
| RunningExtreme | cummax, cummin   | entries joined with those 1, 2, 4 ... places before them                       |
| LogCumSumExp   | logcumsumexp     | the same                                                                       |

Of equal extremes the last counts; NaN is more extreme than any number.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Link, Moved, Op, Operand, Perm, Shape, Value, case, exports, imports, op
from .compare import GreaterOrEqual, LessOrEqual, Where
from .composed import log_add_exp
from .expand import expanded
from .functions import IsNaN
from .index import sliced
from .join import Concat
from .logic import Or
from .precision import IN_32_BITS
from .promotion import floating
from .shape import of_rank_1
from .table import widened


class Running(Op):
    """Base: something of all entries along an axis up to each."""

    axis: int

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        outputs = len(self.infer(*inputs))
        return Moved(dataclasses.replace(self, axis=perm[self.axis]), (perm,), (perm,) * outputs)  # type: ignore[type-var]

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        return [Link({0: a}, a) for a in range(inputs[0].rank) if a != self.axis]

    def joined(self, join: Callable[..., Any], *parts: Value) -> tuple[Value, ...]:
        """Each entry joined with all before it: with what 1, 2, 4 ... places before has been made of its own."""
        size = parts[0].shape[self.axis]
        if not isinstance(size, int):
            raise Refused(
                f"{self} of an open size",
                why="how often entries are joined depends on it",
                hint="Fix it with input_shapes",
            )
        step = 1
        while step < size:
            earlier = [sliced(p, {self.axis: slice(0, -step)}) for p in parts]
            later = [sliced(p, {self.axis: slice(step, None)}) for p in parts]
            first = [sliced(p, {self.axis: slice(0, step)}) for p in parts]
            made = join(earlier, later)
            parts = tuple(Concat(axis=self.axis)(f, m) for f, m in zip(first, made, strict=True))
            step *= 2
        return parts


@op
class RunningExtreme(Running):
    """The largest (or smallest) entry so far along an axis, and where it stands."""

    axis: int
    largest: bool
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(inputs[0].shape, inputs[0].dtype), (inputs[0].shape, np.dtype(np.int64))]

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        values = (np.maximum if self.largest else np.minimum).accumulate(x, self.axis)
        own = (x == values) | (x != x)
        steps = np.arange(x.shape[self.axis]).reshape(-1, *(1,) * (x.ndim - self.axis - 1))
        places = np.maximum.accumulate(np.where(own, steps, 0), self.axis)
        return np.take_along_axis(x, places, self.axis), places.astype(np.int64)

    def lowered(self, exact, x):
        count = x.shape[self.axis]
        steps = np.arange(count if isinstance(count, int) else 0).reshape(-1, *(1,) * (x.rank - self.axis - 1))
        compared = x.cast(np.int32) if x.dtype == bool else x

        def join(earlier: list[Value], later: list[Value]) -> list[Value]:
            own = (GreaterOrEqual if self.largest else LessOrEqual)()(later[0], earlier[0])
            own = Or()(own, IsNaN()(later[0])) if x.dtype.kind in "fV" else own
            return [Where()(own, new, old) for old, new in zip(earlier, later, strict=True)]

        places = expanded(x.graph.constant(steps.astype(np.int64)), x.shape) if isinstance(count, int) else x
        values, places = self.joined(join, compared, places)
        return values.cast(x.dtype), places


@op
class LogCumSumExp(Running):
    """The logarithm of the running sum of e to the power of the entries."""

    axis: int
    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(lambda x: np.logaddexp.accumulate(x, self.axis), *arrays)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """A relative error of the sum is an absolute one of its logarithm; the shift rounds too."""
        largest = np.maximum.accumulate(np.abs(arrays[0].astype(float)), self.axis)
        return arrays[0].shape[self.axis], 1 + np.where(np.isfinite(largest), largest, 0)

    def lowered(self, exact, x):
        wide = x.cast(np.float32) if x.dtype.itemsize < 4 else x
        (y,) = self.joined(lambda earlier, later: [log_add_exp(_Here(x.graph), earlier[0], later[0])], wide)
        return y.cast(x.dtype)


@dataclasses.dataclass(frozen=True)
class _Here:
    """What an importer is told of a call, where an operator applies it to values of its own."""

    graph: Any


@imports("torch", "aten.cummax.default")
@of_rank_1
def running_largest_from_torch(call, x, axis):
    return RunningExtreme(axis=axis % x.rank, largest=True)(x)


@imports("torch", "aten.cummin.default")
@of_rank_1
def running_smallest_from_torch(call, x, axis):
    return RunningExtreme(axis=axis % x.rank, largest=False)(x)


@imports("torch", "aten.logcumsumexp.default")
@of_rank_1
def log_cum_sum_exp_from_torch(call, x, axis):
    return LogCumSumExp(axis=axis % x.rank)(floating(call, x))


@exports("torch", RunningExtreme)
def running_extreme_to_torch(op, torch, x):
    return torch.unpack(x.cummax(op.axis) if op.largest else x.cummin(op.axis), 2)


@exports("torch", LogCumSumExp)
def log_cum_sum_exp_to_torch(op, torch, x):
    return x.logcumsumexp(op.axis)


_JOINED = dict.fromkeys(("keras", "onnx"), "entries joined with those 1, 2, 4 ... before them")
_TIES = np.array([[1.0, 3.0, -0.0, 3.0, 0.0, 2.0, 3.0], [np.nan, 1.0, np.inf, np.nan, -np.inf, 0.0, 2.0]])
for _largest in (True, False):
    case(f"running_extreme/{_largest}", RunningExtreme(axis=1, largest=_largest), (2, 5, 3), composed=_JOINED)
    case(
        f"running_extreme/ties{_largest}",
        RunningExtreme(axis=1, largest=_largest),
        Operand((2, 7), numbers=_TIES),
        composed=_JOINED,
    )
    case(
        f"running_extreme/int64{_largest}",
        RunningExtreme(axis=0, largest=_largest),
        Operand((9, 2), dtype="int64"),
        composed=_JOINED,
    )
case("running_extreme/one", RunningExtreme(axis=2, largest=True), (2, 3, 1), composed=_JOINED)
case("log_cum_sum_exp/channels", LogCumSumExp(axis=1), (2, 6, 3), composed=_JOINED)
case("log_cum_sum_exp/far", LogCumSumExp(axis=0), Operand((5, 3), low=-300, high=300), composed=_JOINED)
case("log_cum_sum_exp/infinite", LogCumSumExp(axis=1), Operand((2, 4), numbers=[[-np.inf, -np.inf, 1.0, 2.0], [0.0, np.inf, 3.0, -np.inf]]),
     composed=_JOINED)  # fmt: skip
case(
    "log_cum_sum_exp/float64",
    LogCumSumExp(axis=1),
    Operand((2, 5), dtype="float64"),
    composed=_JOINED,
    refused=IN_32_BITS,
)
