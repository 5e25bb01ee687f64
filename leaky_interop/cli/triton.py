"""`leaky-interop triton`: writes a network into a model repository of Triton Inference Server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..stages import listening
from . import console, parsing


def triton(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A file, or package.module:factory.")],
    folder: Annotated[
        Path, typer.Argument(metavar="REPOSITORY", help="The folder of all networks; made where it is not.")
    ],
    name: Annotated[str | None, typer.Option(help="What the network is called there; as its file by default.")] = None,
    model_version: Annotated[int, typer.Option(help="The number of its folder.")] = 1,
    max_batch: Annotated[int, typer.Option(help="How many rows Triton may put together; 0 for none.")] = 32,
    input_shape: Annotated[
        list[str],
        typer.Option(metavar="NAME:1,3,224,224", help="An input's shape; None leaves a size open. Repeatable."),
    ] = [],  # noqa: B006  (typer reads it)
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="Weights for a factory's module.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Write a network and its config.pbtxt as Triton Inference Server reads them."""
    import leaky_interop as li

    console.set_verbosity(quiet, 0)
    with console.Stages() as stages, listening(stages):
        written = li.triton(
            parsing.source(model), folder, name, version=model_version, max_batch=max_batch,
            input_shapes=parsing.input_shapes(input_shape), weights=weights,
        )  # fmt: skip
    console.say(f"{written} written")
