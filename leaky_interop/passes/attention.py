"""Finds attention: the operator itself, or the products and the softmax that it consists of.

    scores = q @ k.T * scale; y = softmax(scores) @ v
    y = softmax(scores + numbers) @ v
    y = softmax(where(mask, scores, low)) @ v
    y = where(mask, softmax(where(mask, scores, low)), 0) @ v: a query that sees nothing gets zeros
    y = where(scores == -inf, 0, softmax(max(scores, lowest))) @ v: so does one whose scores are all -inf

A number that q or k are multiplied with before their product stays where it is: what a float16 holds depends on it.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..graph import Graph, Node, Rewrite, Value, consumers, inherit
from ..numeric import shortest
from ..op import Op, agree
from ..ops.attention import Attention, lowest, may_forbid, swapped
from ..ops.bounds import Clip
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

    mask: what is allowed. added: numbers in its place. key_turned: the last two axes of k have changed places.
    blind: what a query that sees nothing gets.
    """

    q: Value
    k: Value
    v: Value
    scale: float
    result: Value
    mask: Allowed | None = None
    added: Value | None = None
    key_turned: bool = False
    causal: bool = False
    blind: str = "zeros"
    dropout: float = 0.0
    inside: tuple[Value, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Pieces:
    """Attention in other operators; k has its last two axes turned.

    allowed: where it is not True, scores are `low`. added: numbers that are added to scores. cleared: where it is not True,
    weights are zeros. guarded: so are the weights of scores of -inf. inside: the values between the operands and the result.
    """

    q: Value
    k: Value
    v: Value
    scale: float
    result: Value
    allowed: Allowed | None
    low: float
    added: Value | None
    cleared: Allowed | None
    guarded: bool
    dropout: float
    inside: tuple[Value, ...]


# --- the operator -----------------------------------------------------------------------------------------------------


def recognise_attention(graph: Graph) -> Graph:
    """Replace attention in other operators by the operator, where it gives the same and nothing else reads what is inside."""
    users = consumers(graph)
    found = {id(n): whole for n in graph.nodes if (whole := _as_operator(n, users)) is not None}
    if not found:
        return graph
    taken = {node.name for node in graph.nodes}
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        if (whole := found.get(id(node))) is None:
            rewrite.copy(node)
            continue
        rewrite.new.source, rewrite.new.left_out = node.source, node.left_out
        q, k, v = (rewrite.get(x) for x in (whole.q, whole.k, whole.v))
        assert k is not None
        mask = rewrite.get(whole.added) if whole.mask is None else whole.mask.emitted(rewrite, node)
        operands = (q, swapped(k) if whole.key_turned else k, v, mask)
        scale = whole.scale if k.dtype == np.float64 else shortest(whole.scale)
        try:
            op = Attention(scale=scale, causal=whole.causal)
            (made,) = rewrite.emit(node, op, operands, name=_name(node, whole, taken))
        except ValueError:  # operands that broadcast against each other
            rewrite.copy(node)
            continue
        inherit(made, node.outputs[0])
        rewrite.put(node.outputs[0], made)
    return rewrite.finish()


def _as_operator(node: Node, users: Mapping[int, list[Any]]) -> Scores | None:
    """The attention that a node completes, with a mask that the operator takes, where it may be replaced."""
    if isinstance(node.op, Attention):
        found = _operator(node)
        return found if found is not None and found.causal and not node.op.causal and found.mask is None else None
    pieces = _pieces(node)
    if pieces is None or pieces.dropout or not closed(pieces.inside, pieces.result, users):
        return None
    whole = Scores(pieces.q, pieces.k, pieces.v, pieces.scale, pieces.result, key_turned=True, inside=pieces.inside)
    mask, added, cleared = pieces.allowed, pieces.added, pieces.cleared
    if cleared is not None and (mask is None or not _same(mask, cleared)):
        return None
    if added is not None:
        numbers = _of_numbers(added, ABSORBS)
        if numbers is not None and _is_triangle(numbers[0].source, whole):
            return dataclasses.replace(whole, causal=True)
        return dataclasses.replace(whole, added=added) if pieces.guarded or not may_forbid(added) else None
    if mask is None:
        return None if pieces.guarded else whole
    if not mask.negated and _is_triangle(mask.source, whole):
        return dataclasses.replace(whole, causal=True)
    # a query that sees nothing gets zeros, or there is none
    sure = pieces.low == -math.inf if pieces.guarded else cleared is not None or _shows_all(mask)
    return dataclasses.replace(whole, mask=mask) if sure else None


def _name(node: Node, whole: Scores, taken: set[str]) -> str:
    """The layer that all pieces are in, unless they are named after one of them, or something else has that name."""
    names = [v.node.name for v in whole.inside if v.node is not None and v.node.name]
    layer = scope([name.rpartition(".")[0] for name in (node.name, *names)])
    if not layer or layer in taken or all(name.startswith(node.name) for name in names):
        return node.name
    taken.add(layer)
    return layer


def scope(names: Iterable[str]) -> str:
    """What dotted names have in common from the start."""
    common = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*(n.split(".") for n in names), strict=False))
    return ".".join(parts[0] for parts in common)


def closed(inside: Iterable[Value], result: Value, users: Mapping[int, list[Any]]) -> bool:
    """Whether the values inside are read inside alone."""
    inside = tuple(inside)
    nodes = {id(v.node) for v in (*inside, result)}
    values = (v for value in inside for v in value.node.outputs)  # type: ignore[union-attr]
    return all(reader is not None and id(reader) in nodes for v in values for reader in users.get(id(v), []))


# --- what is found ----------------------------------------------------------------------------------------------------


def found_attention(node: Node) -> Scores | None:
    """The attention whose result a node computes, under a mask of booleans."""
    if isinstance(node.op, Attention):
        return _operator(node)
    pieces = _pieces(node)
    if pieces is None:
        return None
    mask, low = pieces.allowed, pieces.low
    if pieces.added is not None:
        numbers = _of_numbers(pieces.added, ABSORBS)
        if numbers is None:
            return None
        mask, low = numbers
    whole = Scores(
        pieces.q, pieces.k, pieces.v, pieces.scale, pieces.result, key_turned=True, dropout=pieces.dropout, inside=pieces.inside
    )  # fmt: skip
    return _with_blind(whole, mask, low, pieces.cleared, pieces.guarded)


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


def _pieces(node: Node) -> Pieces | None:
    """softmax(scores) @ v: the weights may be dropped in training, or cleared where nothing counts."""
    if not isinstance(node.op, MatMul):
        return None
    weights: Any
    v: Any
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
            cleared, weights = _allowed(condition), one
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
        raised = _made(value, Clip)
        if raised != (guarded,) or value.node.op != Clip(minimum=lowest(value.dtype), maximum=None):
            return None
        inside.append(value)
        value = guarded
    for scores, allowed, low, added in _masks(value):
        if (product := _product(scores)) is not None:
            q, k, scale, between = product
            inside += [value] if scores is not value else []
            return Pieces(
                q, k, v, scale, node.outputs[0], allowed, low, added, cleared, guarded is not None, dropout, (*inside, *between)
            )  # fmt: skip
    return None


def _product(value: Any) -> tuple[Value, Value, float, list[Value]] | None:
    """q, k and the number that their product is multiplied with; the values from the product on."""
    scale, between = 1.0, [value]
    while (operands := _made(value, MatMul)) is None:
        factor = scaled(value.node)
        if factor is None or not math.isfinite(factor):
            return None
        scale, value = scale * factor, data_of(value.node)
        between.append(value)
    return *operands, scale, between


def _with_blind(
    whole: Scores, mask: Allowed | None, low: float, cleared: Allowed | None, guarded: bool
) -> Scores | None:
    """The attention under its mask, where it is told what a query that sees nothing gets."""
    if mask is None:
        return None if guarded or cleared is not None else whole
    if guarded:
        return _with_mask(whole, mask, "zeros") if low == -math.inf else None
    if cleared is not None:
        return _with_mask(whole, mask, "zeros") if _same(mask, cleared) else None
    if low == -math.inf:  # it gets no number
        return _with_mask(whole, mask, "zeros") if _shows_all(mask) else None
    return _with_mask(whole, mask, "mean")


def _made(value: Any, kind: type[Op]) -> tuple[Any, ...] | None:
    """The operands of the node that made a value, if it is of this kind."""
    made = value.node is not None and isinstance(value.node.op, kind)
    return value.node.inputs if made else None


def _masks(value: Any) -> Iterator[tuple[Value, Allowed | None, float, Value | None]]:
    """Scores and the mask over them, in every way to read a value: what is allowed and the number elsewhere, or what is added."""
    yield value, None, 0.0, None
    if (choice := _made(value, Where)) is not None:
        condition, *sides = choice
        limit = lowest(value.dtype) if value.dtype == np.float16 else REPLACES
        for (scores, low), allowed in zip(_both_ways(tuple(sides)), (_allowed(condition), _allowed(condition).negation()), strict=True):
            number = uniform(low)
            if number is not None and number <= limit and condition.rank <= scores.rank == value.rank:
                yield scores, allowed, number, None
    for scores, other in _both_ways(_made(value, Add)):
        if scores.rank == value.rank:
            yield scores, None, 0.0, other


def _both_ways(pair: tuple[Any, ...] | None) -> tuple[tuple[Any, ...], ...]:
    return () if pair is None else (pair, pair[::-1])


def _shows_all(mask: Allowed) -> bool:
    """Whether a mask is known to allow something in every row."""
    return isinstance(mask.source, np.ndarray) and bool(mask.source.any(-1).all())


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
    lengths = (whole.q.shape[-2], whole.k.shape[-1 if whole.key_turned else -2])
    if len(mask.shape) < 2 or not agree(mask.shape[-2:], lengths):
        return False
    if isinstance(mask, np.ndarray):
        return bool((mask == np.tri(*mask.shape[-2:], dtype=np.bool_)).all())
    source = _made(mask, Cast)
    made = None if source is None else source[0].node
    return made is not None and made.op == Triangle(upper=False, diagonal=0) and uniform(made.inputs[0]) == 1
