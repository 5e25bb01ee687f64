"""Counts of n-grams against the specification's own reference and onnxruntime."""

import numpy as np
import pytest
from family_checks import check, check_by_definition, onnx_model
from onnx import TensorProto, helper

import leaky_interop as li

POOL = [2, 3, 5, 5, 4, 3, 2, 7, 7, 5, 6, 2, 3, 5]  # three single ones, four pairs, one triple
COUNTS, PLACES = [0, 3, 11], [1, 0, 4, 2, 6, 3, 5, 7]
WEIGHTS = [0.5, 2.0, 1.5, 3.0, -1.0, 0.25, 4.0, 0.75]


def model_of(x, **settings):
    plain = {"mode": "TF", "min_gram_length": 1, "max_gram_length": 3, "max_skip_count": 0}
    listed = {"ngram_counts": COUNTS, "ngram_indexes": PLACES, "pool_int64s": POOL}
    return onnx_model("TfIdfVectorizer", [x], opset=9, result=np.float32, **listed, **plain | settings)


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
@pytest.mark.parametrize("lengths", [(1, 1), (1, 3), (2, 2), (2, 3)], ids=str)
@pytest.mark.parametrize("skips", [0, 1, 5])
def test_ngrams(mode, lengths, skips):
    x = np.random.default_rng(skips).integers(2, 8, (3, 9))
    settings = {"mode": mode, "min_gram_length": lengths[0], "max_gram_length": lengths[1], "max_skip_count": skips}
    model = model_of(x, **settings)
    if mode == "TF":
        check_by_definition(model, x)
    else:
        model.graph.node[0].attribute.append(helper.make_attribute("weights", WEIGHTS))
        check(model, x)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("shape", [(6,), (1,), (7, 2)], ids=str)
def test_single_rows_and_rows_shorter_than_an_ngram(shape, dtype):
    x = np.random.default_rng(1).integers(2, 8, shape).astype(dtype)
    check(model_of(x, max_skip_count=2), x)


@pytest.mark.parametrize("mode", ["TF", "IDF", "TFIDF"])
def test_words(mode):
    numbers = np.random.default_rng(4).integers(2, 8, (3, 9))
    model = model_of(numbers, mode=mode, max_skip_count=2)
    kept = [a for a in model.graph.node[0].attribute if a.name != "pool_int64s"]
    del model.graph.node[0].attribute[:]
    words = helper.make_attribute("pool_strings", [f"Wört {n}" for n in POOL])
    weights = [helper.make_attribute("weights", WEIGHTS)] if mode != "TF" else []
    model.graph.node[0].attribute.extend([*kept, words, *weights])
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.STRING
    x = np.array([f"Wört {n}" for n in numbers.reshape(-1)], object).reshape(numbers.shape)
    (expected,) = li.run(model, [x])
    assert np.any(expected != 0)
    for target in ("torch", "onnx"):
        np.testing.assert_array_equal(li.run(li.convert(model, target), [x])[0], expected)
