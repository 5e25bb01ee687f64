"""`python -m tests.keras_dtypes`: each operation of keras.ops in each dtype, to ONNX, to PyTorch and back.

Each operation meets a third of the dtypes, the next one the next third (--every: all). It is called as in the first of
its recorded cases (tests/keras_cases.json) that Keras runs in the dtype of the column: every tensor of numbers has that
dtype, with numbers of at most 4 that it holds; where that leaves no case, tensors of whole numbers (places, labels) keep
their own. A cell says what comes out: `ok` where results have Keras' own dtype, shape and numbers, `refused` where the
conversion says why not, `-` where Keras itself runs none of the cases, otherwise what is wrong. Writes
docs/keras-dtypes-BACKEND.md for the backend of KERAS_BACKEND.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests import keras_scores, scoring

DTYPES = "bool int8 int16 int32 int64 uint8 uint16 uint32 float16 bfloat16 float32 float64".split()
THIRD = 3
SMALL = 20_000  # elements of the largest tensor
ROUTES = ("onnx", "torch", "back")
# Random, or without a tensor among the results, or functions are among the arguments: test_keras_control_flow.py has those.
LEFT_OUT = {"empty_like", "scan", "shape", "shuffle"}
POSITIVE = {"cholesky", "cholesky_inverse"}  # defined for positive matrices alone
NONZERO = {"geomspace"}
DISTINCT = {"top_k"}  # of equal numbers any may come first
UNORDERED = '"sorted": false'


def judged(every: bool = False) -> list[dict[str, Any]]:
    """Each operation in each dtype, or in a third of the dtypes: another third for each operation in turn."""
    found: dict[str, list[dict[str, Any]]] = {}
    for case in keras_scores.cases():
        tensors = list(keras_scores.tensors(case))
        if "operation" in case and tensors and case["operation"] not in LEFT_OUT and UNORDERED not in json.dumps(case):
            small = max(np.prod([d or 4 for d in t["tensor"]]) for t in tensors) <= SMALL
            found.setdefault(case["operation"], []).append(case) if small else None
    return [
        {"operation": name, "dtype": dtype, "cases": cases}
        for i, (name, cases) in enumerate(sorted(found.items()))
        for dtype in (DTYPES if every else DTYPES[i % THIRD :: THIRD])
    ]


def recast(case: dict[str, Any], dtype: str, whole: bool) -> dict[str, Any]:
    """The case with its tensors in another dtype; recorded values keep theirs where other tensors are drawn.

    whole : those of whole numbers too
    """
    made = copy.deepcopy(case)
    specs = list(keras_scores.tensors(made))
    drawn = [spec for spec in specs if "values" not in spec]
    for spec in drawn or specs:
        if whole or keras_scores.is_float(spec):
            low, high = spec.get("range", [-1, 1])
            spec |= {"range": [0 if dtype[0] in "ub" else max(low, -4), max(min(high, 4), 1)], "dtype": dtype}
    return made


class Cast(keras_scores.Call):
    """A case in which every drawn tensor is an input of the network, integers too; all are where none is drawn."""

    def __init__(self, case: dict[str, Any]):
        self.fixed = any("values" not in spec for spec in keras_scores.tensors(case))
        super().__init__(case)

    def built(self, value: Any) -> Any:
        if isinstance(value, dict) and "tensor" in value and not (self.fixed and "values" in value):
            import keras

            shape = tuple(4 if d is None else d for d in value["tensor"])
            self.inputs.append(keras.Input(batch_shape=shape, dtype=value["dtype"]))
            self.specs.append({**value, "tensor": list(shape)})
            return self.inputs[-1]
        return super().built(value)

    def arrays(self, batch: int) -> list[np.ndarray]:
        found = [np.asarray(a) for a in super().arrays(batch)]
        if self.case["operation"] in NONZERO:
            found = [np.where(a == 0, a.dtype.type(1), a) for a in found]
        if self.case["operation"] in DISTINCT and found[0].dtype != bool:
            found[0] = self.random.permutation(found[0].size).reshape(found[0].shape).astype(found[0].dtype)
        if self.case["operation"] in POSITIVE and found[0].ndim > 1:
            wide = np.float64(found[0])
            found[0] = (wide @ wide.swapaxes(-1, -2) + np.eye(wide.shape[-1])).astype(found[0].dtype)
        return found


def first_run(case: dict[str, Any]) -> tuple[Cast, list[np.ndarray], list[np.ndarray]] | None:
    """The first recorded case that Keras runs in the dtype of the cell: its model, arrays and results."""
    import leaky_interop as li

    for whole in (True, False):
        for recorded in case["cases"]:
            with contextlib.suppress(Exception):  # Keras, and the recorded call, may refuse in any way
                call = Cast(recast(recorded, case["dtype"], whole))
                if case["dtype"] in {spec["dtype"] for spec in call.specs}:
                    arrays = call.arrays(1)
                    return call, arrays, li.run(call.model, arrays)
    return None


def results(case: dict[str, Any]) -> Iterator[str]:
    """What comes out on each route."""
    import leaky_interop as li
    from leaky_interop.errors import Refused, Unsupported

    run = first_run(case)
    if run is None:
        yield from ("-",) * len(ROUTES)
        return
    call, arrays, wanted = run
    made: Any = None
    for route in ROUTES:
        try:
            if route == "back":
                received = li.convert(made, to="keras", example=tuple(arrays), static_batch=True) if made else None
            else:
                received = made = li.convert(call.model, to=route)
            text = "refused: nothing came out in PyTorch" if received is None else keras_scores.difference(wanted, li.run(received, arrays))
        except (Refused, Unsupported) as error:
            text = f"refused: {' '.join(str(error).split())}"
            made = None if route == "torch" else made
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]
            made = None if route == "torch" else made
        yield text or "ok"


def judge(route: str, case: dict[str, Any]) -> str:
    """All routes at once: what `scoring.work` reports as one line."""
    return json.dumps(list(results(case)))


def page(cases: list[dict[str, Any]], found: list[list[str]]) -> str:
    """The table as Markdown: a letter for each route in each cell, and in words what is refused or wrong."""
    from leaky_interop.report.phrases import markdown_table

    rows: dict[str, dict[str, str]] = {}
    said: dict[tuple[str, str], list[str]] = {}
    counts = dict.fromkeys("orx-", 0)
    for case, texts in zip(cases, found, strict=True):
        letters = [letter(text) for text in texts]
        rows.setdefault(case["operation"], {})[case["dtype"]] = "".join(letters)
        for route, text, mark in zip(ROUTES, texts, letters, strict=True):
            counts[mark] += 1
            if mark in "rx":
                said.setdefault((case["operation"], shortened(text)), []).append(f"{case['dtype']} ({route})")
    head = f"{counts['o'] + counts['r'] + counts['x']} conversions: {counts['o']} ok, {counts['r']} refused, {counts['x']} wrong."
    table = markdown_table(["operation", *DTYPES], [[name, *(marks.get(d, "") for d in DTYPES)] for name, marks in rows.items()])
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    intro = " ".join((__doc__ or "").split("\n\n")[1].split())
    key = f"In each cell a letter for each of {', '.join(ROUTES)}: o ok, r refused, x wrong, - not run by Keras."
    why = [f"* {name}, {', '.join(places)}: {text}" for (name, text), places in said.items()]
    return "\n".join([f"# keras.ops by dtype, on {backend}", "", intro, "", key, "", head, "", table, "", *why, ""])


def letter(text: str) -> str:
    """What came out, in a letter."""
    return "o" if text == "ok" else "r" if text.startswith("refused") else "-" if text == "-" else "x"


def shortened(text: str) -> str:
    """A reason without the place in the network that one case has, so that those of all its dtypes are one."""
    return scoring.generic(text).replace("\n", " ")[:300]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.keras_dtypes", description=__doc__)
    parser.add_argument(
        "--only", action="append", default=[], help="an operation (add); repeatable. The page is printed."
    )
    parser.add_argument("--every", action="store_true", help="every operation in every dtype, not in a third of them")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    every = options.every or bool(options.only)
    cases = [case for case in judged(every) if not options.only or case["operation"] in options.only]
    if options.work:
        warnings.simplefilter("ignore")
        scoring.work(judge, options.work, cases, options.start)
        return
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    command = [word for name in options.only for word in ("--only", name)] + ["--every"] * options.every
    lines = scoring.judged("tests.keras_dtypes", "all", backend, len(cases), command=command)
    found = [json.loads(t) if t.startswith("[") else [t] * len(ROUTES) for t in lines]
    if options.only:
        print(page(cases, found))
    else:
        (scoring.REPOSITORY / f"docs/keras-dtypes-{backend}.md").write_text(page(cases, found))


if __name__ == "__main__":
    main()
