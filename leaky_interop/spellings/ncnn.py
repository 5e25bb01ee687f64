"""ncnn .param: a ReLU layer's `0=slope`, and the activations that were fused into other layers.

"nan" and "inf" are read as 0 (measured). Releases of 2020 take a number without a point or exponent for the bits of an
integer, so what is written here always has one.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from ..errors import Usage
from .spelling import Found, Spelling, single, text_of

MAGIC = "7767517"
KINDS = ("Convolution", "ConvolutionDepthWise", "Deconvolution", "DeconvolutionDepthWise")
FUSED = ("InnerProduct", *KINDS, *(f"{kind}{dimensions}" for kind in KINDS for dimensions in ("1D", "3D")))
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def parsed(text: str) -> float | None:
    """The number that ncnn takes a text for; None where it does not load the file."""
    if text in ("nan", "inf"):
        return 0.0
    if not NUMBER.fullmatch(text):
        return None
    with np.errstate(over="ignore"):
        value = float(np.float32(text))
    return value if math.isfinite(value) else None


def read(spelling: Spelling, source: Any) -> list[Found]:
    """Every ReLU layer, and activation type 2 in layers that compute it themselves."""
    lines = text_of(source, "a .param").splitlines()
    if not lines or lines[0].strip() != MAGIC:
        raise Usage("the .param does not parse", why=f"its first line is not {MAGIC}")
    found = []
    for line, text in enumerate(lines[2:], 3):
        kind, *rest = text.split() or [""]
        if kind != "ReLU" and kind not in FUSED:
            continue
        if len(rest) < 3 or not all(count.isascii() and count.isdigit() for count in rest[1:3]):
            raise Usage("the .param does not parse", why=f"line {line}: a layer's name and its two counts are expected")
        settings = dict(word.partition("=")[::2] for word in rest[3 + int(rest[1]) + int(rest[2]) :])
        place = {"name": rest[0], "line": line}
        if kind == "ReLU":
            stated, note = settings.get("0"), ""
        elif settings.get("9") == "2":  # activation_type: leaky; its parameters are the array 10
            stated, note = f"{settings.get('-23310', '')},,".split(",")[1], f"in {kind}"
        else:
            continue
        slope = None if stated is None else parsed(stated)
        if stated in ("nan", "inf"):
            note = f"ncnn reads {stated} as 0"
        found.append(spelling.judge(stated is not None, slope, note=note, **place))
    return found


def write(spelling: Spelling, slope: float, name: str) -> str:
    word = "".join(name.split())
    return f"{MAGIC}\n2 2\nInput x 0 1 x\nReLU {word} 1 1 x {word} {spelling.says(slope)}\n"


NCNN = Spelling(
    system="ncnn",
    api="ReLU layer",
    parameter="0",
    default=0.0,
    held="float32",
    formula="x < 0 ? a*x : x",
    line="0={slope}",
    number=single,
    refused=("infinite", "NaN"),
    instead="it would be read as 0",
    source="src/layer/relu.cpp, 1.0.20261020; slope 0 computes max(x, 0)",
    reader=read,
    writer=write,
)
