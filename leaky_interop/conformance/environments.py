"""Which runtimes there are, and the interpreter of each.

A runtime is a file of `runtimes/` or a module that an installed package names in the entry point group
`leaky_interop.runtimes`. A file that needs an interpreter of its own says so by a literal ENVIRONMENT; one file may be
several runtimes by a literal RUNTIMES. Both are read from the source: nothing is imported here.

Environments live in a cache folder, LEAKY_INTEROP_CACHE or the user's own. None is made unless it is asked for.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..errors import RuntimeFailure, Usage

GROUP = "leaky_interop.runtimes"
FOLDER = Path(__file__).parent / "runtimes"
TIMEOUT = 1800  # seconds for one installation
BASE = ("numpy",)  # what the worker needs


@dataclasses.dataclass(frozen=True)
class Plan:
    """A runtime that can be asked for: its source, and what it runs in."""

    name: str
    target: str  # what the worker is told: the path of a file, or the name of a module
    source: Path | None  # its text, for a reproducer
    variables: Mapping[str, str]
    environment: Mapping[str, Any] | None  # {"python": "3.11", "packages": [...]}; None: the interpreter of the suite

    @property
    def folder(self) -> Path:
        """Where its environment is kept: runtimes with the same needs share one."""
        return cache() / _slug(self.environment or {})


def cache() -> Path:
    """The folder of all environments."""
    if given := os.environ.get("LEAKY_INTEROP_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "leaky_interop"


def plans() -> dict[str, Plan]:
    """Every runtime by name: those of this package, then those of others, which may not take a name twice."""
    found: dict[str, Plan] = {}
    for path in sorted(FOLDER.glob("[a-z]*.py")):
        for plan in _plans_of(path.stem, str(path), path):
            found[plan.name] = plan
    for entry in sorted(importlib.metadata.entry_points(group=GROUP)):
        module = entry.value.partition(":")[0].strip()
        for plan in _plans_of(entry.name, module, _source_of(module)):
            if plan.name in found:
                raise Usage(f"there are two runtimes of the name {plan.name}", why=f"{module} is the second")
            found[plan.name] = plan
    return found


def plans_of(path: Path) -> list[Plan]:
    """The runtimes of a file."""
    return _plans_of(path.stem, str(path), path)


def chosen(names: Iterable[str]) -> list[Plan]:
    """The runtimes of these names, all of them where there are none; a name may also be that of a file of several."""
    known = plans()
    wanted = list(names)
    if not wanted:
        return list(known.values())
    made: dict[str, Plan] = {}
    for name in wanted:
        matching = [p for p in known.values() if p.name == name] or [
            p for p in known.values() if p.source is not None and p.source.parent == FOLDER and p.source.stem == name
        ]
        if not matching:
            raise Usage(f"there is no runtime {name!r}", hint=f"Those that can be asked are {', '.join(known)}")
        made |= {p.name: p for p in matching}
    return list(made.values())


def interpreter(plan: Plan) -> Path | None:
    """The interpreter that runs a runtime; None where its environment has not been made."""
    if plan.environment is None:
        return Path(sys.executable)
    python = _python_in(plan.folder)
    stamp = plan.folder / "installed.txt"
    return python if python.exists() and stamp.exists() and stamp.read_text() == _wanted(plan.environment) else None


def make(plan: Plan) -> Path:
    """The interpreter of a runtime, its environment installed first where it is not there yet.

    Raises RuntimeFailure where Python or a package cannot be had.
    """
    if (python := interpreter(plan)) is not None:
        return python
    environment = plan.environment or {}
    command = _venv(str(environment.get("python", "")))
    shutil.rmtree(plan.folder, ignore_errors=True)
    plan.folder.parent.mkdir(parents=True, exist_ok=True)
    _run([*command, str(plan.folder)], plan)
    python = _python_in(plan.folder)
    packages = [*environment.get("packages", ()), *BASE]
    _run([str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", *packages], plan)
    (plan.folder / "installed.txt").write_text(_wanted(environment))
    return python


def needs(plan: Plan) -> str:
    """What an absent runtime lacks, in a sentence."""
    environment = plan.environment or {}
    return f"its environment is not made: {', '.join(environment.get('packages', ()))}. Make it with --install"


def _run(command: list[str], plan: Plan) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        raise RuntimeFailure(f"{plan.name} did not install within {TIMEOUT} s") from None
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise RuntimeFailure(f"{plan.name} does not install", why=(errors or ["pip says nothing"])[-1])


def _venv(version: str) -> list[str]:
    """The command that makes an environment of this version of Python: its own venv, or uv, which fetches interpreters."""
    if not version or sys.version.startswith(f"{version}."):
        return [sys.executable, "-m", "venv"]
    found = shutil.which(f"python{version}")
    if found and subprocess.run([found, "-c", "import venv"], capture_output=True).returncode == 0:  # no mere shim
        return [found, "-m", "venv"]
    if found := shutil.which("uv"):
        return [found, "venv", "--quiet", "--seed", "--python", version]
    raise RuntimeFailure(f"there is no python{version} on the path", hint="Install it, or uv, then run --install again")


def _python_in(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def _wanted(environment: Mapping[str, Any]) -> str:
    return "\n".join([str(environment.get("python", "")), *environment.get("packages", ())])


def _slug(environment: Mapping[str, Any]) -> str:
    """A folder name: the first package, and a number that changes with the rest."""
    import zlib

    packages = list(environment.get("packages", ())) or ["none"]
    return f"{packages[0].replace('==', '-').replace('/', '_')}-{zlib.crc32(_wanted(environment).encode()):08x}"


def _plans_of(name: str, target: str, source: Path | None) -> list[Plan]:
    literals = _literals(source) if source is not None else {}
    several = literals.get("RUNTIMES", {name: {}})
    shared = literals.get("ENVIRONMENT")
    return [
        Plan(each, target, source, own.get("variables", {}), own.get("environment", shared))
        for each, own in several.items()
    ]


def _literals(source: Path) -> dict[str, Any]:
    """The values of ENVIRONMENT and RUNTIMES in a file, read without running it."""
    found: dict[str, Any] = {}
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in ("ENVIRONMENT", "RUNTIMES"):
                found[name] = ast.literal_eval(node.value)
    return found


def _source_of(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None
