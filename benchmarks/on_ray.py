"""`python -m benchmarks.on_ray`: 20,000 rows through the direct engine and through a local Ray, and whether they are the same.

Ray needs some seconds to start, whatever there is to do. It is measured by a job of one batch, and stated: the ratio is
given with it and without.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROWS, SIDE, BATCH = 20_000, 16, 32


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.on_ray", description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="leaky_interop_bench_") as name:
        folder = Path(name)
        model = network(folder / "net.onnx")
        whole, one = table(folder / "rows.parquet", options.rows), table(folder / "batch.parquet", BATCH)
        times: dict[str, list[float]] = {"direct": [], "ray": [], "start": []}
        for _ in range(options.runs):
            expected, seconds = run(model, whole, folder, ray=False)
            times["direct"].append(seconds)
            received, seconds = run(model, whole, folder, ray=True)
            times["ray"].append(seconds)
            times["start"].append(run(model, one, folder, ray=True)[1])
            assert expected == received, "the rows differ"
    direct, ray, start = (statistics.median(times[key]) for key in ("direct", "ray", "start"))
    print(f"{options.rows:,} rows, batches of {BATCH}, the same bytes from both")
    print(f"direct {direct:.1f} s, Ray {ray:.1f} s: {ray / direct:.2f} times")
    print(f"of which Ray's start {start:.1f} s; without it {(ray - start) / direct:.2f} times")


def network(path: Path) -> Path:
    """A small CNN over pictures of SIDE x SIDE, as ONNX."""
    import torch

    import leaky_interop as li

    torch.manual_seed(0)
    layers: list[Any] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        layers += [torch.nn.Conv2d(before, after, 3, stride=2, padding=1), torch.nn.LeakyReLU(0.2)]
    layers += [torch.nn.Flatten(), torch.nn.Linear(128 * (SIDE // 8) ** 2, 10)]
    li.convert(torch.nn.Sequential(*layers).eval(), path, input_shapes=[(None, 3, SIDE, SIDE)], verify=False)
    return path


def table(path: Path, rows: int) -> Path:
    """Rows of random numbers, one column a pixel and colour."""
    import pyarrow
    from pyarrow import parquet

    numbers = np.random.default_rng(0).standard_normal((rows, 3 * SIDE * SIDE), np.float32)
    columns = {f"p{i}": column for i, column in enumerate(numbers.T)}
    parquet.write_table(pyarrow.table(columns), path, row_group_size=1000)
    return path


def run(model: Path, rows: Path, folder: Path, *, ray: bool) -> tuple[bytes, float]:
    """The rows that a run writes, and its seconds: model, engine and file included."""
    from leaky_interop.inference import Job, on_ray, pipeline
    from leaky_interop.inference.sources import records, sources
    from leaky_interop.inference.writers import writer

    output = folder / "out.jsonl"
    start = time.perf_counter()
    job = Job(model=str(model))
    job = on_ray.as_file(job, folder) if ray else job
    found = sources([str(rows)], folder, None)  # type: ignore[arg-type]
    with job.open() as session, writer(output, job.column_names(session)) as rows_out:
        if ray:
            on_ray.run_job(job, session, found, rows_out, batch=BATCH)
        else:
            pipeline.run_job(job, session, records(found, job, session), rows_out, batch=BATCH)
    return output.read_bytes(), time.perf_counter() - start


if __name__ == "__main__":
    main()
