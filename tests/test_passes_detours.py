"""Casts that only an ONNX file needs are gone when it is read; casts that users wrote stay."""

import numpy as np
import pytest
import torch

import leaky_interop as li
from leaky_interop.graph import Graph, label
from leaky_interop.numeric import dtype
from leaky_interop.ops.activation import LeakyRelu
from leaky_interop.ops.cast import Cast
from leaky_interop.ops.compare import Greater
from leaky_interop.ops.math import Add, Mul
from leaky_interop.passes.detours import straighten

X = np.random.default_rng(3).uniform(-8, 8, (2, 3)).astype(np.float32)


def of(function, framework="onnx"):
    graph = Graph()
    graph.framework = framework
    made = function(graph.input("x", X.shape, dtype("bfloat16")))
    graph.outputs = list(made) if isinstance(made, tuple) else [made]
    graph.output_names = [f"y{i}" for i in range(len(graph.outputs))]
    label(graph)
    return graph


def wide(x):
    return Cast(dtype="float32")(x)


def narrow(x):
    return Cast(dtype="bfloat16")(x)


def kinds(graph):
    return [type(n.op).__name__ for n in graph.nodes]


def same(graph):
    """The straightened graph computes the same."""
    found = straighten(graph)
    x = X.astype(dtype("bfloat16"))
    for a, b in zip(graph.run(x), found.run(x), strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b)
    return found


def test_an_operator_between_casts_is_the_operator():
    graph = same(of(lambda x: narrow(LeakyRelu(negative_slope=0.2)(wide(x)))))
    assert kinds(graph) == ["LeakyRelu"] and graph.outputs[0].dtype == dtype("bfloat16")


def test_a_chain_loses_all_its_casts():
    graph = same(of(lambda x: narrow(Mul()(wide(narrow(Add()(wide(x), 0.5))), wide(x)))))
    assert kinds(graph) == ["Add", "Mul"]


def test_a_comparison_has_no_cast_behind_it():
    graph = same(of(lambda x: Greater()(wide(x), 0.5)))
    assert kinds(graph) == ["Greater"]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: LeakyRelu(negative_slope=0.2)(wide(x)),  # the result stays wide
        lambda x: narrow(Add()(wide(x), 0.1)),  # 0.1 is no bfloat16 number
        lambda x: narrow(
            Mul()(LeakyRelu(negative_slope=0.2)(wide(x)), wide(x))
        ),  # two operators without rounding between
        lambda x: (y := Mul()(wide(x), wide(x)), narrow(y)),  # the wide result is read as well
    ],
)
def test_what_computes_in_float32_on_purpose_stays(function):
    graph = of(function)
    assert sorted(kinds(same(graph))) == sorted(kinds(graph))


def test_only_onnx_needs_them():
    graph = of(lambda x: narrow(LeakyRelu(negative_slope=0.2)(wide(x))), "torch")
    assert kinds(straighten(graph)) == ["Cast", "LeakyRelu", "Cast"]


def test_a_bfloat16_network_goes_through_onnx_and_comes_back_as_it_was():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bend = torch.nn.LeakyReLU(0.3)

        def forward(self, x):
            return torch.tanh(self.bend(x * 1.5) + x)

    x = torch.from_numpy(X).bfloat16()
    model = li.convert(Net(), to="onnx", example=(x,))
    assert {n.op_type for n in model.graph.node} >= {"Cast", "LeakyRelu"}
    graph = li.load(model)
    assert kinds(graph) == ["Mul", "LeakyRelu", "Add", "Tanh"]
    assert {n.outputs[0].dtype.name for n in graph.nodes} == {"bfloat16"}
