"""Recurrent layers that leave steps out: a Scan whose body is a cell of Keras' own under a mask.

Such a body is known by what it computes. Every column of a result is a sum of products of functions of columns: body and cell
are compared in that form, where a sum has no order and a slice of a product is the product of a slice.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from ..op import Graph, Value, exports, op
from .compare import Where
from .control import Scan
from .dense import Dense
from .expand import uniform
from .index import Slice
from .join import Split
from .math import Add, Mul, Sub
from .precision import exact_in_keras
from .recurrent import USUAL, Cell, Gru, Lstm, Recurrent, Rnn, read_results
from .recurrent_keras import ACTIVATIONS, LAYERS, activation_to_keras, bias_to_keras, initializer
from .rough import Wired
from .shape import Reshape


@op
class MaskedRecurrent(Scan):
    """A Scan whose body `found_cell` reads: states and the last output, over a sequence and a mask, of axis 1."""


class Found(NamedTuple):
    """A cell in a body. zeros: the output of a step that is left out is zero, not the one before."""

    op: Recurrent
    cell: Cell
    zeros: bool


def is_masked(op: Any, inputs: Any) -> bool:
    """Whether a Scan is a recurrent layer of Keras under a mask."""
    if type(op) is not Scan or op.axes != (1, 1) or any(op.result_backwards) or any(a != 1 for a in op.result_axes):
        return False
    states, lists, captured = op.parts(inputs)
    x, mask = lists
    if captured or len(set(op.backwards)) > 1 or x.rank != 3 or mask.rank != 2 or mask.dtype != bool:
        return False
    return len(op.result_axes) < 2 and uniform(states[-1]) == 0 and found_cell(op.body) is not None


def found_cell(body: Graph) -> Found | None:
    """The cell that a body applies, and its weights; None where it is none that a layer of Keras says."""
    *states, x, _ = body.inputs
    dense = [
        n for n in body.nodes if isinstance(n.op, Dense) and all(v is None or v.const is not None for v in n.inputs[1:])
    ]
    entering, returning = ([n for n in dense if n.inputs[0] is v] for v in (x, states[0]))
    if len(entering) != 1 or len(returning) != 1 or not 2 <= len(states) <= 3:
        return None
    kernel, recurrent = entering[0].inputs[1], returning[0].inputs[1]
    gates = kernel.shape[0] // recurrent.shape[1]
    if kernel.shape[0] != recurrent.shape[0]:  # a Gru that resets before has its kernel in two
        return None
    kinds: dict[Any, tuple[Any, dict[str, Any]]] = {
        (4, 3): (Lstm, {}), (1, 2): (Rnn, {}), (3, 2): (Gru, {"reset_after": True}),
    }  # fmt: skip
    kind, fields = kinds.get((gates, len(states)), (None, {}))
    if kind is None:
        return None
    added = [v for n in body.nodes if isinstance(n.op, Add) for v in n.inputs if v.const is not None and v.const.name]
    bias = entering[0].inputs[2] or next(
        (v.reshape(kernel.shape[0]) for v in added if v.const.shape[-1] == kernel.shape[0]), None
    )
    cell = Cell(kernel, recurrent, bias, returning[0].inputs[2])
    unary = dict.fromkeys(n.op for n in body.nodes if len(n.inputs) == 1 and n.op in ACTIVATIONS)
    usual = USUAL[kind]
    for activations in (usual, *itertools.product((*unary, None), repeat=len(usual))):
        if kind is Lstm and activations[1] != activations[2]:
            continue
        made = kind(time_axis=1, direction="forward", activations=activations, **fields)
        zeros = _computes(body, made, cell)
        if zeros is not None:
            return Found(made, cell, zeros)
    return None


def _computes(body: Graph, op: Recurrent, cell: Cell) -> bool | None:
    """Whether a body is a step of this cell under a mask, and if so, whether it puts zeros where it leaves one out."""
    part, (*states, x, mask) = Graph(), body.inputs
    entry, *before = (Value(part, "", v.shape, v.dtype) for v in (x, *states))
    weights = Cell(*(v if v is None else part.parameter(v.const) for v in cell))
    gates = Wired(entry).linear(weights.kernel, weights.bias)
    h, c = op.step(gates, Wired(before[0]), Wired(before[1]), weights)
    terms = Terms({id(a): i for i, a in enumerate((*states, x, mask))})
    terms.inputs |= {id(a): i for i, a in enumerate((*before, entry))}
    new = [terms.of(v.value) for v in (h, c)[: op.states]]
    found = [terms.of(v) for v in body.outputs]
    steps = [terms.known("where", terms.of(mask), n, terms.of(s)) for n, s in zip(new, states, strict=False)]
    for zeros, kept in ((False, terms.of(states[-1])), (True, terms.number(np.zeros(1, states[-1].dtype)))):
        output = terms.known("where", terms.of(mask), new[0], kept)
        if None not in found and found == [*steps, *[output] * (len(found) - len(steps))]:
            return zeros
    return None


class Terms:
    """Columns of values in one form: a number for each, the same where the same is computed. None is not understood."""

    def __init__(self, inputs: dict[int, int]):
        self.inputs = inputs
        self.numbers: dict[Any, int] = {}
        self.parts: dict[Any, tuple[int, ...]] = {}  # of sums and products
        self.made: dict[Any, int | None] = {}

    def known(self, *form: Any) -> int | None:
        """The number of a form."""
        return None if None in form else self.numbers.setdefault(form, len(self.numbers))

    def number(self, array: np.ndarray) -> int | None:
        """Numbers of the network's own."""
        return self.known("number", array.shape, np.ascontiguousarray(array).tobytes())

    def joined(self, kind: str, *operands: int | None) -> int | None:
        """A sum or a product, whatever the order and the brackets."""
        if None in operands:
            return None
        flat = tuple(sorted(p for o in operands for p in self.parts.get((kind, o), (o,))))
        if len(flat) == 1:
            return flat[0]
        made = self.known(kind, flat)
        self.parts[kind, made] = flat
        return made

    def of(self, value: Value | None, start: int = 0, stop: int | None = None) -> int | None:
        """Some columns of a value."""
        key = id(value), start, stop
        if key not in self.made:
            self.made[key] = self._of(value, start, stop)
        return self.made[key]

    def _of(self, value: Any, start: int, stop: int | None) -> int | None:
        if value is None:
            return None
        if id(value) in self.inputs:
            whole = value.rank < 2 or (start == 0 and stop in (None, value.shape[-1]))
            return self.known("input", self.inputs[id(value)], *(() if whole else (start, stop)))
        if value.const is not None:
            array = value.array().reshape(-1)
            return (
                self.number(array if array.size == 1 else array[start:stop])
                if array.size == max((1, *value.shape))
                else None
            )
        node = value.node
        if isinstance(node.op, Reshape):
            (mask,) = node.inputs
            return self.of(mask) if mask.rank == 1 and value.rank == 2 and value.shape[1] == 1 else None
        if not isinstance(value.shape[-1], int) or value.rank != 2:
            return None
        stop = value.shape[-1] if stop is None else stop
        operands = node.inputs
        match node.op:
            case Dense():
                x, kernel, bias = operands
                if kernel.const is None:
                    return None
                product = self.known("dense", self.of(x), self.number(kernel.array()[start:stop]))
                return product if bias is None else self.joined("Add", product, self.of(bias, start, stop))
            case Split(axis=1, sizes=sizes):
                before = sum(sizes[: value.index])
                return self.of(operands[0], before + start, before + stop)
            case Slice(axes=(1,), starts=(first,), steps=(1,)):
                return self.of(operands[0], first + start, first + stop) if first >= 0 else None
            case Where():
                condition, *choices = operands
                return self.known("where", self.of(condition), *(self.of(c, start, stop) for c in choices))
        found = [self.of(v, start, stop) for v in operands]
        if isinstance(node.op, Add | Mul):
            return self.joined(type(node.op).__name__, *found)
        if isinstance(node.op, Sub):
            return self.known("difference", *found)
        return self.known("function", str(node.op), *found) if len(found) == 1 and node.op in ACTIVATIONS else None


@exports("keras", MaskedRecurrent)
def masked_recurrent_to_keras(op, keras, *operands):
    """The layer, called with its mask. What it gives out at the end is the last of its sequence."""
    exact_in_keras(keras, "a recurrent layer")
    found = found_cell(op.body)
    assert found is not None
    cell, states, (x, mask) = found.cell, *op.parts(operands)[:2]
    *finals, last, sequence = [*read_results(keras), False][: len(states) + 1]
    gate, inner = (*found.op.activations, None)[:2] if type(found.op) is not Rnn else (None, found.op.activations[0])
    functions = {"activation": activation_to_keras(keras, inner)}
    functions |= {} if type(found.op) is Rnn else {"recurrent_activation": activation_to_keras(keras, gate)}
    functions |= {"reset_after": found.op.reset_after} if isinstance(found.op, Gru) else {}
    biased = cell.bias is not None or cell.recurrent_bias is not None
    layer = getattr(keras.layers, LAYERS[type(found.op)])(
        cell.recurrent_kernel.shape[1], use_bias=biased, return_sequences=sequence, return_state=any(finals),
        go_backwards=op.backwards[0], zero_output_for_mask=found.zeros, **functions, **initializer(keras),
    )  # fmt: skip
    weights = {
        "cell.kernel": cell.kernel.transpose(1, 0),
        "cell.recurrent_kernel": cell.recurrent_kernel.transpose(1, 0),
    }
    if biased:
        weights["cell.bias"] = bias_to_keras(found.op, keras, cell)
    before = states[:-1]
    zero = all(uniform(v) == 0 for v in keras.node.inputs[: len(before)])
    call = {} if zero else {"initial_state": list(before)}
    made = keras.place(layer, **weights)(x, mask=mask, **call)
    output, *found_states = made if isinstance(made, list | tuple) else [made]
    ends = found_states or [None] * len(before)
    if not op.result_axes:
        return *ends, output
    return *ends, output[:, -1] if sequence and last else None if sequence else output, output if sequence else None
