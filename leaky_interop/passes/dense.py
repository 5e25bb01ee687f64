"""Gives a Dense the bias that is added behind it: ONNX writes a dense layer of more than two axes as MatMul and Add.

The layer keeps its name and computes the sum, at the sum's anchor. No number changes but for the order of additions.
"""

from __future__ import annotations

import math

from ..graph import Graph, Node, Rewrite, Value, consumers, inherit
from ..ops.dense import Dense
from ..ops.math import Add


def fold_bias(graph: Graph) -> Graph:
    """Remove every Add of one weight per output behind a Dense without bias that nothing else reads."""
    users = consumers(graph)
    folds: dict[int, tuple[Node, Value]] = {}  # by dense: the add, and what it adds
    for node in graph.nodes:
        if isinstance(node.op, Dense) and node.inputs[2] is None and len(users.get(id(node.outputs[0]), ())) == 1:
            (reader,) = users[id(node.outputs[0])]
            if reader is not None and isinstance(reader.op, Add) and (bias := _bias(node, reader)) is not None:
                folds[id(node)] = (reader, bias)
    if not folds:
        return graph
    rewrite = Rewrite(graph)
    gone = {id(reader) for reader, _ in folds.values()}
    for node in graph.nodes:
        if id(node) in folds:
            reader, bias = folds[id(node)]
            x, kernel, _ = (rewrite.get(v) for v in node.inputs)
            (made,) = rewrite.emit(node, node.op, (x, kernel, rewrite.get(bias)))
            inherit(made, reader.outputs[0])
            rewrite.put(reader.outputs[0], made)
        elif id(node) not in gone:
            rewrite.copy(node)
    return rewrite.finish()


def _bias(dense: Node, add: Node) -> Value | None:
    """What is added, as a vector of one number per output; None where it is anything else."""
    y, kernel = dense.outputs[0], dense.inputs[1]
    other = next((v for v in add.inputs if v is not y), None)
    if other is None or other.const is None or kernel is None or kernel.const is None or other.rank > y.rank:
        return None
    size = kernel.shape[0]
    if not other.rank or other.shape[-1] != size or math.prod(other.shape) != size or not other.const.name:  # type: ignore[arg-type]
        return None
    return other.reshape(size)
