"""Deviations that were measured by hand, one framework at a time: the suite finds each of them from its own cases.

The numbers are those of that list. A row names the lines of known/*.txt and exporters/*.known.txt that a deviation has,
each with a cell that it is about, or the test that shows it where no cell can. The cells are asked of the runtimes
that are here; the others where their environments are made (`leaky-interop conformance --install`).
"""

import ast
import dataclasses
import math
from pathlib import Path

import keras
import numpy as np
import pytest

from leaky_interop.conformance import environments, exporters, known, running
from leaky_interop.conformance.cases import QUANTA, Case
from leaky_interop.conformance.exporters import asking
from leaky_interop.conformance.record import AXES, Cell, Runtime

RUNTIMES, EXPORTERS = environments.plans(), exporters.plans()
PLANS = {**RUNTIMES, **EXPORTERS}
MEASURED = {
    "iree": "3.13.0", "keras2onnx": "1.7.0", "keras_numpy": "3.15.1", "lasagne": "0.1", "litert": "2.3.0", "mindspore": "2.10.0", "mlx": "0.32.4", "mnn": "3.6.1",
    "mxnet": "1.9.1", "ncnn": "1.0.20261020", "onnx2keras": "0.0.25", "onnx2tf": "1.29.24", "onnx_reference": "1.23.2",
    "onnxruntime": "1.32.0", "opencv": "5.0.0", "openvino": "2026.4.1", "paddle": "3.3.1", "tensorflow": "2.21.0",
    "tf2onnx": "1.17.0", "tfjs": "4.22.0", "tinygrad": "0.14.0", "torch_onnx": "2.13.0", "tvm": "0.27.0",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Line:
    """A known difference and a cell that it is about. says: of a refusal; where: of numbers; at_zero: of a gradient."""

    source: str
    id: str
    axes: dict[str, str]
    where: tuple[str, ...]
    says: str
    at_zero: str

    @property
    def cell(self) -> Cell:
        """The cell as it is before any known difference is laid over it."""
        return Cell(
            runtime=self.source, verdict="refused" if self.says else "wrong", where=dict.fromkeys(self.where, 1),
            message=self.says, **self.axes,
        )  # fmt: skip


def line(source, id, variant, slope, *where, says="", at_zero="", **axes):
    """The plainest cell unless said otherwise: LeakyReLU in float32, alone."""
    shape = "rank 2" if source in EXPORTERS else "rank 4" if axes.get("placement") else "rank 1"
    plain = {"operator": "leaky_relu", "dtype": "float32", "placement": "alone", "shape": shape, "what": "output"}
    return Line(source, id, plain | axes | {"variant": variant, "slope": slope}, where, says, at_zero)


def lines(source, id, variants, slopes, *where, **axes):
    return [line(source, id, v, s, *where, **axes) for v in variants for s in slopes]


DEVIATIONS = {
    1: lines("keras_numpy", "keras-numpy-slope-above-1", ["layer", "function"], ["2"], "negative", "positive"),
    2: [
        line("mlx", "mlx-slope-above-1", "eager", "2", "negative", "positive"),
        line("mlx", "mlx-slope-above-1", "eager", "2", "negative", "positive", what="gradient"),
    ],
    3: lines("tf2onnx", "tf2onnx-where-becomes-masks", ["opset 15", "opset 18"], ["0.1"], "+inf", "-inf", operator="where"),
    4: lines("openvino", "openvino-bfloat16-slope-is-truncated", ["cpu"], ["0.1", "0.2", "1/3"], "negative", dtype="bfloat16"),
    5: [
        line("openvino", "openvino-fused-slope-0-is-relu", "cpu", "0", "nan", "-inf", placement="conv"),
        line("tensorflow", "tensorflow-fused-slope-0", "graph", "0", "nan", "-inf", placement="conv"),
        *lines("mxnet", "mxnet-slope-0-is-relu-in-onednn", ["nd", "gluon"], ["0"], "nan", "-inf"),
    ],
    6: [line("openvino", "openvino-float64-in-float32", "cpu", "0.1", "+inf", dtype="float64")],
    7: lines("opencv", "opencv-float64-prelu-slope-is-misread", ["classic", "new"], ["0.2"], "negative", "-inf",
             operator="prelu", dtype="float64"),
    8: [
        line("keras2onnx", "keras2onnx-relu-becomes-clip", "opset 12", "0.1", "negative", operator="ReLU"),
        line("keras2onnx", "keras2onnx-relu-with-all-becomes-clip", "opset 12", "0.1", "negative", operator="ReLU with all"),
    ],
    9: [line("tfjs", "tfjs-relu-layer-ignores-negative-slope", "ReLU layer", "0.1", "negative")],
    10: ["test_conformance_deviations.py::test_keras_relu_is_0_at_its_threshold_and_for_nan",
         "test_ops_relu.py::test_R9_keras_relu_with_all_its_settings"],
    11: [
        *(line("onnx_reference", "onnx-reference-mask-poisons-positives", "operator", slope, "positive", dtype=dtype)
          for slope in ("inf", "nan") for dtype in ("float16", "bfloat16", "float32", "float64")),
        line("onnx_reference", "onnx-reference-zero-sign", "operator", "1e10", "zero", dtype="float16"),
    ],
    12: [
        *lines("onnxruntime", "onnxruntime-float64-opset-16-to-18", ["opset 15", "opset 20"], ["0.1"],
               says="NOT_IMPLEMENTED", dtype="float64"),
        line("onnxruntime", "onnxruntime-where-loses-negative-zero", "all", "0.1", "underflow", dtype="float64"),
    ],
    13: [line("torch_onnx", "torch-onnx-dynamo-does-not-export-rrelu", "dynamo", "left out", operator="RReLU",
              says="exporter: ConversionError")],
    14: [
        line("tvm", "tvm-slope-0-is-folded", "llvm", "0", "-inf", "nan"),
        line("tinygrad", "tinygrad-slope-0-is-folded", "cpu", "0", "-inf"),
    ],
    15: lines("mnn", "mnn-nan-becomes-0", ["default"], ["0", "0.1", "1/3", "1", "2", "-0.1"], "nan"),
    16: [
        line("ncnn", "ncnn-slope-nan-and-inf-are-read-as-0", "default", "nan", "negative"),
        line("ncnn", "ncnn-slope-nan-and-inf-are-read-as-0", "default", "inf", "overflow"),
    ],
    17: [
        *lines("mxnet", "mxnet-float64-negative-side-in-float32", ["nd", "gluon"], ["0.1"], "negative", "largest",
               dtype="float64"),
        line("mxnet", "mxnet-float64-negative-side-in-float32", "nd", "0.1", "negative", operator="prelu", dtype="float64"),
        *lines("mxnet", "mxnet-slope-1e38-is-parsed-one-off", ["nd", "gluon"], ["1e38"], "negative"),
    ],
    18: [
        line("paddle", "paddle-slope-nan-is-lost", "eager", "nan", "negative"),
        line("paddle", "paddle-slope-0-keeps-minus-inf", "eager", "0", "-inf"),
        *lines("mindspore", "mindspore-slope-nan-is-lost", ["ops", "nn"], ["nan"], "negative"),
        *lines("mindspore", "mindspore-slope-0-keeps-minus-inf", ["ops", "nn"], ["0"], "-inf"),
    ],
    19: [
        *lines("lasagne", "lasagne-terms-cancel", ["Lasagne"], ["0.01", "0.1", "1e10"], "negative", "positive"),
        line("lasagne", "lasagne-slope-0-doubles", "Lasagne", "0", "largest"),
    ],
    20: lines("mindspore", "mindspore-gradient-where-both-are-equal", ["ops", "nn"], ["0.1"], "+inf", "-inf",
              what="gradient", at_zero="mean"),
    21: lines("keras_numpy", "keras-numpy-integers-truncate-the-slope", ["function"], ["0.2"], "negative", dtype="int32"),
    22: [line("onnx2keras", "onnx2keras-missing-alpha-is-a-key-error", "onnx to keras", "left out", operator="LeakyRelu",
              says="KeyError: 'alpha'")],
    23: ["test_conformance_runtimes.py::test_keras_has_two_precisions_of_the_slope_in_float16"],
    24: [line("onnx2tf", "onnx2tf-pseudo-leaky-relu-is-a-sum-of-extremes", "pseudo operators", "-0.1", "negative",
              operator="LeakyRelu")],
    25: [line("iree", "iree-float64-does-not-run", "llvm-cpu", "0.1", says="OUT_OF_RANGE", dtype="float64")],
    26: [
        *(each for placement in ("quantised", "quantised uint8") for each in lines(
            "litert", "litert-xnnpack-slope-in-8-bits", ["xnnpack"], ["0.1", "0.2", "1/3"], "negative", placement=placement)),
        *(each for placement in QUANTA for each in lines(
            "litert", "litert-integers-round-twice", ["reference", "builtin"], ["0.1", "0.2"], "negative", placement=placement)),
    ],
}  # fmt: skip
LINES = {f"{number} {each.source} {each.id} {' '.join(each.axes.values())}": each
         for number, found in DEVIATIONS.items() for each in found if isinstance(each, Line)}  # fmt: skip


def after(made: Cell, differences) -> Cell:
    ran = Runtime(name=made.runtime, status="ran", version=MEASURED[made.runtime])
    return known.apply([made], differences, [ran])[0][0]


def test_every_deviation_has_its_line():
    assert sorted(DEVIATIONS) == list(range(1, 27))
    assert all(DEVIATIONS.values())


@pytest.mark.parametrize("name", LINES)
def test_its_line_belongs_to_it_and_alone_explains_its_cell(name):
    deviation = LINES[name]
    differences = known.differences(deviation.source, PLANS[deviation.source].source)
    found = known.by_id(differences, deviation.id)
    assert found is not None
    assert set(deviation.where) <= set(found.match.get("where", deviation.where))
    explained = after(deviation.cell, differences)
    assert (explained.verdict, deviation.id in explained.known) == ("refused" if deviation.says else "known", True)
    without = after(deviation.cell, [d for d in differences if d is not found])
    assert deviation.id not in without.known and without.verdict == deviation.cell.verdict


@pytest.mark.one_backend
@pytest.mark.parametrize("name", sorted({each.source for each in LINES.values()}))
def test_it_is_measured(name):
    """The cell itself: asked of the runtime, it differs where the row says, and the line explains it."""
    plan = PLANS[name]
    if (python := environments.interpreter(plan)) is None:
        pytest.skip(environments.needs(plan))
    differences = known.differences(name, plan.source)
    with running.Asking(plan, python) as worker:
        about = worker.tell({"do": "describe"}, running.START_LIMIT).get("about")
        if about is None:
            pytest.skip(f"{name} does not start here")
        for deviation in (each for each in LINES.values() if each.source == name):
            got = asked(worker, deviation, about)
            assert set(deviation.where) <= set(got.where), got
            assert deviation.says in got.message and deviation.at_zero in ("", got.at_zero), got
            assert deviation.id in after(got, differences).known, got


def asked(worker, deviation, about):
    axes = deviation.axes
    if deviation.source in EXPORTERS:
        job = {"variant": axes["variant"], "spelling": axes["operator"], "dtype": axes["dtype"], "slope": axes["slope"]}
        return asking.one(worker, job)
    case = Case(**{axis: axes[axis] for axis in AXES if axis not in ("runtime", "variant")})
    return worker.cell(case, axes["variant"], running.narrowed(about, axes["variant"]))


@pytest.mark.parametrize("name", [each for found in DEVIATIONS.values() for each in found if isinstance(each, str)])
def test_a_test_that_is_named_is_there(name):
    file, _, function = name.partition("::")
    tree = ast.parse((Path(__file__).parent / file).read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("spelling", ["layer", "function"])
def test_keras_relu_is_0_at_its_threshold_and_for_nan(spelling):
    """Its documentation has f(x) = x for x >= threshold. Without a slope NaN is 0 too; with one it stays NaN."""
    given = {"threshold": 1.0}
    above = float(np.nextafter(np.float32(1), np.float32(2)))
    x = np.asarray([[1.0, above, 0.5, math.nan]], np.float32)

    def relu(**more):
        settings = given | more
        made = keras.layers.ReLU(**settings)(x) if spelling == "layer" else keras.activations.relu(x, **settings)
        return keras.ops.convert_to_numpy(made)[0].tolist()

    assert relu() == [0.0, above, 0.0, 0.0]
    at, over, below, nan = relu(negative_slope=0.5)
    assert (at, over, below) == (0.0, above, -0.25) and math.isnan(nan)
