"""Reads the graphs inside ONNX nodes: branches and loop bodies, with what they take from the graphs around them.

A body becomes a graph of its own. A name that it does not define is looked up around it: a weight is held by the body as
well, a known size stays known, anything else becomes an input of the body behind its own, and an operand of its node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...bodies import named_sizes, told
from ...errors import Refused
from ...graph import Graph, Value, label, prune
from ...layout import settle
from ...passes import after_import
from ...passes.detours import straighten
from ...sizes import Shape

if TYPE_CHECKING:
    from .read import Reader

DEEPEST = 8  # a loop is read again as often as its values grow, so deeper nesting could take for ever

Kind = tuple[Shape, Any]


class Scope(dict[str, "Value | None"]):
    """The values that a body knows by name; those of the graphs around it become its own when they are asked for."""

    def __init__(self, outer: Reader, graph: Graph, *, same: bool):
        super().__init__({"": None})
        self.outer, self.graph, self.same = outer, graph, same
        self.captured: list[tuple[Value, Value]] = []  # outside, inside
        self.brought: dict[int, Value] = {}

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.outer.env

    def __missing__(self, name: str) -> Value | None:
        self[name] = self.bring(self.outer.env[name])
        return self[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default

    def bring(self, value: Value | None) -> Value | None:
        """A value of the graph around as the body has it."""
        if value is None or self.same:
            return value
        if id(value) not in self.brought:
            self.brought[id(value)] = self.made(value)
        return self.brought[id(value)]

    def made(self, value: Value) -> Value:
        if value.const is not None:
            return self.graph.parameter(value.const)
        if value.sizes is not None:
            return self.graph.of_sizes(value.sizes, value.dtype)
        inner = Value(self.graph, self.graph.unique(value.name or "captured"), value.shape, value.dtype)
        self.captured.append((value, inner))
        return inner


def telling(reader: Reader, name: str) -> Value:
    """A value that a graph can read and whose own sizes tell a symbol."""
    graph = reader.graph
    for value in (*graph.inputs, *(v for n in graph.nodes for v in n.outputs)):
        if name in told(value):
            return value
    scope = reader.env
    assert isinstance(scope, Scope), f"nothing tells the size {name!r}"
    found = scope.bring(telling(scope.outer, name))
    assert found is not None
    return found


def closed(scopes: Sequence[Scope], graphs: Sequence[Graph]) -> list[Value]:
    """Give several bodies of one node the same captured inputs; what those are around them.

    Raises Refused where a body needs a size that nothing around it tells.
    """
    for scope, graph in zip(scopes, graphs, strict=True):
        own = {name for value in graph.inputs for name in told(value)}
        own |= {name for node in graph.nodes for value in node.outputs for name in told(value)}
        for name in sorted(named_sizes(graph) - own):
            if all(name not in told(inner) for _, inner in scope.captured):
                scope.bring(telling(scope.outer, name))
    captured: dict[int, Value] = {id(outside): outside for scope in scopes for outside, _ in scope.captured}
    for scope, graph in zip(scopes, graphs, strict=True):
        inner = {id(outside): inside for outside, inside in scope.captured}
        for key, outside in captured.items():
            unread = Value(graph, graph.unique(outside.name or "captured"), outside.shape, outside.dtype)
            graph.inputs.append(inner.get(key, unread))
    return list(captured.values())


def finished(graph: Graph) -> Graph:
    """A body as every imported graph is left: pruned, named, its operators recognised."""
    prune(graph)
    label(graph)
    return after_import(settle(straighten(graph)))


def check_depth(reader: Reader) -> None:
    """Raises Refused for bodies in bodies in bodies."""
    depth, scope = 0, reader.env
    while isinstance(scope, Scope):
        depth, scope = depth + 1, scope.outer.env
    if depth >= DEEPEST:
        raise Refused(f"more than {DEEPEST} nested branches and loops", why="reading them could take for ever")
