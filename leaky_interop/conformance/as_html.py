"""The record as one HTML page that needs nothing else: the cells as compact JSON, and a script that draws what is asked.

Messages of foreign runtimes stand in it, so the page's own policy forbids every other script, and the network. The script
(templates/conformance.js) writes text only, never HTML.

A full record has tens of thousands of cells, but few questions and few answers: both are stored once, and a cell is a
pair of their indices. Numbers are text, in the digits that tell two of their type apart; curves are for the eye and
have PLOT_DIGITS.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import math
from collections.abc import Hashable, Iterable
from importlib import resources
from typing import TYPE_CHECKING, Any

from ..report.as_html import environment
from ..report.phrases import number, printable
from .as_text import DTYPES
from .cases import QUANTA
from .record import AXES, VERDICTS, Cell, Conformance, Difference, Held
from .verdicts import DIGITS

if TYPE_CHECKING:
    import jinja2

MARKS = {"exact": "✓", "within": "≈", "known": "◆", "refused": "○", "wrong": "✗", "crashed": "‼"}
MEANING = {
    "exact": "every number is right, bit for bit",
    "within": "the last digit differs",
    "known": "differs as the list of known differences says",
    "refused": "the runtime raised an error",
    "wrong": "differs, and no known difference says why",
    "crashed": "the process died, or did not answer",
}
AT_ZERO = {"slope": "the slope, as for x < 0", "one": "1, as for x > 0", "mean": "the mean of 1 and the slope"}
PLACEMENTS = ("alone", "conv", "max_pool", *QUANTA)
QUESTION = AXES[2:]  # what is left of an id below a row of the matrix
PLOT_DIGITS = 4


def render(record: Conformance) -> str:
    """The page. It holds every cell, and the text of the record escaped."""
    script = resources.files(__package__).joinpath("templates/conformance.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode()
    return _template().render(
        record=record,
        counts=record.counts(),
        failures=_failures(record),
        ran=[r for r in record.runtimes if r.status == "ran"],
        others=[r for r in record.runtimes if r.status != "ran"],
        dtypes=_ordered((d for r in record.runtimes for d in r.held), DTYPES),
        data=_data(record),
        script=script,
        digest=digest,
    )


class Table:
    """Distinct values in the order of their arrival, each with its index."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[Hashable, int] = {}

    def place(self, key: Hashable, value: Any = None) -> int:
        """The index of a key. value: what is kept for it, where that is not the key."""
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(key if value is None else value)
        return self._places[key]


def _data(record: Conformance) -> dict[str, Any]:
    """What the script reads. rows: [runtime, variant, [question, answer, question, answer, ...], curves], where curves
    are [question, index of x, index of got, index of ulp] into points."""
    questions, answers, points = Table(), Table(), Table()
    known = {(d.runtime, d.id): place for place, d in enumerate(record.known)}
    rows: dict[tuple[str, str], tuple[list[int], list[list[int]]]] = {}
    for cell in record.cells:
        cells, curves = rows.setdefault((cell.runtime, cell.variant), ([], []))
        question = questions.place(tuple(printable(getattr(cell, axis)) for axis in QUESTION))
        answer = _answer(cell, known)
        cells += question, answers.place(repr(answer), answer)
        if cell.curve:
            curves.append(
                [question, *(points.place(tuple(map(_plotted, each))) for each in zip(*cell.curve, strict=True))]
            )
    columns = {(cell.dtype, cell.placement) for cell in record.cells}
    return {
        "verdicts": VERDICTS,
        "marks": MARKS,
        "columns": [
            [printable(dtype), printable(placement)]
            for dtype in _ordered((d for d, _ in columns), DTYPES)
            for placement in _ordered((p for d, p in columns if d == dtype), PLACEMENTS)
        ],
        "questions": questions.values,
        "answers": answers.values,
        "points": points.values,
        "rows": [[printable(r), printable(v), *row] for (r, v), row in rows.items()],
    }


def _answer(cell: Cell, known: dict[tuple[str, str], int]) -> dict[str, Any]:
    """What the page shows of a cell below its name; what is empty is left out. A known difference is its place in the
    record's list, or its id where it is not listed."""
    digits = DIGITS.get(cell.dtype, 17)
    full = {
        "ulp": number(cell.ulp) if cell.ulp else "",
        "readings": cell.readings,
        "judged": cell.judged,
        "where": ", ".join(f"{count} {place}" for place, count in cell.where.items()),
        "numbers": [
            [*(_text(value, digits) for value in (n.x, n.got, n.want)), number(n.ulp), n.where] for n in cell.numbers
        ],
        "known": [known.get((cell.runtime, name), printable(name)) for name in cell.known],
        "at_zero": printable(cell.at_zero),
        "message": printable(cell.message),
    }
    return {"verdict": VERDICTS.index(cell.verdict)} | {key: value for key, value in full.items() if value}


def _text(value: float, digits: int) -> str:
    return f"{value:.{digits}g}" if math.isfinite(value) else number(value)


def _plotted(value: float) -> float | None:
    """A coordinate; None where it is none."""
    return float(f"{value:.{PLOT_DIGITS}g}") if math.isfinite(value) else None


def _failures(record: Conformance) -> list[str]:
    """Why the run has not passed; nothing where it has."""
    counts = record.counts()
    counted = {
        "wrong": counts["wrong"],
        "crashed": counts["crashed"],
        "known but gone": sum(d.status == "gone" for d in record.known),
        "not started": sum(r.status == "failed" for r in record.runtimes),
    }
    return [f"{count} {what}" for what, count in counted.items() if count]


def _ordered(values: Iterable[str], order: tuple[str, ...]) -> list[str]:
    """The distinct values, those of the order first."""
    found = set(values)
    return [value for value in order if value in found] + sorted(found - set(order))


def fits(held: Held, dtype: str) -> bool:
    """Whether the precision that a runtime claims for its slope is one that was measured."""
    return held.claimed in held.measured or (held.claimed == "type" and dtype in held.measured)


def command(name: str) -> str:
    """What reproduces a cell or a known difference, for a shell."""
    import shlex

    return f"leaky-interop conformance --reproduce {shlex.quote(name)}"


def href(difference: Difference) -> str:
    """The link of a known difference where a browser should follow it: files of a third party may name any scheme."""
    return difference.link if difference.link.startswith(("https://", "http://")) else ""


@functools.cache
def _template() -> jinja2.Template:
    made = environment(__package__, "leaky_interop.report")
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "allow_nan": False, "separators": (",", ":")}
    made.filters |= {"command": command, "href": href, "number": number}
    made.tests["fitting"] = fits
    made.globals |= {"marks": MARKS, "meaning": MEANING, "at_zero": AT_ZERO, "verdicts": VERDICTS}
    return made.get_template("conformance.html")
