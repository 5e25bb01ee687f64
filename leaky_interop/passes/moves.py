"""What a chain of reshapes, transposes and the like does to numbers: read off by moving the numbers of their places.

A chain only moves entries, so moving 0, 1, 2, ... through it says where each comes from. Open sizes are tried as small
numbers, twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from ..graph import Graph, Node, Value
from ..interpreter import measures
from ..op import Op
from ..ops.expand import Expand
from ..ops.gather import Gather
from ..ops.index import Select, Slice
from ..ops.join import Split
from ..ops.math import Div, Mul
from ..ops.noise import Dropout
from ..ops.repeat import Repeat
from ..ops.shape import Reshape
from ..ops.transpose import Transpose
from ..sizes import evaluate

MOVES: tuple[type[Op], ...] = (Reshape, Transpose, Select, Slice, Split, Gather, Expand, Repeat, Dropout)
LARGEST = 2**24  # entries; a chain over more is not followed
TRIED = (
    (3, 5, 7, 11, 13),
    (2, 7, 5, 3, 11),
)  # for open sizes: no two alike, so that no two axes can be taken for one another


def is_move(node: Node | None) -> bool:
    """Whether a node's results are entries of its first operand, at places that no data decides."""
    return (
        node is not None
        and isinstance(node.op, MOVES)
        and all(v is not None and v.is_constant for v in node.inputs[1:])
    )


def scaled(node: Node | None) -> float | None:
    """The number that a node multiplies its first operand with; None where it does something else."""
    if node is None or not isinstance(node.op, Mul | Div):
        return None
    x, factor = node.inputs
    if isinstance(node.op, Mul) and x is not None and x.is_constant:
        x, factor = factor, x
    if factor is None or not factor.is_constant or factor.array().size != 1 or x is None or factor.rank > x.rank:
        return None
    number = float(factor.array().reshape(()))
    return number if isinstance(node.op, Mul) else 1 / number if number else None


def data_of(node: Node) -> Value:
    """What a move moves, or what is multiplied with a number."""
    first, *rest = node.inputs
    assert first is not None
    return rest[0] if isinstance(node.op, Mul) and first.is_constant else first


def chain_to(value: Value, through: Callable[[Node | None], bool] = is_move) -> Iterator[Value]:
    """A value and those that it is moved from, the nearest first."""
    yield value
    while through(value.node):
        value = data_of(value.node)
        yield value


def tried_sizes(graph: Graph) -> list[dict[str, int]]:
    """Numbers for a graph's open sizes. None at all where it has too many, or a run alone tells them."""
    names = sorted(measures(graph))
    if len(names) > len(TRIED[0]) or any(name[0] == "?" for name in names):
        return []
    return [dict(zip(names, tried, strict=False)) for tried in TRIED]


def places(value: Value, sizes: Mapping[str, int]) -> np.ndarray | None:
    """0, 1, 2, ... in a value's shape; None where these are too many."""
    shape = evaluate(value.shape, sizes)
    count = math.prod(shape)
    return np.arange(count, dtype=np.int32).reshape(shape) if count <= LARGEST else None


def moved(array: np.ndarray, values: Iterable[Value], sizes: Mapping[str, int]) -> np.ndarray:
    """An array after the moves that make each value of the one before it; what is multiplied with a number stays in place."""
    for value in values:
        node = value.node
        if not is_move(node):  # multiplied with a number
            continue
        assert node is not None
        operands = (v.array() for v in node.inputs[1:] if v is not None)
        result = node.op.bound(dict(sizes)).reference(array, *operands)
        array = result[value.index] if isinstance(result, tuple) else result
    return array
