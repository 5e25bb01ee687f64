"""Places in an ONNX model where its runtime is known to compute something else than the model says."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...ort import outline

NOT_NEGATIVE = {
    "Abs", "Exp", "HardSigmoid", "Relu", "ReduceL1", "ReduceL2", "ReduceSumSquare", "Shape", "Sigmoid", "Size",
    "Softmax", "Softplus", "Sqrt",
}  # fmt: skip
KEEPS_SIGN = {
    "AveragePool", "Cast", "Concat", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GlobalAveragePool",
    "GlobalMaxPool", "Identity", "MaxPool", "Pad", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
}  # fmt: skip
FIRST_ONLY = {"Expand", "Gather", "Pad", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Unsqueeze"}  # of their inputs


def hazards(model: Any) -> list[str]:
    """Each in a sentence."""
    graph = outline(model).graph
    made = {output: node for node in graph.node for output in node.output}
    constants = {t.name: t for t in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = node.attribute[0].t
    found = []
    for pool in graph.node:
        pad = made.get(pool.input[0]) if pool.op_type == "MaxPool" else None
        if pad is None or pad.op_type != "Pad" or not _pads_zeros(pad, constants):
            continue
        if _may_be_negative(pad.input[0], made):
            before, after = (repr(n.name or n.output[0]) for n in (pad, pool))
            found.append(
                f"Pad {before} puts zeros directly before MaxPool {after}: onnxruntime with its default optimisations "
                "takes them for -infinity, so where values are negative its results differ from the model's"
            )
    return found


def _pads_zeros(pad: Any, constants: dict[str, Any]) -> bool:
    """Whether a Pad adds zeros; what it computes while it runs may be anything."""
    settings = {a.name: helper.get_attribute_value(a) for a in pad.attribute}
    if settings.get("mode", b"constant") != b"constant":
        return False
    value: Any = settings.get("value", 0.0)
    if len(pad.input) > 2 and pad.input[2]:
        value = _content(constants.get(pad.input[2]), 0.0)
    pads = settings.get("pads", settings.get("paddings"))
    if pads is None:
        pads = _content(constants.get(pad.input[1]) if len(pad.input) > 1 else None, 1)
    return not np.any(value) and bool(np.any(pads))


def _content(tensor: onnx.TensorProto | None, unknown: Any) -> Any:
    large = tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL
    return unknown if large else numpy_helper.to_array(tensor)


def _may_be_negative(name: str, made: dict[str, Any]) -> bool:
    """Whether a value can be negative, as far as the operators before it tell."""
    waiting, seen = [name], set()
    while waiting:
        name = waiting.pop()
        node = made.get(name)
        if name in seen or (node is not None and node.op_type in NOT_NEGATIVE):
            continue
        seen.add(name)
        if node is None or node.op_type not in KEEPS_SIGN:
            return True
        waiting += list(node.input)[:1] if node.op_type in FIRST_ONLY else list(node.input)
    return False
