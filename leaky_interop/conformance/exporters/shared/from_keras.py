"""Keras models with one activation, by every spelling of its slope. Refused by Keras itself: the error says so."""

import os

import keras
import numpy as np

SPELLINGS = ["LeakyReLU", "function", "string", "ReLU", "ReLU with all", "PReLU"]
DEFAULTS = {"LeakyReLU": 0.3, "function": 0.2, "string": 0.2, "ReLU": 0.0, "ReLU with all": 0.0, "PReLU": 0.0}


def made(job, n):
    """A functional model of n features. Raises Refused of the source where Keras does not take the slope."""
    keras.utils.clear_session(free_memory=False)  # layers are counted from the start again, so that messages are alike
    spelling, slope = job["spelling"], job["slope"]
    given = {} if slope is None else {"negative_slope": slope}
    x = keras.Input((n,), dtype=job["dtype"], name="x")
    layers = keras.layers
    if spelling == "LeakyReLU":
        y = layers.LeakyReLU(**given, dtype=job["dtype"])(x)
    elif spelling == "function":
        y = keras.ops.leaky_relu(x, **given)
    elif spelling == "string":
        y = layers.Activation("leaky_relu", dtype=job["dtype"])(x)
    elif spelling == "ReLU":
        y = layers.ReLU(**given, dtype=job["dtype"])(x)
    elif spelling == "ReLU with all":
        y = layers.ReLU(max_value=6.0, threshold=1.0, **given, dtype=job["dtype"])(x)
    else:
        layer = layers.PReLU(dtype=job["dtype"])
        y = layer(x)
        if slope is not None:
            layer.set_weights([np.full((n,), slope, job["dtype"])])
    return keras.Model(x, y)


def run(model, x):
    """What Keras computes."""
    return keras.ops.convert_to_numpy(model(x[None], training=False))[0]


def backend():
    """The backend of this process."""
    return os.environ.get("KERAS_BACKEND") or keras.backend.backend()
