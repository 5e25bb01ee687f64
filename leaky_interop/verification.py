"""Verification: runs source and target, compares value by value, and judges the first that differs.

Each canonical node is judged twice: fed the source's own inputs (its own error, held to its operator's class), and as
the target computes it (the accumulated error). Values that the source does not compute are judged as a block with the
next one that it does. Outputs are also compared end to end, in the settings that users run.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import frameworks
from .converting import Conversion
from .deferring import Deferred
from .draws import Draw, concrete, draws, recorded_draws, turned
from .errors import Usage
from .graph import Anchor, Graph, Node, Value, apply_steps, invert_steps
from .interpreter import bind
from .judging import Blocks, Bound, network_limits, outcome, rule_of
from .layout import ChannelsLast, transposes
from .numeric import compare, exact_limit
from .provenance import adapter, slopes, versions
from .report.record import Error, NodeResult, OutputResult, Report
from .running import described

if TYPE_CHECKING:
    from .op import Op

BUDGET = 256 * 2**20  # bytes of intermediate values that are held at once


@dataclasses.dataclass
class Pair:
    """One canonical value and where either side computes it."""

    node: Node
    value: Value
    received: Anchor  # in the target; the value's own anchor is in the source
    other: Node | None = None  # the target's node, where it was read and not written


@dataclasses.dataclass
class Comparison:
    """Two programs, the graph that both compute, and what is compared between them."""

    graph: Graph  # anchored in the source
    source: Any
    target: Any
    framework: str  # the target's
    source_text: str
    target_text: str
    pairs: list[Pair]
    to_target: list[tuple[int, ...] | None]  # how each input's layout changes on the way to the target
    to_graph: list[tuple[int, ...] | None]  # ... and on the way to `graph`
    from_source: list[tuple[int, ...] | None]  # how each source output's layout changes on the way to the target's
    fixed: Mapping[str, int] = dataclasses.field(default_factory=dict)  # open sizes of `graph` that the target fixes
    order: Sequence[int] | None = None  # where each source output stands among the target's, if not at the same place


@dataclasses.dataclass
class Evidence:
    """A result that is out of its limits, and the arrays that show it."""

    place: tuple[int, int]  # of the node in its graph, and of the value among its results
    result: NodeResult
    nodes: Sequence[Node]  # what was judged together, in order; the last one is the node
    value: Value
    array_of: Callable[[Value], Any]
    sizes: Mapping[str, int]
    expected: np.ndarray
    received: np.ndarray


def verify_conversion(
    conversion: Conversion,
    inputs: Any = None,
    *,
    nodes: bool = True,
    run: bool = True,
    atol: Any = None,
    rtol: Any = None,
    evidence: Callable[[Evidence], None] | None = None,
) -> Report:
    """Compare what was built with its source. run=False only describes it."""
    graph = conversion.graph
    engine = frameworks.get(conversion.framework)
    target = engine.Program(conversion.model)
    pairs = []
    taken = {conversion.handles.get(id(v)) for v in graph.inputs}
    for node in graph.nodes:
        for value in node.outputs:
            key = conversion.handles.get(id(value))
            if value.anchor is not None and key is not None and key not in taken and value.dtype.kind != "L":
                taken.add(key)  # where the target needs nothing for a node (dropout), its value is its input's
                pairs.append(Pair(node, value, Anchor(key)))
    none: list[Any] = [None] * max(len(graph.inputs), len(graph.outputs))
    perms = graph.input_perms or none
    comparison = Comparison(
        graph, graph.program, target, conversion.framework, graph.description, engine.describe(conversion.model), pairs,
        to_target=perms, to_graph=perms, from_source=graph.output_perms or none,
        order=conversion.order,
    )  # fmt: skip
    return Verification(comparison, inputs, nodes=nodes, run=run, atol=atol, rtol=rtol, evidence=evidence).report()


class Verification:
    """One comparison on several draws."""

    def __init__(
        self,
        comparison: Comparison,
        inputs: Any = None,
        *,
        nodes: bool = True,
        run: bool = True,
        atol: Any = None,
        rtol: Any = None,
        evidence: Callable[[Evidence], None] | None = None,
    ):
        self.c = comparison
        self.given = inputs is not None
        self.evidence = evidence  # called with every node that fails, while its arrays are at hand
        self.graph = comparison.graph
        self.atol, self.rtol = atol, rtol
        recorded = getattr(comparison.source, "recorded", None) if inputs is None else None
        if recorded is not None:
            self.draws = recorded_draws(self.graph, comparison.to_graph, recorded, comparison.fixed) if run else []
        else:
            self.draws = draws(self.graph, comparison.to_graph, inputs, comparison.fixed) if run else []
        self.by_node = nodes
        self.results: dict[tuple[int, int], NodeResult] = {}
        self.outputs: list[OutputResult] = []

    def report(self) -> Report:
        began = time.perf_counter()
        for draw in self.draws:
            self.one(draw)
        graph = self.graph
        order = {id(n): i for i, n in enumerate(graph.nodes)}
        return Report(
            source=self.c.source_text,
            target=self.c.target_text,
            nodes=tuple(self.results[k] for k in sorted(self.results)),
            outputs=tuple(self.outputs),
            draws=tuple(d.label for d in self.draws),
            slopes=tuple(slopes(graph)),
            transposes=tuple(f"{n.op} of {n.inputs[0]}, {_place(n, order, graph)}" for n in transposes(graph)),
            static=tuple(n for n in graph.notes if "static" in n),
            notes=tuple(n for n in graph.notes if "static" not in n),
            versions=versions(),
            seconds={"verification": round(time.perf_counter() - began, 3)},
        )

    def one(self, draw: Draw) -> None:
        c, graph = self.c, self.graph
        to_target = [turned(a, p) for a, p in zip(draw.arrays, c.to_target, strict=False)]
        to_graph = [turned(a, p) for a, p in zip(draw.arrays, c.to_graph, strict=False)]
        sizes = bind((v.shape for v in graph.inputs), to_graph)
        network = self.limits(to_graph, sizes)
        if self.by_node and draw.by_node:
            for chunk in _chunks(c.pairs, sizes):
                self.chunk(draw, chunk, to_target, to_graph, sizes, network)
        self.whole(draw, to_target, network)

    def limits(self, arrays: list[np.ndarray], sizes: dict[str, int]) -> dict[int, Bound]:
        """The bound of every value. Raises Usage where seeded numbers are none that the network could be given."""
        try:
            return network_limits(self.graph, arrays, sizes)
        except (ValueError, IndexError) as error:
            if self.given or not any(isinstance(n.op, Deferred) for n in self.graph.nodes):
                raise
            what = "seeded numbers do not fit a network whose inputs are shapes, axes or counts"
            raise Usage(what, why=str(error), hint="Pass inputs: the arrays to verify with") from error

    # nodes

    def chunk(
        self, draw: Draw, pairs: Sequence[Pair], to_target: Any, to_graph: Any, sizes: Any, network: Mapping[int, Bound]
    ) -> None:
        """Judge some nodes on one draw; keep the worst result of each over all draws."""
        c = self.c
        inside = {v.anchor.key for p in pairs for v in (p.value, *_sources(p.node)) if v is not None and v.anchor is not None}
        seen: dict[Any, np.ndarray] = {}
        c.source.run(draw.arrays, seen.__setitem__, keys=inside)
        blocks = Blocks(self.graph, to_graph, seen, sizes, {id(p.value) for p in c.pairs})
        expected = {}
        given = {}
        for pair in c.pairs:
            value = blocks.seen_value(pair.value)
            if value is not None:
                expected[pair.received.key] = value
                back = invert_steps(pair.received.steps)
                if back is not None:
                    given[pair.received.key] = apply_steps(value, back)
        keys = {p.received.key for p in pairs}
        own: dict[Any, np.ndarray] = {}
        c.target.run(to_target, own.__setitem__, keys=keys, given=given)
        accumulated: dict[Any, np.ndarray] = {}
        c.target.run(to_target, accumulated.__setitem__, keys=keys)
        order = {id(n): i for i, n in enumerate(self.graph.nodes)}
        for pair in pairs:
            key = pair.received.key
            if key not in expected or key not in own:
                continue
            result = self.judge(pair, blocks, expected[key], own[key], accumulated.get(key), network)
            place = (order[id(pair.node)], pair.value.index)
            if place not in self.results or _worse(result, self.results[place]):
                self.results[place] = result
                if self.evidence is not None and not result.passed:
                    block = sorted((*blocks.covered(pair.node), pair.node), key=lambda n: order[id(n)])
                    received = apply_steps(own[key], pair.received.steps, sizes)
                    self.evidence(Evidence(place, result, block, pair.value, blocks.array, sizes, expected[key], received))

    def judge(self, pair: Pair, blocks: Blocks, expected: Any, own: Any, accumulated: Any, network: Mapping[int, Bound]) -> NodeResult:
        node, value = pair.node, pair.value
        limits, covered = blocks.limits(node)
        received = apply_steps(own, pair.received.steps, blocks.sizes)
        found = compare_readings(node.op, blocks, node, expected, received) or compare(expected, received, limits[value.index])
        if not isinstance(found, str) and found.ratio > 1 and rule_of(node) == "sum":
            found = compare(expected, received, np.maximum(limits[value.index], blocks.one_sided(node)[value.index]))
        later = None
        if accumulated is not None and id(value) in network:
            allowed = network[id(value)].limit(expected)
            later = compare(expected, apply_steps(accumulated, pair.received.steps, blocks.sizes), allowed)
        problem = found if isinstance(found, str) else ""
        return NodeResult(
            name=node.name or value.name,
            op=str(node.op.op if isinstance(node.op, ChannelsLast) else node.op),
            source=node.source,
            adapter=pair.other.source if pair.other is not None else adapter(self.c.framework, node.op),
            shape=expected.shape,
            dtype=value.dtype.name,
            rule=rule_of(node),
            own=None if isinstance(found, str) else found,
            accumulated=None if isinstance(later, str) else later,
            passed=not problem and found.ratio <= 1,  # type: ignore[union-attr]
            problem=problem,
            covers=tuple(n.name for n in covered if n.name),
        )

    # outputs

    def whole(self, draw: Draw, to_target: list[np.ndarray], network: Mapping[int, Bound]) -> None:
        """Compare end to end, as users run the two models."""
        c = self.c
        expected = c.source.whole(draw.arrays)
        spread = self.spread(draw, expected)
        for runtime, outputs in c.target.settings(to_target):
            self.outputs += self.compare_outputs(draw, runtime, expected, outputs, network, spread)

    def spread(self, draw: Draw, expected: list[np.ndarray]) -> list[Any]:
        """How far the source itself lies apart in its settings, for each output, where it rounds to few numbers.

        onnxruntime makes integer kernels of a quantised network when it optimises: some codes become their neighbours.
        """
        if not any(node.op.grid == "made" for node in self.graph.nodes):
            return [0.0] * len(expected)
        runs = [outputs for _, outputs in self.c.source.settings(draw.arrays)]
        with np.errstate(invalid="ignore"):
            return [
                np.max([np.nan_to_num(np.abs(r[i].astype(float) - e.astype(float))) for r in runs], 0)
                if isinstance(e, np.ndarray) and e.dtype.kind != "O"
                else 0.0
                for i, e in enumerate(expected)
            ]

    def compare_outputs(
        self, draw: Draw, runtime: str, expected: list[np.ndarray], outputs: list[np.ndarray], network: Mapping[int, Bound],
        spread: list[Any],
    ) -> Iterator[OutputResult]:  # fmt: skip
        batch = next((a.shape[0] for a in draw.arrays if isinstance(a, np.ndarray) and a.ndim), None)
        if len(expected) != len(outputs):
            problem = f"{len(outputs)} outputs, but should be {len(expected)}"
            yield OutputResult(
                name="outputs", runtime=runtime, batch=batch, shape=(), dtype="", error=None, passed=False, problem=problem
            )
            return
        outputs = outputs if self.c.order is None else [outputs[i] for i in self.c.order]
        for i, (wanted, got) in enumerate(zip(expected, outputs, strict=True)):
            name, value = self.graph.output_names[i], self.graph.outputs[i]
            if isinstance(wanted, np.ndarray) and isinstance(got, np.ndarray):
                pairs = [(name, turned(wanted, self.c.from_source[i]), got)]
            else:
                pairs = members(name, wanted, got)
            apart = turned(spread[i], self.c.from_source[i]) if np.ndim(spread[i]) else spread[i]
            for label, one, other in pairs:
                found = other if isinstance(other, str) else compare(one, other, self.allowed(name, value, one, network) + apart)
                yield OutputResult(
                    name=label,
                    runtime=runtime,
                    batch=batch,
                    shape=getattr(one, "shape", ()),
                    dtype=one.dtype.name if isinstance(one, np.ndarray) else "",
                    **outcome(found),
                )

    def allowed(self, name: str, value: Value, wanted: np.ndarray, network: Mapping[int, Bound]) -> np.ndarray:
        atol, rtol = (t.get(name, t.get("")) if isinstance(t, Mapping) else t for t in (self.atol, self.rtol))
        if atol is not None or rtol is not None:
            return (atol or 0.0) + (rtol or 0.0) * np.abs(np.asarray(wanted, np.float64))
        if id(value) not in network:  # an input or a constant, passed on
            return exact_limit(wanted)
        return network[id(value)].limit(wanted)


def members(name: str, wanted: Any, got: Any) -> list[tuple[str, Any, Any]]:
    """The members of two sequences, pair by pair under names of their own; what is wrong, where they have no pairs."""
    if wanted is None and got is None:
        return []
    if not isinstance(wanted, list) or not isinstance(got, list):
        return [(name, wanted, f"{described(got)}, but should be {described(wanted)}")]
    if len(wanted) != len(got):
        return [(name, wanted, f"{len(got)} members, but should be {len(wanted)}")]
    return [(f"{name}[{i}]", a, b) for i, (a, b) in enumerate(zip(wanted, got, strict=True))]


def compare_readings(op: Op, blocks: Blocks, node: Node, expected: np.ndarray, received: np.ndarray) -> Error | None:
    """For operators with several legal readings in low precision: each side must be one of them, whole."""
    readings = op.readings(*(blocks.array(v) for v in node.inputs))
    if not readings:
        return None
    errors = [compare(r, received, exact_limit(r)) for r in readings.values()]
    fits = [e for e in errors if not isinstance(e, str) and e.ratio <= 1]
    expected_fits = any(
        not isinstance(e := compare(r, expected, exact_limit(r)), str) and e.ratio <= 1 for r in readings.values()
    )
    return fits[0] if fits and expected_fits else None


def _chunks(pairs: Sequence[Pair], sizes: Mapping[str, int]) -> Iterator[list[Pair]]:
    """Pairs in execution order, as many at a time as the budget holds."""
    chunk: list[Pair] = []
    used = 0
    for pair in pairs:
        shape = concrete(pair.value.shape, set(), 1, 1) if not sizes else tuple(_known(d, sizes) for d in pair.value.shape)
        size = 4 * int(np.prod(shape)) * pair.value.dtype.itemsize
        if chunk and used + size > BUDGET:
            yield chunk
            chunk, used = [], 0
        chunk.append(pair)
        used += size
    if chunk:
        yield chunk


def _known(dim: Any, sizes: Mapping[str, int]) -> int:
    from .sizes import evaluate

    return int(evaluate(dim, sizes))


def _sources(node: Node) -> list[Value]:
    """The anchored values that a node is computed from, through those that the source does not show."""
    found: list[Value] = []
    waiting = list(node.inputs)
    while waiting:
        value = waiting.pop()
        if value is None or value.const is not None or any(v is value for v in found):
            continue
        found.append(value)
        if value.anchor is None and value.node is not None:
            waiting += value.node.inputs
    return found


def _worse(a: NodeResult, b: NodeResult) -> bool:
    if a.passed != b.passed:
        return not a.passed
    return (a.own.ratio if a.own else 0.0, a.own.absolute if a.own else 0.0) > (
        b.own.ratio if b.own else 0.0, b.own.absolute if b.own else 0.0,
    )  # fmt: skip


def _place(node: Node, order: Mapping[int, int], graph: Graph) -> str:
    if any(v in graph.inputs for v in node.inputs):
        return "at an input"
    return "at an output" if any(v in graph.outputs for v in node.outputs) else "inside"
