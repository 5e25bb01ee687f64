"""Keras' attention layers of many heads: projections into heads, attention, and a projection of all heads together.

| layer                 | heads of key and value             | query_mask                         |
|-----------------------|------------------------------------|------------------------------------|
| MultiHeadAttention    | as many as of the query            | what comes along, not the argument |
| GroupedQueryAttention | fewer, each for neighbouring heads | given, or what comes along         |

All masks (of the query, the value, the key, of pairs, causal, a window around each query) count together. Where nothing
shows or drops the weights, and there are no further axes, a query that sees nothing sees everything alike; otherwise its
result is zeros.
"""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Dim, Value, imports, product
from .attention import attend, lowest, pieces, repeated
from .compare import Less, Where
from .dense import Dense
from .expand import expanded
from .functions import Abs
from .logic import And
from .math import Mul, Sub
from .promotion import as_value
from .range import ranged
from .smooth import Sigmoid


@imports("keras", "MultiHeadAttention")
def multi_head_attention_from_keras(
    layer, query, value, key=None, query_mask=None, value_mask=None, key_mask=None, attention_mask=None,
    return_attention_scores=False, use_causal_mask=False,
):  # fmt: skip
    config = layer.native.get_config()
    rank = query.rank
    axes = config.get("attention_axes") or range(1, rank - 1)
    axes = tuple(a if a >= 0 else a + rank for a in axes)
    masks = query_mask, value_mask, key_mask, attention_mask
    return attended(
        layer, (query, value, value if key is None else key), masks, axes, scale=1 / math.sqrt(config["key_dim"]),
        dropout=config["dropout"], window=config.get("sliding_window"), gate=config.get("use_gate"),
        causal=use_causal_mask, scores=return_attention_scores,
    )  # fmt: skip


@imports("keras", "GroupedQueryAttention")
def grouped_query_attention_from_keras(
    layer, query, value, key=None, query_mask=None, value_mask=None, key_mask=None, attention_mask=None,
    return_attention_scores=False, use_causal_mask=False,
):  # fmt: skip
    native = layer.native
    masks = query_mask, value_mask, key_mask, attention_mask
    return attended(
        layer, (query, value, value if key is None else key), masks, (1,), scale=1 / math.sqrt(native.head_dim),
        dropout=native.dropout, window=native.sliding_window, gate=native.use_gate, causal=use_causal_mask,
        scores=return_attention_scores,
    )  # fmt: skip


def attended(
    layer: Any, operands: Any, masks: Any, axes: tuple[int, ...], *, scale: float, dropout: float, window: int | None,
    gate: bool, causal: bool, scores: bool,
) -> Any:  # fmt: skip
    """The layer's result, and the weights if they are asked for. `axes`: those along which a query looks around."""
    query, value, key = operands
    layer.follow(None if all(m is None for m in masks) else masks)
    in_pieces = scores or bool(dropout) or query.rank != 3
    others = tuple(a for a in range(1, query.rank - 1) if a not in axes)
    order = (0, *others, query.rank - 1, *axes, query.rank)  # batch, others, heads, attended, features
    heads = [projected(layer, x, name) for x, name in ((query, "query"), (key, "key"), (value, "value"))]
    count = heads[0].shape[-2]
    q, *kv = (x.transpose(*order) for x in heads)
    k, v = (repeated(x, count, 1 + len(others)) for x in kv)
    before = q.shape[: 2 + len(others)]
    places = [x.shape[2 + len(others) : -1] for x in (q, k)]
    q, k, v = (x.reshape(*before, product(x.shape[2 + len(others) : -1]), x.shape[-1]) for x in (q, k, v))

    allowed = both_ways(masks, query, value, layer)
    native_causal = causal and allowed is None and window is None and not in_pieces
    if causal and not native_causal:
        allowed = both(distances(query, value, lambda gap: Less()(gap, 1)), allowed)
    if window is not None:
        allowed = both(distances(query, value, lambda gap: Less()(Abs()(gap), window)), allowed)
    if allowed is not None:
        allowed = as_scores(allowed, places, 2 + len(others))
        if not in_pieces:
            allowed = Where()(allowed, q.graph.constant(0, q.dtype), lowest(q.dtype))
    y, weights = attend(q, k, v, allowed, native_causal, scale), None
    if scores or dropout:
        y, weights = pieces(y.node.op, *y.node.inputs, dropout)
    y = y.reshape(*before, *places[0], y.shape[-1]).transpose(*np.argsort(order).tolist())
    if gate:
        y = Mul()(y, Sigmoid()(projected(layer, query, "gate")))
    result = gathered(layer, y)
    return (result, weights.reshape(*before, *places[0], *places[1])) if scores else result


def projected(layer: Any, x: Value, name: str) -> Value:
    """A projection with a kernel (features, heads, size): (..., heads, size)."""
    kernel, bias = layer.weight(f"_{name}_dense.kernel"), layer.weight(f"_{name}_dense.bias")
    features, count, size = kernel.shape
    kernel = kernel.reshape(features, count * size).transpose(1, 0)
    y = dense(layer, name, x, kernel, None if bias is None else bias.reshape(count * size))
    return y.reshape(*x.shape[:-1], count, size)


def gathered(layer: Any, y: Value) -> Value:
    """All heads projected together."""
    kernel, bias = layer.weight("_output_dense.kernel"), layer.weight("_output_dense.bias")
    before, shape, inner = y.shape[:-2], kernel.shape[2:], product(y.shape[-2:])
    kernel = kernel.reshape(inner, product(shape)).transpose(1, 0)
    y = dense(layer, "output", y.reshape(*before, inner), kernel, None if bias is None else bias.reshape(product(shape)))
    return y.reshape(*before, *shape)


def dense(layer: Any, name: str, *operands: Value | None) -> Value:
    """A projection under the name that the layer has for it."""
    y = Dense()(*operands)
    y.node.name = f"{layer.name}.{name}_dense"
    return y


def both(mask: Value, other: Value | None) -> Value:
    """What both masks allow."""
    return mask if other is None else And()(mask, other)


def both_ways(masks: Any, query: Value, value: Value, layer: Any) -> Value | None:
    """The masks of the query (batch, T), value and key (batch, S) and of pairs (batch, T, S) as one of pairs."""
    ofquery, ofvalue, ofkey, pairs = (None if m is None else as_value(layer, m).cast(bool) for m in masks)
    found = [] if ofquery is None else [ofquery.reshape(*ofquery.shape, 1)]
    found += [m.reshape(*m.shape[:-1], 1, m.shape[-1]) for m in (ofvalue, ofkey) if m is not None]
    found += [] if pairs is None else [pairs]
    allowed = None
    for mask in found:
        allowed = both(mask, allowed)
    return allowed


def distances(query: Value, value: Value, allowed: Any) -> Value:
    """A mask (1, T, S) of how far the entry of the value stands behind that of the query."""
    rows, columns = (ranged(query.graph, 0, x.shape[1], 1, np.int32) for x in (query, value))
    gap = Sub()(columns.reshape(1, value.shape[1]), rows.reshape(query.shape[1], 1))
    return allowed(gap).reshape(1, query.shape[1], value.shape[1])


def as_scores(allowed: Value, places: Any, ahead: int) -> Value:
    """A mask of pairs as the scores have it: axes for further axes and heads, and one for each side.

    Raises Refused where Keras' own rule does not place its axes.
    """
    behind = sum(map(len, places))
    if allowed.rank < behind or allowed.rank > ahead + behind:
        raise Refused(f"an attention mask of shape {allowed.shape} over {len(places[0])} axes")
    missing = ahead + behind - allowed.rank
    before, after = allowed.shape[: allowed.rank - behind], allowed.shape[allowed.rank - behind :]
    allowed = allowed.reshape(*before, *(1,) * missing, *after)
    if len(places[0]) == 1:
        return allowed
    full: list[Dim] = [d for side in places for d in side]
    whole = (*allowed.shape[:ahead], *full)
    return expanded(allowed, whole).reshape(*allowed.shape[:ahead], *map(product, places))
