"""Reads the graphs inside ONNX nodes: branches and loop bodies, with what they take from the graphs around them.

A body becomes a graph of its own. A name that it does not define is looked up around it: a weight is held by the body as
well, a known size stays known, anything else becomes an input of the body behind its own, and an operand of its node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...bodies import Captures
from ...errors import Refused
from ...graph import Graph, Value, label, prune
from ...layout import settle
from ...passes import after_import
from ...passes.detours import straighten

if TYPE_CHECKING:
    from .read import Reader

DEEPEST = 8  # a loop is read again as often as its values grow, so deeper nesting could take for ever


class Scope(dict[str, "Value | None"]):
    """The values that a body knows by name; those of the graphs around it become its own when they are asked for."""

    def __init__(self, outer: Reader, graph: Graph):
        super().__init__({"": None})
        around = outer.env.captures if isinstance(outer.env, Scope) else None
        self.outer, self.same = outer, graph is outer.graph
        self.captures = around if self.same else Captures(graph, outer.graph, around)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.outer.env

    def __missing__(self, name: str) -> Value | None:
        value = self.outer.env[name]
        self[name] = value if self.same else self.captures.bring(value)
        return self[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default


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
