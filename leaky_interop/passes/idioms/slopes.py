"""LeakyReLU, and PReLU, as people write them by hand and as exporters leave them behind.

| spelling of slope s                              | the same bits       | otherwise it differs                        |
|--------------------------------------------------|---------------------|---------------------------------------------|
| where(x < 0, s * x, x), where(x >= 0, x, s * x)  | every finite s      |                                             |
| where(x > 0, x, s * x), where(x <= 0, s * x, x)  | s >= 0              | s < 0: at 0.0, which becomes -0.0           |
| max(x, s * x)                                    | 0 < s <= 1          | s = 0: at infinity; s < 0: at the zeros     |
|                                                  |                     | s > 1: another function                     |
| min(x, s * x)                                    | s >= 1              | s < 1: another function                     |
| prelu(x, s), s a constant                        | every finite s      | a weight stays one: training may change it  |
| max(x, 0) + s * min(x, 0), relu(x) - s * relu(-x) | never              | at -0.0                                     |
| max(x, 0) + min(s * x, 0)                        | never               | at -0.0; s < 0: another function            |
| (x < 0) * s * x + (x >= 0) * x, masks as numbers | never               | at infinities, which become NaN             |
| ((1 + s) * x + (1 - s) * abs(x)) / 2             | never               | everywhere, by roundings                    |
| s * x + (1 - s) * relu(x)                        | never               | everywhere, by roundings                    |

The arithmetic mask is what tf2onnx makes of tf.where, relu(x) - s * relu(-x) what Keras makes of PReLU, the two last
rows are Theano's and TensorFlow's early ones. A slope that is infinite or NaN is left as it was spelled: frameworks
disagree about what it makes of 0.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from ...graph import Node, Value
from ...numeric import unit_roundoff
from ...op import Op
from ...ops.activation import LeakyRelu, PRelu
from ...ops.bounds import Clip, Maximum, Minimum
from ...ops.cast import Cast
from ...ops.compare import Greater, GreaterOrEqual, Less, LessOrEqual, Where
from ...ops.functions import Abs
from ...ops.logic import Not
from ...ops.math import Add, Average, Div, Mul, Sub
from ...ops.relu import Relu
from .matching import Found, Missed, beside, factors, held, number, once, parts

MIRRORED = {Less: Greater, Greater: Less, LessOrEqual: GreaterOrEqual, GreaterOrEqual: LessOrEqual}
OPPOSITE = {Less: GreaterOrEqual, GreaterOrEqual: Less, LessOrEqual: Greater, Greater: LessOrEqual}
BELOW = (Less, LessOrEqual)
ZERO_IS_ABOVE = (Less, GreaterOrEqual)
LOST_SIGN = "-0.0, which becomes 0.0, as does a product too small to hold"
NEW_SIGN = "0.0, which becomes -0.0"
FAULT = "infinities and products that overflow, which become NaN"
ROUNDED = "the last digits of every number, by the roundings of two products and a sum"


def against_zero(condition: Value) -> tuple[Value, type[Op]] | None:
    """The value that a condition compares with 0, and how, that value on the left."""
    inverted = parts(condition, Not)
    if inverted is not None:
        found = against_zero(inverted[0])
        return None if found is None else (found[0], OPPOSITE[found[1]])
    for kind in MIRRORED:
        compared = parts(condition, kind)
        if compared is not None:
            x, zero = compared
            if number(x) == 0:
                x, zero, kind = zero, x, MIRRORED[kind]
            return (x, kind) if number(zero) == 0 else None
    return None


def by_choice(node: Node) -> Found | Missed | None:
    """where(x < 0, s * x, x), and with the comparison turned, mirrored or inverted."""
    condition, first, second = node.inputs
    compared = against_zero(condition)  # type: ignore[arg-type]
    if compared is None:
        return None
    x, kind = compared
    low, high = (first, second) if kind in BELOW else (second, first)
    if low is x and beside(parts(high, Mul), x) is not None:
        return Missed("where(x < 0, x, s * x)", "it scales what is above 0: the branches are swapped")
    slope = beside(parts(low, Mul), x)
    if high is not x or slope is None:
        return _relu_by_mistake(x, low, high)  # type: ignore[arg-type]
    spelling = "where(x < 0, s * x, x)" if kind in ZERO_IS_ABOVE else "where(x > 0, x, s * x)"
    value = number(slope)
    if value is None:
        if slope.const is None:
            return None
        settled = slope.is_constant and not np.signbit(slope.array()).any()
        differs = "" if kind in ZERO_IS_ABOVE or settled else f"{NEW_SIGN}, where a slope is negative"
        return Found(PRelu(), (x, slope), spelling, differs)
    if not math.isfinite(value):
        return Missed(spelling, f"frameworks disagree about what a slope of {value} makes of 0")
    same = kind in ZERO_IS_ABOVE or math.copysign(1, value) > 0
    return Found(LeakyRelu(negative_slope=float(value)), (x,), spelling, "" if same else NEW_SIGN)


def _relu_by_mistake(scaled: Value, low: Value, high: Value) -> Found | None:
    """where(s * x < 0, 0, x): the slope has no say in it."""
    slope = number(beside(parts(scaled, Mul), high))
    if slope is None or not 0 < slope < math.inf or number(low) != 0:
        return None
    return Found(
        Relu(), (high,), "where(s * x < 0, 0, x)", "-0.0, at NaN, and where s * x is too small to hold",
        warning=f"it is ReLU, not LeakyReLU: the slope {slope} only decides where the result is 0. "
        "LeakyReLU is where(x < 0, s * x, x)",
    )  # fmt: skip


def by_extreme(node: Node) -> Found | Missed | None:
    """max(x, s * x), min(x, s * x)."""
    name, larger = ("max", True) if isinstance(node.op, Maximum) else ("min", False)
    for x, scaled in (node.inputs, node.inputs[::-1]):
        operand = beside(parts(scaled, Mul), x)  # type: ignore[arg-type]
        if operand is None:
            continue
        slope, spelling = number(operand), f"{name}(x, s * x)"
        if slope is None:
            reason = "it is not one number, and may be above 1 somewhere"
            return None if operand.const is None else Missed(spelling, f"its slope is an array: {reason}")
        if (larger and slope > 1) or (not larger and slope < 1):
            side = "above" if larger else "below"
            return Missed(
                spelling, f"it is another function for slopes {side} 1, such as {slope}: it scales what is above 0"
            )
        if math.isfinite(slope):
            same = slope > 0
            differs = "" if same else "infinity, which becomes NaN" if slope == 0 else "0.0 and -0.0, by their signs"
            return Found(LeakyRelu(negative_slope=float(slope)), (x,), spelling, differs)  # type: ignore[arg-type]
    return None


def by_constant(node: Node) -> Found | Missed | None:
    """prelu(x, s) where s is one constant, however often it is written down."""
    x, slope = node.inputs
    value = number(slope)
    if value is not None and math.isfinite(value):
        return Found(LeakyRelu(negative_slope=float(value)), (x,))  # type: ignore[arg-type]
    if slope is None or slope.const is None or value is not None:
        return None
    array = slope.array()
    if array.size < 2 or not (array == array.reshape(-1)[0]).all():
        return None
    return Missed(
        "prelu(x, s)",
        f"all its slopes are {float(array.reshape(-1)[0])!r}, but they are weights: training may change them",
    )


# --- sums -------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Half:
    """A term that is slope * x on one side of 0, and 0 on the other."""

    x: Value
    above: bool
    slope: float
    weight: Value | None  # an array that is a factor of the slope too
    spelling: str
    differs: str


def half(value: Value, sign: float) -> Half | None:
    """sign * value as a half: s * relu(x), s * min(x, 0), relu(s * x), a mask times s * x."""
    numbers, values = factors(value)
    scale = once(numbers)
    if scale is None or not 1 <= len(values) <= 2:
        return None
    for bent, other in ((values[0], values[-1]), (values[-1], values[0])):
        masked = mask(bent)
        if masked is not None and other is masked[0] and other is not bent:
            above = masked[1] not in BELOW
            return Half(other, above, sign * scale, None, "mask * s * x", FAULT)
        upper, inner = _beyond_zero(bent)
        if inner is None:
            continue
        inside, xs = factors(inner)
        slope, weight = once(numbers + inside), None if other is bent else other
        if (
            slope is None
            or (slope == 0 and math.prod(inside) == 0)
            or len(xs) != 1
            or (weight is not None and weight.const is None)
        ):
            continue
        above = upper == (math.prod(inside) > 0)
        outer, inner_scale = ("s * " if abs(n) != 1 else "" for n in (scale, math.prod(inside)))
        spelling = f"{outer}{'max' if upper else 'min'}({inner_scale}x, 0)"
        return Half(xs[0], above, sign * slope, weight, spelling, LOST_SIGN)
    return None


def _beyond_zero(value: Value) -> tuple[bool, Value | None]:
    """Whether a value is what is above 0 of another, or below; and that other one."""
    for upper, kind, clip in (
        (True, Maximum, Clip(minimum=0.0, maximum=None)),
        (False, Minimum, Clip(minimum=None, maximum=0.0)),
    ):
        inner = beside(parts(value, kind), 0.0)
        if (
            inner is None
            and value.node is not None
            and (value.node.op == clip or (upper and isinstance(value.node.op, Relu)))
        ):
            inner = value.node.inputs[0]
        if inner is not None:
            return upper, inner
    return False, None


def mask(value: Value) -> tuple[Value, type[Op]] | None:
    """The value whose sign a mask of ones and zeros tells, and where it is 1."""
    cast = parts(value, Cast)
    if cast is not None and cast[0].dtype.kind == "b":
        return against_zero(cast[0])
    chosen = parts(value, Where)
    if chosen is not None:
        found, ends = against_zero(chosen[0]), (number(chosen[1]), number(chosen[2]))
        if found is None or ends not in ((1, 0), (0, 1)):
            return None
        return found if ends == (1, 0) else (found[0], OPPOSITE[found[1]])
    rest = parts(value, Sub)
    if rest is not None and number(rest[0]) == 1 and (found := mask(rest[1])) is not None:
        return found[0], OPPOSITE[found[1]]
    return None


def by_sum(node: Node) -> Found | Missed | None:
    """What is above 0, plus s times what is below; or two lines whose bends add up to LeakyReLU's."""
    a, b = node.inputs
    signs = (1.0, -1.0 if isinstance(node.op, Sub) else 1.0)
    halves = half(a, signs[0]), half(b, signs[1])  # type: ignore[arg-type]
    for one, other in (halves, halves[::-1]):
        if one is None or other is None or one.x is not other.x or one.slope != 1 or not one.above or one.weight:
            continue
        if other.above:
            if other.spelling == "min(s * x, 0)":
                reason = f"it is another function for slopes below 0, such as {other.slope}: nothing is left below 0"
                return Missed(f"{one.spelling} + {other.spelling}", reason)
            continue
        return _of_halves(one, other)
    return by_bend(node.outputs[0], 1.0)


def _of_halves(one: Half, other: Half) -> Found | Missed | None:
    spelling = f"{one.spelling} + {other.spelling}"
    if not math.isfinite(other.slope):
        return None
    differs = FAULT if FAULT in (one.differs, other.differs) else LOST_SIGN
    if other.weight is None:
        return Found(LeakyRelu(negative_slope=other.slope), (one.x,), spelling, differs)
    if other.slope != 1:
        return Missed(spelling, "it is PReLU with its weights stored negated, which no PReLU holds")
    return Found(PRelu(), (one.x, other.weight), spelling, f"{differs}, and wherever a slope is infinite")


def by_bend(total: Value, scale: float) -> Found | None:
    """scale * (c * x + d * abs(x)) or scale * (c * x + d * relu(x)), of slope 1 above 0."""
    operands = parts(total, Add) or parts(total, Sub) or parts(total, Average)
    if operands is None or len(operands) != 2:
        return None
    kind = type(total.node.op)  # type: ignore[union-attr]
    scale = scale / 2 if kind is Average else scale
    terms = list(zip(operands, (1.0, -1.0 if kind is Sub else 1.0), strict=True))
    for (line, ahead), (bent, sign) in (terms, terms[::-1]):
        numbers, values = factors(line)
        if len(values) != 1:
            continue
        x, c = values[0], ahead * math.prod(numbers)
        numbers, values = factors(bent)
        absolute = parts(values[0], Abs) if len(values) == 1 else None
        if absolute is not None and absolute[0] is x:
            d = sign * math.prod(numbers)
            above, below, spelling = c + d, c - d, "((1 + s) * x + (1 - s) * abs(x)) / 2"
        else:
            part = half(bent, sign)
            if part is None or part.x is not x or part.weight is not None or part.differs == FAULT:
                continue
            d = part.slope
            above, below = (c + d, c) if part.above else (c, c + d)
            spelling = "s * x + (1 - s) * relu(x)"
        off = 8 * unit_roundoff(x.dtype) * (abs(c) + abs(d))
        if not abs(above * scale - 1) <= abs(scale) * off or not math.isfinite(below * scale):
            continue
        roundings = 5 * abs(scale) * (abs(c) + abs(d))
        return Found(LeakyRelu(negative_slope=held(below * scale, x.dtype)), (x,), spelling, ROUNDED, roundings)
    return None


def by_scaled_bend(node: Node) -> Found | None:
    """Such a sum times a number, over one, or as a mean."""
    if isinstance(node.op, Average):
        return by_bend(node.outputs[0], 1.0)
    if isinstance(node.op, Div):
        total, divisor = node.inputs
        value = number(divisor)
        return by_bend(total, 1 / value) if value else None  # type: ignore[arg-type]
    numbers, values = factors(node.outputs[0])
    return by_bend(values[0], math.prod(numbers)) if len(values) == 1 and numbers else None


def by_clip(node: Node) -> Missed | None:
    """max(s * x, 0): a mistake for max(x, s * x)."""
    upper, inner = _beyond_zero(node.outputs[0])
    numbers, values = factors(inner) if inner is not None and upper else ([], [])
    if isinstance(node.op, Relu) or len(values) != 1 or not 0 < (slope := math.prod(numbers)) < 1:
        return None
    return Missed(
        "max(s * x, 0)",
        "it is 0 below 0: ReLU, scaled",
        f"it is ReLU times {slope}, not LeakyReLU. LeakyReLU is max(x, s * x)",
    )


RULES = {
    Where: (by_choice,),
    Maximum: (by_extreme, by_clip),
    Minimum: (by_extreme,),
    Clip: (by_clip,),
    PRelu: (by_constant,),
    Add: (by_sum,),
    Sub: (by_sum,),
    Mul: (by_scaled_bend,),
    Div: (by_scaled_bend,),
    Average: (by_scaled_bend,),
}
