"""Keras 2 on TensorFlow 1, before it moved into TensorFlow: the layers LeakyReLU (argument `alpha`) and PReLU.

Two versions: 2.0 computes LeakyReLU by two relu, 2.3 by TensorFlow's operator.
"""

import keras
import keras.backend as K
import numpy as np
import tensorflow as tf

RUNTIMES = {
    "keras_2_0": {
        "variables": {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
        "environment": {
            "python": "3.7",
            "packages": [
                "Keras==2.0.8",
                "tensorflow==1.15.5",
                "protobuf==3.20.3",
                "numpy==1.18.5",
                "scipy==1.5.4",
                "h5py==2.10.0",
            ],
        },
    },
    "keras_2_3": {
        "variables": {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"},
        "environment": {
            "python": "3.7",
            "packages": [
                "Keras==2.3.1",
                "tensorflow==1.15.5",
                "protobuf==3.20.3",
                "numpy==1.18.5",
                "scipy==1.5.4",
                "h5py==2.10.0",
            ],
        },
    },
}


def describe():
    return {
        "name": f"keras_{'_'.join(keras.__version__.split('.')[:2])}",
        "version": keras.__version__,
        "variants": ["graph"],
        "dtypes": ["float16", "float32", "float64"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.3,
        "held": {"float16": "type", "float32": "float32", "float64": "float64"},
        "gradients": True,
    }


def run(job, arrays):
    K.clear_session()
    K.set_floatx(job["dtype"])
    x = keras.layers.Input(batch_shape=arrays["x"].shape, dtype=job["dtype"])
    if job["operator"] == "prelu":
        layer = keras.layers.PReLU(
            alpha_initializer=lambda shape, **_: K.constant(np.resize(arrays["slope"], shape)),
            shared_axes=list(range(1, arrays["x"].ndim)) or None,
        )
    else:
        layer = keras.layers.LeakyReLU(**({} if job["slope"] is None else {"alpha": job["slope"]}))
    y = x
    if job["placement"] == "conv":  # channels last, since the CPU kernel has no other layout
        w = tf.constant(arrays["w"].transpose(2, 3, 1, 0))
        y = tf.transpose(tf.nn.conv2d(tf.transpose(y, (0, 2, 3, 1)), w, (1, 1, 1, 1), "VALID"), (0, 3, 1, 2))
        y = keras.layers.Input(tensor=y, dtype=job["dtype"])
    y = layer(y)
    if job["placement"] == "max_pool":
        window = (1, 2, 2, 1)
        y = tf.transpose(tf.nn.max_pool(tf.transpose(y, (0, 2, 3, 1)), window, window, "VALID"), (0, 3, 1, 2))
    results = {"y": y}
    if job["gradient"]:
        names = ["dx", "dslope"] if layer.trainable_weights else ["dx"]
        leaves = [x, *layer.trainable_weights]
        results.update({name: K.gradients(y, [leaf])[0] for name, leaf in zip(names, leaves)})  # noqa: B905
    made = K.function([x], list(results.values()))([arrays["x"]])
    return {name: array.reshape(1) if name == "dslope" else array for name, array in zip(results, made)}  # noqa: B905
