"""`leaky-interop run`: what goes in in every form comes out in every form, and an interrupted run goes on."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pyarrow
import pytest
from onnx import TensorProto, helper
from PIL import Image
from pyarrow import parquet

import leaky_interop as li
from leaky_interop.cli import console, main
from leaky_interop.inference import writers
from tests.inference_samples import classifier, encoded, network, photo, same, saved
from tests.test_files_inputs import wav


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of pictures, with networks beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "verbosity", 0)
    saved(classifier(), tmp_path / "net.onnx")
    saved(same(["batch", 3, 8, 8]), tmp_path / "same.onnx")
    (tmp_path / "labels.txt").write_text("\n".join(f"label {n}" for n in range(5)))
    for place in ("pics", "pics/deep", "pics/.hidden"):
        (tmp_path / place).mkdir()
    for n in range(5):
        photo(20 + n, 18, seed=n).save(tmp_path / f"pics/{n}.png")
    photo(9, 9, seed=9).save(tmp_path / "pics/deep/z.jpg")
    photo(9, 9, seed=9).save(tmp_path / "pics/.hidden/h.png")
    (tmp_path / "pics/notes.txt").write_text("no picture")
    return tmp_path


@pytest.fixture
def run(folder, capsys, monkeypatch):
    class Outcome:
        def __init__(self, code, out, err):
            self.code, self.out, self.err = code, out, err

    def command(*arguments: str, stdin: bytes = b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main(["run", *arguments])
        return Outcome(ended.value.code, *capsys.readouterr())

    return command


NAMES = [*(f"pics/{n}.png" for n in range(5)), "pics/deep/z.jpg"]


def expected(names=NAMES) -> np.ndarray:
    with li.Session("net.onnx", preprocess="imagenet") as session:
        return np.concatenate([session.predict(name) for name in names])


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- inputs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given,names", [
    (["pics"], sorted(NAMES)), (["pics/*.png"], NAMES[:5]), (["pics/**/*.[jp]*g"], sorted(NAMES)),
    (["pics/3.png", "pics/1.png"], ["pics/3.png", "pics/1.png"]),
])  # fmt: skip
def test_files_folders_and_globs(run, folder, given, names):
    done = run("net.onnx", *given, "--preprocess", "imagenet", "-o", "out.jsonl", "--batch", "2")
    assert done.code == 0, done.err
    found = lines(folder / "out.jsonl")
    assert [row["input"] for row in found] == names
    np.testing.assert_allclose([row["y"] for row in found], expected(names), rtol=1e-5, atol=1e-6)
    assert f"{len(names)} rows written to out.jsonl" in done.out


def test_standard_input_is_told_by_its_content(run, folder):
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    target = io.BytesIO()
    np.save(target, x)
    archive = io.BytesIO()
    np.savez(archive, x=x)
    for data in (target.getvalue(), archive.getvalue()):
        assert run("same.onnx", "-", "-o", "out.npz", stdin=data).code == 0
        found = li.files.arrays("out.npz")
        np.testing.assert_array_equal(found["y"], x)
        assert found["input"].tolist() == ["-[0]", "-[1]"]
    assert run("same.onnx", "-", "--preprocess", "gan", "-o", "out.npz", stdin=encoded(photo(8, 8))).code == 0
    wanted = (np.asarray(photo(8, 8), np.float32) / np.float32(127.5) - 1).transpose(2, 0, 1)
    np.testing.assert_array_equal(li.files.arrays("out.npz")["y"], wanted[None])
    saved(same(["batch", 2]), folder / "two.onnx")
    assert run("two.onnx", "-", "-o", "out.jsonl", stdin=b"a,b\n1,2\n3,4\n").code == 0
    assert [row["y"] for row in lines(folder / "out.jsonl")] == [[1, 2], [3, 4]]
    table = io.BytesIO()
    parquet.write_table(pyarrow.table({"a": [5.0], "b": [6.0]}), table)
    assert run("two.onnx", "-", "-o", "out.jsonl", stdin=table.getvalue()).code == 0
    assert [row["y"] for row in lines(folder / "out.jsonl")] == [[5, 6]]
    (folder / "sound.toml").write_text("sample_rate = 8000")
    assert (
        run(
            "two.onnx",
            "-",
            "--preprocess",
            "sound.toml",
            "-o",
            "out.jsonl",
            stdin=wav(np.int64([[16384], [-32768]]), 2),
        ).code
        == 0
    )
    assert [row["y"] for row in lines(folder / "out.jsonl")] == [[0.5, -1]]
    assert "standard input is empty" in run("same.onnx", "-").err
    assert "given twice" in run("same.onnx", "-", "-", stdin=b"1,2").err


def test_arrays_of_several_inputs_come_by_name(run, folder):
    saved(network([helper.make_node("Sub", ["a", "b"], ["y"])], ["batch", 2], inputs=("a", "b")), folder / "sub.onnx")
    np.savez(folder / "in.npz", b=np.float32([[1, 2], [3, 4], [0, 0]]), a=np.float32([[5, 5], [6, 6], [7, 7]]))
    assert run("sub.onnx", "in.npz", "-o", "out.npz", "--batch", "2").code == 0
    np.testing.assert_array_equal(li.files.arrays("out.npz")["y"], [[4, 3], [3, 2], [7, 7]])
    np.savez(folder / "in.npz", b=np.zeros((1, 2), np.float32))
    assert "holds the arrays b" in run("sub.onnx", "in.npz").err
    np.savez(folder / "in.npz", b=np.zeros((1, 2), np.float32), a=np.zeros((2, 2), np.float32))
    assert "different numbers of rows" in run("sub.onnx", "in.npz").err


def test_one_array_without_the_batch_is_one_record(run, folder):
    np.save(folder / "one.npy", np.ones((3, 8, 8), np.float32))
    assert run("same.onnx", "one.npy", "-o", "out.npz").code == 0
    assert li.files.arrays("out.npz")["y"].shape == (1, 3, 8, 8)
    np.save(folder / "one.npy", np.ones((8, 8), np.float32))
    assert "takes x float32[?, 3, 8, 8]" in run("same.onnx", "one.npy").err


def test_columns_of_a_table(run, folder):
    saved(same(["batch", 2]), folder / "two.onnx")
    (folder / "in.csv").write_text("id,a,b\n7,1,2\n8,x,4\n9,5,6\n")
    done = run("two.onnx", "in.csv", "--columns", "b, a", "-o", "out.csv")
    assert done.code == 0
    assert (folder / "out.csv").read_text() == "input,y[0],y[1]\nin.csv[0],2.0,1.0\nin.csv[2],6.0,5.0\n"
    assert "in.csv[1]: a value is no number" in done.err and "1 of 3 inputs could not be read" in done.err
    assert "3 numbers are given" in run("two.onnx", "in.csv").err


# --- outputs ----------------------------------------------------------------------------------------------------------


def test_every_format_holds_the_same_rows(run, folder):
    for suffix in ("jsonl", "csv", "parquet", "npz"):
        assert run("net.onnx", "pics", "--preprocess", "imagenet", "-o", f"out.{suffix}", "--batch", "4").code == 0
    wanted = [row["y"] for row in lines(folder / "out.jsonl")]
    assert np.float32(wanted).shape == (6, 5)
    with (folder / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [[float(row[f"y[{n}]"]) for n in range(5)] for row in rows] == wanted
    table = parquet.read_table(folder / "out.parquet")
    assert table.column("input").to_pylist() == sorted(NAMES) and table.column("y").to_pylist() == wanted
    arrays = li.files.arrays("out.npz")
    np.testing.assert_array_equal(arrays["y"], np.float32(wanted), strict=True)
    assert arrays["input"].tolist() == sorted(NAMES)


def test_classes_in_every_format(run, folder):
    options = ["--preprocess", "imagenet", "--labels", "labels.txt", "--top-k", "2", "--softmax", "--threshold", "0.3"]
    for suffix in ("jsonl", "csv", "parquet", "npz"):
        done = run("net.onnx", "pics", *options, "-o", f"out.{suffix}")
        assert done.code == 0, done.err
    logits = expected(sorted(NAMES)).astype(np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for row, scores in zip(lines(folder / "out.jsonl"), chances, strict=True):
        best = np.argsort(-scores)[:2]
        wanted = [n for n in best if scores[n] >= 0.3]
        assert [row[f"class_{n}"] for n in (1, 2)] == [*wanted, None, None][:2]
        assert [row[f"label_{n}"] for n in (1, 2)] == [*(f"label {n}" for n in wanted), None, None][:2]
        assert row["score_1"] == pytest.approx(scores[best[0]], rel=1e-5) or not wanted
    assert parquet.read_table(folder / "out.parquet").to_pylist() == lines(folder / "out.jsonl")
    shown = run("net.onnx", "pics", *options)
    assert "label 1" in shown.out or "label 0" in shown.out or "label 3" in shown.out


def test_a_table_says_that_scores_may_be_logits(run):
    assert (
        "--softmax makes probabilities" in run("net.onnx", "pics/1.png", "--preprocess", "imagenet", "--top-k", "1").out
    )
    assert "--softmax" not in run("net.onnx", "pics/1.png", "--preprocess", "imagenet", "--top-k", "1", "--softmax").out


def test_scores_that_are_probabilities_are_left_alone(run, folder):
    saved(classifier(last="Softmax"), folder / "soft.onnx")
    options = ["pics", "--preprocess", "imagenet", "--top-k", "1"]
    assert run("soft.onnx", *options, "-o", "out.jsonl").code == 0
    assert all(0 < row["score_1"] <= 1 for row in lines(folder / "out.jsonl"))
    assert "probabilities already" in run("soft.onnx", *options, "--softmax").err


def gan(last: str = "Tanh", channels: int = 3):
    """Noise of two numbers to a picture, [3, 4, 5]."""
    weights = {
        "w": np.random.default_rng(1).standard_normal((2, channels * 20)).astype(np.float32),
        "s": np.int64([-1, channels, 4, 5]),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Reshape", ["m", "s"], ["r"]),
        helper.make_node(last, ["r"], ["y"]),
    ]
    return network(nodes, ["batch", 2], weights=weights, result_shape=["batch", channels, 4, 5])


@pytest.mark.parametrize("last,low,high", [("Tanh", -1, 1), ("Sigmoid", 0, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_gans_output_is_written_as_pictures(run, folder, last, low, high, channels):
    saved(gan(last, channels), folder / "gan.onnx")
    noise = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
    np.save(folder / "noise.npy", noise)
    assert run("gan.onnx", "noise.npy", "-o", "made/", "--batch", "2").code == 0
    arrays = li.run(gan(last, channels), noise)[0].astype(np.float64)
    wanted = np.rint((arrays - low) / (high - low) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    names = sorted(path.name for path in (folder / "made").iterdir())
    assert len(names) == 5
    for name, pixels in zip(names, wanted, strict=True):
        made = np.asarray(Image.open(folder / "made" / name))
        np.testing.assert_array_equal(made if channels == 3 else made[..., None], pixels)
    assert run("gan.onnx", "noise.npy", "-o", "grid.png").code == 0
    grid = np.asarray(Image.open(folder / "grid.png"))
    assert grid.shape[:2] == (8, 15)
    np.testing.assert_array_equal(grid[:4, 5:10], wanted[1] if channels == 3 else wanted[1, ..., 0])


def test_the_range_of_pictures_is_known_or_asked_for(run, folder):
    options = ["same.onnx", "pics/1.png", "-o", "out.png"]
    assert run(*options, "--preprocess", "gan").code == 0
    small = photo(21, 18, seed=1).resize((8, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "out.png")), np.asarray(small))
    assert "--output-range" in run(*options, "--preprocess", "darknet").err
    (folder / "raw.toml").write_text("filter = 'nearest'\ncolours = 'bgr'")
    assert run(*options, "--preprocess", "raw.toml", "--output-range", "0..255").code == 0
    nearest = photo(21, 18, seed=1).resize((8, 8), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "out.png")), np.asarray(nearest))
    for wrong in ("1..0", "0-1", "0..inf", "..", "nan..1"):
        assert "--output-range" in run(*options, "--preprocess", "gan", f"--output-range={wrong}").err
    assert run(*options, "--preprocess", "gan", "--output-range=-1..1").code == 0
    assert run("net.onnx", "pics/1.png", "--preprocess", "imagenet", "-o", "x.png", "--output-range", "0..1").code == 2


def test_two_inputs_never_share_a_picture(run, folder):
    for place in ("a", "A", "a_b", "a/b"):
        (folder / "many" / place).mkdir(parents=True, exist_ok=True)
    for name in ("a/b.png", "a/b.jpg", "a_b.png", "A/B.png"):
        photo(8, 8).save(folder / "many" / name)
    assert run("same.onnx", "many", "--preprocess", "gan", "-o", "made/").code == 0
    assert len({p.name.lower() for p in (folder / "made").iterdir()}) == 4


# --- resuming ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
@pytest.mark.parametrize("cut", [0, 1, 30, 10_000])
def test_an_interrupted_run_goes_on_where_it_was(run, folder, suffix, cut):
    """Whatever of the last lines is missing, the end is the same."""
    command = ["net.onnx", "pics", "--preprocess", "imagenet", "-o", f"out.{suffix}", "--batch", "1"]
    assert run(*command).code == 0
    whole = (folder / f"out.{suffix}").read_bytes()
    (folder / f"out.{suffix}").write_bytes(whole[: max(0, len(whole) * 2 // 3 - cut)])
    done = run(*command, "--resume")
    assert done.code == 0, done.err
    assert (folder / f"out.{suffix}").read_bytes() == whole
    assert "were there already" in done.out or cut == 10_000
    again = run(*command, "--resume")
    assert "0 rows written" in again.out and "6 were there already" in again.out
    assert (folder / f"out.{suffix}").read_bytes() == whole


def test_a_killed_run_goes_on(folder):
    command = [
        sys.executable,
        "-m",
        "leaky_interop",
        "run",
        "net.onnx",
        "pics",
        "--preprocess",
        "imagenet",
        "-o",
        "out.jsonl",
        "--batch",
        "1",
    ]
    kill = "import os, leaky_interop.inference.writers as w\n" \
        "write = w.Lines.write\n" \
        "def once(self, rows):\n    write(self, rows)\n    self.n = getattr(self, 'n', 0) + 1\n    self.n == 3 and os.kill(os.getpid(), 9)\n" \
        "w.Lines.write = once\nfrom leaky_interop.cli import main\nmain()"  # fmt: skip
    killed = subprocess.run([command[0], "-c", kill, *command[3:]], cwd=folder, env=_environment(), capture_output=True)
    assert killed.returncode == -9 and len(lines(folder / "out.jsonl")) == 3
    done = subprocess.run([*command, "--resume"], cwd=folder, env=_environment(), capture_output=True, text=True)
    assert done.returncode == 0 and "3 rows written to out.jsonl, 3 were there already" in done.stdout
    assert [row["input"] for row in lines(folder / "out.jsonl")] == sorted(NAMES)


def _environment():
    import os
    from pathlib import Path

    return {**os.environ, "PYTHONPATH": str(Path(li.__file__).parents[1]), "OMP_NUM_THREADS": "1"}


def test_pictures_that_are_there_are_not_made_again(run, folder):
    command = ["same.onnx", "pics", "--preprocess", "gan", "-o", "made/"]
    assert run(*command).code == 0
    kept = {p: p.read_bytes() for p in (folder / "made").iterdir()}
    gone, *rest = sorted(kept)
    gone.unlink()
    rest[0].write_bytes(b"mine")
    done = run(*command, "--resume")
    assert "1 row written to made/, 5 were there already" in done.out
    assert gone.read_bytes() == kept[gone] and rest[0].read_bytes() == b"mine"


def test_another_runs_output_is_not_gone_on_with(run, folder):
    assert run("net.onnx", "pics", "--preprocess", "imagenet", "-o", "out.jsonl").code == 0
    before = (folder / "out.jsonl").read_bytes()
    done = run("net.onnx", "pics", "--preprocess", "imagenet", "--top-k", "2", "-o", "out.jsonl", "--resume")
    assert done.code == 2 and "another run" in done.err
    (folder / "other.csv").write_text("hello\nworld\n")
    assert run("net.onnx", "pics", "--preprocess", "imagenet", "-o", "other.csv", "--resume").code == 2
    assert (folder / "out.jsonl").read_bytes() == before
    for name in ("out.parquet", "out.npz", "grid.png"):
        assert "cannot be resumed" in run("same.onnx", "pics", "--preprocess", "gan", "-o", name, "--resume").err
    assert "without --output" in run("net.onnx", "pics", "--preprocess", "imagenet", "--resume").err


def test_a_failed_run_leaves_a_whole_file_or_none(run, folder, monkeypatch):
    (folder / "out.parquet").write_bytes(b"earlier")
    monkeypatch.setattr(writers.Parquet, "close", lambda self: (_ for _ in ()).throw(li.Usage("full")))
    assert run("net.onnx", "pics", "--preprocess", "imagenet", "-o", "out.parquet").code == 2
    assert (folder / "out.parquet").read_bytes() == b"earlier"


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_bad_pictures_are_named_counted_and_no_failure(run, folder):
    for n in range(12):
        (folder / f"pics/bad{n}.jpg").write_bytes(b"\xff\xd8\xff no")
    done = run("net.onnx", "pics", "--preprocess", "imagenet", "-o", "out.jsonl")
    assert done.code == 0
    assert "12 of 18 inputs could not be read" in done.err and done.err.count("pics/bad") == 10
    assert len(lines(folder / "out.jsonl")) == 6
    alone = run("net.onnx", "pics/bad1.jpg", "--preprocess", "imagenet")
    assert alone.code == 2 and "the input cannot be read" in alone.err


@pytest.mark.parametrize("command,match", [
    ("net.onnx", "nothing to run the network on"),
    ("net.onnx pics --input x.npy", "two ways"),
    ("net.onnx pics", "--preprocess"),
    ("net.onnx pics --preprocess nothing", "there is no preprocessing 'nothing'"),
    ("net.onnx nowhere.png --preprocess imagenet", "the input cannot be read"),
    ("net.onnx pics/*.gif --preprocess imagenet", "no file is called"),
    ("net.onnx pics/.hidden/../../labels.txt --preprocess imagenet", "a value is no number"),
    ("net.onnx pics --preprocess imagenet -o out.txt", "--output out.txt is not understood"),
    ("net.onnx pics --preprocess imagenet -o nowhere/out.csv", "does not exist"),
    ("net.onnx pics --preprocess imagenet -o made/ --top-k 2", "classes are asked for, and pictures"),
    ("net.onnx pics --preprocess imagenet -o out.csv --output-range 0..1", "without pictures"),
    ("net.onnx pics --preprocess imagenet --batch many", "--batch 'many'"),
    ("net.onnx pics --preprocess imagenet --batch 0", "--batch '0'"),
    ("net.onnx pics --preprocess imagenet --memory-limit 1GB", "without --batch auto"),
    ("net.onnx pics --preprocess imagenet --batch auto --memory-limit 1MB", "memory limit is 1 MiB"),
    ("net.onnx pics --preprocess imagenet --labels nowhere.txt", "nowhere.txt"),
    ("net.onnx pics --preprocess imagenet --provider Fast", "no provider Fast"),
    ("nowhere.onnx pics --preprocess imagenet", "no file nowhere.onnx"),
])  # fmt: skip
def test_a_mistake_is_a_sentence_and_exit_code_2(run, command, match):
    done = run(*command.split())
    assert done.code == 2, done.err
    assert match in done.err and "Traceback" not in done.err and "Unexpected" not in done.err


def test_auto_finds_a_batch_and_gives_the_same_rows(run, folder):
    (folder / "pics/0.png").write_bytes(b"no picture")
    assert run("net.onnx", "pics", "--preprocess", "imagenet", "-o", "a.jsonl").code == 0
    done = run(
        "net.onnx",
        "pics",
        "--preprocess",
        "imagenet",
        "-o",
        "b.jsonl",
        "--batch",
        "auto",
        "--memory-limit",
        "64GB",
        "-v",
    )
    assert done.code == 0 and "rows a second in batches of" in done.out
    one, other = lines(folder / "a.jsonl"), lines(folder / "b.jsonl")
    assert [row["input"] for row in one] == [row["input"] for row in other]
    np.testing.assert_allclose([row["y"] for row in one], [row["y"] for row in other], rtol=1e-5, atol=1e-6)


def test_nan_and_infinity_are_null_in_json(run, folder):
    saved(same(["batch", 3]), folder / "three.onnx")
    np.save(folder / "x.npy", np.float32([[np.nan, np.inf, 1]]))
    assert run("three.onnx", "x.npy", "-o", "out.jsonl").code == 0
    assert lines(folder / "out.jsonl") == [{"input": "x.npy[0]", "y": [None, None, 1]}]
    assert run("three.onnx", "x.npy", "-o", "out.npz").code == 0
    np.testing.assert_array_equal(li.files.arrays("out.npz")["y"], np.float32([[np.nan, np.inf, 1]]))


def test_odd_names_stay_one_line(run, folder):
    for name in ("a,b.png", 'q"uote.png', "new\nline.png", "ünï.png"):
        photo(8, 8).save(folder / "pics" / name)
    for suffix in ("csv", "jsonl"):
        command = ["net.onnx", "pics", "--preprocess", "imagenet", "-o", f"out.{suffix}"]
        assert run(*command).code == 0
        text = (folder / f"out.{suffix}").read_text()
        assert len(text.splitlines()) == 10 + (suffix == "csv")
        assert run(*command, "--resume").code == 0
    assert len(lines(folder / "out.jsonl")) == 10
    with (folder / "out.csv").open() as file:
        assert {'pics/q"uote.png', "pics/a,b.png", "pics/ünï.png"} <= {row["input"] for row in csv.DictReader(file)}


def test_nothing_is_imported_that_the_command_does_not_need(folder):
    code = "from leaky_interop.cli import main\ntry: main(['run', 'net.onnx', 'pics/1.png', '--preprocess', 'imagenet', '--top-k', '2'])\n" \
        "except SystemExit as end: assert end.code == 0\nimport sys\n" \
        "print('LOADED', *(m for m in sys.modules if m.startswith(('leaky_interop.ops', 'torch', 'keras', 'pyarrow', 'scipy', 'tensorflow'))))"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=_environment(), capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "LOADED", done.stdout + done.stderr


def test_uint8_networks_make_pictures(run, folder):
    saved(same(["batch", 6, 7, 3], TensorProto.UINT8), folder / "bytes.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 6, 7, 3), dtype=np.uint8)
    np.save(folder / "x.npy", pixels)
    assert run("bytes.onnx", "x.npy", "-o", "out.png").code == 0
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "out.png")), pixels[0])


def test_a_full_disk_keeps_whole_rows_and_says_how_to_go_on(run, monkeypatch):
    written = []

    class File:
        def __init__(self, file):
            self.file = file

        def write(self, text):
            written.append(text)
            if len(written) > 2:
                raise OSError(28, "No space left on device")
            self.file.write(text)

        def __getattr__(self, name):
            return getattr(self.file, name)

    made = writers.Lines.__init__

    def init(self, *arguments):
        made(self, *arguments)
        self.file = File(self.file)

    monkeypatch.setattr(writers.Lines, "__init__", init)
    done = run("net.onnx", "pics", "--preprocess", "imagenet", "-o", "out.jsonl", "--batch", "1")
    assert done.code == 2 and "No space left on device" in done.err and "--resume" in done.err
