"""TensorFlow: `tf.nn.leaky_relu` eagerly, in a graph and through XLA. Its PReLU is Keras' own, so none is asked here.

In a graph a convolution with constant weights, a bias and LeakyRelu become one fused kernel.
"""

import numpy as np
import tensorflow as tf

FLOATS = ["float16", "bfloat16", "float32", "float64"]


def describe():
    return {
        "name": "tensorflow",
        "version": tf.__version__,
        "variants": ["eager", "graph", "xla"],
        "dtypes": [*FLOATS, "int32"],
        "operators": ["leaky_relu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.2,
        # float64 is what a Python number and a float64 tensor promise
        "held": {"float16": "type", "bfloat16": "type", "float32": "float32", "float64": "float64"},
        "gradients": True,
    }


def run(job, arrays):
    slope = () if job["slope"] is None else (job["slope"],)
    if job["placement"] == "conv":
        w = tf.constant(arrays["w"].transpose(2, 3, 1, 0))
        bias = tf.zeros(len(arrays["w"]), w.dtype)

    def function(x):
        if job["placement"] == "conv":
            x = tf.nn.bias_add(tf.nn.conv2d(x, w, 1, "VALID"), bias)
        y = tf.nn.leaky_relu(x, *slope)
        return tf.nn.max_pool2d(y, 2, 2, "VALID") if job["placement"] == "max_pool" else y

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(function(x))
        return tape.gradient(y, x)

    def wrapped(f):
        if job["variant"] == "eager":
            return f
        return tf.function(f, jit_compile=job["variant"] == "xla", autograph=False)

    last = job["placement"] != "alone"
    x = tf.constant(arrays["x"].transpose(0, 2, 3, 1) if last else arrays["x"])
    y = wrapped(function)(x).numpy()
    results = {"y": np.ascontiguousarray(y.transpose(0, 3, 1, 2)) if last else y}
    if job["gradient"]:
        results["dx"] = wrapped(gradient)(x).numpy()
    return results
