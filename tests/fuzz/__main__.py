"""python -m tests.fuzz [--executions N] [--seconds S] [--reader NAME ...] [--engine atheris|mutate]

Runs every reader in turn, in slices, each slice in a child process that is watched. Findings and their inputs go to
out/fuzz/, counts to tests/fuzz/results.json and docs/fuzzing.md. Exit code 1 where something was found.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from . import record
from .child import Job, State
from .readers import READERS, Reader

ROOT = Path(__file__).parents[2]
FAST = Path("/dev/shm")
HANG = 10.0  # seconds of computing on one input
STILL = 60.0  # seconds that one input may take where it waits
START = 300.0  # seconds for the imports of a framework


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[2])
    parser.add_argument("--executions", type=int, default=100_000, help="of all readers together (default 100,000)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after that long")
    parser.add_argument("--slice", type=float, default=60.0, help="seconds of one child process")
    parser.add_argument("--reader", action="append", choices=list(READERS), help="only this one; repeatable")
    parser.add_argument("--engine", choices=("atheris", "mutate"), help="atheris where it is installed")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9)
    parser.add_argument("--results", type=Path, default=record.RESULTS)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "fuzz")
    given = parser.parse_args()
    engine = given.engine or ("atheris" if importlib.util.find_spec("atheris") else "mutate")
    chosen = [READERS[name] for name in given.reader or READERS]
    share = given.executions / sum(reader.share for reader in chosen)
    left = {reader.name: int(reader.share * share) for reader in chosen}
    until, seed, found = time.monotonic() + given.seconds, given.seed, 0
    while any(left.values()) and time.monotonic() < until:
        for reader in (r for r in chosen if left[r.name] > 0):
            seconds = min(given.slice, until - time.monotonic())
            if seconds <= 0:
                break
            seed += 1
            row = run(reader, engine, left[reader.name], seconds, seed, given.out)
            left[reader.name] = max(0, left[reader.name] - row["executions"])
            record.add(given.results, row)
            found += len(row["findings"])
            print(
                f"{reader.name}: {row['executions']:,} in {row['seconds']} s, {len(row['findings'])} findings",
                flush=True,
            )
            for finding in row["findings"]:
                print(f"  {finding['kind']} {finding['text']} {finding['where']} ({finding['input']})", flush=True)
    if given.results == record.RESULTS:
        record.write_page(record.read(given.results))
    return int(found > 0)


def run(reader: Reader, engine: str, executions: int, seconds: float, seed: int, out: Path) -> dict[str, Any]:
    """One slice of one reader: its counts and findings."""
    code = reader.code
    corpus = out.resolve() / "corpus" / reader.name.replace(" ", "_")
    with tempfile.TemporaryDirectory(prefix="leaky_interop_fuzz_", dir=FAST if FAST.is_dir() else None) as made:
        folder = Path(made)
        if corpus.is_dir():
            shutil.copytree(corpus, folder / "corpus")
        state = State(folder / "state")
        job = Job(reader.name, engine, made, executions, seconds, seed)
        started = time.monotonic()
        death = _watched(job, state, folder, seconds)
        spent = time.monotonic() - started
        count, _, accepted, slowest = state.read()
        findings = [death] if death else []
        findings += [
            _finding(reader, file.with_suffix(".finding"), out, json.loads(file.read_text()))
            for file in folder.glob("*.json")
        ]
        if (folder / "corpus").is_dir():
            shutil.rmtree(corpus, ignore_errors=True)
            shutil.copytree(folder / "corpus", corpus)
        if death:
            death["input"] = _finding(reader, folder / "input", out, death)["input"]
    return {
        "reader": reader.name, "code": code, "engine": engine, "executions": count, "accepted": accepted,
        "seconds": round(spent, 1), "slowest": round(slowest, 3), "findings": findings,
    }  # fmt: skip


def _watched(job: Job, state: State, folder: Path, seconds: float) -> dict[str, Any] | None:
    """Wait for the child; how it died where it did not end by itself."""
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "KERAS_BACKEND": "torch",
        "PYTHONFAULTHANDLER": "1",
    }
    environment |= {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": str(ROOT)}
    log = (folder / "log").open("w+b")
    command = [sys.executable, "-m", "tests.fuzz.child", json.dumps(dataclasses.asdict(job))]
    child = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    started, seen, computed = time.monotonic(), -1, 0.0
    hang = ""
    try:
        while child.poll() is None:
            time.sleep(0.2)
            count, since, _, _ = state.read()
            now = time.monotonic()
            if count != seen or not since:
                seen, computed = count, _computed(child.pid)
                limit = START + seconds if count == 0 else 3 * seconds + START
                hang = "it does not start" if count == 0 and now - started > limit else ""
            elif _computed(child.pid) - computed > HANG:
                hang = f"it computes for more than {HANG:.0f} s"
            elif now - since > STILL:
                hang = f"it takes more than {STILL:.0f} s"
            if hang:
                child.kill()
                child.wait()
                return {"kind": "hang", "text": hang, "where": "", "bytes": (folder / "input").stat().st_size}
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        log.seek(0)
        said = log.read().decode("utf-8", "replace")
        log.close()
    for line in said.splitlines():
        if "a valid file is refused" in line:
            print(f"  {line}", flush=True)
    if child.returncode:
        last = [line for line in said.splitlines() if "File " in line or "Error" in line][:3]
        return {"kind": "crash", "text": f"exit {child.returncode}", "where": " / ".join(last)[:400], "bytes": 0}
    return None


def _computed(process: int) -> float:
    """Seconds of processor time."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _finding(reader: Reader, file: Path, out: Path, row: dict[str, Any]) -> dict[str, Any]:
    """The finding with its input kept in out/fuzz/findings."""
    kept = out / "findings"
    kept.mkdir(parents=True, exist_ok=True)
    name = f"{reader.name.replace(' ', '_').replace(',', '')}-{file.stem}" + (
        f"-{time.time_ns()}" if file.name == "input" else ""
    )
    if file.exists():
        shutil.copy(file, kept / name)
    return {**row, "input": name}


if __name__ == "__main__":
    sys.exit(main())
