"""Activations in their native spellings: defaults, settings, axes, in every framework."""

import inspect
import math

import keras
import numpy as np
import pytest
import torch
from family_checks import check, kinds, onnx_model
from native import Applied, in_keras

import leaky_interop as li
from leaky_interop.errors import Refused
from leaky_interop.ops.elu import Celu, Elu, Selu
from leaky_interop.ops.hard import SIXTH, HardSigmoid, Shrink
from leaky_interop.ops.smooth import EXACT, Gelu, Softplus
from leaky_interop.ops.softmax import LogSoftmax, Softmax

rng = np.random.default_rng(8)
X = rng.uniform(-6, 6, (2, 3, 4, 6)).astype(np.float32)


def only(graph):
    """The one operator of a graph."""
    assert len(graph.nodes) == 1, str(graph)
    return graph.nodes[0].op


# --- every activation that Keras and torch name -----------------------------------------------------------------------

NOT_ACTIVATIONS = {"deserialize", "get", "serialize", "linear"}
UNUSABLE = {"threshold", "glu"}  # the one has no defaults, of the other the layer states a wrong shape
KERAS_NAMES = sorted(
    n
    for n, f in vars(keras.activations).items()
    if inspect.isfunction(f) and n not in NOT_ACTIVATIONS | UNUSABLE | {"sparsemax"}
)


@pytest.mark.parametrize("name", KERAS_NAMES)
def test_every_keras_activation_by_name_as_function_and_inside_a_layer(name):
    check(in_keras(keras.layers.Activation(name), X), X)
    by_name = check(in_keras(keras.layers.Dense(4, activation=name), X[:, 0]), X[:, 0])
    by_function = check(
        in_keras(keras.layers.Dense(4, activation=getattr(keras.activations, name)), X[:, 0]), X[:, 0], to=()
    )
    assert [str(n.op) for n in by_name.nodes] == [str(n.op) for n in by_function.nodes]


OPS = [
    "relu", "relu6", "sigmoid", "sparse_sigmoid", "softplus", "softsign", "soft_shrink", "sparse_plus", "silu",
    "swish", "squareplus", "log_sigmoid", "leaky_relu", "hard_sigmoid", "hard_silu", "hard_swish", "elu", "selu",
    "gelu", "celu", "glu", "tanh_shrink", "hard_tanh", "hard_shrink", "softmax", "log_softmax", "tanh",
]  # fmt: skip


@pytest.mark.parametrize("name", OPS)
def test_every_keras_operation(name):
    check(in_keras(getattr(keras.ops, name), X), X)


MODULES = [
    torch.nn.ELU(0.7), torch.nn.SELU(), torch.nn.CELU(0.7), torch.nn.GELU(), torch.nn.GELU("tanh"), torch.nn.SiLU(),
    torch.nn.Mish(), torch.nn.Softplus(), torch.nn.Softplus(2.0, 3.0), torch.nn.Softsign(), torch.nn.Sigmoid(),
    torch.nn.Hardsigmoid(), torch.nn.Hardswish(), torch.nn.Tanh(), torch.nn.Tanhshrink(), torch.nn.Softshrink(0.7),
    torch.nn.Hardshrink(0.7), torch.nn.LogSigmoid(), torch.nn.Softmax(1), torch.nn.Softmax(-1), torch.nn.Softmin(1),
    torch.nn.Softmax2d(), torch.nn.LogSoftmax(2), torch.nn.GLU(-1), torch.nn.GLU(3),
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES, ids=repr)
def test_every_torch_module_and_its_decompositions(module):
    graph = check(module, X)
    exported = torch.export.export(module, (torch.from_numpy(X),))
    assert kinds(check(exported, X)) == kinds(graph)
    check(exported.run_decompositions({}), X)
    check(exported.run_decompositions(), X, to=())  # down to torch's core operators


@pytest.mark.parametrize("module", [m for m in MODULES if not isinstance(m, torch.nn.GLU | torch.nn.Softmin)], ids=repr)
def test_a_torch_module_comes_back_as_itself(module):
    """Through every framework and back, with the settings that were written down."""
    settings = {torch.nn.Softmax2d: torch.nn.Softmax(1)}
    for target in ("torch", "keras", "onnx"):
        other = li.convert(module, to=target, example=(torch.from_numpy(X),))
        back = li.convert(other, to="torch", example=(X,))
        found = [
            m for m in back.modules() if type(m).__module__.startswith("torch.nn.modules.") and not list(m.children())
        ]
        wanted = settings.get(type(module), module)
        if isinstance(module, torch.nn.Softplus) and module.beta != 1 and target != "torch":
            continue  # a composition there
        if isinstance(wanted, torch.nn.Softmax | torch.nn.LogSoftmax):
            wanted = type(wanted)(dim=wanted.dim % 4)
        assert repr(wanted) in map(repr, found), (target, back.code)


# --- R32: gelu --------------------------------------------------------------------------------------------------------

GELUS = {
    "keras activations": (lambda: in_keras(keras.activations.gelu, X), False),
    "keras string": (lambda: in_keras(keras.layers.Activation("gelu"), X), False),
    "keras ops": (lambda: in_keras(keras.ops.gelu, X), True),
    "keras ops, exact": (lambda: in_keras(lambda x: keras.ops.gelu(x, approximate=False), X), False),
    "torch module": (torch.nn.GELU, False),
    "torch tanh": (lambda: torch.nn.GELU(approximate="tanh"), True),
    "torch function": (lambda: Applied(torch.nn.functional.gelu), False),
    "onnx": (lambda: onnx_model("Gelu", [X], opset=20), False),
    "onnx tanh": (lambda: onnx_model("Gelu", [X], opset=20, approximate="tanh"), True),
}


@pytest.mark.parametrize("spelling", GELUS)
def test_R32_gelu_is_exact_or_not_as_its_framework_has_it(spelling):
    make, approximate = GELUS[spelling]
    model = make()
    assert only(check(model, X)) == Gelu(approximate=approximate)
    for target in ("keras", "torch", "onnx"):
        assert only(li.load(li.convert(model, to=target, example=(X,)), (X,))) == Gelu(approximate=approximate)


def test_R32_the_two_differ_by_more_than_any_tolerance():
    exact, near = (Gelu(approximate=a).reference(X) for a in (False, True))
    assert 1e-4 < np.abs(exact - near).max() < 1e-3


def test_R32_gelu_before_opset_20_is_written_with_erf():
    model = li.convert(torch.nn.GELU(), to="onnx", example=(X,), opset=17)
    assert "Gelu" not in {n.op_type for n in model.graph.node}
    assert only(check(model, X)) == Gelu(approximate=False)


# --- R33, R35: constants are written down -----------------------------------------------------------------------------


def test_R33_hard_sigmoid_has_another_slope_in_onnx():
    x = np.asarray([[1.0, -2.9, 3.1]], np.float32)
    assert only(check(in_keras(keras.activations.hard_sigmoid, x), x)) == SIXTH
    assert only(check(torch.nn.Hardsigmoid(), x)) == SIXTH
    assert only(check(onnx_model("HardSigmoid", [x], opset=6), x)) == HardSigmoid(alpha=0.2, beta=0.5)
    np.testing.assert_allclose(SIXTH.reference(x)[0, 0], 2 / 3, rtol=1e-6)
    model = li.convert(torch.nn.Hardsigmoid(), to="onnx", example=(x,))
    assert repr(torch.nn.Hardsigmoid()) in map(repr, li.convert(model, to="torch").modules())


def test_R33_hard_swish_is_onnxs_own():
    model = li.convert(torch.nn.Hardswish(), to="onnx", example=(X,))
    assert [n.op_type for n in model.graph.node] == ["HardSwish"]
    check(onnx_model("HardSwish", [X], opset=14), X)


@pytest.mark.parametrize("opset", [1, 6, 16])
def test_R35_elu_without_and_with_its_setting(opset):
    for settings, op in (({}, Elu(alpha=1.0)), ({"alpha": 0.3}, Elu(alpha=0.3))):
        assert only(check(onnx_model("Elu", [X], opset=opset, **settings), X, given=[op.reference(X)])) == op


def test_R35_celu_and_elu_differ():
    assert only(check(onnx_model("Celu", [X], opset=12, alpha=0.3), X)) == Celu(alpha=0.3)
    assert only(check(torch.nn.CELU(2.0), X)) == Celu(alpha=2.0)
    assert not np.allclose(Celu(alpha=2.0).reference(X), Elu(alpha=2.0).reference(X))


def test_R35_selu_with_other_constants_is_a_scaled_elu():
    assert only(check(onnx_model("Selu", [X], opset=6), X)) == Selu()
    graph = check(onnx_model("Selu", [X], opset=6, alpha=1.5, gamma=2.0), X)
    assert [str(n.op) for n in graph.nodes] == ["Elu(alpha=1.5)", "Mul"]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_R35_softplus_above_its_threshold(kind):
    """At 20 float32 cannot tell x from softplus(x), float64 can; so only there the threshold means something."""
    x = np.asarray([[-30.0, -1.0, 0.0, 19.5, 20.5, 100.0]], kind)
    graph = check(torch.nn.Softplus(), x, to=("torch", "onnx"))
    assert only(graph) == (EXACT if kind is np.float32 else Softplus(beta=1.0, threshold=20.0))
    check(torch.nn.Softplus(beta=0.5, threshold=2.0), x, to=("torch", "onnx"))


def test_R35_shrinks_are_one_operator():
    assert only(check(onnx_model("Shrink", [X], opset=9), X)) == Shrink(threshold=0.5, bias=0.0)
    assert only(check(onnx_model("Shrink", [X], opset=9, bias=0.75, lambd=0.75), X)) == Shrink(
        threshold=0.75, bias=0.75
    )
    check(onnx_model("Shrink", [X], opset=9, bias=0.25, lambd=1.5), X)
    assert only(check(in_keras(lambda x: keras.ops.soft_shrink(x, 1.25), X), X)) == Shrink(threshold=1.25, bias=1.25)


def test_R56_log_sigmoid_of_a_large_negative_number_is_that_number():
    x = np.asarray([[-200.0, -50.0, 0.0, 50.0]], np.float32)
    for target in ("keras", "torch", "onnx"):
        (result,) = li.run(li.convert(torch.nn.LogSigmoid(), to=target, example=(x,)), [x])
        np.testing.assert_allclose(result[0, :3], [-200.0, -50.0, -math.log(2)], rtol=1e-6)


# --- R34: softmax -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [1, 11, 13])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, 3, -1, -2])
def test_R34_the_axis_of_onnx_softmax_means_another_thing_before_opset_13(kind, opset, axis):
    if axis is not None and axis < 0 and opset == 1:
        pytest.skip("negative axes came with opset 11")
    model = onnx_model(kind, [X], opset=opset, **({} if axis is None else {"axis": axis}))
    first = (1 if opset < 13 else 3) if axis is None else axis % 4
    axes = tuple(range(first, 4)) if opset < 13 else (first,)
    graph = check(model, X)
    assert only(graph) == {"Softmax": Softmax, "LogSoftmax": LogSoftmax}[kind](axes=axes)


@pytest.mark.parametrize("opset", [1, 11, 13])
@pytest.mark.parametrize("axis", [None, 1, 2])
def test_R34_hardmax_takes_the_first_of_the_largest(opset, axis):
    x = np.round(X)  # ties
    check(onnx_model("Hardmax", [x], opset=opset, **({} if axis is None else {"axis": axis})), x)


@pytest.mark.parametrize("axis", [-1, 1, 2, [1, 2], [-1, 1], (1, 2, 3), [3]])
def test_R34_keras_softmax_takes_lists_of_axes(axis):
    check(in_keras(keras.layers.Softmax(axis=axis), X), X)


def test_keras_softmax_with_a_mask():
    inputs, mask = keras.Input((3, 5)), keras.Input((3, 5), dtype="bool")
    x = rng.standard_normal((2, 3, 5)).astype(np.float32)
    keep = rng.random((2, 3, 5)) < 0.6
    keep[0, 0] = False
    check(keras.Model([inputs, mask], keras.layers.Softmax()(inputs, mask=mask)), x, keep)


def test_torch_softmax_in_another_dtype():
    graph = check(Applied(lambda x: torch.softmax(x, 1, dtype=torch.float64)), X, to=("torch", "onnx"))
    assert graph.outputs[0].dtype == np.float64


# --- layout, names ----------------------------------------------------------------------------------------------------


def test_activations_leave_no_transposes_between_convolutions():
    layers = [keras.Input((12, 13, 2))]
    for index, name in enumerate(
        ["gelu", "elu", "softplus", "hard_silu", "tanh_shrink", "soft_shrink", "log_sigmoid", "mish"]
    ):
        layers += [keras.layers.Conv2D(3, 2, name=f"conv{index}"), keras.layers.Activation(name, name=f"bend{index}")]
    model = keras.Sequential([*layers, keras.layers.Softmax(axis=[1, 2])])
    x = rng.standard_normal((2, 12, 13, 2)).astype(np.float32)
    graph = check(model, x, to=("torch",))
    assert kinds(graph).count("Transpose") <= 2
    module = li.convert(model, to="torch", example=(x,))
    assert {"bend0", "bend7"} <= {name for name, _ in module.named_modules()}


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize(
    "module", [torch.nn.Softplus(), torch.nn.ELU(0.7), torch.nn.GELU("tanh"), torch.nn.Mish()], ids=repr
)
def test_onnx_has_every_activation_in_every_float(kind, module):
    tensor = torch.from_numpy(X).to(getattr(torch, kind))
    model = li.convert(module.to(tensor.dtype), to="onnx", example=(tensor,))
    assert li.load(model).outputs[0].dtype.name == kind


def test_exact_gelu_in_float64_is_refused_with_a_way_out():
    with pytest.raises(Refused, match=r"float64.*float32"):
        li.convert(torch.nn.GELU(), to="onnx", example=(torch.from_numpy(X).double(),))
