"""Folds slices into the convolution above: what a framework cannot say in the operator it says by cutting afterwards.

A transposed convolution whose ends are cut off has larger crops; a convolution of which every second place is kept has
larger strides. The folded operator keeps its name and computes the slice's value, at its anchor. No number changes.
"""

from __future__ import annotations

import dataclasses

from ..graph import Graph, Node, Rewrite, consumers, inherit
from ..op import Op
from ..ops.conv import Conv
from ..ops.conv_transpose import ConvTranspose
from ..ops.index import Slice
from ..sizes import Shape, agree


def fold_slices(graph: Graph) -> Graph:
    """Remove every Slice that the convolution which it alone reads can do itself."""
    users = consumers(graph)
    folds: dict[int, tuple[Op, Node]] = {}  # by convolution: the operator that does both, and the slice
    for node in graph.nodes:
        if isinstance(node.op, ConvTranspose | Conv):
            (reader, *others) = users.get(id(node.outputs[0]), [None])
            if reader is not None and not others and isinstance(reader.op, Slice):
                both = _cropped if isinstance(node.op, ConvTranspose) else _strided
                if (op := both(node.op, reader.op, node.outputs[0].shape)) is not None:  # type: ignore[arg-type]
                    folds[id(node)] = (op, reader)
    if not folds:
        return graph
    rewrite = Rewrite(graph)
    gone = {id(reader) for _, reader in folds.values()}
    for node in graph.nodes:
        if id(node) in folds:
            op, reader = folds[id(node)]
            (made,) = rewrite.emit(node, op, [rewrite.get(v) for v in node.inputs])
            inherit(made, reader.outputs[0])
            rewrite.put(reader.outputs[0], made)
        elif id(node) not in gone:
            rewrite.copy(node)
    return rewrite.finish()


def _cropped(op: ConvTranspose, cut: Slice, shape: Shape) -> Op | None:
    """The transposed convolution that crops what a slice cuts off the ends of its spatial axes."""
    crops = list(op.crops)
    for axis, start, stop, step in zip(cut.axes, cut.starts, cut.stops, cut.steps, strict=True):
        after = shape[axis] - stop
        if axis < 2 or step != 1 or not isinstance(start, int) or not isinstance(after, int):
            return None
        crops[axis - 2] = (crops[axis - 2][0] + start, crops[axis - 2][1] + after)
    return dataclasses.replace(op, crops=tuple(crops))


def _strided(op: Conv, cut: Slice, shape: Shape) -> Op | None:
    """The convolution that computes only the places that a slice keeps."""
    strides = list(op.strides)
    for axis, start, stop, step in zip(cut.axes, cut.starts, cut.stops, cut.steps, strict=True):
        if axis < 2 or start != 0 or not agree(stop, shape[axis]):
            return None
        strides[axis - 2] *= step
    return dataclasses.replace(op, strides=tuple(strides))
