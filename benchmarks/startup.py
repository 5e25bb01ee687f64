"""What starting costs: importing the package and showing the help, beside importing numpy."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import measuring

NUMPY = "import numpy"
COMMANDS = {
    NUMPY: ["-c", "import numpy"],
    "import leaky_interop": ["-c", "import leaky_interop"],
    "leaky-interop --help": ["-c", "from leaky_interop.cli import main; main()", "--help"],
}


def measure(runs: int) -> dict[str, float | str]:
    """Median seconds of each command, interleaved; the reason where one fails."""
    found: dict[str, float | str] = {}
    for name, arguments in COMMANDS.items():  # once without the clock: writes the bytecode
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True)
        if done.returncode:
            found[name] = done.stderr.strip().splitlines()[-1]
    working = [name for name in COMMANDS if name not in found]
    calls = [lambda name=name: _run(COMMANDS[name]) for name in working]
    return found | dict(zip(working, measuring.interleaved(calls, runs), strict=True))


def _run(arguments: list[str]) -> None:
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
