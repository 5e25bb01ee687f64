"""LeakyReLU spelled with other operators is recognised, and only where every bit of every result stays the same."""

import keras
import numpy as np
import pytest
import torch
from family_checks import check
from hypothesis import given, settings
from hypothesis import strategies as st
from native import Applied
from onnx import helper, numpy_helper

import leaky_interop as li
from leaky_interop.graph import Graph
from leaky_interop.numeric import same_bits
from leaky_interop.ops.activation import LeakyRelu, PRelu
from leaky_interop.ops.bounds import Maximum, Minimum
from leaky_interop.ops.compare import Greater, GreaterOrEqual, Less, LessOrEqual, Where
from leaky_interop.ops.math import Mul
from leaky_interop.passes.idioms import recognise

X = np.random.default_rng(3).uniform(-8, 8, (2, 3, 4)).astype(np.float32)
EDGES = np.asarray(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 3.4e38, -3.4e38, 1e-38, -1e-38, 1e-45, -1e-45, 0.1, -0.1],
    np.float32,
)


def of(function, dtype=np.float32):
    """A graph that applies canonical operators to one input."""
    graph = Graph()
    graph.outputs = [function(graph.input("x", (len(EDGES),), dtype))]
    graph.output_names = ["y"]
    return graph


def found(graph):
    """The operators that a graph is left with."""
    return [node.op for node in recognise(graph).nodes]


def like(x, number):
    return x.graph.constant(number, x.dtype)


SPELLINGS = {
    "x < 0": lambda x, s: Where()(Less()(x, 0.0), Mul()(x, s), x),
    "0 > x": lambda x, s: Where()(Greater()(like(x, 0.0), x), Mul()(like(x, s), x), x),
    "x >= 0": lambda x, s: Where()(GreaterOrEqual()(x, 0.0), x, Mul()(x, s)),
    "0 <= x": lambda x, s: Where()(LessOrEqual()(like(x, 0.0), x), x, Mul()(x, s)),
    "x > 0": lambda x, s: Where()(Greater()(x, 0.0), x, Mul()(x, s)),
    "x <= 0": lambda x, s: Where()(LessOrEqual()(x, 0.0), Mul()(x, s), x),
    "maximum": lambda x, s: Maximum()(x, Mul()(x, s)),
    "maximum, mirrored": lambda x, s: Maximum()(Mul()(like(x, s), x), x),
    "minimum": lambda x, s: Minimum()(x, Mul()(x, s)),
}  # fmt: skip
ANY = ("x < 0", "0 > x", "x >= 0", "0 <= x")
NOT_NEGATIVE = ("x > 0", "x <= 0")
RECOGNISED = [(name, s) for name in ANY for s in (0.0, 0.2, 1.0, 1.5, -0.5)]
RECOGNISED += [(name, s) for name in NOT_NEGATIVE for s in (0.0, 0.2, 1.0, 1.5)]
RECOGNISED += [(name, s) for name in ("maximum", "maximum, mirrored") for s in (1e-8, 0.2, 1.0)]
RECOGNISED += [("minimum", s) for s in (1.0, 1.5, 10.0)]
LEFT_ALONE = [(name, -0.5) for name in NOT_NEGATIVE]
LEFT_ALONE += [(name, s) for name in ("maximum", "maximum, mirrored") for s in (0.0, 1.0001, 1.5)]
LEFT_ALONE += [("minimum", s) for s in (0.0, 0.2, 0.9999, -0.5)]


@pytest.mark.parametrize("name, slope", RECOGNISED)
def test_a_spelling_that_is_leaky_relu_is_recognised(name, slope):
    graph = of(lambda x: SPELLINGS[name](x, slope))
    assert found(graph) == [LeakyRelu(negative_slope=slope)]
    assert same_bits(graph.run(EDGES)[0], recognise(graph).run(EDGES)[0]).all()


@pytest.mark.parametrize("name, slope", LEFT_ALONE)
def test_a_spelling_that_is_not_stays_and_would_have_changed_a_number(name, slope):
    graph = of(lambda x: SPELLINGS[name](x, slope))
    assert not any(isinstance(op, LeakyRelu) for op in found(graph))
    assert not same_bits(graph.run(EDGES)[0], LeakyRelu(negative_slope=slope).reference(EDGES)).all()


@given(
    st.sampled_from(sorted(SPELLINGS)),
    st.floats(-12, 12, width=32),
    st.lists(st.floats(width=32), min_size=15, max_size=15),
)
@settings(max_examples=300, deadline=None)
def test_no_recognition_changes_a_bit(name, slope, numbers):
    x = np.asarray(numbers, np.float32)
    graph = of(lambda v: SPELLINGS[name](v, slope))
    assert same_bits(graph.run(x)[0], recognise(graph).run(x)[0]).all()


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_are_recognised_with_the_slope_that_they_hold(dtype):
    graph = of(SPELLINGS_AT_THIRD, np.dtype(dtype))
    (op,) = found(graph)
    assert op == LeakyRelu(negative_slope=float(np.dtype(dtype).type(0.3)))
    x = EDGES.astype(dtype)
    assert same_bits(graph.run(x)[0], recognise(graph).run(x)[0]).all()


def SPELLINGS_AT_THIRD(x):
    return SPELLINGS["x < 0"](x, 0.3)


def test_a_product_with_one_is_nothing():
    assert found(of(lambda x: LeakyRelu(negative_slope=0.2)(Mul()(x, 1.0)))) == [LeakyRelu(negative_slope=0.2)]


STRANGERS = {
    "another value is scaled": lambda x: Where()(Less()(x, 0.0), Mul()(Mul()(x, 3.0), 0.2), x),
    "another value is kept": lambda x: Where()(Less()(x, 0.0), Mul()(x, 0.2), Mul()(x, 3.0)),
    "the branches are swapped": lambda x: Where()(Less()(x, 0.0), x, Mul()(x, 0.2)),
    "compared with another number": lambda x: Where()(Less()(x, 0.5), Mul()(x, 0.2), x),
    "two values are compared": lambda x: Where()(Less()(x, Mul()(x, x)), Mul()(x, 0.2), x),
    "a slope that is infinite": lambda x: Where()(Greater()(x, 0.0), x, Mul()(x, float("inf"))),
    "a sum": lambda x: Maximum()(Mul()(x, 0.5), Mul()(x, 0.2)),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_what_only_looks_alike_is_left_alone(name):
    graph = of(STRANGERS[name])
    assert not any(isinstance(op, LeakyRelu | PRelu) for op in found(graph))


def test_a_product_that_others_read_stays():
    graph = Graph()
    x = graph.input("x", (3,), np.float32)
    scaled = Mul()(x, 0.2)
    graph.outputs, graph.output_names = [Where()(Less()(x, 0.0), scaled, x), scaled], ["y", "scaled"]
    assert sorted(type(op).__name__ for op in found(graph)) == ["LeakyRelu", "Mul"]


# --- as users write them ----------------------------------------------------------------------------------------------

TORCH = {
    "where <": (lambda x: torch.where(x < 0, 0.2 * x, x), 0.2),
    "where >=": (lambda x: torch.where(x >= 0, x, x * 0.2), 0.2),
    "where >": (lambda x: torch.where(x > 0, x, x * 1.5), 1.5),
    "where, tensors": (lambda x: torch.where(torch.lt(x, torch.zeros(())), torch.mul(x, torch.tensor(0.3)), x), 0.3),
    "maximum": (lambda x: torch.maximum(x, 0.1 * x), 0.1),
    "max": (lambda x: torch.max(x * 0.1, x), 0.1),
    "minimum": (lambda x: torch.minimum(x, 2.0 * x), 2.0),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_spellings(name):
    function, slope = TORCH[name]
    graph = check(Applied(function), X)
    assert [n.op for n in graph.nodes] == [LeakyRelu(negative_slope=slope)]


KERAS = {
    "where <": (lambda x: keras.ops.where(x < 0, 0.2 * x, x), 0.2),
    "where >=": (lambda x: keras.ops.where(keras.ops.greater_equal(x, 0.0), x, keras.ops.multiply(x, 0.2)), 0.2),
    "where >": (lambda x: keras.ops.where(x > 0, x, x * 1.5), 1.5),
    "maximum": (lambda x: keras.ops.maximum(x, 0.1 * x), 0.1),
    "Maximum layer": (lambda x: keras.layers.Maximum()([x, 0.1 * x]), 0.1),
}


@pytest.mark.parametrize("name", KERAS)
def test_keras_spellings(name):
    function, slope = KERAS[name]
    inputs = keras.Input(X.shape[1:])
    graph = check(keras.Model(inputs, function(inputs)), X)
    assert [n.op for n in graph.nodes] == [LeakyRelu(negative_slope=slope)]


def onnx_of(nodes, constants, x=X):
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    ports = [helper.make_tensor_value_info(n, kind, x.shape) for n in ("x", "y")]
    weights = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()]
    graph = helper.make_graph([helper.make_node(*n[:2], [n[2]]) for n in nodes], "g", ports[:1], ports[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
def test_onnx_spelling_with_constants_of_any_shape(kind, shape):
    x = X.astype(kind)
    nodes = [("Less", ["x", "zero"], "c"), ("Mul", ["slope", "x"], "m"), ("Where", ["c", "m", "x"], "y")]
    graph = check(onnx_of(nodes, {"zero": np.zeros((), kind), "slope": np.full(shape, 0.3, kind)}, x), x)
    (op,) = (n.op for n in graph.nodes)
    assert op == LeakyRelu(negative_slope=0.3) if shape == () else isinstance(op, LeakyRelu | PRelu)


def test_a_slope_per_channel_is_recognised_as_prelu():
    slope = np.asarray([0.1, -0.5, 1.5], np.float32).reshape(3, 1)
    nodes = [("GreaterOrEqual", ["x", "zero"], "c"), ("Mul", ["x", "slope"], "m"), ("Where", ["c", "x", "m"], "y")]
    graph = check(onnx_of(nodes, {"zero": np.zeros((), np.float32), "slope": slope}), X)
    assert [n.op for n in graph.nodes] == [PRelu()]


def test_relu_minus_relu_is_left_alone_because_it_loses_the_zero_below_zero():
    graph = check(Applied(lambda x: torch.relu(x) - 0.2 * torch.relu(-x)), X)
    assert not any(isinstance(n.op, LeakyRelu) for n in graph.nodes)
    zero = np.full((1, 3, 4), -0.0, np.float32)
    assert not np.signbit(graph.run(zero)[0]).any() and np.signbit(LeakyRelu(negative_slope=0.2).reference(zero)).all()


# --- relatives: the definitions of the operators ----------------------------------------------------------------------

TORCH_RELATIVES = {
    "Silu": lambda x: x * torch.sigmoid(x),
    "Mish": lambda x: x * torch.tanh(torch.nn.functional.softplus(x)),
    "Softsign": torch.nn.functional.softsign,
    "TanhShrink": torch.nn.functional.tanhshrink,
    "LogSigmoid": lambda x: -torch.nn.functional.softplus(-x),
    "Gelu": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "Rsqrt": lambda x: 1 / torch.sqrt(x),
    "Reciprocal": lambda x: 1.0 / x,
    "NotEqual": lambda x: ~(x == 1.0),
}


@pytest.mark.parametrize("name", TORCH_RELATIVES)
def test_other_functions_are_recognised_by_their_definition(name):
    graph = check(Applied(TORCH_RELATIVES[name]), np.abs(X) if name == "Rsqrt" else X)
    assert [type(n.op).__name__ for n in graph.nodes if type(n.op).__name__ != "Cast"] == [name]


@pytest.mark.parametrize("order", ["x / sqrt 2", "x * sqrt 0.5", "half last", "half inside"])
def test_gelu_as_older_exporters_write_it(order):
    inner = [("Div", ["x", "root"], "s")] if order != "x * sqrt 0.5" else [("Mul", ["x", "inverse"], "s")]
    nodes = [*inner, ("Erf", ["s"], "e"), ("Add", ["e", "one"], "a")]
    if order == "half inside":
        nodes += [("Mul", ["x", "half"], "h"), ("Mul", ["h", "a"], "y")]
    else:
        nodes += [("Mul", ["x", "a"], "h"), ("Mul", ["h", "half"], "y")]
    constants = {"root": 2**0.5, "inverse": 0.5**0.5, "one": 1.0, "half": 0.5}
    graph = check(onnx_of(nodes, {k: np.float32(v) for k, v in constants.items()}), X)
    assert [type(n.op).__name__ for n in graph.nodes] == ["Gelu"]


@pytest.mark.parametrize("wrong", ["root", "one", "half"])
def test_gelu_with_another_number_is_not_gelu(wrong):
    nodes = [
        ("Div", ["x", "root"], "s"),
        ("Erf", ["s"], "e"),
        ("Add", ["e", "one"], "a"),
        ("Mul", ["x", "a"], "h"),
        ("Mul", ["h", "half"], "y"),
    ]
    constants = {"root": 2**0.5, "one": 1.0, "half": 0.5}
    constants[wrong] *= 1.25
    graph = li.load(onnx_of(nodes, {k: np.float32(v) for k, v in constants.items()}))
    assert "Gelu" not in [type(n.op).__name__ for n in graph.nodes]


def test_a_mean_of_layers_comes_back_as_one():
    graph = check(Applied(lambda x, y, z: (x + y + z) / 3), X, X + 1, X * 2)
    assert [type(n.op).__name__ for n in graph.nodes] == ["Average"]
    graph = li.load(Applied(lambda x, y, z: (x + y + z) / 2), (X, X, X))
    assert [type(n.op).__name__ for n in graph.nodes] == ["Add", "Average"]
    graph = li.load(Applied(lambda x, y: (x + y) / 4), (X, X))
    assert [type(n.op).__name__ for n in graph.nodes] == ["Add", "Div"]
