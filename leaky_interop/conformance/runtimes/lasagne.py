"""Lasagne's LeakyRectify and Theano's own relu, without compiled C: both are f1 * x + f2 * abs(x)."""

import os

os.environ["THEANO_FLAGS"] = "device=cpu,cxx="  # Python alone: no job waits for a compiler

import lasagne
import theano
import theano.tensor as T
from theano.tensor.signal.pool import pool_2d

# the last versions that belong together: Theano 0.9 took away a module that Lasagne 0.1 imports
ENVIRONMENT = {
    "python": "3.7",
    "packages": ["Lasagne==0.1", "Theano==0.8.2", "numpy==1.16.6", "scipy==1.2.3", "six==1.16.0"],
}
FLOATX = {"Lasagne": "float32", "Lasagne, floatX=float64": "float64", "Theano": "float32"}


def describe():
    return {
        "name": "lasagne",
        "version": lasagne.__version__,
        "variants": list(FLOATX),
        "dtypes": ["float32", "float64"],
        "operators": ["leaky_relu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.01,
        "held": {"float32": "float32", "float64": "float64"},
        "gradients": True,
        "narrower": {
            "Lasagne, floatX=float64": {"dtypes": ["float64"]},
            "Theano": {"operators": ["leaky_relu", "prelu"], "default": 0.0},
        },
    }


def run(job, arrays):
    theano.config.floatX = FLOATX[job["variant"]]  # the type of constants
    leaves = {name: variable(arrays[name]) for name in ("x", "slope") if name in arrays}
    y = leaves["x"]
    if job["placement"] == "conv":
        y = T.nnet.conv2d(y, arrays["w"])
    y = leaky(job, y, leaves.get("slope"))
    if job["placement"] == "max_pool":
        y = pool_2d(y, (2, 2), ignore_border=True)
    made = {"y": y}
    if job["gradient"]:
        made.update({f"d{name}": T.grad(y.sum(), leaf) for name, leaf in leaves.items()})
    compiled = theano.function(list(leaves.values()), made, mode="FAST_COMPILE")
    return compiled(*(arrays[name] for name in leaves))


def variable(array):
    return T.TensorType(array.dtype.name, [n == 1 for n in array.shape])()


def leaky(job, y, learned):
    if learned is not None:
        return T.nnet.relu(y, learned.dimshuffle(["x"] * (y.ndim - 1) + [0]))
    given = [] if job["slope"] is None else [job["slope"]]
    if job["variant"] == "Theano":
        return T.nnet.relu(y, *given)
    return lasagne.nonlinearities.LeakyRectify(*given)(y)
