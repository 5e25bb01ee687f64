"""Keras: functional, Sequential and traceable subclassed models in, functional models of native named layers out.

Only `keras.*` is used, never a backend's own module, so every backend works.
"""

from .hazards import hazards
from .read import load
from .run import Program, describe, knows_inputs, leaves, owns, run
from .write import assign, build, prepare, save

__all__ = ["Program", "assign", "build", "describe", "hazards", "knows_inputs", "leaves", "load", "owns", "prepare", "run", "save"]
