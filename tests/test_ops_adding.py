"""Sums in Keras whose second operand has one long axis, which TensorFlow's backend takes for a bias."""

import itertools

import keras
import numpy as np
import pytest
from family_checks import check, onnx_model
from hypothesis import given
from hypothesis import strategies as st

import leaky_interop as li
from leaky_interop.ops.adding import mistaken

SHAPES = [(4, 4), (4, 1), (1, 4), (4,), (3, 4, 4), (1, 4, 1), (3, 4, 1), (4, 4, 4), (4, 1, 1), (2, 1, 4), (1, 1, 1, 4), (2, 4, 4, 4)]


def fit(x, y):
    return all(1 in (a, b) or a == b for a, b in zip(x[::-1], y[::-1], strict=False))


@pytest.mark.parametrize("x, y", [pair for pair in itertools.product(SHAPES, SHAPES) if fit(*pair)])
def test_every_axis_stays_where_it_is(x, y):
    arrays = [np.random.default_rng(i).standard_normal(s).astype(np.float32) for i, s in enumerate((x, y))]
    check(onnx_model("Add", arrays, opset=14), *arrays, to=("keras",))


@pytest.mark.parametrize("dtype", ["int32", "uint8", "float64"])
def test_every_dtype(dtype):
    arrays = [np.arange(16).reshape(4, 4).astype(dtype), np.arange(4).reshape(4, 1).astype(dtype)]
    model = li.convert(onnx_model("Add", arrays, opset=14), to="keras")
    np.testing.assert_array_equal(li.run(model, arrays)[0], sum(arrays))


def test_a_batch_as_large_as_the_features():
    """The size that makes the difference is known when the network runs only."""
    inputs = [keras.Input((4,)), keras.Input((1,))]
    graph = li.load(keras.Model(inputs, keras.ops.add(*inputs)))
    model = li.convert(li.convert(graph.program.model, to="onnx"), to="keras")
    for batch in (1, 2, 4):
        x, y = np.zeros((batch, 4), np.float32), np.arange(batch, dtype=np.float32).reshape(batch, 1)
        np.testing.assert_array_equal(li.run(model, [x, y])[0], x + y)


@given(st.data())
def test_what_is_no_mistake_is_left_alone(data):
    """The rule against Keras' own: where it says that nothing is mistaken, the function adds what numpy adds."""
    sizes = st.sampled_from([1, 3, 4])
    x, y = (tuple(data.draw(st.lists(sizes, min_size=1, max_size=4))) for _ in range(2))
    try:
        expected = np.ones(x, np.float32) + np.arange(np.prod(y), dtype=np.float32).reshape(y)
    except ValueError:
        return
    hidden = [tuple(None if data.draw(st.booleans()) else n for n in shape) for shape in (x, y)]
    if not mistaken(*hidden):
        found = keras.ops.add(np.ones(x, np.float32), np.arange(np.prod(y), dtype=np.float32).reshape(y))
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(found), expected)


def test_a_source_that_tensorflow_computes_otherwise_is_warned_of():
    def note(layer, *shapes):
        inputs = [keras.Input(shape) for shape in shapes]
        return any("along another axis" in n for n in li.load(keras.Model(inputs, layer(*inputs))).notes)

    tensorflow = keras.backend.backend() == "tensorflow"
    assert note(keras.ops.add, (4, 4), (4, 1)) == tensorflow
    assert note(lambda *v: keras.layers.Add()(v), (4,), (1,)) == tensorflow
    assert not note(keras.ops.add, (8, 4), (8, 4))
    assert not note(lambda *v: keras.layers.Add()(v), (5, 5, 3), (5, 5, 3), (1, 1, 3))
