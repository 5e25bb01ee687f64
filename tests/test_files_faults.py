"""A writer killed at any line, a full disk, a folder for reading only, Ctrl-C: the earlier files survive or the new are whole."""

import errno
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from leaky_interop import files
from leaky_interop.errors import Usage
from leaky_interop.files import source, writing

# Writes old files, and new ones in a forked process that is ended at its n-th line of files/ or n-th call of the system;
# n runs until the child ends by itself. Prints for each n what is there, then what is there after another write.
KILLER = """
import json, os, signal, sys
from pathlib import Path
from leaky_interop.files import atomic, writing
how, names = signal.Signals[sys.argv[2]], sys.argv[3:]
folder = Path(sys.argv[1])
os.fsync = lambda descriptor: None  # the kernel outlives the process; this is not about power cuts
target = folder / names[-1]

def put(content):
    with atomic(target) as path:
        for name in names:
            path.with_name(name).write_bytes(content)

def count_down(n):
    left = [n]
    def step(frame=None, event="", argument=None):
        if frame is None or "/files/" in frame.f_code.co_filename:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), how)
        return step
    sys.addaudithook(lambda event, _: step() if event.startswith(("open", "os.", "fcntl", "shutil")) and event != "os.kill" else None)
    sys.settrace(step)

def state():
    return [(folder / name).read_text() if (folder / name).exists() else None for name in names], writing._ready(target).exists()

put(b"old")
for n in range(1, 10_000):
    child = os.fork()
    if not child:
        try:
            count_down(n)
            put(b"new")
            os._exit(0)
        except KeyboardInterrupt:
            os._exit(2)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    first = state()
    with atomic(folder / "other") as path:
        path.write_bytes(b"x")
    print(json.dumps([ended, *first, state()[0], sorted(os.listdir(folder))]))
    if not ended:
        break
    put(b"old")
"""


def killed(folder: Path, how: str, *names: str) -> list:
    import json

    done = subprocess.run(
        [sys.executable, "-c", KILLER, folder, how, *names], capture_output=True, text=True, timeout=120
    )
    assert not done.returncode, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
@pytest.mark.parametrize("names", [["net.onnx"], ["net.py", "net.safetensors"]], ids=["one", "two"])
def test_a_writer_may_end_at_any_line(tmp_path, names, how):
    seen = killed(tmp_path, how, *names)
    old, new = ["old"] * len(names), ["new"] * len(names)
    assert len(seen) > 30
    between = [[*old[:-1], None], [*new[:-1], None]]  # two files are never one of each: the target itself is away
    for _, first, committed, then, left in seen:
        assert first in (old, new) or (committed and first in between), first
        assert then in (old, new), then
        assert not committed or then == new  # it is finished
        assert left == sorted([*names, "other"])
    assert {tuple(then) for _, _, _, then, _ in seen} == {tuple(old), tuple(new)}
    assert seen[0][3] == old and seen[-1][3] == new
    gaps = [first for _, first, *_ in seen if first in between]
    if len(names) == 2 and how == "SIGKILL":  # or the test would not have seen the moves
        assert between[0] in gaps and between[1] in gaps
    else:  # Ctrl-C waits for the end of the moves
        assert not gaps


PAIRS = """
import os, sys
from leaky_interop.files import atomic
os.fsync = lambda descriptor: None
for n in range(60):
    with atomic(sys.argv[1]) as path:
        path.write_text(f"{sys.argv[2]}{n}")
        path.with_suffix(".py").write_text(f"{sys.argv[2]}{n}")
"""


def test_two_writers_of_two_files_leave_those_of_one(tmp_path):
    target = tmp_path / "net.safetensors"
    writers = [subprocess.Popen([sys.executable, "-c", PAIRS, target, letter]) for letter in "ab"]
    while any(writer.poll() is None for writer in writers):
        try:
            first, beside, again = target.read_text(), target.with_suffix(".py").read_text(), target.read_text()
        except FileNotFoundError:  # between two moves
            continue
        assert first != again or beside == first
    assert [writer.returncode for writer in writers] == [0, 0]
    assert target.read_text() == target.with_suffix(".py").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.py", "net.safetensors"]


def test_the_next_writer_finishes_before_it_replaces(tmp_path):
    """A killed writer's second file may not land on a later writer's."""
    ready = writing._ready(tmp_path / "net.m")
    ready.mkdir()
    (ready / "net.m").write_text("killed")
    (tmp_path / "net.mat").write_text("killed")
    with files.atomic(tmp_path / "net.m") as path:
        path.write_text("new")
        path.with_suffix(".mat").write_text("new")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.m", "net.mat"]
    assert {p.read_text() for p in tmp_path.iterdir()} == {"new"}


def test_a_committed_folder_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "net.onnx").write_text("precious")
    (tmp_path / "out" / ".leaky_interop-net.onnx.ready").symlink_to(tmp_path / "precious")
    with files.atomic(tmp_path / "out" / "a.onnx") as path:
        path.write_text("new")
    assert (tmp_path / "precious" / "net.onnx").read_text() == "precious"
    assert not (tmp_path / "out" / "net.onnx").exists()


def test_a_folder_in_the_way_of_the_second_file_changes_nothing(tmp_path):
    (tmp_path / "net.py").mkdir()
    (tmp_path / "net.safetensors").write_text("old")
    with pytest.raises(Usage, match=r"net.py is a folder. It is in the way of net.safetensors"):
        with files.atomic(tmp_path / "net.safetensors") as path:
            path.write_text("new")
            path.with_suffix(".py").write_text("new")
    assert (tmp_path / "net.safetensors").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.py", "net.safetensors"]


def test_a_folder_may_be_reached_through_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with files.atomic(tmp_path / "link" / "net.onnx") as path:
        path.write_text("new")
    assert (tmp_path / "real" / "net.onnx").read_text() == "new"


# --- the disk ---------------------------------------------------------------------------------------------------------


def test_a_disk_that_fills_up_keeps_the_earlier_file(mounted):
    disk = mounted("-t", "tmpfs", "-o", "size=1m", "none")
    (disk / "net.onnx").write_bytes(b"old")
    with pytest.raises(Usage, match=r"net.onnx cannot be written: No space left on device"):
        with files.atomic(disk / "net.onnx") as path:
            path.write_bytes(b"new" * 1_000_000)
    assert [p.name for p in disk.iterdir()] == ["net.onnx"]
    assert (disk / "net.onnx").read_bytes() == b"old"


def test_a_disk_for_reading_only_is_a_clear_error(mounted):
    disk = mounted("-t", "tmpfs", "-o", "size=1m", "none")
    (disk / "net.onnx").write_bytes(b"old")
    mounted("-o", "remount,ro")
    with (
        pytest.raises(Usage, match=r"net.onnx cannot be written: Read-only file system"),
        files.atomic(disk / "net.onnx"),
    ):
        pass
    assert (disk / "net.onnx").read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_for_reading_only_is_a_clear_error(tmp_path):
    tmp_path.chmod(0o500)
    with (
        pytest.raises(Usage, match=r"net.onnx cannot be written: Permission denied"),
        files.atomic(tmp_path / "net.onnx"),
    ):
        pass
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "x"), RuntimeError("serialization: I/O error: No space left on device (os error 28)")],
)
def test_a_full_disk_is_told_whatever_words_a_framework_has(tmp_path, error):
    with pytest.raises(Usage, match=r"net.pt2 cannot be written: No space left"), files.atomic(tmp_path / "net.pt2"):
        raise error


def test_a_full_disk_is_told_where_a_framework_has_no_word_for_it(tmp_path, monkeypatch):
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 0))
    with pytest.raises(Usage, match=r"net.pt2 cannot be written: No space left"), files.atomic(tmp_path / "net.pt2"):
        raise RuntimeError("PytorchStreamWriter failed writing central directory")


def test_an_error_of_something_else_stays_itself(tmp_path):
    with pytest.raises(PermissionError), files.atomic(tmp_path / "net.onnx"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/some/data")
    with pytest.raises(RuntimeError, match="a bug"), files.atomic(tmp_path / "net.onnx"):
        raise RuntimeError("a bug")


def test_a_flush_that_fails_keeps_the_earlier_file(tmp_path, monkeypatch):
    def fails(descriptor):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / "net.onnx").write_bytes(b"old")
    monkeypatch.setattr(writing.os, "fsync", fails)
    with (
        pytest.raises(Usage, match=r"net.onnx cannot be written: Input/output error"),
        files.atomic(tmp_path / "net.onnx") as path,
    ):
        path.write_bytes(b"new")
    assert (tmp_path / "net.onnx").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_a_limit_on_file_sizes_is_a_clear_error(tmp_path):
    code = """
        import resource, sys
        from leaky_interop.files import atomic
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with atomic(sys.argv[1]) as path:
            path.write_bytes(bytes(2000))
    """
    (tmp_path / "net.onnx").write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path / "net.onnx"], capture_output=True, text=True
    )
    assert "Usage: net.onnx cannot be written: File too large." in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    assert (tmp_path / "net.onnx").read_bytes() == b"old"


# --- private folders --------------------------------------------------------------------------------------------------


def test_a_killed_process_copies_of_a_model_go_with_the_next_one(tmp_path, monkeypatch):
    code = """
        import os, signal
        from leaky_interop.files.source import private_folder
        with private_folder() as folder:
            (folder / "copy").write_bytes(bytes(100))
            os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env={**os.environ, "TMPDIR": str(tmp_path)})
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.setattr(source.tempfile, "tempdir", str(tmp_path))
    with source.private_folder() as one, source.private_folder() as two:
        assert sorted(tmp_path.iterdir()) == sorted([one, two])
        assert one.stat().st_mode & 0o777 == 0o700
    assert not list(tmp_path.iterdir())
