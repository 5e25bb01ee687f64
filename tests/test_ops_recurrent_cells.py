"""Keras' recurrent layers around any cell, with masks, and TimeDistributed: read as the body of a Scan."""

import keras
import numpy as np
import pytest
from family_checks import ALL, check, kinds

import leaky_interop as li
from leaky_interop.errors import Refused

L = keras.layers
rng = np.random.default_rng(29)
BATCH, STEPS, FEATURES, UNITS = 3, 4, 3, 2
X = rng.standard_normal((BATCH, STEPS, FEATURES)).astype(np.float32)
GAPS = X.copy()
GAPS[0, 0] = GAPS[1, 2] = GAPS[2] = 0  # masked at the start, in the middle, everywhere


def made(layer, *shapes, **call):
    inputs = [keras.Input(s) for s in shapes or [(STEPS, FEATURES)]]
    model = keras.Model(inputs, layer(*inputs, **call))
    for variable in model.weights:
        if variable.dtype == "float32":
            variable.assign((rng.standard_normal(variable.shape) * 0.5).astype(np.float32))
    return model


def masked(layer):
    return lambda x: layer(L.Masking(0.0)(x))


@keras.saving.register_keras_serializable()
class Counting(keras.Layer):
    """A cell with three states of two sizes, which does not begin with zeros, and an output of a third size."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units, self.state_size, self.output_size = units, [units, units, 1], 2 * units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")
        self.recurrent = self.add_weight(shape=(self.units, self.units), name="recurrent")

    def call(self, x, states):
        h, highest, count = states
        h = keras.ops.tanh(x @ self.kernel + h @ self.recurrent)
        return keras.ops.concatenate([h, highest * count], -1), [h, keras.ops.maximum(highest, h), count + 1]

    def get_initial_state(self, batch_size=None):
        ones = keras.ops.ones((batch_size, self.units))
        return [ones, -ones, keras.ops.zeros((batch_size, 1))]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable()
class Forgetting(keras.Layer):
    """A cell that never reads its second state."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.state_size, self.output_size = [FEATURES, FEATURES], FEATURES

    def call(self, x, states):
        return x + states[0], [states[0] * 0.5, x]


CELLS = {
    "counting": lambda: Counting(UNITS),
    "forgetting": Forgetting,
    "stack": lambda: [L.LSTMCell(3), Counting(2), L.GRUCell(2, reset_after=False)],
    "activation": lambda: L.LSTMCell(UNITS, activation=lambda v: keras.ops.tanh(v) * v),
}


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("settings", [{}, {"return_sequences": True, "return_state": True}, {"go_backwards": True}], ids=str)
def test_any_cell(cell, settings):
    check(made(L.RNN(CELLS[cell](), **settings)), X)


@pytest.mark.parametrize("cell", CELLS)
def test_any_cell_under_a_mask(cell):
    check(made(masked(L.RNN(CELLS[cell](), return_state=True))), GAPS)


@pytest.mark.parametrize("kind", [L.LSTM, L.GRU, L.SimpleRNN])
@pytest.mark.parametrize("settings", [{}, {"return_sequences": True, "return_state": True}, {"go_backwards": True}], ids=str)
def test_masks(kind, settings):
    check(made(masked(kind(UNITS, **settings))), GAPS)


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("backwards", [False, True])
def test_zeros_where_a_step_is_left_out(sequences, backwards):
    settings = {"return_sequences": sequences, "go_backwards": backwards, "zero_output_for_mask": True}
    check(made(masked(L.RNN(L.GRUCell(UNITS), **settings))), GAPS)


def test_a_mask_as_an_input_and_one_of_an_embedding():
    mask = keras.Input((STEPS,), dtype="bool")
    inputs = keras.Input((STEPS, FEATURES))
    model = keras.Model([inputs, mask], L.GRU(UNITS)(inputs, mask=mask))
    check(model, X, rng.random((BATCH, STEPS)) < 0.5)
    check(made(lambda x: L.LSTM(UNITS)(L.Embedding(4, 3, mask_zero=True)(x)), (STEPS,)), rng.integers(0, 4, (BATCH, STEPS)).astype(np.float32))


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave", None])
@pytest.mark.parametrize("sequences", [False, True])
def test_both_ways_under_a_mask(merge, sequences):
    inner = L.LSTM(UNITS, return_sequences=sequences, return_state=True)
    check(made(masked(L.Bidirectional(inner, merge_mode=merge))), GAPS)


def test_both_ways_around_any_layer():
    check(made(L.Bidirectional(L.RNN(Counting(UNITS), return_sequences=True), merge_mode="mul")), X)
    check(made(L.Bidirectional(L.ConvLSTM1D(2, 2, return_sequences=True)), (STEPS, 5, 3)), vector(STEPS, 5, 3))


def test_whole_numbers_are_read_as_floats():
    inputs = keras.Input((STEPS, FEATURES), dtype="int32")
    for layer in (L.LSTM(UNITS), L.Bidirectional(L.GRU(UNITS)), L.RNN(L.GRUCell(UNITS, activation=lambda v: v * v))):
        check(keras.Model(inputs, layer(inputs)), rng.integers(-3, 4, (BATCH, STEPS, FEATURES)).astype(np.int32))


def vector(*shape):
    return rng.standard_normal((BATCH, *shape)).astype(np.float32)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_convolutional(rank, data_format):
    if data_format == "channels_first" and keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow convolves channels first on graphics cards only")
    size = (5, 4, 3)[:rank]
    shape = (STEPS, *size, 2) if data_format == "channels_last" else (STEPS, 2, *size)
    layer = getattr(L, f"ConvLSTM{rank}D")
    settings = {"data_format": data_format, "padding": "same", "recurrent_activation": "hard_sigmoid"}
    check(made(layer(2, 3, return_sequences=True, **settings), shape), vector(*shape))


def test_convolutional_with_states_and_masks():
    layer = L.ConvLSTM1D(2, 2, return_state=True)
    model = made(lambda x, h, c: layer(x, initial_state=[h, c]), (STEPS, 5, 3), (4, 2), (4, 2))
    check(model, vector(STEPS, 5, 3), vector(4, 2), vector(4, 2))
    x, mask = keras.Input((STEPS, 5, 3)), keras.Input((STEPS,), dtype="bool")
    model = keras.Model([x, mask], L.ConvLSTM1D(2, 2, return_sequences=True)(x, mask=mask))
    check(model, vector(STEPS, 5, 3), rng.random((BATCH, STEPS)) < 0.5)


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("steps", [1, 5])
def test_an_open_number_of_steps(batch, steps):
    model = made(masked(L.LSTM(UNITS, return_sequences=True)), (None, FEATURES))
    x = rng.standard_normal((batch, steps, FEATURES)).astype(np.float32) * (rng.random((batch, steps, 1)) < 0.6)
    check(model, x.astype(np.float32), to=("onnx", "torch"))


def test_an_open_number_of_steps_is_not_written_out_for_keras():
    with pytest.raises(Refused, match="number of rounds"):
        li.convert(made(L.RNN(Counting(UNITS)), (None, FEATURES)), to="keras")


def test_what_each_entry_begins_with_must_be_the_same():
    class Odd(Counting):
        def get_initial_state(self, batch_size=None):
            rows = keras.ops.reshape(keras.ops.arange(batch_size * self.units, dtype="float32"), (batch_size, self.units))
            return [rows, rows, rows[:, :1]]

    with pytest.raises(Refused, match="within a batch"):
        li.load(made(L.RNN(Odd(UNITS))))


def test_weights_of_a_cell_keep_their_names():
    model = made(masked(L.LSTM(UNITS, name="layer")))
    assert {"layer.cell.kernel", "layer.cell.recurrent_kernel", "layer.cell.bias"} <= {p.name for p in li.load(model).parameters()}


def test_mixed_precision_inside_a_cell():
    model = made(masked(L.LSTM(UNITS, dtype="mixed_float16")))
    assert {v.dtype.name for v in li.load(model).outputs} == {"float16"}
    expected = li.run(model, [GAPS])[0].astype(np.float32)
    for target in ("onnx", "torch"):
        np.testing.assert_allclose(li.run(li.convert(model, to=target), [GAPS])[0].astype(np.float32), expected, atol=3e-3)


def test_a_mask_and_initial_states_together():
    """Keras then asks for no mask."""
    layer = L.GRU(UNITS)
    model = made(lambda x, h: layer(L.Masking(0.0)(x), initial_state=h), (STEPS, FEATURES), (UNITS,))
    check(model, GAPS, vector(UNITS))


def test_a_mask_inside_a_nested_model_and_one_that_enters_it():
    inner = keras.Sequential([keras.Input((STEPS, FEATURES)), L.Masking(0.0), L.LSTM(UNITS)])
    check(made(lambda x: inner(x)), GAPS)
    bare = keras.Sequential([keras.Input((STEPS, FEATURES)), L.LSTM(UNITS)])
    with pytest.raises(Refused, match="mask"):
        li.load(made(masked(bare)))


# --- TimeDistributed --------------------------------------------------------------------------------------------------

INNER = {
    "dense": (lambda: L.Dense(3, activation="relu"), (FEATURES,)),
    "conv": (lambda: L.Conv2D(2, 2), (5, 4, 3)),
    "lstm": (lambda: L.LSTM(2), (5, 3)),
    "softmax": (lambda: L.Softmax(), (5,)),
    "model": (lambda: keras.Sequential([keras.Input((5, 4, 3)), L.Conv2D(2, 2), L.Flatten(), L.Dense(2)]), (5, 4, 3)),
}


@pytest.mark.parametrize("kind", INNER)
@pytest.mark.parametrize("steps", [STEPS, None])
def test_time_distributed(kind, steps):
    layer, shape = INNER[kind]
    to = ("onnx", "torch") if steps is None else ALL  # Keras reshapes to one open size
    graph = check(made(L.TimeDistributed(layer()), (steps, *shape)), vector(STEPS, *shape), to=to)
    assert "Scan" not in kinds(graph)


@keras.saving.register_keras_serializable()
class AcrossTheBatch(keras.Layer):
    def call(self, x):
        return x - keras.ops.mean(x, axis=0, keepdims=True)

    def compute_output_shape(self, shape):
        return shape


def test_a_layer_that_looks_at_the_whole_batch_sees_each_step_alone():
    graph = check(made(L.TimeDistributed(AcrossTheBatch())), X)
    assert kinds(graph) == ["Scan"]
