"""PyTorch: exported programs in, readable `torch.fx.GraphModule`s of native named modules out."""

from .read import load
from .run import Program, describe, knows_inputs, owns, run
from .write import build, prepare, save

__all__ = ["Program", "build", "describe", "knows_inputs", "load", "owns", "prepare", "run", "save"]
