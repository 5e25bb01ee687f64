"""Operators that only move, choose or compare what they are given, on text: as what they do to places in a list.

torch has no tensors of text, and needs none for these: a module (`control.OnText`) hands them the place of each text in a
sorted list of all, in int64, and reads the results in that list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...graph import Graph, Node, Value, label
from ...interpreter import settings
from ...kinds import element
from ...sizes import symbols

if TYPE_CHECKING:
    from .write import TorchBuilder

TEXT, PLACE = np.dtype(object), np.dtype(np.int64)


def has_text(node: Node) -> bool:
    """Whether a node takes or gives text."""
    return any(v is not None and element(v.dtype) == TEXT for v in (*node.inputs, *node.outputs))


def on_places(builder: TorchBuilder, node: Node) -> tuple[Graph, list[Any]]:
    """A graph of one node that does to places what the node does to texts, and the native values that it takes.

    Raises Refused where the texts are members of a sequence.
    """
    body, operands = Graph(), []

    def taken(value: Value | None) -> Value | None:
        if value is None or (value.const is not None and value.dtype != TEXT):
            return None if value is None else body.parameter(value.const)  # type: ignore[arg-type]
        operands.append(builder.tensor(value))
        return body.input(value.name or "text", value.shape, placed(value))

    def placed(value: Value) -> Any:
        if value.dtype.kind == "L":
            what, why = f"{type(node.op).__name__} of lists of text", "torch joins and cuts tensors"
            raise builder.refuse(what, why=why, instead="Keep that part in ONNX")
        return PLACE if value.dtype == TEXT else value.dtype

    made = Node(node.op, tuple(map(taken, node.inputs)), (), node.name, node.source)
    made.outputs = tuple(Value(body, "", v.shape, placed(v)) for v in node.outputs)
    told = {str(dim) for value in body.inputs for dim in value.shape}
    for name in sorted({name for part in settings(made) for name in symbols(part)} - told):
        taken(builder.sources[name][0])
    body.nodes, body.outputs = [made], list(made.outputs)
    body.structure = None if len(made.outputs) == 1 else tuple(range(len(made.outputs)))
    label(body)
    return body, operands
