"""Chainer: whole networks by their computational graph, recorded in an interpreter that has Chainer and its old numpy.

`record` runs a network there on an example and writes a recording; from then on that file is the model. It can be read,
verified on the values that Chainer computed, and converted; nothing is written as Chainer.
"""

from .read import load
from .record import record
from .run import Program, describe, knows_inputs, owns, run

__all__ = ["Program", "describe", "knows_inputs", "load", "owns", "record", "run"]
