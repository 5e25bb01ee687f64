"""Chainer networks by their recordings: the committed ones always, and fresh ones where an interpreter has Chainer."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import leaky_interop as li
from leaky_interop.cli import main
from leaky_interop.errors import Mismatch, Refused, RuntimeFailure, UnsafeFile, Unsupported, Usage
from leaky_interop.files import read_recording
from leaky_interop.frameworks.chainer import environment

HERE = Path(__file__).parent / "chainer_samples"
NETWORKS = {"generator": "Generator", "classifier": "Classifier", "functions": "Functions"}
SHAPES = {"generator": (2, 5), "classifier": (1, 2, 9, 6), "functions": (1, 2, 5, 4)}
FRAMEWORKS = ("onnx", "torch", "keras")


def recording(name):
    return HERE / f"{name}.chainer"


def edited(name, folder, change, arrays=None):
    """A recording with its description changed in place, and arrays replaced (None: left out)."""
    path = folder / "edited.chainer"
    with zipfile.ZipFile(recording(name)) as old, zipfile.ZipFile(path, "w") as new:
        described = json.loads(old.read("chainer.json"))
        changed = change(described)
        new.writestr("chainer.json", json.dumps(described if changed is None else changed))
        for entry in old.namelist():
            if entry != "chainer.json" and entry not in (arrays or {}):
                new.writestr(entry, old.read(entry))
        for entry, array in (arrays or {}).items():
            if array is not None:
                stream = io.BytesIO()
                np.save(stream, array, allow_pickle=True)
                new.writestr(entry, stream.getvalue())
    return path


def function(described, kind, place=0):
    return [f for f in described["functions"] if f["function"] == kind][place]


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("to", FRAMEWORKS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_value_that_chainer_computed_is_computed_again(name, to, tmp_path):
    suffix = {"onnx": ".onnx", "torch": ".pt2", "keras": ".keras"}[to]
    report = li.convert(recording(name), tmp_path / f"net{suffix}")
    functions = json.loads(zipfile.ZipFile(recording(name)).read("chainer.json"))["functions"]
    judged = {node.source for node in report.nodes}
    assert report.passed and report.draws[0].startswith("as recorded, run 1")
    absorbed = "Transpose"  # by a layout, so that the target has no such value; its reader is judged
    assert {f"chainer {f['function']} {f['name']!r}" for f in functions if f["function"] != absorbed} <= judged
    assert len(report.draws) == 2 and len({output.batch for output in report.outputs}) == 2


def test_what_was_written_is_verified_again_from_its_file(tmp_path):
    li.convert(recording("classifier"), tmp_path / "net.onnx")
    assert li.verify(recording("classifier"), tmp_path / "net.onnx").passed
    with pytest.raises(Refused, match="Name the recording first"):
        li.verify(tmp_path / "net.onnx", recording("classifier"))


def test_slopes_are_those_of_chainer_to_the_last_bit():
    found = {
        n.source: n.op.negative_slope for n in li.load(recording("functions")).nodes if hasattr(n.op, "negative_slope")
    }
    slopes = [found[source] for source in sorted(found)]  # outputs by name, as they are walked
    assert slopes == [0.0, float(np.float32(0.1)), 1.5, -0.1, 1 / 3, (0.1 + 0.5) / 2]
    slopes = li.inspect(recording("generator")).slopes
    assert [s.value for s in slopes] == [0.3, 0.2]
    assert slopes[0].given == "stated" and "Chainer's default" in slopes[1].given


def test_weights_keep_the_paths_of_their_links():
    module = li.convert(recording("classifier"), "torch")
    assert {"stem.weight", "block.conv.bias", "block.bn.running_mean", "head.weight"} <= set(module.state_dict())
    frozen = {p.name for p in li.load(recording("generator")).parameters() if not p.trainable}
    assert frozen == {"bn0.avg_mean", "bn0.avg_var", "bn1.avg_mean", "bn1.avg_var"}


def test_a_link_used_twice_stays_one_weight():
    module = li.convert(recording("classifier"), "torch")
    held = {w.name: w.array for w in read_recording(recording("classifier")).weights}
    assert sum(p.numel() for p in module.parameters()) == sum(held[n].size for n in held if "avg" not in n)


def test_the_batch_is_open_or_as_recorded():
    assert str(li.load(recording("generator")).inputs[0].shape[0]) == "batch"
    assert li.load(recording("generator"), static_batch=True).inputs[0].shape == (2, 5)
    (output,) = li.run(li.convert(recording("generator"), "onnx"), np.zeros((7, 5), "f"))
    assert output.shape == (7, 2, 8, 7)
    model = li.convert(recording("generator"), "onnx", static_batch=True, verify=True)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2


def test_a_recording_runs_on_its_own_example_and_on_nothing_else():
    held = read_recording(recording("generator"))
    example = held.runs[1][held.inputs[0]]
    assert li.run(recording("generator"), {"z": example})[0].tobytes() == held.runs[1][held.outputs[0]].tobytes()
    for other in (example + 1, example[:1], example.astype(np.float64), -example):
        with pytest.raises(Refused, match="on its own example"):
            li.run(recording("generator"), other)
        with pytest.raises((Refused, Usage)):
            li.convert(recording("generator"), "onnx", inputs=other, verify=True)


def test_other_shapes_than_the_recorded_ones_are_refused():
    with pytest.raises(Usage, match="keeps its own"):
        li.load(recording("generator"), input_shapes={"z": (4, 5)})


# --- faults -----------------------------------------------------------------------------------------------------------

FAULTS = [
    ("generator", "LeakyReLU", 1, "slope", 0.3),
    ("generator", "LeakyReLU", 0, "slope", 0.30001),
    ("generator", "FixedBatchNormalization", 1, "eps", 2e-5),
    ("generator", "Deconvolution2DFunction", 0, "sx", 1),
    ("generator", "Deconvolution2DFunction", 1, "pw", 0),
    ("classifier", "Convolution2DFunction", 1, "dy", 1),
    ("classifier", "Convolution2DFunction", 1, "groups", 1),
    ("classifier", "MaxPoolingND", 0, "cover_all", False),
    ("classifier", "AveragePooling2D", 0, "ph", 0),
    ("classifier", "Softmax", 0, "axis", 0),
    ("functions", "RReLU", 0, "upper", 0.4),
    ("functions", "ELU", 0, "alpha", 0.71),
    ("functions", "ClippedReLU", 1, "cap", 2.4),
    ("functions", "CReLU", 0, "axis", 1),
    ("functions", "LogSoftmax", 0, "axis", 1),
    ("functions", "SubFromConstant", 0, "value", 2.001),
    ("functions", "DivFromConstant", 0, "value", -3),
    ("functions", "PowVarConst", 1, "value", 3),
    ("functions", "MulConstant", 2, "value", 0.25),
    ("functions", "Transpose", 0, "axes", [0, 3, 2, 1]),
    ("functions", "Concat", 0, "axis", 2),
    ("functions", "Unpooling2D", 0, "outh", 8),
    ("functions", "Convolution2DFunction", 0, "cover_all", False),
    ("functions", "ConvolutionND", 0, "pad", [0]),
    ("functions", "FixedBatchNormalization", 1, "eps", 1e-3),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kind", "place", "setting", "wrong"), FAULTS, ids=lambda v: str(v))
def test_a_wrong_setting_is_found(name, kind, place, setting, wrong, tmp_path):
    def change(described):
        settings = function(described, kind, place)["attributes"]
        assert settings[setting] != wrong
        settings[setting] = wrong

    with pytest.raises((Mismatch, RuntimeFailure, ValueError)):  # another number, or another shape than Chainer's
        li.convert(edited(name, tmp_path, change), "onnx", verify=True)


@pytest.mark.parametrize("index", range(7))
def test_a_wrong_weight_is_found(index, tmp_path):
    weight = read_recording(recording("generator")).weights[index].array.copy()
    weight.reshape(-1)[-1] += 0.01
    with pytest.raises(Mismatch):
        li.convert(edited("generator", tmp_path, lambda d: None, {f"weight/{index}.npy": weight}), "onnx", verify=True)


@pytest.mark.parametrize("entry", ["run0/4.npy", "run1/9.npy"])
def test_a_value_that_chainer_did_not_compute_is_found(entry, tmp_path):
    value = np.load(io.BytesIO(zipfile.ZipFile(recording("generator")).read(entry)))
    value.reshape(-1)[-1] += 0.01
    with pytest.raises(Mismatch):
        li.convert(edited("generator", tmp_path, lambda d: None, {entry: value}), "onnx", verify=True)


def test_a_setting_that_nothing_reads_is_refused(tmp_path):
    def change(described):
        function(described, "LeakyReLU")["attributes"]["noise"] = 0.5

    with pytest.raises(Refused, match="noise"):
        li.load(edited("generator", tmp_path, change))


def test_everything_unsupported_is_listed_with_its_place(tmp_path):
    def change(described):
        function(described, "LeakyReLU", 0)["function"] = "Arctan"
        function(described, "LeakyReLU", 0)["function"] = "their.module.LeakyReLU"
        function(described, "Tanh")["function"] = "Arctan"

    path = edited("generator", tmp_path, change)
    with pytest.raises(Unsupported) as caught:
        li.load(path)
    assert {row.native for row in caught.value.missing} == {"Arctan", "their.module.LeakyReLU"}
    assert "chainer Arctan 'tanh'" in str(caught.value) and "'leaky_relu_1'" in str(caught.value)
    assert len(li.inspect(path).unsupported) == 3


def test_a_batch_that_was_not_recorded_open_is_not_opened(tmp_path):
    def fixed(part):
        if isinstance(part, dict):
            return part["batch"] * 2 if list(part) == ["batch"] else {k: fixed(v) for k, v in part.items()}
        return [fixed(p) for p in part] if isinstance(part, list) else part

    second = {entry: None for entry in zipfile.ZipFile(recording("generator")).namelist() if entry.startswith("run1")}
    path = edited("generator", tmp_path, lambda d: fixed(d) | {"note": "the batch is static: why"}, second)
    assert li.load(path).inputs[0].shape == (2, 5) and li.load(path).notes == ["the batch is static: why"]
    assert li.convert(path, "onnx", verify=True)
    with pytest.raises(Refused, match="an open batch"):
        li.load(path, dynamic_batch=True)


# --- files from strangers ---------------------------------------------------------------------------------------------


def put(*path):
    """A change that puts the last argument where the others lead."""

    def change(described):
        *before, last, new = path
        for step in before:
            described = described[step]
        described[last] = new

    return change


HOSTILE = {
    "another version": put("format", "leaky_interop chainer 2"),
    "a list": lambda d: [d],
    "no functions": put("functions", None),
    "a function that is text": put("functions", 0, "x"),
    "an index beyond": put("functions", 0, "inputs", 0, ["value", 99]),
    "an index below": put("functions", 0, "inputs", 1, ["weight", -1]),
    "a boolean index": put("functions", 0, "inputs", 0, ["value", False]),
    "another kind of operand": put("functions", 0, "inputs", 0, ["file", 0]),
    "a value before it is computed": put("functions", 0, "inputs", 0, ["value", 5]),
    "a value computed twice": put("functions", 1, "outputs", [1]),
    "no result": put("functions", 1, "outputs", []),
    "settings that are a list": put("functions", 1, "attributes", []),
    "a default that is no setting": put("functions", 1, "defaults", ["eval"]),
    "a size that is text": put("values", 0, "shape", ["2", 5]),
    "a negative size": put("values", 0, "shape", [-2, 5]),
    "a nested batch": put("values", 0, "shape", [{"batch": [1]}, 5]),
    "another shape than its array": put("values", 0, "shape", [2, 6]),
    "an element type of objects": put("values", 0, "dtype", "object"),
    "another dtype than its array": put("values", 0, "dtype", "float64"),
    "a long name": put("functions", 0, "name", "x" * 2000),
    "an output that is nothing": put("outputs", [99]),
    "no output": put("outputs", []),
    "a structure without the output": put("structure", {"a": 1}),
    "an input twice": put("inputs", [0, 0]),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_description_that_is_not_sound_is_refused(what, tmp_path):
    with pytest.raises((UnsafeFile, Usage)):
        read_recording(edited("generator", tmp_path, HOSTILE[what]))


def test_arrays_that_are_missing_or_hold_objects_are_refused(tmp_path):
    for entry in ("weight/0.npy", "run0/0.npy"):
        with pytest.raises((UnsafeFile, Usage)):
            read_recording(edited("generator", tmp_path, lambda d: None, {entry: None}))
        with pytest.raises(UnsafeFile, match="pickle"):
            read_recording(edited("generator", tmp_path, lambda d: None, {entry: np.array([print], object)}))


def test_a_deep_description_is_refused(tmp_path):
    path = tmp_path / "deep.chainer"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("chainer.json", "[" * 100_000 + "]" * 100_000)
    with pytest.raises((UnsafeFile, Usage)):
        li.load(path)


# --- recording --------------------------------------------------------------------------------------------------------


def test_without_chainer_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv(environment.VARIABLE, raising=False)
    monkeypatch.setenv("LEAKY_INTEROP_CACHE", str(tmp_path))
    with pytest.raises(Refused, match="leaky-interop conformance --install --runtime chainer"):
        li.record("net:make", tmp_path / "net.chainer", input_shapes=[(2, 3)])
    monkeypatch.setenv(environment.VARIABLE, str(tmp_path / "python"))
    with pytest.raises(Refused, match="there is no such file"):
        li.record("net:make", tmp_path / "net.chainer", input_shapes=[(2, 3)])


def test_what_record_is_given_is_checked_before_anything_runs(tmp_path):
    with pytest.raises(Usage, match="ending in"):
        li.record("net:make", tmp_path / "net.npz", input_shapes=[(2, 3)])
    with pytest.raises(Usage, match="an example is needed"):
        li.record("net:make", tmp_path / "net.chainer")
    with pytest.raises(Usage, match="there is no file"):
        li.record("net:make", tmp_path / "net.chainer", input_shapes=[(2, 3)], weights=tmp_path / "w.npz")


@pytest.fixture(scope="module")
def chainer():
    try:
        return environment.interpreter()
    except Refused as refused:
        pytest.skip(str(refused))


def recorded(name, folder, **how):
    return li.record(f"{HERE / 'networks.py'}:{name}", folder / "net.chainer", **how)


@pytest.mark.parametrize("name", NETWORKS)
def test_recording_again_gives_the_committed_file(name, chainer, tmp_path):
    fresh = recorded(NETWORKS[name], tmp_path, input_shapes=[SHAPES[name]])
    with zipfile.ZipFile(fresh) as new, zipfile.ZipFile(recording(name)) as old:
        assert json.loads(new.read("chainer.json")) == json.loads(old.read("chainer.json"))
        assert new.namelist() == old.namelist()
    for a, b in zip(read_recording(fresh).runs, read_recording(recording(name)).runs, strict=True):
        for index in a:
            np.testing.assert_allclose(a[index], b[index], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "words"), [
    ("Outside", "not the same in two runs"), ("Ended", "only variables have a computational graph"),
    ("no_network", "returned a int"),
])  # fmt: skip
def test_a_network_that_its_graph_does_not_show_is_refused(name, words, chainer, tmp_path):
    with pytest.raises(Refused, match=words):
        recorded(name, tmp_path, input_shapes=[(2, 3, 4, 4)])
    assert not list(tmp_path.iterdir())


def test_code_that_fails_says_so(chainer, tmp_path):
    for name, words in (("broken", "no network today"), ("absent", "absent")):
        with pytest.raises(RuntimeFailure, match=words):
            recorded(name, tmp_path, input_shapes=[(2, 3)])
    assert not list(tmp_path.iterdir())


def test_a_network_of_one_batch_size_is_recorded_as_it_is(chainer, tmp_path):
    path = recorded("Fixed", tmp_path, input_shapes=[(2, 3, 4, 4)])
    graph = li.load(path)
    assert graph.inputs[0].shape == (2, 3, 4, 4) and "the batch is static" in graph.notes[0]
    assert li.convert(path, "torch", verify=True)


def test_functions_that_nothing_reads_are_all_listed(chainer, tmp_path):
    with pytest.raises(Unsupported) as caught:
        li.load(recorded("Unread", tmp_path, input_shapes=[(2, 3, 4, 4)]))
    assert [row.native for row in caught.value.missing] == ["Arctan", "LocalResponseNormalization", "Arctan"]


def test_a_window_of_padding_alone_is_exact_or_refused(chainer, tmp_path):
    path = recorded("Beyond", tmp_path, input_shapes=[(2, 3, 4, 4)])
    assert li.convert(path, "torch", verify=True)
    for to in ("onnx", "keras"):
        with pytest.raises(Refused, match="padding alone"):
            li.convert(path, to)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("slope", [0.2, 0.0, 1 / 3, 1.5, -0.1])
def test_every_dtype_and_slope_arrives(slope, dtype, chainer, tmp_path):
    (tmp_path / "one.py").write_text(
        f"import chainer.functions as F\ndef make():\n    return lambda x: F.leaky_relu(x, {slope!r})\n"
    )
    example = (np.random.default_rng(1).standard_normal((3, 50)) * 3).astype(dtype)
    path = li.record(f"{tmp_path / 'one.py'}:make", tmp_path / "one.chainer", example)
    graph = li.load(path)
    assert graph.nodes[0].op.negative_slope == slope and graph.inputs[0].dtype == dtype
    for to in FRAMEWORKS:
        assert li.convert(path, to, verify=True)


def test_the_command_records_with_weights_and_converts(chainer, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text((HERE / "networks.py").read_text())
    held = read_recording(recording("generator"))
    weights = {w.name.strip("/"): w.array * 2 for w in held.weights if w.name}
    weights |= {f"{bn}/N": np.array(0) for bn in ("bn0", "bn1")}
    np.savez(tmp_path / "w.npz", **weights)

    def command(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return ended.value.code

    assert command("record", "net:Generator", "g.chainer", "--input-shape", "2,5", "--weights", "w.npz") == 0
    made = {w.name: w.array for w in read_recording(tmp_path / "g.chainer").weights}
    assert all((made[w.name] == w.array * 2).all() for w in held.weights if w.name)
    assert command("convert", "g.chainer", "g.onnx") == 0
    assert command("verify", "g.chainer", "g.onnx") == 0
