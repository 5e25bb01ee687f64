"""ONNX models with one activation, what onnxruntime computes, and what a model is made of."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SPELLINGS = ["LeakyRelu", "PRelu"]
DEFAULTS = {"LeakyRelu": float(np.float32(0.01)), "PRelu": 0.0}
OPSET = 16
KINDS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def made(job, n):
    """A model of one node; its first axis is open."""
    kind = KINDS[job["dtype"]]
    weights = []
    if job["spelling"] == "PRelu":
        slope = 0.0 if job["slope"] is None else job["slope"]
        weights = [numpy_helper.from_array(np.array([slope], job["dtype"]), "slope")]
        node = helper.make_node("PRelu", ["x", "slope"], ["y"], name="act")
    else:
        given = {} if job["slope"] is None else {"alpha": float(np.float32(job["slope"]))}
        node = helper.make_node("LeakyRelu", ["x"], ["y"], name="act", **given)
    ports = [helper.make_tensor_value_info(name, kind, ["batch", n]) for name in ("x", "y")]
    graph = helper.make_graph([node], "one", ports[:1], ports[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def run(model, x):
    """What onnxruntime computes, its optimisations off."""
    if not isinstance(model, onnx.ModelProto):
        model = onnx.load(str(model))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x[None]})[0][0]


def form(model):
    """The operators of a model, in order."""
    if not isinstance(model, onnx.ModelProto):
        model = onnx.load(str(model))
    return " ".join(n.op_type for n in model.graph.node if n.op_type not in ("Identity", "Constant"))
