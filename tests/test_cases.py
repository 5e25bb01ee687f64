"""Every operator case through every framework: exported, run, read back, sent on to every other one."""

import os

import pytest

from leaky_interop import frameworks
from leaky_interop.errors import Refused
from leaky_interop.frameworks.base import NARROW
from leaky_interop.frameworks.keras.holding import HELD
from leaky_interop.graph import Anchor, Graph, Parameter
from leaky_interop.layout import settle
from leaky_interop.numeric import compare, exact_limit, rounding_limit, sum_limit
from leaky_interop.op import CASES
from leaky_interop.ops.transpose import Transpose
from leaky_interop.sizes import symbol

FRAMEWORKS = [f for f in os.environ.get("LEAKY_INTEROP_FRAMEWORKS", "keras,torch,onnx").split(",") if f]


def graph_of(case, *, computed=False, dynamic=False):
    """The case as a one-node graph, and the arrays of its inputs. computed: weights are inputs too."""
    graph = Graph()
    operands, arrays = [], []
    for index, (operand, array) in enumerate(zip(case.operands, case.arrays(), strict=True)):
        if operand is None:
            operands.append(None)
        elif operand.kind == "input" or (computed and operand.kind == "weight"):
            shape = (symbol("batch"), *array.shape[1:]) if dynamic and operand.kind == "input" else array.shape
            value = graph.input(f"x{index}", shape, array.dtype)
            value.anchor = Anchor(index)
            operands.append(value)
            arrays.append(array)
        elif operand.kind == "weight":
            role = f"layer.w{index}"
            operands.append(graph.parameter(Parameter(role, array.shape, array.dtype, lambda a=array: a, array, True)))
        else:
            operands.append(graph.constant(array))
    made = graph.emit(case.op, operands)
    for node in graph.nodes:
        node.name = "layer"
    graph.outputs, graph.output_names = list(made), [f"y{i}" for i in range(len(made))] if len(made) > 1 else ["y"]
    graph.structure = tuple(range(len(made))) if len(made) > 1 else None
    from leaky_interop.graph import label

    label(graph)
    return graph, arrays


def build(graph, framework):
    engine = frameworks.get(framework)
    return engine.build(engine.prepare(graph))[0]


def refusal(case, framework, *, computed=False):
    """Why a framework refuses a case: by its name, or by its name and backend ("keras/torch")."""
    refused = {**case.refused, **(case.refused_computed if computed else {})}
    return stated(refused, framework)


def stated(reasons, framework):
    """What a case says of a framework, or of the running backend of Keras."""
    if framework == "keras":
        import keras

        return reasons.get(framework) or reasons.get(f"keras/{keras.backend.backend()}")
    return reasons.get(framework)


def check(case, expected, received, where):
    """Each output within the tolerance of the operator's class, judged from the case's own numbers."""
    reference = case.op.terms(*case.arrays()) if case.op.tolerance == "sum" else None
    readings = list(case.op.readings(*case.arrays()).values())
    for index, (e, r) in enumerate(zip(expected, received, strict=True)):
        if case.op.tolerance == "exact" or e.dtype.kind not in "fV":
            limit = exact_limit(e)
        elif case.op.tolerance == "rounding":
            limit = rounding_limit(e)
        else:
            length, magnitude = reference
            magnitude = magnitude[index] if isinstance(magnitude, tuple) else magnitude
            limit = sum_limit(length, magnitude, e.dtype)
        problems = [compare(legal, r, limit) for legal in readings or [e]]
        fits = any(not isinstance(problem, str) and problem.ratio <= 1 for problem in problems)
        assert fits, f"{where}: {'; '.join(map(str, problems))}"


def cases():
    return [pytest.param(c, id=c.name) for c in CASES.values()]


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", cases())
def test_export_computes_the_reference(case, framework):
    graph, arrays = graph_of(case)
    expected = graph.run(*arrays)
    if refusal(case, framework):
        with pytest.raises(Refused):
            build(graph, framework)
        return
    model = build(graph, framework)
    check(case, expected, frameworks.get(framework).run(model, arrays), framework)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", cases())
def test_import_recovers_the_operator(case, framework):
    if reason := refusal(case, framework):
        pytest.skip(f"refused: {reason}")
    graph, arrays = graph_of(case)
    back = settle(frameworks.get(framework).load(build(graph, framework), example=tuple(arrays), static_batch=True))
    held = [a.astype(v.dtype) for a, v in zip(arrays, back.inputs, strict=True)]
    for received, expected in zip(back.run(*held), graph.run(*arrays), strict=True):
        if expected.dtype.name in NARROW or (framework == "keras" and expected.dtype.name in HELD):  # what the framework holds in a wider type is read as that
            received = received.astype(expected.dtype)
        check(case, [expected], [received], f"read back from {framework}") if len(graph.outputs) == 1 else None
    if not stated(case.composed, framework):
        found = [n.op for n in back.nodes if not isinstance(n.op, Transpose)] or [n.op for n in back.nodes]
        assert any(o.matches(case.op) for o in found), f"{case.op} came back as {list(map(str, found))}"


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("case", [p for p in cases() if any(o is not None and o.kind == "weight" for o in p.values[0].operands)])
def test_a_computed_weight_is_an_operand(case, framework):
    graph, arrays = graph_of(case, computed=True)
    if refusal(case, framework, computed=True):
        with pytest.raises(Refused):
            build(graph, framework)
        return
    model = build(graph, framework)
    check(case, graph.run(*arrays), frameworks.get(framework).run(model, arrays), f"{framework}, weights computed")
