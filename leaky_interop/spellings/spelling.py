"""What a spelling of the slope is: one system's way to say LeakyReLU, with its own name, default and precision."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ..errors import Refused, Usage
from ..ops.activation import LeakyRelu

Held = Literal[
    "float32", "float64", "tensor"
]  # the type in which the slope is held; "tensor": rounded to the data's type
Given = Literal["stated", "left out", "hard-coded", "computed"]

# How a system computes: a label, and the function of the data and the slope. They differ for a > 1, a < 0 and at infinity.
FORMULAS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "x > 0 ? x : a*x": lambda x, a: np.where(x > 0, x, a * x),
    "x < 0 ? a*x : x": lambda x, a: np.where(x < 0, a * x, x),
    "max(x, a*x)": lambda x, a: np.maximum(x, a * x),
    "a <= 1 ? max(x, a*x) : min(x, a*x)": lambda x, a: np.maximum(x, a * x) if a <= 1 else np.minimum(x, a * x),
    "max(x, 0) + a*min(x, 0)": lambda x, a: np.maximum(x, 0) + a * np.minimum(x, 0),
    "relu(x) - a*relu(-x)": lambda x, a: np.maximum(x, 0) - a * np.maximum(-x, 0),
    "(1+a)/2*x + (1-a)/2*|x|": lambda x, a: 0.5 * (1 + a) * x + 0.5 * (1 - a) * np.abs(x),
}

# What a system may not take: a word for the table, and whether a slope is one of these.
REFUSALS: dict[str, Callable[[float], bool]] = {
    "negative": lambda a: a < 0,
    "infinite": math.isinf,
    "NaN": math.isnan,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """A slope that a text or a file holds.

    op: the canonical operator with the very slope that the system would use; None where the text does not say it.
    place: where it stands, in words; line: from 1, in texts.
    """

    system: str
    api: str
    name: str
    op: LeakyRelu | None
    given: Given
    place: str
    line: int | None = None
    note: str = ""

    @property
    def slope(self) -> float | None:
        return None if self.op is None else self.op.negative_slope


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spelling:
    """One system's spelling. A row of the table; most can be read and written.

    parameter: what the slope is called. default: what it is when left out; None: it has to be given.
    held: the type in which the system holds it. refused: keys of REFUSALS. only: the one slope that can be said.
    instead: what to do about a slope that it does not take. not_run: why no runtime of it was measured; "" if one was.
    line: one line of it, in which {slope} stands for the number as `number` writes it.
    reader: from text, bytes or an object to the slopes in it, in order. writer: the reverse, of the slope and a name.
    """

    system: str
    api: str
    parameter: str
    default: float | None
    held: Held
    formula: str
    source: str
    line: str = ""
    number: Callable[[float], str] = repr
    refused: tuple[str, ...] = ()
    only: float | None = None
    instead: str = ""
    not_run: str = ""
    reader: Callable[[Spelling, Any], list[Found]] | None = None
    writer: Callable[[Spelling, float, str], Any] | None = None

    def __str__(self) -> str:
        return f"{self.system} {self.api}"

    def read(self, source: Any) -> list[Found]:
        """Every slope that a text (bytes, object) in this spelling holds, in order."""
        if self.reader is None:
            raise Usage(f"slopes of {self.api} are not read", hint="Read the network instead: leaky-interop inspect")
        return self.reader(self, source)

    def write(self, op: LeakyRelu, name: str = "act") -> Any:
        """The operator in this spelling, its slope always stated. `Refused` where the system would use another slope."""
        slope = self.used(op.negative_slope)
        if self.writer is None:
            raise Usage(f"{self.api} is not written", hint="Convert the network instead: leaky-interop convert")
        return self.writer(self, slope, name)

    def used(self, slope: float) -> float:
        """The slope that the system uses when this one is stated; `Refused` where it takes it for another or not at all."""
        slope = float(slope)
        word = next((word for word in self.refused if REFUSALS[word](slope)), None)
        if word:
            raise self.refusal(slope, f"a slope that is {word} is not taken")
        if self.only is not None and self.hold(slope) != self.hold(self.only):
            raise self.refusal(slope, f"its slope is always {self.only!r}")
        held = self.hold(slope)
        if math.isinf(held) and math.isfinite(slope):
            raise self.refusal(slope, "it is beyond the largest number of 32 bits")
        if held == 0 != slope:
            raise self.refusal(slope, "in 32 bits it is 0")
        return held

    def hold(self, slope: float) -> float:
        """A slope as the system holds it, whatever the type of the data."""
        with np.errstate(over="ignore", under="ignore"):
            return float(np.float32(slope)) if self.held == "float32" else float(slope)

    def refusal(self, slope: float, why: str) -> Refused:
        return Refused(f"{self.api} cannot say the slope {slope!r}", why=why, hint=self.instead)

    def says(self, slope: float) -> str:
        """One line with this slope, for a reader."""
        return self.line.replace("{slope}", self.number(slope))

    def found(self, slope: float | None, *, given: Given = "stated", name: str = "", line: int | None = None,
              place: str = "", note: str = "") -> Found:  # fmt: skip
        """A slope of this spelling: None stands for one that is left out (the default), or computed."""
        if slope is None and given == "left out":
            slope = self.default
            note = note or ("" if self.default is not None else "it has to be stated")
        if given == "hard-coded":
            slope = self.only
        op = None if slope is None else LeakyRelu(negative_slope=self.hold(slope))
        return Found(
            system=self.system, api=self.api, name=name, op=op, given=given, line=line, note=note,
            place=place or f"line {line}",
        )  # fmt: skip

    def judge(self, there: bool, slope: float | None, **place: Any) -> Found:
        """A slope that is there or is left out; None where something is there that is no number."""
        return self.found(slope, given="left out" if not there else "computed" if slope is None else "stated", **place)


def single(slope: float) -> str:
    """The shortest decimal that reads as the same 32 bits; `nan`, `inf` and `-inf` as C writes them."""
    return str(np.float32(slope))


def text_of(source: Any, what: str) -> str:
    """A text, from text or from bytes in UTF-8."""
    if isinstance(source, bytes | bytearray):
        try:
            source = source.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise Usage(f"{what} is not a text", why="its bytes are not UTF-8") from None
    if not isinstance(source, str):
        raise Usage(f"{what} is expected as text; received {type(source).__name__}")
    return source
