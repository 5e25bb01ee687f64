"""TensorFlow's raw LeakyRelu operator, in a GraphDef or a SavedModel: `alpha`, a 32-bit attribute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .messages import lazily, parse
from .spelling import Found, Spelling, single

FLOAT = 1  # DT_FLOAT

# tensorflow/core/framework: graph.proto, node_def.proto, attr_value.proto, function.proto; protobuf: saved_model.proto
declared = lazily(
    "leaky_interop.tensorflow",
    {
        "AttrValue": {"type": (6, "int32"), "f": (4, "float")},
        "AttrEntry": {"key": (1, "string"), "value": (2, "AttrValue")},  # a map is a list of these
        "NodeDef": {
            "name": (1, "string"), "op": (2, "string"), "input": (3, "repeated string"), "attr": (5, "repeated AttrEntry"),
        },
        "Signature": {"name": (1, "string")},
        "FunctionDef": {"signature": (1, "Signature"), "node_def": (3, "repeated NodeDef")},
        "FunctionDefLibrary": {"function": (1, "repeated FunctionDef")},
        "VersionDef": {"producer": (1, "int32")},
        "GraphDef": {
            "node": (1, "repeated NodeDef"), "library": (2, "FunctionDefLibrary"), "versions": (4, "VersionDef"),
        },
        "MetaGraphDef": {"graph_def": (2, "GraphDef")},
        "SavedModel": {"saved_model_schema_version": (1, "int64"), "meta_graphs": (2, "repeated MetaGraphDef")},
    },
)  # fmt: skip


def read(spelling: Spelling, source: Any) -> list[Found]:
    """Every LeakyRelu of a GraphDef, functions included; of its bytes or of TensorFlow's own object."""
    content = source.SerializeToString() if hasattr(source, "SerializeToString") else source
    return list(_slopes(spelling, parse(declared()["GraphDef"], content, "GraphDef")))


def read_saved_model(spelling: Spelling, content: bytes) -> list[Found]:
    """Every LeakyRelu of a saved_model.pb."""
    model = parse(declared()["SavedModel"], content, "SavedModel")
    return [found for graph in model.meta_graphs for found in _slopes(spelling, graph.graph_def)]


def _slopes(spelling: Spelling, graph: Any) -> Iterator[Found]:
    places = [("graph", graph.node), *((f"function {f.signature.name}", f.node_def) for f in graph.library.function)]
    for place, nodes in places:
        for node in nodes:
            if node.op == "LeakyRelu":
                values = [a.value.f for a in node.attr if a.key == "alpha" and a.value.HasField("f")]
                yield spelling.judge(bool(values), values[-1] if values else None, name=node.name, place=place)


def write(spelling: Spelling, slope: float, name: str) -> bytes:
    """A GraphDef of a placeholder and the operator, on float32."""
    kinds = declared()
    graph = kinds["GraphDef"]()
    graph.versions.producer = 1
    for op, called, inputs, kind in (("Placeholder", "x", (), "dtype"), ("LeakyRelu", name, ("x",), "T")):
        node = graph.node.add(op=op, name=called, input=inputs)
        node.attr.add(key=kind).value.type = FLOAT
    node.attr.add(key="alpha").value.f = slope
    return graph.SerializeToString()


TENSORFLOW = Spelling(
    system="TensorFlow",
    api="LeakyRelu operator",
    parameter="alpha",
    default=0.2,
    held="float32",
    formula="x > 0 ? x : a*x",
    line='attr { key: "alpha" value { f: {slope} } }',
    number=single,
    source="tensorflow/core/ops/nn_ops.cc, tensorflow/core/kernels/relu_op_functor.h, 2.21",
    reader=read,
    writer=write,
)
