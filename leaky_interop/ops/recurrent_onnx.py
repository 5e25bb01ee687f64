"""Recurrent layers of ONNX: LSTM, GRU, RNN, whose passes are stacked along axis 0 of every weight."""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Op, Value, agree, exports, imports, shortest
from .activation import LeakyRelu
from .elu import Elu
from .expand import uniform
from .hard import HardSigmoid
from .index import sliced
from .join import joined, stacked
from .moments import filling
from .recurrent import BACKWARD, USUAL, Cell, Gru, Lstm, Recurrent, Rnn, entry, merged, reordered, written_out
from .relu import Relu
from .smooth import EXACT, Sigmoid, Softsign, Tanh

NAMES: dict[type[Recurrent], str] = {Lstm: "LSTM", Gru: "GRU", Rnn: "RNN"}
FROM_ONNX = {Lstm: (0, 2, 3, 1), Gru: (0, 1, 2), Rnn: (0,)}  # where i f g o stand in ONNX's i o f c
TO_ONNX = {Lstm: (0, 3, 1, 2), Gru: (0, 1, 2), Rnn: (0,)}
PLAIN = {"Sigmoid": Sigmoid(), "Tanh": Tanh(), "Relu": Relu(), "Softsign": Softsign(), "Softplus": EXACT}
ALPHAS = {"LeakyRelu": 0.01, "Elu": 1.0, "HardSigmoid": 0.2, "Affine": 1.0}  # activations with numbers: the defaults
BETAS = {"HardSigmoid": 0.5, "Affine": 0.0}


# --- importers --------------------------------------------------------------------------------------------------------


@imports("onnx", "LSTM")
def lstm_from_onnx(node, x, kernels, recurrent, biases=None, lengths=None, h=None, c=None, peepholes=None):
    if peepholes is not None and uniform(peepholes) != 0:
        raise Refused("an LSTM with peepholes", why="no other framework has a layer that lets gates see c")
    if node.input_forget:
        raise Refused("an LSTM with input_forget", why="no other framework couples the two gates")
    return from_onnx(node, Lstm, x, kernels, recurrent, biases, lengths, (h, c))


@imports("onnx", "GRU")
def gru_from_onnx(node, x, kernels, recurrent, biases=None, lengths=None, h=None):
    """Opset 1 has no linear_before_reset: what it means there is 0."""
    after = bool(node.has("linear_before_reset") and node.linear_before_reset)
    return from_onnx(node, Gru, x, kernels, recurrent, biases, lengths, (h,), reset_after=after)


@imports("onnx", "RNN")
def rnn_from_onnx(node, x, kernels, recurrent, biases=None, lengths=None, h=None):
    return from_onnx(node, Rnn, x, kernels, recurrent, biases, lengths, (h,))


def from_onnx(node: Any, kind: type[Recurrent], x: Value, kernels: Value, recurrent: Value, biases: Value | None,
              lengths: Value | None, states: tuple[Value | None, ...], **fields: Any) -> list[Value]:  # fmt: skip
    """The results Y, Y_h and Y_c. Passes with activations of their own become operators of their own."""
    batch_first = bool(node.has("layout") and node.layout)
    time_axis = 1 if batch_first else 0
    if node.clip:
        raise Refused(f"{NAMES[kind]} with clip={node.clip}", why="no other framework bounds what its activations see")
    check_lengths(lengths, x.shape[time_axis])
    directions = BACKWARD[node.direction]
    cells = []
    for index in range(len(directions)):
        weights = [reordered(entry(w, 0, index), FROM_ONNX[kind]) for w in (kernels, recurrent)]
        weights += biases_from_onnx(kind, None if biases is None else entry(biases, 0, index))
        initial = [None if v is None or uniform(v) == 0 else entry(v, time_axis, index) for v in states]
        cells.append(Cell(*weights, None, *initial))
    activations = activations_from_onnx(node, kind, len(directions))
    if len(set(activations)) == 1:
        op = kind(time_axis=time_axis, direction=node.direction, activations=activations[0], **fields)
        y, *finals = op(x, *(v for cell in cells for v in cell))
    else:
        sequences, finals = [], []
        for cell, chosen, direction in zip(cells, activations, ("forward", "reverse"), strict=True):
            op = kind(time_axis=time_axis, direction=direction, activations=chosen, **fields)
            sequence, *final = op(x, *cell)
            sequences.append(sequence)
            finals += final
        y = joined(node, sequences, 2)
    shape = (*x.shape[:2], len(directions), y.shape[2] // len(directions))
    if len(directions) == 1:  # Y: (time, pass, batch, features), or (batch, time, pass, features)
        y = y.reshape(*shape) if batch_first else y.reshape(shape[0], 1, *shape[1::2])
    else:
        y = y.reshape(*shape) if batch_first else y.reshape(*shape).transpose(0, 2, 1, 3)
    return [y, *(stacked(node, finals[i :: len(states)], time_axis) for i in range(len(states)))]


def check_lengths(lengths: Value | None, steps: Any) -> None:
    """Refuse sequences that end early; lengths that are all full say nothing."""
    found = None if lengths is None else lengths.content()
    if lengths is not None and not (isinstance(found, tuple) and all(agree(n, steps) for n in found)):
        raise Refused("sequence_lens", why="only sequences of full length convert", hint="Cut the sequences before")


def biases_from_onnx(kind: type[Recurrent], both: Value | None) -> list[Value | None]:
    """The input's and the recurrent bias of one pass; one that is all zeros, as many exporters write it, is absent."""
    if both is None:
        return [None, None]
    half = both.shape[0] // 2
    parts = (sliced(both, {0: slice(start, start + half)}) for start in (0, half))
    first, second = (reordered(v, FROM_ONNX[kind]) for v in parts)
    return [first, None if second.const is not None and not second.array().any() else second]  # type: ignore[union-attr]


def activations_from_onnx(node: Any, kind: type[Recurrent], passes: int) -> list[tuple[Any, ...]]:
    """The activations of each pass. Numbers are handed out in order to those that take one."""
    if not node.activations:
        return [USUAL[kind]] * passes
    names = [n.decode() if isinstance(n, bytes) else n for n in node.activations]
    alphas, betas = iter(node.activation_alpha or ()), iter(node.activation_beta or ())
    known = {n.lower(): n for n in (*PLAIN, *ALPHAS)}
    made = []
    for given in names:
        name = known.get(given.lower(), given)
        alpha = shortest(next(alphas, ALPHAS[name])) if name in ALPHAS else 0.0
        beta = shortest(next(betas, BETAS[name])) if name in BETAS else 0.0
        made.append(activation_of(name, alpha, beta))
    each = len(USUAL[kind])  # the schema of RNN names two even where there is one pass
    return [tuple(made[i * each : (i + 1) * each]) for i in range(passes)]


def activation_of(name: str, alpha: float, beta: float) -> Op | None:
    """The operator of an activation's name; None for the identity."""
    if name in PLAIN:
        return PLAIN[name]
    if name == "Affine" and (alpha, beta) == (1.0, 0.0):
        return None
    match name:
        case "LeakyRelu":
            return LeakyRelu(negative_slope=alpha)
        case "Elu":
            return Elu(alpha=alpha)
        case "HardSigmoid":
            return HardSigmoid(alpha=alpha, beta=beta)
    raise Refused(f"the activation {name} of a recurrent layer", why=f"supported are {', '.join((*PLAIN, *ALPHAS))}")


# --- exporters --------------------------------------------------------------------------------------------------------


@exports("onnx", Lstm)
def lstm_to_onnx(op, onnx, x, *operands):
    return to_onnx(op, onnx, x, operands)


@exports("onnx", Gru)
def gru_to_onnx(op, onnx, x, *operands):
    return to_onnx(op, onnx, x, operands, linear_before_reset=int(op.reset_after))


@exports("onnx", Rnn)
def rnn_to_onnx(op, onnx, x, *operands):
    return to_onnx(op, onnx, x, operands)


def to_onnx(op: Recurrent, onnx: Any, x: Any, operands: Any, **more: Any) -> tuple[Any, ...]:
    """A node on data whose time stands first. What runtimes lack is written out."""
    kind, cells = type(op), op.cells((x, *operands))
    activations = [activation_to_onnx(a) for a in op.activations]
    if not onnx.runs(NAMES[kind]):
        return written_out(onnx, op, f"onnxruntime has no {NAMES[kind]} in {onnx.inputs[0].dtype}")
    if cells[0].projection is not None or None in activations:
        return written_out(onnx, op, "ONNX has no projection, and activations of a list of names")
    if not onnx.holds(*(v for cell in cells for v in cell[:5])):
        return written_out(onnx, op, "its weights are computed, not stored")
    kernels, recurrent = (passes_of(onnx, [reordered(c[i], TO_ONNX[kind]) for c in cells]) for i in (0, 1))
    usual = op.activations == USUAL[kind]
    names, alphas, betas = zip(*activations, strict=True)
    data = onnx.Transpose(x, perm=[1, 0, 2]) if op.time_axis == 1 else x
    states = (states_to_onnx(op, onnx, cells, i) for i in range(op.states))
    results = onnx.write(
        NAMES[kind], (data, kernels, recurrent, biases_to_onnx(op, onnx, cells), None, *states),
        outputs=1 + op.states, hidden_size=cells[0].kernel.shape[0] // op.gates, direction=op.direction,
        activations=None if usual else list(names) * len(cells),
        activation_alpha=[a for a in alphas if a is not None] * len(cells) or None,
        activation_beta=[b for b in betas if b is not None] * len(cells) or None, **more,
    )  # fmt: skip
    y, *finals = results  # y: (time, pass, batch, features)
    if len(cells) == 2:
        y = onnx.Transpose(y, perm=[2, 0, 1, 3] if op.time_axis == 1 else [0, 2, 1, 3])
        y = onnx.Reshape(y, np.asarray([0, 0, -1], np.int64))
    else:
        y = onnx.Squeeze(y, np.asarray([1], np.int64))
        y = onnx.Transpose(y, perm=[1, 0, 2]) if op.time_axis == 1 else y
    if len(cells) == 1:
        return y, *(onnx.Squeeze(v, np.asarray([0], np.int64)) for v in finals)
    return y, *(onnx.Gather(v, np.asarray(i, np.int64), axis=0) for i in range(2) for v in finals)


def activation_to_onnx(activation: Op | None) -> tuple[str, float | None, float | None] | None:
    """Name, alpha and beta of an activation; None where ONNX's recurrent operators have none like it."""
    match activation:
        case None:
            return "Affine", 1.0, 0.0
        case LeakyRelu(negative_slope=slope):
            return "LeakyRelu", slope, None
        case Elu(alpha=alpha):
            return "Elu", alpha, None
        case HardSigmoid(alpha=alpha, beta=beta):
            return "HardSigmoid", alpha, beta
    name = next((n for n, a in PLAIN.items() if a == activation), None)
    return None if name is None else (name, None, None)


def passes_of(onnx: Any, values: list[Any]) -> Value:
    """The weight of every pass in one."""
    return values[0].reshape(1, *values[0].shape) if len(values) == 1 else merged(onnx, _stack, *values)


def _stack(*arrays: np.ndarray) -> np.ndarray:
    return np.stack(arrays)


def _join_pairs(*arrays: np.ndarray) -> np.ndarray:
    """Two biases of each pass in a row, a row each pass."""
    return np.concatenate(arrays).reshape(len(arrays) // 2, -1)


def biases_to_onnx(op: Recurrent, onnx: Any, cells: list[Cell]) -> Value | None:
    """Both biases of every pass, zeros for those that are absent; None where all are."""
    if all(cell.bias is None and cell.recurrent_bias is None for cell in cells):
        return None
    zeros = filling(onnx, 0, cells[0].kernel.shape[0])
    values = [zeros if v is None else v for cell in cells for v in (cell.bias, cell.recurrent_bias)]
    return merged(onnx, _join_pairs, *(reordered(v, TO_ONNX[type(op)]) for v in values))


def states_to_onnx(op: Recurrent, onnx: Any, cells: list[Cell], which: int) -> Any:
    """The initial h or c of every pass, zeros for those that are absent; None where all are."""
    values = [cell[5 + which] for cell in cells]
    if all(v is None for v in values):
        return None
    made = []
    for value, port in zip(values, onnx.outputs[1 + which :: op.states], strict=True):
        if value is None:
            made.append(onnx.Expand(np.zeros((), port.dtype), onnx.sizes((1, *port.shape))))
        else:
            made.append(onnx.Unsqueeze(value, np.asarray([0], np.int64)))
    return made[0] if len(made) == 1 else onnx.Concat(*made, axis=0)
