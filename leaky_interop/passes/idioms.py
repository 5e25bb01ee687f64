"""Recognises operators that a framework spelled with several others: LeakyReLU in its many forms, and its relatives.

Only spellings that compute the same bits for every input are taken; where one differs for an infinity or for the sign
of a zero, it stays as it is. What is left alone, and why:

| spelling                      | differs from LeakyRelu(s)                                       |
|-------------------------------|-----------------------------------------------------------------|
| max(x, s * x), s > 1 or s < 0 | it is another function                                          |
| max(x, 0 * x)                 | at +infinity: 0 * x is NaN                                      |
| where(x > 0, x, s * x), s < 0 | at 0.0, which becomes -0.0                                      |
| relu(x) - s * relu(-x)        | at -0.0, which becomes 0.0                                      |
| max(0, x) + min(0, s * x)     | at -0.0, and wherever s < 0                                     |

The smooth ones are the definitions of their operators, step by step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..graph import Graph, Node, Rewrite, Value, inherit
from ..op import Op
from ..ops.activation import LeakyRelu, PRelu
from ..ops.bounds import Maximum, Minimum
from ..ops.compare import Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual, Where
from ..ops.functions import Abs, Erf, Neg, Reciprocal, Rsqrt, Sqrt
from ..ops.logic import Not
from ..ops.math import Add, Average, Div, Mul, Sub
from ..ops.promotion import number_of
from ..ops.smooth import EXACT, Gelu, LogSigmoid, Mish, Sigmoid, Silu, Softplus, Softsign, Tanh, TanhShrink

Found = tuple[Op | None, tuple[Value, ...]]  # None: the operand itself


def recognise(graph: Graph) -> Graph:
    """The graph with every idiom as the operator that it spells."""
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        found = next(filter(None, (idiom(node) for idiom in IDIOMS.get(type(node.op), ()))), None)
        if found is None or node.outputs[0].dtype.kind not in "fVb":
            rewrite.copy(node)
            continue
        op, operands = found
        if op is None:
            rewrite.put(node.outputs[0], rewrite.get(operands[0]))  # type: ignore[arg-type]
            continue
        for old, new in zip(node.outputs, rewrite.emit(node, op, map(rewrite.get, operands)), strict=True):
            inherit(new, old)
            rewrite.put(old, new)
    return rewrite.finish()


def parts(value: Value | None, kind: type[Op]) -> tuple[Value, ...] | None:
    """The operands of the node that makes a value, if it is of this kind."""
    node = None if value is None else value.node
    return node.inputs if node is not None and isinstance(node.op, kind) else None  # type: ignore[return-value]


def beside(operands: tuple[Value, ...] | None, wanted: Value | float) -> Value | None:
    """The other operand of two, one of which is this value or this number."""
    for one, other in (operands, operands[::-1]) if operands is not None else ():
        if one is wanted or (isinstance(wanted, float) and number_of(one) == wanted):
            return other
    return None


# --- slopes -----------------------------------------------------------------------------------------------------------

MIRRORED = {Less: Greater, Greater: Less, LessOrEqual: GreaterOrEqual, GreaterOrEqual: LessOrEqual}


def leaky_relu_by_where(node: Node) -> Found | None:
    """where(x < 0, s * x, x), and with the comparison turned or mirrored."""
    condition, first, second = node.inputs
    for kind in MIRRORED:
        compared = parts(condition, kind)
        if compared is None:
            continue
        x, zero = compared
        if number_of(x) == 0:
            x, zero, kind = zero, x, MIRRORED[kind]
        if number_of(zero) != 0:
            return None
        low, high = (first, second) if kind in (Less, LessOrEqual) else (second, first)
        slope = beside(parts(low, Mul), x)
        if high is not x or slope is None or x.shape != node.outputs[0].shape:
            return None
        number = number_of(slope)
        if (
            number is not None
            and math.isfinite(number)
            and (kind in (Less, GreaterOrEqual) or math.copysign(1, number) > 0)
        ):
            return LeakyRelu(negative_slope=float(number)), (x,)
        if number is None and slope.const is not None and kind in (Less, GreaterOrEqual):
            return PRelu(), (x, slope)
    return None


def leaky_relu_by_maximum(node: Node) -> Found | None:
    """max(x, s * x) where 0 < s <= 1."""
    return _leaky_relu(node, lambda slope: 0 < slope <= 1)


def leaky_relu_by_minimum(node: Node) -> Found | None:
    """min(x, s * x) where s >= 1."""
    return _leaky_relu(node, lambda slope: 1 <= slope < math.inf)


def _leaky_relu(node: Node, fits: Callable[[float], bool]) -> Found | None:
    for x, scaled in (node.inputs, node.inputs[::-1]):
        slope = number_of(beside(parts(scaled, Mul), x))  # type: ignore[arg-type]
        if slope is not None and fits(slope):
            return LeakyRelu(negative_slope=float(slope)), (x,)  # type: ignore[return-value]
    return None


# --- smooth functions -------------------------------------------------------------------------------------------------


def product(node: Node) -> Found | None:
    """x * 1, x * sigmoid(x), x * tanh(softplus(x)), and 0.5 * x * (1 + erf(x / sqrt(2))) in any order."""
    for x, factor in (node.inputs, node.inputs[::-1]):
        if number_of(factor) == 1 and x.shape == node.outputs[0].shape:  # type: ignore[union-attr]
            return None, (x,)  # type: ignore[return-value]
        if parts(factor, Sigmoid) == (x,):
            return Silu(), (x,)  # type: ignore[return-value]
        if parts((parts(factor, Tanh) or (None,))[0], Softplus) == (x,) and factor.node.inputs[0].node.op == EXACT:  # type: ignore[union-attr]
            return Mish(), (x,)  # type: ignore[return-value]
    return _gelu(node)


def _gelu(node: Node) -> Found | None:
    factors = _factors(node.outputs[0])
    numbers = [n for n in map(number_of, factors) if n is not None]
    values = [f for f in factors if number_of(f) is None]
    if math.prod(numbers) != 0.5 or len(values) != 2:
        return None
    for x, integral in (values, values[::-1]):
        inner = parts(beside(parts(integral, Add), 1.0), Erf)
        if inner is not None and _is_scaled(inner[0], x, math.sqrt(0.5)):
            return Gelu(approximate=False), (x,)
    return None


def _factors(value: Value) -> list[Value]:
    """What a chain of products multiplies."""
    operands = parts(value, Mul)
    return [value] if operands is None else [f for o in operands for f in _factors(o)]


def _is_scaled(value: Value, x: Value, factor: float) -> bool:
    """Whether value is x * factor, or x divided by its inverse, as near as float32 holds the number."""
    scale = number_of(beside(parts(value, Mul), x))
    divided = parts(value, Div)
    if divided is not None and divided[0] is x and number_of(divided[1]):
        scale = 1 / number_of(divided[1])
    return scale is not None and math.isclose(scale, factor, rel_tol=2.0**-22)


def quotient(node: Node) -> Found | None:
    """x / (1 + |x|), 1 / sqrt(x), 1 / x, and the sum of n operands over n."""
    x, divisor = node.inputs
    if parts(beside(parts(divisor, Add), 1.0), Abs) == (x,):
        return Softsign(), (x,)  # type: ignore[return-value]
    number = number_of(divisor)
    if number_of(x) == 1.0:
        inner = parts(divisor, Sqrt)
        return (Reciprocal(), (divisor,)) if inner is None else (Rsqrt(), inner)  # type: ignore[return-value]
    if number is None or number < 2 or number != int(number):
        return None
    operands: list[Value] = []
    while len(operands) < number - 1 and (pair := parts(x, Add)) is not None:
        x = pair[0]
        operands.insert(0, pair[1])
    return (Average(), (x, *operands)) if len(operands) == number - 1 else None  # type: ignore[return-value]


def difference(node: Node) -> Found | None:
    """x - tanh(x)."""
    x, taken = node.inputs
    return (TanhShrink(), (x,)) if parts(taken, Tanh) == (x,) else None  # type: ignore[return-value]


def negation(node: Node) -> Found | None:
    """-softplus(-x)."""
    inner = parts(node.inputs[0], Softplus)
    turned = parts(inner[0], Neg) if inner is not None and node.inputs[0].node.op == EXACT else None  # type: ignore[union-attr]
    return (LogSigmoid(), turned) if turned is not None else None


def inverse(node: Node) -> Found | None:
    """1 / sqrt(x)."""
    inner = parts(node.inputs[0], Sqrt)
    return (Rsqrt(), inner) if inner is not None else None


def contradiction(node: Node) -> Found | None:
    """not (x == y)."""
    inner = parts(node.inputs[0], Equal)
    return (NotEqual(), inner) if inner is not None else None


IDIOMS: dict[type[Op], tuple[Callable[[Node], Any], ...]] = {
    Where: (leaky_relu_by_where,),
    Maximum: (leaky_relu_by_maximum,),
    Minimum: (leaky_relu_by_minimum,),
    Mul: (product,),
    Div: (quotient,),
    Sub: (difference,),
    Neg: (negation,),
    Reciprocal: (inverse,),
    Not: (contradiction,),
}
