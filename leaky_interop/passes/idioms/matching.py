"""What a rule answers, and how it takes an expression apart."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ...graph import Value
from ...op import Op
from ...ops.expand import Expand
from ...ops.functions import Neg
from ...ops.math import Mul
from ...ops.promotion import number_of


@dataclasses.dataclass(frozen=True)
class Found:
    """An operator that computes what was spelled: bit for bit where `differs` is empty, nearly so where it is not."""

    op: Op | None  # None: the operand itself
    operands: tuple[Value, ...]
    spelling: str = ""
    differs: str = ""  # on which numbers the operator's result is another; such a rule is taken with fast math only
    roundings: float = 0.0  # by how many, of its largest operand, the result may then be off
    warning: str = ""


@dataclasses.dataclass(frozen=True)
class Missed:
    """An expression that looks like an idiom and is not: why."""

    spelling: str
    reason: str
    warning: str = ""


def parts(value: Value | None, kind: type[Op]) -> tuple[Value, ...] | None:
    """The operands of the node that makes a value, if it is of this kind."""
    node = None if value is None else value.node
    return node.inputs if node is not None and isinstance(node.op, kind) else None  # type: ignore[return-value]


def beside(operands: tuple[Value, ...] | None, wanted: Value | float) -> Value | None:
    """The other operand of two, one of which is this value or this number."""
    for one, other in (operands, operands[::-1]) if operands is not None else ():
        if one is wanted or (isinstance(wanted, float) and number(one) == wanted):
            return other
    return None


def number(value: Value | None) -> float | None:
    """The number that a constant holds, once, in all its elements or expanded; None for all else."""
    expanded = parts(value, Expand)
    if expanded is not None:
        return number(expanded[0])
    found = None if value is None else number_of(value)
    if found is not None or value is None or not value.is_constant or value.dtype.kind not in "fV":
        return found
    array = value.array().reshape(-1)
    bits = array.view(f"u{array.itemsize}")
    same = array.size > 0 and bits[0] == bits[-1] and (bits == bits[0]).all()
    return number_of(value.graph.constant(array[0])) if same else None


def factors(value: Value, depth: int = 6) -> tuple[list[float], list[Value]]:
    """What a chain of products and negations multiplies: numbers, and values. Deeper ones stay whole."""
    operands = (parts(value, Mul) or parts(value, Neg)) if depth else None
    if operands is None:
        held = number(value)
        return ([], [value]) if held is None else ([float(held)], [])
    numbers: list[float] = [] if len(operands) == 2 else [-1.0]
    values: list[Value] = []
    for operand in operands:
        more, others = factors(operand, depth - 1)
        numbers += more
        values += others
    return numbers, values


def once(numbers: list[float]) -> float | None:
    """The product of numbers of which at most one needs a multiplication that rounds; None for more."""
    return math.prod(numbers) if sum(abs(n) != 1 for n in numbers) < 2 else None


def held(slope: float, dtype: np.dtype) -> float:
    """A computed slope as a user of that dtype writes it: 0.2 for what (1.2 - 0.8) / 2 gives in float32."""
    from ...numeric import shortest

    stored = float(dtype.type(slope))
    return shortest(stored) if dtype == np.float32 else stored
