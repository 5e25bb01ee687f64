"""Operators whose numbers (axes, shapes, bounds, counts) are inputs of the network: read when it runs, in every form."""

import dataclasses
import itertools

import numpy as np
import onnx
import pytest
from onnx import helper

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.deferring import ROWS, Deferred
from leaky_interop.errors import Refused, Usage
from leaky_interop.verification import verify_conversion

X = np.random.default_rng(3).standard_normal((2, 3, 4)).astype(np.float32)
X[0, 1, 2] = -0.0
I64, FIRST, LAST = np.int64, -(2**63), 2**63 - 1


@dataclasses.dataclass
class Form:
    """A node on arrays: `data` and what it reads before it computes, each in several sets of numbers."""

    kind: str
    data: list
    numbers: list  # of tuples of arrays (None is left out)
    attributes: dict = dataclasses.field(default_factory=dict)
    outputs: int = 1
    opset: int = 21
    name: str = ""

    def __str__(self):
        told = ",".join(f"{k}={v}" for k, v in self.attributes.items())
        return self.name or f"{self.kind}({told})"


def ints(*numbers):
    return np.array(numbers, I64)


def one(number):
    return np.array(number, I64)


FLOATS = {"ReduceMean", "ReduceL2", "ReduceLogSumExp", "ReduceLogSum"}
FORMS = [
    *(
        Form(kind, [np.abs(X) + 1 if kind == "ReduceLogSum" else X], [(ints(1),), (ints(-1),), (ints(0),)], {"keepdims": keep})
        for kind in ROWS if kind.startswith("Reduce") for keep in (0, 1)
    ),
    Form("ReduceSum", [X], [(ints(2, -3),), (ints(0, 1),)], {"keepdims": 0}, name="ReduceSum of two axes"),
    Form("ReduceProd", [X], [(ints(-1, 0),), (ints(1, 2),)], {"keepdims": 0}, name="ReduceProd of two axes"),
    Form("ReduceMax", [X], [(ints(1, 0, 2),)], {"keepdims": 0}, name="ReduceMax of all axes"),
    Form("ReduceSum", [X.astype(np.int32)], [(ints(1),)], name="ReduceSum of int32"),
    Form("ReduceL1", [X.astype(np.int32)], [(ints(1),)], name="ReduceL1 of int32"),
    Form("ReduceMax", [X > 0], [(ints(1),), (ints(0),)], name="ReduceMax of booleans"),
    Form("Reshape", [X], [(ints(0, -1),), (ints(-1, 1),), (ints(4, 6),)]),
    Form("Reshape", [X], [(ints(0, 0, 2, 2),), (ints(1, -1, 2, 3),), (ints(0, 3, 0, 1),)], name="Reshape to more axes"),
    Form("Reshape", [X[:0]], [(ints(3, 0),)], {"allowzero": 1}),
    Form("Reshape", [X[0, 0, 0]], [(ints(1, 1),), (ints(-1, 1),)], name="Reshape of a number"),
    Form("Expand", [X[:, :1]], [(ints(2, 3, 4),), (ints(1, 5, 1),), (ints(2, 1, 1),)]),
    Form("Expand", [X[0, :, :1]], [(ints(2, 3, 4),), (ints(7, 1, 1),)], name="Expand to more axes"),
    Form("Expand", [X[0, :, :1]], [(ints(5),), (ints(1),)], name="Expand by fewer axes"),
    Form("Tile", [X], [(ints(1, 2, 3),), (ints(2, 1, 1),)]),
    Form("Slice", [X], [(ints(1), ints(3)), (ints(-2), ints(LAST)), (ints(0), ints(-1)), (ints(5), ints(9))]),
    Form("Slice", [X], [(ints(0, 1), ints(2, 3), ints(2, 1)), (ints(1, 0), ints(4, -1), ints(-1, 0))], name="Slice along axes"),
    Form("Slice", [X], [(ints(0), ints(4), ints(2), ints(2)), (ints(-1), ints(FIRST), ints(2), ints(-1)),
                        (ints(3), ints(0), ints(-1), ints(-2)), (ints(0), ints(3), ints(1), ints(-1))], name="Slice by steps"),
    Form("Pad", [X], [(ints(1, 0, 2, 0, 3, 1),), (ints(0, -1, 0, 0, 0, -2),)]),
    Form("Pad", [X], [(ints(0, 0, 1, 0, 1, 0), np.float32(2.5)), (ints(0, 1, 0, 0, 0, 0), np.float32(-np.inf))], name="Pad with"),
    Form("Pad", [X], [(ints(1, 2, 0, 1), None, ints(2, 0)), (ints(1, 2, 0, 1), None, ints(-2, -1))], name="Pad some axes"),
    *(Form("Pad", [X], [(ints(0, 1, 3, 0, 2, 2),), (ints(0, 0, 0, 0, 0, 0),)], {"mode": mode}) for mode in ("edge", "reflect", "wrap")),
    Form("Split", [X], [(ints(1, 3),), (ints(4, 0),), (ints(2, 2),)], {"axis": -1}, outputs=2),
    Form("Squeeze", [X[:1, :, :1]], [(ints(0),), (ints(-1),)]),
    Form("Squeeze", [X[:1, :, :1]], [(ints(0, 2),), (ints(-1, 0),)], name="Squeeze two axes"),
    Form("Unsqueeze", [X], [(ints(0),), (ints(-1),), (ints(2),)]),
    Form("Unsqueeze", [X], [(ints(4, 0),), (ints(-1, 1),), (ints(-2, -5),)], name="Unsqueeze two axes"),
    *(Form("Trilu", [X], [(one(0),), (one(-1),), (one(7),), (one(-7),)], {"upper": upper}) for upper in (0, 1)),
    *(
        Form("CumSum", [X], [(one(0),), (one(2),), (one(-2),)], {"exclusive": e, "reverse": r})
        for e, r in itertools.product((0, 1), (0, 1))
    ),
    *(
        Form("TopK", [np.round(X)], [(ints(1),), (ints(3),)], {"axis": axis, "largest": largest}, outputs=2)
        for axis, largest in ((1, 1), (-1, 0), (-2, 1))
    ),
    *(
        Form("OneHot", [np.array([[0, -1], [3, 9]])], [(one(4), np.float32([0, 1])), (one(5), np.float32([2, -3]))], {"axis": axis})
        for axis in (-1, 0, 1)
    ),
    Form("Range", [], [(one(0), one(5), one(2)), (one(3), one(-4), one(-3)), (one(0), one(-4), one(1))]),
    Form("Range", [], [(np.float32(0), np.float32(1), np.float32(0.1)), (np.float32(2), np.float32(-1), np.float32(-0.7))],
         name="Range of floats"),
    Form("ConstantOfShape", [], [(ints(2, 3),), (ints(0, 4),), (ints(1, 1),)],
         {"value": onnx.numpy_helper.from_array(np.array([2.5], np.float32))}),
    Form("Compress", [X], [(np.array([True, False, True]),), (np.array([False, True, True]),), (np.array([False] * 3),)], {"axis": 1}),
    Form("Compress", [X], [(np.array([False, True] * 12),), (np.array([True] * 24),)], name="Compress the flat"),
    *(
        Form("Resize", [np.round(X[None], 2)], [(None, np.float32([1, 1, s, t])) for s, t in ((2, 1.5), (0.7, 3), (0.5, 0.4))],
             {"mode": mode, "coordinate_transformation_mode": coordinates, **more})
        for mode, coordinates, more in (
            ("nearest", "half_pixel", {}), ("nearest", "asymmetric", {"nearest_mode": "floor"}), ("linear", "half_pixel", {}),
            ("nearest", "align_corners", {"nearest_mode": "ceil"}), ("linear", "align_corners", {}), ("linear", "asymmetric", {}),
            ("nearest", "pytorch_half_pixel", {"nearest_mode": "round_prefer_ceil"}), ("linear", "pytorch_half_pixel", {}),
            ("linear", "half_pixel_symmetric", {}), ("cubic", "half_pixel", {"exclude_outside": 1, "cubic_coeff_a": -0.5}),
            ("linear", "half_pixel", {"antialias": 1}), ("cubic", "asymmetric", {"antialias": 1, "exclude_outside": 1}),
        )
    ),
    *(
        Form("Resize", [X[None]], [(None, None, ints(*sizes)) for sizes in ((1, 2, 6, 8), (1, 2, 3, 2), (1, 2, 1, 5))],
             {"mode": mode, **more})
        for mode, more in (("nearest", {}), ("linear", {}), ("cubic", {}), ("cubic", {"exclude_outside": 1}),
                           ("linear", {"antialias": 1, "exclude_outside": 1}), ("cubic", {"antialias": 1}),
                           ("nearest", {"keep_aspect_ratio_policy": "not_larger"}),
                           ("nearest", {"keep_aspect_ratio_policy": "not_smaller"}))
    ),
    Form("Resize", [X[None]], [(None, None, ints(6, 8)), (None, None, ints(1, 9))], {"mode": "linear", "axes": [2, -1]}),
    Form("NonZero", [], [(np.round(X),), (np.zeros_like(X),), (np.ones_like(X),)]),
]  # fmt: skip


def model_of(form, numbers, open_numbers=False):
    arrays = [*form.data, *numbers]
    names = [f"x{i}" for i in range(len(arrays))]
    ports = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(np.asarray(a).dtype),
                                      [None if open_numbers else d for d in np.shape(a)])
        for n, a in zip(names, arrays, strict=True) if a is not None
    ]  # fmt: skip
    results = [f"y{i}" for i in range(form.outputs)]
    node = helper.make_node(form.kind, [n if a is not None else "" for n, a in zip(names, arrays, strict=True)], results, **form.attributes)
    outputs = [onnx.ValueInfoProto(name=r) for r in results]
    graph = helper.make_graph([node], "g", ports, outputs)
    inferred = onnx.shape_inference.infer_shapes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", form.opset)], ir_version=10)
    )
    for port in inferred.graph.output:
        port.type.tensor_type.ClearField("shape")
    return inferred, [np.asarray(a) for a in arrays if a is not None]


def keras_backend():
    import keras

    return keras.backend.backend()


def beyond_keras(form):
    """Whether Keras cannot say it: on some backends what is counted in float64."""
    return str(form) == "Range of floats" and keras_backend() != "tensorflow"


@pytest.mark.parametrize("target", ["torch", "onnx", "keras"])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_one_converted_network_computes_what_the_source_does_whatever_the_numbers(form, target):
    model, _ = model_of(form, form.numbers[0])
    graph = li.load(model)
    assert any(isinstance(n.op, Deferred) for n in graph.nodes)
    if target == "keras" and beyond_keras(form):
        with pytest.raises(Refused, match="a computed range of floats"):
            transfer_graph(graph, target)
        return
    conversion = transfer_graph(graph, target)
    for numbers in form.numbers:
        arrays = [np.asarray(a) for a in (*form.data, *numbers) if a is not None]
        report = verify_conversion(conversion, arrays)
        assert report.passed, report
        assert report.nodes, "every node is judged by itself too"
        for expected, received in zip(li.run(model, arrays), graph.run(*arrays), strict=True):
            assert (received.shape, received.dtype) == (expected.shape, expected.dtype)
            np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-6)


def network():
    """Computed numbers in the middle of a network: of its data, of its inputs, and sizes that follow from them."""
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]>
        net (float[N, 6] x, int64[3] shape, int64[1] axes) => (float z, float[a] kept, int64[2, n] places, float[q] both) {
            r = Reshape(x, shape)
            s = ReduceSum<keepdims=0>(r, axes)
            z = LeakyRelu<alpha=0.3>(s)
            half = Constant<value_float=0.5>()
            large = Greater(x, half)
            places = NonZero(large)
            flat = Constant<value_ints=[-1]>()
            row = Reshape(x, flat)
            mask = Reshape(large, flat)
            kept = Compress(row, mask)
            size = Shape(kept)
            ones = ConstantOfShape<value: tensor = float[1] {2.5}>(size)
            more = Mul(ones, kept)
            both = Concat<axis=0>(more, kept)
        }""")
    onnx.checker.check_model(model)
    return model


def arrays_of(batch, seed=0):
    x = np.random.default_rng(seed).standard_normal((batch, 6)).astype(np.float32)
    return [x, ints(0, -1, 2), ints(-2)]


@pytest.mark.parametrize("target", ["torch", "onnx"])
def test_sizes_that_only_a_run_tells_go_through_a_network(target):
    model = network()
    graph = li.load(model)
    conversion = transfer_graph(graph, target)
    for batch in (1, 2, 7):
        arrays = arrays_of(batch, seed=batch)
        report = verify_conversion(conversion, arrays)
        assert report.passed, report
        assert {n.name for n in report.nodes} >= {"r", "s", "z", "kept", "places", "both"}
        for expected, received in zip(li.run(model, arrays), graph.run(*arrays), strict=True):
            np.testing.assert_allclose(received, expected, rtol=1e-6)


def test_what_is_written_reads_as_a_person_would_write_it():
    code = li.convert(network(), to="torch").code
    assert "leaky_interop" not in code
    for line in ("axes.tolist()", "s = r.sum(", "large.nonzero()", "kept.size(0)"):
        assert line in code, code
    written = li.convert(network(), to="onnx")
    assert [n.op_type for n in written.graph.node][:2] == ["Reshape", "ReduceSum"]
    assert not any("?" in d.dim_param for o in written.graph.output for d in o.type.tensor_type.shape.dim)
    assert li.verify(network(), written, inputs=arrays_of(3)).passed


def test_a_wrong_number_in_the_target_is_found():
    model = network()
    conversion = transfer_graph(li.load(model), "onnx")
    next(n for n in conversion.model.graph.node if n.op_type == "ReduceSum").op_type = "ReduceMean"
    report = verify_conversion(conversion, arrays_of(2))
    assert not report.passed and report.first_difference.name == "s"


def test_seeded_numbers_that_do_not_fit_ask_for_others():
    with pytest.raises(Usage, match=r"shapes, axes or counts.*Pass inputs"):
        verify_conversion(transfer_graph(li.load(network()), "torch"))


def test_a_part_of_such_a_network():
    part = li.convert(network(), to="torch", cut_outputs=["both"])
    (x, *_), (expected,) = arrays_of(4), li.run(network(), arrays_of(4))[3:]
    np.testing.assert_allclose(li.run(part, [x])[0], expected, rtol=1e-6)


def test_a_pt2_file_that_torch_cannot_export_is_refused(tmp_path):
    with pytest.raises(Refused, match=r"pt2.*safetensors"):
        li.convert(network(), to=tmp_path / "net.pt2", inputs=arrays_of(2))
    assert not list(tmp_path.iterdir())


def test_source_with_computed_numbers_runs_alone(tmp_path):
    import runpy

    import torch

    li.convert(network(), to=tmp_path / "net.safetensors", inputs=arrays_of(2))
    made = runpy.run_path(str(tmp_path / "net.py"))["load"]()
    results = made(*map(torch.from_numpy, arrays_of(5)))
    for expected, received in zip(li.run(network(), arrays_of(5)), results, strict=True):
        np.testing.assert_allclose(received.detach().numpy(), expected, rtol=1e-6)


def test_a_saved_keras_model_still_reads_its_axes(tmp_path):
    import keras

    form = next(f for f in FORMS if f.kind == "ReduceMean" and f.attributes == {"keepdims": 0})
    model, arrays = model_of(form, form.numbers[0])
    li.convert(model, to=tmp_path / "net.keras", inputs=arrays)
    loaded = keras.saving.load_model(tmp_path / "net.keras", safe_mode=True)
    for (axes,) in form.numbers:
        np.testing.assert_allclose(li.run(loaded, [X, axes])[0], X.mean(axes[0]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", [f for f in FORMS if f.kind in ("ReduceMean", "Slice", "TopK")], ids=str)
def test_all_sizes_may_be_open(form):
    model, arrays = model_of(form, form.numbers[0])
    for axis, dim in enumerate(model.graph.input[0].type.tensor_type.shape.dim):
        dim.dim_param = f"d{axis}"
    report = verify_conversion(transfer_graph(li.load(model), "torch"), arrays)
    assert report.passed, report


def test_an_old_operator_set_that_has_no_such_operand_is_refused():
    form = next(f for f in FORMS if f.kind == "ReduceMean")
    model, _ = model_of(form, form.numbers[0])
    with pytest.raises(Refused, match="opset 13"):
        li.convert(model, to="onnx", opset=13)


def test_how_many_axes_must_be_known_where_they_go():
    form = next(f for f in FORMS if f.kind == "ReduceSum" and f.attributes == {"keepdims": 0})
    model, _ = model_of(form, form.numbers[0], open_numbers=True)
    with pytest.raises(Refused, match="axes that only a run counts"):
        li.load(model)


@pytest.mark.parametrize("kind", [k for k in ROWS if k.startswith("Reduce")])
@pytest.mark.parametrize("target", ["torch", "onnx", "keras"])
def test_no_axes_are_all_axes_where_dimensions_stay(kind, target):
    form = Form(kind, [np.abs(X) + 1], [(ints(),), (ints(1),), (ints(0, 2),)], {"keepdims": 1})
    model, _ = model_of(form, (ints(),), open_numbers=True)
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, X.shape, strict=True):
        dim.dim_value = size
    if (target, kind) == ("torch", "ReduceProd"):
        with pytest.raises(Refused, match="only a run counts"):
            li.convert(model, to=target)
        return
    converted = li.convert(model, to=target)
    for (axes,) in form.numbers:
        (expected,), (received,) = (li.run(m, [form.data[0], axes]) for m in (model, converted))
        assert received.shape == expected.shape
        np.testing.assert_allclose(received, expected, rtol=1e-5)


@pytest.mark.parametrize("target", ["torch", "onnx", "keras"])
def test_an_axis_that_only_a_run_knows_to_be_1_is_squeezed(target):
    model = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]>
        net (float[2, k, 3] x) => (float[a, b] y) { axes = Constant<value_ints=[1]>() y = Squeeze(x, axes) }""")
    np.testing.assert_array_equal(li.run(li.convert(model, to=target), [X[:, :1, :3]])[0], X[:, 0, :3])
