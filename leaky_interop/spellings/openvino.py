"""OpenVINO IR: PReLU with a constant slope. The .xml describes the layers, the .bin beside it holds the constants.

An IR has no LeakyReLU: OpenVINO reads it as PReLU, whose slope is a constant in the type of the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

import numpy as np

from ..errors import UnsafeFile, Usage
from ..numeric import dtype
from .spelling import Found, Spelling, single, text_of

TYPES = {"f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64"}
DEEPEST = 200  # elements inside of one another
MOST_NUMBERS = 1_000_000  # of one slope


class IR(NamedTuple):
    """The two files."""

    xml: str
    bin: bytes


@dataclasses.dataclass
class Layer:
    kind: str
    name: str
    line: int
    data: Mapping[str, str] = dataclasses.field(default_factory=dict)


class _Reader:
    """What of an .xml leads to slopes: layers by id, and from which layer each operand comes."""

    def __init__(self, text: str) -> None:
        self.layers: dict[str, Layer] = {}
        self.inputs: dict[tuple[str, str], str] = {}  # layer and port: the layer that it comes from
        self.path: list[tuple[str, Mapping[str, str]]] = []
        self.scopes = 0  # bodies of loops have layer ids of their own
        self.parser = expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self._refuse
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = lambda tag: self.path.pop()
        try:
            self.parser.Parse(text, True)
        except expat.ExpatError as error:
            raise Usage("the .xml does not parse", why=str(error)) from None

    def _refuse(self, *declaration: Any) -> None:
        raise UnsafeFile("the .xml declares a document type", why="entities may grow without bound or read other files")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if len(self.path) >= DEEPEST:
            raise UnsafeFile(f"the .xml nests more than {DEEPEST} elements")
        self.path.append((tag, attributes))
        if tag in ("net", "body", "then_body", "else_body"):
            self.scopes += 1
            attributes["scope"] = str(self.scopes)
        scope = next((a["scope"] for _, a in reversed(self.path) if "scope" in a), "0")
        if tag == "layer":
            made = Layer(attributes.get("type", ""), attributes.get("name", ""), self.parser.CurrentLineNumber)
            self.layers[f"{scope}:{attributes.get('id')}"] = made
        elif tag == "data" and len(self.path) > 1 and self.path[-2][0] == "layer":
            self.layers[f"{scope}:{self.path[-2][1].get('id')}"].data = attributes
        elif tag == "edge":
            to = (f"{scope}:{attributes.get('to-layer')}", attributes.get("to-port", ""))
            self.inputs[to] = f"{scope}:{attributes.get('from-layer')}"


def read(spelling: Spelling, source: Any) -> list[Found]:
    """Every PReLU whose slope is one constant; `source` is an IR, or the .xml's text alone, which holds no slopes."""
    xml, content = source if isinstance(source, tuple) else (source, b"")
    net = _Reader(text_of(xml, "an .xml"))
    found = []
    for key, layer in net.layers.items():
        if layer.kind != "PReLU":
            continue
        slopes = _constant(net, net.inputs.get((key, "1"), ""), content)
        place = {"name": layer.name, "line": layer.line}
        if slopes is None:
            found.append(spelling.judge(True, None, note="its slope is not in the .bin", **place))
        elif len({x.tobytes() for x in slopes}) != 1:
            found.append(spelling.judge(True, None, note=f"{len(slopes)} slopes, one per channel: PReLU", **place))
        else:
            note = "" if slopes.dtype == np.float32 else f"in {slopes.dtype.name}"
            found.append(spelling.judge(True, float(slopes[0]), note=note, **place))
    return found


def _constant(net: _Reader, key: str, content: bytes) -> np.ndarray | None:
    """The numbers of a constant, also behind a conversion of its type."""
    layer = net.layers.get(key)
    kind = None
    if layer is not None and layer.kind == "Convert":
        kind = TYPES.get(layer.data.get("destination_type", ""))
        layer = net.layers.get(net.inputs.get((key, "0"), ""))
    if layer is None or layer.kind != "Const" or layer.data.get("element_type") not in TYPES:
        return None
    own = dtype(TYPES[layer.data["element_type"]])
    try:
        start, size = int(layer.data["offset"]), int(layer.data["size"])
    except (KeyError, ValueError):
        return None
    if start < 0 or not 0 < size <= len(content) - start or size % own.itemsize or size > MOST_NUMBERS * own.itemsize:
        return None
    numbers = np.frombuffer(content, own, size // own.itemsize, start)
    return numbers if kind is None else numbers.astype(dtype(kind))


def write(spelling: Spelling, slope: float, name: str) -> IR:
    """An IR of the one operator on a vector."""
    port = '<port id="{}" precision="FP32"><dim>{}</dim></port>'
    anything, one = "-1", "1"
    data = f'<data element_type="f32" shape="?" />\n      <output>{port.format(0, anything)}</output>'
    constant = (
        f'<data element_type="f32" shape="1" offset="0" size="4" />\n      <output>{port.format(0, one)}</output>'
    )
    inside = f"<input>{port.format(0, anything)}{port.format(1, one)}</input>\n      <output>{port.format(2, anything)}"
    layers = (
        ("x", "Parameter", data),
        (f"{name}/slope", "Const", constant),
        (name, "PReLU", f"{inside}</output>"),
        (f"{name}/result", "Result", f"<input>{port.format(0, anything)}</input>"),
    )
    lines = ['<?xml version="1.0"?>', '<net name="network" version="11">', "  <layers>"]
    for number, (called, kind, body) in enumerate(layers):
        lines.append(f'    <layer id="{number}" name={quoteattr(called)} type="{kind}" version="opset1">')
        lines += [f"      {body}", "    </layer>"]
    lines += ["  </layers>", "  <edges>"]
    for start, port_out, end, port_in in ((0, 0, 2, 0), (1, 0, 2, 1), (2, 2, 3, 0)):
        lines.append(f'    <edge from-layer="{start}" from-port="{port_out}" to-layer="{end}" to-port="{port_in}" />')
    lines += ["  </edges>", "</net>", ""]
    return IR("\n".join(lines), np.float32(slope).tobytes())


OPENVINO = Spelling(
    system="OpenVINO",
    api="IR: PReLU of a constant",
    parameter="slope, an operand",
    default=None,
    held="float32",
    formula="x < 0 ? a*x : x",
    line='type="PReLU", its slope {slope} in the .bin',
    number=single,
    source="OpenVINO 2026.4.1; its reader of ONNX refuses NaN and infinite slopes, an IR takes them; float64 is computed in 32 bits",
    reader=read,
    writer=write,
)
