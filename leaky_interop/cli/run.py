"""`leaky-interop run`: a network over files, folders, tables or standard input; rows, pictures or a table come out."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import Usage
from ..stages import listening, stage
from . import console, parsing
from .confined import Sandbox, TimeLimit, confined
from .options import AllowRoot, InputShape, Quiet, Signature, Trust, Verbose, Weights

if TYPE_CHECKING:
    from ..inference import Job, Session
    from ..inference.pipeline import Summary

SHOWN = 20  # rows of a table on the screen
NAMED = 10  # bad inputs that are named one by one

MODEL = (
    "A .onnx, .keras, .h5, .pt2, .chainer or .m file, a SavedModel's folder, or package.module:factory. "
    "What is no ONNX is converted, and kept."
)
INPUT = "Pictures, .wav, .npy, .npz, .csv, .parquet; a folder or glob of pictures; - for standard input."
PREPROCESS = (
    "imagenet, keras:mobilenet_v2 (or another family), darknet, gan, or a .toml file; else what the model says."
)
OUTPUT = "Write rows to .jsonl, .csv, .parquet or .npz; pictures to a folder/ or a grid .png."


class Engine(str, Enum):  # noqa: UP042  (older typers take no StrEnum)
    """What runs a job."""

    direct = "direct"
    ray = "ray"


def run(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)],
    inputs: Annotated[list[str] | None, typer.Argument(metavar="[INPUT]...", help=INPUT)] = None,
    input: Annotated[
        list[Path],
        typer.Option(
            metavar="FILE",
            help="Instead: whole arrays of the model's inputs, a .npz by name or .npy in order, run in its own framework.",
        ),
    ] = [],  # noqa: B006
    preprocess: Annotated[str | None, typer.Option(metavar="NAME|FILE", help=PREPROCESS)] = None,
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="The classes' labels, one a line.")] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", metavar="K", help="Name the K best classes.")] = None,
    softmax: Annotated[
        bool | None,
        typer.Option("--softmax/--no-softmax", help="Scores are logits: make probabilities of them, or never."),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(metavar="SCORE", help="Leave classes of a lower score out.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="The columns of a table that go in; else all.")
    ] = None,
    output: Annotated[str | None, typer.Option("--output", "-o", metavar="FILE", help=OUTPUT)] = None,
    output_range: Annotated[
        str | None, typer.Option(metavar="-1..1|0..1|0..255", help="From where to where the network's pictures go.")
    ] = None,
    batch: Annotated[
        str | None, typer.Option(metavar="N|auto", help="Rows that run at once; auto finds the fastest. 8 by default.")
    ] = None,
    memory_limit: Annotated[str | None, typer.Option(metavar="2GB", help="The most memory, for --batch auto.")] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="Threads of one operator; all cores by default.")
    ] = None,
    provider: Annotated[
        list[str], typer.Option(metavar="NAME", help="An onnxruntime provider, the best first. Repeatable.")
    ] = [],  # noqa: B006
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where an interrupted run ended: skip what the output has.")
    ] = False,
    engine: Annotated[Engine, typer.Option(help="Run here, or as a job of Ray.")] = Engine.direct,
    ray_address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT|auto", help="A running Ray cluster; one on this machine by default.")
    ] = None,
    actors: Annotated[
        int | None, typer.Option(metavar="N", help="Sessions on Ray; one a processor by default.")
    ] = None,
    input_shape: InputShape = [],  # noqa: B006
    weights: Weights = None,
    allow_root: AllowRoot = None,
    trust: Trust = False,
    signature: Signature = None,
    sandbox: Sandbox = None,
    time_limit: TimeLimit = None,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> None:
    """Run a network over inputs by onnxruntime and print or write what comes out."""
    console.set_verbosity(quiet, verbose)
    if engine is Engine.ray:  # a worker has no network, which Ray is made of
        if sandbox or time_limit is not None:
            raise Usage("--engine ray does not run in a sandbox", why="a worker has no network", hint="Convert the model first")
        sandbox = False
    confined(context, sandbox, None, time_limit, [model, weights], [output])
    if bool(input) == bool(inputs):
        raise Usage(
            "there is nothing to run the network on" if not input else "inputs are given in two ways",
            hint="Name INPUT, or --input FILE",
        )
    if input:
        opening = {"weights": weights, "allow_root": allow_root, "trust": trust, "signature": signature}
        _whole_arrays(model, input, output, opening)
        return
    from ..inference import Job, Postprocessing
    from ..inference import labels as labels_of
    from ..inference.recipes import recipe

    job = Job(
        model=parsing.source(model),
        preprocessing=None if preprocess is None else recipe(preprocess),
        postprocessing=Postprocessing(
            labels=None if labels is None else labels_of(labels), top_k=top_k, softmax=softmax, threshold=threshold
        ),
        columns=None if columns is None else tuple(name.strip() for name in columns.split(",")),
        providers=tuple(provider) or None,
        threads=threads,
        input_shapes=parsing.input_shapes(input_shape),
        weights=None if weights is None else str(weights),
        allow_root=None if allow_root is None else str(allow_root),
        trust=trust,
        signature=signature,
    )
    rows = _batch(batch, memory_limit)
    if engine is not Engine.ray and (ray_address or actors):
        raise Usage("--ray-address or --actors is given without --engine ray")
    if actors is not None and actors < 1:
        raise Usage(f"--actors {actors}", why="a job has one session or more")
    if resume and output is None:
        raise Usage("--resume is given without --output", hint="Name the output of the run that was interrupted")
    with contextlib.ExitStack() as stack:
        from ..files.source import private_folder
        from ..inference.sources import STDIN, sources

        folder = stack.enter_context(private_folder()) if STDIN in (inputs or ()) else Path()
        found = sources(inputs or (), folder, sys.stdin.buffer)
        with console.Stages() as stages, listening(stages):
            stage("load")
            if engine is Engine.ray:
                from ..inference.on_ray import as_file

                job = as_file(job, stack.enter_context(private_folder()))
            session = stack.enter_context(job.open())
        cluster = {"address": ray_address, "actors": actors} if engine is Engine.ray else None
        _run(job, session, found, output, output_range, rows, memory_limit, resume, cluster)


def _run(
    job: Job, session: Session, found: list[Any], output: str | None, output_range: str | None,
    rows: int | None, memory_limit: str | None, resume: bool, cluster: dict[str, Any] | None,
) -> None:  # fmt: skip
    from ..inference import pipeline
    from ..inference.sources import count, records

    every = records(found, job, session)
    if rows is None:
        rows, every = _fastest(job, session, every, memory_limit)
    with _writer(job, session, output, output_range, resume) as writer, Progress(count(found)) as progress:
        told: dict[str, Any] = {"batch": rows, "bad": Bad(progress), "progress": progress}
        if cluster is None:
            summary = pipeline.run_job(job, session, every, writer, **told)
        else:
            from ..inference import on_ray

            summary = on_ray.run_job(job, session, found, writer, **cluster, **told)
    if output is None:
        _table(job, session, writer)
    _end(summary, output)


def _fastest(job: Job, session: Session, every: Iterator[Any], memory_limit: str | None) -> tuple[int, Iterator[Any]]:
    """The batch size that the first record that can be read is fastest in; and all records, that one included."""
    import itertools

    from ..errors import LeakyInteropError, RuntimeFailure
    from ..inference import batching, pipeline
    from ..inference.session import WrongJob

    seen = []
    for record in every:
        seen.append(record)
        try:
            sample = job.arrays(session, record)
        except (RuntimeFailure, WrongJob):
            raise
        except LeakyInteropError:
            continue  # the run itself reports it
        limit = None if memory_limit is None else batching.memory_size(memory_limit)
        return batching.fastest_batch(session, sample, limit), itertools.chain(seen, every)
    return pipeline.DEFAULT_BATCH, iter(seen)


def _batch(text: str | None, memory_limit: str | None) -> int | None:
    """The batch size; None for auto."""
    from ..inference.batching import memory_size
    from ..inference.pipeline import DEFAULT_BATCH

    if memory_limit is not None:
        memory_size(memory_limit)
        if text != "auto":
            raise Usage("--memory-limit is given without --batch auto")
    if text in (None, "auto"):
        return DEFAULT_BATCH if text is None else None
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 1 << 20):
        raise Usage(f"--batch {text!r} is not understood", hint="Write a number, or auto")
    return int(text)


@contextlib.contextmanager
def _writer(job: Job, session: Session, output: str | None, output_range: str | None, resume: bool) -> Iterator[Any]:
    from ..inference import pictures, writers

    if output is None:
        yield writers.Rows(SHOWN)
        return
    path = Path(output)
    folder = pictures.is_folder(path, output)
    if folder or path.suffix.lower() == ".png":
        if job.postprocessing.classes:
            raise Usage("classes are asked for, and pictures", hint="Leave --top-k and the like out, or write .jsonl")
        stated = None if output_range is None else pictures.of_range(output_range)
        with pictures.pictures(path, session, stated, folder=folder, resume=resume) as made:
            yield made
        return
    if output_range is not None:
        raise Usage("--output-range is given without pictures to write", hint="Name a folder/ or a .png as --output")
    with writers.writer(path, job.column_names(session), resume=resume) as made:
        yield made


def _table(job: Job, session: Session, kept: Any) -> None:
    """Rows of classes one by one; plain outputs one by one where they are short, otherwise as a summary."""
    from ..inference.writers import flattened

    if not kept.rows:
        return
    scores = job.postprocessing
    flat = [_classes(row) for row in kept.rows] if scores.classes else [flattened(row) for row in kept.rows]
    if max(map(len, flat)) > 1 + console.FIRST:
        for row in kept.rows:
            if len(kept.rows) > 1:
                console.say(row.pop("input"))
            console.show_arrays({name: value for name, value in _as_arrays(row).items()}, None)
        return
    if console.verbosity >= 0:
        head = list(dict.fromkeys(name for row in flat for name in row))
        console.table("", head, [[_cell(row.get(name)) for name in head] for row in flat])
    if kept.count > len(kept.rows):
        console.say(f"... and {kept.count - len(kept.rows):,} rows more; --output FILE keeps all")
    if (
        scores.classes
        and scores.softmax is None
        and session.last_operators[0] not in ("Softmax", "Sigmoid", "LogSoftmax")
    ):
        console.say("Scores are as the network gives them; if they are logits, --softmax makes probabilities of them")


def _classes(row: dict[str, Any]) -> dict[str, Any]:
    """A row with one cell for each class: its label, or number, and its score."""
    places = [name.partition("_")[2] for name in row if name.startswith("class_")]
    cells = {p: (row.get(f"label_{p}", row[f"class_{p}"]), row[f"score_{p}"]) for p in places}
    return {"input": row["input"]} | {
        p: None if score is None else f"{name} {score:.4g}" for p, (name, score) in cells.items()
    }


def _as_arrays(row: dict[str, Any]) -> dict[str, Any]:
    import numpy as np

    return {name: np.asarray(value) for name, value in row.items() if name != "input"}


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _end(summary: Summary, output: str | None) -> None:
    if summary.bad:
        every = summary.bad + summary.rows + summary.skipped
        print(f"{summary.bad} of {every} inputs could not be read and are left out", file=sys.stderr)
    earlier = f", {summary.skipped:,} were there already" if summary.skipped else ""
    if output is not None:
        console.say(f"{summary.rows:,} {'row' if summary.rows == 1 else 'rows'} written to {output}{earlier}")
    if console.verbosity >= 1 and summary.seconds:
        rate = summary.rows / summary.seconds
        console.say(f"{summary.seconds:.2f} s, {rate:,.1f} rows a second in batches of {summary.batch}")


class Progress:
    """A bar with rate and remaining time on a terminal's stderr; elsewhere nothing."""

    def __init__(self, total: int | None) -> None:
        self.total, self.shown, self.began = total, None, time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __call__(self, done: int) -> None:
        if self.shown is None:
            slow = time.monotonic() - self.began > console.PATIENCE
            if not slow or console.verbosity < 0 or not sys.stderr.isatty():
                return
            self._start()
        rate = done / max(time.monotonic() - self.began, 1e-9)
        self.shown.update(self.task, completed=done, rate=f"{rate:,.1f}/s")  # type: ignore[attr-defined]

    def _start(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
        self.shown: Any = Bar(*columns, console=Console(stderr=True), transient=True)
        self.shown.start()
        self.task = self.shown.add_task("run", total=self.total, rate="")

    def say(self, text: str) -> None:
        """A line on stderr, above the bar where there is one."""
        if self.shown is not None:
            self.shown.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr)

    def __exit__(self, *_: object) -> None:
        if self.shown is not None:
            self.shown.stop()


class Bad:
    """Names the first inputs that cannot be read."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.count = progress, 0

    def __call__(self, name: str, why: str) -> None:
        from ..report.phrases import printable

        self.count += 1
        if self.count <= NAMED:
            self.progress.say(printable(why if why.startswith(name) else f"{name}: {why}"))
        elif self.count == NAMED + 1:
            self.progress.say("More inputs cannot be read; they are counted at the end")


def _whole_arrays(model: str, paths: list[Path], output: str | None, opening: dict[str, Any]) -> None:
    """The arrays of all inputs, as they are, in the model's own framework."""
    import leaky_interop as li

    from ..loading import open_model
    from ..running import output_names_of

    if output is not None and Path(output).suffix != ".npz":
        raise Usage(f"--output {output} is not understood", hint="Its name ends in .npz")
    arrays = parsing.arrays(paths)
    with console.Stages() as stages, listening(stages):
        stage("load")
        native = open_model(parsing.source(model), **opening)
        stage("run")
        outputs = li.run(native, arrays)
    named = dict(zip(output_names_of(native, len(outputs)), outputs, strict=True))
    console.show_arrays(named, None if output is None else Path(output))
