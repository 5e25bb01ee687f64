"""Shapes in every opset of ONNX, and the arithmetic on sizes that exporters write."""

import io
import warnings

import numpy as np
import onnx
import pytest
import torch
from family_checks import check, kinds
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop.errors import Refused

rng = np.random.default_rng(3)
X = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)


def module(function):
    """A PyTorch module of a function."""
    return type("Net", (torch.nn.Module,), {"forward": lambda self, *args: function(*args)})().eval()


def onnx_graph(nodes, inputs, outputs, constants=(), *, opset):
    """An ONNX model: inputs by name with their shapes, constants by name as arrays."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()]
    results = [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs.items()]
    initializers = [onnx.numpy_helper.from_array(np.asarray(a), n) for n, a in dict(constants).items()]
    graph = helper.make_graph(nodes, "g", values, results, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def one_node(kind, constants=(), *, opset, given=None, shape=X.shape, data=X, output=TensorProto.FLOAT, **attributes):
    """One ONNX node of x, checked against its framework, or against numbers where onnxruntime does not take it."""
    constants = {f"c{i}": np.asarray(c) for i, c in enumerate(constants)}
    node = helper.make_node(kind, ["x", *constants], ["y"], name="layer", **attributes)
    model = onnx_graph([node], {"x": shape}, {"y": output}, constants, opset=opset)
    return check(model, data, given=None if given is None else [given], to=("torch", "onnx"))


# --- onnx, every opset ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [5, 13, 14, 19, 21])
def test_onnx_reshape(opset):
    one_node("Reshape", [np.array([0, -1, 5])], opset=opset)


def test_onnx_reshape_of_opset_1_has_its_shape_as_an_attribute():
    node = helper.make_node("Reshape", ["x"], ["y"], shape=[0, -1, 5])
    check(onnx_graph([node], {"x": X.shape}, {"y": TensorProto.FLOAT}, opset=1), X, given=[X.reshape(2, 12, 5)])


def test_onnx_reshape_with_allowzero_takes_zero_for_a_size():
    nodes = [
        helper.make_node("Slice", ["x", "zero", "zero", "one"], ["empty"]),
        helper.make_node("Reshape", ["empty", "shape"], ["y"], allowzero=1),
    ]
    constants = {"zero": np.array([0]), "one": np.array([1]), "shape": np.array([7, 0, 2])}
    check(onnx_graph(nodes, {"x": X.shape}, {"y": TensorProto.FLOAT}, constants, opset=14), X, to=("torch", "onnx"))


@pytest.mark.parametrize("axis, opset", [(0, 1), (1, 9), (2, 9), (4, 9), (-1, 11), (-3, 13), (-4, 21)])
def test_onnx_flatten(axis, opset):
    one_node("Flatten", opset=opset, axis=axis)


@pytest.mark.parametrize("opset", [1, 11, 13, 21])
@pytest.mark.parametrize("axes", [None, [1], [-1, 1]])
def test_onnx_squeeze(axes, opset):
    if axes and min(axes) < 0 and opset < 11:
        axes = [3, 1]
    x = X[:, :1, :, :1]
    given = x.squeeze(None if axes is None else tuple(axes)) if opset < 7 else None
    how = {} if axes is None else {"constants": [np.array(axes)]} if opset >= 13 else {"axes": axes}
    one_node("Squeeze", opset=opset, shape=x.shape, data=x, given=given, **how)


@pytest.mark.parametrize("opset", [1, 11, 13, 21])
def test_onnx_unsqueeze(opset):
    axes = [0, 3] if opset < 11 else [-1, 0, 2]
    how = {"constants": [np.array(axes)]} if opset >= 13 else {"axes": axes}
    one_node("Unsqueeze", opset=opset, given=np.expand_dims(X, tuple(axes)) if opset < 7 else None, **how)


CASTS = [
    ("DOUBLE", 1),
    ("INT32", 5),
    *((getattr(TensorProto, n), o) for n, o in {"DOUBLE": 6, "BOOL": 9, "FLOAT16": 13, "INT64": 19}.items()),
]


@pytest.mark.parametrize("to, opset", CASTS)
def test_onnx_cast(to, opset):
    kind = getattr(TensorProto, to) if isinstance(to, str) else to
    given = X.astype(helper.tensor_dtype_to_np_dtype(kind)) if opset < 7 else None
    one_node("Cast", opset=opset, to=to, output=kind, given=given)


def test_onnx_cast_like():
    one_node("CastLike", [np.zeros(1, np.float64)], opset=15, output=TensorProto.DOUBLE)


def test_onnx_transpose_without_perm_reverses():
    one_node("Transpose", opset=1, given=X.transpose())


@pytest.mark.parametrize("shape", [[2, 3, 4, 5], [7, 1, 1, 1, 1], [1], [5]])
def test_onnx_expand_broadcasts_both_ways(shape):
    one_node("Expand", [np.array(shape)], opset=13)


@pytest.mark.parametrize("opset", [6, 13])
def test_onnx_tile(opset):
    one_node("Tile", [np.array([1, 2, 1, 3])], opset=opset, given=np.tile(X, (1, 2, 1, 3)) if opset < 7 else None)


def test_onnx_tile_of_opset_1_repeats_one_axis():
    one_node("Tile", [np.array(2.0, np.float32), np.array(1.0, np.float32)], opset=1, given=np.tile(X, (1, 2, 1, 1)))


@pytest.mark.parametrize("upper", [0, 1])
def test_onnx_trilu(upper):
    one_node("Trilu", [np.array(-1)], opset=14, upper=upper)
    one_node("Trilu", opset=14, upper=upper)


def test_onnx_eye_like():
    x = X[0, 0]
    one_node("EyeLike", opset=9, k=1, shape=x.shape, data=x)
    one_node("EyeLike", opset=9, dtype=TensorProto.INT64, output=TensorProto.INT64, shape=x.shape, data=x)


@pytest.mark.parametrize("value", [None, np.array([3], np.int64)])
def test_onnx_constant_of_shape(value):
    how = {} if value is None else {"value": onnx.numpy_helper.from_array(value)}
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("ConstantOfShape", ["s"], ["y"], **how)]
    kind = TensorProto.FLOAT if value is None else TensorProto.INT64
    graph = check(onnx_graph(nodes, {"x": ["batch", 3, 4, 5]}, {"y": kind}, opset=13), X)
    assert kinds(graph) == ["Expand"]


@pytest.mark.parametrize("dtype", [np.int64, np.float32])
def test_onnx_range_over_a_size(dtype):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Cast", ["n"], ["m"], to=kind),
        helper.make_node("Range", ["start", "m", "step"], ["y"]),
    ]
    constants = {"zero": np.array(0), "start": np.array(1, dtype), "step": np.array(1, dtype)}
    model = onnx_graph(nodes, {"x": ["batch", 3, 4, 5]}, {"y": kind}, constants, opset=13)
    assert kinds(check(model, X)) == ["Range"]


def test_onnx_range_over_data_is_left_to_the_run():
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Range", ["start", "m", "step"], ["y"]),
    ]
    constants = {"start": np.array(0, np.float32), "step": np.array(1, np.float32)}
    model = onnx_graph(nodes, {"x": X.shape}, {"y": TensorProto.FLOAT}, constants, opset=13)
    import keras

    wide = keras.backend.backend() == "tensorflow"  # elsewhere Keras counts in float32
    for target in ("torch", "onnx", *(["keras"] if wide else [])):
        assert li.run(li.convert(model, to=target), [X])[0].tolist() == list(range(int(np.ceil(X.max()))))
    if not wide:
        with pytest.raises(Refused, match="a computed range of floats"):
            li.convert(model, to="keras")


# --- sizes computed in ONNX -------------------------------------------------------------------------------------------

CHAINS = {
    "view": lambda x: x.view(x.size(0), -1),
    "view_half": lambda x: x.view(x.size(0), -1, x.size(2) // 2),
    "view_product": lambda x: x.reshape(x.size(0) * x.size(2), x.size(1), -1),
    "flatten_and_step": lambda x: x.flatten(1)[:, ::2],
    "expand": lambda x: x[:, :1].expand(x.size(0), 3, x.size(2), 5),
    "expand_new": lambda x: x[0, 0, 0].expand(x.size(0), 5),
    "zeros": lambda x: torch.cat([x, torch.zeros(x.size(0), 1, x.size(2), 5)], 1),
    "half_of_a_size": lambda x: x[:, :, : x.size(2) // 2],
    "second_half": lambda x: x[:, :, x.size(2) // 2 :],
    "last": lambda x: x[:, :, -1],
    "positions": lambda x: x[:, 0, :, 0] + torch.arange(x.size(2)),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "windows": lambda x: x.view(x.size(0), 3, x.size(2) // 2, 2, 5).permute(0, 2, 1, 3, 4).flatten(0, 1),
    "split": lambda x: torch.cat(x.split(2, 1)[::-1], 1),
    "mean_by_size": lambda x: x.sum(2) / x.size(2),
}


@pytest.mark.parametrize("name", CHAINS)
def test_sizes_that_an_exporter_computes_are_resolved(name):
    """Shape, Gather, Concat, Slice, Div, Cast ...: what torch's own exporter writes leaves no operator behind."""
    function, buffer = CHAINS[name], io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {"x": {0: "batch", 2: "height"}}
        torch.onnx.export(
            module(function), (torch.from_numpy(X),), buffer, dynamo=False, input_names=["x"], dynamic_axes=axes
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    graph = check(model, X, to=("torch", "onnx"))
    computed = {"Shape", "Where", "Equal", "Div", "Cast"} - {"mean_by_size": {"Div"}, "positions": {"Cast"}}.get(
        name, set()
    )
    assert not computed & set(kinds(graph)), str(graph)
    for batch, height in ((1, 2), (5, 6)):
        x = rng.standard_normal((batch, 3, height, 5)).astype(np.float32)
        np.testing.assert_allclose(graph.run(x)[0], function(torch.from_numpy(x)).numpy(), rtol=1e-5, atol=1e-6)
