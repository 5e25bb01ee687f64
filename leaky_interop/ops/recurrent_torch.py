"""Recurrent layers of PyTorch: `nn.LSTM`, `nn.GRU`, `nn.RNN`, whose layers and directions share one list of weights."""

from typing import Any

from ..errors import Refused
from ..op import Value, exports, imports
from .expand import uniform
from .join import stacked
from .moments import filling
from .noise import Dropout
from .recurrent import BACKWARD, USUAL, Cell, Gru, Lstm, Recurrent, Rnn, entry, reordered, written_out
from .relu import Relu
from .smooth import Tanh


def layers_from_torch(op: Recurrent, call: Any, x: Value, states: Any, params: Any, biases: bool, layers: int,
                      dropout: float) -> list[Value]:  # fmt: skip
    """Every layer as one operator. The weights of all of them, and their states, stand one after the other."""
    passes = len(BACKWARD[op.direction])
    each = len(params) // (layers * passes)
    finals: list[list[Value]] = [[] for _ in states]
    for layer in range(layers):
        operands: list[Value | None] = []
        for index in range(layer * passes, (layer + 1) * passes):
            weights = list(params[index * each : (index + 1) * each])
            projection = weights.pop() if each % 2 else None
            weights += () if biases else (None, None)
            initial = [None if uniform(s) == 0 else entry(s, 0, index) for s in states]
            weights = [reordered(v, gates_of(op)) for v in (*weights[:2], *map(absent, weights[2:]))]
            operands += Cell(*weights, projection, *initial)
        x, *found = op(x, *operands)
        if dropout and layer < layers - 1:
            x = Dropout(rate=dropout)(x)
        for i, value in enumerate(found):
            finals[i % len(states)].append(value)
    return [x, *(stacked(call, values, 0) for values in finals)]


def gates_of(op: Recurrent) -> tuple[int, ...]:
    """Which gate each of PyTorch's is in the canonical order, and the other way round: r, z, n for z, r, n."""
    return (1, 0, 2) if isinstance(op, Gru) else tuple(range(op.gates))


def absent(bias: Value | None) -> Value | None:
    """None for the bias that an exporter had to fill in: a frozen one, all zeros."""
    parameter = None if bias is None else bias.const
    filled = parameter is not None and not parameter.trainable and not parameter.array().any()
    return None if filled else bias


def usual(kind: type[Recurrent], batch_first: bool, bidirectional: bool, **fields: Any) -> Recurrent:
    """The operator with PyTorch's activations."""
    direction = "bidirectional" if bidirectional else "forward"
    settings: dict[str, Any] = {"activations": USUAL[kind]} | fields
    return kind(time_axis=1 if batch_first else 0, direction=direction, **settings)


@imports("torch", "aten.lstm.input")
def lstm_from_torch(call, x, states, params, biases, layers, dropout, training, bidirectional, batch_first):
    op = usual(Lstm, batch_first, bidirectional)
    return layers_from_torch(op, call, x, states, params, biases, layers, dropout)


@imports("torch", "aten.gru.input")
def gru_from_torch(call, x, state, params, biases, layers, dropout, training, bidirectional, batch_first):
    op = usual(Gru, batch_first, bidirectional, reset_after=True)
    return layers_from_torch(op, call, x, [state], params, biases, layers, dropout)


@imports("torch", "aten.rnn_tanh.input")
def rnn_from_torch(call, x, state, params, biases, layers, dropout, training, bidirectional, batch_first):
    op = usual(Rnn, batch_first, bidirectional)
    return layers_from_torch(op, call, x, [state], params, biases, layers, dropout)


@imports("torch", "aten.rnn_relu.input")
def relu_rnn_from_torch(call, x, state, params, biases, layers, dropout, training, bidirectional, batch_first):
    op = usual(Rnn, batch_first, bidirectional, activations=(Relu(),))
    return layers_from_torch(op, call, x, [state], params, biases, layers, dropout)


@imports("torch", "aten.lstm.data", "aten.gru.data", "aten.rnn_tanh.data", "aten.rnn_relu.data")
def packed_sequence_from_torch(call, *_):
    raise Refused(
        "a packed sequence", why="its length is part of the data", hint="Call the layer on a padded tensor instead"
    )


# --- exporters --------------------------------------------------------------------------------------------------------


@exports("torch", Lstm)
def lstm_to_torch(op, torch, x, *operands):
    return to_torch(op, torch, x, operands, "LSTM" if op.activations == USUAL[Lstm] else "")


@exports("torch", Gru)
def gru_to_torch(op, torch, x, *operands):
    return to_torch(op, torch, x, operands, "GRU" if op.activations == USUAL[Gru] and op.reset_after else "")


@exports("torch", Rnn)
def rnn_to_torch(op, torch, x, *operands):
    return to_torch(op, torch, x, operands, "RNN" if op.activations in ((Tanh(),), (Relu(),)) else "")


def to_torch(op: Recurrent, torch: Any, x: Any, operands: Any, name: str) -> tuple[Any, ...]:
    """The module of this name. One that only reads backward reads flipped data forward."""
    cells = op.cells((x, *operands))
    if not name:
        return written_out(torch, op, "PyTorch's recurrent layers know one formula, with activations of their own")
    if not torch.holds(*(v for cell in cells for v in cell[:5])):
        return written_out(torch, op, "PyTorch's recurrent layers hold their weights, and these are computed")
    biases = any(cell.bias is not None or cell.recurrent_bias is not None for cell in cells)
    hidden, features = cells[0].kernel.shape[0] // op.gates, cells[0].kernel.shape[1]
    more: dict[str, Any] = {"nonlinearity": "relu"} if op.activations == (Relu(),) else {}
    if cells[0].projection is not None:
        more["proj_size"] = cells[0].projection.shape[0]
    module = getattr(torch.nn, name)(
        features, hidden, bias=biases, batch_first=op.time_axis == 1, bidirectional=len(cells) == 2, **more
    )
    weights: dict[str, Value] = {}
    for cell, ending in zip(cells, ("l0", "l0_reverse"), strict=False):
        zeros = filling(torch, 0, op.gates * hidden) if biases else None
        biased = [zeros if v is None else v for v in (cell.bias, cell.recurrent_bias)]
        stacked_gates = (cell.kernel, cell.recurrent_kernel, *biased)
        for key, value in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), stacked_gates, strict=True):
            weights[f"{key}_{ending}"] = reordered(value, gates_of(op))
        weights[f"weight_hr_{ending}"] = cell.projection
    given = [v for cell in cells for v in cell[5 : 5 + op.states]]
    arguments = () if all(v is None for v in given) else (initial_states(op, torch, cells),)
    backward = op.direction == "reverse"
    results = torch.place(module, **{k: v for k, v in weights.items() if v is not None})(
        x.flip(op.time_axis) if backward else x, *arguments
    )
    y, last = results[0], results[1]
    finals = [last] if op.states == 1 else [last[0], last[1]]
    return y.flip(op.time_axis) if backward else y, *(final[i] for i in range(len(cells)) for final in finals)


def initial_states(op: Recurrent, torch: Any, cells: list[Cell]) -> Any:
    """The states of all passes in one tensor each, zeros where there are none."""
    batch, dtype = torch.inputs[0].shape[1 - op.time_axis], torch.torch_dtype(torch.inputs[0].dtype)
    sizes = [port.shape[1] for port in torch.outputs[1:]]
    made = []
    for i, name in enumerate(("h", "c")[: op.states]):
        values = []
        for cell, size in zip(cells, sizes[i :: op.states], strict=True):
            value = getattr(cell, name)
            if value is None:
                value = torch.call(torch.zeros, (torch.size(batch), size), dtype=dtype)
            values.append(torch.tensor(value))
        made.append(torch.stack(values) if len(values) > 1 else values[0].unsqueeze(0))
    return made[0] if op.states == 1 else tuple(made)
