"""onnx2keras and onnx2tf: ONNX models as Keras models. onnxruntime computes what is right."""

import importlib
import os
import tempfile
from importlib import metadata
from pathlib import Path

import answers
import in_onnx
import numpy as np
import onnx

RUNTIMES = {
    "onnx2keras": {
        "variables": {"CONVERTER": "onnx2keras", "KERAS_BACKEND": "tensorflow"},
        "environment": {
            "python": "3.11",
            "packages": [
                "onnx2keras==0.0.25",
                "tensorflow==2.21.0",
                "keras==3.15.1",
                "onnx==1.23.2",
                "onnxruntime==1.32.0",
            ],
        },
    },
    "onnx2tf": {
        "variables": {"CONVERTER": "onnx2tf", "KERAS_BACKEND": "tensorflow"},
        "environment": {
            "python": "3.11",
            "packages": ["onnx2tf==1.29.24", "tensorflow==2.19.0", "onnx==1.19.1", "onnxruntime==1.23.0"],
        },
    },
}


TOOL = os.environ["CONVERTER"]


def describe():
    variants = ["onnx to keras"] if TOOL == "onnx2keras" else ["onnx to keras", "pseudo operators"]
    return {
        "name": TOOL,
        "version": metadata.version(TOOL),
        "variants": variants,
        "dtypes": ["float32"],
        "spellings": dict.fromkeys(variants, in_onnx.SPELLINGS),
        "defaults": dict.fromkeys(variants, in_onnx.DEFAULTS),
    }


def run(job, arrays):
    export = _by_onnx2keras if TOOL == "onnx2keras" else _by_onnx2tf(job["variant"])

    def form(model):
        return " ".join(type(layer).__name__ for layer in model.layers if type(layer).__name__ != "InputLayer")

    return answers.answer(job, arrays["x"], in_onnx, export, lambda model, x: np.asarray(model(x[None]))[0], form)


def _by_onnx2keras(model):
    return importlib.import_module("onnx2keras").onnx_to_keras(model, ["x"], verbose=False)


def _by_onnx2tf(variant):
    inner = importlib.import_module("onnx2tf.onnx2tf")
    images = np.random.default_rng(0).random((20, 128, 128, 3), np.float32)
    inner.download_test_image_data = lambda: images  # instead of a download

    def export(model):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.onnx"
            onnx.save(model, str(path))
            pseudo = {"replace_to_pseudo_operators": ["leakyrelu", "prelu"]} if variant == "pseudo operators" else {}
            return inner.convert(
                str(path),
                output_folder_path=folder,
                disable_model_save=True,
                non_verbose=True,
                verbosity="error",
                **pseudo,
            )

    return export
