"""A worker process with limits, so that a file that crashes or hangs the engine that reads it harms nothing else.

The worker runs one command of the command line. What holds for it, on Linux:

* its own memory (RLIMIT_DATA), its time (the parent's clock; RLIMIT_CPU besides), no core dumps
* no network, where the kernel gives it an empty one of its own: to root, or by user namespaces
* no new privileges, the first to go when memory runs out, dead as soon as its parent is

What does not: it is the same user, and reads and writes that user's files. It protects from crashes, memory and time,
and an attacker who has taken an engine over is not kept in. Living models cannot go to another process, so this is the
command line's; whoever calls the package starts a process of his own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, NoReturn

from .errors import RuntimeFailure

GIB = 1 << 30
TIME = 3600.0  # seconds for one command, where nothing is said
TICK = 0.02  # seconds between two looks at a worker
MOST_NOISE = 1 << 16  # bytes of what engines print that are looked at
START = "import json, sys; sys.path[:], *rest = json.loads(sys.argv[1]); from leaky_interop.sandbox import work; work(*rest)"
MEMORY = re.compile(r"bad_alloc|not enough memory|(can't|cannot|failed to) (allocate|map)|out of memory", re.IGNORECASE)
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38  # linux/prctl.h
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h


@dataclass(frozen=True)
class Limits:
    """What a worker may use."""

    memory: int  # bytes
    seconds: float


current: Limits | None = None  # in a worker: what it may use


def machine_memory() -> int:
    """Bytes of memory that this process could ever have: the machine's, or its control group's."""
    most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:  # noqa: PTH123
        most = min(most, int(file.read()))
    return most


# --- the parent -------------------------------------------------------------------------------------------------------


class Worker:
    """One command in a process of its own.

    arguments: as on the command line. subject: the file that messages name. limits: None for a process without any.
    out, err: where the command prints. What engines print past Python is kept apart, and told only where they die of it.
    Start it in the main thread: it dies with the thread that has started it.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        subject: str,
        limits: Limits | None,
        out: int,
        err: int,
        environment: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
    ) -> None:
        self.subject, self.limits = subject, limits
        self.began = time.monotonic()
        self.noise: IO[bytes] = tempfile.TemporaryFile()
        self.result: IO[bytes] = tempfile.TemporaryFile()  # the exit code, once the command has ended by itself
        told, result = os.dup(err), self.result.fileno()
        job = [
            sys.path,
            list(arguments),
            told,
            result,
            os.getpid(),
            [limits.memory, limits.seconds] if limits else None,
        ]
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", START, json.dumps(job)],
                stdin=stdin,
                stdout=out,
                stderr=self.noise,
                pass_fds=(told, result),
                env={**os.environ, **(environment or {})},
                process_group=0,  # Ctrl-C reaches it once, through its parent
            )
        finally:
            os.close(told)

    def poll(self) -> int | None:
        """Its exit code, once it has ended. Raises RuntimeFailure where it was ended by a signal or took too long."""
        seconds = self.limits.seconds if self.limits else float("inf")
        if not self.ended():
            if time.monotonic() - self.began <= seconds:
                return None
            self.stop()
            raise self._too_long()
        code = self.stop()
        if code == -signal.SIGXCPU:
            raise self._too_long()
        self.result.seek(0)
        if code < 0 or self.result.read() != b"%d" % code:  # an engine may call exit(), too
            raise self._died(code)
        return code

    def wait(self) -> int:
        """The same, when it has ended. Ctrl-C is passed on to it; twice ends it."""
        interrupts = 0
        while True:
            try:
                while (code := self.poll()) is None:
                    time.sleep(TICK)
                return code
            except KeyboardInterrupt:
                interrupts += 1
                self.interrupt() if interrupts == 1 else self.stop()
            except RuntimeFailure:
                if interrupts:
                    return 128 + signal.SIGINT
                raise

    def interrupt(self) -> None:
        """What Ctrl-C does to a process."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)

    def stop(self) -> int:
        """End it, and the children that it may have left; how it ended."""
        if self.process.returncode is None:  # nobody else can have its number yet
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.wait()

    def ended(self) -> bool:
        """Whether it has, without taking its number away."""
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return self.process.returncode is not None or os.waitid(os.P_PID, self.process.pid, ended) is not None

    def _too_long(self) -> RuntimeFailure:
        assert self.limits is not None
        what = f"{self.subject} took more than {self.limits.seconds:g} s"
        return RuntimeFailure(what, why="its worker was ended", hint="Give it longer with --time-limit SECONDS")

    def _died(self, code: int) -> RuntimeFailure:
        last = self._last_words()
        how = f"died of {signal.Signals(-code).name}" if code < 0 else f"was ended with code {code}"
        why = f"its worker {how}" + (f", saying {last!r}" if last else "")
        hint = "The file is damaged or hostile, or the engine has a fault"
        if code == -signal.SIGKILL:
            why, hint = (
                "the system killed its worker, as it does when memory runs out",
                "Use a machine with more memory",
            )
        elif self.limits and MEMORY.search(last):
            hint = f"It may use {_gib(self.limits.memory)}: raise it with --memory-limit GIB"
        return RuntimeFailure(f"{self.subject} crashed the engine", why=why, hint=hint)

    def _last_words(self) -> str:
        """The last line that the engine printed."""
        size = self.noise.seek(0, os.SEEK_END)
        self.noise.seek(max(0, size - MOST_NOISE))
        lines = self.noise.read(MOST_NOISE).decode("utf-8", "replace").split("\n")
        return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")


# --- the worker -------------------------------------------------------------------------------------------------------


def work(arguments: list[str], told: int, result: int, parent: int, limits: list[Any] | None) -> NoReturn:
    """What a worker does: take its limits, run the command, and end at once, without what engines do at the end."""
    global current
    sys.stderr = os.fdopen(told, "w", buffering=1, errors="backslashreplace")
    if limits is not None:
        current = Limits(*limits)
        confine(current)
    _die_with(parent)
    from .cli import main

    try:
        main(arguments)
    except SystemExit as end:
        code = end.code
    assert isinstance(code, int)
    with contextlib.suppress(OSError, ValueError):  # nobody reads it
        sys.stdout.flush()
        sys.stderr.flush()
    os.write(result, b"%d" % code)
    os._exit(code)


def confine(limits: Limits) -> None:
    """Limit this process. To be called before anything has started a thread."""
    import resource

    def limit(what: int, most: int) -> None:
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))

    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_DATA, limits.memory)
    limit(resource.RLIMIT_CPU, int(limits.seconds * (os.cpu_count() or 1)) + 1)  # of all its threads
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")
    _leave_network()
    _libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def out_of_memory(error: BaseException) -> str:
    """In a worker: the sentence for an error that its limit of memory is behind."""
    seen: BaseException | None = error
    while seen is not None and current is not None:
        if isinstance(seen, MemoryError) or MEMORY.search(str(seen)):
            return f"It needs more memory than {_gib(current.memory)}. Raise the limit with --memory-limit GIB."
        seen = seen.__cause__ or seen.__context__
    return ""


def _leave_network() -> None:
    """Into a network without a single device, where the kernel lets us; a user's own namespace where we are not root."""
    user, group = os.geteuid(), os.getegid()
    libc = _libc()
    if libc.unshare(CLONE_NEWNET) == 0 or libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        return
    for name, line in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with contextlib.suppress(OSError), open(f"/proc/self/{name}", "w", encoding="ascii") as file:  # noqa: PTH123
            file.write(line)


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        _libc().prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before
            os._exit(1)


def _libc() -> Any:
    import ctypes

    return ctypes.CDLL(None)


def _gib(count: int) -> str:
    return f"{count / GIB:.3g} GiB"
