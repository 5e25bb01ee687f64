"""PyTorch: exported programs in, readable `torch.fx.GraphModule`s of native named modules out."""

from .read import load
from .run import Program, owns, run
from .write import build

__all__ = ["Program", "build", "load", "owns", "run"]
