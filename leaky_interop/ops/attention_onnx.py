"""ONNX's Attention, whose keys may come from a cache: what it adds to plain attention is masks and outputs.

| setting           | what it means                                                                     |
|-------------------|-----------------------------------------------------------------------------------|
| past_key, value   | stand before the keys and values, and are handed out together with them           |
| nonpad_kv_seqlen  | how many keys of each example are valid: the cache is updated outside             |
| is_causal, windows| compare places: that of a query is counted from the first key of all              |
| softcap           | c * tanh(score / c), before masks                                                 |
| qk_matmul_output  | the scores, or what softcap, masks or softmax have made of them, by a mode        |

The place of query i is i plus the number of past keys, or, in a cache of n valid keys, i + n - queries. A row of which
nothing counts is zeros.
"""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, imports, shortest
from .attention import attend, guarded_softmax, heads, repeated, swapped, triangle
from .compare import GreaterOrEqual, Less, LessOrEqual, Where
from .join import Concat
from .logic import And
from .math import Add, Div, Mul, Sub
from .matmul import MatMul
from .pad import pad
from .range import ranged
from .smooth import Tanh
from .softmax import Softmax


@imports("onnx", "Attention", since=23)
def attention_from_onnx(node, q, k, v, mask=None, past_key=None, past_value=None, lengths=None):
    """Of rank 3 the heads stand in the features."""
    wide = q.rank == 3
    if wide:
        q, k, v = (heads(x, n) for x, n in ((q, node.q_num_heads), (k, node.kv_num_heads), (v, node.kv_num_heads)))
    offset: Any = 0
    if past_key is not None:
        offset = past_key.shape[2]
        k, v = Concat(axis=2)(past_key, k), Concat(axis=2)(past_value, v)
    elif lengths is not None:
        offset = Sub()(lengths.reshape(lengths.shape[0], 1, 1, 1), as_size(node, q.shape[2]))
    present = k, v
    k, v = (repeated(x, q.shape[1], 1).cast(q.dtype) for x in (k, v))
    mask = _whole(mask, q, k)
    windows = [getattr(node, side) if node.has(side) else -1 for side in ("left_window_size", "right_window_size")]
    causal = bool(node.is_causal)
    if not (isinstance(offset, int) and offset == 0 and windows == [-1, -1]):
        mask, causal = both(mask, _seen(node, q, k, offset, causal, *windows)), False
    if lengths is not None:
        places = ranged(node.graph, 0, k.shape[2], 1, lengths.dtype)
        mask = both(mask, Less()(places, lengths.reshape(lengths.shape[0], 1, 1, 1)))
    scale = None if node.scale is None else shortest(node.scale)
    cap = shortest(node.softcap) if node.softcap else None
    y = attend(q, k, v, mask, causal, scale)
    scores = None
    mode = node.qk_matmul_output_mode
    if cap is not None or (len(node.native.output) > 3 and node.native.output[3]):
        y, *stages = scored(y.node.op, *y.node.inputs, cap)
        scores = stages[mode]
    if wide:
        y = y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], y.shape[1] * y.shape[3])
    return y, *present, scores


def as_size(node: Any, size: Any) -> Value:
    """A size as a value to compute with."""
    return node.graph.of_sizes(size)


def _whole(mask: Value | None, q: Value, k: Value) -> Value | None:
    """A mask over all keys: those that it leaves out at the end do not count."""
    if mask is None:
        return None
    mask = mask if mask.dtype == bool else mask.cast(q.dtype)
    left = k.shape[2] - mask.shape[-1]
    if isinstance(left, int) and (left == 0 or mask.shape[-1] == 1):
        return mask
    return pad(mask, [(0, 0)] * (mask.rank - 1) + [(0, left)], "constant", False if mask.dtype == bool else -math.inf)


def both(mask: Value | None, seen: Value | None) -> Value | None:
    """What a mask of either kind and a boolean one leave."""
    if mask is None or seen is None:
        return mask if seen is None else seen
    return And()(mask, seen) if mask.dtype == bool else Where()(seen, mask, -math.inf)


def _seen(node: Any, q: Value, k: Value, offset: Any, causal: bool, left: int, right: int) -> Value | None:
    """Which keys a query sees by its place: none after it (causal), none too far before or behind it."""
    if min(left, right) < -1:
        raise Refused(f"a window of {left} and {right} keys", why="a window holds a number of keys, or -1 for all")
    right = 0 if causal else right
    places = ranged(node.graph, 0, q.shape[2], 1, "int64").reshape(q.shape[2], 1)
    places = Add()(places, offset if isinstance(offset, Value) else as_size(node, offset))
    keys = ranged(node.graph, 0, k.shape[2], 1, "int64")
    seen = None
    if right >= 0:
        seen = LessOrEqual()(keys, Add()(places, right) if right else places)
    if left >= 0:
        seen = both(seen, GreaterOrEqual()(keys, Sub()(places, left) if left else places))
    return seen


def scored(op: Any, q: Value, k: Value, v: Value, mask: Value | None, cap: float | None) -> tuple[Value, ...]:
    """Attention in pieces: the result, the scores, those under the cap, those with the mask, the weights."""
    scores = MatMul()(q, swapped(k))
    scores = scores if op.scale == 1.0 else Mul()(scores, op.scale)
    capped = scores if cap is None else Mul()(Tanh()(Div()(scores, cap)), cap)
    if op.causal:
        mask = triangle(q, k)
    if mask is None:
        masked, weights = capped, Softmax(axes=(q.rank - 1,))(capped)
    else:
        masked = Where()(mask, capped, -math.inf) if mask.dtype == bool else Add()(capped, mask)
        weights = guarded_softmax(masked)
    return MatMul()(weights, v), scores, capped, masked, weights


@imports("onnx", "ai.onnx.preview.FlexAttention")
def flex_attention_from_onnx(node, q, k, v):
    """Two functions that the node brings change the scores and the weights, in at least float32."""
    k, v = (repeated(x, q.shape[1], 1) for x in (k, v))
    y = attend(q, k, v, None, False, None if node.scale is None else shortest(node.scale))
    if node.score_mod is None and node.prob_mod is None:
        return y
    op = y.node.op
    scores = Mul()(MatMul()(q, swapped(k)), op.scale)
    precision = node.softmax_precision or (11 if q.dtype == np.float64 else 1)
    weights = scores.cast(node.numpy_dtype(precision))
    if node.score_mod is not None:
        (weights,) = node.inlined(node.score_mod, [weights])
    weights = Softmax(axes=(q.rank - 1,))(weights)
    if node.prob_mod is not None:
        (weights,) = node.inlined(node.prob_mod, [weights])
    return MatMul()(weights.cast(q.dtype), v)
