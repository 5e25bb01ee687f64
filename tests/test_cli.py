"""The command line: what it prints, what it writes, its exit codes, and that errors are one sentence."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop import op
from leaky_interop.cli import console, main, parsing
from leaky_interop.files import arrays as files_of_arrays

IMAGE = np.random.default_rng(0).standard_normal((3, 8, 8, 3)).astype(np.float32)


def net(slope: float = 0.3) -> keras.Model:
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Conv2D(4, 3, name="conv"),
        keras.layers.LeakyReLU(slope, name="act"),
        keras.layers.Flatten(name="flatten"),
        keras.layers.Dense(5, name="logits"),
    ]
    return keras.Sequential([keras.Input((8, 8, 3), name="image"), *layers], name="digits")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """A folder with networks and arrays."""
    folder = tmp_path_factory.mktemp("files")
    for name, slope in (("net", 0.3), ("wrong", 0.29)):
        li.convert(net(slope), folder / f"{name}.onnx")
    net().save(folder / "net.keras")
    np.savez(folder / "named.npz", image=IMAGE)
    np.savez(folder / "plain.npz", IMAGE)
    np.save(folder / "image.npy", IMAGE)
    np.savez(folder / "wide.npz", image=IMAGE.astype(np.float64))
    np.savez(folder / "shape.npz", image=IMAGE[:, :5])
    np.savez(folder / "other.npz", picture=IMAGE)
    (folder / "truncated.onnx").write_bytes((folder / "net.onnx").read_bytes()[:300])
    (folder / "text.onnx").write_text("hello")
    (folder / "hostile.pth").write_bytes(b"\x80\x04cos\nsystem\n")
    network = "torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LeakyReLU(0.2))"
    (folder / "own_networks.py").write_text(f"import torch\n\ndef make():\n    return {network}\n")
    return folder


class Outcome:
    """What one command printed and its exit code."""

    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(capsys, monkeypatch, tmp_path, files):
    """Runs a command in an empty folder; FILES/ in an argument stands for the folder of networks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "verbosity", 0)
    monkeypatch.setattr(console, "PATIENCE", 1e9)  # stages of a busy machine are tested apart

    def command(*arguments: str) -> Outcome:
        with pytest.raises(SystemExit) as ended:
            main([a.replace("FILES", str(files)) for a in arguments])
        printed = capsys.readouterr()
        return Outcome(ended.value.code, printed.out, printed.err)

    return command


# --- convert ----------------------------------------------------------------------------------------------------------


def test_convert_writes_what_it_has_verified(run):
    done = run("convert", "FILES/net.keras", "net.onnx")
    assert done.code == 0
    assert done.err == ""
    assert "-[✓] (1, 5) matches (1, 5)\n" in done.out
    assert re.search(r"-\[✓\] all values close \(.*\)\n", done.out)
    assert done.out.endswith("net.onnx written\n")
    onnx.checker.check_model("net.onnx", full_check=True)


@pytest.mark.parametrize("target", ["back.keras", "back.pt2"])
def test_convert_writes_by_suffix(run, target):
    assert run("convert", "FILES/net.onnx", target).code == 0
    np.testing.assert_allclose(li.run(target, [IMAGE])[0], li.run(net(), [IMAGE])[0], rtol=0, atol=1e-5)


def test_a_mismatch_writes_the_reports_and_nothing_else(run, monkeypatch):
    (kind,) = {k for f, k in op.EXPORTERS if k.__name__ == "LeakyRelu" and f == "onnx"}
    wrong = lambda op, onnx, x: onnx.LeakyRelu(x, alpha=0.01)  # noqa: E731
    monkeypatch.setitem(op.EXPORTERS, ("onnx", kind), wrong)
    Path("net.onnx").write_text("the earlier file")
    reports = [f"--report=r{suffix}" for suffix in (".html", ".json", ".md")]
    done = run("convert", "FILES/net.keras", "net.onnx", *reports, "--reproducer", "alone")
    assert done.code == 1
    assert done.err.startswith("Error: onnx ")
    assert "does not compute what keras Sequential 'digits'" in done.err
    assert "at act (keras LeakyReLU 'act')" in done.err
    assert "First difference: act\n" in done.out
    assert "written\n" not in done.out
    assert Path("net.onnx").read_text() == "the earlier file"
    assert json.loads(Path("r.json").read_text())["passed"] is False
    assert "First difference: `act`" in Path("r.md").read_text()
    assert Path("r.html").read_text().startswith("<!doctype html>")
    assert sorted(p.name for p in Path().iterdir()) == ["alone", "net.onnx", "r.html", "r.json", "r.md"]


def test_no_verify_says_so(run):
    done = run("convert", "FILES/net.keras", "net.onnx", "--no-verify")
    assert (done.code, done.out) == (0, "net.onnx written, not verified\n")
    assert Path("net.onnx").exists()


def test_quiet_prints_nothing_and_verbose_prints_every_node(run):
    assert run("convert", "FILES/net.keras", "net.onnx", "-q").out == ""
    loud = run("convert", "FILES/net.keras", "net.onnx", "-v").out
    assert re.search(r"-\[✓\] act, LeakyRelu\(negative_slope=0\.3\): equal\n", loud)
    assert "slope 0.3 of act: the framework's default\n" in loud
    assert re.search(r"numpy \d", loud)


def test_options_reach_the_conversion(run):
    done = run(
        "convert", "FILES/net.keras", "net.onnx", "--opset", "18", "--static-batch",
        "--inputs", "act", "--outputs", "flatten", "--outputs", "logits", "--atol", "1e-4", "--rtol", "logits:1e-3",
    )  # fmt: skip
    assert done.code == 0, done.err
    model = onnx.load("net.onnx")
    assert model.opset_import[0].version == 18
    assert [i.name for i in model.graph.input] == ["act"]
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 6, 6, 4]
    assert [o.name for o in model.graph.output] == ["flatten", "logits"]


@pytest.mark.parametrize(("io", "shape"), [("as_source", (8, 8, 3)), ("native", (3, 8, 8))])
def test_io_chooses_the_layout(run, io, shape):
    assert run("convert", "FILES/net.keras", "net.onnx", "--io", io).code == 0
    assert li.load("net.onnx").inputs[0].shape[1:] == shape


def test_a_batch_that_is_fixed_can_be_opened(run):
    np.save("one.npy", IMAGE[:1])
    assert run("convert", "FILES/net.onnx", "one.onnx", "--static-batch", "-q").code == 0
    assert run("convert", "one.onnx", "any.onnx", "--dynamic-batch", "-q", "--verify-inputs", "one.npy").code == 0
    assert li.load("one.onnx").inputs[0].shape[0] == 1
    assert str(li.load("any.onnx").inputs[0].shape[0]) == "batch"


def test_input_shapes_fix_what_is_open(run):
    done = run("convert", "FILES/net.keras", "net.onnx", "--input-shape", "image:4,8,8,3")
    assert done.code == 0, done.err
    assert li.load("net.onnx").inputs[0].shape == (4, 8, 8, 3)


def test_a_network_in_code_is_built_by_its_factory_and_takes_weights(run, files, monkeypatch):
    import torch

    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(files))])
    torch.manual_seed(1)
    weights = torch.nn.Sequential(torch.nn.Linear(3, 2)).state_dict()
    torch.save(weights, files / "weights.pth")
    options = ["--input-shape", "None,3", "--weights", "weights.pth"]
    assert run("convert", "own_networks:make", "own.onnx", *options).code == 0
    x = np.ones((2, 3), np.float32)
    y = x @ weights["0.weight"].numpy().T + weights["0.bias"].numpy()
    np.testing.assert_allclose(li.run("own.onnx", [x])[0], np.where(y >= 0, y, np.float32(0.2) * y), rtol=1e-5)
    assert run("inspect", "own_networks:make", *options[:2]).code == 0


def test_the_users_own_arrays_are_what_is_verified_on(run):
    for name in ("named.npz", "plain.npz", "image.npy"):
        done = run("convert", "FILES/net.keras", "net.onnx", "--verify-inputs", f"FILES/{name}")
        assert done.code == 0, done.err
        assert "on the given arrays\n" in done.out


# --- verify -----------------------------------------------------------------------------------------------------------


def test_verify_compares_and_exits_by_the_result(run):
    same, other = (run("verify", "FILES/net.keras", f"FILES/{name}.onnx") for name in ("net", "wrong"))
    assert same.code == 0 and "Passed: " in same.out and same.err == ""
    assert other.code == 1 and "First difference: act\n" in other.out
    assert re.match(r"Error: onnx .* does not compute what keras .* does at act \(keras LeakyReLU 'act'\): ", other.err)


def test_tolerances_of_one_output_are_its_own(run):
    models = ["FILES/net.keras", "FILES/wrong.onnx"]
    for options, agree in ((("1e-9", "output:10"), True), (("10", "output:1e-9"), False), (("output:10",), True)):
        done = run("verify", *models, *(part for text in options for part in ("--atol", text)))
        outputs = done.out.partition("Output ")[2].partition("First difference")[0]
        assert ("[x] values differ" not in outputs) == agree
        assert ("all values close" in outputs) == agree


def test_the_reproducer_is_the_first_bad_node_alone(run):
    assert run("verify", "FILES/net.keras", "FILES/wrong.onnx", "--reproducer", "alone").code == 1
    model = onnx.load("alone/node.onnx")
    assert [n.op_type for n in model.graph.node] == ["LeakyRelu"]
    assert model.graph.node[0].attribute[0].f == np.float32(0.3)
    inputs, expected, received = (dict(np.load(f"alone/{n}.npz")) for n in ("inputs", "expected", "received"))
    (x,) = inputs.values()
    np.testing.assert_array_equal(expected["output"], np.where(x >= 0, x, np.float32(0.3) * x))
    np.testing.assert_array_equal(received["output"], np.where(x >= 0, x, np.float32(0.29) * x))
    assert run("run", "alone/node.onnx", "--input", "alone/inputs.npz", "-o", "again.npz").code == 0
    np.testing.assert_array_equal(np.load("again.npz")["output"], expected["output"])
    text = Path("alone/README.txt").read_text()
    assert text.startswith("act: LeakyRelu(negative_slope=0.3)\n  source       keras LeakyReLU 'act'\n")
    assert not any(word in text for word in ("conv", "logits", "digits"))


def test_a_reproducer_of_a_convolution_has_its_weights_and_its_channels_first(tmp_path):
    wrong = net(0.29)  # wrong twice: the first place counts
    kernel = wrong.get_layer("conv").kernel
    kernel.assign(np.asarray(kernel) * np.float32(1.01))
    report = li.verify(net(), wrong, reproducer=tmp_path / "alone")
    assert report.first_difference.name == "conv"
    model = onnx.load(tmp_path / "alone" / "node.onnx")
    assert [n.op_type for n in model.graph.node] == ["Conv"]
    assert {t.name for t in model.graph.initializer} == {"kernel", "bias"}
    (got,) = li.run(model, dict(np.load(tmp_path / "alone" / "inputs.npz")))
    np.testing.assert_allclose(got, np.load(tmp_path / "alone" / "expected.npz")["output"], rtol=0, atol=1e-4)
    assert np.abs(got - np.load(tmp_path / "alone" / "received.npz")["output"]).max() > 1e-3


def test_the_command_says_where_the_reproducer_is(run, monkeypatch):
    command = ["verify", "FILES/net.keras", "FILES/wrong.onnx", "--reproducer", "alone"]
    assert "Reproducer in alone\n" in run(*command).out
    monkeypatch.setattr("leaky_interop.comparing.align", lambda *graphs, **how: [])
    assert "No node differs by itself, so there is none to reproduce\n" in run(*command).out


def test_nothing_is_reproduced_where_nothing_differs(run):
    assert run("verify", "FILES/net.keras", "FILES/net.onnx", "--reproducer", "alone").code == 0
    assert not Path("alone").exists()


# --- inspect, run, support --------------------------------------------------------------------------------------------


def test_inspect_prints_text_or_json(run):
    text, data = run("inspect", "FILES/net.onnx"), run("inspect", "FILES/net.onnx", "--json")
    assert text.code == data.code == 0
    assert "slopes:\n  act  0.3  stated, in 32 bits\n" in text.out
    assert json.loads(data.out)["operators"] == {"Conv": 1, "Dense": 1, "LeakyRelu": 1, "Reshape": 1}


@pytest.mark.parametrize("model", ["net.onnx", "net.keras"])
@pytest.mark.parametrize("arrays", ["named.npz", "plain.npz", "image.npy"])
def test_run_writes_the_outputs(run, model, arrays):
    done = run("run", f"FILES/{model}", "--input", f"FILES/{arrays}", "-o", "out.npz")
    assert done.code == 0, done.err
    np.testing.assert_allclose(np.load("out.npz")["output"], li.run(net(), [IMAGE])[0], rtol=0, atol=1e-5)


def test_run_prints_a_table(run):
    done = run("run", "FILES/net.onnx", "--input", "FILES/image.npy")
    (row,) = [line.split() for line in done.out.splitlines() if "float32" in line]
    wanted = li.run(net(), [IMAGE])[0]
    assert row[1:4] == ["(3,", "5)", "float32"]
    np.testing.assert_allclose([float(x) for x in row[4:7]], [wanted.min(), wanted.mean(), wanted.max()], rtol=1e-4)
    np.testing.assert_allclose([float(x) for x in row[7:12]], wanted[0], rtol=1e-4, atol=1e-5)


def test_run_names_the_outputs_as_the_file_does(run):
    x, *ys = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", 2]) for n in ("x", "first", "second"))
    nodes = [helper.make_node("LeakyRelu", ["x"], [y.name]) for y in ys]
    model = helper.make_model(
        helper.make_graph(nodes, "two", [x], ys), opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    )
    onnx.save(model, "two.onnx")
    np.save("x.npy", np.ones((1, 2), np.float32))
    assert run("run", "two.onnx", "--input", "x.npy", "-o", "out.npz").code == 0
    assert sorted(np.load("out.npz")) == ["first", "second"]


@pytest.mark.parametrize("name", ["file", "allow_pickle", "/net/out:0"])
def test_run_writes_outputs_of_any_name_so_that_they_can_be_read(run, name):
    x, y = (helper.make_tensor_value_info(n, TensorProto.BFLOAT16, ["n", 2]) for n in ("x", name))
    model = helper.make_model(
        helper.make_graph([helper.make_node("Identity", ["x"], [name])], "net", [x], [y]),
        opset_imports=[helper.make_opsetid("", 21)],
        ir_version=10,
    )
    import ml_dtypes

    written = Path("out.npz")
    console.show_arrays({name: li.run(model, [np.ones((1, 2), ml_dtypes.bfloat16)])[0]}, written)
    ((key, array),) = files_of_arrays(written).items()
    assert (key, array.dtype, array.tolist()) == (name.lstrip("/"), np.float32, [[1.0, 1.0]])


def test_support_is_a_table_of_the_registry(run):
    done = run("support")
    assert done.code == 0
    row = r"LeakyRelu +LeakyReLU, activations\.leaky_relu, ops\.LeakyRelu +aten\.leaky_relu\.default"
    assert re.search(row, done.out)
    assert run("support", "--markdown").out == li.support().to_markdown()


def test_version(run):
    assert run("--version").out == f"leaky-interop {li.__version__}\n"


def test_no_command_prints_the_help(run):
    done = run()
    assert done.code == 2
    assert all(name in done.out for name in ("convert", "verify", "inspect", "run", "support"))


def test_the_module_is_the_command():
    command = [sys.executable, "-m", "leaky_interop", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=Path(li.__file__).parents[1])
    assert (done.returncode, done.stdout) == (0, f"leaky-interop {li.__version__}\n")


# --- errors -----------------------------------------------------------------------------------------------------------

USAGE = [
    ("convert missing.onnx a.onnx", "there is no file missing.onnx. Check the spelling and the folder."),
    ("convert FILES/truncated.onnx a.onnx", "truncated.onnx is truncated or damaged: its graph goes beyond the end"),
    ("inspect FILES/text.onnx", "text.onnx is truncated or damaged: it ends in .onnx, but its content is not that"),
    ("inspect FILES/image.npy", "image.npy holds npy data, not a network"),
    ("convert FILES/net.onnx a.tflite", "the target 'a.tflite' is not understood. Give keras, torch or onnx"),
    ("convert FILES/net.onnx torch", "'torch' is no file name. Name the file to write: net.onnx"),
    ("convert FILES/net.onnx nowhere/a.onnx", "the folder of 'a.onnx' does not exist"),
    ("convert FILES/net.onnx FILES/net.onnx", "net.onnx is the source itself. Write to another file."),
    ("convert FILES/net.onnx a.onnx --input-shape image:1,x.y", "--input-shape 'image:1,x.y' is not understood"),
    ("convert FILES/net.onnx a.onnx --input-shape 1,8,9,3", "input 'image' takes (batch, 8, 8, 3), not (1, 8, 9, 3)."),
    ("convert FILES/net.onnx a.onnx --input-shape foo:1,8,8,3", "there is no input 'foo': there is image."),
    ("convert FILES/net.onnx a.onnx --io sideways", "'sideways' is not one of 'as_source', 'native'"),
    ("convert FILES/net.onnx a.onnx --report r.txt", "--report r.txt is not understood. Its name ends in .html, .json"),
    ("convert FILES/net.onnx a.onnx --report nowhere/r.md", "the folder of r.md does not exist. Make it first."),
    ("convert FILES/net.onnx a.onnx --reproducer a/b", "the folder of b does not exist. Make it first."),
    ("convert FILES/net.onnx a.onnx --atol wide", "--atol 'wide' is not understood. Write 1e-5, or out0:1e-4"),
    ("convert FILES/net.onnx a.onnx --outputs cnv", "there is no value or layer 'cnv' in onnx 'leaky_interop'"),
    ("convert FILES/net.onnx a.onnx --verify-inputs FILES/wide.npz", "input 'image' takes float32, received float64."),
    ("convert FILES/net.onnx a.onnx --verify-inputs FILES/shape.npz", "input 'image' takes shape (batch, 8, 8, 3)"),
    ("convert FILES/net.onnx a.onnx --verify-inputs FILES/other.npz", "picture are given: the network takes image."),
    ("convert nowhere:make a.onnx", "there is no module 'nowhere': No module named 'nowhere'."),
    ("convert os:getcwd a.onnx", "os:getcwd returned a str: a factory must return a model."),
    ("convert torch.nn:ReLU a.onnx", "ReLU needs an example of its inputs: a PyTorch module does not know"),
    ("convert FILES/net.onnx", "Missing argument 'DST'. See leaky-interop --help."),
    ("convert FILES/net.onnx a.onnx --nope", "No such option: --nope"),
    ("frobnicate", "No such command 'frobnicate'"),
    ("run FILES/net.onnx --input FILES/wide.npz", "the model does not take float64[3, 8, 8, 3]: "),
    ("run FILES/net.onnx --input FILES/shape.npz", "the model does not take float32[3, 5, 8, 3]: "),
    ("run FILES/net.onnx --input FILES/other.npz", "the model does not take float32[3, 8, 8, 3]: "),
    ("run FILES/net.keras --input FILES/other.npz", "the model does not take float32[3, 8, 8, 3]: it lacks an array"),
    ("run FILES/net.onnx --input FILES/net.onnx", "net.onnx holds a model, not arrays."),
    ("run FILES/net.onnx --input FILES/image.npy -o a.npy", "--output a.npy is not understood. Its name ends in .npz."),
]  # fmt: skip


@pytest.mark.parametrize(("command", "message"), USAGE, ids=[row[0].replace("FILES/", "") for row in USAGE])
def test_bad_input_gets_one_sentence_and_exit_code_2(run, command, message):
    done = run(*command.split())
    assert done.code == 2, done.err
    assert message in done.err
    assert done.err.startswith("Error: ") and done.err.count("\n") == 1
    assert done.out == ""
    assert "Traceback" not in done.err
    assert list(Path().iterdir()) == []


def test_what_is_unsupported_is_listed_with_exit_code_3(run, monkeypatch):
    monkeypatch.delitem(op.IMPORTERS, ("onnx", "LeakyRelu"))
    monkeypatch.delitem(op.IMPORTERS, ("onnx", "Gemm"))
    done = run("convert", "FILES/net.onnx", "a.onnx")
    assert done.code == 3
    assert re.match(r"Error: 2 operators have no adapter:\n  LeakyRelu \(opset \d+\) at onnx LeakyRelu 'act'", done.err)
    assert re.search(r"Gemm \(opset \d+\) at onnx Gemm 'logits'", done.err)
    assert list(Path().iterdir()) == []


def test_an_unsafe_file_has_exit_code_4(run):
    done = run("convert", "FILES/hostile.pth", "a.onnx")
    assert done.code == 4
    assert done.err.startswith("Error: hostile.pth is a Python pickle: opening it would run whatever code it names.")


def test_a_failing_runtime_has_exit_code_5(run):
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Nothing", ["x"], ["y"], domain="nobody")], "net", [x], [y])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("nobody", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), "net.onnx")
    np.save("x.npy", np.ones(2, np.float32))
    done = run("run", "net.onnx", "--input", "x.npy")
    assert (done.code, done.err.count("\n")) == (5, 1)
    assert done.err.startswith("Error: onnxruntime does not take the model: ")


def test_a_failure_of_our_own_is_a_sentence_with_the_way_to_see_more(run, monkeypatch):
    monkeypatch.setattr(li, "inspect", lambda *a, **k: [][0], raising=False)
    done = run("inspect", "FILES/net.onnx")
    assert done.code == 5
    assert done.err == "Error: Unexpected IndexError: list index out of range. Run it again with -v -v to see where.\n"


@pytest.mark.parametrize("how", ["-vv", "variable"])
def test_tracebacks_are_shown_on_request(run, monkeypatch, how):
    if how == "variable":
        monkeypatch.setenv(console.DEBUG, "1")
    done = run("inspect", "missing.onnx", *(["-v", "-v"] if how == "-vv" else []))
    assert done.code == 2
    assert "Traceback (most recent call last)" in done.err
    assert done.err.splitlines()[-1].startswith("Error: there is no file missing.onnx.")


def test_names_from_a_file_cannot_act_on_the_terminal(run):
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("x\x1b[31m", "y"))
    graph = helper.make_graph([helper.make_node("Nothing", [x.name], ["y"], name="\x1b]0;me\x07")], "net", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), "net.onnx")
    for command in (["inspect", "net.onnx"], ["convert", "net.onnx", "a.onnx"]):
        done = run(*command)
        assert "\x1b" not in done.out + done.err
        assert "1b]0;me" in done.out + done.err


# --- parsing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "shapes"),
    [
        ([], None),
        (["1,3,224,224"], [(1, 3, 224, 224)]),
        (["None,3,?,width"], [(None, 3, None, None)]),
        (["x:-1,3"], {"x": (None, 3)}),
        (["a:0:1,3", "b: 2, 3"], {"a:0": (1, 3), "b": (2, 3)}),
        (["1,2", "3"], [(1, 2), (3,)]),
    ],
)
def test_input_shapes(texts, shapes):
    assert parsing.input_shapes(texts) == shapes


@pytest.mark.parametrize("texts", [["0,3"], ["1,,3"], ["x:"], ["1.5"], ["-2"], ["a:1", "2"], ["a:1", "a:2"], ["²"]])
def test_bad_input_shapes(texts):
    with pytest.raises(li.Usage, match="is not understood"):
        parsing.input_shapes(texts)


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        ([], None),
        (["1e-5"], 1e-5),
        (["1e-5", "out0:1e-4"], {"": 1e-5, "out0": 1e-4}),
        (["Identity:0:0.5"], {"Identity:0": 0.5}),
        (["0"], 0.0),
    ],
)
def test_tolerances(texts, found):
    assert parsing.tolerance("--atol", texts) == found


@pytest.mark.parametrize("texts", [["x"], ["-1"], ["nan"], ["inf"], ["a:b"], ["1", "2"], ["a:1", "a:1"]])
def test_bad_tolerances(texts):
    with pytest.raises(li.Usage, match=r"is not understood|given twice"):
        parsing.tolerance("--atol", texts)


def test_arrays_may_be_named_as_tensorflow_names_them(tmp_path):
    np.savez(tmp_path / "named.npz", **{"image:0": IMAGE})
    assert list(parsing.arrays([tmp_path / "named.npz"])) == ["image:0"]


def test_arrays_without_names_come_in_the_order_of_their_numbers(tmp_path):
    np.savez(tmp_path / "many.npz", *[np.full(1, i) for i in range(12)])
    assert [int(a[0]) for a in parsing.arrays([tmp_path / "many.npz"])] == list(range(12))


# --- what is shown while it takes time --------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch, terminal: io.StringIO, patience: float) -> str:
    """What three stages leave on stderr, the second of them slow."""
    import time

    monkeypatch.setattr(console, "PATIENCE", patience)
    monkeypatch.setattr(console, "verbosity", 0)
    monkeypatch.setattr(sys, "stderr", terminal)
    with console.Stages() as stages:
        for name in ("load", "convert", "verify"):
            stages(name)
            time.sleep(0.3 if name == "convert" else 0)
    return terminal.getvalue()


def test_a_slow_stage_is_shown_on_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown(monkeypatch, Terminal(), 0.1))
    assert re.search(r"✓ load +0:00:00\s+\S convert", text)


def test_a_slow_stage_leaves_a_line_in_a_log(monkeypatch):
    assert re.fullmatch(r"convert: 0\.[345] s\n", shown(monkeypatch, io.StringIO(), 0.1))


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_nothing_is_shown_of_what_is_quick(monkeypatch, stream):
    assert shown(monkeypatch, stream(), 5.0) == ""


def test_the_stages_of_a_conversion(tmp_path):
    from leaky_interop.stages import listening

    seen = []
    with listening(seen.append):
        li.convert(net(), tmp_path / "net.onnx")
    assert seen == ["load", "convert", "verify", "write"]
    li.convert(net(), to="onnx")
    assert len(seen) == 4
