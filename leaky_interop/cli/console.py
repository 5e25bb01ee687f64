"""What the command line prints: stages that take long, reports, tables, errors."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..errors import LeakyInteropError
from ..report.phrases import measured, number, printable, slope
from ..sandbox import out_of_memory

if TYPE_CHECKING:
    import numpy as np

    from ..batch import Batch
    from ..report import Report

PATIENCE = 1.0  # seconds after which a running stage is shown
FIRST = 10  # numbers of an output that a table shows
DEBUG = "LEAKY_INTEROP_DEBUG"

verbosity = 0  # -1 quiet, 0, 1 every node, 2 tracebacks


def set_verbosity(quiet: bool, verbose: int) -> None:
    """What -q and -v say; other libraries' warnings are shown from -v on."""
    import warnings

    global verbosity
    verbosity = -1 if quiet else verbose
    if verbosity < 1 and not sys.warnoptions:
        warnings.simplefilter("ignore")


def say(text: str) -> None:
    """A result, on stdout, unless -q."""
    if verbosity >= 0:
        print(text, end="" if text.endswith("\n") else "\n")


# --- errors -----------------------------------------------------------------------------------------------------------


def failed(error: Exception) -> int:
    """Write an error on stderr, without its traceback unless asked for; the exit code."""
    if verbosity >= 2 or os.environ.get(DEBUG):
        traceback.print_exception(error)
    if text := out_of_memory(error):
        message, code = text, 5
    elif isinstance(error, LeakyInteropError):
        message, code = str(error), error.exit_code
        if "input_shapes" in error.hint:
            message += " On the command line that is --input-shape NAME:1,3,224,224."
    elif hasattr(error, "format_message"):  # the parser's own errors; click and typer have no base class in common
        message, code = f"{error.format_message().rstrip('.')}. See leaky-interop --help.", 2
    elif isinstance(error, MemoryError):
        message, code = "There is not enough memory.", 5
    else:
        text = str(error).strip().partition("\n")[0].rstrip(".")
        what = f"Unexpected {type(error).__name__}" + (f": {text}" if text else "")
        message, code = f"{what}. Run it again with -v -v to see where.", 5
    print("\n".join(printable(line) for line in f"Error: {message}".splitlines()), file=sys.stderr)
    return code


# --- stages -----------------------------------------------------------------------------------------------------------


class Stages:
    """Shows the stages of a command on stderr, once it has taken longer than PATIENCE."""

    def __init__(self) -> None:
        self.shown: Any = None  # rich's progress, while it is on the screen
        self.ended = False
        self.names: list[str] = []
        self.began = time.monotonic()
        self.lock = threading.Lock()
        self.timer = threading.Timer(PATIENCE, self.show)
        self.timer.daemon = True

    def __enter__(self) -> Stages:
        if verbosity >= 0 and sys.stderr.isatty():
            self.timer.start()
        return self

    def __call__(self, name: str) -> None:
        """A stage begins, and the one before it has ended."""
        with self.lock:
            self.end()
            self.names.append(name)
            self.began = time.monotonic()
            if self.shown is not None:
                self.shown.add_task(name, total=1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.timer.cancel()
        with self.lock:
            if kind is None:
                self.end()
            if self.shown is not None:
                self.shown.stop()
            self.ended = True

    def end(self) -> None:
        if not self.names:
            return
        if self.shown is not None:
            self.shown.update(self.shown.task_ids[-1], completed=1)
        elif verbosity >= 0 and not sys.stderr.isatty() and time.monotonic() - self.began > PATIENCE:
            print(f"{self.names[-1]}: {time.monotonic() - self.began:.1f} s", file=sys.stderr)

    def show(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        with self.lock:
            if self.ended:  # while this waited
                return
            columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TimeElapsedColumn())
            self.shown = Progress(*columns, console=Console(stderr=True), transient=True)
            self.shown.start()
            tasks = [self.shown.add_task(name, total=1) for name in self.names]
            for task in tasks[:-1]:
                self.shown.update(task, completed=1)


# --- results ----------------------------------------------------------------------------------------------------------


def show_report(report: Report, reproducer: Path | None = None) -> None:
    """The validation lines; with -v every node, every slope, versions and times."""
    if verbosity >= 1:
        for node in report.nodes:
            mark = "✓" if node.passed else "x"
            say(printable(f"  -[{mark}] {node.name}, {node.op}: {node.problem or measured(node.own)}"))
        for found in report.slopes:
            given = "stated" if found.stated else "the framework's default"
            say(printable(f"  slope {slope(found.value)} of {found.node}: {given}"))
        say("  " + ", ".join(f"{name} {version}" for name, version in report.versions.items()))
        say("  " + ", ".join(f"{name} {number(seconds)} s" for name, seconds in report.seconds.items()))
    say(str(report))
    if reproducer is not None and not report.passed:
        alone = any(not node.passed for node in report.nodes)
        say(f"Reproducer in {reproducer}" if alone else "No node differs by itself, so there is none to reproduce")


def write_reports(report: Report | Batch, paths: Iterable[Path]) -> None:
    """Each in the format of its suffix."""
    from .. import files

    render = {".json": report.to_json, ".md": report.to_markdown, ".html": report.to_html}
    for path in paths:
        with files.atomic(path) as temporary:
            temporary.write_text(render[path.suffix.lower()](), encoding="utf-8")
        say(f"Report in {path}")


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table as wide as it needs to be where stdout is no terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, box=box.SIMPLE_HEAD, title_justify="left")
    for name in head:
        made.add_column(name, overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else 200).print(made)


def show_arrays(arrays: Mapping[str, np.ndarray], path: Path | None) -> None:
    """A network's outputs: into an `.npz`, or as a table with the first few numbers."""
    import numpy as np

    from .. import files

    if path is not None:
        with files.atomic(path) as temporary:
            files.write_npz(temporary, arrays)
        say(f"{len(arrays)} arrays written to {path}")
        return
    rows = []
    for name, array in arrays.items():
        flat = array.reshape(-1)
        first = " ".join(f"{x:.6g}" if array.dtype.kind in "fV" else str(x) for x in flat[:FIRST].tolist())
        ends = [f"{float(f(flat)):.6g}" if array.size else "-" for f in (np.min, np.mean, np.max)]
        rows.append((name, str(array.shape), array.dtype.name, *ends, first + (" ..." if array.size > FIRST else "")))
    if verbosity >= 0:
        table("", ("output", "shape", "dtype", "smallest", "mean", "largest", "numbers"), rows)
