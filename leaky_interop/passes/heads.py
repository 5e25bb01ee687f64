"""Finds multi-head attention in what frameworks and files write it as, for targets that have a layer for it.

Three projections, moved into heads, attention and a projection of what it gives, moved back. Which entry of a projection
is which feature of which head is read off the moves between them, so any chain of reshapes, transposes, slices and splits is
understood. The kernels become views of the weights that they were; all values inside are gone, and the result keeps its
anchor. The numbers are those of the same operators.

A network of a framework with layers keeps those that it has: there, only what is one layer already is grouped.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..graph import Graph, Node, Rewrite, Value, consumers, inherit
from ..ops.dense import Dense
from ..ops.gather import Gather
from ..ops.heads import PARTS, MultiHeadAttention
from ..ops.shape import Reshape
from ..ops.transpose import Transpose
from ..sizes import Size, agree, evaluate
from .attention import Allowed, Scores, closed, found_attention, scope
from .moves import chain_to, is_move, moved, places, scaled, tried_sizes

Accepts = Callable[[MultiHeadAttention, Sequence[Value | None]], bool]
LAYERED = ("keras", "torch")  # frameworks whose layers are the user's own


@dataclasses.dataclass(frozen=True, eq=False)
class Projected:
    """What one side of the attention is computed from: (batch, length, features), or the first two turned around.

    rows: those of the kernel that make each head, (heads, size). inside: the values from the projection to the attention.
    """

    source: Value
    turned: bool
    dense: Node
    rows: np.ndarray
    factor: float
    inside: tuple[Value, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Gathered:
    """The value that all heads are projected to, shaped and turned as `Projected.source`; columns: (heads, size)."""

    result: Value
    turned: bool
    dense: Node
    columns: np.ndarray
    inside: tuple[Value, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Found:
    """A whole multi-head attention. parts: query, key, value; weights: kernel and bias of each part and of the output."""

    op: MultiHeadAttention
    parts: tuple[Projected, Projected, Projected]
    mask: Allowed | None
    weights: tuple[Value | None, ...]
    gathered: Gathered
    name: str


def group_heads(graph: Graph, accepts: Accepts) -> Graph:
    """Every multi-head attention that the target says as one layer, as one operator."""
    tried = tried_sizes(graph)
    if not tried:
        return graph
    users = consumers(graph)
    found: dict[int, Found] = {}
    for node in graph.nodes:
        scores = found_attention(node)
        whole = None if scores is None else _whole(scores, users, tried)
        if whole is not None and _is_layer(graph, whole):
            found[id(whole.gathered.result)] = whole
    if not found:
        return graph
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        whole = found.get(id(node.outputs[0]))
        operands = [] if whole is None else _operands(rewrite, node, whole)
        if whole is None or not accepts(whole.op, operands):
            rewrite.copy(node)
            continue
        (made,) = rewrite.emit(node, whole.op, operands, name=whole.name)
        if whole.gathered.turned:
            (made,) = rewrite.emit(node, Transpose(perm=(1, 0, 2)), (made,), name="")
        old = whole.gathered.result
        made = made.reshape(*old.shape)
        inherit(made, old)
        rewrite.put(old, made)
    return rewrite.finish()


def _operands(rewrite: Rewrite, node: Node, whole: Found) -> list[Value | None]:
    """What the operator is given, the batch before the time."""
    data: dict[int, Value] = {}
    for part in whole.parts:
        value = rewrite.get(part.source)
        assert value is not None
        if id(part.source) not in data:
            data[id(part.source)] = (
                rewrite.emit(node, Transpose(perm=(1, 0, 2)), (value,), name="")[0] if part.turned else value
            )
    mask = None if whole.mask is None else _without_heads(whole.mask.emitted(rewrite, node))
    return [*(data[id(part.source)] for part in whole.parts), mask, *map(rewrite.get, whole.weights)]


def _without_heads(mask: Value) -> Value:
    """A mask of pairs, (length, other length), (batch, ...) or (batch, heads, ...), whatever it broadcasts from."""
    if mask.rank == 2:
        return mask
    full = (*(1,) * (4 - mask.rank), *mask.shape)
    shorter = full if full[1] != 1 else full[2:] if full[0] == 1 else (full[0], *full[2:])
    before = mask.node.inputs[0] if mask.node is not None and isinstance(mask.node.op, Reshape) else None
    if before is not None and agree(before.shape, shorter):
        return before
    # a reshape to several open sizes cannot be said everywhere
    return mask.reshape(*(shorter if sum(isinstance(d, Size) for d in shorter) < 2 else full))


def _is_layer(graph: Graph, whole: Found) -> bool:
    """Whether the network's framework has no layers, or has this one: PyTorch's, or one that Keras' became."""
    if graph.framework not in LAYERED:
        return True
    owners = [_owner(whole.weights[2 * i]) for i in range(len(PARTS))]
    return (
        owners == [f"{whole.name}.{part}_dense" for part in PARTS]
        or graph.classes.get(whole.name) == "MultiheadAttention"
    )


def _owner(kernel: Value | None) -> str:
    """The layer that a weight belongs to, "block.dense" of "block.dense.kernel"."""
    return kernel.const.name.rpartition(".")[0] if kernel is not None and kernel.const is not None else ""


def _name(weights: list[Value | None], dense: Node) -> str:
    """What the layers of all kernels have in common."""
    return scope([_owner(kernel) for kernel in weights[::2]]) or dense.name


# --- what is found ----------------------------------------------------------------------------------------------------


def _whole(scores: Scores, users: Mapping[int, list[Any]], tried: list[dict[str, int]]) -> Found | None:
    """The projections around an attention, if nothing else reads what is between them."""
    sides = ((scores.q, False), (scores.k, scores.key_turned), (scores.v, False))
    parts = [part for value, turned in sides if (part := _projected(value, turned, tried)) is not None]
    gathered = _gathered(scores.result, parts[0], users, tried) if len(parts) == 3 else None
    if gathered is None or not closed(
        (*scores.inside, *gathered.inside, *(v for p in parts for v in p.inside)), gathered.result, users
    ):
        return None
    query, key, value = parts
    shared = _shared(key.rows)
    scale = scores.scale * query.factor * key.factor * value.factor
    exact = scores.q.dtype == np.float64
    usual = abs(scale * math.sqrt(query.rows.shape[1]) - 1) <= (2**-50 if exact else 2**-21) and value.factor == 1
    mask, fits = _fitting(scores)
    if shared != _shared(value.rows) or not usual or not fits:
        return None
    op = MultiHeadAttention(
        heads=len(query.rows), kv_heads=len(key.rows) // shared, causal=scores.causal,
        blind=scores.blind if mask is not None else "zeros", dropout=scores.dropout,
    )  # fmt: skip
    weights: list[Value | None] = []
    for part, rows in zip(parts, (query.rows, key.rows[::shared], value.rows[::shared]), strict=True):
        weights += _taken(part.dense, rows, 0)
    weights += _taken(gathered.dense, gathered.columns, 1)
    return Found(op, (query, key, value), mask, tuple(weights), gathered, _name(weights, gathered.dense))


def _projected(value: Value, key_turned: bool, tried: list[dict[str, int]]) -> Projected | None:
    """The dense layer that one side of an attention comes from, and what it works on."""
    chain = list(chain_to(value, lambda node: is_move(node) or scaled(node) is not None))
    dense = chain[-1].node
    if dense is None or not _is_dense(dense) or value.rank not in (3, 4):
        return None
    factor = math.prod(scaled(v.node) or 1.0 for v in chain[:-1])
    before = list(chain_to(dense.inputs[0]))
    for turned in (False, True):
        for place, source in enumerate(before):
            path = before[place::-1]
            rows = [_rows(chain, path, key_turned, turned, sizes) for sizes in tried] if source.rank == 3 else [None]
            if all(r is not None and np.array_equal(r, rows[0]) for r in rows):
                return Projected(source, turned, dense, rows[0], factor, tuple(chain))
    return None


def _rows(
    chain: list[Value], path: list[Value], key_turned: bool, turned: bool, sizes: dict[str, int]
) -> np.ndarray | None:
    """The rows of the kernel that make each head, (heads, size). None where they are not the same everywhere.

    path: from what is projected, (batch, length, features), to the operand of the dense layer.
    """
    made, given = places(chain[-1], sizes), places(path[0], sizes)
    if made is None or given is None or not given.size:
        return None
    features, first = given.shape[-1], moved(given, path[1:], sizes)
    if (
        first.shape[-1] != features
        or (first != first[..., :1] + np.arange(features)).any()
        or (first[..., 0] % features).any()
    ):
        return None
    position = first[..., 0].reshape(-1) // features
    found = moved(made, chain[-2::-1], sizes) if len(chain) > 1 else made
    found = found.swapaxes(-1, -2) if key_turned else found
    batch, length = given.shape[1::-1] if turned else given.shape[:2]
    heads = found.size // (batch * length * found.shape[-1])
    if found.shape[-2] != length or heads * batch * length * found.shape[-1] != found.size:
        return None
    found = found.reshape(batch, heads, length, found.shape[-1])
    expected = np.arange(batch * length).reshape(given.shape[:2])
    expected = (expected.T if turned else expected)[:, None, :, None]
    units = made.shape[-1]
    rows = found % units
    if (position[found // units] != expected).any() or (rows != rows[:1, :, :1]).any():
        return None
    return rows[0, :, 0]


def _gathered(
    value: Value, query: Projected, users: Mapping[int, list[Any]], tried: list[dict[str, int]]
) -> Gathered | None:
    """The dense layer that attention goes into, and the value behind it that has the query's axes."""
    chain = [value, *_behind(value, users)]
    readers = users.get(id(chain[-1]), [])
    dense = readers[0] if len(readers) == 1 else None
    if dense is None or not _is_dense(dense) or dense.inputs[0] is not chain[-1]:
        return None
    after = [dense.outputs[0], *_behind(dense.outputs[0], users)]
    for turned, rank in ((False, 3), (True, 3), (False, 2), (True, 2)):
        for place, result in enumerate(after):
            path = after[: place + 1]
            found = [_columns(chain, path, query, turned, sizes) for sizes in tried] if result.rank == rank else [None]
            if all(c is not None and np.array_equal(c, found[0]) for c in found):
                return Gathered(result, turned, dense, found[0], (*chain, *path[:-1]))
    return None


def _columns(
    chain: list[Value], path: list[Value], query: Projected, turned: bool, sizes: dict[str, int]
) -> np.ndarray | None:
    """The columns of the kernel that read each head, (heads, size); None where they are not the same everywhere."""
    made, result = places(chain[0], sizes), places(path[0], sizes)
    source = evaluate(query.source.shape, sizes)
    if made is None or result is None:
        return None
    batch, length = source[1::-1] if query.turned else source[:2]
    size = made.shape[-1]
    found = moved(made, chain[1:], sizes)
    if made.shape[-2] != length or made.size % (batch * length * size):
        return None
    heads = made.size // (batch * length * size)
    time, head = found // size % length, found // (size * length)
    features = head % heads * size + found % size  # which entry of all heads stands where
    position = head // heads * length + time
    order = features.reshape(-1, features.shape[-1])[0]
    if (features != order).any() or (position != position[..., :1]).any() or len(order) != heads * size:
        return None
    out = result.shape[-1]
    end = moved(result, path[1:], sizes)
    if end.shape[-1] != out or end.size != batch * length * out or sorted(order) != list(range(len(order))):
        return None
    end = end.reshape(length, batch, out).swapaxes(0, 1) if turned else end.reshape(batch, length, out)
    at = position[..., 0].reshape(-1)[end // out]
    if (at != np.arange(batch * length).reshape(batch, length, 1)).any() or (end % out != np.arange(out)).any():
        return None
    return np.argsort(order).reshape(heads, size)


def _behind(value: Value, users: Mapping[int, list[Any]]) -> list[Value]:
    """The values that are moved from this one, each read by the next move alone."""
    found: list[Value] = []
    while len(readers := users.get(id(value), [])) == 1 and is_move(readers[0]) and len(readers[0].outputs) == 1:
        value = readers[0].outputs[0]
        found.append(value)
    return found


def _is_dense(node: Node) -> bool:
    """Whether a node is a dense layer with weights of its own."""
    held = all(v is None or (v.const is not None and v.const.name) for v in node.inputs[1:])
    return isinstance(node.op, Dense) and bool(held)


def _shared(rows: np.ndarray) -> int:
    """How many neighbouring heads are one and the same."""
    alike = (rows == rows[0]).all(-1)
    count = len(rows) if alike.all() else int(np.argmin(alike))
    return count if len(rows) % count == 0 and np.array_equal(rows, np.repeat(rows[::count], count, 0)) else 1


def _fitting(scores: Scores) -> tuple[Allowed | None, bool]:
    """The mask as (batch, heads, ...) has it, and whether it can be had: heads may stand in the batch."""
    mask = scores.mask
    if mask is None or scores.q.rank == 4:
        return mask, True
    if isinstance(mask.source, np.ndarray) and all(d == 1 for d in mask.source.shape[:-2]):
        return Allowed(mask.source.reshape(mask.source.shape[-2:])), True
    return None, False


def _taken(dense: Node, index: np.ndarray, axis: int) -> list[Value | None]:
    """The kernel and the bias of a dense layer, some of their rows, or of the kernel's columns in another order."""
    _, kernel, bias = dense.inputs
    assert kernel is not None
    flat = index.reshape(-1)
    if np.array_equal(flat, np.arange(kernel.shape[axis])):
        return [kernel, bias]
    places = kernel.graph.constant(flat)
    rows = bias if bias is None or axis else Gather(axis=0)(bias, places)
    return [Gather(axis=axis)(kernel, places), rows]
