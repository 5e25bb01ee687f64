"""Recurrent layers under a mask are layers under a mask again, also where a file says them as a Scan."""

import keras
import numpy as np
import pytest

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.verification import verify_conversion

rng = np.random.default_rng(4)
layers = keras.layers


class Halved(layers.LSTMCell):
    """Almost a cell of Keras' own: what it gives out is half of that."""

    def call(self, inputs, states, training=False):
        output, states = super().call(inputs, states, training=training)
        return output * 0.5, states


def masked(layer, *others):
    x, mask = keras.Input((4, 3)), keras.Input((4,), dtype="bool")
    given = [keras.Input((2,)) for _ in others]
    return keras.Model([x, mask, *given], layer(x, mask=mask, **({"initial_state": given} if given else {})))


def looked_up(*chain):
    tokens = keras.Input((None,), dtype="int32")
    x = layers.Embedding(7, 3, mask_zero=True)(tokens)
    for layer in chain:
        x = layer(x)
    return keras.Model(tokens, x)


NETWORKS = {
    "lstm": (lambda: masked(layers.LSTM(2, name="own", return_sequences=True, return_state=True)), {"LSTM"}),
    "gru": (lambda: masked(layers.GRU(2, return_sequences=True, zero_output_for_mask=True)), {"GRU"}),
    "activations": (lambda: masked(layers.LSTM(2, activation="relu", recurrent_activation="tanh")), {"LSTM"}),
    "linear": (lambda: masked(layers.SimpleRNN(2, activation=None), "h"), {"SimpleRNN"}),
    "backwards": (lambda: masked(layers.LSTM(2, use_bias=False, go_backwards=True, return_sequences=True)), {"LSTM"}),
    "open": (lambda: looked_up(layers.GRU(2, return_sequences=True), layers.LSTM(2)), {"GRU", "LSTM", "Embedding"}),
    "both_ways": (
        lambda: looked_up(layers.Bidirectional(layers.GRU(2, return_sequences=True))),
        {"GRU", "Embedding", "Concatenate"},
    ),
}


def kinds_of(model):
    return {type(layer).__name__ for layer in model.layers if isinstance(layer, layers.Layer)} - {"InputLayer"}


def verified(graph, to):
    conversion = transfer_graph(graph, to)
    tokens = graph.inputs[0].dtype == np.int32  # a few of them: drawn sequences are long, and every step is judged
    report = verify_conversion(conversion, [rng.integers(0, 7, (3, 6)).astype(np.int32)] if tokens else None)
    assert report.passed, str(report)
    return conversion.model


@pytest.mark.parametrize("via", ["keras", "onnx"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_under_a_mask_comes_back(name, via):
    make, expected = NETWORKS[name]
    model = make()
    for variable in model.weights:
        variable.assign(rng.standard_normal(variable.shape))
    back = (
        verified(li.load(model), "keras")
        if via == "keras"
        else verified(li.load(verified(li.load(model), "onnx")), "keras")
    )
    assert kinds_of(back) == expected
    ours, theirs = (sorted(keras.ops.convert_to_numpy(v).tobytes() for v in m.weights) for m in (model, back))
    assert ours == theirs


@pytest.mark.parametrize(
    "layer", [layers.RNN(Halved(2)), layers.GRU(2, reset_after=False)], ids=["a cell of the user's own", "reset before"]
)
def test_what_no_layer_says_is_written_out(layer):
    back = verified(li.load(masked(layer)), "keras")
    assert not kinds_of(back) & {"LSTM", "GRU", "RNN"}


def test_a_saved_layer_reads_its_mask(tmp_path):
    back = verified(li.load(masked(layers.LSTM(2))), "keras")
    back.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras", safe_mode=True)
    x = rng.standard_normal((3, 4, 3)).astype(np.float32)
    for mask in (np.zeros((3, 4), bool), np.ones((3, 4), bool), rng.random((3, 4)) < 0.5):
        np.testing.assert_array_equal(li.run(again, [x, mask])[0], li.run(back, [x, mask])[0])
