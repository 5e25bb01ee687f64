"""Batch norms, scales and shifts go into the layer beside them when asked for, where that is exact, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaky_interop import numeric
from leaky_interop.graph import Anchor, Graph, Parameter, label
from leaky_interop.ops.conv import Conv
from leaky_interop.ops.conv_transpose import ConvTranspose
from leaky_interop.ops.dense import Dense
from leaky_interop.ops.math import Add, Div, Mul, Sub
from leaky_interop.ops.norm import BatchNorm, BatchStatisticsNorm
from leaky_interop.ops.relu import LeakyRelu
from leaky_interop.ops.transpose import Transpose
from leaky_interop.passes.fold import ELSEWHERE, INEXACT, NO_LAYER, PADDED, SHARED, fold_batch_norms


class Network:
    """A graph in the making, every node named and anchored, weights drawn away from 0 and 1."""

    def __init__(self, dtype="float64", seed=0):
        self.graph, self.rng, self.dtype = Graph(), np.random.default_rng(seed), numeric.dtype(dtype)

    def weight(self, *shape, low=-1.0, high=2.0, name="w", array=None):
        array = (self.rng.uniform(low, high, shape) if array is None else np.asarray(array)).astype(self.dtype)
        return self.graph.parameter(
            Parameter(name and self.graph.unique(name), array.shape, self.dtype, lambda: array, array, True)
        )

    def input(self, *shape):
        return self.graph.input("x", shape, self.dtype)

    def call(self, op, *operands, name="node"):
        made = op(*operands)
        made.node.name = self.graph.unique(name)
        made.node.source = f"test {type(op).__name__} '{made.node.name}'"
        made.anchor = Anchor(made.node.name)
        return made

    def norm(self, x, *, scale=True, bias=True, variance=None):
        c = x.shape[1]
        statistics = self.weight(c), self.weight(c, low=0.01, high=3.0, array=variance)
        weights = (self.weight(c) if scale else None, self.weight(c) if bias else None)
        return self.call(BatchNorm(epsilon=0.003, momentum=0.9, frozen=False), x, *weights, *statistics, name="norm")

    def conv(self, x, out=4, k=3, *, groups=1, pads=None, strides=None, bias=True, kernel=None):
        spatial = x.rank - 2
        fields = {
            "strides": strides or (1,) * spatial,
            "pads": pads or ((0, 0),) * spatial,
            "dilations": (1,) * spatial,
        }
        kernel = kernel or self.weight(out, x.shape[1] // groups, *(k,) * spatial, name="conv.kernel")
        return self.call(
            Conv(**fields, groups=groups), x, kernel, self.weight(kernel.shape[0]) if bias else None, name="conv"
        )

    def transposed(self, x, out=4, *, groups=1, bias=True):
        spatial = x.rank - 2
        op = ConvTranspose(strides=(2,) * spatial, crops=((1, 0),) * spatial, dilations=(1,) * spatial, groups=groups)
        kernel = self.weight(x.shape[1], out // groups, *(3,) * spatial, name="deconv.kernel")
        return self.call(op, x, kernel, self.weight(out) if bias else None, name="deconv")

    def dense(self, x, out=4, *, bias=True):
        weights = self.weight(out, x.shape[-1], name="dense.kernel"), self.weight(out) if bias else None
        return self.call(Dense(), x, *weights, name="dense")

    def done(self, *outputs):
        self.graph.outputs, self.graph.output_names = list(outputs), [f"y{i}" for i in range(len(outputs))]
        label(self.graph)
        return self.graph


def kinds(graph):
    return [type(n.op).__name__ for n in graph.nodes]


def same(before, after, *shapes, seed=1):
    """Both graphs compute the same numbers on seeded arrays."""
    rng = np.random.default_rng(seed)
    arrays = [rng.standard_normal(s).astype(v.dtype) for s, v in zip(shapes, before.inputs, strict=True)]
    for one, other in zip(before.run(*arrays), after.run(*arrays), strict=True):
        assert np.abs(one).max() > 0.1
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * np.abs(one).max())


LAYERS = {
    "conv": ((2, 3, 7, 6), lambda net, x, b: net.conv(x, bias=b, pads=((1, 2), (0, 1)), strides=(2, 1))),
    "conv_1d": ((2, 3, 7), lambda net, x, b: net.conv(x, bias=b)),
    "conv_3d": ((1, 2, 4, 5, 4), lambda net, x, b: net.conv(x, bias=b)),
    "groups": ((2, 6, 5, 5), lambda net, x, b: net.conv(x, 9, groups=3, bias=b)),
    "depthwise": ((7, 4, 5, 5), lambda net, x, b: net.conv(x, 8, groups=4, bias=b, pads=((1, 1), (1, 1)))),
    "transposed": ((2, 3, 4, 5), lambda net, x, b: net.transposed(x, bias=b)),
    "transposed_groups": ((2, 6, 4, 5), lambda net, x, b: net.transposed(x, 4, groups=2, bias=b)),
    "dense": ((2, 5), lambda net, x, b: net.dense(x, bias=b)),
}


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_batch_norm_behind_a_layer(kind, bias):
    shape, layer = LAYERS[kind]
    net = Network()
    y = net.norm(layer(net, net.input(*shape), bias), scale=bias, bias=not bias or kind == "conv")
    before = net.done(y)
    after = fold_batch_norms(before)
    (node,) = after.nodes
    assert node.op == before.nodes[0].op and node.name == before.nodes[0].name
    assert node.outputs[0].anchor == Anchor("norm") and node.outputs[0].anchor.steps == ()
    assert node.native_name == "norm" and before.nodes[0].name in node.source
    assert node.inputs[1].const.name == before.nodes[0].inputs[1].const.name
    own = before.nodes[0].inputs[2]
    assert node.inputs[2].const.name == (
        own.const.name if bias else f"{node.inputs[1].const.name.partition('.')[0]}.bias"
    )
    same(before, after, shape)


@pytest.mark.parametrize("block", [1, 40, 70])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_large_kernel_is_scaled_in_parts(kind, block, monkeypatch):
    shape, layer = LAYERS[kind]
    net = Network()
    x = net.input(*shape)
    first = x if "transposed" in kind or kind in ("conv", "depthwise") else net.norm(x)
    before = net.done(net.norm(layer(net, first, True)))
    whole = fold_batch_norms(before)
    monkeypatch.setattr("leaky_interop.passes.fold.BLOCK", block)
    parts = fold_batch_norms(before)
    assert len(whole.nodes) == len(parts.nodes) == 1
    for one, other in zip(whole.nodes[0].inputs[1:], parts.nodes[0].inputs[1:], strict=True):
        np.testing.assert_allclose(one.array(), other.array(), rtol=1e-14, atol=1e-14)
    same(before, parts, shape)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["conv_1d", "groups", "depthwise", "transposed_groups", "dense"])
def test_a_chain_of_scales_and_shifts(kind, seed):
    shape, layer = LAYERS[kind]
    net = Network(seed=seed)
    y = layer(net, net.input(*shape), True)
    column = (y.shape[1], *(1,) * (y.rank - 2))
    y = net.call(Mul(), net.weight(*column), y)
    y = net.call(Sub(), net.weight(1, *column), y)
    y = net.norm(y)
    y = net.call(Div(), y, net.weight(*column, low=0.5))
    y = net.call(Sub(), y, net.weight(), name="less")
    y = net.call(Add(), net.weight(1), y, name="last")
    before = net.done(net.call(LeakyRelu(negative_slope=0.2), y))
    after = fold_batch_norms(before)
    assert len(after.nodes) == 2 and after.nodes[0].outputs[0].anchor == Anchor("last")
    assert any("1 batch norm and 5 other scales and shifts" in note for note in after.notes)
    same(before, after, shape)


@pytest.mark.parametrize("kind", ["conv_1d", "conv_3d", "groups", "dense"])
def test_a_batch_norm_in_front_of_a_layer_that_pads_nothing(kind):
    shape, layer = LAYERS[kind]
    net = Network()
    x = net.input(*shape)
    before = net.done(layer(net, net.norm(net.call(Mul(), x, net.weight())), True))
    after = fold_batch_norms(before)
    assert len(after.nodes) == 1 and after.nodes[0].outputs[0].anchor == before.outputs[0].anchor
    same(before, after, shape)


@pytest.mark.parametrize("kind", ["conv", "depthwise", "transposed"])
def test_zeros_that_a_layer_pads_are_not_normalised(kind):
    shape, layer = LAYERS[kind]
    net = Network()
    before = net.done(layer(net, net.norm(net.input(*shape)), True))
    after = fold_batch_norms(before)
    assert kinds(after) == kinds(before)
    assert any(PADDED in note and "norm" in note for note in after.notes)


@pytest.mark.parametrize("kind", ["conv", "depthwise", "transposed"])
def test_a_scale_alone_passes_padding(kind):
    shape, layer = LAYERS[kind]
    net = Network()
    x = net.input(*shape)
    before = net.done(layer(net, net.call(Mul(), x, net.weight(shape[1], 1, 1)), True))
    after = fold_batch_norms(before)
    assert len(after.nodes) == 1
    same(before, after, shape)


def test_between_two_layers_it_goes_backwards():
    net = Network()
    before = net.done(net.conv(net.norm(net.conv(net.input(2, 3, 7, 7)), scale=False), 5))
    after = fold_batch_norms(before)
    first, second = after.nodes
    assert "norm" in first.source and "norm" not in second.source
    same(before, after, (2, 3, 7, 7))


def test_where_the_layer_before_is_read_elsewhere_it_goes_forwards():
    net = Network()
    y = net.conv(net.input(2, 3, 7, 7))
    before = net.done(net.conv(net.norm(y), 5), net.call(LeakyRelu(negative_slope=0.3), y))
    after = fold_batch_norms(before)
    assert sorted(kinds(after)) == ["Conv", "Conv", "LeakyRelu"]
    same(before, after, (2, 3, 7, 7))


def test_through_transposes():
    """Keras' Dense and BatchNormalization both work along the last axis, which is not axis 1."""
    net = Network()
    y = net.dense(net.input(2, 3, 5), 6)
    y = net.call(Transpose(perm=(0, 2, 1)), net.norm(net.call(Transpose(perm=(0, 2, 1)), y)))
    y = net.call(Mul(), y, net.weight(6))
    before = net.done(y)
    after = fold_batch_norms(before)
    assert kinds(after) == ["Dense", "Transpose", "Transpose"]
    same(before, after, (2, 3, 5))
    net = Network()
    x = net.call(Transpose(perm=(0, 2, 1)), net.norm(net.call(Transpose(perm=(0, 2, 1)), net.input(2, 3, 5))))
    before = net.done(net.dense(x))
    after = fold_batch_norms(before)
    assert kinds(after) == ["Transpose", "Transpose", "Dense"]
    same(before, after, (2, 3, 5))


def _fan_out(net, x):
    y = net.conv(x)
    return net.norm(y), net.call(LeakyRelu(negative_slope=0.2), y)


def _an_output(net, x):
    y = net.conv(x)
    return y, net.norm(y)


def _norm_of_batch(net, x):
    return (net.call(BatchStatisticsNorm(epsilon=0.1), net.conv(x), net.weight(4), None),)


def _relu_between(net, x):
    return (net.norm(net.call(LeakyRelu(negative_slope=0.2), net.conv(x))),)


def _other_axis(net, x):
    return (net.call(Mul(), net.conv(x), net.weight(5)),)


def _every_place(net, x):
    return (net.call(Add(), net.conv(x), net.weight(4, 5, 5)),)


def _by_sample(net, x):
    return (net.call(Mul(), net.conv(x), net.weight(2, 1, 1, 1)),)


def _more_axes(net, x):
    return (net.call(Mul(), net.conv(x), net.weight(3, 1, 4, 1, 1)),)


def _divides(net, x):
    return (net.call(Div(), net.weight(4, 1, 1), net.conv(x)),)


def _squared(net, x):
    y = net.conv(x)
    return (net.call(Mul(), y, y),)


def _computed_kernel(net, x):
    kernel = net.call(LeakyRelu(negative_slope=0.3), net.weight(4, 3, 3, 3))
    return (net.norm(net.conv(x, kernel=kernel)),)


def _infinite(net, x):
    return (net.norm(net.conv(x), variance=[1, 2, -0.003, 1]),)


def _no_number(net, x):
    return (net.norm(net.conv(x), variance=[1, 2, -3, 1]),)


def _shared_but_normed_otherwise(net, x):
    kernel = net.weight(4, 3, 3, 3)
    return net.norm(net.conv(x, kernel=kernel)), net.norm(net.conv(x, kernel=kernel))


def _shared_and_bare(net, x):
    kernel = net.weight(4, 3, 3, 3)
    return net.norm(net.conv(x, kernel=kernel)), net.conv(x, kernel=kernel)


def _two_norms_of_one(net, x):
    y = net.conv(x)
    return net.norm(y), net.norm(y)


STAYING = {
    _fan_out: ELSEWHERE,
    _an_output: ELSEWHERE,
    _two_norms_of_one: ELSEWHERE,
    _relu_between: NO_LAYER,
    _infinite: INEXACT,
    _no_number: INEXACT,
    _shared_but_normed_otherwise: SHARED,
    _shared_and_bare: SHARED,
    _computed_kernel: "computed",
    **dict.fromkeys((_norm_of_batch, _other_axis, _every_place, _by_sample, _more_axes, _divides, _squared)),
}


@pytest.mark.parametrize("build", STAYING, ids=lambda b: b.__name__)
def test_what_stays(build):
    net = Network()
    before = net.done(*build(net, net.input(2, 3, 7, 7)))
    after = fold_batch_norms(before)
    assert kinds(after) == kinds(before)
    notes = [n for n in after.notes if "not folded" in n]
    assert len(notes) == (STAYING[build] is not None)
    assert all(STAYING[build] in note and "norm" in note for note in notes)


def test_shared_layers_that_fold_alike_stay_shared():
    net = Network()
    kernel, bias, statistics = (
        net.weight(3, 3, 1, 1, name="conv.kernel"),
        net.weight(3),
        [net.weight(3, low=0.1) for _ in range(4)],
    )
    conv = Conv(strides=(1, 1), pads=((0, 0), (0, 0)), dilations=(1, 1), groups=1)
    y = net.input(2, 3, 7, 7)
    for _ in range(2):
        y = net.call(BatchNorm(epsilon=0.1, momentum=0.9, frozen=True), net.call(conv, y, kernel, bias), *statistics)
        y = net.call(LeakyRelu(negative_slope=0.2), y)
    before = net.done(y)
    after = fold_batch_norms(before)
    assert kinds(after) == ["Conv", "LeakyRelu"] * 2
    assert len(after.parameters()) == 2
    same(before, after, (2, 3, 7, 7))


def test_a_graph_without_any_stays_as_it_is():
    net = Network()
    before = net.done(net.call(LeakyRelu(negative_slope=0.2), net.conv(net.input(2, 3, 7, 7))))
    assert not fold_batch_norms(before).notes


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), exponent=st.integers(-45, 45))
def test_folded_numbers_are_rounded_once(dtype, seed, exponent):
    """Against exact arithmetic in long doubles; where the products leave the dtype's normal numbers nothing is folded."""
    net = Network(dtype, seed)
    y = net.conv(net.input(1, 2, 3, 3), 2, groups=2, bias=False)
    scale = net.rng.uniform(1, 2, (2, 1, 1)) * 2.0**exponent
    with np.errstate(over="ignore"):
        before = net.done(net.call(Mul(), y, net.weight(2, 1, 1, array=scale)))
    after = fold_batch_norms(before)
    kernel, factor = (n.inputs[1].array() for n in before.nodes)
    exact = kernel.astype(np.float64) * factor.astype(np.float64)[..., None]  # of at most 48 digits: float64 holds it
    once = numeric.rounded(exact, dtype)
    if len(after.nodes) == 2:
        error = np.abs(np.where(np.isfinite(once), once, 0).astype(np.float64) - exact)
        assert (
            not np.isfinite(once).all()
            or (error > numeric.unit_roundoff(dtype) * np.abs(exact).max((1, 2, 3), keepdims=True)).any()
        )
    else:
        np.testing.assert_array_equal(after.nodes[0].inputs[1].array().astype(np.float64), once.astype(np.float64))


def test_bfloat16_is_not_rounded_twice():
    tie = 1 + 2.0**-8
    numbers = np.array(
        [tie + 2.0**-40, tie - 2.0**-40, tie, -tie - 2.0**-40, np.inf, -0.0, 2.0**-126, 3e38, np.nan, 3.4e38]
    )
    found = numeric.rounded(numbers, "bfloat16").astype(np.float64)
    step = 1 + 2.0**-7
    np.testing.assert_array_equal(found[:7], [step, 1, 1, -step, np.inf, -0.0, 2.0**-126])
    assert np.signbit(found[5]) and np.isnan(found[8]) and np.isinf(found[9]) and np.isfinite(found[7])


def test_a_view_of_what_was_summed_keeps_its_magnitudes():
    array = np.arange(6.0)
    parameter = Parameter("b", (6,), array.dtype, lambda: array, array, summed=(4, array + 10))
    count, magnitudes = parameter.reshape(2, 3).transpose(1, 0).terms
    assert count == 4
    np.testing.assert_array_equal(magnitudes, (array + 10).reshape(2, 3).T)
