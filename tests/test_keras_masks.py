"""Masks that come along with Keras' data: where a layer would use one that no operand says, the network is refused."""

import keras
import numpy as np
import pytest
from family_checks import check

import leaky_interop as li
from leaky_interop.errors import Refused

IDS = np.array([[1, 2, 0, 3, 0], [4, 0, 0, 6, 5]], np.int32)


class Around(keras.layers.Layer):
    """A layer of the user's own around one that takes a mask."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def call(self, x):
        return self.inner(x)


def embedding():
    return keras.layers.Embedding(7, 4, mask_zero=True)


def nested(*layers, shape=(5, 4), dtype="float32"):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers])


def of_ids(*layers):
    return nested(*layers, shape=(5,), dtype="int32")


USES = {
    "lstm": lambda: keras.layers.LSTM(3),
    "wrapped": lambda: keras.layers.Bidirectional(keras.layers.GRU(3)),
    "pooling": lambda: keras.layers.GlobalAveragePooling1D(),
    "softmax": lambda: keras.layers.Softmax(axis=1),
    "in_time": lambda: keras.layers.TimeDistributed(keras.layers.Dense(3)),
}
WAYS = {
    "into_a_nested_model": lambda layer: of_ids(embedding(), nested(keras.layers.Dense(4), layer)),
    "two_models_deep": lambda layer: of_ids(embedding(), nested(nested(keras.layers.Dense(4), layer))),
    "out_of_a_nested_model": lambda layer: of_ids(of_ids(embedding()), layer),
    "from_one_into_another": lambda layer: of_ids(of_ids(embedding()), nested(layer)),
    "through_a_nested_model": lambda layer: of_ids(embedding(), nested(keras.layers.Dense(4)), layer),
    "into_an_own_layer": lambda layer: of_ids(embedding(), Around(layer)),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("way", WAYS)
def test_a_mask_that_is_no_operand_is_refused(use, way):
    model = WAYS[way](USES[use]())
    try:
        graph = li.load(model)
    except Refused as refusal:
        assert "mask" in str(refusal)
    else:  # where Keras itself hands it on, it is an operand
        np.testing.assert_allclose(graph.run(IDS)[0], keras.ops.convert_to_numpy(model(IDS)), rtol=1e-5, atol=1e-6)
        assert any("mask" in str(v) or "NotEqual" in str(v.node.op) for n in graph.nodes for v in n.inputs if v and v.node)


def test_a_mask_that_nothing_uses_does_no_harm():
    inner = nested(keras.layers.Dense(3), keras.layers.LayerNormalization(), keras.layers.Flatten(), keras.layers.Dense(2))
    check(of_ids(embedding(), inner), IDS)


def test_a_mask_ends_where_a_layer_uses_it_up():
    check(of_ids(embedding(), keras.layers.GlobalAveragePooling1D(), nested(keras.layers.Softmax(), shape=(4,))), IDS)


def test_the_same_nested_model_without_a_mask():
    inner = nested(keras.layers.LSTM(3))
    inputs = keras.Input((5,), dtype="int32")
    check(keras.Model(inputs, inner(keras.layers.Embedding(7, 4)(inputs))), IDS)
