"""Reads what Keras runs many times, a cell or a function, into graphs of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ...bodies import Captures, close, ended
from ...errors import Refused
from ...graph import Graph, Value, label, prune
from ...layout import settle
from ...ops.expand import expanded
from ...passes import after_import
from ...sizes import Dim, Shape, name_of, symbol
from .trace import Trace

if TYPE_CHECKING:
    from .read import Reader

Kind = tuple[Shape, Any]


def read_body(reader: Reader, name: str, kinds: Sequence[Kind], apply: Callable[..., Sequence[Value]]) -> Graph:
    """A graph of what `apply` makes of inputs of these shapes and dtypes, read by the reader's importers.

    A size that is computed from others (twice the batch) has a name of its own inside.
    """
    graph = Graph()
    names: dict[str, Dim] = {}

    def inside(size: Dim) -> Dim:
        if isinstance(size, int) or name_of(size):
            return size
        return names.setdefault(str(size), symbol(f"{name}_size_{len(names)}"))

    inputs = [graph.input(f"input_{i}", tuple(map(inside, shape)), dtype) for i, (shape, dtype) in enumerate(kinds)]
    with _reading(reader, graph, None):
        ended(graph, apply(*inputs))
    return _finished(graph)


def read_traced(
    reader: Reader,
    name: str,
    bodies: Sequence[Any],
    owns: Sequence[Sequence[Kind]],
    captured: Sequence[Value],
    apply: Callable[..., Sequence[Value]],
) -> tuple[list[Graph], list[Value]]:
    """Graphs of traced functions, and what all of them take from the graph around; see `LayerCall.traced`."""
    graphs: list[Graph] = []
    taken: list[Captures] = []
    for body, own in zip(bodies, owns, strict=True):
        trace = body if isinstance(body, Trace) else Trace(body)
        graph = Graph()
        captures = Captures(graph, reader.graph, reader.captures)
        inputs = [graph.input(f"input_{i}", shape, dtype) for i, (shape, dtype) in enumerate(own)]
        with _reading(reader, graph, captures):
            ended(graph, apply(_run(reader, name, trace, captured, captures), *inputs))
        graphs.append(graph)
        taken.append(captures)
    operands = close(taken)
    return [_finished(graph) for graph in graphs], operands


def _run(
    reader: Reader, name: str, trace: Trace, captured: Sequence[Value], captures: Captures
) -> Callable[..., list[Value]]:
    """What reads a traced function on values of the graph at hand."""
    body = trace.function
    pairs = zip(body.captured, captured, strict=True)
    path = (outside,) if (outside := name.rpartition(".")[0]) else ()  # layers are called what they are called around it
    around = [captures.bring(value) if id(tensor) in body.reads else None for tensor, value in pairs]

    def run(*own: Value) -> list[Value]:
        computed = iter(reader.walk(trace, [*own, *around], path))
        found = []
        for index, result in enumerate(body.results):
            if isinstance(result, keras.KerasTensor):
                found.append(next(computed))
                continue
            if trace.twin is not None:
                result = trace.unify(result, trace.twin.results[index])
            operand = reader.operand(result)
            found.append(operand if isinstance(operand, Value) else reader.graph.constant(operand))
        return found

    return run


def _finished(graph: Graph) -> Graph:
    prune(graph)
    label(graph)
    return after_import(settle(graph))


@contextlib.contextmanager
def _reading(reader: Reader, graph: Graph, captures: Captures | None) -> Iterator[None]:
    """Let the reader's calls go into another graph, which takes from the one around what `captures` says; no mask comes along."""
    outer, masked, around = reader.graph, (reader.masked, reader.mask_lost), reader.captures
    graph.framework, graph.source = outer.framework, outer.source
    try:
        reader.graph = reader.importing.graph = graph
        reader.masked = reader.mask_lost = False
        reader.captures = captures
        yield
    finally:
        reader.graph = reader.importing.graph = outer
        reader.masked, reader.mask_lost = masked
        reader.captures = around
        outer.notes += [note for note in graph.notes if note not in outer.notes]


def read_states(
    reader: Reader, layer: Any, batch: Dim, given: Sequence[Value]
) -> tuple[list[Value], Callable[[Sequence[Any]], Any]]:
    """The flat states before a recurrent layer's first step, and what nests such states as its cell does.

    given: the states, where they are; otherwise each is what the cell begins with, the same for all entries of a batch.
    """
    nested = tuple(layer.get_initial_state(batch_size=1))
    flat = [np.asarray(keras.ops.convert_to_numpy(t)) for t in keras.tree.flatten(nested)]
    dtype = layer.cell.compute_dtype
    if not given:
        twice = [np.asarray(keras.ops.convert_to_numpy(t)) for t in keras.tree.flatten(layer.get_initial_state(batch_size=2))]
        if not all(np.array_equal(np.concatenate([one, one]), two) for one, two in zip(flat, twice, strict=True)):
            raise Refused("a cell whose initial state differs within a batch", hint="Pass it as initial_state")
        given = [expanded(reader.graph.constant(row), (batch, *row.shape[1:])) for row in flat]
    if len(given) != len(flat):
        raise Refused(f"{len(given)} initial states of a layer that has {len(flat)}")
    return [v.cast(dtype) for v in given], lambda values: keras.tree.pack_sequence_as(nested, list(values))
