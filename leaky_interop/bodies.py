"""Graphs inside operators: the branches of an If, the body of a Loop.

A body is a whole graph of its own. What it reads from outside are inputs of it, which stand last; weights it holds
itself, as any graph does. Every symbolic size in it is a dimension of one of its inputs, or computed in it, so that it
runs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import Refused
from .graph import Graph, Node, Value
from .interpreter import interpret
from .sizes import Dim, agree, name_of, symbols

if TYPE_CHECKING:
    from .op import Op


def alike(one: Graph, other: Graph) -> bool:
    """Whether two graphs apply matching operators to the same values, in the same order."""
    if (len(one.inputs), len(one.nodes), len(one.outputs)) != (len(other.inputs), len(other.nodes), len(other.outputs)):
        return False
    pairs = {id(a): b for a, b in zip(one.inputs, other.inputs, strict=True)}

    def same(a: Value | None, b: Value | None) -> bool:
        if a is None or b is None:
            return a is b
        if (a.dtype, a.rank) != (b.dtype, b.rank):
            return False
        if a.const is not None and b.const is not None:
            return a.const.name == b.const.name and _equal(a.array(), b.array())
        if a.sizes is not None and b.sizes is not None:
            return bool(agree(a.sizes.tolist(), b.sizes.tolist()))
        return pairs.get(id(a)) is b

    for a, b in zip(one.nodes, other.nodes, strict=True):
        if len(a.inputs) != len(b.inputs) or not a.op.matches(b.op) or not all(map(same, a.inputs, b.inputs)):
            return False
        pairs.update({id(v): w for v, w in zip(a.outputs, b.outputs, strict=True)})
    return all(map(same, one.outputs, other.outputs))


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and (a.tobytes() == b.tobytes() if a.dtype != object else bool((a == b).all()))


def named_sizes(body: Graph) -> set[str]:
    """The symbols that a body's values and operators mention."""
    found: set[str] = set()
    for node in body.nodes:
        found |= symbols(tuple(vars(node.op).values()))
        for value in (*node.inputs, *node.outputs):
            found |= mentioned(value)
    return found.union(*map(mentioned, (*body.inputs, *body.outputs)))


def mentioned(value: Value | None) -> set[str]:
    """The symbols in a value's shape and content."""
    if value is None:
        return set()
    return symbols(value.shape) | (set() if value.sizes is None else symbols(tuple(value.sizes.reshape(-1))))


def told(value: Value) -> set[str]:
    """The symbols that a value tells by its own sizes: those that stand alone as a dimension of it."""
    return {name for d in value.shape if (name := name_of(d))}


def tells_sizes(body: Graph) -> bool:
    """Whether a body computes sizes that only its run tells, each time anew under the same names."""
    known = {name for value in body.inputs for name in told(value)}
    own = (name for node in body.nodes for value in node.outputs for name in told(value))
    return any(name not in known for name in own) or any(tells_sizes(b) for n in body.nodes for b in n.op.bodies)


class Captures:
    """What a graph that is read inside another takes from that one: `taken` holds the values outside and inside.

    A weight is held by the body as well, a known size stays known, anything else becomes an input. outer: what the graph
    around takes itself, where it is a body too.
    """

    def __init__(self, graph: Graph, around: Graph, outer: Captures | None = None):
        self.graph, self.around, self.outer = graph, around, outer
        self.taken: list[tuple[Value, Value]] = []
        self.brought: dict[int, Value] = {}

    def bring(self, value: Value | None) -> Value | None:
        """A value of the graph around as the body has it."""
        if value is None:
            return None
        if id(value) not in self.brought:
            self.brought[id(value)] = self._made(value)
        return self.brought[id(value)]

    def _made(self, value: Value) -> Value:
        if value.const is not None:
            return self.graph.parameter(value.const)
        if value.sizes is not None:
            return self.graph.of_sizes(value.sizes, value.dtype)
        inner = self._input(value)
        self.taken.append((value, inner))
        return inner

    def _input(self, value: Value) -> Value:
        return Value(self.graph, self.graph.unique(value.name or "captured"), value.shape, value.dtype)

    def telling(self, name: str) -> Value:
        """A value of the graph around whose own sizes tell a symbol."""
        for value in (*self.around.inputs, *(v for n in self.around.nodes for v in n.outputs)):
            if name in told(value):
                return value
        if self.outer is None:
            why = "nothing around it tells that"
            raise Refused(f"a branch or loop that needs the size {name!r}", why=why, hint="Fix it with input_shapes")
        found = self.outer.bring(self.outer.telling(name))
        assert found is not None
        return found


def close(captures: Sequence[Captures]) -> list[Value]:
    """Give several bodies of one node the same captured inputs; what those are in the graph around.

    A size that a body needs and that its inputs do not tell comes with a value that does. Raises Refused where none does.
    """
    for one in captures:
        own = {name for value in one.graph.inputs for name in told(value)}
        own |= {name for node in one.graph.nodes for value in node.outputs for name in told(value)}
        for name in sorted(named_sizes(one.graph) - own):
            if all(name not in told(inner) for _, inner in one.taken):
                one.bring(one.telling(name))
    captured: dict[int, Value] = {id(outside): outside for one in captures for outside, _ in one.taken}
    for one in captures:
        inner = {id(outside): inside for outside, inside in one.taken}
        one.graph.inputs += [inner.get(key) or one._input(outside) for key, outside in captured.items()]
    return list(captured.values())


def sizes_outside(inner: Iterable[Value], outer: Iterable[Value | None]) -> dict[str, Dim]:
    """What the symbols that a body's inputs tell are in the graph around it."""
    found: dict[str, Dim] = {}
    for value, operand in zip(inner, outer, strict=True):
        for dim, size in zip(value.shape, () if operand is None else operand.shape, strict=operand is not None):
            if name := name_of(dim):
                found.setdefault(name, size)
    return found


def ended(body: Graph, results: Iterable[Value]) -> Graph:
    """The body, giving these under plain names."""
    body.outputs = list(results)
    body.output_names = [f"output_{i}" for i in range(len(body.outputs))]
    body.structure = tuple(range(len(body.outputs)))
    return body


def run_body(body: Graph, arrays: Sequence[Any]) -> list[Any]:
    """A body's results by the references, in float64 throughout where the arrays are wider than it says."""
    wide = any(
        isinstance(a, np.ndarray) and a.dtype == np.float64 and v.dtype.kind in "fV" and v.dtype != np.float64
        for v, a in zip(body.inputs, arrays, strict=True)
    )
    return interpret(body, arrays, dtype=np.float64 if wide else None)


def inline(
    graph: Graph, body: Graph, operands: Sequence[Value | None], emit: Callable[[Node, Op, list[Any]], Sequence[Value]]
) -> list[Value]:
    """What a body computes, as nodes of the graph around it: `emit` applies an operator there on behalf of a node.

    Raises KeyError for a size that only the body tells.
    """
    made: dict[int, Value | None] = {id(v): o for v, o in zip(body.inputs, operands, strict=True)}
    sizes: dict[str, Any] = dict(sizes_outside(body.inputs, operands))

    def get(value: Value | None) -> Value | None:
        if value is None or id(value) in made:
            return None if value is None else made[id(value)]
        if value.const is not None:
            return graph.parameter(value.const)
        assert value.sizes is not None
        return graph.of_sizes(_renamed(value.sizes, sizes), value.dtype)

    for node in body.nodes:
        for old, new in zip(node.outputs, emit(node, node.op.bound(sizes), [get(v) for v in node.inputs]), strict=True):
            made[id(old)] = new
            for dim, size in zip(old.shape, new.shape, strict=True):
                if name := name_of(dim):
                    sizes.setdefault(name, size)
    return [get(v) for v in body.outputs]  # type: ignore[misc]


def _renamed(content: np.ndarray, sizes: Mapping[str, Any]) -> np.ndarray:
    from .sizes import evaluate

    flat = [evaluate(s, sizes) for s in content.reshape(-1)]
    found = np.empty(len(flat), object)
    found[:] = flat
    return found.reshape(content.shape)
