"""A network's inputs and outputs under other names, or in another precision than the numbers inside."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import Usage
from .graph import Graph


def rename(graph: Graph, names: Mapping[str, str]) -> Graph:
    """The same graph with some of its inputs and outputs called otherwise, old name to new one.

    Raises Usage for a name that is no port's, and where two inputs or two outputs would share one.
    """
    ports = [value.name for value in graph.inputs]
    unknown = [name for name in names if name not in (*ports, *graph.output_names)]
    if unknown:
        listed = ", ".join((*ports, *graph.output_names))
        raise Usage(f"no input or output is called {unknown[0]!r}", hint=f"There are {listed}")
    inputs, outputs = ([names.get(name, name) for name in group] for group in (ports, graph.output_names))
    for group in (inputs, outputs):
        if len(set(group)) != len(group) or not all(group):
            raise Usage(
                f"the names {', '.join(map(repr, group))} do not tell the ports apart", hint="Give each its own"
            )
    for value, name in zip(graph.inputs, inputs, strict=True):
        value.name = name
    graph.output_names = outputs
    return graph
