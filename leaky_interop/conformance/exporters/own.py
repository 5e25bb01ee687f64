"""This project's own conversions: every ordered pair of Keras, PyTorch and ONNX, in the interpreter of the suite."""

import answers
import from_keras
import from_torch
import in_onnx
import keras
import numpy as np

import leaky_interop as li

RUNTIMES = {
    "own_torch": {"variables": {"KERAS_BACKEND": "torch"}},
    "own_tensorflow": {"variables": {"KERAS_BACKEND": "tensorflow"}},
}
SOURCES = {"keras": from_keras, "torch": from_torch, "onnx": in_onnx}
RUN = {"keras": from_keras.run, "torch": from_torch.run, "onnx": in_onnx.run}
FORM = {
    "keras": lambda model: " ".join(type(op).__name__ for op in model.operations if type(op).__name__ != "InputLayer"),
    "torch": lambda model: " ".join(str(n.target) for n in model.graph.nodes if n.op.startswith("call")),
    "onnx": in_onnx.form,
}


def describe():
    pairs = {f"{a} to {b}": SOURCES[a] for a in SOURCES for b in SOURCES if a != b}
    return {
        "name": f"own_{keras.backend.backend()}",
        "version": li.__version__,
        "variants": list(pairs),
        "dtypes": ["float32", "float64"],
        "spellings": {pair: source.SPELLINGS for pair, source in pairs.items()},
        "defaults": {pair: source.DEFAULTS for pair, source in pairs.items()},
    }


def run(job, arrays):
    origin, _, to = job["variant"].split()
    x = arrays["x"]
    example = (np.stack([x, x]),) if origin == "torch" else None

    def export(model):
        return li.convert(model, to, example=example)

    return answers.answer(job, x, SOURCES[origin], export, RUN[to], FORM[to])
