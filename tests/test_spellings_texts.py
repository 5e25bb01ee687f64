"""What each reader takes for a slope, in texts and files as people write them; the command that lists them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from spelling_checks import TABLE, only

from leaky_interop.cli import console, main
from leaky_interop.errors import Usage
from leaky_interop.ops.activation import LeakyRelu
from leaky_interop.spellings import coreml, keras_json, mxnet, ncnn, python_source
from leaky_interop.spellings.openvino import IR

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
