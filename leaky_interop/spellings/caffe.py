"""Caffe .prototxt: a ReLU layer's relu_param.negative_slope, in protobuf's text format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import Usage
from .spelling import Found, Spelling, single, text_of
from .tensorrt import c_literal
from .tokens import Token, number_of, tokens

DEEPEST = 100  # protobuf's own limit
NAMES = {"nan": math.nan, "inf": math.inf, "infinity": math.inf}

Message = dict[str, list[tuple[Any, int]]]  # by field: tokens of a value or another Message, and the line


def message(found: Sequence[Token]) -> Message:
    """A message in protobuf's text format; every field may stand several times."""
    top: Message = {}
    stack, index = [top], 0
    while index < len(found):
        token = found[index]
        index += 1
        if token.text in ("}", ">"):
            if len(stack) == 1:
                raise Usage("the prototxt does not parse", why=f"line {token.line} closes what was never opened")
            stack.pop()
        elif token.kind == "name":
            index += index < len(found) and found[index].text == ":"
            values: list[Token] = []
            if index < len(found) and found[index].text in ("{", "<"):
                inner: Message = {}
                stack[-1].setdefault(token.text, []).append((inner, token.line))
                stack.append(inner)
                index += 1
                if len(stack) > DEEPEST:
                    raise Usage("the prototxt does not parse", why=f"it is nested more than {DEEPEST} deep")
                continue
            while index < len(found) and found[index].text == "-":
                values.append(found[index])
                index += 1
            values += found[index : index + 1]
            index += 1
            stack[-1].setdefault(token.text, []).append((values, token.line))
        elif token.text not in (",", ";"):
            raise Usage("the prototxt does not parse", why=f"line {token.line}: a field's name is expected")
    if len(stack) > 1:
        raise Usage("the prototxt does not parse", why="it ends inside of a message")
    return top


def read(spelling: Spelling, source: Any) -> list[Found]:
    """Every ReLU layer: `layer`, or `layers` as before 2015. A ReLU that states no slope has the slope 0."""
    net = message(tokens(text_of(source, "a prototxt"), "#"))
    found = []
    for layer, line in sorted([*net.get("layer", []), *net.get("layers", [])], key=lambda pair: pair[1]):
        if not isinstance(layer, dict) or _text(layer, "type") not in ("ReLU", "RELU"):
            continue
        stated = None
        for parameter, _ in layer.get("relu_param", []):
            for value, where in parameter.get("negative_slope", []) if isinstance(parameter, dict) else []:
                stated, line = value, where  # of several the last counts
        slope = number_of(stated, c_literal, NAMES) if isinstance(stated, list) else None
        found.append(spelling.judge(stated is not None, slope, name=_text(layer, "name"), line=line))
    return found


def _text(layer: Message, field: str) -> str:
    value = layer.get(field, [([], 0)])[-1][0]
    return value[-1].text.strip("\"'") if isinstance(value, list) and value else ""


def write(spelling: Spelling, slope: float, name: str) -> str:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    settings = f'name: "{quoted}"\n  type: "ReLU"\n  bottom: "x"\n  top: "{quoted}"'
    return f"layer {{\n  {settings}\n  {spelling.says(slope)}\n}}\n"


CAFFE = Spelling(
    system="Caffe",
    api="ReLU layer",
    parameter="relu_param.negative_slope",
    default=0.0,
    held="float32",
    formula="max(x, 0) + a*min(x, 0)",
    line="relu_param { negative_slope: {slope} }",
    number=single,
    source="caffe.proto ReLUParameter, src/caffe/layers/relu_layer.cpp",
    not_run="no package of it is built for Python 3",
    reader=read,
    writer=write,
)
