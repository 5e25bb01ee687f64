"""The name codecs: bijections on paper, and names that the frameworks really take."""

from __future__ import annotations

import copy
import io
import itertools
import json
import keyword
import os
import pickle
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leaky_interop import names

FRAMEWORKS = ["keras", "torch", "onnx"]
EVERY_FRAMEWORK = pytest.mark.parametrize("framework", FRAMEWORKS)

# Pieces that the escapes are made of, so that drawn names run into every rule of the codecs.
PIECES = ["_", "__", ".", "u00e9", "empty", "_empty_", "_u005f_", "u0041", "_u110000_", "_u000e9_", "é", "-", ">", " "]
PIECES += ["a", "e", "0", "type", "requires_grad_", "graph", "class", "/", ":", '"', "\\", ",", "ﬁ", "self", "__init__"]
NAMES = st.lists(st.sampled_from(PIECES), max_size=7).map("".join) | st.text(max_size=12)

NASTY = [
    *("a", "A", "0", "1a", "conv1", "a_b", "_a", "__a", "a_", "a__", "_", "__", "a__b", "a___b", "a____b", "-", "-a"),
    *("encoder.0.conv1", "encoder._conv", "encoder.conv_", ".", "..", "a..b", ".a", "a.", "0.1", "", "_empty_"),
    *(
        "_u00e9_",
        "é",
        "e\u0301",
        "ﬁ",
        "µ",
        "日本",
        "😀",
        "\u202ea",
        "\u200b",
        "a.é.b",
        "_u0020_",
        " ",
        "a b",
        " a",
        "a ",
    ),
    *("a/b", "/", "/conv1/Conv:0", ":0", "a:b", "a\\b", '"', "'", '"); exit(1)  # ', "\n", "\t", "\r", "\0", "a\0b"),
    *(
        "%",
        "%2E",
        "%s",
        "{}",
        "{x}",
        "$(x)",
        "`x`",
        "[0]",
        "<b>",
        "a>b",
        "a|b",
        "a,b",
        "a;b",
        "(",
        ")",
        "]",
        "[",
        "a@b",
        "#",
        "*",
        "~",
        "&",
    ),
    *("type", "type_", "type__", "a.type", "to", "half", "float", "training", "forward", "T_destination", "weights"),
    *("requires_grad", "requires_grad_", "requires_grad__", "graph", "a.graph", "code", "meta", "self", "a.self", "x"),
    *("class", "if", "None", "a.None", "lambda", "__init__", "__class__", "a.__dict__", "____", "print", "torch"),
    *("a" * 300, "w_u_b", "is_empty_check", "up.conv_x2_bn", "_blocks.0._expand_conv"),
]


# --- the bijection ----------------------------------------------------------------------------------------------------


@EVERY_FRAMEWORK
@given(name=NAMES)
@settings(max_examples=500)
def test_a_name_comes_back(framework, name):
    assert names.decode(framework, names.encode(framework, name)) == name


@pytest.mark.parametrize(
    ("framework", "pieces"), [("keras", "a_.é>"), ("torch", "a_.é"), ("keras", ["_u005f_", "_", "u00e9", "."])]
)
def test_every_short_name_has_its_own(framework, pieces):
    short = {"".join(p) for n in range(7) for p in itertools.product(pieces, repeat=n)}
    assert len({names.encode(framework, name) for name in short}) == len(short)


@given(
    native=st.text("ab_-9>", min_size=1, max_size=10)
    | st.from_regex("[a-z_]{0,3}_(u[0-9a-f]{3,7}|empty)_[a-z_]{0,3}", fullmatch=True)
)
@settings(max_examples=500)
def test_a_keras_name_of_plain_characters_comes_back(native):
    assert names.encode("keras", names.decode("keras", native)) == native


@given(
    parts=st.lists(
        st.from_regex("[A-Za-z0-9_é日 :/-]{1,8}", fullmatch=True)
        | st.sampled_from(["_u00e9_", "_empty_", "type_", "graph__", "requires_grad__"]),
        min_size=1,
        max_size=3,
    ).filter(
        lambda parts: not any(keyword.iskeyword(p) or p in ("to", "cpu") or p[:2] == p[-2:] == "__" for p in parts)
    )
)
@settings(max_examples=500)
def test_a_torch_path_comes_back(parts):
    native = ".".join(parts)
    assert names.encode("torch", names.decode("torch", native)) == native


@given(st.text())
def test_onnx_takes_names_as_they_are(name):
    assert names.encode("onnx", name) == name == names.decode("onnx", name)


@pytest.mark.parametrize(
    ("name", "keras", "torch"),
    [
        ("conv1", "conv1", "conv1"),
        ("max_pooling2d_1", "max_pooling2d_1", "max_pooling2d_1"),
        ("_a_", "_a_", "_a_"),
        ("up_x2_bn", "up_x2_bn", "up_x2_bn"),
        ("a.is_emptyish", "a__is_emptyish", "a.is_emptyish"),
        ("encoder.0.conv1", "encoder__0__conv1", "encoder.0.conv1"),
        ("_blocks.0._expand_conv", "_blocks__0___expand_conv", "_blocks.0._expand_conv"),
        ("é", "_u00e9_", "é"),
        ("a..b", "a___empty___b", "a._empty_.b"),
        ("type", "type", "type_"),
        ("a.type", "a__type", "a.type_"),
        ("graph", "graph", "graph_"),
        ("a.graph", "a__graph", "a.graph"),
        ("class", "class", "class_"),
        ("a,b", "a_u002c_b", "a_u002c_b"),
        ("ﬁ", "_ufb01_", "_ufb01_"),
    ],
)
def test_names_read_well(name, keras, torch):
    assert names.encode("keras", name) == keras
    assert names.encode("torch", name) == torch


@EVERY_FRAMEWORK
def test_a_native_name_that_is_legal_nowhere_is_read_as_it_stands(framework):
    for native in ("a/b", "a b\n", '"'):
        assert names.decode(framework, native) == native


def test_an_unknown_framework_is_named():
    with pytest.raises(ValueError, match="one of keras, torch, onnx, chainer, tensorflow, matlab; received 'caffe'"):
        names.encode("caffe", "a")


# --- parts, identifiers, uniqueness -----------------------------------------------------------------------------------


@given(st.lists(st.text("a.%2E5") | st.text(max_size=4), min_size=1, max_size=4))
@example(["%2E", "%252E", "100%", "a.b", ""])
def test_parts_come_back(parts):
    assert names.split(names.join(*parts)) == tuple(parts)
    assert names.join(*parts).count(".") == len(parts) - 1


def test_a_name_is_its_parts():
    assert names.join("encoder", "0", "conv1") == "encoder.0.conv1"
    assert names.join("a", "v1.5", "50%") == "a.v1%2E5.50%"


@given(NAMES)
def test_an_identifier_is_one(name):
    word = names.identifier(name)
    assert word.isascii()
    assert word.isidentifier()
    assert not keyword.iskeyword(word)
    assert not word.startswith("__")


def test_identifiers_read_well():
    words = {"encoder.0.conv1": "encoder_0_conv1", "1x1": "_1x1", "a/b:0": "a_b_0", "print": "print_", "é": "value"}
    assert {name: names.identifier(name) for name in words} == words


@given(st.lists(st.sampled_from(["a", "a_1", "a_1_1", "b"])), st.sets(st.sampled_from(["a", "a_2", "b"])))
def test_unique_gives_every_name_once(wanted, taken):
    unique = names.Unique(taken)
    given_out = [unique(name) for name in wanted]
    assert len({*given_out, *taken}) == len(given_out) + len(taken)
    assert all(got.startswith(name) for name, got in zip(wanted, given_out, strict=True))


def test_unique_leaves_the_first_as_it_is():
    unique = names.Unique(["b"])
    assert [unique("a"), unique("a"), unique("a_1"), unique("a"), unique("b")] == ["a", "a_1", "a_1_1", "a_2", "b_1"]


# --- the frameworks themselves ----------------------------------------------------------------------------------------

KERAS_SCRIPT = """
import json, sys
import keras, numpy as np
wanted = json.load(sys.stdin)
x = y = keras.Input((2,), name=wanted[0])
for name in wanted[1:]:
    y = keras.layers.Dense(2, name=name, bias_initializer="normal")(y)
model = keras.Model(x, y)
data = np.ones((3, 2), "float32")
out = model.predict(data, verbose=0)
for path in sys.argv[1:]:
    model.save(path)
    loaded = keras.models.load_model(path, compile=False)
    assert [layer.name for layer in loaded.layers] == wanted, path
    for name in wanted:
        for one, two in zip(model.get_layer(name).weights, loaded.get_layer(name).weights, strict=True):
            assert np.array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(two)), (path, name)
    assert np.array_equal(loaded.predict(data, verbose=0), out), path
print(len(wanted))
"""


@pytest.mark.parametrize("backend", ["torch", "tensorflow"])
def test_keras_builds_runs_and_reloads_every_name(backend, tmp_path):
    """In a process of its own, because keras keeps the backend that it was first imported with."""
    wanted = [names.encode("keras", name) for name in NASTY]
    run = subprocess.run(
        [sys.executable, "-c", KERAS_SCRIPT, str(tmp_path / "net.keras"), str(tmp_path / "net.h5")],
        input=json.dumps(wanted),
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert run.stdout.strip() == str(len(NASTY)), run.stderr


@pytest.fixture(scope="module")
def named_module():
    """One fx.GraphModule with a Linear under every nasty name, each also below a plain module."""
    import torch

    paths = [names.encode("torch", name) for name in (*NASTY, *(f"outer.{name}" for name in NASTY))]
    paths = [path for path in paths if not any(other.startswith(f"{path}.") for other in paths)]  # leaves only
    root, graph = torch.nn.Module(), torch.fx.Graph()
    value = graph.placeholder("x")
    for path in paths:
        *above, leaf = path.split(".")
        place = root
        for part in above:
            if part not in place._modules:
                place.add_module(part, torch.nn.Module())
            place = place.get_submodule(part)
        place.add_module(leaf, torch.nn.Linear(2, 2))
        value = graph.call_module(path, (value,))
    graph.output(value)
    return torch.fx.GraphModule(root, graph), paths, torch.ones(3, 2)


def test_torch_keeps_every_name_in_the_state_dict(named_module):
    import torch

    module, paths, _ = named_module
    assert sorted(module.state_dict()) == sorted(f"{path}.{weight}" for path in paths for weight in ("weight", "bias"))
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    module.load_state_dict(torch.load(file, weights_only=True))


@pytest.mark.filterwarnings("ignore:.torch.jit.:DeprecationWarning", "ignore:The TorchScript type system:UserWarning")
@pytest.mark.parametrize("way", ["copy", "pickle", "script", "export"])
def test_torch_runs_every_name(named_module, way):
    import torch

    def export(module, x):
        file = io.BytesIO()
        torch.export.save(torch.export.export(module, (x,)), file)
        file.seek(0)
        program = torch.export.load(file)
        assert set(program.state_dict) == set(module.state_dict())
        return program.module()

    module, _, x = named_module
    ways = {
        "copy": lambda: copy.deepcopy(module),
        "pickle": lambda: pickle.loads(pickle.dumps(module)),
        "script": lambda: torch.jit.script(module),
        "export": lambda: export(module, x),
    }
    torch.testing.assert_close(ways[way]()(x), module(x), rtol=0, atol=0)


def test_no_name_is_an_attribute_of_a_torch_module():
    import torch
    from torch._dynamo import mutation_guard

    mutation_guard.install_generation_tagging_init()  # as the first torch.compile of a process does
    plain, root = torch.nn.Module(), torch.fx.GraphModule(torch.nn.Module(), torch.fx.Graph())
    for name in (*dir(root), *dir(plain), *keyword.kwlist):
        assert not hasattr(root, names.encode("torch", name)), name
        assert not hasattr(plain, names.encode("torch", f"outer.{name}").removeprefix("outer.")), name


@given(name=NAMES)
@example(name='x", __import__("os").abort(), "')
@settings(deadline=None, max_examples=150)
def test_torch_code_of_any_name_calls_that_module(name):
    import torch

    path = names.encode("torch", name)
    graph = torch.fx.Graph()
    graph.output(graph.call_module(path, (graph.placeholder("x"),)))
    root = torch.nn.Module()
    *above, leaf = path.split(".")
    place = root
    for part in above:
        place.add_module(part, torch.nn.Module())
        place = place.get_submodule(part)
    place.add_module(leaf, torch.nn.Threshold(5.0, 7.0))
    assert torch.fx.GraphModule(root, graph)(torch.ones(1)) == 7


def test_onnxruntime_takes_every_name():
    import numpy as np
    import onnx
    import onnxruntime
    from onnx import helper

    wanted = [names.encode("onnx", name) for name in NASTY if name]  # "" means an absent input in ONNX
    info = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2]) for name in (wanted[0], wanted[-1])]
    nodes = [helper.make_node("Neg", [a], [b], name=b) for a, b in itertools.pairwise(wanted)]
    model = helper.make_model(helper.make_graph(nodes, "net", info[:1], info[1:]), ir_version=10)
    model.opset_import[0].version = 17
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    (y,) = session.run([wanted[-1]], {wanted[0]: np.float32([1, 2])})
    assert y.tolist() == [v * (-1) ** len(nodes) for v in (1, 2)]
    assert [n.name for n in onnx.load_from_string(model.SerializeToString()).graph.node] == wanted[1:]
