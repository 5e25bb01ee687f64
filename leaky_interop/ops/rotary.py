"""What language models do to positions and caches: rotary embeddings, and entries written where a sequence ends.

| meaning          | onnx            | what it is read as                                        |
|------------------|-----------------|-----------------------------------------------------------|
| RotaryEmbedding  | RotaryEmbedding | halves of the features, turned by an angle a position     |
| TensorScatter    | TensorScatter   | GatherElements, and Where to keep what is not overwritten |
"""

import numpy as np

from ..errors import Refused
from ..op import imports
from .compare import GreaterOrEqual, Less, Where
from .expand import expanded
from .gather import Gather, GatherElements
from .index import sliced
from .join import Concat, cut, joined
from .logic import And
from .math import Add, Mod, Mul, Sub
from .range import ranged
from .shape import with_axes


@imports("onnx", "RotaryEmbedding", since=23)
def rotary_embedding_from_onnx(node, x, cosines, sines, positions=None):
    """Of rank 3 the heads stand in the features. The turned features come first, the others stay."""
    wide = x.rank == 3
    y = x.reshape(*x.shape[:2], node.num_heads, x.shape[2] // node.num_heads) if wide else x
    size = y.shape[3]
    turned = node.rotary_embedding_dim or size
    if positions is not None:
        cosines, sines = (Gather(axis=0)(table, positions) for table in (cosines, sines))
    cosines, sines = (with_axes(table, [2 if wide else 1]) for table in (cosines, sines))
    rest = sliced(y, {3: slice(turned, None)})
    y = sliced(y, {3: slice(0, turned)})
    if node.interleaved:
        first, second = (sliced(y, {3: slice(start, None, 2)}) for start in (0, 1))
    else:
        first, second = cut(y, [turned // 2, turned // 2], 3)
    real = Sub()(Mul()(cosines, first), Mul()(sines, second))
    imaginary = Add()(Mul()(sines, first), Mul()(cosines, second))
    if node.interleaved:
        y = joined(node, [with_axes(part, [4]) for part in (real, imaginary)], 4).reshape(*y.shape)
    else:
        y = Concat(axis=3)(real, imaginary)
    y = y if turned == size else Concat(axis=3)(y, rest)
    return y.reshape(*x.shape)


@imports("onnx", "TensorScatter", since=24)
def tensor_scatter_from_onnx(node, cache, update, starts=None):
    """Entry p of the cache is entry p - start of the update where there is one; circular: counted around the end."""
    axis = node.axis % cache.rank
    if node.mode not in ("linear", "circular") or axis == 0:
        raise Refused(
            f"TensorScatter with mode={node.mode!r}, axis={node.axis}", why="the cache's axis is not that of the batch"
        )
    size, count = (node.graph.of_sizes(v.shape[axis]) for v in (cache, update))
    places = ranged(node.graph, 0, cache.shape[axis], 1, np.int64)
    places = places.reshape(*(d if a == axis else 1 for a, d in enumerate(cache.shape)))
    if starts is not None:
        places = Sub()(places, starts.reshape(starts.shape[0], *(1,) * (cache.rank - 1)))
        if node.mode == "circular":
            places = Mod()(places, size)
    written = And()(GreaterOrEqual()(places, 0), Less()(places, count))
    index = expanded(Where()(written, places, 0), cache.shape)
    return Where()(written, GatherElements(axis=axis)(update, index), cache)
