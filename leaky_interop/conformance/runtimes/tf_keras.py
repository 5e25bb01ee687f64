"""Keras 2 on TensorFlow: the layers LeakyReLU (argument `alpha`) and PReLU."""

import numpy as np
import tensorflow as tf
import tf_keras

ENVIRONMENT = {"python": "3.11", "packages": ["tensorflow-cpu==2.21.0", "tf_keras==2.21.0"]}
DTYPES = ["float16", "bfloat16", "float32", "float64"]


def describe():
    return {
        "name": "tf_keras",
        "version": tf_keras.__version__,
        "variants": ["eager", "graph"],
        "dtypes": DTYPES,
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.3,
        "held": {"float16": "type", "bfloat16": "type", "float32": "float32", "float64": "float64"},
        "gradients": True,
    }


def run(job, arrays):
    dtype = job["dtype"]
    if job["operator"] == "prelu":
        layer = tf_keras.layers.PReLU(shared_axes=list(range(1, arrays["x"].ndim)) or None, dtype=dtype)
    else:
        layer = tf_keras.layers.LeakyReLU(**({} if job["slope"] is None else {"alpha": job["slope"]}), dtype=dtype)
    x = tf.constant(arrays["x"])
    if job["operator"] == "prelu":
        layer.build(x.shape)
        layer.alpha.assign(np.resize(arrays["slope"], layer.alpha.shape))

    def function(x):
        if job["placement"] == "conv":
            # channels last, since the CPU kernel has no other layout
            w = tf.constant(arrays["w"].transpose(2, 3, 1, 0))
            y = layer(tf.nn.conv2d(tf.transpose(x, (0, 2, 3, 1)), w, 1, "VALID"))
            return tf.transpose(y, (0, 3, 1, 2))
        y = layer(x)
        if job["placement"] == "max_pool":
            y = tf.transpose(tf.nn.max_pool2d(tf.transpose(y, (0, 2, 3, 1)), 2, 2, "VALID"), (0, 3, 1, 2))
        return y

    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return y, *tape.gradient(y, [x, *layer.trainable_weights])

    if job["variant"] == "graph":
        function, both = tf.function(function), tf.function(both)
    if not job["gradient"]:
        return {"y": function(x).numpy()}
    y, dx, *dslope = both(x)
    return {"y": y.numpy(), "dx": dx.numpy(), **({"dslope": dslope[0].numpy().reshape(1)} if dslope else {})}
