"""NNabla: `F.leaky_relu` and `F.prelu`. It is float32 throughout."""

import nnabla
import nnabla.functions as F
import numpy as np

ENVIRONMENT = {"python": "3.10", "packages": ["nnabla==1.39.0"]}


def describe():
    return {
        "name": "nnabla",
        "version": nnabla.__version__,
        "variants": ["cpu"],
        "dtypes": ["float32"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.1,
        "held": {"float32": "float32"},
        "gradients": True,
    }


def variable(array, gradient):
    result = nnabla.Variable.from_numpy_array(array)
    result.need_grad = gradient
    return result


def run(job, arrays):
    x = variable(arrays["x"], job["gradient"])
    y = F.convolution(x, variable(arrays["w"], False)) if job["placement"] == "conv" else x
    slope = variable(arrays["slope"], job["gradient"]) if job["operator"] == "prelu" else None
    if slope is not None:
        y = F.prelu(y, F.reshape(slope, ()), base_axis=0)
    else:
        y = F.leaky_relu(y, *([] if job["slope"] is None else [job["slope"]]))
    if job["placement"] == "max_pool":
        y = F.max_pooling(y, (2, 2))
    y.forward()
    result = {"y": np.array(y.d)}
    if job["gradient"]:
        for leaf in (x, slope):
            if leaf is not None:
                leaf.g = 0
        y.backward()
        result["dx"] = np.array(x.g)
        if slope is not None:
            result["dslope"] = np.array(slope.g)
    return result
