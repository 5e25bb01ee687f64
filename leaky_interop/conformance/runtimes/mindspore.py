"""MindSpore on a CPU, eagerly: the function `ops.leaky_relu` and the layer `nn.LeakyReLU`."""

import mindspore
import numpy as np
from mindspore import Tensor, nn, ops

ENVIRONMENT = {"python": "3.11", "packages": ["mindspore==2.10.0", "numpy==1.26.4"]}


def describe():
    return {
        "name": "mindspore",
        "version": mindspore.__version__,
        "variants": ["ops", "nn"],
        "dtypes": ["float16", "float32", "float64"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.2,
        "held": {"float16": "type", "float32": "float32", "float64": "float32"},
        "gradients": True,
    }


def run(job, arrays):
    slope = [] if job["slope"] is None else [job["slope"]]

    def function(x, *weight):
        if job["placement"] == "conv":
            x = ops.conv2d(x, Tensor(arrays["w"]))
        if job["operator"] == "prelu":
            y = ops.prelu(x, *weight)
        else:
            y = nn.LeakyReLU(*slope)(x) if job["variant"] == "nn" else ops.leaky_relu(x, *slope)
        return ops.max_pool2d(y, 2, 2) if job["placement"] == "max_pool" else y

    operands = [Tensor(arrays[name]) for name in (("x", "slope") if job["operator"] == "prelu" else ("x",))]
    result = {"y": function(*operands).asnumpy()}
    if job["gradient"]:
        gradients = ops.grad(lambda *values: function(*values).sum(), tuple(range(len(operands))))(*operands)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        result |= {key: np.array(g.asnumpy()) for key, g in zip(("dx", "dslope"), gradients, strict=False)}
    return result
