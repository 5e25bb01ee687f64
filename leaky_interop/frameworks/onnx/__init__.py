"""ONNX: models of any opset in, checked and named models out; onnxruntime runs them."""

from .hazards import hazards
from .read import load
from .run import Program, describe, knows_inputs, owns, run
from .write import assign, build, build_file, prepare, save

__all__ = ["Program", "assign", "build", "build_file", "describe", "hazards", "knows_inputs", "load", "owns", "prepare", "run", "save"]
