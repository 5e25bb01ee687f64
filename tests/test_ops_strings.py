"""Text: to ONNX as it is, to PyTorch in arrays of str, folded where it is constant, refused where a framework has none."""

import copy
import pickle
import runpy

import numpy as np
import onnx
import onnx.parser
import pytest
import torch

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
        at = Constant<value_ints = [0, -1]>()
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
NORMAL = """agraph (string[n, m] x) => (string[k] y) {
    shape = Constant<value_ints = [-1]>()
    v = Reshape(x, shape)
    y = StringNormalizer<%s>(v)
}"""
TORCH = {  # what onnxruntime takes too, beside those
    "upper": NORMAL % 'locale = "C", case_change_action = "UPPER", is_case_sensitive = 0, stopwords = ["RELU", ""]',
    "lower": NORMAL % 'locale = "C", case_change_action = "LOWER", is_case_sensitive = 1, stopwords = ["relu"]',
    "unicode upper": NORMAL % 'locale = "C.UTF-8", case_change_action = "UPPER", is_case_sensitive = 0, stopwords = ["straße"]',
    "unicode lower": NORMAL % 'locale = "C.UTF-8", case_change_action = "LOWER", is_case_sensitive = 0, stopwords = ["0.5"]',
    "own case": NORMAL % 'locale = "C.UTF-8", is_case_sensitive = 0, stopwords = ["STRASSE", "relu"]',
    "grown": """agraph (string[n, m] x, float[n, k] n) => (string[n, l] y, string[a, b] z) {
        s = Shape(n)
        e = Expand(x, s)
        one = Constant<value_ints = [1]>()
        t = Unsqueeze(x, one)
        two = Constant<value_ints = [1, 2, 1]>()
        u = Tile(t, two)
        rows = Constant<value_ints = [-1, 3]>()
        z = Reshape(u, rows)
        y = Concat<axis = -1>(e, x)
    }""",
    "written": """agraph (float[n, m] n) => (string[n, m] y, float[n, m] z, int64[n, m] i) {
        y = Cast<to = 8>(n)
        z = Cast<to = 1>(y)
        i = Cast<to = 7>(n)
    }""",
    "found": """agraph (string[n, m] x) => (string[k] y, int64[k] first, int64[l] back, int64[k] counts) { y, first, back, counts = Unique(x) }""",
    "taken": """agraph (string[n, m] x, bool c) => (string[p, q] y) {
        at = Constant<value_ints = [1]>()
        end = Constant<value_ints = [9]>()
        y = Slice(x, at, end, at)
    }""",
    "listed": """agraph (string[n, m] x, bool c) => (string[n, m] y, int64 z) {
        s = SequenceConstruct(x, x)
        zero = Constant<value_int = 0>()
        z = SequenceLength(s)
        y = SequenceAt(s, zero)
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


def same(expected, received):
    assert len(received) == len(expected)
    for e, r in zip(expected, received, strict=True):
        e, r = (a.detach().numpy() if isinstance(a, torch.Tensor) else a for a in (e, r))
        assert (r.shape, r.dtype) == (e.shape, e.dtype)
        np.testing.assert_array_equal(r, e)


NOT_EMPTY = ("moved", "upper", "lower", "unicode upper", "unicode lower", "own case")  # onnxruntime takes none there


@pytest.mark.parametrize(
    ("name", "rows"), [(n, r) for n in (*MODELS, *TORCH) for r in range(3) if r or n not in NOT_EMPTY]
)
def test_text_in_pytorch(name, rows, tmp_path):
    model = onnx.parser.parse_model(HEAD + (MODELS | TORCH)[name])
    given = {"x": WORDS[:rows], "c": np.array(rows == 1), "n": np.arange(rows * 3, dtype=np.float32).reshape(rows, 3) / 3 - 1}
    full = given if rows else given | {"x": WORDS, "n": np.eye(2, 3, dtype=np.float32)}
    inputs = [given[i.name] for i in model.graph.input]
    expected = li.run(model, inputs)
    module = li.convert(model, "torch")
    same(expected, li.run(module, inputs))
    for again in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        same(expected, li.run(again, inputs))
    li.convert(model, tmp_path / "net.safetensors", inputs=[full[i.name] for i in model.graph.input])
    source = runpy.run_path(str(tmp_path / "net.py"))["load"]()
    found = source(*[a if a.dtype == object else torch.from_numpy(a) for a in inputs])
    same(expected, list(found) if isinstance(found, tuple) else [found])


def test_pytorch_files_that_hold_tensors_alone_refuse_text(tmp_path):
    with pytest.raises(Refused, match=r"a \.pt2 of text .*\.safetensors"):
        li.convert(onnx.parser.parse_model(HEAD + MODELS["chosen"]), tmp_path / "net.pt2")
    assert not list(tmp_path.iterdir())


def test_a_module_of_text_is_not_read_again():
    module = li.convert(onnx.parser.parse_model(HEAD + MODELS["chosen"]), "torch")
    with pytest.raises(Refused, match="text"):
        li.load(module)


PATTERNS = ["a$", r"a\sb", r"a[\s]b", r"a\Sb", "a{,3}", "[]x]*", "[^]a]*", "(?:a|b)+", "(?P<n>a)b?", r"[\[\]]", r"a\z", ".*é", "", "^a|ab$"]
MATCHED = ["", "a", "a\n", "a b", "a\tb", "a\vb", "a{,3}", "aaa", "x]]", "é", "[", "]", "\n", "ab", "bé", "a\xa0b"]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_match_as_onnxruntime_matches(pattern):
    model = onnx.parser.parse_model(HEAD + 'agraph (string[n] x) => (bool[n] y) { y = RegexFullMatch<pattern = "p">(x) }')
    model.graph.node[0].attribute[0].s = pattern.encode()
    x = np.array(MATCHED, object)
    (expected,) = li.run(model, [x])
    same([expected], li.load(model).run(x))
    same([expected], li.run(li.convert(model, "torch"), [x]))


@pytest.mark.parametrize("pattern", ["(?i)a", "[[:alpha:]]", r"[a\S]", r"\pN"])
def test_patterns_that_python_reads_otherwise_are_refused(pattern):
    model = onnx.parser.parse_model(HEAD + 'agraph (string[n] x) => (bool[n] y) { y = RegexFullMatch<pattern = "p">(x) }')
    model.graph.node[0].attribute[0].s = pattern.encode()
    with pytest.raises(Refused, match="the pattern"):
        li.convert(model, "torch")


def test_keras_which_has_no_text_refuses_it_by_name():
    with pytest.raises(Refused, match="text at input 'x'"):
        li.convert(onnx.parser.parse_model(HEAD + MODELS["chosen"]), "keras")


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
