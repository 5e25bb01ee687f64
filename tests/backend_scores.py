"""`python -m tests.backend_scores`: the test suite that the onnx package brings, through every conversion from ONNX.

A case passes where the converted network gives the expected outputs within the case's own tolerance, with the same
element types, and agrees on perturbed inputs with onnxruntime or with the specification's own reference, so that nothing
can have been learnt by heart.
Whatever is refused counts as failed. Writes docs/backend-scores.json and docs/backend-scores.md.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import functools
import json
import platform
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tests import scoring

KINDS = ("node", "simple", "pytorch-operator", "pytorch-converted")
SUITES = ("node", "node, parameters constant", *KINDS[1:])
ROUTES = {  # name -> the backend that Keras runs on there
    "onnxruntime": "torch",
    "onnx": "torch",
    "torch": "torch",
    "keras (tensorflow)": "tensorflow",
    "keras (torch)": "torch",
}
TITLES = {"onnxruntime": "onnxruntime alone", "onnx": "ONNX -> Graph -> ONNX", "torch": "ONNX -> PyTorch"} | {
    route: f"ONNX -> {route.title().replace('Tensorflow', 'TensorFlow').replace('Torch', 'PyTorch')}"
    for route in ROUTES
    if "keras" in route
}

Run = Callable[[Sequence[Any]], list[Any]]


@dataclasses.dataclass(frozen=True)
class Case:
    """A model with inputs and the outputs that they should give."""

    suite: str
    name: str
    operator: str
    model: onnx.ModelProto
    data: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    rtol: float
    atol: float


@functools.cache
def cases() -> list[Case]:
    """All cases, in one order."""
    from onnx.backend.test.case.node import collect_testcases
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nodes = collect_testcases(None)
    operators = {case.name: case.model.graph.node[0].op_type for case in nodes}
    found = []
    for case in nodes:
        name = re.sub(r"_expanded.*", "", case.name)
        data = [tuple([plain(a) for a in arrays] for arrays in pair) for pair in case.data_sets]
        made = Case("node", case.name, operators.get(name, operators[case.name]), case.model, data, case.rtol, case.atol)
        found += [made, with_constants(made)]
    for kind in KINDS[1:]:
        for case in load_model_tests(kind=kind):
            folder = Path(case.model_dir)
            model = onnx.load(folder / "model.onnx")
            ports = {"input": inputs(model), "output": list(model.graph.output)}
            data = [
                tuple([from_file(f / f"{port}_{i}.pb", info) for i, info in enumerate(ports[port])] for port in ports)
                for f in sorted(folder.glob("test_data_set_*"))
            ]
            found.append(Case(kind, case.name, kind, model, data, case.rtol, case.atol))
    return sorted(found, key=lambda c: SUITES.index(c.suite))


def plain(data: Any) -> Any:
    """What a case holds as numpy has it: an array, a list of them, or None."""
    if isinstance(data, onnx.TensorProto):
        return numpy_helper.to_array(data)
    if isinstance(data, list | tuple):
        return [plain(d) for d in data]
    return data if data is None or isinstance(data, dict) else np.asarray(data)


def inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a user has to give."""
    weights = {t.name for t in model.graph.initializer}
    return [i for i in model.graph.input if i.name not in weights]


def from_file(path: Path, info: onnx.ValueInfoProto) -> Any:
    """The stored value of one input or output."""
    if info.type.HasField("sequence_type"):
        return numpy_helper.to_list(onnx.SequenceProto.FromString(path.read_bytes()))
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def with_constants(case: Case) -> Case:
    """The case as networks hold it: all inputs but the first that holds floats are constants of the model."""
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    arrays = case.data[0][0]
    tensors = [isinstance(a, np.ndarray) for a in arrays]
    first = next((i for i, a in enumerate(arrays) if tensors[i] and is_float(a)), 0)
    for i, info in enumerate(list(model.graph.input)):
        if i != first and tensors[i]:
            model.graph.initializer.append(numpy_helper.from_array(arrays[i], info.name))
            model.graph.input.remove(info)
    kept = [i for i in range(len(arrays)) if i == first or not tensors[i]]
    data = [([given[i] for i in kept], wanted) for given, wanted in case.data[:1]]
    return dataclasses.replace(case, suite=SUITES[1], model=model, data=data)


def is_float(array: np.ndarray) -> bool:
    """Whether an array holds floats, bfloat16 and narrower ones included."""
    return array.dtype.kind == "f" or "float" in array.dtype.name


def prepare(route: str, model: onnx.ModelProto) -> Run:
    """What runs the model on a route."""
    if route == "onnxruntime":
        return native(model)
    import leaky_interop as li

    target = route.partition(" ")[0]
    made = li.convert(model, to=target, trust=True)  # which asks for ai.onnx.ml
    return native(made) if target == "onnx" else lambda arrays: li.run(made, list(arrays))


def native(model: onnx.ModelProto) -> Run:
    """The model in onnxruntime, nothing of ours in between but the types that numpy lacks."""
    from leaky_interop.frameworks.onnx.run import feed, session

    opened = session(model)
    return lambda arrays: feed(opened, list(arrays))


def difference(expected: Sequence[Any], received: Sequence[Any], case: Case) -> str:
    """What differs first, in the order number, kind, shape, values; empty where nothing does."""
    if len(expected) != len(received):
        return f"{len(received)} outputs, expected {len(expected)}"
    for e, r in zip(expected, received, strict=True):
        if isinstance(e, list):
            if not isinstance(r, list | tuple):
                return "a tensor, expected a sequence"
            if text := difference(e, r, case):
                return text
            continue
        if e is None or r is None:
            if e is not r:
                return "an empty optional is mistaken"
            continue
        e, r = np.asarray(e), np.asarray(r)
        if (e.shape, e.dtype) != (r.shape, r.dtype) and not e.dtype.kind == r.dtype.kind == "U":
            return f"{r.dtype}{list(r.shape)}, expected {e.dtype}{list(e.shape)}"
        if e.dtype.kind in "OSU":
            if not np.array_equal(e, r):
                return "other strings"
        elif not np.allclose(*(wide(a) for a in (r, e)), rtol=case.rtol, atol=case.atol, equal_nan=True):
            gap = np.abs(wide(r) - wide(e))
            return f"values differ by {np.nanmax(gap):.3g}"
    return ""


def wide(array: np.ndarray) -> np.ndarray:
    """Numbers of any type in one that numpy compares."""
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.int64 if array.dtype.kind in "iub" else np.float64)


def perturbed(arrays: Sequence[Any]) -> list[Any]:
    """The inputs with each float moved by up to a tenth; integers and strings have meanings and stay."""
    random = np.random.default_rng(0)

    def moved(array: Any) -> Any:
        if isinstance(array, list):
            return [moved(a) for a in array]
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "fV" or array.ndim == 0:
            return array
        return (array * random.uniform(0.9, 1.1, array.shape).astype(np.float32)).astype(array.dtype)

    return [moved(a) for a in arrays]


def judge(route: str, case: Case) -> str:
    """Empty where the case passes, otherwise the reason."""
    run = prepare(route, case.model)
    for given, wanted in case.data:
        if text := difference(wanted, run(given), case):
            return text
    given = perturbed(case.data[0][0])
    found = [text for oracle in (native, specified) if (text := apart(oracle, case, run, given)) is not None]
    if route == "onnxruntime" or not found or "" in found:
        return ""
    return f"on perturbed inputs: {found[0]}"


def apart(oracle: Callable[[onnx.ModelProto], Run], case: Case, run: Run, given: Sequence[Any]) -> str | None:
    """What differs from an oracle on other inputs; None where it does not run the case, or not as the case says."""
    with contextlib.suppress(Exception):
        own = oracle(case.model)
        if not difference(case.data[0][1], own(case.data[0][0]), case):
            expected = own(given)
            return difference(expected, run(given), case)
    return None


def specified(model: onnx.ModelProto) -> Run:
    """The model by the specification's own reference."""
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(model)
    return lambda arrays: evaluator.run(None, dict(zip(evaluator.input_names, arrays, strict=True)))


def score(reasons: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, dict[str, tuple[int, int]]]]:
    """By suite and route: how many cases pass, and how many of those that onnxruntime passes; first how many there are."""
    for suite in SUITES:
        places = [i for i, case in enumerate(cases()) if case.suite == suite]
        passed = {route: {i for i in places if not texts[i]} for route, texts in reasons.items()}
        alone = passed.get("onnxruntime", set(places))
        yield f"{suite} ({len(places)})", {route: (len(p), len(p & alone)) for route, p in passed.items()}


def page(reasons: Mapping[str, Sequence[str]]) -> str:
    """The results as Markdown: the scores, then every operator with the reasons of what fails."""
    from leaky_interop.report.phrases import markdown_table

    head = ["cases", *(TITLES[route] for route in reasons)]
    rows = [
        [suite, *(f"{n}" if route == "onnxruntime" else f"{n}, {both} of onnxruntime's" for route, (n, both) in counts.items())]
        for suite, counts in score(reasons)
    ]
    text = f"""# The ONNX backend test suite

Written by `make backend-scores`: onnx {onnx.__version__}, onnxruntime {scoring.version("onnxruntime")}, torch {scoring.version("torch")},
keras {scoring.version("keras")}, Python {platform.python_version()}.

{" ".join((__doc__ or "").split(chr(10) * 2)[1].split())} *Parameters constant*: every input but the first that holds
floats is a constant of the model, as in networks. *Of onnxruntime's*: of the cases that onnxruntime itself passes.

{markdown_table(head, rows)}
"""
    for suite in SUITES:
        places = [i for i, case in enumerate(cases()) if case.suite == suite]
        there = {route: [texts[i] for i in places] for route, texts in reasons.items()}
        rows = scoring.lines([cases()[i].operator for i in places], there, "onnxruntime")
        text += f"\n## {suite}\n\n{markdown_table(['operator', 'cases', *head[1:], 'what fails, and why'], rows)}\n"
    return text


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.backend_scores", description=__doc__)
    parser.add_argument("--route", action="append", choices=ROUTES, help="only this one; repeatable. The page is printed.")
    parser.add_argument("--work", choices=ROUTES, help=argparse.SUPPRESS)
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        warnings.simplefilter("ignore")
        scoring.work(judge, options.work, cases(), options.start)
        return
    total = len(cases())
    routes = options.route or ROUTES
    reasons = {route: scoring.judged("tests.backend_scores", route, ROUTES[route], total) for route in routes}
    if options.route:
        print(page(reasons))
        return
    results = [
        {"suite": c.suite, "case": c.name, "operator": c.operator} | {r: texts[i] for r, texts in reasons.items()}
        for i, c in enumerate(cases())
    ]
    body = ",\n".join(json.dumps(row) for row in results)
    (scoring.REPOSITORY / "docs/backend-scores.json").write_text(f"[\n{body}\n]\n")
    (scoring.REPOSITORY / "docs/backend-scores.md").write_text(page(reasons))


if __name__ == "__main__":
    main()
