"""Every system's spelling of the slope: what is written is read back, what is left out is that system's own default."""

from __future__ import annotations

import importlib
import inspect
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spelling_checks import TABLE, WRITTEN, only

from leaky_interop.errors import Refused, Usage
from leaky_interop.ops.activation import LeakyRelu
from leaky_interop.spellings import FORMULAS, read_file
from leaky_interop.spellings.openvino import IR

NASTY = [0.0, -0.0, 1.0, 1.5, 2.0, 0.01, 0.1, 0.2, 0.3, 1 / 3, -0.1, -1.0, 1e-8, 1e-45, 2e-45, 1.2e-38, 1e10, 1e38,
         3.4028235e38, 3.5e38, 1e39, 1e-46, 1e300, 5e-324, math.nan, math.inf, -math.inf, 0.1 + 2**-40, 123456.789]  # fmt: skip


def same(a: float | None, b: float) -> bool:
    """The same number: zeros have their sign, NaN is NaN."""
    return (a is not None and np.float64(a).tobytes() == np.float64(b).tobytes()) or (a != a and b != b)


def allowed_to_refuse(row, slope: float) -> bool:
    """What the table says, and what 32 bits or MXNet's reader of numbers cannot hold."""
    single = row.held == "float32"
    with np.errstate(over="ignore", under="ignore"):
        short = np.float32(slope)
    return (
        (slope < 0 and "negative" in row.refused)
        or (math.isinf(slope) and "infinite" in row.refused)
        or (math.isnan(slope) and "NaN" in row.refused)
        or row.only is not None
        or (single and ((np.isinf(short) and not math.isinf(slope)) or (short == 0 and slope != 0)))
        or (row.system == "MXNet" and "symbol" in row.api and not 1e-30 < abs(slope) < 1e30 and slope != 0)
    )


def check_round_trip(row, slope: float) -> None:
    try:
        made = row.write(LeakyRelu(negative_slope=slope), "act")
    except Refused as error:
        assert allowed_to_refuse(row, slope), f"{row} refuses {slope!r}: {error}"
        return
    back = only(row.read(made))
    expected = float(np.float32(slope)) if row.held == "float32" else slope
    assert same(back.slope, expected), (row, slope, made)
    assert back.given == ("stated" if row.only is None else "left out" if row.default == 0.2 else "hard-coded")
    assert (back.system, back.api) == (row.system, row.api)
    if row.system != "Darknet":  # whose layers have no names
        assert back.name == "act"


@pytest.mark.parametrize("row", WRITTEN, ids=str)
def test_what_is_written_is_read_back(row):
    for slope in NASTY:
        check_round_trip(row, slope)
    if row.only is not None:
        assert same(only(row.read(row.write(LeakyRelu(negative_slope=row.only)))).slope, row.hold(row.only))


@pytest.mark.parametrize("row", WRITTEN, ids=str)
@settings(max_examples=25, deadline=None)
@given(slope=st.one_of(st.floats(width=32), st.floats()))
def test_any_slope_is_read_back_or_refused(row, slope):
    check_round_trip(row, slope)


@pytest.mark.parametrize("row", WRITTEN, ids=str)
def test_reading_and_writing_again_changes_nothing(row):
    slope = row.only if row.only is not None else 1 / 3
    once = only(row.read(row.write(LeakyRelu(negative_slope=slope)))).op
    assert only(row.read(row.write(once))).op == once


@pytest.mark.parametrize(
    ("api", "slope", "why"),
    [
        ("activation=leaky", 0.2, "always 0.1"),
        ("keras.layers.LeakyReLU", -0.1, "negative.*keras.ops.leaky_relu"),
        ("LeakyReLU symbol", math.inf, "infinite"),
        ("LeakyReLU symbol", 1e-45, None),
        ("LeakyRelu", 1e39, "largest number of 32 bits"),
        ("LeakyRelu", 1e-46, "in 32 bits it is 0"),
        ("LEAKY_RELU", 1e39, "32 bits"),
        ("leaky_relu", math.nan, "NaN"),
        ("IActivationLayer, kLEAKY_RELU", math.inf, "infinite"),
    ],
)
def test_refusals_say_why(api, slope, why):
    if why is None:  # MXNet takes no exponent beyond 38, but another way to write the number
        assert same(
            only(TABLE[api].read(TABLE[api].write(LeakyRelu(negative_slope=slope)))).slope, float(np.float32(slope))
        )
        return
    with pytest.raises(Refused, match=why):
        TABLE[api].write(LeakyRelu(negative_slope=slope))


# --- what is left out ---------------------------------------------------------------------------------------------------

LEFT_OUT = {
    "keras.layers.LeakyReLU": ("import keras\nx = keras.layers.LeakyReLU()", 0.3),
    "keras.ops.leaky_relu": ("import keras\ny = keras.activations.leaky_relu(x)", 0.2),
    'activation="leaky_relu"': ('from tensorflow import keras\nkeras.layers.Dense(3, activation="leaky_relu")', 0.2),
    "tf_keras.layers.LeakyReLU": ("from tf_keras.layers import LeakyReLU\nx = LeakyReLU()", np.float32(0.3)),
    "tf.nn.leaky_relu": ("import tensorflow as tf\ny = tf.nn.leaky_relu(x)", np.float32(0.2)),
    "torch.nn.LeakyReLU": ("from torch import nn\nx = nn.LeakyReLU(inplace=True)", 0.01),
    "torch.nn.functional.leaky_relu": ("import torch.nn.functional as F\ny = F.leaky_relu(x)", 0.01),
    "jax.nn.leaky_relu": ("import jax\ny = jax.nn.leaky_relu(x)", 0.01),
    "flax.linen.leaky_relu": ("from flax import linen as nn\ny = nn.leaky_relu(x)", 0.01),
    "paddle.nn.LeakyReLU": ("import paddle.nn as nn\nx = nn.LeakyReLU()", 0.01),
    "paddle.nn.functional.leaky_relu": ("from paddle.nn import functional as F\ny = F.leaky_relu(x)", 0.01),
    "chainer.functions.leaky_relu": ("import chainer.functions as F\ny = F.leaky_relu(x)", 0.2),
    "mindspore.nn.LeakyReLU": ("from mindspore import nn\nx = nn.LeakyReLU()", np.float32(0.2)),
    "mindspore.ops.leaky_relu": ("from mindspore import ops\ny = ops.leaky_relu(x)", np.float32(0.2)),
    "tinygrad.Tensor.leaky_relu": ("from tinygrad import Tensor\ny = Tensor([1]).leaky_relu()", 0.01),
    "mlx.nn.LeakyReLU": ("import mlx.nn as nn\nx = nn.LeakyReLU()", 0.01),
    "mlx.nn.leaky_relu": ("import mlx.nn as nn\ny = nn.leaky_relu(x)", 0.01),
    "oneflow.nn.LeakyReLU": ("import oneflow as flow\ny = flow.nn.LeakyReLU()", np.float32(0.01)),
    "nnabla.functions.leaky_relu": ("import nnabla.functions as F\ny = F.leaky_relu(x)", np.float32(0.1)),
    "tvm.relax.op.nn.leakyrelu": ("from tvm import relax\ny = relax.op.nn.leakyrelu(x)", 0.01),
    "lasagne.nonlinearities.LeakyRectify": (
        "from lasagne.nonlinearities import LeakyRectify\nx = LeakyRectify()",
        np.float32(0.01),
    ),
    "cntk.leaky_relu": ("import cntk as C\ny = C.leaky_relu(x)", 0.01),
    "LeakyRelu operator": (None, np.float32(0.2)),
    "LeakyRelu": (None, np.float32(0.01)),
    "ReLU layer": ('layer {\n  name: "y" type: "ReLU" bottom: "x" top: "y"\n}', 0.0),
    "LeakyReLU symbol": ('{"nodes": [{"op": "LeakyReLU", "name": "y", "inputs": [[0, 0, 0]]}]}', 0.25),
    "leakyrelu": ("using Flux\nmodel = Chain(Dense(3 => 4, leakyrelu))", 0.01),
    "tf.leakyRelu": ("const y = tf.leakyRelu(x);", np.float32(0.2)),
    "tf.layers.leakyReLU": ("const y = tf.layers.leakyReLU();", np.float32(0.3)),
}  # fmt: skip


def without_alpha(api: str) -> bytes:
    """A graph of onnx or of TensorFlow with a node that states nothing."""
    if api == "LeakyRelu":
        from onnx import helper

        node = helper.make_node("LeakyRelu", ["x"], ["y"])
        return helper.make_model(helper.make_graph([node], "g", [], [])).SerializeToString()
    from tensorflow.compat.v1 import GraphDef, NodeDef

    return GraphDef(node=[NodeDef(name="y", op="LeakyRelu", input=["x"])]).SerializeToString()


@pytest.mark.parametrize("api", LEFT_OUT)
def test_a_slope_that_is_left_out_is_the_systems_own_default(api):
    text, slope = LEFT_OUT[api]
    found = only(TABLE[api].read(without_alpha(api) if text is None else text))
    assert (found.given, found.slope) == ("left out", float(slope))


def test_an_alpha_that_a_tflite_leaves_out_is_0(monkeypatch):
    monkeypatch.setattr(pytest.importorskip("flatbuffers").Builder, "ForceDefaults", lambda builder, force: None)
    found = only(TABLE["LEAKY_RELU"].read(TABLE["LEAKY_RELU"].write(LeakyRelu(negative_slope=0.0), "act")))
    assert (found.given, found.slope, found.name) == ("left out", 0.0, "act")


def test_where_no_default_is_known_a_slope_that_is_left_out_is_no_number():
    found = only(TABLE["leaky_relu"].read("y = leaky_relu(x);"))
    assert (found.op, found.note) == (None, "it has to be stated")


def test_every_row_with_a_default_has_a_text_that_leaves_it_out():
    reads = {row.api for row in WRITTEN if row.default is not None and row.only is None}
    tested = set(LEFT_OUT) | {"LEAKY_RELU", "ActivationLeakyReLU", "activation=leaky"}
    assert reads <= tested


LIVE = [
    ("torch.nn.LeakyReLU", "torch.nn", "LeakyReLU", "negative_slope"),
    ("torch.nn.functional.leaky_relu", "torch.nn.functional", "leaky_relu", "negative_slope"),
    ("keras.layers.LeakyReLU", "keras.layers", "LeakyReLU", "negative_slope"),
    ("keras.ops.leaky_relu", "keras.ops", "leaky_relu", "negative_slope"),
    ("keras.ops.leaky_relu", "keras.activations", "leaky_relu", "negative_slope"),
    ("tf.nn.leaky_relu", "tensorflow.nn", "leaky_relu", "alpha"),
    ("tf_keras.layers.LeakyReLU", "tf_keras.layers", "LeakyReLU", "alpha"),
    ("jax.nn.leaky_relu", "jax.nn", "leaky_relu", "negative_slope"),
    ("flax.linen.leaky_relu", "flax.linen", "leaky_relu", "negative_slope"),
    ("paddle.nn.LeakyReLU", "paddle.nn", "LeakyReLU", "negative_slope"),
    ("paddle.nn.functional.leaky_relu", "paddle.nn.functional", "leaky_relu", "negative_slope"),
    ("chainer.functions.leaky_relu", "chainer.functions", "leaky_relu", "slope"),
    ("tinygrad.Tensor.leaky_relu", "tinygrad.Tensor", "leaky_relu", "neg_slope"),
    ("mlx.nn.leaky_relu", "mlx.nn", "leaky_relu", "negative_slope"),
    ("mindspore.ops.leaky_relu", "mindspore.ops", "leaky_relu", "alpha"),
    ("nnabla.functions.leaky_relu", "nnabla.functions", "leaky_relu", "alpha"),
]


@pytest.mark.parametrize(("api", "module", "name", "parameter"), LIVE, ids=lambda part: str(part))
def test_the_default_is_the_one_in_the_frameworks_own_signature(api, module, name, parameter):
    pytest.importorskip(module.partition(".")[0])
    try:
        home = importlib.import_module(module)
    except ImportError:
        home = getattr(importlib.import_module(module.rpartition(".")[0]), module.rpartition(".")[2])
    made = inspect.signature(getattr(home, name)).parameters[parameter].default
    assert made == TABLE[api].default
    assert parameter == TABLE[api].parameter


def test_the_default_is_the_one_in_the_formats_own_schema():
    import onnx
    import tensorflow
    from tensorflow.lite.python import schema_py_generated

    for version in (1, 6, 16):
        schema = onnx.defs.get_schema("LeakyRelu", version, "")
        assert TABLE["LeakyRelu"].hold(0.01) == schema.attributes["alpha"].default_value.f
    definition = tensorflow.raw_ops.LeakyRelu
    assert inspect.signature(definition).parameters["alpha"].default == TABLE["LeakyRelu operator"].default
    assert schema_py_generated.LeakyReluOptionsT().alpha == TABLE["LEAKY_RELU"].default
    assert schema_py_generated.BuiltinOperator.LEAKY_RELU == 98
    assert schema_py_generated.BuiltinOptions.LeakyReluOptions == 75


# --- files, the table ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", WRITTEN, ids=str)
def test_a_file_of_each_system_is_known_by_its_name(row, tmp_path):
    suffixes = {"TensorFlow.js": ".js", "Caffe": ".prototxt", "Darknet": ".cfg", "ncnn": ".param", "NNEF": ".nnef", "Flux": ".jl",
                "LiteRT": ".tflite", "Core ML": ".mlmodel", "OpenVINO": ".xml"}  # fmt: skip
    made = row.write(LeakyRelu(negative_slope=row.only or 0.2), "act")
    suffix = suffixes.get(row.system, ".py")
    if row.api in ("LeakyReLU symbol", "LeakyRelu operator", "LeakyRelu"):
        suffix = {"MXNet": ".json", "TensorFlow": ".pb", "ONNX": ".onnx"}[row.system]
    path = tmp_path / f"net{suffix}"
    if isinstance(made, IR):
        path.with_suffix(".bin").write_bytes(made.bin)
        made = made.xml
    if row.system == "ONNX":
        made = made.SerializeToString()
    if suffix == ".py" and row.system != "TensorRT":
        made = f"import {row.line.partition('.')[0]}\n".replace("import tf\n", "import tensorflow as tf\n") + made
    path.write_bytes(made.encode() if isinstance(made, str) else made)
    found = only(read_file(path))
    assert found.system == row.system
    assert np.float32(found.slope) == np.float32(row.only or 0.2)


def test_folders_and_whole_networks(tmp_path):
    import keras

    inside = tmp_path / "net.mlpackage" / "Data" / "com.apple.CoreML"
    inside.mkdir(parents=True)
    (inside / "model.mlmodel").write_bytes(TABLE["MIL leaky_relu"].write(LeakyRelu(negative_slope=0.3), "act"))
    assert only(read_file(tmp_path / "net.mlpackage")).slope == np.float32(0.3)
    layers = [keras.Input((4, 3)), keras.layers.LeakyReLU(0.4, name="leaky"), keras.layers.PReLU(name="weights")]
    keras.Sequential(layers).save(tmp_path / "net.keras")
    (tmp_path / "net.m").write_text(
        "layers = [\n    imageInputLayer([4 4 1])\n    leakyReluLayer('Name','bare')\n    leakyReluLayer(0.4,'Name','stated')\n]\n"
    )
    assert [(f.name, f.slope, f.given, f.system) for f in read_file(tmp_path / "net.m")] == [
        ("bare", 0.01, "left out", "MATLAB"),
        ("stated", 0.4, "stated", "MATLAB"),
    ]
    leaky, weights = read_file(tmp_path / "net.keras")
    assert (leaky.name, leaky.slope, leaky.given, leaky.system) == ("leaky", 0.4, "stated", "Keras 3")
    assert (weights.op, weights.note) == (None, "PReLU, weights: 0.0 to 0.0")


def test_the_table_has_every_system_once():
    apis = [(row.system, row.api) for row in TABLE]
    assert len(set(apis)) == len(apis)
    systems = {row.system for row in TABLE}
    assert systems >= {
        "Keras 3", "Keras 2", "TensorFlow", "PyTorch", "ONNX", "JAX", "Flax", "LiteRT", "OpenVINO", "Core ML", "Darknet", "Caffe",
        "MXNet", "PaddlePaddle", "Chainer", "ncnn", "TensorRT", "NNEF", "Lasagne", "Flux", "MATLAB",
    }  # fmt: skip
    for row in TABLE:
        assert row.formula in FORMULAS
        assert row.source
        assert row.default is None or row.only is None or row.default == row.only
    markdown = TABLE.to_markdown()
    assert markdown.count("\n") == len(TABLE) + 2
    assert all(line.replace("\\|", "").count("|") == 9 for line in markdown.splitlines())
    assert {row["api"] for row in json.loads(TABLE.to_json())} == {row.api for row in TABLE}
    assert "tf.nn.leaky_relu" in str(TABLE)


def test_rows_are_found_by_system_and_by_api():
    assert {row.api for row in TABLE.of("Keras 3")} >= {"keras.layers.LeakyReLU", "keras.ops.leaky_relu"}
    assert {row.system for row in TABLE.of("keras")} == {"Keras 2", "Keras 3"}
    assert TABLE["jax.nn.leaky_relu"].system == "JAX"
    assert TABLE.of("torch")[0].system == "PyTorch"
    with pytest.raises(Usage, match="Systems: Keras 3"):
        TABLE.of("caffeine")


def test_formulas_agree_where_they_should_and_nowhere_else():
    x = np.float64([-3.0, -0.25, 0.0, 0.5, 7.0])
    for a in (0.0, 0.25, 1.0):
        for formula in FORMULAS.values():
            np.testing.assert_allclose(formula(x, a), np.where(x > 0, x, a * x), atol=1e-15)
    differ = {
        name for name, formula in FORMULAS.items() if not np.allclose(formula(x, 2.0), np.where(x > 0, x, 2.0 * x))
    }
    assert differ == {"max(x, a*x)"}


def test_what_is_not_written_or_read_says_so():
    with pytest.raises(Usage):
        TABLE["keras.layers.PReLU"].write(LeakyRelu(negative_slope=0.1))
    with pytest.raises(Usage):
        TABLE["keras.layers.PReLU"].read("")
    with pytest.raises(Usage, match="no name in Python"):
        TABLE["jax.nn.leaky_relu"].write(LeakyRelu(negative_slope=0.1), "not a name")
