"""PyTorch: exported programs in, readable `torch.fx.GraphModule`s of native named modules out."""

from .read import load
from .run import Program, describe, knows_inputs, leaves, owns, run
from .save import save
from .write import assign, build, prepare

__all__ = ["Program", "assign", "build", "describe", "knows_inputs", "leaves", "load", "owns", "prepare", "run", "save"]
