"""Frames, their inverse, values that differ and histograms of Keras, against Keras' own."""

import keras
import numpy as np
import pytest

import leaky_interop as li

ops = keras.ops
TARGETS = ("onnx", "torch", "keras")


def assert_same(model, made, *arrays):
    for wanted, found in zip(li.run(model, arrays), li.run(made, arrays), strict=True):
        assert (wanted.shape, wanted.dtype) == (found.shape, found.dtype)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("length", "stride"), [(3, 2), (1, 4), (5, 1), (16, 3)])
def test_frames(length, stride):
    given = keras.Input((2, 16))
    model = keras.Model(given, ops.extract_sequences(given, length, stride))
    for to in TARGETS:
        made = li.convert(model, to=to)
        for batch in (1, 3):
            assert_same(model, made, numbers(batch, 2, 16))


@pytest.mark.parametrize("settings", [
    {}, {"center": False}, {"window": "hamming"}, {"window": None}, {"length": 20}, {"length": 40},
    {"sequence_length": 6}, {"sequence_length": 6, "window": None, "center": False},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("to", TARGETS)
def test_inverse_of_frames(to, settings):
    real, imaginary = keras.Input((9, 5)), keras.Input((9, 5))
    own = {"sequence_length": 8, "sequence_stride": 3, "fft_length": 8} | settings
    model = keras.Model([real, imaginary], ops.istft((real, imaginary), **own))
    made = li.convert(model, to=to)
    for batch in (1, 3):
        wanted = li.run(model, [numbers(batch, 9, 5), numbers(batch, 9, 5, seed=1)])[0]
        assert np.isfinite(wanted).all()
        assert_same(model, made, numbers(batch, 9, 5), numbers(batch, 9, 5, seed=1))


@pytest.mark.parametrize("settings", [
    {}, {"return_counts": True}, {"axis": 0, "return_inverse": True, "return_index": True},
    {"axis": 1, "size": 2}, {"axis": -1, "size": 6, "fill_value": 9, "return_counts": True}, {"size": 4, "fill_value": 7},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8"])
def test_values_that_differ(settings, dtype):
    given = keras.Input(batch_shape=(4, 3), dtype=dtype)
    model = keras.Model(given, ops.unique(given, **settings))
    made = [li.convert(model, to=to) for to in TARGETS[:2]]
    for seed in range(3):
        array = np.random.default_rng(seed).integers(0, 3, (4, 3)).astype(dtype)
        array[2] = array[0]
        for one in made:
            assert_same(model, one, array)


def test_values_in_no_order_are_refused():
    given = keras.Input(batch_shape=(4,))
    with pytest.raises(li.Refused, match="sorted=True"):
        li.load(keras.Model(given, ops.unique(given, sorted=False)))


class Histogram(keras.Model):
    """Keras' own operation runs in no functional model."""

    def __init__(self, settings):
        super().__init__()
        self.settings = settings

    def call(self, x):
        return ops.histogram(x, **self.settings)


@pytest.mark.parametrize("settings", [{}, {"bins": 1}, {"bins": 3}, {"bins": 7, "range": (-1.0, 2.0)}], ids=str)
def test_histogram(settings):
    model = Histogram(settings)
    for to in TARGETS:
        for array in (numbers(13), np.ones(4, np.float32), np.array([-1, 0, 2, 3, 0.5], np.float32)):
            assert_same(model, li.convert(model, example=array, to=to), array)
