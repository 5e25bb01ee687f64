"""`leaky-interop triton`: writes a network into a model repository of Triton Inference Server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..stages import listening
from . import console, parsing
from .confined import Sandbox, TimeLimit, confined
from .options import AllowRoot, InputShape, Quiet, Trust, Weights


def triton(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A file, or package.module:factory.")],
    folder: Annotated[
        Path, typer.Argument(metavar="REPOSITORY", help="The folder of all networks; made where it is not.")
    ],
    name: Annotated[str | None, typer.Option(help="What the network is called there; as its file by default.")] = None,
    model_version: Annotated[int, typer.Option(help="The number of its folder.")] = 1,
    max_batch: Annotated[int, typer.Option(help="How many rows Triton may put together; 0 for none.")] = 32,
    input_shape: InputShape = [],  # noqa: B006
    weights: Weights = None,
    allow_root: AllowRoot = None,
    trust: Trust = False,
    sandbox: Sandbox = None,
    time_limit: TimeLimit = None,
    quiet: Quiet = False,
) -> None:
    """Write a network and its config.pbtxt as Triton Inference Server reads them."""
    import leaky_interop as li

    console.set_verbosity(quiet, 0)
    confined(context, sandbox, None, time_limit, [model, weights], [folder])
    with console.Stages() as stages, listening(stages):
        written = li.triton(
            parsing.source(model), folder, name, version=model_version, max_batch=max_batch,
            input_shapes=parsing.input_shapes(input_shape), weights=weights, allow_root=allow_root, trust=trust,
        )  # fmt: skip
    console.say(f"{written} written")
