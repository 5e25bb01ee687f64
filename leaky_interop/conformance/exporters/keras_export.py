"""keras.Model.export(format="onnx") on each backend; onnxruntime runs the result."""

import tempfile
from pathlib import Path

import answers
import from_keras
import in_onnx
import keras

RUNTIMES = {
    "keras_export_tensorflow": {
        "variables": {"KERAS_BACKEND": "tensorflow"},
        "environment": {
            "python": "3.11",
            "packages": [
                "tensorflow==2.21.0",
                "tf2onnx==1.17.0",
                "keras==3.15.1",
                "onnx==1.23.2",
                "onnxruntime==1.32.0",
            ],
        },
    },
    "keras_export_jax": {
        "variables": {"KERAS_BACKEND": "jax"},
        "environment": {
            "python": "3.11",
            "packages": [
                "jax==0.10.2",
                "tensorflow==2.21.0",
                "tf2onnx==1.17.0",
                "keras==3.15.1",
                "onnx==1.23.2",
                "onnxruntime==1.32.0",
            ],
        },
    },
    "keras_export_torch": {
        "variables": {"KERAS_BACKEND": "torch"},
        "environment": {
            "python": "3.11",
            "packages": ["torch==2.13.0", "onnxscript==0.7.2", "keras==3.15.1", "onnx==1.23.2", "onnxruntime==1.32.0"],
        },
    },
}


def describe():
    return {
        "name": f"keras_export_{keras.backend.backend()}",
        "version": keras.__version__,
        "variants": ["keras to onnx"],
        "dtypes": ["float32"],
        "spellings": {"keras to onnx": from_keras.SPELLINGS},
        "defaults": {"keras to onnx": from_keras.DEFAULTS},
    }


def run(job, arrays):
    with tempfile.TemporaryDirectory() as folder:

        def export(model):
            model.export(str(Path(folder) / "net.onnx"), format="onnx", verbose=False)
            return Path(folder) / "net.onnx"

        return answers.answer(job, arrays["x"], from_keras, export, in_onnx.run, in_onnx.form)
