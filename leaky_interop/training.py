"""Training parity: whether two networks have the same gradients, and the same weights after some steps of descent.

Both get the same seeded batch and the loss sum((y - t)^2 / 2n) with seeded targets t, through the cotangent (y - t) / n
of each output. What may differ is measured, not guessed: both networks are run again with every weight and input moved
by up to one unit roundoff, which is what a backward stable computation amounts to (Higham 2002, 1.5), and with another
scale of the loss, which scales the gradients and draws all that they were rounded by anew. The largest change that this
makes anywhere in a gradient of either network is allowed `NETWORK_FACTOR` times. Both are asked, because not every
computation is that stable: Keras on PyTorch takes the variance of a batch as mean(x**2) - mean(x)**2, and TensorFlow adds
up the gradient of a bias term by term.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from . import frameworks
from .alignment import Pairs, weights_of
from .converting import transfer_graph
from .draws import example_arrays, turned
from .errors import Usage
from .graph import Anchor, Graph, Node, Parameter, apply_steps, label
from .judging import outcome
from .numeric import compare, network_limit, unit_roundoff
from .parameter import invert
from .provenance import slopes
from .report.record import GradientResult
from .verification import Comparison

BATCH = 4  # more than one, for batch norm
TRIES = 3  # random perturbations
START = 1e-3  # of its size: how far two weights that are compared after some steps may begin apart; more is no rounding
PACE = 0.01  # how far the first step goes, relative to the weights

Arrays = list[np.ndarray]


@dataclasses.dataclass
class Side:
    """One of the two networks, asked in the source's layout."""

    graph: Graph
    program: Any
    parameters: list[Parameter]
    input_perms: Sequence[Any]  # from the source's layout to this network's
    output_perms: Sequence[Any]
    order: Sequence[int]  # where each of the source's outputs stands here

    def __post_init__(self) -> None:
        self.engine = frameworks.get(self.graph.framework)
        self.train = importlib.import_module(f"{self.engine.__name__}.train")

    def gradients(
        self, arrays: Arrays, targets: Arrays, *, training: bool, scale: float = 1.0
    ) -> tuple[list[Any], list[Any], list[Any]]:
        """With respect to inputs, and to parameters as the canonical graph sees them and as the network holds them.

        scale : of the loss, by which the gradients are divided again
        """

        def cotangents(outputs: Arrays) -> Arrays:
            found: Arrays = [np.zeros(())] * len(outputs)
            for place, perm, target in zip(self.order, self.output_perms, targets, strict=True):
                y = turned(outputs[place], None if perm is None else invert(perm))
                away = (y - target) / y.size * scale if y.dtype.kind in "fV" else np.zeros(y.shape)
                found[place] = turned(away.astype(y.dtype), perm)
            return found

        there = [turned(a, p) for a, p in zip(arrays, self.input_perms, strict=False)]
        found = self.train.gradients(self.program, self.parameters, there, cotangents, training=training)
        inputs, held = ([None if g is None else g / scale for g in kind] for kind in found)
        back = [
            g if g is None or p is None else turned(g, invert(p))
            for g, p in zip(inputs, self.input_perms, strict=False)
        ]
        seen = [None if g is None else apply_steps(g, p.steps) for g, p in zip(held, self.parameters, strict=True)]
        return back, seen, held

    def numbers(self) -> Arrays:
        """The parameters as the network holds them."""
        return [np.array(p.read()) for p in self.parameters]

    def assign(self, numbers: Sequence[np.ndarray]) -> None:
        """Give the parameters other numbers."""
        roots = (p.root for p in self.parameters)
        self.engine.assign(self.program.model, zip(roots, numbers, strict=True))

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Put the parameters' numbers back at the end."""
        numbers = self.numbers()
        try:
            yield
        finally:
            self.assign(numbers)


def compare_training(
    comparison: Comparison, second: Graph, aligned: Pairs, steps: int
) -> tuple[list[GradientResult], list[str]]:
    """Gradients at inference and in training mode, the weights after `steps` steps of descent, and notes on them.

    Raises Usage where one of the two has no gradients.
    """
    first = comparison.graph
    for graph in (first, second):
        if graph.framework not in ("keras", "torch"):
            raise Usage(
                f"gradients of {graph.framework} models", why="they have none", hint="Convert to keras or torch first"
            )
    pairs, results = _parameters([*aligned, *_named_alike(first, second, aligned)])
    pairs += _numbered_alike(first, second, pairs)
    none: list[Any] = [None] * max(len(first.inputs), len(first.outputs))
    order = comparison.order or range(len(first.outputs))
    ours = Side(
        first, first.program, [a for a, _ in pairs], none, none[: len(first.outputs)], range(len(first.outputs))
    )
    theirs = Side(second, second.program, [b for _, b in pairs], comparison.to_target, comparison.from_source, order)
    arrays = example_arrays(first, batch=BATCH, seed=3, sizes=comparison.fixed)
    with ours.kept(), theirs.kept():
        parity = _Parity(ours, theirs, arrays)
        results += parity.gradients(training=False)
        notes = []
        both = all(side.train.trains(side.program) for side in (ours, theirs))
        if not both:
            notes.append("training: an exported program has no training mode, so only gradients at inference are compared")
        for name, side in (("source", ours), ("target", theirs)):
            if both and parity.draws(side):
                both = False
                notes.append(f"training: the {name} draws random numbers in training mode, so only gradients at inference are compared")
        if both:
            results += parity.gradients(training=True)
        results += parity.descent(steps, training=both)
    alone = _alone(first, pairs, 0) + _alone(second, pairs, 1)
    if alone:
        notes.append(f"training: no gradient is compared of {', '.join(alone)}: the other network has no such weight")
    still = [name for side in (ours, theirs) for name in side.train.standing_still(side.program)]
    if still:
        notes.append(
            f"training: {', '.join(dict.fromkeys(still))}: in training mode the estimate of the spectral norm is renewed "
            "at every run in one network and a constant in the other; here it stands still in both"
        )
    return results, notes + _notes(first, second)


def _named_alike(first: Graph, second: Graph, aligned: Pairs) -> Pairs:
    """More nodes that do the same work: of one name and kind, inside branches and loops too, with equal numbers.

    A recurrent layer has two biases in one framework and one in the other; a branch is a graph of its own, or none.
    """
    taken = {id(n) for pair in aligned for n in pair}
    theirs: dict[Any, Node] = {}
    for node in second.all_nodes():
        if id(node) not in taken:
            theirs.setdefault((node.name, type(node.op)), node)
    found = []
    for node in first.all_nodes():
        other = theirs.get((node.name, type(node.op)))
        if other is not None and id(node) not in taken:
            mine, yours = weights_of(node), weights_of(other)
            if any(np.array_equal(mine[i].array().squeeze(), yours[i].array().squeeze()) for i in mine if i in yours):
                found.append((node, other))
    return found


def _numbered_alike(first: Graph, second: Graph, pairs: Sequence[tuple[Parameter, Parameter]]) -> list[tuple[Parameter, Parameter]]:
    """More pairs of trainable weights: those that hold the same numbers, and no others do; of packed weights, the parts."""
    ours, theirs = (_by_numbers(graph, {id(pair[i].root) for pair in pairs}) for i, graph in enumerate((first, second)))
    found = [(ours.pop(key), theirs.pop(key)) for key in [*ours] if key in theirs]
    found += [(part, b) for a in ours.values() for b in theirs.values() if (part := _part(a, b)) is not None]
    return found + [(a, part) for a in ours.values() for b in theirs.values() if (part := _part(b, a)) is not None]


def _by_numbers(graph: Graph, taken: set[int]) -> dict[Any, Parameter]:
    """The trainable weights that are not taken, as their operators see them, by shape and numbers that no two have."""
    found: dict[Any, dict[int, Parameter]] = {}
    for node in graph.all_nodes():
        for weight in weights_of(node).values():
            if weight.trainable and id(weight.root) not in taken and weight.array().size:
                array = weight.array()
                key = _plain(array.shape), array.dtype.name, array.tobytes()
                found.setdefault(key, {}).setdefault(id(weight.root), weight)
    return {key: weight for key, (weight, *others) in ((k, [*v.values()]) for k, v in found.items()) if not others}


def _part(packed: Parameter, part: Parameter) -> Parameter | None:
    """The rows of a weight that are another one, as queries, keys and values are of one matrix."""
    rows, wanted = packed.array(), part.array()
    if rows.ndim != wanted.ndim or rows.shape[1:] != wanted.shape[1:] or len(rows) <= len(wanted) or (wanted == wanted.flat[0]).all():
        return None
    for start in range(0, len(rows), len(wanted)):
        if np.array_equal(rows[start : start + len(wanted)], wanted):
            return packed.take(tuple(range(start, start + len(wanted))), 0)
    return None


def _alone(graph: Graph, pairs: Sequence[tuple[Parameter, Parameter]], side: int) -> list[str]:
    """The names of the trainable weights of one network that are in none of the pairs."""
    taken = {id(pair[side].root) for pair in pairs}
    return [p.name for p in graph.parameters() if p.trainable and id(p.root) not in taken]


def _parameters(aligned: Pairs) -> tuple[list[tuple[Parameter, Parameter]], list[GradientResult]]:
    """The trainable weights of both networks that do the same work, each once; and those that only one would train."""
    found: dict[Any, tuple[Parameter, Parameter]] = {}
    for mine, other in aligned:
        theirs = weights_of(other)
        for operand, weight in weights_of(mine).items():
            if operand in theirs and _plain(weight.shape) == _plain(theirs[operand].shape) and not _turned(weight, theirs[operand]):
                found.setdefault((id(weight.root), id(theirs[operand].root), weight.steps), (weight, theirs[operand]))
    both = [(a, b) for a, b in found.values() if a.trainable and b.trainable and a.dtype == b.dtype]
    lost = [
        GradientResult(
            name=a.name,
            what="trainable",
            shape=a.shape,
            dtype=a.dtype.name,
            error=None,
            passed=False,
            problem=f"it is trainable in the {'source' if a.trainable else 'target'} alone",
        )
        for a, b in found.values()
        if a.trainable != b.trainable
    ]
    return both, lost


def _turned(one: Parameter, other: Parameter) -> bool:
    """Whether two weights of one shape have the same numbers in another order: the gradients would have, too."""
    a, b = one.array().reshape(-1), other.array().reshape(-1)
    return not np.array_equal(a, b) and np.array_equal(np.sort(a), np.sort(b))


def _plain(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without axes of size 1: slopes of shape (C, 1, 1) and (1, C, 1, 1) are the same ones."""
    return tuple(d for d in shape if d != 1)


class _Parity:
    """One batch through both networks."""

    def __init__(self, ours: Side, theirs: Side, arrays: Arrays):
        self.ours, self.theirs, self.arrays = ours, theirs, arrays
        random = np.random.default_rng(4)
        outputs = ours.program.whole(arrays)
        self.targets = [random.standard_normal(o.shape).astype(o.dtype) if o.dtype.kind in "fV" else o for o in outputs]
        self.inputs = [v.name for v in ours.graph.inputs]
        self.weights = [p.name for p in ours.parameters]

    def gradients(self, *, training: bool) -> list[GradientResult]:
        """The gradients of both networks, side by side."""
        mode = "training" if training else "inference"
        expected, received = (
            side.gradients(self.arrays, self.targets, training=training)[:2] for side in (self.ours, self.theirs)
        )
        tries = [
            [side.gradients(arrays, self.targets, training=training, scale=scale)[:2] for arrays, scale in self.moved(side)]
            for side in (self.ours, self.theirs)
        ]
        largest = max((np.max(np.abs(g), initial=0.0) for kind in expected for g in kind if g is not None), default=0.0)
        results: list[GradientResult] = []
        for kind, names in enumerate((self.inputs, self.weights)):
            for i, name in enumerate(names):
                others = [[t[kind][i] for t in side] for side in tries]
                results += judged(name, f"gradient, {mode}", expected[kind][i], received[kind][i], others, largest)
        return results

    def draws(self, side: Side) -> bool:
        """Whether two runs in training mode have different gradients."""
        one, other = (side.gradients(self.arrays, self.targets, training=True) for _ in range(2))
        pairs = zip(one[0] + one[2], other[0] + other[2], strict=True)
        return any(a is not None and np.max(np.abs(a - b), initial=0) > START * np.max(np.abs(a), initial=0) for a, b in pairs)

    def descent(self, steps: int, *, training: bool) -> list[GradientResult]:
        """The weights of both networks after as many steps on the same batch."""
        if not steps or not self.weights:
            return []
        _, _, held = self.ours.gradients(self.arrays, self.targets, training=training)
        length, slope = (_norm(found) for found in (self.ours.numbers(), held))
        pace = PACE * length / slope if slope else 0.0
        sides = (self.ours, self.theirs)
        expected, received = (self.descended(side, self.arrays, 1.0, steps, pace, training) for side in sides)
        tries = [
            list(zip(*(self.descended(side, arrays, scale, steps, pace, training) for arrays, scale in self.moved(side)), strict=True))
            for side in sides
        ]
        mode = f"weight after {steps} steps"
        begun = [
            np.allclose(a.array().squeeze(), b.array().squeeze(), START, START, equal_nan=True)
            for a, b in zip(self.ours.parameters, self.theirs.parameters, strict=True)
        ]  # one bias of two that are added up, and their sum, learn alike and stay apart
        rows = zip(self.weights, expected, received, zip(*tries, strict=True), begun, strict=True)
        return [r for name, e, r_, t, alike in rows if alike for r in judged(name, mode, e, r_, t, np.max(np.abs(e), initial=0.0))]

    def descended(self, side: Side, arrays: Arrays, scale: float, steps: int, pace: float, training: bool) -> Arrays:
        """The canonical weights of a network after some steps; it is left as it was."""
        with side.kept():
            for _ in range(steps):
                _, _, held = side.gradients(arrays, self.targets, training=training, scale=scale)
                current = side.numbers()
                side.assign(
                    [w if g is None else (w - pace * g).astype(w.dtype) for w, g in zip(current, held, strict=True)]
                )
            return [apply_steps(w, p.steps) for w, p in zip(side.numbers(), side.parameters, strict=True)]

    def moved(self, side: Side) -> Iterator[tuple[Arrays, float]]:
        """Inputs off by up to a unit roundoff, and a scale of the loss; the parameters of the network are off meanwhile."""
        for seed in range(TRIES):
            random = np.random.default_rng(seed)
            with side.kept():
                arrays = [_off(a, random) for a in self.arrays]
                side.assign([_off(a, random) for a in side.numbers()])
                yield arrays, random.uniform(1, 2)


def judged(name: str, what: str, expected: Any, received: Any, others: Sequence[Sequence[Any]], scale: float) -> Iterator[GradientResult]:
    """One array of either network against what perturbations change; nothing where neither has one.

    others : what perturbations of the source made of its own, then those of the target
    scale : the largest number of the vector that the array is a part of. All gradients are one: a bias before a batch
        norm has none, and what is computed for it is the rounding of larger numbers that cancel.
    """
    if expected is None and received is None:
        return
    expected, received = (np.zeros_like(b) if a is None else a for a, b in ((expected, received), (received, expected)))
    pairs = [(o, own) for own, tries in zip((expected, received), others, strict=True) for o in tries if o is not None]
    distance = max((float(np.max(np.abs(o - own), initial=0.0)) for o, own in pairs), default=0.0)
    if _plain(received.shape) == _plain(expected.shape):
        received = received.reshape(expected.shape)
    limit = network_limit(0.0, distance, scale, expected.dtype)
    error = compare(expected, received, np.broadcast_to(limit, expected.shape))
    yield GradientResult(
        name=name,
        what=what,
        shape=expected.shape,
        dtype=expected.dtype.name,
        **outcome(error),
    )


def _off(array: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An array of floats, each moved by up to a unit roundoff of itself."""
    if array.dtype.kind not in "fV":
        return array
    return (array * (1 + unit_roundoff(array.dtype) * random.uniform(-2, 2, array.shape))).astype(array.dtype)


def _norm(arrays: Sequence[Any]) -> float:
    return float(np.sqrt(sum(np.sum(np.square(a, dtype=np.float64)) for a in arrays if a is not None)))


def _notes(first: Graph, second: Graph) -> list[str]:
    """What the frameworks are known to do differently in training, where it matters to these networks."""
    notes = []
    learning = any(type(n.op).__name__ == "BatchNorm" and not n.op.frozen for n in first.nodes)  # type: ignore[attr-defined]
    if learning and first.framework != second.framework:
        notes.append("training: PyTorch keeps the unbiased variance as a running statistic, Keras the biased one")
    values = {s.value for s in slopes(first) if isinstance(s.value, float)}
    for slope in sorted(values):
        found = [f"{g.framework} {at_zero(g.framework, slope):.6g}" for g in (first, second)]
        notes.append(
            f"training: the gradient of LeakyReLU({slope:g}) at exactly 0 is {', '.join(dict.fromkeys(found))}"
        )
    return notes


def at_zero(framework: str, slope: float) -> float:
    """The gradient that a framework computes for LeakyReLU at 0."""
    from .ops.activation import LeakyRelu

    graph = Graph()
    x = graph.input("x", (1,), np.float32)
    x.anchor = Anchor("x")
    graph.outputs, graph.output_names = list(graph.emit(LeakyRelu(negative_slope=slope), (x,))), ["y"]
    label(graph)
    built = frameworks.get(framework).Program(transfer_graph(graph, framework).model)
    train = importlib.import_module(f"{frameworks.get(framework).__name__}.train")
    (found,), _ = train.gradients(
        built, [], [np.zeros(1, np.float32)], lambda outputs: [np.ones_like(o) for o in outputs], training=False
    )
    return float(found[0])
