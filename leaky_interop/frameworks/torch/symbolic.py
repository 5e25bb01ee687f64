"""Reads torch's symbolic sizes: expressions of sympy, whose functions are torch's own."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any

import torch

from ...errors import Refused
from ...sizes import Dim, Size, floor_divide, maximum, minimum, scaled, symbol

MEASURED = "only the sizes of the inputs, and how many results there are, may tell sizes"


def from_sympy(expression: Any, known: Mapping[str, Size]) -> Dim:
    """A size from torch's symbolic expression."""
    if expression.is_Integer:
        return int(expression)
    if expression.is_Symbol:
        if _is_measured(expression) and str(expression) not in known:
            raise Refused("a size that the network computes", why=MEASURED, hint="Compute it outside, and export with it")
        return known.get(str(expression), symbol(str(expression)))
    if type(expression).__name__ in ("TruncToInt", "FloorToInt"):
        if (found := _scaled(expression.args[0], known)) is not None:
            return found
    args = [from_sympy(a, known) for a in expression.args]
    kind = type(expression).__name__
    if kind in ("Add", "Mul", "Max", "Min"):
        combine = {"Add": operator.add, "Mul": operator.mul, "Max": maximum, "Min": minimum}[kind]
        total = args[0]
        for term in args[1:]:
            total = combine(total, term)
        return total
    if kind == "Pow" and isinstance(args[1], int) and args[1] > 0:
        total = args[0]
        for _ in range(args[1] - 1):
            total = total * args[0]
        return total
    if kind in ("FloorDiv", "CleanDiv", "IntTrueDiv"):
        return floor_divide(args[0], args[1])
    if kind in ("Mod", "PythonMod"):
        return args[0] - args[1] * floor_divide(args[0], args[1])
    raise Refused(f"the size expression {expression}", why=f"{kind} of sizes is not supported", hint="Fix that dimension")


def comparison(expression: Any, known: Mapping[str, Size]) -> tuple[str, Dim, Dim]:
    """What torch asks about two sizes: Equality, Unequality, StrictLessThan, LessThan, StrictGreaterThan or GreaterThan."""
    kind = type(expression).__name__
    if len(expression.args) != 2 or not (expression.is_Relational):
        raise Refused(f"the condition {expression}", why=f"{kind} of conditions is not supported", hint="Compute it with tensors")
    first, second = (from_sympy(a, known) for a in expression.args)
    return kind, first, second


def _scaled(expression: Any, known: Mapping[str, Size]) -> Dim | None:
    """The whole part of a size times a number, which is how torch says a scale factor."""
    numbers = [a for a in expression.args if a.is_number]
    sizes = [a for a in expression.args if type(a).__name__ == "ToFloat"]
    if len(numbers) != 1 or len(expression.args) != 2 or len(sizes) != 1:
        return None
    try:
        return scaled(from_sympy(sizes[0].args[0], known), float(numbers[0]))
    except ValueError as error:
        raise Refused(str(error), why="the size would differ for some inputs", hint="Fix that dimension") from None


def is_new(dim: Any, known: Mapping[str, Size]) -> bool:
    """Whether a size depends on one that a run tells and that has no name yet."""
    expression = dim.node.expr if isinstance(dim, torch.SymInt) else None
    return expression is not None and any(_is_measured(s) and str(s) not in known for s in expression.free_symbols)


def _is_measured(expression: Any) -> bool:
    """Whether a symbol stands for what only a run tells: torch calls those u0, u1 ..."""
    return str(expression).startswith("u")
