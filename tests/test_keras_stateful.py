"""Layers with stateful=True: what they remember from call to call are inputs and outputs of the converted network."""

import keras
import numpy as np
import pytest

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.errors import Refused
from leaky_interop.verification import verify_conversion

layers = keras.layers
SHAPE = (2, 5, 3)
LAYERS = {
    "lstm": lambda: layers.LSTM(4, stateful=True, return_sequences=True),
    "gru": lambda: layers.GRU(4, stateful=True, go_backwards=True),
    "both ways": lambda: layers.Bidirectional(layers.LSTM(4, stateful=True, return_sequences=True), merge_mode="sum"),
    "cells": lambda: layers.RNN([layers.GRUCell(4), layers.LSTMCell(3)], stateful=True),
    "any cell": lambda: layers.RNN(Leaky(), stateful=True),
}


class Leaky(keras.layers.Layer):
    state_size = output_size = 3

    def call(self, x, states):
        h = keras.ops.leaky_relu(x + 0.5 * states[0], 0.1)
        return h, [h]


def rounds(model, made, count=3):
    """Call by call, what the model gives and what is made of it does, its states handed on."""
    random = np.random.default_rng(0)
    graph = li.load(model)
    states = [np.zeros(v.shape, v.dtype) for v in graph.inputs[len(model.inputs) :]]
    for _ in range(count):
        arrays = [random.normal(size=t.shape).astype(np.float32) for t in model.inputs]
        wanted = li.run(model, arrays)
        found = li.run(made, [*arrays, *states])
        states = found[len(wanted) :]
        yield wanted, found[: len(wanted)]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
def test_call_after_call(name, to):
    given = keras.Input(batch_shape=SHAPE)
    model = keras.Model(given, LAYERS[name]()(given))
    done = transfer_graph(li.load(model), to)
    report = verify_conversion(done)  # on states of every kind, which it leaves as they were
    assert report.passed, str(report)
    results = []
    for wanted, found in rounds(model, done.model):
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-4, atol=1e-5)
        results.append(found[0])
    assert not np.allclose(results[0], results[1], atol=1e-3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_a_policy_of_two_dtypes(policy):
    """States are remembered in float32 and read in the narrow dtype; Keras on torch assigns them to a copy that it drops."""
    given = keras.Input(batch_shape=SHAPE)
    model = keras.Model(given, layers.GRU(4, stateful=True, dtype=policy, recurrent_initializer="glorot_uniform")(given))
    if policy.startswith("mixed") and keras.backend.backend() == "torch":
        layer, x = model.layers[-1], np.ones(SHAPE, np.float32)
        assert model.predict(x, verbose=0).any() and not keras.ops.convert_to_numpy(layer.states[0]).any()
        with pytest.raises(Refused, match="forgets them"):
            li.load(model)
        return
    for to in ("onnx", "torch", "keras"):
        done = transfer_graph(li.load(model), to)
        report = verify_conversion(done)
        assert report.passed, str(report)
        first, second, third = (found[0] for _, found in rounds(model, done.model))
        assert not np.array_equal(first, second) and not np.array_equal(second, third)


def test_a_layer_that_is_called_twice_remembers_both_calls():
    given = keras.Input(batch_shape=SHAPE)
    layer = layers.LSTM(3, stateful=True, return_sequences=True, return_state=True, name="twice")
    y, *_ = layer(given)
    z, h, _ = layer(y)
    model = keras.Model(given, [z, h])
    graph = li.load(model)
    assert [v.name for v in graph.inputs[1:]] == ["twice.state_0", "twice.state_1"]
    assert graph.output_names[2:] == ["twice.state_0.next", "twice.state_1.next"]
    assert any("remember" in note for note in graph.notes)
    for wanted, found in rounds(model, li.convert(model, to="torch")):
        for one, two in zip(wanted, found, strict=True):
            np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)


def test_states_beside_named_outputs():
    given = keras.Input(batch_shape=SHAPE)
    y = layers.GRU(3, stateful=True, name="g")(given)
    graph = li.load(keras.Model(given, {"y": y, "a": y * 2}))
    assert graph.output_names == ["a", "y", "g.state_0.next"]
    assert verify_conversion(transfer_graph(graph, "onnx")).passed


def test_a_state_that_stays_inside_is_refused():
    given = keras.Input(batch_shape=(2, 4, 5, 3))
    layer = layers.TimeDistributed(layers.LSTM(3, stateful=True))
    with pytest.raises(li.Refused, match="stateful=False"):
        li.load(keras.Model(given, layer(given)))


def test_gradients_are_refused_with_the_reason():
    model = keras.Sequential([keras.Input(batch_shape=SHAPE), layers.LSTM(4, stateful=True), layers.Dense(1)])
    for other in (model, li.convert(model, to="torch")):
        with pytest.raises(Refused, match=r"gradients of a stateful network.*stateful=False"):
            li.verify(model, other, gradients=True)
