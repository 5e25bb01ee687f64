"""Puts the weights of one network into another that the user already has, of the same framework or of another.

Both are read as graphs, whose nodes with weights are aligned by structure (`alignment`). A weight is a view of an array
that its framework holds; its numbers are put in place through that view, so that kernels arrive in the target's own
layout. Nothing is written until everything is known to fit.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from . import frameworks
from .alignment import align, align_weights, weights_of
from .comparing import compare_graphs, load_second
from .errors import Refused, Usage
from .graph import Graph, Node, Parameter, apply_steps
from .loading import load, open_model
from .report.record import Report
from .verification import Verification


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
    src: Any,
    dst: Any,
    example: Any = None,
    input_shapes: Any = None,
    *,
    weights: Any = None,
    strict: bool = True,
    allow_root: str | os.PathLike[str] | None = None,
    trust: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
) -> Transfer:
    """Copy the weights of `src` into `dst`, in place, and verify that both then compute the same.

    Parameters
    ----------
    src : a Keras, PyTorch or ONNX model, a path, or "package.module:factory"
    dst : a living model, which receives the weights
    example, input_shapes : as for `load`, where a model needs them; in the source's layout
    weights : weights file for a factory
    allow_root, trust, custom_objects : as for `load`, where files are opened
    strict : refuse, before anything is written, unless every layer with weights of either network finds its counterpart

    Raises Refused where the structures differ, Usage where `dst` is no living model.
    """
    if frameworks.of(dst) is None:
        hint = "Load it first; a file is written by convert"
        raise Usage("the target of a transfer is no model", why="weights are copied into a living one", hint=hint)
    first = load(open_model(src, weights, allow_root=allow_root, trust=trust, custom_objects=custom_objects), example, input_shapes)
    second = load_second(first, dst, example, input_shapes)
    pairs = align_weights(first, second, numbers=False)
    unused, missing = _left(first, (a for a, _ in pairs)), _left(second, (b for _, b in pairs))
    if strict and (unused or missing):
        sides = (("without a place:", unused), ("without weights:", missing))
        parts = [f"{what} {', '.join(layers)}" for what, layers in sides if layers]
        hint = "Pass strict=False to transfer what does fit"
        raise Refused("the two networks differ in structure", why="; ".join(parts), hint=hint)
    filled = _Filled()
    matched = [filled.copy(a, b) for a, b in pairs]
    try:
        comparison, problem = compare_graphs(first, second, align(first, second, pairs)), ""
    except Usage as error:
        if strict:
            raise
        comparison, problem = None, str(error)
    filled.assign(dst)
    report = None if comparison is None else Verification(comparison).report()
    return Transfer(
        matched=tuple(matched), unused=tuple(unused), missing=tuple(missing), report=report, problem=problem
    )


def _left(graph: Graph, taken: Iterable[Node]) -> list[str]:
    """Where the nodes with weights stand that were not aligned."""
    found = {id(n) for n in taken}
    return [n.source or n.name for n in graph.nodes if weights_of(n) and id(n) not in found]


class _Filled:
    """New numbers for the target's own arrays, gathered first and assigned at once."""

    def __init__(self) -> None:
        self.roots: dict[int, Any] = {}
        self.numbers: dict[int, np.ndarray] = {}
        self.written: dict[int, np.ndarray] = {}

    def copy(self, ours: Node, theirs: Node) -> Match:
        """Take over the weights of one node."""
        names = []
        for operand, given in weights_of(ours).items():
            wanted = weights_of(theirs)[operand]
            if given.dtype != wanted.dtype:
                why = f"{given.name} is {given.dtype}, {wanted.name} is {wanted.dtype}"
                raise Refused("the numbers would be rounded", theirs.source, why, "Give both networks one dtype")
            self.put(wanted, given.array(), theirs)
            names.append((given.name, wanted.name))
        return Match(source=ours.source, target=theirs.source, weights=tuple(names))

    def put(self, wanted: Parameter, numbers: np.ndarray, node: Node) -> None:
        """Place numbers in the array that a weight is a view of."""
        key = id(wanted.root)
        if key not in self.numbers:
            native = np.array(wanted.read())
            self.roots[key], self.numbers[key], self.written[key] = wanted.root, native, np.zeros(native.size, bool)
        native, written = self.numbers[key], self.written[key]
        moves = [step for step in wanted.steps if step[0] != "cast"]
        places = apply_steps(np.arange(native.size).reshape(native.shape), moves).reshape(-1)
        flat, new = native.reshape(-1), numbers.reshape(-1).astype(native.dtype)
        if np.any(written[places] & (flat[places] != new)):
            why = "the target uses one weight in several places, where the source has different ones"
            raise Refused(f"{wanted.name} cannot hold two weights", node.source, why)
        flat[places], written[places] = new, True

    def assign(self, model: Any) -> None:
        """Write everything into the model."""
        engine = frameworks.get(frameworks.of(model) or "")
        engine.assign(model, [(self.roots[key], numbers) for key, numbers in self.numbers.items()])
