"""Integers that 32 bits, or the 24 of a float32, do not hold: every target computes them whole, or refuses."""

import keras
import numpy as np
import pytest
from family_checks import onnx_model

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.errors import Refused

LARGE = np.array([[2**40 + 3, -(2**33), 5], [7, 2**35, -(2**50)]], np.int64)
SMALL = np.array([[3, 2, -5], [2**34, 3, 7]], np.int64)
ONES = np.ones((3, 2), np.int64)
AXES = np.array([1], np.int64)
ONLY_TENSORFLOW = {"Div"}  # Keras' other backends divide in 32 bits

NODES = {
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "Mod", "Max", "Min"), ((LARGE, SMALL), ())),
    **dict.fromkeys(("Abs", "Neg", "Sign", "Relu", "Identity"), ((LARGE,), ())),
    **dict.fromkeys(("ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1"), ((LARGE,), (AXES,))),
    "ReduceProd": ((SMALL,), (AXES,)),
    "CumSum": ((LARGE,), (AXES,)),
    "MatMul": ((LARGE,), (ONES,)),
    "Gemm": ((LARGE,), (ONES,)),
    "Clip": ((LARGE,), (np.int64(-5), np.int64(2**40))),
}


@pytest.mark.parametrize("target", ["keras", "torch", "onnx"])
@pytest.mark.parametrize("kind", NODES)
def test_whole_numbers_stay_whole(kind, target):
    arrays, weights = NODES[kind]
    graph = li.load(onnx_model(kind, arrays, weights, opset=18))
    (expected,) = graph.run(*arrays)
    try:
        model = transfer_graph(graph, target).model
    except Refused as refusal:
        assert target == "keras" and kind in ONLY_TENSORFLOW and keras.backend.backend() != "tensorflow", refusal
        return
    (received,) = li.run(model, list(arrays))
    np.testing.assert_array_equal(received, expected)
    assert received.dtype == np.int64


@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_running_sums_in_64_bits(count, exclusive, reverse):
    x = np.random.default_rng(count).integers(-(2**40), 2**40, (2, count, 3))
    graph = li.load(onnx_model("CumSum", (x,), (AXES,), opset=18, exclusive=exclusive, reverse=reverse))
    for target in ("keras", "torch", "onnx"):
        np.testing.assert_array_equal(li.run(transfer_graph(graph, target).model, [x])[0], graph.run(x)[0])


@pytest.mark.parametrize("kind, weights", [("ReduceMean", (AXES,)), ("ReduceL2", (AXES,))])
def test_what_rounds_integers_is_refused(kind, weights):
    graph = li.load(onnx_model(kind, (LARGE,), weights, opset=18))
    for target in ("keras", "torch"):
        with pytest.raises(Refused, match="of integers"):
            transfer_graph(graph, target)


def test_integer_einsum_is_refused_in_keras():
    graph = li.load(onnx_model("Einsum", (LARGE, SMALL), opset=18, equation="ij,ij->i"))
    expected = (LARGE * SMALL).sum(1)
    for target in ("keras", "torch", "onnx"):
        try:
            model = transfer_graph(graph, target).model
        except Refused:
            assert target == "keras"
            continue
        np.testing.assert_array_equal(li.run(model, [LARGE, SMALL])[0], expected)
