"""Branches and loops: what they compute, in every framework that can hold them, and what is left of them there."""

import pickle
import runpy

import keras
import numpy as np
import onnx
import onnx.parser
import pytest
import torch

import leaky_interop as li
from leaky_interop.bodies import alike
from leaky_interop.converting import transfer_graph
from leaky_interop.errors import Refused, Unsupported
from leaky_interop.verification import verify_conversion

HEAD = '<ir_version: 10, opset_import: ["": 21]>\n'
MODELS = {
    "branches": """agraph (bool c, float[batch, 3] x) => (float[batch, 3] y, float[batch, 3] z)
        <float[3, 3] "layer.weight" = {1, 2, 3, 4, 5, 6, 7, 8, -9}, float[3] "layer.bias" = {0.5, 0, -1}> {
        h = Gemm (x, "layer.weight", "layer.bias")
        y = If (c) <
            then_branch = then () => (float[batch, 3] t) { t = LeakyRelu<alpha = 0.2>(h) },
            else_branch = other () => (float[batch, 3] e) { m = MatMul(h, "layer.weight")  e = Add(m, x) }>
        z = Neg (y)
    }""",
    "sizes of branches": """agraph (bool c, float[batch, 3] x) => (float[r, k] y, float[k2, r2] z) {
        y = If (c) <
            then_branch = then () => (float[batch, 6] t) { t = Concat<axis = 1>(x, x) },
            else_branch = other () => (float[b, 3] e) { e = Concat<axis = 0>(x, x) }>
        z = Transpose (y)
    }""",
    "growing": """agraph (int64 n, float[batch, 3] x) => (float[rows, 3] last, float[n, 3] means) {
        last, means = Loop (n, , x) <body = body (int64 i, bool c, float[r, 3] v) => (bool c2, float[r2, 3] w, float[3] m) {
            c2 = Identity (c)
            w = Concat<axis = 0>(v, x)
            m = ReduceMean<keepdims = 0>(w, axes)
        }>
    }""",
    "until": """agraph (float[3] x, bool begin) => (float[3] last, int64[n] steps) {
        limit = Constant<value_float = 30.0>()
        last, steps = Loop (, begin, x) <body = body (int64 i, bool c, float[3] v) => (bool c2, float[3] w, int64 k) {
            two = Constant<value_float = 2.0>()
            w = Mul(v, two)
            sum = ReduceSum<keepdims = 0>(w)
            c2 = Less(sum, limit)
            k = Identity(i)
        }>
    }""",
    "nested": """agraph (int64 n, float[batch, 3] x, bool c) => (float[batch, 3] y)
        <float[3] slope = {0.5, -1, 2}> {
        y = Loop (n, , x) <body = outer (int64 i, bool k, float[batch, 3] v) => (bool k2, float[batch, 3] w) {
            k2 = Identity (k)
            w = If (c) <
                then_branch = then () => (float[batch, 3] t) {
                    t = Loop (n, , v) <body = inner (int64 j, bool q, float[batch, 3] u) => (bool q2, float[batch, 3] s) {
                        q2 = Identity(q)
                        a = Mul(u, slope)
                        ij = Add(i, j)
                        f = Cast<to = 1>(ij)
                        b = Add(a, f)
                        s = Sub(b, x)
                    }>
                },
                else_branch = other () => (float[batch, 3] e) { shape = Shape(x)  e = Expand(slope, shape) }>
        }>
    }""",
    "recurrent": """agraph (float[batch, 4] h, float[batch, time, 4] x) => (float[batch, 4] last, float[batch, time, 4] all)
        <float[4, 4] kernel = {1, 0, 0, 0.5, 0, 1, 0, 0, 0, 0, -1, 0, 0.25, 0, 0, 1}> {
        last, all = Scan <num_scan_inputs = 1, scan_input_axes = [1], scan_output_axes = [-2], scan_input_directions = [1],
            scan_output_directions = [1], body = cell (float[batch, 4] s, float[batch, 4] e) => (float[batch, 4] s2, float[batch, 4] o) {
            m = MatMul(s, kernel)
            a = Add(m, e)
            s2 = Tanh(a)
            o = Identity(s2)
        }> (h, x)
    }""",
}
INITIALIZERS = {"growing": {"axes": np.array([0])}}


def made(name):
    model = onnx.parser.parse_model(HEAD + MODELS[name])
    for key, array in INITIALIZERS.get(name, {}).items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, key))
    onnx.checker.check_model(model, full_check=True)
    return model


def arrays_of(name, batch):
    rng = np.random.default_rng(batch)
    x = rng.standard_normal((batch, 3)).astype(np.float32)
    return {
        "branches": [[np.array(c), x] for c in (True, False)],
        "sizes of branches": [[np.array(c), x] for c in (True, False)],
        "growing": [[np.array(n), x] for n in (0, 1, 4)],
        "until": [[np.abs(x[0]), np.array(c)] for c in (True, False)],
        "nested": [[np.array(n), x, np.array(c)] for n in (0, 3) for c in (True, False)],
        "recurrent": [
            [a.astype(np.float32) for a in (rng.standard_normal((batch, 4)), rng.standard_normal((batch, n, 4)))] for n in (1, 5)
        ],
    }[name]


def same(expected, received):
    assert len(received) == len(expected)
    for e, r in zip(expected, received, strict=True):
        assert (r.shape, r.dtype) == (e.shape, e.dtype)
        np.testing.assert_allclose(r, e, rtol=1e-5, atol=1e-5)


@pytest.fixture(params=MODELS)
def name(request):
    return request.param


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_control_flow_computes_the_same_everywhere(name, batch):
    model = made(name)
    graph = li.load(model)
    targets = [transfer_graph(graph, target).model for target in ("onnx", "torch")]
    for arrays in arrays_of(name, batch):
        expected = li.run(model, arrays)
        same(expected, graph.run(*arrays))
        for target in targets:
            same(expected, li.run(target, arrays))


def test_a_graph_that_was_written_reads_as_it_was(name):
    graph = li.load(made(name))
    again = li.load(transfer_graph(graph, "onnx").model)
    assert alike(graph, again), f"{graph}\n{again}"
    assert [p.name for p in graph.parameters()] == [p.name for p in again.parameters()]


def test_control_flow_is_verified(name):
    for target in ("onnx", "torch"):
        assert li.convert(made(name), target, verify=True, inputs=arrays_of(name, 2)[0])


def test_modules_survive_a_pickle_without_this_package(name, tmp_path):
    model = transfer_graph(li.load(made(name)), "torch").model
    text = pickle.dumps(model)
    assert b"leaky_interop.frameworks" not in text
    again = pickle.loads(pickle.dumps(pickle.loads(text)))
    for arrays in arrays_of(name, 3):
        same(li.run(model, arrays), li.run(again, arrays))


def test_written_source_runs_alone(name, tmp_path):
    model = made(name)
    li.convert(model, tmp_path / "net.safetensors", inputs=arrays_of(name, 2)[0])
    scope = runpy.run_path(str(tmp_path / "net.py"))
    for arrays in arrays_of(name, 3):
        found = scope["load"]()(*map(torch.from_numpy, arrays))
        same(li.run(model, arrays), [t.detach().numpy() for t in (found if isinstance(found, tuple) else (found,))])
    assert "leaky_interop" not in (tmp_path / "net.py").read_text().partition("import")[2]


def test_a_pt2_holds_branches_and_loops_unless_they_grow(name, tmp_path):
    arrays = arrays_of(name, 2)[0]
    if name in ("growing", "until"):  # torch's loops stack nothing, and keep their sizes
        with pytest.raises(Refused, match="of loops and branches"):
            li.convert(made(name), tmp_path / "net.pt2", inputs=arrays)
        assert not list(tmp_path.iterdir())
        return
    li.convert(made(name), tmp_path / "net.pt2", inputs=arrays)
    for arrays in arrays_of(name, 3):
        found = torch.export.load(tmp_path / "net.pt2").module()(*map(torch.from_numpy, arrays))
        same(li.run(made(name), arrays), [t.detach().numpy() for t in (found if isinstance(found, tuple) else (found,))])


def test_a_weight_that_a_branch_shares_with_the_network_is_one():
    graph = li.load(made("branches"))
    assert [p.name for p in graph.parameters()] == ["layer.weight", "layer.bias"]
    module = transfer_graph(graph, "torch").model
    assert sum(p.numel() for p in module.parameters()) == 12
    written = transfer_graph(graph, "onnx").model
    assert sorted(t.name for t in written.graph.initializer) == ["layer.bias", "layer.weight"]


def test_branches_train():
    module = transfer_graph(li.load(made("branches")), "torch").model
    module(torch.tensor(False), torch.ones(2, 3))[0].sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_what_a_body_lacks_is_told_with_its_place():
    model = made("nested")
    loop = model.graph.node[0].attribute[0].g
    branch = next(n for n in loop.node if n.op_type == "If").attribute[0].g
    branch.node[0].attribute[0].g.node[1].op_type, branch.node[0].attribute[0].g.node[1].domain = "Strange", "here"
    model.opset_import.add(domain="here", version=1)
    with pytest.raises(Unsupported) as error:
        li.load(model)
    assert [(row.native, row.where) for row in error.value.missing] == [("here.Strange", "onnx here.Strange 'a' in y.w.t")]
    assert "here.Strange" in str(li.inspect(model))


def as_constant(model, name, array):
    """The model with one of its inputs as a constant."""
    model.graph.input.remove(next(i for i in model.graph.input if i.name == name))
    model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


KERAS = {  # what is constant there, and the sizes that are fixed
    "branches": ({}, None),
    "growing": ({"n": np.array(3)}, None),
    "nested": ({"n": np.array(2)}, None),
    "recurrent": ({}, {"x": (None, 5, 4)}),
}


@pytest.mark.parametrize("name", KERAS)
def test_keras_computes_both_branches_and_every_round(name, tmp_path):
    constants, shapes = KERAS[name]
    model = made(name)
    inputs = [i.name for i in model.graph.input]
    given = [dict(zip(inputs, arrays, strict=True)) for arrays in arrays_of(name, 2)]
    for key, array in constants.items():
        as_constant(model, key, array)
    given = [{k: a for k, a in arrays.items() if k not in constants} for arrays in given]
    given = given[-1:] if shapes else given  # of the length that is fixed
    li.convert(model, tmp_path / "net.keras", inputs=list(given[0].values()), input_shapes=shapes)
    again = keras.models.load_model(tmp_path / "net.keras")
    for arrays in given:
        same(li.run(model, arrays), li.run(again, list(arrays.values())))


def test_keras_refuses_what_only_a_run_tells():
    for name in ("sizes of branches", "growing", "until", "recurrent"):
        with pytest.raises(Refused, match="Keras saves no"):
            li.convert(made(name), "keras")


def test_a_constant_condition_leaves_one_branch():
    for value, kind in ((True, "LeakyRelu"), (False, "MatMul")):
        graph = li.load(as_constant(made("branches"), "c", np.array(value)))
        kinds = {type(n.op).__name__ for n in graph.nodes}
        assert "If" not in kinds
        assert ("LeakyRelu" in kinds) == (kind == "LeakyRelu")


def test_fast_math_and_slopes_reach_into_bodies():
    text = MODELS["branches"].replace("t = LeakyRelu<alpha = 0.2>(h)", "p = Relu(h)  n = Neg(h)  q = Relu(n)  k = Constant<value_float = 0.2>()  a = Mul(q, k)  t = Sub(p, a)")
    model = onnx.parser.parse_model(HEAD + text)
    assert "LeakyRelu" not in str(li.load(model))
    assert "LeakyRelu(negative_slope=0.2)" in str(li.load(model, fast_math=True))
    (slope,) = li.inspect(made("branches")).slopes
    assert slope.value == pytest.approx(0.2)


TYPED = """agraph (KIND[batch, 3] x, int64 n, bool c) => (KIND[batch, 3] y, KIND[k, batch, 3] all, KIND[batch, 3] z) {
    y, all = Loop (n, , x) <body = body (int64 i, bool k, KIND[batch, 3] v) => (bool k2, KIND[batch, 3] u, KIND[batch, 3] r) {
        k2 = Identity(k)  u = LeakyRelu<alpha = 0.25>(v)  s = Softmax<axis = -1>(v)  r = Add(s, x)
    }>
    z = If (c) <then_branch = one () => (KIND[batch, 3] o) { o = Tanh(y) }, else_branch = two () => (KIND[batch, 3] p) { p = Max(y, x) }>
}"""


@pytest.mark.parametrize("kind", ["float", "double", "float16", "bfloat16"])
def test_bodies_compute_in_every_dtype_of_floats(kind):
    graph = li.load(onnx.parser.parse_model(HEAD + TYPED.replace("KIND", kind)))
    x = np.random.default_rng(0).standard_normal((2, 3)).astype(graph.inputs[0].dtype)
    x[0, 0], x[1, 1], x[0, 2] = np.nan, np.inf, -0.0
    loose = {"rtol": 3e-2, "atol": 1e-2} if x.dtype.itemsize == 2 else {"rtol": 1e-5, "atol": 1e-6}
    for target in ("onnx", "torch"):
        model = transfer_graph(graph, target).model
        for n in (0, 3):
            for condition in (True, False):
                arrays = [x, np.array(n), np.array(condition)]
                for e, r in zip(graph.run(*arrays), li.run(model, arrays), strict=True):
                    assert (r.shape, r.dtype) == (e.shape, e.dtype)
                    np.testing.assert_allclose(r.astype(np.float64), e.astype(np.float64), **loose)
    if kind == "bfloat16":
        with pytest.raises(Refused, match="bfloat16 in a Loop"):
            transfer_graph(graph, "onnx", opset=13)


def test_a_short_loop_whose_rounds_differ_in_size_is_written_out():
    text = """agraph (float[5, 3] x) => (float[3] last, float[5, 3] sums) {
        n = Constant<value_int = 5>()  zero = Constant<value_ints = [0]>()  one = Constant<value_ints = [1]>()
        start = Constant<value_floats = [0.0, 1.0, -1.0]>()
        last, sums = Loop (n, , start) <body = body (int64 i, bool c, float[3] v) => (bool c2, float[3] w, float[3] s) {
            c2 = Identity(c)
            from = Unsqueeze(i, zero)
            to = Add(from, one)
            rows = Slice(x, zero, to)
            s = ReduceSum<keepdims = 0>(rows, zero)
            w = Add(v, s)
        }>
    }"""
    model = onnx.parser.parse_model(HEAD + text)
    x = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    expected = li.run(model, [x])
    graph = li.load(model)
    same(expected, graph.run(x))
    for target in ("onnx", "torch", "keras"):
        same(expected, li.run(transfer_graph(graph, target).model, [x]))


def test_nesting_is_bounded():
    inner = "o0 = Relu(x)"
    for i in range(1, 12):
        other = f"b{i} () => (float[4] p{i}) {{ p{i} = Neg(x) }}"
        inner = f"o{i} = If (c) <then_branch = a{i} () => (float[4] o{i - 1}) {{ {inner} }}, else_branch = {other}>"
    with pytest.raises(Refused, match="more than 8 nested"):
        li.load(onnx.parser.parse_model(f"{HEAD} agraph (float[4] x, bool c) => (float[4] o11) {{ {inner} }}"))


def test_bodies_hold_functions_sparse_weights_and_views_of_one_weight():
    text = """<ir_version: 10, opset_import: ["": 21, "own": 1]>
        agraph (float[batch, 4] x, bool c) => (float[batch, 4] y) {
            t = Transpose<perm = [1, 0]>(w)
            a = MatMul(x, t)
            y = If (c) <then_branch = one () => (float[batch, 4] o) { b = own.leak(a)  o = MatMul(b, w) },
                        else_branch = two () => (float[batch, 4] p) { p = Add(a, sparse) }>
        }
        <domain: "own", opset_import: ["": 21]> leak (v) => (w) {
            s = Constant<value_float = 0.1>()  d = Mul(v, s)  z = Constant<value_float = 0.0>()  l = Less(v, z)  w = Where(l, d, v)
        }"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    model.graph.initializer.append(onnx.numpy_helper.from_array(rng.standard_normal((4, 4)).astype(np.float32), "w"))
    numbers, places = onnx.helper.make_tensor("sparse", 1, [2], [3.0, 4.0]), onnx.helper.make_tensor("places", 7, [2], [0, 2])
    branch = next(a.g for a in model.graph.node[2].attribute if a.name == "else_branch")
    branch.sparse_initializer.append(onnx.helper.make_sparse_tensor(numbers, places, [4]))
    graph = li.load(model)
    assert "LeakyRelu(negative_slope=0.1)" in str(graph)
    module = transfer_graph(graph, "torch").model
    assert [p.name for p in graph.parameters()] == ["w"]
    assert sum(p.numel() for p in module.parameters()) == 16
    x = rng.standard_normal((3, 4)).astype(np.float32)
    for condition in (True, False):
        arrays = [x, np.array(condition)]
        expected = li.run(model, arrays)
        for received in (graph.run(*arrays), li.run(module, arrays), li.run(transfer_graph(graph, "onnx").model, arrays)):
            same(expected, received)


@pytest.mark.parametrize("fault", ["other branch", "one round less", "backwards"])
def test_a_fault_in_control_flow_is_found(fault):
    name = {"other branch": "branches", "one round less": "nested", "backwards": "recurrent"}[fault]
    conversion = transfer_graph(li.load(made(name)), "torch")
    module = next(m for m in conversion.model.modules() if type(m).__name__ in ("If", "Loop", "Scan"))
    if fault == "other branch":
        module.then, module.other = module.other, module.then
    elif fault == "one round less":
        forward = module.forward
        module.forward = lambda rounds, *rest: forward(rounds - 1, *rest)
    else:
        module.axes = [(axis, not back) for axis, back in module.axes]
    report = verify_conversion(conversion, arrays_of(name, 2)[-2 if name == "nested" else -1])
    assert not report.passed
    assert report.first_difference.op.startswith(type(module).__name__)
