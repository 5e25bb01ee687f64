"""MXNet symbol JSON: LeakyReLU with act_type "leaky"; its numbers are texts, which MXNet reads by code of its own.

That code works in 32 bits from the first digit on, so that 1e38 is read as another number, and it takes no exponent
beyond 38. Reading here does the same, and writing looks for a text that MXNet reads as the slope.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..errors import Usage
from .spelling import Found, Spelling, text_of

LARGEST, SMALLEST = np.float32(3.402823466), np.float32(1.175494351)  # significands that go with the exponents +-38
NUMBER = re.compile(r"\s*([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?)(\d+))?[fF]?\s*")
MOST = 19  # digits after the point


def parsed(text: str) -> float | None:
    """The number that MXNet takes a text for; None where it refuses it."""
    if text.strip().lower() == "nan":
        return float("nan")
    match = NUMBER.fullmatch(text)
    if not match or not (match[2] or match[3]):
        return None
    sign, whole, fraction, direction, power = match.groups(default="")
    with np.errstate(all="ignore"):
        value = np.float32(int(whole or 0) % 2**64)
        fraction = fraction[:MOST]
        if fraction:
            value += np.float32(float(int(fraction)) / float(10 ** len(fraction)))
        exponent = int(power or 0)
        small = direction == "-"
        if exponent > 38 or (exponent == 38 and (value < SMALLEST if small else value > LARGEST)):
            return None
        scale = np.float32(1)
        for _ in range(exponent // 8):
            scale *= np.float32(1e8)
        for _ in range(exponent % 8):
            scale *= np.float32(10)
        value = value / scale if small else value * scale
        return float(-value if sign == "-" else value)


def texts(slope: float) -> Iterator[str]:
    """Ways to write a number: shortest first, then with more digits and with the point elsewhere."""
    yield str(np.float32(slope))
    for digits in range(17):
        yield f"{slope:.{digits}e}"
    for digits in range(1, 20):
        yield f"{slope:.{digits}f}"
    mantissa, _, exponent = f"{slope:.12e}".partition("e")
    for shift in range(1, 12):
        yield f"{float(mantissa) / 10**shift:.18f}e{int(exponent or 0) + shift}"


def number(slope: float) -> str:
    """A text that MXNet reads as this float, or "" where there is none."""
    wanted = np.float32(slope)
    if np.isnan(wanted):
        return "nan"
    for text in texts(slope):
        value = parsed(text)
        if value is not None and np.float32(value).tobytes() == wanted.tobytes():
            return text
    return ""


def read(spelling: Spelling, source: Any) -> list[Found]:
    """Every LeakyReLU node of the act_type "leaky", which is also the default."""
    text = text_of(source, "a symbol")
    try:
        nodes = json.loads(text)["nodes"]
        found = []
        for index, node in enumerate(nodes):
            if node["op"] != "LeakyReLU":
                continue
            settings = node.get("attrs") or node.get("attr") or node.get("param") or {}
            if settings.get("act_type", "leaky") != "leaky":
                continue
            stated = settings.get("slope")
            slope = None if stated is None else parsed(str(stated))
            note = "" if stated is None or slope is not None else f"MXNet does not read {str(stated)[:40]!r}"
            place = f"node {index}"
            found.append(spelling.judge(stated is not None, slope, name=str(node["name"]), place=place, note=note))
    except RecursionError:
        raise Usage("the symbol does not parse", why="it is nested too deeply") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Usage("the symbol does not parse", why=f"{type(error).__name__} {error}") from None
    return found


def write(spelling: Spelling, slope: float, name: str) -> str:
    if not number(slope):
        raise spelling.refusal(slope, "no text is read as it: MXNet takes exponents up to 38 and works in 32 bits")
    settings = {"act_type": "leaky", "slope": number(slope)}
    nodes = [
        {"op": "null", "name": "x", "inputs": []},
        {"op": "LeakyReLU", "name": name, "attrs": settings, "inputs": [[0, 0, 0]]},
    ]
    symbol = {"nodes": nodes, "arg_nodes": [0], "node_row_ptr": [0, 1, 2], "heads": [[1, 0, 0]]}
    return json.dumps(symbol | {"attrs": {"mxnet_version": ["int", 10901]}}, indent=2) + "\n"


MXNET = Spelling(
    system="MXNet",
    api="LeakyReLU symbol",
    parameter="slope",
    default=0.25,
    held="float32",
    formula="x > 0 ? x : a*x",
    line='"attrs": {"act_type": "leaky", "slope": "{slope}"}',
    number=number,
    refused=("infinite",),
    instead="use a slope that MXNet reads, or write the network as ONNX",
    source="src/operator/leaky_relu-inl.h, dmlc/strtonum.h, 1.9.1",
    reader=read,
    writer=write,
)
