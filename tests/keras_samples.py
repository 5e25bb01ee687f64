"""The small Keras model that the tests of files save, and how two models are compared."""

import keras
import numpy as np

layers = keras.layers


def small():
    """A convolution, a LeakyReLU of 0.25 and a head."""
    given = keras.Input((8, 8, 2), name="image")
    y = layers.Conv2D(3, 3, name="conv")(given)
    y = layers.LeakyReLU(0.25, name="act")(y)
    return keras.Model(given, layers.Dense(2, name="head")(layers.Flatten(name="flat")(y)), name="small")


def save_all(folder):
    """The small model in every format: net.keras, net.h5 and net.weights.h5."""
    model = small()
    for name in ("net.keras", "net.h5"):
        model.save(folder / name)
    model.save_weights(folder / "net.weights.h5")
    return model


def assert_equal(one, other):
    """The same weights, bit for bit, by name."""
    assert [w.name for w in one.weights] == [w.name for w in other.weights]
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
