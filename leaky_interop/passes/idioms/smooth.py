"""Smooth activations and plain functions, spelled by their definitions step by step. All of these are the same bits,
or differ as their operators' own class allows.
"""

from __future__ import annotations

import math

from ...graph import Node, Value
from ...ops.compare import Equal, NotEqual
from ...ops.functions import Abs, Erf, Neg, Reciprocal, Rsqrt, Sqrt
from ...ops.logic import Not
from ...ops.math import Add, Average, Div, Mul, Sub
from ...ops.smooth import EXACT, Gelu, LogSigmoid, Mish, Sigmoid, Silu, Softplus, Softsign, Tanh, TanhShrink
from .matching import Found, beside, factors, number, parts


def product(node: Node) -> Found | None:
    """x * 1, x * sigmoid(x), x * tanh(softplus(x)), and 0.5 * x * (1 + erf(x / sqrt(2))) in any order."""
    for x, factor in (node.inputs, node.inputs[::-1]):
        if number(factor) == 1:
            return Found(None, (x,))
        if parts(factor, Sigmoid) == (x,):
            return Found(Silu(), (x,))  # type: ignore[arg-type]
        if parts((parts(factor, Tanh) or (None,))[0], Softplus) == (x,) and factor.node.inputs[0].node.op == EXACT:  # type: ignore[union-attr]
            return Found(Mish(), (x,))  # type: ignore[arg-type]
    return _gelu(node)


def _gelu(node: Node) -> Found | None:
    numbers, values = factors(node.outputs[0])
    if math.prod(numbers) != 0.5 or len(values) != 2:
        return None
    for x, integral in (values, values[::-1]):
        inner = parts(beside(parts(integral, Add), 1.0), Erf)
        if inner is not None and _is_scaled(inner[0], x, math.sqrt(0.5)):
            return Found(Gelu(approximate=False), (x,))
    return None


def _is_scaled(value: Value, x: Value, factor: float) -> bool:
    """Whether value is x * factor, or x divided by its inverse, as near as float32 holds the number."""
    scale = number(beside(parts(value, Mul), x))
    divided = parts(value, Div)
    if divided is not None and divided[0] is x and number(divided[1]):
        scale = 1 / number(divided[1])
    return scale is not None and math.isclose(scale, factor, rel_tol=2.0**-22)


def quotient(node: Node) -> Found | None:
    """x / (1 + |x|), 1 / sqrt(x), 1 / x, and the sum of n operands over n."""
    x, divisor = node.inputs
    if parts(beside(parts(divisor, Add), 1.0), Abs) == (x,):
        return Found(Softsign(), (x,))  # type: ignore[arg-type]
    count = number(divisor)
    if number(x) == 1.0:
        inner = parts(divisor, Sqrt)
        return Found(Reciprocal(), (divisor,)) if inner is None else Found(Rsqrt(), inner)  # type: ignore[arg-type]
    if count is None or count < 2 or count != int(count):
        return None
    operands: list[Value] = []
    while len(operands) < count - 1 and (pair := parts(x, Add)) is not None:
        x = pair[0]
        operands.insert(0, pair[1])
    return Found(Average(), (x, *operands)) if len(operands) == count - 1 else None  # type: ignore[arg-type]


def difference(node: Node) -> Found | None:
    """x - tanh(x)."""
    x, taken = node.inputs
    return Found(TanhShrink(), (x,)) if parts(taken, Tanh) == (x,) else None  # type: ignore[arg-type]


def negation(node: Node) -> Found | None:
    """-softplus(-x)."""
    inner = parts(node.inputs[0], Softplus)
    turned = parts(inner[0], Neg) if inner is not None and node.inputs[0].node.op == EXACT else None  # type: ignore[union-attr]
    return Found(LogSigmoid(), turned) if turned is not None else None


def inverse(node: Node) -> Found | None:
    """1 / sqrt(x)."""
    inner = parts(node.inputs[0], Sqrt)
    return Found(Rsqrt(), inner) if inner is not None else None


def contradiction(node: Node) -> Found | None:
    """not (x == y)."""
    inner = parts(node.inputs[0], Equal)
    return Found(NotEqual(), inner) if inner is not None else None


RULES = {
    Mul: (product,),
    Div: (quotient,),
    Sub: (difference,),
    Neg: (negation,),
    Reciprocal: (inverse,),
    Not: (contradiction,),
}
