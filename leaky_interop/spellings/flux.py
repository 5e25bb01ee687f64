"""Flux and NNlib: Julia source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .spelling import Found, Spelling, text_of
from .tokens import Arguments, Token, calls, kept, number_of, statement, tokens


def julia_literal(text: str) -> str:
    """A number of Julia's as Python writes it: 2f-1 and 0.2f0 are held in 32 bits."""
    text = text.replace("_", "")
    if text[:2].lower() == "0x" or "f" not in text.lower():
        return text
    return repr(float(np.float32(text.lower().replace("f", "e"))))


def julia_number(slope: float) -> str:
    return repr(slope) if math.isfinite(slope) else "NaN" if math.isnan(slope) else "Inf" if slope > 0 else "-Inf"


def read_flux(spelling: Spelling, source: Any) -> list[Found]:
    """`leakyrelu(x, 0.2)`, `leakyrelu.(x, 0.2)`, `Base.Fix2(leakyrelu, 0.2)`, and `leakyrelu` handed over as it is."""
    found = tokens(text_of(source, "Julia source"), "julia")
    own = [c for c in calls(found, ("leakyrelu",)) if c.after == "=" or (c.before and c.before[-1].text == "function")]
    if own:
        note = f"line {own[0].line} defines a leakyrelu of its own"
        return [spelling.found(None, given="computed", line=own[0].line, note=note)]
    slopes: list[Found] = []
    called: set[int] = set()
    imported = _imported(found)
    places = {id(token): i for i, token in enumerate(found)}
    for call in calls(found, ("leakyrelu",), between="."):
        slopes.append(_julia(spelling, call, call.at(1, "a")))
    for call in calls(found, ("Fix2",)):
        if call.arguments and call.arguments[0][1][-1].text == "leakyrelu":
            called.add(places[id(call.arguments[0][1][-1])])
            slopes.append(_julia(spelling, call, call.at(1, "x")))
    for index, token in enumerate(found):
        after = [t.text for t in found[index + 1 : index + 3]]
        if token.text != "leakyrelu" or token.kind != "name" or index in called:
            continue
        if after[:1] == ["("] or after == [".", "("] or index in imported:
            continue
        slopes.append(spelling.found(None, given="left out", line=token.line))
    return sorted(slopes, key=lambda slope: slope.line or 0)


def _imported(found: Sequence[Token]) -> set[int]:
    """The names in `using NNlib: relu, leakyrelu`, which may go on over lines as long as commas join them."""
    names: set[int] = set()
    active = expected = False
    for index, token in enumerate(found):
        if token.text in ("using", "import", "export"):
            active = expected = True
        elif active and token.kind == "name" and expected:
            names.add(index)
            expected = False
        elif active and token.text in (",", ":", "."):
            expected = True
        else:
            active = False
    return names


def _julia(spelling: Spelling, call: Arguments, stated: tuple[Token, ...] | None) -> Found:
    slope = None if stated is None else number_of(stated, julia_literal, {"NaN": math.nan, "Inf": math.inf})
    return spelling.judge(stated is not None, slope, line=call.line, name=kept(call))


FLUX = Spelling(
    system="Flux",
    api="leakyrelu",
    parameter="a",
    default=0.01,
    held="tensor",
    formula="x > 0 ? x : a*x",
    line="leakyrelu.(x, {slope})",
    number=julia_number,
    source="NNlib.jl, src/activations.jl; older releases compute max(a*x, x)",
    not_run="needs Julia",
    reader=read_flux,
    writer=statement,
)
