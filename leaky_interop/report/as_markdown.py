"""The report as Markdown, for a pull request, a job summary or a model card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .phrases import advice, counts, measured, number, printable, slope, source, times, worst
from .record import NodeResult, Report, Result

BAR = r"\|"  # in a cell, in code as well


def render(report: Report) -> str:
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"# {'✓ Passed' if report.passed else '✗ Failed'}: {_plain(counts(report))}"
    yield ""
    yield f"{_plain(report.source)} → {_plain(report.target)}"
    if report.first_difference:
        yield from _first(report.first_difference, advice(report))
    yield from _table(
        "Outputs",
        ("", "output", "runtime", "batch", "shape", "error", "of the limit"),
        (
            (
                _mark(o.passed),
                _code(o.name),
                _plain(o.runtime),
                "any" if o.batch is None else str(o.batch),
                _code(f"{o.shape} {o.dtype}"),
                _plain(o.problem or measured(o.error)),
                number(o.error.ratio) if o.error else "-",
            )
            for o in report.outputs
        ),
    )
    yield from _table(
        "Nodes",
        ("", "node", "operator", "shape", "rule", "own error", "accumulated error", "adapter"),
        (
            (
                _mark(n.passed),
                _code(n.name),
                _code(n.op),
                _code(f"{n.shape} {n.dtype}"),
                n.rule,
                _plain(n.problem or measured(n.own)),
                _plain(measured(n.accumulated)),
                _code(n.adapter),
            )
            for n in report.nodes
        ),
    )
    yield from _table(
        "Gradients and trained weights",
        ("", "input or weight", "what", "shape", "error", "of the limit"),
        (
            (
                _mark(g.passed),
                _code(g.name),
                _plain(g.what),
                _code(f"{g.shape} {g.dtype}"),
                _plain(g.problem or measured(g.error)),
                number(g.error.ratio) if g.error else "-",
            )
            for g in report.gradients
        ),
    )
    yield from _table(
        "Slopes",
        ("node", "slope", "given by", "read from"),
        (
            (_code(s.node), slope(s.value), "the model" if s.stated else "the framework's default", _code(s.origin))
            for s in report.slopes
        ),
    )
    for title, entries in (
        ("Transposes left in the target", report.transposes),
        ("Dimensions that became static", report.static),
        ("Notes", report.notes),
        ("Inputs", report.draws),
        ("Versions", [f"{name} {version}" for name, version in report.versions.items()]),
        ("Seconds", [f"{name} {number(seconds)}" for name, seconds in report.seconds.items()]),
    ):
        if entries:
            yield from ("", f"## {title}", "", *(f"- {_plain(entry)}" for entry in entries))


def _first(first: Result, what_next: str) -> Iterator[str]:
    yield from ("", f"## First difference: {_code(first.name)}", "")
    if isinstance(first, NodeResult):
        yield f"- operator: {_code(first.op)}"
        yield f"- source: {_plain(first.source)}"
        yield f"- adapter: {_code(first.adapter)}"
        yield f"- own error: {measured(first.own)}"
        yield f"- accumulated error: {measured(first.accumulated)}"
    else:
        yield f"- runtime: {_plain(source(first))}"
    if first.problem:
        yield f"- problem: {_plain(first.problem)}"
    elif first.error:
        yield f"- worst element {worst(first.error)} ({times(first.error)})"
    yield f"- next: {_plain(what_next)}"


def _table(title: str, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    lines = [f"| {' | '.join(cell.replace('|', BAR) for cell in row)} |" for row in rows]
    if lines:
        yield from ("", f"## {title}", "", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines)


def _mark(passed: bool) -> str:
    return "✓" if passed else "✗"


def _plain(text: str) -> str:
    """Text that Markdown leaves alone: no emphasis, links or HTML of its own."""
    return re.sub(r"([\\`*_\[\]<>#~&])", r"\\\1", printable(text))


def cell(text: str) -> str:
    """Any text, as it goes into a cell of a table."""
    return _plain(text).replace("|", BAR)


def _code(text: str) -> str:
    """A code span of any text, its own backticks included."""
    text = printable(text)
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text[:1] in ("`", " ", "") or text[-1:] in ("`", " ") else ""
    return f"{fence}{pad}{text}{pad}{fence}"
