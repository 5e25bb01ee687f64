"""`python -m benchmarks`: measures every conversion and writes results.md and results.json."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import measuring, networks, startup, tables
from benchmarks.converters import DIRECTIONS, FOLDED, OURS, Converter, Direction, converters
from benchmarks.environments import Absent, python_with

REPOSITORY = Path(__file__).resolve().parents[1]
TIMEOUT = 1800  # seconds for one measurement


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two networks and few runs: does everything work?")
    parser.add_argument("--only", metavar="NAME", action="append", choices=networks.NAMES, help="only this network")
    parser.add_argument("--direction", metavar="TEXT", help="only directions whose name holds this text")
    parser.add_argument("--no-peers", action="store_true", help="measure this project alone")
    parser.add_argument("--runs", type=int, help="runs of each latency (30)")
    parser.add_argument("--output", type=Path, help="folder for the results (benchmarks/; out/ where not all is run)")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    names = options.only or (networks.QUICK if options.quick else networks.NAMES)
    runs = options.runs or (5 if options.quick else 30)
    whole = not (options.quick or options.only or options.direction or options.no_peers)
    output = options.output or (REPOSITORY / "benchmarks" if whole else REPOSITORY / "out")
    ways = [way for way in DIRECTIONS if (options.direction or "").lower() in way.name.lower()]
    todo = [(way, name) for way in ways for name in names]
    results: dict[str, Any] = {"about": about(runs), "startup": startup.measure(runs), "rows": []}
    output.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="leaky_interop_bench_") as folder:
        for done, (way, name) in enumerate(todo, 1):
            results["rows"] += measure(way, name, runs, Path(folder), peers=not options.no_peers)
            results["about"]["progress"] = f"{done} of {len(todo)}"  # an interrupted run keeps what it has, and says so
            (output / "results.json").write_text(json.dumps(results, indent=1) + "\n")
            (output / "results.md").write_text(tables.page(results))
    print(f"Written: {output / 'results.md'}", file=sys.stderr)


def measure(way: Direction, name: str, runs: int, folder: Path, *, peers: bool) -> list[dict[str, Any]]:
    """One row for each converter that goes this way."""
    subject = networks.get(name)
    frameworks = {way.source, way.target, "torch" if "onnx" == way.source else way.source}
    if any(framework != "onnx" and getattr(subject, f"{framework}_model") is None for framework in frameworks):
        return []
    stem = folder / f"{DIRECTIONS.index(way)}_{name}"
    task = {"direction": way.name, "network": name, "runs": runs, "again": min(runs, 3)}
    task |= {"source": f"{stem}.onnx", "expected": f"{stem}.npz"}
    if way.source == "onnx":
        run("export", task, Path(sys.executable), folder, way)
    rows = []
    for index, used in enumerate(converters(way.name)):
        if peers or used.name in (OURS, FOLDED):
            row = convert(used, {**task, "path": f"{stem}_{index}.onnx"}, folder, way)
            rows.append({"direction": way.name, "network": name, **row})
    written = [row for row in rows if "onnx" in row]
    if written:
        task |= {"onnx": [row.pop("onnx") for row in written]}
        found = run("onnx_latency", task, Path(sys.executable), folder, way)
        for index, row in enumerate(written):
            row |= found if "failed" in found else {k: v[index] for k, v in found.items() if v[index] is not None}
    return rows


def convert(used: Converter, task: dict[str, Any], folder: Path, way: Direction) -> dict[str, Any]:
    row: dict[str, Any] = {"converter": used.name}
    try:
        python = python_with(used.requirements, dependencies=used.dependencies)
    except Absent as reason:
        return {**row, "absent": str(reason)}
    return row | run("convert", {**task, "converter": used.name}, python, folder, way)


def run(kind: str, task: dict[str, Any], python: Path, folder: Path, way: Direction) -> dict[str, Any]:
    """Run a task of `worker.py` in a process of its own."""
    print(f"{kind}: {way.name}, {task['network']}, {task.get('converter', '')}", file=sys.stderr, flush=True)
    task_file, result_file = folder / "task.json", folder / "result.json"
    task_file.write_text(json.dumps({**task, "task": kind}))
    result_file.unlink(missing_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= {"KERAS_BACKEND": way.backend or "torch", "TF_NUM_INTRAOP_THREADS": "1"}
    command = [str(python), "-m", "benchmarks.worker", str(task_file), str(result_file)]
    start = time.monotonic()
    try:
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done within {TIMEOUT} s"}
    print(f"    {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    if done.returncode == -signal.SIGKILL:
        return {"failed": "killed: it took more memory than there is"}
    if not result_file.exists():
        return {"failed": (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1][:300]}
    found: dict[str, Any] = json.loads(result_file.read_text())
    if "failed" in found:
        print(f"    {found['failed']}", file=sys.stderr, flush=True)
    return found


def about(runs: int) -> dict[str, Any]:
    """When, where and how these numbers were made."""
    return {
        "date": datetime.date.today().isoformat(),
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "machine": machine(),
        "python": platform.python_version(),
        "versions": measuring.versions(),
        "runs": runs,
    }


def machine() -> str:
    """The machine in words: cores, processor, memory, system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    processor, listing = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if listing.exists():
        model = [line.partition(":")[2].strip() for line in listing.read_text().splitlines() if "model name" in line]
        processor = model[0] if model else processor
    return f"{cores} cores of {processor}, {memory:.0f} GB of memory, {platform.system()}"


if __name__ == "__main__":
    main()
