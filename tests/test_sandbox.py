"""The worker: whatever an engine does to its process becomes one sentence and exit code 5, and nothing else is harmed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from leaky_interop import sandbox
from leaky_interop.cli import confined, main

# A network in code does to its worker what a hostile file would do through an engine.
NETWORK = """
import ctypes, os, signal, socket, sys, time

def segfault():
    ctypes.string_at(0)

def abort():
    os.write(2, b"some noise\\nterminate called: std::bad_alloc\\n")
    os.abort()

def killed():
    os.kill(os.getpid(), signal.SIGKILL)

def reads():
    raise RuntimeError(sys.stdin.read())

def exits():
    ctypes.CDLL(None).exit(int(os.environ.get("CODE", "0")))

def hang():
    os.write(1, b"hanging\\n")
    while True:
        time.sleep(0.01)

def hang_in_c():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    hang()

def hog():
    return [bytearray(1 << 26) for _ in range(64)]

def engine_hog():
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.")

def with_child():
    if not os.fork():
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(77.25)"])
    ctypes.string_at(0)

def network():
    try:
        socket.create_connection(("127.0.0.1", int(os.environ["PORT"])), 2)
    except OSError as error:
        sys.exit(f"no network: {error}")
    sys.exit("connected")

def status():
    import resource
    print(*(resource.getrlimit(getattr(resource, f"RLIMIT_{n}"))[0] for n in ("CORE", "DATA", "CPU")))
    print(open("/proc/self/oom_score_adj").read().strip())
    print([line for line in open("/proc/self/status").read().splitlines() if line.startswith("NoNewPrivs")])
    print(os.getuid(), os.stat(".").st_uid)
    print(os.environ.get("PORT"))
    sys.exit("enough")

def copies():
    from leaky_interop.files.source import private_folder
    with private_folder() as folder:
        (folder / "model").write_bytes(bytes(10))
        ctypes.string_at(0)

def leaky():
    import torch
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LeakyReLU(0.2)).eval()
"""


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs a command in a folder with the networks above, in a process of its own."""
    (tmp_path / "nets.py").write_text(NETWORK)
    monkeypatch.delenv("LEAKY_INTEROP_SANDBOX")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(sandbox.__file__).parents[1]), str(tmp_path)]))

    def run(*arguments: str, start=subprocess.run, **options):
        given = [sys.executable, "-m", "leaky_interop", *arguments]
        if start is subprocess.run:
            options |= {"capture_output": True, "timeout": 100}
        return start(given, cwd=tmp_path, text=True, **options)

    return run


def error_of(done) -> str:
    """The one line on stderr."""
    assert done.returncode == 5, done
    (line,) = done.stderr.splitlines()
    return line.removeprefix("Error: ")


HOSTILE = "The file is damaged or hostile, or the engine has a fault."


def test_a_crash_is_one_sentence(command):
    done = command("inspect", "nets:segfault", "--sandbox")
    assert error_of(done) == f"nets:segfault crashed the engine: its worker died of SIGSEGV. {HOSTILE}"
    assert done.stdout == ""


def test_what_an_engine_said_last_is_told(command):
    found = error_of(command("inspect", "nets:abort", "--sandbox", "--memory-limit", "2.5"))
    last = "saying 'terminate called: std::bad_alloc'"
    assert found == (
        f"nets:abort crashed the engine: its worker died of SIGABRT, {last}. It may use 2.5 GiB: raise it with --memory-limit GIB."
    )


def test_a_worker_that_the_system_kills_is_told(command):
    assert "the system killed its worker, as it does when memory runs out" in error_of(
        command("inspect", "nets:killed", "--sandbox")
    )


@pytest.mark.parametrize("code", [0, 1, 77])
def test_an_engine_that_calls_exit_is_no_result(command, code):
    done = command("inspect", "nets:exits", "--sandbox", env={**os.environ, "CODE": str(code)})
    assert error_of(done) == f"nets:exits crashed the engine: its worker was ended with code {code}. {HOSTILE}"


@pytest.mark.parametrize("name", ["hang", "hang_in_c"])
def test_a_hang_ends_at_the_time_limit(command, name):
    began = time.monotonic()
    found = error_of(command("inspect", f"nets:{name}", "--time-limit", "1.5"))
    assert found == f"nets:{name} took more than 1.5 s: its worker was ended. Give it longer with --time-limit SECONDS."
    assert time.monotonic() - began < 20


@pytest.mark.parametrize("name", ["hog", "engine_hog"])
def test_memory_beyond_the_limit_is_one_sentence(command, name):
    found = error_of(command("inspect", f"nets:{name}", "--memory-limit", "1"))
    assert found == "It needs more memory than 1 GiB. Raise the limit with --memory-limit GIB."


def test_a_worker_takes_its_children_along(command):
    assert "SIGSEGV" in error_of(command("inspect", "nets:with_child", "--sandbox"))
    left = subprocess.run(["pgrep", "-f", r"time.sleep\(77.25\)"], capture_output=True, text=True).stdout.split()
    assert not [pid for pid in left if "sleep" in Path(f"/proc/{pid}/cmdline").read_text()]


def test_the_limits_are_in_force(command):
    done = command(
        "inspect", "nets:status", "--memory-limit", "2", "--time-limit", "30", env={**os.environ, "PORT": "1"}
    )
    assert error_of(done) == "a network's code has called exit: enough."
    limits, score, privileges, users, rest = done.stdout.splitlines()
    assert limits == f"0 {2 << 30} {30 * os.cpu_count() + 1}"
    assert score == "1000"
    assert privileges == r"['NoNewPrivs:\t1']"
    assert users == f"{os.getuid()} {os.getuid()}"
    assert rest == "1"


@pytest.mark.parametrize(
    "user", [(), ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")], ids=["this_user", "nobody"]
)
def test_there_is_no_network_where_the_kernel_allows_that(command, tmp_path, user):
    import socket

    kernel = subprocess.run(
        [*user, "unshare", "--net", *(["--map-root-user"] if user or os.getuid() else []), "true"], capture_output=True
    )
    if kernel.returncode:
        pytest.skip("the kernel gives no network of its own")
    with socket.create_server(("127.0.0.1", 0)) as server:
        environment = {**os.environ, "PORT": str(server.getsockname()[1]), "TMPDIR": "/tmp"}
        arguments = [sys.executable, "-m", "leaky_interop", "inspect", "nets:network"]
        tmp_path.chmod(0o755)
        inside = subprocess.run(
            [*user, *arguments, "--sandbox"], cwd="/", env=environment, capture_output=True, text=True
        )
        if "Permission denied" in inside.stderr or "No module" in inside.stderr:
            pytest.skip("the other user cannot read this project")
        outside = subprocess.run(
            [*user, *arguments, "--no-sandbox"], cwd="/", env=environment, capture_output=True, text=True
        )
    assert "has called exit: connected" in outside.stderr
    assert "no network: " in inside.stderr


def test_a_crash_leaves_no_copies_and_no_half_files(command, tmp_path):
    temporary, out = tmp_path / "temporary", tmp_path / "out"
    temporary.mkdir()
    (out / ".leaky_interop-net.onnx-abcd1234").mkdir(parents=True)
    (out / "net.onnx").write_text("old")
    done = command("convert", "nets:copies", "out/net.onnx", "--sandbox", env={**os.environ, "TMPDIR": str(temporary)})
    assert "SIGSEGV" in error_of(done)
    assert not list(temporary.iterdir())
    assert [(p.name, p.read_text()) for p in out.iterdir()] == [("net.onnx", "old")]


# --- relaying ---------------------------------------------------------------------------------------------------------


def test_output_errors_and_exit_codes_are_the_commands_own(command, tmp_path):
    inside, outside = (
        command("convert", "nets:leaky", "net.onnx", "--input-shape", "None,3", option)
        for option in ("--sandbox", "--no-sandbox")
    )
    assert inside.returncode == outside.returncode == 0, inside.stderr
    times = re.compile(r"[\d.]+ s")
    assert times.sub("", inside.stdout) == times.sub("", outside.stdout)
    onnx.checker.check_model(tmp_path / "net.onnx")
    inside, outside = (command("inspect", "nets:missing", option) for option in ("--sandbox", "--no-sandbox"))
    assert (
        (inside.returncode, inside.stderr)
        == (outside.returncode, outside.stderr)
        == (2, "Error: nets has no 'missing'.\n")
    )


def test_standard_input_is_the_commands_own(command, tmp_path):
    (tmp_path / "said").write_text("what was said")
    with (tmp_path / "said").open() as said:
        assert "Unexpected RuntimeError: what was said." in error_of(
            command("inspect", "nets:reads", "--sandbox", stdin=said)
        )


def test_ctrl_c_ends_the_worker_and_is_told_by_the_exit_code(command):
    process = command(
        "inspect", "nets:hang", "--sandbox", start=subprocess.Popen, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == "hanging\n"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 130
    assert process.stderr.read() == ""


def test_a_worker_dies_with_its_parent(command):
    process = command(
        "inspect", "nets:hang_in_c", "--sandbox", start=subprocess.Popen, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout.readline() == "hanging\n"
    process.kill()
    assert process.stdout.read() == ""  # the pipe ends when its last holder has


# --- which commands ---------------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch, tmp_path):
    """Runs a command in this process, and says in how many workers."""
    monkeypatch.delenv("LEAKY_INTEROP_SANDBOX")
    monkeypatch.chdir(tmp_path)
    made = []

    class Recorded:
        def __init__(self, arguments, subject, limits, *_, **__):
            made.append((list(arguments), subject, limits))

        def wait(self):
            return 3

    monkeypatch.setattr(sandbox, "Worker", Recorded)

    def run(*arguments):
        made.clear()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert not made or ended.value.code == 3
        return list(made)

    return run


def test_files_of_a_frameworks_own_loader_are_read_in_a_worker(started, tmp_path, capsys):
    import h5py
    import torch

    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.attrs["x"] = 1
    (tmp_path / "named.onnx").write_bytes((tmp_path / "net.h5").read_bytes())  # names lie
    torch.save({"w": torch.zeros(1)}, tmp_path / "w.pth")
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 3), np.float32))
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 3]) for n in "xy")
    graph = helper.make_graph([helper.make_node("LeakyRelu", ["x"], ["y"])], "net", [x], [y])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), tmp_path / "net.onnx"
    )
    for arguments in (
        ["inspect", "net.h5"],
        ["inspect", "named.onnx"],
        ["convert", "net.h5", "out.onnx"],
        ["verify", "net.onnx", "net.h5"],
        ["run", "net.h5", "--input", "x.npz"],
        ["convert", "nets:leaky", "out.onnx", "--weights", "w.pth"],
        ["inspect", "net.onnx", "--sandbox"],
        ["inspect", "net.onnx", "--memory-limit", "4"],
    ):
        ((given, _, limits),) = started(*arguments)
        assert given == arguments
        assert limits == sandbox.Limits(4 << 30 if "4" in arguments else sandbox.machine_memory(), 3600)
    for arguments in (
        ["inspect", "net.onnx"],
        ["run", "net.onnx", "--input", "x.npz"],
        ["inspect", "net.h5", "--no-sandbox"],
        ["inspect", "none.h5"],
    ):
        assert not started(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--no-sandbox", "--time-limit", "3"], "--time-limit is given with --no-sandbox: only the worker has limits."),
        (["--memory-limit", "0"], "--memory-limit 0 is not understood. Give a number above 0."),
        (["--time-limit", "nan"], "--time-limit nan is not understood. Give a number above 0."),
    ],
)
def test_limits_that_mean_nothing_are_told(started, capsys, options, message):
    assert not started("inspect", "net.onnx", *options)
    assert capsys.readouterr().err == f"Error: {message}\n"


def test_a_folder_of_modules_is_not_imported_by_the_worker(command, tmp_path):
    """A module in the current folder takes no installed one's place, as it does not for the installed command."""
    (tmp_path / "numpy.py").write_text("raise SystemExit('imported a stranger')")
    code = "import sys; sys.path.remove(''); from leaky_interop.cli import main; main(['inspect', 'none.onnx', '--sandbox'])"
    environment = {**os.environ, "PYTHONPATH": str(Path(sandbox.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: there is no file none.onnx")


def test_the_kinds_of_a_frameworks_own_loader_are_known_kinds():
    from typing import get_args

    from leaky_interop.files import Kind

    assert set(confined.FOREIGN) < set(get_args(Kind))
