"""Plants each fault in a copy of the package and runs its tests there: python -m tests.mutants [WORD ...]

Prints which test caught it. Fails where a fault survives, where its tests fail without it, and where the text that it
replaces is no longer there exactly once. Words choose the faults whose descriptions hold one of them.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import FAULTS, Fault

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("leaky_interop", "tests", "conversion_scripts", "models", "benchmarks")
SECONDS = 280  # for the tests of one fault
AT_ONCE = 2


def copy(target: Path) -> None:
    """What the tests need, without what Python compiled of it."""
    for name in COPIED:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", target)


def run(root: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """pytest's exit code, and the test that failed first or the last line that it wrote."""
    options = [
        "-x",
        "-q",
        "--no-header",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:xdist",
        "-W",
        "ignore",
        "--hypothesis-seed=0",
    ]
    python_path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH", ""))))
    variables = {"PYTHONPATH": python_path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests], cwd=root, env={**os.environ, **variables},
        capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    failed = re.search(r"^FAILED \S*?::(.+?)(?: - |$)", done.stdout, re.MULTILINE)
    return done.returncode, failed[1] if failed else (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]


def main(words: list[str]) -> int:
    """One line for each fault; 1 where not every one is caught."""
    chosen = [fault for fault in FAULTS if not words or any(word.lower() in fault.what.lower() for word in words)]
    with tempfile.TemporaryDirectory(prefix="mutants_") as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        copies: queue.Queue[Path] = queue.Queue()
        for index in range(AT_ONCE):
            copy(Path(folder, str(index)))
            copies.put(Path(folder, str(index)))
        code, last = run(Path(folder, "0"), tuple(dict.fromkeys(test for fault in chosen for test in fault.tests)))
        if code:
            print(f"The tests fail without any fault: {last}")
            return 1

        def judged(fault: Fault) -> tuple[bool, str]:
            root = copies.get()
            try:
                path, before = fault.plant(root)
                try:
                    code, last = run(root, fault.tests)
                finally:
                    path.write_text(before, encoding="utf-8")
            except (LookupError, subprocess.TimeoutExpired) as error:
                return False, f"NOT TRIED: {error}"
            finally:
                copies.put(root)
            return code == 1, last if code == 1 else f"SURVIVED: {last}"  # 1: tests ran, and some failed

        width = max(len(fault.what) for fault in chosen)
        caught = 0
        for fault, (red, by) in zip(chosen, pool.map(judged, chosen), strict=True):
            print(f"{fault.what:<{width}} | {by}", flush=True)
            caught += red
    print(f"{caught} of {len(chosen)} faults were caught")
    return int(caught < len(chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
