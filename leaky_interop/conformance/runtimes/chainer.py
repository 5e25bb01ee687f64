"""Chainer: `F.leaky_relu` and `F.prelu`, on its numpy backend."""

import warnings

import chainer
import chainer.functions as F

# it names types that numpy 1.24 took away; its setup needs the old setuptools that comes with Python 3.11
ENVIRONMENT = {"python": "3.11", "packages": ["chainer==7.8.1", "numpy==1.23.5", "--no-build-isolation"]}


def describe():
    return {
        "name": "chainer",
        "version": chainer.__version__,
        "variants": ["numpy"],
        "dtypes": ["float16", "float32", "float64"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.2,
        "held": {"float16": "type", "float32": "float32", "float64": "float64"},
        "gradients": True,
    }


def run(job, arrays):
    warnings.simplefilter("ignore")  # about overflow, which is asked for
    x = chainer.Variable(arrays["x"])
    slope = chainer.Variable(arrays["slope"]) if job["operator"] == "prelu" else None
    y = F.convolution_2d(x, arrays["w"]) if job["placement"] == "conv" else x
    if slope is not None:
        y = F.prelu(y, F.reshape(slope, ()))
    else:
        y = F.leaky_relu(y, *([] if job["slope"] is None else [job["slope"]]))
    if job["placement"] == "max_pool":
        y = F.max_pooling_2d(y, 2)
    result = {"y": y.array}
    if job["gradient"]:
        F.sum(y).backward()
        result["dx"] = x.grad
        if slope is not None:
            result["dslope"] = slope.grad
    return result
