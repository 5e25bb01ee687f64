"""What a user may choose about the result: operator set, weights beside the file, names of ports, float16."""

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper

import leaky_interop as li
from leaky_interop import half
from leaky_interop.errors import Mismatch, Refused, Usage
from leaky_interop.frameworks import onnx as engine
from leaky_interop.frameworks.onnx import file
from leaky_interop.frameworks.onnx.run import newest_opset
from leaky_interop.op import CASES
from tests.test_cases import check, graph_of

OLD = (13, 14, 15, 16, 17, 18, 19, 20, 22)


def network(*, kernel_scale=1.0, slope=0.37, dims=("batch", 3, 6, 5)):
    """conv -> leaky -> flatten -> dense, as an ONNX model of another author."""
    rng = np.random.default_rng(0)
    numbers = {
        "conv.weight": rng.normal(size=(16, 3, 3, 3)) * kernel_scale,
        "conv.bias": rng.normal(size=16),
        "head.weight": rng.normal(size=(16 * 4 * 3, 10)) * 0.1,
        "head.bias": rng.normal(size=10),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight", "conv.bias"], ["c"], name="conv"),
        helper.make_node("LeakyRelu", ["c"], ["l"], name="leaky", alpha=slope),
        helper.make_node("Flatten", ["l"], ["f"], name="flatten"),
        helper.make_node("Gemm", ["f", "head.weight", "head.bias"], ["y"], name="head"),
    ]
    ports = [
        helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, list(dims)),
        helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [dims[0], 10]),
    ]
    weights = [numpy_helper.from_array(a.astype(np.float32), name) for name, a in numbers.items()]
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


# --- operator sets


@pytest.mark.parametrize("opset", [o for o in OLD if o < newest_opset()])
def test_every_case_in_every_operator_set_runs_or_is_refused_in_words(opset):
    for case in CASES.values():
        if "onnx" in case.refused:
            continue
        graph, arrays = graph_of(case)
        try:
            model, _ = engine.build(engine.prepare(graph), opset=opset)
        except Refused as error:
            assert "opset" in str(error) or "no kernel" in str(error), (case.name, error)
            continue
        assert model.opset_import[0].version == opset
        check(case, graph.run(*arrays), engine.run(model, arrays), f"{case.name} in opset {opset}")


def test_few_cases_are_refused_in_the_oldest_operator_set():
    def writes(case):
        try:
            return bool(engine.build(engine.prepare(graph_of(case)[0]), opset=engine.write.OLDEST))
        except Refused:
            return False

    cases = [c for c in CASES.values() if "onnx" not in c.refused]
    assert sum(map(writes, cases)) > 0.85 * len(cases)


def test_the_newest_operator_set_of_the_runtime_is_the_default():
    model = li.convert(network(), to="onnx")
    assert model.opset_import[0].version == newest_opset() <= onnx.defs.onnx_opset_version()
    onnxruntime.InferenceSession(model.SerializeToString())


@pytest.mark.parametrize(("after", "dtype", "opset"), [
    (torch.nn.ReLU(), torch.float32, 18),
    (torch.nn.Identity(), torch.float32, 18),
    (torch.nn.GELU(), torch.float32, newest_opset()),
    (torch.nn.GroupNorm(1, 3), torch.float32, newest_opset()),
    (torch.nn.ReLU(), torch.float16, newest_opset()),
    (torch.nn.CircularPad2d(1), torch.float32, newest_opset()),
])  # fmt: skip
def test_means_over_windows_are_written_in_the_set_of_their_fast_kernel(after, dtype, opset):
    """From operator set 19 on onnxruntime's AveragePool takes several times as long; what those sets say better wins."""
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3), torch.nn.AvgPool2d(3, 2, 1), after).eval().to(dtype)
    x = torch.randn(2, 3, 9, 8).to(dtype)
    model = li.convert(net, to="onnx", example=x, verify=True)
    assert model.opset_import[0].version == opset
    said = li.convert(net, to="onnx", example=x, opset=20, verify=True)
    assert said.opset_import[0].version == 20


@pytest.mark.parametrize("opset", [-1, 1, 12, newest_opset() + 1, 1000])
def test_an_operator_set_that_cannot_be_written_is_told(opset, tmp_path):
    with pytest.raises(Usage, match=f"from 13 to {newest_opset()}"):
        li.convert(network(), tmp_path / "net.onnx", opset=opset)
    assert not list(tmp_path.iterdir())


# --- weights beside the file


@pytest.mark.parametrize("verify", [True, False])
def test_weights_beside_the_file(tmp_path, verify):
    source, path = network(), tmp_path / "net.onnx"
    li.convert(source, path, external_data=True, verify=verify)
    assert {p.name for p in tmp_path.iterdir()} == {"net.onnx", "net.onnx.data"}
    onnx.checker.check_model(path, full_check=True)
    bare = onnx.load(path, load_external_data=False)
    outside = {t.name: {e.key: e.value for e in t.external_data} for t in bare.graph.initializer if t.external_data}
    assert set(outside) == {"conv.weight", "head.weight"}  # biases are small
    assert all(int(where["offset"]) % 4096 == 0 and where["location"] == "net.onnx.data" for where in outside.values())
    assert li.verify(source, path).passed
    x = np.random.default_rng(1).normal(size=(2, 3, 6, 5)).astype(np.float32)
    runtime = onnxruntime.InferenceSession(path)
    np.testing.assert_array_equal(runtime.run(None, {"x": x})[0], li.run(li.convert(source, to="onnx"), [x])[0])


def test_large_networks_get_a_file_for_their_weights_unless_told_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(file, "MOST_INLINE", 1000)
    li.convert(network(), tmp_path / "large.onnx")
    li.convert(network(), tmp_path / "one.onnx", external_data=False)
    assert {p.name for p in tmp_path.iterdir()} == {"large.onnx", "large.onnx.data", "one.onnx"}


def test_weights_beside_a_file_are_for_onnx_files(tmp_path):
    for to in ("onnx", tmp_path / "net.pt2"):
        with pytest.raises(Usage, match="only ONNX files"):
            li.convert(network(), to, external_data=True)


# --- names of ports


@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
def test_ports_get_the_names_that_are_given(to):
    graph = li.load(
        li.convert(network(), to=to, rename={"x": "picture", "y": "logits"}, verify=True),
        example=(np.ones((2, 3, 6, 5), np.float32),),
    )
    assert [v.name for v in graph.inputs] == ["picture"]
    if to == "onnx":
        assert graph.output_names == ["logits"]


def test_a_name_may_move_to_another_port():
    model = li.convert(network(), to="onnx", rename={"x": "y", "y": "x"}, verify=True)
    assert ([i.name for i in model.graph.input], [o.name for o in model.graph.output]) == (["y"], ["x"])


@pytest.mark.parametrize("names, said", [({"z": "a"}, "no input or output is called 'z'"), ({"y": ""}, "do not tell")])
def test_wrong_names_are_told(names, said):
    with pytest.raises(Usage, match=said):
        li.convert(network(), to="onnx", rename=names)


# --- float16


@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
@pytest.mark.parametrize("ports, dtype", [("inside", np.float32), ("everywhere", np.float16)])
def test_a_network_in_float16(to, ports, dtype):
    source = network()
    made = li.convert(source, to=to, float16=ports, verify=True)
    graph = li.load(made, example=(np.ones((2, 3, 6, 5), dtype),))
    assert {v.dtype for v in (*graph.inputs, *graph.outputs)} == {np.dtype(dtype)}
    assert {p.dtype for p in graph.parameters()} == {np.dtype(np.float16)}
    assert len(graph.parameters()) == 4
    assert {p.name.partition(".")[0] for p in graph.parameters()} == {"conv", "head"}
    x = np.random.default_rng(2).normal(size=(7, 3, 6, 5)).astype(np.float16)
    (received,), (expected,) = li.run(made, [x.astype(dtype)]), li.run(source, [x.astype(np.float32)])
    assert received.dtype == dtype
    np.testing.assert_allclose(received.astype(np.float64), expected, atol=2e-2)
    assert np.abs(received - expected).max() > 0  # it is float16 that computes, not float32


FLOWS = """<ir_version: 10, opset_import: ["": 21]> agraph (bool c, int64 n, float[batch, 3] x) => (float[batch, 3] y, float[batch, 3] z)
    <float[3, 3] w = {1, 0.3, -0.5, 0.1, 1, 0.7, 0.2, -0.9, 1.1}> {
    y = If (c) <
        then_branch = then () => (float[batch, 3] t) { t = LeakyRelu<alpha = 0.2>(x) },
        else_branch = other () => (float[batch, 3] e) { e = MatMul(x, w) }>
    z = Loop (n, , y) <body = body (int64 i, bool k, float[batch, 3] v) => (bool k2, float[batch, 3] u) {
        k2 = Identity(k)
        third = Constant<value_float = 0.3>()
        m = MatMul(v, w)
        u = Mul(m, third)
    }>
}"""


@pytest.mark.parametrize("ports", ["inside", "everywhere"])
@pytest.mark.parametrize("to", ["onnx", "torch"])
def test_branches_and_rounds_compute_in_float16_too(to, ports):
    source = onnx.parser.parse_model(FLOWS)
    x = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float16)
    dtype = np.float32 if ports == "inside" else np.float16
    for condition in (True, False):
        given = [np.array(condition), np.array(3), x.astype(np.float32)]
        made = li.convert(source, to=to, float16=ports, verify=True, inputs=given)
        received = li.run(made, [*given[:2], x.astype(dtype)])
        for r, e in zip(received, li.run(source, given), strict=True):
            assert r.dtype == dtype
            np.testing.assert_allclose(r.astype(np.float32), e, rtol=4e-3, atol=2e-3)
            assert np.abs(r - e).max() > 0


def test_a_file_in_float16_is_half_as_large(tmp_path):
    report = li.convert(network(), tmp_path / "half.onnx", float16="inside")
    li.convert(network(), tmp_path / "whole.onnx")
    assert report.passed
    assert any("against the source" in o.runtime for o in report.outputs)
    sizes = [(tmp_path / f"{name}.onnx").stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.65 * sizes[1]


def test_a_weight_beyond_float16_is_refused():
    with pytest.raises(Refused, match=r"float16 for conv\.weight"):
        li.convert(network(kernel_scale=1e5), to="onnx", float16="inside")


def test_numbers_that_overflow_inside_are_a_mismatch(tmp_path):
    """Every weight fits, but sums pass 65520: the source is right, float16 is not."""
    with pytest.raises(Mismatch):
        li.convert(network(kernel_scale=1e4), tmp_path / "net.onnx", float16="inside")
    assert not list(tmp_path.iterdir())


def test_a_slope_that_is_lost_on_the_way_to_float16_is_found(monkeypatch):
    monkeypatch.setattr(
        half, "_op_in_half", lambda op: type(op)(negative_slope=0.2) if hasattr(op, "negative_slope") else op
    )
    with pytest.raises(Mismatch):
        li.convert(network(), to="onnx", float16="everywhere", verify=True)


def test_the_largest_number_of_float16_is_no_overflow():
    edge = np.array([65504.0, -65519.0, np.inf, np.nan, 1e-9], np.float32)
    kept = half.rounded(li.load(network()).constant(edge).const).array()
    np.testing.assert_array_equal(kept, np.array([65504, -65504, np.inf, np.nan, 0], np.float16))
    with pytest.raises(Refused):
        half.rounded(li.load(network()).constant(np.float32(65520)).const)


def test_arrays_of_the_user_go_with_float16():
    x = np.random.default_rng(3).normal(size=(2, 3, 6, 5)).astype(np.float32)
    for ports in ("inside", "everywhere"):
        assert li.convert(network(), to="onnx", float16=ports, inputs={"x": x}, verify=True)
