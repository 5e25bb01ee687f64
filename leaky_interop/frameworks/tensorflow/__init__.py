"""TensorFlow's SavedModels: a signature becomes ONNX through tf2onnx, and that is read as any ONNX.

TensorFlow itself runs the signature: what a verification compares the outputs with. Nothing is written as TensorFlow.
"""

from .read import load
from .run import Program, describe, knows_inputs, owns, run

__all__ = ["Program", "describe", "knows_inputs", "load", "owns", "run"]
