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
    """One line a reader: what was executed on its present code, and in all."""
    head = (
        "reader",
        "executions on this code",
        "findings",
        "a second",
        "slowest",
        "accepted",
        "executions on earlier code",
        "findings then",
    )
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    total = [0, 0, 0, 0]
    for reader in READERS.values():
        mine = [r for r in rows if r["reader"] == reader.name]
        now, before = [r for r in mine if r["code"] == reader.code], [r for r in mine if r["code"] != reader.code]
        done, found, earlier, mended = _sum(now), _findings(now), _sum(before), _findings(before)
        total = [a + b for a, b in zip(total, (done, found, earlier, mended), strict=True)]
        rate = done / max(sum(r["seconds"] for r in now), 1e-9) if now else 0
        slowest = max((r["slowest"] for r in now), default=0.0)
        share = f"{sum(r['accepted'] for r in now) / done:.0%}" if done else ""
        cells = (reader.name, f"{done:,}", found, f"{rate:,.0f}", f"{slowest:.2f} s", share, f"{earlier:,}", mended)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    cells = ("all", f"{total[0]:,}", total[1], "", "", "", f"{total[2]:,}", total[3])
    lines.append("| " + " | ".join(f"**{c}**" if c != "" else "" for c in cells) + " |")
    return "\n".join(lines) + "\n"


def _sum(rows: list[Row]) -> int:
    return sum(r["executions"] for r in rows)


def _findings(rows: list[Row]) -> int:
    return sum(len(r["findings"]) for r in rows)


def write_page(rows: list[Row]) -> None:
    """Put the table between the page's markers."""
    begin, end = "<!-- fuzzing -->", "<!-- end of fuzzing -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    PAGE.write_text(f"{before}{begin}\n{table(rows)}{end}{rest.partition(end)[2]}", encoding="utf-8")
