"""Workers that refuse, die, hang and lie; runtimes of third parties; the command, its files and its scripts."""

import json
import os
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

import leaky_interop
from leaky_interop.conformance import as_json, environments, running
from leaky_interop.conformance.cases import Case
from leaky_interop.errors import RuntimeFailure, Usage

ROOT = Path(leaky_interop.__file__).parents[1]
RUNTIME = """
import os, sys, time
import numpy as np

def describe():
    return {"name": "mine", "version": "1.0", "variants": ["plain"], "dtypes": ["float32"], "operators": ["leaky_relu"],
            "placements": ["alone"], "default": 0.01, "held": {"float32": "float32"}, "gradients": False}

def run(job, arrays):
    print("noise on stdout")
    os.write(1, b"more noise\\n")
    x, s = arrays["x"], np.float32(0.01 if job["slope"] is None else job["slope"])
    {extra}
    return {"y": np.where(x < 0, s * x, x)}
"""


def plan(folder: Path, extra: str = "pass", source: str = RUNTIME, **options) -> environments.Plan:
    path = folder / "mine.py"
    path.write_text(source.replace("{extra}", extra))
    return environments.Plan("mine", str(path), path, {}, None, **options)


def ran(folder: Path, extra: str = "pass", source: str = RUNTIME):
    return running.run([plan(folder, extra, source)], differences=[])


def test_a_runtime_that_is_right(tmp_path):
    record = ran(tmp_path)
    assert record.passed and set(record.counts()) == {"exact"} and len(record.cells) == 25
    (runtime,) = record.runtimes
    assert runtime.held["float32"].measured == ("float32",)
    assert runtime.version == "1.0" and runtime.python == sys.version.split()[0]


FAULTS = {
    "wrong default": "s = np.float32(0.3) if job['slope'] is None else s",
    "maximum": "return {'y': np.maximum(x, s * x)}",
    "float64 slope": "return {'y': np.where(x < 0, (float(0.01 if job['slope'] is None else job['slope']) * x.astype(float)).astype(x.dtype), x)}",
    "zero dropped": "return {'y': np.where(x < 0, s * x, abs(x))}",
    "nan hidden": "return {'y': np.nan_to_num(np.where(x < 0, s * x, x), nan=0, posinf=np.inf, neginf=-np.inf)}",
    "slope ignored": "s = np.float32(0.01)",
    "one rank": "return {'y': np.where(x < 0, s * x, x).reshape(-1)}",
    "dtype": "return {'y': np.where(x < 0, s * x, x).astype('float64')}",
    "tail": "y = np.where(x < 0, s * x, x); y.reshape(-1)[-1:] = 7; return {'y': y}",
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_wrong(tmp_path, fault):
    record = ran(tmp_path, FAULTS[fault])
    assert not record.passed and record.counts()["wrong"] > 0
    assert all(cell.numbers or cell.message for cell in record.cells if cell.verdict == "wrong")


def test_a_refusal_keeps_its_message(tmp_path):
    record = ran(tmp_path, "if s > 1: raise ValueError('slopes end at 1')")
    refused = [cell for cell in record.cells if cell.verdict == "refused"]
    assert {cell.slope for cell in refused} == {"1.5", "2", "1e10", "1e38", "inf"}
    assert {cell.message for cell in refused} == {"ValueError: slopes end at 1"}
    assert record.passed


def test_a_crash_costs_one_cell(tmp_path):
    record = ran(tmp_path, "if s == 2: os.kill(os.getpid(), 11)")
    crashed = [cell for cell in record.cells if cell.verdict == "crashed"]
    assert [cell.slope for cell in crashed] == ["2"] and "signal 11" in crashed[0].message
    assert record.counts()["exact"] == 24 and not record.passed


def test_an_exit_is_a_crash(tmp_path):
    record = ran(tmp_path, "if s == 2: os._exit(3)")
    assert [cell.message for cell in record.cells if cell.verdict == "crashed"] == ["the process ended with code 3"]


def test_a_job_that_hangs_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "JOB_LIMIT", 1.0)
    monkeypatch.setattr(running, "START_LIMIT", 20.0)
    record = ran(tmp_path, "if s == 2: time.sleep(600)")
    assert [cell.message for cell in record.cells if cell.verdict == "crashed"] == ["no answer within 1 s"]


def test_a_runtime_that_always_dies_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "DEATHS", 2)
    record = ran(tmp_path, "os._exit(1)")
    assert record.counts() == {"crashed": 25}
    assert sum("not asked" in cell.message for cell in record.cells) == 23


def test_what_does_not_start_is_absent_or_failed(tmp_path):
    for extra, status in (
        ("import no_such_framework", "absent"),
        ("1 / 0", "failed"),
        ("import os; os._exit(4)", "failed"),
    ):
        record = ran(tmp_path, source=f"{extra}\n{RUNTIME}")
        assert [r.status for r in record.runtimes] == [status] and not record.cells
        assert record.passed == (status == "absent")


@pytest.mark.parametrize(
    "lie", ['"dtypes": ["float33"]', '"variants": []', '"operators": "leaky_relu"', '"held": {"float32": "exactly"}']
)
def test_a_description_outside_the_contract_fails(tmp_path, lie):
    key = lie.partition(":")[0]
    begin = RUNTIME.index(key)
    end = RUNTIME.index("}," if key == '"held"' else "],", begin) + 1
    record = ran(tmp_path, source=RUNTIME[:begin] + lie + RUNTIME[end:])
    assert [r.status for r in record.runtimes] == ["failed"]
    assert record.runtimes[0].message.startswith("describe() of the runtime mine ")


def test_bfloat16_may_come_back_as_bits(tmp_path):
    source = RUNTIME.replace('"float32"', '"bfloat16"').replace(
        '"held": {"bfloat16": "bfloat16"}', '"held": {"bfloat16": "type"}'
    )
    extra = "s = x.dtype.type(0.01 if job['slope'] is None else job['slope']); return {'y': np.where(x < 0, s * x, x).view(np.uint16)}"
    record = ran(tmp_path, extra, source)
    assert set(record.counts()) == {"exact"}
    assert record.runtimes[0].held["bfloat16"].measured == ("type",)


def test_variants_may_be_narrower(tmp_path):
    source = RUNTIME.replace('["plain"]', '["plain", "other"]').replace(
        '"gradients": False', '"gradients": False, "narrower": {"other": {"default": 0.5}}'
    )
    record = ran(tmp_path, "s = np.float32(0.5) if job['slope'] is None and job['variant'] == 'other' else s", source)
    assert record.passed and len(record.cells) == 50


# --- environments -----------------------------------------------------------------------------------------------------


def test_environments_are_named_by_what_they_need_and_made_only_on_demand(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAKY_INTEROP_CACHE", str(tmp_path / "cache"))
    needs = {"python": f"{sys.version_info.major}.{sys.version_info.minor}", "packages": ["six==1.17.0"]}
    one, two = (environments.Plan(n, "x.py", None, {}, needs) for n in ("one", "two"))
    other = environments.Plan("other", "x.py", None, {}, {**needs, "packages": ["six==1.16.0"]})
    assert one.folder == two.folder != other.folder
    assert environments.interpreter(one) is None
    runtime, cells = running.ask_one(one)
    assert (
        (runtime.status, cells) == ("absent", [])
        and "six==1.17.0" in runtime.message
        and "--install" in runtime.message
    )
    assert not (tmp_path / "cache").exists()
    commands = []
    monkeypatch.setattr(
        environments,
        "_run",
        lambda command, plan: (commands.append(command), one.folder.mkdir(parents=True, exist_ok=True)),
    )
    environments.make(one)
    assert [c[1:3] for c in commands] == [["-m", "venv"], ["-m", "pip"]] and commands[1][-2:] == [
        "six==1.17.0",
        "numpy",
    ]
    (one.folder / "bin").mkdir()
    (one.folder / "bin" / "python").touch()
    assert environments.interpreter(two) == one.folder / "bin" / "python"
    assert environments.make(two) and len(commands) == 2


def test_an_installation_that_fails_leaves_the_runtime_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAKY_INTEROP_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))  # no other Python, and no uv that could fetch one
    old = environments.Plan("old", "x.py", None, {}, {"python": "2.6", "packages": ["chainer"]})
    with pytest.raises(RuntimeFailure, match=r"python2\.6"):
        environments.make(old)
    assert running.ask_one(old, install=True)[0].status == "absent"


def test_one_file_may_be_several_runtimes():
    plans = environments.plans()
    assert plans["keras_numpy"].variables == {"KERAS_BACKEND": "numpy"}
    assert plans["keras_jax"].environment and not plans["keras_torch"].environment
    assert {p.name for p in environments.chosen(["keras"])} == {
        "keras_jax",
        "keras_numpy",
        "keras_tensorflow",
        "keras_torch",
    }
    with pytest.raises(Usage, match="there is no runtime 'kears'"):
        environments.chosen(["kears"])


def test_reading_a_runtime_runs_none_of_it(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("ENVIRONMENT = {'python': '3.8', 'packages': ['a==1']}\nraise SystemExit('it was run')")
    (made,) = environments._plans_of("mine", str(path), path)
    assert made.environment == {"python": "3.8", "packages": ["a==1"]}


def test_ids_name_cells_and_back():
    plan, variant, case = running.find("onnxruntime/opset 15/leaky_relu/float64/conv/rank 4/1:3/output")
    assert (plan.name, variant) == ("onnxruntime", "opset 15")
    assert case == Case("leaky_relu", "float64", "conv", "rank 4", "1/3")
    with pytest.raises(Usage, match="names no cell"):
        running.find("onnxruntime/leaky_relu")


def test_another_python_comes_from_the_path_or_from_uv(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, command in (
        ("uv", ["uv", "venv", "--quiet", "--seed", "--python", "3.8"]),
        ("python3.8", ["python3.8", "-m", "venv"]),
    ):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
        found = environments._venv("3.8")
        assert [Path(found[0]).name, *found[1:]] == command


def test_the_worker_stands_alone():
    """Its imports are the standard library and numpy; runtimes import nothing of this package."""
    from test_imports import imported

    folder = Path(running.__file__).parent
    standard = set(sys.stdlib_module_names) | {"numpy"}
    assert imported(folder / "worker.py") <= standard | {"ml_dtypes"}
    for path in folder.glob("runtimes/**/*.py"):
        assert not {m for m in imported(path) if m.startswith((".", "leaky_interop"))}, path


# --- the command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path):
    """The folder of a third party's package, as pip leaves it, and the environment that sees it."""
    extra = "s = np.float32(0.011) if job['slope'] == 0.01 else s"
    (tmp_path / "mine_runtime.py").write_text(RUNTIME.replace("{extra}", extra))
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    points = "[leaky_interop.runtimes]\nmine = mine_runtime\n[pytest11]\nleaky_interop = leaky_interop.conformance.plugin\n"
    (info / "entry_points.txt").write_text(points)
    return tmp_path, {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}


def call(folder: Path, variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=variables, timeout=300)


def test_the_command_asks_a_third_partys_runtime(installed):
    folder, variables = installed
    arguments = ["-m", "leaky_interop", "conformance", "--runtime", "mine", "--json", "r.json", "--junit", "r.xml"]
    done = call(folder, variables, *arguments)
    assert done.returncode == 1, done.stderr
    assert (
        "mine/plain/leaky_relu/float32/alone/rank 1/0.01/output" in done.stdout
        and "Failed: 24 exact, 1 wrong" in done.stdout
    )
    record = as_json.parse((folder / "r.json").read_text())
    assert [cell.slope for cell in record.cells if cell.verdict == "wrong"] == ["0.01"]
    assert json.loads((folder / "r.json").read_text())["passed"] is False
    assert ET.parse(folder / "r.xml").getroot().find("testsuite").get("failures") == "1"
    assert "mine: 25 cells" in done.stderr


def test_known_differences_of_a_third_party_stand_beside_its_module(installed):
    folder, variables = installed
    text = "mine-hundredth\n  slope: 0.01\n  where: negative, largest, subnormal, underflow\n  why: It is 0.011.\n"
    (folder / "mine.known.txt").write_text(text)
    done = call(folder, variables, "-m", "leaky_interop", "conformance", "--runtime", "mine")
    assert done.returncode == 0 and "mine-hundredth (mine 1): It is 0.011." in done.stdout
    (folder / "mine.known.txt").write_text(text.replace("0.01\n", "0.1\n"))
    done = call(folder, variables, "-m", "leaky_interop", "conformance", "--runtime", "mine")
    assert done.returncode == 1 and "mine-hundredth of mine" in done.stdout


def test_pytest_runs_the_suite(installed):
    folder, variables = installed
    arguments = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--pyargs",
        "leaky_interop.conformance",
        "--runtime",
        "mine",
    ]
    done = call(folder, variables, *arguments)
    assert done.returncode == 1 and "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert "1 of 25 cells are wrong" in done.stdout and "rank 1/0.01/output" in done.stdout


def test_other_runs_of_pytest_get_no_option(installed):
    folder, variables = installed
    (folder / "test_nothing.py").write_text("def test_nothing(): pass\n")
    done = call(folder, variables, "-m", "pytest", "-p", "no:cacheprovider", "test_nothing.py", "--runtime", "mine")
    assert done.returncode == 4 and "unrecognized arguments" in done.stderr


def test_a_reproducer_runs_alone_and_shows_the_difference(installed):
    folder, variables = installed
    name = "mine/plain/leaky_relu/float32/alone/rank 1/0.01/output"
    done = call(folder, variables, "-m", "leaky_interop", "conformance", "--reproduce", name, "-o", "show.py")
    assert done.returncode == 0, done.stderr
    script = (folder / "show.py").read_text()
    assert "leaky_interop" not in script
    alone = folder / "alone"
    alone.mkdir()
    shown = call(alone, {k: v for k, v in variables.items() if k != "PYTHONPATH"}, str(folder / "show.py"))
    assert shown.returncode == 1
    assert "found -0.010999999940395355, but should be -0.009999999776482582" in shown.stdout
    mended = script.replace("0.011", "0.01")
    (folder / "mended.py").write_text(mended)
    shown = call(alone, variables, str(folder / "mended.py"))
    assert shown.returncode == 0 and "is right" in shown.stdout
    for unknown in (name.replace("0.01/", "0.1/"), "no-such-id"):
        done = call(folder, variables, "-m", "leaky_interop", "conformance", "--reproduce", unknown)
        assert done.returncode == 2 and done.stderr.startswith("Error: ")


def test_the_list_and_wrong_options(installed):
    folder, variables = installed
    done = call(folder, variables, "-m", "leaky_interop", "conformance", "--list")
    assert done.returncode == 0
    for name in ("mine", "onnxruntime", "keras_jax", "jax==0.10.2"):
        assert name in done.stdout
    for wrong in (["--runtime", "nobody"], ["--json", "no_such_folder/r.json"]):
        done = call(folder, variables, "-m", "leaky_interop", "conformance", *wrong)
        assert done.returncode == 2 and textwrap.shorten(done.stderr, 400).startswith("Error: ")
