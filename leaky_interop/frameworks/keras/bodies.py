"""Reads what Keras runs many times, a cell or a function, into graphs of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ...errors import Refused
from ...graph import Graph, Value, label, prune
from ...layout import settle
from ...ops.expand import expanded
from ...passes import after_import
from ...sizes import Dim, Shape, Size, symbol

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
        if not isinstance(size, Size) or size == symbol(str(size)):
            return size
        return names.setdefault(str(size), symbol(f"{name}_size_{len(names)}"))

    inputs = [graph.input(f"input_{i}", tuple(map(inside, shape)), dtype) for i, (shape, dtype) in enumerate(kinds)]
    with _reading(reader, graph):
        graph.outputs = list(apply(*inputs))
    graph.output_names = [f"output_{i}" for i in range(len(graph.outputs))]
    graph.structure = tuple(range(len(graph.outputs)))
    prune(graph)
    label(graph)
    return after_import(settle(graph))


@contextlib.contextmanager
def _reading(reader: Reader, graph: Graph) -> Iterator[None]:
    """Let the reader's calls go into another graph; no mask comes along there."""
    outer, masked = reader.graph, (reader.masked, reader.mask_lost)
    graph.framework, graph.source = outer.framework, outer.source
    try:
        reader.graph = reader.importing.graph = graph
        reader.masked = reader.mask_lost = False
        yield
    finally:
        reader.graph = reader.importing.graph = outer
        reader.masked, reader.mask_lost = masked
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
