"""Recurrent layers in every native spelling."""

import keras
import numpy as np
import onnx
import pytest
import torch
from family_checks import ALL, check, kinds, onnx_model

import leaky_interop as li
from leaky_interop.errors import Refused
from leaky_interop.numeric import compare, sum_limit
from leaky_interop.op import CASES
from leaky_interop.ops.recurrent import Cell, Gru, Lstm, Rnn

rng = np.random.default_rng(13)
BATCH, STEPS, FEATURES, HIDDEN = 2, 5, 3, 4
X = rng.standard_normal((BATCH, STEPS, FEATURES)).astype(np.float32)
KERAS = {"LSTM": keras.layers.LSTM, "GRU": keras.layers.GRU, "SimpleRNN": keras.layers.SimpleRNN}
TORCH = {"LSTM": torch.nn.LSTM, "GRU": torch.nn.GRU, "RNN": torch.nn.RNN}


def vector(*shape):
    return (rng.standard_normal(shape) * 0.6).astype(np.float32)


def filled(model):
    """A Keras model whose biases are not zeros."""
    for variable in model.weights:
        if variable.dtype == "float32":
            variable.assign(vector(*variable.shape))
    return model


def keras_model(layer, *, states=0, steps=STEPS, size=HIDDEN):
    inputs = keras.Input((steps, FEATURES))
    given = [keras.Input((size,)) for _ in range(states)]
    outputs = layer(inputs, initial_state=given) if given else layer(inputs)
    return filled(keras.Model([inputs, *given], outputs))


def states(count, size=HIDDEN):
    return [vector(BATCH, size) for _ in range(count)]


# --- Keras ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KERAS)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("sequences", "state"), [(False, False), (True, False), (False, True), (True, True)])
def test_keras_layers(kind, backwards, sequences, state):
    layer = KERAS[kind](HIDDEN, return_sequences=sequences, return_state=state, go_backwards=backwards)
    model = keras_model(layer)
    check(model, X)
    names = [type(layer).__name__ for layer in li.convert(model, to="keras").layers]
    assert names == ["InputLayer", kind]


@pytest.mark.parametrize("kind", KERAS)
def test_initial_states_are_inputs(kind):
    count = 2 if kind == "LSTM" else 1
    model = keras_model(KERAS[kind](HIDDEN, return_sequences=True, return_state=True), states=count)
    graph = check(model, X, *states(count))
    assert len(graph.inputs) == 1 + count


@pytest.mark.parametrize("kind", KERAS)
def test_no_bias(kind):
    check(keras_model(KERAS[kind](HIDDEN, use_bias=False)), X)


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("sequences", [True, False])
def test_bidirectional_merges(merge, sequences):
    model = keras_model(keras.layers.Bidirectional(keras.layers.GRU(HIDDEN, return_sequences=sequences), merge))
    graph = check(model, X)
    assert kinds(graph).count("Gru") == 1
    for framework in ALL:
        assert kinds(li.load(li.convert(model, to=framework), (X,))).count("Gru") == 1


@pytest.mark.parametrize("merge", ["concat", None])
def test_bidirectional_returns_states(merge):
    layer = keras.layers.LSTM(HIDDEN, return_sequences=True, return_state=True)
    check(keras_model(keras.layers.Bidirectional(layer, merge), states=4), X, *states(4))


def test_a_backward_layer_of_its_own():
    forward = keras.layers.LSTM(HIDDEN, return_sequences=True)
    backward = keras.layers.LSTM(HIDDEN, return_sequences=True, go_backwards=True, activation="relu")
    graph = check(keras_model(keras.layers.Bidirectional(forward, "sum", backward_layer=backward)), X)
    assert kinds(graph).count("Lstm") == 2


@pytest.mark.parametrize("sequences", [True, False])
def test_a_forward_layer_that_goes_backwards(sequences):
    forward = keras.layers.GRU(HIDDEN, return_sequences=sequences, go_backwards=True)
    backward = keras.layers.GRU(HIDDEN, return_sequences=sequences)
    check(keras_model(keras.layers.Bidirectional(forward, backward_layer=backward)), X)


def test_layers_around_cells():
    cells = [keras.layers.LSTMCell(HIDDEN), keras.layers.GRUCell(6), keras.layers.SimpleRNNCell(2)]
    for cell in (keras.layers.GRUCell(HIDDEN), cells):
        layer = keras.layers.RNN(cell, return_sequences=True, return_state=True)
        check(keras_model(layer), X)
    graph = check(keras_model(keras.layers.RNN([keras.layers.LSTMCell(5), keras.layers.LSTMCell(HIDDEN)])), X)
    assert kinds(graph) == ["Lstm", "Lstm"]


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "hard_sigmoid", "elu", "linear", "softsign", None])
def test_activations_of_keras(activation):
    model = keras_model(keras.layers.LSTM(HIDDEN, activation=activation))
    check(model, X)
    assert li.convert(model, to="keras").layers[1].activation is keras.activations.get(activation)


def test_an_activation_that_is_a_layer_keeps_its_slope():
    model = keras_model(keras.layers.GRU(HIDDEN, activation=keras.layers.LeakyReLU(0.35)))
    graph = check(model, X)
    assert graph.nodes[0].op.activations[1].negative_slope == 0.35
    assert li.convert(model, to="keras").layers[1].activation.negative_slope == pytest.approx(0.35)


def test_R31_recurrent_activations_are_what_they_say():
    for name in ("sigmoid", "hard_sigmoid"):
        check(keras_model(keras.layers.GRU(HIDDEN, recurrent_activation=name)), X)


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_R30_reset_after(reset_after, bias):
    model = keras_model(keras.layers.GRU(HIDDEN, reset_after=reset_after, use_bias=bias, return_sequences=True))
    graph = check(model, X)
    assert graph.nodes[0].op.reset_after is reset_after
    node = next(n for n in li.convert(model, to="onnx").graph.node if n.op_type == "GRU")
    assert next(a.i for a in node.attribute if a.name == "linear_before_reset") == reset_after


def test_R29_R30_gates_stand_where_each_framework_has_them():
    units = np.arange(HIDDEN)
    for kind, keras_order, torch_order, onnx_order in (("LSTM", "ifco", "ifco", "iofc"), ("GRU", "zrh", "rzh", "zrh")):
        model = keras_model(KERAS[kind](HIDDEN, name="layer"))
        kernel = keras.ops.convert_to_numpy(model.get_layer("layer").cell.kernel)
        gates = {g: kernel[:, i * HIDDEN + units].T for i, g in enumerate(keras_order)}
        found = li.convert(model, to="torch").state_dict()["layer.weight_ih_l0"].numpy()
        np.testing.assert_array_equal(found, np.concatenate([gates[g] for g in torch_order]))
        written = li.convert(model, to="onnx").graph
        node = next(n for n in written.node if n.op_type == kind)
        found = next(onnx.numpy_helper.to_array(t) for t in written.initializer if t.name == node.input[1])
        np.testing.assert_array_equal(found[0], np.concatenate([gates[g] for g in onnx_order]))


def test_R29_biases_are_summed_for_keras_and_zero_where_they_come_from_it():
    module = torch.nn.LSTM(FEATURES, HIDDEN, batch_first=True)
    layer = next(v for v in li.convert(module, to="keras", example=(X,)).layers if v.weights)
    total = sum(module.state_dict()[k].numpy() for k in ("bias_ih_l0", "bias_hh_l0"))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.cell.bias), total, rtol=1e-6)
    model = keras_model(keras.layers.LSTM(HIDDEN, name="layer"))
    state = li.convert(model, to="torch").state_dict()
    assert not state["layer.bias_hh_l0"].any()
    back = li.load(li.convert(model, to="torch"), (X,))
    assert Cell(*back.nodes[0].inputs[1:]).recurrent_bias is None


def test_dropout_inside_is_noted():
    graph = check(keras_model(keras.layers.LSTM(HIDDEN, dropout=0.3, recurrent_dropout=0.2)), X)
    assert any("dropout" in note for note in graph.notes)


def test_the_number_of_steps_may_be_open():
    model = keras_model(keras.layers.Bidirectional(keras.layers.LSTM(HIDDEN, return_sequences=True)), steps=None)
    for steps in (1, 7):
        check(model, vector(BATCH, steps, FEATURES))


def test_what_would_be_written_out_needs_a_number_of_steps():
    model = keras_model(keras.layers.GRU(HIDDEN, reset_after=False), steps=None)
    check(model, X, to=("keras", "onnx"))
    with pytest.raises(Refused, match="number of steps"):
        li.convert(model, to="torch")


def test_a_layer_called_twice_is_one_layer():
    layer = keras.layers.GRU(HIDDEN, name="shared")
    first, second = keras.Input((STEPS, FEATURES)), keras.Input((STEPS, FEATURES))
    model = filled(keras.Model([first, second], keras.ops.subtract(layer(first), layer(second))))
    check(model, X, X[::-1].copy())
    assert len([m for m in li.convert(model, to="torch").modules() if isinstance(m, torch.nn.GRU)]) == 1
    assert len([v for v in li.convert(model, to="keras").layers if isinstance(v, keras.layers.GRU)]) == 1
    weights = [n.input[1] for n in li.convert(model, to="onnx").graph.node if n.op_type == "GRU"]
    assert len(weights) == 2
    assert len(set(weights)) == 1


# --- PyTorch ----------------------------------------------------------------------------------------------------------


class Net(torch.nn.Module):
    """A layer of which only some results are used."""

    def __init__(self, layer, use):
        super().__init__()
        self.layer, self.use = layer, use

    def forward(self, x, *states):
        given = () if not states else (tuple(states) if len(states) > 1 else states[0],)
        return self.use(*self.layer(x, *given))


class WithStates(Net):
    """The same with a signature that names its states."""

    def forward(self, x, h, c=None):
        return self.use(*self.layer(x, h if c is None else (h, c)))


def everything(y, state):
    return (y, *(state if isinstance(state, tuple) else (state,)))


@pytest.mark.parametrize("kind", TORCH)
@pytest.mark.parametrize(
    ("bidirectional", "batch_first", "layers"), [(False, True, 1), (True, False, 1), (False, False, 2), (True, True, 2)]
)
def test_torch_layers(kind, bidirectional, batch_first, layers):
    layer = TORCH[kind](
        FEATURES, HIDDEN, layers, batch_first=batch_first, bidirectional=bidirectional, dropout=0.3 * (layers > 1)
    )
    x = X if batch_first else X.transpose(1, 0, 2).copy()
    graph = check(Net(layer, everything), x, static_batch=not batch_first)
    names = {"LSTM": "Lstm", "GRU": "Gru", "RNN": "Rnn"}
    assert kinds(graph).count(names[kind]) == layers
    assert kinds(graph).count("Dropout") == layers - 1
    back = li.convert(Net(layer, everything), to="torch", example=(x,), static_batch=not batch_first)
    assert len([m for m in back.modules() if isinstance(m, TORCH[kind])]) == layers


@pytest.mark.parametrize("use", [lambda y, s: y[:, -1], lambda y, s: s[-1], lambda y, s: y.mean(1)], ids="abc")
def test_results_that_are_used(use):
    check(Net(torch.nn.GRU(FEATURES, HIDDEN, batch_first=True), use), X)


@pytest.mark.parametrize("kind", TORCH)
@pytest.mark.parametrize("layers", [1, 2])
def test_states_of_torch(kind, layers):
    layer = TORCH[kind](FEATURES, HIDDEN, layers, bidirectional=True, bias=False)
    given = [vector(2 * layers, BATCH, HIDDEN) for _ in range(2 if kind == "LSTM" else 1)]
    check(WithStates(layer, everything), X.transpose(1, 0, 2).copy(), *given, static_batch=True)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_projections(bidirectional):
    layer = torch.nn.LSTM(FEATURES, HIDDEN, 2, proj_size=2, bidirectional=bidirectional, batch_first=True)
    check(Net(layer, everything), X)


def test_rectified_rnn():
    check(Net(torch.nn.RNN(FEATURES, HIDDEN, nonlinearity="relu", batch_first=True), everything), X)


def test_a_sequence_without_a_batch():
    check(Net(torch.nn.GRU(FEATURES, HIDDEN), everything), X[0], static_batch=True)


@pytest.mark.parametrize("cell", ["LSTMCell", "GRUCell", "RNNCell"])
def test_cells_of_torch(cell):
    module = getattr(torch.nn, cell)(FEATURES, HIDDEN)
    check(Net(module, lambda *r: r) if cell == "LSTMCell" else module, X[:, 0])


def test_packed_sequences_are_refused():
    class Packed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.GRU(FEATURES, HIDDEN, batch_first=True)

        def forward(self, x):
            packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3]), batch_first=True)
            return self.layer(packed)[1]

    with pytest.raises(li.LeakyInteropError):
        li.load(Packed(), (X,), static_batch=True)


def test_the_converted_module_trains_and_exports_again():
    module = li.convert(keras_model(keras.layers.Bidirectional(keras.layers.LSTM(HIDDEN))), to="torch")
    optimiser = torch.optim.SGD(module.parameters(), 0.1)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    module.train()(torch.from_numpy(X)).square().sum().backward()
    optimiser.step()
    changed = {k for k, v in module.state_dict().items() if not torch.equal(v, before[k])}
    assert len(changed) == 6, "kernels and one bias of each direction; the filled ones stay zeros"
    torch.export.export(module.eval(), (torch.from_numpy(X),))


# --- ONNX -------------------------------------------------------------------------------------------------------------

ROWS = {"LSTM": 4, "GRU": 3, "RNN": 1}
TIME_FIRST = X.transpose(1, 0, 2).copy()


def onnx_layer(kind, *, direction="forward", opset=14, bias=True, lengths=None, given=False, data=TIME_FIRST, **more):
    passes, rows = 1 + (direction == "bidirectional"), ROWS[kind] * HIDDEN
    weights = [vector(passes, rows, FEATURES), vector(passes, rows, HIDDEN), vector(passes, 2 * rows) if bias else None]
    weights += [lengths, *([vector(passes, BATCH, HIDDEN)] * (2 if kind == "LSTM" else 1) if given else ())]
    return onnx_model(kind, [data], weights, opset=opset, hidden_size=HIDDEN, direction=direction, **more)


def results_of(model, count):
    """The same model with all its results as outputs."""
    node = model.graph.node[0]
    for i in range(len(node.output), count):
        node.output.append(f"y{i}")
        model.graph.output.append(onnx.helper.make_tensor_value_info(f"y{i}", onnx.TensorProto.FLOAT, None))
    return model


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("bias", "given"), [(True, True), (False, False)])
def test_onnx_layers(kind, direction, bias, given):
    model = results_of(onnx_layer(kind, direction=direction, bias=bias, given=given), 3 if kind == "LSTM" else 2)
    check(model, TIME_FIRST)


@pytest.mark.parametrize("opset", [7, 14, 22])
@pytest.mark.parametrize("kind", ROWS)
def test_opsets(kind, opset):
    model = onnx_layer(kind, opset=opset)
    model.ir_version = 10
    check(model, TIME_FIRST)


def test_before_opset_3_the_reset_comes_first():
    graph = li.load(onnx_layer("GRU", opset=1))
    assert next(n.op for n in graph.nodes if isinstance(n.op, Gru)).reset_after is False


@pytest.mark.parametrize("after", [0, 1])
def test_R30_linear_before_reset(after):
    graph = check(onnx_layer("GRU", linear_before_reset=after), TIME_FIRST)
    assert next(n.op for n in graph.nodes if isinstance(n.op, Gru)).reset_after == bool(after)


@pytest.mark.parametrize("kind", ROWS)
def test_batch_first_is_the_other_way_round(kind):
    model = onnx_layer(kind, direction="bidirectional", data=X, layout=1)
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    del plain.graph.node[0].attribute[:]
    for name, value in (("hidden_size", HIDDEN), ("direction", "bidirectional")):
        plain.graph.node[0].attribute.append(onnx.helper.make_attribute(name, value))
    plain.graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info("x0", onnx.TensorProto.FLOAT, TIME_FIRST.shape))
    (wanted,) = li.run(plain, [TIME_FIRST])  # (time, pass, batch, features)
    check(model, X, given=[wanted.transpose(2, 0, 1, 3)])


ACTIVATIONS = {
    "RNN": (["LeakyRelu"], {"activation_alpha": [0.35]}),
    "GRU": (["HardSigmoid", "Elu"], {"activation_alpha": [0.3, 0.7], "activation_beta": [0.4]}),
    "LSTM": (["Sigmoid", "Softsign", "Relu"], {}),
}


@pytest.mark.parametrize("kind", ROWS)
def test_activations_of_onnx(kind):
    names, numbers = ACTIVATIONS[kind]
    check(onnx_layer(kind, activations=names, **numbers), TIME_FIRST)


def test_activations_that_differ_between_the_passes():
    model = onnx_layer("RNN", direction="bidirectional", activations=["Tanh", "LeakyRelu"], activation_alpha=[0.35])
    assert kinds(check(model, TIME_FIRST)).count("Rnn") == 2


def test_lengths_that_say_nothing():
    check(onnx_layer("GRU", lengths=np.full(BATCH, STEPS, np.int32)), TIME_FIRST)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (onnx_layer("GRU", lengths=np.asarray([5, 3], np.int32)), "sequence_lens"),
        (onnx_layer("LSTM", clip=3.0), "clip"),
        (onnx_layer("LSTM", input_forget=1), "input_forget"),
        (onnx_layer("RNN", activations=["ScaledTanh"], activation_alpha=[1.0], activation_beta=[2.0]), "ScaledTanh"),
    ],
)
def test_what_no_other_framework_has_is_refused(model, reason):
    with pytest.raises(Refused, match=reason):
        li.load(model)


def test_peepholes_are_refused():
    weights = [vector(1, 16, FEATURES), vector(1, 16, HIDDEN), None, None, None, None, vector(1, 12)]
    with pytest.raises(Refused, match="peepholes"):
        li.load(onnx_model("LSTM", [TIME_FIRST], weights, opset=14, hidden_size=HIDDEN))


def test_results_that_nobody_reads_are_not_written():
    """Final states and their squeezes cost nodes and time: the LSTM names what is read, and no weight is left over."""
    layer = torch.nn.LSTM(FEATURES, HIDDEN, 2, batch_first=True)
    sequence = li.convert(Net(layer, lambda y, s: y), to="onnx", example=(X,))
    assert [n.op_type for n in sequence.graph.node].count("Squeeze") == 2
    assert [list(n.output[1:]) for n in sequence.graph.node if n.op_type == "LSTM"] == [[], []]
    state = li.convert(Net(layer, lambda y, s: s[1]), to="onnx", example=(X,), static_batch=True)
    second = [n for n in state.graph.node if n.op_type == "LSTM"][1]
    assert [bool(name) for name in second.output] == [False, False, True]
    for model in (sequence, state):
        read = {name for n in model.graph.node for name in n.input}
        assert {w.name for w in model.graph.initializer} <= read


def test_float64_is_written_out():
    module = torch.nn.GRU(FEATURES, HIDDEN, batch_first=True, bidirectional=True).double()
    check(Net(module, everything), X.astype(np.float64), to=("torch", "onnx"))


# --- bounds -----------------------------------------------------------------------------------------------------------


def faults(case):
    """Operands with a fault that users have met, by name."""
    arrays, gates, hidden = case.arrays(), case.op.gates, 5
    kernel, recurrent, bias, second = arrays[1:5]

    def with_weights(**changed):
        return [arrays[0], *Cell(*arrays[1:8])._replace(**changed), *arrays[8:]]

    def swapped(weight, a, b):
        order = list(range(gates))
        order[a], order[b] = order[b], order[a]
        return weight.reshape(gates, hidden, *weight.shape[1:])[order].reshape(weight.shape)

    if gates > 1:
        yield "two gates swapped", with_weights(kernel=swapped(kernel, gates - 1, gates - 2))
        yield "two recurrent gates swapped", with_weights(recurrent_kernel=swapped(recurrent, 0, 1))
    if bias is not None:
        yield "bias dropped", with_weights(bias=None)
    if second is not None:
        yield "recurrent bias dropped", with_weights(recurrent_bias=None)
        if getattr(case.op, "reset_after", False):
            yield "biases summed where a reset stands between", with_weights(bias=bias + second, recurrent_bias=None)


@pytest.mark.parametrize("name", [n for n in CASES if n.split("/")[0] in ("lstm", "gru", "rnn") and "float16" not in n])
def test_the_bound_notices_faults(name):
    case = CASES[name]
    right = case.op.reference(*case.arrays())
    length, magnitudes = case.op.terms(*case.arrays())
    limits = [sum_limit(length, m, r.dtype) for m, r in zip(magnitudes, right, strict=True)]
    assert all(np.median(limit / np.maximum(np.abs(r), 0.1)) < 2e-4 for limit, r in zip(limits, right, strict=True))
    for fault, operands in faults(case):
        found = case.op.reference(*operands)
        ratios = [compare(r, f, limit).ratio for r, f, limit in zip(right, found, limits, strict=True)]
        assert max(ratios) > 1, f"{fault} passes"


@pytest.mark.parametrize("kind", [Lstm, Gru, Rnn])
def test_written_out_it_computes_the_same(kind):
    """The definition step by step, in plain numpy."""
    case = CASES[f"{kind.__name__.lower()}/states"]
    x, *rest = case.arrays()
    cell = Cell(*rest)
    sigmoid, split = (lambda v: 1 / (1 + np.exp(-v))), np.split
    h, c, sequence = cell.h, cell.c, []
    for t in range(x.shape[1]):
        from_x, from_h = x[:, t] @ cell.kernel.T + cell.bias, h @ cell.recurrent_kernel.T + cell.recurrent_bias
        if kind is Lstm:
            i, f, g, o = split(from_x + from_h, 4, 1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif kind is Gru:
            (xz, xr, xn), (hz, hr, hn) = split(from_x, 3, 1), split(from_h, 3, 1)
            n, z = np.tanh(xn + sigmoid(xr + hr) * hn), sigmoid(xz + hz)
            h = (1 - z) * n + z * h
        else:
            h = np.tanh(from_x + from_h)
        sequence.append(h)
    y, last, *_ = case.op.reference(*case.arrays())
    np.testing.assert_allclose(y, np.stack(sequence, 1), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(last, h, rtol=1e-5, atol=1e-6)


def test_the_three_have_a_case_for_every_direction():
    for kind in (Lstm, Gru, Rnn):
        found = {c.op.direction for c in CASES.values() if isinstance(c.op, kind)}
        assert found == {"forward", "reverse", "bidirectional"}
