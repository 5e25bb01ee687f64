"""Writing: an earlier file survives whole or the new one is whole, and nothing else stays behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from leaky_interop import files
from leaky_interop.errors import Refused, Usage
from leaky_interop.files import writing

WRITER = """
import sys, time
from leaky_interop.files import atomic
with atomic(sys.argv[1]) as path:
    path.write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def writer(tmp_path):
    """Another process in the middle of writing to net.onnx; ended when the test is."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "net.onnx"], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"writing\n"
    yield process
    process.kill()
    process.wait()


def test_a_new_file_appears_whole_with_the_usual_mode(tmp_path):
    target = tmp_path / "net.keras"
    with files.atomic(target) as path:
        assert path.name.endswith(".keras")
        assert path.parent.parent == tmp_path
        path.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    (tmp_path / "plain").write_bytes(b"")
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert _names(tmp_path) == ["net.keras", "plain"]


@pytest.mark.parametrize("error", [Refused("padding 'wrap'"), KeyboardInterrupt(), SystemExit(1), OSError("disk")])
def test_an_earlier_file_survives_any_error(tmp_path, error):
    target = tmp_path / "net.onnx"
    target.write_bytes(b"old")
    with pytest.raises(type(error)), files.atomic(target) as path:
        path.write_bytes(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert _names(tmp_path) == ["net.onnx"]


def test_files_beside_the_target_move_along(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"old")
    with files.atomic(tmp_path / "net.onnx") as path:
        path.write_bytes(b"new")
        path.with_name("net.onnx.data").write_bytes(b"data")
    assert _names(tmp_path) == ["net.onnx", "net.onnx.data"]
    assert (tmp_path / "net.onnx").read_bytes() == b"new"


def test_data_arrives_before_the_file_that_names_it(tmp_path, monkeypatch):
    moved = []
    replace = writing.Path.replace
    monkeypatch.setattr(writing.Path, "replace", lambda self, to: (moved.append(self.name), replace(self, to)))
    with files.atomic(tmp_path / "a.onnx") as path:
        path.write_bytes(b"")
        path.with_name("z.data").write_bytes(b"")
    assert moved == ["z.data", "a.onnx"]


def test_everything_is_flushed_before_it_is_renamed(tmp_path, monkeypatch):
    done = []
    flush, replace = writing._flush, writing.Path.replace
    monkeypatch.setattr(writing, "_flush", lambda path: (done.append(("flush", path.name)), flush(path)))
    monkeypatch.setattr(writing.Path, "replace", lambda self, to: (done.append(("move", self.name)), replace(self, to)))
    monkeypatch.setattr(writing.os, "fsync", lambda descriptor: done.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name)))
    with files.atomic(tmp_path / "a.onnx") as path:
        path.write_bytes(b"")
    folder = path.parent.name
    assert done == [
        ("flush", "a.onnx"), ("fsync", "a.onnx"), ("flush", folder), ("fsync", folder), ("move", "a.onnx"), ("fsync", tmp_path.name),
    ]  # fmt: skip


def test_a_link_at_the_target_is_replaced_and_not_followed(tmp_path):
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "net.onnx").symlink_to("precious")
    with files.atomic(tmp_path / "net.onnx") as path:
        path.write_bytes(b"new")
    assert (tmp_path / "precious").read_bytes() == b"precious"
    assert not (tmp_path / "net.onnx").is_symlink()


def test_a_killed_writers_leftovers_go_with_the_next_write(tmp_path, writer):
    (tmp_path / "net.onnx").write_bytes(b"old")
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert len(_names(tmp_path)) == 2
    assert (tmp_path / "net.onnx").read_bytes() == b"old"
    with files.atomic(tmp_path / "net.onnx") as path:
        path.write_bytes(b"new")
    assert _names(tmp_path) == ["net.onnx"]
    assert (tmp_path / "net.onnx").read_bytes() == b"new"


def test_another_writer_at_work_is_left_alone(tmp_path, writer):
    with files.atomic(tmp_path / "net.onnx") as path:
        path.write_bytes(b"new")
    assert writer.poll() is None
    assert [name for name in _names(tmp_path) if name.startswith(writing.MARK)]


def test_leftovers_of_other_targets_go_too_and_lookalikes_stay(tmp_path):
    others = [".leaky_interop-net.onnx-", ".leaky_interop-net.onnx-abcd1234x", "leaky_interop-net.onnx-abcd1234"]
    for name in [*others, ".leaky_interop-other.onnx-abcd1234"]:
        (tmp_path / name).mkdir()
    (tmp_path / ".leaky_interop-net.onnx-abcd1234").symlink_to(tmp_path)
    with files.atomic(tmp_path / "net.onnx") as path:
        path.write_bytes(b"new")
    assert _names(tmp_path) == sorted([*others, ".leaky_interop-net.onnx-abcd1234", "net.onnx"])


def test_a_terminated_writer_leaves_the_target(tmp_path, writer):
    (tmp_path / "net.onnx").write_bytes(b"old")
    writer.send_signal(signal.SIGINT)
    writer.wait()
    assert _names(tmp_path) == ["net.onnx"]


def test_two_writers_both_end_and_the_last_one_wins(tmp_path):
    code = WRITER.replace('b"half"', "sys.argv[2].encode() * 100_000").replace("60", "0.1")
    started = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / "net.onnx", letter], stdout=subprocess.DEVNULL)
        for letter in "ab"
    ]
    assert [process.wait() for process in started] == [0, 0]
    content = (tmp_path / "net.onnx").read_bytes()
    assert content in (b"a" * 100_000, b"b" * 100_000)
    assert _names(tmp_path) == ["net.onnx"]


def test_where_nothing_can_be_written_the_error_is_clear(tmp_path):
    with pytest.raises(Usage, match=r"folder of net.onnx does not exist"), files.atomic(tmp_path / "no" / "net.onnx"):
        pass
    with pytest.raises(Usage, match="is a folder"), files.atomic(tmp_path):
        pass
    with pytest.raises(Usage, match=r"cannot be written: File name too long"), files.atomic(tmp_path / ("x" * 250)):
        pass


def test_a_full_disk_is_a_clear_error(tmp_path):
    with pytest.raises(Usage, match=r"net.onnx cannot be written: No space left"), files.atomic(tmp_path / "net.onnx"):
        with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123  (a device that is always full)
            full.write(b"x")
    assert _names(tmp_path) == []


def test_writing_nothing_is_an_error_and_keeps_the_target(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"old")
    with pytest.raises(FileNotFoundError, match="nothing was written"), files.atomic(tmp_path / "net.onnx"):
        pass
    assert (tmp_path / "net.onnx").read_bytes() == b"old"


def test_a_kill_at_any_moment_leaves_a_whole_file(tmp_path):
    target = tmp_path / "net.onnx"
    target.write_bytes(b"old" * 1_000_000)
    code = (
        "import sys\nfrom leaky_interop.files import atomic\nprint('go', flush=True)\n"
        "while True:\n    with atomic(sys.argv[1]) as path:\n        path.write_bytes(b'new' * 1_000_000)\n"
    )
    for delay in (0.0, 0.003, 0.01, 0.02, 0.03):
        process = subprocess.Popen([sys.executable, "-c", code, os.fspath(target)], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"go\n"
        time.sleep(delay)
        process.kill()
        process.wait()
        assert target.read_bytes() in (b"old" * 1_000_000, b"new" * 1_000_000)
    with files.atomic(target) as path:
        path.write_bytes(b"last")
    assert _names(tmp_path) == ["net.onnx"]


def test_a_file_can_be_written_inside_of_another_ones_temporary_folder(tmp_path):
    """A conversion that becomes an entry of the cache: its writer must not wait for the folder that its caller holds."""
    with files.atomic(tmp_path / "outer.txt") as outer:
        with files.atomic(outer) as inner:
            inner.write_text("whole")
            inner.with_name("beside.txt").write_text("too")
        assert outer.read_text() == "whole"
    assert (tmp_path / "outer.txt").read_text() == "whole" and (tmp_path / "beside.txt").read_text() == "too"
    assert {path.name for path in tmp_path.iterdir()} == {"outer.txt", "beside.txt"}
