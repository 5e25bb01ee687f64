"""What all engines share: importing call by call, exporting node by node. Knows neither a framework nor an operator.

Both directions are one file, because they are one contract: what an adapter may ask of either side.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import numpy as np

from .. import ops as _ops  # noqa: F401  (registers every adapter)
from ..errors import LeakyInteropError, Refused, Unsupported, Usage
from ..graph import Anchor, Graph, Node, Value, claim, label, prune, snake
from ..kinds import element
from ..layout import ChannelsLast
from ..numeric import NARROW_FLOATS, NARROW_INTEGERS
from ..op import EXPORTERS, Op, Perm, op
from ..parameter import Parameter
from ..sizes import Dim, Shape, symbol


class Call:
    """One native call, as importers read it: attributes of the native operator, and what the engine adds.

    `native` is the layer, schema node or operation; unknown attributes come from it.
    """

    def __init__(self, native: Any, graph: Graph, *, left_out: Iterable[str] = ()):
        self.native = native
        self.graph = graph
        self.left_out = frozenset(left_out)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.native, name)


class Importing:
    """Fills a graph call by call, and collects everything that has no importer."""

    def __init__(self, framework: str, description: str):
        self.graph = Graph()
        self.graph.framework = framework
        self.graph.description = description
        self.framework = framework
        self.missing: list[tuple[str, str, str]] = []  # native name, place, why it could not be read otherwise

    def call(
        self,
        importer: Callable[..., Any],
        native: Any,
        operands: Sequence[Any],
        *,
        name: str,
        source: str,
        left_out: Iterable[str] = (),
        after: Callable[[list[Value]], list[Value]] | None = None,
        claims: Sequence[tuple[Shape, Any] | None] | None = None,
        keys: Sequence[Any] | None = None,
    ) -> list[Value]:
        """Run one importer; name, check and anchor what it made.

        after: turns the results (into the source's layout, say). claims: the source's own shape and dtype of each result.
        """
        graph, start = self.graph, len(self.graph.nodes)
        graph.source, graph.left_out = source, frozenset(left_out)
        try:
            made = importer(native, *operands)
        except Exception as error:
            if self.missing:  # it read a stand-in, so its complaint tells nothing
                del graph.nodes[start:]
                return [None] * len(claims or keys or ())  # type: ignore[list-item]
            if isinstance(error, Refused) and not error.where:
                raise Refused(error.what, source, error.why, error.hint) from None
            if isinstance(error, ValueError) and not isinstance(error, LeakyInteropError):
                raise Usage("the operands do not fit the operator", source, str(error)) from error
            raise
        results = list(made) if isinstance(made, tuple | list) else [made]
        attribute(graph, start, name)
        if after:
            results = after(results)
        for index, value in enumerate(results):
            if value is None:
                continue
            check_dtype(value, source)
            if claims is not None and index < len(claims) and claims[index] is not None and not self.missing:
                claim(value, *claims[index], where=f"{source}, {importer.__name__}")  # type: ignore[misc]
            if keys is not None and index < len(keys) and value.anchor is None and value.node is not None:
                value.anchor = Anchor(keys[index])
        return results

    def unsupported(
        self,
        native: str,
        source: str,
        operands: Iterable[Any],
        *,
        name: str,
        claims: Sequence[tuple[Sequence[Dim | None], Any]],
        keys: Sequence[Any] | None,
        why: str = "",
    ) -> list[Value]:
        """Note a native operator without an importer; what stands for its results, so that the rest can be read."""
        self.missing.append((native, source, why))
        graph, start = self.graph, len(self.graph.nodes)
        graph.source, graph.left_out = source, frozenset()
        batch = next((v.shape[0] for v in graph.inputs if v.shape), 1)

        def known(size: Dim | None, axis: int) -> Dim:
            return size if size is not None else batch if axis == 0 else symbol(f"{name}_{axis}")

        results = tuple((tuple(known(d, axis) for axis, d in enumerate(shape or ())), kind) for shape, kind in claims)
        made = graph.emit(Unread(native=native, results=results), [o for o in operands if isinstance(o, Value)])
        attribute(graph, start, name)
        for value, key in zip(made, keys or (), strict=False):
            value.anchor = Anchor(key)
        return list(made)

    def finish(self, *passes: Callable[[Graph], Graph]) -> Graph:
        """The graph, its unused nodes removed and its values named, after the passes.

        Raises Unsupported with everything that was missing, and what could be read.
        """
        raw = self.graph
        raw.passes = passes
        if self.missing:
            label(raw)
            rows = [(self.framework, "imports", *row) for row in self.missing]
            raise Unsupported(rows, raw)
        prune(raw)
        label(raw)
        graph = raw
        for one in passes:
            graph = one(graph)
        if graph is not raw:
            graph.raw, graph.passes = raw, passes
        return graph


DTYPES = frozenset(
    "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 float32 float64 object".split()
)  # object: text
NARROW = NARROW_FLOATS | NARROW_INTEGERS  # stored, moved and cast; nothing computes in them


def check_dtype(value: Value, source: str) -> None:
    """Refuse element types that no operator here is defined for: complex numbers, floats of 6 bits."""
    if element(value.dtype).name not in DTYPES | NARROW:
        raise Refused(
            f"the element type {value.dtype.name}", source,
            "only booleans, integers of 2 to 64 bits and floats of 4 to 64 bits convert",
            "Cut the network where it is computed",
        )  # fmt: skip


@op
class Unread(Op):
    """Stands for a native operator that nothing reads; no framework can write it."""

    native: str
    results: tuple[tuple[Shape, Any], ...]
    deterministic = False

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return list(self.results)


def attribute(graph: Graph, start: int, name: str, main: Node | None = None) -> None:
    """Name the nodes that one native call became: the main one after the call, the others beside it.

    The main node, where it is not told, is the first that holds a weight; without one, the last.
    """
    nodes = [n for n in graph.nodes[start:] if not n.name]
    if not nodes:
        return
    holds = (n for n in nodes if any(v is not None and v.const is not None and v.const.name for v in n.inputs))
    main = main or next(holds, nodes[-1])
    for node in nodes:
        node.name = name if node is main else f"{name}_{snake(type(node.op).__name__)}"


@dataclasses.dataclass
class Port:
    """What an exporter may know of an operand or result: its channels-first shape and its dtype."""

    shape: Shape
    dtype: np.dtype

    @property
    def rank(self) -> int:
        return len(self.shape)


class Builder:
    """Writes a graph as a model of one framework: exporters see it as the framework's module with a few verbs more.

    Exporters read `inputs` and `outputs` (canonical shapes and dtypes of the node at hand), call `place` for a named
    module with weights, `tensor` for a weight as an ordinary tensor. Everything else is the framework's own.
    """

    framework = ""
    lacking: Collection[str] = ()  # dtypes in which the framework has no arithmetic
    unknown: Collection[str] = ()  # dtypes of which it has no tensors either
    text = False  # whether it has arrays of text
    lists = False  # whether its models take and give sequences and optionals
    exact: Any = np.float64  # the widest float dtype in which it adds and multiplies

    def __init__(self, graph: Graph, module: Any = None):
        self.graph = graph
        self.module = module
        self.made: dict[int, Any] = {}  # symbolic native value of each canonical value
        self.views: list[Value] = []  # weights seen by exporters in another shape: kept, because `made` goes by id
        self.parts: list[Graph] = []  # what `composed` made: kept for the same reason
        self.node: Node = Node(Op(), (), ())
        self.inputs: list[Port | None] = []
        self.outputs: list[Port] = []
        self.check_values()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)

    @functools.cached_property
    def mixed(self) -> dict[int, set[Any]]:
        """The ties of each weight that the network sees in several orders, by its root: one array has to hold it for all."""
        views: dict[int, dict[Any, Parameter]] = {}
        for node in self.graph.all_nodes():
            for value in node.inputs:
                if value is not None and value.const is not None and value.const.name:
                    views.setdefault(id(value.const.root), {})[value.const.tie] = value.const
        return {root: set(ties) for root, ties in views.items() if len(ties) > 1 and any(p.reordered for p in ties.values())}

    def export(self) -> None:
        """Run the exporter of every node."""
        self.check()
        for node in self.graph.nodes:
            self.export_node(node)

    def export_node(self, node: Node) -> None:
        """Run one node's exporter. A result that nothing reads may come back as None."""
        self.node = node
        inner = node.op.op if isinstance(node.op, ChannelsLast) else node.op
        self.inputs = [self._port(v, i == 0) for i, v in enumerate(node.inputs)]
        self.outputs = [self._port(v, True) for v in node.outputs]  # type: ignore[misc]
        self.check_dtypes(inner)
        exporter = EXPORTERS.get((self.framework, type(inner)), Builder.lowered)
        operands = [self.operand(inner, i, v) for i, v in enumerate(node.inputs)]
        try:
            with self.writing():
                result = exporter(inner, self, *operands)
        except Refused as error:
            if error.where:
                raise
            raise Refused(error.what, self.origin(), error.why, error.hint) from error
        for value, native in zip(node.outputs, _together(result), strict=True):
            if native is not None:
                self.made[id(value)] = self.finished(value, native)

    def check_dtypes(self, op: Op) -> None:
        """Refuse what the framework would take, but not compute."""
        refused = self.unknown if op.any_dtype else self.lacking
        for port in self.outputs if op.any_dtype else (*self.inputs, *self.outputs):
            if port is not None and port.dtype.name in refused:
                raise self.refuse(f"{type(op).__name__} in {port.dtype}", why="it has no such arithmetic", instead="Cast to int64")

    def composed(self, compose: Callable[..., Sequence[Value]]) -> tuple[Any, ...]:
        """The results of the node at hand written in other canonical operators: `compose` takes and returns Values."""
        outer, part = (self.node, self.inputs, self.outputs), Graph()
        operands = []
        for value in outer[0].inputs:
            if value is None or value.const is not None:
                operands.append(None if value is None else part.parameter(value.const))
            else:
                operands.append(Value(part, value.name, value.shape, value.dtype))
                self.made[id(operands[-1])] = self.tensor(value)
        results = compose(*operands)
        self.parts.append(part)
        self.views += [v for v in operands if v is not None]
        for node in part.nodes:
            node.name, node.source = f"{outer[0].name}_{snake(type(node.op).__name__)}", outer[0].source
            for value in node.outputs:
                value.name = node.name
            self.export_node(node)
        self.node, self.inputs, self.outputs = outer
        return tuple(self.tensor(v) for v in results)

    @staticmethod
    def lowered(op: Op, builder: Builder, *operands: Any) -> tuple[Any, ...]:
        """Stands for the exporter of an operator that another exporter composed, and that has none here."""
        return builder.composed(lambda *values: _together(op.lowered(builder.exact, *values)))

    def writing(self) -> contextlib.AbstractContextManager[Any]:
        """What holds while the exporter of the node at hand runs."""
        return contextlib.nullcontext()

    def check(self) -> None:
        """Raise Unsupported with every operator that has no exporter here."""
        missing = []
        for node in self.graph.all_nodes():
            inner = node.op.op if isinstance(node.op, ChannelsLast) else node.op
            if (self.framework, type(inner)) not in EXPORTERS:
                missing.append((self.framework, "exports", type(inner).__name__, node.source, ""))
        if missing:
            raise Unsupported(missing)

    def check_values(self) -> None:
        """Raise Refused where a value is text, a sequence or an optional, and the framework has none of those."""
        values = [(f"input {v.name!r}", v) for v in self.graph.inputs]
        values += [(n.source or n.name, v) for n in self.graph.all_nodes() for v in (*n.outputs, *n.inputs) if v is not None]
        for where, value in values:
            if value.dtype.kind == "L" and not self.lists:
                why = f"a {self.framework} model holds arrays, no lists of them and none that may be absent"
                raise Refused(f"a {value.dtype} that only a run knows", where, why, "Write ONNX or PyTorch")
            if element(value.dtype).kind == "O" and not self.text:
                hint = "Cut the network behind it, and give it numbers"
                raise Refused("text", where, f"{self.framework} has no tensors of it", hint)

    def origin(self) -> str:
        """The place in the user's model that the node at hand came from."""
        return self.node.source or self.node.name

    def refuse(self, what: str, *, why: str, instead: str) -> Refused:
        """The error to raise where a setting cannot be said exactly in this framework."""
        return Refused(what, where=self.origin(), why=why, hint=instead)

    def operand(self, op: Op, position: int, value: Value | None) -> Any:
        """What the exporter receives: the native symbolic value; a weight as the Value itself where the op holds it."""
        if value is None:
            return None
        if value.const is not None and position in op.weights:
            return value
        if value.const is not None and op.scalars and value.is_constant and value.rank == 0 and value.dtype.kind != "O":
            return value.array().item()
        return self.tensor(value)

    def holds(self, *operands: Any) -> bool:
        """Whether these operands are weights that a native module may hold; absent ones do not matter."""
        return all(o is None or isinstance(o, Value) for o in operands)

    def tensor(self, value: Any) -> Any:
        """The native symbolic tensor of a value; native values pass through."""
        if value is None or not isinstance(value, Value):
            return value
        if id(value) not in self.made:
            self.views.append(value)
            if value.sizes is not None:
                self.made[id(value)] = self.size_tensor(value)
            else:
                assert value.const is not None, f"{value!r} is used before it is computed"
                self.made[id(value)] = self.held(value)
        return self.made[id(value)]

    def held(self, value: Value) -> Any:
        """The native tensor of a weight or constant."""
        raise NotImplementedError

    def size_tensor(self, value: Value) -> Any:
        """The native integer tensor of a value known as sizes."""
        raise NotImplementedError

    def finished(self, value: Value, native: Any) -> Any:
        """Name a finished result after its canonical value."""
        return native

    def _port(self, value: Value | None, data: bool) -> Port | None:
        if value is None:
            return None
        first = isinstance(self.node.op, ChannelsLast) and data
        return Port(ChannelsLast.first(value).shape if first else value.shape, value.dtype)


def _together(results: Any) -> Sequence[Any]:
    """What an adapter gives, one alone too, as a sequence."""
    return results if isinstance(results, tuple | list) else (results,)


def permuted(values: Iterable[Value], perm: Callable[[int], Perm]) -> list[Value]:
    """Every value of rank 3 or more, its axes turned."""
    return [v.transpose(*perm(v.rank)) if isinstance(v, Value) and v.rank >= 3 else v for v in values]


def arrange(structure: Any, outputs: Sequence[Any]) -> Any:
    """Flat outputs in the source's nesting of dicts, lists and tuples; one alone, or a tuple, where it has none."""
    if structure is None:
        return outputs[0] if len(outputs) == 1 else tuple(outputs)
    if isinstance(structure, dict):
        return {key: arrange(part, outputs) for key, part in structure.items()}
    if isinstance(structure, list | tuple):
        parts = [arrange(part, outputs) for part in structure]
        return parts if type(structure) is list else tuple(parts)
    return outputs[structure] if isinstance(structure, int) else structure


def output_names(structure: Any, count: int) -> list[str]:
    """A name for each flat output: its keys where the source names it, otherwise output, or output_0, output_1 ..."""
    found: dict[int, str] = {}

    def visit(part: Any, path: str) -> None:
        if isinstance(part, dict):
            for key, inner in part.items():
                visit(inner, f"{path}.{key}" if path else str(key))
        elif isinstance(part, list | tuple):
            for index, inner in enumerate(part):
                visit(inner, f"{path or 'output'}_{index}")
        elif isinstance(part, int):
            found[part] = path or "output"

    visit(structure, "")
    plain = ["output"] if count == 1 else [f"output_{i}" for i in range(count)]
    return [found[i] for i in range(count)] if sorted(found) == list(range(count)) else plain
