"""Multi-head attention as the one layer that it is: projections into heads, attention, a projection of all heads together.

| part           | keras                        | torch nn.MultiheadAttention     | what importers make of it         |
|----------------|------------------------------|---------------------------------|-----------------------------------|
| kernels        | (features, heads, size)      | one above the other, or apart   | Dense, Reshape, Transpose         |
| scale          | 1 / sqrt(size)               | the same                        | Attention                         |
| biases         | all four or none             | all four or none                | those of Dense                    |
| size of heads  | key_dim, value_dim           | the features over the heads     |                                   |
| fewer heads of key and value | GroupedQueryAttention | -                        | Repeat                            |
| a mask allows  | what is True                 | what is not True                | what is True                      |

No importer makes this operator: passes/heads.py finds it before a network is written. A query that sees nothing gets the mean
of all values in Keras' layer, and zeros where the layer shows or drops its weights.
"""

import math
from typing import Any

import numpy as np

from ..op import Op, Operand, Shape, Value, agree, broadcast, case, exports, op, weight
from .attention import Attention, attend, heads, lowest, pieces, repeated, triangle
from .compare import Where
from .dense import Dense
from .logic import And
from .moments import widened
from .recurrent import merged
from .shape import with_axes

PARTS = ("query", "key", "value", "output")
WEIGHTS = tuple(range(4, 12))


@op
class MultiHeadAttention(Op):
    """Operands: query (batch, length, features), key and value (batch, other length, features), mask, then of each of
    `PARTS` its kernel (out, in) and its bias. Biases may be absent, all of them.

    The mask is boolean and broadcasts to (batch, heads, length, other length); of rank 3 it has no heads. causal: entry i of the query sees
    entries 0 to i of the key, besides what a mask says. blind: what a query gets that sees nothing, "zeros" or the "mean" of all values.
    Every head of key and value is that of heads // kv_heads heads of the query.
    """

    heads: int
    kv_heads: int
    causal: bool
    blind: str
    dropout: float  # of the weights, in training
    tolerance = "sum"
    weights = WEIGHTS

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        query, key, value, mask, *weights = inputs
        kernels, biases = weights[::2], weights[1::2]
        rows = [k.shape[0] for k in kernels]
        counts = (self.heads, self.kv_heads, self.kv_heads)
        columns = (query.shape[2], key.shape[2], value.shape[2], rows[2] // self.kv_heads * self.heads)
        fits = (
            agree(key.shape[:2], value.shape[:2])
            and agree(key.shape[0], query.shape[0])
            and not any(row % count for row, count in zip(rows, counts, strict=False))
            and rows[0] // self.heads == rows[1] // self.kv_heads
            and all(agree(k.shape[1], size) for k, size in zip(kernels, columns, strict=True))
            and all(b is None or agree(b.shape, (row,)) for b, row in zip(biases, rows, strict=True))
        )
        scores = (
            query.shape[0],
            *((self.heads,) if mask is None or mask.rank == 4 else ()),
            query.shape[1],
            key.shape[1],
        )
        if not fits or (mask is not None and (mask.dtype != bool or not agree(broadcast(mask.shape, scores), scores))):
            raise ValueError(f"{self} does not fit {inputs}")
        return [((*query.shape[:2], rows[3]), query.dtype)]

    def scale(self, kernel: Any) -> float:
        """What scores are multiplied with, by the kernel of the query."""
        return 1 / math.sqrt(kernel.shape[0] // self.heads)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return self._traced(arrays)[0].astype(arrays[0].dtype)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """Errors of the projections go through the attention, and its errors through the last projection."""
        return 1, self._traced(arrays)[1]

    def _traced(self, arrays: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
        """The result and its error in units of roundoff, in the dtype of computation."""
        mask, arrays = arrays[3], widened(*arrays[:3], *arrays[4:])
        mask = mask[:, None] if mask is not None and mask.ndim == 3 else mask
        weights, made, errors = arrays[3:], [], []
        for i, x in enumerate(arrays[:3]):
            y, error = _dense(x, weights[2 * i], weights[2 * i + 1])
            count = self.kv_heads if i else self.heads
            for found, array in ((made, y), (errors, error)):
                apart = array.reshape(*array.shape[:2], count, array.shape[2] // count).transpose(0, 2, 1, 3)
                found.append(np.repeat(apart, self.heads // count, 1))
        if self.causal:
            tri = np.tri(made[0].shape[2], made[1].shape[2], dtype=bool)
            mask = tri if mask is None else mask & tri
        if mask is not None and self.blind == "mean":  # beside this number no score counts
            mask, made = np.where(mask, 0.0, -1e300), [m.astype(np.float64) for m in made]
        inner = Attention(scale=self.scale(weights[0]), causal=False)
        with np.errstate(all="ignore"):
            y = inner.weighted(*made, mask)[1] @ made[2]
            error = inner.carried(*made, mask, errors)
        y, error = (a.transpose(0, 2, 1, 3).reshape(a.shape[0], a.shape[2], -1) for a in (y, error))
        result, last = _dense(y, weights[6], weights[7])
        return result, last + error @ np.abs(weights[6]).T

    def lowered(self, exact: Any, *inputs: Value | None) -> Value:
        query, key, value, mask, *weights = inputs
        apart = []
        for i, x in enumerate((query, key, value)):
            y = Dense()(x, *weights[2 * i : 2 * i + 2])
            apart.append(repeated(heads(y, self.kv_heads if i else self.heads), self.heads, 1))
        q, k, v = apart
        if mask is not None:
            mask = with_axes(mask, [1]) if mask.rank == 3 else mask
            mask = And()(mask, triangle(q, k)) if self.causal else mask
            mask = mask if self.blind == "zeros" else Where()(mask, q.graph.constant(0, q.dtype), lowest(q.dtype))
        y = attend(q, k, v, mask, self.causal and mask is None, self.scale(weights[0]))
        if self.dropout:
            y, _ = pieces(y.node.op, *y.node.inputs, self.dropout)
        y = y.transpose(0, 2, 1, 3).reshape(*query.shape[:2], weights[6].shape[1])
        return Dense()(y, *weights[6:])


def _dense(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """A projection, and its error in units of roundoff."""
    size = math.sqrt(kernel.shape[1] + 1) * (np.abs(x) @ np.abs(kernel).T + (0 if bias is None else np.abs(bias)))
    y = x @ kernel.T
    return y if bias is None else y + bias, size


# --- exporters --------------------------------------------------------------------------------------------------------


def in_keras(op: MultiHeadAttention, operands: Any) -> bool:
    """Whether a layer of Keras says it: the one for shared heads has heads of one size and features of one number."""
    query, _, value = operands[:3]
    kernels = operands[4::2]
    sizes = {query.shape[2], value.shape[2], kernels[3].shape[0]}
    depths = {k.shape[0] // n for k, n in zip(kernels, (op.heads, op.kv_heads, op.kv_heads), strict=False)}
    return _together(operands) and (op.kv_heads == op.heads or len(sizes) == len(depths) == 1)


def in_torch(op: MultiHeadAttention, operands: Any) -> bool:
    """Whether nn.MultiheadAttention says it: as many features as in all heads, and no mask that a batch brings along."""
    query, _, _, mask, *weights = operands
    sizes = {query.shape[2], *(weights[2 * i].shape[0] for i in range(4))}
    plain = op.heads == op.kv_heads and len(sizes) == 1 and not op.dropout
    scores = (query.shape[1], operands[1].shape[1])
    alike = mask is None or (
        not op.causal and not may_be_blind(op, mask) and agree(mask.shape, (1,) * (mask.rank - 2) + scores)
    )
    return _together(operands) and plain and alike


def _together(operands: Any) -> bool:
    """Whether all four have a bias or none has, and each is a weight."""
    kernels, biases = operands[4::2], operands[5::2]
    held = all(k.const is not None for k in kernels) and all(b is None or b.const is not None for b in biases)
    return held and len({b is None for b in biases}) == 1


def may_be_blind(op: MultiHeadAttention, mask: Value | None) -> bool:
    """Whether a query may see nothing."""
    if mask is None or not mask.is_constant:
        return mask is not None
    return op.causal or not mask.array().any(-1).all()


@exports("keras", MultiHeadAttention)
def multi_head_attention_to_keras(op, keras, query, key, value, mask, *weights):
    kernels, biases = weights[::2], weights[1::2]
    size, depth, out = kernels[0].shape[0] // op.heads, kernels[2].shape[0] // op.kv_heads, kernels[3].shape[0]
    apart = size != depth and keras.backend.backend() == "jax"  # which attends with heads of one size alone
    if apart or not keras.holds(*weights) or not in_keras(op, keras.node.inputs):
        return keras.composed(lambda *operands: [op.lowered(np.float32, *operands)])
    more: dict[str, Any] = {"use_bias": biases[0] is not None, "dropout": op.dropout}
    if op.kv_heads == op.heads:
        shape = None if out == keras.inputs[0].shape[2] else out
        layer = keras.layers.MultiHeadAttention(op.heads, size, value_dim=depth, output_shape=shape, **more)
    else:
        layer = keras.layers.GroupQueryAttention(size, op.heads, op.kv_heads, **more)
    held = {}
    for part, kernel, bias in zip(PARTS, kernels, biases, strict=True):
        count, kernel = op.heads if part in ("query", "output") else op.kv_heads, kernel.transpose(1, 0)
        if part == "output":
            kernel = kernel.reshape(count, kernel.shape[0] // count, kernel.shape[1])
        else:
            kernel = kernel.reshape(kernel.shape[0], count, kernel.shape[1] // count)
            bias = None if bias is None else bias.reshape(*kernel.shape[1:])
        held |= {f"_{part}_dense.kernel": kernel, f"_{part}_dense.bias": bias}
    call = {} if key is value else {"key": key}
    call |= {} if mask is None else {"attention_mask": mask}
    call |= {"use_causal_mask": True} if op.causal else {}
    placed = keras.place(layer, **held)
    if op.blind == "zeros" and not op.dropout and may_be_blind(op, keras.node.inputs[3]):
        return placed(query, value, **call, return_attention_scores=True)[0]  # there it is zeros, otherwise a mean
    return placed(query, value, **call)


@exports("torch", MultiHeadAttention)
def multi_head_attention_to_torch(op, torch, query, key, value, mask, *weights):
    """The three kernels stand one above the other where they are of one size, and so do their biases."""
    kernels, biases = weights[::2], weights[1::2]
    packed = len({k.shape for k in kernels}) == 1
    merges = (
        ()
        if not torch.holds(*weights)
        else (biases[:3] if biases[0] is not None else (), kernels[:3] if packed else ())
    )
    if not merges or not in_torch(op, torch.node.inputs):
        return torch.composed(lambda *operands: [op.lowered(np.float64, *operands)])
    bias, kernel = (merged(torch, _above, *m) if m else None for m in merges)
    size = kernels[0].shape[0]
    layer = torch.nn.MultiheadAttention(
        size, op.heads, bias=bias is not None, kdim=kernels[1].shape[1], vdim=kernels[2].shape[1], batch_first=True
    )  # fmt: skip
    held = (
        {"in_proj_weight": kernel} if packed else {f"{n}_proj_weight": k for n, k in zip("qkv", kernels, strict=False)}
    )
    held |= {"in_proj_bias": bias, "out_proj.weight": kernels[3], "out_proj.bias": biases[3]}
    call: dict[str, Any] = {}
    if op.causal:
        lengths = (query.size(1), key.size(1))
        call = {"attn_mask": torch.call(torch.ones, lengths, dtype=torch.bool, device=query.device).triu(1), "is_causal": True}
    elif mask is not None:
        call = {"attn_mask": torch.logical_not(mask).reshape(*torch.inputs[3].shape[-2:])}
    return torch.place(layer, **held)(query, key, value, need_weights=False, **call)[0]


def _above(*arrays: np.ndarray) -> np.ndarray:
    return np.concatenate(arrays)


# --- cases ------------------------------------------------------------------------------------------------------------

_composed = {"composed": dict.fromkeys(("keras", "torch", "onnx"), "Dense, Attention, Dense")}


def _case(
    name: str, *, sizes: tuple[int, int, int, int] = (8, 8, 8, 8), depths: tuple[int, int] = (4, 4), mask: Any = None,
    heads: int = 2, kv_heads: int = 2, causal: bool = False, blind: str = "zeros", dropout: float = 0.0, biases: bool = True,
    dtype: str = "float32",
) -> None:  # fmt: skip
    """sizes: features of query, key, value and result. depths: of a head of query and key, and of value."""
    rows = (heads * depths[0], kv_heads * depths[0], kv_heads * depths[1], sizes[3])
    columns = (*sizes[:3], heads * depths[1])
    weights: list[Operand | None] = []
    for row, column in zip(rows, columns, strict=True):
        weights += [weight(row, column, dtype=dtype), weight(row, dtype=dtype) if biases else None]
    op = MultiHeadAttention(heads=heads, kv_heads=kv_heads, causal=causal, blind=blind, dropout=dropout)
    data = (Operand((2, length, size), dtype=dtype) for length, size in zip((5, 3, 3), sizes, strict=False))
    case(f"heads/{name}", op, *data, mask, *weights, **_composed)


_blind = Operand((2, 1, 5, 3), "constant", "bool", numbers=np.arange(30).reshape(2, 1, 5, 3) % 7 > 3)
_case("plain")
_case("no_biases", biases=False)
_case("sizes", sizes=(7, 5, 6, 9), depths=(3, 5))
_case("causal", causal=True)
_case("shared", heads=6, kv_heads=3, sizes=(8, 7, 8, 8), depths=(5, 5))
_case("shared_and_other_sizes", heads=6, kv_heads=3, sizes=(8, 7, 6, 9), depths=(5, 5))
_case("shared_of_two_sizes", heads=4, kv_heads=2, depths=(3, 5))
_case("zeros", mask=Operand((2, 1, 5, 3), dtype="bool"))
_case("heads_apart", mask=Operand((2, 2, 5, 3), dtype="bool"), blind="mean")
_case("without_heads", mask=Operand((2, 5, 3), dtype="bool"), causal=True)
_case("mean", mask=_blind, blind="mean", causal=True)
_case("constant_zeros", mask=_blind)
_case("pairs", mask=Operand((5, 3), "constant", "bool", numbers=np.arange(15).reshape(5, 3) % 3 < 2))
_case("dropout", dropout=0.3, mask=Operand((2, 1, 1, 3), dtype="bool"))
_case("float16", dtype="float16")
