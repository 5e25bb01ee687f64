"""StringLookup and TextVectorization: text into numbers and back, in every setting that ONNX has operators for."""

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


TEXTS = np.array([["The cat  sat"], ["the DOG\tand\r\nÄ bird\vthe\fthe\u3000cat "], ["  "], ["" ]], object)
TERMS = ["the", "cat", "dog", "bird", "Ä"]
VECTORS = {
    "cut": {"output_sequence_length": 3},
    "filled up": {"output_sequence_length": 11},
    "multi_hot": {"output_mode": "multi_hot"},
    "count, filled up": {"output_mode": "count", "max_tokens": 12, "pad_to_max_tokens": True},
    "tf_idf": {"output_mode": "tf_idf", "idf_weights": [0.5, 1.0, 1.5, 2.0, 3.0]},
    "one word": {"split": None},
    "one word, filled up": {"split": None, "output_sequence_length": 3},
    "one word, multi_hot": {"split": None, "output_mode": "multi_hot"},
}


def vectorization(shape=(1,), **settings):
    inputs = keras.Input(shape, dtype="string")
    layer = keras.layers.TextVectorization(**{"vocabulary": TERMS, "standardize": "lower", **settings})
    return keras.Model(inputs, layer(inputs))


@pytest.mark.parametrize("standardize", [None, "lower"])
@pytest.mark.parametrize("settings", VECTORS.values(), ids=VECTORS)
def test_words_become_numbers(settings, standardize):
    """At every kind of white space that TensorFlow splits at, and no other; lower case of ASCII alone."""
    model = vectorization(standardize=standardize, **settings)
    wanted = np.asarray(model(keras.ops.convert_to_tensor(TEXTS)))
    graph = li.load(model)
    made = li.convert(model, to="onnx")
    for rows in (slice(0, 1), slice(1, 4), slice(3, 4), slice(None)):
        for found in (only(li.run(made, [TEXTS[rows]])), only(graph.run(TEXTS[rows]))):
            assert found.dtype == wanted.dtype
            np.testing.assert_array_equal(found, wanted[rows])
    assert li.verify(model, made, inputs=[TEXTS]).passed


def test_texts_without_a_second_axis():
    model = vectorization((), output_sequence_length=4)
    wanted = np.asarray(model(keras.ops.convert_to_tensor(TEXTS[:, 0])))
    np.testing.assert_array_equal(only(li.run(li.convert(model, to="onnx"), [TEXTS[:, 0]])), wanted)


def test_words_of_a_file_are_embedded(tmp_path):
    inputs = keras.Input((1,), dtype="string")
    found = keras.layers.TextVectorization(vocabulary=TERMS, standardize="lower", output_sequence_length=5)(inputs)
    model = keras.Model(inputs, keras.layers.Embedding(7, 4)(found))
    model.save(tmp_path / "net.keras")
    li.convert(tmp_path / "net.keras", tmp_path / "net.onnx", inputs=[TEXTS])
    np.testing.assert_array_equal(
        only(li.run(tmp_path / "net.onnx", [TEXTS])), np.asarray(model(keras.ops.convert_to_tensor(TEXTS)))
    )


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"standardize": "lower_and_strip_punctuation"}, "standardize='lower_and_strip_punctuation'.*leaving punctuation out"),
        ({"standardize": "strip_punctuation"}, "standardize='strip_punctuation'"),
        ({"split": "character"}, "split='character'"),
        ({"ngrams": 2}, "ngrams=2"),
        ({"ragged": True}, "ragged=True"),
        ({}, "output_sequence_length=None"),
    ],
)
def test_what_onnx_has_no_operator_for_is_refused(settings, words):
    with pytest.raises(Refused, match=rf"TextVectorization with {words}"):
        li.load(vectorization(**settings))
