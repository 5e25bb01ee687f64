"""Folding pads and slices into the operators beside them: what goes, what stays, under which name and anchor."""

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from family_checks import kinds
from spatial_checks import Call, draw, keras_model
from torch import nn

import leaky_interop as li
from leaky_interop.graph import Anchor, Graph, Parameter, label
from leaky_interop.ops.activation import LeakyRelu
from leaky_interop.ops.average_pool import AveragePool
from leaky_interop.ops.bounds import Clip
from leaky_interop.ops.conv import Conv
from leaky_interop.ops.conv_transpose import ConvTranspose
from leaky_interop.ops.index import Slice
from leaky_interop.ops.pad import Pad
from leaky_interop.ops.pool import MaxPool
from leaky_interop.ops.relu import Relu
from leaky_interop.ops.shape import Reshape
from leaky_interop.ops.transpose import Transpose
from leaky_interop.passes.pads import fold_pads
from leaky_interop.passes.slices import fold_slices

X = draw(2, 3, 6, 5) - 1
INFINITY = float("-inf")


def conv(x, **fields):
    """A convolution of two rows by two columns."""
    kernel = draw(4, x.shape[1], 2, 2, seed=1)
    plain = {"strides": (1, 1), "pads": ((0, 1), (0, 0)), "dilations": (1, 1), "groups": 1}
    weight = x.graph.parameter(Parameter("conv.kernel", kernel.shape, kernel.dtype, lambda: kernel, kernel, True))
    return Conv(**plain | fields)(x, weight, None)


def conv_transpose(x, **fields):
    kernel = draw(x.shape[1], 4, 3, 3, seed=1)
    plain = {"strides": (2, 2), "crops": ((0, 1), (0, 0)), "dilations": (1, 1), "groups": 1}
    weight = x.graph.parameter(Parameter("conv.kernel", kernel.shape, kernel.dtype, lambda: kernel, kernel, True))
    return ConvTranspose(**plain | fields)(x, weight, None)


def maximum(x):
    return MaxPool(kernel=(2, 2), strides=(1, 1), pads=((1, 0), (0, 0)), dilations=(1, 1))(x)


def pooled(x, **fields):
    """The maxima of windows of three by three that do not overlap."""
    plain = {"strides": (3, 3), "pads": ((0, 0), (0, 0)), "dilations": (1, 1)}
    return MaxPool(kernel=(3, 3), **plain | fields)(x)


def mean(x, counted=((0, 0), (0, 0))):
    return AveragePool(kernel=(2, 2), strides=(1, 1), pads=((1, 0), (0, 0)), counted=counted, dilations=(1, 1))(x)


def pad(x, rows=(1, 2), columns=(0, 3), value=0.0, mode="constant", channels=(0, 0)):
    return Pad(pads=((0, 0), channels, rows, columns), mode=mode, value=value)(x)


def made(build, *shape):
    """A graph of a function of one input; every value is anchored where it was made."""
    graph = Graph()
    x = graph.input("x", shape or X.shape, np.float32)
    results = build(x)
    graph.outputs = list(results) if isinstance(results, tuple) else [results]
    graph.output_names = [f"y{i}" for i in range(len(graph.outputs))]
    for index, node in enumerate(graph.nodes):
        node.name = f"{type(node.op).__name__.lower()}_{index}"
        node.outputs[0].anchor = Anchor(index)
    label(graph)
    return graph


def same(first, second, x=X):
    for a, b in zip(first.run(x), second.run(x), strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


FOLDS = {
    "conv": (lambda x: conv(pad(x)), ["Conv"], ((1, 3), (0, 3))),
    "two_pads": (lambda x: conv(pad(pad(x), (0, 1), (2, 0))), ["Conv"], ((1, 4), (2, 3))),
    "past_a_transpose": (lambda x: conv(pad(x).transpose(0, 1, 3, 2)), ["Transpose", "Conv"], ((0, 4), (1, 2))),
    "channels_last": (
        lambda x: conv(Pad(pads=((0, 0), (1, 2), (0, 3), (0, 0)), mode="constant", value=0.0)(x).transpose(0, 3, 1, 2)),
        ["Transpose", "Conv"], ((1, 3), (0, 3)),
    ),
    "mean": (lambda x: mean(pad(x)), ["AveragePool"], ((2, 2), (0, 3))),
    "maximum": (lambda x: maximum(pad(x, value=INFINITY)), ["MaxPool"], ((2, 2), (0, 3))),
    "zeros_around_a_relu": (lambda x: pooled(pad(Relu()(x), (1, 2), (0, 2))), ["Relu", "MaxPool"], ((1, 2), (0, 2))),
    "zeros_around_a_clip": (
        lambda x: pooled(pad(Clip(minimum=0.0, maximum=0.5)(x), (2, 2), (1, 0)).transpose(0, 1, 3, 2)),
        ["Clip", "Transpose", "MaxPool"], ((1, 0), (2, 2)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDS)
def test_pads_that_are_folded(name):
    build, wanted, pads = FOLDS[name]
    graph = made(build)
    folded = fold_pads(graph)
    assert kinds(folded) == wanted and folded.nodes[-1].op.pads == pads
    same(graph, folded)
    last, old = folded.nodes[-1], graph.nodes[-1]
    assert last.name == old.name and last.outputs[0].anchor == old.outputs[0].anchor
    assert all(n.outputs[0].anchor is None for n in folded.nodes if isinstance(n.op, Transpose))  # they move unpadded data now


STAYS = {
    "another_value": lambda x: conv(pad(x, value=1.0)),
    "minus_zero_and_a_mean": lambda x: mean(pad(x, value=-0.0)),
    "another_mode": lambda x: conv(pad(x, mode="reflect")),
    "padded_channels": lambda x: conv(pad(x, channels=(1, 0))),
    "two_readers": lambda x: (conv(y := pad(x)), maximum(y)),
    "read_twice_by_outputs": lambda x: (y := pad(x), conv(y)),
    "zeros_before_a_maximum": lambda x: maximum(pad(x)),
    "zeros_around_a_clip_below_zero": lambda x: pooled(pad(Clip(minimum=-0.5, maximum=None)(x), (1, 1))),
    "zeros_around_a_clip_from_above": lambda x: pooled(pad(Clip(minimum=None, maximum=0.5)(x), (1, 1))),
    "zeros_around_a_leaky_relu": lambda x: pooled(pad(LeakyRelu(negative_slope=0.2)(x), (1, 1))),
    "minus_zeros_around_a_relu": lambda x: pooled(pad(Relu()(x), value=-0.0)),
    "a_window_of_zeros_alone": lambda x: pooled(pad(Relu()(x), (3, 0), (0, 0))),
    "a_window_of_both_pads": lambda x: maximum(pad(Relu()(x), (1, 0), (0, 0))),
    "a_window_that_skips_the_data": lambda x: pooled(pad(Relu()(x), (1, 1)), dilations=(2, 1)),
    "infinity_before_a_mean": lambda x: mean(pad(x, value=INFINITY)),
    "the_lowest_number_is_not_infinity": lambda x: maximum(pad(x, value=float(np.finfo(np.float32).min))),
    "past_a_reshape": lambda x: conv(pad(x).reshape(2, 3, 8, 9).reshape(2, 3, 9, 8)),
    "a_transpose_that_brings_channels_in": lambda x: conv(pad(x).transpose(0, 2, 1, 3)),
}


@pytest.mark.parametrize("name", STAYS)
def test_pads_that_stay(name):
    graph = made(STAYS[name])
    folded = fold_pads(graph)
    assert kinds(folded).count("Pad") == 1
    same(graph, folded)


def test_a_counted_mean_counts_what_is_folded_into_it():
    graph = made(lambda x: mean(pad(x), counted=((1, 0), (0, 0))))
    folded = fold_pads(graph)
    assert folded.nodes[0].op.counted == ((2, 2), (0, 3))
    same(graph, folded)


def test_a_pad_under_an_axis_in_front_is_uncovered():
    def build(x):
        covered = Pad(pads=((0, 0), (0, 0), (0, 0), (1, 2), (0, 3)), mode="constant", value=0.0)(x.reshape(1, 2, 3, 6, 5))
        return maximum(covered.reshape(2, 3, 9, 8))

    graph = made(build)
    folded = fold_pads(graph)
    assert kinds(folded) == ["Pad", "MaxPool"]
    assert folded.nodes[0].outputs[0].anchor == graph.nodes[2].outputs[0].anchor
    assert folded.nodes[0].name == graph.nodes[2].name
    same(graph, folded)


@pytest.mark.parametrize("build", [
    lambda x: Pad(pads=((1, 0), (0, 0), (1, 2)), mode="constant", value=0.0)(x.reshape(1, 6, 30)).reshape(12, 33),
    lambda x: (y := x.reshape(1, 6, 30), Pad(pads=((0, 0), (0, 0), (1, 2)), mode="constant", value=0.0)(y).reshape(6, 33)),
])  # fmt: skip
def test_reshapes_around_a_pad_that_mean_more_stay(build):
    graph = made(build)
    assert kinds(fold_pads(graph)) == ["Reshape", "Pad", "Reshape"]
    same(graph, fold_pads(graph))


def cut(x, axes, starts, stops, steps):
    return Slice(axes=axes, starts=starts, stops=stops, steps=steps)(x)


SLICES = {
    "crops": (lambda x: cut(conv_transpose(x), (2, 3), (1, 0), (12, 9), (1, 1)), {"crops": ((1, 1), (0, 2))}),
    "strides": (lambda x: cut(conv(x), (2, 3), (0, 0), (6, 4), (2, 3)), {"strides": (2, 3)}),
    "more_strides": (lambda x: cut(conv(x, strides=(2, 1)), (2,), (0,), (3,), (2,)), {"strides": (4, 1)}),
}


@pytest.mark.parametrize("name", SLICES)
def test_slices_that_are_folded(name):
    build, fields = SLICES[name]
    graph = made(build)
    folded = fold_slices(graph)
    (node,) = folded.nodes
    assert {k: getattr(node.op, k) for k in fields} == fields
    assert node.name == graph.nodes[0].name and node.outputs[0].anchor == graph.nodes[1].outputs[0].anchor
    same(graph, folded)


@pytest.mark.parametrize("build", [
    lambda x: cut(conv_transpose(x), (2,), (0,), (12,), (2,)),  # a transposed convolution has no such strides
    lambda x: cut(conv_transpose(x), (1,), (1,), (4,), (1,)),  # channels
    lambda x: cut(conv(x), (2,), (1,), (6,), (2,)),  # starts later
    lambda x: cut(conv(x), (2,), (0,), (4,), (2,)),  # ends earlier
    lambda x: (cut(y := conv(x), (2,), (0,), (6,), (2,)), y),  # all of it is read, too
])  # fmt: skip
def test_slices_that_stay(build):
    graph = made(build)
    folded = fold_slices(graph)
    assert "Slice" in kinds(folded)
    same(graph, folded)


# --- from the frameworks ----------------------------------------------------------------------------------------------


def test_what_frameworks_write_beside_a_convolution_comes_back_as_one():
    module = Call(lambda x: net(F.pad(x, (0, 1, 2, 1))), net=(net := nn.Conv2d(3, 4, 3)))
    sources = (
        li.load(module, (X,)),
        li.load(keras_model(lambda x: keras.layers.Conv2D(4, 3)(keras.layers.ZeroPadding2D(((2, 1), (0, 1)))(x)), (6, 5, 3))),
        li.load(li.convert(module, to="keras", example=(X,)), (np.moveaxis(X, 1, -1),)),
        li.load(li.convert(module, to="onnx", example=(X,))),
    )
    for graph in sources:
        assert [n.op.pads for n in graph.nodes if isinstance(n.op, Conv)] == [((2, 1), (0, 1))]
        assert set(kinds(graph)) <= {"Conv", "Transpose"}


def test_names_survive_the_trip_through_keras():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 3, stride=2)
            self.up = nn.ConvTranspose2d(4, 3, 3, stride=2)

        def forward(self, x):
            return self.up(self.stem(F.pad(x, (1, 0, 1, 0))))[:, :, 1:, :-2]

    first = li.load(Net(), (X,))
    made = li.convert(Net(), to="keras", example=(X,))
    again = li.load(made)
    names = [n.name for n in again.nodes if not isinstance(n.op, Transpose | Reshape)]
    assert kinds(first) == ["Conv", "ConvTranspose"] and [n.name for n in first.nodes] == names == ["stem", "up"]
    for one, other in zip(first.nodes, (n for n in again.nodes if not isinstance(n.op, Transpose)), strict=True):
        assert one.op.matches(other.op)


def test_the_pass_runs_on_what_torch_exports_too():
    program = torch.export.export(Call(lambda x: net(F.pad(x, (1, 1))), net=(net := nn.Conv1d(3, 4, 3))), (torch.randn(2, 3, 9),))
    assert kinds(li.load(program)) == ["Conv"]
