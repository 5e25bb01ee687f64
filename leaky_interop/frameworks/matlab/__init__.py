"""MATLAB: layer arrays as source text with `.mat` files in and out. MATLAB itself is not run."""

from .layers import Network
from .listing import listing
from .prepare import prepare
from .read import load
from .run import Program, describe, hazards, knows_inputs, owns, run
from .write import FIXED_LAYOUT, assign, build, save

__all__ = [
    "FIXED_LAYOUT",
    "Network",
    "Program",
    "assign",
    "build",
    "describe",
    "hazards",
    "knows_inputs",
    "listing",
    "load",
    "owns",
    "prepare",
    "run",
    "save",
]
