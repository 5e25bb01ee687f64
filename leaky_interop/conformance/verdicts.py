"""An answer against the oracle: which numbers differ, where, and whether a precision of the slope explains it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from . import oracle
from .cases import CHANNELS, FLOATS, PLOTTED, QUANTA, SHAPES, SLOPES, Y_SCALE, Case
from .record import Cell, Number

WITHIN_ULP: Final = 1  # of a difference that still counts as rounding; a step of the grid, in a quantised graph
ORDINARY: Final = ("positive", "negative")  # places that tell the precisions of a slope apart
SHOWN: Final = 4  # numbers of a cell that are kept
CURVE: Final = 4.0  # a curve goes from -CURVE to CURVE
DIGITS: Final = {"float16": 5, "bfloat16": 4, "float32": 9, "float64": 17}  # that tell two numbers of a type apart


@dataclasses.dataclass(frozen=True)
class Want:
    """What is right under one reading: per element of the result its number and the input that is shown beside it."""

    shape: tuple[int, ...]
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    judged: tuple[bool, ...]


@functools.lru_cache(maxsize=8192)
def want(case: Case, slope: float, reading: str, kind: str) -> Want:
    """The right result of a case whose slope is this number. kind: the type of the result."""
    xs = case.xs
    if case.what == "slope gradient":
        return Want((1,), (math.nan,), (sum(x for x in xs if x < 0),), (True,))
    shape = SHAPES[case.shape] if case.shape != "rank 1" else (len(xs),)
    if case.what == "gradient":
        ys = oracle.gradients(xs, slope, reading, kind)
        return Want(shape, tuple(xs), tuple(ys), tuple(x != 0 and x == x for x in xs))
    ys = oracle.values(xs, slope, reading, kind)
    if case.placement == "conv":
        return Want((1, CHANNELS, 1, len(xs)), tuple(xs * CHANNELS), tuple(ys * CHANNELS), (True,) * len(ys) * CHANNELS)
    if case.placement == "max_pool":
        windows = [(xs[i : i + 4], ys[i : i + 4]) for i in range(0, len(xs), 4)]
        tops = [(math.nan, math.nan) if any(y != y for y in w) else max(zip(w, x, strict=True)) for x, w in windows]
        known = tuple(y == y for y, _ in tops)
        return Want((1, 1, 1, len(tops)), tuple(x for _, x in tops), tuple(y for y, _ in tops), known)
    if case.placement in QUANTA:
        ys = [_quantised(y, case.placement) for y in ys]
        return Want((1, 1, 1, len(xs)), tuple(xs), tuple(ys), (True,) * len(ys))
    return Want(shape, tuple(xs), tuple(ys), (True,) * len(ys))


def _quantised(y: float, placement: str) -> float:
    """A number after QuantizeLinear and DequantizeLinear."""
    integer, _, zero = QUANTA[placement]
    least, most = int(np.iinfo(integer).min), int(np.iinfo(integer).max)
    code = y if math.isinf(y) else round(y / Y_SCALE) + zero
    return (min(max(code, least), most) - zero) * Y_SCALE


def judge(case: Case, runtime: str, variant: str, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> Cell:
    """The cell of an answer: "exact", "within" or "wrong", before any known difference is looked up."""
    axes = {"runtime": runtime, "variant": variant, **dataclasses.asdict(case)}
    name = {"output": "y", "gradient": "dx", "slope gradient": "dslope"}[case.what]
    if name not in arrays:
        return _misshapen(axes, f"no array {name} in the answer, which has {', '.join(arrays) or 'none'}")
    got = arrays[name]
    kind = case.dtype if case.dtype in FLOATS else got.dtype.name if got.dtype.name in FLOATS else "float64"
    slope = slope_of(case, about)
    readings = readings_of(case, kind)
    wants = {reading: want(case, slope, reading, kind) for reading in readings}
    first = wants[readings[0]]
    if got.shape != first.shape:
        return _misshapen(axes, f"shape {got.shape}, but should be {first.shape}")
    if case.dtype in FLOATS and got.dtype.name != case.dtype:
        return _misshapen(axes, f"dtype {got.dtype.name}, but should be {case.dtype}")

    numbers, claimed = oracle.numbers(got), _claimed(case, about)
    differing = {reading: _differing(case, kind, numbers, w) for reading, w in wants.items()}
    ordinary = {reading: [n for n in ns if n.where in ORDINARY] for reading, ns in differing.items()}
    fitting = tuple(reading for reading in readings if not ordinary[reading])
    nearest = min(readings, key=lambda r: (len(ordinary[r]), len(differing[r]), r != claimed))
    shown = differing[nearest]
    where = Counter(n.where for n in shown)
    if fitting and claimed in readings and claimed not in fitting:
        where["precision"] = len(ordinary[claimed])
        shown = ordinary[claimed] + shown
    right = wants[nearest]
    zeros = set()
    for x, y in zip(right.xs, numbers, strict=True):
        if case.what == "gradient" and x == 0:
            zeros.add(followed := oracle.at_zero(slope, y, kind))
            if followed not in oracle.CONVENTIONS:
                shown.append(_number(case, kind, x, y, oracle.rounded(slope, kind)))
                where["zero"] += 1
    return Cell(
        **axes,
        verdict="exact" if not where else "within" if _rounding(where, shown) else "wrong",
        ulp=max((n.ulp for n in shown), default=0.0),
        readings=fitting,
        judged=sum(right.judged),
        where=dict(where),
        numbers=tuple(shown[:SHOWN]),
        at_zero=" and ".join(sorted(zeros)),
        curve=_curve(case, kind, right, numbers),
    )


def slope_of(case: Case, about: Mapping[str, Any]) -> float:
    """The slope that a case stands for: its own, or the runtime's default."""
    given = SLOPES[case.slope]
    return float(about["default"]) if given is None else given


def refused(case: Case, runtime: str, variant: str, message: str, verdict: str = "refused") -> Cell:
    """The cell of a runtime that raised, or died."""
    return Cell(runtime=runtime, variant=variant, **dataclasses.asdict(case), verdict=verdict, message=message)


def readings_of(case: Case, kind: str) -> tuple[str, ...]:
    """The readings that can differ: PReLU's slope is an array of x's type, and a type's own precision is one reading."""
    if case.operator == "prelu":
        return ("type",)
    if case.dtype not in FLOATS:
        return ("float64", "float32")
    return ("float32", "float64") if kind in ("float32", "float64") else oracle.READINGS


def _claimed(case: Case, about: Mapping[str, Any]) -> str:
    """The reading that the runtime claims for this type; "" where it claims none."""
    claimed = str((about.get("held") or {}).get(case.dtype, ""))
    return case.dtype if claimed == "type" and case.dtype in ("float32", "float64") else claimed


def _differing(case: Case, kind: str, numbers: list[float], right: Want) -> list[Number]:
    found = zip(right.xs, numbers, right.ys, right.judged, strict=True)
    return [_number(case, kind, x, got, y) for x, got, y, judged in found if judged and not oracle.same(got, y)]


def _number(case: Case, kind: str, x: float, got: float, y: float) -> Number:
    steps = abs(got - y) / Y_SCALE if case.placement in QUANTA else oracle.distance(got, y, kind)
    return Number(x=x, got=got, want=y, ulp=steps if steps == steps else math.inf, where=special(x, y, kind))


def special(x: float, y: float, kind: str) -> str:
    """What is special about an element."""
    if x != x:
        return "nan"
    if math.isinf(x):
        return "+inf" if x > 0 else "-inf"
    if x == 0:
        return "zero"
    if y == 0:
        return "underflow"
    if abs(x) == oracle.largest(kind):
        return "largest"
    if math.isinf(y):
        return "overflow"
    if any(0 < abs(n) < oracle.smallest_normal(kind) for n in (x, y)):
        return "subnormal"
    return "positive" if x > 0 else "negative"


def _rounding(where: Mapping[str, int], shown: list[Number]) -> bool:
    """Whether all that differs is the last digit: no sign of a zero, no NaN and no infinity in the wrong place."""
    return not {"precision", "zero"} & set(where) and all(0 < n.ulp <= WITHIN_ULP for n in shown)


def _misshapen(axes: dict[str, Any], message: str) -> Cell:
    return Cell(**axes, verdict="wrong", where={"result": 1}, message=message)


def _curve(case: Case, kind: str, right: Want, numbers: list[float]) -> tuple[tuple[float, float, float], ...]:
    """The ordinary points of a cell that is plotted, each once, from left to right."""
    plain = Case(case.operator, case.dtype, "alone", "rank 1", case.slope)
    if case != plain or case.slope not in PLOTTED or case.operator != "leaky_relu" or case.dtype not in FLOATS:
        return ()
    points = {x: (got, oracle.distance(got, y, kind)) for x, got, y in zip(right.xs, numbers, right.ys, strict=True)}
    digits = DIGITS[kind]
    return tuple(
        (float(f"{x:.{digits}g}"), float(f"{got:.{digits}g}"), ulp)
        for x, (got, ulp) in sorted((x, point) for x, point in points.items() if abs(x) <= CURVE)
    )
