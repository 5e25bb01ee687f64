"""Converts neural networks between Keras, PyTorch and ONNX, and proves node by node that the numbers are the same.

    import leaky_interop as li

    graph = li.load("net.keras")                # the canonical graph: print it
    module = li.convert("net.keras", to="torch")  # a torch.fx.GraphModule
    report = li.convert("net.keras", "net.onnx")  # written, verified
    li.verify("net.keras", "net.onnx").passed

Importing this package imports numpy only; a framework is imported by the call that needs it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .browser import web
    from .comparing import verify
    from .converting import convert
    from .errors import LeakyInteropError, Mismatch, Refused, RuntimeFailure, UnsafeFile, Unsupported, Usage
    from .frameworks.chainer.record import record
    from .graph import Graph
    from .inference import Session
    from .inspection import inspect
    from .loading import load
    from .model_repository import triton
    from .op import imports
    from .plotting import plot_slopes
    from .report import Report
    from .running import run
    from .speed import bench
    from .spellings import slopes
    from .support_table import support
    from .transferring import transfer

__version__ = "0.1.0"

_HOMES = {
    "Graph": "graph",
    "LeakyInteropError": "errors",
    "Mismatch": "errors",
    "Refused": "errors",
    "Report": "report",
    "RuntimeFailure": "errors",
    "Session": "inference.session",
    "UnsafeFile": "errors",
    "Unsupported": "errors",
    "Usage": "errors",
    "bench": "speed",
    "convert": "converting",
    "imports": "op",
    "inspect": "inspection",
    "load": "loading",
    "plot_slopes": "plotting",
    "record": "frameworks.chainer.record",
    "run": "running",
    "slopes": "spellings",
    "support": "support_table",
    "transfer": "transferring",
    "triton": "model_repository",
    "verify": "comparing",
    "web": "browser",
}

__all__ = [
    "Graph",
    "LeakyInteropError",
    "Mismatch",
    "Refused",
    "Report",
    "RuntimeFailure",
    "Session",
    "UnsafeFile",
    "Unsupported",
    "Usage",
    "bench",
    "convert",
    "imports",
    "inspect",
    "load",
    "plot_slopes",
    "record",
    "run",
    "slopes",
    "support",
    "transfer",
    "triton",
    "verify",
    "web",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
