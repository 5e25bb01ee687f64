"""Channels-first and channels-last meet here and nowhere else.

The canonical graph is channels-first. An engine whose framework keeps channels last spells an operator as
`Transpose -> op -> Transpose` and thinks no further; `settle` then slides every transpose down, past each operator
that says how it works on permuted data (`Op.under`), until transposes cancel or reach something that needs them.
Nothing here may change a number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .graph import Graph, Node, Rewrite, Value, consumers, inherit
from .op import Moved, Op, Perm, invert, op
from .ops.shape import Reshape
from .ops.transpose import Transpose
from .sizes import Shape


def to_first(rank: int) -> Perm:
    """The permutation from channels-last to channels-first."""
    return (0, rank - 1, *range(1, rank - 1))


def to_last(rank: int) -> Perm:
    """The permutation from channels-first to channels-last."""
    return (0, *range(2, rank), 1)


def compose(first: Perm, second: Perm) -> Perm:
    """The permutation that does `first`, then `second`."""
    return tuple(first[i] for i in second)


def identity(rank: int) -> Perm:
    """The permutation that moves nothing."""
    return tuple(range(rank))


@op
class ChannelsLast(Op):
    """An operator on data whose channels stand last; its fields, kernels and pads stay as in the canonical form."""

    op: Op

    @property
    def tolerance(self) -> str:  # type: ignore[override]
        return self.op.tolerance

    def terms(self, *arrays: np.ndarray) -> tuple[Any, np.ndarray]:
        length, magnitude = self.op.terms(arrays[0].transpose(to_first(arrays[0].ndim)), *arrays[1:])
        return length, magnitude.transpose(to_last(magnitude.ndim))

    def readings(self, *arrays: Any) -> Any:
        found = self.op.readings(arrays[0].transpose(to_first(arrays[0].ndim)), *arrays[1:])
        return {name: array.transpose(to_last(array.ndim)) for name, array in found.items()}

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(_permuted(s, to_last(len(s))), d) for s, d in self.op.infer(self.first(inputs[0]), *inputs[1:])]

    def reference(self, *arrays: Any) -> Any:
        results = self.op.reference(arrays[0].transpose(to_first(arrays[0].ndim)), *arrays[1:])
        turned = tuple(r.transpose(to_last(r.ndim)) for r in (results if isinstance(results, tuple) else (results,)))
        return turned if isinstance(results, tuple) else turned[0]

    @staticmethod
    def first(value: Value | None) -> Value:
        """A stand-in for a channels-last value with its channels-first shape."""
        assert value is not None
        return Value(value.graph, value.name, _permuted(value.shape, to_first(value.rank)), value.dtype)


def wrap(graph: Graph, wanted: Callable[[Node], bool]) -> Graph:
    """Spell every node that `wanted` picks with channels-last data, a transpose before and one after it."""
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        data = rewrite.get(node.inputs[0]) if node.inputs else None
        if data is None or data.rank < 3 or not wanted(node):
            rewrite.copy(node)
            continue
        turned = rewrite.emit(node, Transpose(perm=to_last(data.rank)), (data,), name="")
        others = tuple(rewrite.get(v) for v in node.inputs[1:])
        outputs = rewrite.emit(node, ChannelsLast(op=node.op), (*turned, *others))
        for old, new in zip(node.outputs, outputs, strict=True):
            inherit(new, old, ("transpose", to_last(new.rank)))
            (back,) = rewrite.emit(node, Transpose(perm=to_first(new.rank)), (new,), name="")
            inherit(back, old)
            rewrite.put(old, back)
    return rewrite.finish()


def settle(graph: Graph) -> Graph:
    """Slide transposes towards the outputs and cancel them. Computes the same outputs from the same inputs."""
    return _Settle(graph).run()


class _Settle:
    """One sweep in execution order; every old value is known as (new value, permutation still to be applied)."""

    def __init__(self, graph: Graph):
        self.rewrite = Rewrite(graph)
        self.graph = graph
        self.pending: dict[int, tuple[Value, Perm]] = {}
        self.placed: dict[tuple[int, Perm], Value] = {}  # transposes that stand in the new graph
        self.kept: list[Value] = []  # what `placed` knows by id: a freed value would hand its id on to another
        self.node: Node | None = None

    def run(self) -> Graph:
        for old, new in zip(self.graph.inputs, self.rewrite.new.inputs, strict=True):
            self.pending[id(old)] = (new, identity(new.rank))
        for node in self.graph.nodes:
            self.node = node
            self.visit(node)
        return self.rewrite.finish([self.place(*self.base(v)) for v in self.graph.outputs])

    def base(self, old: Value) -> tuple[Value, Perm]:
        if id(old) not in self.pending:
            new = self.rewrite.get(old)
            assert new is not None
            self.pending[id(old)] = (new, identity(new.rank))
        return self.pending[id(old)]

    def visit(self, node: Node) -> None:
        if isinstance(node.op, Transpose):
            new, perm = self.base(node.inputs[0])  # type: ignore[arg-type]
            old, turned = node.outputs[0], compose(perm, node.op.perm)
            inherit(new, old, ("transpose", invert(turned)))
            self.pending[id(old)] = (new, turned)
            return
        moved = self.choose(node)
        operands = [self.operand(v, p) for v, p in zip(node.inputs, moved.inputs, strict=True)]
        outputs = self.rewrite.emit(node, moved.op, operands)
        for old, new, turn in zip(node.outputs, outputs, moved.outputs, strict=True):
            turned = identity(new.rank) if turn is None else turn
            inherit(new, old, *(() if turned == identity(new.rank) else (("transpose", invert(turned)),)))
            self.pending[id(old)] = (new, turned)

    def choose(self, node: Node) -> Moved:
        """How the node works with the fewest new transposes; sliding on wins a tie."""
        still = Moved(node.op, (None,) * len(node.inputs), (None,) * len(node.outputs))
        options = [still]
        perms = {self.base(v)[1] for v in node.inputs if v is not None and v.const is None}
        for perm in sorted(p for p in perms if p != identity(len(p))):
            moved = node.op.under(perm, node.inputs)
            if moved is not None:
                options.append(moved)
        costs = [sum(self.cost(v, p) for v, p in zip(node.inputs, m.inputs, strict=True)) for m in options]
        best = min(costs)
        return options[max(i for i, c in enumerate(costs) if c == best)]

    def missing(self, old: Value, wanted: Perm | None) -> tuple[Value, Perm]:
        """The new value and the permutation of it that, permuted by `wanted`, is `old`."""
        new, perm = self.base(old)
        if wanted is None:
            return new, perm
        if len(perm) < len(wanted):  # broadcasting: ones in front, where the data has more axes
            extra = len(wanted) - len(perm)
            perm = (*range(extra), *(p + extra for p in perm))
        return new, compose(perm, invert(wanted))

    def cost(self, old: Value | None, wanted: Perm | None) -> int:
        if old is None or old.const is not None:
            return 0
        new, perm = self.missing(old, wanted)
        if perm == identity(len(perm)) or new.rank == 0:
            return 0
        return 0 if (id(new), perm) in self.placed else 1

    def operand(self, old: Value | None, wanted: Perm | None) -> Value | None:
        if old is None:
            return None
        new, perm = self.missing(old, wanted)
        if new.rank < len(perm) and perm != identity(len(perm)) and new.rank:
            ones = (1,) * (len(perm) - new.rank)
            assert self.node is not None
            (new,) = self.rewrite.emit(self.node, Reshape(shape=(*ones, *new.shape)), (new,), name="")
        return self.place(new, perm) if new.rank == len(perm) else new

    def place(self, value: Value, perm: Perm) -> Value:
        """`value` with its axes permuted, by a transpose that is made once."""
        if perm == identity(value.rank):
            return value
        if (id(value), perm) not in self.placed:
            like = self.node or Node(Transpose(perm=perm), (), ())
            (turned,) = self.rewrite.emit(like, Transpose(perm=perm), (value,), name="")
            inherit(turned, value, ("transpose", perm))
            self.placed[id(value), perm] = turned
            self.kept.append(value)
        return self.placed[id(value), perm]


def native_ports(graph: Graph) -> Graph:
    """Drop transposes that stand directly at an input or output: the target gets its own layout there."""
    users = consumers(graph)
    perms: dict[int, Perm] = {}
    for value in graph.inputs:
        turns = {n.op.perm if n is not None and isinstance(n.op, Transpose) else None for n in users.get(id(value), [])}
        if len(turns) == 1 and (perm := turns.pop()) is not None:
            perms[id(value)] = perm
    rewrite = Rewrite(graph)
    for old, new in zip(graph.inputs, rewrite.new.inputs, strict=True):
        if id(old) in perms:
            new.shape = _permuted(old.shape, perms[id(old)])
            if old.anchor is not None:
                new.anchor = old.anchor.then(("transpose", perms[id(old)]))
    for node in graph.nodes:
        if isinstance(node.op, Transpose) and node.inputs[0] is not None and id(node.inputs[0]) in perms:
            rewrite.put(node.outputs[0], rewrite.get(node.inputs[0]))  # type: ignore[arg-type]
        else:
            rewrite.copy(node)
    outputs: list[Any] = []
    output_perms: list[Perm | None] = []
    for old in graph.outputs:
        maker = old.node
        if maker is not None and isinstance(maker.op, Transpose) and users[id(old)] == [None]:
            outputs.append(rewrite.get(maker.inputs[0]))
            output_perms.append(invert(maker.op.perm))
        else:
            outputs.append(rewrite.get(old))
            output_perms.append(None)
    rewrite.new.input_perms = [perms.get(id(value)) for value in graph.inputs]
    rewrite.new.output_perms = output_perms
    return rewrite.finish(outputs)


def transposes(graph: Graph) -> list[Node]:
    """The transposes of a graph that move data: those that only move axes of size 1 are reshapes."""
    return [n for n in graph.nodes if isinstance(n.op, Transpose) and n.inputs[0] is not None and _moves_data(n.inputs[0].shape, n.op.perm)]


def _moves_data(shape: Shape, perm: Perm) -> bool:
    long = [axis for axis in perm if shape[axis] != 1]
    return long != sorted(long)


def _permuted(shape: Shape, perm: Perm) -> Shape:
    return tuple(shape[p] for p in perm)
