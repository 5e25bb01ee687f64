"""tinygrad: `Tensor.leaky_relu`, which becomes part of whatever kernel surrounds it."""

import importlib.metadata
import shutil

from tinygrad import Tensor

ENVIRONMENT = {"python": "3.11", "packages": ["tinygrad==0.14.0", "numpy==2.4.6"]}
if shutil.which("clang") is None:
    raise ImportError("it compiles its kernels with clang, which is not on the path")


def describe():
    return {
        "name": "tinygrad",
        "version": importlib.metadata.version("tinygrad"),
        "variants": ["cpu"],
        "dtypes": ["float16", "float32", "float64"],
        "operators": ["leaky_relu"],
        "placements": ["alone", "conv", "max_pool"],
        "default": 0.01,
        "held": {"float16": "type", "float32": "float32", "float64": "float64"},
        "gradients": True,
    }


def run(job, arrays):
    x = Tensor(arrays["x"], device="CPU").realize()
    y = x.conv2d(Tensor(arrays["w"], device="CPU")) if job["placement"] == "conv" else x
    y = y.leaky_relu(*([] if job["slope"] is None else [job["slope"]]))
    if job["placement"] == "max_pool":
        y = y.max_pool2d(2, 2)
    result = {"y": y.numpy()}
    if job["gradient"]:
        result["dx"] = y.sum().gradient(x)[0].numpy()
    return result
