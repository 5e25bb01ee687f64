"""Many cases through several conversions, each judged in a process that may die of one; what came of them as a table."""

from __future__ import annotations

import collections
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
SILENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}


def version(package: str) -> str:
    """Of an installed package."""
    from importlib.metadata import version as of

    return of(package)


def work(judge: Callable[[str, Any], Any], route: str, cases: Sequence[Any], start: int) -> None:
    """Judge all cases from `start` on and print one JSON line each; an empty reason is a pass.

    A process that judges several routes at once has a reason for each.
    """
    for index, case in enumerate(cases[start:], start):
        text = attempted(lambda case=case: judge(route, case))
        print(json.dumps({"index": index, "reason": text}), flush=True)


def attempted(judge: Callable[[], Any]) -> Any:
    """What `judge` says, or the error that it meets in a line."""
    try:
        return judge()
    except Exception as error:  # a case may fail in any way
        return reason(error)


def reason(error: Exception) -> str:
    """An error in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


def judged(module: str, route: str, backend: str, total: int, *, command: Sequence[str] = ()) -> list[Any]:
    """The reasons of all cases on a route. What kills the process counts against its case, and the rest goes on.

    module : with `--work ROUTE --start N` on its command line, it calls `work`
    """
    found: dict[int, Any] = {}
    while len(found) < total:
        before = len(found)
        line = [sys.executable, "-m", module, "--work", route, "--start", str(before), *command]
        variables = {**os.environ, **SILENT, "KERAS_BACKEND": backend}
        with subprocess.Popen(line, cwd=REPOSITORY, env=variables, stdout=subprocess.PIPE, text=True) as process:
            for text in process.stdout or ():
                if text.startswith('{"index"'):
                    row = json.loads(text)
                    found[row["index"]] = row["reason"]
        if len(found) < total:
            if process.returncode in (0, 1, 2) and len(found) == before == 0:
                raise SystemExit(f"{route}: stopped before the first case")
            found[len(found)] = f"the process ended with {process.returncode}"
    return [found[i] for i in range(total)]


def lines(names: Sequence[str], reasons: Mapping[str, Sequence[str]], baseline: str = "") -> Iterator[list[str]]:
    """One row for each name: how many cases it has, how many pass on each route, and why the others do not.

    baseline : a route whose own failures are counted and not explained
    """
    places = collections.defaultdict(list)
    for i, name in enumerate(names):
        places[name].append(i)
    for name, indices in sorted(places.items()):
        counts = [str(sum(not texts[i] for i in indices)) for texts in reasons.values()]
        failed: dict[str, set[str]] = collections.defaultdict(set)
        for route, texts in reasons.items():
            for i in indices:
                if texts[i] and route != baseline:
                    failed[generic(texts[i])].add(route)
        why = "<br>".join(f"{', '.join(r for r in reasons if r in routes)}: {text}" for text, routes in failed.items())
        yield [name, str(len(indices)), *counts, why.replace("|", "\\|")]


def generic(text: str) -> str:
    """A reason without what differs from case to case."""
    text = re.sub(r"values differ by \S+", "values differ", text)
    return re.sub(r" at (onnx|keras|torch) (mixed |complex )?\S+( '[^']*')?", "", re.sub(r"'[^']*'", "'...'", text))
