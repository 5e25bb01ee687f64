"""Jobs and the direct engine: every record becomes one row, in order, whatever the batch; bad ones are counted and left out."""

from __future__ import annotations

import pickle
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop.inference import Job, Postprocessing, Record, batching, labels, pipeline, recipe
from leaky_interop.inference.postprocessing import softmax
from leaky_interop.inference.writers import Rows
from tests.inference_samples import classifier, encoded, network, photo, same, saved
from tests.test_files_inputs import wav


@pytest.fixture
def model(tmp_path) -> str:
    return saved(classifier(), tmp_path / "net.onnx")


def pictures(count: int) -> list[Record]:
    return [Record(f"p{n}", encoded(photo(20 + n, 18, seed=n))) for n in range(count)]


def run(job: Job, records, **options) -> tuple[Rows, pipeline.Summary, list[str]]:
    kept, bad = Rows(10**6), []
    with job.open() as session:
        summary = pipeline.run_job(job, session, records, kept, bad=lambda name, why: bad.append(name), **options)
    return kept, summary, bad


def close(found: list[dict], expected: list[dict]) -> None:
    assert [row["input"] for row in found] == [row["input"] for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in one.keys() - {"input"}:
            np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-6)


# --- the engine -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch,workers", [(1, 1), (2, 3), (7, 2), (100, 4)])
def test_the_pipeline_gives_the_rows_of_the_job_in_order(model, batch, workers):
    job = Job(model=model, preprocessing=recipe("imagenet"), postprocessing=Postprocessing(top_k=2, softmax=True))
    records = pictures(9)
    with job.open() as session:
        expected = job.results(session, records)
    assert not expected.bad and len(expected.rows) == 9
    kept, summary, bad = run(job, records, batch=batch, workers=workers)
    close(kept.rows, expected.rows)
    assert (summary.rows, summary.bad, bad) == (9, 0, [])


def test_a_job_survives_pickling(model):
    job = Job(
        model=model,
        preprocessing=recipe("keras:vgg16"),
        postprocessing=Postprocessing(labels=tuple("abcde"), threshold=0.5),
    )
    assert pickle.loads(pickle.dumps(job)) == job


def test_bad_records_are_left_out_and_named(model):
    records = pictures(6)
    records[0] = Record("cut", records[0].value[:100])
    records[3] = Record("text", b"no picture")
    records[4] = Record("gone", Path("nowhere.png"))
    job = Job(model=model, preprocessing=recipe("imagenet"))
    kept, summary, bad = run(job, records, batch=2)
    assert [row["input"] for row in kept.rows] == ["p1", "p2", "p5"]
    assert (summary.rows, summary.bad, bad) == (3, 3, ["cut", "text", "gone"])
    with job.open() as session:
        results = job.results(session, records)
    close(results.rows, kept.rows)
    assert [name for name, _ in results.bad] == bad and "no picture" in results.bad[1][1]


def test_if_all_are_bad_that_is_an_error(model):
    job = Job(model=model, preprocessing=recipe("imagenet"))
    with pytest.raises(li.Usage, match="none of 2 inputs"):
        run(job, [Record("a", b"1"), Record("b", b"2")])


def test_no_records_are_no_error(model):
    kept, summary, _ = run(Job(model=model, preprocessing=recipe("imagenet")), [])
    assert not kept.rows and summary.rows == 0


def test_a_job_that_fits_no_record_ends_at_the_first(model):
    seen = []

    def records():
        for record in pictures(100):
            seen.append(record)
            yield record

    with pytest.raises(li.Usage, match="--preprocess"):
        run(Job(model=model), records(), batch=1, workers=1)
    assert len(seen) < 10


def test_pictures_of_their_own_size_run_with_their_likes(tmp_path):
    job = Job(model=saved(same(["batch", 3, "h", "w"]), tmp_path / "same.onnx"), preprocessing=recipe("gan"))
    sizes = [(8, 6), (8, 6), (5, 9), (8, 6), (8, 6), (8, 6)]
    kept, _, _ = run(job, [Record(str(n), photo(*size, seed=n)) for n, size in enumerate(sizes)], batch=2)
    assert [row["y"].shape for row in kept.rows] == [(3, h, w) for w, h in sizes]
    for n, (row, size) in enumerate(zip(kept.rows, sizes, strict=True)):
        expected = np.asarray(photo(*size, seed=n), np.float32) / np.float32(127.5) - 1
        np.testing.assert_array_equal(row["y"], expected.transpose(2, 0, 1))


def test_records_are_decoded_ahead_and_not_all_at_once(model):
    """However fast the source is: memory must not grow with it."""
    taken, most = [0], [0]
    job = Job(model=model)

    def records():
        for n in range(500):
            taken[0] += 1
            yield Record(str(n), np.zeros((3, 8, 8), np.float32))

    class Slow(Rows):
        def write(self, rows):
            most[0] = max(most[0], taken[0] - self.count)
            super().write(rows)

    with job.open() as session:
        summary = pipeline.run_job(job, session, records(), Slow(0), batch=4, workers=2)
    assert summary.rows == 500
    assert most[0] <= 4 + 2 * 4 + 2 + 1


def test_decoding_runs_while_the_network_does(model, monkeypatch):
    together = []

    def arrays(self, session, record):
        together.append(threading.active_count())
        time.sleep(0.01)
        return [np.zeros((3, 8, 8), np.float32)]

    monkeypatch.setattr(Job, "arrays", arrays)
    before = threading.active_count()
    run(Job(model=model), [Record(str(n), None) for n in range(12)], batch=2, workers=3)
    assert max(together) >= before + 2
    assert threading.active_count() == before


def test_an_error_of_the_network_or_of_the_writer_ends_the_run(model):
    job = Job(model=model)
    with pytest.raises(li.Usage, match="do not fit"):
        run(job, [Record("a", np.zeros((3, 9, 9), np.float32))])

    class Full(Rows):
        def write(self, rows):
            raise OSError(28, "No space left on device")

    with job.open() as session, pytest.raises(OSError):
        pipeline.run_job(job, session, [Record("a", np.zeros((3, 8, 8), np.float32))] * 50, Full(1))


# --- tables and sounds ------------------------------------------------------------------------------------------------


def test_columns_of_a_table_go_in_in_their_order(tmp_path):
    path = saved(same(["batch", 2, 2]), tmp_path / "same.onnx")
    rows = [
        {"a": "1", "b": "2.5", "c": "3", "d": "nan", "e": "x"},
        {"a": 5, "b": 6, "c": None, "d": 8, "e": 0},
        {"a": 1, "b": 2, "c": 3, "d": 4},
    ]
    job = Job(model=path, columns=("d", "c", "b", "a"))
    kept, summary, bad = run(job, [Record(str(n), row) for n, row in enumerate(rows)])
    assert bad == ["1"] and summary.rows == 2
    np.testing.assert_array_equal(kept.rows[0]["y"], np.float32([[np.nan, 3], [2.5, 1]]))
    np.testing.assert_array_equal(kept.rows[1]["y"], np.float32([[4, 3], [2, 1]]))
    with pytest.raises(li.Usage, match="no column 'z'"):
        run(Job(model=path, columns=("z",)), [Record("0", rows[0])])
    with pytest.raises(li.Usage, match="5 numbers are given"):
        run(Job(model=path), [Record("0", {str(n): n for n in range(5)})])


def test_whole_numbers_of_a_table_do_not_wrap_around(tmp_path):
    job = Job(model=saved(same(["batch", 2], TensorProto.INT8), tmp_path / "same.onnx"))
    kept, _, bad = run(
        job, [Record("a", {"x": 127, "y": -128}), Record("b", {"x": 128, "y": 0}), Record("c", {"x": "1.5", "y": 0})]
    )
    np.testing.assert_array_equal(kept.rows[0]["y"], np.int8([127, -128]))
    assert bad == ["b", "c"]


def test_lists_in_a_column_are_its_numbers(tmp_path):
    job = Job(model=saved(same(["batch", 6]), tmp_path / "same.onnx"))
    kept, _, bad = run(
        job, [Record("a", {"v": [1, 2, 3], "w": [4, 5, 6]}), Record("b", {"v": [1, 2], "w": [3, 4, 5, 6]})]
    )
    np.testing.assert_array_equal(kept.rows[0]["y"], np.float32([1, 2, 3, 4, 5, 6]))
    assert bad == ["b"]


@pytest.mark.parametrize(
    "shape,layout", [(["batch", 100], None), (["batch", 100, 1], -1), (["batch", 1, "n"], 0), (["batch", 2, 100], 0)]
)
def test_sounds_go_where_samples_are_wanted(tmp_path, shape, layout):
    from leaky_interop.inference import Sound

    channels = 2 if 2 in shape else 1
    whole = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (100, channels))
    path = saved(same(shape), tmp_path / "same.onnx")
    kept, _, bad = run(
        Job(model=path, preprocessing=Sound(sample_rate=8000)),
        [Record("a", wav(whole, 2)), Record("b", wav(whole, 2, 16000))],
    )
    expected = (whole / 32768).astype(np.float32)
    np.testing.assert_array_equal(
        kept.rows[0]["y"], expected[:, 0] if layout is None else expected.T if layout == 0 else expected
    )
    assert bad == ["b"]  # another rate


def test_sounds_of_another_length_or_channels_are_not_bent_silently(tmp_path):
    from leaky_interop.inference import Sound

    path = saved(same(["batch", 4]), tmp_path / "same.onnx")
    short, long = (np.arange(1, n + 1).reshape(-1, 1) * 1000 for n in (3, 5))
    records = [
        Record("short", wav(short, 2)),
        Record("long", wav(long, 2)),
        Record("two", wav(np.int64([[1000, 3000]] * 4), 2)),
    ]
    unit = np.float32(1000 / 32768)
    for fit, good in (("exact", ["two"]), ("pad", ["short", "two"]), ("cut", ["short", "long", "two"])):
        kept, _, _ = run(Job(model=path, preprocessing=Sound(sample_rate=8000, fit=fit)), records)
        assert [row["input"] for row in kept.rows] == good
        by_name = {row["input"]: row["y"] / unit for row in kept.rows}
        np.testing.assert_allclose(by_name["two"], [2, 2, 2, 2])
        np.testing.assert_allclose(by_name.get("short", [1, 2, 3, 0]), [1, 2, 3, 0], atol=1e-6)
        np.testing.assert_allclose(by_name.get("long", [1, 2, 3, 4]), [1, 2, 3, 4])
    two = saved(same(["batch", 4, 2]), tmp_path / "two.onnx")
    with pytest.raises(li.Usage, match="1 channels"):
        run(Job(model=two, preprocessing=Sound(sample_rate=8000, fit="pad")), records[:1])
    with pytest.raises(li.Usage, match="layout"):
        Job(model=saved(same(["batch", 2, 2]), tmp_path / "x.onnx"), preprocessing=Sound(sample_rate=1)).open()


# --- classes ----------------------------------------------------------------------------------------------------------


def rows_of(scores, last: str = "Gemm", **settings) -> list[dict]:
    array = np.asarray(scores, np.float32)
    port = li.inference.session.Port("y", (None, array.shape[1]), array.dtype)
    made = Postprocessing(**settings)
    made.fits([port], [last])
    return made.rows([array], [port], [last])


def test_the_best_classes_come_first_with_their_labels():
    found = rows_of([[0.1, 0.7, 0.2], [5, -1, 5]], labels=("a", "b", "c"), top_k=2)
    assert found[0] == {
        "class_1": 1,
        "label_1": "b",
        "score_1": pytest.approx(0.7),
        "class_2": 2,
        "label_2": "c",
        "score_2": pytest.approx(0.2),
    }
    assert (found[1]["class_1"], found[1]["class_2"]) == (0, 2)  # equal scores: the lower class first


def test_a_threshold_leaves_classes_out():
    assert rows_of([[0.1, 0.7, 0.2]], top_k=3, threshold=0.2) == [
        {
            "class_1": 1,
            "score_1": pytest.approx(0.7),
            "class_2": 2,
            "score_2": pytest.approx(0.2),
            "class_3": None,
            "score_3": None,
        }
    ]
    assert rows_of([[0.1, 0.7]], threshold=2.0) == [dict.fromkeys(("class_1", "score_1", "class_2", "score_2"))]


def test_softmax_where_it_is_asked_for_or_certain():
    logits = np.float32([[1000, 0, -1000], [1, 2, 3]])
    found = rows_of(logits, softmax=True, top_k=3)
    assert found[0]["score_1"] == 1.0
    powers = np.exp(np.float64([3, 2, 1]))
    assert [found[1][f"score_{n}"] for n in (1, 2, 3)] == pytest.approx(powers / powers.sum())
    assert rows_of(logits, top_k=1)[1]["score_1"] == 3  # a Gemm may give anything
    logs = np.log(np.float32([[0.25, 0.75]]))
    assert rows_of(logs, "LogSoftmax", top_k=1)[0]["score_1"] == pytest.approx(0.75)
    assert rows_of(logs, "LogSoftmax", top_k=1, softmax=False)[0]["score_1"] == pytest.approx(np.log(0.75))
    with pytest.raises(li.Usage, match="probabilities already"):
        rows_of([[0.5, 0.5]], "Softmax", softmax=True)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=3, max_size=3), min_size=1, max_size=4))
def test_probabilities_are_probabilities(scores):
    made = softmax(np.float64(scores))
    assert np.allclose(made.sum(axis=1), 1) and (made >= 0).all()
    best = np.float64(scores).argmax(axis=1)
    assert (np.take_along_axis(made, best[:, None], 1)[:, 0] == made.max(axis=1)).all()
    found = rows_of(scores, softmax=True, top_k=1)
    assert [row["class_1"] for row in found] == best.tolist()


def test_nan_is_never_the_best_class():
    found = rows_of([[np.nan, 0.5, 0.1]], top_k=3)
    assert found[0]["class_1"] == 1 and found[0]["class_3"] == 0 and np.isnan(found[0]["score_3"])
    assert rows_of([[np.nan, 0.5]], threshold=0.1)[0]["class_2"] is None


def test_labels_and_outputs_that_do_not_fit_are_said_before_anything_runs(model, tmp_path):
    with pytest.raises(li.Usage, match=r"3 labels.*5 classes"):
        Job(model=model, postprocessing=Postprocessing(labels=("a", "b", "c"))).open()
    image = saved(same(["batch", 3, 8, 8]), tmp_path / "image.onnx")
    with pytest.raises(li.Usage, match="no scores of classes"):
        Job(model=image, postprocessing=Postprocessing(top_k=1)).open()
    nodes = [helper.make_node("Neg", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["z"])]
    two = saved(network(nodes, ["batch", 3], outputs=("y", "z")), tmp_path / "two.onnx")
    with pytest.raises(li.Usage, match="2 outputs"):
        Job(model=two, postprocessing=Postprocessing(top_k=1)).open()
    for wrong in ({"top_k": 0}, {"threshold": float("nan")}):
        with pytest.raises(li.Usage):
            Postprocessing(**wrong)


def test_labels_are_lines_of_text(tmp_path):
    (tmp_path / "l.txt").write_bytes("\ufeffcat\r\n\r\nüber dog \n\n".encode())
    assert labels(tmp_path / "l.txt") == ("cat", "", "über dog")
    for wrong in (b"\n \n", b"\xff\xfe"):
        (tmp_path / "l.txt").write_bytes(wrong)
        with pytest.raises(li.Usage, match="labels"):
            labels(tmp_path / "l.txt")


# --- the batch --------------------------------------------------------------------------------------------------------


class Paced:
    """A session that is as fast as it is told, and holds as much memory."""

    batch = None

    def __init__(self, monkeypatch, seconds, memory):
        self.sizes, self.clock, self.most = [], 0.0, memory(0)
        self.seconds, self.memory = seconds, memory
        monkeypatch.setattr(batching.time, "perf_counter", lambda: self.clock)
        monkeypatch.setattr(batching, "peak", lambda: self.most)

    def run(self, feeds):
        size = len(feeds[0])
        self.sizes.append(size)
        self.clock += self.seconds(size)
        self.most = max(self.most, self.memory(size))


ROW = [np.zeros(3, np.float32)]


def test_the_fastest_batch_is_found(monkeypatch):
    paced = Paced(monkeypatch, lambda n: 0.1 + 0.01 * n + (0.02 * (n - 16) if n > 16 else 0), lambda n: n)
    assert batching.fastest_batch(paced, ROW, 1 << 30) == 16


def test_of_two_equally_fast_the_smaller(monkeypatch):
    assert batching.fastest_batch(Paced(monkeypatch, lambda n: 0.01 * n, lambda n: n), ROW, 1 << 30) == 1


def test_the_limit_is_not_tried_beyond(monkeypatch):
    paced = Paced(monkeypatch, lambda n: 1.0, lambda n: 1000 + 100 * n)  # ever faster
    assert batching.fastest_batch(paced, ROW, 2000) == 8
    assert paced.most <= 2000
    assert batching.fastest_batch(Paced(monkeypatch, lambda n: 1.0, lambda n: n), ROW, 1 << 30, most=32) == 32
    with pytest.raises(li.Usage, match="one row takes it"):
        batching.fastest_batch(Paced(monkeypatch, lambda n: 1.0, lambda n: n << 30), ROW, 1 << 20)


def test_a_fixed_batch_stays():
    with li.Session(classifier(batch=3)) as session:
        assert batching.fastest_batch(session, [np.zeros((3, 8, 8), np.float32)]) == 3


@pytest.mark.parametrize(
    "text,size", [("500MB", 500 << 20), ("2g", 2 << 30), ("1.5 GiB", 3 << 29), ("4096", 4096), ("8kb", 8192)]
)
def test_sizes_of_memory(text, size):
    assert batching.memory_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1", "nan", "1TB", "0", "1e400"])
def test_sizes_that_are_none(text):
    with pytest.raises(li.Usage, match="memory-limit"):
        batching.memory_size(text)
