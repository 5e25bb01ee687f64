"""The benchmark's machinery, not its numbers: measuring, counting, environments, the page, one worker end to end."""

import json
import subprocess
import sys
import time

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from benchmarks import environments, inference, measuring, networks, startup, tables, worker
from benchmarks.__main__ import REPOSITORY
from benchmarks.converters import CONVERTERS, DIRECTIONS, KERAS_TENSORFLOW, ONNX_TORCH, OURS, TORCH_ONNX, converters
from leaky_interop.speed import memory

MB = 2**20


def test_interleaved_calls_take_turns():
    order = []
    calls = [lambda n=n: (order.append(n), time.sleep(0.006)) for n in range(3)]
    medians = measuring.interleaved(calls, runs=2)
    assert order[-6:] == [0, 1, 2, 2, 1, 0]
    assert len(medians) == 3 and min(medians) >= 0.006


def test_short_calls_are_repeated_within_a_run():
    calls = []
    (median,) = measuring.interleaved([lambda: (calls.append(1), time.sleep(0.001))], runs=2)
    assert len(calls) > 2 * 2
    assert median < measuring.SHORTEST_RUN  # of one call, not of the run


@pytest.mark.skipif(not memory.RESET.exists(), reason="this system cannot reset a process' peak")
def test_peak_sees_memory_that_was_given_back():
    block = np.ones(256 * MB, np.uint8)  # before the reset: does not count
    del block
    before = memory.resident()
    memory.reset_peak()
    block = np.ones(64 * MB, np.uint8)
    del block
    assert 60 * MB < memory.peak() - before < 100 * MB
    assert memory.resident() - before < 30 * MB


def test_size_of_onnx_counts_transposes_and_no_constants(tmp_path):
    nodes = [
        helper.make_node("Constant", [], ["c"], value_float=1.0),
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]),
        helper.make_node("Add", ["t", "c"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 2]) for name in "xy"]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", ports[:1], ports[1:])), tmp_path / "net.onnx")
    assert measuring.size(tmp_path / "net.onnx") == {"nodes": 2, "transposes": 1}


def test_size_of_torch():
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.up = torch.nn.ConvTranspose1d(3, 3, 2)

        def forward(self, x):
            return self.up(x).permute(0, 2, 1) + 1

    assert measuring.size(torch.fx.symbolic_trace(Net())) == {"nodes": 3, "transposes": 1}
    assert measuring.size(torch.nn.Sequential(torch.nn.ReLU(), Net())) == {"nodes": 2, "transposes": 0}


def test_size_of_keras():
    import keras

    x = keras.Input((4, 3))
    y = keras.ops.transpose(keras.layers.Permute((2, 1))(keras.layers.Conv1DTranspose(2, 2)(x)), (0, 2, 1))
    assert measuring.size(keras.Model(x, y)) == {"nodes": 3, "transposes": 2}


def test_resnet50_is_that_of_keras_applications():
    """25,636,712 is what `keras.applications.ResNet50` counts, moving statistics included."""
    weights = networks.form(networks.get("ResNet50"), "torch").state_dict()
    assert sum(w.numel() for name, w in weights.items() if "num_batches" not in name) == 25_636_712


def test_every_network_and_converter_is_found():
    assert len(networks.SMALL) == 6 and all(networks.get(name).NAME == name for name in networks.NAMES)
    assert all(converters(way.name)[0].name == OURS and len(converters(way.name)) > 1 for way in DIRECTIONS)
    assert all("==" in requirement for c in CONVERTERS for requirement in c.requirements)


def test_a_peer_that_does_not_install_is_absent(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAKY_INTEROP_CACHE", str(tmp_path / "cache"))
    wheel = tmp_path / "peer-1.0-py3-none-any.whl"
    wheel.write_text("no wheel")
    with pytest.raises(environments.Absent, match="does not install: ERROR"):
        environments.python_with([str(wheel)])


def test_an_environment_sees_the_frameworks(tmp_path, monkeypatch):
    monkeypatch.setenv("LEAKY_INTEROP_CACHE", str(tmp_path))
    monkeypatch.setattr(environments.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 0, "", ""))
    python = environments.python_with(["peer==1.0"])
    monkeypatch.undo()
    found = subprocess.run([python, "-c", "import numpy; print(numpy.__version__)"], capture_output=True, text=True)
    assert found.stdout.strip() == np.__version__


def test_a_worker_converts_and_measures(tmp_path):
    common = {"direction": ONNX_TORCH, "network": "dcgan_discriminator", "converter": OURS, "runs": 2, "again": 1}
    common |= {key: str(tmp_path / f"{key}.onnx") for key in ("source", "expected", "path")}
    _worker(tmp_path, {**common, "task": "export"})
    row = _worker(tmp_path, {**common, "task": "convert"})
    assert "failed" not in row, row
    assert row["difference"] < 1e-4 and row["nodes"] > 5 and row["transposes"] == 0
    measured = ("seconds", "again_seconds", "latency_seconds", "reference_seconds", "peak_bytes")
    assert all(row[key] > 0 for key in measured)


def test_a_worker_reports_a_failure(tmp_path):
    task = {"task": "onnx_latency", "expected": str(tmp_path / "nothing.npz"), "onnx": [], "runs": 1}
    assert "FileNotFoundError" in _worker(tmp_path, task)["failed"]


def _worker(folder, task):
    (folder / "task.json").write_text(json.dumps(task))
    command = [sys.executable, "-m", "benchmarks.worker", folder / "task.json", folder / "result.json"]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=300)
    return json.loads((folder / "result.json").read_text())


def test_difference_is_relative_and_knows_both_layouts():
    expected = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    received = np.moveaxis(expected, 1, -1).copy()
    assert worker._difference([received], [expected]) == 0
    received[0, 0, 0, 0] += 2.3
    assert worker._difference([received], [expected]) == pytest.approx(0.1)


def _row(direction, converter, network="net", **changed):
    row = {"direction": direction, "converter": converter, "network": network, "warm_up_seconds": 1.0, "seconds": 1.0}
    row |= {"again_seconds": 1.0, "peak_bytes": 2e8, "weight_bytes": 1e8, "nodes": 10, "transposes": 0}
    return row | {"latency_seconds": 1.0, "difference": 1e-7, "versions": {"peer": "1"}} | changed


def _page(*rows):
    start = {startup.NUMPY: 0.1, "import leaky_interop": 0.2, "leaky-interop --help": "ModuleNotFoundError: cli"}
    about = {"date": "2030-01-01", "command": "c", "machine": "m", "python": "3", "runs": 1, "versions": {"numpy": "2"}, "progress": "1 of 1"}
    return tables.page({"about": about, "startup": start, "rows": list(rows)})


@pytest.mark.parametrize("peer_seconds, met", [(20.5, "yes"), (19.5, "**no**")])
def test_page_says_whether_a_target_is_met(peer_seconds, met):
    page = _page(_row(KERAS_TENSORFLOW, OURS), _row(KERAS_TENSORFLOW, "keras.Model.export", seconds=peer_seconds))
    assert f"over 10 MB | at least 20 | {peer_seconds:.2f} | net | {met} |" in page
    assert "over 10 MB | at most 2.5 | 2.00 | net | yes |" in page


def test_page_shows_the_worst_network():
    slow = _row(TORCH_ONNX, OURS, "slow", seconds=2.0)
    peers = [_row(TORCH_ONNX, "torch.onnx.export", network, seconds=3.0) for network in ("net", "slow")]
    assert "at least 2.5 | 1.50 | slow | **no** |" in _page(_row(TORCH_ONNX, OURS), slow, *peers)


def test_page_reports_what_is_absent_or_failed():
    absent = {"direction": ONNX_TORCH, "converter": "onnx2torch", "network": "net", "absent": "no wheel"}
    failed = {"direction": ONNX_TORCH, "converter": OURS, "network": "net", "failed": "Unsupported: Relu"}
    page = _page(failed, absent)
    assert "| net |  | onnx2torch | absent |" in page and "* net: onnx2torch absent: no wheel" in page
    assert f"| net |  | {OURS} | failed |" in page and "* net: leaky_interop failed: Unsupported: Relu" in page
    assert "failed: ModuleNotFoundError: cli" in page
    widths = {line.count("|") for line in page.split(f"## {ONNX_TORCH}")[1].split("##")[0].splitlines() if "|" in line}
    assert len(widths) == 1


def test_inference_is_measured_against_loops_that_name_the_same_classes(tmp_path):
    """The loops compare their classes and scores with ours themselves."""
    inference.network(model := tmp_path / "cnn.onnx")
    assert 10e6 < model.stat().st_size < 11e6
    paths = inference.pictures(tmp_path, 20)
    rates = inference.throughput(model, paths, tmp_path, rounds=1)
    held = inference.memory(model, paths, tmp_path)
    assert len(rates) == 3 and min(rates.values()) > 0 and len(held) in range(2, 11)
    first = {name: {"median": 0.5, "best": 0.4, "processor": 0.3} for name in rates}
    page = inference.markdown({
        "pictures": 20, "machine": "2 cores", "load": 1.0, "first result": first, "throughput": rates, "memory": held,
    })  # fmt: skip
    assert "| leaky-interop run | 0.50 | 0.40 | 0.30 |" in page
