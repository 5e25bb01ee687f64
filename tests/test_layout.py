"""Transposes slide, cancel and are absorbed; no pass changes a number or loses an anchor."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaky_interop.graph import Anchor, Graph, Parameter, Rewrite, apply_steps, label
from leaky_interop.interpreter import bind, interpret
from leaky_interop.layout import (
    ChannelsLast,
    _Settle,
    compose,
    identity,
    invert,
    native_ports,
    settle,
    to_first,
    to_last,
    transposes,
    wrap,
)
from leaky_interop.op import CASES
from leaky_interop.ops.activation import LeakyRelu
from leaky_interop.ops.conv import Conv
from leaky_interop.ops.dense import Dense
from leaky_interop.ops.math import Add, Mul
from leaky_interop.ops.shape import Reshape
from leaky_interop.passes.feature_order import absorb_feature_order
from leaky_interop.passes.hoist import hoist_to_inputs
from leaky_interop.sizes import symbol

RNG = np.random.default_rng(0)


def weight(graph, name, *shape):
    array = RNG.standard_normal(shape).astype("f")
    return graph.parameter(Parameter(name, shape, array.dtype, lambda: array, array, True))


def conv(x, channels, name, channels_last):
    """A convolution, spelled as a framework does that keeps channels last."""
    kernel = weight(x.graph, f"{name}.kernel", channels, x.shape[-1] if channels_last else x.shape[1], 1, 1)
    op = Conv(strides=(1, 1), pads=((0, 0), (0, 0)), dilations=(1, 1), groups=1)
    if not channels_last:
        return op(x, kernel, None)
    return op(x.transpose(*to_first(4)), kernel, None).transpose(*to_last(4))


def finish(graph, *outputs):
    graph.outputs, graph.output_names = list(outputs), [f"y{i}" for i in range(len(outputs))]
    for index, node in enumerate(graph.nodes):
        node.name = node.name or f"n{index}"
        for value in node.outputs:
            value.anchor = Anchor((index, value.index))
    label(graph)
    return graph


def same(before, after, *arrays):
    """Both graphs compute the same, and every anchor of the second still shows where its value stands in the first."""
    seen = {}
    expected = interpret(before, arrays, watch=lambda v, a: seen.__setitem__(v.anchor.key, a))
    sizes = bind((v.shape for v in after.inputs), arrays)

    def watch(value, array):
        if value.anchor is not None:
            np.testing.assert_allclose(array, apply_steps(seen[value.anchor.key], value.anchor.steps, sizes), rtol=1e-4, atol=1e-5)

    for a, b in zip(expected, interpret(after, arrays, watch=watch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@given(st.permutations(range(4)), st.permutations(range(4)))
def test_permutations_compose_and_invert(p, q):
    x = np.arange(24).reshape(1, 2, 3, 4)
    np.testing.assert_array_equal(x.transpose(p).transpose(q), x.transpose(compose(tuple(p), tuple(q))))
    assert compose(tuple(p), invert(tuple(p))) == identity(4)


def test_a_pass_knows_its_constants_apart_though_nothing_else_holds_them():
    """An id that a freed value hands on to the next one must not bring the first one's numbers back."""
    graph = Graph()
    rewrite, settling = Rewrite(graph), _Settle(graph)
    for number in range(50):
        assert rewrite.get(graph.constant([number])).array() == number
        column = settling.place(graph.constant([[number, -number]]), (1, 0))
        assert column.array().tolist() == [[number], [-number]]


def test_a_chain_of_channels_last_layers_keeps_one_transpose_a_port():
    graph = Graph()
    x = graph.input("x", (symbol("batch"), 5, 6, 3), "float32")
    y = conv(x, 4, "a", True)
    y = LeakyRelu(negative_slope=0.3)(y)
    y = Add()(conv(y, 4, "b", True), y)
    y = Mul()(y, weight(graph, "scale", 4))
    finish(graph, y)
    settled = settle(graph)
    assert [type(n.op).__name__ for n in settled.nodes] == ["Transpose", "Conv", "LeakyRelu", "Conv", "Add", "Mul", "Transpose"]
    same(graph, settled, RNG.standard_normal((2, 5, 6, 3)).astype("f"))


def test_native_ports_drop_the_transposes_at_the_doors():
    graph = Graph()
    x = graph.input("x", (2, 5, 6, 3), "float32")
    finish(graph, conv(x, 4, "a", True))
    native = native_ports(settle(graph))
    assert not transposes(native)
    assert native.inputs[0].shape == (2, 3, 5, 6) and native.input_perms == [to_first(4)]
    array = RNG.standard_normal((2, 5, 6, 3)).astype("f")
    (expected,) = graph.run(array)
    (received,) = native.run(array.transpose(to_first(4)))
    np.testing.assert_allclose(received.transpose(to_last(4)), expected, rtol=1e-5)


def test_wrapping_for_a_channels_last_target_settles_again():
    graph = Graph()
    x = graph.input("x", (2, 3, 5, 6), "float32")
    y = LeakyRelu(negative_slope=0.2)(conv(x, 4, "a", False))
    finish(graph, conv(y, 2, "b", False))
    last = settle(wrap(graph, lambda n: isinstance(n.op, Conv)))
    assert [type(n.op).__name__ for n in last.nodes] == ["Transpose", "ChannelsLast", "LeakyRelu", "ChannelsLast", "Transpose"]
    assert isinstance(last.nodes[1].op, ChannelsLast)
    same(graph, last, RNG.standard_normal((2, 3, 5, 6)).astype("f"))


def generator(channels_last=True):
    """Dense, activation, reshape to an image, convolution; then flattened and classified."""
    graph = Graph()
    z = graph.input("z", (symbol("batch"), 7), "float32")
    y = Dense()(z, weight(graph, "project.kernel", 2 * 3 * 4, 7), weight(graph, "project.bias", 24))
    y = LeakyRelu(negative_slope=0.2)(Mul()(y, weight(graph, "gain", 24)))
    y = Reshape(shape=(symbol("batch"), 2, 3, 4))(y)
    y = LeakyRelu(negative_slope=0.1)(y)
    y = conv(y, 5, "paint", channels_last)
    y = LeakyRelu(negative_slope=0.3)(Reshape(shape=(symbol("batch"), 30))(y))
    return finish(graph, Dense()(y, weight(graph, "judge.kernel", 6, 30), weight(graph, "judge.bias", 6)))


def test_feature_order_is_absorbed_both_ways():
    graph = generator()
    absorbed = absorb_feature_order(settle(graph))
    assert not transposes(absorbed), str(absorbed)
    same(graph, absorbed, RNG.standard_normal((3, 7)).astype("f"))


def test_a_transpose_behind_a_pad_moves_to_the_input():
    graph = Graph()
    x = graph.input("x", (symbol("batch"), 5, 6, 3), "float32")
    y = LeakyRelu(negative_slope=0.2)(Mul()(x, weight(graph, "scale", 3)))
    finish(graph, conv(y, 4, "a", True))
    settled = absorb_feature_order(settle(graph))
    hoisted = hoist_to_inputs(settled)
    assert [type(n.op).__name__ for n in hoisted.nodes] == ["Transpose", "Mul", "LeakyRelu", "Conv", "Transpose"]
    same(graph, hoisted, RNG.standard_normal((2, 5, 6, 3)).astype("f"))


def test_moving_axes_of_size_one_is_a_reshape():
    graph = Graph()
    x, z = graph.input("x", (symbol("batch"), 5, 6, 4), "float32"), graph.input("z", (symbol("batch"), 4), "float32")
    scale = Reshape(shape=(symbol("batch"), 4, 1, 1))(Dense()(z, weight(graph, "d.kernel", 4, 4), None))
    y = Mul()(x.transpose(*to_first(4)), scale).transpose(*to_last(4))
    finish(graph, Add()(conv(y, 3, "a", True), conv(x, 3, "b", True)))
    after = absorb_feature_order(hoist_to_inputs(absorb_feature_order(settle(graph))))
    assert all(n.inputs[0] in after.inputs or n.outputs[0] in after.outputs for n in transposes(after)), str(after)
    same(graph, after, RNG.standard_normal((2, 5, 6, 4)).astype("f"), RNG.standard_normal((2, 4)).astype("f"))


def test_feature_order_stays_where_nothing_absorbs_it():
    graph = Graph()
    x = graph.input("x", (symbol("batch"), 3, 4, 2), "float32")
    flat = Reshape(shape=(symbol("batch"), 24))(conv(x, 2, "a", True))
    finish(graph, flat, Dense()(flat, weight(graph, "d.kernel", 5, 24), None))
    after = absorb_feature_order(settle(graph))
    assert len(transposes(after)) == 2  # one at the input, one before the flattened output
    same(graph, after, RNG.standard_normal((2, 3, 4, 2)).astype("f"))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_random_graphs_settle_to_the_same_numbers(data):
    graph = Graph()
    pool = [graph.input(f"x{i}", (2, 4, 4, 4), "float32") for i in range(2)]
    for index in range(data.draw(st.integers(1, 8))):
        x = data.draw(st.sampled_from(pool))
        kind = data.draw(st.sampled_from(["conv", "leaky", "add", "scale", "transpose", "reshape"]))
        if kind == "conv":
            x = conv(x, 4, f"c{index}", data.draw(st.booleans()))
        elif kind == "leaky":
            x = LeakyRelu(negative_slope=0.2)(x)
        elif kind == "add":
            x = Add()(x, data.draw(st.sampled_from(pool)))
        elif kind == "scale":
            x = Mul()(x, weight(graph, f"s{index}", *data.draw(st.sampled_from([(4,), (4, 1, 1), (1, 4, 1, 4)]))))
        elif kind == "transpose":
            x = x.transpose(*data.draw(st.permutations(range(4))))
            x = Reshape(shape=(2, 4, 4, 4))(x)
        else:
            x = Reshape(shape=(2, 4, 16))(x)
            x = Reshape(shape=(2, 4, 4, 4))(LeakyRelu(negative_slope=0.5)(x))
        pool.append(x)
    finish(graph, pool[-1], data.draw(st.sampled_from(pool)))
    arrays = [RNG.standard_normal((2, 4, 4, 4)).astype("f") for _ in range(2)]
    settled = settle(graph)
    same(graph, settled, *arrays)
    same(graph, absorb_feature_order(settled), *arrays)
    same(graph, hoist_to_inputs(absorb_feature_order(settled)), *arrays)
    if graph.nodes:
        same(graph, settle(wrap(graph, lambda n: isinstance(n.op, Conv))), *arrays)


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in CASES.values() if c.op.deterministic])
def test_every_operator_works_under_every_permutation_that_it_claims(case):
    """op(T(x)) == T'(moved(x)), for each permutation of the first operand."""
    from itertools import permutations

    from test_cases import graph_of

    graph, _ = graph_of(case)
    if not graph.nodes or graph.nodes[0].inputs[0] is None:
        return
    node, arrays = graph.nodes[0], case.arrays()
    rank = arrays[0].ndim
    for perm in list(permutations(range(rank)))[1:] if rank < 5 else [to_first(rank), to_last(rank)]:
        moved = node.op.under(perm, node.inputs)
        if moved is None:
            continue
        back = [None if a is None else _unturned(a, p) for a, p in zip(arrays, moved.inputs, strict=True)]
        received = moved.op.reference(*back)
        expected = node.op.reference(*arrays)
        pairs = zip(*(r if isinstance(r, tuple) else (r,) for r in (expected, received)), moved.outputs, strict=True)
        for wanted, got, turn in pairs:
            got = got if turn is None else got.transpose(turn)
            assert got.shape == wanted.shape, f"{case.op} under {perm}"
            if wanted.dtype.kind in "fV":
                wanted, got = wanted.astype("f8"), got.astype("f8")
            np.testing.assert_allclose(got, wanted, rtol=2e-2 if arrays[0].dtype.itemsize < 4 else 1e-4, atol=1e-4, err_msg=f"{case.op} under {perm}")


def _unturned(array, perm):
    """The array that, permuted by `perm`, is this one (broadcast to full rank first)."""
    if perm is None or array.ndim == 0:
        return array
    return array.reshape((1,) * (len(perm) - array.ndim) + array.shape).transpose(invert(perm))


@st.composite
def views(draw):
    """An array and steps that fit it, gathers among transposes and reshapes."""
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    steps, plain = [], array
    for kind in draw(st.lists(st.sampled_from(["transpose", "take", "take", "reshape", "cast"]), max_size=6)):
        if kind == "transpose":
            step = (kind, tuple(draw(st.permutations(range(plain.ndim)))))
            plain = np.transpose(plain, step[1]).copy()
        elif kind == "take":
            axis = draw(st.integers(0, plain.ndim - 1))
            step = (kind, tuple(draw(st.lists(st.integers(0, plain.shape[axis] - 1), min_size=1, max_size=5))), axis)
            plain = np.stack([np.take(plain, i, axis) for i in step[1]], axis)
        elif kind == "reshape":
            step = (kind, draw(st.sampled_from([(plain.size,), (1, plain.size), plain.shape[::-1]])))
            plain = plain.reshape(step[1])
        else:
            step = (kind, np.dtype(np.float64))
            plain = plain.astype(np.float64)
        steps.append(step)
    return array, tuple(steps), plain


@given(views(), st.sampled_from([1, 40, 2**24]))
@settings(max_examples=300, deadline=None)
def test_steps_mean_what_numpy_does_one_by_one(view, part):
    """Gathers wait for the transposes behind them, and large ones are made in parts."""
    array, steps, plain = view
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("leaky_interop.parameter.PART", part)
        np.testing.assert_array_equal(apply_steps(array, steps), plain)


@pytest.mark.parametrize("to", ["torch", "keras"])
@pytest.mark.parametrize("source", ["torch", "keras"])
def test_weights_are_the_converted_networks_own(source, to):
    """Gathered ones are not copied again, others are: what changes one network in place changes the other in nothing."""
    import keras
    import torch

    import leaky_interop as li

    image = keras.Input((3, 2, 2))
    hidden = keras.layers.Flatten()(keras.layers.BatchNormalization()(keras.layers.Conv2D(5, 1)(image)))
    first = keras.Model(image, keras.layers.Dense(4, name="dense")(hidden))
    first = first if source == "keras" else li.convert(first, "torch")
    made = li.convert(first, to)
    for one, other in ((made, first), (first, made)):
        before = [np.array(a) for a in arrays(other)]
        with torch.no_grad():
            for weight in one.weights if isinstance(one, keras.Model) else one.state_dict().values():
                weight.assign(weight * 0 + 7) if isinstance(one, keras.Model) else weight.fill_(7)
        for old, new in zip(before, arrays(other), strict=True):
            np.testing.assert_array_equal(old, new)


def arrays(model):
    return model.get_weights() if hasattr(model, "get_weights") else [t.numpy() for t in model.state_dict().values()]
