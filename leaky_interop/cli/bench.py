"""`leaky-interop bench`: measures models in runtimes, prints the table, writes JSON, Markdown and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import Usage
from ..stages import listening
from . import console, parsing
from .confined import Sandbox, TimeLimit, confined
from .options import AllowRoot, InputShape, Quiet, Trust, Verbose, Weights

PICTURES = (".png", ".svg", ".pdf")
Written = Annotated[Path | None, typer.Option(metavar="FILE", help="Write the result there.")]


def bench(
    context: typer.Context,
    models: Annotated[list[str], typer.Argument(metavar="MODEL...", help="Files, or package.module:factory.")],
    runtime: Annotated[
        list[str],
        typer.Option(metavar="NAME", help="Ask this runtime only; all that are installed by default. Repeatable."),
    ] = [],  # noqa: B006
    batch: Annotated[list[int], typer.Option(metavar="N", help="A batch size. Repeatable.")] = [1, 8],  # noqa: B006
    threads: Annotated[
        list[int], typer.Option(metavar="N", help="A number of threads; one a processor by default. Repeatable.")
    ] = [],  # noqa: B006
    seconds: Annotated[float, typer.Option(help="How long each runtime is timed at each batch size.")] = 1.0,
    rounds: Annotated[int, typer.Option(help="In how many turns.")] = 5,
    input_shape: InputShape = [],  # noqa: B006
    weights: Weights = None,
    allow_root: AllowRoot = None,
    trust: Trust = False,
    sandbox: Sandbox = None,
    time_limit: TimeLimit = None,
    json: Written = None,
    markdown: Written = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the result: .png, .svg or .pdf.")] = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Measure latency, throughput, memory and cold start of models in runtimes, side by side."""
    import leaky_interop as li

    console.set_verbosity(quiet, verbose)
    confined(context, sandbox, None, time_limit, [*models, weights], [json, markdown, plot])
    if plot is not None and plot.suffix.lower() not in PICTURES:
        raise Usage(f"--plot {plot.name} is not understood", hint=f"Its name ends in {', '.join(PICTURES)}")
    for path in (json, markdown, plot):
        if path is not None and not path.parent.is_dir():
            raise Usage(f"the folder of {path.name} does not exist", hint="Make it first")
    with console.Stages() as stages, listening(stages):
        speed = li.bench(
            *map(parsing.source, models), runtimes=runtime or None, batches=batch, threads=threads or None,
            seconds=seconds, rounds=rounds, input_shapes=parsing.input_shapes(input_shape), weights=weights, allow_root=allow_root, trust=trust,
        )  # fmt: skip
    from .. import files
    from ..speed.renderings import HEAD, cells, summary

    if not quiet:
        console.table("", HEAD, cells(speed))
    for line in summary(speed):
        console.say(line)
    for path, text in ((json, speed.to_json), (markdown, speed.to_markdown)):
        if path is not None:
            with files.atomic(path) as temporary:
                temporary.write_text(text(), encoding="utf-8")
            console.say(f"{path} written")
    if plot is not None:
        speed.plot(plot)
        console.say(f"{plot} written")
    if not speed.passed:
        raise typer.Exit(1)
