"""A Dense takes over the weight that is added behind it, and only that."""

import numpy as np
import pytest

from leaky_interop.graph import Anchor, Graph, Parameter, label
from leaky_interop.ops.dense import Dense
from leaky_interop.ops.math import Add, Mul
from leaky_interop.passes.dense import fold_bias

rng = np.random.default_rng(8)
X = rng.standard_normal((2, 3, 5)).astype(np.float32)


def weight(graph, name, *shape):
    array = rng.standard_normal(shape).astype(np.float32)
    return graph.parameter(Parameter(name, shape, array.dtype, lambda: array, array, True))


def network(bias_shape=(4,), *, first=False, named=True, own_bias=False, more=None):
    """x -> Dense -> Add, anchored; `more` reads the Dense as well."""
    graph = Graph()
    x = graph.input("x", X.shape, X.dtype)
    y = Dense()(x, weight(graph, "layer.kernel", 4, 5), weight(graph, "layer.bias", 4) if own_bias else None)
    other = weight(graph, "bias" if named else "", *bias_shape)
    z = Add()(other, y) if first else Add()(y, other)
    for node, name in zip(graph.nodes, ("layer", "sum"), strict=True):
        node.name, node.outputs[0].anchor = name, Anchor(name)
    graph.outputs, graph.output_names = [z if more is None else more(y, z)], ["y"]
    label(graph)
    return graph


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("bias_shape", [(4,), (1, 4), (1, 1, 4)])
def test_the_addition_becomes_the_bias(bias_shape, first):
    before = network(bias_shape, first=first)
    after = fold_bias(before)
    (node,) = after.nodes
    assert isinstance(node.op, Dense) and node.name == "layer" and node.inputs[2].shape == (4,)
    assert node.outputs[0].anchor == Anchor("sum")
    np.testing.assert_allclose(after.run(X)[0], before.run(X)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    "kept",
    [
        network((3, 1)),
        network((1,)),
        network((2, 3, 4)),
        network((1, 1, 1, 4)),
        network(named=False),
        network(own_bias=True),
        network(more=lambda y, z: Mul()(y, z)),
    ],
    ids=["a column", "one number", "a full array", "one more axis", "a constant", "a second bias", "another reader"],
)
def test_anything_else_stays_an_addition(kept):
    assert fold_bias(kept) is kept
