"""Pools in every native spelling: ceil mode, counted pads, 'same', dilation, adaptive sizes, norms."""

import itertools

import keras
import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from family_checks import check, kinds, onnx_model
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from spatial_checks import Call, draw, keras_model, open_sizes
from torch import nn

import leaky_interop as li
from leaky_interop.errors import Refused
from leaky_interop.ops.adaptive_pool import AdaptiveAveragePool, AdaptiveMaxPool
from leaky_interop.ops.average_pool import AveragePool
from leaky_interop.ops.pool import MaxPool

layers, ops = keras.layers, keras.ops
X1, X2, X3 = draw(2, 3, 11) - 2, draw(2, 3, 9, 8) - 2, draw(1, 2, 5, 6, 4) - 2  # mostly negative: zero pads would show
LAST1, LAST2, LAST3 = (np.moveaxis(x, 1, -1) for x in (X1, X2, X3))


@pytest.mark.parametrize("module, x", [
    (nn.MaxPool1d(3, 2, 1), X1),
    (nn.MaxPool2d((3, 2), stride=(2, 3), padding=(1, 1), dilation=(1, 2)), X2),
    (nn.MaxPool2d(3, 2, 1, ceil_mode=True), X2),
    (nn.MaxPool3d(2, ceil_mode=True), X3),
    (nn.MaxPool2d(2), X2[0]),
    (nn.AvgPool1d(3, 2, 1), X1),
    (nn.AvgPool2d((3, 2), stride=(2, 1), padding=(1, 1)), X2),
    (nn.AvgPool2d(3, 2, 1, count_include_pad=False), X2),
    (nn.AvgPool2d(3, 2, 1, ceil_mode=True), X2),
    (nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), X2),
    (nn.AvgPool2d(2, divisor_override=3), X2),
    (nn.AvgPool2d(3, 2, 1, ceil_mode=True, divisor_override=5), X2),
    (nn.AvgPool3d((2, 3, 2), stride=2, padding=(0, 1, 1)), X3),
    (nn.AvgPool2d(2), X2[0]),
    (nn.LPPool2d(2, 2, stride=(1, 2)), X2),
    (nn.MaxPool2d(2).half(), X2.astype(np.float16)),
])  # fmt: skip
def test_torch_modules(module, x):
    check(module, x, static_batch=x.ndim == 3 and not isinstance(module, nn.MaxPool1d | nn.AvgPool1d))


@pytest.mark.parametrize("kernel, stride, pad, size", [
    (k, s, p, n) for k, s, n in itertools.product((2, 3, 5), (1, 2, 3, 4), (5, 6, 7)) for p in range(k // 2 + 1)
])  # fmt: skip
def test_R19_ceil_mode_of_torch(kernel, stride, pad, size):
    """A window that would start in the padding at the end does not count; what overhangs the padding is not divided by."""
    x = torch.tensor(draw(1, 1, size, seed=size) - 2)
    for module in (
        nn.MaxPool1d(kernel, stride, pad, ceil_mode=True),
        nn.AvgPool1d(kernel, stride, pad, ceil_mode=True),
        nn.AvgPool1d(kernel, stride, pad, ceil_mode=True, count_include_pad=False),
    ):
        check(module, x.numpy(), to=("onnx",), static_batch=True)


def test_R18_pads_of_a_mean_count_in_torch_and_onnx_as_they_say():
    (op,) = (n.op for n in li.load(nn.AvgPool2d(3, 2, 1), (X2,)).nodes)
    assert op.counted == op.pads == ((1, 1), (1, 1))
    model = onnx_model("AveragePool", [X2], opset=13, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    (op,) = (n.op for n in li.load(model).nodes)
    assert op.counted == ((0, 0), (0, 0))


@pytest.mark.parametrize("padding, kernel, strides", itertools.product(("valid", "same"), (2, 3), (None, 1, 2)))
@pytest.mark.parametrize("kind", ["Max", "Average"])
def test_R18_and_R50_keras_pools(kind, padding, kernel, strides):
    """Keras on torch averages uneven 'same' pads wrongly; the definition is the mean over what is inside."""
    for spatial, x in ((1, LAST1), (2, LAST2), (3, LAST3)):
        layer = getattr(layers, f"{kind}Pooling{spatial}D")(kernel, strides, padding=padding)
        model = keras_model(layer, x.shape[1:])
        check(model, x, given=[mean_or_max(kind, x, kernel, strides or kernel, padding)])


def mean_or_max(kind, x, kernel, stride, padding):
    """Window by window, as the words say it."""
    reduce = np.max if kind == "Max" else np.mean
    for axis in range(1, x.ndim - 1) if kind == "Max" else ():
        x = np.stack([reduce(w, axis, keepdims=True) for w in cut(x, axis, kernel, stride, padding)], axis).squeeze(axis + 1)
    if kind == "Max":
        return x
    sums, counts = x.astype(np.float64), np.ones_like(x, np.float64)
    for axis in range(1, x.ndim - 1):
        sums, counts = (
            np.concatenate([w.sum(axis, keepdims=True) for w in cut(a, axis, kernel, stride, padding)], axis) for a in (sums, counts)
        )
    return (sums / counts).astype(np.float32)


def cut(x, axis, kernel, stride, padding):
    size = x.shape[axis]
    count = -(-size // stride) if padding == "same" else (size - kernel) // stride + 1
    before = max((count - 1) * stride + kernel - size, 0) // 2 if padding == "same" else 0
    for i in range(count):
        start = i * stride - before
        yield x.take(range(max(start, 0), min(start + kernel, size)), axis)


@pytest.mark.parametrize("function", [
    lambda x: ops.max_pool(x, 2, padding="same"),
    lambda x: ops.max_pool(x, (3, 2), strides=(1, 2)),
    lambda x: ops.average_pool(x, 3, strides=2),
])  # fmt: skip
def test_keras_operations(function):
    check(keras_model(function, LAST2.shape[1:]), LAST2)


ONNX_POOLS = [
    {"kernel_shape": [3, 2]},
    {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 2, 1]},
    {"kernel_shape": [3, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [2, 4], "strides": [1, 3], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [3, 2], "strides": [2, 3], "auto_pad": "VALID"},
]


@pytest.mark.parametrize("attributes", ONNX_POOLS)
@pytest.mark.parametrize("opset", [7, 8, 12, 22])
@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
def test_onnx_pools(kind, attributes, opset):
    check(onnx_model(kind, [X2], opset=opset, **attributes), X2)


@pytest.mark.parametrize("attributes", [
    {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [1, 0, 1, 1]},
])  # fmt: skip
@pytest.mark.parametrize("kind, opset", [("MaxPool", 10), ("MaxPool", 22), ("AveragePool", 19), ("AveragePool", 22)])
def test_onnx_pools_with_ceil_mode_and_dilation(kind, opset, attributes):
    check(onnx_model(kind, [X2], opset=opset, **attributes), X2)


@pytest.mark.parametrize("pads", [[1, 1, 1, 1], [0, 1, 2, 0]])
@pytest.mark.parametrize("ceil", [0, 1])
def test_onnx_counted_pads(pads, ceil):
    fields = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": pads, "count_include_pad": 1, "ceil_mode": ceil}
    check(onnx_model("AveragePool", [X2], opset=22, **fields), X2)


def test_onnx_integers_and_storage_order():
    x = np.random.default_rng(0).integers(-100, 100, (1, 2, 5, 6)).astype(np.int8)
    check(onnx_model("MaxPool", [x], opset=12, kernel_shape=[3, 2], pads=[1, 0, 1, 1], storage_order=1), x, to=("onnx",))


@pytest.mark.parametrize("attributes, opset", [
    ({"kernel_shape": [3, 2], "strides": [2, 1]}, 11),
    ({"kernel_shape": [3, 2], "p": 3, "pads": [1, 0, 1, 1]}, 11),
    ({"kernel_shape": [3, 2], "p": 1, "auto_pad": "SAME_UPPER"}, 11),
    ({"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1, "dilations": [2, 1]}, 18),
])  # fmt: skip
def test_onnx_lp_pool(attributes, opset):
    check(onnx_model("LpPool", [X2], opset=opset, **attributes), X2)


# --- indices ----------------------------------------------------------------------------------------------------------


def test_indices_that_nothing_reads_do_not_matter():
    graph = check(Call(lambda x: F.max_pool2d(x, 2, return_indices=True)[0]), X2)
    assert kinds(graph) == ["MaxPool"]
    check(onnx_model("MaxPool", [X2], opset=12, outputs=2, kernel_shape=[2, 2]), X2)
    check(Call(lambda x: F.adaptive_max_pool2d(x, (2, 3), return_indices=True)[0]), X2)


def test_indices_of_an_adaptive_pool_are_picked_from_its_windows():
    graph = check(Call(lambda x: F.adaptive_max_pool2d(x, (2, 3), return_indices=True)), X2)
    assert kinds(graph) == ["MaxIndices", "AdaptiveMaxPool"] or kinds(graph) == ["AdaptiveMaxPool", "MaxIndices"]


# --- adaptive ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module, x, found", [
    (nn.AdaptiveAvgPool2d((3, 4)), X2, AveragePool),
    (nn.AdaptiveAvgPool2d((2, 3)), X2, AdaptiveAveragePool),
    (nn.AdaptiveAvgPool2d((None, 3)), X2, AdaptiveAveragePool),
    (nn.AdaptiveAvgPool1d(4), X1, AdaptiveAveragePool),
    (nn.AdaptiveAvgPool3d((2, 3, 4)), X3, AdaptiveAveragePool),
    (nn.AdaptiveMaxPool2d((3, 4)), X2, MaxPool),
    (nn.AdaptiveMaxPool2d((2, 3)), X2, AdaptiveMaxPool),
    (nn.AdaptiveMaxPool1d(13), X1, AdaptiveMaxPool),
    (nn.AdaptiveMaxPool3d((2, 4, 3)), X3, AdaptiveMaxPool),
])  # fmt: skip
def test_adaptive_pools_of_torch(module, x, found):
    graph = check(module, x)
    assert [type(n.op) for n in graph.nodes] == [found]


@pytest.mark.parametrize("kind, output", [
    (nn.AdaptiveAvgPool2d, (1, 1)), (nn.AdaptiveAvgPool2d, (None, 1)), (nn.AdaptiveAvgPool2d, (None, None)),
    (nn.AdaptiveMaxPool2d, (1, 1)),
])  # fmt: skip
def test_adaptive_pools_to_one_are_reductions_of_any_size(kind, output):
    graph = open_sizes(kind(output), X2, draw(3, 3, 5, 6), input_shapes=(None, 3, None, None))
    name = "ReduceMean" if kind is nn.AdaptiveAvgPool2d else "ReduceMax"
    assert kinds(graph) == ([name] if 1 in output else [])


def test_an_adaptive_pool_of_an_open_size_stays_torch():
    module = nn.AdaptiveAvgPool2d(3)
    open_sizes(module, X2, draw(3, 3, 5, 7), to=("torch",), input_shapes=(None, 3, None, None))
    for framework in ("keras", "onnx"):
        with pytest.raises(Refused, match="depends on the size"):
            li.convert(module, to=framework, example=(X2,), input_shapes=(None, 3, None, None))


@pytest.mark.skipif(not hasattr(layers, "AdaptiveAveragePooling2D"), reason="this Keras has no adaptive pooling")
@pytest.mark.parametrize("kind, output", itertools.product(("Average", "Max"), ((3, 4), (2, 3), (1, 1))))
def test_adaptive_pools_of_keras(kind, output):
    expected = getattr(F, f"adaptive_{'avg' if kind == 'Average' else 'max'}_pool2d")(torch.tensor(X2), output)
    model = keras_model(getattr(layers, f"Adaptive{kind}Pooling2D")(output), LAST2.shape[1:])
    check(model, LAST2, given=[np.moveaxis(expected.numpy(), 1, -1)])  # on TensorFlow some sizes end the process


# --- open sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [
    nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(3, 1, 1, count_include_pad=False),
    nn.MaxPool2d(2, ceil_mode=True), nn.MaxPool2d(3, 2, dilation=2),
])  # fmt: skip
def test_open_height_and_width_from_torch(module):
    open_sizes(module, X2, draw(3, 3, 12, 7) - 2, input_shapes=(None, 3, None, None))


@pytest.mark.parametrize("module", [
    nn.MaxPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(3, 2, ceil_mode=True), nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    nn.MaxPool2d(3, 3, 1, ceil_mode=True),
])  # fmt: skip
def test_ceil_mode_of_open_sizes(module):
    """ONNX has it as torch has; in Keras how much is padded would depend on the size."""
    options = {"input_shapes": (None, 3, None, None)}
    to = ("torch",) if isinstance(module, nn.AvgPool2d) and module.padding else ("torch", "onnx")
    graph = open_sizes(module, X2, draw(3, 3, 12, 7) - 2, to=to, **options)
    assert len(graph.nodes) == 1
    with pytest.raises(Refused, match="depend on the input's size"):
        li.convert(module, to="keras", example=(X2,), **options)


@pytest.mark.parametrize("layer", [
    layers.MaxPooling2D(2), layers.MaxPooling2D(3, 2, padding="same"), layers.AveragePooling2D(2),
    layers.AveragePooling2D(3, 1, padding="same"), layers.MaxPooling2D(2, 1, padding="same"),
])  # fmt: skip
def test_open_height_and_width_from_keras(layer):
    open_sizes(keras_model(layer, (None, None, 3)), LAST2, draw(3, 12, 7, 3) - 2)


@pytest.mark.parametrize("size", [8, 9])
def test_R50_an_open_mean_with_same_pads(size):
    """Written to Keras in a form that is right on every backend; the source itself is wrong on torch."""
    layer = layers.AveragePooling1D(3, 2, padding="same")
    made = li.convert(keras_model(layer, (None, 2)), to="keras", verify=False)
    x = draw(2, size, 2)
    (received,) = li.run(made, [x])
    np.testing.assert_allclose(received, mean_or_max("Average", x, 3, 2, "same"), rtol=1e-5, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(3, 9), kernel=st.integers(1, 4), stride=st.integers(1, 4), before=st.integers(0, 3),
    after=st.integers(0, 3), ceil=st.booleans(), count=st.booleans(), average=st.booleans(),
)  # fmt: skip
def test_any_onnx_pool_goes_everywhere(size, kernel, stride, before, after, ceil, count, average):
    if before >= kernel or after >= kernel or size + before + after < kernel:
        return
    fields = {"kernel_shape": [kernel], "strides": [stride], "pads": [before, after], "ceil_mode": int(ceil)}
    if average:
        fields["count_include_pad"] = int(count)
    x = draw(1, 2, size, seed=size) - 1
    check(onnx_model("AveragePool" if average else "MaxPool", [x], opset=22, **fields), x, static_batch=True)


# --- zeros before a maximum -------------------------------------------------------------------------------------------


def padded_then_pooled(*between):
    """x -> Pad of zeros -> (operators that onnxruntime removes) -> MaxPool."""
    nodes = [helper.make_node("Pad", ["x", "pads"], ["p0"], name="pad")]
    for i, kind in enumerate(between):
        nodes.append(helper.make_node(kind, [f"p{i}"], [f"p{i + 1}"], name=f"between_{i}", **({"to": 1} if kind == "Cast" else {})))
    nodes.append(helper.make_node("MaxPool", [f"p{len(between)}"], ["y"], name="pool", kernel_shape=[2, 2], strides=[2, 2]))
    ports = [[helper.make_tensor_value_info(n, 1, s)] for n, s in (("x", [1, 1, 5, 5]), ("y", None))]
    pads = onnx.numpy_helper.from_array(np.array([0, 0, 0, 0, 0, 0, 1, 1]), "pads")
    graph = helper.make_graph(nodes, "g", *ports, [pads])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


@pytest.mark.parametrize("between", [(), ("Identity",), ("Dropout",), ("Cast", "Identity")])
def test_R47_zeros_before_a_max_pool_stay_apart_from_it(between):
    """Older onnxruntime takes them for -inf where it can reach both: what is written must not let it."""
    x = -np.ones((1, 1, 5, 5), np.float32)
    expected = np.array([[-1, -1, 0], [-1, -1, 0], [0, 0, 0]], np.float32).reshape(1, 1, 3, 3)
    graph = check(padded_then_pooled(*between), x, given=[expected], static_batch=True)
    assert kinds(graph)[0] == "Pad" and kinds(graph)[-1] == "MaxPool"  # R49: never folded
    made = li.convert(padded_then_pooled(*between), to="onnx")
    readers = {i: n for n in made.graph.node for i in n.input}
    (pad,) = (n for n in made.graph.node if n.op_type == "Pad")
    reader = readers[pad.output[0]]
    assert reader.op_type == "Squeeze"
    again = li.load(made)
    assert again.nodes[0].op.matches(graph.nodes[0].op) and kinds(again)[-1] == "MaxPool"


def test_R49_pads_of_a_mean_and_of_a_maximum():
    """Zeros become counted pads of a mean, -inf pads of a maximum; zeros before a maximum stay."""
    pooled = {
        "mean": Call(lambda x: F.avg_pool2d(F.pad(x, (0, 1, 2, 0)), 3)),
        "max": Call(lambda x: F.max_pool2d(F.pad(x, (0, 1, 2, 0), value=-torch.inf), 3)),
        "zeros": Call(lambda x: F.max_pool2d(F.pad(x, (0, 1, 2, 0)), 3)),
    }
    found = {name: check(module, X2) for name, module in pooled.items()}
    assert kinds(found["mean"]) == ["AveragePool"] and kinds(found["max"]) == ["MaxPool"]
    assert found["mean"].nodes[0].op.counted == found["max"].nodes[0].op.pads == ((2, 0), (0, 1))
    assert kinds(found["zeros"]) == ["Pad", "MaxPool"]


@pytest.mark.parametrize(("size", "written"), [(8, [((1, 1), (1, 1))]), (9, [])])
def test_pads_around_a_maximum_come_back_to_keras_as_they_were(size, written):
    """Of an even size no window reaches the last row, as in residual networks; of an odd one the pads are Keras' 'same'."""
    x = keras.Input((size, size, 3))
    y = layers.ZeroPadding2D(1, name="pad")(layers.ReLU(name="act")(x))
    model = keras.Model(x, layers.MaxPooling2D(3, 2, name="pool")(y))
    back = li.convert(li.convert(model, "torch"), "keras")
    assert [la.padding for la in back.layers if isinstance(la, layers.ZeroPadding2D)] == written
    (pool,) = (node.op for node in li.load(back).nodes if isinstance(node.op, MaxPool))
    assert pool.pads == ((1, 1), (1, 1))
    check(back, np.random.default_rng(0).standard_normal((2, size, size, 3)).astype(np.float32))


def test_whole_numbers_of_64_bits_keep_them_around_padding():
    """Keras on PyTorch compares them in 32, where the lowest one of all is 0."""
    x = torch.full((1, 2, 3, 4, 5), -5) - torch.arange(120).reshape(1, 2, 3, 4, 5) * 2**33
    network = torch.nn.MaxPool3d(3, 2, 1).eval()
    made = li.convert(network, to="keras", example=(x,), static_batch=True)
    np.testing.assert_array_equal(np.asarray(li.run(made, [x.numpy()])).reshape(1, 2, 2, 2, 3), network(x).numpy())
