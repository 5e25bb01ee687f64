"""Finds attention: the operator itself, or the products and the softmax that it consists of."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from ..graph import Node, Rewrite, Value
from ..ops.attention import Attention, lowest
from ..ops.bounds import Maximum
from ..ops.cast import Cast
from ..ops.compare import Equal, Where
from ..ops.expand import uniform
from ..ops.logic import And, Not
from ..ops.math import Add
from ..ops.matmul import MatMul
from ..ops.noise import Dropout
from ..ops.range import Triangle
from ..ops.softmax import Softmax
from .moves import data_of, is_move, scaled

ABSORBS = -1e30  # what is added to such a number does not change it, in float32
REPLACES = -1e9  # a score that is no larger counts for nothing beside any other


@dataclasses.dataclass(frozen=True, eq=False)
class Allowed:
    """A boolean mask: a value, turned around or not, after moves; or an array."""

    source: Value | np.ndarray
    negated: bool = False
    moves: tuple[Node, ...] = ()

    def emitted(self, rewrite: Rewrite, node: Node) -> Value:
        """The mask in the graph to come."""
        if isinstance(self.source, np.ndarray):
            return rewrite.new.constant(self.source)
        value = rewrite.get(self.source)
        assert value is not None
        if value.dtype != bool:
            (value,) = rewrite.emit(node, Cast(dtype="bool"), (value,), name="")
        if self.negated:
            (value,) = rewrite.emit(node, Not(), (value,), name="")
        for move in self.moves:
            operands = (value, *(rewrite.get(v) for v in move.inputs[1:]))
            value = rewrite.emit(move, move.op, operands, name="")[0]
        return value

    def negation(self) -> Allowed:
        if isinstance(self.source, np.ndarray):
            return Allowed(~self.source)
        return dataclasses.replace(self, negated=not self.negated)


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """Attention: what it reads, and the values between that and its result.

    key_turned: the last two axes of k have changed places. blind: what a query that sees nothing gets.
    """

    q: Value
    k: Value
    v: Value
    scale: float
    result: Value
    mask: Allowed | None = None
    key_turned: bool = False
    causal: bool = False
    blind: str = "zeros"
    dropout: float = 0.0
    inside: tuple[Value, ...] = ()


def found_attention(node: Node) -> Scores | None:
    """The attention whose result a node computes."""
    if isinstance(node.op, Attention):
        return _operator(node)
    return _product(node) if isinstance(node.op, MatMul) else None


def _operator(node: Node) -> Scores | None:
    q, k, v, mask = node.inputs
    assert q is not None and k is not None and v is not None
    whole = Scores(q, k, v, node.op.scale, node.outputs[0], causal=node.op.causal)  # type: ignore[attr-defined]
    if mask is None:
        return whole
    if mask.dtype == bool:
        return _with_mask(whole, _allowed(mask), "zeros")
    numbers = _of_numbers(mask, ABSORBS)
    return None if numbers is None else _with_mask(whole, numbers[0], "zeros" if numbers[1] == -math.inf else "mean")


def _product(node: Node) -> Scores | None:
    """softmax(scores) @ v, the weights dropped in training, or cleared where nothing counts."""
    weights, v = node.inputs
    assert weights is not None and v is not None
    inside, dropout = [weights], 0.0
    cleared: Value | None = None  # where weights that are not True in it are zeros
    guarded: Value | None = None  # scores of which -inf gives zeros, in a whole row too
    while weights.node is not None and isinstance(weights.node.op, Dropout | Where):
        if isinstance(weights.node.op, Dropout):
            dropout, (weights,) = weights.node.op.rate, weights.node.inputs  # type: ignore[assignment]
        else:
            condition, one, other = weights.node.inputs
            if cleared is not None or guarded is not None:
                return None
            if uniform(other) == 0:  # type: ignore[arg-type]
                cleared, weights = condition, one  # type: ignore[assignment]
            elif uniform(one) == 0 and (guarded := _forbidden(condition)) is not None:  # type: ignore[arg-type]
                inside.append(condition)  # type: ignore[arg-type]
                weights = other  # type: ignore[assignment]
            else:
                return None
        inside.append(weights)
    soft = weights.node
    if soft is None or not isinstance(soft.op, Softmax) or soft.op.axes != (weights.rank - 1,):
        return None
    value = soft.inputs[0]
    assert value is not None
    if guarded is not None:
        made = value.node
        if made is None or not isinstance(made.op, Maximum) or made.inputs[0] is not guarded or uniform(made.inputs[1]) != lowest(value.dtype):  # type: ignore[arg-type]
            return None
        inside.append(value)
        value = guarded
    return _scores(node, v, value, inside, dropout, cleared, guarded is not None)


def _forbidden(condition: Value | None) -> Value | None:
    """x of x == -inf."""
    made = None if condition is None else condition.node
    if made is None or not isinstance(made.op, Equal) or uniform(made.inputs[1]) != -math.inf:  # type: ignore[arg-type]
        return None
    return made.inputs[0]


def _scores(node: Node, v: Value, value: Value, inside: list[Value], dropout: float, cleared: Value | None, guarded: bool) -> Scores | None:
    """q @ k, multiplied with a number, and a mask of either kind."""
    scale, mask, blind = 1.0, None, "zeros"
    while True:
        inside.append(value)
        made = value.node
        if made is None:
            return None
        if (factor := scaled(made)) is not None:
            scale, value = scale * factor, data_of(made)
        elif isinstance(made.op, MatMul):
            break
        elif mask is None and scale == 1.0 and (read := _masked(made)) is not None:
            value, mask, lowest_score = read
            blind = "mean" if lowest_score > -math.inf else "none"
        else:
            return None
    q, k = made.inputs
    assert q is not None and k is not None
    whole = Scores(q, k, v, scale, node.outputs[0], key_turned=True, dropout=dropout, inside=tuple(inside))
    if mask is None or (guarded and blind != "none"):
        return whole if mask is None and cleared is None and not guarded else None
    if cleared is not None:
        if not _same(mask, cleared):
            return None
        blind = "zeros"
    elif guarded and blind == "none":
        blind = "zeros"
    elif blind == "none" and not (isinstance(mask.source, np.ndarray) and mask.source.any(-1).all()):
        return None  # a query that sees nothing gets no number
    return _with_mask(whole, mask, "zeros" if blind == "none" else blind)


def _masked(node: Node) -> tuple[Value, Allowed, float] | None:
    """The scores, the mask and the number that stands for what it forbids: chosen, or added."""
    if isinstance(node.op, Where):
        condition, scores, low = node.inputs
        number = None if low is None else uniform(low)
        limit = lowest(scores.dtype) if scores.dtype == np.float16 else REPLACES  # type: ignore[union-attr]
        if number is None or number > limit or not _is_part(low, scores):
            return None
        return scores, _allowed(condition), number  # type: ignore[return-value,arg-type]
    if isinstance(node.op, Add):
        for scores, other in (node.inputs, node.inputs[::-1]):
            numbers = _of_numbers(other, ABSORBS)  # type: ignore[arg-type]
            if numbers is not None and _is_part(other, scores):
                return scores, *numbers  # type: ignore[return-value]
    return None


def _is_part(other: Value | None, scores: Value | None) -> bool:
    """Whether broadcasting with a value leaves the shape of the scores."""
    return other.rank <= scores.rank  # type: ignore[union-attr]


def _same(mask: Allowed, value: Value) -> bool:
    """Whether a boolean value is this mask."""
    other = _allowed(value)
    if isinstance(mask.source, np.ndarray) or isinstance(other.source, np.ndarray):
        return isinstance(mask.source, np.ndarray) and isinstance(other.source, np.ndarray) and np.array_equal(mask.source, other.source)
    return mask.source is other.source and mask.negated == other.negated and mask.moves == other.moves


def _allowed(mask: Value | np.ndarray) -> Allowed:
    return Allowed(mask.array() if isinstance(mask, Value) and mask.is_constant else mask)


def _of_numbers(value: Value, limit: float) -> tuple[Allowed, float] | None:
    """The mask in numbers that are 0 or very low, and the low one."""
    if value.is_constant:
        array = value.array()
        low = float(array.min(initial=0))
        both = (array == 0) | (array == low)
        return (Allowed(array == 0), low) if both.all() and low <= limit else None
    moves: list[Node] = []
    while is_move(value.node):
        moves.insert(0, value.node)  # type: ignore[arg-type]
        value = value.node.inputs[0]  # type: ignore[union-attr,assignment]
    if value.node is None or not isinstance(value.node.op, Where):
        return None
    condition, *choices = value.node.inputs
    numbers = [uniform(c) for c in choices]  # type: ignore[arg-type]
    if None in numbers or max(numbers) != 0 or min(numbers) > limit or condition.shape != value.shape:  # type: ignore[union-attr]
        return None
    if condition.is_constant:  # type: ignore[union-attr]
        return None
    allowed = Allowed(condition, negated=numbers[0] != 0, moves=tuple(moves))  # type: ignore[arg-type]
    return allowed, min(numbers)


def _with_mask(whole: Scores, mask: Allowed, blind: str) -> Scores | None:
    """The attention under a mask; one that lets every query see what stands before it is named."""
    if whole.causal:
        return None
    if not mask.moves and not mask.negated:
        parts = [mask.source]
        if isinstance(mask.source, Value) and mask.source.node is not None and isinstance(mask.source.node.op, And):
            parts = list(mask.source.node.inputs)  # type: ignore[arg-type]
        others = [p for p in parts if not _is_triangle(p, whole)]
        if len(others) < len(parts):
            rest = _allowed(others[0]) if others else None
            return dataclasses.replace(whole, causal=True, mask=rest, blind=blind)
    return dataclasses.replace(whole, mask=mask, blind=blind)


def _is_triangle(mask: Any, whole: Scores) -> bool:
    """Whether a mask allows entries 0 to i to entry i, and no others."""
    if isinstance(mask, Value) and not mask.is_constant:
        if mask.node is None or not isinstance(mask.node.op, Cast):
            return False
        source = mask.node.inputs[0]
        made = None if source is None else source.node
        return made is not None and made.op == Triangle(upper=False, diagonal=0) and uniform(made.inputs[0]) == 1  # type: ignore[arg-type]
    array = mask if isinstance(mask, np.ndarray) else mask.array()
    lengths = (whole.q.shape[-2], whole.k.shape[-1 if whole.key_turned else -2])
    return array.ndim >= 2 and array.shape[-2:] == lengths and bool((array == np.tri(*lengths, dtype=bool)).all())  # type: ignore[arg-type]
