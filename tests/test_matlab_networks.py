"""MATLAB layer arrays converted to every framework and back, with their numbers."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import torch
from torch import nn

import leaky_interop as li
from leaky_interop import files, frameworks
from leaky_interop.converting import transfer_graph
from leaky_interop.frameworks.matlab.listing import rows
from leaky_interop.frameworks.matlab.run import NOT_RUN
from leaky_interop.op import CASES, EXPORTERS
from tests.matlab_samples import NETWORKS, with_random_numbers
from tests.test_cases import check, graph_of
from tests.test_matlab import EXAMPLE, TABLE

CHANNELS_LAST = [n for n in NETWORKS if n != "pools"]  # of that one a norm over whole images is read and not written


@pytest.fixture
def example(tmp_path):
    path = tmp_path / "net.m"
    path.write_text(EXAMPLE, encoding="utf-8")
    return path


def random_for(shape):
    return np.random.default_rng(5).standard_normal([d if isinstance(d, int) else 3 for d in shape]).astype(np.float32)


# --- from MATLAB ------------------------------------------------------------------------------------------------------


def test_the_example_of_the_documentation_runs_in_onnxruntime(example, tmp_path):
    report = li.convert(example, tmp_path / "net.onnx")
    assert report.passed and len(report.nodes) == 10
    (y,) = li.run(tmp_path / "net.onnx", random_for((2, 28, 28, 1)))
    assert y.shape == (2, 10) and np.allclose(y.sum(1), 1)
    assert NOT_RUN in report.notes and any(
        "no numbers for conv_1" in note and "Glorot" in note for note in report.notes
    )
    assert any("'zerocenter' does nothing" in note for note in report.notes)


def test_numbers_that_are_not_there_begin_as_in_training(example):
    graph = li.load(example)
    held = {p.name: p.array() for p in graph.parameters()}
    kernel = held["conv_2.Weights"]
    limit = np.sqrt(6 / (9 * 16 + 9 * 32))
    assert (
        kernel.shape == (32, 16, 3, 3)
        and 0.9 * limit < np.abs(kernel).max() <= limit
        and abs(kernel.mean()) < limit / 20
    )
    assert not held["conv_1.Bias"].any() and not held["batchnorm_1.TrainedMean"].any() and not held["fc.Bias"].any()
    assert (held["batchnorm_2.TrainedVariance"] == 1).all() and (held["batchnorm_2.Scale"] == 1).all()
    again = {p.name: p.array() for p in li.load(example).parameters()}
    assert all(np.array_equal(held[name], again[name]) for name in held)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("target", ["keras", "torch", "onnx"])
def test_every_framework_computes_the_same(name, target, tmp_path):
    graph = with_random_numbers(NETWORKS[name], tmp_path)
    x = random_for(graph.inputs[0].shape)
    made = li.convert(tmp_path / "net.m", to=target, verify=True)
    for mine, theirs in zip(li.run(tmp_path / "net.m", x), li.run(made, x), strict=True):
        assert mine.shape == theirs.shape
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def test_features_are_flattened_column_by_column(tmp_path):
    """One weight picks one element: of a 2 x 3 x 2 image the fourth is row 2, column 2 of channel 1."""
    (tmp_path / "net.m").write_text(
        "layers = [imageInputLayer([2 3 2],'Normalization','none') fullyConnectedLayer(12)];"
    )
    files.write_mat(
        tmp_path / "net.mat", {"fc": {"Weights": np.eye(12, dtype=np.float32), "Bias": np.zeros((12, 1), np.float32)}}
    )
    x = random_for((1, 2, 3, 2))
    made = li.convert(tmp_path / "net.m", to="onnx")
    expected = [x[0, h, w, c] for c in range(2) for w in range(3) for h in range(2)]
    assert np.array_equal(li.run(made, x)[0][0], expected) and expected[3] == x[0, 1, 1, 0]


def test_an_average_counts_padded_zeros_unless_it_is_told_otherwise(tmp_path):
    x = np.ones((1, 2, 2, 1), np.float32)
    for value, corner in (("", 4 / 9), (",'PaddingValue','mean'", 1)):
        source = (
            f"layers = [imageInputLayer([2 2 1],'Normalization','none') averagePooling2dLayer(3,'Padding',1{value})];"
        )
        (tmp_path / "net.m").write_text(source)
        assert li.run(tmp_path / "net.m", x)[0][0, 0, 0, 0] == pytest.approx(corner)
        assert li.run(li.convert(tmp_path / "net.m", to="onnx"), x)[0][0, 0, 0, 0] == pytest.approx(corner)


def test_padding_with_other_than_zeros(tmp_path):
    modes = {
        "'replicate'": "edge",
        "'symmetric-include-edge'": "symmetric",
        "'symmetric-exclude-edge'": "reflect",
        "2": "constant",
    }
    for value, mode in modes.items():
        convolution = f"convolution2dLayer(1,1,'Padding',[1 2 2 1],'PaddingValue',{value},'Weights',1,'Bias',0)"
        (tmp_path / "net.m").write_text(f"layers = [imageInputLayer([3 4 1],'Normalization','none') {convolution}];")
        x = random_for((1, 3, 4, 1))
        extra = {"constant_values": 2} if mode == "constant" else {}
        expected = np.pad(x, ((0, 0), (1, 2), (2, 1), (0, 0)), mode, **extra)
        assert np.array_equal(li.run(li.convert(tmp_path / "net.m", to="onnx"), x)[0], expected)


def test_a_slope_says_whether_it_was_stated(tmp_path):
    (tmp_path / "net.m").write_text(
        "layers = [featureInputLayer(3)\nleakyReluLayer\nleakyReluLayer(0.01)\nleakyReluLayer(-1.5,'Name','a')];"
    )
    found = li.inspect(tmp_path / "net.m").slopes
    assert [(s.node, s.value, s.given) for s in found] == [
        ("leakyrelu_1", 0.01, "MATLAB's default: the layer is given no scale"), ("leakyrelu_2", 0.01, "stated"), ("a", -1.5, "stated"),
    ]  # fmt: skip
    assert [s.origin for s in found][1:] == [
        "matlab leakyReluLayer, line 3 of net.m, 'leakyrelu_2'",
        "matlab leakyReluLayer, line 4 of net.m, 'a'",
    ]


@pytest.mark.parametrize("slope", ["0", "1", "1.5", "-0.5", "1e-45", "1e38", "0.1", "1/3", "NaN", "Inf"])
def test_every_slope_arrives(slope, tmp_path):
    (tmp_path / "net.m").write_text(f"layers = [featureInputLayer(6)\nleakyReluLayer({slope})];")
    (read,) = (n.op.negative_slope for n in li.load(tmp_path / "net.m").nodes)
    li.convert(tmp_path / "net.m", tmp_path / "again.m")
    (again,) = (n.op.negative_slope for n in li.load(tmp_path / "again.m").nodes)
    assert (
        repr(read)
        == repr(again)
        == repr(float(eval(slope.replace("Inf", "float('inf')").replace("NaN", "float('nan')"))))
    )
    x = np.array([[1.0, -1.0, -0.0, -3.5, 2.5, -1e-3]], np.float32)
    with np.errstate(all="ignore"):
        expected = np.where(x >= 0, x, x * np.float32(read))
    assert np.array_equal(li.run(tmp_path / "again.m", x)[0], expected, equal_nan=True)


def test_a_layer_that_does_not_fit_is_named(tmp_path):
    for text, message in (
        ("imageInputLayer([4 4 1])\nconvolution2dLayer(5,2)", "line 2 of net.m"),
        ("imageInputLayer([4 4 1])\nconvolution2dLayer(3,2,'Weights',[1 2 3])", "Weights has the size 1x3"),
        ("featureInputLayer(3)\nmaxPooling2dLayer(2)", "line 2 of net.m"),
        ("reluLayer", "Begin with imageInputLayer"),
        ("imageInputLayer([4 4 3])\ngroupedConvolution2dLayer(3,2,2)", "line 2 of net.m"),
        ("imageInputLayer([4 4 1])\nadditionLayer(2)", "has 1 inputs"),
        ("imageInputLayer([4 4 2],'Mean',[1 2 3])\nreluLayer", "Mean has the size 1x3"),
        ("imageInputLayer([4 4 1])\nmaxPooling2dLayer(2,'HasUnpoolingOutputs',true)", "HasUnpoolingOutputs"),
    ):
        (tmp_path / "net.m").write_text(f"layers = [{text}];")
        with pytest.raises((li.Usage, li.Refused), match=re.escape(message)):
            li.load(tmp_path / "net.m")


# --- numbers ----------------------------------------------------------------------------------------------------------


def test_numbers_may_stand_in_structures_or_under_joined_names(tmp_path):
    import scipy.io

    (tmp_path / "net.m").write_text("layers = [featureInputLayer(2)\nfullyConnectedLayer(3,'Name','my layer')];")
    kernel, bias = np.arange(6.0).reshape(3, 2), np.array([[1.0], [2], [3]])
    x = np.array([[1, 10]], np.float32)
    for content in (
        {"my_layer": {"Weights": kernel, "Bias": bias}},
        {"my_layer_Weights": kernel, "my_layer_Bias": bias.T},
    ):
        for packed in (False, True):
            scipy.io.savemat(tmp_path / "net.mat", content, do_compression=packed)
            assert np.array_equal(li.run(tmp_path / "net.m", x)[0], [[11, 34, 57]])
    (tmp_path / "net.mat").rename(tmp_path / "other.mat")
    made = li.convert(tmp_path / "net.m", to="torch", weights=tmp_path / "other.mat")
    assert np.array_equal(li.run(made, x)[0], [[11, 34, 57]])


def test_a_file_that_lacks_a_number_is_an_error_and_not_a_guess(tmp_path, example):
    li.convert(example, tmp_path / "whole.m")
    whole = files.read_mat(tmp_path / "whole.mat")
    for layer, role in (("conv_1", "Bias"), ("batchnorm_2", "TrainedVariance"), ("imageinput", "Mean")):
        part = {name: {r: a for r, a in fields.items() if (name, r) != (layer, role)} for name, fields in whole.items()}
        files.write_mat(tmp_path / "net.mat", {name: fields for name, fields in part.items() if fields})
        with pytest.raises(
            li.Usage, match=f"net.mat has no {role} for the layer at matlab .*line . of net.m, '{layer}'"
        ):
            li.load(example)
    files.write_mat(tmp_path / "net.mat", {"other": {"Weights": np.ones((2, 2))}})
    with pytest.raises(li.Usage, match=r"net.mat has no numbers for net.m: it has other"):
        li.load(example)


def test_a_source_loads_only_the_file_of_its_own_name(tmp_path):
    for stated in ("secret.mat", "net2.mat"):
        (tmp_path / "net.m").write_text(
            f"w = load('{stated}');\nlayers = [featureInputLayer(2) fullyConnectedLayer(2,'Weights',w.a,'Bias',[1;2])];"
        )
        files.write_mat(tmp_path / stated, {"a": {"b": np.ones((2, 2))}})
        with pytest.raises(li.Usage, match="only the file of its own name is read"):
            li.load(tmp_path / "net.m")


def test_new_numbers_are_written_into_the_network(tmp_path, example):
    source = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Conv2D(16, 3), keras.layers.BatchNormalization(epsilon=1e-5),
                               keras.layers.LeakyReLU(negative_slope=0.01), keras.layers.MaxPooling2D(2), keras.layers.Conv2D(32, 3),
                               keras.layers.BatchNormalization(epsilon=1e-5), keras.layers.LeakyReLU(negative_slope=0.01),
                               keras.layers.Flatten(), keras.layers.Dense(10), keras.layers.Softmax()])  # fmt: skip
    target = files.open_matlab(example)
    li.transfer(source, target)
    x = random_for((2, 28, 28, 1))
    np.testing.assert_allclose(li.run(target, x)[0], li.run(source, x)[0], atol=1e-5)


# --- to MATLAB --------------------------------------------------------------------------------------------------------


def described(path):
    """The table without names, and without the channels that only a layer with numbers knows."""
    return [
        (r.type, re.sub(r"(\d+x\d+)x\d+( (?:transposed )?conv)|( with \d+ channels)$", r"\1\2", r.description))
        for r in rows(files.open_matlab(path))
    ]


@pytest.mark.parametrize("name", CHANNELS_LAST)
def test_a_source_comes_back_as_it_was(name, tmp_path):
    """The same table, and from then on the same text and the same numbers, bit by bit."""
    graph = with_random_numbers(NETWORKS[name], tmp_path)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    assert li.convert(tmp_path / "net.m", tmp_path / "one" / "net.m").passed
    assert li.convert(tmp_path / "one" / "net.m", tmp_path / "two" / "net.m").passed
    assert described(tmp_path / "net.m") == described(tmp_path / "one" / "net.m")
    assert (tmp_path / "one" / "net.m").read_text() == (tmp_path / "two" / "net.m").read_text()
    first, second, third = (files.open_matlab(tmp_path / f / "net.m") for f in (".", "one", "two"))
    for a, b, c in zip(first.layers, second.layers, third.layers, strict=True):
        for role, array in a.learnables.items():
            assert np.array_equal(np.squeeze(array), np.squeeze(b.learnables[role])), (a.title, role)
            assert np.array_equal(b.learnables[role], c.learnables[role])
        ignored = {"Normalization", "Mean", "StandardDeviation", "Min", "Max", *a.kind.learnables}
        assert {k: v for k, v in a.settings.items() if k not in ignored} == {
            k: v for k, v in b.settings.items() if k not in ignored
        }
    x = random_for(graph.inputs[0].shape)
    assert np.array_equal(li.run(tmp_path / "one" / "net.m", x)[0], li.run(tmp_path / "two" / "net.m", x)[0])
    np.testing.assert_allclose(
        li.run(tmp_path / "net.m", x)[0], li.run(tmp_path / "one" / "net.m", x)[0], rtol=1e-5, atol=1e-6
    )


class Branches(nn.Module):
    """Two branches that are added, and joined with a third."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(8 * 9 * 11, 2)

    def forward(self, x):
        y = self.first(x)
        z = nn.functional.leaky_relu(self.second(y) + y, 0.3)
        return self.last(torch.cat([z, y * z], 1).flatten(1))


def module(*layers):
    torch.manual_seed(0)
    made = nn.Sequential(*layers)
    for layer in made:
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
    return made.eval()


MODULES = {
    "classifier": lambda: module(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.LeakyReLU(0.2), nn.MaxPool2d(2),
                                 nn.Conv2d(8, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2), nn.ELU(0.7), nn.Flatten(),
                                 nn.Linear(6 * 2 * 4, 10), nn.Softmax(1)),
    "flat features": lambda: module(nn.Conv2d(3, 4, 3, bias=False), nn.Flatten(), nn.BatchNorm1d(4 * 7 * 9), nn.LeakyReLU(1.5),
                                    nn.Dropout(0.3), nn.Linear(4 * 7 * 9, 5, bias=False), nn.LeakyReLU()),
    "generator": lambda: module(nn.ConvTranspose2d(3, 4, 4, 2, 1), nn.BatchNorm2d(4, affine=False), nn.ReLU(),
                                nn.ConvTranspose2d(4, 2, (3, 2), bias=False), nn.Tanh()),
    "pools": lambda: module(nn.AvgPool2d(3, 2, 1), nn.PReLU(3), nn.AvgPool2d(2, 1, 1, count_include_pad=False), nn.SiLU(), nn.PReLU(),
                            nn.GELU(), nn.Conv2d(3, 5, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2), nn.Sigmoid()),
    "global": lambda: module(nn.Conv2d(3, 5, 1), nn.LocalResponseNorm(3), nn.AdaptiveMaxPool2d(1), nn.Conv2d(5, 4, 1), nn.GELU("tanh")),
    "depthwise": lambda: module(nn.Conv2d(3, 6, 3, groups=3, dilation=(2, 1)), nn.LeakyReLU(-0.1), nn.Conv2d(6, 6, 2, groups=6)),
    "dense": lambda: module(nn.Linear(7, 5), nn.LeakyReLU(-0.5), nn.LayerNorm(5), nn.Linear(5, 3), nn.LayerNorm(3, elementwise_affine=False)),
    "branches": lambda: Branches().eval(),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_a_pytorch_network_goes_through_matlab_to_onnx(name, tmp_path):
    if name == "global":
        pytest.importorskip("torch")
    made = MODULES[name]()
    x = torch.from_numpy(random_for((2, 7) if name == "dense" else (2, 3, 9, 11)))
    try:
        report = li.convert(made, tmp_path / "net.m", example=(x,))
    except li.Refused as error:
        assert name == "global" and "Pow" in str(error)  # PyTorch exports its local response norm as arithmetic
        return
    assert report.passed and NOT_RUN in report.notes
    assert li.convert(tmp_path / "net.m", tmp_path / "net.onnx").passed
    assert li.verify(made, tmp_path / "net.m", example=(x,)).passed
    wanted = made(x).detach().numpy()
    (y,) = li.run(tmp_path / "net.onnx", x.numpy().transpose(0, 2, 3, 1).copy() if x.ndim == 4 else x.numpy())
    y = y.transpose(0, 3, 1, 2) if y.ndim == 4 else y
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)


def keras_network():
    layers = keras.layers
    x = image = keras.Input((8, 9, 3), name="image")
    x = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 4.0])(x)
    x = layers.Conv2D(6, 3, padding="same", strides=2, name="conv")(x)
    x = layers.LeakyReLU(name="leaky")(x)
    y = layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="depth")(x)
    y = layers.Conv2D(6, 1, activation="leaky_relu", name="point")(y)
    x = layers.Add(name="add")([x, y])
    x = layers.AveragePooling2D(2, name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.BatchNormalization(name="norm")(x)
    return keras.Model(image, layers.Dense(4, activation="softmax", name="scores")(layers.Dropout(0.1, name="drop")(x)))


def test_a_keras_network_goes_through_matlab_to_onnx(tmp_path):
    model = keras_network()
    assert li.convert(model, tmp_path / "net.m").passed
    made = files.open_matlab(tmp_path / "net.m")
    assert {"conv", "leaky", "depth", "add", "pool", "flatten", "norm", "drop", "scores"} <= {
        layer.title for layer in made.layers
    }
    assert [layer.Scale for layer in made.layers if layer.function == "leakyReluLayer"] == [0.3, 0.2]
    assert made.layers[0].Normalization == "zscore"
    assert li.convert(tmp_path / "net.m", tmp_path / "net.onnx").passed
    x = random_for((2, 8, 9, 3))
    np.testing.assert_allclose(li.run(tmp_path / "net.onnx", x)[0], li.run(model, x)[0], rtol=1e-4, atol=1e-5)


def test_an_onnx_network_comes_back(tmp_path):
    made = MODULES["classifier"]()
    li.convert(made, tmp_path / "a.onnx", example=(torch.zeros(2, 3, 9, 11),))
    assert li.convert(tmp_path / "a.onnx", tmp_path / "net.m").passed
    assert li.verify(tmp_path / "a.onnx", tmp_path / "net.m").passed


def test_slopes_are_always_written(tmp_path):
    li.convert(
        module(nn.Linear(2, 2), nn.LeakyReLU(), nn.LeakyReLU(0.2), nn.ELU()),
        tmp_path / "net.m",
        example=(torch.zeros(1, 2),),
    )
    text = (tmp_path / "net.m").read_text()
    assert (
        "leakyReluLayer(0.01,'Name','1')" in text
        and "leakyReluLayer(0.2,'Name','2')" in text
        and "eluLayer(1,'Name','3')" in text
    )


def test_what_matlab_cannot_say_is_refused_all_at_once(tmp_path):
    made = module(
        nn.Conv2d(3, 5, 2), nn.Softplus(), nn.Hardtanh(), nn.Softmax(2), nn.MaxPool2d(2, dilation=2), nn.Flatten()
    )
    with pytest.raises(li.Refused) as error:
        li.convert(made, tmp_path / "net.m", example=(torch.zeros(1, 3, 9, 9),))
    for part in ("Softplus", "Clip(minimum=-1.0", "Softmax(axes=(2,))", "have no gaps", "column by column"):
        assert part in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("make", "example", "why"),
    [
        (lambda: nn.Linear(2, 2).double(), torch.zeros(1, 2).double(), "single precision"),
        (lambda: nn.Conv1d(2, 2, 1), torch.zeros(1, 2, 5), "images or features"),
        (lambda: nn.Sequential(nn.Conv2d(2, 2, 1), nn.Flatten()), torch.zeros(1, 2, 5, 4), "column by column"),
    ],
)
def test_a_network_that_would_compute_something_else_is_refused(make, example, why, tmp_path):
    with pytest.raises(li.Refused, match=why):
        li.convert(make().eval(), tmp_path / "net.m", example=(example,))


def test_names_cannot_smuggle_code_into_the_source(tmp_path):
    hostile = "a');system('rm -rf ~');%\n"
    x = image = keras.Input((3,), name="x")
    x = keras.layers.LeakyReLU(name="fine")(image)
    model = keras.Model(image, x)
    graph = li.load(model)
    graph.nodes[0].name = hostile
    made = transfer_graph(graph, "matlab").model
    frameworks.get("matlab").save(made, tmp_path / "net.m", graph)
    text = (tmp_path / "net.m").read_text()
    assert "system(" not in text and len(text.splitlines()) == 4
    assert len(files.open_matlab(tmp_path / "net.m").layers) == 2


def test_every_operator_that_is_written_computes_what_it_says():
    """Every case of the operators that have an exporter: refused, or the same numbers when read back."""
    computed = set()
    for case in CASES.values():
        if ("matlab", type(case.op)) not in EXPORTERS or case.name.startswith("transpose/"):
            continue
        graph, arrays = graph_of(case)
        try:
            made = transfer_graph(graph, "matlab")
        except li.Refused:
            continue
        turn = lambda array, perm: array if perm is None else array.transpose(perm)  # noqa: E731
        perms = made.graph.input_perms or [None] * len(arrays)
        results = frameworks.get("matlab").run(made.model, [turn(a, p) for a, p in zip(arrays, perms, strict=True)])
        perms = made.graph.output_perms or [None] * len(results)
        back = [r if p is None else r.transpose(np.argsort(p)) for r, p in zip(results, perms, strict=True)]
        check(case, graph.run(*arrays), back, f"matlab, {case.name}")
        computed.add(type(case.op).__name__)
    assert computed >= {"Conv", "ConvTranspose", "Dense", "BatchNorm", "MaxPool", "AveragePool", "LeakyRelu", "PRelu", "Softmax", "ReduceMean", "LocalResponseNorm"}  # fmt: skip


# --- the command line -------------------------------------------------------------------------------------------------


def command(*arguments, folder):
    done = subprocess.run(
        [sys.executable, "-m", "leaky_interop", *arguments], capture_output=True, text=True, cwd=folder, timeout=280
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_line_inspects_converts_and_verifies(example, tmp_path):
    code, out, _ = command("inspect", "net.m", folder=tmp_path)
    lines = [line.strip() for line in out.splitlines()]
    assert code == 0 and "\n".join(TABLE.splitlines()) in "\n".join(lines)
    assert "leakyrelu_1  0.01  MATLAB's default: the layer is given no scale" in lines
    code, out, _ = command("inspect", "net.m", "--json", folder=tmp_path)
    found = json.loads(out)
    assert found["layers"][3] == {
        "index": 4,
        "name": "",
        "type": "Leaky ReLU",
        "description": "Leaky ReLU with scale 0.01",
    }
    assert command("convert", "net.m", "net.onnx", folder=tmp_path)[0] == 0
    assert command("convert", "net.onnx", "again.m", folder=tmp_path)[0] == 0
    assert command("verify", "again.m", "net.onnx", folder=tmp_path)[0] == 0
    code, out, _ = command("convert", "net.m", "other.onnx", "--weights", "again.mat", folder=tmp_path)
    assert code == 2  # the input is not normalised there, so the file lacks the mean that the source would subtract


def test_without_a_mat_file_nothing_beyond_numpy_is_needed(example):
    code = (
        f"import sys, leaky_interop as li; g = li.load({str(example)!r}); assert len(g.nodes) == 11;"
        f"assert len(li.inspect({str(example)!r}).layers) == 11;"
        "assert not {'scipy', 'torch', 'keras', 'tensorflow', 'onnx', 'onnxruntime'} & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
