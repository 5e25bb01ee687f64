"""Functions that resemble LeakyReLU, beside one of the same slope: each comes out of every conversion as itself."""

import keras
import numpy as np
import pytest
import torch
from family_checks import check, kinds
from native import Applied
from onnx import TensorProto, helper, numpy_helper

import leaky_interop as li
from leaky_interop.ops.activation import LeakyRelu, PRelu

SLOPE = 0.2  # of the LeakyReLU in every network, and a number of its neighbour wherever that has one
X = np.random.default_rng(4).uniform(-3, 3, (3, 4)).astype(np.float32)
X[0] = [0.0, -0.0, 0.2, -0.2]
LEARNED = np.asarray([SLOPE, -0.5, 1.5, SLOPE], np.float32)
LEFT, RIGHT = np.asarray([-0.5, -1, -0.2, -2], np.float32), np.asarray([0.5, 1, 0.2, 2], np.float32)  # of an SReLU
WITHIN, BEYOND = np.asarray([0.2, 0.1, -0.3, 0.2], np.float32), np.asarray([0.2, 2, 0.4, 0.2], np.float32)


class SRelu(torch.nn.Module):
    """Three lines that meet at two learned places."""

    def __init__(self):
        super().__init__()
        for name, numbers in zip(("tl", "al", "tr", "ar"), (LEFT, WITHIN, RIGHT, BEYOND), strict=True):
            self.register_parameter(name, torch.nn.Parameter(torch.tensor(numbers)))

    def forward(self, x):
        upper = torch.where(x >= self.tr, self.tr + self.ar * (x - self.tr), x)
        return torch.where(x <= self.tl, self.tl + self.al * (x - self.tl), upper)


class KerasSRelu(keras.layers.Layer):
    """The same, added up of what is left of, between and right of the two places."""

    def build(self, shape):
        for name, numbers in zip(("tl", "al", "tr", "ar"), (LEFT, WITHIN, RIGHT, BEYOND), strict=True):
            setattr(self, name, self.add_weight(shape=shape[1:], name=name))
            getattr(self, name).assign(numbers)

    def call(self, x):
        ops = keras.ops
        between = ops.minimum(ops.relu(x - self.tl), self.tr - self.tl)
        return self.tl + between + self.al * ops.minimum(x - self.tl, 0) + self.ar * ops.relu(x - self.tr)


def learned_in_torch():
    module = torch.nn.PReLU(4)
    module.weight.data = torch.tensor(LEARNED)
    return module


def learned_in_keras(x):
    layer = keras.layers.PReLU()
    y = layer(x)
    layer.set_weights([LEARNED])
    return y


RELATIVES = {  # what it reads as, then how each framework spells it
    "ReLU": (["Relu"], torch.nn.ReLU(), lambda x: keras.layers.ReLU()(x), [("Relu", "x", {})]),
    "ReLU6": (["Clip"], torch.nn.ReLU6(), lambda x: keras.ops.relu6(x), [("Clip", "x 0 6", {})]),
    "clipped ReLU": (
        ["Clip"], torch.nn.Hardtanh(0.0, SLOPE), lambda x: keras.layers.ReLU(max_value=SLOPE)(x),
        [("Clip", "x 0 0.2", {})],
    ),
    "ReLU above a threshold": (
        ["Threshold"], torch.nn.Threshold(SLOPE, 0.0), lambda x: keras.layers.ReLU(threshold=SLOPE)(x),
        [("ThresholdedRelu", "x", {"alpha": SLOPE})],
    ),
    "CReLU": (
        ["Concat", "Neg", "Relu", "Relu"],
        Applied(lambda x: torch.cat([torch.relu(x), torch.relu(-x)], -1)),
        lambda x: keras.layers.Concatenate()([keras.ops.relu(x), keras.ops.relu(-x)]),
        [("Neg", "x", {}), ("Relu", "x", {}), ("Relu", "n0", {}), ("Concat", "n1 n2", {"axis": -1})],
    ),
    "CReLU of TensorFlow": (
        ["Concat", "Neg", "Relu"],
        Applied(lambda x: torch.relu(torch.cat([x, -x], -1))),
        lambda x: keras.ops.relu(keras.ops.concatenate([x, -x], -1)),
        [("Neg", "x", {}), ("Concat", "x n0", {"axis": -1}), ("Relu", "n1", {})],
    ),
    "ELU": (["Elu"], torch.nn.ELU(SLOPE), lambda x: keras.layers.ELU(SLOPE)(x), [("Elu", "x", {"alpha": SLOPE})]),
    "CELU": (["Celu"], torch.nn.CELU(SLOPE), lambda x: keras.ops.celu(x, SLOPE), [("Celu", "x", {"alpha": SLOPE})]),
    "SELU": (["Selu"], torch.nn.SELU(), lambda x: keras.ops.selu(x), [("Selu", "x", {})]),
    "noisy ReLU": (
        ["Dropout", "Relu"], torch.nn.Sequential(torch.nn.Dropout(SLOPE), torch.nn.ReLU()),
        lambda x: keras.layers.ReLU()(keras.layers.Dropout(SLOPE)(x)), [("Dropout", "x 0.2", {}), ("Relu", "n0", {})],
    ),
    "ReLU of added noise": (
        ["GaussianNoise", "Relu"], None, lambda x: keras.layers.ReLU()(keras.layers.GaussianNoise(SLOPE)(x)), None,
    ),
    "PReLU": (["PRelu"], learned_in_torch(), learned_in_keras, [("PRelu", "x learned", {})]),
    "Softplus": (["Softplus"], torch.nn.Softplus(), lambda x: keras.ops.softplus(x), [("Softplus", "x", {})]),
    "SReLU": (None, SRelu(), lambda x: KerasSRelu()(x), None),
    "Keras' ReLU with everything": (
        ["CappedLeakyRelu"], None,
        lambda x: keras.layers.ReLU(max_value=2.0, negative_slope=SLOPE, threshold=0.5)(x), None,
    ),
    "shrinking": (
        ["Shrink"], torch.nn.Softshrink(SLOPE), lambda x: keras.ops.soft_shrink(x, SLOPE),
        [("Shrink", "x", {"lambd": SLOPE, "bias": SLOPE})],
    ),
    "absolute value": (["Abs"], Applied(torch.abs), lambda x: keras.ops.abs(x), [("Abs", "x", {})]),
}  # fmt: skip
GONE = {"onnx": {"Dropout", "GaussianNoise"}, "torch": {"GaussianNoise"}}  # what a target needs nothing for
SPELLED = {  # name, source, target of what is written as a composition; torch's threshold alone lets NaN pass
    ("ReLU above a threshold", "keras", "torch"), ("ReLU above a threshold", "onnx", "torch"),
    ("ReLU above a threshold", "torch", "keras"), ("ReLU above a threshold", "torch", "onnx"),
    ("Keras' ReLU with everything", "keras", "torch"), ("Keras' ReLU with everything", "keras", "onnx"),
}  # fmt: skip


def network(framework, name):
    """The relative, then a LeakyReLU of the same slope."""
    _, module, function, nodes = RELATIVES[name]
    if framework == "torch":
        return None if module is None else torch.nn.Sequential(module, torch.nn.LeakyReLU(SLOPE)).eval()
    if framework == "keras":
        inputs = keras.Input(X.shape[1:])
        return keras.Model(inputs, keras.layers.LeakyReLU(SLOPE)(function(inputs)))
    return None if nodes is None else in_onnx(nodes)


def in_onnx(nodes):
    """Nodes n0, n1 ... and a LeakyRelu; operands that are numbers become constants."""
    made, constants = [], {"learned": LEARNED}
    for i, (kind, operands, attributes) in enumerate(nodes):
        names = operands.split()
        constants.update({n: np.float32(n) for n in names if n[0].isdigit()})
        made.append(helper.make_node(kind, names, [f"n{i}"], **attributes))
    made.append(helper.make_node("LeakyRelu", [f"n{len(nodes) - 1}"], ["y"], alpha=SLOPE))
    used = {n for node in made for n in node.input}
    weights = [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items() if n in used]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ["batch", 4]), ("y", None))]
    graph = helper.make_graph(made, "g", ports[:1], ports[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)], ir_version=8)


DIRECTIONS = [
    (name, source, target)
    for name, (_, module, _, nodes) in RELATIVES.items()
    for source in ("keras", "torch", "onnx")
    for target in ("keras", "torch", "onnx")
    if source == "keras" or (module if source == "torch" else nodes) is not None
]


@pytest.mark.parametrize("fast_math", [False, True])
@pytest.mark.parametrize("name, source, target", DIRECTIONS)
def test_a_relative_comes_out_as_itself(name, source, target, fast_math):
    model, wanted = network(source, name), RELATIVES[name][0]
    graph = check(model, X, to=(target,), fast_math=fast_math)
    read = kinds(graph)
    assert read.count("LeakyRelu") == 1 and [n.op for n in graph.nodes][-1] == LeakyRelu(negative_slope=SLOPE)
    if wanted is not None:
        assert sorted(read[:-1]) == wanted
    back = kinds(li.load(li.convert(model, target, example=(X,), fast_math=fast_math), (X,), fast_math=fast_math))
    if (name, source, target) in SPELLED:
        assert back.count("LeakyRelu") == 1 and back[-1] == "LeakyRelu"
    else:
        assert back == [kind for kind in read if kind not in GONE.get(target, ())]


def test_learned_slopes_keep_their_numbers():
    for source in ("keras", "torch", "onnx"):
        for target in ("keras", "torch", "onnx"):
            graph = li.load(li.convert(network(source, "PReLU"), target, example=(X,)), (X,))
            (node,) = (n for n in graph.nodes if n.op == PRelu())
            assert np.array_equal(node.inputs[1].array().reshape(-1), LEARNED)


@pytest.mark.parametrize("target", ["keras", "torch", "onnx"])
@pytest.mark.parametrize("source", ["keras", "torch"])
def test_the_four_arrays_of_an_s_shaped_relu_stay_weights(source, target):
    model = network(source, "SReLU")
    graph = li.load(li.convert(model, target, example=(X,)), (X,))
    held = [p.array() for p in graph.parameters()]
    for wanted in (LEFT, WITHIN, RIGHT, BEYOND):
        assert sum(np.array_equal(wanted, array.reshape(-1)) for array in held) == 1
    assert all(p.trainable for p in graph.parameters())


@pytest.mark.parametrize("target", ["keras", "torch", "onnx"])
def test_a_random_leaky_relu_is_its_mean_and_no_other_relative(target):
    model = torch.nn.Sequential(torch.nn.RReLU(0.1, 0.3), torch.nn.LeakyReLU(SLOPE)).eval()
    check(model, X, to=(target,))
    graph = li.load(li.convert(model, target, example=(X,)), (X,))
    assert [n.op.negative_slope for n in graph.nodes] == [pytest.approx(0.2), 0.2]


def test_a_relu_has_no_slope_and_a_leaky_relu_one():
    for name in ("ReLU", "ReLU6", "ELU", "SELU", "Softplus", "CReLU", "noisy ReLU"):
        assert [s.value for s in li.inspect(network("keras", name)).slopes] == [SLOPE]
    assert [s.value for s in li.inspect(network("keras", "PReLU")).slopes] == [(-0.5, 1.5), SLOPE]
