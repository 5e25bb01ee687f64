"""Puts the weights of one network into another that the user already has, of the same framework or of another.

Both are read as graphs. The nodes that hold weights are aligned by structure: the operator, the shapes of its weights,
and what lies before and behind it, without regard to nodes that hold none. Names decide only between nodes that the
structure cannot tell apart; then the order does. Nothing is written until everything is known to fit.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from . import frameworks
from .comparing import compare_graphs, load_second
from .errors import Refused, Usage
from .graph import Graph, Node, Parameter, Value, apply_steps
from .loading import load, open_model
from .report.record import Report
from .verification import Verification

Signature = tuple[str, tuple[tuple[int, tuple[int, ...]], ...]]  # the operator; operand and shape of each weight


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match:
    """One layer whose weights were transferred."""

    source: str  # its place in the source: "keras Conv2D 'conv1'"
    target: str
    weights: tuple[tuple[str, str], ...]  # names of each weight in the source and in the target


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transfer:
    """What was transferred, what was not, and whether both networks now compute the same."""

    matched: tuple[Match, ...]
    unused: tuple[str, ...]  # layers of the source whose weights went nowhere
    missing: tuple[str, ...]  # layers of the target that kept their own weights
    report: Report | None  # None where the networks cannot be compared, see `problem`
    problem: str = ""

    @property
    def passed(self) -> bool:
        """Whether every weight found its place and the outputs agree."""
        return not self.unused and not self.missing and self.report is not None and self.report.passed

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for match in self.matched:
            yield f"{match.source} -> {match.target}: {', '.join(f'{a} -> {b}' for a, b in match.weights)}"
        for title, layers in (("not used of the source", self.unused), ("not filled in the target", self.missing)):
            if layers:
                yield f"{title}:"
                yield from (f"  {layer}" for layer in layers)
        yield self.problem or str(self.report)


def transfer(
    src: Any, dst: Any, example: Any = None, input_shapes: Any = None, *, weights: Any = None, strict: bool = True
) -> Transfer:
    """Copy the weights of `src` into `dst`, in place, and verify that both then compute the same.

    Parameters
    ----------
    src : a Keras, PyTorch or ONNX model, a path, or "package.module:factory"
    dst : a living model, which receives the weights
    example, input_shapes : as for `load`, where a model needs them; in the source's layout
    weights : weights file for a factory
    strict : refuse, before anything is written, unless every layer with weights of either network finds its counterpart

    Raises Refused where the structures differ, Usage where `dst` is no living model.
    """
    framework = frameworks.of(dst)
    if framework is None:
        hint = "Load it first; a file is written by convert"
        raise Usage("the target of a transfer is no model", why="weights are copied into a living one", hint=hint)
    first = load(open_model(src, weights), example, input_shapes)
    second = load_second(first, dst, example, input_shapes)
    pairs = _aligned(first, second)
    unused, missing = _left(first, (a for a, _ in pairs)), _left(second, (b for _, b in pairs))
    if strict and (unused or missing):
        parts = [f"{what} {', '.join(layers)}" for what, layers in (("without a place:", unused), ("without weights:", missing)) if layers]
        hint = "Pass strict=False to transfer what does fit"
        raise Refused("the two networks differ in structure", why="; ".join(parts), hint=hint)
    filled = _Filled()
    matched = [filled.copy(a, b) for a, b in pairs]
    try:
        comparison, problem = compare_graphs(first, second), ""
    except Usage as error:
        if strict:
            raise
        comparison, problem = None, str(error)
    filled.assign(framework)
    report = None if comparison is None else Verification(comparison).report()
    return Transfer(
        matched=tuple(matched), unused=tuple(unused), missing=tuple(missing), report=report, problem=problem
    )


# --- alignment ----------------------------------------------------------------------------------------------------------


def _aligned(first: Graph, second: Graph) -> list[tuple[Node, Node]]:
    """Nodes with weights that do the same job in both networks, in the order of the first."""
    ours, theirs = _Structure(first), _Structure(second)
    pairs = _by_color(ours, theirs)
    if len(pairs) < max(len(ours.nodes), len(theirs.nodes)):
        pairs = _by_sequence(ours.nodes, theirs.nodes)  # parts of the networks differ
    order = {id(n): i for i, n in enumerate(ours.nodes)}
    return sorted(pairs, key=lambda pair: order[id(pair[0])])


class _Structure:
    """The nodes of a graph that hold weights, and a color of each that tells what it is and what surrounds it."""

    def __init__(self, graph: Graph):
        self.nodes = [n for n in graph.nodes if _weights(n)]
        before = _reached(graph)
        behind: dict[int, list[Any]] = {id(n): [] for n in self.nodes}
        for node in self.nodes:
            for place in before[id(node)]:
                if isinstance(place, Node):
                    behind[id(place)].append(node)
        for index, places in enumerate(_origins(graph.outputs, graph)):
            for place in places:
                if isinstance(place, Node):
                    behind[id(place)].append(("output", index))
        self.colors: dict[int, Any] = {id(n): hash(_signature(n)) for n in self.nodes}
        for _ in range(len(set(self.colors.values())) + len(self.nodes)):
            colors = {
                id(n): hash((self.colors[id(n)], self.seen(before[id(n)]), self.seen(behind[id(n)]))) for n in self.nodes
            }
            done = len(set(colors.values())) == len(set(self.colors.values()))
            self.colors = colors
            if done:
                break

    def seen(self, places: Iterable[Any]) -> tuple[Any, ...]:
        return tuple(sorted(self.colors[id(p)] if isinstance(p, Node) else hash(p) for p in places))


def _reached(graph: Graph) -> dict[int, list[Any]]:
    """For each node with weights, what it is computed from: other such nodes, and inputs of the network."""
    return {id(n): _origins([v for v in n.inputs if v is not None], graph)[0:] and _flat(_origins(list(n.inputs), graph)) for n in graph.nodes if _weights(n)}


def _flat(lists: Iterable[Iterable[Any]]) -> list[Any]:
    return [item for items in lists for item in items]
