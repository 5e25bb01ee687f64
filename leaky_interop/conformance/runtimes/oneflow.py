"""OneFlow: the module LeakyReLU; its function has no default."""

import oneflow as flow
import oneflow.nn.functional as F

ENVIRONMENT = {"python": "3.10", "packages": ["oneflow==0.8.0", "numpy==1.23.5"]}


def describe():
    return {
        "name": "oneflow",
        "version": flow.__version__,
        "variants": ["eager"],
        "dtypes": ["float16", "float32", "float64"],
        "operators": ["leaky_relu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.01,
        "held": {"float16": "type", "float32": "float32", "float64": "float32"},
        "gradients": True,
    }


def run(job, arrays):
    x = flow.tensor(arrays["x"], requires_grad=job["gradient"])
    y = F.conv2d(x, flow.tensor(arrays["w"])) if job["placement"] == "conv" else x
    y = flow.nn.LeakyReLU(*([] if job["slope"] is None else [job["slope"]]))(y)
    if job["placement"] == "max_pool":
        y = F.max_pool2d(y, 2, 2)
    result = {"y": y.numpy()}
    if job["gradient"]:
        y.sum().backward()
        result["dx"] = x.grad.numpy()
    return result
