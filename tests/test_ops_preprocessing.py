"""Keras' layers that scale data before a network."""

import keras
import numpy as np
import pytest
from family_checks import check, kinds

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
