"""ONNX: models of any opset in, checked and named models out; onnxruntime runs them."""

from .hazards import hazards
from .read import load
from .run import Program, describe, knows_inputs, owns, run
from .write import assign, build, prepare, save

__all__ = ["Program", "assign", "build", "describe", "hazards", "knows_inputs", "load", "owns", "prepare", "run", "save"]
