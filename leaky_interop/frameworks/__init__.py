"""One file per framework: how to walk its models, build them and run them. Nothing here knows an operator.

Every framework module has the same functions in the same order: `owns`, `load`, `build`, `run`. One may have
`build_file` too, which builds a model straight into a file: it is never whole in memory.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

NAMES = ("keras", "torch", "onnx")  # the order matters: a Keras model on the torch backend is also a torch module
FORMATS = ("chainer", "matlab", "tensorflow")  # files of other frameworks: read, and MATLAB written too
MODULES = {  # who makes the models of each
    "keras": ("keras",), "torch": ("torch",), "onnx": ("onnx", "onnx_ir"), "matlab": (f"{__name__}.matlab",),
    "chainer": (f"{__name__.rpartition('.')[0]}.files.chainer",),
    "tensorflow": (f"{__name__.rpartition('.')[0]}.files.saved_model",),
}  # fmt: skip


def get(name: str) -> ModuleType:
    """The engine of a framework; imports the framework."""
    from ..errors import require

    if name not in (*NAMES, *FORMATS):
        raise ValueError(f"unknown framework {name!r}; one of {', '.join((*NAMES, *FORMATS))}")
    if name in NAMES:
        require(name, extra=name)
    return importlib.import_module(f"{__name__}.{name}")


def of(model: Any) -> str | None:
    """Which framework made this object, or None. Imports no framework: that of a living model is already loaded."""
    for name in (*NAMES, *FORMATS):
        if any(module in sys.modules for module in MODULES[name]) and get(name).owns(model):
            return name
    return None
