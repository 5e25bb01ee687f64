"""Keras: functional, Sequential and traceable subclassed models in, functional models of native named layers out.

Only `keras.*` is used, never a backend's own module, so every backend works.
"""

from .read import load
from .run import Program, owns, run
from .write import build

__all__ = ["Program", "build", "load", "owns", "run"]
