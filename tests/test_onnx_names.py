"""What layers are called that come from ONNX files of other exporters: as their authors called them."""

import io
import warnings

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import leaky_interop as li
from leaky_interop.cutting import cut
from leaky_interop.frameworks.onnx.naming import titles


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.act = torch.nn.LeakyReLU(0.2)

    def forward(self, x):
        return torch.relu(x + self.act(self.conv(x)))


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(Block(), Block())
        self.head = torch.nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.layers(x).mean((2, 3)))


def exported(model, x, **options):
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model.eval(), x, file, **options)
    return onnx.load_from_string(file.getvalue())


def node(kind, *inputs, name="", output=""):
    return helper.make_node(kind, list(inputs), [output or name or kind], name=name)


def test_a_file_of_torch_gives_the_state_of_the_module_back():
    x = torch.randn(2, 3, 5, 4)
    net = Net()
    back = li.convert(exported(net, x, dynamo=False), to="torch")
    assert list(back.state_dict()) == list(net.state_dict())
    net.load_state_dict(back.state_dict(), strict=True)
    assert {"layers.0.act", "layers.1.act"} < set(dict(back.named_modules()))
    torch.testing.assert_close(back(x), net(x))
    assert "getattr(self, " not in back.code


def test_names_of_tf2onnx():
    weights = {"model/conv1/kernel:0", "model/conv1/bias:0"}
    nodes = [
        node("Conv", "x", "model/conv1/kernel:0", "model/conv1/bias:0", name="model/conv1/Conv2D"),
        node("LeakyRelu", "model/conv1/Conv2D", name="model/act/LeakyRelu"),
        node("Relu", "model/act/LeakyRelu", name="StatefulPartitionedCall/model/re_lu/Relu__12"),
    ]
    assert titles(nodes, weights) == ["model.conv1", "model.act", "StatefulPartitionedCall.model.re_lu.Relu__12"]


def test_a_shared_weight_names_no_layer_and_a_container_is_none():
    nodes = [
        node("Gather", "embed.weight", "ids", name="/embed/Gather"),
        node("MatMul", "a", "embed.weight", name="/head/MatMul"),
        node("Add", "a", "b", name="/block/Add"),
        node("Conv", "a", "block.conv.weight", name="/block/conv/Conv"),
        node("Relu", "a", name="/block/Relu"),
        node("Relu", "a", name="/block/Relu_1"),
        node("Relu", "a", output="unnamed/y"),
    ]
    assert titles(nodes, {"embed.weight", "block.conv.weight"}) == [
        "embed", "head", "block.Add", "block.conv", "block.Relu", "block.Relu_1", "unnamed.y",
    ]  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from(["", "/", "/a/Relu", "/a/a.b/Relu", "/a/a.b/Relu_1", "a/b", "a.b", "Relu", "//"]),
                          st.sampled_from(["w", "a.w", "a.b.w", "/a/w", ".", "w."])), max_size=8))  # fmt: skip
def test_every_node_has_a_name_of_its_own(parts):
    nodes = [node("Relu", weight, name=name, output=f"y{i}") for i, (name, weight) in enumerate(parts)]
    found = titles(nodes, {"a.w", "a.b.w", "/a/w", ".", "w."})
    assert len(set(found)) == len(found) and all(found)


@pytest.mark.parametrize("name", ["/layers/layers.0/act/LeakyRelu", "/layers/layers.0/act/LeakyRelu_output_0", "layers.0.act"])
def test_a_cut_takes_every_name_of_a_layer(name):
    x = torch.randn(2, 3, 5, 4)
    net = Net()
    part = cut(li.load(exported(net, x, dynamo=False)), outputs=[name])
    expected = net.layers[0].act(net.layers[0].conv(x)).detach().numpy()
    np.testing.assert_allclose(part.run(x.numpy())[0], expected, rtol=1e-5, atol=1e-6)


def test_a_scalar_weight_stays_a_weight():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(0.7))
            self.shift = torch.nn.Parameter(torch.tensor(0.1), requires_grad=False)

        def forward(self, x):
            return x * self.scale + self.shift + 1.5

    back = li.convert(li.convert(Scaled(), to="onnx", example=(torch.ones(1, 3),)), to="torch")
    assert {n: p.requires_grad for n, p in back.named_parameters()} == {"scale": True, "shift": False}
