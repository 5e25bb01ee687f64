"""Which slope arrives: this project's own conversions, spelling by spelling, and the judge that compares exporters."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest

import leaky_interop as li
from leaky_interop.conformance import environments, known, worker
from leaky_interop.conformance.as_json import render
from leaky_interop.conformance.exporters import asking, plans, to_markdown
from leaky_interop.conformance.record import Conformance, Runtime

SPELLING = {"variant": "a to b", "operator": "LeakyReLU", "dtype": "float32", "slope": "0.1"}
AXES = {"runtime": "some", "placement": "alone", "shape": "rank 2", "what": "output", **SPELLING}


ONCE = pytest.mark.xdist_group("own conversions")  # one process asks for all of them

# --- our own conversions ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own():
    """The file of our own conversions as the worker loads it, on the backend of this process."""
    return worker.load(str(asking.FOLDER / "own.py"))


class Here:
    """Answers in this process what the worker would answer in its own."""

    deaths = 0

    def __init__(self, exporter):
        self.exporter = exporter
        self.plan = plans()[exporter.describe()["name"]]

    def tell(self, message, limit):
        return worker.answer(self.exporter, message)


PAIRS = [f"{a} to {b}" for a in ("keras", "torch", "onnx") for b in ("keras", "torch", "onnx") if a != b]


@pytest.fixture(scope="module")
def cells(own):
    """Every cell of our own conversions, with what is known laid over it."""
    about = own.describe() | {"python": ""}
    made = [asking.one(Here(own), job) for job in asking.jobs_of(about)]
    runtime = Runtime(name=about["name"], status="ran", version=li.__version__)
    found, differences = known.apply(made, known.differences(about["name"], asking.FOLDER / "own.py"), [runtime])
    return found, differences


@ONCE
@pytest.mark.parametrize("pair", PAIRS)
def test_every_slope_arrives_to_the_last_bit(pair, cells):
    rows = [c for c in cells[0] if c.variant == pair]
    assert len(rows) >= 2 * 2 * len(asking.SLOPES)
    for cell in rows:
        if cell.verdict == "refused":
            assert cell.known, cell
        elif {cell.sent, cell.arrived} <= {"0x0.0p+0", "-0x0.0p+0"}:
            continue  # a slope of 0: which zero -1 becomes is judged with the numbers
        elif "tensorflow-holds" in " ".join(cell.known) and cell.sent != cell.arrived:
            assert float.fromhex(cell.sent) == float(np.float32(float.fromhex(cell.arrived))), cell
        else:
            assert cell.sent == cell.arrived, cell


@ONCE
@pytest.mark.parametrize("pair", PAIRS)
def test_every_number_is_the_sources_own_or_differs_for_a_known_reason(pair, cells):
    wrong = [c for c in cells[0] if c.variant == pair and c.verdict not in ("exact", "within", "known", "refused")]
    assert not wrong, wrong[0]
    assert any(c.verdict == "exact" for c in cells[0] if c.variant == pair and c.dtype == "float64") or "keras" in pair


@ONCE
def test_every_known_reason_holds(cells):
    assert {d.id: d.status for d in cells[1]} == {d.id: "holds" for d in cells[1]}


@ONCE
def test_what_differs_on_pytorch_is_the_sign_of_a_zero_or_a_zero_that_is_nan(cells, own):
    if own.describe()["name"] != "own_torch":
        pytest.skip("TensorFlow flushes subnormal numbers")
    for cell in cells[0]:
        if cell.where and set(cell.where) != {"zero"}:
            assert cell.ulp == 0, cell


# --- historical faults ------------------------------------------------------------------------------------------------


def test_an_onnx_slope_that_is_left_out_is_the_float_of_the_schema():
    from onnx import TensorProto, helper

    for kind, slope in ((TensorProto.FLOAT, 0.01), (TensorProto.DOUBLE, float(np.float32(0.01)))):
        ports = [helper.make_tensor_value_info(n, kind, ["batch", 3]) for n in "xy"]
        graph = helper.make_graph([helper.make_node("LeakyRelu", ["x"], ["y"])], "one", ports[:1], ports[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 16)])
        assert li.load(model).nodes[0].op.negative_slope == slope


@pytest.mark.parametrize("slope", [math.inf, -math.inf, math.nan])
def test_a_prelu_without_a_finite_slope_keeps_positive_numbers_in_keras(slope):
    torch = pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    x = np.array([[-2.0, 3.0, 0.5]], np.float32)
    module = torch.nn.PReLU(init=slope)
    model = li.convert(module, "keras", example=(x,))
    (row,) = keras.ops.convert_to_numpy(model(x))
    np.testing.assert_array_equal(row, [-2 * slope, 3.0, 0.5])


@pytest.mark.parametrize("slope", [math.inf, math.nan])
def test_keras_layers_that_make_nan_of_positive_numbers_are_refused(slope):
    keras = pytest.importorskip("keras")
    prelu, capped = keras.layers.PReLU(), keras.layers.ReLU(6.0, negative_slope=slope, threshold=1.0)
    for layer in (prelu, capped):
        x = keras.Input((3,))
        model = keras.Model(x, layer(x))
        if layer is prelu:
            layer.set_weights([np.array([0.1, slope, 0.2], np.float32)])
        with pytest.raises(li.Refused, match="Keras makes NaN"):
            li.load(model)


# --- the judge --------------------------------------------------------------------------------------------------------


def judged(change, slope=0.1, dtype="float32"):
    x = asking.inputs(dtype)
    with np.errstate(all="ignore"):
        y = np.where(x >= 0, x, (x * x.dtype.type(slope)).astype(dtype))
        z = change(x, y.copy())
    return asking.judge(
        {**AXES, "dtype": dtype}, x, {"source": y, "result": z, "form": worker.np.frombuffer(b"LeakyRelu", np.uint8)}
    )


def put(place, value):
    def change(x, y):
        y[place(x)] = value
        return y

    return change


def test_equal_bits_are_exact():
    cell = judged(lambda x, y: y)
    assert (
        cell.verdict == "exact"
        and cell.sent == cell.arrived == float(np.float32(0.1)).hex()
        and cell.form == "LeakyRelu"
    )


FAULTS = {
    "another slope": (lambda x, y: np.where(x < 0, x * np.float32(0.2), x), "negative"),
    "a slope of 0": (lambda x, y: np.maximum(x, np.float32(0)), "negative"),
    "no activation": (lambda x, y: x, "negative"),
    "branches swapped": (lambda x, y: np.where(x > 0, x * np.float32(0.1), x), "positive"),
    "one number": (put(lambda x: 40, 7.0), None),
    "nan hidden": (put(np.isnan, 0.0), "nan"),
    "infinity hidden": (put(np.isposinf, 3e38), "+inf"),
    "nan at -infinity": (put(np.isneginf, np.nan), "-inf"),
    "the sign of zero": (put(lambda x: (x == 0) & np.signbit(x), 0.0), "zero"),
    "flushed": (put(lambda x: (np.abs(x) < 1e-38) & (x != 0), 0.0), "subnormal"),
    "the largest": (put(lambda x: x == np.finfo(np.float32).max, np.inf), "largest"),
    "half precision": (lambda x, y: y.astype(np.float16).astype(np.float32), "negative"),
    "another shape": (lambda x, y: y[None], "result"),
    "another type": (lambda x, y: y.astype(np.float64), "result"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_wrong_and_says_where(fault):
    change, where = FAULTS[fault]
    cell = judged(change)
    assert cell.verdict == "wrong" and (where is None or where in cell.where), cell


def test_a_last_digit_is_within():
    assert judged(lambda x, y: np.where(x == np.float32(-1), np.nextafter(y, np.float32(0)), y)).verdict == "within"


def test_the_slope_of_a_threshold_counts_from_it():
    assert asking.slope_of(np.array([-0.2], np.float64), "ReLU with all") == (0.1).hex()
    assert [asking.slope_of(np.array([-s]), "") for s in (math.inf, math.nan, -0.1)] == ["inf", "nan", (-0.1).hex()]


def test_nothing_is_known_that_is_not_listed():
    cell = judged(FAULTS["a slope of 0"][0])
    (explained,), _ = known.apply(
        [cell],
        known.differences("own_torch", asking.FOLDER / "own.py"),
        [Runtime(name="own_torch", status="ran", version="1")],
    )
    assert explained.verdict == "wrong"


# --- files ------------------------------------------------------------------------------------------------------------


def test_every_exporter_says_what_it_needs_and_only_ours_runs_here():
    found = plans()
    assert {"keras_export_tensorflow", "keras_export_torch", "keras_export_jax", "tf2onnx", "torch_onnx", "onnx2torch",
            "onnx2pytorch", "onnx2keras", "onnx2tf", "coremltools"} <= set(found)  # fmt: skip
    assert {name for name, plan in found.items() if plan.environment is None} == {"own_torch", "own_tensorflow"}
    for name, plan in found.items():
        assert known.differences(name, plan.source)
        assert plan.environment is None or all("==" in p or p.startswith("-") for p in plan.environment["packages"])


def test_an_exporter_imports_nothing_of_this_package_but_ours():
    for path in asking.FOLDER.rglob("*.py"):
        if path.name in (*asking.OWN, "own.py") and path.parent == asking.FOLDER:
            continue
        assert not re.search(r"^\s*(from|import) (leaky_interop|\.)", path.read_text(encoding="utf-8"), re.M), path


def test_a_record_has_its_table_and_goes_through_json():
    cells = (judged(lambda x, y: y), judged(FAULTS["no activation"][0]))
    record = Conformance(leaky_interop="1", platform="x", runtimes=(Runtime(name="some", status="ran", version="2"),
                         Runtime(name="other", status="absent", message="not made.")), cells=cells)  # fmt: skip
    text = to_markdown(record)
    assert "| LeakyReLU |" in text and "**≠**" in text and "other was not asked: not made." in text
    rows = json.loads(render(record))["cells"]
    assert [row["verdict"] for row in rows] == ["exact", "wrong"] and rows[1]["arrived"] == "0x1.0000000000000p+0"


def test_an_exporter_that_is_not_here_is_absent(monkeypatch, tmp_path):
    monkeypatch.setenv("LEAKY_INTEROP_CACHE", str(tmp_path))
    record = asking.run([plans()["onnx2torch"]])
    assert [r.status for r in record.runtimes] == ["absent"] and "--install" in record.runtimes[0].message
    assert not record.cells and isinstance(environments.cache(), Path)
