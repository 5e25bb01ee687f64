"""The record of one run of the suite: plain data, the one source of the matrix, the JSON, the JUnit XML and the HTML.

Nothing here computes; `running.py` fills the record in. It holds no local path: what it says may be published.

The JSON (`leaky-interop conformance --json FILE`) is one object:

    {"format": 1, "leaky_interop": "0.1.0", "platform": "Linux x86_64", "passed": false,
     "runtimes": [Runtime, ...], "known": [Difference, ...], "cells": [Cell, ...]}

Every object has the fields of the class of that name below. A field that equals its default is left out (most cells
are exact and carry their axes and three more fields). JSON has no NaN and no infinity: where a number is one, the text
"NaN", "Infinity" or "-Infinity" stands for it. "format" changes only when a field changes its meaning or goes away.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping

AXES = ("runtime", "variant", "operator", "dtype", "placement", "shape", "slope", "what")
VERDICTS = ("exact", "within", "known", "refused", "wrong", "crashed")  # from best to worst
WHERE = (
    "nan", "+inf", "-inf", "zero", "underflow", "largest", "overflow", "subnormal", "positive", "negative", "precision",
    "result",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Number:
    """One element of a result that is not what it should be."""

    x: float  # the input
    got: float
    want: float
    ulp: float  # numbers of the dtype between the two; infinite where one of them is NaN or infinite
    where: str  # one of WHERE


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One question and its answer. The eight fields of AXES name it.

    `where` counts the elements that differ by what is special about them (WHERE): the input is NaN, an infinity or a
    zero; the result underflows to zero; the input is as large as a number of the type can be; the result overflows to
    infinity; input or result is subnormal; or an ordinary positive or negative number. "precision": those are right, bit for bit, for a
    slope held in another precision than the runtime claims. "result": no numbers to compare, because shape or dtype is
    another.
    """

    runtime: str
    variant: str  # the runtime's own word: "eager", "disable"
    operator: str  # "leaky_relu" | "prelu"
    dtype: str  # "float16" | "bfloat16" | "float32" | "float64" | "int32"
    placement: str  # "alone" | "conv" | "max_pool" | "quantised" | "quantised uint8" | "quantised int16"
    shape: str  # "rank 0" ... "rank 5" | "empty"
    slope: str  # "0.1", "1/3", "nan", "inf"; "left out"
    what: str  # "output" | "gradient" | "slope gradient"
    verdict: str  # one of VERDICTS
    ulp: float = 0.0  # the largest distance from the nearest reading
    readings: tuple[
        str, ...
    ] = ()  # precisions of the slope that give every ordinary number: "float32", "type", "float64"
    judged: int = 0  # elements compared
    where: Mapping[str, int] = dataclasses.field(default_factory=dict)  # of those that differ
    numbers: tuple[Number, ...] = ()  # the first that differ
    known: tuple[str, ...] = ()  # ids of the differences that explain it; a refusal may have one too
    at_zero: str = ""  # of a gradient: "slope", "one", "mean", or what it is at 0 and -0.0
    message: str = ""  # of a refusal or crash
    curve: tuple[tuple[float, float, float], ...] = ()  # x, got, ulp at ordinary inputs; only where PLOTTED in cases.py

    @property
    def id(self) -> str:
        """What `--reproduce` takes: "onnxruntime/all/leaky_relu/float16/alone/rank 1/0.1/output"; 1/3 is written 1:3."""
        return "/".join(getattr(self, axis).replace("/", ":") for axis in AXES)

    @property
    def passed(self) -> bool:
        return self.verdict in ("exact", "within", "known", "refused")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Held:
    """The precision of the slope in one dtype: what the runtime claims, and which ones explain all that it computed."""

    claimed: str  # "float32" | "type" | "float64"; "" where it claims none
    measured: tuple[str, ...]  # several where the cases cannot tell them apart; none where nothing fits


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runtime:
    """What was asked."""

    name: str
    status: str  # "ran" | "absent" (not installed here) | "failed" (does not start)
    version: str = ""
    python: str = ""  # of the interpreter that ran it
    message: str = ""  # why it is absent, or how it failed
    variants: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    placements: tuple[str, ...] = ()
    default: float | None = None  # the slope when it is left out; None: it has to be given
    gradients: bool = False
    held: Mapping[str, Held] = dataclasses.field(default_factory=dict)  # by dtype
    at_zero: tuple[str, ...] = ()  # conventions of the gradient that were met: ("slope",)
    seconds: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """One known difference, from known/RUNTIME.txt, and what became of it in this run."""

    id: str
    runtime: str
    reason: str
    link: str = ""  # upstream: an issue, a source file, a specification
    versions: str = ""  # ">=3.12,<4"; empty: all
    machine: str = ""  # where it is met, if not on every machine: "CPUs with ..."; elsewhere it is "not covered"
    match: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)  # axis -> values; also "where"
    status: str = "not covered"  # "holds" | "gone" (fails the suite) | "not covered" by this run
    cells: int = 0  # that it explains
    example: str = ""  # the id of the first of them: `--reproduce` takes it, and the difference's own id too


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conformance:
    """A whole run."""

    leaky_interop: str  # version
    platform: str
    runtimes: tuple[Runtime, ...] = ()
    known: tuple[Difference, ...] = ()
    cells: tuple[Cell, ...] = ()

    @property
    def passed(self) -> bool:
        """Nothing wrong or crashed that is not known, no known difference that is gone, every runtime asked has started."""
        started = all(runtime.status != "failed" for runtime in self.runtimes)
        return started and not any(d.status == "gone" for d in self.known) and all(cell.passed for cell in self.cells)

    def of(self, runtime: str) -> Iterator[Cell]:
        return (cell for cell in self.cells if cell.runtime == runtime)

    def counts(self, runtime: str = "") -> Counter[str]:
        """How many cells have each verdict."""
        return Counter(cell.verdict for cell in self.cells if runtime in ("", cell.runtime))
