"""The record of exporters as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...report.phrases import markdown_table
from ..record import Conformance
from .asking import SLOPES, Arrival

MARKS = {"exact": "", "within": "≈", "known": "°", "wrong": " **≠**", "refused": "refused", "crashed": "**crashed**"}
LEGEND = (
    "The slope that arrived, as what -1 becomes; alone where every number is the source's own, bit for bit. ≈: up to one "
    "unit in the last place. °: numbers differ for a known reason, below the table. **≠**: numbers differ."
)


LISTED = 8  # cells that a reason lists by name


def to_markdown(record: Conformance) -> str:
    """One table for each exporter, variant and type: spellings down, slopes across."""
    known = {d.id: d.reason for d in record.known}
    grouped: dict[tuple[str, str, str], list[Any]] = {}
    for cell in record.cells:
        grouped.setdefault((cell.runtime, cell.variant, cell.dtype), []).append(cell)
    parts = ["# Which slope arrives", LEGEND]
    parts += [f"{r.name} was not asked: {r.message.rstrip('.')}." for r in record.runtimes if r.status != "ran"]
    versions = {r.name: r.version for r in record.runtimes}
    for (name, variant, dtype), rows in grouped.items():
        spelled: dict[str, dict[str, Any]] = {}
        for cell in rows:
            spelled.setdefault(cell.operator, {})[cell.slope] = cell
        lines = [[spelling, *(_text(by_slope.get(s)) for s in SLOPES)] for spelling, by_slope in spelled.items()]
        parts.append(f"## {name} {versions.get(name, '')}, {variant}, {dtype}\n\n{markdown_table(['', *SLOPES], lines).rstrip()}")
        parts.append(_reasons(rows, known))
    return "\n\n".join(part for part in parts if part) + "\n"


def _text(cell: Arrival | None) -> str:
    if cell is None:
        return "-"
    return (decimal(cell.arrived, cell.dtype) if cell.arrived else "") + MARKS[cell.verdict]


def decimal(arrived: str, dtype: str) -> str:
    """The shortest decimal that is this number in its type."""
    number = np.dtype(dtype).type(float.fromhex(arrived))
    return str(number).removesuffix(".0")


def _reasons(rows: Iterable[Arrival], known: Mapping[str, str]) -> str:
    """What was refused or differs, each reason once."""
    found: dict[str, list[str]] = {}
    for cell in rows:
        reasons = [known[name] for name in cell.known] or [cell.message]
        if not any(reasons) and cell.where:
            reasons = [f"differs at {', '.join(f'{n} {where}' for where, n in cell.where.items())}"]
        for reason in filter(None, reasons):
            found.setdefault(reason, []).append(f"{cell.operator} {cell.slope}")
    return "\n".join(f"* {reason.replace('|', chr(92) + '|')} ({_listed(cells)})" for reason, cells in found.items())


def _listed(cells: Sequence[str]) -> str:
    """The cells of a reason; only how many where they are many."""
    return ", ".join(cells) if len(cells) <= LISTED else f"{len(cells)} cells"
