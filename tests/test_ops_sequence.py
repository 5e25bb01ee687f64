"""Sequences and optionals: onnx's own cases, and whole models in which they dissolve or run."""

import functools
import pickle
import warnings

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

import leaky_interop as li
from leaky_interop.bodies import alike
from leaky_interop.converting import transfer_graph
from leaky_interop.errors import Refused, Usage

HEAD = '<ir_version: 10, opset_import: ["": 21]>\n'
WANTED = ("If", "Loop", "Scan", "SequenceMap", "SequenceInsert", "SplitToSequence", "Optional", "OptionalGetElement", "OptionalHasElement")


@functools.cache
def cases():
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    kinds = {
        c.name: {n.op_type for n in c.model.graph.node} | {i.type.WhichOneof("value") for i in c.model.graph.input}
        for c in found
    }
    wanted = {*WANTED, "sequence_type", "optional_type"}
    return {c.name: (c.model, *c.data_sets[0]) for c in found if kinds[c.name] & wanted}


def plain(data):
    if isinstance(data, list):
        return [plain(d) for d in data]
    return numpy_helper.to_array(data) if isinstance(data, onnx.TensorProto) else None if data is None else np.asarray(data)


def same(expected, received):
    if isinstance(expected, list | tuple):
        assert isinstance(received, list | tuple)
        assert len(received) == len(expected)
        for pair in zip(expected, received, strict=True):
            same(*pair)
    elif expected is None:
        assert received is None
    else:
        assert (received.shape, received.dtype) == (expected.shape, expected.dtype)
        wide = (a.astype(np.float64) if a.dtype.kind in "fV" else a for a in (received, expected))
        loose = expected.dtype.itemsize < 4
        np.testing.assert_allclose(*wide, rtol=2e-2 if loose else 1e-4, atol=5e-3 if loose else 1e-5)


@pytest.mark.parametrize("name", cases())
def test_a_case_of_the_specification(name):
    model, inputs, outputs = cases()[name]
    inputs, outputs = plain(list(inputs)), plain(list(outputs))
    try:
        graph = li.load(model)
    except Refused as error:
        assert "the network computes" in str(error) or "branches differ in rank" in str(error)
        pytest.skip(str(error))
    same(outputs, graph.run(*inputs))
    for target in ("onnx", "torch"):
        same(outputs, li.run(transfer_graph(graph, target).model, inputs))


MODELS = {
    "tensor array": """agraph (float[time, 3] x) => (float[rows, 3] y, int64 count) {
        n0 = Shape<start = 0, end = 1>(x)
        zero = Constant<value_int = 0>()
        axes = Constant<value_ints = [0]>()
        n = Squeeze(n0, axes)
        none = SequenceEmpty()
        all = Loop (n, , none) <body = body (int64 i, bool c, seq(float[3]) s) => (bool c2, seq(float[3]) s2) {
            c2 = Identity(c)
            row = Gather(x, i)
            act = LeakyRelu<alpha = 0.3>(row)
            s2 = SequenceInsert(s, act)
        }>
        y = ConcatFromSequence<axis = 0, new_axis = 1>(all)
        count = SequenceLength(all)
    }""",
    "ragged": """agraph (int64 n, seq(float[k, 2]) s, int64 at) => (float[m, 2] y, seq(float[k, 2]) rest, float[r, 2] all) {
        one = SequenceAt(s, at)
        y = Neg(one)
        rest = SequenceErase(s, at)
        all = ConcatFromSequence<axis = 0>(s)
    }""",
    "pieces": """agraph (float[batch, 3] x, int64[parts] sizes) => (seq(float[k, 3]) s, int64 n) {
        s = SplitToSequence<axis = 0>(x, sizes)
        n = SequenceLength(s)
    }""",
    "perhaps": """agraph (optional(float[2, 2]) o, float[2, 2] x) => (float[2, 2] y) {
        there = OptionalHasElement(o)
        y = If (there) <then_branch = a () => (float[2, 2] t) { t = OptionalGetElement(o) },
                        else_branch = b () => (float[2, 2] e) { e = Neg(x) }>
    }""",
}
RNG = np.random.default_rng(3)
ROWS = [RNG.standard_normal((k, 2)).astype(np.float32) for k in (1, 3, 2)]
ARRAYS = {
    "tensor array": [[RNG.standard_normal((t, 3)).astype(np.float32)] for t in (1, 4)],
    "ragged": [[np.array(0), ROWS, np.array(at)] for at in (0, 2, -1)],
    "pieces": [[np.arange(18, dtype=np.float32).reshape(6, 3), np.array(s)] for s in ([6], [1, 2, 3])],
    "perhaps": [[o, np.ones((2, 2), np.float32)] for o in (None, np.zeros((2, 2), np.float32))],
}


def made(name):
    return onnx.parser.parse_model(HEAD + MODELS[name])


@pytest.mark.parametrize("name", MODELS)
def test_what_only_a_run_knows_runs_everywhere(name):
    graph = li.load(made(name))
    written, module = (transfer_graph(graph, target).model for target in ("onnx", "torch"))
    again = pickle.loads(pickle.dumps(module))
    for arrays in ARRAYS[name]:
        expected = li.run(made(name), arrays)
        same(expected, graph.run(*arrays))
        for model in (written, module):
            same(expected, li.run(model, arrays))
        flat = [m for e in expected for m in (e if isinstance(e, list) else [e])]  # what was a list is not pickled along
        same(flat, li.run(again, arrays))
    assert alike(graph, li.load(written))


@pytest.mark.parametrize("name", MODELS)
def test_sequences_are_verified(name, tmp_path):
    for target in ("net.onnx", "net.safetensors"):
        li.convert(made(name), tmp_path / target, inputs=ARRAYS[name][-1])


def test_a_fault_in_a_sequence_is_found():
    graph = li.load(made("ragged"))
    conversion = transfer_graph(graph, "torch")
    erase = next(n for n in conversion.model.graph.nodes if n.name.startswith("rest"))
    erase.replace_all_uses_with(next(n for n in conversion.model.graph.nodes if n.name == "s"), lambda user: user.op == "output")
    conversion.model.recompile()
    from leaky_interop.verification import verify_conversion

    report = verify_conversion(conversion, ARRAYS["ragged"][0])
    assert not report.passed
    assert any("rest" in o.name and not o.passed for o in report.outputs)


def test_members_that_are_known_dissolve():
    text = """agraph (float[2, 6] x) => (float[2, 7] y, int64 n) {
        s = SplitToSequence<axis = 1, keepdims = 0>(x)
        at = Constant<value_int = -1>()
        last = SequenceAt(s, at)
        axes = Constant<value_ints = [1]>()
        t = SequenceInsert(s, last)
        u = SequenceErase(t, at)
        w = SequenceInsert(u, last, at)
        y = ConcatFromSequence<axis = -1, new_axis = 1>(w)
        n = SequenceLength(w)
    }"""
    model = onnx.parser.parse_model(HEAD + text)
    graph = li.load(model)
    assert not any("Sequence" in type(n.op).__name__ for n in graph.nodes)
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    expected = li.run(model, [x])
    for target in ("onnx", "torch", "keras"):
        same(expected, li.run(transfer_graph(graph, target).model, [x]))


def test_a_tensor_array_of_a_known_length_converts_to_keras(tmp_path):
    model = made("tensor array")
    li.convert(model, tmp_path / "net.keras", input_shapes={"x": (4, 3)}, inputs=ARRAYS["tensor array"][1])
    same(li.run(model, ARRAYS["tensor array"][1]), li.run(tmp_path / "net.keras", ARRAYS["tensor array"][1]))


def test_results_of_a_loop_that_nobody_reads_need_no_name():
    model = made("tensor array")
    loop = next(n for n in model.graph.node if n.op_type == "Loop")
    scan = loop.attribute[0].g.output.add()
    scan.CopyFrom(onnx.helper.make_tensor_value_info("act", 1, [3]))
    loop.output.append("")
    loop.output[0] = ""
    loop.output[1] = "y"
    del model.graph.node[list(model.graph.node).index(loop) + 1 :]
    del model.graph.output[1:]
    x = ARRAYS["tensor array"][1]
    same(li.run(model, x), li.load(model).run(*x))


def test_keras_refuses_lists_and_wrong_inputs_are_told():
    with pytest.raises(Refused, match="holds arrays, no lists"):
        li.convert(made("pieces"), "keras")
    with pytest.raises(Refused, match="holds arrays, no lists"):
        li.convert(made("perhaps"), "keras")
    with pytest.raises((Usage, ValueError), match="takes an array"):
        li.load(made("pieces")).run(ROWS, np.array([1]))
    with pytest.raises(Refused, match="rank of its members"):
        li.load(onnx.parser.parse_model(HEAD + "agraph (seq(float) s, int64 i) => (float y) { y = SequenceAt(s, i) }"))
