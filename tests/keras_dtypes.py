"""`python -m tests.keras_dtypes`: each operation of keras.ops in each dtype, to ONNX, to PyTorch and back.

Each operation meets a third of the dtypes, the next one the next third (--every: all). It is called as in the first of
its recorded cases (tests/keras_cases.json), every tensor of numbers in the dtype of the column, with numbers of at most
4 that the dtype holds. A cell says what comes out: `ok` where results have Keras' own dtype, shape and numbers,
`refused` where the conversion says why not, `-` where Keras itself does not run it, otherwise what is wrong. Writes
docs/keras-dtypes-BACKEND.md for the backend of KERAS_BACKEND.
"""

from __future__ import annotations

import argparse
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
ROUTES = ("onnx", "torch", "back")
RANDOM_OR_STATEFUL = {"empty_like", "shuffle"}


def judged(every: bool = False) -> list[dict[str, Any]]:
    """One case of each operation and dtype, or of a third of the dtypes: another third for each operation in turn."""
    found: dict[str, list[dict[str, Any]]] = {}
    for case in keras_scores.cases():
        tensors = list(keras_scores.tensors(case))
        if "operation" in case and tensors and case["operation"] not in RANDOM_OR_STATEFUL:
            small = max(np.prod([d or 4 for d in t["tensor"]]) for t in tensors) <= 10_000
            found.setdefault(case["operation"], []).append(case) if small else None
    firsts = [cases[0] for _, cases in sorted(found.items())]
    return [recast(case, d) for i, case in enumerate(firsts) for d in (DTYPES if every else DTYPES[i % THIRD :: THIRD])]


def recast(case: dict[str, Any], dtype: str) -> dict[str, Any]:
    """The case with its tensors in another dtype; those of places and labels keep theirs."""
    made = {**copy.deepcopy(case), "dtype": dtype}
    for spec in keras_scores.tensors(made):
        if "values" not in spec:
            low, high = spec.get("range", [-1, 1])
            spec |= {"range": [0 if dtype[0] in "ub" else max(low, -4), max(min(high, 4), 1)], "dtype": dtype}
    return made


class Cast(keras_scores.Call):
    """A case in which every drawn tensor is an input of the network, integers too."""

    def built(self, value: Any) -> Any:
        if isinstance(value, dict) and "tensor" in value and "values" not in value:
            import keras

            shape = tuple(4 if d is None else d for d in value["tensor"])
            self.inputs.append(keras.Input(batch_shape=shape, dtype=value["dtype"]))
            self.specs.append({**value, "tensor": list(shape)})
            return self.inputs[-1]
        return super().built(value)


def results(case: dict[str, Any]) -> Iterator[str]:
    """What comes out on each route."""
    import leaky_interop as li
    from leaky_interop.errors import Refused, Unsupported

    try:
        call = Cast(case)
        arrays = [np.asarray(a) for a in call.arrays(1)]
        wanted = li.run(call.model, arrays)
    except Exception:
        yield from ("-",) * len(ROUTES)
        return
    made: Any = None
    for route in ROUTES:
        try:
            if route == "back":
                received = li.convert(made, to="keras", example=tuple(arrays), static_batch=True) if made else None
            else:
                received = made = li.convert(call.model, to=route)
            text = "refused" if received is None else keras_scores.difference(wanted, li.run(received, arrays))
        except (Refused, Unsupported):
            text = "refused"
            made = None if route == "torch" else made
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())}"[:120]
            made = None if route == "torch" else made
        yield text or "ok"


def judge(route: str, case: dict[str, Any]) -> str:
    """All routes at once: what `scoring.work` reports as one line."""
    return json.dumps(list(results(case)))


def page(cases: list[dict[str, Any]], found: list[list[str]]) -> str:
    """The table as Markdown: a letter for each route in each cell, and in words what is wrong."""
    from leaky_interop.report.phrases import markdown_table

    rows: dict[str, dict[str, str]] = {}
    wrong = []
    letters = {"ok": "o", "refused": "r", "-": "-"}
    for case, texts in zip(cases, found, strict=True):
        rows.setdefault(case["operation"], {})[case["dtype"]] = "".join(letters.get(t, "x") for t in texts)
        wrong += [
            f"* {case['operation']} in {case['dtype']}, {r}: {t}"
            for r, t in zip(ROUTES, texts, strict=True)
            if t not in letters
        ]
    cells = [t for texts in found for t in texts if t != "-"]
    head = f"{len(cells)} conversions: {cells.count('ok')} ok, {cells.count('refused')} refused, {len(wrong)} wrong."
    table = markdown_table(["operation", *DTYPES], [[name, *(marks.get(d, "") for d in DTYPES)] for name, marks in rows.items()])
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    intro = " ".join((__doc__ or "").split("\n\n")[1].split())
    key = f"In each cell a letter for each of {', '.join(ROUTES)}: o ok, r refused, x wrong, - not run by Keras."
    return "\n".join([f"# keras.ops by dtype, on {backend}", "", intro, "", key, "", head, "", table, "", *wrong, ""])


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
