"""Writes the first node that differs as a model of its own, with its inputs: enough for a bug report, and no more.

What is written tells nothing of the rest of the network: one canonical operator (or the few that could only be judged
together), the weights it holds, one set of inputs, and what either side made of them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import files, frameworks
from .draws import turned
from .errors import LeakyInteropError, Usage
from .graph import Graph, Parameter, Value, label
from .layout import ChannelsLast, native_ports, to_first, to_last
from .ops.transpose import Transpose
from .report.phrases import measured, worst
from .report.record import NodeResult

if TYPE_CHECKING:
    from .verification import Evidence

MODEL, INPUTS, EXPECTED, RECEIVED, TEXT = "node.onnx", "inputs.npz", "expected.npz", "received.npz", "README.txt"


@contextlib.contextmanager
def reproducing(folder: str | os.PathLike[str] | None) -> Iterator[Callable[[Evidence], None] | None]:
    """What collects evidence during a verification; after it, that of the first bad node is written to `folder`."""
    if folder is None:
        yield None
        return
    if not Path(folder).absolute().parent.is_dir():
        raise Usage(f"the folder of {Path(folder).name} does not exist", hint="Make it first")
    found: list[tuple[tuple[int, int], Reproducer]] = []

    def collect(evidence: Evidence) -> None:
        if not found or evidence.place <= found[0][0]:
            found[:] = [(evidence.place, Reproducer.of(evidence))]

    yield collect
    if found:
        found[0][1].write(Path(folder))


@dataclasses.dataclass
class Reproducer:
    """One node as a network: its graph, its inputs by name, and both results."""

    graph: Graph
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    received: dict[str, np.ndarray]
    result: NodeResult

    @classmethod
    def of(cls, evidence: Evidence) -> Reproducer:
        """The network that the evidence is about, its arrays in the network's own layout."""
        graph, arrays = _network(evidence)
        inputs, outputs = graph.input_perms, graph.output_perms
        place = next(i for i, v in enumerate(evidence.nodes[-1].outputs) if v is evidence.value)
        name = graph.output_names[place]
        given = {v.name: turned(a, p) for v, a, p in zip(graph.inputs, arrays, inputs, strict=True)}
        expected, received = (turned(a, outputs[place]) for a in (evidence.expected, evidence.received))
        return cls(graph, given, {name: expected}, {name: received}, evidence.result)

    def write(self, folder: Path) -> None:
        """Write the model, its arrays and the text of the failure."""
        folder.mkdir(exist_ok=True)
        problem = ""
        try:
            engine = frameworks.get("onnx")
            model, _ = engine.build(engine.prepare(self.graph))
            with files.atomic(folder / MODEL) as path:
                engine.save(model, path, self.graph)
        except LeakyInteropError as error:
            problem = str(error)
        for name, arrays in ((INPUTS, self.inputs), (EXPECTED, self.expected), (RECEIVED, self.received)):
            with files.atomic(folder / name) as path:
                files.write_npz(path, arrays)
        with files.atomic(folder / TEXT) as path:
            path.write_text("\n".join(self.lines(problem)) + "\n", encoding="utf-8")

    def lines(self, problem: str) -> Iterator[str]:
        """The text of the failure."""
        result = self.result
        yield f"{result.name}: {result.op}"
        yield f"  source       {result.source}"
        yield f"  adapter      {result.adapter}"
        yield f"  result       {result.dtype}{list(result.shape)}"
        yield f"  rule         {result.rule}"
        yield f"  own error    {result.problem or measured(result.own)}"
        if result.own and result.own.absolute:
            yield f"  worst        {worst(result.own)}"
        if result.covers:
            yield f"  judged with  {', '.join(result.covers)}, whose results the source does not show"
        yield ""
        yield str(self.graph)
        yield ""
        if problem:
            yield f"It cannot be written as ONNX: {problem}"
        else:
            yield f"{MODEL}     the node alone: leaky-interop run {MODEL} --input {INPUTS}"
        yield f"{INPUTS}    what it was fed"
        yield f"{EXPECTED}  what the source made of it"
        yield f"{RECEIVED}  what the target made of it"


def _network(evidence: Evidence) -> tuple[Graph, list[np.ndarray]]:
    """The nodes as a graph with ports in the canonical layout, and what its inputs are fed."""
    graph = Graph()
    graph.description = f"the node {evidence.result.name!r} alone"
    arrays: list[np.ndarray] = []
    made: dict[int, Value | None] = {}

    def operand(value: Value | None) -> Value | None:
        if value is None or id(value) in made:
            return None if value is None else made[id(value)]
        array = np.asarray(evidence.array_of(value))
        if value.const is None:
            arrays.append(array)
            made[id(value)] = graph.input(f"input_{len(arrays) - 1}", array.shape, array.dtype)
        elif value.const.name:
            name = value.const.name.rpartition(".")[2]
            made[id(value)] = graph.parameter(
                Parameter(name, array.shape, array.dtype, lambda: array, value.const.root, value.const.trainable)
            )
        else:
            made[id(value)] = graph.constant(array)
        return made[id(value)]

    for node in evidence.nodes:
        operands = [operand(v) for v in node.inputs]
        last = isinstance(node.op, ChannelsLast)
        operator = node.op.op if isinstance(node.op, ChannelsLast) else node.op
        if last and operands[0] is not None:
            operands[0] = Transpose(perm=to_first(operands[0].rank))(operands[0])
        graph.source = node.source
        results = list(graph.emit(operator.bound(evidence.sizes), operands))
        for old, new in zip(node.outputs, results, strict=True):
            made[id(old)] = Transpose(perm=to_last(new.rank))(new) if last else new
    graph.outputs = [v for old in evidence.nodes[-1].outputs if (v := made[id(old)]) is not None]
    graph.output_names = ["output"] if len(graph.outputs) == 1 else [f"output_{i}" for i in range(len(graph.outputs))]
    label(graph)
    return native_ports(graph), arrays
