"""PaddlePaddle: `paddle.nn.functional.leaky_relu` and `prelu`."""

import numpy as np
import paddle
import paddle.nn.functional as F

ENVIRONMENT = {"python": "3.11", "packages": ["paddlepaddle==3.3.1", "setuptools<80"]}  # it imports setuptools


def describe():
    return {
        "name": "paddle",
        "version": paddle.__version__,
        "variants": ["eager"],
        "dtypes": ["float16", "float32", "float64"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.01,
        "held": {"float16": "float32", "float32": "float32", "float64": "float64"},
        "gradients": True,
    }


def run(job, arrays):
    x = paddle.to_tensor(arrays["x"], stop_gradient=not job["gradient"])
    x_conv = F.conv2d(x, paddle.to_tensor(arrays["w"])) if job["placement"] == "conv" else x
    if job["operator"] == "prelu":
        slope = paddle.to_tensor(arrays["slope"], stop_gradient=not job["gradient"])
        y = F.prelu(x_conv, slope)
    else:
        y = F.leaky_relu(x_conv, *([] if job["slope"] is None else [job["slope"]]))
    if job["placement"] == "max_pool":
        y = F.max_pool2d(y, 2, 2)
    result = {"y": y.numpy()}
    if job["gradient"]:
        y.sum().backward()
        result["dx"] = x.grad.numpy()
        if job["operator"] == "prelu":
            result["dslope"] = np.reshape(slope.grad.numpy(), (1,))
    return result
