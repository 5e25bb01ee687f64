"""Reads calls of torch that run graphs of their own: torch.cond, while_loop, scan, map.

All that such a graph takes from outside is an argument of the call, weights and sizes included.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ...bodies import Captures, close, ended
from ...errors import Refused
from ...graph import Graph, Value, label, prune
from ...passes import after_import
from ...sizes import Shape, symbol
from ..base import Call
from .arrays import numpy_dtype
from .symbolic import comparison, is_new

if TYPE_CHECKING:
    from .read import Reader

Kind = tuple[Shape, Any]


class ControlCall(Call):
    """A call as importers see it: the graphs among its arguments are torch.fx modules, which `run` and `body` read."""

    def __init__(self, reader: Reader, node: torch.fx.Node):
        super().__init__(node.target, reader.graph)
        self.reader, self.node, self.label = reader, node, reader.label(node)
        self.captures: list[Captures] = []

    def refused(self, what: str, *, why: str, hint: str = "") -> Refused:
        """The error to raise where the call means what no operator here does."""
        return Refused(what, self.graph.source, why, hint)

    def operands(self) -> list[Any]:
        """The call's arguments: Values, sizes, graphs, lists of such; a comparison of sizes as its name and two sizes."""

        def read(argument: Any) -> Any:
            if isinstance(argument, list | tuple):
                return [read(a) for a in argument]
            if isinstance(argument, torch.fx.Node):
                if argument.op == "get_attr":
                    return getattr(argument.graph.owning_module, argument.target)  # type: ignore[arg-type]
                if isinstance(fake := argument.meta.get("val"), torch.SymBool) and argument not in self.reader.env:
                    return comparison(fake.node.expr, self.reader.symbols)
            return self.reader.argument(argument)

        return [read(a) for a in self.node.args]

    def kinds(self, module: Any, values: Sequence[Any]) -> list[Kind]:
        """Shape and dtype of what goes round, as a graph's first places state them: a size that differs has a new name."""
        found = []
        places = [n for n in module.graph.nodes if n.op == "placeholder"][: len(values)]
        for index, (place, value) in enumerate(zip(places, values, strict=True)):
            if not isinstance(value, Value):
                raise self.refused("a number of Python that goes round", why="only tensors do", hint="Make it a tensor")
            fake, dims = place.meta["val"], []
            for axis, dim in enumerate(fake.shape):
                if is_new(dim, self.reader.symbols) and dim.node.expr.is_Symbol:
                    self.reader.symbols[str(dim.node.expr)] = symbol(f"{self.label}_{index}_{axis}")
                dims.append(self.reader.size(dim))
            found.append((tuple(dims), numpy_dtype(fake.dtype)))
        return found

    def run(self, module: Any, operands: Sequence[Any]) -> list[Value]:
        """What a graph makes of these, read into the one at hand; captured values are brought there."""
        graph, captures = self.reader.graph, self.reader.captures
        here = [
            captures.bring(o) if captures and isinstance(o, Value) and o.graph is not graph else o for o in operands
        ]
        source, left_out = graph.source, graph.left_out
        results = self.reader.inner(module, here)
        graph.source, graph.left_out = source, left_out
        return results

    def body(self, kinds: Sequence[Kind], apply: Callable[..., Sequence[Value]]) -> Graph:
        """A graph that an operator runs: what `apply` makes of inputs of these shapes and dtypes."""
        graph = Graph()
        inputs = [graph.input(f"input_{i}", shape, dtype) for i, (shape, dtype) in enumerate(kinds)]
        captures = Captures(graph, self.reader.graph, self.reader.captures)
        with _reading(self.reader, captures, f"{self.label}."):
            ended(graph, apply(*inputs))
        self.captures.append(captures)
        return graph

    def closed(self, *graphs: Graph) -> tuple[list[Graph], list[Value]]:
        """Several bodies, finished, and the values that they take behind their own inputs."""
        captured = close([next(c for c in self.captures if c.graph is graph) for graph in graphs])
        for graph in graphs:
            prune(graph)
            label(graph)
        return [after_import(graph) for graph in graphs], captured


@contextlib.contextmanager
def _reading(reader: Reader, captures: Captures, path: str) -> Iterator[None]:
    """Let the reader's calls go into a body."""
    outer, around, graph = reader.graph, (reader.captures, reader.path), captures.graph
    graph.framework, graph.source = outer.framework, outer.source
    try:
        reader.graph = reader.importing.graph = graph
        reader.captures, reader.path = captures, path
        yield
    finally:
        reader.graph = reader.importing.graph = outer
        reader.captures, reader.path = around
        outer.notes += [note for note in graph.notes if note not in outer.notes]
