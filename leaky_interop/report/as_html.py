"""The report as one HTML page that needs nothing else: no script, no font, no network.

The page's own policy forbids all of them, so that a name from a hostile model file could not fetch or run anything even
if it escaped the escaping.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from . import phrases
from .record import Error, NodeResult, Report

if TYPE_CHECKING:
    import jinja2

DECADES = 4  # a bar's scale goes from 10**-DECADES of the limit to 10**DECADES times the limit, which is its middle


def render(report: Report) -> str:
    first = report.first_difference
    return _template().render(
        report=report,
        first=first,
        first_is_node=isinstance(first, NodeResult),
        failing=sum(not node.passed for node in report.nodes),
        decades=DECADES,
        seconds=[(name, f"{phrases.number(seconds)} s") for name, seconds in report.seconds.items()],
    )


def bar(error: Error) -> float:
    """Length of an error's bar in percent, on a logarithmic scale: 0 for none at all, 50 at its limit."""
    if not 0 < error.ratio < math.inf:
        return 0.0 if error.ratio == 0 else 100.0  # what cannot be judged is shown as far out
    return min(max(50 + 50 * math.log10(error.ratio) / DECADES, 1.0), 100.0)


def environment(*packages: str) -> jinja2.Environment:
    """Templates of these packages, the first that has one: what they show is escaped, and no character of it acts."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(package) for package in packages]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def _template() -> jinja2.Template:
    made = environment("leaky_interop.report")
    made.filters["bar"] = bar
    for phrase in ("advice", "counts", "measured", "number", "slope", "source", "times", "value", "worst"):
        made.filters[phrase] = getattr(phrases, phrase)
    made.globals["rules"] = phrases.RULES
    return made.get_template("report.html")


def _printable(item: Any) -> Any:
    return phrases.printable(item) if type(item) is str else item
