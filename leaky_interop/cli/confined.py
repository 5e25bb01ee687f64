"""`--sandbox`: whether a command runs in a worker process, and with which limits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import LeakyInteropError, RuntimeFailure, Usage

if TYPE_CHECKING:
    from ..sandbox import Limits

FOREIGN = ("keras", "h5", "pt2", "torchscript", "pth", "savedmodel")  # files that a framework's own loader reads

Sandbox = Annotated[
    bool | None,
    typer.Option(
        "--sandbox/--no-sandbox",
        envvar="LEAKY_INTEROP_SANDBOX",
        help="Run in a worker process with limits. By default where a framework's own loader reads a file: "
        ".keras, .h5, .pt2, .pt, .pth.",
    ),
]
MemoryLimit = Annotated[
    float | None, typer.Option(metavar="GIB", help="Memory that the worker may use. By default all that there is.")
]
TimeLimit = Annotated[float | None, typer.Option(metavar="SECONDS", help="Time that the worker may take: 3600.")]


def confined(
    context: typer.Context,
    sandbox: bool | None,
    memory: float | None,
    seconds: float | None,
    reads: Iterable[str | Path | None],
    writes: Iterable[str | Path | None] = (),
) -> None:
    """Run this very command in a worker, where it ought to be in one, and leave with its exit code.

    reads: the models and weights that it reads; writes: what it writes, beside which a dead worker leaves nothing.
    Returns where the command is to go on here.
    """
    from .. import sandbox as workers

    if workers.current is not None:
        return
    limits = chosen(sandbox, memory, seconds)
    paths = [path for path in reads if path is not None]
    wanted = sandbox if sandbox is not None else memory is not None or seconds is not None or any(map(_foreign, paths))
    if not wanted:
        return
    worker = workers.Worker(
        context.find_root().obj,
        ", ".join(Path(p).name for p in paths),
        limits,
        _descriptor(sys.stdout, 1),
        _descriptor(sys.stderr, 2),
        # A terminal is the parent's: reading it would stop the worker.
        stdin=subprocess.DEVNULL if sys.stdin is None or os.isatty(0) else 0,
    )
    try:
        code = worker.wait()
    except RuntimeFailure:
        clean(writes)
        raise
    if code == 130:
        clean(writes)
    raise typer.Exit(code)


def chosen(sandbox: bool | None, memory: float | None, seconds: float | None) -> Limits:
    """The limits that were asked for, or the usual ones."""
    from ..sandbox import GIB, TIME, Limits, machine_memory

    for option, given in (("--memory-limit", memory), ("--time-limit", seconds)):
        if given is None:
            continue
        if sandbox is False:
            raise Usage(f"{option} is given with --no-sandbox", why="only the worker has limits")
        if not 0 < given < 1e9:
            raise Usage(f"{option} {given:g} is not understood", hint="Give a number above 0")
    return Limits(machine_memory() if memory is None else int(memory * GIB), TIME if seconds is None else seconds)


def clean(written: Iterable[str | Path | None]) -> None:
    """Remove what dead workers have left: beside the files that they were to write, and in the temporary folder."""
    from .. import files

    for path in written:
        if path is not None:
            files.remove_leftovers(Path(path).absolute().parent)
    files.remove_leftovers()


def _foreign(path: str | Path) -> bool:
    from ..files.identify import kind

    try:
        return kind(path) in FOREIGN
    except LeakyInteropError:  # not a file, or one that the command itself will refuse
        return False


def _descriptor(stream: object, usual: int) -> int:
    try:
        return stream.fileno()  # type: ignore[attr-defined,no-any-return]
    except (AttributeError, OSError, ValueError):
        return usual
