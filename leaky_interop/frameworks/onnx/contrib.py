"""Operators of onnxruntime's own domain that are read: their attributes, and what each means where it is left out.

onnx has no schemas of these; the numbers are onnxruntime's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

DOMAIN = "com.microsoft"
KINDS: dict[
    str, tuple[str | None, dict[str, Any]]
] = {  # the standard operator whose attributes it has too, and its own
    "FusedConv": ("Conv", {"activation": "", "activation_params": None}),
    "FusedGemm": (
        "Gemm",
        {"activation": "", "activation_alpha": None, "activation_beta": None, "activation_gamma": None},
    ),
    "QLinearLeakyRelu": (None, {"alpha": float(np.float32(0.01))}),
}
AS_OF = 13  # the operator set whose Conv and Gemm they extend


def attributes(domain: str, kind: str, opset: int) -> tuple[Any, dict[str, Any]]:
    """The attributes of an operator with a schema, as onnx has them, and those that only this file knows."""
    if domain != DOMAIN:
        return onnx.defs.get_schema(kind, opset, "" if domain == "ai.onnx" else domain).attributes.values(), {}
    standard, own = KINDS[kind]
    return onnx.defs.get_schema(standard, AS_OF).attributes.values() if standard else (), own
