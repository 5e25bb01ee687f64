"""PyTorch, and Keras on it, compute with no unsigned integers of 16 bits and more: what they compute in int64 is the same."""

import itertools

import numpy as np
import pytest
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop.errors import Refused

pytestmark = pytest.mark.one_backend
EDGES = {
    "uint16": [0, 1, 2, 3, 255, 2**15 - 1, 2**15, 2**16 - 1],
    "uint32": [0, 1, 2, 7, 2**31 - 1, 2**31, 2**32 - 1],
    "uint64": [0, 1, 2, 3, 10, 2**33, 2**63 - 1, 2**63, 2**63 + 1, 2**64 - 2, 2**64 - 1],
}
FUNCTIONS = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.floor_divide, "Mod": np.mod, "Max": np.maximum,
    "Min": np.minimum, "Less": np.less, "Greater": np.greater, "LessOrEqual": np.less_equal, "Equal": np.equal,
    "GreaterOrEqual": np.greater_equal, "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or, "BitwiseXor": np.bitwise_xor,
    "BitShift LEFT": np.left_shift, "BitShift RIGHT": np.right_shift,
}  # fmt: skip


def network(kind, dtype, result):
    name, _, direction = kind.partition(" ")
    types = [getattr(TensorProto, dtype.upper()), TensorProto.BOOL if result == "bool" else getattr(TensorProto, result.upper())]
    ports = [helper.make_tensor_value_info(port, types[port == "z"], ["n"]) for port in "xyz"]
    node = helper.make_node(name, ["x", "y"], ["z"], **({"direction": direction} if direction else {}))
    graph = helper.make_graph([node], "unsigned", ports[:2], ports[2:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


TARGETS = [("torch", dtype) for dtype in EDGES] + [("keras", "uint16"), ("keras", "uint32")]


@pytest.mark.parametrize(("target", "dtype"), TARGETS)
@pytest.mark.parametrize("kind", FUNCTIONS)
def test_every_pair_of_edges(kind, target, dtype):
    x, y = np.array(list(itertools.product(EDGES[dtype], repeat=2)), dtype).T.copy()
    if kind in ("Div", "Mod"):
        y = np.maximum(y, 1)
    elif kind.startswith("BitShift"):
        y %= 8 * y.dtype.itemsize
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[kind](x, y)
    model = network(kind, dtype, expected.dtype.name)
    if (kind, target) == ("Div", "keras"):  # which divides int64 in float32 there
        with pytest.raises(Refused, match="a division in int64"):
            li.convert(model, to=target)
        return
    (received,) = li.run(li.convert(model, to=target), [x, y])
    assert received.dtype == expected.dtype
    np.testing.assert_array_equal(received, expected)


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_casts_wrap_around_in_keras(dtype):
    types = [TensorProto.INT64, getattr(TensorProto, dtype.upper()), TensorProto.FLOAT]
    ports = [helper.make_tensor_value_info(*port, ["n"]) for port in zip("xyz", types, strict=True)]
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=types[1]), helper.make_node("Cast", ["y"], ["z"], to=types[2])]
    graph = helper.make_graph(nodes, "casts", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    x = np.array([0, 1, -1, 65535, 65536, 2**31, 2**32 - 1, 2**32 + 7, -(2**40)], np.int64)
    narrow, wide = li.run(li.convert(model, to="keras"), [x])
    assert narrow.dtype == dtype
    np.testing.assert_array_equal(narrow, x.astype(dtype))
    np.testing.assert_array_equal(wide, x.astype(dtype).astype(np.float32))


def test_the_wrapped_operator_is_verified_as_itself(tmp_path):
    report = li.convert(network("Mul", "uint32", "uint32"), tmp_path / "net.pt2")
    assert report.passed
    assert [node.op for node in report.nodes][-1].startswith("Cast")


@pytest.mark.parametrize("kind", ["Div", "Mod", "BitShift RIGHT"])
def test_numbers_of_every_length(kind):
    random = np.random.default_rng(0)
    x, y = (random.integers(0, 2**64 - 1, 4000, np.uint64) >> random.integers(0, 64, 4000, np.uint64) for _ in "xy")
    y = np.maximum(y, 1) if kind != "BitShift RIGHT" else y % 64
    (received,) = li.run(li.convert(network(kind, "uint64", "uint64"), to="torch"), [x, y])
    np.testing.assert_array_equal(received, FUNCTIONS[kind](x, y))
