"""The options that several commands have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, metavar="", help="Every node; twice: tracebacks.")]
InputShape = Annotated[
    list[str], typer.Option(metavar="NAME:1,3,224,224", help="An input's shape; None leaves a size open. Repeatable.")
]
Weights = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Weights (.safetensors, .pth) for a factory's PyTorch module; .mat for a MATLAB source.")
]
Reports = Annotated[
    list[Path], typer.Option(metavar="FILE", help="Write the report as .html, .json or .md. Repeatable.")
]
Tolerance = Annotated[
    list[str], typer.Option(metavar="[NAME:]NUMBER", help="Tolerance of all outputs, or of one by name. Repeatable.")
]
VerifyInputs = Annotated[
    Path | None, typer.Option(metavar="FILE.npz", help="Verify on these arrays instead of seeded random ones.")
]
Reproducer = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Write the first node that differs as a model of its own.")
]
FastMath = Annotated[
    bool, typer.Option("--fast-math", help="Also recognise LeakyReLU where it differs for some numbers: see the notes.")
]
AllowRoot = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Links of external data may lead inside this folder: a model hub's cache.")
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Also take what runs code of the file: Lambda layers; and operators of ai.onnx.ml.")
]
Signature = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which signature of a TensorFlow SavedModel; serving_default by default.")
]
Names = Annotated[list[str], typer.Option(metavar="NAME", help="Cut the network at this value or layer. Repeatable.")]
