"""`leaky-interop conformance`: asks runtimes, prints the matrix, writes the record."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Usage
from . import console

if TYPE_CHECKING:
    from ..conformance.record import Conformance

Names = Annotated[list[str], typer.Option("--runtime", metavar="NAME", help="Ask this one only. Repeatable.")]
Written = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result there.")]


def conformance(
    runtime: Names = [],  # noqa: B006  (typer reads it)
    json: Written = None,
    junit: Written = None,
    html: Written = None,
    markdown: Written = None,
    install: Annotated[bool, typer.Option("--install", help="Make the environments that are missing.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the runtimes, and what each needs.")] = False,
    reproduce: Annotated[
        str | None, typer.Option(metavar="ID", help="Print a script that shows one difference by itself.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE.py", help="Write that script.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Hold every runtime that is here to one definition of LeakyReLU; exit with 1 where one is wrong in a new way."""
    console.set_verbosity(quiet, 0)
    if list_:
        _list(runtime)
    elif reproduce is not None:
        _reproduce(reproduce, output)
    else:
        wanted = {"json": json, "junit": junit, "html": html, "markdown": markdown}
        written = {path: _renderer(kind) for kind, path in wanted.items() if path}
        for path in written:
            if not path.parent.is_dir():
                raise Usage(f"the folder of {path.name} does not exist", hint="Make it first")
        record = _run(runtime, install)
        _show(record, written)
        if not record.passed:
            raise typer.Exit(1)


def _run(names: list[str], install: bool) -> Conformance:
    from ..conformance import environments, running

    with Bars() as bars:
        return running.run(environments.chosen(names), install=install, progress=bars)


def _show(record: Conformance, written: dict[Path, Callable[[Any], str]]) -> None:
    from .. import files
    from ..conformance import as_text

    terminal = sys.stdout.isatty()
    width = os.get_terminal_size().columns if terminal else 200
    console.say(as_text.render(record, colour=terminal, width=width))
    for path, render in written.items():
        with files.atomic(path) as temporary:
            temporary.write_text(render(record), encoding="utf-8")
        console.say(f"{path} written")


def _renderer(kind: str) -> Callable[[Any], str]:
    """The function that writes a record; found before anything is asked, so that a mistake costs no time."""
    return importlib.import_module(f"..conformance.as_{kind}", __package__).render


def _list(names: list[str]) -> None:
    from ..conformance import environments

    rows = []
    for plan in environments.chosen(names):
        ready = "installed" if environments.interpreter(plan) else "--install makes it"
        own = plan.environment or {}
        needs = ", ".join(own.get("packages", ())) or "this Python's own packages"
        rows.append((plan.name, ready if plan.environment else "", str(own.get("python", "")), needs))
    if console.verbosity >= 0:
        console.table("", ("runtime", "environment", "python", "packages"), rows)


def _reproduce(name: str, output: Path | None) -> None:
    from .. import files
    from ..conformance import reproducing

    text = reproducing.script(name)
    if output is None:
        console.say(text)
        return
    with files.atomic(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    console.say(f"{output} written; run it with the Python that has the runtime's framework")


class Bars:
    """A progress bar for each runtime on a terminal's stderr; elsewhere a line when one is done."""

    def __init__(self) -> None:
        self.shown: Any = None
        self.tasks: dict[str, Any] = {}

    def __enter__(self) -> Bars:
        if console.verbosity >= 0 and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import Progress

            self.shown = Progress(console=Console(stderr=True), transient=True)
            self.shown.start()
        return self

    def __call__(self, runtime: str, done: int, total: int) -> None:
        """A cell more is done. Called from several threads."""
        if self.shown is not None:
            if runtime not in self.tasks:
                self.tasks[runtime] = self.shown.add_task(runtime, total=total)
            self.shown.update(self.tasks[runtime], completed=done)
        elif done == total and console.verbosity >= 0:
            print(f"{runtime}: {total} cells", file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        if self.shown is not None:
            self.shown.stop()
