"""What onnxruntime's optimiser makes of transformers, and two functions of matrices, in its own domain: importers only.

| native (com.microsoft)  | is                                                                            |
|-------------------------|-------------------------------------------------------------------------------|
| Attention               | queries, keys and values by one matrix, then attention                        |
| MultiHeadAttention      | attention, a bias before; keys and values may have their heads apart already  |
| EmbedLayerNormalization | LayerNormalization of the sum of two or three embeddings                      |
| RotaryEmbedding         | ONNX's, its operands in another order; one position alone is the first's      |
| Inverse, CDist          | the inverse of matrices; distances of the rows of two                         |

A mask of whole numbers adds mask_filter_value (-10000) where it is 0; one of lengths where a place is beyond them. Caches
that are shared with their results, and packed operands, are refused by name.
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, agree, imports, refuses, shortest
from .attention import attend, heads
from .attention_onnx import as_size
from .compare import Less, LessOrEqual, Where
from .expand import filled
from .functions import Sqrt
from .gather import picked
from .index import selected
from .join import Concat, cut, stacked
from .layer_norm import LayerNorm
from .linalg import inverse_from_framework
from .math import Add, Mul, Sub
from .matmul import matrix_product
from .range import ranged
from .reduce import ReduceSum, reduced
from .rotary import rotary_embedding_from_onnx
from .shape import with_axes

refuses(
    "onnx", *(f"com.microsoft.{name}" for name in ("GroupQueryAttention", "PackedAttention", "PackedMultiHeadAttention", "QAttention",
              "DecoderMaskedMultiHeadAttention", "LongformerAttention", "SparseAttention", "PagedAttention")),
    what="an attention of one runtime", why="its packed operands and shared caches are known to onnxruntime alone",
    instead="Convert the model before it was optimised",
)  # fmt: skip
refuses(
    "onnx", *(f"com.microsoft.{name}" for name in ("NhwcConv", "NhwcFusedConv", "BeamSearch", "GreedySearch", "Sampling", "MoE", "QMoE")),
    what="of one runtime", why="it is a layout or a program of onnxruntime's, no layer",
    instead="Convert the model before it was optimised",
)  # fmt: skip


def added(mask: Value | None, bias: Value | None) -> Value | None:
    return bias if mask is None else mask if bias is None else Add()(mask, bias)


def filtered(node: Any, x: Value, mask: Value | None, keys: Any) -> Value | None:
    """What a mask of whole numbers adds to scores (batch, heads, queries, keys): `mask_filter_value` where a key is none."""
    if mask is None:
        return None
    if mask.rank == 1:
        if not agree(mask.shape, x.shape[:1]):
            raise node.refused("a mask of first and last places", why="only lengths, one of each example, are read")
        counts = Less()(ranged(node.graph, 0, keys, 1, mask.dtype), mask.reshape(mask.shape[0], 1, 1, 1))
    elif mask.rank in (2, 3):
        counts = Less()(0, mask)
        counts = with_axes(counts, [1, 2] if mask.rank == 2 else [1])
    else:
        raise node.refused(f"a mask of rank {mask.rank}", why="masks are lengths, or one number for each key")
    graph = node.graph
    return Where()(
        counts, graph.constant(np.zeros((), x.dtype)), graph.constant(np.asarray(node.mask_filter_value, x.dtype))
    )


def attended(node: Any, q: Value, k: Value, v: Value, mask: Value | None, past: Any, *, causal: bool) -> Value:
    """Attention of heads apart, its result with the heads in the features."""
    if causal and past is not None:
        places = Add()(ranged(node.graph, 0, q.shape[2], 1, "int64").reshape(q.shape[2], 1), as_size(node, past))
        seen = LessOrEqual()(ranged(node.graph, 0, k.shape[2], 1, "int64"), places)
        nothing = node.graph.constant(np.zeros((), q.dtype)) if mask is None else mask
        mask, causal = Where()(seen, nothing, -np.inf), False
    y = attend(q, k, v, mask, causal, shortest(node.scale) if node.scale else None)
    return y.transpose(0, 2, 1, 3).reshape(y.shape[0], y.shape[2], y.shape[1] * y.shape[3])


@imports("onnx", "com.microsoft.Attention")
def attention_from_onnxruntime(node, x, weights, bias, mask=None, past=None, more=None, length=None):
    if length is not None or node.past_present_share_buffer or node.do_rotary:
        raise node.refused("Attention with a shared cache or rotary positions", why="only onnxruntime has it in one")
    count = node.num_heads
    sizes = list(node.qkv_hidden_sizes or [weights.shape[1] // 3] * 3)
    packed = matrix_product(node, x, weights)
    packed = packed if bias is None else Add()(packed, bias)
    q, k, v = (heads(part, count) for part in cut(packed, sizes, 2))
    if past is not None:
        k, v = (Concat(axis=2)(selected(past, 0, i), new) for i, new in enumerate((k, v)))
    mask = added(filtered(node, x, mask, k.shape[2]), more)
    y = attended(node, q, k, v, mask, None if past is None else past.shape[3], causal=bool(node.unidirectional))
    wanted = len(node.native.output) > 1 and node.native.output[1]
    return y, stacked(node, [k, v], 0) if wanted else None


@imports("onnx", "com.microsoft.MultiHeadAttention")
def multi_head_attention_from_onnxruntime(
    node, q, k=None, v=None, bias=None, padding=None, more=None, past_key=None, past_value=None, length=None, cache=None
):
    """Keys and values of rank 4 have their heads apart and take no bias."""
    if k is None or v is None or q.rank != 3 or length is not None or cache is not None:
        raise node.refused(
            "MultiHeadAttention of packed operands or with a shared cache", why="only onnxruntime has them"
        )
    if len(node.native.output) > 3 and node.native.output[3]:
        raise node.refused("the scores of MultiHeadAttention", why="they are read as no result of attention")
    count, width = node.num_heads, q.shape[2]
    apart = k.rank == 4
    if bias is not None:
        sizes = [width, width, bias.shape[0] - 2 * width]
        parts = cut(bias, sizes, 0)
        q, k, v = (Add()(x, b) if x.rank == 3 else x for x, b in zip((q, k, v), parts, strict=True))
    q, k, v = heads(q, count), k if apart else heads(k, count), v if apart else heads(v, count)
    if past_key is not None:
        k, v = Concat(axis=2)(past_key, k), Concat(axis=2)(past_value, v)
    mask = added(filtered(node, q, padding, k.shape[2]), more)
    past = None if past_key is None else past_key.shape[2]
    return attended(node, q, k, v, mask, past, causal=bool(node.unidirectional)), k, v


@imports("onnx", "com.microsoft.EmbedLayerNormalization")
def embeddings_from_onnxruntime(node, ids, segments, words, places, kinds, scale, shift, mask=None, positions=None):
    """The second result counts the mask's ones in each row, the third is the sum of embeddings."""
    if positions is None:
        positions = ranged(node.graph, 0, ids.shape[1], 1, np.int64).reshape(1, ids.shape[1])
    total = Add()(picked(node, words, ids, 0), picked(node, places, positions, 0))
    total = total if segments is None else Add()(total, picked(node, kinds, segments, 0))
    y = LayerNorm(axes=(2,), epsilon=shortest(node.epsilon))(total, scale, shift)
    if mask is None:
        counts = filled(node.graph, (ids.shape[0],), 0, np.int32)
    else:
        counts = reduced(ReduceSum, mask.cast(np.int32), [1], False)
    node.mask_index_type  # noqa: B018  (of onnxruntime's own making)
    return y, counts, total


@imports("onnx", "com.microsoft.RotaryEmbedding")
def rotary_embedding_from_onnxruntime(node, x, positions, cosines, sines):
    if node.is_packed_batching or node.stated("scale") != 1.0:
        raise Refused("RotaryEmbedding of packed batches or with a scale", why="only onnxruntime has it")
    if x.rank == 3 and not node.num_heads:
        raise Refused(
            "RotaryEmbedding that guesses the number of heads",
            why="it follows from the table's width",
            hint="State num_heads",
        )
    if positions.rank == 1:
        length = x.shape[1 if x.rank == 3 else 2]
        row = Add()(ranged(node.graph, 0, length, 1, positions.dtype), positions)
        positions = Add()(row.reshape(1, length), filled(node.graph, (x.shape[0], 1), 0, positions.dtype))
    return rotary_embedding_from_onnx(node, x, cosines, sines, positions)


@imports("onnx", "com.microsoft.Inverse")
def inverse_from_onnxruntime(node, x):
    return inverse_from_framework(node, x)


@imports("onnx", "com.microsoft.CDist")
def distances_from_onnxruntime(node, a, b):
    apart = Sub()(with_axes(a, [1]), with_axes(b, [0]))
    squares = reduced(ReduceSum, Mul()(apart, apart), [2], False)
    return Sqrt()(squares) if node.metric == "euclidean" else squares
