"""Finds the nodes of two graphs that do the same work: by structure, then by names, then by order.

Nodes that hold weights come first, because they are what networks of two authors surely have in common. Each gets a
color, made of its operator and the shapes of its weights, and refined by the colors of those before and behind it
(nodes without weights in between do not count). Every other node is then known by what it is computed from.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .graph import Graph, Node, Parameter, Value
from .ops.transpose import Transpose
from .sizes import Size, rename

Pairs = list[tuple[Node, Node]]
COMMUTATIVE = {"Add", "Mul", "Maximum", "Minimum"}


def align(first: Graph, second: Graph, weighted: Pairs | None = None, sizes: Sequence[Mapping[str, int]] = ({}, {})) -> Pairs:
    """Nodes of two graphs that do the same work, in the order of the first; what differs in a field (a slope) included.

    weighted : pairs of nodes with weights, where they are known
    sizes : for each graph, the open sizes that the other one fixes
    """
    if weighted is None:
        weighted = align_weights(first, second, numbers=True)
    ours, theirs = (_Origins(g, [pair[i] for pair in weighted], sizes[i]) for i, g in enumerate((first, second)))
    pairs = list(weighted)
    for mark, nodes in ours.nodes.items():
        pairs += zip(nodes, theirs.nodes.get(mark, ()), strict=False)
    mine, yours = ([n for n in _left(g.nodes, pairs) if not isinstance(n.op, Transpose)] for g in (first, second))
    shapes = {id(n): known(n.outputs[0], s) for nodes, s in zip((mine, yours), sizes, strict=True) for n in nodes}
    named = _by_sequence(mine, yours, lambda n: (n.name, type(n.op).__name__, shapes[id(n)]))
    rest = _by_sequence(_left(mine, named), _left(yours, named), lambda n: (type(n.op).__name__, shapes[id(n)]))
    return _in_order(first, [*pairs, *named, *rest])


def output_order(first: Graph, second: Graph) -> list[int]:
    """Where each output of one graph stands in the other: by its name where both use the same, otherwise in order.

    Frameworks disagree about the order of a dict: Keras goes by its sorted keys, PyTorch takes them as they come.
    """
    names, others = first.output_names, second.output_names
    if len(names) == len(first.outputs) and sorted(names) == sorted(others):
        return [others.index(name) for name in names]
    return list(range(len(second.outputs)))


def align_weights(first: Graph, second: Graph, *, numbers: bool) -> Pairs:
    """Nodes that hold weights and do the same work. numbers: equal weights tell apart what the structure does not."""
    ends = [second.outputs[i] for i in output_order(first, second)]
    ours, theirs = _Structure(first, first.outputs), _Structure(second, ends)
    while ours.refine() | theirs.refine():  # both as often, so that the colors mean the same
        pass
    pairs = _of_one_content(ours.nodes, theirs.nodes) if numbers else []
    for colors in reversed(list(zip(ours.rounds, theirs.rounds, strict=True))):  # where the networks differ somewhere,
        mine, yours = _by_color(ours.nodes, colors[0], pairs), _by_color(theirs.nodes, colors[1], pairs)
        for color, nodes in mine.items():  # only less refined colors agree
            if len(nodes) == len(yours.get(color, ())):
                pairs += _told_apart(nodes, yours[color], numbers)
    rest = _by_sequence(_left(ours.nodes, pairs), _left(theirs.nodes, pairs), signature)
    return _in_order(first, [*pairs, *rest])


def weights_of(node: Node) -> dict[int, Parameter]:
    """The weights that a node holds, by operand."""
    held = {i: v.const for i, v in enumerate(node.inputs) if v is not None and v.const is not None}
    return {i: parameter for i, parameter in held.items() if parameter.name}


def signature(node: Node) -> tuple[str, tuple[tuple[int, tuple[int, ...]], ...]]:
    """What two nodes with weights must have in common: the operator, the operand and shape of each weight.

    Axes of size 1 do not count: slopes of shape (C,) and (C, 1, 1) are the same ones.
    """
    held = weights_of(node).items()
    return type(node.op).__name__, tuple((i, tuple(d for d in parameter.shape if d != 1)) for i, parameter in held)


def known(value: Value, sizes: Mapping[str, int]) -> tuple[int | None, ...]:
    """A shape with the sizes that are known; None for the others."""
    return tuple(None if isinstance(d, Size) else d for d in rename(value.shape, sizes))


def _in_order(graph: Graph, pairs: Pairs) -> Pairs:
    order = {id(n): i for i, n in enumerate(graph.nodes)}
    return sorted(pairs, key=lambda pair: order[id(pair[0])])


class _Structure:
    """The nodes of a graph that hold weights, and a color of each: what it is and, refined, what surrounds it.

    Between two of them only it counts through which operands of Concat, Sub and the like the one reaches the other.
    """

    def __init__(self, graph: Graph, outputs: Iterable[Value]):
        self.nodes = [n for n in graph.nodes if weights_of(n)]
        self.rounds = [{id(n): hash(signature(n)) for n in self.nodes}]
        self.around: dict[int, tuple[list[Any], list[Any]]] = {id(n): ([], []) for n in self.nodes}  # before, behind
        reached: dict[int, list[tuple[Any, int]]] = {id(v): [(("input", i), 0)] for i, v in enumerate(graph.inputs)}
        for node in graph.nodes:
            operands = [reached[id(v)] for v in node.inputs if v is not None and id(v) in reached]
            if len(operands) > 1 and type(node.op).__name__ not in COMMUTATIVE:
                operands = [[(place, hash((i, way))) for place, way in places] for i, places in enumerate(operands)]
            places = list({(_key(p), way): (p, way) for found in operands for p, way in found}.values())
            if id(node) in self.around:
                self.around[id(node)][0].extend(places)
                self.behind(places, node)
                places = [(node, 0)]
            reached.update({id(v): places for v in node.outputs})
        for index, value in enumerate(outputs):
            self.behind(reached.get(id(value), []), ("output", index))

    def behind(self, places: Iterable[tuple[Any, int]], reader: Any) -> None:
        for place, way in places:
            if isinstance(place, Node):
                self.around[id(place)][1].append((reader, way))

    def refine(self) -> bool:
        """Let every color tell its neighbours' too; whether that told any nodes apart."""
        old = self.rounds[-1]

        def color(found: tuple[Any, int]) -> int:
            place, way = found
            return hash((old[id(place)] if isinstance(place, Node) else place, way))

        seen = {key: [tuple(sorted(map(color, side))) for side in sides] for key, sides in self.around.items()}
        self.rounds.append({key: hash((old[key], *seen[key])) for key in old})
        return len(set(self.rounds[-1].values())) > len(set(old.values()))


def _key(place: Any) -> Any:
    return id(place) if isinstance(place, Node) else place


def _by_color(nodes: Sequence[Node], colors: Mapping[int, int], pairs: Pairs) -> dict[int, list[Node]]:
    """The nodes that are not yet in a pair, in order, by color."""
    found: dict[int, list[Node]] = {}
    for node in _left(nodes, pairs):
        found.setdefault(colors[id(node)], []).append(node)
    return found


def _left(nodes: Sequence[Node], pairs: Pairs) -> list[Node]:
    taken = {id(n) for pair in pairs for n in pair}
    return [n for n in nodes if id(n) not in taken]


class _Origins:
    """The nodes of a graph without weights, by a mark of what they do and what they are computed from."""

    def __init__(self, graph: Graph, weighted: Sequence[Node], sizes: Mapping[str, int]):
        marks: dict[int, Any] = {id(v): hash(("input", i)) for i, v in enumerate(graph.inputs)}
        for index, node in enumerate(weighted):
            marks.update({id(v): hash(("weighted", index, v.index)) for v in node.outputs})
        self.nodes: dict[int, list[Node]] = {}
        for node in graph.nodes:
            if id(node.outputs[0]) in marks:
                continue
            before = [marks[id(v)] for v in node.inputs if v is not None and id(v) in marks]
            if isinstance(node.op, Transpose):  # the two graphs may differ in layout
                marks[id(node.outputs[0])] = before[0] if before else 0
                continue
            kind = type(node.op).__name__
            mark = hash((kind, known(node.outputs[0], sizes), *(sorted(before) if kind in COMMUTATIVE else before)))
            self.nodes.setdefault(mark, []).append(node)
            marks.update({id(v): hash((mark, v.index)) for v in node.outputs})


def _told_apart(ours: Sequence[Node], theirs: Sequence[Node], numbers: bool) -> Pairs:
    """Nodes that the structure cannot tell apart: those with equal weights first, those of one name, then in order."""
    pairs: Pairs = []
    rules: list[Callable[[Node, Node], bool]] = [lambda a, b: a.name == b.name, lambda a, b: True]
    for rule in [_equal_weights, *rules] if numbers and len(ours) > 1 else rules:
        pairs += _of_one_rule(_left(ours, pairs), _left(theirs, pairs), rule)
    return pairs


def _of_one_rule(ours: Sequence[Node], theirs: Sequence[Node], rule: Callable[[Node, Node], bool]) -> Pairs:
    """Each node with the first of the others that fits it and is in no pair yet."""
    pairs: Pairs = []
    for node in ours:
        other = next((n for n in _left(theirs, pairs) if rule(node, n)), None)
        if other is not None:
            pairs.append((node, other))
    return pairs


def _of_one_content(ours: Sequence[Node], theirs: Sequence[Node]) -> Pairs:
    """The nodes that hold the same numbers, which no other node of either graph holds.

    Structure may lead astray: one network holds in parts what is one matrix in the other, or moves axes elsewhere.
    """
    found: tuple[dict[Any, list[Node]], ...] = {}, {}
    for nodes, by_content in zip((ours, theirs), found, strict=True):
        for node in nodes:
            held = (p.array().tobytes() for p in weights_of(node).values())
            by_content.setdefault((signature(node), *held), []).append(node)
    alike = ((nodes, found[1].get(content, [])) for content, nodes in found[0].items())
    return [(nodes[0], others[0]) for nodes, others in alike if len(nodes) == len(others) == 1]


def _equal_weights(a: Node, b: Node) -> bool:
    ours, theirs = weights_of(a), weights_of(b)
    return all(np.array_equal(ours[i].array().reshape(-1), theirs[i].array().reshape(-1)) for i in ours)


def _by_sequence(ours: Sequence[Node], theirs: Sequence[Node], mark: Callable[[Node], Any]) -> Pairs:
    """As many nodes as have their like in the other list, in the order of both."""
    matcher = difflib.SequenceMatcher(a=[*map(mark, ours)], b=[*map(mark, theirs)], autojunk=False)
    return [(ours[i + k], theirs[j + k]) for i, j, size in matcher.get_matching_blocks() for k in range(size)]
