"""LeakyReLU in every spelling, rule by rule (R1-R12), and its relatives."""

import keras
import numpy as np
import onnx
import pytest
import torch
from family_checks import check, kinds, onnx_model
from hypothesis import given, settings
from hypothesis import strategies as st
from native import Applied, in_keras
from onnx import helper

import leaky_interop as li
from leaky_interop.errors import Refused
from leaky_interop.numeric import dtype, same_bits
from leaky_interop.ops.activation import LeakyRelu, PRelu
from leaky_interop.ops.bounds import Clip
from leaky_interop.ops.relu import CappedLeakyRelu, Relu, Threshold

rng = np.random.default_rng(5)
X = rng.uniform(-8, 8, (2, 3, 4, 5)).astype(np.float32)
SLOPES = (0.0, 1e-8, 0.01, 0.1, 0.2, 0.3, 1.0, 1.5, 10.0)
EDGES = np.asarray([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 3e38, -3e38, 1e-40, -1e-40], np.float32)


def only(graph):
    """The one operator of a graph."""
    assert len(graph.nodes) == 1, str(graph)
    return graph.nodes[0].op


def slope_of(model, x=X):
    return only(li.load(model, (x,))).negative_slope


# --- R1: what it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [*SLOPES, -0.5])
def test_R1_torch_leaky_relu_has_any_slope(slope):
    assert only(check(torch.nn.LeakyReLU(slope), X)) == LeakyRelu(negative_slope=slope)


@pytest.mark.parametrize("slope", [*SLOPES, -0.5])
def test_R1_onnx_leaky_relu_has_any_slope(slope):
    assert only(check(onnx_model("LeakyRelu", [X], opset=16, alpha=slope), X)) == LeakyRelu(negative_slope=slope)


@pytest.mark.parametrize("slope", SLOPES)
def test_R1_keras_layer_has_any_slope_that_is_not_negative(slope):
    assert only(check(in_keras(keras.layers.LeakyReLU(slope), X), X)) == LeakyRelu(negative_slope=slope)


def test_R1_a_negative_slope_becomes_a_function_in_keras():
    model = li.convert(torch.nn.LeakyReLU(-0.5), to="keras", example=(torch.from_numpy(X),))
    assert slope_of(model) == -0.5


# --- R2, R3: what it is called, and what is meant where nothing is said -----------------------------------------------

DEFAULTS = {
    "keras layer": (lambda: in_keras(keras.layers.LeakyReLU(), X), 0.3),
    "keras string": (lambda: in_keras(keras.layers.Activation("leaky_relu"), X), 0.2),
    "keras activations": (lambda: in_keras(keras.activations.leaky_relu, X), 0.2),
    "keras activation function": (lambda: in_keras(keras.layers.Activation(keras.activations.leaky_relu), X), 0.2),
    "keras ops": (lambda: in_keras(keras.ops.leaky_relu, X), 0.2),
    "torch module": (lambda: torch.nn.LeakyReLU(), 0.01),
    "torch function": (lambda: Applied(torch.nn.functional.leaky_relu), 0.01),
    "onnx": (lambda: onnx_model("LeakyRelu", [X], opset=16), 0.01),
    "onnx, opset 6": (lambda: onnx_model("LeakyRelu", [X], opset=6), 0.01),
    "onnx, opset 1": (lambda: onnx_model("LeakyRelu", [X], opset=1), 0.01),
}  # fmt: skip


@pytest.mark.parametrize("spelling", list(DEFAULTS))
def test_R2_a_slope_that_is_left_out_is_the_sources_own_default(spelling):
    make, slope = DEFAULTS[spelling]
    assert slope_of(make()) == slope


@pytest.mark.parametrize("target", ["keras", "torch", "onnx"])
@pytest.mark.parametrize("spelling", list(DEFAULTS))
def test_R2_the_default_arrives_as_a_number_in_every_target(spelling, target):
    """Every target's own default is another one, so a slope that was not written down would change."""
    make, slope = DEFAULTS[spelling]
    converted = li.convert(make(), to=target, example=(X,))
    assert slope_of(converted) == slope
    if target == "onnx":
        (node,) = converted.graph.node
        assert [a.name for a in node.attribute] == ["alpha"]


def test_R2_a_dense_layer_with_the_string_has_the_strings_default():
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, activation="leaky_relu")])
    graph = check(model, X[:, 0, 0])
    assert [n.op.negative_slope for n in graph.nodes if isinstance(n.op, LeakyRelu)] == [0.2]


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.5])
def test_R3_a_layer_given_as_an_activation_keeps_its_own_slope(slope):
    model = keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(3, 3, activation=keras.layers.LeakyReLU(negative_slope=slope)),
            keras.layers.Dense(4, activation=keras.layers.LeakyReLU(negative_slope=slope / 2)),
        ]
    )
    graph = check(model, rng.standard_normal((2, 6, 6, 2)).astype(np.float32))
    assert [n.op.negative_slope for n in graph.nodes if isinstance(n.op, LeakyRelu)] == [slope, slope / 2]


def test_R3_keras_still_takes_the_old_name_of_the_slope():
    with pytest.warns(UserWarning, match="alpha"):
        layer = keras.layers.LeakyReLU(alpha=0.15)
    assert slope_of(in_keras(layer, X)) == 0.15


# --- R4: spellings that are, and that are not, LeakyReLU: see test_passes_idioms; torch's forms -----------------------


@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.nn.functional.leaky_relu(x, 0.2),
        lambda x: torch.nn.functional.leaky_relu_(x * 1, 0.2),
        lambda x: torch.nn.functional.leaky_relu(x + 0, 0.2, inplace=True),
        torch.nn.LeakyReLU(0.2, inplace=True),
        torch.nn.Sequential(torch.nn.LeakyReLU(0.2)),
    ],
)
def test_R4_torch_functions_modules_and_in_place_forms_are_the_same(function):
    graph = check(Applied(function), X)
    assert [n.op for n in graph.nodes if isinstance(n.op, LeakyRelu)] == [LeakyRelu(negative_slope=0.2)]


# --- R5, R6, R7: slopes above 1, slope 0, faults ----------------------------------------------------------------------


def test_R5_a_slope_above_one_is_not_a_maximum():
    x = np.asarray([[-3.0, -1.0, 2.0]], np.float32)
    for target in ("keras", "torch", "onnx"):
        model = li.convert(torch.nn.LeakyReLU(1.5), to=target, example=(torch.from_numpy(x),))
        assert li.run(model, [x])[0].tolist() == [[-4.5, -1.5, 2.0]]


@pytest.mark.parametrize("target", ["keras", "torch", "onnx"])
def test_R6_slope_zero_is_not_relu(target):
    x = np.asarray([[-np.inf, -1.0, 2.0]], np.float32)
    model = li.convert(torch.nn.LeakyReLU(0.0), to=target, example=(torch.from_numpy(x),))
    assert only(li.load(model, (x,))) == LeakyRelu(negative_slope=0.0)
    (result,) = li.run(model, [x])
    assert np.isnan(result[0, 0]) and result[0, 1:].tolist() == [0.0, 2.0]


@pytest.mark.parametrize("slope", [0.0, 0.2, 1.5])
@pytest.mark.parametrize("target", ["torch", "onnx"])
def test_R7_nan_stays_nan_and_the_zero_below_zero_stays_one(slope, target):
    x = EDGES[None]
    model = li.convert(torch.nn.LeakyReLU(slope), to=target, example=(torch.from_numpy(x),))
    expected = LeakyRelu(negative_slope=slope).reference(x)
    received = li.run(model, [x])[0]
    normal = ~np.isin(x, (np.float32(1e-40), np.float32(-1e-40)))  # a runtime may take these for zeros
    assert same_bits(expected, received)[normal].all()


# --- R8: float64, and half-width floats -------------------------------------------------------------------------------


@pytest.mark.parametrize("slope", [0.1, 0.3, 1.5, -0.7])
def test_R8_a_float64_slope_keeps_its_64_bits_in_onnx(slope):
    x = X.astype(np.float64)
    model = li.convert(torch.nn.LeakyReLU(slope).double(), to="onnx", example=(torch.from_numpy(x),))
    assert [n.op_type for n in model.graph.node] == ["Less", "Mul", "Where"]
    assert np.array_equal(li.run(model, [x])[0], np.where(x < 0, slope * x, x))
    assert slope_of(model, x) == slope


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("slope", [0.1, 1.5])
def test_R8_every_float_goes_through_every_framework(kind, slope):
    x = X.astype(dtype(kind))
    module = torch.nn.LeakyReLU(slope)
    for target in ("keras", "torch", "onnx"):
        tensor = torch.from_numpy(X).to(getattr(torch, kind))
        model = li.convert(module, to=target, example=(tensor,))
        graph = li.load(model, (x,))
        assert only(graph) == LeakyRelu(negative_slope=slope) and graph.outputs[0].dtype == x.dtype
        legal = LeakyRelu(negative_slope=slope).readings(x).values() or [LeakyRelu(negative_slope=slope).reference(x)]
        received = li.run(model, [x])[0]
        assert any(np.array_equal(r, received) for r in legal)


def test_R8_the_readings_of_a_half_width_slope_differ():
    """Both are legal, so it matters that the test above can tell them from a third one."""
    found = LeakyRelu(negative_slope=0.1).readings(X.astype(np.float16))
    assert len(found) == 2 and not np.array_equal(*found.values())


@given(st.floats(-20, 20, width=32))
@settings(max_examples=60, deadline=None)
def test_R8_any_32_bit_slope_survives_onnx_and_back(slope):
    text = float(str(np.float32(slope)))  # as a user writes it
    model = onnx_model("LeakyRelu", [X], opset=16, alpha=text)
    assert slope_of(model) == text


# --- R9: Keras' relu --------------------------------------------------------------------------------------------------


def capped(slope, threshold, cap):
    return CappedLeakyRelu(negative_slope=slope, threshold=threshold, max_value=cap)


SETTINGS = [
    ({}, Relu()),
    ({"max_value": 6}, Clip(minimum=0.0, maximum=6.0)),
    ({"max_value": 2.5}, Clip(minimum=0.0, maximum=2.5)),
    ({"max_value": 0.0}, Clip(minimum=0.0, maximum=0.0)),
    ({"negative_slope": 0.1}, LeakyRelu(negative_slope=0.1)),
    ({"threshold": 1.5}, Threshold(threshold=1.5, value=0.0, nan_passes=False)),
    ({"max_value": 6, "threshold": 1.5}, None),
    ({"max_value": 6, "negative_slope": 0.1}, capped(0.1, 0.0, 6.0)),
    ({"max_value": 4.5, "negative_slope": 0.1, "threshold": 0.5}, capped(0.1, 0.5, 4.5)),
    ({"negative_slope": 0.25, "threshold": 0.5}, capped(0.25, 0.5, None)),
    ({"negative_slope": 2.0, "threshold": 3.0, "max_value": 1.0}, capped(2.0, 3.0, 1.0)),
]  # fmt: skip


@pytest.mark.parametrize("spelling", ["layer", "function"])
@pytest.mark.parametrize("given, op", SETTINGS, ids=[str(s) for s, _ in SETTINGS])
def test_R9_keras_relu_with_all_its_settings(given, op, spelling):
    """Inputs stand at, just above and just below the threshold and the cap: at the threshold Keras is below it."""
    marks = [given.get("threshold", 0.0), given.get("max_value", 0.0)]
    near = [np.nextafter(np.float32(m), np.float32(d)) for m in marks for d in (-99, 99)]
    x = np.asarray([[*marks, *near, -1.0, 0.0, -0.0, 7.5, -7.5, np.inf, -np.inf, np.nan]], np.float32)
    function = keras.layers.ReLU(**given) if spelling == "layer" else lambda t: keras.activations.relu(t, **given)
    graph = check(in_keras(function, x), x)
    assert op is None or only(graph) == op


def test_R9_the_worked_example():
    x = np.asarray([[-1.0, 0.5, 0.50001, 7.0]], np.float32)
    model = in_keras(keras.layers.ReLU(6, 0.1, 0.5), x)
    for target in ("keras", "torch", "onnx"):
        (result,) = li.run(li.convert(model, to=target), [x])
        np.testing.assert_array_equal(
            result, np.asarray([[np.float32(0.1) * np.float32(-1.5), 0.0, 0.50001, 6.0]], np.float32)
        )


def test_R9_functions_take_what_the_layer_refuses():
    check(in_keras(lambda t: keras.activations.relu(t, negative_slope=-0.3, max_value=2.0), X), X)
    check(in_keras(lambda t: keras.activations.relu(t, negative_slope=0.3, threshold=-1.0), X), X)


def test_R9_a_relu_layer_comes_back_whole_from_keras():
    model = li.convert(in_keras(keras.layers.ReLU(4.5, 0.1, 0.5, name="bent"), X), to="keras")
    layer = model.get_layer("bent")
    assert (layer.max_value, layer.negative_slope, layer.threshold) == (4.5, 0.1, 0.5)


# --- R10: slopes that are weights -------------------------------------------------------------------------------------


def drawn(model):
    for variable in model.weights:
        variable.assign(rng.uniform(-0.5, 1.5, variable.shape).astype(np.float32))
    return model


@pytest.mark.parametrize("rank", [2, 3, 4, 5])
@pytest.mark.parametrize("shared", ["none", "spatial", "all"])
def test_R10_keras_prelu(rank, shared):
    x = rng.standard_normal((2, 3, 4, 5, 6)[:rank]).astype(np.float32)
    axes = {"none": None, "spatial": list(range(1, rank - 1)) or None, "all": list(range(1, rank))}[shared]
    graph = check(drawn(in_keras(keras.layers.PReLU(shared_axes=axes), x)), x)
    assert only(graph) == PRelu()


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 6)])
@pytest.mark.parametrize("parameters", [1, 3])
def test_R10_torch_prelu(shape, parameters):
    module = torch.nn.PReLU(parameters)
    with torch.no_grad():
        module.weight.copy_(torch.linspace(-0.4, 1.7, parameters))
    graph = check(module, rng.standard_normal(shape).astype(np.float32))
    assert only(graph) == PRelu()


@pytest.mark.parametrize("slope", [(), (1,), (5,), (4, 1), (3, 1, 1), (1, 3, 1, 1), (3, 4, 5), (1, 1, 4, 1)])
def test_R10_onnx_prelu_broadcasts_its_slope(slope):
    weights = rng.uniform(-0.5, 1.5, slope).astype(np.float32)
    check(onnx_model("PRelu", [X], [weights], opset=16), X)


@pytest.mark.parametrize("opset", [1, 6])
@pytest.mark.parametrize("slope", [(1,), (3,)])
def test_R10_before_opset_7_a_slope_belongs_to_a_channel(opset, slope):
    weights = rng.uniform(-0.5, 1.5, slope).astype(np.float32)
    expected = np.where(X >= 0, X, X * weights.reshape(-1, 1, 1))
    check(onnx_model("PRelu", [X], [weights], opset=opset), X, given=[expected])


def test_R10_a_slope_that_is_an_input_stays_one():
    slope = rng.uniform(-0.5, 1.5, (3, 1, 1)).astype(np.float32)
    check(onnx_model("PRelu", [X, slope], opset=16), X, slope)


def test_R10_a_slope_follows_the_layout_and_leaves_no_transposes_behind():
    model = keras.Sequential(
        [
            keras.Input((6, 7, 2)),
            keras.layers.Conv2D(3, 3),
            keras.layers.PReLU(shared_axes=[1, 2], name="bent"),
            keras.layers.Conv2D(4, 3),
            keras.layers.PReLU(name="free"),
        ]
    )
    graph = check(drawn(model), rng.standard_normal((2, 6, 7, 2)).astype(np.float32))
    assert kinds(graph).count("Transpose") <= 2
    module = li.convert(model, to="torch", example=(np.zeros((2, 6, 7, 2), np.float32),))
    assert dict(module.named_parameters())["bent.weight"].shape == (3,)


def test_R10_equal_slopes_are_still_weights():
    module = torch.nn.PReLU(3, init=0.25)
    assert only(li.load(module, (X,))) == PRelu()


# --- R11, R12 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bounds", [(), (0.1, 0.3), (-0.2, 0.6)])
def test_R11_rrelu_in_evaluation_is_its_mean_slope(bounds):
    module = torch.nn.RReLU(*bounds)
    lower, upper = bounds or (1 / 8, 1 / 3)
    assert only(check(module.eval(), X)) == LeakyRelu(negative_slope=(lower + upper) / 2)


def test_R11_rrelu_that_draws_is_refused():
    function = Applied(lambda x: torch.nn.functional.rrelu(x, training=True))
    with pytest.raises(Refused, match="random"):
        li.load(function, (X,))


def test_R12_a_quantised_leaky_relu_is_the_one_of_its_numbers():
    """See test_slope_spellings_native for every code, and for convolutions that an activation is fused into."""
    node = helper.make_node("QLinearLeakyRelu", list("xabcd"), ["y"], domain="com.microsoft", alpha=0.2)
    zero, one = np.asarray(0, np.uint8), np.asarray(1.0, np.float32)
    weights = [onnx.numpy_helper.from_array(a, n) for a, n in ((one, "a"), (zero, "b"), (one, "c"), (zero, "d"))]
    ports = [helper.make_tensor_value_info(n, onnx.TensorProto.UINT8, [2, 3]) for n in "xy"]
    graph = helper.make_graph([node], "g", ports[:1], ports[1:], weights)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 16), helper.make_opsetid("com.microsoft", 1)]
    )
    graph = check(model, np.asarray([[0, 1, 2], [100, 254, 255]], np.uint8))
    assert [n.op for n in graph.nodes if isinstance(n.op, LeakyRelu)] == [LeakyRelu(negative_slope=0.2)]


# --- relatives --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, -3.5])
@pytest.mark.parametrize("threshold", [0.5, 0.25, -1.0])
def test_thresholds_in_every_spelling(threshold, value):
    x = np.asarray(
        [[threshold, np.nextafter(np.float32(threshold), np.float32(99)), -5.0, 5.0, np.inf, -np.inf]], np.float32
    )
    check(torch.nn.Threshold(threshold, value), x)
    check(in_keras(lambda t: keras.ops.threshold(t, threshold, value), x), x)
    if value == 0:
        check(onnx_model("ThresholdedRelu", [x], opset=10, alpha=threshold), x)


def test_thresholds_disagree_about_nan_and_are_kept_apart():
    x = np.asarray([[np.nan, 2.0]], np.float32)
    for target in ("keras", "torch", "onnx"):
        passing = li.run(li.convert(torch.nn.Threshold(1.0, 0.5), to=target, example=(torch.from_numpy(x),)), [x])[0]
        stopped = li.run(li.convert(onnx_model("ThresholdedRelu", [x], opset=10, alpha=1.0), to=target), [x])[0]
        assert np.isnan(passing[0, 0]) and stopped[0, 0] == 0.0


@pytest.mark.parametrize(
    "module",
    [torch.nn.ReLU6(), torch.nn.Hardtanh(-2.0, 3.0), torch.nn.Hardtanh(), torch.nn.ReLU(inplace=True)],
    ids=repr,
)
def test_clipped_relus_of_torch(module):
    check(module, X)


def test_concatenated_relu_is_a_composition():
    check(Applied(lambda x: torch.cat([torch.relu(x), torch.relu(-x)], 1)), X)
    check(in_keras(lambda x: keras.ops.concatenate([keras.ops.relu(x), keras.ops.relu(-x)], -1), X), X)
