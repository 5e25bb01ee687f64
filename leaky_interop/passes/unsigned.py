"""Unsigned integers for a framework that stores them and does not compute with them: in int64, which holds or wraps them.

What is computed of 16 and 32 bits in 64 and cast back is the same number, for integers wrap around alike. Of 64 bits the
same holds where the sign has no say (sums, products, equality); an order is the order of the numbers shifted by 2^63.
Anything else in uint64 is left to be refused.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ..graph import Graph, Node, Rewrite, Value, inherit
from ..ops.cast import Cast
from ..ops.math import Add

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
        and ("uint64" not in kinds or name in (*WRAPPING, *ORDERED))
    )


def _in_int64(rewrite: Rewrite, node: Node, lacking: Collection[str]) -> None:
    def cast(value: Value, dtype: str) -> Value:
        return rewrite.emit(node, Cast(dtype=dtype), (value,))[0]

    def moved(value: Value) -> Value:
        return rewrite.emit(node, Add(), (value, rewrite.new.constant(SHIFT, np.int64)))[0]

    shifts = type(node.op).__name__ in ORDERED and any(v is not None and v.dtype == np.uint64 for v in node.inputs)
    operands = []
    for value in map(rewrite.get, node.inputs):
        if value is not None and value.dtype.name in lacking:
            value = cast(value, "int64")
            value = moved(value) if shifts else value
        operands.append(value)
    for old, new in zip(node.outputs, rewrite.emit(node, node.op, operands), strict=True):
        if old.dtype != new.dtype:
            new = cast(moved(new) if shifts else new, old.dtype.name)
        inherit(new, old)
        rewrite.put(old, new)
