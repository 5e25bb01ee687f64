"""The report as JSON, and back: `parse(render(report)) == report`.

JSON has no NaN and no infinity: where a number is one, the text "NaN", "Infinity" or "-Infinity" stands for it.
"format" is the version of this layout; it changes only when a field changes its meaning or goes away. "passed" repeats
for other programs what follows from the rest.
"""

from __future__ import annotations

import dataclasses
import json
import math
import types
import typing
from typing import Any

from .record import Report

FORMAT = 1


def render(report: Report) -> str:
    data = {"format": FORMAT, **report.to_dict()}
    return json.dumps(_finite(data), indent=2, allow_nan=False) + "\n"


def parse(text: str) -> Report:
    """The report that `render` wrote; ValueError for any other text."""
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise ValueError(f"its format is {data['format']!r}")
        report: Report = _read(Report, data)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"expected a report of format {FORMAT}; received {text[:60]!r} ({error})") from error
    return report


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(item) for key, item in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(item) for item in data]
    if isinstance(data, float) and not math.isfinite(data):
        return "NaN" if math.isnan(data) else "Infinity" if data > 0 else "-Infinity"
    return data


def _read(kind: Any, data: Any) -> Any:
    """JSON data as a value of a field's type: what is text there and what a number, only the type knows."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return typing.cast(Any, kind)(**{name: _read(hint, data[name]) for name, hint in hints.items()})
    if origin is tuple:
        inner = inner[:1] * len(data) if inner[-1] is ... else inner
        return tuple(_read(each, item) for each, item in zip(inner, data, strict=True))
    if origin is dict:
        return {key: _read(inner[1], item) for key, item in data.items()}
    if origin is types.UnionType:
        fitting = [k for k in inner if _fits(k, data)]
        if data is not None and not fitting:
            raise ValueError(f"{data!r} is no {kind}")
        return None if data is None else _read(fitting[0], data)
    return float(data) if kind is float else data


def _fits(kind: Any, data: Any) -> bool:
    return kind is not type(None) and (typing.get_origin(kind) is tuple) == isinstance(data, list)
