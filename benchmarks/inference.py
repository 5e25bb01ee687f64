"""`python -m benchmarks.inference`: a folder of pictures, against loops that a user would write by hand; the first result; memory.

Everything is made by code: pictures of 500 x 375 pixels as JPEG, and a network of 10 MB. The three engines take turns,
some hundred pictures at a time, so that whatever else the machine does slows all of them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from benchmarks import measuring
from leaky_interop.inference import Job, Postprocessing, pipeline, recipe, sources
from leaky_interop.inference.writers import writer
from leaky_interop.speed.memory import resident

HERE = Path(__file__).parent
BATCH = 8
SIZE = (500, 375)
CHANNELS = (3, 24, 48, 96, 192, 384, 384)
CLASSES = 1000
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def network(path: Path) -> None:
    """A plain CNN of 2.6 million weights over [batch, 3, 224, 224], with LeakyReLU."""
    rng = np.random.default_rng(0)
    nodes, weights, last = [], [], "x"
    for index, (before, after) in enumerate(itertools.pairwise(CHANNELS)):
        kernel = rng.standard_normal((after, before, 3, 3)).astype(np.float32) / np.float32(3 * before**0.5)
        weights.append(numpy_helper.from_array(kernel, f"k{index}"))
        strides = [2, 2] if index < 5 else [1, 1]
        nodes.append(helper.make_node("Conv", [last, f"k{index}"], [f"c{index}"], pads=[1] * 4, strides=strides))
        nodes.append(helper.make_node("LeakyRelu", [f"c{index}"], [f"r{index}"], alpha=0.1))
        last = f"r{index}"
    weights.append(numpy_helper.from_array(rng.standard_normal((CHANNELS[-1], CLASSES)).astype(np.float32) / 20, "w"))
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["p"]))
    nodes.append(helper.make_node("Flatten", ["p"], ["f"]))
    nodes.append(helper.make_node("MatMul", ["f", "w"], ["y"]))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 224, 224])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", CLASSES])
    graph = helper.make_graph(nodes, "cnn", [x], [y], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)


def pictures(folder: Path, count: int) -> list[str]:
    """JPEGs that compress as photographs do."""
    rng = np.random.default_rng(1)
    base = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize(
        (2 * SIZE[0], 2 * SIZE[1]), Image.Resampling.BICUBIC
    )
    noise = rng.normal(0, 6, (2 * SIZE[1], 2 * SIZE[0], 1))
    whole = Image.fromarray(np.clip(np.asarray(base) + noise, 0, 255).astype(np.uint8))
    paths = []
    for index in range(count):
        left, top = (int(v) for v in rng.integers(0, SIZE))
        paths.append(str(folder / f"{index:05}.jpg"))
        whole.crop((left, top, left + SIZE[0], top + SIZE[1])).save(paths[-1], quality=90)
    return paths


# --- what a user would write ------------------------------------------------------------------------------------------


def prepare(path: str) -> np.ndarray:
    """The recipe `imagenet`, by hand."""
    with Image.open(path) as image:
        image = image.convert("RGB")
    short, long = sorted(image.size)
    longer = int(256 * long / short)
    image = image.resize((256, longer) if image.width <= image.height else (longer, 256), Image.Resampling.BILINEAR)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32)
    return ((pixels / 255 - MEAN) / STD).transpose(2, 0, 1)


def by_hand(session: Any, paths: Sequence[str], target: Path, prepared: Callable[..., Any]) -> None:
    """The loop: `prepared` is `map`, or a thread pool's."""
    with target.open("w", encoding="utf-8") as out:
        for start in range(0, len(paths), BATCH):
            names = paths[start : start + BATCH]
            (scores,) = session.run(None, {"x": np.stack(list(prepared(prepare, names)))})
            for name, row in zip(names, scores, strict=True):
                best = np.argsort(-row)[:5]
                out.write(json.dumps({"input": name, "classes": best.tolist(), "scores": row[best].tolist()}) + "\n")


def ours(job: Job, session: Any, paths: Sequence[str], target: Path) -> None:
    """`leaky-interop run` without its start."""
    found = sources.sources(paths, target.parent, sys.stdin.buffer)
    with writer(target, job.column_names(session)) as rows:
        pipeline.run_job(job, session, sources.records(found, job, session), rows, batch=BATCH)


# --- measurements -----------------------------------------------------------------------------------------------------


def throughput(model: Path, paths: list[str], folder: Path, rounds: int) -> dict[str, float]:
    """Pictures a second of each engine, over all pictures, in turns; and that they name the same classes."""
    job = Job(model=str(model), preprocessing=recipe("imagenet"), postprocessing=Postprocessing(top_k=5))
    plain = onnxruntime.InferenceSession(model.read_bytes())
    with job.open() as session, ThreadPoolExecutor(pipeline.cores()) as pool:
        engines: dict[str, Callable[[list[str]], None]] = {
            "leaky-interop run": lambda part: ours(job, session, part, folder / "ours.jsonl"),
            "loop by hand": lambda part: by_hand(plain, part, folder / "loop.jsonl", map),
            "loop by hand, decoding in threads": lambda part: by_hand(plain, part, folder / "pool.jsonl", pool.map),
        }
        spent = dict.fromkeys(engines, 0.0)
        for engine in engines.values():
            engine(paths[: 2 * BATCH])
        _agree(folder)
        step = -(-len(paths) // rounds)
        for turn, start in enumerate(range(0, len(paths), step)):
            names = list(engines)
            for name in names[turn % 3 :] + names[: turn % 3]:
                spent[name] += measuring.seconds(lambda: engines[name](paths[start : start + step]))[0]  # noqa: B023
    return {name: len(paths) / seconds for name, seconds in spent.items()}


def _agree(folder: Path) -> None:
    own = [json.loads(line) for line in (folder / "ours.jsonl").read_text().splitlines()]
    hand = [json.loads(line) for line in (folder / "loop.jsonl").read_text().splitlines()]
    for one, other in zip(own, hand, strict=True):
        assert [one[f"class_{n}"] for n in range(1, 6)] == other["classes"], one["input"]
        np.testing.assert_allclose([one[f"score_{n}"] for n in range(1, 6)], other["scores"], rtol=1e-4)


def memory(model: Path, paths: list[str], folder: Path) -> list[int]:
    """MiB that the process holds after each tenth of the run."""
    job = Job(model=str(model), preprocessing=recipe("imagenet"), postprocessing=Postprocessing(top_k=5))
    held: list[int] = []

    def look(done: int) -> None:
        if done * 10 // len(paths) > len(held):
            held.append(resident() >> 20)

    found = sources.sources(paths, folder, sys.stdin.buffer)
    with job.open() as session, writer(folder / "memory.jsonl", job.column_names(session)) as rows:
        pipeline.run_job(job, session, sources.records(found, job, session), rows, batch=BATCH, progress=look)
    return held


BY_HAND = """
import sys, numpy as np, onnxruntime
from PIL import Image
image = Image.open(sys.argv[2]).convert("RGB").resize((224, 224))
x = (np.asarray(image, np.float32) / 255).transpose(2, 0, 1)[None]
y = onnxruntime.InferenceSession(sys.argv[1]).run(None, {"x": x})[0][0]
print(np.argsort(-y)[:5])
"""


def first_result(model: Path, path: str, runs: int) -> dict[str, dict[str, float]]:
    """Seconds from the shell to one picture's classes, beside the shortest script that does it; in turns.

    The median and the best, and the median of the processor's seconds, which other work on the machine does not lengthen.
    """
    command = [
        sys.executable,
        "-m",
        "leaky_interop",
        "run",
        str(model),
        path,
        "--preprocess",
        "imagenet",
        "--top-k",
        "5",
    ]
    calls = {"leaky-interop run": command, "script by hand": [sys.executable, "-c", BY_HAND, str(model), path]}
    times: dict[str, list[float]] = {name: [] for name in calls}
    busy: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(runs + 1):
        for name, arguments in calls.items():
            start, before = time.perf_counter(), _children()
            subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True, cwd=HERE.parent)
            if turn:  # the first writes the bytecode
                times[name].append(time.perf_counter() - start)
                busy[name].append(_children() - before)
    return {
        name: {"median": statistics.median(t), "best": min(t), "processor": statistics.median(busy[name])}
        for name, t in times.items()
    }


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def markdown(found: dict[str, Any]) -> str:
    """What the README quotes."""
    rates, first, held = found["throughput"], found["first result"], found["memory"]
    best = max(rates["loop by hand"], rates["loop by hand, decoding in threads"])
    lines = [f"{found['pictures']:,} pictures of {SIZE[0]} x {SIZE[1]}, batches of {BATCH}, {found['machine']}", ""]
    lines += ["| engine | pictures a second | time, of the plain loop's |", "| --- | --- | --- |"]
    lines += [f"| {name} | {rate:.1f} | {rates['loop by hand'] / rate:.2f} |" for name, rate in rates.items()]
    lines += ["", f"Against the faster of the two loops: {best / rates['leaky-interop run']:.2f} of its time.", ""]
    lines += ["| first result from the shell | median s | best s | processor s |", "| --- | --- | --- | --- |"]
    lines += [f"| {name} | {t['median']:.2f} | {t['best']:.2f} | {t['processor']:.2f} |" for name, t in first.items()]
    lines += ["", f"Other work on the machine while this ran: a load of {found['load']:.1f}.", ""]
    lines += [f"Memory after each tenth of the run, MiB: {', '.join(map(str, held))}.", ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=20, help="turns that each engine has")
    parser.add_argument("--runs", type=int, default=9, help="starts from the shell")
    parser.add_argument("--write", action="store_true", help="write inference.json and inference.md beside this file")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network(model := folder / "cnn.onnx")
        paths = pictures(folder, chosen.pictures)
        found = {
            "pictures": len(paths),
            "machine": f"{pipeline.cores()} cores, {platform.machine()}, Python {platform.python_version()}",
            "load": os.getloadavg()[0],
            "versions": measuring.versions(("numpy", "onnxruntime", "pillow")),
            "network": f"{model.stat().st_size / 1e6:.1f} MB",
            "first result": first_result(model, paths[0], chosen.runs),
            "throughput": throughput(model, paths, folder, chosen.rounds),
            "memory": memory(model, paths, folder),
        }
    print(markdown(found))
    if chosen.write:
        (HERE / "inference.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
        (HERE / "inference.md").write_text(f"# Inference\n\n{markdown(found)}", encoding="utf-8")


if __name__ == "__main__":
    main()
