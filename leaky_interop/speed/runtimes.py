"""What runs a model while its speed is measured: one entrance a runtime, called in a process of its own.

An entrance imports its runtime, gives it its threads, and returns how it loads a form of a model, and its version. A
form is {"path": ...}, a file that `speed` has written, or {"factory": "package.module:function", "weights": path}. A
loaded model is called with numpy arrays, flat and in order, and returns such. Names are those of the conformance suite.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Load = Callable[[dict[str, str]], Callable[[list[np.ndarray]], list[np.ndarray]]]

# What each runs, by the framework that made it, and what must be installed.
RUNTIMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "onnxruntime": ("onnx", ("onnxruntime",)),
    "openvino": ("onnx", ("openvino",)),
    "torch_eager": ("torch", ("torch",)),
    "torch_compile": ("torch", ("torch",)),
    "keras_torch": ("keras", ("keras", "torch")),
    "keras_tensorflow": ("keras", ("keras", "tensorflow")),
    "keras_jax": ("keras", ("keras", "jax")),
}


def lacking(name: str) -> str:
    """What a runtime needs and this machine has not; nothing where it can be asked."""
    missing = [package for package in RUNTIMES[name][1] if importlib.util.find_spec(package) is None]
    if not missing and name == "torch_compile" and compiler() is None:
        return "a C++ compiler"
    return " and ".join(missing)


def compiler() -> str | None:
    """The C++ compiler that torch.compile would call."""
    return next(filter(None, map(shutil.which, (os.environ.get("CXX") or "g++", "clang++"))), None)


def variables(name: str, threads: int) -> dict[str, str]:
    """The environment in which a runtime finds its number of threads before it is imported."""
    found = {"OMP_NUM_THREADS": str(threads), "NPROC": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}  # NPROC: of XLA
    return found | ({"KERAS_BACKEND": name.removeprefix("keras_")} if name.startswith("keras_") else {})


def onnxruntime(threads: int) -> tuple[Load, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3

    def load(form: dict[str, str]) -> Any:
        session = onnxruntime.InferenceSession(form["path"], options, providers=["CPUExecutionProvider"])
        names = [port.name for port in session.get_inputs()]
        return lambda arrays: session.run(None, dict(zip(names, arrays, strict=True)))

    return load, onnxruntime.__version__


def openvino(threads: int) -> tuple[Load, str]:
    import openvino

    settings = {  # the precision is the model's own, also where the processor has a faster one
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32",
    }  # fmt: skip

    def load(form: dict[str, str]) -> Any:
        compiled = openvino.Core().compile_model(form["path"], "CPU", settings)
        return lambda arrays: list(map(np.array, compiled(arrays).values()))

    return load, openvino.__version__


def torch_eager(threads: int, compiled: bool = False) -> tuple[Load, str]:
    import torch

    torch.set_num_threads(threads)

    def load(form: dict[str, str]) -> Any:
        if "path" in form:
            module = torch.export.load(form["path"]).module()
        else:
            module = made(form["factory"]).eval()
            module.load_state_dict(torch.load(form["weights"], weights_only=True))
        if compiled:
            torch._dynamo.config.recompile_limit = 1000  # beyond it, shapes would silently run uncompiled
            module = torch.compile(module, dynamic=False)

        def call(arrays: list[np.ndarray]) -> list[np.ndarray]:
            with torch.inference_mode():
                outputs = module(*map(torch.from_numpy, arrays))
            leaves = torch.utils._pytree.tree_leaves(outputs)
            return [leaf.numpy() for leaf in leaves if isinstance(leaf, torch.Tensor)]

        return call

    return load, torch.__version__


def torch_compile(threads: int) -> tuple[Load, str]:
    return torch_eager(threads, compiled=True)


def keras(threads: int) -> tuple[Load, str]:
    backend = os.environ["KERAS_BACKEND"]
    if backend == "tensorflow":
        import tensorflow

        tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        tensorflow.config.threading.set_inter_op_parallelism_threads(1)
    elif backend == "torch":
        import torch

        torch.set_num_threads(threads)
    import keras

    def load(form: dict[str, str]) -> Any:
        if "path" in form:
            model = keras.saving.load_model(form["path"], compile=False, safe_mode="trusted" not in form)
        else:
            model = made(form["factory"])
            model.load_weights(form["weights"])

        def call(arrays: list[np.ndarray]) -> list[np.ndarray]:
            struct = getattr(model, "_inputs_struct", None)
            given = arrays[0] if struct is None else keras.tree.pack_sequence_as(struct, arrays)
            return [np.asarray(leaf) for leaf in keras.tree.flatten(model.predict_on_batch(given))]

        return call

    return load, f"{keras.__version__}, {backend} {sys.modules[backend].__version__}"


def made(source: str) -> Any:
    """What the user's own function makes."""
    module, _, attribute = source.partition(":")
    found: Any = importlib.import_module(module)
    for part in attribute.split("."):
        found = getattr(found, part)
    return found()


ENTRANCES: dict[str, Callable[[int], tuple[Load, str]]] = {
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "torch_eager": torch_eager,
    "torch_compile": torch_compile,
    "keras_torch": keras,
    "keras_tensorflow": keras,
    "keras_jax": keras,
}
