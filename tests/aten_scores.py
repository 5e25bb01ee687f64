"""`python -m tests.aten_scores`: PyTorch's operators, core ATen first, through every conversion from PyTorch.

A sample passes where the converted network gives what torch itself gives, within what the operators it became may differ
by, never more than 1e-4 of it in float32, with the same element types and shapes; NaN and infinities stand in the same
places. Samples are torch's own (its OpInfo), and a few written in tests/aten_samples.py. In every second one all tensors
but the first are weights. Whatever is refused counts as failed. Writes docs/aten-scores.md.
"""

from __future__ import annotations

import argparse
import functools
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
RELATIVE = {"float32": 1e-4, "float64": 1e-7, "float16": 2e-2}  # the most that is allowed
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


def page(reasons: Mapping[str, Sequence[str]]) -> str:
    """The results as Markdown: how many operators convert, what does not, and every operator with its samples."""
    from leaky_interop.report.phrases import markdown_table
    from tests.aten_samples import core_operators, is_random, samples

    def rows(group: str, float32: bool) -> tuple[list[str], dict[str, list[str]]]:
        places = [
            i for i, s in enumerate(samples()) if s.group == group and (not float32 or str(s.dtype) == "torch.float32")
        ]
        return [samples()[i].operator for i in places], {r: [texts[i] for i in places] for r, texts in reasons.items()}

    routes = [TITLES[route] for route in reasons]
    head = ["operator", "samples", *routes, "what fails, and why"]
    titles = {"core": "core ATen with a deterministic result", "function": "functions as a user calls them"}
    summary = []
    for group, title in titles.items():
        for narrow, what in ((True, "in float32"), (False, "in float32, float64, float16, int64 and bool")):
            operators, texts = rows(group, narrow)
            total = len(set(operators))
            counts = [converted(operators, texts[route]) for route in reasons]
            summary.append(
                [f"{title}, {what}", f"{total} ({len(operators)} samples)", *(f"{n} ({n / total:.1%})" for n in counts)]
            )
    failing = [line for line in scoring.lines(*rows("core", True)) if line[-1]]
    random = ", ".join(f"`{name}`" for name, overload in core_operators().items() if is_random(overload))
    tables = "\n".join(
        f"## {title[0].upper()}{title[1:]}\n\n{markdown_table(head, list(scoring.lines(*rows(group, False))))}\n"
        for group, title in titles.items()
    )
    return f"""# PyTorch's operators

Written by `make aten-scores`: torch {scoring.version("torch")}, keras {scoring.version("keras")}, onnxruntime {scoring.version("onnxruntime")},
Python {platform.python_version()}.

{" ".join((__doc__ or "").split(chr(10) * 2)[1].split())} *numpy* is the graph that was read, run by the operators' own definitions.

How many operators convert in all their samples:

{markdown_table(["operators", "how many", *routes], summary)}

## Exceptions of core ATen in float32

{markdown_table(head, failing)}

Refused, because they draw random numbers, which no two frameworks draw alike: {random}.

{tables}"""


@functools.cache
def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.aten_scores", description=__doc__)
    parser.add_argument("--work", choices=PROCESSES, help=argparse.SUPPRESS)
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    from tests.aten_samples import samples

    if options.work:
        warnings.simplefilter("ignore")
        scoring.work(judge, options.work, samples(), options.start)
        return
    reasons: dict[str, list[str]] = {}
    with ThreadPoolExecutor() as pool:
        found = pool.map(
            lambda backend: scoring.judged("tests.aten_scores", backend, backend, len(samples())), PROCESSES
        )
        for texts, routes in zip(found, PROCESSES.values(), strict=True):
            reasons |= {route: [t if isinstance(t, str) else t[route] for t in texts] for route in routes}
    (scoring.REPOSITORY / "docs/aten-scores.md").write_text(page({route: reasons[route] for route in ROUTES}))


if __name__ == "__main__":
    main()
