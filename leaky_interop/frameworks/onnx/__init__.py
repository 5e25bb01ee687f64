"""ONNX: models of any opset in, checked and named models out; onnxruntime runs them."""

from .file import save
from .hazards import hazards
from .read import load
from .run import Program, describe, knows_inputs, owns, run
from .write import assign, build, build_file, prepare

__all__ = ["Program", "assign", "build", "build_file", "describe", "hazards", "knows_inputs", "load", "owns", "prepare", "run", "save"]
