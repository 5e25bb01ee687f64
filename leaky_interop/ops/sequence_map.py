"""SequenceMap of ONNX: a Loop over the first sequence."""

import numpy as np

from ..op import imports, kinds
from .control import Loop
from .sequence import (
    LENGTH,
    SequenceAt,
    SequenceInsert,
    fixed,
    known_rank,
    listed,
    opened,
    sequence_length_from_onnx,
)  # fmt: skip


@imports("onnx", "SequenceMap")
def sequence_map_from_onnx(node, first, *others):
    """A Loop over the first sequence; what the body gives goes into sequences."""
    known_rank(node, first)
    operands = (first, *others)
    given_kinds = []
    for index, value in enumerate(operands):
        if isinstance(value.dtype, kinds.Sequence):
            known_rank(node, value)
            given_kinds.append((opened(value.dtype.shape, f"{node.label}_{index}"), value.dtype.element))
        else:
            given_kinds.append((value.shape, value.dtype))
    (body,), captured = node.closed(node.read_body(node.body, given_kinds))
    results = [listed(node.graph, v.dtype, ()) for v in body.outputs]
    full = [kinds.Sequence(v.dtype, fixed(v.shape)) for v in body.outputs]

    def round_(step, going, *values):
        gathered, given, inner = values[: len(full)], values[len(full) : len(full) + len(operands)], values[len(full) + len(operands) :]
        places = [SequenceAt(label=f"{node.label}_{i}")(v, step) if isinstance(v.dtype, kinds.Sequence) else v for i, v in enumerate(given)]
        made = node.applied(body, (*places, *inner))
        return (going, *(SequenceInsert()(s, m) for s, m in zip(gathered, made, strict=True)))

    whole = node.composed(
        [((), LENGTH), ((), np.dtype(bool)), *(((), kind) for kind in full)], [*operands, *captured], round_
    )
    loop = Loop(label=node.label, carried=len(full), body=whole)
    length = sequence_length_from_onnx(node, first)
    return loop(length, node.graph.constant(True), *results, *operands, *captured)
