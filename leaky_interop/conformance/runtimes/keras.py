"""Keras 3 on each of its backends: the layer, whose default slope is 0.3, and the function, whose default is 0.2."""

import os

import numpy as np
from empty_module import stand_in

if os.environ.get("KERAS_BACKEND") == "numpy":
    stand_in("jax")  # imported by the numpy backend for convolutions and transforms, which are not asked here

import keras

RUNTIMES = {
    "keras_tensorflow": {"variables": {"KERAS_BACKEND": "tensorflow"}},
    "keras_torch": {"variables": {"KERAS_BACKEND": "torch"}},
    "keras_numpy": {"variables": {"KERAS_BACKEND": "numpy"}},
    "keras_jax": {
        "variables": {"KERAS_BACKEND": "jax", "JAX_ENABLE_X64": "1"},
        "environment": {"python": "3.11", "packages": ["jax==0.10.2", "keras==3.15.1"]},
    },
}
BACKEND = keras.backend.backend()
FLOATS = ["float16", "bfloat16", "float32", "float64"]


def describe():
    half = "float32" if BACKEND == "torch" else "type"
    return {
        "name": f"keras_{BACKEND}",
        "version": keras.__version__,
        "variants": ["layer", "function"],
        "dtypes": FLOATS,
        "operators": ["leaky_relu", "prelu"],
        # the numpy backend borrows its convolutions and pools from JAX
        "placements": ["alone"] if BACKEND == "numpy" else ["alone", "conv", "max_pool"],
        "default": 0.3,
        "held": {"float16": half, "bfloat16": half, "float32": "float32", "float64": "float64"},
        "gradients": BACKEND != "numpy",
        "narrower": {"function": {"default": 0.2, "operators": ["leaky_relu"], "dtypes": [*FLOATS, "int32"]}},
    }


def run(job, arrays):
    activation = activation_of(job, arrays)
    last = job["placement"] != "alone"
    x = arrays["x"].transpose(0, 2, 3, 1) if last else arrays["x"]
    x = keras.ops.convert_to_tensor(x, job["dtype"])

    def function(x):
        if job["placement"] == "conv":
            x = keras.ops.conv(
                x, keras.ops.convert_to_tensor(arrays["w"].transpose(2, 3, 1, 0)), data_format="channels_last"
            )
        y = activation(x)
        return keras.ops.max_pool(y, 2, 2, data_format="channels_last") if job["placement"] == "max_pool" else y

    y = array(function(x))
    results = {"y": np.ascontiguousarray(y.transpose(0, 3, 1, 2)) if last else y}
    if job["gradient"]:
        weights = [v.value for v in activation.trainable_variables] if job["operator"] == "prelu" else []
        results |= dict(
            zip(("dx", "dslope"), map(array, GRADIENTS[BACKEND](function, x, activation, weights)), strict=False)
        )
        if weights:
            results["dslope"] = results["dslope"].reshape(1)
    return results


def activation_of(job, arrays):
    slope = () if job["slope"] is None else (job["slope"],)
    if job["operator"] == "prelu":
        shape = arrays["x"].shape
        if job["placement"] != "alone":
            shape = (shape[0], *shape[2:], len(arrays["w"]) if job["placement"] == "conv" else shape[1])
        layer = keras.layers.PReLU(shared_axes=list(range(1, len(shape))), dtype=job["dtype"])
        layer.build(shape)
        layer.alpha.assign(np.full(layer.alpha.shape, arrays["slope"][0]))
        return layer
    if job["variant"] == "layer":
        return keras.layers.LeakyReLU(*slope, dtype=job["dtype"])
    return lambda x: keras.ops.leaky_relu(x, *slope)


def tensorflow_gradient(function, x, activation, weights):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch([x, *weights])
        y = tf.reduce_sum(function(x))
    return tape.gradient(y, [x, *weights])


def torch_gradient(function, x, activation, weights):
    import torch

    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x).sum(), [x, *weights])


def jax_gradient(function, x, activation, weights):
    import jax

    if not weights:
        return [jax.grad(lambda x: function(x).sum())(x)]

    def stateless(x, weights):
        return activation.stateless_call(weights, [], x)[0].sum()

    dx, (dslope,) = jax.grad(stateless, (0, 1))(x, weights)
    return [dx, dslope]


GRADIENTS = {"tensorflow": tensorflow_gradient, "torch": torch_gradient, "jax": jax_gradient}


def array(made):
    if BACKEND == "torch" and str(made.dtype) == "torch.bfloat16":  # numpy has no such type
        import torch

        return made.detach().view(torch.int16).numpy().view(np.uint16)
    if BACKEND == "tensorflow":  # numpy takes no 0-d bfloat16 tensor
        return np.asarray(made.numpy())
    return np.asarray(keras.ops.convert_to_numpy(made))
