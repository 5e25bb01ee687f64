"""Recurrent layers: one operator for one layer, in one direction or both.

| meaning         | keras                     | torch                        | onnx                               |
|-----------------|---------------------------|------------------------------|------------------------------------|
| gates of Lstm   | i f c o (canonical)       | i f g o                      | i o f c                            |
| gates of Gru    | z r h (canonical)         | r z n                        | z r h                              |
| biases          | one; Gru reset_after: two | two                          | two in one tensor                  |
| reset_after     | reset_after, True         | always                       | linear_before_reset, 0             |
| sequence        | (batch, time, features)   | (time, batch, features), batch_first | (time, batch, features)    |
| both directions | Bidirectional             | bidirectional                | direction                          |
| activations     | any                       | tanh and sigmoid; RNN: relu  | a list of names                    |
| projection      | -                         | proj_size                    | -                                  |

Several layers of PyTorch are several operators. What a framework has no layer for is written out step by step where
the number of steps is known, and refused where it is not. The adapters stand in recurrent_keras, recurrent_torch and
recurrent_onnx.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from ..op import Link, Moved, Op, Operand, Parameter, Perm, Shape, Value, agree, case, op, weight
from .activation import LeakyRelu
from .gather import Gather
from .hard import SIXTH, HardSigmoid
from .index import Select
from .join import Concat
from .moments import widened
from .precision import IN_32_BITS
from .relu import Relu
from .rough import Rough, Wired
from .smooth import Sigmoid, Softsign, Tanh

BACKWARD = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}  # by direction: each pass


class Cell(NamedTuple):
    """The operands of one pass over the sequence: weights (gates stacked along axis 0), then initial states."""

    kernel: Any  # (gates * hidden, features)
    recurrent_kernel: Any  # (gates * hidden, out)
    bias: Any = None  # (gates * hidden,)
    recurrent_bias: Any = None  # (gates * hidden,)
    projection: Any = None  # (out, hidden); None: out is hidden
    h: Any = None  # (batch, out); None: zeros
    c: Any = None  # (batch, hidden); None: zeros


FIELDS = len(Cell._fields)
WEIGHTS = tuple(1 + FIELDS * i + j for i in (0, 1) for j in range(5))


class Recurrent(Op):
    """What the three have in common. Operands: x, then for each pass those of `Cell`.

    Results: the sequence of h, passes side by side in its features and in the order of time; then for each pass the
    last h, and of an Lstm the last c. `activations` are operators on a whole array; None is no activation.
    """

    time_axis: int  # 0 or 1; the other one is the batch
    direction: str  # "forward", "reverse", "bidirectional"
    activations: tuple[Any, ...]
    gates: ClassVar[int]
    states: ClassVar[int] = 1
    tolerance = "sum"
    weights = WEIGHTS

    def cells(self, operands: Any) -> list[Cell]:
        """The operands of each pass."""
        count = len(BACKWARD[self.direction])
        return [Cell(*operands[1 + FIELDS * i : 1 + FIELDS * (i + 1)]) for i in range(count)]

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        x, cells = inputs[0], self.cells(inputs)
        if x.rank != 3 or len(inputs) != 1 + FIELDS * len(cells):
            raise ValueError(f"{self} takes a sequence and {FIELDS} operands for each pass, received {inputs}")
        batch, states, features = x.shape[1 - self.time_axis], [], 0
        for cell in cells:
            hidden, out = cell.kernel.shape[0] // self.gates, cell.recurrent_kernel.shape[1]
            rows = self.gates * hidden
            shapes = ((rows, x.shape[2]), (rows, out), (rows,), (rows,), (out, hidden), (batch, out), (batch, hidden))
            for name, value, shape in zip(Cell._fields, cell, shapes, strict=True):
                if value is not None and not agree(value.shape, shape):
                    raise ValueError(f"{self}: {name} should be {shape}, not {value!r}")
            states += [(batch, size) for size in (out, hidden)[: self.states]]
            features += out
        return [(s, x.dtype) for s in ((*x.shape[:2], features), *states)]

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        """Batch and time may change places."""
        if perm != (1, 0, 2):
            return None
        turned: Any = dataclasses.replace(self, time_axis=1 - self.time_axis)  # type: ignore[type-var]
        others = (None,) * (len(inputs) - 1)
        return Moved(turned, (perm, *others), (perm, *(None,) * (self.states * len(self.cells(inputs)))))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        return [Link({0: 2} | {1 + FIELDS * i: 1 for i in range(len(self.cells(inputs)))}, None)]

    def step(self, gates: Any, h: Any, c: Any, cell: Cell) -> tuple[Any, Any]:
        """The next h and c, of what the kernel makes of the input."""
        raise NotImplementedError

    def scan(self, x: Any, operands: Any, steps: int, batch: Any) -> tuple[Any, ...]:
        """All results, in the arithmetic of x."""
        sequences, states = [], []
        for cell, backward in zip(self.cells(operands), BACKWARD[self.direction], strict=True):
            hidden, out = cell.kernel.shape[0] // self.gates, cell.recurrent_kernel.shape[1]
            h = x.zeros(batch, out) if cell.h is None else cell.h
            c = x.zeros(batch, hidden) if cell.c is None and self.states == 2 else cell.c
            gates, found = x.linear(cell.kernel, cell.bias), {}
            for time in reversed(range(steps)) if backward else range(steps):
                h, c = self.step(gates.at(time, self.time_axis), h, c, cell)
                found[time] = h
            sequences.append(x.stack([found[t] for t in range(steps)], self.time_axis))
            states += [h, c][: self.states]
        return x.concat(sequences), *states

    def run(self, arrays: tuple[np.ndarray, ...], errors: bool) -> tuple[Rough, ...]:
        """Results as arrays, with their errors if wanted."""

        def rough(array: np.ndarray | None) -> Rough | None:
            return None if array is None else Rough(array, np.zeros(array.shape) if errors else None)

        x, *rest = widened(*arrays)
        passes = (Cell(*rest[i : i + FIELDS]) for i in range(0, len(rest), FIELDS))
        operands = (x, *(v for p in passes for v in (*p[:5], rough(p.h), rough(p.c))))
        return self.scan(rough(x), operands, x.shape[self.time_axis], x.shape[1 - self.time_axis])

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(r.value.astype(arrays[0].dtype) for r in self.run(arrays, errors=False))

    def terms(self, *arrays: np.ndarray) -> tuple[int, tuple[np.ndarray, ...]]:
        """The errors of every step, carried through the steps that follow: see `Rough`."""
        return 1, tuple(r.error for r in self.run(arrays, errors=True))  # type: ignore[misc]

    def unrolled(self, *operands: Value | None) -> list[Value]:
        """The same results in other operators, step by step. The number of steps must be known."""
        x = operands[0]
        steps = x.shape[self.time_axis]
        assert isinstance(steps, int)
        wired = (x, *(Wired(v) if v is not None and i % FIELDS >= 5 else v for i, v in enumerate(operands[1:])))
        return [r.value for r in self.scan(Wired(x), wired, steps, x.shape[1 - self.time_axis])]


@op
class Lstm(Recurrent):
    """Long short-term memory: c = f * c + i * g, h = o * activation(c), gates i, f, g, o in the kernels.

    activations: of i, f and o; of g; of c. With a projection, h is projected before it goes on.
    """

    time_axis: int
    direction: str
    activations: tuple[Any, ...]
    gates = 4
    states = 2

    def step(self, gates: Any, h: Any, c: Any, cell: Cell) -> tuple[Any, Any]:
        gate, inner, outer = self.activations
        i, f, g, o = (gates + h.linear(cell.recurrent_kernel, cell.recurrent_bias)).parts(4)
        c = f.apply(gate) * c + i.apply(gate) * g.apply(inner)
        h = o.apply(gate) * c.apply(outer)
        return h if cell.projection is None else h.linear(cell.projection, None), c


@op
class Gru(Recurrent):
    """Gated recurrent unit: h = z * h + (1 - z) * n, gates z, r, n in the kernels.

    activations: of z and r; of n. reset_after: r multiplies what the recurrent kernel makes of h (and its bias), rather
    than h itself.
    """

    time_axis: int
    direction: str
    activations: tuple[Any, ...]
    reset_after: bool
    gates = 3

    def step(self, gates: Any, h: Any, c: Any, cell: Cell) -> tuple[Any, Any]:
        gate, inner = self.activations
        hidden = cell.recurrent_kernel.shape[1]
        kernel, bias = cell.recurrent_kernel, cell.recurrent_bias
        x_z, x_r, x_n = gates.parts(3)
        if self.reset_after:
            h_z, h_r, h_n = h.linear(kernel, bias).parts(3)
            n = (x_n + (x_r + h_r).apply(gate) * h_n).apply(inner)
        else:
            h_z, h_r = h.linear(h.rows(kernel, 0, 2 * hidden), h.rows(bias, 0, 2 * hidden)).parts(2)
            rows = (2 * hidden, 3 * hidden)
            n = (x_n + ((x_r + h_r).apply(gate) * h).linear(h.rows(kernel, *rows), h.rows(bias, *rows))).apply(inner)
        z = (x_z + h_z).apply(gate)
        return z * h + z.complement() * n, None


@op
class Rnn(Recurrent):
    """The simple recurrent layer: h = activation(kernel @ x + recurrent_kernel @ h + biases)."""

    time_axis: int
    direction: str
    activations: tuple[Any, ...]
    gates = 1

    def step(self, gates: Any, h: Any, c: Any, cell: Cell) -> tuple[Any, Any]:
        return (gates + h.linear(cell.recurrent_kernel, cell.recurrent_bias)).apply(self.activations[0]), None


USUAL: dict[type[Recurrent], tuple[Any, ...]] = {
    Lstm: (Sigmoid(), Tanh(), Tanh()),
    Gru: (Sigmoid(), Tanh()),
    Rnn: (Tanh(),),
}


# --- what the adapters share ------------------------------------------------------------------------------------------


def written_out(fw: Any, op: Recurrent, why: str) -> tuple[Any, ...]:
    """The layer step by step, where the framework has none like it; refused where the number of steps is not known."""
    if not isinstance(fw.inputs[0].shape[op.time_axis], int):
        raise fw.refuse(
            f"{op} over a number of steps that is known only at run time", why=why,
            instead="Fix the length of the sequence with input_shapes",
        )  # fmt: skip
    return fw.composed(op.unrolled)


def read_results(fw: Any) -> list[bool]:
    """Which results of the node at hand anything reads."""
    users = {id(v) for node in fw.graph.nodes for v in node.inputs} | {id(v) for v in fw.graph.outputs}
    return [id(v) in users for v in fw.node.outputs]


def entry(value: Value, axis: int, index: int) -> Value:
    """One entry along an axis, where it comes from: states are often put together just to be taken apart."""
    if value.node is not None and value.node.op == Concat(axis=axis) and len(value.node.inputs) == value.shape[axis]:
        value, index = value.node.inputs[index], 0  # type: ignore[assignment]
    if value.shape[axis] == 1:
        return value.reshape(*value.shape[:axis], *value.shape[axis + 1 :])
    return Select(axis=axis, index=index)(value)


def reordered(value: Any, order: tuple[int, ...], axis: int = 0) -> Value | None:
    """A weight whose gates along `axis` come in another order: entry k is gate order[k]."""
    if value is None or order == tuple(range(len(order))):
        return value
    size = value.shape[axis] // len(order)
    index = np.concatenate([np.arange(g * size, (g + 1) * size) for g in order])
    return Gather(axis=axis)(value, value.graph.constant(index))


def summed(fw: Any, first: Value | None, second: Value | None) -> Value | None:
    """Two biases as the one that a framework has."""
    if first is None or second is None:
        return second if first is None else first
    return merged(fw, _sum, first, second)


def _sum(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first + second


def merged(fw: Any, function: Callable[..., np.ndarray], *values: Value) -> Value:
    """One weight made of several when it is written; it is named and trained as they are."""
    parameters = [v.const for v in values]
    key = ("merged", function, *(p.identity for p in parameters))
    if key not in fw.made:  # a layer that is called twice has the same weight both times
        example = function(*(np.zeros(p.shape, p.dtype) for p in parameters))
        fw.made[key] = fw.graph.parameter(
            Parameter(
                name=next((p.name for p in parameters if p.name), ""),
                shape=example.shape,
                dtype=example.dtype,
                read=lambda: function(*(p.array() for p in parameters)),
                root=parameters,
                trainable=any(p.trainable for p in parameters),
            )
        )
    return fw.made[key]


# --- cases ------------------------------------------------------------------------------------------------------------


def _case(kind: type[Recurrent], name: str, *, direction: str = "forward", time_axis: int = 1, bias: str = "both",
          states: bool = False, projection: int = 0, activations: Any = None, dtype: str = "float32",
          reasons: Mapping[str, Any] | None = None, **fields: Any) -> None:  # fmt: skip
    """Three steps of a batch of two, four features, five hidden numbers: all different. bias: both, first, none."""
    batch, steps, features, hidden = 2, 3, 4, 5
    out, rows = projection or hidden, kind.gates * hidden
    x = Operand((batch, steps, features) if time_axis == 1 else (steps, batch, features), dtype=dtype)

    def drawn(*shape: int) -> Operand:
        return weight(*shape, dtype=dtype)

    cell = Cell(
        drawn(rows, features), drawn(rows, out), drawn(rows) if bias != "none" else None,
        drawn(rows) if bias == "both" else None, drawn(out, hidden) if projection else None,
        Operand((batch, out), dtype=dtype) if states else None,
        Operand((batch, hidden), dtype=dtype) if states and kind.states == 2 else None,
    )  # fmt: skip
    op = kind(time_axis=time_axis, direction=direction, activations=activations or USUAL[kind], **fields)
    case(f"{kind.__name__.lower()}/{name}", op, x, *cell * len(BACKWARD[direction]), **(reasons or {}))


_steps = "step by step"
for _kind, _own in ((Lstm, {}), (Gru, {"reset_after": True}), (Rnn, {})):
    for _direction in BACKWARD:
        _reasons = {"composed": {"torch": "between flips"} if _direction == "reverse" else {}}
        _extra = {"direction": _direction, "reasons": _reasons, **_own}
        _case(_kind, _direction, bias="first", **_extra)
        _case(_kind, f"{_direction}_time_first", time_axis=0, states=True, **_extra)
    _case(_kind, "no_bias", bias="none", **_own)
    _case(_kind, "states", states=True, **_own)
    _case(_kind, "float16", dtype="float16", **_own)
    _reasons = {"composed": {"onnx": _steps}, "refused": IN_32_BITS}
    _case(_kind, "float64", dtype="float64", reasons=_reasons, **_own)

_in_torch, _not_in_onnx = {"torch": _steps}, {"keras": _steps, "onnx": _steps}
for _direction in ("forward", "bidirectional"):
    _case(Gru, f"reset_before_{_direction}", direction=_direction, reset_after=False, states=True,
          reasons={"composed": _in_torch | {"keras": "the two biases come back as their sum"}})  # fmt: skip
    _case(Lstm, f"projection_{_direction}", direction=_direction, projection=3, states=True,
          reasons={"composed": _not_in_onnx})  # fmt: skip
_leaky, _hard = LeakyRelu(negative_slope=0.3), HardSigmoid(alpha=0.2, beta=0.5)
_case(Lstm, "keras_activations", activations=(SIXTH, _leaky, _leaky), reasons={"composed": _in_torch})
_case(Lstm, "onnx_activations", activations=(_hard, Softsign(), None), bias="first",
      reasons={"composed": {"torch": _steps, "keras": _steps}})  # fmt: skip
_case(Gru, "activations", activations=(Softsign(), _leaky), reset_after=True, reasons={"composed": _in_torch})
_case(Rnn, "relu", activations=(Relu(),), direction="bidirectional")
_case(Rnn, "linear", activations=(None,), time_axis=0, reasons={"composed": _in_torch})
