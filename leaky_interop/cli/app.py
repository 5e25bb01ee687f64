"""The commands. Each reads its options, calls the verb of the same name and prints what that returns."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

import leaky_interop as li

from ..errors import Mismatch
from ..stages import listening, stage
from . import bench, conformance, console, parsing, plot, run, slopes, triton, web
from .batch import ContinueOnError, IsBatch, Jobs, To, check_alone, convert_batch
from .confined import MemoryLimit, Sandbox, TimeLimit, confined
from .options import (
    AllowRoot,
    FastMath,
    InputShape,
    Names,
    Quiet,
    Reports,
    Reproducer,
    Signature,
    Tolerance,
    Trust,
    Verbose,
    VerifyInputs,
    Weights,
)

app = typer.Typer(
    help="Converts neural networks between Keras, PyTorch and ONNX, and proves that the numbers are the same.",
    epilog="Exit codes: 0 pass, 1 mismatch, 2 usage, 3 unsupported or refused, 4 unsafe file, 5 runtime failure.",
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

MODEL = "A .keras, .h5, .onnx, .pt2, .chainer or .m (MATLAB) file, a SavedModel's folder, or package.module:factory for a network in code."


class Float16(str, Enum):  # noqa: UP042  (as below)
    """What of a network becomes float16."""

    inside = "inside"
    everywhere = "everywhere"


class Framework(str, Enum):  # noqa: UP042  (as below)
    """Whose source is written."""

    torch = "torch"
    keras = "keras"


class Layout(str, Enum):  # noqa: UP042  (older typers take no StrEnum)
    """Whose layout the converted network's inputs and outputs have."""

    as_source = "as_source"
    native = "native"


@app.callback(invoke_without_command=True)
def every_command(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        typer.echo(f"leaky-interop {li.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit(2)


@app.command()
def convert(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help=MODEL)],
    target: Annotated[str, typer.Argument(metavar="DST", help="What to write: .onnx, .keras, .pt2, .py (source) or .m.")],
    input_shape: InputShape = [],  # noqa: B006  (typer reads it)
    io: Annotated[Layout, typer.Option(help="Inputs and outputs as the source has them, or as the target does.")] = (
        Layout.as_source
    ),
    framework: Annotated[Framework | None, typer.Option(help="Whose source a .py file is; torch by default.")] = None,
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="PyTorch in torch.channels_last memory format; the same arrays go in.")
    ] = False,
    opset: Annotated[
        int | None, typer.Option(help="ONNX operator set to write, from 13; by default onnxruntime's newest.")
    ] = None,
    external_data: Annotated[
        bool | None,
        typer.Option("--external-data/--no-external-data", help="ONNX weights in a file beside it; by default above 1.5 GiB."),
    ] = None,
    fold_batch_norm: Annotated[
        bool, typer.Option("--fold-batch-norm", help="For deployment: batch norms go into the layers beside them.")
    ] = False,
    float16: Annotated[
        Float16 | None, typer.Option(help="Numbers in float16: inside, or everywhere, inputs and outputs included.")
    ] = None,
    rename: Annotated[
        list[str], typer.Option(metavar="OLD=NEW", help="Another name for an input or output. Repeatable.")
    ] = [],  # noqa: B006
    static_batch: Annotated[
        bool | None,
        typer.Option("--static-batch/--dynamic-batch", help="Fix the batch, or open it; as in the source by default."),
    ] = None,
    weights: Weights = None,
    fast_math: FastMath = False,
    inputs: Names = [],  # noqa: B006
    outputs: Names = [],  # noqa: B006
    no_verify: Annotated[bool, typer.Option("--no-verify", help="Write without comparing any numbers.")] = False,
    verify_inputs: VerifyInputs = None,
    atol: Tolerance = [],  # noqa: B006
    rtol: Tolerance = [],  # noqa: B006
    report: Reports = [],  # noqa: B006
    reproducer: Reproducer = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="State in the .onnx how pictures become numbers: imagenet, keras:FAMILY, darknet, gan, or a .toml file.",
        ),
    ] = None,
    with_preprocessing: Annotated[
        bool, typer.Option("--with-preprocessing", help="And do it in the graph, so that bytes of pictures go in.")
    ] = False,
    allow_root: AllowRoot = None,
    trust: Trust = False,
    signature: Signature = None,
    batch: IsBatch = False,
    to: To = None,
    jobs: Jobs = 1,
    continue_on_error: ContinueOnError = False,
    sandbox: Sandbox = None,
    memory_limit: MemoryLimit = None,
    time_limit: TimeLimit = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Convert a network, verify it node by node, and write it only if the numbers agree; with --batch, many of them."""
    console.set_verbosity(quiet, verbose)
    if batch:
        convert_batch(context)
    check_alone(context)
    confined(context, sandbox, memory_limit, time_limit, [source, weights], [target, *report])
    path = parsing.target_path(source, target)
    source = parsing.source(source)
    reports = parsing.report_paths(report)
    options = _shared(input_shape, weights, verify_inputs, atol, rtol, reproducer, allow_root, trust, signature)
    embedded = parsing.preprocessing(preprocess, with_preprocessing, path, external_data)
    try:
        with console.Stages() as stages, listening(stages), embedded as written:
            made = li.convert(
                source,
                written,
                io.value,
                static_batch=static_batch is True,
                dynamic_batch=static_batch is False,
                fast_math=fast_math,
                framework=framework.value if framework else None,
                channels_last=channels_last,
                opset=opset,
                external_data=external_data,
                fold_batch_norm=fold_batch_norm,
                float16=float16.value if float16 else None,
                rename=parsing.renames(rename),
                verify=not no_verify,
                cut_inputs=inputs,
                cut_outputs=outputs,
                **options,
            )
    except Mismatch as error:
        console.show_report(error.report, reproducer)
        console.write_reports(error.report, reports)
        raise
    if not no_verify:
        console.show_report(made)
    console.write_reports(made, reports)
    console.say(f"{path} written{', not verified' if no_verify else ''}")


@app.command()
def verify(
    context: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help=MODEL)],
    b: Annotated[str, typer.Argument(metavar="B", help="The model that ought to compute the same.")],
    input_shape: InputShape = [],  # noqa: B006
    weights: Weights = None,
    fast_math: FastMath = False,
    gradients: Annotated[
        bool, typer.Option("--gradients", help="Also compare gradients, and the weights after ten steps of training.")
    ] = False,
    verify_inputs: VerifyInputs = None,
    atol: Tolerance = [],  # noqa: B006
    rtol: Tolerance = [],  # noqa: B006
    report: Reports = [],  # noqa: B006
    reproducer: Reproducer = None,
    allow_root: AllowRoot = None,
    trust: Trust = False,
    signature: Signature = None,
    sandbox: Sandbox = None,
    memory_limit: MemoryLimit = None,
    time_limit: TimeLimit = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Compare two models, node by node and end to end."""
    console.set_verbosity(quiet, verbose)
    confined(context, sandbox, memory_limit, time_limit, [a, b, weights], report)
    reports = parsing.report_paths(report)
    options = _shared(input_shape, weights, verify_inputs, atol, rtol, reproducer, allow_root, trust, signature)
    with console.Stages() as stages, listening(stages):
        found = li.verify(parsing.source(a), parsing.source(b), fast_math=fast_math, gradients=gradients, **options)
    console.show_report(found, reproducer)
    console.write_reports(found, reports)
    if not found.passed:
        raise Mismatch(found)


@app.command()
def inspect(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    input_shape: InputShape = [],  # noqa: B006
    weights: Weights = None,
    fast_math: FastMath = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    allow_root: AllowRoot = None,
    trust: Trust = False,
    signature: Signature = None,
    sandbox: Sandbox = None,
    memory_limit: MemoryLimit = None,
    time_limit: TimeLimit = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Say what a network takes, gives and is made of, and where each of its slopes comes from."""
    console.set_verbosity(quiet, verbose)
    confined(context, sandbox, memory_limit, time_limit, [model, weights])
    with console.Stages() as stages, listening(stages):
        stage("read")
        shapes = parsing.input_shapes(input_shape)
        found = li.inspect(
            parsing.source(model),
            input_shapes=shapes,
            weights=weights,
            fast_math=fast_math,
            allow_root=allow_root,
            trust=trust,
            signature=signature,
        )
    console.say(found.to_json() if json else str(found))


@app.command()
def record(
    source: Annotated[str, typer.Argument(metavar="SRC", help="package.module:factory, or file.py:factory.")],
    target: Annotated[str, typer.Argument(metavar="DST.chainer", help="The recording to write.")],
    input: Annotated[
        list[Path], typer.Option(metavar="FILE", help="The example: a .npz, or .npy in order. Repeatable.")
    ] = [],  # noqa: B006
    input_shape: Annotated[
        list[str], typer.Option(metavar="2,3,32,32", help="Instead of an example: the shape of an input. Repeatable.")
    ] = [],  # noqa: B006
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE.npz", help="Weights of chainer.serializers.save_npz.")
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Run a Chainer network where Chainer is, and record it: a model for the other commands."""
    console.set_verbosity(quiet, verbose)
    with console.Stages() as stages, listening(stages):
        stage("run")
        shapes = parsing.input_shapes(input_shape)
        li.record(source, target, parsing.arrays(input) if input else None, shapes, weights=weights)
    console.say(f"{target} written")


@app.command()
def support(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of the README.")] = False,
) -> None:
    """List the operators, and what each framework calls them."""
    found = li.support()
    if markdown:
        console.say(found.to_markdown())
    else:
        console.table("", found.head, found.cells())


app.command()(run.run)
app.command()(slopes.slopes)
app.command()(plot.plot)
app.command()(conformance.conformance)
app.command()(bench.bench)
app.command()(triton.triton)
app.command()(web.web)


def _shared(
    input_shape: list[str],
    weights: Path | None,
    verify_inputs: Path | None,
    atol: list[str],
    rtol: list[str],
    reproducer: Path | None,
    allow_root: Path | None,
    trust: bool,
    signature: str | None,
) -> dict[str, Any]:
    """The arguments that `convert` and `verify` have in common."""
    arrays = None if verify_inputs is None else parsing.arrays([verify_inputs])
    return {
        "input_shapes": parsing.input_shapes(input_shape),
        "weights": weights,
        "inputs": arrays,
        "example": tuple(arrays) if isinstance(arrays, list) else arrays,
        "atol": parsing.tolerance("--atol", atol),
        "rtol": parsing.tolerance("--rtol", rtol),
        "reproducer": reproducer,
        "allow_root": allow_root,
        "trust": trust,
        "signature": signature,
    }
