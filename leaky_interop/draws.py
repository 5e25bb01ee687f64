"""Seeded inputs for a graph: what a verification runs on when the user brings none."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .graph import Graph, Value
from .sizes import Shape, Size, evaluate, rename, symbols

OPEN = (64, 256, 1024, 4096, 16384)  # open sizes that are no batch; multiples of what most networks stride over in all


def example_arrays(
    graph: Graph,
    *,
    batch: int = 1,
    seed: int = 0,
    scale: float = 1.0,
    size: int | None = None,
    sizes: Mapping[str, int] | None = None,
) -> list[np.ndarray]:
    """One array for each input, in its shape and dtype: normal numbers times `scale`; small non-negative integers.

    Open sizes are `batch` along a first axis and `size` elsewhere, unless `sizes` has them by name. Without `size`, the
    first of OPEN that leaves no value of the network empty.
    """
    rng = np.random.default_rng(seed)
    batches = batch_symbols(graph)
    if size is None:
        size = next((s for s in OPEN if not _empties(graph, sizes or {}, batches, s)), OPEN[0])
    result = []
    for value in graph.inputs:
        shape = concrete(rename(value.shape, sizes or {}), batches, batch, size)
        rows = _rows(graph, value)
        if value.dtype == bool:
            array = rng.random(shape) < 0.5
        elif value.dtype.kind in "iu" or rows is not None:
            array = rng.integers(0, 5 if rows is None else rows, shape)
        else:
            array = rng.standard_normal(shape) * scale
        result.append(array.astype(value.dtype))
    return result


def batch_symbols(graph: Graph) -> set[str]:
    """The sizes that stand for the batch: those of the first axis of an input."""
    return {name for v in graph.inputs if v.shape for name in symbols(v.shape[:1])}


def concrete(shape: Shape, batches: set[str], batch: int, size: int) -> tuple[int, ...]:
    """A shape with every open size decided."""
    names = symbols(tuple(d for d in shape if isinstance(d, Size)))
    return evaluate(tuple(shape), {name: batch if name in batches else size for name in names})


def _empties(graph: Graph, sizes: Mapping[str, int], batches: set[str], size: int) -> bool:
    """Whether some value of the network has no elements at these sizes."""
    shapes = (concrete(rename(v.shape, sizes), batches, 1, size) for n in graph.nodes for v in n.outputs)
    return any(d < 1 for shape in shapes for d in shape)


def _rows(graph: Graph, value: Value) -> int | None:
    """How many rows the smallest table has that an input looks things up in; None where it does not."""
    ids, rows = {id(value)}, []
    for node in graph.nodes:
        if not node.inputs or id(node.inputs[0]) not in ids:
            continue
        if type(node.op).__name__ in ("Cast", "Reshape", "Transpose"):
            ids |= {id(v) for v in node.outputs}
        elif type(node.op).__name__ == "Embedding" and isinstance(count := node.inputs[1].shape[0], int):  # type: ignore[union-attr]
            rows.append(count)
    return min(rows, default=None)
