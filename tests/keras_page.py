"""docs/keras-scores.md out of the reasons that tests/keras_scores.py collects."""

from __future__ import annotations

import collections
import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests import scoring

TARGETS = ("onnx", "torch", "back")
HEAD = ["", *("ONNX", "PyTorch", "back to Keras")]
HASHED = "It hashes its input as text (FarmHash or SipHash), for which no framework has an operator."
COMPLEX = "Complex numbers go in or come out: ONNX Runtime and Keras layers have none."
SPARSE = "With sparse=True: no other framework's network gives a sparse tensor. Use sparse=False."
FLOAT64 = (
    "Under float64 Keras on PyTorch computes most layers in float32, and a converted network in float64: numbers differ by "
    "float32's rounding, and the way back to Keras on PyTorch is refused. ONNX Runtime has no kernels for convolutions and means "
    "over windows in float64: refused too."
)
NARROWER = "The picture is narrower than the window: Keras on TensorFlow gives nothing, others say so when they run."
DEPENDS = "How long the result is depends on the data, and Keras fixes shapes beforehand: it goes to ONNX and PyTorch, not back."
SIGNS = "The signs of the vectors are left open; ONNX has no such operator to choose them as the backend does."
UNDETERMINED = ("argpartition", "eig", "eigh", "elastic_transform", "empty_like", "svd")  # a backend may give other results
WHY = {  # in a sentence, where the message of the conversion does not say it all
    "AveragePooling2D": "Keras on PyTorch counts the border twice in a mean with uneven 'same' pads; a conversion warns, and computes the definition.",
    "ops.average_pool": "Keras on PyTorch counts the border twice in a mean with uneven 'same' pads; a conversion warns, and computes the definition.",
    "CategoryEncoding": SPARSE,
    "ConvLSTM3D": "Under mixed_float16, where sums of hundreds of products differ by more; back in Keras they agree again.",
    "Discretization": SPARSE,
    "HashedCrossing": HASHED,
    "Hashing": HASHED,
    "IntegerLookup": "With several places for what is outside its vocabulary it hashes: FarmHash is no operator of any framework.",
    "Resizing": "Called with boxes Keras states one result of it, and computes several: no model can be made of such a call.",
    "AdaptiveAveragePooling3D": "PyTorch has no kernel for means over three axes in half precision; ONNX Runtime has none in float64.",
    "AveragePooling3D": "PyTorch has no kernel for means over three axes in half precision; ONNX Runtime has none in float64.",
    "StringLookup": "It converts to ONNX and PyTorch, which this comparison of numbers cannot judge: tests/test_keras_text.py does. Keras models take no text from other frameworks.",
    "DepthwiseConv1D": NARROWER,
    "DepthwiseConv2D": NARROWER,
    "SeparableConv1D": NARROWER,
    "SeparableConv2D": NARROWER,
    "ops.argpartition": "Which order the entries on either side of the place have is left to the backend.",
    "ops.eig": COMPLEX,
    "ops.eigh": SIGNS,
    "ops.elastic_transform": "It draws random numbers.",
    "ops.einsum": "TensorFlow orders a result that is not stated behind -> otherwise than numpy: refused.",
    "ops.empty_like": "Whatever stands in memory.",
    "ops.multi_hot": SPARSE,
    "ops.ndim": "Keras gives a Python number, which is no output of a network.",
    "ops.nonzero": DEPENDS,
    "ops.pad": "Keras on PyTorch repeats the last entry for symmetric, and pads the last axis alone where one pair is given; a conversion warns, and computes the definition.",
    "ops.one_hot": SPARSE,
    "ops.perspective_transform": "The drawn corners almost make a line: the backend's own solution is off by as much.",
    "ops.polar": COMPLEX,
    "ops.segment_max": "Without num_segments, the size of the result depends on the data: refused.",
    "ops.segment_sum": "Without num_segments, the size of the result depends on the data: refused.",
    "ops.svd": SIGNS + " Singular values alone convert.",
    "ops.top_k": "With sorted=False the order is left open.",
    "ops.unique": DEPENDS,
    "ops.unstack": "The recorded call states another number of parts than there are.",
    "ops.view_as_complex": COMPLEX,
    "ops.view_as_real": COMPLEX,
    "ops.where": "Without the two choices how long the result is depends on the data: refused. Use keras.ops.nonzero.",
}


class Results:
    """What came of some cases on one backend, those alone that Keras itself runs there."""

    def __init__(self, cases: Sequence[dict[str, Any]], titles: Sequence[str], reasons: Sequence[Sequence[str]]):
        places = [i for i, texts in enumerate(reasons) if not texts[0]]
        self.cases = [cases[i] for i in places]
        self.titles = [titles[i] for i in places]
        self.reasons = {target: [reasons[i][1 + at] for i in places] for at, target in enumerate(TARGETS)}
        self.skipped = sorted(set(titles) - set(self.titles))

    def only(self, wanted: Any) -> Results:
        """Those of some cases."""
        keep = [i for i, case in enumerate(self.cases) if wanted(case)]
        rows = [["", *(self.reasons[t][i] for t in TARGETS)] for i in keep]
        return Results([self.cases[i] for i in keep], [self.titles[i] for i in keep], rows)

    def counts(self) -> list[str]:
        """How many layers or operations have no case that fails, for each target and for all of them."""
        total = len(set(self.titles))
        failing = [{n for n, text in zip(self.titles, texts, strict=True) if text} for texts in self.reasons.values()]
        good = [total - len(names) for names in (*failing, set().union(*failing))]
        return [f"{total} ({len(self.titles)} cases)", *(f"{n} ({n / total:.1%})" if total else "-" for n in good)]

    def passed(self) -> list[str]:
        """How many cases pass."""
        return [str(len(self.titles)), *(str(sum(not t for t in texts)) for texts in self.reasons.values())]

    def exceptions(self) -> Iterator[list[str]]:
        """A row for each layer or operation with a case that fails."""
        for name, total, *counts, why in scoring.lines(self.titles, self.reasons):
            if why:
                yield [name, total, *counts, WHY.get(name, why)]


def page(about: str, backends: Mapping[str, Results]) -> str:
    """The scores as Markdown: totals, exceptions with their reasons, variants, then every layer and operation."""
    from leaky_interop.report.phrases import markdown_table

    versions = ", ".join(f"{p} {scoring.version(p)}" for p in ("keras", "torch", "tensorflow", "onnxruntime"))
    kinds = {"Layers": "layer", "Operations": "operation"}

    def parts() -> Iterator[tuple[str, str, Results]]:
        for what, key in kinds.items():
            for backend, results in backends.items():
                found = results.only(lambda case, key=key: key in case and "variant" not in case)
                if found.cases:
                    yield what, backend, found

    totals = [[f"{what} on {backend}", *found.counts()] for what, backend, found in parts()]
    for what, backend, found in parts():
        if what == "Operations":
            determined = found.only(lambda case: case["operation"] not in UNDETERMINED)
            totals.append([f"... of a determined result, on {backend}", *determined.counts()])
    text = f"# Keras' own cases\n\nWritten by `make keras-scores`: {versions}, Python {platform.python_version()}.\n\n{about}\n\n"
    text += "How many layers and operations convert in all their cases:\n\n"
    text += markdown_table(["", "how many", *HEAD[1:], "all three"], totals) + "\n"
    text += f"\nThe order, the signs or all of what {', '.join(UNDETERMINED)} give is left to the backend, or drawn.\n"
    for what, backend, found in parts():
        head = [what[:-1].lower(), "cases", *HEAD[1:], "what fails, and why"]
        text += f"\n## Exceptions: {what.lower()} on {backend}\n\n{markdown_table(head, list(found.exceptions()))}\n"
    for backend, results in backends.items():
        variants = collections.Counter(case["variant"] for case in results.cases if "variant" in case)
        if variants:
            table, failing = [], []
            for variant in variants:
                found = results.only(lambda case, variant=variant: case.get("variant") == variant)
                table.append([variant, *found.passed()])
                failing += [[variant, *row] for row in found.exceptions()]
            text += f"\n## Layers under other dtype policies and with open sizes, on {backend}\n\n"
            text += markdown_table(["variant", "cases", *HEAD[1:]], table) + f"\n\n{FLOAT64}\n"
            text += "\n" + markdown_table(["variant", "layer", "cases", *HEAD[1:], "what fails, and why"], failing) + "\n"
    for what, backend, found in parts():
        rows = [row[:-1] for row in scoring.lines(found.titles, found.reasons)]
        text += f"\n## {what} on {backend}\n\n{markdown_table([what[:-1].lower(), 'cases', *HEAD[1:]], rows)}\n"
    for backend, results in backends.items():
        if results.skipped:
            text += f"\nKeras itself runs none of the drawn cases on {backend}: {', '.join(results.skipped)}.\n"
    return text
