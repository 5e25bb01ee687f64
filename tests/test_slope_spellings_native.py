"""The slope in every native spelling of Keras, PyTorch and ONNX: what is stated, and what is meant where it is not."""

import functools
import json
import zipfile
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from family_checks import check, kinds, onnx_model
from native import Applied, in_keras
from onnx import TensorProto, helper, numpy_helper

import leaky_interop as li
from leaky_interop.errors import Refused
from leaky_interop.ops.activation import LeakyRelu, PRelu
from leaky_interop.ops.relu import CappedLeakyRelu

FRAMEWORKS = ("keras", "torch", "onnx")
X = np.random.default_rng(6).uniform(-8, 8, (2, 5)).astype(np.float32)
IMAGES = np.random.default_rng(7).uniform(-8, 8, (2, 3, 6, 6)).astype(np.float32)
STATED = 0.15  # nobody's default
layers, ops, activations = keras.layers, keras.ops, keras.activations
F = torch.nn.functional


def slopes(model, x=X):
    """Every leaky slope of a network, in order."""
    graph = li.load(model, (x,))
    return [n.op.negative_slope for n in graph.nodes if isinstance(n.op, LeakyRelu)]


def arrives(model, slope, x=X):
    """The slope, alone, is read and arrives in every framework; so do the numbers."""
    check(model, x)
    assert slopes(model, x) == [slope]
    for target in FRAMEWORKS:
        held = pytest.approx(slope, rel=2**-24) if target == "onnx" else slope  # ONNX holds 32 bits
        assert slopes(li.convert(model, target, example=(x,)), x) == [held], target


# --- Keras 3 ----------------------------------------------------------------------------------------------------------


class Custom(layers.Layer):
    def call(self, x):
        return activations.leaky_relu(x, negative_slope=STATED)


KERAS = {
    "layer": (layers.LeakyReLU, 0.3),
    "layer, stated": (lambda: layers.LeakyReLU(STATED), STATED),
    "layer, above one": (lambda: layers.LeakyReLU(negative_slope=1.5), 1.5),
    "layer, whole number": (lambda: layers.LeakyReLU(negative_slope=2), 2.0),
    "layer, array": (lambda: layers.LeakyReLU(np.float32(STATED)), float(np.float32(STATED))),
    "relu layer": (lambda: layers.ReLU(negative_slope=STATED), STATED),
    "activation by name": (lambda: layers.Activation("leaky_relu"), 0.2),
    "activation by function": (lambda: layers.Activation(activations.leaky_relu), 0.2),
    "activation by operation": (lambda: layers.Activation(ops.leaky_relu), 0.2),
    "activation by layer": (lambda: layers.Activation(layers.LeakyReLU(STATED)), STATED),
    "activation by layer, left out": (lambda: layers.Activation(layers.LeakyReLU()), 0.3),
    "activation by partial": (
        lambda: layers.Activation(functools.partial(activations.leaky_relu, negative_slope=STATED)),
        STATED,
    ),
    "activation by partial of an operation": (
        lambda: layers.Activation(functools.partial(ops.leaky_relu, negative_slope=STATED)), STATED,
    ),
    "activation by lambda": (lambda: layers.Activation(lambda x: ops.leaky_relu(x, STATED)), STATED),
    "lambda layer": (lambda: layers.Lambda(lambda x: ops.leaky_relu(x, STATED)), STATED),
    "custom layer": (Custom, STATED),
    "operation": (lambda: ops.leaky_relu, 0.2),
    "operation by position": (lambda: lambda x: ops.leaky_relu(x, STATED), STATED),
    "operation by name": (lambda: lambda x: ops.leaky_relu(x, negative_slope=STATED), STATED),
    "operation of keras.ops.nn": (lambda: lambda x: ops.nn.leaky_relu(x, -0.4), -0.4),
    "function": (lambda: activations.leaky_relu, 0.2),
    "function, stated": (lambda: lambda x: activations.leaky_relu(x, STATED), STATED),
    "function found by name": (lambda: activations.get("leaky_relu"), 0.2),
    "relu function": (lambda: lambda x: activations.relu(x, negative_slope=STATED), STATED),
    "dense by name": (lambda: layers.Dense(5, activation="leaky_relu"), 0.2),
    "dense by layer": (lambda: layers.Dense(5, activation=layers.LeakyReLU(0.4)), 0.4),
    "dense by layer, left out": (lambda: layers.Dense(5, activation=layers.LeakyReLU()), 0.3),
    "dense by relu layer": (lambda: layers.Dense(5, activation=layers.ReLU(negative_slope=STATED)), STATED),
    "dense by partial": (
        lambda: layers.Dense(5, activation=functools.partial(activations.leaky_relu, negative_slope=STATED)), STATED,
    ),
    "layer of a configuration": (lambda: layers.deserialize(layers.serialize(layers.LeakyReLU(STATED))), STATED),
}  # fmt: skip


@pytest.mark.parametrize("name", KERAS)
def test_keras_3(name):
    make, slope = KERAS[name]
    arrives(in_keras(make(), X), slope)


def test_keras_3_with_the_old_name():
    with pytest.warns(UserWarning, match="alpha"):
        layer = layers.LeakyReLU(alpha=STATED)
    arrives(in_keras(layer, X), STATED)


@pytest.mark.parametrize("threshold, cap", [(0.0, 4.5), (0.75, None), (0.75, 4.5)])
def test_keras_3_relu_keeps_all_three_settings(threshold, cap):
    for function in (
        layers.ReLU(max_value=cap, negative_slope=STATED, threshold=threshold),
        lambda x: activations.relu(x, negative_slope=STATED, max_value=cap, threshold=threshold),
    ):
        (node,) = check(in_keras(function, X), X).nodes
        assert node.op == CappedLeakyRelu(negative_slope=STATED, threshold=threshold, max_value=cap)


SAVED = ["layer", "layer, stated", "relu layer", "activation by name", "activation by layer", "dense by name",
         "dense by layer", "dense by relu layer", "function", "operation by name"]  # fmt: skip


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", SAVED)
def test_keras_3_files(tmp_path, name, suffix):
    if suffix == ".h5" and name in ("function", "operation by name"):
        pytest.skip("Keras itself does not read an operation back from this format")
    make, slope = KERAS[name]
    path = tmp_path / f"net{suffix}"
    in_keras(make(), X).save(path)
    arrives(path, slope)


# --- files of Keras 1 and 2 -------------------------------------------------------------------------------------------

HELD = float(np.float32(STATED))
ARRAYS = {  # as files have the slope, and the number that they hold
    "number": (STATED, STATED),
    "32 bits": (0.15000000596046448, 0.15000000596046448),
    "array of Keras 1": ({"type": "ndarray", "value": STATED}, STATED),
    "array of Keras 2, a list": ({"type": "ndarray", "value": [STATED]}, STATED),
    "array of Keras 3": ({"class_name": "__numpy__", "config": {"value": STATED, "dtype": "float32"}}, HELD),
    "array of 64 bits": ({"class_name": "__numpy__", "config": {"value": STATED, "dtype": "float64"}}, STATED),
}


def edited(path, change, version):
    """A .keras file of a LeakyReLU layer with another configuration, as this version of Keras would have written it."""
    in_keras(layers.LeakyReLU(0.9, name="bent"), X).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config, metadata = (json.loads(members[n]) for n in ("config.json", "metadata.json"))
    (layer,) = (row for row in config["config"]["layers"] if row["class_name"] == "LeakyReLU")
    change(layer["config"])
    metadata["keras_version"] = version
    members["config.json"], members["metadata.json"] = json.dumps(config), json.dumps(metadata)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("version, key", [("2.15.0", "alpha"), ("3.4.0", "negative_slope")])
@pytest.mark.parametrize("written", ARRAYS)
def test_a_file_keeps_the_slope_that_it_holds(tmp_path, written, version, key):
    def change(config):
        del config["negative_slope"]
        config[key] = ARRAYS[written][0]

    if written.startswith(("array of Keras 1", "array of Keras 2")) and version[0] == "3":
        pytest.skip("Keras 3 never wrote it")
    path = edited(tmp_path / "net.keras", change, version)
    assert slopes(path) == [ARRAYS[written][1]]


@pytest.mark.parametrize("version", ["2.15.0", "3.4.0"])
def test_a_file_that_leaves_the_slope_out_means_the_layers_default(tmp_path, version):
    path = edited(tmp_path / "net.keras", lambda config: config.pop("negative_slope"), version)
    arrives(path, 0.3)


OLD = Path(__file__).parent / "keras2"


@pytest.mark.parametrize(
    "name, near", [("leaky_relu.h5", 0.1), ("leaky_relu.keras", 0.1), ("leaky_relu_default.h5", 0.3)]
)
def test_keras_2_stored_its_slopes_in_32_bits_and_that_number_is_kept(name, near):
    """Keras 2 rounded the slope before it saved it: 0.3 is in the file as 0.30000001192092896, and stays that number.

    To a float32 network both are one slope; to a float64 one the file's is what Keras 2 computed with.
    """
    held = float(np.float32(near))
    x = np.zeros((2, 3), np.float32)
    assert held != near and slopes(OLD / name, x) == [held]
    assert slopes(li.convert(OLD / name, "torch"), x) == [held]
    assert slopes(li.convert(OLD / name, "onnx"), x) == [near]  # 32 bits hold both; the shorter one is said


def test_the_table_of_a_file_that_two_versions_wrote_differently(tmp_path):
    """Both names at once: Keras 3's own name is the one that counts, whoever added the other."""
    path = edited(tmp_path / "net.keras", lambda config: config.update(alpha=0.4, negative_slope=STATED), "2.15.0")
    assert slopes(path) == [STATED]


# --- PyTorch ----------------------------------------------------------------------------------------------------------

TORCH = {
    "module": (torch.nn.LeakyReLU(), 0.01),
    "module, stated": (torch.nn.LeakyReLU(STATED), STATED),
    "module, negative": (torch.nn.LeakyReLU(-STATED), -STATED),
    "module in place": (torch.nn.Sequential(torch.nn.Identity(), torch.nn.LeakyReLU(STATED, inplace=True)), STATED),
    "module, whole number": (torch.nn.LeakyReLU(2), 2.0),
    "module, array": (torch.nn.LeakyReLU(float(np.float32(STATED))), HELD),
    "functional": (Applied(F.leaky_relu), 0.01),
    "functional, stated": (Applied(lambda x: F.leaky_relu(x, STATED)), STATED),
    "functional, by name": (Applied(lambda x: F.leaky_relu(x, negative_slope=STATED)), STATED),
    "functional in place": (Applied(lambda x: F.leaky_relu(x + 0, STATED, True)), STATED),
    "functional in place, left out": (Applied(lambda x: F.leaky_relu_(x + 0)), 0.01),
    "ATen": (Applied(lambda x: torch.ops.aten.leaky_relu(x, STATED)), STATED),
    "ATen, left out": (Applied(lambda x: torch.ops.aten.leaky_relu(x)), 0.01),
    "ATen, overload": (Applied(lambda x: torch.ops.aten.leaky_relu.default(x, STATED)), STATED),
    "ATen in place": (Applied(lambda x: torch.ops.aten.leaky_relu_(x + 0, STATED)), STATED),
    "C function": (Applied(lambda x: torch._C._nn.leaky_relu(x, STATED)), STATED),
    "RReLU": (torch.nn.RReLU().eval(), (1 / 8 + 1 / 3) / 2),
    "RReLU, stated": (torch.nn.RReLU(0.1, 0.7).eval(), (0.1 + 0.7) / 2),
    "RReLU in place": (
        torch.nn.Sequential(torch.nn.Identity(), torch.nn.RReLU(0.1, 0.7, inplace=True)).eval(), (0.1 + 0.7) / 2,
    ),
    "functional RReLU": (Applied(F.rrelu).eval(), (1 / 8 + 1 / 3) / 2),
    "functional RReLU, stated": (Applied(lambda x: F.rrelu(x, 0.1, 0.7, training=False)), (0.1 + 0.7) / 2),
    "torch.rrelu": (Applied(lambda x: torch.rrelu(x, 0.1, 0.7)), (0.1 + 0.7) / 2),
}  # fmt: skip


@pytest.mark.parametrize("name", TORCH)
def test_torch(name):
    arrives(*TORCH[name])


@pytest.mark.parametrize("name", ["module", "module, stated", "functional, stated", "RReLU, stated"])
def test_torch_files(tmp_path, name):
    model, slope = TORCH[name]
    torch.export.save(torch.export.export(model, (torch.from_numpy(X),)), tmp_path / "net.pt2")
    assert slopes(tmp_path / "net.pt2") == [slope]


def test_torch_decomposed():
    """What is left of the operator when a compiler takes it apart."""
    program = torch.export.export(torch.nn.LeakyReLU(STATED), (torch.from_numpy(X),))
    table = torch._decomp.get_decompositions([torch.ops.aten.leaky_relu.default])
    program = program.run_decompositions(table)
    assert "aten.leaky_relu" not in str(program.graph)
    arrives(program, STATED)


def test_torch_rrelu_decomposed():
    program = torch.export.export(torch.nn.RReLU(0.1, 0.7).eval(), (torch.from_numpy(X),)).run_decompositions()
    assert "rrelu_with_noise_functional" in str(program.graph)
    arrives(program, (0.1 + 0.7) / 2)


# --- ONNX -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [None, STATED, 0.01, -0.4, 1.5, 0.0])
@pytest.mark.parametrize("opset", [1, 6, 9, 15, 16, 22])
def test_onnx(opset, given):
    attributes = {} if given is None else {"alpha": given}
    if opset == 1:
        attributes["consumed_inputs"] = [1]
    slope = 0.01 if given is None else given
    model = onnx_model("LeakyRelu", [X], opset=opset, **attributes)
    graph = check(model, X, given=[np.where(X >= 0, X, X * np.float32(slope))] if opset < 6 else None)
    assert slopes(model) == [slope]
    (found,) = li.inspect(model).slopes
    assert found.value == slope and ("leaves alpha out" in found.given) == (given is None)
    for target in FRAMEWORKS:
        assert slopes(li.convert(model, target)) == [slope]
    assert kinds(graph) == ["LeakyRelu"]


def test_onnx_under_the_long_name_of_its_domain():
    model = onnx_model("LeakyRelu", [X], opset=16, domain="ai.onnx", alpha=STATED)
    assert slopes(model) == [STATED]


@pytest.mark.parametrize("opset", [1, 6, 7, 9, 16])
@pytest.mark.parametrize("shape", [(1,), (3,), (3, 1, 1), ()])
def test_onnx_prelu(opset, shape):
    slope = np.random.default_rng(1).uniform(-0.5, 1.5, shape).astype(np.float32)
    if opset < 7 and len(shape) != 1:
        pytest.skip("before opset 7 a slope is one number or one per channel")
    if opset >= 7 and shape == (3,):
        pytest.skip("since opset 7 this belongs to the last axis, which has 6 numbers")
    full = slope.reshape(-1, 1, 1) if shape == (3,) else slope
    model = onnx_model("PRelu", [IMAGES], [slope], opset=opset)
    graph = check(model, IMAGES, given=[np.where(IMAGES < 0, IMAGES * full, IMAGES)])
    constant = shape == ()  # a number in the file is a constant, an array a weight
    assert graph.nodes[0].op == (LeakyRelu(negative_slope=float(str(slope))) if constant else PRelu())


# --- onnxruntime's own operators --------------------------------------------------------------------------------------


def fusable(activation, images, **attributes):
    """A convolution and a product of matrices, each with an activation behind it."""
    rng = np.random.default_rng(2)
    bounds = ["low", "high"] if activation == "Clip" else []
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], pads=[1, 2, 0, 1], strides=[2, 1]),
        helper.make_node(activation, ["c", *bounds], ["d"], **attributes),
        helper.make_node("Flatten", ["d"], ["f"]),
        helper.make_node("Gemm", ["f", "g"], ["h"]),
        helper.make_node(activation, ["h", *bounds], ["y"], **attributes),
    ]
    sizes = {"w": (4, 3, 3, 3), "b": (4,), "g": (3 * 7 * 4, 5)}
    weights = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in sizes.items()]
    weights += [numpy_helper.from_array(np.float32(v), n) for n, v in (("low", -0.25), ("high", 2.5)) if bounds]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", images.shape), ("y", None))]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)


def optimised(model, path):
    """The model as onnxruntime saves it once it has fused what it can."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(path)


FUSED = {
    "LeakyRelu": {"alpha": STATED}, "LeakyRelu, left out": {}, "Relu": {}, "Tanh": {}, "Sigmoid": {},
    "HardSigmoid": {"alpha": 0.3, "beta": 0.4}, "Clip": {},
}  # fmt: skip


@pytest.mark.parametrize("name", FUSED)
def test_what_onnxruntime_fused_is_read(name, tmp_path):
    kind, _, left_out = name.partition(",")
    plain = fusable(kind, IMAGES, **FUSED[name])
    model = optimised(plain, tmp_path / "net.onnx")
    domains = {n.op_type for n in model.graph.node if n.domain}
    assert domains == ({"FusedConv"} if kind == "Clip" else {"FusedConv", "FusedGemm"})
    graph = li.load(model)
    assert [n.op for n in graph.nodes] == [n.op for n in li.load(plain).nodes]
    if kind == "LeakyRelu":
        assert slopes(model, IMAGES) == [0.01 if left_out else STATED] * 2
    for target in FRAMEWORKS:
        report = li.verify(model, li.convert(model, target), [IMAGES])
        assert report.passed, str(report)


def test_a_fused_sum_comes_before_the_activation():
    rng = np.random.default_rng(3)
    kernel, bias, added = (rng.standard_normal(s).astype(np.float32) for s in ((4, 3, 1, 1), (4,), (2, 4, 6, 6)))
    model = onnx_model(
        "FusedConv", [IMAGES], [kernel, bias, added], opset=1, domain="com.microsoft", activation="LeakyRelu",
        activation_params=[STATED],
    )  # fmt: skip
    model.opset_import.append(helper.make_opsetid("", 16))
    graph = check(model, IMAGES)
    assert kinds(graph) == ["Conv", "Add", "LeakyRelu"]


@pytest.mark.parametrize(
    "attributes", [{"activation": "LeakyRelu"}, {"activation": "Elu", "activation_params": [1.0]},
                   {"activation": "LeakyRelu", "activation_params": [0.1, 0.2]}],
)  # fmt: skip
def test_a_fused_activation_that_does_not_say_its_numbers_is_refused(attributes):
    """onnxruntime refuses these too."""
    kernel = np.ones((4, 3, 1, 1), np.float32)
    model = onnx_model("FusedConv", [IMAGES], [kernel], opset=1, domain="com.microsoft", **attributes)
    model.opset_import.append(helper.make_opsetid("", 16))
    with pytest.raises(Refused, match="before onnxruntime optimised it"):
        li.load(model)
    with pytest.raises(Exception, match=r"activation|Activation|Elu"):
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def quantised(kind, alpha, scale, zero, out_scale, out_zero):
    codes = np.iinfo(kind)
    x = np.arange(codes.min, codes.max + 1).astype(kind)
    attributes = {} if alpha is None else {"alpha": alpha}
    weights = [np.float32(scale), np.asarray(zero, kind), np.float32(out_scale), np.asarray(out_zero, kind)]
    model = onnx_model("QLinearLeakyRelu", [x], weights, opset=1, domain="com.microsoft", **attributes)
    model.opset_import.append(helper.make_opsetid("", 16))
    return model, x


@pytest.mark.parametrize("alpha", [None, STATED, 1 / 3, 1.5, -0.5, 0.0])
@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_R12_a_quantised_leaky_relu_is_exact_on_every_code(kind, alpha):
    """With scales of the result that make it saturate, and with zeros of the codes off the middle."""
    rng = np.random.default_rng(4)
    codes = np.iinfo(kind)
    for scale, out_scale in ((0.05, 0.05), (0.05, 0.013), (0.9, 7.0), tuple(10 ** rng.uniform(-3, 1, 2))):
        zero, out_zero = rng.integers(codes.min, codes.max + 1, 2)
        model, x = quantised(kind, alpha, scale, zero, out_scale, out_zero)
        expected = li.run(model, [x])[0]
        graph = li.load(model)
        assert np.array_equal(graph.run(x)[0], expected)
        (slope,) = (n.op.negative_slope for n in graph.nodes if isinstance(n.op, LeakyRelu))
        assert slope == (0.01 if alpha is None else pytest.approx(alpha, rel=1e-7))
        for target in FRAMEWORKS:
            assert np.array_equal(li.run(li.convert(model, target), [x])[0], expected)


@pytest.mark.parametrize("kind", ["QAttention", "BeamSearch"])
def test_other_operators_of_that_domain_are_named(kind):
    model = onnx_model(kind, [X], opset=1, domain="com.microsoft")
    with pytest.raises(Refused, match=f"com.microsoft.{kind}"):
        li.load(model)
