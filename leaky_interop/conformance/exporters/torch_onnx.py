"""torch.onnx.export by both of its exporters; onnxruntime runs the result."""

import tempfile
from pathlib import Path

import answers
import from_torch
import in_onnx
import torch

ENVIRONMENT = {
    "python": "3.11",
    "packages": ["torch==2.13.0", "onnxscript==0.7.2", "onnx==1.23.2", "onnxruntime==1.32.0"],
}


def describe():
    variants = ["dynamo", "torchscript"]
    return {
        "name": "torch_onnx",
        "version": torch.__version__,
        "variants": variants,
        "dtypes": ["float32"],
        "spellings": dict.fromkeys(variants, from_torch.SPELLINGS),
        "defaults": dict.fromkeys(variants, from_torch.DEFAULTS),
    }


def run(job, arrays):
    x = arrays["x"]
    with tempfile.TemporaryDirectory() as folder:

        def export(module):
            path = Path(folder) / "net.onnx"
            example = (torch.zeros((1, x.size), dtype=getattr(torch, job["dtype"])),)
            torch.onnx.export(module, example, str(path), dynamo=job["variant"] == "dynamo", verbose=False)
            return path

        return answers.answer(job, x, from_torch, export, in_onnx.run, in_onnx.form)
