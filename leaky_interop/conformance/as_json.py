"""The record as JSON, and back: `parse(render(record)) == record`. `record.py` says what the fields mean."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

from .record import Cell, Conformance, Difference, Held, Number, Runtime

FORMAT = 1


def render(record: Conformance) -> str:
    """One line a runtime, a difference and a cell, so that two runs can be compared with diff."""
    head = {
        "format": FORMAT,
        "leaky_interop": record.leaky_interop,
        "platform": record.platform,
        "passed": record.passed,
    }
    lines = [f"{_text(key)}: {_text(value)}" for key, value in head.items()]
    for name in ("runtimes", "known", "cells"):
        rows = ",\n  ".join(_text(_plain(item)) for item in getattr(record, name))
        lines.append(f'"{name}": [\n  {rows}\n ]' if rows else f'"{name}": []')
    return "{" + ",\n ".join(lines) + "}\n"


def parse(text: str) -> Conformance:
    """The record that `render` wrote; ValueError for any other text."""
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise ValueError(f"its format is {data['format']!r}")
        return Conformance(
            leaky_interop=data["leaky_interop"],
            platform=data["platform"],
            runtimes=tuple(map(_runtime, data["runtimes"])),
            known=tuple(map(_difference, data["known"])),
            cells=tuple(map(_cell, data["cells"])),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"expected a conformance record of format {FORMAT}; received {text[:60]!r} ({error})"
        ) from error


def _text(data: Any) -> str:
    return json.dumps(data, allow_nan=False, ensure_ascii=False)


def _plain(item: Any) -> Any:
    """Dataclasses as objects without the fields that equal their defaults; numbers that JSON lacks as text."""
    if dataclasses.is_dataclass(item):
        fields = dataclasses.fields(item)
        return {f.name: _plain(value) for f in fields if (value := getattr(item, f.name)) != _default(f)}
    if isinstance(item, dict):
        return {key: _plain(value) for key, value in item.items()}
    if isinstance(item, tuple | list):
        return [_plain(value) for value in item]
    if isinstance(item, float) and not math.isfinite(item):
        return "NaN" if math.isnan(item) else "Infinity" if item > 0 else "-Infinity"
    return item


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _runtime(row: dict[str, Any]) -> Runtime:
    default = row.get("default")
    held = {name: Held(**{**h, "measured": tuple(h["measured"])}) for name, h in row.get("held", {}).items()}
    return Runtime(**{**_tuples(row), "held": held, "default": None if default is None else float(default)})


def _difference(row: dict[str, Any]) -> Difference:
    return Difference(**{**row, "match": {axis: tuple(values) for axis, values in row.get("match", {}).items()}})


def _cell(row: dict[str, Any]) -> Cell:
    numbers = tuple(
        Number(**{**n, **{k: float(n[k]) for k in ("x", "got", "want", "ulp")}}) for n in row.get("numbers", ())
    )
    curve = tuple(tuple(map(float, point)) for point in row.get("curve", ()))
    return Cell(**{**_tuples(row), "numbers": numbers, "curve": curve, "ulp": float(row.get("ulp", 0.0))})


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
