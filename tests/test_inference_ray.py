"""Inference through Ray Data: the direct engine's rows in its order, also where a process dies with a unit in its hands."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaky_interop.cli import main
from leaky_interop.errors import RuntimeFailure, Usage
from leaky_interop.files import parquet_rows
from leaky_interop.inference import Job, Postprocessing, Record, on_ray, pipeline, recipe
from leaky_interop.inference.on_ray import Kept, Rows, cut
from leaky_interop.inference.sources import records, sources
from tests.inference_samples import classifier, encoded, network, photo, same, saved

pytestmark = [pytest.mark.one_backend, pytest.mark.xdist_group("ray")]
pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
CUT = settings(deadline=None, max_examples=60)


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    """One Ray for all tests, on two processors, which reports nothing to anybody."""
    found = pytest.importorskip("ray")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"
    found.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False)
    yield found
    found.shutdown()


def table(path: Path, rows: int, columns: int = 12, group: int = 7) -> str:
    x = np.random.default_rng(0).standard_normal((rows, columns)).astype(np.float32)
    parquet.write_table(pyarrow.table({f"c{i}": x[:, i] for i in range(columns)}), path, row_group_size=group)
    return str(path)


def dense(path: Path, inputs: int = 12) -> str:
    from onnx import helper

    w = np.random.default_rng(1).standard_normal((inputs, 5)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("LeakyRelu", ["h"], ["y"], alpha=0.3)]
    return saved(network(nodes, ["n", inputs], weights={"w": w}, result_shape=["n", 5]), path)


def both(job: Job, given: list[str], folder: Path, batch: int = 4, **options):
    """Rows, bad ones and the summary of the direct engine, and of Ray."""
    found = sources(given, folder, None)  # type: ignore[arg-type]
    results = []
    for engine in (pipeline, on_ray):
        kept, bad = Kept(), []
        named = on_ray.as_file(job, folder) if engine is on_ray else job
        with named.open() as session:
            what = records(found, job, session) if engine is pipeline else found
            chosen = options if engine is on_ray else {}
            told = {"batch": batch, "bad": lambda name, why, bad=bad: bad.append((name, why))}
            summary = engine.run_job(named, session, what, kept, **told, **chosen)
        results.append((kept.rows, bad, (summary.rows, summary.bad, summary.skipped, summary.batch)))
    return results


def equal(a, b) -> bool:
    """Rows of the same names and numbers, bit for bit."""
    return len(a) == len(b) and all(
        list(x) == list(y) and all(np.array_equal(x[n], y[n], equal_nan=isinstance(x[n], np.ndarray)) for n in x)
        for x, y in zip(a, b, strict=True)
    )


@pytest.mark.parametrize(("rows", "batch"), [(101, 4), (3, 8), (33, 1)])
def test_parquet_gives_the_same_rows_in_the_same_order(ray, tmp_path, rows, batch):
    given = [table(tmp_path / "a.parquet", rows), table(tmp_path / "b.parquet", 9, group=100)]
    direct, through = both(Job(model=dense(tmp_path / "net.onnx")), given, tmp_path, batch)
    assert equal(direct[0], through[0]) and direct[1:] == through[1:] and len(direct[0]) == rows + 9


def test_pictures_with_bad_ones_among_them(ray, tmp_path):
    (tmp_path / "pictures").mkdir()
    for i in range(40):
        content = b"broken" if i in (0, 7, 8, 39) else encoded(photo(20 + i, 30, seed=i))
        (tmp_path / "pictures" / f"{i:02}.png").write_bytes(content)
    job = Job(
        model=saved(classifier(), tmp_path / "net.onnx"),
        preprocessing=recipe("gan"),
        postprocessing=Postprocessing(top_k=2),
    )
    direct, through = both(job, [str(tmp_path / "pictures")], tmp_path, 4)
    assert direct[1:] == through[1:] and [name[-6:] for name, _ in direct[1]] == [
        "00.png",
        "07.png",
        "08.png",
        "39.png",
    ]
    assert [r["input"] for r in direct[0]] == [r["input"] for r in through[0]]
    for a, b in zip(direct[0], through[0], strict=True):  # after a bad picture, batches hold other pictures
        assert a["class_1"] == b["class_1"] and b["score_1"] == pytest.approx(a["score_1"], rel=1e-5)


def test_arrays_and_pictures_of_every_size(ray, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((10, 3, 4, 4)).astype(np.float32))
    for i in range(9):
        (tmp_path / f"{i}.png").write_bytes(encoded(photo(8 + i // 3, 9, seed=i)))
    job = Job(model=saved(same(["n", 3, "h", "w"]), tmp_path / "net.onnx"), preprocessing=recipe("darknet"))
    direct, through = both(job, [str(tmp_path / "x.npy"), str(tmp_path / "*.png")], tmp_path, 2)
    assert equal(direct[0], through[0]) and len(through[0]) == 19


def test_what_an_earlier_run_has_written_is_left_out(ray, tmp_path):
    given = [table(tmp_path / "a.parquet", 30)]
    job = on_ray.as_file(Job(model=dense(tmp_path / "net.onnx")), tmp_path)
    done = frozenset(f"{given[0]}[{i}]" for i in range(30) if i % 3)
    with job.open() as session:
        kept = Kept(done=done)
        summary = on_ray.run_job(job, session, sources(given, tmp_path, None), kept, batch=4)
    assert [r["input"] for r in kept.rows] == [f"{given[0]}[{i}]" for i in range(0, 30, 3)]
    assert (summary.rows, summary.skipped) == (10, 20)


class Mortal(on_ray.Actor):
    """Dies once, with a unit in its hands; leaves the number of every process that it was beside the table."""

    def run(self, unit):
        folder = unit[0].path.parent
        (folder / f"process_{os.getpid()}").touch()
        if any(part.start <= 50 < part.stop for part in unit):
            try:
                (folder / "died").touch(exist_ok=False)
            except FileExistsError:
                return super().run(unit)
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(unit)


@pytest.mark.parametrize("actors", [1, 2])
def test_a_process_that_dies_loses_nothing(ray, tmp_path, monkeypatch, actors):
    given = [table(tmp_path / "a.parquet", 120)]
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(on_ray, "Actor", Mortal)
    direct, through = both(Job(model=dense(tmp_path / "net.onnx")), given, tmp_path, 4, actors=actors)
    assert (tmp_path / "died").exists() and len(list(tmp_path.glob("process_*"))) > 1
    assert equal(direct[0], through[0]) and len(through[0]) == 120


class Doomed(on_ray.Actor):
    """Dies of every unit."""

    def run(self, unit):
        with (unit[0].path.parent / "deaths").open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_unit_that_kills_every_process_ends_the_run(ray, tmp_path, monkeypatch):
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(on_ray, "Actor", Doomed)
    monkeypatch.setattr(on_ray, "RETRIES", 1)
    job = on_ray.as_file(Job(model=dense(tmp_path / "net.onnx")), tmp_path)
    with job.open() as session, pytest.raises(RuntimeFailure, match="Ray could not run the job"):
        on_ray.run_job(job, session, sources([table(tmp_path / "a.parquet", 4)], tmp_path, None), Kept(), actors=1)
    assert (tmp_path / "deaths").read_text() == "xx"


def test_errors_are_those_of_the_direct_engine(ray, tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(b"broken")
    job = Job(model=saved(classifier(), tmp_path / "net.onnx"), preprocessing=recipe("gan"))
    with pytest.raises(Usage, match="none of 3 inputs can be read"):
        both(job, [str(tmp_path / "*.png")], tmp_path)
    job = on_ray.as_file(Job(model=dense(tmp_path / "dense.onnx"), columns=("c1", "nothing")), tmp_path)
    with job.open() as session, pytest.raises(Usage, match="nothing"):
        on_ray.run_job(job, session, sources([table(tmp_path / "a.parquet", 9)], tmp_path, None), Kept())


def test_a_network_that_fails_ends_the_run(ray, tmp_path):
    from onnx import helper

    nodes = [helper.make_node("Cast", ["x"], ["i"], to=7), helper.make_node("Gather", ["t", "i"], ["y"])]
    table_of_two = {"t": np.zeros(2, np.float32)}
    job = on_ray.as_file(
        Job(model=saved(network(nodes, ["n", 1], weights=table_of_two), tmp_path / "net.onnx")), tmp_path
    )
    parquet.write_table(pyarrow.table({"x": [0.0, 1.0, 5.0]}), tmp_path / "x.parquet")
    with job.open() as session, pytest.raises((RuntimeFailure, Usage), match=r"onnxruntime failed|do not fit"):
        on_ray.run_job(job, session, sources([str(tmp_path / "x.parquet")], tmp_path, None), Kept())


def test_the_command_starts_its_own_ray_and_writes_the_same_file(tmp_path):
    found = pytest.importorskip("ray")
    if found.is_initialized():
        found.shutdown()
    model, given = dense(tmp_path / "net.onnx"), table(tmp_path / "x.parquet", 50)
    for name, options in (("direct", []), ("ray", ["--engine", "ray", "--actors", "1"])):
        with pytest.raises(SystemExit) as end:
            main(["run", model, given, "-o", str(tmp_path / f"{name}.parquet"), "--batch", "4", "-q", *options])
        assert end.value.code == 0
    assert parquet.read_table(tmp_path / "direct.parquet").equals(parquet.read_table(tmp_path / "ray.parquet"))
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0" and not found.is_initialized()


@pytest.mark.parametrize(
    "options",
    [["--actors", "2"], ["--ray-address", "auto"], ["--engine", "ray", "--actors", "0"], ["--engine", "dask"]],
    ids=" ".join,
)
def test_options_that_do_not_fit(tmp_path, options):
    with pytest.raises(SystemExit) as end:
        main(["run", dense(tmp_path / "net.onnx"), table(tmp_path / "x.parquet", 3), *options])
    assert end.value.code == 2


def test_a_cluster_that_is_not_there_is_told_at_once():
    found = pytest.importorskip("ray")
    if found.is_initialized():
        found.shutdown()
    for address in ("127.0.0.1:1", "ray://127.0.0.1:1", "127.0.0.1:99999"):
        with pytest.raises(Usage, match=f"there is no Ray at {address}"), on_ray._cluster(found, address):
            pass


# --- without Ray ------------------------------------------------------------------------------------------------------


@CUT
@given(
    counts=st.lists(st.integers(0, 60), max_size=4),
    batch=st.integers(1, 9),
    actors=st.integers(1, 5),
    seed=st.integers(0, 2**16),
)
def test_units_hold_every_record_once_in_whole_batches(counts, batch, actors, seed):
    rng = np.random.default_rng(seed)
    parts = [
        Rows(Path(f"{i}"), f"{i}", 0, n) if rng.random() < 0.6 else Record(f"{i}", n) for i, n in enumerate(counts)
    ]
    names = [n for p in parts for n in ([f"{p.name}[{i}]" for i in range(p.stop)] if isinstance(p, Rows) else [p.name])]
    done = frozenset(n for n in names if rng.random() < 0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(on_ray, "_parts", lambda *_: iter(parts))
        units, skipped = cut([], None, None, Kept(done=done), batch, actors)  # type: ignore[arg-type]
    held = [
        [
            n
            for p in u
            for n in ([f"{p.name}[{i}]" for i in range(p.start, p.stop)] if isinstance(p, Rows) else [p.name])
        ]
        for u in units
    ]
    assert [n for u in held for n in u] == [n for n in names if n not in done] and skipped == len(done)
    assert all(len(u) == len(held[0]) and len(u) % batch == 0 for u in held[:-1]) and all(held)


@CUT
@given(rows=st.integers(0, 50), group=st.integers(1, 20), start=st.integers(0, 55), length=st.integers(0, 60))
def test_a_range_of_a_parquet_file(tmp_path_factory, rows, group, start, length):
    path = tmp_path_factory.mktemp("p") / "x.parquet"
    parquet.write_table(pyarrow.table({"a": list(range(rows))}), path, row_group_size=group)
    assert [row["a"] for row in parquet_rows(path, None, start, start + length)] == list(range(rows))[
        start : start + length
    ]
    assert [row["a"] for row in parquet_rows(path, ["a"], start)] == list(range(rows))[start:]


def test_units_are_read_where_they_run(tmp_path):
    path = table(tmp_path / "x.parquet", 10)
    unit = [Record("a", 1), Rows(Path(path), "x", 3, 5)]
    found = list(on_ray.parts_of(unit, Job(model="", columns=("c1",))))
    assert [r.name for r in found] == ["a", "x[3]", "x[4]"] and list(found[1].value) == ["c1"]
    assert json.dumps(found[1].value)
