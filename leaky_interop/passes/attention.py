"""Finds attention: the operator itself, or the products and the softmax that it consists of."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from ..graph import Node, Rewrite, Value
from ..op import Op
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
    whole = Scores(q, k, v, node.op.scale, node.outputs[0], causal=node.op.causal)
    if mask is None:
        return whole
    if mask.dtype == bool:
        return _with_mask(whole, _allowed(mask), "zeros")
    numbers = _of_numbers(mask, ABSORBS)
    return None if numbers is None else _with_mask(whole, numbers[0], "zeros" if numbers[1] == -math.inf else "mean")


def _product(node: Node) -> Scores | None:
    """softmax(scores) @ v: the weights may be dropped in training, or cleared where nothing counts."""
    weights, v = node.inputs
    inside, dropout = [weights], 0.0
    cleared = guarded = None  # weights are zeros where the first is not True; where the second is -inf
    if (kept := _made(weights, Dropout)) is not None:
        dropout, (weights,) = weights.node.op.rate, kept
        inside.append(weights)
    if (choice := _made(weights, Where)) is not None:
        condition, one, other = choice
        forbidden = _made(condition, Equal)
        if uniform(other) == 0:
            cleared, weights = condition, one
        elif uniform(one) == 0 and forbidden is not None and uniform(forbidden[1]) == -math.inf:
            guarded, weights = forbidden[0], other
            inside.append(condition)
        else:
            return None
        inside.append(weights)
    soft = _made(weights, Softmax)
    if soft is None or weights.node.op.axes != (weights.rank - 1,):
        return None
    (value,) = soft
    if guarded is not None:
        raised = _made(value, Maximum)
        if raised is None or raised[0] is not guarded or uniform(raised[1]) != lowest(value.dtype):
            return None
        inside.append(value)
        value = guarded
    whole = _of_scores(node, v, value, inside)
    if whole is None:
        return None
    whole, mask, low = whole
    return _with_blind(dataclasses.replace(whole, dropout=dropout), mask, low, cleared, guarded is not None)


def _of_scores(node: Node, v: Any, value: Any, inside: list[Any]) -> tuple[Scores, Allowed | None, float] | None:
    """q @ k, multiplied with a number, under a mask of either kind; the mask, and the number that it puts or adds."""
    scale, mask, low = 1.0, None, 0.0
    while (product := _made(value, MatMul)) is None:
        inside.append(value)
        if (factor := scaled(value.node)) is not None:
            scale, value = scale * factor, data_of(value.node)
        elif mask is None and scale == 1.0 and (read := _masked(value)) is not None:
            value, mask, low = read
        else:
            return None
    q, k = product
    return Scores(q, k, v, scale, node.outputs[0], key_turned=True, inside=(*inside, value)), mask, low


def _with_blind(whole: Scores, mask: Allowed | None, low: float, cleared: Any, guarded: bool) -> Scores | None:
    """The attention under its mask, where it is told what a query that sees nothing gets."""
    if mask is None:
        return None if guarded or cleared is not None else whole
    if guarded:
        return _with_mask(whole, mask, "zeros") if low == -math.inf else None
    if cleared is not None:
        return _with_mask(whole, mask, "zeros") if _same(mask, _allowed(cleared)) else None
    if low == -math.inf:  # it gets no number
        shown = isinstance(mask.source, np.ndarray) and mask.source.any(-1).all()
        return _with_mask(whole, mask, "zeros") if shown else None
    return _with_mask(whole, mask, "mean")


def _made(value: Any, kind: type[Op]) -> tuple[Any, ...] | None:
    """The operands of the node that made a value, if it is of this kind."""
    made = value.node is not None and isinstance(value.node.op, kind)
    return value.node.inputs if made else None


def _masked(value: Any) -> tuple[Value, Allowed, float] | None:
    """The scores, the mask, and the number that stands for what it forbids, or is added to it."""
    if (choice := _made(value, Where)) is not None:
        condition, scores, low = choice
        number = uniform(low)
        limit = lowest(scores.dtype) if scores.dtype == np.float16 else REPLACES
        if number is None or number > limit or not condition.rank <= scores.rank == value.rank:
            return None
        return scores, _allowed(condition), number
    for scores, other in _both_ways(_made(value, Add)):
        numbers = _of_numbers(other, ABSORBS)
        if numbers is not None and scores.rank == value.rank:
            return scores, *numbers
    return None


def _both_ways(pair: tuple[Any, ...] | None) -> tuple[tuple[Any, ...], ...]:
    return () if pair is None else (pair, pair[::-1])


def _same(mask: Allowed, other: Allowed) -> bool:
    """Whether two masks are one."""
    if isinstance(mask.source, np.ndarray) or isinstance(other.source, np.ndarray):
        return (
            isinstance(mask.source, np.ndarray)
            and isinstance(other.source, np.ndarray)
            and np.array_equal(mask.source, other.source)
        )
    return mask.source is other.source and mask.negated == other.negated and mask.moves == other.moves


def _allowed(mask: Value | np.ndarray) -> Allowed:
    return Allowed(mask.array() if isinstance(mask, Value) and mask.is_constant else mask)


def _of_numbers(value: Any, limit: float) -> tuple[Allowed, float] | None:
    """The mask in numbers that are 0 or very low, and the low one."""
    if value.is_constant:
        array = value.array()
        low = float(array.min(initial=0))
        two = bool(((array == 0) | (array == low)).all())
        return (Allowed(array == 0), low) if two and low <= limit else None
    moves: list[Node] = []
    while is_move(value.node):
        moves.insert(0, value.node)
        value = data_of(value.node)
    choice = _made(value, Where)
    if choice is None or choice[0].is_constant or choice[0].shape != value.shape:
        return None
    numbers = [uniform(c) for c in choice[1:]]
    if None in numbers or max(numbers) != 0 or min(numbers) > limit:
        return None
    return Allowed(choice[0], negated=numbers[0] != 0, moves=tuple(moves)), min(numbers)


def _with_mask(whole: Scores, mask: Allowed, blind: str) -> Scores | None:
    """The attention under a mask; that no entry sees a later one is told apart from the rest of it."""
    if whole.causal:
        return None
    whole = dataclasses.replace(whole, mask=mask, blind=blind)
    if mask.moves or mask.negated:
        return whole
    both = None if isinstance(mask.source, np.ndarray) else _made(mask.source, And)
    others = [part for part in both or (mask.source,) if not _is_triangle(part, whole)]
    if len(others) == len(both or (mask.source,)):
        return whole
    return dataclasses.replace(whole, causal=True, mask=_allowed(others[0]) if others else None)


def _is_triangle(mask: Any, whole: Scores) -> bool:
    """Whether a mask allows entries 0 to i to entry i, and no others."""
    mask = _allowed(mask).source
    if isinstance(mask, np.ndarray):
        lengths = (whole.q.shape[-2], whole.k.shape[-1 if whole.key_turned else -2])
        return mask.ndim > 1 and mask.shape[-2:] == lengths and bool((mask == np.tri(*lengths, dtype=np.bool_)).all())
    source = _made(mask, Cast)
    made = None if source is None else source[0].node
    return made is not None and made.op == Triangle(upper=False, diagonal=0) and uniform(made.inputs[0]) == 1
