"""Cuts a network out of a larger one, by the names of values or layers: a feature extractor, a head, a middle part.

A name stands for a value; a layer's is its result. The part is cut out of the graph as it was read, before any pass, so
that its inputs and outputs have the source's own layout. Its program still runs the whole source: the cut values are
fed in the middle, and the source's own inputs get seeded examples, which nothing of the part can see.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import names
from .draws import example_arrays
from .errors import Unsupported, Usage
from .frameworks.base import Unread
from .graph import Graph, Node, Rewrite, Value
from .interpreter import bind, settings, sources
from .op import Op
from .sizes import Dim, Size, evaluate, floor_divide, is_measured, name_of, rename, symbol, symbols

LARGEST = 4096  # a source's size that a given array's size is traced back to
TRIED = 257  # sizes up to this one tell whether one size determines another


def cut(graph: Graph, inputs: Iterable[str] | None = None, outputs: Iterable[str] | None = None) -> Graph:
    """The part of a network that computes `outputs` from `inputs`, in the source's layout.

    inputs, outputs : names of values or layers, as the source or a listing of the graph has them; by default the
        network's own inputs, where the part needs them, and its own outputs

    Raises Usage for names that are not there and inputs that do not suffice, Unsupported for what could not be read.
    """
    raw = graph.raw or graph
    known = _Named(raw)
    starts = {name: known[name] for name in dict.fromkeys(inputs or ())}
    ends = {name: known[name] for name in dict.fromkeys(outputs or ())}
    ends = ends or dict(zip(raw.output_names, raw.outputs, strict=True))
    nodes, own = _between(raw, list(starts.values()), list(ends.values()))
    if starts and own:
        lacking = ", ".join(repr(v.name) for v in own)
        why = f"its outputs do not follow from {', '.join(starts)} alone"
        raise Usage(f"the cut network also needs {lacking}", why=why)
    _check(raw, starts, nodes, ends)
    starts = starts or {value.name: value for value in own}
    part = _copied(raw, starts, ends, nodes)
    for one in raw.passes:
        part = one(part)
    return part


class _Named:
    """Every name that a user may call a value by."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.values: dict[str, list[Value]] = {v.name: [v] for v in graph.inputs}
        for name, value in zip(graph.output_names, graph.outputs, strict=True):
            self.values.setdefault(name, [value])
        results = [self.results(position) for position in range(len(graph.nodes))]
        for node, result in zip(graph.nodes, results, strict=True):
            if node.name and result:
                self.values.setdefault(node.name, result)
        for node, result in zip(graph.nodes, results, strict=True):
            for value in node.outputs:
                self.values.setdefault(value.name, result if value.anchor is None else [value])
                if value.anchor is not None and isinstance(value.anchor.key, str):  # what the framework itself calls it
                    self.values.setdefault(value.anchor.key, [value])
            if (native := node.native_name) and result:
                self.values.setdefault(native, result)

    def results(self, position: int) -> list[Value]:
        """What the layer computes that a node belongs to: the next values that the source shows."""
        source = self.graph.nodes[position].source
        for node in self.graph.nodes[position:]:
            if node.source != source:
                break
            if shown := [v for v in node.outputs if v.anchor is not None]:
                return shown
        return []

    def __getitem__(self, name: str) -> Value:
        decode = functools.partial(names.decode, self.graph.framework)
        spellings = (name, decode(name), ".".join(map(decode, name.split("."))))
        found = next(filter(None, map(self.values.get, spellings)), None) or self.container(name)
        if len(found) == 1:
            return found[0]
        if found:
            raise Usage(f"{name!r} has several results", hint=f"Name one: {', '.join(v.name for v in found)}")
        there = [known for known, values in self.values.items() if values]
        close = difflib.get_close_matches(name, there, n=5, cutoff=0.5) or there[:5]
        what = f"there is no value or layer {name!r} in {self.graph.description}"
        raise Usage(what, hint=f"Near it: {', '.join(close)}")

    def container(self, name: str) -> list[Value]:
        """What a module or nested model that holds layers gives to the rest of the network."""
        sources = {n.source for n in self.graph.nodes if n.name.startswith(f"{name}.")}
        inside = [n for n in self.graph.nodes if n.source in sources]
        read = {id(v) for n in self.graph.nodes if n.source not in sources for v in n.inputs}
        read |= {id(v) for v in self.graph.outputs}
        return [v for n in inside for v in n.outputs if id(v) in read and v.anchor is not None]


def _between(graph: Graph, starts: Sequence[Value], ends: Sequence[Value]) -> tuple[list[Node], list[Value]]:
    """The nodes that compute `ends` from `starts`, in order, and the graph's inputs that they need besides."""
    cuts = {id(v) for v in starts}
    needed = {id(v) for v in ends} - cuts
    nodes, read = [], sources(graph)
    for node in reversed(graph.nodes):
        if any(id(v) in needed for v in node.outputs):
            nodes.append(node)
            needed |= {id(v) for v in read(node)} - cuts
    return nodes[::-1], [v for v in graph.inputs if id(v) in needed]


def _check(graph: Graph, starts: Mapping[str, Value], nodes: Sequence[Node], ends: Mapping[str, Value]) -> None:
    read, given = {id(v) for n in nodes for v in n.inputs}, {id(v) for v in ends.values()}
    for name, value in starts.items():
        if id(value) in given:
            raise Usage(f"{name!r} is an input and an output of the cut network", hint="Name another place for one")
        if id(value) not in read:
            raise Usage(f"the input {name!r} is not needed", why=f"{', '.join(ends)} can be computed without it")
    unread = [n for n in nodes if isinstance(n.op, Unread)]
    if unread:
        rows = [(graph.framework, "imports", n.op.native, n.source, "") for n in unread]  # type: ignore[attr-defined]
        raise Unsupported(rows, graph)


def _copied(graph: Graph, starts: Mapping[str, Value], ends: Mapping[str, Value], nodes: Sequence[Node]) -> Graph:
    sizes = _Sizes(starts, nodes)
    rewrite = Rewrite(graph)
    rewrite.new.inputs = []
    for name, value in starts.items():
        rewrite.input(value, tuple(map(sizes.of, value.shape))).name = name
    for node in nodes:
        for operand in node.inputs:
            if operand is not None and operand.sizes is not None:
                told = np.vectorize(sizes.of, otypes=[object])(operand.sizes)
                rewrite.put(operand, rewrite.new.of_sizes(told, operand.dtype))
        rewrite.copy(node, sizes.within(node))
    part = rewrite.finish([rewrite.get(v) for v in ends.values()])  # type: ignore[misc]
    part.output_names = list(ends)
    part.structure = None if len(ends) == 1 else tuple(range(len(ends)))
    part.description = f"{graph.description}, cut to {', '.join(ends)}"
    part.passes = graph.passes
    part.program = CutProgram(graph, list(starts.values()), list(ends.values()))
    return part


class _Sizes:
    """What the open sizes of a source are in a part of it.

    A size that follows from an input that is cut off becomes a size of its own; what else follows from that input is
    then said in terms of it, where it depends on nothing more.
    """

    def __init__(self, starts: Mapping[str, Value], nodes: Sequence[Node]):
        self.known = {name for v in starts.values() for d in v.shape if (name := name_of(d))}
        self.known |= {str(d) for n in nodes for v in n.outputs for d in v.shape if is_measured(d)}
        self.own: dict[Dim, Size] = {}  # sizes of the cut values that are sizes of their own now
        self.told: dict[str, Dim] = {}  # sizes of the source's inputs, in terms of those
        places = [(f"{name}_{axis}", d) for name, v in starts.items() for axis, d in enumerate(v.shape)]
        uses = [s for node in nodes for s in _sizes_in(settings(node))] + [d for _, d in places if isinstance(d, Size)]
        for name, size in places:
            if not isinstance(size, Size) or len(symbols(size)) != 1:
                continue
            (unknown,) = symbols(size)
            found = None if unknown in self.known or unknown in self.told else _inverse(size, unknown, symbol(name))
            if found is not None and _determines(size, unknown, uses):
                self.told[unknown], self.own[size] = found, symbol(name)
        for name, size in places:
            if symbols(size) - self.known - set(self.told):
                self.own.setdefault(size, symbol(name))

    def of(self, size: Dim) -> Dim:
        """A size of the source in the part."""
        return self.own[size] if size in self.own else rename(size, self.told)

    def within(self, node: Node) -> Op:
        """A node's operator in the part. Raises Usage where it depends on a size that is not known there."""
        unknown = symbols(settings(node)) - self.known - set(self.told)
        if unknown:
            why = f"it depends on the size {', '.join(sorted(unknown))}, which the cut network does not see"
            raise Usage("the cut leaves a size open", node.source, why, "Fix the sizes of the inputs with input_shapes")
        fields = {f.name: getattr(node.op, f.name) for f in dataclasses.fields(node.op)}  # type: ignore[arg-type]
        open_ones = {name: rename(field, self.told) for name, field in fields.items() if symbols(field)}
        return dataclasses.replace(node.op, **open_ones)  # type: ignore[type-var]


def _sizes_in(tree: Any) -> list[Size]:
    if isinstance(tree, tuple | list):
        return [size for inner in tree for size in _sizes_in(inner)]
    return [tree] if isinstance(tree, Size) else []


def _inverse(size: Size, name: str, wanted: Size) -> Dim | None:
    """What a symbol may be so that a size in it becomes `wanted`: 2s - 1 for (h + 1) // 2, s // 2 for 2h.

    Found by trying: networks divide or multiply a size by what their strides make in all, and add something.
    """
    at = [evaluate(size, {name: n}) for n in range(TRIED)]
    far = 1 << 20
    times = (evaluate(size, {name: 2 * far}) - evaluate(size, {name: far})) / far
    if times >= 1:  # enlarged, or as it was
        factor, rest = round(times), at[1] - round(times)
        return floor_divide(wanted - rest, factor) if at[1:] == [factor * n + rest for n in range(1, TRIED)] else None
    middle = at[TRIED // 2]
    if times <= 0 or middle not in at:
        return None
    factor = round(1 / times)
    rest = at.index(middle) - factor * middle
    tried = [n for n in range(1, middle + 1) if factor * n + rest > 0]
    return factor * wanted + rest if all(evaluate(size, {name: factor * n + rest}) == n for n in tried) else None


def _determines(size: Size, name: str, uses: Sequence[Size]) -> bool:
    """Whether everything that depends on a symbol depends on it through `size` alone, as far as trying tells."""
    uses = [u for u in uses if name in symbols(u)]
    others = {other: 97 + i for i, other in enumerate(sorted(set().union(*map(symbols, uses)) - {name}))}
    seen: dict[int, list[int]] = {}
    for value in range(1, TRIED):
        values = {**others, name: value}
        results = [evaluate(u, values) for u in uses]
        if seen.setdefault(evaluate(size, values), results) != results:
            return False
    return True


class CutProgram:
    """Runs a part of a source: the cut values are given, everything before them runs on seeded examples."""

    def __init__(self, graph: Graph, starts: Sequence[Value], ends: Sequence[Value]):
        self.graph, self.starts, self.ends = graph, starts, ends

    def whole(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Flat outputs of the part."""
        return self.run(arrays)

    def run(
        self,
        arrays: Sequence[np.ndarray],
        watch: Callable[[Any, np.ndarray], None] | None = None,
        *,
        keys: Collection[Any] | None = None,
        given: Mapping[Any, np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Flat outputs. `watch(key, array)` sees each value in `keys` (all, if None); consumers read `given` values."""
        arrays = [np.asarray(a) for a in arrays]
        fed = {v.anchor.key: a for v, a in zip(self.starts, arrays, strict=True)}  # type: ignore[union-attr]
        ends = [v.anchor.key for v in self.ends]  # type: ignore[union-attr]
        found: dict[Any, np.ndarray] = {}

        def see(key: Any, array: np.ndarray) -> None:
            array = fed.get(key, array)
            if key in ends:
                found[key] = array
            if watch is not None and (keys is None or key in keys):
                watch(key, array)

        for key, array in fed.items():
            see(key, array)
        wanted = None if watch is not None and keys is None else {*(keys or ()), *ends} - set(fed)
        self.graph.program.run(self.examples(fed), see, keys=wanted, given={**fed, **(given or {})})
        return [found[key] for key in ends]

    def examples(self, fed: Mapping[Any, np.ndarray]) -> list[np.ndarray]:
        """Arrays for the source's own inputs, of sizes that make the cut values as large as the given ones."""
        sizes = bind((v.shape for v in self.starts), fed.values())
        for value, array in zip(self.starts, fed.values(), strict=True):
            for dim, size in zip(value.shape, array.shape, strict=True):
                lacking = symbols(dim) - set(sizes)
                if len(lacking) == 1:
                    (name,) = lacking
                    fits = (n for n in range(1, LARGEST) if evaluate(dim, {**sizes, name: n}) == size)
                    sizes[name] = next(fits, size)
        examples = example_arrays(self.graph, sizes=sizes)
        return [fed.get(v.anchor.key, a) for v, a in zip(self.graph.inputs, examples, strict=True)]  # type: ignore[union-attr]
