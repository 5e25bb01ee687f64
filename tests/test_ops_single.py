"""Operators that have no family: determinants, bits, centred crops, gated activations, optimizer steps, refusals."""

import keras
import numpy as np
import onnx
import pytest
import torch
from family_checks import check, check_by_definition, kinds, onnx_model

import leaky_interop as li
from leaky_interop.errors import Refused

rng = np.random.default_rng(7)
NEWEST = onnx.defs.onnx_opset_version()


def normal(*shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


def module(function):
    return type("Net", (torch.nn.Module,), {"forward": lambda self, *args: function(*args)})().eval()


# --- determinants -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [torch.linalg.det, torch.det])
def test_determinants_of_torch(function):
    assert kinds(check(module(function), normal(2, 3, 4, 4)))[:1] == ["Det"]


def test_determinants_of_keras():
    x = keras.Input((3, 3))
    assert kinds(check(keras.Model(x, keras.ops.det(x)), normal(7, 3, 3))) == ["Det"]


def test_a_singular_matrix_has_none():
    x = normal(2, 3, 3)
    x[:, 2] = x[:, 1]
    check(onnx_model("Det", [x], opset=11), x)


def test_only_square_matrices_have_one():
    with pytest.raises(li.errors.LeakyInteropError, match="square"):
        li.load(onnx_model("Det", [normal(2, 3, 4)], opset=11))


# --- bits -------------------------------------------------------------------------------------------------------------

FLOATS = np.array([0.0, -0.0, 1.5, np.nan, np.inf, -np.inf, 1e-45], np.float32)


@pytest.mark.parametrize(
    ("x", "to"), [(FLOATS, "int32"), (FLOATS.view(np.int32), "float32"), (FLOATS.astype(np.float64), "int64")]
)
def test_bits(x, to):
    expected = [x.view(to)]
    kind = getattr(onnx.TensorProto, "DOUBLE" if to == "float64" else "FLOAT" if to == "float32" else to.upper())
    check(onnx_model("BitCast", [x], opset=26, result=to, to=kind), x, given=expected, opset=26)
    check(module(lambda x: x.view(getattr(torch, to))), x, to=("torch",))
    inputs = keras.Input(batch_shape=x.shape, dtype=x.dtype.name)
    graph = li.load(keras.Model(inputs, keras.ops.view(inputs, to)))
    np.testing.assert_array_equal(graph.run(x)[0].view(x.dtype), x)


def test_bits_of_another_width_are_refused():
    x = keras.Input((4,), dtype="float32")
    with pytest.raises(Refused, match="width"):
        li.load(keras.Model(x, keras.ops.view(x, "int16")))


# --- centred crops ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [(5, 7, 9), (4, 4, 4), (1, 9, 6), (8, 6, 7)], ids=str)
@pytest.mark.parametrize("axes", [None, (1, -1, 0)])
def test_centred_crops(wanted, axes):
    x = normal(5, 7, 8)
    model = onnx_model("CenterCropPad", [x], [np.array(wanted)], opset=18, axes=axes)
    check_by_definition(model, x)


# --- activations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [1.0, 1.702, -0.5])
def test_swish(alpha):
    x, y = normal(2, 3, 5), normal(2, 3, 5)
    graph = check_by_definition(onnx_model("Swish", [x], opset=24, alpha=alpha), x)
    assert (kinds(graph) == ["Silu"]) == (alpha == 1.0)
    check_by_definition(onnx_model("SwiGLU", [x, y], opset=NEWEST, alpha=alpha), x, y)


# --- statistics -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_statistics_of_a_layer_normalization(axis, dtype):
    x = normal(2, 3, 5, dtype=dtype)
    weights = [normal(*x.shape[axis:], dtype=dtype) for _ in range(2)]
    model = onnx_model("LayerNormalization", [x], weights, opset=17, outputs=3, shown=3, axis=axis, epsilon=0.01)
    for info in model.graph.output[1:]:
        info.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    graph = li.load(model)
    axes = tuple(range(axis % 3, 3))
    wide = x.astype(np.float64)
    mean, inverse = wide.mean(axes, keepdims=True), 1 / np.sqrt(wide.var(axes, keepdims=True) + 0.01)
    for target in ("torch", "onnx", "keras"):
        _, first, second = li.run(li.convert(model, to=target), [x]) if target != "onnx" else graph.run(x)
        np.testing.assert_allclose(first, mean, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(second, inverse, rtol=1e-5)
        assert first.dtype == second.dtype == np.float32


# --- optimizers -------------------------------------------------------------------------------------------------------

SETTINGS = {
    "Momentum": (1, {"alpha": 0.8, "beta": 0.3, "norm_coefficient": 0.02, "mode": "standard"}),
    "Adagrad": (1, {"decay_factor": 0.1, "epsilon": 1e-3, "norm_coefficient": 0.02}),
    "Adam": (2, {"alpha": 0.8, "beta": 0.95, "epsilon": 1e-3, "norm_coefficient": 0.02, "norm_coefficient_post": 0.1}),
}


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("kind", SETTINGS)
def test_optimizer_steps(kind, nesterov, count):
    states, settings = SETTINGS[kind]
    if nesterov:
        settings = {**settings, "mode": "nesterov"} if kind == "Momentum" else settings
    shapes = [(2, 3), (4,)]
    data = [np.abs(normal(*shape)) for _ in range(2 + states) for shape in shapes]
    rate, steps = np.array(0.1, np.float32), np.array(count, np.int64)
    outputs = 2 * (1 + states)
    model = onnx_model(kind, [rate, steps, *data], opset=1, outputs=outputs, shown=outputs,
                       domain="ai.onnx.preview.training", **settings)  # fmt: skip
    model.opset_import.append(onnx.helper.make_opsetid("", 17))
    check_by_definition(model, rate, steps, *data)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "domain", "why"),
    [
        ("Bernoulli", "", "random"), ("RandomNormalLike", "", "random"), ("ImageDecoder", "", "image"),
        ("Scaler", "ai.onnx.ml", "classical"), ("ZipMap", "ai.onnx.ml", "classical"),
    ],
)  # fmt: skip
def test_what_nothing_converts_is_refused_by_name(kind, domain, why):
    with pytest.raises(Refused, match=f"{kind}.*{why}"):
        li.load(onnx_model(kind, [np.ones((2, 3), np.float32)], opset=1 if domain else 20, domain=domain))


def test_what_is_refused_by_name_is_not_in_the_table_of_operators():
    assert "Bernoulli" not in li.support().to_markdown()
