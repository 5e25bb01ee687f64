"""onnx2torch and onnx2pytorch: ONNX models as PyTorch modules. onnxruntime computes what is right."""

import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from unittest.mock import MagicMock

import answers
import from_torch
import in_onnx
import onnx

for _name in ("torchvision", "torchvision.ops", "torchvision.io"):  # imported for operators that are not asked here
    sys.modules[_name] = MagicMock()

RUNTIMES = {
    "onnx2torch": {
        "variables": {"CONVERTER": "onnx2torch"},
        "environment": {
            "python": "3.11",
            "packages": ["onnx2torch==1.5.15", "torch==2.13.0", "onnx==1.23.2", "onnxruntime==1.32.0"],
        },
    },
    "onnx2pytorch": {
        "variables": {"CONVERTER": "onnx2pytorch"},
        "environment": {
            "python": "3.11",
            "packages": ["onnx2pytorch==0.6.0", "torch==2.13.0", "onnx==1.23.2", "onnxruntime==1.32.0"],
        },
    },
}


TOOL = os.environ["CONVERTER"]


def describe():
    pair = "onnx to torch"
    return {
        "name": TOOL,
        "version": metadata.version(TOOL),
        "variants": [pair],
        "dtypes": ["float32", "float64"],
        "spellings": {pair: in_onnx.SPELLINGS},
        "defaults": {pair: in_onnx.DEFAULTS},
    }


def run(job, arrays):
    def export(model):
        if TOOL == "onnx2torch":
            import onnx2torch

            return onnx2torch.convert(model).eval()
        import onnx2pytorch

        with tempfile.TemporaryDirectory() as folder:
            onnx.save(model, str(Path(folder) / "net.onnx"))
            return onnx2pytorch.ConvertModel(onnx.load(str(Path(folder) / "net.onnx"))).eval()

    def form(module):
        return " ".join(type(m).__name__ for m in module.modules() if not list(m.children()))

    return answers.answer(job, arrays["x"], in_onnx, export, from_torch.run, form)
