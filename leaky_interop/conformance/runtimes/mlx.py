"""MLX on a CPU: `mlx.nn.leaky_relu` and `prelu`."""

import mlx.core as mx
import mlx.nn as nn
import numpy as np

ENVIRONMENT = {"python": "3.11", "packages": ["mlx[cpu]==0.32.4", "numpy==2.4.6", "ml_dtypes==0.6.0"]}


def describe():
    return {
        "name": "mlx",
        "version": mx.__version__,
        "variants": ["eager"],
        "dtypes": ["float16", "bfloat16", "float32", "float64"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.01,
        "held": {"float16": "type", "bfloat16": "type", "float32": "float32", "float64": "float64"},
        "gradients": True,
    }


def run(job, arrays):
    mx.set_default_device(mx.cpu)
    bits = job["dtype"] == "bfloat16"

    def load(array):
        # float64 needs to be named: it is float32 otherwise
        if bits:
            return mx.array(array.view(np.uint16)).view(mx.bfloat16)
        return mx.array(array, dtype=getattr(mx, job["dtype"]))

    def function(x, *slope):
        if job["placement"] == "conv":  # channels last
            x = mx.conv2d(x.transpose(0, 2, 3, 1), load(arrays["w"].transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
        if slope:
            y = nn.prelu(x, slope[0])
        else:
            y = nn.leaky_relu(x, *([] if job["slope"] is None else [job["slope"]]))
        if job["placement"] == "max_pool":
            y = nn.MaxPool2d(2, 2)(y.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        return y

    def store(array):
        return np.array(array.view(mx.uint16) if bits else array)

    operands = [load(arrays[name]) for name in (("x", "slope") if job["operator"] == "prelu" else ("x",))]
    result = {"y": store(function(*operands))}
    if job["gradient"]:
        for index, name in enumerate(("dx", "dslope")[: len(operands)]):
            result[name] = store(mx.grad(lambda *values: function(*values).sum(), argnums=index)(*operands))
    return result
