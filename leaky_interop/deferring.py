"""Operators whose numbers (axes, shapes, bounds, counts) the network computes: they are read again when it runs.

Every other operator here has such numbers in its fields. Where an importer finds that one is computed, it raises
`Computed`, and what it was to read becomes a `Deferred`: the ONNX operator as it is, its numbers still operands. When it
runs, the numbers are there, and the same importer reads it: that is the reference. Frameworks write it with the numbers
as the tensors they are (ONNX), or as Python numbers that the code reads from them (torch).

A row (`deferrable`) says of an operator which operands are such numbers, and what is known of its results before the
run. The rows, and how each framework writes them, stand in ops/deferred*.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .graph import Graph
from .interpreter import interpret
from .op import Op, Shape, Size, Value, importer_of, op

Results = list[tuple[Shape, Any]]


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of one operator before its numbers are."""

    numbers: tuple[int, ...]  # the operands that must be known to read it
    since: int  # from this opset on it means the same
    results: Callable[..., Results]  # (node, new, *operands): shapes and dtypes; `new()` is a size that a run tells
    torch: Callable[..., Any]  # (op, torch, *operands): how torch says it
    tolerance: str


ROWS: dict[str, Row] = {}


def deferrable(
    *kinds: str, numbers: Sequence[int], since: int, results: Callable[..., Results], tolerance: str = "exact"
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register operators that can be read when they run; the decorated function writes them in torch."""

    def register(torch: Callable[..., Any]) -> Callable[..., Any]:
        for kind in kinds:
            ROWS[kind] = Row(tuple(numbers), since, results, torch, tolerance)
        return torch

    return register


@op
class Deferred(Op):
    """The ONNX operator `kind` as of `opset`, on numbers that are known when it runs."""

    kind: str
    opset: int
    settings: tuple[tuple[str, Any], ...]  # every attribute and its value
    results: tuple[tuple[Shape, np.dtype], ...]
    weights = tuple(range(1, 8))  # numbers arrive as Values where they are known

    def __getitem__(self, name: str) -> Any:
        return dict(self.settings).get(name)

    def __str__(self) -> str:
        told = ", ".join(f"{k}={v!r}" for k, v in self.settings if v is not None)
        return f"{self.kind} of computed numbers({told})"

    @property
    def tolerance(self) -> str:  # type: ignore[override]
        return ROWS[self.kind].tolerance

    @property
    def open(self) -> bool:
        """Its results' sizes are what it computes; nothing that it needs."""
        return False

    def bound(self, sizes: Mapping[str, int]) -> Deferred:
        return self

    def infer(self, *inputs: Value | None) -> Results:
        return list(self.results)

    def reference(self, *arrays: Any) -> Any:
        graph, data = self.known(arrays)
        results = tuple(graph.run(*data))
        return results if len(results) > 1 else results[0]

    def terms(self, *arrays: np.ndarray) -> tuple[Any, np.ndarray]:
        graph, data = self.known(arrays)
        seen = {id(v): a for v, a in zip(graph.inputs, data, strict=True)}
        results = interpret(graph, data, watch=lambda value, array: seen.__setitem__(id(value), array))

        def operands(node: Any) -> list[Any]:
            return [None if v is None else v.array() if v.const is not None else seen[id(v)] for v in node.inputs]

        for position, node in reversed(list(enumerate(graph.nodes))):
            if node.op.tolerance == "sum":
                count, size = node.op.terms(*operands(node))
                for later in graph.nodes[position + 1 :]:  # what only moves the sums, or puts numbers between them
                    seen[id(node.outputs[0])], node = size, later
                    size = later.op.reference(*operands(later))
                return count, size
        (result,) = results  # a range: runtimes may come to each of its numbers by adding up all before
        return result.size, np.full(result.shape, np.abs(result).max(initial=0))

    def known(self, arrays: Sequence[Any]) -> tuple[Graph, list[np.ndarray]]:
        """What the importer reads now that the numbers are known: a graph of the data, and that data."""
        graph, data, operands = Graph(), [], []
        for position, array in enumerate(arrays):
            if array is None:
                operands.append(None)
            elif position in ROWS[self.kind].numbers:
                operands.append(graph.constant(array))
            else:
                data.append(array)
                operands.append(graph.input("x", np.shape(array), array.dtype))
        importer = importer_of("onnx", self.kind, self.opset)
        made = importer(_Known(self, graph), *operands)  # type: ignore[misc]
        graph.outputs = list(made) if isinstance(made, tuple | list) else [made]
        return graph, data


class _Known:
    """A node as importers read it, all of whose numbers are known."""

    def __init__(self, op: Deferred, graph: Graph):
        self.op, self.graph, self.opset = op, graph, op.opset
        self.settings = dict(op.settings)

    def __getattr__(self, name: str) -> Any:
        try:
            return self.settings[name]
        except KeyError:
            raise AttributeError(f"{self.op.kind} has no attribute {name!r}") from None

    def has(self, name: str) -> bool:
        return name in self.settings

    def numpy_dtype(self, element_type: int) -> np.dtype:
        """An element type that an attribute states is that of the result."""
        return self.op.results[0][1]

    def sizes(self, value: Value) -> tuple[Any, ...]:
        content = value.content()
        return content if isinstance(content, tuple) else (content,)


def defer(node: Any, kind: str, *operands: Value | None, attributes: Any = None, opset: int | None = None) -> Any:
    """The operator to be read when it runs. None where there is no row for it, or not for its opset.

    node: the call that an importer reads; its attributes and opset (unless others are given) count, and what it names
    its results.
    """
    row, opset = ROWS.get(kind), opset or node.opset
    if row is None or opset < row.since:
        return None
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in (node.attributes if attributes is None else attributes).items()}
    node.unread.clear()  # all of them go along

    def new() -> Size:
        return node.graph.fresh(f"{node.native.output[0]}_size")

    results = row.results(node, new, *operands)
    made = Deferred(
        kind=kind,
        opset=opset,
        settings=tuple(sorted(settings.items())),
        results=tuple((tuple(shape), np.dtype(dtype)) for shape, dtype in results),
    )
    return made(*operands)
