"""Pixel shuffle and its relatives, natively and written out as reshapes and transposes in either layout."""

import keras
import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from family_checks import check, kinds, onnx_model
from onnx import helper
from spatial_checks import Call, draw, keras_model, open_sizes
from torch import nn

import leaky_interop as li
from leaky_interop.layout import transposes
from leaky_interop.ops.shuffle import ChannelShuffle, DepthToSpace, SpaceToDepth

layers, ops = keras.layers, keras.ops
DEEP, WIDE = draw(2, 12, 3, 4), draw(2, 3, 4, 6)


def shuffles(graph):
    return [n.op for n in graph.nodes if isinstance(n.op, DepthToSpace | SpaceToDepth | ChannelShuffle)]


CRD, DCR = DepthToSpace(block=2, places_first=False), DepthToSpace(block=2, places_first=True)
UNSHUFFLED, BY_BLOCKS = SpaceToDepth(block=2, places_first=False), SpaceToDepth(block=2, places_first=True)


@pytest.mark.parametrize("module, x, found", [
    (nn.PixelShuffle(2), DEEP, CRD),
    (nn.PixelUnshuffle(2), WIDE, UNSHUFFLED),
    (nn.ChannelShuffle(3), DEEP, ChannelShuffle(groups=3, axis=1)),
    (nn.PixelShuffle(2), DEEP[0], CRD),
    (nn.PixelShuffle(2), DEEP[None], CRD),
    (nn.PixelShuffle(2), draw(2, 4, 3, 3), CRD),
])  # fmt: skip
def test_torch_modules(module, x, found):
    graph = check(module, x, static_batch=True)
    assert shuffles(graph) == [found]


def test_a_block_of_one_is_nothing():
    assert not li.load(nn.PixelShuffle(1), (DEEP,)).nodes


@pytest.mark.parametrize("attributes, opset", [({}, 1), ({}, 11), ({"mode": "DCR"}, 13), ({"mode": "CRD"}, 11), ({"mode": "CRD"}, 13)])
def test_R38_onnx_depth_to_space(attributes, opset):
    graph = check(onnx_model("DepthToSpace", [DEEP], opset=opset, blocksize=2, **attributes), DEEP)
    assert shuffles(graph) == [CRD if attributes.get("mode") == "CRD" else DCR]


def test_R38_onnx_space_to_depth_is_not_pixel_unshuffle():
    graph = check(onnx_model("SpaceToDepth", [WIDE], opset=13, blocksize=2), WIDE)
    assert shuffles(graph) == [BY_BLOCKS]
    assert not np.array_equal(graph.run(WIDE)[0], F.pixel_unshuffle(torch.tensor(WIDE), 2).numpy())
    one = draw(2, 1, 4, 6)
    graph = li.load(onnx_model("SpaceToDepth", [one], opset=13, blocksize=2))
    assert shuffles(graph) == [UNSHUFFLED]  # of one channel the two are the same


def test_older_opsets_are_written():
    check(nn.PixelShuffle(2), DEEP, to=("onnx",), opset=13)


@pytest.mark.skipif(not hasattr(ops, "depth_to_space"), reason="Keras has these operations from 3.14 on")
def test_keras_operations():
    deep, wide = np.moveaxis(DEEP, 1, -1), np.moveaxis(WIDE, 1, -1)
    assert shuffles(check(keras_model(lambda x: ops.depth_to_space(x, 2), deep.shape[1:]), deep)) == [DCR]
    assert shuffles(check(keras_model(lambda x: ops.space_to_depth(x, 2), wide.shape[1:]), wide)) == [BY_BLOCKS]
    first = keras_model(lambda x: ops.depth_to_space(x, 2, data_format="channels_first"), DEEP.shape[1:])
    assert shuffles(check(first, DEEP)) == [DCR if keras.backend.backend() == "tensorflow" else CRD]


# --- written out ------------------------------------------------------------------------------------------------------


def written_out(x, split, order, result):
    return x.reshape(split).permute(order).reshape(result)


CHAINS = {
    "crd": (lambda x: written_out(x, (-1, 3, 2, 2, 3, 4), (0, 1, 4, 2, 5, 3), (-1, 3, 6, 8)), DEEP, CRD),
    "dcr": (lambda x: written_out(x, (-1, 2, 2, 3, 3, 4), (0, 3, 4, 1, 5, 2), (-1, 3, 6, 8)), DEEP, DCR),
    "to_depth_innermost": (lambda x: written_out(x, (-1, 3, 2, 2, 3, 2), (0, 1, 3, 5, 2, 4), (-1, 12, 2, 3)), WIDE, UNSHUFFLED),
    "to_depth_outermost": (lambda x: written_out(x, (-1, 3, 2, 2, 3, 2), (0, 3, 5, 1, 2, 4), (-1, 12, 2, 3)), WIDE, BY_BLOCKS),
    "channel_shuffle": (lambda x: written_out(x, (-1, 3, 4, 3, 4), (0, 2, 1, 3, 4), (-1, 12, 3, 4)), DEEP, ChannelShuffle(groups=3, axis=1)),
    "in_steps": (lambda x: x.view(-1, 6, 2, 3, 4).view(-1, 3, 2, 2, 3, 4).permute(0, 1, 4, 2, 5, 3).flatten(4).flatten(2, 3), DEEP, CRD),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_chains_are_recognised_in_torch(name):
    function, x, found = CHAINS[name]
    graph = check(Call(function), x)
    assert shuffles(graph) == [found] and kinds(graph) == [type(found).__name__]


LAST = {
    "dcr": (((3, 4, 2, 2, 3), (1, 3, 2, 4, 5), (6, 8, 3)), DEEP, DCR),
    "crd": (((3, 4, 3, 2, 2), (1, 4, 2, 5, 3), (6, 8, 3)), DEEP, CRD),
    "to_depth_outermost": (((2, 2, 3, 2, 3), (1, 3, 2, 4, 5), (2, 3, 12)), WIDE, BY_BLOCKS),
    "to_depth_innermost": (((2, 2, 3, 2, 3), (1, 3, 5, 2, 4), (2, 3, 12)), WIDE, UNSHUFFLED),
    "channel_shuffle": (((3, 4, 3, 4), (1, 2, 4, 3), (3, 4, 12)), DEEP, ChannelShuffle(groups=3, axis=3)),
}


@pytest.mark.parametrize("name", LAST)
def test_chains_are_recognised_in_keras_channels_last(name):
    (split, order, result), x, found = LAST[name]
    last = np.moveaxis(x, 1, -1)
    y = lambda i: layers.Reshape(result)(layers.Permute(order)(layers.Reshape(split)(i)))  # noqa: E731
    assert shuffles(check(keras_model(y, last.shape[1:]), last)) == [found]
    between = lambda i: layers.Conv2D(2, 1)(y(layers.Conv2D(last.shape[-1], 1)(i)))  # noqa: E731
    graph = check(keras_model(between, last.shape[1:]), last)
    conv_side = found if not isinstance(found, ChannelShuffle) else ChannelShuffle(groups=3, axis=1)
    assert shuffles(graph) == [conv_side] and len(transposes(graph)) == 2  # one at the input, one at the output


def test_chains_are_recognised_in_onnx_in_the_middle_of_others():
    """A depth-to-space in the layout of its file, channels last, flattened afterwards."""
    shapes = {"a": [2, 3, 4, 2, 2, 3], "b": [2, 6, 8, 3], "c": [2, 144]}
    nodes = [
        helper.make_node("Reshape", ["x", "a"], ["x1"]), helper.make_node("Transpose", ["x1"], ["x2"], perm=[0, 1, 3, 2, 4, 5]),
        helper.make_node("Reshape", ["x2", "b"], ["x3"]), helper.make_node("Reshape", ["x3", "c"], ["y"]),
    ]  # fmt: skip
    ports = [[helper.make_tensor_value_info(n, 1, s)] for n, s in (("x", [2, 3, 4, 12]), ("y", None))]
    stored = [onnx.numpy_helper.from_array(np.array(s), n) for n, s in shapes.items()]
    model = helper.make_model(helper.make_graph(nodes, "g", *ports, stored), opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    graph = check(model, np.ascontiguousarray(np.moveaxis(DEEP, 1, -1)), static_batch=True)
    assert shuffles(graph) == [DCR]


def test_a_channel_shuffle_of_one_image_and_of_one_row():
    """Axes of size 1 hold no factor that could be followed."""
    for shape in ((1, 12, 3, 4), (1, 12, 1, 4), (2, 12, 1, 1)):
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        split = (shape[0], 3, 4, *shape[2:])
        graph = check(Call(lambda x, split=split, shape=shape: written_out(x, split, (0, 2, 1, 3, 4), shape)), x, static_batch=True)
        assert shuffles(graph) == [ChannelShuffle(groups=3, axis=1)]


@pytest.mark.parametrize("function, x", [
    (lambda x: written_out(x, (-1, 3, 2, 2, 3, 4), (0, 1, 4, 3, 5, 2), (-1, 3, 6, 8)), DEEP),  # columns for rows
    (lambda x: written_out(x, (-1, 2, 3, 2, 3, 4), (0, 2, 4, 1, 5, 3), (-1, 3, 6, 8)), DEEP),  # channels between
    (lambda x: written_out(x, (-1, 3, 4, 3, 4), (0, 1, 3, 2, 4), (-1, 3, 12, 4)), DEEP),  # one axis only
    (lambda x: written_out(x, (-1, 2, 3, 2, 3, 4), (0, 3, 2, 1, 4, 5), (-1, 12, 3, 4)), DEEP),  # three groups
])  # fmt: skip
def test_what_only_looks_like_a_shuffle_stays(function, x):
    assert not shuffles(check(Call(function), x))


def test_a_chain_that_is_read_in_between_stays():
    module = Call(lambda x: (written_out(x, (-1, 3, 2, 2, 3, 4), (0, 1, 4, 2, 5, 3), (-1, 3, 6, 8)), x.reshape(-1, 3, 2, 2, 3, 4)))
    check(module, DEEP)
    shared = Call(lambda x: (y := x.reshape(-1, 3, 2, 2, 3, 4), y.permute(0, 1, 4, 2, 5, 3).reshape(-1, 3, 6, 8)))
    assert not shuffles(check(shared, DEEP))


# --- round trips and open sizes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", [CRD, DCR, UNSHUFFLED, BY_BLOCKS])
@pytest.mark.parametrize("framework", ["keras", "torch", "onnx"])
def test_both_orders_come_back_from_everywhere(op, framework):
    kind = "DepthToSpace" if isinstance(op, DepthToSpace) else "SpaceToDepth"
    x = DEEP if kind == "DepthToSpace" else WIDE
    source = Call(lambda x: F.pixel_shuffle(x, 2) if kind == "DepthToSpace" else F.pixel_unshuffle(x, 2))
    if op.places_first:
        source = onnx_model(kind, [x], opset=13, blocksize=2)
    made = li.convert(source, to=framework, example=(x,) if not op.places_first else None)
    assert shuffles(li.load(made, (x,))) == [op]


def test_open_height_and_width():
    for module, channels in ((nn.PixelShuffle(2), 12), (nn.ChannelShuffle(4), 12), (nn.PixelUnshuffle(2), 3)):
        small, large = draw(2, channels, 4, 6), draw(3, channels, 2, 8)
        open_sizes(module, small, large, input_shapes=(None, channels, None, None))
