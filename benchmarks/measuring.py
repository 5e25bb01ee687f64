"""How time and size are measured. Imports no framework: it looks at what is loaded."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

SHORTEST_RUN = 0.005  # seconds; shorter calls are repeated within one run, or the clock and the loop would be measured
PACKAGES = ("keras", "torch", "tensorflow", "onnx", "onnx_ir", "onnxruntime", "numpy")
MOVING = ("transpose", "permute", "moveaxis", "movedim", "swapaxes")


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """How long a call takes, and what it returns."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def interleaved(calls: Sequence[Callable[[], Any]], runs: int) -> list[float]:
    """Median seconds of each call over `runs` rounds, in each of which every call has its turn, in changing order."""
    repeats = [max(1, round(SHORTEST_RUN / min(seconds(call)[0] for _ in range(3)))) for call in calls]
    times: list[list[float]] = [[] for _ in calls]
    gc.collect()
    gc.disable()
    try:
        for turn in range(runs):
            order = range(len(calls))
            for index in reversed(order) if turn % 2 else order:
                call, count = calls[index], repeats[index]
                start = time.perf_counter()
                for _ in range(count):
                    call()
                times[index].append((time.perf_counter() - start) / count)
    finally:
        gc.enable()
    return [statistics.median(t) for t in times]


def size(model: Any) -> dict[str, int]:
    """Nodes and transposes of a converted model: a path to an ONNX file, a PyTorch module or a Keras model.

    Constants, inputs and outputs are no nodes, nor is taking one of several results. Of a module that is no fx graph,
    the innermost modules are counted.
    """
    kinds = onnx_kinds(model) if isinstance(model, Path) else _torch_kinds(model) or _keras_kinds(model)
    moving = [k for k in kinds if any(word in k for word in MOVING) and "conv" not in k]
    return {"nodes": len(kinds), "transposes": len(moving)}


def onnx_kinds(path: Path) -> list[str]:
    """The operators of an ONNX file's nodes in lower case, constants left out."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    return [node.op_type.lower() for node in nodes if node.op_type != "Constant"]


def _torch_kinds(model: Any) -> list[str]:
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(model, torch.nn.Module) or hasattr(model, "get_config"):  # a Keras model
        return []
    if not isinstance(model, torch.fx.GraphModule):
        return [type(m).__name__.lower() for m in model.modules() if not any(m.children())]
    kinds = []
    for node in model.graph.nodes:
        if node.op == "call_module":
            kinds.append(type(model.get_submodule(node.target)).__name__.lower())
        elif node.op in ("call_function", "call_method"):
            kinds.append(getattr(node.target, "__name__", str(node.target)).lower())
    return [kind for kind in kinds if kind != "getitem"]


def _keras_kinds(model: Any) -> list[str]:
    operations = getattr(model, "operations", None) or model.layers  # Keras 2 has layers only, functions in TFOpLambda
    kinds = [(o.name if type(o).__name__ == "TFOpLambda" else type(o).__name__).lower() for o in operations]
    return [kind for kind in kinds if kind != "inputlayer"]


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """The installed ones of these packages."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
