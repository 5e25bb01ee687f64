"""Many conversions: what a folder and a manifest mean, what is made again, and that no model harms another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from leaky_interop import Usage, batch, files
from leaky_interop.batch.journal import NAME, Entry, read_by
from leaky_interop.batch.plan import suffix_of
from leaky_interop.batch.record import Batch, Result
from leaky_interop.sandbox import GIB

NETWORKS = """
import ctypes, os, sys, time

def crash():
    ctypes.string_at(0)

def fails():
    print("Error: not this one", file=sys.stderr)
    raise RuntimeError("it said ValueError: Error: 7|8\\n<b>and more</b>")

def hang():
    open(os.environ["STARTED"], "w").close()
    while True:
        time.sleep(0.01)
"""


def leaky(path: Path, slope: float = 0.2, weight: float = 1.0) -> Path:
    """A tiny ONNX file."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 3]) for n in "xy")
    nodes = [helper.make_node("Mul", ["x", "w"], ["h"]), helper.make_node("LeakyRelu", ["h"], ["y"], alpha=slope)]
    w = numpy_helper.from_array(np.full(3, weight, np.float32), "w")
    model = helper.make_model(
        helper.make_graph(nodes, "net", [x], [y], [w]), opset_imports=[helper.make_opsetid("", 21)], ir_version=10
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs `convert --batch` in the folder of the test."""
    (tmp_path / "nets.py").write_text(NETWORKS)
    monkeypatch.delenv("LEAKY_INTEROP_SANDBOX", raising=False)
    monkeypatch.setenv("STARTED", str(tmp_path / "started"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(batch.__file__).parents[2]), str(tmp_path)]))

    def run(*arguments: str, start=subprocess.run):
        given = [sys.executable, "-m", "leaky_interop", "convert", "--batch", *arguments]
        if start is subprocess.run:
            return start(given, cwd=tmp_path, text=True, capture_output=True, timeout=200)
        return start(given, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    return run


def results(path: Path) -> dict[str, str]:
    return {row["source"]: row["result"] for row in json.loads(path.read_text())["results"]}


def started(tmp_path: Path) -> None:
    """Wait until the network that hangs is being made."""
    for _ in range(2000):
        if (tmp_path / "started").exists():
            return
        time.sleep(0.02)
    raise AssertionError("it was never started")


# --- whole runs -------------------------------------------------------------------------------------------------------


def test_one_model_harms_no_other_and_a_second_run_goes_on(command, tmp_path):
    leaky(tmp_path / "in" / "a.onnx")
    leaky(tmp_path / "in" / "sub" / "b.onnx")
    (tmp_path / "in" / "sub" / "broken.onnx").write_bytes((tmp_path / "in" / "a.onnx").read_bytes()[:60])
    (tmp_path / "in" / "hostile.onnx").write_bytes(b"\x80\x04cos\nsystem\n")
    options = ["in", "out", "--to", "onnx", "--continue-on-error", "--opset", "18"]
    done = command(*options, "--jobs", "2", *(f"--report=r{suffix}" for suffix in (".json", ".md", ".html")))
    assert done.returncode == 4, done.stderr
    wanted = {"a.onnx": "converted", "sub/b.onnx": "converted", "sub/broken.onnx": "unusable", "hostile.onnx": "unsafe"}
    assert results(tmp_path / "r.json") == wanted
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")) == [
        "a.onnx",
        NAME,
        "sub/b.onnx",
    ]
    assert onnx.load(tmp_path / "out" / "sub" / "b.onnx").opset_import[0].version == 18
    assert "2 converted, 1 unusable, 1 unsafe\n" in done.stdout
    assert "hostile.onnx is a Python pickle: opening it would run whatever code it names" in " ".join(
        done.stdout.split()
    )
    assert "[4/4] " in done.stderr
    for suffix in (".json", ".md", ".html"):
        text = (tmp_path / f"r{suffix}").read_text()
        assert "hostile.onnx" in text and str(tmp_path) not in text and "in/sub" not in text

    leaky(tmp_path / "in" / "sub" / "broken.onnx")  # mended
    again = command(*options, "--report=r.json", "-q")
    assert (again.returncode, again.stdout) == (4, "")
    assert results(tmp_path / "r.json") == {
        "a.onnx": "unchanged",
        "sub/b.onnx": "unchanged",
        "sub/broken.onnx": "converted",
        "hostile.onnx": "unsafe",
    }
    before = (tmp_path / "out" / NAME).read_text()
    (tmp_path / "in" / "hostile.onnx").unlink()
    assert command(*options).returncode == 0
    assert (tmp_path / "out" / NAME).read_text() == before  # nothing was left to do


def test_a_crash_and_a_hang_are_rows_of_the_table(command, tmp_path):
    leaky(tmp_path / "a.onnx")
    rows = [
        {"source": "nets:crash", "target": "crash.onnx"},
        {"source": "nets:hang", "target": "hang.onnx"},
        {"source": "a.onnx", "target": "deep/a.onnx", "options": ["--no-verify"]},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    done = command("rows.json", "out", "--continue-on-error", "--time-limit", "12", "--jobs", "3", "--report", "r.json")
    assert done.returncode == 5, done.stderr
    crash, hang, a = json.loads((tmp_path / "r.json").read_text())["results"]
    assert crash["reason"].startswith("nets:crash crashed the engine: its worker died of SIGSEGV.")
    assert hang["reason"].startswith("nets:hang took more than 12 s: its worker was ended.")
    assert (crash["result"], hang["result"], a["result"]) == ("failed", "failed", "converted")
    assert [p.name for p in (tmp_path / "out" / "deep").iterdir()] == ["a.onnx"]


@pytest.mark.parametrize("to", ["safetensors", "py"])
def test_a_target_of_two_files_is_whole_with_both(command, tmp_path, to):
    leaky(tmp_path / "in" / "a.onnx")
    options = ["in", "out", "--to", to, "--no-verify", "--no-sandbox", "--report", "r.json"]
    for again, removed in (("unchanged", None), ("converted", "a.py"), ("converted", "a.safetensors")):
        assert command(*options).returncode == 0
        if removed:
            (tmp_path / "out" / removed).unlink()
        assert command(*options).returncode == 0
        assert results(tmp_path / "r.json") == {"a.onnx": again}
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.py", "a.safetensors", NAME]


def test_the_first_failure_ends_a_batch_that_is_not_told_to_go_on(command, tmp_path):
    leaky(tmp_path / "z.onnx")
    (tmp_path / "rows.csv").write_text("source,target\nnets:fails,c.onnx\nz.onnx,\n")
    done = command("rows.csv", "out", "--to", "onnx", "--report", "r.json")
    assert done.returncode == 5
    assert results(tmp_path / "r.json") == {"nets:fails": "failed", "z.onnx": "not tried"}
    (reason, _) = (row["reason"] for row in json.loads((tmp_path / "r.json").read_text())["results"])
    assert reason.startswith("Unexpected RuntimeError: it said ValueError: Error: 7|8. Run it again")


def test_ctrl_c_stops_and_the_next_run_goes_on(command, tmp_path):
    leaky(tmp_path / "a.onnx")
    (tmp_path / "rows.csv").write_text("source,target\na.onnx,\nnets:hang,h.onnx\n")
    process = command("rows.csv", "out", "--to", "onnx", "--report", "r.json", start=subprocess.Popen)
    started(tmp_path)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "1 converted, 1 not tried: the same command goes on where it stopped\n" in out
    assert results(tmp_path / "r.json") == {"a.onnx": "converted", "nets:hang": "not tried"}
    (tmp_path / "rows.csv").write_text("source\na.onnx\n")
    assert command("rows.csv", "out", "--to", "onnx", "--report", "r.json").returncode == 0
    assert results(tmp_path / "r.json") == {"a.onnx": "unchanged"}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.onnx", NAME]


def test_a_second_batch_on_one_folder_is_told_until_the_first_is_dead(command, tmp_path):
    leaky(tmp_path / "in" / "a.onnx")
    (tmp_path / "rows.csv").write_text("source,target\nnets:hang,h.onnx\n")
    process = command("rows.csv", "out", start=subprocess.Popen)
    started(tmp_path)
    done = command("in", "out", "--to", "onnx")
    assert (done.returncode, done.stderr) == (
        2,
        "Error: another batch is writing to out. Wait for its end, or give another folder.\n",
    )
    process.kill()
    process.communicate()
    assert command("in", "out", "--to", "onnx").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in", "out"], "what to convert to is not said. Give --to onnx, keras or torch."),
        (["in", "in", "--to", "onnx"], "the results would go where the models are. Give another folder for them."),
        (["in", "nets.py", "--to", "onnx"], "nets.py is no folder. With --batch, DST is the folder to fill."),
        (["in", "out", "--to", "caffe"], "--to 'caffe' is not understood."),
        (["in", "out", "--to", "onnx", "--weights", "w.pth"], "--weights is given with --batch. Give it in a manifest"),
        (["nets.py", "out", "--to", "onnx"], "nets.py is no manifest. Give a folder of models, a .csv or a .json."),
        (["none.csv", "out", "--to", "onnx"], "there is no file none.csv."),
        (["in", "out", "--to", "onnx", "--report", "r.txt"], "--report r.txt is not understood."),
    ],
)
def test_mistakes_are_told_before_anything_is_made(run, tmp_path, arguments, message):
    leaky(tmp_path / "in" / "a.onnx")
    (tmp_path / "nets.py").write_text("")
    code, error = run("convert", "--batch", *arguments)
    assert (code, error.startswith(f"Error: {message}")) == (2, True), error
    assert not (tmp_path / "out").exists()


def test_options_of_a_batch_mean_nothing_alone(run, tmp_path):
    leaky(tmp_path / "a.onnx")
    for options in (["--to", "onnx"], ["--jobs", "2"], ["--continue-on-error"]):
        assert run("convert", "a.onnx", "b.onnx", *options) == (2, f"Error: {options[0]} is given without --batch.\n")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs a command in this process: its exit code and its error."""
    from leaky_interop.cli import main

    monkeypatch.chdir(tmp_path)

    def go(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return ended.value.code, capsys.readouterr().err

    return go


def test_all_options_reach_every_conversion(tmp_path, monkeypatch, run):
    """Whatever the command is given comes out of the batch again as it was."""
    leaky(tmp_path / "in" / "a.onnx")
    seen = []
    monkeypatch.setattr(batch.Batcher, "run", lambda self: (seen.append(self), Batch(results=()))[1])
    options = [
        "--input-shape", "x:1,3", "--io", "native", "--opset", "18", "--dynamic-batch", "--fast-math", "--inputs", "h", "--outputs", "y",
        "--no-verify", "--verify-inputs", "x.npz", "--atol", "1e-5", "--rtol", "y:1e-4", "--rtol", "0.1",
    ]  # fmt: skip
    code, _ = run(
        "convert", "--batch", "in", "out", "--to", "onnx", "--jobs", "7", "--memory-limit", "3", "--sandbox", *options
    )
    assert code == 0
    (made,) = seen
    given = list(made.jobs[0].options)
    pairs = lambda words: sorted(" ".join(words).replace(" --", "\n--").splitlines())  # noqa: E731
    assert pairs(given) == pairs(options)
    assert (made.at_once, made.keep_going, made.limits.memory) == (7, False, 3 * GIB)
    run("convert", "--batch", "in", "out", "--to", "onnx", "--static-batch", "--continue-on-error")
    assert seen[1].jobs[0].options == ("--static-batch",)
    assert seen[1].limits is None  # as the environment of the tests says
    assert seen[1].keep_going


# --- what is to be converted ------------------------------------------------------------------------------------------


def test_a_folder_is_searched_without_its_results_and_hidden_folders(tmp_path):
    for name in (
        "b.KERAS",
        "a/x.onnx",
        "a/.hidden.onnx",
        ".git/y.onnx",
        "out/z.onnx",
        "w.safetensors",
        "w.pth",
        "n.mat",
        "sm/saved_model.pb",
        "sm/in.onnx",
        "a b/é.h5",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    jobs = batch.plan(tmp_path, tmp_path / "out", "torch", ["--opset", "18"])
    assert [(j.name, j.target) for j in jobs] == [
        ("a b/é.h5", "a b/é.pt2"),
        ("a/x.onnx", "a/x.pt2"),
        ("b.KERAS", "b.pt2"),
        ("sm", "sm.pt2"),
    ]
    assert jobs[1].arguments(Path("o")) == ["convert", "--opset", "18", "--", str(tmp_path / "a/x.onnx"), "o/a/x.pt2"]


def test_two_models_that_would_be_one_file_are_told(tmp_path):
    for name in ("a.keras", "a.onnx"):
        (tmp_path / name).touch()
    with pytest.raises(
        Usage, match=r"a.keras and a.onnx would all be written to a.pt2. Name the targets in a manifest"
    ):
        batch.plan(tmp_path, tmp_path / "out", "torch")
    with pytest.raises(Usage, match="there is no model to convert"):
        batch.plan(tmp_path / "none", tmp_path / "out", "torch")


def test_formats_by_name_and_by_ending():
    assert [suffix_of(to) for to in ("onnx", "keras", "torch", "matlab", "pt2", ".pt2", "safetensors", "m")] == [
        ".onnx", ".keras", ".pt2", ".m", ".pt2", ".pt2", ".safetensors", ".m",
    ]  # fmt: skip


CSV = """source,target,input_shapes,weights,options
a/net.keras,,,,
pkg.nets:make,deep/made.onnx,"x:None,3 y:2",w.safetensors,--opset 18 --inputs 'a b'
"""


def test_the_rows_of_a_manifest(tmp_path):
    rows = [
        {"source": "a/net.keras"},
        {
            "source": "pkg.nets:make",
            "target": "deep/made.onnx",
            "input_shapes": ["x:None,3", "y:2"],
            "weights": "w.safetensors",
            "options": ["--opset", "18", "--inputs", "a b"],
        },
    ]
    (tmp_path / "m.csv").write_text("\ufeff" + CSV, encoding="utf-8")
    (tmp_path / "m.json").write_text(json.dumps(rows))
    of_csv, of_json = (batch.read_manifest(tmp_path / name, "onnx", ["--fast-math"]) for name in ("m.csv", "m.json"))
    assert of_csv == of_json
    first, second = of_csv
    assert (first.name, first.source, first.target) == ("a/net.keras", str(tmp_path / "a/net.keras"), "a/net.onnx")
    assert second.arguments(Path("out")) == [
        "convert", "--fast-math", "--input-shape", "x:None,3", "--input-shape", "y:2", "--opset", "18", "--inputs", "a b",
        "--weights", str(tmp_path / "w.safetensors"), "--", "pkg.nets:make", "out/deep/made.onnx",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,slope\na.onnx,1\n", "there is no field 'slope' at row 2 of m.csv."),
        ("source\na.onnx,1\n", "row 2 of m.csv has more cells than there are columns"),
        ('source\n"a.onnx\n', "m.csv cannot be read at row"),
        ("source,target\n,b.onnx\n", "there is no source at row 2"),
        ("source\na.b:c\n", "there is no target at row 2"),
        ("source,target\na.onnx,../b.onnx\n", "the target '../b.onnx' leads out of the folder of results at row 2"),
        ("source,target\na.onnx,/b.onnx\n", "the target '/b.onnx' leads out"),
        ("source,target\na.onnx,b.tflite\n", "the target 'b.tflite' is not understood"),
        (
            "source,target\na.onnx,x.safetensors\nb.onnx,x.safetensors\n",
            "a.onnx and b.onnx would all be written to x.safetensors",
        ),
        ('source,options\na.onnx,"--opset \'"\n', "its options cannot be read at row 2 of m.csv: No closing quotation"),
        ("source\n", "there is no model to convert"),
    ],
)
def test_mistakes_of_a_manifest_are_told_with_their_row(tmp_path, text, message):
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(Usage) as error:
        batch.read_manifest(tmp_path / "m.csv", "onnx")
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        "[1]",
        "[" * 100_000,
        '[{"source": 1}]',
        '[{"source": "a.onnx", "options": [1]}]',
        '[{"source": "a\\u0000"}]',
    ],
)
def test_json_that_is_no_manifest_is_told(tmp_path, text):
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(Usage):
        batch.read_manifest(tmp_path / "m.json", "onnx")


@pytest.mark.parametrize(
    "option", ["--opset seven", "--nonsense", "--jobs 2", "--to onnx", "--no-sandbox", "--report=r.json", "-q"]
)
def test_options_that_a_row_cannot_have_are_told_first(run, tmp_path, option):
    leaky(tmp_path / "a.onnx")
    (tmp_path / "m.csv").write_text(f"source,options\na.onnx,{option}\n")
    code, error = run("convert", "--batch", "m.csv", "out", "--to", "onnx")
    assert code == 2 and error.startswith("Error: its options are not understood"), error
    assert not (tmp_path / "out").exists()


def test_what_a_killed_batch_left_goes_with_the_next_one_even_where_nothing_is_written(tmp_path, job):
    (tmp_path / "out" / "deep").mkdir()
    job = batch.Job(job.name, job.source, "deep/a.pt2")
    (tmp_path / "out" / "deep" / "a.pt2").write_bytes(b"target")
    with batch.Journal(tmp_path / "out") as journal:
        journal.add(entry(job, journal))
    (tmp_path / "out" / "deep" / ".leaky_interop-a.pt2-abcd1234").mkdir()
    made = batch.Batcher([job], tmp_path / "out", 1, None, False).run()
    assert [r.result for r in made.results] == ["unchanged"]
    assert [p.name for p in (tmp_path / "out" / "deep").iterdir()] == ["a.pt2"]


# --- the journal ------------------------------------------------------------------------------------------------------


def entry(job, journal, **changes) -> Entry:
    plain = dict(
        source=job.name,
        target=job.target,
        options=job.options,
        version=batch.journal.__version__,
        code=0,
        seconds=1.0,
        reason="",
    )
    return Entry(**{**plain, "reads": read_by(job), "writes": journal.written(job), **changes})


@pytest.fixture
def job(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.pt2").write_bytes(b"target")
    leaky(tmp_path / "a.onnx")
    return batch.Job("a.onnx", str(tmp_path / "a.onnx"), "a.pt2", ("--opset", "18"))


def test_what_is_unchanged_is_held_and_every_change_is_seen(tmp_path, job):
    import dataclasses

    with batch.Journal(tmp_path / "out") as journal:
        assert not journal.holds(job, read_by(job))
        journal.add(entry(job, journal))
    with batch.Journal(tmp_path / "out") as journal:
        assert journal.holds(job, read_by(job))
        assert not journal.holds(dataclasses.replace(job, options=()), read_by(job))
        assert not journal.holds(dataclasses.replace(job, target="b.pt2"), read_by(job))
        leaky(tmp_path / "a.onnx", slope=0.3)
        assert not journal.holds(job, read_by(job))
        leaky(tmp_path / "a.onnx")
        assert journal.holds(job, read_by(job))
        (tmp_path / "out" / "a.pt2").write_bytes(b"targeT")
        assert not journal.holds(job, read_by(job))
        (tmp_path / "out" / "a.pt2").unlink()
        assert not journal.holds(job, read_by(job))
    for change in ({"code": 1}, {"version": "0"}, {"writes": []}):
        (tmp_path / "out" / "a.pt2").write_bytes(b"target")
        with batch.Journal(tmp_path / "out") as journal:
            journal.add(entry(job, journal, **change))
            assert not journal.holds(job, read_by(job))


def test_weights_and_external_data_are_part_of_a_source(tmp_path, job):
    import dataclasses

    model = onnx.load(job.source)
    for name, value in (("w", 1.0), ("v" * 200, 2.0)):
        model.graph.initializer.append(numpy_helper.from_array(np.full(3, value, np.float32), name))
        (tmp_path / "data").mkdir(exist_ok=True)
        onnx.external_data_helper.set_external_data(model.graph.initializer[-1], f"data/{name}.bin")
        (tmp_path / "data" / f"{name}.bin").write_bytes(model.graph.initializer[-1].raw_data)
        model.graph.initializer[-1].ClearField("raw_data")
    Path(job.source).write_bytes(model.SerializeToString())
    (tmp_path / "w.pth").write_bytes(b"1")
    (tmp_path / "x.npz").write_bytes(b"1")
    job = dataclasses.replace(job, weights=tmp_path / "w.pth", options=("--verify-inputs", str(tmp_path / "x.npz")))
    first = read_by(job)
    assert [name for name, _ in first] == ["a.onnx", "v" * 200 + ".bin", "w.bin", "w.pth", "x.npz"]
    for place, name in enumerate([f"data/{'v' * 200}.bin", "data/w.bin", "w.pth", "x.npz"], 1):
        before = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(b"other")
        assert [a != b for a, b in zip(first, read_by(job), strict=True)] == [i == place for i in range(5)]
        (tmp_path / name).write_bytes(before)
    assert files.parts(tmp_path / "out" / "a.pt2") == [tmp_path / "out" / "a.pt2"]


def test_external_data_is_part_of_a_target(tmp_path, job):
    import dataclasses

    job = dataclasses.replace(job, target="a.onnx")
    model = onnx.load(job.source)
    onnx.save(model, tmp_path / "out" / "a.onnx", save_as_external_data=True, location="a.onnx.data", size_threshold=0)
    with batch.Journal(tmp_path / "out") as journal:
        journal.add(entry(job, journal))
        assert journal.holds(job, read_by(job))
        (tmp_path / "out" / "a.onnx.data").write_bytes(b"torn")
        assert not journal.holds(job, read_by(job))
        (tmp_path / "out" / "a.onnx.data").unlink()
        assert not journal.holds(job, read_by(job))


def test_a_network_in_code_is_always_converted_again(job):
    import dataclasses

    assert read_by(dataclasses.replace(job, source="package.module:make")) == []


@pytest.mark.parametrize(
    "tail", [b'{"source": "a.onnx", "tar', b"\xff\xfe\n", b"[]\n", b'{"target": 1}\n', b"[" * 100_000 + b"\n"]
)
def test_a_torn_or_foreign_line_is_no_entry(tmp_path, job, tail):
    with batch.Journal(tmp_path / "out") as journal:
        journal.add(entry(job, journal))
    with (tmp_path / "out" / NAME).open("ab") as file:
        file.write(tail)
    with batch.Journal(tmp_path / "out") as journal:
        assert journal.holds(job, read_by(job))
        journal.add(entry(job, journal, seconds=2.0))
    with batch.Journal(tmp_path / "out") as journal:
        assert journal.entries[job.target].seconds == 2.0


def test_a_journal_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / NAME).symlink_to(tmp_path / "precious")
    with pytest.raises(Usage, match=r"the journal batch.jsonl cannot be opened"), batch.Journal(tmp_path / "out"):
        pass
    assert not (tmp_path / "precious").exists()


def test_a_full_disk_is_told_by_the_journal(mounted, job):
    disk = mounted("-t", "tmpfs", "-o", "size=64k", "none")
    with batch.Journal(disk) as journal:
        (disk / "fill").write_bytes(bytes(4096 * (os.statvfs(disk).f_bavail - 1)))
        with pytest.raises(Usage, match=r"the journal batch.jsonl cannot be written: No space left on device"):
            for _ in range(20):
                journal.add(entry(job, journal, reason="x" * 1000))
    (disk / "fill").unlink()
    with batch.Journal(disk) as journal:
        assert len(journal.entries) == 1
        journal.add(entry(job, journal, reason="after"))
    with batch.Journal(disk) as journal:
        assert journal.entries[job.target].reason == "after"


# --- the record -------------------------------------------------------------------------------------------------------


def test_the_record_says_it_in_every_form_and_nothing_in_it_acts():
    evil = "a|b\n<script>alert(1)</script>\x1b[31m*x*.onnx"
    rows = (
        Result(source=evil, target="t.onnx", result="differs", code=1, seconds=1.25, reason=evil),
        Result(source="n", target="m", result="not tried"),
    )
    made = Batch(results=rows)
    assert made.exit_code == 1
    assert Batch(results=rows, interrupted=True).exit_code == 130
    assert Batch(results=()).exit_code == 0
    assert json.loads(made.to_json())["results"][0]["source"] == evil
    html = made.to_html()
    assert "<script>" not in html and "\x1b" not in html and "1 differs, 1 not tried" in html
    table = made.to_markdown()
    assert len(table.splitlines()) == 6 and "\x1b" not in table and "<script>" not in table.replace("\\<script", "")


def test_the_exit_code_is_the_largest():
    codes = [0, 4, 1, 3]
    made = Batch(results=tuple(Result(source=str(c), target=str(c), result="failed", code=c) for c in codes))
    assert made.exit_code == 4
