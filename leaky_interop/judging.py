"""How far apart two computations of one value may lie: the operators' classes, applied to the numbers at hand.

Limits come from `numeric`; here they are computed for a node from the source's own inputs, and carried through a
network by perturbing a float64 run with every node's limit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from .bodies import run_body
from .graph import Graph, Node, Value, apply_steps
from .interpreter import bind, interpret
from .kinds import element
from .numeric import ONE_SIDED, exact_limit, network_limit, rounding_limit, smallest, sum_limit, ulp, unit_roundoff
from .numeric import is_float as floating
from .op import Op
from .report.record import Error, Rule

Limits = list[np.ndarray]
TRIES = 4  # perturbed runs: one alone says too little of a value with few elements
FEW = 16  # elements


def class_limits(node: Node, sizes: Mapping[str, int], inputs: list[Any], results: list[np.ndarray]) -> Limits:
    """The largest difference that each result's class allows, elementwise, in absolute numbers."""
    op = node.op.bound(sizes)
    if op.bodies:
        return flow_limits(op, sizes, inputs, results)
    if node.roundings:  # what was spelled is a sum, whatever operator it became
        with np.errstate(all="ignore"):
            off = unit_roundoff(node.outputs[0].dtype) * np.abs(np.asarray(inputs[0], np.float64))
        return [node.roundings * (off + ulp(0.0, node.outputs[0].dtype))]
    exact = op.tolerance == "exact"
    flushed = [0.0] * len(results) if exact else _flushed(node, op, inputs, results)
    if op.tolerance == "sum":
        length, magnitudes = _terms(node, op, inputs, len(results))
        rows = zip(magnitudes, node.outputs, results, flushed, strict=True)
        return [sum_limit(length, m, v.dtype) + f if floating(v.dtype) else exact_limit(r) for m, v, r, f in rows]
    limits = []
    for value, result, off in zip(node.outputs, results, flushed, strict=True):
        if value.dtype.kind == "L":  # compared where its members are read, and at the end
            limits.append(np.zeros(()))
        elif exact or not floating(value.dtype):
            limits.append(exact_limit(result))
        else:
            limits.append(rounding_limit(np.asarray(result).astype(value.dtype)) + off)
    return limits


def _flushed(node: Node, op: Op, inputs: list[Any], results: list[np.ndarray]) -> list[Any]:
    """How far off results are where a runtime takes numbers below the normal ones for zero, operands and results.

    The processor does that in some threads of TensorFlow. 0 where there is no such number.
    """
    zeroed = [a if v is None else _zeroed(a, v) for v, a in zip(node.inputs, inputs, strict=True)]
    least = [0.0 if v.dtype == np.float16 or not is_float(r) else smallest(v.dtype) for v, r in zip(node.outputs, results, strict=True)]
    if all(z is a for z, a in zip(zeroed, inputs, strict=True)):
        return [np.where(np.abs(r) < low, low, 0.0) if low else 0.0 for r, low in zip(results, least, strict=True)]
    with np.errstate(all="ignore"):
        both = [op.reference(*_wide(given)) for given in (inputs, zeroed)]
    pairs = zip(*(r if isinstance(r, tuple) else (r,) for r in both), strict=True)
    return [np.abs(a - b) + low if low else 0.0 for (a, b), low in zip(pairs, least, strict=True)]


def _zeroed(array: Any, value: Value) -> Any:
    """An operand, zero where it lies below the normal numbers of its dtype; itself where it does nowhere."""
    if not is_float(array) or value.dtype == np.float16:  # which runtimes widen
        return array
    small = (np.abs(array) < smallest(value.dtype)) & (array != 0)
    return np.where(small, 0, array).astype(array.dtype) if small.any() else array


def flow_limits(op: Any, sizes: Mapping[str, int], inputs: list[Any], results: list[np.ndarray]) -> Limits:
    """What class-sized errors inside an operator's graphs, and float32, may make of its results."""
    wide = _wide(inputs)
    exact = op.flow(run_body, *wide)
    tries = [op.flow(_perturbing(np.random.default_rng(seed)), *wide) for seed in range(TRIES)]
    limits = []
    for index, (result, best) in enumerate(zip(results, exact, strict=True)):
        if not is_float(result):
            limits.append(exact_limit(result) if isinstance(result, np.ndarray) else np.zeros(()))
            continue
        carried = max(2 * _apart(t[index], best) for t in tries)
        limits.append(network_limit(carried, _apart(result, best), _largest(np.abs(best)), np.asarray(result).dtype))
    return limits


def is_float(array: Any) -> bool:
    """Whether something is an array of floats."""
    return isinstance(array, np.ndarray) and floating(array.dtype)


def _apart(one: Any, other: Any) -> float:
    """The largest difference; nothing where an error led another way, to a result of another size."""
    one, other = _numbers(one), _numbers(other)
    if one.shape != other.shape:
        return 0.0
    with np.errstate(all="ignore"):
        return _largest(np.abs(one - other))


def _numbers(value: Any) -> np.ndarray:
    """A value in float64; the members of a sequence in a row, nothing of an optional that is not there."""
    if isinstance(value, list):
        return np.concatenate([_numbers(v).reshape(-1) for v in value]) if value else np.zeros(0)
    array = np.asarray([] if value is None else value)
    return np.zeros(0) if array.dtype.kind in "OUS" else array.astype(np.float64)


def _wide(values: Any) -> list[Any]:
    """Floats in float64, those of sequences too."""
    return [_wide(v) if isinstance(v, list) else v.astype(np.float64) if is_float(v) else v for v in values]


def _perturbing(draw: np.random.Generator) -> Any:
    """Runs a body in float64, every result off by up to its class limit."""

    def call(body: Graph, arrays: Any) -> list[Any]:
        env = perturbed(body, list(arrays), bind((v.shape for v in body.inputs), arrays), draw)
        return [env(v) for v in body.outputs]

    return call


def _terms(node: Node, op: Op, inputs: list[Any], results: int) -> tuple[int, tuple[np.ndarray, ...]]:
    """How many terms the sums of an operator have, and for each of its results the sums of their magnitudes.

    A weight that a pass added up from others counts with those.
    """
    more = 0
    for i, value in enumerate(node.inputs):
        if value is not None and value.const is not None and value.const.summed is not None:
            count, magnitudes = value.const.terms
            inputs, more = [*inputs[:i], magnitudes.astype(inputs[i].dtype), *inputs[i + 1 :]], more + count
    with np.errstate(all="ignore"):
        length, magnitude = op.terms(*inputs)
    return length + more, magnitude if isinstance(magnitude, tuple) else (magnitude,) * results


def rule_of(node: Node) -> Rule:
    """The class of a node's operator; that of its roundings where fast math gave it the operator."""
    return "rounding" if node.roundings else node.op.tolerance  # type: ignore[return-value]


class Blocks:
    """The source's values, completed by references where the source computes no such value; and their limits.

    `seen` holds what was watched in the source, by its key. A node whose inputs were all seen is judged by its class;
    what lies between seen values is judged as one block, whose limit grows by what class-sized errors inside it carry.
    """

    def __init__(
        self,
        graph: Graph,
        arrays: list[np.ndarray],
        seen: Mapping[Any, np.ndarray],
        sizes: Mapping[str, int],
        shown: Collection[int],
    ):
        self.graph, self.seen, self.sizes = graph, seen, sizes
        self.shown = shown  # ids of the values that both sides compute, and can be fed
        self.narrow: dict[int, Any] = {id(v): a for v, a in zip(graph.inputs, arrays, strict=True)}
        self.wide: dict[int, Any] = {}

    def seen_value(self, value: Value) -> np.ndarray | None:
        """A value as the source computed it, in the canonical layout."""
        if id(value) not in self.shown or value.anchor is None or value.anchor.key not in self.seen:
            return None
        return apply_steps(self.seen[value.anchor.key], value.anchor.steps, self.sizes)

    def array(self, value: Value | None, wide: bool = False) -> Any:
        """A value's numbers; `wide` computes what the source does not show in float64."""
        if value is None:
            return None
        if value.const is not None:
            array = value.const.array()
            return array.astype(np.float64) if wide and floating(array.dtype) else array
        if value.sizes is not None:
            from .sizes import evaluate

            return np.asarray(evaluate(value.sizes.tolist(), self.sizes), dtype=value.dtype)
        known = self.narrow.get(id(value))
        if known is None:
            known = self.seen_value(value)
        if known is not None:
            return _wide([known])[0] if wide else known
        store = self.wide if wide else self.narrow
        if id(value) not in store:
            results = self.reference(value.node, wide)  # type: ignore[arg-type]
            store.update({id(v): r for v, r in zip(value.node.outputs, results, strict=True)})  # type: ignore[union-attr]
        return store[id(value)]

    def reference(self, node: Node, wide: bool = False) -> list[np.ndarray]:
        """A node's own reference on the source's values."""
        results = node.op.bound(self.sizes).reference(*(self.array(v, wide) for v in node.inputs))
        return list(results) if isinstance(results, tuple) else [results]

    def carried(self, node: Node, covered: list[Node]) -> list[float]:
        """How far class-sized errors of the covered nodes carry to this one, tried in float64."""
        exact = self.reference(node, wide=True)
        draw = np.random.default_rng(0)
        order = {id(n): i for i, n in enumerate(self.graph.nodes)}
        inside = sorted(covered, key=lambda n: order[id(n)])
        largest = [0.0] * len(exact)
        for _ in range(TRIES if any(np.size(result) < FEW for result in exact) else 1):
            moved = Blocks(self.graph, [self.narrow[id(v)] for v in self.graph.inputs], self.seen, self.sizes, self.shown)
            for other in inside:
                inputs = [moved.array(v, wide=True) for v in other.inputs]
                results = moved.reference(other, wide=True)
                for value, result, limit in zip(other.outputs, results, class_limits(other, self.sizes, inputs, results), strict=True):
                    noise = draw.uniform(-1, 1, np.shape(result)) * np.where(np.isfinite(limit), limit, 0)
                    moved.wide[id(value)] = result + noise if floating(value.dtype) else result
            results = moved.reference(node, wide=True)
            largest = [max(most, 2 * _apart(a, b)) for most, a, b in zip(largest, results, exact, strict=True)]
        return largest

    def covered(self, node: Node) -> list[Node]:
        """The nodes before this one whose values the source does not show."""
        found: list[Node] = []
        waiting = list(node.inputs)
        while waiting:
            value = waiting.pop()
            hidden = value is not None and value.const is None and value.node is not None and self.seen_value(value) is None
            if hidden and value.node not in found:  # type: ignore[union-attr]
                found.append(value.node)  # type: ignore[union-attr,arg-type]
                waiting += value.node.inputs  # type: ignore[union-attr]
        return found

    def one_sided(self, node: Node) -> Limits:
        """What sums of terms with one sign may be off by besides: their errors need not cancel (Higham 2002, 3.1)."""
        with np.errstate(all="ignore"):
            results = self.reference(node)
        length, magnitudes = _terms(node, node.op.bound(self.sizes), [self.array(v) for v in node.inputs], len(results))
        return [
            np.where(np.abs(np.asarray(r, np.float64)) > ONE_SIDED * m, length * unit_roundoff(v.dtype) * m, 0.0)
            if floating(v.dtype)
            else exact_limit(r)
            for r, m, v in zip(results, magnitudes, node.outputs, strict=True)
        ]

    def limits(self, node: Node) -> tuple[Limits, list[Node]]:
        """What a node's class allows on the source's values, and the nodes judged together with it."""
        covered = self.covered(node)
        with np.errstate(all="ignore"):
            results = self.reference(node)
            limits = class_limits(node, self.sizes, [self.array(v) for v in node.inputs], results)
            if any(n.op.tolerance != "exact" for n in covered):
                carried = self.carried(node, covered)
                limits = [limit + c for limit, c in zip(limits, carried, strict=True)]
        return limits, covered


@dataclasses.dataclass(frozen=True)
class Bound:
    """How far a value may lie from the exact one at the end of all that comes before it."""

    carried: float  # by class-sized errors of the nodes before it
    distance: float  # by float32, of the graph itself: what the source computes says nothing, for it may be misread
    scale: float  # the largest magnitude

    def limit(self, expected: np.ndarray) -> np.ndarray:
        """What another computation of the value may differ by: section "numbers" of the documentation."""
        if not floating(expected.dtype):
            return np.full(expected.shape, self.carried)
        with np.errstate(all="ignore"):
            return network_limit(self.carried, self.distance, self.scale, expected.dtype)


def outcome(found: Error | str) -> dict[str, Any]:
    """What a comparison found as the fields that every result has: the error, the sentence instead of one, and the verdict."""
    if isinstance(found, str):
        return {"error": None, "problem": found, "passed": False}
    return {"error": found, "problem": "", "passed": found.ratio <= 1}


def network_limits(graph: Graph, arrays: list[np.ndarray], sizes: dict[str, int]) -> dict[int, Bound]:
    """The bound of every value that a node computes, by the value's id. `sizes` receives those that only a run tells."""
    exact: dict[int, np.ndarray] = {}
    distance: dict[int, float] = {}

    def measure(value: Value, array: Any) -> Any:
        is_float = element(value.dtype).kind in "fV"
        distance[id(value)] = _apart(array, exact[id(value)]) if is_float else 0.0
        return None if is_float else exact[id(value)]  # what counts or chooses does so alike in all runs

    with np.errstate(all="ignore"):
        interpret(graph, arrays, watch=lambda v, array: exact.__setitem__(id(v), array), dtype=np.float64, sizes=sizes)
        interpret(graph, arrays, watch=measure)
        tries = [_perturbed(graph, arrays, sizes, exact, seed) for seed in range(TRIES)]
        return {
            key: Bound(max(t[key] for t in tries), distance[key], _largest(np.abs(_numbers(array))))
            for key, array in exact.items()
        }


def _perturbed(
    graph: Graph, arrays: list[np.ndarray], sizes: Mapping[str, int], exact: Mapping[int, np.ndarray], seed: int
) -> dict[int, float]:
    """Run in float64 again, every result off by up to its class limit; the largest difference from `exact` by value.

    Integers are followed where they come from rounding to few numbers; others (an index, say) have no small differences.
    """
    read = perturbed(graph, _wide(arrays), dict(sizes), np.random.default_rng(seed), exact)
    codes: set[int] = set()
    carried = {}
    for node in graph.nodes:
        followed = node.op.grid or any(v is not None and id(v) in codes for v in node.inputs)
        for value in node.outputs:
            if element(value.dtype).kind in "fV":
                carried[id(value)] = 2 * _apart(read(value), exact[id(value)])
            elif followed and element(value.dtype).kind in "iu":
                codes.add(id(value))
                carried[id(value)] = _apart(read(value), exact[id(value)])
            else:
                carried[id(value)] = 0.0
    return carried


def perturbed(
    graph: Graph, arrays: list[Any], sizes: dict[str, int], draw: np.random.Generator, exact: Mapping[int, Any] | None = None
) -> Callable[[Value | None], Any]:
    """Run in float64, every result off by up to its class limit; what reads a value of the run.

    exact: the run without that. Where numbers are rounded to few, all that may be off by enough to reach the next one
    are then tried on either side of where they are.
    """
    env = {id(v): a for v, a in zip(graph.inputs, arrays, strict=True)}

    def read(value: Value | None) -> Any:
        if value is None:
            return None
        if value.const is not None:
            array = value.const.array()
            return array.astype(np.float64) if floating(array.dtype) else array
        if value.sizes is not None:
            from .sizes import evaluate

            return np.asarray(evaluate(value.sizes.tolist(), sizes), dtype=value.dtype)
        return env[id(value)]

    for node in graph.nodes:
        inputs = [read(v) for v in node.inputs]
        op: Any = node.op.bound(sizes)
        if exact is not None and op.grid == "made" and id(node.inputs[0]) in exact and floating(node.inputs[0].dtype):  # type: ignore[union-attr]
            off = 2 * _apart(inputs[0], exact[id(node.inputs[0])])
            inputs[0] = inputs[0] + off * draw.choice((-1.0, 1.0), np.shape(inputs[0]))
        found = op.flow(_perturbing(draw), *inputs) if op.bodies else op.reference(*inputs)
        results = list(found) if isinstance(found, tuple) else [found]
        limits = [0.0] * len(results) if op.bodies else class_limits(node, sizes, inputs, results)
        for value, result, limit in zip(node.outputs, results, limits, strict=True):
            if floating(value.dtype) and not op.bodies:
                result = result + draw.uniform(-1, 1, np.shape(result)) * np.where(np.isfinite(limit), limit, 0.0)
            env[id(value)] = result
            bind([value.shape], [result], sizes)
    return read


def _largest(array: np.ndarray) -> float:
    finite = array[np.isfinite(array)] if array.size else array
    return float(finite.max()) if finite.size else 0.0
