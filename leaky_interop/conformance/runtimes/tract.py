"""tract on ONNX models, optimised as it does by default."""

import importlib.metadata
import tempfile
from pathlib import Path

import tract
from one_node import onnx_model

ENVIRONMENT = {"python": "3.11", "packages": ["tract==0.23.9", "onnx==1.23.2"]}


def describe():
    return {
        "name": "tract",
        "version": importlib.metadata.version("tract"),
        "variants": ["default"],
        "dtypes": ["float16", "float32", "float64"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool", "quantised"],
        "default": 0.01,
        "held": {"float16": "type", "float32": "float32", "float64": "float32"},
        "gradients": False,
    }


def run(job, arrays):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "job.onnx"
        file.write_bytes(onnx_model(job, arrays).SerializeToString())
        model = tract.onnx().load(file).into_model()
    return {"y": model.into_runnable().run([arrays["x"]])[0].to_numpy()}
