"""`leaky-interop plot`: a picture of the function and of its derivative."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import Usage
from . import console
from .slopes import number

SUFFIXES = (".png", ".svg", ".pdf")


def plot(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="What to write: .png, .svg or .pdf.")],
    slope: Annotated[str, typer.Option(metavar="NUMBER", help="The slope of the function.")] = "0.01",
    framework: Annotated[
        str | None, typer.Option(metavar="NAME", help="Beside it, what this one computes when the slope is left out.")
    ] = None,
    low: Annotated[float, typer.Option(help="Where x begins.")] = -2.0,
    high: Annotated[float, typer.Option(help="Where x ends.")] = 2.0,
) -> None:
    """Draw LeakyReLU and its derivative, and beside it another framework's default."""
    import leaky_interop as li

    if output.suffix.lower() not in SUFFIXES:
        raise Usage(f"--output {output.name} is not understood", hint=f"Its name ends in {', '.join(SUFFIXES)}")
    li.plot_slopes(number(slope), framework, output, low=low, high=high)
    console.say(f"{output} written")
