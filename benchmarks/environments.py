"""A virtual environment for each peer, in a cache folder, made when it is first needed.

It sees the frameworks of the environment that runs the benchmark through a .pth file, behind its own packages: what the
peer pins comes first, and everything else is what the others are measured with.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Sequence
from pathlib import Path

TIMEOUT = 900  # seconds for one installation


class Absent(Exception):
    """A peer that cannot be had here; the message says why."""


def cache() -> Path:
    """The folder that environments are kept in."""
    return Path(os.environ.get("LEAKY_INTEROP_CACHE") or Path.home() / ".cache" / "leaky_interop_bench")


def python_with(requirements: Sequence[str], *, dependencies: bool = False) -> Path:
    """The interpreter of an environment with these requirements; this process' own where there are none.

    Raises Absent where they do not install.
    """
    if not requirements:
        return Path(sys.executable)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folder = cache() / f"{requirements[0].replace('==', '-')}-{version}"
    python, shared = folder / "bin" / "python", f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n"
    stamp, wanted = folder / "installed.txt", "\n".join([*requirements, str(dependencies), shared])
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    venv.create(folder, clear=True, with_pip=True)
    (folder / "lib" / version / "site-packages" / "_frameworks.pth").write_text(shared)
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", *requirements]
    try:
        done = subprocess.run(
            command if dependencies else [*command, "--no-deps"], capture_output=True, text=True, timeout=TIMEOUT
        )
    except subprocess.TimeoutExpired:
        raise Absent(f"{requirements[0]} did not install within {TIMEOUT} s") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise Absent(f"{requirements[0]} does not install: {(errors or done.stderr.splitlines() or ['?'])[-1]}")
    stamp.write_text(wanted)
    return python
