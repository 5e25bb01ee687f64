"""Convolutions in every native spelling: strides, dilation, groups, pads by number, by name and by operator."""

import itertools

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from family_checks import check, kinds, onnx_model
from spatial_checks import Call, draw, keras_model, open_sizes
from torch import nn

import leaky_interop as li
from leaky_interop.errors import Refused
from leaky_interop.ops.conv import Conv

layers, ops = keras.layers, keras.ops
X1, X2, X3 = draw(2, 4, 11), draw(2, 4, 9, 11), draw(1, 2, 5, 6, 4)


def convs(graph):
    return [n.op for n in graph.nodes if isinstance(n.op, Conv)]


# --- torch ------------------------------------------------------------------------------------------------------------

MODULES = {
    "1d": (nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2), X1),
    "2d": (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 3), groups=2), X2),
    "3d": (nn.Conv3d(2, 4, (2, 3, 1), stride=(1, 2, 1), padding=(1, 1, 0), bias=False), X3),
    "same_odd": (nn.Conv2d(4, 3, 3, padding="same"), X2),
    "same_even": (nn.Conv2d(4, 3, (2, 4), padding="same", dilation=(3, 1)), X2),
    "same_1d": (nn.Conv1d(4, 3, 6, padding="same"), X1),
    "valid": (nn.Conv3d(2, 3, 2, padding="valid"), X3),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, stride=2), X2),
    "reflect": (nn.Conv2d(4, 3, 3, padding=2, padding_mode="reflect"), X2),
    "replicate": (nn.Conv1d(4, 3, 3, padding=2, padding_mode="replicate"), X1),
    "circular": (nn.Conv2d(4, 3, (3, 2), padding=(2, 1), padding_mode="circular"), X2),
    "without_batch": (nn.Conv2d(4, 3, 3, padding=1), X2[0]),
    "float64": (nn.Conv2d(4, 3, 3).double(), X2.astype(np.float64)),
    "float16": (nn.Conv2d(4, 3, 3).half(), X2.astype(np.float16)),
}


@pytest.mark.parametrize("name", MODULES)
def test_torch_modules(name):
    module, x = MODULES[name]
    options = {"static_batch": True} if name == "without_batch" else {}
    to = ("keras", "torch") if name == "float64" else ("keras", "torch", "onnx")  # onnxruntime has no float64 kernel
    graph = check(module, x, to=to, **options)
    assert len(convs(graph)) == 1


def test_a_float64_convolution_is_refused_where_no_kernel_computes_it():
    module, x = MODULES["float64"]
    with pytest.raises(Refused, match="float64"):
        li.convert(module, to="onnx", example=(x,))


@pytest.mark.parametrize(
    "function, operands",
    [
        (lambda x, w: F.conv2d(x, w, None, 2, 1, groups=2), (X2, draw(6, 2, 3, 3, seed=1))),
        (lambda x, w, b: F.conv1d(x, w, b, padding="same"), (X1, draw(3, 4, 4, seed=1), draw(3, seed=2))),
        (lambda x, w, b: torch.convolution(x, w, b, [1, 2], [0, 1], [2, 1], False, [0, 0], 1), (X2, draw(3, 4, 2, 3), draw(3))),
        (lambda x, w: torch.convolution(x, w, None, [2], [1], [1], True, [1], 2), (X1, draw(4, 3, 3))),
    ],
)
def test_kernels_that_are_inputs(function, operands):
    check(Call(function), *operands, static_batch=True)


def test_a_pad_of_zeros_is_part_of_the_convolution():
    graph = check(Call(lambda x: conv(F.pad(x, (1, 2, 0, 3))), conv=(conv := nn.Conv2d(4, 3, 3, padding=(1, 0)))), X2)
    assert kinds(graph) == ["Conv"] and graph.nodes[0].op.pads == ((1, 4), (1, 2))
    assert graph.nodes[0].name == "conv"


# --- keras ------------------------------------------------------------------------------------------------------------

LAST1, LAST2, LAST3 = (np.moveaxis(x, 1, -1) for x in (X1, X2, X3))


@pytest.mark.parametrize("padding, strides, dilation", [
    ("valid", 1, 1), ("valid", (2, 3), 1), ("valid", 1, (2, 3)), ("same", 1, 1), ("same", (2, 3), 1), ("same", 1, (2, 3)),
])  # fmt: skip
@pytest.mark.parametrize("layer", [
    lambda **k: layers.Conv2D(6, (3, 2), **k),
    lambda **k: layers.Conv2D(6, (2, 4), groups=2, use_bias=False, **k),
])  # fmt: skip
def test_keras_conv_2d(layer, padding, strides, dilation):
    graph = check(keras_model(layer(padding=padding, strides=strides, dilation_rate=dilation), LAST2.shape[1:]), LAST2)
    assert kinds(graph).count("Conv") == 1


@pytest.mark.parametrize("layer", [
    layers.Conv1D(5, 3, padding="causal", dilation_rate=2),
    layers.Conv1D(5, 4, padding="causal", strides=2, activation="leaky_relu"),
    layers.Conv1D(6, 3, padding="same", strides=3, groups=2, activation=layers.LeakyReLU(0.2)),
    layers.DepthwiseConv1D(3, depth_multiplier=2, padding="same", strides=2),
    layers.DepthwiseConv1D(3, dilation_rate=2, use_bias=False),
    layers.SeparableConv1D(5, 3, depth_multiplier=2, padding="same", strides=2),
    layers.SeparableConv1D(5, 3, dilation_rate=2, use_bias=False),
])  # fmt: skip
def test_keras_conv_1d(layer):
    check(keras_model(layer, LAST1.shape[1:]), LAST1)


@pytest.mark.parametrize("layer", [
    layers.DepthwiseConv2D((3, 2), depth_multiplier=2, padding="same", strides=2),
    layers.DepthwiseConv2D(3, dilation_rate=(2, 1), activation="relu"),
    layers.SeparableConv2D(5, 3, depth_multiplier=2, padding="same", strides=2, activation="leaky_relu"),
    layers.SeparableConv2D(5, (3, 2), dilation_rate=2, use_bias=False),
])  # fmt: skip
def test_keras_convs_per_channel(layer):
    graph = check(keras_model(layer, LAST2.shape[1:]), LAST2)
    first, *others = convs(graph)
    assert first.groups == 4 and all(op.groups == 1 for op in others)


@pytest.mark.parametrize("layer", [
    layers.Conv3D(3, (2, 3, 1), strides=(1, 2, 1), padding="same"),
    layers.Conv3D(4, 2, groups=2),
    layers.Conv3D(3, 2, dilation_rate=(1, 2, 1), padding="same"),
])  # fmt: skip
def test_keras_conv_3d(layer):
    check(keras_model(layer, LAST3.shape[1:]), LAST3)


@pytest.mark.parametrize("function, kernels", [
    (lambda x, k: ops.conv(x, k, strides=(1, 2), padding="same"), [(3, 2, 4, 5)]),
    (lambda x, k: ops.conv(x, k, dilation_rate=2), [(3, 2, 4, 5)]),
    (lambda x, k: ops.depthwise_conv(x, k, strides=2, padding="same"), [(3, 2, 4, 2)]),
    (lambda x, k, p: ops.separable_conv(x, k, p, padding="same"), [(3, 2, 4, 2), (1, 1, 8, 5)]),
])  # fmt: skip
def test_keras_operations_on_kernels_that_are_inputs(function, kernels):
    operands = [draw(1, *shape, seed=i) for i, shape in enumerate(kernels)]
    model = keras_model(lambda x, *ks: function(x, *(k[0] for k in ks)), LAST2.shape[1:], *kernels)
    check(model, LAST2[:1], *operands, static_batch=True)


def test_a_keras_operation_on_a_captured_kernel():
    kernel = draw(3, 2, 4, 5)
    graph = check(keras_model(lambda x: ops.conv(x, kernel, padding="same"), LAST2.shape[1:]), LAST2)
    assert len(graph.inputs) == 1


def test_keras_zero_padding_is_part_of_the_convolution():
    model = keras.Sequential([
        keras.Input(LAST2.shape[1:]), layers.ZeroPadding2D(((1, 0), (2, 3)), name="pad"), layers.Conv2D(5, 3, strides=2, name="conv"),
    ])  # fmt: skip
    graph = check(model, LAST2)
    assert convs(graph)[0].pads == ((1, 0), (2, 3)) and "Pad" not in kinds(graph)
    back = li.load(li.convert(graph_of(graph), to="keras"))
    assert convs(back)[0].matches(convs(graph)[0])


def graph_of(graph):
    """The graph as PyTorch: a round trip starts there."""
    return li.convert(graph.program.model, to="torch")


def test_R13_channels_first_and_last_kernels():
    """The kernel's axes, and the output channel c * multiplier + m of a depthwise one."""
    kernel = np.arange(3 * 2 * 4 * 2, dtype=np.float32).reshape(3, 2, 4, 2)
    layer = layers.DepthwiseConv2D((3, 2), depth_multiplier=2, use_bias=False)
    model = keras_model(layer, (5, 5, 4))
    layer.kernel.assign(kernel)
    (node,) = (n for n in li.load(model).nodes if isinstance(n.op, Conv))
    held = node.inputs[1].array()
    for c, m in itertools.product(range(4), range(2)):
        np.testing.assert_array_equal(held[c * 2 + m, 0], kernel[:, :, c, m])


@pytest.mark.parametrize("size, kernel, stride, pads", [(224, 7, 2, (2, 3)), (225, 7, 2, (3, 3)), (5, 2, 1, (0, 1)), (5, 1, 3, (0, 0))])
def test_R17_same_puts_the_odd_pad_at_the_end(size, kernel, stride, pads):
    model = keras_model(layers.Conv1D(2, kernel, stride, padding="same"), (size, 1))
    (op,) = convs(li.load(model))
    assert op.pads == (pads,)


# --- onnx -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attributes", [
    {"pads": [1, 0, 2, 3], "strides": [2, 1]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 3]},
    {"auto_pad": "SAME_LOWER", "strides": [2, 3]},
    {"auto_pad": "VALID", "group": 2},
    {"group": 2, "dilations": [1, 2]},
])  # fmt: skip
@pytest.mark.parametrize("opset", [1, 11, 22])
def test_onnx_conv(attributes, opset):
    if opset == 1 and "dilations" not in attributes:
        attributes = {"dilations": [1, 1], **attributes}
    kernel = draw(6, 4 // attributes.get("group", 1), 3, 2, seed=1)
    model = onnx_model("Conv", [X2], [kernel, draw(6, seed=2)], opset=max(opset, 7), **attributes)
    check(model, X2)


@pytest.mark.parametrize("opset", [13, 17])
def test_older_opsets_are_written(opset):
    check(nn.Conv2d(4, 3, 3, padding=1), X2, to=("onnx",), opset=opset)


# --- open sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [
    nn.Conv2d(3, 4, 3, stride=2, padding=1),
    nn.Conv2d(3, 4, (2, 3), padding="same"),
    nn.Conv2d(3, 6, 3, groups=3, dilation=2),
    Call(lambda x: conv_over(F.pad(x, (1, 2, 0, 1))), conv=(conv_over := nn.Conv2d(3, 4, 3, stride=2))),
])  # fmt: skip
def test_open_height_and_width_from_torch(module):
    open_sizes(module.eval(), draw(2, 3, 9, 12), draw(3, 3, 14, 11), input_shapes=(None, 3, None, None))


@pytest.mark.parametrize("layer", [
    layers.Conv2D(4, 3, strides=2, padding="same"),
    layers.Conv2D(4, (2, 5), strides=(3, 1), padding="same", activation="leaky_relu"),
    layers.DepthwiseConv2D(3, strides=2, padding="same"),
    layers.SeparableConv2D(4, 3, padding="same"),
    layers.Conv2D(4, 3, dilation_rate=2, padding="same"),
])  # fmt: skip
def test_open_height_and_width_from_keras(layer):
    open_sizes(keras_model(layer, (None, None, 3)), draw(2, 9, 12, 3), draw(3, 14, 11, 3))


def test_an_open_length_from_keras():
    open_sizes(keras_model(layers.Conv1D(4, 3, padding="causal", dilation_rate=2), (None, 3)), draw(2, 9, 3), draw(1, 14, 3))


def test_strides_with_dilation_of_an_open_size():
    """onnxruntime does not pad by itself where there is dilation."""
    same = Call(lambda x: conv(F.pad(x, (1, (x.shape[2] - 1) // 3 * 3 + 4 - x.shape[2]))), conv=(conv := nn.Conv1d(3, 4, 3, 3, dilation=2)))
    open_sizes(same, draw(2, 3, 10), draw(1, 3, 16), to=("torch", "onnx"), input_shapes=(None, 3, None))


def test_pads_that_depend_on_an_open_size_are_refused_in_keras():
    model = onnx_model("Conv", [X2], [draw(6, 4, 3, 2)], opset=13, auto_pad="SAME_LOWER", strides=[2, 3])
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"size_{axis}"
    open_sizes(model, X2, draw(2, 4, 6, 7), to=("torch", "onnx"))
    with pytest.raises(Refused, match="depend on the input's size"):
        li.convert(model, to="keras")
