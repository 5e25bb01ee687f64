"""NNEF: the graph.nnef of a network."""

from __future__ import annotations

from typing import Any

from .spelling import Found, Spelling, text_of
from .tokens import calls, kept, number_of, statement, tokens


def read_nnef(spelling: Spelling, source: Any) -> list[Found]:
    """The calls of leaky_relu in a graph.nnef; where a fragment of this name is declared, it is the text's own."""
    found = tokens(text_of(source, "NNEF"), "#")
    slopes = []
    for call in calls(found, ("leaky_relu",)):
        if call.before and call.before[-1].text == "fragment":
            continue
        stated = call.at(1, "alpha")
        slope = None if stated is None else number_of(stated)
        slopes.append(spelling.judge(stated is not None, slope, line=call.line, name=kept(call)))
    return slopes


def write_nnef(spelling: Spelling, slope: float, name: str) -> str:
    line = statement(spelling, slope, name).rstrip()
    body = f"    x = external<scalar>(shape = [1]);\n    {line};\n"
    return f"version 1.0;\n\ngraph network(x) -> ({name})\n{{\n{body}}}\n"


NNEF = Spelling(
    system="NNEF",
    api="leaky_relu",
    parameter="alpha",
    default=None,
    held="tensor",
    formula="x < 0 ? a*x : x",
    line="leaky_relu(x, alpha = {slope})",
    refused=("infinite", "NaN"),
    instead="its grammar has no word for these",
    source="the standard's fragment leaky_relu",
    not_run="a notation: it has no runtime of its own",
    reader=read_nnef,
    writer=write_nnef,
)
