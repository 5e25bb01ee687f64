"""Recurrent layers of Keras: LSTM, GRU, SimpleRNN, RNN around their cells, and Bidirectional around any of them."""

from typing import Any

import numpy as np

from ..op import Op, Value, exports, imports
from .activation import LeakyRelu
from .elu import Elu, Selu
from .flip import Flip
from .hard import SIXTH
from .index import Select
from .join import Split, joined
from .math import Add, Div, Mul
from .moments import filling
from .precision import exact_in_keras
from .recurrent import Cell, Gru, Lstm, Recurrent, Rnn, merged, read_results, summed, written_out
from .recurrent_cells import as_floats, scanned
from .relu import Relu
from .smooth import EXACT, Gelu, Mish, Sigmoid, Silu, Softsign, Tanh

CELLS: dict[str, type[Recurrent]] = {"LSTMCell": Lstm, "GRUCell": Gru, "SimpleRNNCell": Rnn}
PATHS = ("forward_layer.", "backward_layer.")  # where Bidirectional keeps its layers
LAYERS: dict[type[Recurrent], str] = {Lstm: "LSTM", Gru: "GRU", Rnn: "SimpleRNN"}
ACTIVATIONS: dict[Op | None, str] = {
    None: "linear", Tanh(): "tanh", Sigmoid(): "sigmoid", Relu(): "relu", SIXTH: "hard_sigmoid", Elu(alpha=1.0): "elu",
    Selu(): "selu", Softsign(): "softsign", EXACT: "softplus", Silu(): "silu", Mish(): "mish",
    Gelu(approximate=False): "gelu", LeakyRelu(negative_slope=0.2): "leaky_relu",
}  # fmt: skip


# --- importers --------------------------------------------------------------------------------------------------------


@imports("keras", "LSTM", "GRU", "SimpleRNN", "RNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")
def recurrent_from_keras(layer, x, initial_state=None, mask=None):
    layer.follow(mask)
    output, finals = one_way(layer, layer.native, "", x, flat(initial_state), mask)
    return [output, *finals] if layer.return_state else [output]


@imports("keras", "Bidirectional")
def bidirectional_from_keras(layer, x, initial_state=None, mask=None):
    """Two layers; the sequence of the second is turned around before they are merged."""
    layer.follow(mask)
    ways = (layer.forward_layer, layer.backward_layer)
    states = flat(initial_state)
    halves = states[: len(states) // 2], states[len(states) // 2 :]
    both = None if mask is not None else [one_cell(layer, way, path) for way, path in zip(ways, PATHS, strict=True)]
    sequence = layer.return_sequences
    if not ways[0].go_backwards and both and both[0] and both[1] and _alike(both[0], both[1]):
        x = as_floats(x, ways[0])
        op, _ = both[0]
        halves = tuple(beginning(layer, way, path, half) for way, path, half in zip(ways, PATHS, halves, strict=True))
        cells = [cell._replace(**initial(half)) for (_, cell), half in zip(both, halves, strict=True)]  # type: ignore[misc]
        op = type(op)(**vars(op) | {"direction": "bidirectional"})
        y, *finals = op(x, *(v for cell in cells for v in cell))
        finals = [finals[: op.states], finals[op.states :]]
        for way, final in zip(ways, finals, strict=True):
            ending(layer, way, final)
        if layer.merge_mode == "concat" and sequence:
            outputs = [y]
        else:
            sizes = tuple(f[0].shape[1] for f in finals)
            outputs = list(Split(axis=2, sizes=sizes)(y)) if sequence else [f[0] for f in finals]
    else:
        outputs, finals = [], []
        for way, path, half in zip(ways, PATHS, halves, strict=True):
            output, final = one_way(layer, way, path, x, half, mask)
            turned = sequence and way is ways[1]
            outputs.append(turned_around(output) if turned else output)
            finals.append(final)
    outputs = [v.cast(layer.compute_dtype) for v in outputs]
    merged_outputs = merge(layer, outputs)
    return [*merged_outputs, *(v for f in finals for v in f)] if layer.return_state else merged_outputs


def _alike(one: tuple[Any, Cell], other: tuple[Any, Cell]) -> bool:
    """Whether two directions are one operator's: of one kind, with weights of the same shapes."""
    shapes = ([None if v is None else v.shape for v in cell] for _, cell in (one, other))
    return one[0] == other[0] and next(shapes) == next(shapes)


def flat(states: Any) -> list[Value]:
    """Nested states in their order; none for None."""
    if isinstance(states, list | tuple):
        return [v for part in states for v in flat(part)]
    return [] if states is None else [states]


def turned_around(y: Value) -> Value:
    """A sequence from its end; turning it twice is leaving it."""
    if y.node is not None and y.node.op == Flip(axes=(1,)):
        return y.node.inputs[0]  # type: ignore[return-value]
    return Flip(axes=(1,))(y)


def merge(layer: Any, outputs: list[Value]) -> list[Value]:
    """What Bidirectional makes of two outputs (of one, if they are side by side already)."""
    if layer.merge_mode is None or len(outputs) == 1:
        return outputs
    first, second = outputs
    if layer.merge_mode == "concat":
        return [joined(layer, outputs, first.rank - 1)]
    if layer.merge_mode == "mul":
        return [Mul()(first, second)]
    total = Add()(first, second)
    return [Div()(total, 2.0) if layer.merge_mode == "ave" else total]


def beginning(layer: Any, native: Any, path: str, given: list[Value]) -> list[Value]:
    """The states before a layer's first step: given, or remembered, or none."""
    return layer.recalled(native, path) if native.stateful and not given else given


def ending(layer: Any, native: Any, finals: list[Value]) -> None:
    """Let a stateful layer remember its final states."""
    if native.stateful:
        layer.keep(native, finals)


def one_way(
    layer: Any, native: Any, path: str, x: Value, states: list[Value], mask: Value | None
) -> tuple[Value, list[Value]]:
    """What a layer that reads in one direction gives out, and its final states."""
    x = as_floats(x, native)
    states = beginning(layer, native, path, states)
    chain = None if mask is not None else cells_of(layer, native, path)
    if chain is None:
        output, finals = scanned(layer, native, path, x, states, mask)
        ending(layer, native, finals)
        return output, finals
    finals = []
    last = x
    for op, weights in chain:
        own, states = states[: op.states], states[op.states :]
        x, *found = op(x, *weights._replace(**initial(own)))
        finals += found
        last = found[0]
    ending(layer, native, finals)
    if not native.return_sequences:
        return last, finals
    return Flip(axes=(1,))(x) if native.go_backwards else x, finals


def cells_of(layer: Any, native: Any, path: str) -> list[tuple[Recurrent, Cell]] | None:
    """The operators and weights of a layer, one for each of its cells; None where a cell is no such operator."""
    direction = "reverse" if native.go_backwards else "forward"
    stack = getattr(native.cell, "cells", None) if type(native.cell).__name__ == "StackedRNNCells" else None
    paths = [f"{path}cell.cells.{i}" for i in range(len(stack))] if stack else [f"{path}cell"]
    found = [cell_of(layer, cell, place, direction) for cell, place in zip(stack or [native.cell], paths, strict=True)]
    return None if None in found else found  # type: ignore[return-value]


def initial(states: list[Value]) -> dict[str, Value]:
    """Initial states by their name in a `Cell`."""
    return dict(zip(("h", "c"), states, strict=False))


def one_cell(layer: Any, native: Any, path: str) -> tuple[Recurrent, Cell] | None:
    """The operator (as if forward) and weights of a layer around a single cell; None where there is no such operator."""
    return cell_of(layer, native.cell, f"{path}cell", "forward")


def cell_of(layer: Any, cell: Any, path: str, direction: str) -> tuple[Recurrent, Cell] | None:
    """The operator of a cell of Keras' own, and its weights; None for any other cell."""
    kind = CELLS.get(type(cell).__name__) if type(cell).__module__.startswith("keras.") else None
    if kind is None:
        return None
    functions = [cell.recurrent_activation] if kind is not Rnn else []
    functions += [cell.activation] * (2 if kind is Lstm else 1)
    fields: dict[str, Any] = {"reset_after": cell.reset_after} if kind is Gru else {}
    activations = tuple(activation_from_keras(layer, f) for f in functions)
    if MANY in activations:
        return None
    if cell.dropout or cell.recurrent_dropout:
        layer.graph.notes.append(f"keras {layer.name!r}: dropout inside a recurrent layer is not carried over")
    kernel, recurrent = (layer.weight(f"{path}.{n}").transpose(1, 0) for n in ("kernel", "recurrent_kernel"))
    bias, second = layer.weight(f"{path}.bias"), None
    if bias is not None and bias.rank == 2:
        bias, second = (Select(axis=0, index=i)(bias) for i in (0, 1))
    op = kind(time_axis=1, direction=direction, activations=activations, **fields)
    return op, Cell(kernel, recurrent, bias, second)


MANY = object()  # an activation that takes more than one operator


def activation_from_keras(layer: Any, function: Any) -> Any:
    """An activation as an operator; None for none. It is read on a value of its own, aside."""
    aside = layer.body([((1,), np.dtype(np.float32))], lambda x: [layer.reader.activation(function, x)])
    if aside.outputs[0] is aside.inputs[0]:
        return None
    (node, *others) = aside.nodes
    return MANY if others or node.inputs != (aside.inputs[0],) else node.op


# --- exporters --------------------------------------------------------------------------------------------------------


@exports("keras", Lstm)
def lstm_to_keras(op, keras, x, *operands):
    gate, inner, outer = op.activations
    return to_keras(op, keras, x, operands, inner == outer, activation=inner, recurrent_activation=gate)


@exports("keras", Gru)
def gru_to_keras(op, keras, x, *operands):
    gate, inner = op.activations
    more = {"reset_after": op.reset_after}
    return to_keras(op, keras, x, operands, True, more, activation=inner, recurrent_activation=gate)


@exports("keras", Rnn)
def rnn_to_keras(op, keras, x, *operands):
    return to_keras(op, keras, x, operands, True, activation=op.activations[0])


def to_keras(
    op: Recurrent, keras: Any, x: Any, operands: Any, sayable: bool, more: Any = None, **functions: Any
) -> tuple[Any, ...]:
    """The layer, in Bidirectional where it reads both ways. It gives out only what is read."""
    exact_in_keras(keras, "a recurrent layer")
    cells = op.cells((x, *operands))
    functions = {name: activation_to_keras(keras, a) for name, a in functions.items()}
    if not sayable or None in functions.values() or cells[0].projection is not None:
        return written_out(keras, op, "Keras' recurrent layers have no projection, and one activation for both of c's")
    if not keras.holds(*(v for cell in cells for v in cell[:5])):
        return written_out(keras, op, "Keras' recurrent layers hold their weights, and these are computed")
    sequence, *finals = read_results(keras)
    states = any(finals) if sequence else any(finals[i] for i in range(len(finals)) if i % op.states)
    biased = any(cell.bias is not None or cell.recurrent_bias is not None for cell in cells)
    layer = getattr(keras.layers, LAYERS[type(op)])(
        cells[0].recurrent_kernel.shape[1], use_bias=biased, return_sequences=sequence, return_state=states,
        go_backwards=op.direction == "reverse", **functions, **(more or {}), **initializer(keras),
    )  # fmt: skip
    weights: dict[str, Any] = {}
    both = len(cells) == 2
    for cell, path in zip(cells, PATHS if both else ("",), strict=True):
        weights[f"{path}cell.kernel"] = cell.kernel.transpose(1, 0)
        weights[f"{path}cell.recurrent_kernel"] = cell.recurrent_kernel.transpose(1, 0)
        if biased:
            weights[f"{path}cell.bias"] = bias_to_keras(op, keras, cell)
    given = initial_states(op, keras, cells)
    data = keras.ops.transpose(x, (1, 0, 2)) if op.time_axis == 0 else x
    layer = keras.place(keras.layers.Bidirectional(layer) if both else layer, **weights)
    found = layer(data, initial_state=given) if given else layer(data)
    output, *found = found if isinstance(found, tuple | list) else [found]
    if sequence:
        output = keras.ops.flip(output, 1) if op.direction == "reverse" else output
        return keras.ops.transpose(output, (1, 0, 2)) if op.time_axis == 0 else output, *(found or [None] * len(finals))
    if found:
        return None, *found
    if both:
        out = cells[0].recurrent_kernel.shape[1]
        return None, *(v for half in (output[:, :out], output[:, out:]) for v in (half, *[None] * (op.states - 1)))
    return None, output, *[None] * (op.states - 1)


def initializer(keras: Any) -> dict[str, str]:
    """Keras' own initializer is not computed in 16 bits; its numbers are replaced anyway."""
    return {"recurrent_initializer": "glorot_uniform"} if keras.inputs[0].dtype.itemsize < 4 else {}


def bias_to_keras(op: Recurrent, keras: Any, cell: Cell) -> Value:
    """The bias as the layer has it: a sum, or two of them in rows where a Gru resets after."""
    zeros = filling(keras, 0, cell.kernel.shape[0])
    pair = [zeros if v is None else v for v in (cell.bias, cell.recurrent_bias)]
    if isinstance(op, Gru) and op.reset_after:
        return merged(keras, _rows, *pair)
    return summed(keras, cell.bias, cell.recurrent_bias) or zeros


def _rows(*arrays: np.ndarray) -> np.ndarray:
    return np.stack(arrays)


def initial_states(op: Recurrent, keras: Any, cells: list[Cell]) -> list[Any]:
    """The initial states of all passes, zeros for those that are absent; none where all are."""
    values = [cell[5 + i] for cell in cells for i in range(op.states)]
    if all(v is None for v in values):
        return []
    like = next(keras.tensor(v) for v in values if v is not None)
    return [keras.ops.zeros_like(like) if v is None else keras.tensor(v) for v in values]


def activation_to_keras(keras: Any, activation: Op | None) -> Any:
    """An activation's name, or the layer that holds its number; None where Keras has none like it."""
    if activation in ACTIVATIONS:
        return ACTIVATIONS[activation]
    match activation:
        case LeakyRelu(negative_slope=slope) if slope >= 0:
            return keras.layers.LeakyReLU(slope)
        case Elu(alpha=alpha):
            return keras.layers.ELU(alpha)
    return None
