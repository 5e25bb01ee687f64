"""onnxruntime on the CPU: each optimisation level at opset 16, then opsets on either side of it.

Its LeakyRelu is a kernel for float32; the other types run the function body that ONNX gives opset 16 to 18, or nothing.
"""

import numpy as np
import onnxruntime
from one_node import onnx_model

LEVELS = {"disable": "DISABLE_ALL", "basic": "ENABLE_BASIC", "extended": "ENABLE_EXTENDED", "all": "ENABLE_ALL"}
OPSETS = {"opset 15": 15, "opset 20": 20}


def describe():
    return {
        "name": "onnxruntime",
        "version": onnxruntime.__version__,
        "variants": [*LEVELS, *OPSETS],
        "dtypes": ["float16", "bfloat16", "float32", "float64"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool", "quantised"],
        "default": 0.01,
        "held": dict.fromkeys(["float16", "bfloat16", "float32", "float64"], "float32"),  # ONNX' attribute
        "gradients": False,
    }


def run(job, arrays):
    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    level = LEVELS.get(job["variant"], "ENABLE_ALL")
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{level}")
    model = onnx_model(job, arrays, OPSETS.get(job["variant"], 16)).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    x = arrays["x"]
    if x.dtype.name != "bfloat16":
        return {"y": session.run(None, {"x": x})[0]}
    value = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(x.view(np.uint16), 16)
    return {"y": session.run_with_ort_values(None, {"x": value})[0].numpy()}
