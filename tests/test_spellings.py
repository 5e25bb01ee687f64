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

import leaky_interop as li
from leaky_interop.cli import console, main
from leaky_interop.errors import LeakyInteropError, Refused, UnsafeFile, Usage
from leaky_interop.ops.activation import LeakyRelu
from leaky_interop.spellings import FORMULAS, keras_json, mxnet, ncnn, python_source, read_file
from leaky_interop.spellings import files as files_of_slopes
from leaky_interop.spellings.openvino import IR

TABLE = li.spellings()
WRITTEN = [row for row in TABLE if row.writer is not None]
NASTY = [0.0, -0.0, 1.0, 1.5, 2.0, 0.01, 0.1, 0.2, 0.3, 1 / 3, -0.1, -1.0, 1e-8, 1e-45, 2e-45, 1.2e-38, 1e10, 1e38,
         3.4028235e38, 3.5e38, 1e39, 1e-46, 1e300, 5e-324, math.nan, math.inf, -math.inf, 0.1 + 2**-40, 123456.789]  # fmt: skip


def same(a: float | None, b: float) -> bool:
    """The same number: zeros have their sign, NaN is NaN."""
    return (a is not None and np.float64(a).tobytes() == np.float64(b).tobytes()) or (a != a and b != b)


def only(found):
    (slope,) = found
    return slope


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


# --- the frameworks themselves read what is written ----------------------------------------------------------------------

X = np.float32([-3.0, -0.5, -0.0, 0.0, 0.25, 7.0])
SLOPES = (0.2, 1 / 3, 1.5, -0.5, 0.0)


@pytest.mark.parametrize("slope", SLOPES)
def test_tensorflow_computes_what_is_written(slope):
    import tensorflow as tf

    made = TABLE["LeakyRelu operator"].write(LeakyRelu(negative_slope=slope), "act")
    definition = tf.compat.v1.GraphDef.FromString(made)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with tf.compat.v1.Session(graph=graph) as session:
            result = session.run("act:0", {"x:0": X})
    np.testing.assert_array_equal(result, np.where(X > 0, X, np.float32(slope) * X))


@pytest.mark.parametrize("slope", SLOPES)
@pytest.mark.filterwarnings("ignore")
def test_tensorflow_lite_computes_what_is_written(slope):
    import tensorflow as tf

    made = TABLE["LEAKY_RELU"].write(LeakyRelu(negative_slope=slope), "act")
    interpreter = tf.lite.Interpreter(model_content=made)
    interpreter.allocate_tensors()
    ((source,), (target,)) = interpreter.get_input_details(), interpreter.get_output_details()
    assert target["name"] == "act"
    for x in X:
        interpreter.set_tensor(source["index"], x[None])
        interpreter.invoke()
        np.testing.assert_array_equal(interpreter.get_tensor(target["index"]), [x if x >= 0 else np.float32(slope) * x])


@pytest.mark.parametrize("slope", [*SLOPES, 1e-45, 1e38])
def test_openvino_computes_what_is_written(slope, tmp_path):
    openvino = pytest.importorskip("openvino")
    made = TABLE.of("openvino")[0].write(LeakyRelu(negative_slope=slope), "act")
    (tmp_path / "net.xml").write_text(made.xml)
    (tmp_path / "net.bin").write_bytes(made.bin)
    result = openvino.Core().compile_model(tmp_path / "net.xml", "CPU")(np.float32([-2, 0.5]))[0]
    np.testing.assert_array_equal(result, np.float32([-2 * np.float32(slope), 0.5]))


@pytest.mark.parametrize("slope", [*SLOPES, 1e-45, 1e38, 123456.789])
def test_ncnn_computes_what_is_written(slope, tmp_path):
    ncnn_itself = pytest.importorskip("ncnn")
    (tmp_path / "net.param").write_text(TABLE.of("ncnn")[0].write(LeakyRelu(negative_slope=slope), "act"))
    (tmp_path / "net.bin").write_bytes(b"")
    net = ncnn_itself.Net()
    net.opt.num_threads, net.opt.use_packing_layout = 1, False
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_fp16_packed = False
    assert net.load_param(str(tmp_path / "net.param")) == 0
    net.load_model(str(tmp_path / "net.bin"))
    extractor = net.create_extractor()
    data = ncnn_itself.Mat(np.float32([-2, 0.5])).clone()
    extractor.input("x", data)
    np.testing.assert_array_equal(np.array(extractor.extract("act")[1]), np.float32([-2 * np.float32(slope), 0.5]))


def test_coremltools_reads_what_is_written():
    model = pytest.importorskip("coremltools.proto.Model_pb2").Model
    network = model.FromString(TABLE["ActivationLeakyReLU"].write(LeakyRelu(negative_slope=0.3), "act"))
    assert network.neuralNetwork.layers[0].activation.leakyReLU.alpha == np.float32(0.3)
    program = model.FromString(TABLE["MIL leaky_relu"].write(LeakyRelu(negative_slope=0.3), "act"))
    constant, leaky = program.mlProgram.functions["main"].block_specializations["CoreML5"].operations
    assert constant.attributes["val"].immediateValue.tensor.floats.values[:] == [np.float32(0.3)]
    assert leaky.inputs["alpha"].arguments[0].name == constant.outputs[0].name


@pytest.mark.parametrize("slope", SLOPES)
def test_onnxruntime_computes_what_is_written(slope):
    made = TABLE["LeakyRelu"].write(LeakyRelu(negative_slope=slope))
    np.testing.assert_array_equal(li.run(made, [X])[0], LeakyRelu(negative_slope=slope).reference(X))


@pytest.mark.parametrize(
    "api", ["torch.nn.LeakyReLU", "torch.nn.functional.leaky_relu", "keras.layers.LeakyReLU", "keras.ops.leaky_relu"]
)
@pytest.mark.parametrize("slope", [0.2, 1 / 3, 1.5, 0.0])
def test_python_frameworks_compute_what_is_written(api, slope):
    import keras
    import torch

    scope = {"torch": torch, "keras": keras, "x": torch.from_numpy(X) if "torch" in api else X}
    exec(TABLE[api].write(LeakyRelu(negative_slope=slope), "act"), scope)
    made = scope["act"](scope["x"]) if callable(scope["act"]) and not hasattr(scope["act"], "shape") else scope["act"]
    result = keras.ops.convert_to_numpy(made) if "keras" in api else made.numpy()
    np.testing.assert_array_equal(result, LeakyRelu(negative_slope=slope).reference(X))


@pytest.mark.filterwarnings("ignore")
def test_what_tensorflows_converter_and_saved_models_hold_is_read(tmp_path):
    import tensorflow as tf

    class Net(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32)])
        def __call__(self, x):
            inner = tf.raw_ops.LeakyRelu(features=x * 2.0, alpha=0.7, name="inner")
            return tf.nn.leaky_relu(inner, name="outer")

    tf.saved_model.save(Net(), tmp_path / "saved")
    assert [(f.name, f.slope) for f in read_file(tmp_path / "saved")] == [
        ("inner", np.float32(0.7)),
        ("outer", np.float32(0.2)),
    ]
    for quantised in (False, True):
        converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
        if quantised:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([np.float32([[-1, 2, -3, 4]])] for _ in range(3))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        (tmp_path / "net.tflite").write_bytes(converter.convert())
        found = read_file(tmp_path / "net.tflite")
        assert [f.slope for f in found] == [np.float32(0.7), np.float32(0.2)]
        assert [f.note for f in found] == ["quantised: int8" if quantised else ""] * 2


# --- texts --------------------------------------------------------------------------------------------------------------

PYTHON = """
import functools
import jax, math
import tensorflow as tf
import torch.nn as nn
from torch.nn import functional as F
from keras import layers
from lasagne.nonlinearities import leaky_rectify, very_leaky_rectify

LRELU = 0.1
from settings import imported
imported = 0.6
CHANGED = 0.1
CHANGED = 0.2


def leaky_relu(x, alpha=0.9):
    return x


class Net(nn.Module):
    def __init__(self, slope):
        self.act = nn.LeakyReLU(LRELU)
        self.body = nn.Sequential(("first", nn.LeakyReLU(0.2, True)))
        self.free = nn.LeakyReLU(slope)
        self.late = nn.LeakyReLU(CHANGED)
        self.kept: nn.Module = nn.LeakyReLU(imported)

    def forward(self, x):
        x = F.leaky_relu(x, 1 / 3)
        x = leaky_relu(x, 0.5)
        x = jax.nn.leaky_relu(x, negative_slope=-math.inf)
        return tf.nn.leaky_relu(x, *[0.4])


assert isinstance(Net(0.5).act, nn.LeakyReLU)
half = functools.partial(jax.nn.leaky_relu, negative_slope=0.5)
dense = layers.Dense(4, activation=tf.nn.leaky_relu, name="dense")
named = layers.LeakyReLU(alpha=float("nan"), name="named")
other = [leaky_rectify, very_leaky_rectify]
# nn.LeakyReLU(0.7) in a comment, and "nn.LeakyReLU(0.8)" in a text
"""


def test_python_source_is_read_without_running_it():
    found = [
        (f.api, f.name, f.slope, f.given, PYTHON.splitlines()[f.line - 1].strip()[:4])
        for f in python_source.read(python_source.ROWS, PYTHON)
    ]
    module, function = "torch.nn.LeakyReLU", "torch.nn.functional.leaky_relu"
    assert found == [
        (module, "act", 0.1, "stated", "self"),
        (module, "first", 0.2, "stated", "self"),
        (module, "free", None, "computed", "self"),
        (module, "late", None, "computed", "self"),
        (module, "kept", None, "computed", "self"),
        (function, "x", 1 / 3, "stated", "x = "),
        ("jax.nn.leaky_relu", "x", -math.inf, "stated", "x = "),
        ("tf.nn.leaky_relu", "", None, "computed", "retu"),
        ("jax.nn.leaky_relu", "half", 0.5, "stated", "half"),
        ("tf.nn.leaky_relu", "", float(np.float32(0.2)), "left out", "dens"),
        ("keras.layers.LeakyReLU", "named", pytest.approx(math.nan, nan_ok=True), "stated", "name"),
        ("lasagne.nonlinearities.leaky_rectify", "", float(np.float32(0.01)), "hard-coded", "othe"),
        ("lasagne.nonlinearities.very_leaky_rectify", "", float(np.float32(1 / 3)), "hard-coded", "othe"),
    ]


@pytest.mark.parametrize(
    ("expression", "slope"),
    [
        ("1/3", 1 / 3), ("-1", -1.0), ("+.5", 0.5), ("2**-3", 0.125), ("1e-2", 0.01), ("(1 + 2) * 0.1", 3 * 0.1), ("0x10", 16.0),
        ("float('inf')", math.inf), ("np.inf", math.inf), ("True", None), ("None", None), ("1/0", None), ("'0.2'", None),
        ("(-8)**.5", None), ("9.0**9999", None), ("9**9**9**9", None), ("x", None), ("self.inf", None), ("f(0.2)", None),
        ("10**400", None), ("float('x')", None), ("0.2 if a else 0.3", None), ("-" * 60 + "1", None),
    ],
)  # fmt: skip
def test_only_numbers_and_simple_arithmetic_are_slopes(expression, slope):
    found = only(TABLE["torch.nn.LeakyReLU"].read(f"act = torch.nn.LeakyReLU({expression})"))
    assert (found.slope, found.given) == (slope, "computed" if slope is None else "stated")


def test_a_name_is_followed_through_its_import():
    text = "from jax.nn import leaky_relu as lr\ny = lr(x, 0.4)\nz = leaky_relu(x, 0.5)"
    assert [f.slope for f in TABLE["jax.nn.leaky_relu"].read(text)] == [0.4]
    assert TABLE["torch.nn.functional.leaky_relu"].read(text) == []
    stars = "from lasagne.nonlinearities import *\ny = LeakyRectify(0.5)"
    assert [f.slope for f in TABLE["lasagne.nonlinearities.LeakyRectify"].read(stars)] == [0.5]


def test_darknet_lists_every_leaky_layer():
    text = "[net]\nbatch=1\n[convolutional]\nfilters=16\nactivation = leaky\n[maxpool]\n[convolutional]\n#activation=leaky\nactivation=linear\n[shortcut]\nactivation=leaky\n"
    found = TABLE["activation=leaky"].read(text)
    assert [(f.name, f.line, f.slope, f.given) for f in found] == [
        ("convolutional 0", 5, 0.1, "hard-coded"),
        ("shortcut 3", 11, 0.1, "hard-coded"),
    ]


CAFFE = """
name: "net"  # layer { type: "ReLU" }
layer { name: "plain" type: "ReLU" bottom: "a" top: "a" }
layer {
  name: "leaky"
  type: "ReLU"
  relu_param {
    negative_slope: 0.1f
    engine: CAFFE
  }
}
layers { name: "old" type: RELU relu_param: < negative_slope: -.5 > }
layer { name: "dot" type: "InnerProduct" inner_product_param { weight_filler { value: [1, 2] } } }
layer { name: "prelu" type: "PReLU" }
"""


def test_caffe_reads_old_and_new_layers():
    found = [
        (f.name, f.line, f.slope, f.given) for f in TABLE["ReLU layer"].read(CAFFE.replace("value: [1, 2]", "value: 1"))
    ]
    assert found == [
        ("plain", 3, 0.0, "left out"),
        ("leaky", 8, np.float32(0.1), "stated"),
        ("old", 12, -0.5, "stated"),
    ]


@pytest.mark.parametrize("text", ["}", "layer { name: 'a'", "layer {" * 200, "layer { { } }", "= 3"])
def test_a_damaged_prototxt_is_no_prototxt(text):
    with pytest.raises(Usage, match="does not parse"):
        TABLE["ReLU layer"].read(text)


def test_mxnet_reads_numbers_as_its_own_code_does():
    """Measured with 1.9.1: 1e38 becomes another number, 1e-45, 1e39 and inf are refused."""
    assert mxnet.parsed("1e38") == pytest.approx(1.0000000694406173e38, rel=1e-12)
    assert [mxnet.parsed(text) for text in ("1e-45", "1e39", "inf", "", "x", "0.1x")] == [None] * 6
    assert mxnet.parsed("0.1f") == np.float32(0.1)
    nodes = [
        {"op": "LeakyReLU", "name": name, "attrs": attrs}
        for name, attrs in (
            ("a", {"act_type": "leaky", "slope": "1e39"}), ("b", {"act_type": "elu", "slope": "0.3"}),
            ("c", {"act_type": "prelu"}), ("d", {"slope": "0.3"}), ("e", {"act_type": "leaky"}),
        )
    ]  # fmt: skip
    found = TABLE["LeakyReLU symbol"].read(json.dumps({"nodes": nodes}))
    assert [(f.name, f.slope, f.given) for f in found] == [
        ("a", None, "computed"),
        ("d", np.float32(0.3), "stated"),
        ("e", 0.25, "left out"),
    ]
    old = {"nodes": [{"op": "LeakyReLU", "name": "f", "param": {"slope": "0.3"}}]}
    assert only(TABLE["LeakyReLU symbol"].read(json.dumps(old))).slope == np.float32(0.3)


def test_ncnn_reads_numbers_as_its_own_code_does():
    """Measured with 1.0.20261020."""
    read = {"1": 1.0, "0.1": np.float32(0.1), ".5": 0.5, "5.": 5.0, "1e1": 10.0, "nan": 0.0, "inf": 0.0, "1e": None,
            "1e39": None, "0x10": None, "-inf": None, "1.234567890123": np.float32(1.234567890123)}  # fmt: skip
    assert {text: ncnn.parsed(text) for text in read} == read
    text = (
        "7767517\n4 4\nInput x 0 1 x\nReLU plain 1 1 x a\nReLU leaky 1 1 a b 0=0.25\n"
        "Convolution conv 1 1 b c 0=8 1=3 9=2 -23310=1,0.3\nConvolution sig 1 1 b c 0=8 9=4\nReLU odd 1 1 c d 0=nan\n"
    )
    found = [(f.name, f.line, f.slope, f.given) for f in TABLE.of("ncnn")[0].read(text)]
    assert found == [
        ("plain", 4, 0.0, "left out"), ("leaky", 5, 0.25, "stated"), ("conv", 6, np.float32(0.3), "stated"), ("odd", 8, 0.0, "stated"),
    ]  # fmt: skip


JULIA = '''
using Flux
using NNlib: relu, leakyrelu,
    sigmoid
"""
leakyrelu(x, 0.9) described
"""
#= leakyrelu(x, 0.8) =#
model = Chain(Dense(3 => 4, leakyrelu), Dense(4 => 5, x -> leakyrelu(x, 0.2f0)), Conv((3, 3), 1 => 2, Base.Fix2(leakyrelu, 1//4)))
half = leakyrelu.(x', a)  # leakyrelu(x, 0.7)
'''


def test_flux_is_read_from_julia():
    found = [(f.slope, f.given, f.line) for f in TABLE["leakyrelu"].read(JULIA)]
    assert found == [
        (float(np.float32(0.2)), "stated", 9), (0.25, "stated", 9), (0.01, "left out", 9), (None, "computed", 10),
    ]  # fmt: skip
    own = only(TABLE["leakyrelu"].read("leakyrelu(x, a=0.3) = max(a*x, x)\ny = leakyrelu(x)"))
    assert own.op is None and "of its own" in own.note


def test_tensorrt_is_read_from_both_languages():
    cpp = (
        "auto* act = network->addActivation(*x, nvinfer1::ActivationType::kLEAKY_RELU);\n"
        "// act->setAlpha(0.9f);\nact->setAlpha(0.1f);\n"
        "auto* relu = network->addActivation(*x, ActivationType::kRELU); relu->setAlpha(0.5f);\n"
        "auto* bare = network->addActivation(*x, ActivationType::kLEAKY_RELU);\n"
    )
    found = [(f.name, f.slope, f.given, f.line) for f in TABLE.of("TensorRT")[0].read(cpp)]
    assert found == [("act", np.float32(0.1), "stated", 3), ("bare", None, "left out", 5)]
    python = (
        "import tensorrt as trt\nact = net.add_activation(x, trt.ActivationType.LEAKY_RELU)\nact.alpha = 0.2\n"
        "other = net.add_activation(x, type=trt.ActivationType.ELU)\nother.alpha = 0.3\n"
    )
    found = [(f.name, f.slope, f.given, f.line) for f in TABLE.of("TensorRT")[0].read(python)]
    assert found == [("act", np.float32(0.2), "stated", 3)]


def test_javascript_and_nnef():
    text = "const a = tf.leakyRelu(x, 0.3); /* tf.leakyRelu(x, 0.9) */\nlet b = x.leakyRelu(0.4);\nmodel.add(tf.layers.leakyReLU({name: 'n', alpha: 0.5}));\nfunction leakyRelu(x, a) { return x; }\n"
    assert [f.slope for f in TABLE["tf.leakyRelu"].read(text)] == [np.float32(0.3), np.float32(0.4)]
    assert [f.slope for f in TABLE["tf.layers.leakyReLU"].read(text)] == [0.5]
    nnef = "graph net(x) -> (y)\n{\n  x = external(shape = [1]);\n  y = leaky_relu(x, 0.25); # leaky_relu(x, 1.0)\n  z = leaky_relu(y, alpha = -1.5e-1);\n}\n"
    assert [(f.name, f.line, f.slope) for f in TABLE["leaky_relu"].read(nnef)] == [("y", 4, 0.25), ("z", 5, -0.15)]


def test_keras_json_of_every_version():
    layers = [
        {"class_name": "LeakyReLU", "config": {"name": "three", "negative_slope": 0.1}},
        {"class_name": "LeakyReLU", "config": {"name": "two", "alpha": 0.2}},
        {"class_name": "LeakyReLU", "config": {"name": "array", "alpha": {"type": "ndarray", "value": 0.25}}},
        {"class_name": "LeakyReLU", "config": {"name": "bare"}},
        {"class_name": "Dense", "config": {"name": "dense", "activation": "leaky_relu"}},
        {"class_name": "Conv2D", "config": {"name": "conv", "activation": {"class_name": "LeakyReLU", "config": {"negative_slope": 0.4}}}},
        {"class_name": "ReLU", "config": {"name": "relu", "negative_slope": 0.5}},
    ]  # fmt: skip
    found = keras_json.read(json.dumps({"class_name": "Sequential", "config": {"layers": layers}}))
    assert [(f.name, f.slope, f.given) for f in found] == [
        ("three", 0.1, "stated"), ("two", np.float32(0.2), "stated"), ("array", 0.25, "stated"), ("bare", 0.3, "left out"),
        ("dense", 0.2, "left out"), ("conv", 0.4, "stated"),
    ]  # fmt: skip


def test_openvino_reads_constants_of_every_type():
    import ml_dtypes

    made = TABLE.of("openvino")[0].write(LeakyRelu(negative_slope=0.3), 'a "quoted" <name>')
    assert only(TABLE.of("openvino")[0].read(made)).name == 'a "quoted" <name>'
    for word, kind in (("f16", np.float16), ("bf16", ml_dtypes.bfloat16), ("f64", np.float64), ("f32", np.float32)):
        number = np.asarray([0.3]).astype(kind)
        xml = made.xml.replace(
            'element_type="f32" shape="1" offset="0" size="4"',
            f'element_type="{word}" shape="1" offset="4" size="{number.nbytes}"',
        )
        found = only(TABLE.of("openvino")[0].read(IR(xml, b"abcd" + number.tobytes())))
        assert found.slope == np.float32(number[0])
    for broken in ('offset="1"', 'offset="-4"', 'offset="x"', 'size="999999999999"'):
        xml = made.xml.replace('offset="0"' if "offset" in broken else 'size="4"', broken)
        assert only(TABLE.of("openvino")[0].read(IR(xml, made.bin))).op is None
    many = IR(made.xml.replace('size="4"', 'size="8"'), np.float32([0.1, 0.2]).tobytes())
    assert "one per channel" in only(TABLE.of("openvino")[0].read(many)).note


COREMLTOOLS = (  # version 9 wrote this neural network: leaky_relu of 0.3, named "first", and of 0, named "second"
    b"\x08\x04\xa2\x1f?\n\x1b\n\x05first\x12\x01x\x1a\x05first\x92\x08\x07z\x05\r\x9a\x99\x99>"
    b"\n\x1c\n\x06second\x12\x05first\x1a\x06second\x92\x08\x02z\x00(\x010\x01"
)


def test_core_ml_of_apples_own_tools():
    found = TABLE["ActivationLeakyReLU"].read(COREMLTOOLS)
    assert [(f.name, f.slope, f.given) for f in found] == [
        ("first", np.float32(0.3), "stated"),
        ("second", 0.0, "left out"),
    ]


def test_core_ml_in_16_bits_and_left_out():
    from leaky_interop.spellings import coreml

    program = coreml.model_of(TABLE["MIL leaky_relu"].write(LeakyRelu(negative_slope=0.3)))
    value = program.mlProgram.functions[0].value.blocks[0].value.operations[0].attributes[0].value
    value.type.tensorType.dataType = coreml.FLOAT16
    value.immediateValue.tensor.Clear()
    value.immediateValue.tensor.bytes.values = np.float16(0.3).tobytes()
    assert only(TABLE["MIL leaky_relu"].read(program)).slope == np.float16(0.3)
    network = coreml.model_of(TABLE["ActivationLeakyReLU"].write(LeakyRelu(negative_slope=0.3)))
    network.neuralNetwork.layers[0].activation.leakyReLU.ClearField("alpha")
    network.neuralNetwork.layers.add(name="in a branch").branch.ifBranch.layers.add(
        name="inner"
    ).activation.leakyReLU.alpha = 0.5
    found = [(f.name, f.slope, f.given) for f in TABLE["ActivationLeakyReLU"].read(network)]
    assert found == [("act", 0.0, "left out"), ("inner", 0.5, "stated")]


def test_onnx_reads_bodies_and_functions():
    from onnx import helper

    leaky = [helper.make_node("LeakyRelu", ["x"], ["y"], name=f"n{i}", alpha=0.1 * i) for i in (1, 2, 3)]
    body = helper.make_graph(leaky[:1], "body", [], [])
    node = helper.make_node(
        "If", ["c"], ["z"], then_branch=body, else_branch=helper.make_graph(leaky[1:2], "b", [], [])
    )
    model = helper.make_model(helper.make_graph([leaky[2], node], "g", [], []))
    assert sorted(f.name for f in TABLE["LeakyRelu"].read(model)) == ["n1", "n2", "n3"]


# --- strangers' files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("entities.xml", b'<?xml version="1.0"?><!DOCTYPE net [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><net>&b;</net>'),
        ("deep.xml", b"<net>" + b"<a>" * 5000),
    ],
)
def test_an_xml_that_would_grow_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnsafeFile):
        read_file(tmp_path / name)


DEEP = 200_000


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.py", "x = " + "(" * DEEP + ")" * DEEP), ("b.py", "x = " + "-" * DEEP + "1"), ("c.py", "x = (\x00"), ("d.py", "def"),
        ("e.json", "[" * DEEP), ("f.json", '{"nodes": [{"op": "LeakyReLU", "name": "a", "attrs": 3}]}'), ("g.json", "{}"),
        ("h.json", '{"class_name":' + "[" * DEEP), ("i.prototxt", "a {" * DEEP), ("j.xml", "<net"), ("k.tflite", "0000TFL3"),
        ("l.tflite", "\x10\0\0\0TFL3" + "\xff" * 64), ("m.pb", "not a graph"), ("n.mlmodel", "not a model"), ("o.param", "123"),
        ("p.param", "7767517\n1 1\nReLU a x y"), ("q.foo", "x"), ("r.tflite", "x"), ("s.cfg", ""), ("t.nnef", "\udcff"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_one_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode("latin-1" if "\udcff" not in content else "utf-8", "surrogatepass"))
    with pytest.raises(Usage, match=name.replace(".", r"\.")):
        read_file(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        '"' + '\\"' * 100_000,
        "/*" * 100_000,
        "'\\" * 100_000,
        "leaky_relu(" * 30_000,
        "leakyrelu(" * 30_000 + ")" * 30_000,
        "1" * 300_000,
        "#=" * 100_000,
    ],
)
def test_no_text_takes_long(text):
    import time

    began = time.process_time()
    for api in ("leakyrelu", "leaky_relu", "tf.leakyRelu", "tf.layers.leakyReLU"):
        TABLE[api].read(text)
    assert time.process_time() - began < 20


def test_a_file_that_is_too_large_is_refused(tmp_path):
    with (tmp_path / "big.py").open("wb") as handle:
        handle.truncate(files_of_slopes.MOST_TEXT + 1)
    with pytest.raises(UnsafeFile, match="MiB"):
        read_file(tmp_path / "big.py")


BINARY = [row for row in WRITTEN if isinstance(row.write(LeakyRelu(negative_slope=row.only or 0.2)), bytes)]


@pytest.mark.parametrize("row", BINARY, ids=str)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_an_error_or_other_slopes_but_no_crash(row, data):
    content = bytearray(row.write(LeakyRelu(negative_slope=0.2)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        row.read(bytes(content))
    except LeakyInteropError:
        pass


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


def test_a_spelling_is_called_as_a_function_also_after_its_package_was_imported():
    import leaky_interop.spellings

    assert len(leaky_interop.spellings()) == len(li.spellings()) == len(TABLE)
    with pytest.raises(Usage):
        TABLE["keras.layers.PReLU"].write(LeakyRelu(negative_slope=0.1))
    with pytest.raises(Usage):
        TABLE["keras.layers.PReLU"].read("")
    with pytest.raises(Usage, match="no name in Python"):
        TABLE["jax.nn.leaky_relu"].write(LeakyRelu(negative_slope=0.1), "not a name")


# --- the command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "verbosity", 0)

    def command(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["slopes", *arguments])
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return command


def test_the_command_prints_the_table(run):
    code, out, _ = run()
    assert code == 0
    assert "jax.nn.leaky_relu" in out and "not run here" in out
    assert run("--markdown")[1] == TABLE.to_markdown()
    assert json.loads(run("--json", "--system", "keras")[1])[0]["default"] == 0.3


def test_the_command_says_one_slope_in_every_spelling(run):
    code, out, _ = run("--slope", "0.2")
    assert code == 0
    rows = {row["api"]: row for row in json.loads(run("--slope", "0.2", "--json")[1])}
    assert rows["torch.nn.LeakyReLU"]["says"] == "torch.nn.LeakyReLU(negative_slope=0.2)"
    assert rows["tf.nn.leaky_relu"] | {"system": 0} == {
        "system": 0, "api": "tf.nn.leaky_relu", "says": "tf.nn.leaky_relu(x, alpha=0.2)", "uses": 0.20000000298023224, "refused": None,
    }  # fmt: skip
    assert "always 0.1" in rows["activation=leaky"]["refused"]
    assert "0.20000000298023224 (rounded)" in out and "refused: its slope is always 0.1" in out
    assert sum("leaky" in line.lower() for line in out.splitlines()) > 25
    rows = {row["api"]: row for row in json.loads(run("--slope=-inf", "--json")[1])}
    assert rows["torch.nn.LeakyReLU"]["uses"] == "-inf"
    assert "infinite" in rows["leaky_relu"]["refused"]
    assert run("--slope", "1/0")[0] == run("--slope", "x")[0] == run("--system", "x")[0] == 2


def test_the_command_lists_the_slopes_of_a_file(run, tmp_path):
    (tmp_path / "yolo.cfg").write_text("[net]\n[convolutional]\nactivation=leaky\n")
    code, out, _ = run("yolo.cfg")
    assert code == 0
    assert all(word in out for word in ("convolutional 0", "0.1", "hard-coded", "line 3", "Darknet"))
    (found,) = json.loads(run("yolo.cfg", "--json")[1])
    assert (found["slope"], found["line"], found["op"], found["given"]) == (0.1, 3, "LeakyRelu", "hard-coded")
    (tmp_path / "none.cfg").write_text("[net]\n")
    assert run("none.cfg")[1] == "none.cfg holds no LeakyReLU\n"
    (tmp_path / "bad.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><a/>')
    assert run("bad.xml")[0] == 4
    assert run("missing.cfg")[0] == run("yolo.cfg", "--slope", "1")[0] == 2


def test_the_command_reads_whole_networks_too(run, tmp_path):
    import onnx

    onnx.save(TABLE["LeakyRelu"].write(LeakyRelu(negative_slope=0.3), "act"), tmp_path / "net.onnx")
    (found,) = json.loads(run("net.onnx", "--json")[1])
    assert (found["name"], found["given"], found["system"]) == ("act", "stated", "ONNX")
    assert np.float32(found["slope"]) == np.float32(0.3)
