"""The reference evaluator of the package onnx: its own operators, and the function bodies of the schemas."""

import onnx
from one_node import onnx_model
from onnx import helper
from onnx.reference import ReferenceEvaluator


def describe():
    return {
        "name": "onnx_reference",
        "version": onnx.__version__,
        "variants": ["operator", "function"],
        "dtypes": ["float16", "bfloat16", "float32", "float64"],
        "operators": ["leaky_relu", "prelu"],
        "placements": ["alone", "conv", "max_pool", "quantised"],
        "default": 0.01,
        "held": {"float16": "type", "bfloat16": "type", "float32": "float32", "float64": "float32"},
        "gradients": False,
    }


def run(job, arrays):
    opset = 21 if job["placement"] == "quantised" else 16  # it has DequantizeLinear from 19 on only
    model = onnx_model(job, arrays, opset)
    if job["variant"] == "function":
        replace(model.graph, "LeakyRelu" if job["operator"] == "leaky_relu" else "PRelu")
    return {"y": ReferenceEvaluator(model).run(None, {"x": arrays["x"]})[0]}


def replace(graph, kind):
    """Put the function body of opset 16 in the place of the node of this kind."""
    place, node = next((i, n) for i, n in enumerate(graph.node) if n.op_type == kind)
    schema = onnx.defs.get_schema(kind, 16)
    body = schema.function_body
    inner = dict(zip((*body.input, *body.output), (*node.input, *node.output), strict=True))
    given = {a.name: a for a in node.attribute}
    for name, attribute in schema.attributes.items():
        if name not in given and attribute.default_value.name:
            given[name] = attribute.default_value
    made = []
    for each in body.node:
        copy = helper.make_node(
            each.op_type,
            [inner.get(i, f"body_{i}") for i in each.input],
            [inner.get(o, f"body_{o}") for o in each.output],
        )
        for attribute in each.attribute:
            if not attribute.ref_attr_name:
                copy.attribute.append(attribute)
            elif attribute.ref_attr_name in given:
                value = helper.get_attribute_value(given[attribute.ref_attr_name])
                copy.attribute.append(helper.make_attribute(attribute.name, value))
        made.append(copy)
    nodes = [*graph.node[:place], *made, *graph.node[place + 1 :]]
    del graph.node[:]
    graph.node.extend(nodes)
