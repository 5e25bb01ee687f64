"""Unsigned integers for a framework that stores them and does not compute with them: in int64, which holds or wraps them.

What is computed of 16 and 32 bits in 64 and cast back is the same number, for integers wrap around alike. Of 64 bits the
same holds where the sign has no say (sums, products, equality); an order is the order of the numbers shifted by 2^63; and
division and the shift to the right are made of such steps (BUILT). Anything else in uint64 is left to be refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from ..graph import Graph, Node, Rewrite, Value, inherit
from ..ops.cast import Cast
from ..ops.compare import GreaterOrEqual, Less, Where
from ..ops.logic import BitwiseAnd, BitwiseNot, LeftShift, RightShift
from ..ops.math import Add, Div, Mul, Sub

WRAPPING = (
    "Add",
    "Sub",
    "Mul",
    "Equal",
    "NotEqual",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "BitwiseNot",
    "LeftShift",
)
ORDERED = ("Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Maximum", "Minimum")
SHIFT = np.iinfo(np.int64).min  # adding it twice changes nothing

Emit = Callable[..., Value]  # (op, *operands): a new node's result; integers stand for int64 constants


def _shifted(emit: Emit, x: Any, count: Any) -> Value:
    """Down by `count` places without the copies of the sign, which are the highest `count` bits."""
    signs = emit(LeftShift(), emit(RightShift(), SHIFT, count), 1)
    return emit(BitwiseAnd(), emit(RightShift(), x, count), emit(BitwiseNot(), signs))


def _reaches(emit: Emit, x: Any, y: Any) -> Value:
    """Whether x >= y, unsigned."""
    return emit(GreaterOrEqual(), emit(Add(), x, SHIFT), emit(Add(), y, SHIFT))


def _quotient(emit: Emit, x: Any, y: Any) -> Value:
    """Half of x divided by y, doubled, is the quotient or one less (Warren, Hacker's Delight, section 9-3).

    A y of 2^63 and more goes into x once or not at all.
    """
    half = emit(LeftShift(), emit(Div(), _shifted(emit, x, 1), y), 1)
    rest = emit(Sub(), x, emit(Mul(), half, y))
    small = emit(Add(), half, emit(Cast(dtype="int64"), _reaches(emit, rest, y)))
    return emit(Where(), emit(Less(), y, 0), emit(Cast(dtype="int64"), _reaches(emit, x, y)), small)


def _rest(emit: Emit, x: Any, y: Any) -> Value:
    return emit(Sub(), x, emit(Mul(), _quotient(emit, x, y), y))


BUILT = {"RightShift": _shifted, "Div": _quotient, "FloorDiv": _quotient, "Mod": _rest, "Fmod": _rest}


def signed(graph: Graph, lacking: Collection[str]) -> Graph:
    """A graph that computes in int64 what it would compute in one of the dtypes `lacking`."""
    wanting = {id(node) for node in graph.nodes if _can_be_signed(node, lacking)}
    if not wanting:
        return graph
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        if id(node) in wanting:
            _in_int64(rewrite, node, lacking)
        else:
            rewrite.copy(node)
    return rewrite.finish()


def _can_be_signed(node: Node, lacking: Collection[str]) -> bool:
    kinds = {v.dtype.name for v in (*node.inputs, *node.outputs) if v is not None} & set(lacking)
    stated = hasattr(node.op, "dtype")  # an operator that names its result's type
    name = type(node.op).__name__
    return (
        bool(kinds)
        and not node.op.any_dtype
        and not stated
        and ("uint64" not in kinds or name in (*WRAPPING, *ORDERED, *BUILT))
    )


def _in_int64(rewrite: Rewrite, node: Node, lacking: Collection[str]) -> None:
    def cast(value: Value, dtype: str) -> Value:
        return rewrite.emit(node, Cast(dtype=dtype), (value,))[0]

    def moved(value: Value) -> Value:
        return rewrite.emit(node, Add(), (value, rewrite.new.constant(SHIFT, np.int64)))[0]

    def emit(op: Any, *values: Any) -> Value:
        held = [rewrite.new.constant(v, np.int64) if isinstance(v, int) else v for v in values]
        return rewrite.emit(node, op, held)[0]

    name = type(node.op).__name__
    wide = any(v is not None and v.dtype == np.uint64 for v in node.inputs)
    shifts = wide and name in ORDERED
    operands = []
    for value in map(rewrite.get, node.inputs):
        if value is not None and value.dtype.name in lacking:
            value = cast(value, "int64")
            value = moved(value) if shifts else value
        operands.append(value)
    made = [BUILT[name](emit, *operands)] if wide and name in BUILT else rewrite.emit(node, node.op, operands)
    for old, new in zip(node.outputs, made, strict=True):
        if old.dtype != new.dtype:
            new = cast(moved(new) if shifts else new, old.dtype.name)
        inherit(new, old)
        rewrite.put(old, new)
