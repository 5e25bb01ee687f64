"""Runs GNU Octave, which reads MATLAB's language: with functions in place of MATLAB's layers that only record."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from leaky_interop.frameworks.matlab.functions import FUNCTIONS

HERE = Path(__file__).parent / "octave"
OCTAVE = shutil.which("octave-cli") or shutil.which("octave")


def needed() -> None:
    """Skip the test where Octave is not installed; fail where it is required."""
    if OCTAVE is None:
        reason = "GNU Octave is not installed: apt-get install octave"
        if os.environ.get("LEAKY_INTEROP_OCTAVE") == "required":
            pytest.fail(reason)
        pytest.skip(reason)


def octave(script: str, folder: Path) -> str:
    """What a script prints; it runs in a folder, after the functions that stand for layers."""
    needed()
    stubs = [
        f"function s = {fn}(varargin)\n s = struct('fn', '{fn}', 'args', {{varargin}});\nend\n" for fn in FUNCTIONS
    ]
    file = folder / "script_of_this_test.m"
    file.write_text("1;\n" + "".join(stubs) + script, encoding="utf-8")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [str(OCTAVE), "--no-gui", "--norc", "--quiet", str(file)],
        capture_output=True, text=True, cwd=folder, timeout=280, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
