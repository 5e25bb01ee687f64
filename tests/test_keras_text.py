"""StringLookup: text into numbers and back, in every setting that no hash decides; what splits or hashes text is refused."""

import keras
import numpy as np
import pytest

import leaky_interop as li
from leaky_interop.errors import Refused

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="Keras runs text on TensorFlow alone")

WORDS = np.array([["cat", "dog", "?"], ["", "bird", "cat"], ["[UNK]", "Cat", "dog "]], object)
TOKENS = ["cat", "dog", "bird"]
SETTINGS = {
    "plain": {},
    "masked": {"mask_token": ""},
    "names of its own": {"mask_token": "?", "oov_token": "[OOV]"},
    "multi_hot": {"output_mode": "multi_hot"},
    "one_hot": {"output_mode": "one_hot"},
    "count, filled up": {"output_mode": "count", "max_tokens": 9, "pad_to_max_tokens": True},
    "tf_idf": {"output_mode": "tf_idf", "idf_weights": [0.5, 1.5, 2.0]},
    "masked tf_idf": {"output_mode": "tf_idf", "idf_weights": [0.5, 1.5, 2.0], "mask_token": ""},
}


def network(dtype="string", **settings):
    inputs = keras.Input((3,), dtype=dtype)
    return keras.Model(inputs, keras.layers.StringLookup(vocabulary=TOKENS, **settings)(inputs))


def only(outputs):
    return np.asarray(outputs[0] if isinstance(outputs, list) else outputs)


@pytest.mark.parametrize("to", ["onnx", "torch"])
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_text_becomes_numbers(settings, to):
    model = network(**settings)
    wanted = np.asarray(model(keras.ops.convert_to_tensor(WORDS)))
    made = li.convert(model, to=to)
    for rows in (slice(0, 1), slice(None)):
        found = only(li.run(made, [WORDS[rows]]))
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted[rows])
    if to == "onnx":
        assert li.verify(model, made, inputs=[WORDS]).passed


@pytest.mark.parametrize("settings", [{}, {"mask_token": ""}])
def test_numbers_become_text(settings):
    model, places = network("int64", invert=True, **settings), np.array([[0, 1, 2], [3, 9, -1]])
    wanted = np.vectorize(bytes.decode, otypes=[object])(np.asarray(model(places)))
    np.testing.assert_array_equal(only(li.run(li.convert(model, to="onnx"), [places])), wanted)


def test_none_outside_is_told():
    graph = li.load(network(num_oov_indices=0))
    assert any("stops Keras" in note for note in graph.notes)


def test_a_hash_is_refused():
    with pytest.raises(Refused, match="hashes what is outside"):
        li.load(network(num_oov_indices=2))


def test_a_file_holds_its_words_and_opens_none(tmp_path):
    inputs = keras.Input((3,), dtype="string")
    found = keras.layers.StringLookup(vocabulary=[*TOKENS, "/etc/hostname"])(inputs)
    keras.Model(inputs, keras.layers.Embedding(5, 4)(found)).save(tmp_path / "net.keras")
    li.convert(tmp_path / "net.keras", tmp_path / "net.onnx", inputs=[WORDS])
    assert only(li.run(tmp_path / "net.onnx", [WORDS])).shape == (3, 3, 4)


def test_what_splits_text_is_refused():
    inputs = keras.Input((1,), dtype="string")
    model = keras.Model(inputs, keras.layers.TextVectorization(vocabulary=TOKENS)(inputs))
    with pytest.raises(Refused, match="TextVectorization"):
        li.load(model)
