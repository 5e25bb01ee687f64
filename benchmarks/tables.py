"""Writes measured results as one Markdown page: the targets first, then every row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from benchmarks.converters import (
    DIRECTIONS,
    KERAS_TENSORFLOW,
    KERAS_TORCH,
    ONNX_TORCH,
    OURS,
    TORCH_KERAS,
    TORCH_ONNX,
    converters,
)
from benchmarks.startup import NUMPY

Row = dict[str, Any]
BIG = 10e6  # bytes of weights
COLUMNS = [
    *"network|weights MB|converter|warm-up s|seconds|times ours|again s|peak MB|times weights".split("|"),
    *"nodes|executed|transposes|latency ms".split("|"),
]
REFERENCE = {"onnx": "times ours", "torch": "times hand-written", "keras": "times hand-written"}

INTRODUCTION = """\
# Conversions, measured

Written by `{command}` on {date}: {machine}, Python {python}. Measured: {progress} networks and directions.

Each row is a process of its own that first imported its frameworks and converted a network of one layer (*warm-up*, not
counted). Nothing is verified.

* *seconds*: the first conversion of this network, *again*: the fastest of the next few. ONNX is written to a file.
* *peak*: the most memory that the first conversion took above what the process held just before, the source model
  included; the weights of the source model are added to it, where it is no file.
* *nodes* of the result, constants, inputs and outputs not counted; *executed*: those that onnxruntime makes of them;
  *transposes*: the nodes among them that move data. Batch normalisation stays a node here, so that the network can be
  read back, trained and compared layer by layer; keras' export with TensorFlow folds it into the convolution before,
  as onnxruntime does when it loads the file: *executed* compares what runs.
* *latency*: median of {runs} interleaved runs at batch 1 in one process: all ONNX files of a network in onnxruntime, or
  a converted model and the same network written by hand in that framework. Runtimes have one thread: what is compared
  is the model, and more threads than idle cores would measure the machine.
* *difference*: the largest from the source model's outputs, as a part of the largest output.
"""


@dataclasses.dataclass(frozen=True)
class Target:
    """What is to be reached: the measure of every row it is for, at least or at most the limit."""

    text: str
    directions: tuple[str, ...]
    measure: Callable[[Row, Row | None], float | None]  # of this project's row and the first peer's
    limit: float
    at_least: bool = False
    concerns: Callable[[Row], bool] = lambda row: True

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


def _is_big(row: Row) -> bool:
    return bool(row["weight_bytes"] > BIG)


def _is_small(row: Row) -> bool:
    return not _is_big(row)


def _speed(ours: Row, peer: Row | None) -> float | None:
    return peer["seconds"] / ours["seconds"] if peer else None


def _over_weights(ours: Row, peer: Row | None) -> float:
    return ours["peak_bytes"] / ours["weight_bytes"]


def _nodes(ours: Row, peer: Row | None) -> float | None:
    return ours["nodes"] / peer["nodes"] if peer else None


def _executed(ours: Row, peer: Row | None) -> float | None:
    return ours["executed_nodes"] / peer["executed_nodes"] if peer and "executed_nodes" in ours.keys() & peer.keys() else None


def _latency_of_peer(ours: Row, peer: Row | None) -> float | None:
    return ours["latency_seconds"] / peer["latency_seconds"] if peer and "latency_seconds" in ours.keys() & peer.keys() else None


def _latency_by_hand(ours: Row, peer: Row | None) -> float:
    return ours["latency_seconds"] / ours["reference_seconds"]


KERAS = (KERAS_TENSORFLOW, KERAS_TORCH)
TARGETS = (
    Target("times faster than keras' export, weights over 10 MB", KERAS, _speed, 20, True, _is_big),
    Target("times faster than keras' export, small weights", KERAS, _speed, 5, True, _is_small),
    Target("peak memory, in sizes of the weights, over 10 MB", KERAS, _over_weights, 2.5, concerns=_is_big),
    Target("nodes, times those of keras' export", KERAS, _nodes, 1),
    Target("executed nodes, times those of keras' export", KERAS, _executed, 1),
    Target("latency, times that of keras' export", KERAS, _latency_of_peer, 1.05),
    Target("times faster than torch.onnx.export", (TORCH_ONNX,), _speed, 2.5, True),
    Target("latency, times that of the hand-written network", (ONNX_TORCH,), _latency_by_hand, 1.05),
    Target("latency, times that of the hand-written network", (TORCH_KERAS,), _latency_by_hand, 1.1),
)
STARTUP_LIMIT = 2.5


def page(results: dict[str, Any]) -> str:
    """The whole page."""
    rows = results["rows"]
    parts = [INTRODUCTION.format(**results["about"]), "## Targets\n", *table(_targets(rows, results["startup"]))]
    for way in DIRECTIONS:
        measured = [row for row in rows if row["direction"] == way.name]
        if measured:
            parts += ["", f"## {way.name}\n", *table(_direction(measured, way.target)), "", *_reasons(measured)]
    parts += ["", "## Start\n", *table(_startup(results["startup"])), "", "## Versions\n", *_versions(results), ""]
    return "\n".join(parts)


def table(rows: Iterable[Iterable[str]]) -> list[str]:
    """Lines of a Markdown table; the first row is its heading."""
    heading, *others = [list(row) for row in rows]
    return [f"| {' | '.join(cells)} |" for cells in (heading, ["---"] * len(heading), *others)]


def _targets(rows: list[Row], startup: dict[str, float | str]) -> Iterator[list[str]]:
    yield ["direction", "measure", "target", "worst", "network", "met"]
    for target in TARGETS:
        for direction in target.directions:
            values = list(_values(target, direction, rows))
            if values:
                value, network = (min if target.at_least else max)(values)
                aim = f"at {'least' if target.at_least else 'most'} {target.limit:g}"
                yield [direction, target.text, aim, f"{value:.2f}", network, "yes" if target.met(value) else "**no**"]
    for name, ratio in _startup_ratios(startup).items():
        met = "yes" if ratio <= STARTUP_LIMIT else "**no**"
        yield ["start", f"`{name}`, times `{NUMPY}`", f"at most {STARTUP_LIMIT:g}", f"{ratio:.2f}", "", met]


def _values(target: Target, direction: str, rows: list[Row]) -> Iterator[tuple[float, str]]:
    peers = [used.name for used in converters(direction) if used.name != OURS]
    done = {(row["network"], row["converter"]): row for row in rows if row["direction"] == direction and "nodes" in row}
    for (network, name), row in done.items():
        if name == OURS and target.concerns(row):
            value = target.measure(row, done.get((network, peers[0])))
            if value is not None:
                yield value, network


def _direction(rows: list[Row], to: str) -> Iterator[list[str]]:
    yield [*COLUMNS, REFERENCE[to], "difference"]
    ours = {row["network"]: row for row in rows if row["converter"] == OURS}
    for row in rows:
        own, name = ours.get(row["network"], {}), row["converter"]
        if "nodes" not in row:
            yield [row["network"], "", name, "absent" if "absent" in row else "failed", *[""] * (len(COLUMNS) - 2)]
            continue
        latency, reference = row.get("latency_seconds"), row.get("reference_seconds", own.get("latency_seconds"))
        yield [
            row["network"],
            f"{row['weight_bytes'] / 1e6:.2f}",
            name,
            f"{row['warm_up_seconds']:.1f}",
            f"{row['seconds']:.3f}",
            _number(_ratio(row["seconds"], own.get("seconds")), ".1f"),
            _number(row["again_seconds"], ".3f"),
            f"{row['peak_bytes'] / 1e6:.0f}",
            f"{row['peak_bytes'] / row['weight_bytes']:.1f}",
            str(row["nodes"]),
            _number(row.get("executed_nodes"), "d"),
            str(row["transposes"]),
            _number(latency and latency * 1e3, ".2f"),
            _number(_ratio(latency, reference), ".2f"),
            _number(row.get("difference"), ".0e"),
        ]


def _reasons(rows: list[Row]) -> list[str]:
    """Why rows are missing, each reason once."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        for kind in ("absent", "failed"):
            if kind in row:
                networks = reasons.setdefault(f"{row['converter']} {kind}: {row[kind]}", [])
                networks.append(row["network"])
    return [f"* {', '.join(networks)}: {reason}" for reason, networks in reasons.items()]


def _startup_ratios(startup: dict[str, float | str]) -> dict[str, float]:
    base = startup[NUMPY]
    assert isinstance(base, float)
    return {name: value / base for name, value in startup.items() if isinstance(value, float) and name != NUMPY}


def _startup(startup: dict[str, float | str]) -> Iterator[list[str]]:
    ratios = _startup_ratios(startup)
    yield ["command", "ms", "times numpy"]
    for name, value in startup.items():
        shown = f"{value * 1e3:.0f}" if isinstance(value, float) else f"failed: {value}"
        yield [f"`{name}`", shown, _number(ratios.get(name), ".2f")]


def _versions(results: dict[str, Any]) -> list[str]:
    """What all were measured with, and what a converter brought or had otherwise."""
    common = results["about"]["versions"]
    lines = {f"* all: {_listed(common)}": None}
    for row in results["rows"]:
        own = dict(row.get("versions", {}).items() - common.items())
        if own:
            lines[f"* {row['converter']}: {_listed(own)}"] = None
    return list(lines)


def _listed(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
