"""Dense layers and products of matrices in every native spelling."""

import keras
import numpy as np
import onnx
import pytest
import torch
from family_checks import check, kinds
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop.graph import Graph
from leaky_interop.ops.einsum import einsum

rng = np.random.default_rng(7)
X = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
M = rng.standard_normal((4, 5)).astype(np.float32)


def tensor(*shape):
    return torch.from_numpy(rng.standard_normal(shape).astype(np.float32))


W, V = torch.nn.Parameter(tensor(5, 6)), torch.nn.Parameter(tensor(6))


def module(function, **parameters):
    """A PyTorch module of a function of itself and its input."""
    made = type("Net", (torch.nn.Module,), {"forward": function})()
    for name, value in parameters.items():
        setattr(made, name, value)
    return made.eval()


def keras_model(function, *shapes):
    """A Keras model of a function of its inputs."""
    inputs = [keras.Input(s) for s in shapes]
    model = keras.Model(inputs, function(*inputs))
    for variable in model.weights:
        variable.assign(rng.standard_normal(variable.shape))
    return model


def onnx_graph(nodes, weights, *, opset, shape=M.shape):
    """An ONNX model of x and some weights."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    initializers = [onnx.numpy_helper.from_array(np.asarray(w, np.float32), n) for n, w in weights.items()]
    graph = helper.make_graph(
        nodes, "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], initializers
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


# --- torch ------------------------------------------------------------------------------------------------------------

TORCH = {
    "linear": (lambda self, x: torch.nn.functional.linear(x, self.w.T, self.v), ["Dense"]),
    "linear_on_one_row": (lambda self, x: torch.nn.functional.linear(x[0, 0, 0], self.w.T, self.v), None),
    "matmul_weight": (lambda self, x: x @ self.w, ["Dense"]),
    "matmul_weight_and_bias": (lambda self, x: x @ self.w + self.v, ["Dense"]),
    "bias_first": (lambda self, x: self.v + x @ self.w, ["Dense"]),
    "weight_on_the_left": (lambda self, x: self.w.T @ x.mT, None),
    "vector_and_weight": (lambda self, x: x[0, 0, 0] @ self.w, None),
    "mm": (lambda self, x: torch.mm(x[0, 0], self.w), None),
    "addmm": (lambda self, x: torch.addmm(self.v, x[0, 0], self.w), None),
    "addmm_scaled": (lambda self, x: torch.addmm(self.v, x[0, 0], self.w, beta=0.5, alpha=2), None),
    "addmm_without_the_first": (lambda self, x: torch.addmm(self.v * float("nan"), x[0, 0], self.w, beta=0), None),
    "matmul": (lambda self, x: x @ x.mT, ["Transpose", "MatMul"]),
    "matmul_broadcast": (lambda self, x: x @ x[0, 0].T, None),
    "matmul_vector": (lambda self, x: x @ x[0, 0, 0], None),
    "matmul_constant": (lambda self, x: x @ torch.ones(5, 2), None),
    "matmul_of_two_dtypes": (lambda self, x: x.double() @ self.w.double(), None),
    "bmm": (lambda self, x: torch.bmm(x[:, 0], x[:, 0].mT), None),
    "baddbmm": (lambda self, x: torch.baddbmm(x[:, 0, :, :4], x[:, 0], x[:, 0].mT, beta=0.5, alpha=3), None),
    "addbmm": (lambda self, x: torch.addbmm(x[0, 0, :, :4], x[:, 0], x[:, 0].mT), None),
    "mv": (lambda self, x: torch.mv(x[0, 0], x[0, 0, 0]), None),
    "addmv": (lambda self, x: torch.addmv(x[0, 0, :, 0], x[0, 0], x[0, 0, 0], beta=2), None),
    "dot": (lambda self, x: torch.dot(x[0, 0, 0], x[0, 0, 1]), None),
    "outer": (lambda self, x: torch.outer(x[0, 0, 0], x[0, 0, 1]), None),
    "inner": (lambda self, x: torch.inner(x, x[0, 0, 0]), None),
    "tensordot_weight": (lambda self, x: torch.tensordot(x, self.w, 1), ["Dense"]),
    "tensordot": (lambda self, x: torch.tensordot(x, x, dims=([1, 2], [1, 2])), None),
    "multi_dot": (lambda self, x: torch.linalg.multi_dot([x[0, 0], self.w, self.w.T]), None),
    "einsum": (lambda self, x: torch.einsum("bchw,bdhw->bcd", x, x), ["Einsum"]),
    "einsum_weight": (lambda self, x: torch.einsum("bchw,wo->boch", x, self.w), None),
    "einsum_dots": (lambda self, x: torch.einsum("...ij,...kj->...ik", x, x), None),
    "einsum_product": (lambda self, x: torch.einsum("bcij,bcjk->bcik", x, x.mT), ["Transpose", "MatMul"]),
    "einsum_implicit": (lambda self, x: torch.einsum("bchw,bchv", x, x), None),
    "einsum_one": (lambda self, x: torch.einsum("bchw->wb", x), None),
    "einsum_trace": (lambda self, x: torch.einsum("bcii->bc", x[..., :4]), None),
    "einsum_three": (lambda self, x: torch.einsum("bchw,wo,o->bch", x, self.w, self.v), None),
    "bilinear": (lambda self, x: torch.nn.functional.bilinear(x, x, torch.ones(2, 5, 5)), None),
}


@pytest.mark.parametrize("name", TORCH)
def test_torch_spellings(name):
    function, expected = TORCH[name]
    doubles = (
        {"to": ("torch", "onnx")} if name == "matmul_of_two_dtypes" and keras.backend.backend() != "tensorflow" else {}
    )
    graph = check(module(function, w=W, v=V), X, **doubles)
    assert expected is None or kinds(graph) == expected


# --- keras ------------------------------------------------------------------------------------------------------------

ops, layers = keras.ops, keras.layers


@pytest.mark.parametrize(
    "activation", [None, "relu", "leaky_relu", keras.layers.LeakyReLU(negative_slope=0.3), "softmax"]
)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (3, 5), (3, 4, 5)])
def test_keras_dense(activation, bias, shape):
    model = keras_model(layers.Dense(6, activation=activation, use_bias=bias), shape)
    x = rng.standard_normal((2, *shape)).astype(np.float32)
    assert "Dense" in kinds(check(model, x, to=("torch", "onnx")))


EQUATIONS = [
    ("ab,bc->ac", (5,), (6,), None),
    ("abc,cd->abd", (3, 5), (3, 6), "d"),
    ("abc,cde->abde", (3, 5), (3, 2, 6), "de"),
    ("abc,cde->abde", (3, 5), (3, 2, 6), "e"),
    ("abcd,cde->abe", (3, 4, 5), (3, 6), "e"),
    ("...x,xy->...y", (3, 5), 6, "y"),
    ("abc,cd->adb", (3, 5), (6, 3), "d"),
    ("abc,bd->adc", (3, 5), (6, 5), None),
    ("abc,bcd->abd", (3, 5), (3, 6), "bd"),
]


@pytest.mark.parametrize("equation, shape, result, bias_axes", EQUATIONS)
def test_keras_einsum_dense(equation, shape, result, bias_axes):
    layer = layers.EinsumDense(equation, result, activation="tanh", bias_axes=bias_axes)
    x = rng.standard_normal((2, *shape)).astype(np.float32)
    graph = check(keras_model(layer, shape), x)
    kernel, produced = equation.partition("->")[0].split(",")[1], equation.partition("->")[2]
    shares = set(kernel) & set(produced) & set(equation.partition(",")[0])
    assert ("Einsum" if shares else "Dense") in kinds(graph)


KERAS = {
    "matmul": lambda x, y: ops.matmul(x, ops.transpose(y, (0, 2, 1))),
    "matmul_constant": lambda x, y: ops.matmul(x, np.ones((5, 2), np.float32)),
    "dot": lambda x, y: ops.dot(x, ops.transpose(y[0])),
    "tensordot": lambda x, y: ops.tensordot(x, y, axes=[[0, 1], [0, 1]]),
    "tensordot_number": lambda x, y: ops.tensordot(x, y[0], axes=[[2], [1]]),
    "einsum": lambda x, y: ops.einsum("abc,adc->adb", x, y),
    "inner": lambda x, y: ops.inner(x, y),
    "outer": lambda x, y: ops.outer(x[0, 0], y[0, 0]),
    "vdot": lambda x, y: ops.vdot(x[0, 0], y[0, 0]),
    "Dot": lambda x, y: layers.Dot(axes=(2, 2))([x, y]),
    "Dot_axis": lambda x, y: layers.Dot(axes=1)([x, y]),
    "Dot_normalized": lambda x, y: layers.Dot(axes=-1, normalize=True)([x, y]),
    "Dot_rank_2": lambda x, y: layers.Dot(axes=1)([x[:, 0], y[:, 0]]),
    "Dot_rank_2_and_3": lambda x, y: layers.Dot(axes=(1, 2))([x[:, 0], y]),
    "Dot_rank_4": lambda x, y: layers.Dot(axes=(3, 1))([x[:, None], ops.transpose(y, (0, 2, 1))]),
}


@pytest.mark.parametrize("name", KERAS)
def test_keras_products(name):
    check(keras_model(KERAS[name], (4, 5), (4, 5)), *rng.standard_normal((2, 2, 4, 5)).astype(np.float32))


@pytest.mark.skipif(
    keras.backend.backend() == "torch", reason="Keras on PyTorch multiplies batches instead, and refuses matrices"
)
@pytest.mark.parametrize(
    "function", [lambda x, y: ops.dot(x, ops.transpose(y, (0, 2, 1))), lambda x, y: ops.vdot(x[0], y[0])]
)
def test_keras_products_of_more_axes(function):
    check(keras_model(function, (4, 5), (4, 5)), *rng.standard_normal((2, 2, 4, 5)).astype(np.float32))


# --- onnx, every opset ------------------------------------------------------------------------------------------------

B, C = rng.standard_normal((5, 6)), rng.standard_normal(6)
GEMMS = [
    ({}, B, C, ["Dense"]),
    ({"transB": 1}, B.T, C, ["Dense"]),
    ({"transB": 1}, B.T, None, ["Dense"]),
    ({"transA": 1}, rng.standard_normal((4, 6)), C, ["Transpose", "Dense"]),
    ({}, B, C.reshape(1, 6), ["Dense"]),
    ({}, B, 0.5, ["Dense", "Add"]),
    ({}, B, rng.standard_normal((4, 6)), ["Dense", "Add"]),
    ({"alpha": 0.5, "beta": 2.0}, B, C, ["Dense", "Mul", "Mul", "Add"]),
    ({"alpha": 1.0, "beta": 0.0}, B, C, ["Dense"]),
    ({"alpha": 0.3}, B, None, ["Dense", "Mul"]),
]


@pytest.mark.parametrize("opset", [1, 7, 11, 13])
@pytest.mark.parametrize("how, b, c, expected", GEMMS)
def test_onnx_gemm(how, b, c, expected, opset):
    if c is None and opset < 11:
        pytest.skip("before opset 11 C is not optional")
    weights = {"b": b} | ({} if c is None else {"c": c})
    node = helper.make_node("Gemm", ["x", *weights], ["y"], **how, **({"broadcast": 1} if opset == 1 else {}))
    a, full = M.T if "transA" in how else M, b.T if "transB" in how else b
    y = how.get("alpha", 1) * a @ full + (0 if c is None else how.get("beta", 1) * np.asarray(c))
    graph = check(onnx_graph([node], weights, opset=opset), M, given=[y.astype(np.float32)] if opset < 7 else None)
    assert kinds(graph) == expected


@pytest.mark.parametrize("shape", [(4, 5), (2, 4, 5), (5,), (2, 3, 4, 5)])
def test_onnx_matmul_and_add_is_a_dense(shape):
    nodes = [helper.make_node("MatMul", ["x", "b"], ["m"]), helper.make_node("Add", ["c", "m"], ["y"])]
    graph = check(
        onnx_graph(nodes, {"b": B, "c": C}, opset=13, shape=shape), rng.standard_normal(shape).astype(np.float32)
    )
    assert [k for k in kinds(graph) if k != "Reshape"] == ["Dense"]


@pytest.mark.parametrize("shapes", [((4, 5), (5,)), ((5,), (5,)), ((2, 4, 5), (2, 5, 3)), ((5,), (2, 5, 3))])
def test_onnx_matmul_of_computed_operands(shapes):
    node = helper.make_node("MatMul", ["x", "z"], ["y"])
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip("xz", shapes, strict=True)]
    graph = helper.make_graph([node], "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    check(model, *(rng.standard_normal(s).astype(np.float32) for s in shapes), to=("torch", "onnx"))


def test_a_bias_that_something_else_reads_stays_an_addition():
    nodes = [
        helper.make_node("MatMul", ["x", "b"], ["m"]),
        helper.make_node("Add", ["m", "c"], ["s"]),
        helper.make_node("Mul", ["s", "m"], ["y"]),
    ]
    assert kinds(check(onnx_graph(nodes, {"b": B, "c": C}, opset=13), M)) == ["Dense", "Add", "Mul"]


def test_what_is_added_in_another_shape_is_no_bias():
    nodes = [helper.make_node("MatMul", ["x", "b"], ["m"]), helper.make_node("Add", ["m", "c"], ["y"])]
    for c in (rng.standard_normal((4, 1)), rng.standard_normal((2, 4, 6)), rng.standard_normal((1,))):
        assert kinds(check(onnx_graph(nodes, {"b": B, "c": c}, opset=13), M)) == ["Dense", "Add"]


@pytest.mark.parametrize("equation", ["ij,jk->ik", "ij,kj->ki", "ij->ji", "ij,jk->"])
def test_onnx_einsum(equation):
    weights = {"b": B if "jk" in equation else B.T} if "," in equation else {}
    node = helper.make_node("Einsum", ["x", *weights], ["y"], equation=equation)
    check(onnx_graph([node], weights, opset=12), M)


# --- properties -------------------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_einsum_means_what_numpy_says(data):
    letters, sizes = "abcde", {"a": 2, "b": 3, "c": 2, "d": 1, "e": 4}
    terms = [
        data.draw(st.permutations(letters))[: data.draw(st.integers(1, 3))] for _ in range(data.draw(st.integers(1, 3)))
    ]
    if data.draw(st.booleans()):
        terms[0] = [*terms[0], terms[0][0]]  # a diagonal
    used = sorted({c for t in terms for c in t})
    result = data.draw(st.permutations(used))[: data.draw(st.integers(0, len(used)))]
    equation = ",".join("".join(t) for t in terms) + "->" + "".join(result)
    arrays = [rng.integers(-3, 4, [sizes[c] for c in t]).astype(np.float64) for t in terms]
    graph = Graph()
    graph.framework = "onnx"
    call = type("Call", (), {"graph": graph})
    operands = [graph.input(f"x{i}", a.shape, a.dtype) for i, a in enumerate(arrays)]
    graph.outputs = [einsum(call, equation, operands)]
    np.testing.assert_allclose(graph.run(*arrays)[0], np.einsum(equation, *arrays), rtol=1e-12, atol=1e-12)


def test_a_dense_layer_keeps_its_name_through_onnx():
    source = torch.nn.Sequential()
    source.add_module("first", torch.nn.Linear(5, 6))
    source.add_module("second", torch.nn.Linear(6, 2))
    model = li.convert(source, to="onnx", example=(X,))
    assert [n.name for n in li.load(model).nodes] == ["first", "second"]
