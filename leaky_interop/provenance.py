"""Where what a report names comes from: adapters by file and line, slopes by the layer that held them, versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .graph import Graph
from .layout import ChannelsLast
from .op import EXPORTERS
from .report.record import Slope

# What a framework calls LeakyReLU's slope, if not negative_slope.
SLOPES = {"onnx": "alpha", "tensorflow": "alpha", "chainer": "slope", "matlab": "Scale"}


def adapter(framework: str, op: Any) -> str:
    """File and line of the exporter that wrote an operator."""
    exporter = EXPORTERS.get((framework, type(op.op if isinstance(op, ChannelsLast) else op)))
    if exporter is None:
        return ""
    path = Path(exporter.__code__.co_filename)
    return f"leaky_interop/ops/{path.name}:{exporter.__code__.co_firstlineno}"


def slopes(graph: Graph) -> Iterator[Slope]:
    """Every leaky slope of a graph and where it came from."""
    for node in graph.all_nodes():
        op = node.op.op if isinstance(node.op, ChannelsLast) else node.op
        if hasattr(op, "negative_slope"):
            value: Any = op.negative_slope
        elif type(op).__name__ == "PRelu" and node.inputs[1] is not None and node.inputs[1].const is not None:
            array = node.inputs[1].array()
            value = (float(array.min()), float(array.max()))
        else:
            continue
        spelled = SLOPES.get(graph.framework, "negative_slope")
        yield Slope(node=node.name, value=value, stated=spelled not in node.left_out, origin=node.source)


def versions() -> dict[str, str]:
    """Versions of what is installed of the frameworks and runtimes that were loaded."""
    import sys
    from importlib import metadata

    names = ("numpy", "keras", "tensorflow", "torch", "onnx", "onnxruntime", "jax")
    return {name: metadata.version(name) for name in names if name in sys.modules}
