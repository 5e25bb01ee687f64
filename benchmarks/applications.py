"""`python -m benchmarks.applications`: every family of keras.applications to ONNX, PyTorch and back; writes docs/applications.md.

What was measured is kept in applications.json beside this file; `--only NAME` measures one network again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import networks
from benchmarks.__main__ import REPOSITORY, about, measure, run
from benchmarks.converters import FOLDED, KERAS_TENSORFLOW, OURS, direction
from benchmarks.tables import BIG, table

Row = dict[str, Any]
RESULTS = Path(__file__).with_suffix(".json")
PAGE = REPOSITORY / "docs" / "applications.md"
PEER = "keras.Model.export"
PARTS = ("onnx", "round_trip", "verified")
PLACE = re.compile(r"(?<=\s)(/[\w.-]+)+/")  # the folder that a message names a file in
ROUND = {"torch": "Keras to PyTorch", "keras": "PyTorch to Keras", "keras_from_onnx": "ONNX to Keras"}

INTRODUCTION = """\
# The families of keras.applications

Written by `{command}`, last on {date}: {machine}, Python {python}; {versions}.

Random weights, batch norms' statistics included; Keras on TensorFlow; pictures of the usual size, one at a time.

* *weights* in MB; *seconds*: the first conversion to ONNX in a process that has converted one layer before, by this project
  (*folded*: with `fold_batch_norm`) and by keras' own export; *times*: keras' over this project's. Not verified.
* *memory*: the most that a conversion took, in sizes of the weights, the source's included (a file's as far as it is read);
  where a Keras network is made, above what Keras takes itself to make it.
* *nodes*: as it is, with batch norms folded, and of keras' export, which folds them always; *inside*: transposes that are at
  no input or output.
* *latency*: of the files in onnxruntime, as it is and folded, over that of keras' file; medians of {runs} interleaved runs in one
  thread.
* *verified*: node by node, on the smallest pictures that the network takes: to ONNX, folded, to PyTorch, from both to Keras.
"""


@dataclasses.dataclass(frozen=True)
class Target:
    """What is to be reached by every network: a measure, at least or at most its limit."""

    text: str
    measure: Callable[[Row], float | None]
    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


def _value(row: Row, converter: str, *path: str) -> float | None:
    """What was measured of a conversion to ONNX; None where it failed or is absent."""
    found: Any = row.get("onnx", {}).get(converter, {})
    for key in path:
        found = found.get(key)
    return found


def _over(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one / other


def _speed(row: Row, ours: str = OURS) -> float | None:
    return _over(_value(row, PEER, "seconds"), _value(row, ours, "seconds"))


def _big_speed(row: Row) -> float | None:
    return _speed(row) if row["weight_bytes"] > BIG else None


def _memory(row: Row) -> float | None:
    """Of all conversions the most; of those that make a Keras network, above what Keras takes itself to make it."""
    peaks = [
        _value(row, OURS, "peak_bytes"),
        _value(row, FOLDED, "peak_bytes"),
        *(_above_own(row, step) for step in ROUND),
    ]
    known = [peak for peak in peaks if peak is not None]
    return max(known) / row["weight_bytes"] if known and row["weight_bytes"] > BIG else None


def _above_own(row: Row, step: str) -> float | None:
    found = row.get("round_trip", {})
    if step not in found:
        return None
    peak: float = found[step]["peak_bytes"]
    return peak if step == "torch" else peak - max(found["own_bytes"] - found["weight_bytes"], 0)


def _nodes(row: Row) -> float | None:
    return _over(_value(row, FOLDED, "nodes"), _value(row, PEER, "nodes"))


def _latency(row: Row, ours: str = OURS) -> float | None:
    return _over(_value(row, ours, "latency_seconds"), _value(row, PEER, "latency_seconds"))


def _inside(row: Row) -> float | None:
    """Transposes beyond one at the input: the output of these networks is a vector."""
    found = row.get("round_trip", {})
    counts = [
        _value(row, OURS, "transposes"),
        _value(row, FOLDED, "transposes"),
        *(found[k]["transposes"] for k in ROUND if k in found),
    ]
    known = [count for count in counts if count is not None]
    return max(known) - 1 if known else None


def _rebuilt(row: Row) -> float | None:
    found = row.get("round_trip", {})
    if "original_seconds" not in found:
        return None
    return max(found["keras_latency"], found["keras_from_onnx_latency"]) / found["original_seconds"]


TARGETS = (
    Target("times faster than keras' export, weights over 10 MB", _big_speed, 20, at_least=True),
    Target("peak memory in sizes of the weights, over 10 MB", _memory, 2.5),
    Target("nodes, batch norms folded, times those of keras' export", _nodes, 1),
    Target("transposes inside", _inside, 0),
    Target("latency in onnxruntime, times that of keras' export", _latency, 1.05),
    Target("latency rebuilt in Keras, times that of the original", _rebuilt, 1.1),
)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.applications", description=__doc__)
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=networks.SIZES, help="only this network; repeatable"
    )
    parser.add_argument(
        "--no-peers", action="store_true", help="without keras' own export (VGG16's takes 10 GB of memory)"
    )
    parser.add_argument("--runs", type=int, default=30, help="runs of each latency (30)")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part of what is measured; repeatable")
    parser.add_argument("--page", action="store_true", help="only write the page, from what was measured before")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": {}}
    with tempfile.TemporaryDirectory(prefix="leaky_interop_bench_") as folder:
        for name in () if options.page else options.only or networks.SIZES:
            results["about"] = about(options.runs) | {"command": "python -m benchmarks.applications"}
            row = results["rows"].setdefault(name, {})
            row |= measured(name, options.part or PARTS, options.runs, Path(folder), peers=not options.no_peers)
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")  # an interrupted run keeps what it has
    PAGE.write_text(page(results))
    print(f"Written: {PAGE}", file=sys.stderr)


def measured(name: str, parts: Sequence[str], runs: int, folder: Path, *, peers: bool) -> Row:
    """Parts of what is measured of one network, each in processes of its own."""
    way, found = direction(KERAS_TENSORFLOW), Row()
    if "onnx" in parts:
        found["onnx"] = {r["converter"]: r for r in measure(way, name, runs, folder, peers=peers)}
        found["weight_bytes"] = found["onnx"][OURS].get("weight_bytes", 0)
    task = {"direction": way.name, "network": name, "runs": runs, "path": str(folder / "round.onnx")}
    for part in [part for part in PARTS[1:] if part in parts]:
        found[part] = run(part, task, Path(sys.executable), folder, way)
    for path in folder.iterdir():
        path.unlink()
    return found


def page(results: Row) -> str:
    told = results["about"] | {
        "versions": ", ".join(f"{k} {v}" for k, v in sorted(results["about"]["versions"].items()))
    }
    rows = {name: results["rows"][name] for name in networks.SIZES if results["rows"].get(name, {}).get("weight_bytes")}
    parts = [
        INTRODUCTION.format(**told),
        "## Targets\n",
        *table(_targets(rows)),
        "",
        "## To ONNX\n",
        *table(_to_onnx(rows)),
    ]
    parts += ["", "## To PyTorch, and back to Keras\n", *table(_round(rows)), "", *_problems(rows)]
    return "\n".join(parts).rstrip() + "\n"


def _targets(rows: dict[str, Row]) -> Iterator[list[str]]:
    yield ["measure", "target", "worst", "network", "missed by"]
    for target in TARGETS:
        values = {name: value for name, r in rows.items() if (value := target.measure(r)) is not None}
        if values:
            name = (min if target.at_least else max)(values, key=values.__getitem__)
            missed = [n for n, value in values.items() if not target.met(value)]
            aim = f"at {'least' if target.at_least else 'most'} {target.limit:g}"
            yield [target.text, aim, f"{values[name]:.2f}", name, ", ".join(missed) or "none"]


def _to_onnx(rows: dict[str, Row]) -> Iterator[list[str]]:
    yield "network|weights|seconds|folded|keras|times|memory|nodes|folded|keras|inside|latency|folded|verified".split(
        "|"
    )
    for name, r in rows.items():
        checks = r.get("verified", {}).get("steps", {})
        yield [
            name,
            f"{r['weight_bytes'] / 1e6:.0f}",
            *(_shown(_value(r, c, "seconds"), ".2f") for c in (OURS, FOLDED, PEER)),
            _shown(_speed(r), ".0f"),
            _shown(_over(_value(r, OURS, "peak_bytes"), r["weight_bytes"]), ".2f"),
            *(_shown(_value(r, c, "nodes"), "d") for c in (OURS, FOLDED, PEER)),
            _shown(_inside(r), "d"),
            *(_shown(_latency(r, c), ".2f") for c in (OURS, FOLDED)),
            f"{sum(not problem for problem in checks.values())} of {len(checks)}" if checks else "",
        ]


def _round(rows: dict[str, Row]) -> Iterator[list[str]]:
    columns = [f"{text}, {what}" for text in ROUND.values() for what in ("s", "memory")]
    yield ["network", *columns, "same again", "latency", "from ONNX", "difference"]
    for name, row in rows.items():
        found = row.get("round_trip", {})
        if "torch" not in found:
            continue
        cells = [
            (f"{found[k]['seconds']:.2f}", _shown(_over(_above_own(row, k), row["weight_bytes"]), ".2f")) for k in ROUND
        ]
        alike = [way for way, step in (("PyTorch", "keras"), ("ONNX", "keras_from_onnx")) if not found[step]["differs"]]
        yield [
            name,
            *(cell for pair in cells for cell in pair),
            " and ".join(alike) or "neither",
            *(f"{found[k] / found['original_seconds']:.2f}" for k in ("keras_latency", "keras_from_onnx_latency")),
            f"{found['difference']:.0e}",
        ]


def _problems(rows: dict[str, Row]) -> Iterator[str]:
    """What failed, was not measured or did not come back as it was, and why."""
    for name, row in rows.items():
        for what, found in {**row.get("onnx", {}), **{part: row.get(part, {}) for part in PARTS[1:]}}.items():
            for kind in ("failed", "absent", "unusable"):
                if kind in found:
                    yield f"* {name}, {what} {kind}: {PLACE.sub('', found[kind])}"
        for step, problem in row.get("verified", {}).get("steps", {}).items():
            if problem:
                yield f"* {name}, {step}: {problem}"
        for step in ("keras", "keras_from_onnx"):
            if differs := row.get("round_trip", {}).get(step, {}).get("differs"):
                yield f"* {name}, {ROUND[step]}, is another graph than before: {differs}"


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


if __name__ == "__main__":
    main()
