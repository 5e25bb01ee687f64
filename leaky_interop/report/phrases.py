"""The sentences and number formats that the text, Markdown and HTML renderings share."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from .record import Error, GradientResult, NodeResult, OutputResult, Report, Result

RULES = {
    "exact": "no difference allowed",
    "rounding": "a few units in the last place",
    "sum": "grows with the square root of the number of terms",
    "network": "the errors of all nodes before it meet",
}

# What a terminal obeys, what turns the direction of text around it, and what UTF-8 cannot hold.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """The text with every character that would act instead of being seen written as its code.

    Names come out of model files, which anybody may have made.
    """
    return _UNPRINTABLE.sub(lambda m: f"\\u{ord(m[0]):04x}", text)


def markdown_table(head: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown; cells are Markdown already."""
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def number(x: float) -> str:
    """Three digits, which is what an error is worth."""
    if math.isnan(x):
        return "NaN"
    return f"{x:.3g}" if math.isfinite(x) else ("infinity" if x > 0 else "-infinity")


def value(x: float | None) -> str:
    """An element of an array, in as many digits as tell two float32 apart."""
    return "-" if x is None else f"{x:.9g}" if math.isfinite(x) else number(x)


def slope(x: float | tuple[float, float]) -> str:
    return " to ".join(map(repr, x)) if isinstance(x, tuple) else repr(x)


def times(error: Error) -> str:
    """An error as a multiple of its limit."""
    return f"{number(error.ratio)} times the limit" if error.limit else "no difference is allowed"


def source(result: Result) -> str:
    """What computed the value: the layer in the user's model, the runtime behind an output, what a gradient is."""
    if isinstance(result, NodeResult):
        return result.source
    if isinstance(result, GradientResult):
        return result.what
    return result.runtime if result.batch is None else f"{result.runtime}, batch {result.batch}"


def measured(error: Error | None) -> str:
    """How far, and how far allowed: "5.96e-08 (1 ulp), limit 1.2e-06"."""
    if error is None:
        return "not measured"
    if error.absolute == 0:
        return "equal"
    return f"{number(error.absolute)} ({number(error.ulp)} ulp), limit {number(error.limit)}"


def worst(error: Error) -> str:
    """The element where the error is worst, beside what it ought to be."""
    where = f"at {error.index}: " if error.index else ""
    return f"{where}{value(error.received)}, but should be {value(error.expected)}"


def counts(report: Report) -> str:
    """How much agreed: "13 of 14 nodes and 3 of 4 outputs agree"."""
    if not report.nodes and not report.outputs:
        return "nothing was compared"
    nodes, outputs = (f"{sum(r.passed for r in rs)} of {len(rs)}" for rs in (report.nodes, report.outputs))
    text = f"{nodes} nodes and {outputs} outputs agree"
    if report.gradients:
        text += f", {sum(g.passed for g in report.gradients)} of {len(report.gradients)} gradients and trained weights"
    return text


def advice(report: Report) -> str:
    """What to do about the first difference."""
    first = report.first_difference
    if first is None:
        return "" if report.passed else "Verify two models that have at least one output."
    if isinstance(first, GradientResult):
        return "What both compute agrees, so look at how each learns: modes of layers, frozen weights, losses inside the network."
    if isinstance(first, OutputResult):
        others = [o.runtime for o in report.outputs if o.name == first.name and o.passed and o.runtime != first.runtime]
        if others:
            return f"It agrees with {others[0]}, so the difference is made by {first.runtime}: report it there."
        if report.nodes:
            return "Every node agrees, so look between them: at reshapes of outputs, casts, and the runtime's settings."
        return "The networks were compared as wholes: verify them node by node to see where they part."
    if first.problem or first.own is None or not first.own.ratio <= 1:
        together = f" with {', '.join(first.covers)}, which were judged together" if first.covers else ""
        return (
            f"Read {first.adapter} beside the definition of {first.source}{together}. "
            "The option --reproducer DIR writes this node as a model of its own, with its inputs."
        )
    return (
        "Fed the source's inputs it agrees: what differs comes from the nodes before it, the largest own error first."
    )
