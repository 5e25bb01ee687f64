"""`leaky-interop web`: writes a static page that runs a network in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..stages import listening
from . import console, parsing
from .confined import Sandbox, TimeLimit, confined
from .options import AllowRoot, InputShape, Quiet, Trust, Weights


def web(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A file, or package.module:factory.")],
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="The folder to write; made where it is not.")],
    preprocess: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE.toml", help="How pictures become numbers; as the model's metadata says by default."
        ),
    ] = None,
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="The classes' names, one a line.")] = None,
    top_k: Annotated[int, typer.Option(help="How many classes are shown.")] = 5,
    softmax: Annotated[
        bool | None,
        typer.Option("--softmax/--no-softmax", help="Make probabilities of logits; of a LogSoftmax by default."),
    ] = None,
    sample: Annotated[list[Path], typer.Option(metavar="IMAGE", help="A picture to choose from. Repeatable.")] = [],  # noqa: B006
    title: Annotated[str | None, typer.Option(help="The heading; the model's name by default.")] = None,
    runtime_folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The files of onnxruntime-web, instead of those of the npm registry."),
    ] = None,
    input_shape: InputShape = [],  # noqa: B006
    weights: Weights = None,
    allow_root: AllowRoot = None,
    trust: Trust = False,
    sandbox: Sandbox = None,
    time_limit: TimeLimit = None,
    quiet: Quiet = False,
) -> None:
    """Write a page that runs a network in the browser, from any static server."""
    import leaky_interop as li

    from ..browser.runtime import runtime_files
    from ..inference import labels as read_labels

    console.set_verbosity(quiet, 0)
    runtime_files(runtime_folder)  # while there is a network: the worker has none
    confined(context, sandbox, None, time_limit, [model, weights], [folder])
    with console.Stages() as stages, listening(stages):
        written = li.web(
            parsing.source(model), folder, preprocess=preprocess, labels=read_labels(labels) if labels else None, top_k=top_k,
            softmax=softmax, samples=sample, title=title, runtime_folder=runtime_folder,
            input_shapes=parsing.input_shapes(input_shape), weights=weights, allow_root=allow_root, trust=trust,
        )  # fmt: skip
    console.say(f"{written} written. Look at it with: python -m http.server --directory {folder}")
