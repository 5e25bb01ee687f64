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
    "QLinearAdd": (None, {}),
    "QLinearMul": (None, {}),
    "QLinearSigmoid": (None, {}),
    "QLinearSoftmax": (None, {"axis": -1, "opset": None}),
    "QLinearAveragePool": ("AveragePool", {"channels_last": 0}),
    "QLinearGlobalAveragePool": (None, {"channels_last": 0}),
    "NhwcMaxPool": ("MaxPool", {}),
    "QLinearConcat": (None, {"axis": None}),
    "QLinearWhere": (None, {}),
    "QLinearConv": ("QLinearConv", {"channels_last": 0}),
    "QGemm": (None, {"alpha": 1.0, "transA": 0, "transB": 0}),
    "MatMulIntegerToFloat": (None, {}),
    "DynamicQuantizeMatMul": (None, {}),
    "Gelu": (None, {}),
    "BiasGelu": (None, {}),
    "FastGelu": (None, {}),
    "QuickGelu": (None, {"alpha": float(np.float32(1.702))}),
    "BiasSplitGelu": (None, {}),
    "BiasSoftmax": (None, {"axis": 1, "is_inner_broadcast": None}),
    "FusedMatMul": (None, {"alpha": 1.0, "transA": 0, "transB": 0, "transBatchA": 0, "transBatchB": 0}),
    "SkipLayerNormalization": (None, {"epsilon": float(np.float32(1e-12))}),
    "SkipSimplifiedLayerNormalization": (None, {"epsilon": float(np.float32(1e-12))}),
    "MatMulNBits": (None, {"K": None, "N": None, "bits": 4, "block_size": None, "accuracy_level": 0, "weight_prepacked": 0}),
    "Attention": (None, {
        "num_heads": None, "qkv_hidden_sizes": None, "unidirectional": 0, "mask_filter_value": -10000.0, "scale": 0.0,
        "do_rotary": 0, "rotary_embedding_dim": 0, "past_present_share_buffer": 0,
    }),
    "MultiHeadAttention": (None, {"num_heads": None, "unidirectional": 0, "mask_filter_value": -10000.0, "scale": 0.0}),
    "EmbedLayerNormalization": (None, {"epsilon": float(np.float32(1e-12)), "mask_index_type": 0}),
    "RotaryEmbedding": (None, {
        "interleaved": 0, "num_heads": 0, "rotary_embedding_dim": 0, "scale": 1.0, "is_packed_batching": 0,
    }),
    "Inverse": (None, {}),
    "CDist": (None, {"metric": "sqeuclidean"}),
    "QuantizeLinear": (None, {"axis": 1}),
    "DequantizeLinear": (None, {"axis": 1}),
}
EARLY = {  # of ONNX's own domain, which the optimiser writes under opsets that do not have them
    "LayerNormalization": {"axis": -1, "epsilon": float(np.float32(1e-5)), "stash_type": 1},
    "SimplifiedLayerNormalization": {"axis": -1, "epsilon": float(np.float32(1e-5)), "stash_type": 1},
}
AS_OF = 13  # the operator set whose Conv and Gemm they extend


def attributes(domain: str, kind: str, opset: int) -> tuple[Any, dict[str, Any]]:
    """The attributes of an operator with a schema, as onnx has them, and those that only this file knows."""
    if domain in ("", "ai.onnx") and kind in EARLY and not onnx.defs.has(kind, max_inclusive_version=opset):
        return (), EARLY[kind]
    if domain not in ("", "ai.onnx", DOMAIN) and not onnx.defs.has(kind, domain):
        return (), {}  # nobody's but the user's, whose importer knows what is left out
    if domain != DOMAIN:
        return onnx.defs.get_schema(kind, opset, "" if domain == "ai.onnx" else domain).attributes.values(), {}
    standard, own = KINDS.get(kind, (None, {}))
    return onnx.defs.get_schema(standard, AS_OF).attributes.values() if standard else (), own
