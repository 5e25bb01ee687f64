"""A process that answers lines of JSON with lines of JSON: who asks it survives its death and its silence."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Any


class Died(Exception):
    """The process ended, or did not answer in time; the message says which."""


def search_path() -> str:
    """PYTHONPATH with which another interpreter can import whatever this one can."""
    return os.pathsep.join(p or os.getcwd() for p in sys.path)  # noqa: PTH109


class Process:
    """One process, listening on its stdin and answering on its stdout; what it prints besides goes nowhere."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(variables),
            text=True,
            encoding="utf-8",
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._listen, args=(self.process.stdout,), daemon=True).start()

    def _listen(self, stream: IO[str]) -> None:
        for line in stream:
            self.lines.put(line)
        self.lines.put("")  # the end

    def ask(self, message: Mapping[str, Any], limit: float) -> dict[str, Any]:
        """The answer to a message; Died where there is none within `limit` seconds."""
        try:
            stdin = self.process.stdin
            assert stdin is not None
            stdin.write(json.dumps(message) + "\n")
            stdin.flush()
        except OSError:
            pass  # it is dead already; what it said last may still be read
        try:
            line = self.lines.get(timeout=limit)
        except queue.Empty:
            self.stop()
            raise Died(f"no answer within {limit:g} s") from None
        if not line:
            code = self.process.wait()
            raise Died(f"the process died of signal {-code}" if code < 0 else f"the process ended with code {code}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:  # a message that could not be delivered
                    pass
