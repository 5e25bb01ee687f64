"""Says what a network takes, gives and is made of, without converting it: `inspect`.

Operators that nothing reads are part of the answer, not an error: everything around them is shown.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from . import frameworks
from .errors import Unsupported
from .frameworks.base import Unread
from .graph import Graph, Parameter, Value
from .loading import load, open_model
from .op import EXPORTERS
from .ops.transpose import Transpose
from .passes.idioms import NearMiss, near_misses
from .provenance import slopes
from .report.phrases import printable
from .report.phrases import slope as written
from .report.record import Slope

DEFAULTS = {  # what is known of a slope that is the framework's default
    "keras": "Keras' default, or stated with the same number: a Keras layer does not keep which",
    "torch": "PyTorch's default, or stated with the same number: torch.export does not keep which",
    "onnx": "ONNX's default: the file leaves alpha out",
    "chainer": "Chainer's default, or stated with the same number: a function does not keep which",
    "tensorflow": "stated with ONNX's default, which tf2onnx leaves out",
    "matlab": "MATLAB's default: the layer is given no scale",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Port:
    """An input or output; an open size is given by its name."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.name}  {self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspected:
    """A leaky slope and what decided it."""

    node: str
    value: float | tuple[float, float]
    given: str  # in words: stated, or the framework's default
    origin: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inspection:
    """What can be said of a network without running it."""

    model: str
    framework: str
    format: dict[str, str]  # ONNX: operator sets, IR version, producer
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    parameters: int
    trainable: int
    bytes: int
    operators: dict[str, int]
    slopes: tuple[Inspected, ...]
    near_misses: tuple[NearMiss, ...]  # what looks like LeakyReLU and was left as it is, and why
    unsupported: tuple[tuple[str, str], ...]  # native operator, where it stands
    converts: dict[str, tuple[str, ...]]  # by framework, the operators that it has no exporter for
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    layers: tuple[Any, ...] = ()  # MATLAB: the rows of its own table
    listing: str = ""  # ... and the table as it prints it

    def to_json(self) -> str:
        """The same as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2, default=str) + "\n"

    def __str__(self) -> str:
        return "\n".join(printable(line) for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield self.model
        yield from self.listing.splitlines()
        yield from _section("inputs", map(str, self.inputs))
        yield from _section("outputs", map(str, self.outputs))
        frozen = self.parameters - self.trainable
        yield f"parameters: {self.parameters:,} ({self.trainable:,} trainable, {frozen:,} not), {_size(self.bytes)}"
        yield from _section("operators", (f"{name} {count}" for name, count in self.operators.items()))
        yield from _section("slopes", (f"{s.node}  {written(s.value)}  {s.given}" for s in self.slopes))
        near = (f"{m.node}  {m.spelling}: {m.reason}" for m in self.near_misses)
        yield from _section("left as they are spelled", near)
        yield from _section("format", (f"{name} {value}" for name, value in self.format.items()))
        yield from _section("unsupported", (f"{native} at {where}" for native, where in self.unsupported))
        yield from _section("converts to", (f"{name}: {self._answer(name)}" for name in self.converts))
        yield from _section("warnings", self.warnings)
        yield from _section("notes", self.notes)

    def _answer(self, target: str) -> str:
        missing = [*(f"{native} is not read" for native in dict.fromkeys(n for n, _ in self.unsupported))]
        missing += [f"{name} is not written" for name in self.converts[target]]
        return f"no, {', '.join(missing)}" if missing else "yes"


def inspect(
    model: Any,
    example: Any = None,
    input_shapes: Any = None,
    *,
    weights: Any = None,
    fast_math: bool = False,
    allow_root: str | os.PathLike[str] | None = None,
    trust: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    signature: str | None = None,
) -> Inspection:
    """What a network takes, gives and is made of.

    Parameters
    ----------
    model : a Keras, PyTorch or ONNX model, a path, or "package.module:factory"
    example, input_shapes, weights, fast_math, allow_root, trust, custom_objects, signature : as for `load`
    """
    native = open_model(
        model, weights, allow_root=allow_root, trust=trust, custom_objects=custom_objects, signature=signature
    )
    framework = frameworks.of(native) or ""
    engine = frameworks.get(framework)
    missing: list[tuple[str, str]] = []
    try:
        graph = load(native, example, input_shapes, fast_math=fast_math)
    except Unsupported as error:
        if error.partial is None:
            raise
        graph = error.partial
        missing = [(row.native, row.where) for row in error.missing]
    held = [(p, *_count(p)) for p in graph.parameters()]
    warnings = engine.hazards(native) if hasattr(engine, "hazards") else []
    missed = tuple(near_misses(graph))
    warnings += [f"{m.origin or m.node}: {m.warning}" for m in missed if m.warning]
    return Inspection(
        model=graph.description,
        framework=framework,
        format=_format(native) if framework == "onnx" else {},
        inputs=tuple(_port(v.name, v) for v in graph.inputs),
        outputs=tuple(_port(n, v) for n, v in zip(graph.output_names, graph.outputs, strict=False)),
        parameters=sum(count for _, count, _ in held),
        trainable=sum(count for p, count, _ in held if p.trainable),
        bytes=sum(size for _, _, size in held),
        operators=_operators(graph),
        slopes=tuple(_slope(framework, s) for s in slopes(graph)),
        near_misses=missed,
        unsupported=tuple(missing),
        converts={target: _not_written(graph, target) for target in frameworks.NAMES},
        warnings=tuple(warnings),
        notes=tuple(note for note in graph.notes if note not in warnings),
        **_table(native) if framework == "matlab" else {},
    )


def _port(name: str, value: Value) -> Port:
    shape = tuple(d if isinstance(d, int) else str(d) for d in value.shape)
    return Port(name=name, shape=shape, dtype=value.dtype.name)


def _count(parameter: Parameter) -> tuple[int, int]:
    """Numbers and bytes of a weight as its owner keeps it."""
    kept = parameter.read() if any(kind in ("take", "cast") for kind, *_ in parameter.steps) else parameter
    count = math.prod(kept.shape)
    return count, count * kept.dtype.itemsize


def _operators(graph: Graph) -> dict[str, int]:
    """Canonical operators by name; the transposes that only stand between two layouts are none of the network's."""
    names = [
        f"{n.op.native} (not read)" if isinstance(n.op, Unread) else type(n.op).__name__
        for n in graph.all_nodes()
        if n.name or not isinstance(n.op, Transpose)
    ]
    return dict(sorted(Counter(names).items()))


def _not_written(graph: Graph, target: str) -> tuple[str, ...]:
    kinds = {type(n.op) for n in graph.all_nodes() if not isinstance(n.op, Unread)}
    return tuple(sorted(kind.__name__ for kind in kinds if (target, kind) not in EXPORTERS))


def _slope(framework: str, found: Slope) -> Inspected:
    """A slope with what decided it, as far as the framework keeps that."""
    if isinstance(found.value, tuple):
        given = "weights of the network, smallest to largest"
    elif found.stated:
        given = "stated" + (", in 32 bits" if framework == "onnx" else "")
    else:
        given = DEFAULTS[framework]
    return Inspected(node=found.node, value=found.value, given=given, origin=found.origin)


def _table(network: Any) -> dict[str, Any]:
    from .frameworks.matlab.listing import listing, rows

    return {"layers": tuple(rows(network)), "listing": listing(network)}


def _format(model: Any) -> dict[str, str]:
    from .ort import as_proto

    proto = as_proto(model)
    opsets = ", ".join(f"{o.domain or 'ai.onnx'} {o.version}" for o in proto.opset_import)
    producer = " ".join(filter(None, (proto.producer_name, proto.producer_version)))
    return {"opset": opsets, "IR": str(proto.ir_version)} | ({"producer": producer} if producer else {})


def _section(title: str, entries: Any) -> Iterator[str]:
    lines = [f"  {entry}" for entry in entries]
    if lines:
        yield from (f"{title}:", *lines)


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            break
        count /= 1000
    return f"{count:.3g} {unit}"
