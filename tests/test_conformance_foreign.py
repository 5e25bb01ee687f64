"""The runtimes outside the dev installation: what can be held to without their frameworks.

Their cells are asked where their environments are made (`leaky-interop conformance --install`). Here: that the files can
be run alone and always in the same versions, and that their known differences excuse what they say and nothing else.
"""

import ast
import re
import sys

import pytest

from leaky_interop.conformance import cases, environments, known, reproducing
from leaky_interop.conformance.record import WHERE, Cell, Number, Runtime

VERSIONS = {
    "chainer": "7.8.1", "iree": "3.13.0", "jax": "0.10.2", "keras_2_0": "2.0.8", "keras_2_3": "2.3.1", "lasagne": "0.1",
    "litert": "2.3.0", "mindspore": "2.10.0", "mlx": "0.32.4", "mnn": "3.6.1", "mxnet": "1.9.1", "ncnn": "1.0.20261020",
    "nnabla": "1.39.0", "oneflow": "0.8.0", "onnxruntime_web": "1.30.0", "opencv": "5.0.0", "openvino": "2026.4.1",
    "paddle": "3.3.1", "tf_keras": "2.21.0", "tfjs": "4.22.0", "tinygrad": "0.14.0", "tract": "0.23.9", "tvm": "0.27.0",
}  # fmt: skip
IMPORTED_AS = {
    "keras_2_0": "keras",
    "keras_2_3": "keras",
    "litert": "ai_edge_litert",
    "opencv": "cv2",
    "mnn": "MNN",
    "onnxruntime_web": "one_node",
    "tfjs": "numpy",
}
ROUNDS_EVERYWHERE = {"lasagne": "its terms cancel at every number: this is what it is known for"}
PLANS = environments.plans()


def cell(runtime, where, **axes):
    """A wrong cell with these elements; what is not said is the plainest: a slope of 0.1 in float32, alone."""
    plain = dict(
        variant="any", operator="leaky_relu", dtype="float32", placement="alone", shape="rank 1", slope="0.1",
        what="output", verdict="wrong",
    )  # fmt: skip
    return Cell(runtime=runtime, where=dict.fromkeys(where, 1), **(plain | axes))


def judged(made, version=""):
    """A cell after its runtime's known differences, and the ids that explain it."""
    name = made.runtime
    ran = Runtime(name=name, status="ran", version=version or VERSIONS[name])
    [after], _ = known.apply([made], known.differences(name), [ran])
    return after.verdict, after.known


@pytest.mark.parametrize("name", VERSIONS)
def test_an_environment_is_pinned_and_the_file_stands_alone(name):
    plan = PLANS[name]
    assert re.fullmatch(r"3\.\d+", plan.environment["python"])
    versions = [p for p in plan.environment["packages"] if not p.startswith("--")]
    assert all(re.search(r"==\d|<\d", package) for package in versions), versions

    tree = ast.parse(plan.source.read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not any(node.level for node in froms), "a relative import"
    tops = {name.partition(".")[0] for name in [*names, *(node.module for node in froms)]}
    assert "leaky_interop" not in tops
    assert IMPORTED_AS.get(name, name) in tops
    assert {"describe", "run"} <= {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", VERSIONS)
def test_every_known_difference_can_be_met(name):
    """Each names values that the suite asks for, so that none excuses nothing; each says where to read more."""
    differences = known.differences(name)
    assert differences
    for difference in differences:
        assert difference.link.startswith("https://"), difference.id
        assert difference.reason.endswith((".", ")")), difference.id
        axes = {
            "slope": cases.SLOPES, "shape": cases.SHAPES, "dtype": cases.FLOATS, "operator": ("leaky_relu", "prelu"),
            "placement": ("conv", "max_pool", *cases.QUANTA), "what": ("output", "gradient"), "where": WHERE,
        }  # fmt: skip
        for axis, allowed in axes.items():
            assert set(difference.match.get(axis, ())) <= set(allowed), (difference.id, axis)


@pytest.mark.parametrize("name", VERSIONS)
@pytest.mark.parametrize("slope", ["0.1", "1/3", "1"])
@pytest.mark.parametrize("where", ["negative", "positive", "result", "precision"])
@pytest.mark.parametrize("placement", ["alone", "conv", *cases.QUANTA])
def test_no_wrong_ordinary_number_is_excused(name, slope, where, placement):
    """The heart of the definition, in float32: whatever a runtime is known for, this would be a new fault."""
    if name in ROUNDS_EVERYWHERE and where in ("negative", "positive"):
        pytest.skip(ROUNDS_EVERYWHERE[name])
    assert judged(cell(name, [where], slope=slope, placement=placement))[0] == "wrong"


@pytest.mark.parametrize("name", VERSIONS)
def test_no_death_on_an_ordinary_array_is_excused(name):
    assert judged(cell(name, [], verdict="crashed", message="the process died of signal 11"))[0] == "crashed"


HALF_PLANE = ["negative", "largest", "-inf"]
FOUND = {
    "mlx-slope-above-1": cell("mlx", ["negative", "positive"], slope="2"),
    "openvino-bfloat16-slope-is-truncated": cell("openvino", ["negative"], dtype="bfloat16"),
    "openvino-fused-slope-0-is-relu": cell("openvino", ["nan", "-inf"], placement="conv", slope="0"),
    "openvino-float64-in-float32": cell("openvino", ["+inf", "negative"], dtype="float64"),
    "opencv-float64-prelu-slope-is-misread": cell("opencv", HALF_PLANE, dtype="float64", operator="prelu", slope="0.2"),
    "tvm-slope-0-is-folded": cell("tvm", ["-inf", "nan"], slope="0"),
    "tinygrad-slope-0-is-folded": cell("tinygrad", ["-inf"], slope="0"),
    "mnn-nan-becomes-0": cell("mnn", ["nan"]),
    "ncnn-slope-nan-and-inf-are-read-as-0": cell("ncnn", HALF_PLANE, slope="nan"),
    "mxnet-float64-negative-side-in-float32": cell("mxnet", HALF_PLANE, dtype="float64"),
    "mxnet-slope-1e38-is-parsed-one-off": cell("mxnet", HALF_PLANE, slope="1e38"),
    "mxnet-slope-0-is-relu-in-onednn": cell("mxnet", ["nan", "-inf"], slope="0"),
    "paddle-slope-nan-is-lost": cell("paddle", HALF_PLANE, slope="nan"),
    "paddle-slope-0-keeps-minus-inf": cell("paddle", ["-inf"], slope="0"),
    "mindspore-slope-nan-is-lost": cell("mindspore", HALF_PLANE, slope="nan"),
    "mindspore-gradient-where-both-are-equal": cell("mindspore", ["+inf", "-inf"], what="gradient"),
    "jax-subnormals-are-flushed": cell("jax", ["subnormal"]),
    "tract-prelu-slope-0-is-folded": cell("tract", ["-inf"], operator="prelu", slope="0"),
    "tf-keras-slope-0-is-relu": cell("tf_keras", ["-inf", "underflow"], slope="0"),
    "litert-xnnpack-slope-in-8-bits": cell("litert", ["negative"], variant="xnnpack", placement="quantised", ulp=1.0),
    "tfjs-relu-layer-ignores-negative-slope": cell("tfjs", HALF_PLANE, variant="ReLU layer"),
    "tfjs-fused-convolution-has-no-default": cell(
        "tfjs", HALF_PLANE, variant="operator", placement="conv", slope="left out"
    ),
    "lasagne-terms-cancel": cell("lasagne", ["negative", "positive"], slope="0.1"),
    "lasagne-float64-constants-in-float32": cell(
        "lasagne", ["positive"], variant="Lasagne", dtype="float64", slope="0.2"
    ),
    "keras-2-0-leaky-relu-is-two-relus": cell("keras_2_0", ["underflow", "zero"]),
    "keras-2-0-slope-inf-and-nan-reach-positive-numbers": cell("keras_2_0", ["positive", "+inf"], slope="inf"),
    "litert-xnnpack-flushes-subnormals": cell("litert", ["subnormal"], variant="xnnpack"),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_fault_that_is_known_is_named(name):
    verdict, ids = judged(FOUND[name])
    assert (verdict, name in ids) == ("known", True), ids


@pytest.mark.parametrize("name", FOUND)
def test_a_fault_beside_a_known_one_is_not_hidden(name):
    """An unequal shape or dtype on top of the known fault is a fault of its own."""
    made = FOUND[name]
    worse = cell(made.runtime, [*made.where, "result"], **{a: getattr(made, a) for a in ("dtype", "slope", "operator")})
    assert judged(worse)[0] == "wrong"


@pytest.mark.parametrize("name", sorted({made.runtime for made in FOUND.values()} - {"tf_keras"}))
def test_an_older_version_is_not_excused(name):
    """Nothing is known of a version before the one that was measured. (What tf_keras has of TensorFlow names none.)"""
    for made in FOUND.values():
        if made.runtime == name:
            assert judged(made, version="0.0.1")[0] == "wrong"


def test_mnn_is_not_imported_by_its_tools():
    """The package MNN.tools runs pip when it is imported; the runtime must not set that off."""
    tree = ast.parse(PLANS["mnn"].source.read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert "_tools" in imported
    assert not any(name.startswith("MNN.") for name in imported)


@pytest.mark.skipif(sys.platform == "win32", reason="its path is written otherwise")
@pytest.mark.parametrize(
    "name, package", [("onnxruntime_web", "onnxruntime-web@1.30.0"), ("tfjs", "@tensorflow/tfjs@4.22.0")]
)
def test_a_runtime_of_npm_says_how_it_is_installed(name, package, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.syspath_prepend(str(environments.FOLDER / "shared"))
    with pytest.raises(ImportError, match=f"npm install --prefix {re.escape(str(tmp_path))} {package}"):
        exec(compile(PLANS[name].source.read_text(), f"{name}.py", "exec"), {"__name__": "web"})


@pytest.mark.parametrize("name", VERSIONS)
def test_a_script_that_shows_a_difference_names_numpy_itself(name):
    """A runtime's file need not import numpy, but the arrays of the script do."""
    number = Number(x=-1.0, got=-1.0, want=-0.1, ulp=1.0, where="negative")
    case, made = (
        cases.Case("leaky_relu", "float32", "alone", "rank 1", "0.1"),
        cell(name, ["negative"], numbers=(number,)),
    )
    text = reproducing._written(PLANS[name], "any", case, made, {"version": "1"}, 0)
    shown = ast.parse(text.partition("# --- the difference ---")[2])
    assert "np" in {a.asname for node in shown.body if isinstance(node, ast.Import) for a in node.names}
