"""The engine for more than one machine: the same job through Ray Data, the same rows in the same order.

The records are cut into units, each a multiple of the batch size, so that every batch holds what it would hold in the
direct engine. Actors hold a session each and run the direct engine over one unit at a time; `map_batches` brings units to
them and results back in order. What an actor or its machine had in hand when it died, another one is given again.

Files go by their path, which every machine must see; Parquet files go as ranges of rows. Rows of other tables and arrays
go by value. The network goes by value, converted once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import pickle
import socket
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import files, ort
from ..errors import LeakyInteropError, RuntimeFailure, Usage, require
from ..files.source import private_folder
from .job import Job, Record
from .pipeline import DEFAULT_BATCH, Bad, Summary, cores, run_records
from .session import Session, as_onnx
from .sources import Source, records
from .writers import Row, Writer

STORE = 512 << 20  # bytes that a local Ray keeps objects in
MOST_BATCHES = 64  # in one unit
PATIENCE = 10.0  # seconds for a cluster to answer
RETRIES = 5  # of one unit, whose process died; one that kills every process ends the run
UNITS = 8  # for each actor at least, where the rows suffice: what is lost with one is small, and all end together


class Rows(NamedTuple):
    """Some rows of a Parquet file, from `start` up to `stop`."""

    path: Path
    name: str
    start: int
    stop: int


Part = Record | Rows


@dataclasses.dataclass
class Kept:
    """Takes the rows of a unit."""

    rows: list[Row] = dataclasses.field(default_factory=list)
    done: frozenset[str] = frozenset()

    def write(self, rows: Sequence[Row]) -> None:
        self.rows += rows


class Actor:
    """A session in a process of its own; `map_batches` calls it with one unit and takes what became of it."""

    def __init__(self, job: Job, model: Any, batch: int) -> None:
        import ray

        with private_folder() as folder:
            path = folder / "model.onnx"
            path.write_bytes(ray.get(model))
            self.job = dataclasses.replace(job, model=str(path))
            self.session = self.job.open()
        self.batch = batch

    def __call__(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"result": [pickle.dumps(self.run(pickle.loads(unit))) for unit in given["unit"]]}

    def run(self, unit: Sequence[Part]) -> Any:
        """Rows, and the records that cannot be read; or the error that ends the whole run."""
        kept, bad = Kept(), []
        try:
            run_records(
                self.job, self.session, parts_of(unit, self.job), kept,
                batch=self.batch, workers=self.job.threads, bad=lambda name, why: bad.append((name, why)),
            )  # fmt: skip
        except LeakyInteropError as error:
            return error
        return kept.rows, bad


def run_job(
    job: Job,
    session: Session,
    found: Sequence[Source],
    writer: Writer,
    *,
    batch: int = DEFAULT_BATCH,
    address: str | None = None,
    actors: int | None = None,
    bad: Bad = lambda name, why: None,
    progress: Callable[[int], None] = lambda done: None,
) -> Summary:
    """Run the job over files on Ray and write its rows, as `pipeline.run_job` does.

    Parameters
    ----------
    job : with its network as an ONNX file, as `as_file` makes it
    address : of a running cluster; without one, a Ray on this machine for as long as the run takes
    actors : how many sessions; by default as many as the processors suffice for, one of them for each of the job's threads

    Raises what `pipeline.run_job` raises, and RuntimeFailure where Ray fails.
    """
    ray = require("ray", "ray")
    batch = session.batch or batch
    summary = Summary(batch=batch)
    start = time.perf_counter()
    job = dataclasses.replace(job, threads=job.threads or 1)
    with _cluster(ray, address):
        actors = actors or max(1, int(ray.cluster_resources().get("CPU", 1)) // job.threads)
        units, summary.skipped = cut(found, job, session, writer, batch, actors)
        for rows, unread in _results(ray, job, units, batch, actors):
            for name, why in unread:
                summary.unread(why)
                bad(name, why)
            writer.write(rows)
            summary.rows += len(rows)
            progress(summary.rows + summary.bad + summary.skipped)
    summary.seconds = time.perf_counter() - start
    summary.check()
    return summary


def as_file(job: Job, folder: Path) -> Job:
    """The job with its network as an ONNX file in `folder`, converted where it is another: what the actors are given."""
    path = folder / "model.onnx"
    options = {"input_shapes": job.input_shapes, "example": None, "weights": job.weights, "signature": job.signature}
    model = as_onnx(job.model, options, job.allow_root, job.trust)
    try:
        path.write_bytes(ort.as_proto(model).SerializeToString())
    except ValueError as error:
        why = "its weights do not fit into one message"
        raise Usage("the network is too large to be sent to others", why=why, hint="Use --engine direct") from error
    return dataclasses.replace(job, model=str(path), input_shapes=None, weights=None, allow_root=None, signature=None)


def cut(
    found: Sequence[Source], job: Job, session: Session, writer: Writer, batch: int, actors: int
) -> tuple[list[list[Part]], int]:
    """The units in order, and how many records are left out because an earlier run has written them."""
    parts, skipped = [], 0
    for part in _parts(found, job, session):
        if not writer.done:
            parts.append(part)
        elif isinstance(part, Record):
            if part.name in writer.done:
                skipped += 1
            else:
                parts.append(part)
        else:
            for index in range(part.start, part.stop):
                if f"{part.name}[{index}]" in writer.done:
                    skipped += 1
                else:
                    parts.append(part._replace(start=index, stop=index + 1))
    total = sum(map(_count, parts))
    size = batch * max(1, min(MOST_BATCHES, math.ceil(total / (actors * UNITS * batch))))
    units: list[list[Part]] = []
    room = 0
    for part in parts:
        while (count := _count(part)) > 0:
            if room == 0:
                units.append([])
                room = size
            taken = min(room, count)
            room -= taken
            if isinstance(part, Record):
                units[-1].append(part)
                break
            units[-1].append(part._replace(stop=part.start + taken))
            part = part._replace(start=part.start + taken)
    return units, skipped


def parts_of(unit: Sequence[Part], job: Job) -> Iterator[Record]:
    """The records of a unit, read where it is run."""
    columns = None if job.columns is None else list(job.columns)
    for part in unit:
        if isinstance(part, Record):
            yield part
        else:
            rows = files.parquet_rows(part.path, columns, part.start, part.stop)
            for index, row in enumerate(rows, part.start):
                yield Record(f"{part.name}[{index}]", row)


def _parts(found: Sequence[Source], job: Job, session: Session) -> Iterator[Part]:
    for source in found:
        count = files.parquet_count(source.path) if source.kind == "parquet" else None
        if count is not None:
            yield Rows(source.path.absolute(), source.name, 0, count)
        elif source.kind == "file":
            yield Record(source.name, source.path.absolute())
        else:
            yield from records([source], job, session)


def _count(part: Part) -> int:
    return part.stop - part.start if isinstance(part, Rows) else 1


def _results(ray: Any, job: Job, units: Sequence[Any], batch: int, actors: int) -> Iterator[Any]:
    """What became of each unit, in order."""
    import logging

    import ray.data

    if not units:
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it is set when ray.data is imported
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    table = ray.data.from_items([{"unit": pickle.dumps(unit)} for unit in units], override_num_blocks=len(units))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that how retries are bounded goes away with 2.64, below which the extra stays
        made = _mapped(table, job, ray.put(Path(job.model).read_bytes()), batch, min(actors, len(units)))
    try:
        for row in made.iter_rows():
            result = pickle.loads(row["result"])
            if isinstance(result, LeakyInteropError):
                raise result
            yield result
    except ray.exceptions.RayError as error:
        cause = getattr(error, "cause", None)
        if isinstance(cause, LeakyInteropError):
            raise cause from None
        why = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
        raise RuntimeFailure("Ray could not run the job", why=why.strip()) from error


def _mapped(table: Any, job: Job, model: Any, batch: int, actors: int) -> Any:
    """Units brought to actors. One that dies is started again; how often a unit may kill one must be bounded, or it never ends."""
    from ray.data import ActorPoolStrategy

    return table.map_batches(
        Actor,
        fn_constructor_args=(job, model, batch),
        batch_size=1,
        compute=ActorPoolStrategy(size=actors),
        num_cpus=job.threads,
        ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": RETRIES},
    )


@contextlib.contextmanager
def _cluster(ray: Any, address: str | None) -> Iterator[None]:
    """Ray, running: the one that this process is already part of, the cluster at an address, or one of its own for this run."""
    if ray.is_initialized():
        yield
        return
    import logging

    if address:
        _check(address)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to anybody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what is no error of ours would stand among our own words
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    local = {"address": "local", "num_cpus": cores(), "include_dashboard": False, "object_store_memory": STORE}
    try:
        ray.init(**quiet, **({"address": address} if address else local))
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise Usage(
            f"there is no Ray at {address}" if address else "Ray does not start", why=str(error).partition("\n")[0]
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check(address: str) -> None:
    """Raises Usage where nothing listens at a cluster's address: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isascii() and port.isdigit()):
        return  # auto, which Ray looks up
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise Usage(f"there is no Ray at {address}", why=str(error)) from None
