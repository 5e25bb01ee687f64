"""The suite finds, from its own cases, the differences that the runtimes of the development installation have."""

import math

import pytest

from leaky_interop.conformance import environments, known, running
from leaky_interop.conformance.cases import cases
from leaky_interop.conformance.record import Cell


def ask(name: str, *, variants=None, **axes) -> list[Cell]:
    """The cells of a runtime whose axes are among these, of the ones that the suite asks; no difference looked up yet."""
    (plan,) = environments.chosen([name])
    with running.Asking(plan, environments.interpreter(plan)) as asking:
        about = asking.describe()
        made = []
        for variant in about["variants"] if variants is None else variants:
            narrowed = running.narrowed(about, variant)
            asked = [c for c in cases(narrowed) if all(getattr(c, axis) in values for axis, values in axes.items())]
            made += [asking.cell(case, variant, narrowed) for case in asked]
    assert made
    return made


def by(found: list[Cell], *axes: str) -> dict[tuple[str, ...], Cell]:
    return {tuple(getattr(cell, axis) for axis in axes): cell for cell in found}


@pytest.fixture(scope="module")
def whole():
    """Everything that is asked of the runtimes that are quick."""
    return running.run(environments.chosen(["keras_numpy", "onnx_reference", "onnxruntime", "torch_eager"]))


def test_nothing_is_wrong_that_is_not_known_and_every_known_difference_holds(whole):
    assert [r.status for r in whole.runtimes] == ["ran"] * 4
    assert [cell.id for cell in whole.cells if not cell.passed] == []
    assert [(d.runtime, d.id) for d in whole.known if d.status == "gone"] == []
    assert {d.id for d in whole.known if d.status == "not covered" and not d.machine} <= {"keras-prelu-gradient-0"}


def test_without_the_known_differences_they_are_wrong(whole):
    plain, _ = known.apply(running.run(environments.chosen(["onnx_reference"]), differences=[]).cells, [], [])
    wrong = [cell.id for cell in plain if cell.verdict == "wrong"]
    assert wrong == [cell.id for cell in whole.of("onnx_reference") if cell.verdict == "known"] != []


def test_keras_on_numpy_is_wrong_above_1_and_truncates_integer_slopes(whole):
    found = by([c for c in whole.of("keras_numpy") if (c.variant, c.operator, c.placement, c.shape, c.what)
                == ("function", "leaky_relu", "alone", "rank 1", "output")], "dtype", "slope")  # fmt: skip
    for slope in ("1.5", "2", "1e10", "1e38", "inf"):
        cell = found["float32", slope]
        assert (
            cell.known == ("keras-numpy-slope-above-1",)
            and cell.where["overflow" if slope == "inf" else "negative"] > 20
        )
    for slope in ("0.1", "1/3", "1"):
        assert found["float32", slope].verdict == "exact"
    whole_numbers = found["int32", "0.2"]
    assert whole_numbers.known == ("keras-numpy-integers-truncate-the-slope",)
    assert (whole_numbers.numbers[0].x, whole_numbers.numbers[0].got) == (-7, 0)


def test_the_reference_evaluator_is_wrong_for_a_slope_of_inf_or_nan(whole):
    for cell in whole.of("onnx_reference"):
        if cell.slope in ("inf", "nan") and cell.operator == "leaky_relu":
            poisoned = cell.variant == "operator"
            assert ("positive" in cell.where) == poisoned, cell.id
            assert ("onnx-reference-mask-poisons-positives" in cell.known) == poisoned


def test_onnxruntime_has_float64_at_opset_16_to_18_only_and_no_bfloat16(whole):
    for cell in whole.of("onnxruntime"):
        if cell.dtype == "bfloat16":
            assert (cell.verdict, cell.known) == ("refused", ("onnxruntime-no-bfloat16",))
        elif cell.dtype == "float64" and cell.placement != "conv":
            outside = cell.variant.startswith("opset")
            assert (cell.verdict == "refused") == outside, cell.id
            assert (cell.known == ("onnxruntime-float64-opset-16-to-18",)) == outside or cell.verdict == "known"


def test_onnxruntime_loses_the_sign_of_zero_in_where(whole):
    cell = by(list(whole.of("onnxruntime")), "variant", "operator", "dtype", "placement", "shape", "slope")[
        "disable", "leaky_relu", "float16", "alone", "rank 1", "0"]  # fmt: skip
    assert cell.known == ("onnxruntime-where-loses-negative-zero",)
    assert all(n.got == 0 and math.copysign(1, n.got) == 1 and math.copysign(1, n.want) == -1 for n in cell.numbers)


def test_every_optimisation_level_of_onnxruntime_gives_the_same(whole):
    levels = [[(c.operator, c.dtype, c.placement, c.shape, c.slope, c.verdict, c.where) for c in whole.of("onnxruntime")
               if c.variant == level] for level in ("disable", "basic", "extended", "all")]  # fmt: skip
    assert levels[0] == levels[1] == levels[2] == levels[3]


def test_the_two_camps_of_float16(whole):
    held = {runtime.name: runtime.held for runtime in whole.runtimes}
    for kind in ("float16", "bfloat16"):
        assert "float32" in held["torch_eager"][kind].measured and "type" not in held["torch_eager"][kind].measured
        assert held["onnx_reference"][kind].measured == ("type",)
        assert held["keras_numpy"][kind].measured == ("type",)
    assert "float32" in held["onnxruntime"]["float16"].measured
    assert held["onnxruntime"]["float64"].measured == held["onnx_reference"]["float64"].measured == ("float32",)
    assert held["torch_eager"]["float64"].measured == ("float64",)


def test_torch_multiplies_zero_and_follows_the_slope_at_zero(whole):
    assert next(r for r in whole.runtimes if r.name == "torch_eager").at_zero == ("slope",)
    found = [
        c
        for c in whole.of("torch_eager")
        if c.slope in ("-0.1", "nan") and c.what == "output" and c.placement == "alone"
    ]
    assert found and all(c.known == ("torch-zero-is-multiplied",) and set(c.where) == {"zero"} for c in found)


def test_torch_refuses_the_in_place_gradient_of_a_negative_slope_and_integers(whole):
    refused = {(c.variant, c.slope) for c in whole.of("torch_eager") if c.verdict == "refused" and c.what == "gradient"}
    assert refused == {("in-place", "-0.1"), ("in-place", "-1"), ("in-place", "nan")}
    assert {c.verdict for c in whole.of("torch_eager") if c.dtype == "int32"} == {"refused"}


@pytest.fixture(scope="module")
def tensorflow():
    axes = {"dtype": ("float16", "float32", "float64", "int32"), "slope": ("0", "0.1", "0.2"), "what": ("output",)}
    return ask("tensorflow", variants=["eager", "graph"], shape=("rank 1", "rank 4"), **axes)


def test_tensorflow_flushes_subnormals_and_holds_the_slope_of_float64_in_float32(tensorflow):
    found = by([c for c in tensorflow if c.placement == "alone" and c.shape == "rank 1"], "variant", "dtype", "slope")
    assert found["eager", "float16", "0.1"].verdict == "exact" and found["eager", "float16", "0.1"].readings == (
        "type",
    )
    assert set(found["eager", "float32", "0.1"].where) == {"subnormal"}
    wide = found["eager", "float64", "0.1"]
    assert {"precision", "subnormal"} == set(wide.where) and wide.readings == ("float32",)
    assert found["eager", "int32", "0.2"].verdict == "exact"
    explained, status = known.apply(
        tensorflow,
        known.differences("tensorflow"),
        [running.Runtime(name="tensorflow", status="ran", version="2.21.0")],
    )
    assert [c.id for c in explained if not c.passed] == []
    holding = {d.id for d in status if d.status == "holds"}
    assert {"tensorflow-subnormals-are-flushed", "tensorflow-float64-slope-in-float32"} <= holding


def test_tensorflow_fuses_a_slope_of_0_into_relu_in_a_graph(tensorflow):
    found = by([c for c in tensorflow if c.placement == "conv"], "variant", "dtype", "slope")
    assert not {"nan", "-inf"} & set(found["eager", "float32", "0"].where)
    if "nan" not in found["graph", "float32", "0"].where:
        pytest.skip("TensorFlow does not turn oneDNN on by itself on this machine")
    assert {"nan", "-inf", "underflow"} <= set(found["graph", "float32", "0"].where)
    assert not {"nan", "-inf"} & set(found["graph", "float32", "0.1"].where)


def test_keras_has_two_precisions_of_the_slope_in_float16():
    """One model, two backends, 1 ULP apart on a third of the negative numbers."""
    axes = {
        "dtype": ("float16",),
        "slope": ("1/3",),
        "operator": ("leaky_relu",),
        "placement": ("alone",),
        "what": ("output",),
    }
    (torch,) = ask("keras_torch", variants=["layer"], **axes)
    (flow,) = ask("keras_tensorflow", variants=["layer"], **axes)
    assert torch.verdict == flow.verdict == "exact"
    assert "float32" in torch.readings and flow.readings == ("type",)


def test_torch_compile_is_as_eager():
    axes = {
        "dtype": ("float16",),
        "operator": ("leaky_relu",),
        "placement": ("alone",),
        "shape": ("rank 1",),
        "what": ("output",),
    }
    found = ask("torch_compile", slope=("0.1", "2", "-0.1"), **axes)
    assert [c.verdict for c in found] == ["exact", "exact", "wrong"]
    explained, _ = known.apply(
        found,
        known.differences("torch_compile"),
        [running.Runtime(name="torch_compile", status="ran", version="2.13.0")],
    )
    assert explained[-1].known == ("torch-zero-is-multiplied",)
