"""MNN on ONNX models that its own converter has converted."""

import importlib.metadata
import tempfile
from pathlib import Path

import _tools  # the converter itself: the module MNN.tools around it runs `pip install` to report on its user
import MNN
import numpy as np
from one_node import onnx_model

ENVIRONMENT = {"python": "3.11", "packages": ["MNN==3.6.1", "onnx==1.23.2"]}


def describe():
    return {
        "name": "mnn",
        "version": importlib.metadata.version("MNN"),
        "variants": ["default"],
        "dtypes": ["float32"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool", "quantised"],
        "default": 0.01,
        "held": {"float32": "float32"},
        "gradients": False,
    }


def run(job, arrays):
    with tempfile.TemporaryDirectory() as folder:
        onnx, converted = str(Path(folder) / "job.onnx"), str(Path(folder) / "job.mnn")
        Path(onnx).write_bytes(onnx_model(job, arrays).SerializeToString())
        _tools.mnnconvert(["", "-f", "ONNX", "--modelFile", onnx, "--MNNModel", converted, "--bizCode", "job"])
        net = MNN.nn.load_module_from_file(converted, ["x"], ["y"])
    x = MNN.expr.placeholder(list(arrays["x"].shape), MNN.expr.NCHW)
    x.write(arrays["x"])
    return {"y": np.array(MNN.expr.convert(net.onForward([x])[0], MNN.expr.NCHW).read())}
