"""Padding in every native spelling and mode: by layers, functions and ONNX of all opsets, negative pads, open sizes."""

import keras
import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from family_checks import check, kinds, onnx_model
from hypothesis import given, settings
from hypothesis import strategies as st
from spatial_checks import Call, draw, keras_model, open_sizes
from torch import nn

import leaky_interop as li
from leaky_interop.errors import Refused
from leaky_interop.ops.pad import Pad

layers, ops = keras.layers, keras.ops
X1, X2, X3 = draw(2, 3, 6), draw(2, 3, 4, 5), draw(1, 2, 4, 3, 5)
LAST2 = np.moveaxis(X2, 1, -1)


@pytest.mark.parametrize("module, x", [
    (nn.ZeroPad1d((2, 1)), X1), (nn.ZeroPad2d((2, 1, 0, 3)), X2), (nn.ZeroPad3d((1, 0, 2, 1, 0, 1)), X3),
    (nn.ConstantPad1d(2, 1.5), X1), (nn.ConstantPad2d((2, 1, 0, 3), -0.1), X2), (nn.ConstantPad3d(1, float("-inf")), X3),
    (nn.ReflectionPad1d((2, 5)), X1), (nn.ReflectionPad2d((2, 1, 0, 3)), X2), (nn.ReflectionPad3d((1, 2, 0, 1, 3, 0)), X3),
    (nn.ReplicationPad1d((2, 7)), X1), (nn.ReplicationPad2d((2, 6, 0, 3)), X2), (nn.ReplicationPad3d(2), X3),
    (nn.CircularPad1d((2, 6)), X1), (nn.CircularPad2d((2, 1, 0, 3)), X2), (nn.CircularPad3d((1, 0, 2, 1, 0, 4)), X3),
    (nn.ReflectionPad2d(1), X2[0]),
])  # fmt: skip
def test_torch_modules(module, x):
    graph = check(module, x, static_batch=x.shape[0] == 3)
    assert kinds(graph) == ["Pad"]


@pytest.mark.parametrize("function", [
    lambda x: F.pad(x, (1, 2)),
    lambda x: F.pad(x, (1, 2, 0, 1, 2, 0, 0, 1), value=7.0),
    lambda x: F.pad(x, (0, 0)),
    lambda x: F.pad(x, (-1, 2, 1, -2), value=3.0),
    lambda x: F.pad(x, (-1, -2)),
    lambda x: F.pad(x, (-1, 2, 2, -1), mode="reflect"),
    lambda x: F.pad(x, (-1, 2, 1, 1), mode="replicate"),
    lambda x: F.pad(x, (2, -1), mode="replicate") if x.ndim == 3 else F.pad(x, (2, -1, 0, 0), mode="replicate"),
    lambda x: torch.constant_pad_nd(x, (1, 0, 2), 2.5) if False else torch.constant_pad_nd(x, (1, 0, 2, 1), 2.5),
    lambda x: F.pad(x > 0, (1, 2), value=True),
    lambda x: F.pad((x * 9).int(), (1, 2, 0, 1), value=-5),
])  # fmt: skip
def test_torch_functions(function):
    check(Call(function), X2, static_batch=True)


def test_negative_pads_are_slices():
    graph = li.load(Call(lambda x: F.pad(x, (-1, 2, 0, -1))), (X2,))
    assert kinds(graph) == ["Slice", "Pad"] and graph.nodes[1].op.pads == ((0, 0), (0, 0), (0, 0), (0, 2))


@pytest.mark.parametrize("call, x", [
    (layers.ZeroPadding1D((2, 1)), np.moveaxis(X1, 1, -1)),
    (layers.ZeroPadding1D(1), np.moveaxis(X1, 1, -1)),
    (layers.ZeroPadding2D(((1, 0), (2, 3))), LAST2),
    (layers.ZeroPadding2D((1, 2)), LAST2),
    (layers.ZeroPadding3D(((1, 0), (0, 2), (1, 1))), np.moveaxis(X3, 1, -1)),
    (layers.ZeroPadding2D(((1, 0), (2, 3)), data_format="channels_first"), X2),
    (lambda x: ops.pad(x, ((0, 1), (1, 0), (2, 3), (0, 0)), constant_values=-1.5), LAST2),
    (lambda x: ops.pad(x, ((0, 0), (2, 1), (3, 2), (0, 0)), mode="reflect"), LAST2),
    (lambda x: ops.pad(x, ((0, 0), (2, 1), (0, 0)), mode="reflect"), np.moveaxis(X1, 1, -1)),
])  # fmt: skip
def test_keras(call, x):
    check(keras_model(call, x.shape[1:]), x)


def test_one_pad_for_every_axis_of_keras():
    """Inside a model, Keras hands the one pair to its backends, which pad the last axis or fail: numpy is the definition."""
    one = LAST2[:1]
    check(keras_model(lambda x: ops.pad(x, 1), one.shape[1:]), one, given=[np.pad(one, 1)], static_batch=True)


def test_R21_keras_symmetric_pads_repeat_the_border_on_every_backend():
    """Keras on torch takes symmetric for replicate, which shows from two pads on: the definition is numpy's."""
    pads = ((0, 0), (2, 3), (1, 2), (0, 0))
    model = keras_model(lambda x: ops.pad(x, pads, mode="symmetric"), LAST2.shape[1:])
    check(model, LAST2, given=[np.pad(LAST2, pads, "symmetric")])


def test_R21_the_order_of_pads():
    """torch: last axis first. Keras: one pair an axis. onnx: all begins, then all ends."""
    want = ((0, 0), (0, 0), (1, 2), (3, 4))
    keras_graph = li.load(keras_model(layers.ZeroPadding2D(((1, 2), (3, 4))), LAST2.shape[1:]))
    for graph, wanted in (
        (li.load(Call(lambda x: F.pad(x, (3, 4, 1, 2))), (X2,)), want),
        (li.load(onnx_model("Pad", [X2], [np.array([0, 0, 1, 3, 0, 0, 2, 4])], opset=13)), want),
        (keras_graph, (want[0], want[2], want[3], want[1])),
    ):
        (op,) = (n.op for n in graph.nodes if isinstance(n.op, Pad))
        assert op.pads == wanted


MODES = ["constant", "reflect", "edge", "wrap"]


@pytest.mark.parametrize("mode", MODES)
def test_onnx_pads(mode):
    pads = np.array([0, 0, 1, 2, 0, 0, 3, 0])
    if mode != "wrap":
        check(onnx_model("Pad", [X2], opset=2, mode=mode, pads=pads.tolist(), value=1.5), X2)
        for opset in (11, 13, 18, 19):
            check(onnx_model("Pad", [X2], [pads, np.float32(0.1)], opset=opset, mode=mode), X2)
    for opset in (19, 21, 23):
        check(onnx_model("Pad", [X2], [pads], opset=opset, mode=mode), X2)
    check(onnx_model("Pad", [X2], [np.array([1, 2, 3, 0]), None, np.array([-2, 3])], opset=21, mode=mode), X2)


def test_onnx_pad_of_opset_1():
    """onnxruntime no longer takes it, and nothing changed but the attribute's name."""
    node = onnx.helper.make_node("Pad", ["x"], ["y"], paddings=[0, 0, 1, 2, 0, 0, 3, 0], value=1.5)
    ports = [[onnx.helper.make_tensor_value_info(n, 1, s)] for n, s in (("x", X2.shape), ("y", None))]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", *ports), opset_imports=[onnx.helper.make_opsetid("", 1)])
    check(model, X2, given=[np.pad(X2, ((0, 0), (0, 0), (1, 3), (2, 0)), constant_values=1.5)])


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_onnx_negative_pads(mode):
    pads = np.array([0, 0, -1, 2, 0, 0, 2, -1])
    check(onnx_model("Pad", [X2], [pads], opset=18, mode=mode), X2)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "int64", "int8", "uint8", "bool"])
def test_onnx_dtypes(dtype):
    x = (X2 * 5).astype(dtype)
    check(onnx_model("Pad", [x], [np.array([0, 0, 1, 2, 0, 0, 3, 0]), np.array(1, dtype)], opset=21), x, to=("torch", "onnx"))


def test_onnx_a_computed_fill():
    model = onnx_model("Pad", [X2, np.float32(1)], [], opset=13)
    del model.graph.node[0].input[:]
    model.graph.node[0].input.extend(["x0", "pads", "x1"])
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0, 0, 1, 2, 0, 0, 3, 0]), "pads"))
    for target in ("torch", "onnx", "keras"):
        assert li.run(li.convert(model, to=target), [X2, np.float32(7)])[0][0, 0, 0, 0] == 7


def test_more_than_one_lap_around_is_refused_where_it_must_be_written_out():
    model = onnx_model("Pad", [X1], [np.array([0, 0, 8, 0, 0, 0])], opset=19, mode="wrap")
    with pytest.raises(Refused, match="more than once"):
        li.convert(model, to="keras")


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["reflect", "symmetric", "edge", "wrap", "constant"]),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=5),
    st.sampled_from(["keras", "torch", "onnx"]),
)
def test_any_pads_on_any_axes(mode, pads, framework):
    x = draw(*range(4, 4 + len(pads)))
    if all(pair == (0, 0) for pair in pads):
        return
    from test_cases import build

    from leaky_interop import frameworks
    from leaky_interop.graph import Graph, label

    graph = Graph()
    y = Pad(pads=tuple(pads), mode=mode, value=2.0 if mode == "constant" else 0.0)(graph.input("x", x.shape, x.dtype))
    graph.outputs, graph.output_names = [y], ["y"]
    label(graph)
    settings_ = {"constant_values": 2.0} if mode == "constant" else {}
    (received,) = frameworks.get(framework).run(build(graph, framework), [x])
    np.testing.assert_array_equal(received, np.pad(x, pads, mode, **settings_))


@pytest.mark.parametrize("module", [
    nn.ZeroPad2d((1, 2, 0, 3)), nn.ReflectionPad2d((1, 2, 0, 3)), nn.ReplicationPad2d(2), nn.CircularPad2d((1, 2, 0, 3)),
    nn.ConstantPad2d(1, 2.5),
])  # fmt: skip
def test_open_height_and_width(module):
    open_sizes(module, X2, draw(3, 3, 7, 4), input_shapes=(None, 3, None, None))


@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_open_height_and_width_from_keras(mode):
    model = keras_model(lambda x: ops.pad(x, ((0, 0), (1, 2), (3, 0), (0, 0)), mode=mode), (None, None, 3))
    open_sizes(model, LAST2, draw(3, 7, 4, 3))


def test_pads_computed_from_an_open_size():
    """Up to a multiple of four, as segmentation networks do; Keras cannot say it."""
    module = Call(lambda x: F.pad(x, (0, -x.shape[2] % 4)))
    open_sizes(module, draw(2, 3, 6), draw(1, 3, 9), to=("torch", "onnx"), input_shapes=(None, 3, None))
    with pytest.raises(Refused, match="depend on the input's size"):
        li.convert(module, to="keras", example=(draw(2, 3, 6),), input_shapes=(None, 3, None))
