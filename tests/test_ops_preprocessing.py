"""Keras' layers that scale data before a network."""

import keras
import numpy as np
import pytest
from family_checks import check, kinds

import leaky_interop as li
from leaky_interop.errors import Refused

rng = np.random.default_rng(5)
X = rng.uniform(-3, 9, (2, 4, 5, 3)).astype(np.float32)


def of(layer, dtype="float32", shape=X.shape[1:]):
    return keras.Sequential([keras.Input(shape, dtype=dtype), layer])


@pytest.mark.parametrize(
    "scale, offset",
    [(1 / 255, 0.0), (2.0, -1.0), (1.0, 0.5), (1.0, 0.0), ([0.1, 2.0, -3.0], 0.0), ([0.5, 1.0, 2.0], [0.1, 0.0, -7.0]), (0.0, 1)],
)
def test_rescaling(scale, offset):
    check(of(keras.layers.Rescaling(scale, offset)), X)


def test_rescaling_of_bytes():
    x = rng.integers(0, 256, X.shape).astype(np.uint8)
    assert kinds(check(of(keras.layers.Rescaling(1 / 127.5, -1), "uint8"), x)) == ["Cast", "Mul", "Add"]


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("axis", [-1, (1, 3), None])
def test_normalization_of_given_statistics(axis, invert):
    shape = {-1: (3,), (1, 3): (4, 3), None: ()}[axis]
    mean, variance = rng.standard_normal(shape), rng.uniform(0, 4, shape)
    check(of(keras.layers.Normalization(axis=axis, mean=mean, variance=variance, invert=invert)), X)


def test_normalization_that_was_adapted():
    layer = keras.layers.Normalization()
    layer.adapt(X)
    check(of(layer), X)


def test_a_variance_of_zero_is_not_divided_by():
    check(of(keras.layers.Normalization(mean=[0.0, 1.0, 2.0], variance=[0.0, 1e-20, 1.0])), X)


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_precisions(dtype):
    """The numbers are ones that float32 holds: through it TensorFlow's backend takes them."""
    check(of(keras.layers.Rescaling(0.25, 0.75, dtype=dtype), dtype), X.astype(dtype), to=("torch", "onnx"))


@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("mode", ["log", "stft", "real"])
def test_a_spectrogram_of_any_length(mode, channels, to):
    """The layer's code reads the length that it reshapes by, which is known as None only."""
    sound = keras.Input((None, channels))
    layer = keras.layers.STFTSpectrogram(mode=mode, frame_length=16, frame_step=5, fft_length=16, padding="same")
    model = keras.Model(sound, layer(sound))
    if to == "keras" and channels > 1:
        with pytest.raises(Refused, match="at most one open size"):
            li.convert(model, to)
        return
    made = li.convert(model, to, verify=True)
    for length in (16, 37, 64):
        x = np.random.default_rng(length).standard_normal((3, length, channels)).astype(np.float32)
        np.testing.assert_allclose(li.run(made, [x])[0], li.run(model, [x])[0], rtol=1e-4, atol=1e-4)


class Turned(keras.layers.Layer):
    """Reshapes by sizes that it reads, some of them in other places than they were."""

    def __init__(self, places):
        super().__init__()
        self.places = places

    def call(self, x):
        sizes = keras.ops.shape(x)
        return keras.ops.reshape(x, [-1 if p is None else sizes[p] for p in self.places])


def test_a_size_that_could_be_several_is_refused():
    image = keras.Input((None, None, 4))
    with pytest.raises(Refused, match="which of the sizes"):
        li.load(keras.Model(image, Turned((None, 1, 3))(image)))
