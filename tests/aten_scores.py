"""`python -m tests.aten_scores`: PyTorch's operators, core ATen first, through every conversion from PyTorch.

A sample passes where the converted network gives what torch itself gives, within what the operators it became may differ
by, never more than 1e-4 of it in float32, with the same element types and shapes; NaN and infinities stand in the same
places. Samples are torch's own (its OpInfo), and a few written in tests/aten_samples.py. In every second one all tensors
but the first are weights. Whatever is refused counts as failed. Writes docs/aten-scores.md and docs/aten-functions.md.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import platform
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from tests import scoring

ROUTES = {
    "graph": "torch",
    "onnx": "torch",
    "torch": "torch",
    "keras (torch)": "torch",
    "keras (tensorflow)": "tensorflow",
}
TITLES = {
    "graph": "numpy", "onnx": "ONNX", "torch": "PyTorch", "keras (torch)": "Keras (PyTorch)", "keras (tensorflow)": "Keras (TensorFlow)",
}  # fmt: skip
PROCESSES = {backend: [route for route, b in ROUTES.items() if b == backend] for backend in ("torch", "tensorflow")}
PAGES = {  # by group of samples: the file, and what it is called
    "core": ("aten-scores.md", "Core ATen with a deterministic result"),
    "function": ("aten-functions.md", "PyTorch's functions as a user calls them"),
}
RELATIVE = {"float32": 1e-4, "float64": 1e-7, "float16": 2e-2, "bfloat16": 1e-1}  # the most that is allowed
FLOOR = 0.02  # of it, at the largest number


def loaded(sample: Any) -> tuple[Any, list[np.ndarray], list[np.ndarray]]:
    """The sample's graph, what it is given, and what torch itself gives."""
    import torch

    import leaky_interop as li
    from leaky_interop.frameworks.torch.arrays import to_numpy

    module, given = sample.network()
    with torch.no_grad():
        made = module(*(g.clone() for g in given))
    expected = [to_numpy(r) for r in (made if isinstance(made, tuple) else (made,))]
    arrays = [to_numpy(g) for g in given]
    if sample.group == "function":
        return li.load(module, given, static_batch=True), arrays, expected
    return li.load(torch.export.export(module.eval(), given, strict=False)), arrays, expected


def difference(
    graph: Any, arrays: list[np.ndarray], expected: Sequence[np.ndarray], received: Sequence[Any], limits: Any
) -> str:
    """What differs first; empty where nothing does."""
    from leaky_interop.numeric import compare, exact_limit

    if len(expected) != len(received):
        return f"{len(received)} outputs, expected {len(expected)}"
    for value, e, r in zip(graph.outputs, expected, received, strict=True):
        bound = limits.get(id(value))
        limit = bound.limit(e) if bound else exact_limit(e)
        if e.dtype.name in RELATIVE and e.size:
            size = np.abs(e.astype(np.float64))
            most = size.max(initial=0, where=np.isfinite(size))
            if any(node.op.tolerance != "exact" for node in graph.nodes):  # torch may add up in another order
                limit = np.maximum(limit, FLOOR * RELATIVE[e.dtype.name] * most)
            limit = np.minimum(limit, RELATIVE[e.dtype.name] * (size + 0.1 * most + 0.01))
        found = compare(e, r, limit)
        if isinstance(found, str):
            return found
        if found.ratio > 1:
            return f"values differ by {found.absolute:.3g}"
    return ""


def judge(backend: str, sample: Any) -> dict[str, str]:
    """Empty by route where the sample passes, otherwise the reason."""
    from leaky_interop.interpreter import bind
    from leaky_interop.judging import network_limits

    routes = PROCESSES[backend]
    try:
        graph, arrays, expected = loaded(sample)
        limits = network_limits(graph, arrays, bind((v.shape for v in graph.inputs), arrays))
    except Exception as error:
        return dict.fromkeys(routes, reason(error))
    found = {}
    for route in routes:
        try:
            found[route] = difference(graph, arrays, expected, runner(graph, route)(arrays), limits)
        except Exception as error:
            found[route] = reason(error)
    return found


def runner(graph: Any, route: str) -> Callable[[list[np.ndarray]], Sequence[Any]]:
    """What runs a graph on a route."""
    import leaky_interop as li
    from leaky_interop.converting import transfer_graph

    if route == "graph":
        return lambda arrays: graph.run(*arrays)
    model = transfer_graph(graph, route.partition(" ")[0]).model
    return lambda arrays: li.run(model, arrays)


def reason(error: Exception) -> str:
    """An error in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]


def converted(operators: Sequence[str], reasons: Sequence[str]) -> int:
    """How many operators have no sample that fails."""
    failing = {o for o, text in zip(operators, reasons, strict=True) if text}
    return len(set(operators) - failing)


def page(group: str, asked: Sequence[Any], reasons: Mapping[str, Sequence[str]]) -> str:
    """The results as Markdown: how many operators convert, what does not, and every operator with its samples."""
    from leaky_interop.report.phrases import markdown_table
    from tests.aten_samples import PER_OPERATOR, core_operators, is_random

    def rows(dtype: Any = None) -> tuple[list[str], dict[str, list[str]]]:
        places = [i for i, s in enumerate(asked) if dtype in (None, s.dtype)]
        return [asked[i].operator for i in places], {r: [texts[i] for i in places] for r, texts in reasons.items()}

    routes = [TITLES[route] for route in reasons]
    head = ["operator", "samples", *routes, "what fails, and why"]
    summary = []
    for dtype in PER_OPERATOR:
        operators, texts = rows(dtype)
        if total := len(set(operators)):
            counts = [converted(operators, texts[route]) for route in reasons]
            shares = [f"{n} ({n / total:.1%})" for n in counts]
            summary.append([str(dtype).removeprefix("torch."), f"{total} ({len(operators)} samples)", *shares])
    failing = [line for line in scoring.lines(*rows(next(iter(PER_OPERATOR)))) if line[-1]]
    random = ", ".join(f"`{name}`" for name, overload in core_operators().items() if is_random(overload))
    refused = f"Refused, because they draw random numbers, which no two frameworks draw alike: {random}.\n\n"
    return f"""# {PAGES[group][1]}

Written by `python -m tests.aten_scores --group {group}`: torch {scoring.version("torch")}, keras {scoring.version("keras")},
onnxruntime {scoring.version("onnxruntime")}, Python {platform.python_version()}.

{" ".join((__doc__ or "").split(chr(10) * 2)[1].split())} *numpy* is the graph that was read, run by the operators' own definitions.

How many operators convert in all their samples of an element type:

{markdown_table(["element type", "operators", *routes], summary)}

## What fails in float32

{markdown_table(head, failing)}

{refused if group == "core" else ""}## All samples

{markdown_table(head, list(scoring.lines(*rows())))}
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.aten_scores", description=__doc__)
    parser.add_argument("--group", choices=PAGES, help="only these samples, and their page")
    options = parser.parse_args()
    for group in [options.group] if options.group else PAGES:
        write(group)


def write(group: str) -> None:
    """Judge the samples of a group and write their page; each backend in a process of its own."""
    from tests.aten_samples import samples

    asked = [s for s in samples() if s.group == group]
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda backend: judged(backend, asked), PROCESSES)
        by_route = {r: [t if isinstance(t, str) else t[r] for t in texts] for b, texts in zip(PROCESSES, found, strict=True) for r in PROCESSES[b]}
    text = page(group, asked, {route: by_route[route] for route in ROUTES})
    (scoring.REPOSITORY / "docs" / PAGES[group][0]).write_text(text)


def judged(backend: str, asked: Sequence[Any]) -> list[Any]:
    """The reasons of all samples. What kills the process counts against its sample, and the rest goes on.

    Processes are forked: to make the samples takes as long as to judge half of them.
    """
    found: list[Any] = []
    while len(found) < len(asked):
        mine, its = multiprocessing.Pipe(duplex=False)
        process = multiprocessing.get_context("fork").Process(target=worker, args=(backend, asked[len(found) :], its))
        process.start()
        its.close()
        with contextlib.suppress(EOFError):
            while len(found) < len(asked):
                found.append(mine.recv())
        process.join()
        if len(found) < len(asked):
            found.append(f"the process ended with {process.exitcode}")
    return found


def worker(backend: str, asked: Sequence[Any], its: Any) -> None:
    """Judge samples one by one, and send what comes of each."""
    os.environ.update(scoring.SILENT | {"KERAS_BACKEND": backend})
    warnings.simplefilter("ignore")
    for sample in asked:
        its.send(scoring.attempted(lambda sample=sample: judge(backend, sample)))


if __name__ == "__main__":
    main()
