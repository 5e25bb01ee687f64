"""Speed side by side: the numbers come first, every runtime has its turns, and what fails is told."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import leaky_interop as li
from leaky_interop.cli import main
from leaky_interop.errors import MissingFramework, Usage
from leaky_interop.numeric import dtype
from leaky_interop.processes import Died
from leaky_interop.report.record import Error
from leaky_interop.speed import measuring, runtimes
from leaky_interop.speed.record import Speed, Subject, Timing
from leaky_interop.speed.renderings import HEAD, as_json, as_markdown, cells, summary
from leaky_interop.speed.worker import read_arrays, write_arrays

pytestmark = pytest.mark.one_backend
QUICK = {"seconds": 0.02, "rounds": 2, "threads": (1,)}


@pytest.fixture(autouse=True)
def one_start(monkeypatch):
    monkeypatch.setattr(measuring, "STARTS", 1)


def network(alpha: float = 0.3, batch="batch") -> onnx.ModelProto:
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [batch, c, 6, 5]) for n, c in (("x", 2), ("y", 3))]
    kernel = np.random.default_rng(0).standard_normal((3, 2, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("LeakyRelu", ["c"], ["y"], alpha=alpha),
    ]
    graph = helper.make_graph(nodes, "net", ports[:1], ports[1:], [numpy_helper.from_array(kernel, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def saved(path, **options):
    onnx.save(network(**options), path)
    return path


def test_two_models_in_two_runtimes_take_turns(tmp_path):
    first, second = saved(tmp_path / "a.onnx"), saved(tmp_path / "b.onnx", alpha=0.1)
    speed = li.bench(first, second, runtimes=["onnxruntime", "torch_eager"], batches=(7, 1), **QUICK)
    assert speed.passed and not speed.notes
    keys = [(t.model, t.batch, t.runtime) for t, _ in speed.rows()]
    assert sorted(keys) == sorted(
        (m, b, r) for m in ("a.onnx", "b.onnx") for b in (1, 7) for r in ("onnxruntime", "torch_eager")
    )
    assert [(m, b) for m, b, _ in keys] == [(m, b) for b in (1, 7) for m in ("a.onnx", "a.onnx", "b.onnx", "b.onnx")]
    for timing in speed.timings:
        assert 0 < timing.median <= timing.p90 <= timing.p99 < 5 and timing.calls >= 2 and timing.threads == 1
        assert timing.rate == pytest.approx(timing.batch / timing.median, rel=0.99)
        assert timing.peak_bytes < 2**30
    for subject in speed.subjects:
        assert 0.05 < subject.cold_start < 100 and subject.version and subject.reference == "onnxruntime"
        assert (subject.error is None) == (subject.runtime == "onnxruntime")


def test_a_runtime_with_other_numbers_is_told(tmp_path, monkeypatch, capsys):
    """The form for PyTorch is that of another slope: nothing but the comparison can know."""
    from leaky_interop.speed import forms

    transfer, other = forms.transfer_graph, li.load(network(alpha=0.31))
    monkeypatch.setattr(forms, "transfer_graph", lambda graph, *given, **options: transfer(other, *given, **options))
    path = saved(tmp_path / "a.onnx")
    with pytest.raises(SystemExit) as end:
        main(
            [
                "bench",
                str(path),
                "--runtime",
                "onnxruntime",
                "--runtime",
                "torch_eager",
                "--seconds",
                "0.01",
                "--rounds",
                "1",
            ]
        )
    assert end.value.code == 1
    printed = capsys.readouterr().out
    assert "DIFFER" in printed and "differ from those of onnxruntime beyond the limits" in printed


def test_numbers_that_differ_with_more_threads_only_are_told():
    good, bad = subject("torch_eager"), subject("torch_eager", WRONG)
    assert measuring._worse([], [good]) == [good]
    assert measuring._worse([good], [bad]) == [bad] == measuring._worse([bad], [good])


def test_a_fixed_batch_is_the_only_one(tmp_path):
    speed = li.bench(network(batch=3), runtimes=["onnxruntime"], batches=(1, 8), **QUICK)
    assert [t.batch for t in speed.timings] == [3]
    assert speed.notes == ("ModelProto takes a batch of 3 only",)


def test_a_factory_keeps_the_weights_that_were_drawn(tmp_path, monkeypatch):
    """The module is made anew in another process, where its own weights would be others."""
    code = "import torch\ndef net():\n torch.seed()\n return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LeakyReLU(0.2))\n"
    (tmp_path / "nets_of_speed.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    speed = li.bench(
        "nets_of_speed:net", runtimes=["onnxruntime", "torch_eager"], batches=(2,), input_shapes=[(None, 4)], **QUICK
    )
    assert speed.passed and {s.reference for s in speed.subjects} == {"torch_eager"}


def test_outputs_by_name_are_compared_in_their_own_order():
    import torch

    class Net(torch.nn.Module):
        def forward(self, x):
            return {"second": x * 2, "first": torch.nn.functional.leaky_relu(x, 0.3)}

    speed = li.bench(Net(), runtimes=["onnxruntime", "torch_eager"], batches=(2,), input_shapes=[(None, 4)], **QUICK)
    assert speed.passed and [s.version != "" for s in speed.subjects] == [True, True]


def test_what_a_framework_cannot_have_is_told_and_the_others_go_on(monkeypatch):
    from leaky_interop.errors import Refused
    from leaky_interop.speed import forms

    def refuse(*args, **options):
        raise Refused("this cannot be said", why="no reason")

    monkeypatch.setattr(forms, "transfer_graph", refuse)
    speed = li.bench(network(), runtimes=["onnxruntime", "torch_eager"], batches=(1,), **QUICK)
    assert [t.runtime for t in speed.timings] == ["onnxruntime"]
    assert speed.passed and "this cannot be said" in speed.subjects[1].problem
    assert any("this cannot be said" in row[-1] for row in cells(speed))


def test_a_process_that_dies_is_told(monkeypatch):
    asked = measuring.Process.ask

    def ask(process, question, limit):
        if question["do"] == "time":
            raise Died("the process died of signal 9")
        return asked(process, question, limit)

    monkeypatch.setattr(measuring.Process, "ask", ask)
    speed = li.bench(network(), runtimes=["onnxruntime"], batches=(1, 2), **QUICK)
    assert speed.timings == () and "at a batch of 1 the process died of signal 9" in speed.notes[0]
    assert next(iter(cells(speed)))[-1] == "was not timed"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtimes": ["onnx"]}, "no runtime 'onnx'"),
        ({"batches": (0,)}, "0 is no batch size"),
        ({"batches": ()}, "no batch size is given"),
        ({"threads": (-1,)}, "-1 is no number of threads"),
        ({"rounds": 0}, "0 is no number of rounds"),
        ({"seconds": float("nan")}, "no time to measure for"),
    ],
)
def test_what_cannot_be_measured_is_a_usage_error(options, message):
    with pytest.raises(Usage, match=message):
        li.bench(network(), **options)


def test_a_runtime_that_is_asked_for_and_not_there_is_an_error(monkeypatch):
    monkeypatch.setitem(runtimes.RUNTIMES, "openvino", ("onnx", ("no_such_package",)))
    with pytest.raises(MissingFramework, match="openvino needs no_such_package"):
        li.bench(network(), runtimes=["openvino"])
    monkeypatch.setattr(runtimes.shutil, "which", lambda name: None)
    assert runtimes.lacking("torch_compile") == "a C++ compiler"


def test_every_runtime_has_an_entrance():
    assert list(runtimes.ENTRANCES) == list(runtimes.RUNTIMES)


@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "bfloat16", "int64", "bool", "uint8"])
def test_arrays_reach_the_worker_as_they_are(tmp_path, kind):
    given = [
        np.arange(12).reshape(3, 4).astype(dtype(kind)),
        np.array(3).astype(dtype(kind)),
        np.zeros((0, 2), dtype(kind)),
    ] * 4
    write_arrays(tmp_path / "a.npz", given)
    for a, b in zip(given, read_arrays(tmp_path / "a.npz"), strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def test_a_worker_loads_its_own_runtime_only():
    code = "import leaky_interop.speed.worker, sys; print(*{m.partition('.')[0] for m in sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "keras", "onnx", "onnxruntime", "tensorflow"} & set(found)


def timing(model="a|b", runtime="onnxruntime", **given) -> Timing:
    base = {
        "threads": 1,
        "batch": 2,
        "calls": 3,
        "median": 0.001,
        "p90": 0.002,
        "p99": 0.003,
        "rate": 1234.5,
        "peak_bytes": 2**21,
    }
    return Timing(model=model, runtime=runtime, **{**base, **given})


def subject(runtime="onnxruntime", error=None, **given) -> Subject:
    base = {"model": "a|b", "version": "1", "cold_start": 0.5, "reference": "onnxruntime", "problem": ""}
    return Subject(runtime=runtime, error=error, **{**base, **given})


def record(*subjects, timings=(), notes=()) -> Speed:
    return Speed(subjects=subjects, timings=tuple(timings), notes=notes, machine="m", versions={"x": "1"}, rounds=2)


WRONG = Error(absolute=float("inf"), ulp=9.0, limit=1e-6, ratio=float("inf"))


def test_renderings_say_what_was_measured():
    speed = record(
        subject(), subject("torch_eager", WRONG), subject("keras_torch", version="", cold_start=None, problem="no|reason"),
        timings=[timing(), timing(runtime="torch_eager", median=0.0005)], notes=("left out",),
    )  # fmt: skip
    assert not speed.passed
    rows = list(cells(speed))
    assert [row[1] for row in rows] == ["torch_eager", "onnxruntime", "keras_torch"] and {len(r) for r in rows} == {
        len(HEAD)
    }
    assert rows[1][4:10] == ("1", "2", "3", "1,234", "2", "0.50") or rows[1][4:10] == (
        "1",
        "2",
        "3",
        "1,235",
        "2",
        "0.50",
    )
    assert rows[0][-1].startswith("DIFFER") and rows[1][-1] == "the reference"
    assert len(summary(speed)) == 2
    page = as_markdown(speed)
    assert r"a\|b" in page and r"no\|reason" in page and "* left out" in page
    assert len({line.replace(r"\|", "").count("|") for line in page.splitlines() if line.startswith("|")}) == 1
    data = json.loads(as_json(speed))
    assert (
        data["passed"] is False
        and data["timings"][0]["rate"] == 1234.5
        and data["subjects"][1]["error"]["ratio"] == "infinity"
    )


@pytest.mark.parametrize(
    ("error", "problem", "agrees"),
    [
        (None, "", True),
        (dataclasses.replace(WRONG, ratio=1.0, absolute=1e-6), "", True),
        (dataclasses.replace(WRONG, ratio=1.0001), "", False),
        (dataclasses.replace(WRONG, ratio=float("nan")), "", False),
        (None, "shape (2,), but should be (3,)", False),
    ],
)
def test_what_is_no_agreement(error, problem, agrees):
    assert subject("torch_eager", error, problem=problem).agrees is agrees


def test_the_picture_has_every_line_once(tmp_path):
    pytest.importorskip("matplotlib")
    timings = [
        timing(batch=b, threads=t, runtime=r) for t in (1, 2) for b in (8, 1) for r in ("onnxruntime", "torch_eager")
    ]
    speed = record(subject(), subject("torch_eager"), timings=timings)
    figure = speed.plot(tmp_path / "s.png")
    rate = figure.axes[1]
    assert len(rate.get_lines()) == 4 and list(rate.get_lines()[0].get_xdata()) == [1, 8]
    assert len(figure.legends[0].get_texts()) == 4
    assert (tmp_path / "s.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(Usage, match="nothing to draw"):
        record(subject()).plot()


def test_the_command_writes_what_it_is_asked_for(tmp_path):
    path = saved(tmp_path / "a.onnx")
    options = ["--runtime", "onnxruntime", "--batch", "2", "--threads", "1", "--seconds", "0.01", "--rounds", "1", "-q"]
    with pytest.raises(SystemExit) as end:
        main(["bench", str(path), *options, "--json", str(tmp_path / "s.json"), "--markdown", str(tmp_path / "s.md")])
    assert end.value.code == 0
    assert json.loads((tmp_path / "s.json").read_text())["timings"][0]["batch"] == 2
    assert "| a.onnx | onnxruntime | 1 | 2 |" in (tmp_path / "s.md").read_text()
    for wrong in (["--plot", "x.gif"], ["--json", str(tmp_path / "no" / "s.json")]):
        with pytest.raises(SystemExit) as end:
            main(["bench", str(path), *wrong])
        assert end.value.code == 2
