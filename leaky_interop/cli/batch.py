"""`leaky-interop convert --batch FOLDER_OR_MANIFEST OUT`: many conversions, with a table at the end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Usage
from . import console, parsing
from .confined import chosen

if TYPE_CHECKING:
    from ..batch import Job, Result

IsBatch = Annotated[
    bool, typer.Option("--batch", help="SRC is a folder, or a .csv or .json of rows, and DST a folder to fill.")
]
To = Annotated[
    str | None, typer.Option(metavar="FORMAT", help="With --batch: onnx, keras, torch, matlab, pt2 or safetensors.")
]
Jobs = Annotated[int, typer.Option(metavar="N", min=1, help="With --batch: how many at once.")]
ContinueOnError = Annotated[
    bool, typer.Option("--continue-on-error", help="With --batch: go on after a model that fails.")
]
OURS = {
    "batch",
    "to",
    "jobs",
    "continue_on_error",
    "sandbox",
    "memory_limit",
    "time_limit",
    "report",
    "quiet",
    "verbose",
}
ALONE = {"weights", "reproducer"}  # options of one conversion, which only a manifest can give


def convert_batch(context: typer.Context) -> None:
    """What the command convert does with --batch."""
    from ..batch import Batcher, plan, read_manifest
    from ..batch.record import HEAD

    given = context.params
    source, out = Path(given["source"]), Path(given["target"])
    if stray := [f"--{name}" for name in sorted(ALONE) if given[name]]:
        raise Usage(f"{stray[0]} is given with --batch", hint="Give it in a manifest, to the model that it belongs to")
    options = _options(context)
    reports = parsing.report_paths(given["report"])
    if out.exists() and not out.is_dir():
        raise Usage(f"{out.name} is no folder", hint="With --batch, DST is the folder to fill")
    if source.is_dir():
        if not given["to"]:
            raise Usage("what to convert to is not said", hint="Give --to onnx, keras or torch")
        jobs = plan(source, out, given["to"], options)
    else:
        jobs = read_manifest(source, given["to"], options, lambda found: _check(context, found))
    sandbox, memory, seconds = (given[name] for name in ("sandbox", "memory_limit", "time_limit"))
    limits = chosen(sandbox, memory, seconds)
    with Shown(jobs) as shown:
        made = Batcher(
            jobs, out, given["jobs"], None if sandbox is False else limits, given["continue_on_error"], shown
        ).run()
    if console.verbosity >= 0:
        console.table("", HEAD, made.cells())
    console.say(made.summary() + (": the same command goes on where it stopped" if made.interrupted else ""))
    console.write_reports(made, reports)
    raise typer.Exit(made.exit_code)


def check_alone(context: typer.Context) -> None:
    """Without --batch its options mean nothing."""
    given = context.params
    for name, usual in (("to", None), ("jobs", 1), ("continue_on_error", False)):
        if given[name] != usual:
            raise Usage(f"--{name.replace('_', '-')} is given without --batch")


def _options(context: typer.Context) -> list[str]:
    """The options that every conversion gets, as the command line says them."""
    found: list[str] = []
    for option in context.command.params:
        value: Any = context.params.get(option.name or "")
        given = value != option.get_default(context) and value not in ([], ())
        if option.param_type_name != "option" or option.name in OURS | ALONE or not given:
            continue
        if isinstance(value, bool):
            found.append((option.opts if value else option.secondary_opts)[0])
        else:
            several = value if isinstance(value, list | tuple) else [value]
            found += (part for one in several for part in (option.opts[0], str(getattr(one, "value", one))))
    return found


def _check(context: typer.Context, options: Sequence[str]) -> None:
    """Raises Usage for options of a row that the command does not have, or that are the whole batch's."""
    ours = {
        name
        for option in context.command.params
        if option.name in OURS
        for name in (*option.opts, *option.secondary_opts)
    }
    if stray := ours & {option.partition("=")[0] for option in options}:
        raise Usage(f"its options are not understood: {min(stray)} is the whole batch's")
    try:
        context.command.make_context("convert", [*options, "--", "a", "b"])
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        raise Usage("its options are not understood", why=error.format_message()) from None


class Shown:
    """Shows on stderr what is being converted: a bar on a terminal, otherwise a line for each result."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self.total, self.done = len(jobs), 0
        self.bar: Any = None

    def __enter__(self) -> Shown:
        import sys

        if console.verbosity >= 0 and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("{task.description}", markup=False),
            )
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self.bar.start()
            self.bar.add_task("", total=self.total)
        return self

    def __call__(self, result: Result | None, running: list[str]) -> None:
        import sys

        from ..report.phrases import printable

        if result is not None:
            self.done += 1
        if self.bar is not None:
            self.bar.update(0, completed=self.done, description=printable(", ".join(running)))
        if result is not None and result.result != "unchanged" and console.verbosity >= 0:
            line = printable(f"[{self.done}/{self.total}] {result.source}: {result.result} ({result.seconds:.1f} s)")
            if self.bar is None:
                print(line, file=sys.stderr, flush=True)
            elif result.code:
                self.bar.console.print(line, markup=False, highlight=False)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.stop()
