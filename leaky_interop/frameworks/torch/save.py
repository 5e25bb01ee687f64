"""Saves PyTorch: an exported program (`.pt2`), or source code (`.py`) beside its weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import IO, Any

import torch

from ...deferring import Deferred
from ...draws import example_arrays
from ...errors import Refused
from ...graph import Graph
from ...kinds import element
from ...sizes import Size
from .export import named
from .places import TEXT, has_text


def save(model: Any, path: Path, graph: Graph) -> None:
    """Write a `.pt2`, exported with the graph's open dimensions; or source code (`.py`) with its `.safetensors`."""
    if path.suffix in (".safetensors", ".py"):
        from .source import save_source

        save_source(model, path, graph)
        return
    if any(map(has_text, graph.all_nodes())) or any(element(v.dtype) == TEXT for v in graph.inputs):
        hint = "Write .safetensors, whose source holds it in arrays of str"
        raise Refused("a .pt2 of text", graph.description, "torch.export takes tensors, and there are none of text", hint)
    flows = any(node.op.bodies for node in graph.nodes)
    if flows:
        torch._dynamo.reset()  # torch traces loops by what it compiled before, whose sizes it would take for fixed
    example = tuple(torch.from_numpy(a) for a in example_arrays(graph, batch=2))
    open_axes = [{i: torch.export.Dim.AUTO for i, d in enumerate(v.shape) if isinstance(d, Size)} for v in graph.inputs]
    try:
        with torch.no_grad():
            program = torch.export.export(named(model), example, dynamic_shapes=tuple(open_axes), strict=False)
    except Exception as error:  # whatever torch raises
        if flows:
            raise _no_flow(graph, str(error).strip().partition("\n")[0]) from error
        if computed := [n for n in graph.nodes if isinstance(n.op, Deferred)]:
            why = "torch.export takes no shape, axis or count that is read from a tensor, unless it is told what they may be"
            hint = "Write a .safetensors file, with the source beside it, or make constants of the numbers"
            raise Refused(f"{computed[0].op} in a .pt2 file", computed[0].source, why, hint) from error
        raise
    if flows and (fixed := _fixed(graph, program)):
        raise _no_flow(graph, f"it fixes the sizes {', '.join(fixed)}")
    for module in program.graph_module.modules():
        for node in module.graph.nodes if isinstance(module, torch.fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # it names files of this machine
            stack = node.meta.get("nn_module_stack") or {}  # inside branches torch leaves classes, and then saves only names
            node.meta["nn_module_stack"] = {k: (path, _dotted(kind)) for k, (path, kind) in stack.items()}
    with path.open("wb") as file:
        sink = Sink(file)
        torch.export.save(program, sink)
        if sink.error is not None:
            raise sink.error


@dataclasses.dataclass
class Sink:
    """A file for torch's own archive writer, which aborts the process where a write fails: the first error is kept."""

    file: IO[bytes]
    error: OSError | None = None

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                self.file.write(data)
            except OSError as error:  # a full disk
                self.error = error
        return memoryview(data).nbytes


def _dotted(kind: Any) -> Any:
    return f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else kind


def _fixed(graph: Graph, program: torch.export.ExportedProgram) -> list[str]:
    """The open sizes of a graph's inputs that an export took for fixed."""
    from torch.fx.experimental.symbolic_shapes import is_concrete_int

    shapes = {n.name: n.meta["val"].shape for n in program.graph.nodes if n.op == "placeholder"}
    traced = [shapes[name] for name in program.graph_signature.user_inputs if isinstance(name, str)]
    pairs = [pair for v, shape in zip(graph.inputs, traced, strict=True) for pair in zip(v.shape, shape, strict=True)]
    return [str(dim) for dim, size in pairs if isinstance(dim, Size) and is_concrete_int(size)]


def _no_flow(graph: Graph, why: str) -> Refused:
    hint = "Write .safetensors, whose source runs them as Python, or fix sizes and numbers of rounds"
    return Refused("a .pt2 of loops and branches", graph.description, f"torch.export does not take these: {why}", hint)
