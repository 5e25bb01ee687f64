"""ONNX's arithmetic in every opset, and the edges of arithmetic in every framework."""

import keras
import numpy as np
import pytest
import torch
from family_checks import check, kinds, onnx_model
from native import Applied
from onnx import helper, numpy_helper

import leaky_interop as li
from leaky_interop.errors import Refused
from leaky_interop.numeric import dtype
from leaky_interop.ops.bounds import Clip

rng = np.random.default_rng(21)
X = rng.uniform(-4, 4, (2, 3, 4)).astype(np.float32)
Y = rng.uniform(0.5, 3, (2, 3, 4)).astype(np.float32)
N = rng.integers(-9, 9, (2, 3, 4)).astype(np.int64)
M = rng.integers(1, 5, (2, 3, 4)).astype(np.int64)
NO_KERAS = ("torch", "onnx")


# --- onnx -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Pow"])
@pytest.mark.parametrize("shape, axis", [((3,), 1), ((3, 4), 1), ((2,), 0), ((4,), None), ((), None), ((2, 3), 0)])
def test_before_opset_7_an_operand_is_aligned_by_its_axis(kind, shape, axis):
    y = rng.uniform(0.5, 2, shape).astype(np.float32)
    first = len(X.shape) - len(shape) if axis is None else axis
    spread = y.reshape((*shape, *(1,) * (3 - first - len(shape))))
    function = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power}[kind]
    settings = {"broadcast": 1} | ({} if axis is None else {"axis": axis})
    x = np.abs(X)
    check(onnx_model(kind, [x], [y], opset=6, **settings), x, given=[function(x, spread)])


@pytest.mark.parametrize("kind", ["Equal", "Less", "Greater", "And", "Or", "Xor"])
def test_before_opset_7_comparisons_are_aligned_too(kind):
    logic = kind in ("And", "Or", "Xor")
    x = (X > 0) if logic else N if kind == "Equal" else X
    y = x[0, :, 0]
    function = getattr(np, {"And": "logical_and", "Or": "logical_or", "Xor": "logical_xor"}.get(kind, kind.lower()))
    model = onnx_model(kind, [x], [y], opset=1, broadcast=1, axis=1)
    model.graph.output[0].type.tensor_type.elem_type = 9
    check(model, x, given=[function(x, y[:, None])])


@pytest.mark.parametrize("opset", [1, 6, 8, 13])
@pytest.mark.parametrize("kind", ["Sum", "Mean", "Max", "Min"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_onnx_takes_any_number_of_operands(kind, opset, count):
    arrays = [X, Y, X * Y - 1][:count]
    function = {
        "Sum": sum,
        "Mean": lambda a: sum(a) / len(a),
        "Max": lambda a: np.max(a, 0),
        "Min": lambda a: np.min(a, 0),
    }[kind]
    check(onnx_model(kind, arrays, opset=opset), *arrays, given=[np.asarray(function(arrays))])


@pytest.mark.parametrize("opset", [1, 6])
def test_clip_had_its_bounds_as_attributes(opset):
    for given_bounds, op in (
        ({"min": -1.0, "max": 2.0}, Clip(minimum=-1.0, maximum=2.0)),
        ({"max": 0.1}, Clip(minimum=None, maximum=0.1)),
    ):
        graph = check(onnx_model("Clip", [X], opset=opset, **given_bounds), X, given=[op.reference(X)])
        assert [n.op for n in graph.nodes] == [op]
    assert not check(onnx_model("Clip", [X], opset=opset), X, given=[X], to=("onnx",)).nodes


@pytest.mark.parametrize("bounds", [(-1.0, 2.0), (None, 2.0), (-1.0, None), (None, None)])
def test_clip_takes_its_bounds_as_optional_operands(bounds):
    weights = [None if b is None else np.float32(b) for b in bounds]
    check(onnx_model("Clip", [X], weights, opset=13), X)


def test_clip_with_computed_bounds():
    low, high = np.float32(-0.5), np.float32(1.5)
    nodes = [
        helper.make_node("ReduceMin", ["x"], ["low"], keepdims=0),
        helper.make_node("Clip", ["x", "low", "high"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(n, 1, X.shape) for n in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [numpy_helper.from_array(high, "high")])
    check(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), X + low)


@pytest.mark.parametrize("fmod", [0, 1])
@pytest.mark.parametrize("kind", ["int32", "int64", "float32"])
def test_onnx_mod(kind, fmod):
    if kind == "float32" and not fmod:
        pytest.skip("ONNX allows it for integers only")
    a, b = N.astype(kind), np.where(M > 2, M, -M).astype(kind)
    check(onnx_model("Mod", [a, b], opset=13, fmod=fmod), a, b)


@pytest.mark.parametrize(
    "base, exponent", [("float32", "int64"), ("int64", "float32"), ("float32", "float64"), ("int32", "int64")]
)
def test_onnx_pow_has_the_dtype_of_its_base(base, exponent):
    a, b = M.astype(base), (M % 3).astype(exponent)
    check(onnx_model("Pow", [a, b], opset=15), a, b, to=NO_KERAS)


@pytest.mark.parametrize(
    "settings", [{}, {"detect_negative": 0}, {"detect_positive": 0}, {"detect_negative": 0, "detect_positive": 0}]
)
def test_onnx_isinf_of_either_sign(settings):
    x = np.asarray([[np.inf, -np.inf, np.nan, 1.0]], np.float32)
    model = onnx_model("IsInf", [x], opset=10, **settings)
    model.graph.output[0].type.tensor_type.elem_type = 9
    check(model, x)


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_onnx_shifts(direction):
    a, b = M.astype(np.uint8) * 20, M.astype(np.uint8)
    check(onnx_model("BitShift", [a, b], opset=11, direction=direction), a, b, to=NO_KERAS)


# --- edges ------------------------------------------------------------------------------------------------------------

ANGLES = np.asarray([np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 1e-30, -1e30], np.float32)


@pytest.mark.parametrize("target", ["keras", "torch", "onnx"])
def test_the_angle_of_every_kind_of_point(target):
    y, x = (a.reshape(1, -1).copy() for a in np.meshgrid(ANGLES, ANGLES))
    model = li.convert(Applied(torch.atan2), to=target, example=(torch.from_numpy(y), torch.from_numpy(x)))
    np.testing.assert_allclose(li.run(model, [y, x])[0], np.arctan2(y, x), rtol=5e-7)


def test_lengths_do_not_overflow():
    big = np.asarray([[3e38, 3e-38, 0.0, np.inf, 3.0]], np.float32)
    other = np.asarray([[1e38, 4e-38, 0.0, 1.0, 4.0]], np.float32)
    model = li.convert(Applied(torch.hypot), to="onnx", example=(torch.from_numpy(big), torch.from_numpy(other)))
    np.testing.assert_allclose(li.run(model, [big, other])[0], np.hypot(big, other), rtol=1e-6)


@pytest.mark.parametrize("function, reference", [(torch.expm1, np.expm1), (torch.log1p, np.log1p)])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_small_numbers_keep_their_digits_in_onnx(function, reference, kind):
    x = np.asarray([[0.0, -0.0, 1e-7, -1e-7, 1e-3, -0.3, 0.999, 1.0, 5.0, 80.0, 1e-30]], kind)
    model = li.convert(Applied(function), to="onnx", example=(torch.from_numpy(x),))
    np.testing.assert_allclose(li.run(model, [x])[0], reference(x), rtol=4 * np.finfo(kind).eps)


def test_log1p_at_its_edges_in_onnx():
    x = np.asarray([[-1.0, np.inf, 3e38]], np.float32)
    model = li.convert(Applied(torch.log1p), to="onnx", example=(torch.from_numpy(x),))
    np.testing.assert_allclose(li.run(model, [x])[0], [[-np.inf, np.inf, np.log(3e38)]], rtol=1e-6)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_faults_are_replaced_by_the_largest_number_of_their_own_dtype(kind):
    tensor = torch.tensor([[float("nan"), float("inf"), float("-inf"), 1.0]], dtype=getattr(torch, kind))
    for target in NO_KERAS:
        model = li.convert(Applied(torch.nan_to_num), to=target, example=(tensor,))
        x = np.asarray(tensor.double()).astype(dtype(kind))
        largest = torch.finfo(getattr(torch, kind)).max
        assert li.run(model, [x])[0].astype(np.float64).tolist() == [[0.0, largest, -largest, 1.0]]


def test_shapes_that_torch_writes_as_arithmetic_are_followed():
    """What torch's exporter writes for expand: where(shape == -1, 1, shape), all of it about sizes."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Equal", ["s", "minus"], ["e"]),
        helper.make_node("Where", ["e", "ones", "s"], ["w"]),
        helper.make_node("Mul", ["w", "twice"], ["m"]),
        helper.make_node("Div", ["m", "half"], ["d"]),
        helper.make_node("Reshape", ["x", "d"], ["y"]),
    ]
    constants = {"minus": [-1, -1, -1], "ones": [1, 1, 1], "twice": [1, 1, 2], "half": [1, 1, 2]}
    weights = [numpy_helper.from_array(np.asarray(v, np.int64), k) for k, v in constants.items()]
    ports = [helper.make_tensor_value_info(n, 1, ["n", 3, 4]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], weights)
    loaded = li.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    assert kinds(loaded) in ([], ["Reshape"]) and np.array_equal(loaded.run(X)[0], X)


def test_an_operator_that_an_older_opset_lacks_is_refused_by_name():
    with pytest.raises(Refused, match=r"Trilu in opset 13.*since opset 14"):
        li.convert(Applied(torch.triu), to="onnx", example=(torch.from_numpy(X),), opset=13)


# --- choices ----------------------------------------------------------------------------------------------------------


def test_where_that_looks_for_places_is_refused():
    inputs = keras.Input((3, 4))
    with pytest.raises((Refused, ValueError), match=r"where|condition"):
        li.load(keras.Model(inputs, keras.ops.where(inputs > 0)))


def test_the_first_condition_that_holds_decides():
    x = np.asarray([[3.0, 1.0, -1.0]], np.float32)
    inputs = keras.Input((3,))
    outputs = keras.ops.select([inputs > 2, inputs > 0], [inputs * 10, inputs * 100], 7.0)
    assert li.load(keras.Model(inputs, outputs)).run(x)[0].tolist() == [[30.0, 100.0, 7.0]]


def test_a_comparison_that_an_open_size_decides_is_refused():
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Equal", ["s", "five"], ["y"])]
    ports = [helper.make_tensor_value_info("x", 1, ["n", 4]), helper.make_tensor_value_info("y", 9, [2])]
    five = numpy_helper.from_array(np.asarray([5, 4], np.int64), "five")
    model = helper.make_model(helper.make_graph(nodes, "g", ports[:1], ports[1:], [five]), ir_version=8)
    with pytest.raises(Refused, match="open size"):
        li.load(model)
    assert li.load(model, input_shapes={"x": (5, 4)}, static_batch=True).run(np.zeros((5, 4), np.float32))[0].all()
