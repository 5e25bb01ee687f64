"""ncnn .param: a ReLU layer's `0=slope`, and the activations that were fused into other layers.

ncnn reads numbers by code of its own: at most 15 characters; one without a point or exponent is an integer, whose
bits then count as a float's; "nan" and "inf" are 0. Reading here does the same, and writing looks for a text that ncnn
reads as the slope.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ..errors import Usage
from .spelling import Found, Spelling, text_of

MAGIC = "7767517"
LONGEST = 15  # characters of a number
FUSED = ("Convolution", "ConvolutionDepthWise", "Deconvolution", "DeconvolutionDepthWise", "InnerProduct")
FUSED = (*FUSED, *(f"{kind}{n}" for kind in FUSED[:4] for n in ("1D", "3D")))
NUMBER = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?)(\d*))?")
UNSIGNED = 2**32


def parsed(text: str) -> float:
    """The number that ncnn takes a text for."""
    text = text[:LONGEST]
    if "." not in text and "e" not in text.lower():
        whole = re.match(r"[+-]?\d+", text)
        bits = int(whole[0]) if whole else 0  # the integer stays an integer: its bits are read as a float
        return float(np.uint32(bits % UNSIGNED).view(np.float32))
    sign, whole_digits, fraction, direction, power = NUMBER.match(text).groups(default="")  # type: ignore[union-attr]
    value = float(int(whole_digits or 0) % UNSIGNED)
    if fraction:
        value += (int(fraction) % UNSIGNED) / max(10 ** len(fraction) % UNSIGNED, 1)
    exponent = min(int(power or 0), 1000)
    scale = np.float64(1.0)
    with np.errstate(all="ignore"):
        for _ in range(exponent // 8):
            scale *= 1e8
        for _ in range(exponent % 8):
            scale *= 10.0
        value = np.float64(value)
        value = value / scale if direction == "-" else value * scale
        return float(np.float32(-value if sign == "-" else value))


def number(slope: float) -> str:
    """A text that ncnn reads as this float; `Refused` by `write` where there is none."""
    digits = np.float32(slope)
    for precision in range(9):
        text = f"{digits:.{precision}e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
        if len(text) <= LONGEST and np.float32(parsed(text)).tobytes() == digits.tobytes():
            return text
    return ""


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
        if len(rest) < 3 or not (rest[1].isdigit() and rest[2].isdigit()):
            raise Usage("the .param does not parse", why=f"line {line}: a layer's name and its two counts are expected")
        settings = dict(word.partition("=")[::2] for word in rest[3 + int(rest[1]) + int(rest[2]) :])
        place = {"name": rest[0], "line": line}
        if kind == "ReLU":
            stated = settings.get("0")
            found.append(spelling.judge(stated is not None, parsed(stated) if stated else None, **place))
        elif settings.get("9") == "2":
            _, _, numbers = settings.get("-23310", "").partition(",")
            first = numbers.partition(",")[0]
            found.append(spelling.judge(bool(first), parsed(first) if first else None, note=f"in {kind}", **place))
    return found


def write(spelling: Spelling, slope: float, name: str) -> str:
    if not number(slope):
        raise spelling.refusal(slope, f"no number of {LONGEST} characters is read as it")
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
    number=number,
    refused=("infinite", "NaN"),
    instead="it would be read as 0",
    source="src/layer/relu.cpp, src/paramdict.cpp; slope 0 computes max(x, 0)",
    reader=read,
    writer=write,
)
