"""The canonical graph: typed operators between channels-first values, weights as operands.

A `Graph` is a list of `Node`s in execution order. A node applies one `Op` to `Value`s; a value is a graph input, the
output of a node, or a constant, whose numbers live in a `Parameter`. `Graph.run` computes with the operators' numpy
references: the oracle of the test suite. No framework is known here. Values, nodes, the graph and its rewriting hold one
set of invariants between them, and so stand in one file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .interpreter import interpret, measures, sources
from .kinds import of_dtype
from .parameter import Anchor, Parameter, Step, apply_steps, invert_steps
from .sizes import Dim, Shape, Size, may_agree, measured, symbols

if TYPE_CHECKING:
    from .op import Op

__all__ = [
    "Anchor", "Graph", "Node", "Parameter", "Rewrite", "Step", "Value", "apply_steps", "claim",
    "consumers", "inherit", "invert_steps", "label", "prune", "snake",
]  # fmt: skip


class Value:
    """One array in the graph. Compared by identity."""

    __slots__ = ("anchor", "const", "dtype", "graph", "index", "name", "node", "shape", "sizes")

    def __init__(self, graph: Graph, name: str, shape: Shape, dtype: Any, const: Parameter | None = None):
        self.graph = graph
        self.name = name
        self.shape = tuple(shape)
        self.dtype: Any = of_dtype(dtype)  # numpy's, or a kind of value that is no array
        self.const = const  # the numbers, where the value is a weight or a constant
        self.sizes: np.ndarray | None = None  # symbolic content of a small integer value: shape arithmetic
        self.anchor: Anchor | None = None
        self.node: Node | None = None
        self.index = 0

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_constant(self) -> bool:
        """A constant without a name: it may be folded. A weight may not."""
        return self.const is not None and not self.const.name

    def array(self) -> np.ndarray:
        """The numbers of a weight or constant."""
        if self.const is None:
            raise TypeError(f"{self} is computed when the network runs")
        return self.const.array()

    def content(self) -> Any:
        """An integer value's numbers where they are known before the run, sizes included; None where they are not."""
        if self.is_constant:
            return _plain(self.array())
        return _plain(self.sizes) if self.sizes is not None else None

    def transpose(self, *perm: int) -> Value:
        """The value with its axes in another order: a view of a weight, a Transpose of anything else."""
        from .ops.transpose import Transpose

        return self if perm == tuple(range(self.rank)) else Transpose(perm=perm)(self)

    def reshape(self, *shape: Dim) -> Value:
        """The value under another shape: a view of a weight, a Reshape of anything else."""
        from .ops.shape import Reshape

        return self if tuple(shape) == self.shape else Reshape(shape=tuple(shape))(self)

    def cast(self, dtype: Any) -> Value:
        """The value in another dtype."""
        from .ops.cast import Cast

        return self if np.dtype(dtype) == self.dtype else Cast(dtype=np.dtype(dtype).name)(self)

    def __str__(self) -> str:
        if self.const is not None:
            return str(self.const)
        return self.name

    def __repr__(self) -> str:
        return f"<{self}: {self.dtype}[{', '.join(map(str, self.shape))}]>"


def _plain(content: Any) -> Any:
    content = np.asarray(content).tolist()
    return tuple(content) if isinstance(content, list) else content


@dataclasses.dataclass(eq=False)
class Node:
    """One operator applied to values."""

    op: Op
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value, ...]
    name: str = ""  # the source's layer, decoded: "encoder.conv1"
    source: str = ""  # "keras Conv2D 'conv1'": every message points back here
    left_out: frozenset[str] = frozenset()  # native arguments the source left to its framework's default
    roundings: float = 0.0  # of its largest operand, by which fast math may have moved its result

    @property
    def native_name(self) -> str:
        """What the source itself calls the layer: what `source` quotes."""
        quoted = re.search("""(['"])([^'"]+)\\1$""", self.source)
        return quoted[2] if quoted else ""

    def __str__(self) -> str:
        outs = ", ".join(o.name for o in self.outputs)
        ins = ", ".join("-" if i is None else str(i) for i in self.inputs)
        shape = "; ".join(f"{o.dtype}[{', '.join(map(str, o.shape))}]" for o in self.outputs)
        return f"{outs:<28} = {self.op}({ins})  # {shape}" + (f", from {self.source}" if self.source else "")


class Graph:
    """Nodes in execution order, with named inputs and outputs.

    `scope` and `source` are what the next emitted nodes are attributed to; engines set them call by call.
    """

    def __init__(self) -> None:
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.output_names: list[str] = []
        self.nodes: list[Node] = []
        self.framework = ""
        self.description = ""
        self.input_perms: list[tuple[int, ...] | None] = []  # how a port's layout differs from the source's, where it does
        self.output_perms: list[tuple[int, ...] | None] = []
        self.classes: dict[str, str] = {}  # by scope: what the source calls the class of its module
        self.structure: Any = None  # the source's nesting of its outputs, for targets that can hold one
        self.notes: list[str] = []  # what the user should know: dimensions that became static, and why
        self.program: Any = None  # runs the source itself, value by value
        self.raw: Graph | None = None  # as it was read, in the source's own layout, where passes have changed it
        self.passes: tuple[Callable[[Graph], Graph], ...] = ()  # what made this of `raw`, or is to be done to it
        self.source = ""
        self.left_out: frozenset[str] = frozenset()
        self._names: dict[str, int] = {}

    def unique(self, name: str) -> str:
        """`name`, or name_1, name_2 ... where it is taken."""
        fresh = name
        while fresh in self._names:
            self._names[name] += 1
            fresh = f"{name}_{self._names[name]}"
        self._names[fresh] = 0
        return fresh

    def input(self, name: str, shape: Shape, dtype: Any) -> Value:
        """A new graph input."""
        value = Value(self, self.unique(name), shape, dtype)
        self.inputs.append(value)
        return value

    def parameter(self, parameter: Parameter) -> Value:
        """A weight or constant as an operand."""
        return Value(self, parameter.name, parameter.shape, parameter.dtype, parameter)

    def constant(self, array: Any, dtype: Any = None) -> Value:
        """An unnamed constant."""
        return self.parameter(Parameter.constant(np.asarray(array, dtype)))

    def of_sizes(self, sizes: Any, dtype: Any = np.int64) -> Value:
        """An integer value known as sizes: constant where all are plain ints."""
        content = np.asarray(sizes, dtype=object)
        if not any(isinstance(s, Size) for s in content.reshape(-1)):
            return self.constant(content.astype(dtype))
        value = Value(self, self.unique("sizes"), content.shape, dtype)
        value.sizes = content
        return value

    def fresh(self, name: str) -> Size:
        """A size that only a run tells, for a dimension of a result: see `measures`."""
        return measured(self.unique(f"?{name}")[1:])

    def emit(self, op: Op, operands: Iterable[Any]) -> tuple[Value, ...]:
        """Apply `op`: view a weight, fold constants and shape arithmetic, or append a node."""
        first = next((o.dtype for o in operands if isinstance(o, Value)), None)
        values = tuple(o if o is None or isinstance(o, Value) else self.constant(o, _scalar_dtype(o, first)) for o in operands)
        if (view := op.view(*values)) is not None:
            return (self.parameter(view),)
        if (told := op.told(*values)) is not None:
            return (told,)
        live = [v for v in values if v is not None]
        if live and all(v.is_constant for v in live) and op.deterministic and op.folds and not op.open:
            results = op.reference(*(v.array() if v is not None else None for v in values))
            return tuple(self.constant(r) for r in (results if isinstance(results, tuple) else (results,)))
        if op.symbolic and any(v.sizes is not None for v in live) and all(v.sizes is not None or v.is_constant for v in live):
            contents = (None if v is None else v.sizes if v.sizes is not None else v.array().astype(object) for v in values)
            with contextlib.suppress(TypeError):  # what sizes cannot say (half of one, a comparison) is left to the run
                results = op.reference(*contents)
                results = results if isinstance(results, tuple) else (results,)
                return tuple(self.of_sizes(r, kind) for r, (_, kind) in zip(results, op.infer(*values), strict=True))
        outputs = tuple(Value(self, "", shape, dtype) for shape, dtype in op.infer(*values))
        node = Node(op, values, outputs, source=self.source, left_out=self.left_out)
        for index, value in enumerate(outputs):
            value.node, value.index = node, index
        self.nodes.append(node)
        return outputs

    def run(self, *arrays: np.ndarray, watch: Callable[[Value, np.ndarray], Any] | None = None) -> list[np.ndarray]:
        """Compute the outputs with the operators' numpy references.

        Arrays are in the order and layout of `inputs`; `watch(value, array)` sees every value computed.
        """
        return interpret(self, arrays, watch=watch)

    def all_nodes(self) -> Iterator[Node]:
        """Every node, and after each those of the graphs that its operator holds."""
        for node in self.nodes:
            yield node
            for body in node.op.bodies:
                yield from body.all_nodes()

    def parameters(self) -> list[Parameter]:
        """Every named weight once, in the order of first use; those of graphs inside operators too."""
        found: dict[int, Parameter] = {}
        for node in self.all_nodes():
            for value in node.inputs:
                if value is not None and value.const is not None and value.const.name:
                    found.setdefault(id(value.const.root), value.const)
        return list(found.values())

    def __str__(self) -> str:
        lines = [f"{self.description or 'graph'}", *(f"input  {v!r}" for v in self.inputs)]
        for node in self.nodes:
            lines.append(str(node))
            for body in node.op.bodies:
                lines += [f"    {line}" for line in str(body).splitlines()]
        lines += [f"output {name} = {value!r}" for name, value in zip(self.output_names, self.outputs, strict=True)]
        return "\n".join(lines)


def _scalar_dtype(operand: Any, dtype: np.dtype | None) -> Any:
    """A bare Python number takes the dtype of the value beside it, as every framework does."""
    return dtype if isinstance(operand, int | float) and not isinstance(operand, bool) else None


def claim(value: Value, shape: Iterable[Dim | None] | None, dtype: Any, where: str) -> None:
    """Check what an importer produced against what the source says of it; None is a size, or a shape, it does not know."""
    stated = value.shape if shape is None else tuple(shape)
    fits = len(stated) == value.rank and all(s is None or may_agree(v, s) for v, s in zip(value.shape, stated, strict=True))
    if not fits or np.dtype(dtype) != value.dtype:
        raise AssertionError(
            f"{where}: the adapter yields {value.dtype}[{', '.join(map(str, value.shape))}], "
            f"the source computes {np.dtype(dtype)}[{', '.join(map(str, stated))}]"
        )


class Rewrite:
    """A new graph in the making out of an old one: the base of every pass.

    Nodes are copied or replaced one by one; names, sources and anchors go along.
    """

    def __init__(self, old: Graph):
        self.old = old
        self.new = Graph()
        for field in ("framework", "description", "classes", "structure", "program", "input_perms", "output_perms"):
            setattr(self.new, field, getattr(old, field))
        self.new.notes = list(old.notes)
        self.new._names = dict(old._names)
        self._made: dict[int, Value] = {}
        self._kept: list[Value] = []  # what `_made` knows by id: a freed value would hand its id on to another
        for value in old.inputs:
            self.input(value, value.shape)

    def input(self, old: Value, shape: Shape) -> Value:
        """Declare the new graph's counterpart of an input, under the same name."""
        value = Value(self.new, old.name, shape, old.dtype)
        value.anchor = old.anchor
        self.new.inputs.append(value)
        return self.put(old, value)

    def put(self, old: Value, new: Value) -> Value:
        """From now on `old` is `new`."""
        self._made[id(old)] = new
        self._kept.append(old)
        return new

    def get(self, old: Value | None) -> Value | None:
        """The new counterpart of an old value."""
        if old is None or id(old) in self._made:
            return None if old is None else self._made[id(old)]
        if old.const is not None:
            return self.put(old, self.new.parameter(old.const))
        if old.sizes is not None:
            return self.put(old, self.new.of_sizes(old.sizes, old.dtype))
        raise KeyError(f"{old!r} is used before it is computed")

    def emit(self, like: Node, op: Op, operands: Iterable[Any], name: str | None = None) -> tuple[Value, ...]:
        """Apply an operator in the new graph on behalf of an old node."""
        count = len(self.new.nodes)
        self.new.source, self.new.left_out = like.source, like.left_out
        outputs = self.new.emit(op, tuple(operands))
        for node in self.new.nodes[count:]:
            node.name = like.name if name is None else name
            node.roundings = like.roundings if type(node.op) is type(like.op) else 0.0
        return outputs

    def copy(self, node: Node, op: Op | None = None, inputs: Iterable[Value | None] | None = None) -> tuple[Value, ...]:
        """Take an old node over, its operator or its (new) inputs replaced, its outputs put in place of the old ones."""
        operands = tuple(self.get(v) for v in node.inputs) if inputs is None else tuple(inputs)
        outputs = self.emit(node, op or node.op, operands)
        for old, new in zip(node.outputs, outputs, strict=True):
            inherit(new, old)
            self.put(old, new)
        return outputs

    def finish(self, outputs: Iterable[Value] | None = None) -> Graph:
        """The new graph, its outputs set, its unused nodes removed."""
        self.new.outputs = [self.get(v) for v in self.old.outputs] if outputs is None else list(outputs)  # type: ignore[misc]
        self.new.output_names = list(self.old.output_names)
        prune(self.new)
        label(self.new)
        return self.new


def inherit(new: Value, old: Value, *steps: Step) -> None:
    """Anchor a value where the one it replaces was; `steps` make the new numbers of the old."""
    if new.const is None and new.anchor is None and old.anchor is not None:
        new.anchor = old.anchor.then(*steps)


def label(graph: Graph) -> None:
    """Name every computed value after its node."""
    graph._names = {value.name: 0 for value in graph.inputs}
    for node in graph.nodes:
        base = node.name or snake(type(node.op).__name__)
        for index, value in enumerate(node.outputs):
            value.name = graph.unique(base if len(node.outputs) == 1 else f"{base}:{index}")


def snake(name: str) -> str:
    """LeakyRelu -> leaky_relu."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def prune(graph: Graph) -> None:
    """Remove nodes whose results nothing reads, and order the others: each output's, in turn, inputs before users.

    The order follows from the structure alone, so that equal networks give equal graphs whatever framework they come from.
    """
    kept: list[Node] = []
    state: dict[int, bool] = {}  # by node: whether its inputs are all placed
    of_size, read = measures(graph), sources(graph)
    outputs = list(graph.outputs)
    outputs += [of_size[s][0] for v in outputs if v.sizes is not None for s in sorted(symbols(v.sizes.tolist())) if s in of_size]
    waiting = [v.node for v in reversed(outputs) if v.node is not None]
    while waiting:
        node = waiting.pop()
        if state.get(id(node)):
            continue
        before = [v.node for v in read(node) if v.node is not None and not state.get(id(v.node))]
        if before:
            waiting += [node, *reversed(before)]
        else:
            state[id(node)] = True
            kept.append(node)
    graph.nodes = kept


def consumers(graph: Graph) -> dict[int, list[Node]]:
    """The nodes that read each value, by the value's id; a value that is a graph output has None among them."""
    found: dict[int, list[Any]] = {}
    for node in graph.nodes:
        for value in node.inputs:
            if value is not None:
                found.setdefault(id(value), []).append(node)
    for value in graph.outputs:
        found.setdefault(id(value), []).append(None)
    return found
