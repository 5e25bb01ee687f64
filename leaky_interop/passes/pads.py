"""Folds padding into the operator that alone reads it: frameworks that pad only evenly write an uneven pad beside it.

A convolution and a mean take zeros (in the mean they count), a maximum takes what never wins: the lowest number, and
zeros around what a Relu made. Other zeros stay where they are: they do win over negative numbers. The padded value is
gone afterwards, and with it its anchor; the folded operator keeps its own. Nothing else moves, and no number changes.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from ..graph import Graph, Node, Rewrite, consumers, inherit
from ..op import Op
from ..ops.average_pool import AveragePool
from ..ops.conv import Conv
from ..ops.pad import Pad
from ..ops.pool import MaxPool, lowest, zeros_lose
from ..ops.shape import Reshape
from ..ops.transpose import Transpose
from ..ops.window import Pads


def fold_pads(graph: Graph) -> Graph:
    """Remove every Pad whose elements its only reader can add itself, and the reshapes around one that hide it."""
    graph = _uncovered(graph)
    users = consumers(graph)
    pads: dict[int, Pads] = {}  # by reader: what it takes over
    between: dict[int, Node] = {}  # the pads that go, and the transposes that then move unpadded data
    for node in graph.nodes:
        if isinstance(node.op, Conv | AveragePool | MaxPool):
            total, passed = _above(node, users)
            if passed:
                pads[id(node)] = total
                between.update((id(n), n) for n in passed)
    if not pads:
        return graph
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        if id(node) in pads:
            rewrite.copy(node, _padded(node.op, pads[id(node)]))
        elif id(node) not in between:
            rewrite.copy(node)
        elif isinstance(node.op, Pad):
            rewrite.put(node.outputs[0], rewrite.get(node.inputs[0]))  # type: ignore[arg-type]
        else:
            rewrite.put(node.outputs[0], *rewrite.emit(node, node.op, (rewrite.get(node.inputs[0]),)))
    return rewrite.finish()


def _above(node: Node, users: dict[int, list[Any]]) -> tuple[Pads, list[Node]]:
    """The pads that an operator can take over from those above it, and the nodes down from the topmost of them."""
    value, reader, passed, folded = node.inputs[0], node, list[Node](), list[Node]()
    assert value is not None
    axes = tuple(range(value.rank))  # where each axis of the operator's data stands in the value at hand
    total: Pads = ((0, 0),) * value.rank
    while (above := value.node) is not None and users[id(value)] == [reader]:
        if isinstance(above.op, Transpose):
            axes = tuple(above.op.perm[a] for a in axes)
        elif isinstance(above.op, Pad):
            pads = tuple(above.op.pads[a] for a in axes)
            if pads[:2] != ((0, 0), (0, 0)) or not _takes(node.op, above, _sum(total, pads)[2:]):
                break
            total = _sum(total, pads)
            folded = [*passed, above]
        else:
            break
        passed.append(above)
        reader, value = above, above.inputs[0]
        assert value is not None
    return total[2:], folded


def _takes(op: Op, pad: Node, total: Pads) -> bool:
    """Whether the elements that a Pad adds are as good as the ones that this operator adds itself, `total` in all."""
    kind, x = pad.op, pad.inputs[0]
    assert isinstance(kind, Pad) and x is not None
    zeros = kind.value == 0 and math.copysign(1, kind.value) > 0  # a mean of -0.0 is not one of 0.0
    if kind.mode != "constant":
        return False
    if isinstance(op, MaxPool):
        return kind.value == lowest(x.dtype) or (zeros and zeros_lose(op, x, _sum(op.pads, total)))
    return zeros


def _padded(op: Op, pads: Pads) -> Op:
    changes = {"pads": _sum(op.pads, pads)}  # type: ignore[attr-defined]
    if isinstance(op, AveragePool):
        changes["counted"] = _sum(op.counted, pads)
    return dataclasses.replace(op, **changes)  # type: ignore[type-var]


def _sum(first: Pads, second: Pads) -> Pads:
    return tuple((a + c, b + d) for (a, b), (c, d) in zip(first, second, strict=True))


def _uncovered(graph: Graph) -> Graph:
    """A Pad between reshapes that add an axis in front and drop it again, as a Pad of the data itself.

    ONNX models are written so where a max pool follows: see `pad_to_onnx`.
    """
    users = consumers(graph)
    covered: dict[int, tuple[Node, Node]] = {}  # by pad: the reshapes around it
    for node in graph.nodes:
        before = node.inputs[0].node if isinstance(node.op, Pad) and node.inputs[0] is not None else None
        after = users.get(id(node.outputs[0]), [])
        if before is None or len(after) != 1 or after[0] is None or users[id(before.outputs[0])] != [node]:
            continue
        if isinstance(before.op, Reshape) and isinstance(after[0].op, Reshape):
            shape, result = before.inputs[0].shape, after[0].op.shape  # type: ignore[union-attr]
            if before.op.shape == (1, *shape) and node.outputs[0].shape == (1, *result):
                covered[id(node)] = (before, after[0])
    if not covered:
        return graph
    rewrite = Rewrite(graph)
    gone = {id(n) for pair in covered.values() for n in pair}
    for node in graph.nodes:
        if id(node) in covered:
            before, last = covered[id(node)]
            op = dataclasses.replace(node.op, pads=node.op.pads[1:])  # type: ignore[attr-defined,type-var]
            (made,) = rewrite.emit(node, op, (rewrite.get(before.inputs[0]),), name=last.name)  # which bears the layer's
            inherit(made, last.outputs[0])
            rewrite.put(last.outputs[0], made)
        elif id(node) not in gone:
            rewrite.copy(node)
    return rewrite.finish()
