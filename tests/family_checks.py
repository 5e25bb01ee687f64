"""What every reading of a native spelling must stand: shared by the tests of operator families.

The source is run by its own framework, its graph by the references, and every conversion by its target; all must agree
within the limit that the graph's own operators allow.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.graph import Graph
from leaky_interop.interpreter import bind
from leaky_interop.judging import network_limits
from leaky_interop.numeric import compare, exact_limit

ALL = ("keras", "torch", "onnx")


def close(graph: Graph, arrays, expected, received, where: str) -> None:
    """Outputs agree within what the operators' own bounds carry to the end."""
    limits = network_limits(graph, list(arrays), bind((v.shape for v in graph.inputs), arrays))
    for value, e, r in zip(graph.outputs, expected, received, strict=True):
        bound = limits.get(id(value))
        problem = compare(e, r, bound.limit(np.asarray(e)) if bound else exact_limit(e))
        assert not isinstance(problem, str), f"{where}: {problem}\n{graph}"
        assert problem.ratio <= 1, f"{where}: {problem}\n{graph}"


def check(model, *arrays, to=ALL, given=None, runs=True, opset=None, **options) -> Graph:
    """Read a model, compare its references with its own framework, convert it and compare every target.

    given: what the model should give, where its framework does not run it. Returns the graph.
    """
    graph = li.load(model, tuple(arrays), **options)
    source = given if given is not None else graph.program.whole(list(arrays))
    close(graph, arrays, source, graph.run(*arrays), "as it is read")
    for framework in to:
        conversion = transfer_graph(graph, framework, opset=opset)
        close(graph, arrays, source, li.run(conversion.model, list(arrays)), f"as {framework}")
    return graph


def kinds(graph: Graph) -> list[str]:
    """The operators of a graph, by name."""
    return [type(node.op).__name__ for node in graph.nodes]


def check_by_definition(model, *arrays, **options) -> Graph:
    """`check`, where no runtime but the specification's own reference says what an ONNX model gives."""
    from onnx.reference import ReferenceEvaluator

    feeds = {i.name: a for i, a in zip(model.graph.input, arrays, strict=True)}
    return check(model, *arrays, given=ReferenceEvaluator(model).run(None, feeds), **options)


def onnx_model(
    kind: str, data, weights=(), *, opset: int, outputs: int = 1, shown: int = 1, domain: str = "", result=None, **attributes
):
    """One ONNX node on arrays: `data` are inputs (None for one that is left out), `weights` initializers.

    shown: how many of its outputs the model gives. result: their dtype, where it is not that of the first input.
    """
    data, weights = [None if a is None else np.asarray(a) for a in data], list(weights)
    while weights and weights[-1] is None:
        weights.pop()
    names = ["" if a is None else f"x{i}" for i, a in enumerate(data)] + ["" if w is None else f"w{i}" for i, w in enumerate(weights)]
    node = helper.make_node(kind, names, [f"y{i}" for i in range(outputs)], name="layer", domain=domain, **attributes)
    inputs = [
        helper.make_tensor_value_info(f"x{i}", helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for i, a in enumerate(data)
        if a is not None
    ]
    kind_of = helper.np_dtype_to_tensor_dtype(np.dtype(data[0].dtype if result is None else result))
    results = [helper.make_tensor_value_info(f"y{i}", kind_of, None) for i in range(shown)]
    graph = helper.make_graph([node], "g", inputs, results)
    for i, array in enumerate(weights):
        if array is not None:
            graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), f"w{i}"))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, opset)], ir_version=8 if opset < 20 else 11)
