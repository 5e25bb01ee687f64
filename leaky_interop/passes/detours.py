"""Takes casts away that only lead an operator through a wider dtype: what an ONNX file needs for bfloat16.

Elsewhere such casts are the user's own, and stay.

float16 and bfloat16 are defined as float32, rounded once. So `Cast(float32) -> operator -> Cast(bfloat16)` is the
operator in bfloat16, and no number changes.
"""

from __future__ import annotations

import numpy as np

from ..graph import Graph, Node, Rewrite, Value, consumers, inherit
from ..ops.cast import Cast


def straighten(graph: Graph) -> Graph:
    """The graph with every operator in the narrow dtype that its operands come from and its results go to."""
    if graph.framework != "onnx":
        return graph
    users = consumers(graph)
    dtypes = {id(node): dtype for node in graph.nodes if (dtype := _narrow(node, users)) is not None}
    if not dtypes:
        return graph
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        if id(node) not in dtypes:
            rewrite.copy(node)
            continue
        operands = [_before_cast(rewrite, v, dtypes[id(node)]) for v in node.inputs]
        for old, new in zip(node.outputs, rewrite.emit(node, node.op, operands), strict=True):
            if new.dtype == old.dtype:
                inherit(new, old)
                rewrite.put(old, new)
                continue
            for user in users[id(old)]:
                inherit(new, user.outputs[0])
            (wide,) = rewrite.emit(node, Cast(dtype=old.dtype.name), (new,), name="")
            rewrite.put(old, wide)
    return _without_round_trips(rewrite.finish())


def _narrow(node: Node, users: dict[int, list[Node]]) -> np.dtype | None:
    """The dtype that a node's operands were cast from, if all results of the node are cast back to it."""
    if isinstance(node.op, Cast):
        return None
    found = {_cast_from(v) for v in node.inputs if v is not None and v.dtype == np.float32 and not v.is_constant}
    dtype = found.pop() if len(found) == 1 else None
    if (
        dtype is None
        or dtype.itemsize > 2
        or any(v is not None and v.is_constant and not _holds(dtype, v) for v in node.inputs)
    ):
        return None
    for value in node.outputs:
        if value.dtype.kind not in "fV":
            continue
        back = users.get(id(value), [None])
        if any(n is None or not isinstance(n.op, Cast) or n.outputs[0].dtype != dtype for n in back):
            return None
    return dtype


def _cast_from(value: Value) -> np.dtype | None:
    cast = value.node
    return cast.inputs[0].dtype if cast is not None and isinstance(cast.op, Cast) else None  # type: ignore[union-attr]


def _holds(dtype: np.dtype, value: Value) -> bool:
    """Whether a dtype holds a constant's numbers exactly."""
    array = value.array()
    return array.dtype != np.float32 or np.array_equal(array.astype(dtype).astype(np.float32), array, equal_nan=True)


def _before_cast(rewrite: Rewrite, value: Value | None, dtype: np.dtype) -> Value | None:
    if value is None or value.dtype != np.float32:
        return rewrite.get(value)
    if value.is_constant:
        return rewrite.new.constant(value.array().astype(dtype))
    return rewrite.get(value.node.inputs[0])  # type: ignore[union-attr]


def _without_round_trips(graph: Graph) -> Graph:
    """Casts to a wider dtype and straight back removed."""
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        inner = node.inputs[0].node if isinstance(node.op, Cast) else None  # type: ignore[union-attr]
        if inner is not None and isinstance(inner.op, Cast):
            source = inner.inputs[0]
            widens = inner.outputs[0].dtype == np.float32 and source.dtype.kind in "fV" and source.dtype.itemsize == 2  # type: ignore[union-attr]
            if widens and source.dtype == node.outputs[0].dtype:  # type: ignore[union-attr]
                rewrite.put(node.outputs[0], rewrite.get(source))  # type: ignore[arg-type]
                continue
        rewrite.copy(node)
    return rewrite.finish()
