"""Results as many as the data decides: suppressed boxes and unique entries, against onnxruntime and in PyTorch."""

import numpy as np
import onnx
import pytest
from family_checks import check, onnx_model

import leaky_interop as li
from leaky_interop.errors import Refused


def suppression(rng, *, images=2, classes=3, boxes=12, centred=False, numbers=(4, 0.3, -0.5), constant=True):
    corners = rng.uniform(0, 4, (images, boxes, 4)).astype(np.float32)
    if centred:
        corners[..., 2:] += 0.1
    scores = rng.standard_normal((images, classes, boxes)).astype(np.float32)
    kinds = (np.int64, np.float32, np.float32)
    held = [None if n is None else np.array([n], k) for n, k in zip(numbers, kinds, strict=True)]
    while held and held[-1] is None:
        held.pop()
    data = [corners, scores]
    settings = {"center_point_box": int(centred), "opset": 11, "result": np.int64}
    if constant:
        return onnx_model("NonMaxSuppression", data, held, **settings), data
    return onnx_model("NonMaxSuppression", data + held, **settings), data + held


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize(
    "numbers", [(4, 0.3, -0.5), (100, 0.0, None), (3, None, None), (0, 0.5, 0.0), (12, 1.0, 0.4)], ids=str
)
def test_suppressed_boxes(numbers, centred, seed):
    model, data = suppression(np.random.default_rng(seed), numbers=numbers, centred=centred)
    check(model, *data, to=("torch", "onnx"))


@pytest.mark.parametrize("batch", [1, 7])
def test_numbers_that_the_network_computes(batch):
    model, data = suppression(np.random.default_rng(5), images=batch, constant=False)
    check(model, *data, to=("torch", "onnx"))


def test_no_number_of_boxes_means_none():
    model, data = suppression(np.random.default_rng(5), numbers=(None, None, None))
    (found,) = check(model, *data, to=("torch", "onnx")).run(*data)
    assert found.shape == (0, 3)


def test_equal_scores_and_scores_that_are_no_numbers():
    model, data = suppression(np.random.default_rng(6), numbers=(12, 0.2, None))
    data[1] = np.ones_like(data[1])
    check(model, *data, to=("torch", "onnx"))
    data[1][0, 0, 3] = np.nan
    data[1][0, 1, 2] = -np.inf
    graph = li.load(model)
    converted = li.convert(model, to="torch")
    np.testing.assert_array_equal(li.run(converted, data)[0], graph.run(*data)[0])


def test_what_follows_has_the_size_that_the_run_tells():
    """The kept boxes themselves: looked up by the last column."""
    model, data = suppression(np.random.default_rng(7), images=1, classes=1)
    helper = onnx.helper
    nodes = [
        helper.make_node("Gather", ["y0", "two"], ["rows"], axis=1),
        helper.make_node("Gather", ["x0", "rows"], ["kept"], axis=1),
    ]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(2), "two"))
    model.graph.output[0].CopyFrom(helper.make_tensor_value_info("kept", 1, None))
    check(model, *data, to=("torch", "onnx"))


VALUES = np.array([[2, 1, 1], [3, 4, 3], [2, 1, 1], [1, 1, 2]], np.float32)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("ordered", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_unique_entries(axis, ordered, dtype):
    """As onnxruntime has them: onnx's own reference fails on entries in the order in which they come."""
    x = VALUES.astype(dtype)
    model = onnx_model("Unique", [x], opset=11, outputs=4, shown=4, axis=axis, sorted=ordered)
    for info in model.graph.output[1:]:
        info.type.tensor_type.elem_type = onnx.TensorProto.INT64
    check(model, x, to=("torch", "onnx"))
    other = np.random.default_rng(3).integers(0, 3, VALUES.shape).astype(dtype)
    check(model, other, to=("torch",))


def test_keras_refuses_what_has_no_fixed_number():
    model, _ = suppression(np.random.default_rng(0))
    with pytest.raises(Refused, match="how many results"):
        li.convert(model, to="keras")
