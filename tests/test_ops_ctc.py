"""The loss and the best path of connectionist temporal classification, against Keras' own."""

import keras
import numpy as np
import pytest

import leaky_interop as li
from leaky_interop.ops.ctc import NEVER

ops = keras.ops
BACKEND = keras.backend.backend()
STEPS, CLASSES, LONGEST = 7, 5, 4


def assert_same(model, made, arrays, tolerance=1e-5):
    for wanted, found in zip(li.run(model, arrays), li.run(made, arrays), strict=True):
        assert (wanted.shape, wanted.dtype) == (found.shape, found.dtype)
        np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("blank", [0, 4])
@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
def test_loss(to, blank):
    """Targets with repeats, of no entries, and shorter outputs."""
    inputs = [
        keras.Input(shape, dtype=kind)
        for shape, kind in (((LONGEST,), "int32"), ((STEPS, CLASSES), None), ((), "int32"), ((), "int32"))
    ]
    model = keras.Model(inputs, ops.ctc_loss(*inputs, mask_index=blank))
    made, random = li.convert(model, to=to), np.random.default_rng(blank)
    for batch in (1, 3, 7):
        target = random.integers(0 if blank else 1, CLASSES - 1 if blank else CLASSES, (batch, LONGEST)).astype(
            np.int32
        )
        target[0] = [1, 1, 2, 2]
        lengths = random.integers(1, LONGEST + 1, batch).astype(np.int32)
        lengths[batch // 2] = 0 if batch > 1 else 3
        steps = random.integers(STEPS - 1, STEPS + 1, batch).astype(np.int32)
        steps[lengths == LONGEST] = STEPS
        scores = (random.normal(size=(batch, STEPS, CLASSES)) * 3).astype(np.float32)
        assert_same(model, made, [target, scores, lengths, steps])


@pytest.mark.skipif(BACKEND == "tensorflow", reason="TensorFlow's loss is a number above 700 there: a note says so")
def test_what_no_path_spells():
    inputs = [
        keras.Input(shape, dtype=kind)
        for shape, kind in (((2,), "int32"), ((2, 3), None), ((), "int32"), ((), "int32"))
    ]
    model = keras.Model(inputs, ops.ctc_loss(*inputs))
    arrays = [
        np.array([[1, 1]], np.int32),
        np.zeros((1, 2, 3), np.float32),
        np.array([2], np.int32),
        np.array([2], np.int32),
    ]
    for to in ("onnx", "torch"):
        assert li.run(li.convert(model, to=to), arrays)[0] == li.run(model, arrays)[0] == np.inf
    assert -NEVER > 1e9


@pytest.mark.parametrize("settings", [{}, {"merge_repeated": False}, {"mask_index": None}, {"mask_index": 3}], ids=str)
@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
def test_best_path(to, settings):
    scores, lengths = keras.Input((6, 4)), keras.Input((), dtype="int32")
    model = keras.Model([scores, lengths], ops.ctc_decode(scores, lengths, strategy="greedy", **settings))
    made, random = li.convert(model, to=to), np.random.default_rng(0)
    for batch in (1, 3, 7):
        numbers = random.normal(size=(batch, 6, 4)).astype(np.float32)
        assert_same(model, made, [numbers, random.integers(0, 7, batch).astype(np.int32)])


def test_a_search_is_refused():
    scores, lengths = keras.Input((6, 4)), keras.Input((), dtype="int32")
    model = keras.Model([scores, lengths], ops.ctc_decode(scores, lengths, strategy="beam_search"))
    with pytest.raises(li.Refused, match="strategy='greedy'"):
        li.load(model)
