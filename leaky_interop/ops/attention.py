"""Scaled dot-product attention: softmax(q @ k.T * scale + mask) @ v.

| field  | keras dot_product_attention    | torch scaled_dot_product_attention | onnx Attention (opset 23)      |
|--------|--------------------------------|------------------------------------|--------------------------------|
| layout | (batch, length, heads, size)   | (batch, heads, length, size)       | as torch, or heads in features |
| mask   | forbidden: a very low score    | forbidden: -inf, or added numbers  | as torch                       |
| causal | is_causal                      | is_causal                          | is_causal                      |
| scale  | 1 / sqrt(size) if left out     | the same                           | the same                       |
| fewer heads for k and v | they are repeated | enable_gqa                     | kv_num_heads                   |

A row whose scores are all forbidden by booleans gives zeros in PyTorch, ONNX and Keras' layer where it shows or drops
scores, the mean of v in Keras' function: masks of that are therefore numbers to add. Multi-head layers are projections (Dense)
around this operator: attention_keras.py reads them.
"""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Moved, Op, Operand, Perm, Shape, Value, agree, broadcast, case, exports, imports, op
from .bounds import Clip
from .compare import Equal, Where
from .expand import Expand, filled
from .gather import Gather
from .index import Select, Slice
from .join import Concat
from .logic import And
from .math import Add, Mul
from .matmul import MatMul
from .moments import widened
from .noise import Dropout
from .promotion import as_value
from .range import Triangle
from .repeat import Repeat
from .shape import Reshape
from .softmax import Softmax
from .transpose import Transpose


@op
class Attention(Op):
    """softmax(q @ k.T * scale + mask) @ v over the last two axes. Operands: q, k, v, mask, which may be absent.

    q is (..., length, size), k (..., other length, size), v (..., other length, features). A boolean mask says which
    scores count, one of floats is added. causal, in place of a mask: entry i of q sees entries 0 to i of k, no others.
    A row without any score that counts is zeros.
    """

    scale: float
    causal: bool
    tolerance = "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        q, k, v, mask = inputs
        sizes = (*q.shape[:-2], k.shape[-2], q.shape[-1]), (*q.shape[:-2], k.shape[-2], v.shape[-1])
        if not agree(sizes, (k.shape, v.shape)) or len({q.dtype, k.dtype, v.dtype}) > 1:
            raise ValueError(f"{self} does not fit {q!r}, {k!r}, {v!r}")
        scores = (*q.shape[:-1], k.shape[-2])
        fits = mask is None or (agree(broadcast(mask.shape, scores), scores) and mask.dtype in (bool, q.dtype))
        if not fits or (mask is not None and self.causal):
            raise ValueError(f"{self} does not mask scores of shape {scores} with {mask!r}")
        return [((*q.shape[:-1], v.shape[-1]), q.dtype)]

    def weighted(self, *arrays: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Scores and the weights they become."""
        q, k, _, mask = arrays
        scores = q @ np.swapaxes(k, -1, -2) * self.scale
        if self.causal:
            mask = np.tri(*scores.shape[-2:], dtype=bool)
        if mask is not None:
            scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
        highest = scores.max(-1, keepdims=True)
        powers = np.exp(scores - np.where(np.isfinite(highest), highest, 0))
        total = powers.sum(-1, keepdims=True)
        return scores, powers / np.where(total == 0, 1, total)

    def operands(self, arrays: tuple[np.ndarray, ...]) -> list[Any]:
        """Operands in the dtype of computation."""
        mask = arrays[3]
        return [*widened(*arrays[:3]), mask if mask is None or mask.dtype == bool else widened(mask)[0]]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        operands = self.operands(arrays)
        with np.errstate(all="ignore"):
            return (self.weighted(*operands)[1] @ operands[2]).astype(arrays[0].dtype)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        with np.errstate(all="ignore"):
            return 1, self.carried(*self.operands(arrays))

    def carried(self, q: Any, k: Any, v: Any, mask: Any, errors: Any = None) -> np.ndarray:
        """The error of the result in units of roundoff; `errors` are those of q, k and v.

        An absolute error of a score is a relative one of its weight, and of the sum that divides the weights.
        """
        scores, weights = self.weighted(q, k, v, mask)
        size = math.sqrt(q.shape[-1]) * (np.abs(q) @ np.swapaxes(np.abs(k), -1, -2))
        if errors is not None:
            size += errors[0] @ np.swapaxes(np.abs(k), -1, -2) + np.abs(q) @ np.swapaxes(errors[1], -1, -2)
        error = abs(self.scale) * size + np.where(np.isfinite(scores), np.abs(scores), 0)
        relative = error + (weights * error).sum(-1, keepdims=True) + math.sqrt(k.shape[-2]) + 4
        found = (weights * relative) @ np.abs(v)
        return found if errors is None else found + weights @ errors[2]

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        """The axes before the last two may change places."""
        rank = inputs[0].rank
        if len(perm) != rank or perm[-2:] != (rank - 2, rank - 1) or (inputs[3] is not None and inputs[3].rank != rank):
            return None
        return Moved(self, (perm,) * 4, (perm,))

    def lowered(self, exact: Any, *inputs: Value | None) -> Value:
        q, k, v, mask = inputs
        return pieces(self, q, k, v, mask, guarded=may_forbid(mask))[0]


def pieces(
    op: Attention, q: Value, k: Value, v: Value, mask: Value | None, rate: float = 0.0, guarded: bool = False
) -> tuple[Value, Value]:
    """The result and the weights, in other operators; `rate` of the weights are dropped in training.

    guarded: a mask of numbers may forbid a whole row by -inf.
    """
    scores = MatMul()(q, swapped(k))
    scores = scores if op.scale == 1.0 else Mul()(scores, op.scale)
    boolean = mask is not None and mask.dtype == bool
    if op.causal or boolean:
        scores = Where()(mask if boolean else triangle(q, k), scores, lowest(q.dtype))
    elif mask is not None:
        scores = Add()(scores, mask)
    weights = guarded_softmax(scores) if guarded else Softmax(axes=(q.rank - 1,))(scores)
    if boolean and not shows_all(mask):
        weights = Where()(mask, weights, 0.0)  # a row that is all forbidden would be even instead of zero
    return MatMul()(Dropout(rate=rate)(weights) if rate else weights, v), weights


def lowest(dtype: np.dtype) -> float:
    """A number that no score comes near, far from overflow."""
    return -3e4 if dtype == np.float16 else -2e38


def guarded_softmax(scores: Value) -> Value:
    """Weights of scores that are -inf where they do not count, be it a whole row."""
    weights = Softmax(axes=(scores.rank - 1,))(Clip(minimum=lowest(scores.dtype), maximum=None)(scores))
    return Where()(Equal()(scores, -math.inf), 0.0, weights)


def swapped(x: Value) -> Value:
    """The last two axes change places, by one transpose together with one that is there."""
    perm = (*range(x.rank - 2), x.rank - 1, x.rank - 2)
    if x.node is not None and isinstance(x.node.op, Transpose):
        perm = tuple(x.node.op.perm[p] for p in perm)
        x = x.node.inputs[0]  # type: ignore[assignment]
    return x.transpose(*perm)


def shows_all(mask: Value) -> bool:
    """Whether a boolean mask is known to allow something in every row."""
    return mask.is_constant and bool(mask.array().any(-1).all())


def may_forbid(mask: Value | None) -> bool:
    """Whether a mask of numbers may hold -inf in a whole row: one that is computed, unless of finite numbers alone."""
    if mask is None or mask.dtype == bool:
        return False
    if mask.const is not None:
        return bool((mask.array() == -math.inf).all(-1).any())
    return _least(mask, {}, 20) == -math.inf


MOVES = (Concat, Expand, Gather, Reshape, Select, Slice, Transpose)  # whose results are entries of their operands


def _least(value: Value, known: dict[int, float], steps: int) -> float:
    """A bound below what a value holds, NaN aside; -inf where nothing tells, or it takes more steps to see.

    known: bounds that are found already, by the value's id
    """
    if value.const is not None:
        return float(np.nanmin(value.array().astype(np.float64), initial=math.inf))
    node = value.node
    if node is None or not steps or not isinstance(node.op, (Add, Where, *MOVES)):
        return -math.inf
    if id(value) not in known:
        bounds = [_least(v, known, steps - 1) for v in node.inputs if v is not None and v.dtype == value.dtype]
        bound = sum(bounds) if isinstance(node.op, Add) else min(bounds)
        with np.errstate(over="ignore"):
            known[id(value)] = float(np.asarray(bound).astype(value.dtype))  # a sum may overflow
    return known[id(value)]


def triangle(q: Value, k: Value) -> Value:
    """The mask of causal attention."""
    lengths = (q.shape[-2], k.shape[-2])
    return Triangle(upper=False, diagonal=0)(filled(q.graph, lengths, 1, q.dtype)).cast(bool)


# --- importers --------------------------------------------------------------------------------------------------------


@imports("torch", "aten.scaled_dot_product_attention.default")
def attention_from_torch(call, q, k, v, mask, dropout, causal, scale, enable_gqa):
    """Fewer heads of k and v are repeated, each for neighbouring heads of q; a single one is every head's."""
    if enable_gqa:
        k, v = (repeated(x, q.shape[-3], q.rank - 3) for x in (k, v))
    before = broadcast(*(x.shape[:-2] for x in (q, k, v)))
    q, k, v = (x if agree(x.shape[:-2], before) else Expand(shape=(*before, *x.shape[-2:]))(x) for x in (q, k, v))
    return attend(q, k, v, mask, causal, scale)


@imports("keras", "ops.DotProductAttention")
def attention_from_keras(call, q, k, v, bias=None, mask=None, scale=None):
    if call.attn_logits_soft_cap is not None:
        raise Refused("attn_logits_soft_cap", why="Keras computes it on the JAX backend only")
    if q.dtype.kind in "iub":
        raise Refused(f"attention in {q.dtype}", why="Keras rounds its weights to whole numbers", hint="Cast to float32")
    if scale is None and q.dtype == np.float64 and call.backend == "tensorflow" and isinstance(q.shape[-1], int):
        scale = float(1 / np.sqrt(np.float32(q.shape[-1])))  # held in float32
    k, v = (repeated(x, q.shape[2], 2) for x in (k, v))
    q, k, v = (x.transpose(0, 2, 1, 3) for x in (q, k, v))
    if bias is not None:
        bias = as_value(call, bias, q.dtype)
    if mask is not None:
        mask = Where()(as_value(call, mask).cast(bool), q.graph.constant(0, q.dtype), lowest(q.dtype))
        bias = mask if bias is None else Add()(bias, mask)
    return attend(q, k, v, bias, call.is_causal, scale).transpose(0, 2, 1, 3)


def attend(q: Value, k: Value, v: Value, mask: Value | None, causal: bool, scale: float | None) -> Value:
    """The operator, with the usual scale where none is given."""
    if scale is None:
        if not isinstance(q.shape[-1], int):
            raise Refused("attention over an open number of features", hint="Fix it with input_shapes")
        scale = 1 / math.sqrt(q.shape[-1])
    if causal and mask is not None:
        seen, causal = triangle(q, k), False
        mask = And()(mask, seen) if mask.dtype == bool else Where()(seen, mask, -math.inf)
    return Attention(scale=float(scale), causal=bool(causal))(q, k, v, mask)


def heads(x: Value, count: int) -> Value:
    """(batch, length, heads * size) as (batch, heads, length, size)."""
    return x.reshape(x.shape[0], x.shape[1], count, x.shape[2] // count).transpose(0, 2, 1, 3)


def repeated(x: Value, count: Any, axis: int) -> Value:
    """As many heads as asked for, each as often as it takes, one after the other."""
    have = x.shape[axis]
    return x if agree(have, count) else Repeat(repeats=count // have, axis=axis)(x)


# --- exporters --------------------------------------------------------------------------------------------------------


@exports("torch", Attention)
def attention_to_torch(op, torch, q, k, v, mask):
    function = torch.nn.functional.scaled_dot_product_attention
    for _ in range(0 if mask is None else 2 - torch.inputs[3].rank):  # it wants an axis of queries and one of keys
        mask = mask.unsqueeze(0)
    return function(q, k, v, attn_mask=mask, is_causal=op.causal, scale=op.scale)


# --- cases ------------------------------------------------------------------------------------------------------------

PLAIN = Attention(scale=0.3, causal=False)


def _attend(name: str, op: Attention, mask: Any = None, *, rank: int = 4, dtype: str = "float32") -> None:
    before = (2, 3)[: rank - 2]
    shapes = ((*before, 4, 5), (*before, 6, 5), (*before, 6, 7))
    case(f"attention/{name}", op, *(Operand(s, dtype=dtype) for s in shapes), mask)


_attend("plain", PLAIN)
_attend("rank_3", PLAIN, rank=3)
_attend("causal", Attention(scale=0.7, causal=True))
_attend("booleans", PLAIN, Operand((2, 1, 4, 6), dtype="bool"))
_attend("numbers", PLAIN, Operand((4, 6)))
_attend("numbers_of_keys", PLAIN, Operand((6,)))
_attend("booleans_of_keys", PLAIN, Operand((6,), dtype="bool"))
_rows = [[True] * 6, [False] * 6] * 2
_attend("all_forbidden", PLAIN, Operand((4, 6), "constant", "bool", numbers=_rows))
_attend("float16", Attention(scale=19 / 64, causal=False), dtype="float16")  # a number that float16 holds
