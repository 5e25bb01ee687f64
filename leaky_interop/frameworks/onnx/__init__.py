"""ONNX: models of any opset in, checked and named models out; onnxruntime runs them."""

from .read import load
from .run import Program, owns, run
from .write import build

__all__ = ["Program", "build", "load", "owns", "run"]
