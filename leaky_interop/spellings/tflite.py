"""LiteRT (TensorFlow Lite) .tflite: LEAKY_RELU with LeakyReluOptions.alpha, quantised or not.

The numbers of fields are those of tensorflow/compiler/mlir/lite/schema/schema.fbs, version 3.
"""

from __future__ import annotations

import struct
from typing import Any

from ..errors import LeakyInteropError, Usage, require
from .spelling import Found, Spelling, single

IDENTIFIER = b"TFL3"
LEAKY_RELU = 98  # BuiltinOperator
OPTIONS = 75  # BuiltinOptions: LeakyReluOptions
FLOAT32 = 0  # TensorType
TYPES = {0: "float32", 1: "float16", 3: "uint8", 7: "int16", 9: "int8"}
OPERATORS = 3  # the field of a subgraph


class Table:
    """A table of a flatbuffer: its fields by number."""

    def __init__(self, content: bytes, place: int) -> None:
        self.table = require("flatbuffers").table.Table(content, place)

    def offset(self, field: int) -> int:
        """Where a field stands in the content; 0 where it is left out."""
        found = self.table.Offset(4 + 2 * field)
        return found and found + self.table.Pos

    def number(self, field: int, kind: str, default: float | None) -> Any:
        """A field as struct's format `kind`, or the schema's default."""
        place = self.offset(field)
        return struct.unpack_from(f"<{kind}", self.table.Bytes, place)[0] if place else default

    def inner(self, field: int) -> Table | None:
        place = self.offset(field)
        return self._at(place) if place else None

    def tables(self, field: int) -> list[Table]:
        return list(map(self._at, self.places(field)))

    def table_of(self, field: int, index: int) -> Table:
        return self._at(self.places(field)[index])

    def integers(self, field: int) -> list[int]:
        return [struct.unpack_from("<i", self.table.Bytes, place)[0] for place in self.places(field)]

    def text(self, field: int) -> str:
        place = self.offset(field)
        return self.table.String(place).decode("utf-8", "replace") if place else ""

    def _at(self, place: int) -> Table:
        return Table(self.table.Bytes, self.table.Indirect(place))

    def places(self, field: int) -> range:
        """Where the entries of a list stand, 4 bytes each."""
        found = self.table.Offset(4 + 2 * field)
        if not found:
            return range(0)
        start, count = self.table.Vector(found), self.table.VectorLen(found)
        if start < 0 or start + 4 * count > len(self.table.Bytes):
            raise ValueError("a list goes beyond the end of the file")
        return range(start, start + 4 * count, 4)


def read(spelling: Spelling, source: Any) -> list[Found]:
    """Every LEAKY_RELU of a model; where alpha is left out the schema's default is 0."""
    content = bytes(source)
    if content[4:8] != IDENTIFIER:
        raise Usage("the bytes are no TensorFlow Lite model", why="they do not say TFL3")
    try:
        model = Table(content, struct.unpack_from("<I", content)[0])
        codes = [max(c.number(0, "b", 0), c.number(3, "i", 0)) for c in model.tables(1)]
        graphs = model.tables(2)
        if 4 * sum(len(graph.places(OPERATORS)) for graph in graphs) > len(content):
            raise ValueError("its subgraphs hold more operators than the file")  # lists that are one and the same
        return [found for i, graph in enumerate(graphs) for found in _slopes(spelling, graph, codes, i)]
    except LeakyInteropError:
        raise
    except (struct.error, IndexError, ValueError, TypeError, OverflowError) as error:
        raise Usage("the TensorFlow Lite model is damaged", why=str(error)) from None


def _slopes(spelling: Spelling, graph: Table, codes: list[int], index: int) -> list[Found]:
    found = []
    for number, operator in enumerate(graph.tables(OPERATORS)):
        if codes[operator.number(0, "I", 0)] != LEAKY_RELU:
            continue
        output = graph.table_of(0, operator.integers(2)[0])
        kind = output.number(1, "b", FLOAT32)
        options = operator.inner(4) if operator.number(3, "B", 0) == OPTIONS else None
        alpha = options.number(0, "f", None) if options is not None else None
        place = f"operator {number}" + (f" of subgraph {index}" if index else "")
        note = "" if kind == FLOAT32 else f"quantised: {TYPES.get(kind, 'other')}"
        found.append(spelling.judge(alpha is not None, alpha, name=output.text(3), place=place, note=note))
    return found


def write(spelling: Spelling, slope: float, name: str) -> bytes:
    """A model of the one operator on one float32."""
    builder = require("flatbuffers").Builder(256)
    builder.ForceDefaults(True)  # an alpha of 0 is stated too

    def vector(places: list[int], offsets: bool = True) -> int:
        builder.StartVector(4, len(places), 4)
        for place in reversed(places):
            (builder.PrependUOffsetTRelative if offsets else builder.PrependInt32)(place)
        return builder.EndVector()

    def table(**fields: tuple[str, int, Any]) -> int:
        builder.StartObject(1 + max(slot for _, slot, _ in fields.values()))
        for kind, slot, value in fields.values():
            getattr(builder, f"Prepend{kind}Slot")(slot, value, 0)
        return builder.EndObject()

    offset = "UOffsetTRelative"
    description = builder.CreateString("leaky_interop")
    names = [builder.CreateString(text) for text in ("x", name)]
    shape = vector([1], offsets=False)
    tensors = [
        table(shape=(offset, 0, shape), type=("Int8", 1, FLOAT32), buffer=("Uint32", 2, 0), name=(offset, 3, called))
        for called in names
    ]
    inputs, outputs = vector([0], offsets=False), vector([1], offsets=False)
    operator = table(
        code=("Uint32", 0, 0), inputs=(offset, 1, inputs), outputs=(offset, 2, outputs), kind=("Uint8", 3, OPTIONS),
        options=(offset, 4, table(alpha=("Float32", 0, slope))),
    )  # fmt: skip
    graph = table(
        tensors=(offset, 0, vector(tensors)), inputs=(offset, 1, inputs), outputs=(offset, 2, outputs),
        operators=(offset, 3, vector([operator])),
    )  # fmt: skip
    codes = table(old=("Int8", 0, LEAKY_RELU), version=("Int32", 2, 1), code=("Int32", 3, LEAKY_RELU))
    buffer = table(data=(offset, 0, vector([], offsets=False)))
    lists = {"codes": (offset, 1, vector([codes])), "graphs": (offset, 2, vector([graph]))}
    model = table(
        version=("Uint32", 0, 3), **lists, description=(offset, 3, description), buffers=(offset, 4, vector([buffer]))
    )
    builder.Finish(model, file_identifier=IDENTIFIER)
    return bytes(builder.Output())


TFLITE = Spelling(
    system="LiteRT",
    api="LEAKY_RELU",
    parameter="LeakyReluOptions.alpha",
    default=0.0,
    held="float32",
    formula="x > 0 ? x : a*x",
    line="LeakyReluOptions { alpha: {slope} }",
    number=single,
    source="schema.fbs, version 3; the default converter removes the operator for alpha = 1",
    reader=read,
    writer=write,
)
