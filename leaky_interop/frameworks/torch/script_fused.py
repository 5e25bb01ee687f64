"""The fused steps of transformers in TorchScript, which torch takes where no gradients are wanted, in single operators.

| step                         | computes                                                                          |
|------------------------------|-----------------------------------------------------------------------------------|
| _native_multi_head_attention | nn.MultiheadAttention of batches first, and the weights where they are asked for    |
| _transformer_encoder_layer_fwd | nn.TransformerEncoderLayer of batches first, with relu or gelu                    |

A mask says where nobody looks; its kind, whether it is one for all (places x places), one of each example's keys
(batch x places), or whole. Rows of which nothing is left are NaN, as they are in the fused steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

FOR_ALL, OF_KEYS = 0, 1  # kinds of masks; any other is whole


def attention(
    query: Any, key: Any, value: Any, width: int, heads: int, qkv_weight: Any, qkv_bias: Any, weight: Any, bias: Any,
    mask: Any = None, need_weights: bool = True, average: bool = True, mask_kind: int | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """The result, (batch, places, width), and the weights or None."""
    if query is key and key is value:
        parts = functional.linear(query, qkv_weight, qkv_bias).chunk(3, -1)
    else:
        pairs = zip((query, key, value), qkv_weight.chunk(3), qkv_bias.chunk(3), strict=True)
        parts = tuple(functional.linear(x, w, b) for x, w, b in pairs)
    q, k, v = (p.unflatten(-1, (heads, width // heads)).transpose(1, 2) for p in parts)
    weights = None
    if mask is None and not need_weights:
        y = functional.scaled_dot_product_attention(q, k, v)
    else:
        scores = torch.matmul(q * (width // heads) ** -0.5, k.transpose(-2, -1))
        if mask is not None:
            hidden = mask if mask.dtype == torch.bool else mask != 0
            hidden = hidden[:, None, None] if mask_kind == OF_KEYS else hidden
            scores = scores.masked_fill(hidden, float("-inf"))
        each = scores.softmax(-1)
        y = torch.matmul(each, v)
        if need_weights:
            weights = each.mean(1) if average else each
    return functional.linear(y.transpose(1, 2).flatten(2), weight, bias), weights


def encoder_layer(
    x: Any, width: int, heads: int, qkv_weight: Any, qkv_bias: Any, weight: Any, bias: Any, gelu: bool, norm_first: bool,
    epsilon: float, scale_1: Any, shift_1: Any, scale_2: Any, shift_2: Any, weight_1: Any, bias_1: Any, weight_2: Any,
    bias_2: Any, mask: Any = None, mask_kind: int | None = None,
) -> Any:  # fmt: skip
    """The result, shaped as x: (batch, places, width)."""

    def attended(x: Any) -> Any:
        return attention(x, x, x, width, heads, qkv_weight, qkv_bias, weight, bias, mask, False, True, mask_kind)[0]

    def fed_forward(x: Any) -> Any:
        inner = functional.linear(x, weight_1, bias_1)
        return functional.linear(functional.gelu(inner) if gelu else inner.relu(), weight_2, bias_2)

    def normed(x: Any, scale: Any, shift: Any) -> Any:
        return functional.layer_norm(x, (width,), scale, shift, epsilon)

    if norm_first:
        x = x + attended(normed(x, scale_1, shift_1))
        return x + fed_forward(normed(x, scale_2, shift_2))
    x = normed(x + attended(x), scale_1, shift_1)
    return normed(x + fed_forward(x), scale_2, shift_2)
