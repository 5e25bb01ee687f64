"""Text: from ONNX to ONNX as it is, folded where it is constant, refused where a framework has none."""

import numpy as np
import onnx
import onnx.parser
import pytest

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.errors import Refused

HEAD = '<ir_version: 10, opset_import: ["": 21]>\n'
WORDS = np.array([["", "leaky  relu", "0.5"], ["a,b,,c", " Straße", "ReLU"]], object)
MODELS = {
    "joined": """agraph (string[n, m] x) => (string[n, m] y) { t = Constant<value_strings = ["!", "?", ""]>() y = StringConcat(x, t) }""",
    "moved": """agraph (string[n, m] x) => (string[k] y) {
        t = Transpose(x)
        u = Concat<axis = 0>(t, t)
        shape = Constant<value_ints = [-1]>()
        v = Reshape(u, shape)
        at = Constant<value_ints = [3, 0, -1]>()
        y = Gather(v, at)
    }""",
    "chosen": """agraph (string[n, m] x) => (string[n, m] y, bool[n, m] e) {
        word = Constant<value_string = "ReLU">()
        e = Equal(x, word)
        other = Constant<value_string = "LeakyReLU">()
        y = Where(e, other, x)
    }""",
    "split": """agraph (string[n, m] x) => (string[n, m, k] y, int64[n, m] z) { y, z = StringSplit<delimiter = ",">(x) }""",
    "split once": """agraph (string[n, m] x) => (string[n, m, k] y, int64[n, m] z) { y, z = StringSplit<maxsplit = 1>(x) }""",
    "matched": """agraph (string[n, m] x) => (bool[n, m] y) { y = RegexFullMatch<pattern = "[a-z,]*">(x) }""",
    "branch": """agraph (string[n, m] x, bool c) => (string[n, m] y) {
        y = If (c) <then_branch = a () => (string[n, m] t) { t = StringConcat(x, x) }, else_branch = b () => (string[n, m] e) { e = Identity(x) }>
    }""",
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rows", [1, 2])
def test_text_from_onnx_to_onnx(name, rows, tmp_path):
    model = onnx.parser.parse_model(HEAD + MODELS[name])
    inputs = [WORDS[:rows], np.array(True)][: len(model.graph.input)]
    graph = li.load(model)
    li.convert(model, tmp_path / "net.onnx", inputs=inputs)
    expected = li.run(model, inputs)
    for received in (graph.run(*inputs), li.run(tmp_path / "net.onnx", inputs)):
        assert len(received) == len(expected)
        for e, r in zip(expected, received, strict=True):
            assert (r.shape, r.dtype) == (e.shape, e.dtype)
            np.testing.assert_array_equal(r, e)


@pytest.mark.parametrize("target", ["torch", "keras"])
def test_what_has_no_text_refuses_it_by_name(target):
    with pytest.raises(Refused, match="text at input 'x'"):
        li.convert(onnx.parser.parse_model(HEAD + MODELS["chosen"]), target)


def test_constant_text_is_gone_before_a_framework_sees_it():
    text = """agraph (float[n] x) => (float[n] y) {
        a = Constant<value_strings = ["0.", "-1"]>()
        b = Constant<value_string = "25">()
        c = StringConcat(a, b)
        d = Cast<to = 1>(c)
        zero = Constant<value_int = 0>()
        slope = Gather(d, zero)
        y = Mul(x, slope)
    }"""
    model = onnx.parser.parse_model(HEAD + text)
    x = np.array([4.0, -8.0], np.float32)
    for target in ("torch", "keras", "onnx"):
        np.testing.assert_array_equal(li.run(li.convert(model, target), [x])[0], np.array([1.0, -2.0], np.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_numbers_become_text_as_onnxruntime_writes_them(dtype):
    kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    ports = [onnx.helper.make_tensor_value_info("x", kind, ["n"]), onnx.helper.make_tensor_value_info("y", 8, ["n"])]
    node = onnx.helper.make_node("Cast", ["x"], ["y"], to=8)
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", ports[:1], ports[1:]), ir_version=10)
    model.opset_import[0].version = 21
    rng = np.random.default_rng(5)
    numbers = [*(rng.standard_normal(500) * 10.0 ** rng.integers(-9, 9, 500)), 0.0, -0.0, 1e5, 1e20, np.inf, -np.inf, np.nan]
    whole = np.dtype(dtype).kind not in "f"
    x = np.asarray([0, 1, 100, 255] if whole else numbers, dtype)
    (expected,), (received,) = li.run(model, [x]), li.load(model).run(x)
    np.testing.assert_array_equal(received, expected)
    np.testing.assert_array_equal(li.run(transfer_graph(li.load(model), "onnx").model, [x])[0], expected)
