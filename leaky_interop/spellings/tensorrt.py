"""TensorRT: source text that adds an activation layer, in C++ or Python."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import Any

import numpy as np

from . import python_source
from .python_source import dotted
from .spelling import Found, Spelling, single, text_of
from .tokens import Arguments, calls, kept, number_of, statement, tokens


def c_literal(text: str) -> str:
    """A number of C++ as Python writes it; with an f behind it is held in 32 bits."""
    plain = text.rstrip("fF") if text[:2].lower() != "0x" else text
    return plain if plain == text else repr(float(np.float32(plain)))


def read_tensorrt(spelling: Spelling, source: Any) -> list[Found]:
    """C++, `layer->setAlpha(0.1f)` after addActivation(..., kLEAKY_RELU), or Python, `layer.alpha = 0.1`."""
    text = text_of(source, "TensorRT source")
    return _tensorrt_cpp(spelling, text) if "kLEAKY_RELU" in text else _tensorrt_python(spelling, text)


def _tensorrt_cpp(spelling: Spelling, text: str) -> list[Found]:
    found = tokens(text, "//")
    alphas: dict[str, list[Arguments]] = {}
    for call in calls(found, ("setAlpha",)):
        if len(call.before) > 1 and call.before[-1].text in ("->", "."):
            alphas.setdefault(call.before[-2].text, []).append(call)
    slopes = []
    for call in calls(found, ("addActivation",)):
        kind = call.arguments[-1][1] if call.arguments else ()
        if not kind or kind[-1].text != "kLEAKY_RELU":
            continue
        name = kept(call)
        alpha = next((a for a in alphas.get(name, ()) if a.line >= call.line), None)
        slope = None if alpha is None or not alpha.arguments else number_of(alpha.arguments[0][1], c_literal)
        slopes.append(spelling.judge(alpha is not None, slope, line=(alpha or call).line, name=name))
    return slopes


def _tensorrt_python(spelling: Spelling, source: str) -> list[Found]:
    text = python_source.Text(source)
    made: list[tuple[ast.Call, str]] = []
    for node in text.nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_activation":
            kinds = [*node.args[1:], *(k.value for k in node.keywords)]
            if any(dotted(kind).endswith("ActivationType.LEAKY_RELU") for kind in kinds):
                made.append((node, text.kept.get(id(node), "")))
    alphas = [(dotted(target.value).removeprefix("self."), node) for node in text.nodes if isinstance(node, ast.Assign)
              for target in node.targets if isinstance(target, ast.Attribute) and target.attr == "alpha"]  # fmt: skip
    slopes = []
    for node, name in sorted(made, key=lambda pair: (pair[0].lineno, pair[0].col_offset)):
        alpha = next((a for target, a in alphas if name and target == name and a.lineno >= node.lineno), None)
        slope = None if alpha is None else python_source.constant(alpha.value, text.constants)
        slopes.append(spelling.judge(alpha is not None, slope, line=(alpha or node).lineno, name=name))
    return slopes


def write_tensorrt(spelling: Spelling, slope: float, name: str) -> str:
    """Python, which is shorter than C++."""
    made = statement(
        replace(spelling, line="network.add_activation(x, tensorrt.ActivationType.LEAKY_RELU)"), slope, name
    )
    return f"{made}{name}.alpha = {single(slope)}\n"


TENSORRT = Spelling(
    system="TensorRT",
    api="IActivationLayer, kLEAKY_RELU",
    parameter="alpha",
    default=None,
    held="float32",
    formula="x > 0 ? x : a*x",
    line="layer.alpha = {slope}",
    number=single,
    refused=("infinite", "NaN"),
    instead="write it out with element-wise layers",
    source="NvInfer.h: setAlpha, which must be finite",
    not_run="needs a GPU",
    reader=read_tensorrt,
    writer=write_tensorrt,
)
