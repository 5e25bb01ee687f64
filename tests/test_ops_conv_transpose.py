"""Transposed convolutions in every native spelling: crops by padding, by name, by output padding and by output shape."""

import itertools

import keras
import numpy as np
import pytest
import torch.nn.functional as F
from family_checks import check, kinds, onnx_model
from spatial_checks import Call, draw, keras_model, open_sizes
from torch import nn

import leaky_interop as li
from leaky_interop.errors import Refused
from leaky_interop.ops.conv_transpose import ConvTranspose

layers, ops = keras.layers, keras.ops
X1, X2, X3 = draw(2, 4, 7), draw(2, 4, 5, 6), draw(1, 2, 3, 4, 3)


def the_one(graph):
    (op,) = (n.op for n in graph.nodes if isinstance(n.op, ConvTranspose))
    return op


@pytest.mark.parametrize("module, x", [
    (nn.ConvTranspose1d(4, 3, 3, stride=2, padding=1, output_padding=1), X1),
    (nn.ConvTranspose2d(4, 6, (3, 4), stride=(2, 3), padding=(1, 0), output_padding=(0, 2), groups=2), X2),
    (nn.ConvTranspose2d(4, 3, 3, dilation=(2, 1), padding=2, bias=False), X2),
    (nn.ConvTranspose2d(4, 3, 2, dilation=3, output_padding=2, stride=2), X2),
    (nn.ConvTranspose3d(2, 3, 2, stride=(2, 1, 2), padding=(0, 1, 0)), X3),
    (nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1, groups=4, bias=False), X2),
    (nn.ConvTranspose2d(4, 3, 3, stride=2), X2[0]),
])  # fmt: skip
def test_torch_modules(module, x):
    options = {"static_batch": True} if x.ndim == 3 and isinstance(module, nn.ConvTranspose2d) else {}
    to = ("keras", "torch") if module.output_padding[0] >= module.stride[0] else ("keras", "torch", "onnx")
    the_one(check(module, x, to=to, **options))


@pytest.mark.parametrize("function, operands", [
    (lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1), (X2, draw(4, 3, 3, 3), draw(3))),
    (lambda x, w: F.conv_transpose1d(x, w, stride=3, groups=2), (X1, draw(4, 3, 2))),
    (lambda x, w: F.conv_transpose2d(x, w, dilation=2, padding=1), (X2, draw(4, 3, 2, 3))),
])  # fmt: skip
def test_kernels_that_are_inputs(function, operands):
    check(Call(function), *operands, static_batch=True)


LAST1, LAST2, LAST3 = (np.moveaxis(x, 1, -1) for x in (X1, X2, X3))


@pytest.mark.parametrize("kernel, stride", itertools.product((1, 2, 3, 4, 5), (1, 2, 3)))
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_R20_keras_conv_transpose(kernel, stride, padding):
    layer = layers.Conv2DTranspose(3, (kernel, 3), (stride, 2), padding=padding)
    graph = check(keras_model(layer, LAST2.shape[1:]), LAST2)
    rows, columns = LAST2.shape[1] * stride, LAST2.shape[2] * 2
    if padding == "same":
        assert graph.outputs[0].shape[1:3] == (rows, columns)
        before, after = the_one(graph).crops[0]
        assert before == max(kernel - stride, 0) // 2 and before + after == kernel - stride
    else:
        assert graph.outputs[0].shape[1:3] == (rows + max(kernel - stride, 0), columns + 1)


@pytest.mark.parametrize("layer", [
    layers.Conv1DTranspose(3, 5, 3, padding="same", output_padding=1),
    layers.Conv1DTranspose(3, 4, 2, output_padding=1, activation="leaky_relu"),
    layers.Conv1DTranspose(3, 3, dilation_rate=2, padding="same"),
])  # fmt: skip
def test_keras_conv_transpose_1d(layer):
    check(keras_model(layer, LAST1.shape[1:]), LAST1)


@pytest.mark.parametrize("layer", [
    layers.Conv3DTranspose(3, (2, 3, 1), (2, 1, 2), padding="same"),
    layers.Conv3DTranspose(3, 2, use_bias=False),
])  # fmt: skip
def test_keras_conv_transpose_3d(layer):
    check(keras_model(layer, LAST3.shape[1:]), LAST3)


@pytest.mark.parametrize("size", [5, 7, 8])
def test_R55_same_with_odd_sizes_is_stride_times_as_long(size):
    graph = check(keras_model(layers.Conv1DTranspose(3, 3, 2, padding="same"), (size, 2)), draw(2, size, 2))
    assert graph.outputs[0].shape[1] == 2 * size


def test_keras_operation():
    """Keras 3.15 cannot run this operation inside a model (it swaps two arguments): its layer says what it means."""
    kernel = draw(3, 3, 5, 4, seed=1)
    model = keras_model(lambda x: ops.conv_transpose(x, kernel, strides=2, padding="same"), LAST2.shape[1:])
    layer = layers.Conv2DTranspose(5, 3, 2, padding="same", use_bias=False)
    twin = keras_model(layer, LAST2.shape[1:])
    layer.kernel.assign(kernel)
    expected = keras.ops.convert_to_numpy(twin(LAST2))
    check(model, LAST2, given=[expected])


def test_uneven_crops_come_back_from_torch_as_one_operator():
    keras_layer = keras_model(layers.Conv2DTranspose(3, 5, 2, padding="same"), LAST2.shape[1:])
    op = the_one(li.load(keras_layer))
    assert op.crops == ((1, 2), (1, 2))
    again = li.load(li.convert(keras_layer, to="torch"), (LAST2,))
    assert the_one(again).matches(op) and "Slice" not in kinds(again)


@pytest.mark.parametrize("attributes", [
    {"pads": [1, 0, 0, 2], "strides": [2, 3]},
    {"output_padding": [1, 0], "strides": [2, 1], "pads": [1, 1, 1, 1]},
    {"output_shape": [10, 12], "strides": [2, 2]},
    {"output_shape": [10, 11], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"output_shape": [9, 12], "strides": [2, 2], "auto_pad": "SAME_LOWER", "output_padding": [0, 1]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
    {"auto_pad": "VALID", "strides": [4, 4]},
    {"dilations": [2, 3], "group": 2},
])  # fmt: skip
@pytest.mark.parametrize("opset", [7, 22])
def test_onnx_conv_transpose(attributes, opset):
    groups = attributes.get("group", 1)
    model = onnx_model("ConvTranspose", [X2], [draw(4, 3, 3, 3, seed=1), draw(3 * groups, seed=2)], opset=opset, **attributes)
    check(model, X2)


@pytest.mark.parametrize("module", [
    nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1),
    nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1, groups=2),
    nn.ConvTranspose2d(3, 4, 3, dilation=2),
])  # fmt: skip
def test_open_height_and_width_from_torch(module):
    channels = module.in_channels
    small, large = draw(2, channels, 5, 4), draw(3, channels, 3, 7)
    open_sizes(module.eval(), small, large, input_shapes=(None, channels, None, None))


@pytest.mark.parametrize("padding, kernel", [("same", 3), ("same", 5), ("valid", 2), ("valid", 3), ("same", 1)])
def test_open_height_and_width_from_keras(padding, kernel):
    layer = layers.Conv2DTranspose(4, kernel, 2, padding=padding)
    open_sizes(keras_model(layer, (None, None, 3)), draw(2, 5, 4, 3), draw(1, 3, 7, 3))


def test_what_needs_zeros_between_open_sizes_is_refused_in_keras():
    module = nn.ConvTranspose1d(3, 4, 3, stride=2, dilation=3)
    with pytest.raises(Refused, match="open size"):
        li.convert(module, to="keras", example=(draw(2, 3, 9),), input_shapes=(None, 3, None))
