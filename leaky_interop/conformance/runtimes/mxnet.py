"""MXNet: the operator LeakyReLU with act_type "leaky" and "prelu", and Gluon's layer, which is stricter."""

import os

os.environ["MXNET_ENGINE_TYPE"] = "NaiveEngine"  # else an error is raised by a later job

import mxnet
from mxnet import autograd, gluon, nd

ENVIRONMENT = {"python": "3.8", "packages": ["mxnet==1.9.1", "numpy==1.23.5"]}


def describe():
    return {
        "name": "mxnet",
        "version": mxnet.__version__,
        "variants": ["nd", "gluon"],
        "dtypes": ["float16", "float32", "float64"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.25,
        "held": {"float16": "type", "float32": "float32", "float64": "float64"},
        "gradients": True,
    }


def run(job, arrays):
    slope = job["slope"]
    x = nd.array(arrays["x"], dtype=arrays["x"].dtype)
    leaves = [x]
    if job["operator"] == "prelu":
        leaves.append(nd.array(arrays["slope"], dtype=arrays["x"].dtype))
    if job["gradient"]:
        for leaf in leaves:
            leaf.attach_grad()

    def leaky(y):
        if job["operator"] == "prelu":
            return nd.LeakyReLU(y, leaves[1], act_type="prelu")
        if job["variant"] == "gluon":
            return gluon.nn.LeakyReLU(*([] if slope is None else [slope]))(y)
        return nd.LeakyReLU(y, act_type="leaky", **({} if slope is None else {"slope": slope}))

    with autograd.record(train_mode=False):
        y = x
        if job["placement"] == "conv":
            w = nd.array(arrays["w"], dtype=arrays["w"].dtype)
            y = nd.Convolution(y, w, kernel=w.shape[2:], num_filter=len(w), no_bias=True)
        y = leaky(y)
        if job["placement"] == "max_pool":
            y = nd.Pooling(y, kernel=(2, 2), stride=(2, 2), pool_type="max")
    result = {"y": y.asnumpy()}
    if job["gradient"]:
        y.backward()
        result["dx"] = x.grad.asnumpy()
        if job["operator"] == "prelu":
            result["dslope"] = leaves[1].grad.asnumpy()
    return result
