"""OpenVINO's CPU plugin on ONNX models. Its frontend makes PRelu of LeakyRelu: OpenVINO has no other operator."""

import numpy as np
import openvino
from one_node import onnx_model

ENVIRONMENT = {"python": "3.11", "packages": ["openvino==2026.4.1", "onnx==1.23.2", "ml_dtypes==0.6.0"]}


def describe():
    return {
        "name": "openvino",
        "version": openvino.__version__.partition("-")[0],
        "variants": ["cpu"],
        "dtypes": ["float16", "bfloat16", "float32", "float64"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool", "quantised"],
        "default": 0.01,
        "held": {"float16": "type", "bfloat16": "type", "float32": "float32", "float64": "float32"},
        "gradients": False,
    }


def run(job, arrays):
    core = openvino.Core()
    model = core.read_model(onnx_model(job, arrays).SerializeToString())
    # without the hint, the plugin may choose bfloat16 for a float32 network
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    request = core.compile_model(model, "CPU", config).create_infer_request()
    y = np.empty(list(model.output(0).shape), arrays["x"].dtype)
    request.set_tensor("x", _tensor(arrays["x"], job["dtype"]))
    request.set_tensor("y", _tensor(y, job["dtype"]))
    request.infer()
    return {"y": y}


def _tensor(array, dtype):
    """Shares memory with the array. The Python API has no arrays of bfloat16, but takes their bits."""
    if dtype == "bfloat16":
        return openvino.Tensor(array.view(np.uint16), array.shape, openvino.Type.bf16)
    return openvino.Tensor(array, shared_memory=True)
