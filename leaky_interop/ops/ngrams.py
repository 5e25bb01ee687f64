"""Counts of n-grams in sequences of numbers or words: read from ONNX's TfIdfVectorizer as comparisons with every known n-gram.

An n-gram may leave out up to max_skip_count entries between each two of its own. mode: TF counts, IDF says whether there
is one, TFIDF counts; the latter two times a weight for each n-gram of the pool, in the pool's order, as the specification
says and onnxruntime does it (its reference has them in the result's order).
"""

import itertools
from typing import Any

import numpy as np

from ..op import Value, imports
from .compare import Equal, Greater
from .expand import filled
from .index import sliced
from .logic import And
from .math import Add, Mul
from .matmul import MatMul
from .reduce import ReduceSum, reduced
from .shape import with_axes, without


@imports("onnx", "TfIdfVectorizer", since=9)
def ngrams_from_onnx(node, x):
    rows = with_axes(x, [0]) if x.rank == 1 else x
    size, total = max(node.ngram_indexes) + 1, None
    for grams, places in _known(node):
        count = _counts(rows, grams, node.max_skip_count)
        if count is not None:
            spread = np.zeros((len(places), size), np.float32)
            spread[np.arange(len(places)), places] = 1
            part = MatMul()(count, x.graph.constant(spread))
            total = part if total is None else Add()(total, part)
    if total is None:
        total = filled(x.graph, (rows.shape[0], size), 0, np.float32)
    if node.mode == "IDF":
        total = Greater()(total, 0.0).cast(np.float32)
    if node.mode != "TF" and node.weights:
        weights = np.ones(size, np.float32)
        weights[list(node.ngram_indexes)] = node.weights
        total = Mul()(total, x.graph.constant(weights))
    return without(total, [0]) if x.rank == 1 else total


def _known(node: Any) -> list[tuple[np.ndarray, list[int]]]:
    """By length: the n-grams that count, and where each does; of one that is listed twice the last place holds."""
    words = node.pool_strings
    pool = np.array([w.decode() for w in words], object) if words else np.asarray(node.pool_int64s, np.int64)
    bounds, found, listed = [*node.ngram_counts, len(pool)], [], 0
    for n, (begin, end) in enumerate(itertools.pairwise(bounds), start=1):
        grams = pool[begin:end].reshape(-1, n)
        places = dict(zip(map(tuple, grams.tolist()), node.ngram_indexes[listed:], strict=False))
        listed += len(grams)
        if places and node.min_gram_length <= n <= node.max_gram_length:
            found.append((np.array(list(places), pool.dtype).reshape(-1, n), list(places.values())))
    return found


def _counts(rows: Value, grams: np.ndarray, skips: int) -> Value | None:
    """(rows, n-grams): how often each stands in each row; a single entry leaves nothing out."""
    total, (_, n), length = None, grams.shape, rows.shape[1]
    for step in range(1, skips + 2 if n > 1 else 2):
        reach = (n - 1) * step
        if isinstance(length, int) and length <= reach:
            break
        found = None
        for k in range(n):
            part = with_axes(sliced(rows, {1: slice(k * step, length - (reach - k * step))}), [2])
            same = Equal()(part, rows.graph.constant(grams[:, k], rows.dtype))
            found = same if found is None else And()(found, same)
        count = reduced(ReduceSum, found.cast(np.float32), 1, False)
        total = count if total is None else Add()(total, count)
    return total
