"""ONNX: a LeakyRelu node's `alpha`, a 32-bit attribute since the first operator set."""

from __future__ import annotations

from typing import Any

from ..errors import Usage
from .spelling import Found, Spelling, single

OPSET = 18  # onnxruntime runs LeakyRelu of float64 up to here


def read(spelling: Spelling, source: Any) -> list[Found]:
    """Every LeakyRelu of a ModelProto (or its bytes), bodies of If and Loop and functions included."""
    if isinstance(source, bytes | bytearray):
        import onnx
        from google.protobuf.message import DecodeError

        try:
            source = onnx.load_from_string(bytes(source))
        except DecodeError:
            raise Usage("the bytes are no ONNX model") from None
    bodies = [("graph", source.graph.node), *((f"function {f.name}", f.node) for f in source.functions)]
    found = []
    while bodies:
        place, nodes = bodies.pop(0)
        for index, node in enumerate(nodes):
            for attribute in node.attribute:
                graphs = [attribute.g, *attribute.graphs] if attribute.HasField("g") else attribute.graphs
                bodies += [(f"{attribute.name} of {node.name or index}", graph.node) for graph in graphs]
            if node.op_type == "LeakyRelu" and node.domain in ("", "ai.onnx"):
                alpha = next((a for a in node.attribute if a.name == "alpha"), None)
                slope = None if alpha is None or alpha.ref_attr_name else alpha.f
                note = f"the function's attribute {alpha.ref_attr_name}" if alpha is not None and slope is None else ""
                name = node.name or (node.output[0] if node.output else "")
                found.append(
                    spelling.judge(alpha is not None, slope, name=name, place=f"{place}, node {index}", note=note)
                )
    return found


def write(spelling: Spelling, slope: float, name: str) -> Any:
    """A model of the one node, on float32."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(called, TensorProto.FLOAT, ["size"]) for called in ("x", "y"))
    node = helper.make_node("LeakyRelu", ["x"], ["y"], name=name, alpha=slope)
    graph = helper.make_graph([node], "network", [x], [y])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)


ONNX = Spelling(
    system="ONNX",
    api="LeakyRelu",
    parameter="alpha",
    default=0.01,
    held="float32",
    formula="x < 0 ? a*x : x",
    line="alpha = {slope}",
    number=single,
    source="onnx.defs, operator sets 1, 6 and 16",
    reader=read,
    writer=write,
)
