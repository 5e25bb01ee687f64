"""The counts of all runs, in `results.json` and as a table in docs/fuzzing.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .readers import READERS

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "fuzzing.md"
KEYS = ("reader", "code", "engine")

Row = dict[str, Any]


def read(path: Path) -> list[Row]:
    return list(json.loads(path.read_text(encoding="utf-8"))["runs"]) if path.exists() else []


def add(path: Path, new: Row) -> None:
    """Add a run to the row of the same reader, code and engine."""
    rows = read(path)
    row = next((r for r in rows if all(r[k] == new[k] for k in KEYS)), None)
    if row is None:
        rows.append(new)
    else:
        row["executions"] += new["executions"]
        row["accepted"] += new["accepted"]
        row["seconds"] = round(row["seconds"] + new["seconds"], 1)
        row["slowest"] = max(row["slowest"], new["slowest"])
        known = {(f["kind"], f["where"] or f["text"]) for f in row["findings"]}
        row["findings"] += [f for f in new["findings"] if (f["kind"], f["where"] or f["text"]) not in known]
    rows.sort(
        key=lambda r: (list(READERS).index(r["reader"]) if r["reader"] in READERS else 99, r["code"], r["engine"])
    )
    temporary = path.with_suffix(".new")
    lines = ",\n ".join(json.dumps(r, ensure_ascii=False) for r in rows)
    temporary.write_text('{"format": 1, "runs": [\n ' + lines + "\n]}\n", encoding="utf-8")
    temporary.replace(path)


def table(rows: list[Row]) -> str:
    """One line a reader: what was executed in all and found then, and on its present code."""
    head = ("reader", "executions", "found, mended", "on the present code", "found", "a second", "slowest", "accepted")
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for reader in READERS.values():
        mine = [r for r in rows if r["reader"] == reader.name]
        now = [r for r in mine if r["code"] == reader.code]
        seconds, accepted = sum(r["seconds"] for r in mine), sum(r["accepted"] for r in mine)
        rates = (
            f"{_sum(mine) / max(seconds, 1e-9):,.0f}",
            f"{max((r['slowest'] for r in mine), default=0.0):.2f} s",
            f"{accepted / max(_sum(mine), 1):.0%}",
        )
        lines.append(_line(reader.name, mine, now, rates))
    present = {reader.name: reader.code for reader in READERS.values()}
    now = [r for r in rows if present.get(r["reader"]) == r["code"]]
    lines.append(_line("all", rows, now, ("", "", "")))
    return "\n".join(lines) + "\n"


def _line(name: str, rows: list[Row], now: list[Row], rates: tuple[str, ...]) -> str:
    mended = _findings(rows) - _findings(now)
    return f"| {name} | {_sum(rows):,} | {mended} | {_sum(now):,} | {_findings(now)} | {' | '.join(rates)} |"


def _sum(rows: list[Row]) -> int:
    return sum(r["executions"] for r in rows)


def _findings(rows: list[Row]) -> int:
    return sum(len(r["findings"]) for r in rows)


def write_page(rows: list[Row]) -> None:
    """Put the table between the page's markers."""
    begin, end = "<!-- fuzzing -->", "<!-- end of fuzzing -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    PAGE.write_text(f"{before}{begin}\n{table(rows)}{end}{rest.partition(end)[2]}", encoding="utf-8")
