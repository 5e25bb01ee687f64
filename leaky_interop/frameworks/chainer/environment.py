"""The interpreter that has Chainer: its own environment, because Chainer needs a numpy older than any that this package runs on."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ...errors import Refused, RuntimeFailure

VARIABLE = "LEAKY_INTEROP_CHAINER"  # an interpreter of the user's own that has Chainer
PYTHONS = ("python3.11", "python3.10")  # the newest for which numpy 1.23 is built, and the one before it
BUILDING = ("setuptools<60", "wheel")  # Chainer is published as source, and its build asks for pkg_resources
REQUIREMENTS = ("numpy==1.23.5", "chainer==7.8.1")
TIMEOUT = 900  # seconds for one installation


def folder() -> Path:
    """Where the environment is kept."""
    cache = os.environ.get("LEAKY_INTEROP_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "leaky_interop" / "chainer"


def interpreter() -> Path:
    """The interpreter with Chainer: the one that LEAKY_INTEROP_CHAINER names, or the installed one. Raises Refused without."""
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_file():
            raise Refused(
                f"{VARIABLE} names {named}",
                why="there is no such file",
                hint="Name a Python interpreter that has Chainer",
            )
        return Path(named)
    if not (folder() / "installed.txt").exists():
        raise Refused(
            "running a Chainer network", why="Chainer needs a numpy older than 1.24, so it has an environment of its own",
            hint=f"Make it with: leaky-interop conformance --install chainer, or set {VARIABLE} to a Python that has Chainer",
        )  # fmt: skip
    return folder() / "bin" / "python"


def install() -> Path:
    """Make the environment, unless it is there; its interpreter. Raises Refused or RuntimeFailure where that fails."""
    stamp, wanted = folder() / "installed.txt", "\n".join((*BUILDING, *REQUIREMENTS))
    python = folder() / "bin" / "python"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    base = next(filter(None, map(shutil.which, PYTHONS)), None)
    if base is None:
        raise Refused(
            "an environment with Chainer",
            why=f"its numpy needs one of {', '.join(PYTHONS)}",
            hint="Install one of them",
        )
    _run(base, "-m", "venv", "--clear", str(folder()))
    pip = (str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q")
    _run(*pip, *BUILDING)
    _run(*pip, "--no-build-isolation", *REQUIREMENTS)
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise RuntimeFailure("Chainer did not install", why=f"{command[-1]} took more than {TIMEOUT} s") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise RuntimeFailure("Chainer did not install", why=(errors or done.stderr.splitlines() or ["?"])[-1])
