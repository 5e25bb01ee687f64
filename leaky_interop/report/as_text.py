"""The report as lines for a terminal, in the manner of optimum: `-[✓] (2, 16) matches (2, 16)`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .phrases import advice, counts, measured, printable, source, times, worst
from .record import GradientResult, NodeResult, OutputResult, Report, Result

MOST_NODES = 10  # of those that differ; the other renderings have them all


def render(report: Report) -> str:
    return "\n".join(printable(line) for line in _lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"{report.source}"
    yield f"  against {report.target}"
    if report.draws:
        yield f"  on {'; '.join(report.draws)}"
    if report.nodes:
        yield "Nodes, each fed the source's inputs:"
        yield from _listed(report.nodes)
    for output in report.outputs:
        yield f"Output {output.name!r}, {source(output)}:"
        yield from _output(output)
    if report.gradients:
        yield "Gradients of a seeded loss, and weights after training on it:"
        yield from _listed(report.gradients)
    if report.first_difference:
        yield from _first(report.first_difference, advice(report))
    for title, entries in (
        ("Transposes left in the target", report.transposes),
        ("Dimensions that became static", report.static),
        ("Notes", report.notes),
    ):
        if entries:
            yield f"{title}:"
            yield from (f"  {entry}" for entry in entries)
    yield f"{'Passed' if report.passed else 'Failed'}: {counts(report)}"


def _line(passed: bool, text: str) -> str:
    return f"  -[{'✓' if passed else 'x'}] {text}"


def _listed(results: Sequence[NodeResult] | Sequence[GradientResult]) -> Iterator[str]:
    wrong = [result for result in results if not result.passed]
    right = len(results) - len(wrong)
    if right:
        yield _line(True, f"{right} of {len(results)} within their limits")
    for result in wrong[:MOST_NODES]:
        title = f"{result.name}, {result.what}" if isinstance(result, GradientResult) else result.name
        yield _line(False, f"{title}: {_why(result)}")
    if wrong[MOST_NODES:]:
        yield _line(False, f"{len(wrong) - MOST_NODES} more")


def _output(output: OutputResult) -> Iterator[str]:
    if output.problem:
        yield _line(False, output.problem)
        return
    yield _line(True, f"{output.shape} matches {output.shape}")
    if output.passed:
        yield _line(True, f"all values close ({measured(output.error)})")
    else:
        yield _line(False, _why(output))


def _why(result: Result) -> str:
    if result.problem or result.error is None:
        return result.problem or "values differ"
    return f"values differ by {measured(result.error)}: {times(result.error)}"


def _first(first: Result, what_next: str) -> Iterator[str]:
    yield f"First difference: {first.name}"
    if isinstance(first, NodeResult):
        yield f"  operator     {first.op}"
        yield f"  source       {first.source}"
        yield f"  adapter      {first.adapter}"
        yield f"  own          {measured(first.own)}"
        yield f"  accumulated  {measured(first.accumulated)}"
    else:
        yield f"  {'what' if isinstance(first, GradientResult) else 'runtime':<13}{source(first)}"
    if first.problem:
        yield f"  problem      {first.problem}"
    elif first.error:
        yield f"  worst        {worst(first.error)}"
    yield f"  next         {what_next}"
