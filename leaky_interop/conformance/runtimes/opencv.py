"""OpenCV's DNN module on ONNX models, in its two engines. It computes in float32, whatever the type of the network."""

import cv2
import numpy as np
from one_node import onnx_model

ENVIRONMENT = {"python": "3.11", "packages": ["opencv-python-headless==5.0.0.93", "onnx==1.23.2"]}
ENGINES = {"classic": cv2.dnn.ENGINE_CLASSIC, "new": cv2.dnn.ENGINE_NEW}


def describe():
    return {
        "name": "opencv",
        "version": cv2.__version__,
        "variants": list(ENGINES),
        "dtypes": ["float32", "float64"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool", "quantised"],
        "default": 0.01,
        "held": {"float32": "float32", "float64": "float32"},
        "gradients": False,
    }


def run(job, arrays):
    model = onnx_model(job, arrays).SerializeToString()
    net = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8), ENGINES[job["variant"]])
    net.setInput(arrays["x"], "x")
    y = net.forward()
    if y is None:
        raise RuntimeError("the network returns nothing")
    return {"y": y}
