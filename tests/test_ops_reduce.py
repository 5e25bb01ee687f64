"""Reductions in every native spelling: means, norms, variances, positions, running sums, global pooling."""

import keras
import numpy as np
import onnx
import pytest
import torch
from family_checks import check, kinds
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop.errors import Refused

rng = np.random.default_rng(6)
X = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
TIED = rng.integers(0, 3, (2, 6, 4)).astype(np.float32)


def module(function):
    """A PyTorch module of a function."""
    return type("Net", (torch.nn.Module,), {"forward": lambda self, *args: function(*args)})().eval()


def keras_model(function, shape=X.shape[1:], dtype="float32"):
    """A Keras model of a function of one input."""
    x = keras.Input(shape, dtype=dtype)
    return keras.Model(x, function(x))


def node_model(kind, constants=(), *, opset, output=TensorProto.FLOAT, dtype=np.float32, shape=X.shape, **attributes):
    """One ONNX node of x, with constants behind it."""
    constants = {f"c{i}": np.asarray(c) for i, c in enumerate(constants)}
    node = helper.make_node(kind, ["x", *constants], ["y"], name="layer", **attributes)
    inputs = [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape)]
    initializers = [onnx.numpy_helper.from_array(c, n) for n, c in constants.items()]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", output, None)], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


# --- torch ------------------------------------------------------------------------------------------------------------

TORCH = {
    "mean": lambda x: x.mean((2, 3)),
    "mean_all": lambda x: x.mean(),
    "mean_of_a_dtype": lambda x: x.half().mean(1, True, dtype=torch.float32),
    "sum": lambda x: x.sum(-1),
    "sum_all": lambda x: x.sum(),
    "sum_of_whole_numbers": lambda x: (x * 3).int().sum(1),
    "sum_of_truths": lambda x: (x > 0).sum((1, 2), keepdim=True),
    "max": lambda x: x.max(1),
    "max_all": lambda x: x.max(),
    "amax": lambda x: x.amax((1, -1), True),
    "min": lambda x: x.min(-1, True),
    "amin": lambda x: x.amin(),
    "prod": lambda x: x.prod(1),
    "prod_all": lambda x: x[0, 0].prod(),
    "var": lambda x: x.var((1, 2), correction=0),
    "var_unbiased": lambda x: x.var(1, keepdim=True),
    "var_biased": lambda x: x.var(1, unbiased=False),
    "var_of_two": lambda x: x.var((2, 3), correction=2),
    "std": lambda x: x.std(),
    "std_axis": lambda x: x.std(1, True),
    "var_mean": lambda x: torch.var_mean(x, (2, 3), keepdim=True),
    "std_mean": lambda x: torch.std_mean(x, 1),
    "any": lambda x: (x > 2).any(),
    "any_axis": lambda x: (x > 1).any(1),
    "any_of_numbers": lambda x: x.relu().any(-1),
    "all": lambda x: (x > -1).all(1, True),
    "any_axes": lambda x: (x > 1).any((1, 2)),
    "argmax": lambda x: x.argmax(1),
    "argmax_all": lambda x: x.argmax(),
    "argmin": lambda x: x.argmin(-1, True),
    "cumsum": lambda x: x.cumsum(1),
    "cumsum_of_whole_numbers": lambda x: (x * 3).int().cumsum(-1),
    "cumprod": lambda x: x.cumprod(2),
    "norm": lambda x: x.norm(),
    "norm_1": lambda x: x.norm(1, dim=1),
    "vector_norm": lambda x: torch.linalg.vector_norm(x, 2, (1, 2), True),
    "norm_inf": lambda x: torch.linalg.norm(x, float("inf"), dim=-1),
    "norm_minus_inf": lambda x: torch.linalg.vector_norm(x, float("-inf"), dim=1),
    "norm_3": lambda x: torch.linalg.vector_norm(x, 3, dim=1),
    "frobenius": lambda x: torch.linalg.norm(x, dim=(2, 3)),
    "logsumexp": lambda x: x.logsumexp((1, 2)),
    "count_nonzero": lambda x: torch.count_nonzero(x.relu(), 1),
    "aminmax": lambda x: torch.aminmax(x, dim=1),
    "adaptive_average": lambda x: torch.nn.functional.adaptive_avg_pool2d(x, 1),
    "adaptive_maximum": lambda x: torch.nn.functional.adaptive_max_pool2d(x, 1),
    "rank_0": lambda x: x[0, 0, 0, 0].sum() + x[0, 0, 0, 1].mean(),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_spellings(name):
    check(module(TORCH[name]), X)


def test_positions_of_equal_entries_are_the_first():
    for function in (lambda x: x.argmax(1), lambda x: x.min(1)[1], lambda x: x.argmin()):
        check(module(function), TIED)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_R56_positions_are_onnx_operators(name):
    model = li.convert(keras_model(lambda x: getattr(ops, name)(x, axis=1)), to="onnx")
    assert {"ArgMax", "ArgMin"} & {n.op_type for n in model.graph.node}
    assert all(n.domain == "" for n in model.graph.node)


def test_nan_wins_and_is_found_first():
    x = X[0, 0].copy()
    x[1, 2] = x[2, 0] = np.nan
    for function in (lambda x: x.amax(1), lambda x: x.amin(0)):
        graph = li.load(module(function), (x,))
        assert np.array_equal(graph.run(x)[0], function(torch.from_numpy(x)).numpy(), equal_nan=True)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_R39_an_open_batch_is_reduced_too(batch):
    for function in (lambda x: x.mean(0), lambda x: x.std(), lambda x: x.sum((0, 2)), lambda x: x.cumsum(0)):
        made = {f: li.convert(module(function), to=f, example=(X,)) for f in ("keras", "torch", "onnx")}
        x = rng.standard_normal((batch, 3, 4, 5)).astype(np.float32)
        for framework, model in made.items():
            expected = function(torch.from_numpy(x)).numpy()
            np.testing.assert_allclose(li.run(model, [x])[0], expected, rtol=1e-5, atol=1e-6, err_msg=framework)


# --- keras ------------------------------------------------------------------------------------------------------------

ops = keras.ops
KERAS = {
    "mean": lambda x: ops.mean(x, axis=(1, 2)),
    "mean_all": ops.mean,
    "mean_of_whole_numbers": lambda x: ops.mean(ops.cast(x * 3, "int32"), axis=1),
    "sum": lambda x: ops.sum(x, axis=-1, keepdims=True),
    "sum_of_truths": lambda x: ops.sum(x > 0, axis=1),
    "max": lambda x: ops.max(x, axis=1),
    "amax": lambda x: ops.amax(x, axis=(1, 3)),
    "min": lambda x: ops.min(x, axis=(2, 3), keepdims=True),
    "prod": lambda x: ops.prod(x, axis=3),
    "all": lambda x: ops.all(x > -1, axis=1),
    "any": lambda x: ops.any(x > 1, axis=(1, 2)),
    "logsumexp": lambda x: ops.logsumexp(x, axis=(1, 2)),
    "var": lambda x: ops.var(x, axis=1),
    "std": lambda x: ops.std(x, axis=(1, 2), keepdims=True),
    "moments": lambda x: ops.moments(x, axes=[1, 2]),
    "norm": lambda x: ops.norm(x, axis=1),
    "norm_of_all": lambda x: ops.norm(x[0, 0]),
    "norm_1": lambda x: ops.norm(x, ord=1, axis=-1, keepdims=True),
    "norm_inf": lambda x: ops.norm(x, ord=float("inf"), axis=2),
    "frobenius": lambda x: ops.norm(x, ord="fro", axis=(1, 2)),
    "argmax": lambda x: ops.cast(ops.argmax(x, axis=1), "float32"),
    "argmin_all": lambda x: ops.cast(ops.argmin(x), "float32"),
    "cumsum": lambda x: ops.cumsum(x, axis=1),
    "cumsum_flat": lambda x: ops.cumsum(x[0, 0]),
    "cumprod": lambda x: ops.cumprod(x, axis=-1),
    "count_nonzero": lambda x: ops.cast(ops.count_nonzero(ops.relu(x[0, 0]), axis=1), "float32"),
    "average": lambda x: ops.average(x, axis=1),
}


@pytest.mark.parametrize("name", KERAS)
def test_keras_spellings(name):
    check(keras_model(KERAS[name]), X)


@pytest.mark.parametrize("order", [2, -2, "nuc", "fro", 1, np.inf])
def test_norms_of_matrices(order):
    x = rng.standard_normal((3, 4, 5)).astype(np.float32)
    check(keras_model(lambda x: ops.norm(x, ord=order, axis=(1, 2)), x.shape[1:]), x)


@pytest.mark.parametrize("kind", ["Average", "Max"])
@pytest.mark.parametrize("rank", [3, 4, 5])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_keras_global_pooling(kind, rank, data_format, keepdims):
    layer = getattr(keras.layers, f"Global{kind}Pooling{rank - 2}D")(data_format=data_format, keepdims=keepdims)
    x = rng.standard_normal((2, 3, 4, 5, 2)[:rank]).astype(np.float32)
    graph = check(keras_model(layer, x.shape[1:]), x)
    native = li.convert(keras_model(layer, x.shape[1:]), to="keras")
    assert (type(layer) in {type(found) for found in native.layers}) == (data_format == "channels_last")
    assert [k for k in kinds(graph) if k != "Transpose"] == ["ReduceMean" if kind == "Average" else "ReduceMax"]


def test_R14_global_pooling_without_its_axes_needs_no_transpose():
    network = keras.Sequential(
        [
            keras.Input((6, 7, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2),
        ]
    )
    x = rng.standard_normal((2, 6, 7, 3)).astype(np.float32)
    graph = check(network, x)
    assert kinds(graph).count("Transpose") == 1  # of the input
    onnx_model = li.convert(network, to="onnx", io="native")
    assert [n.op_type for n in onnx_model.graph.node] == ["Conv", "ReduceMean", "Gemm"]


def test_images_are_pooled_natively_everywhere():
    source = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 2)
    )
    x = rng.standard_normal((2, 3, 6, 7)).astype(np.float32)
    check(source.eval(), x)
    made = {f: li.convert(source, to=f, example=(x,)) for f in ("keras", "torch", "onnx")}
    assert any(isinstance(layer, keras.layers.GlobalAveragePooling2D) for layer in made["keras"].layers)
    assert any(isinstance(m, torch.nn.AdaptiveAvgPool2d) for m in made["torch"].modules())
    assert "GlobalAveragePool" in [n.op_type for n in made["onnx"].graph.node]


# --- onnx, every opset ------------------------------------------------------------------------------------------------

NAMES = ["Sum", "Mean", "Prod", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp", "LogSum"]
NUMPY = {"Sum": np.sum, "Mean": np.mean, "Prod": np.prod, "Max": np.max, "Min": np.min}
POSITIVE = np.abs(X) + 0.1


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("opset", [1, 11, 13, 18])
def test_onnx_reductions(name, opset):
    x = POSITIVE if name == "LogSum" else X
    axes = [1, 2] if opset < 11 else [-1, 1]
    as_input = opset >= (13 if name == "Sum" else 18)
    if opset == 1 and name not in NUMPY:
        pytest.skip("onnxruntime runs no opset below 7, and numpy has no function of this name")
    given = [NUMPY[name](x, tuple(axes), keepdims=True)] if opset == 1 else None
    how = {"constants": [np.array(axes)]} if as_input else {"axes": axes}
    check(node_model(f"Reduce{name}", opset=opset, keepdims=1, **how), x, given=given, to=("torch", "onnx"))
    if opset > 1:
        check(node_model(f"Reduce{name}", opset=opset, keepdims=0), x, to=("torch", "onnx"))


@pytest.mark.parametrize("name", ["Sum", "Mean", "Max"])
def test_onnx_reduction_over_no_axes(name):
    empty = np.zeros(0, np.int64)
    assert kinds(check(node_model(f"Reduce{name}", [empty], opset=18, noop_with_empty_axes=1), X, to=())) == []
    check(node_model(f"Reduce{name}", [empty], opset=18, noop_with_empty_axes=0), X, to=("torch", "onnx"))


def test_onnx_reduction_of_another_kind_over_no_axes_is_refused():
    with pytest.raises(Refused, match="no axes"):
        li.load(node_model("ReduceL2", [np.zeros(0, np.int64)], opset=18, noop_with_empty_axes=1))


@pytest.mark.parametrize("name, kind", [("Max", "ReduceAny"), ("Min", "ReduceAll")])
def test_onnx_extremes_of_truths(name, kind):
    model = node_model(f"Reduce{name}", [np.array([1])], opset=20, dtype=bool, output=TensorProto.BOOL)
    assert kinds(check(model, X > 0.5)) == [kind]


@pytest.mark.parametrize("opset", [13, 17])
def test_reductions_are_written_for_older_opsets(opset):
    for function in (lambda x: x.mean(1), lambda x: x.sum((1, 2)), lambda x: (x > 0).any(1), lambda x: x.var(1)):
        check(module(function), X, to=("onnx",), opset=opset)


@pytest.mark.parametrize("name", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize(
    "opset, how",
    [
        (1, {}),
        (11, {"axis": -1, "keepdims": 0}),
        (12, {"axis": 1, "select_last_index": 1}),
        (13, {"select_last_index": 0}),
    ],
)
def test_onnx_positions(name, opset, how):
    model = node_model(name, opset=opset, shape=TIED.shape, output=TensorProto.INT64, **how)
    given = [getattr(np, name.lower())(TIED, 0, keepdims=True)] if opset < 7 else None
    check(model, TIED, given=given)


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("axis", [1, -1])
def test_onnx_cumsum(exclusive, reverse, axis):
    check(node_model("CumSum", [np.array(axis)], opset=14, exclusive=exclusive, reverse=reverse), X)


@pytest.mark.parametrize("name", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("rank", [3, 4, 5])
def test_onnx_global_pooling(name, rank):
    x = rng.standard_normal((2, 3, 4, 5, 2)[:rank]).astype(np.float32)
    graph = check(node_model(name, opset=13, shape=x.shape), x)
    assert len(graph.nodes) == 1


@pytest.mark.parametrize("order", [1, 2, 3])
def test_onnx_global_lp_pool(order):
    check(node_model("GlobalLpPool", opset=13, p=order), X, to=("torch", "onnx"))
