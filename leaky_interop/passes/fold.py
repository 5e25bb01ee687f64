"""Folds batch norms, and other scales and shifts by channel, into the layer beside them: fewer nodes, for deployment.

Not for a network that shall train on: what is folded is gone. So it is done only when asked for. The arithmetic is done in
float64 and rounded once. A folded layer computes what the last of its nodes did, at that one's anchor, and is judged
together with all of them: its bias remembers the magnitudes of what was added up to make it.

    conv(x, W, b) * scale + shift      =  conv(x, W * scale, b * scale + shift)
    conv(x * scale + shift, W, b)      =  conv(x, W * scale, b + sum of W * shift), where no zeros are padded

What stays: where anything else reads the value in between, where the weights are computed or shared with a layer that
folds otherwise, and where the products do not fit the weights' dtype. Statistics of the batch at hand are no constants.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph import Graph, Node, Parameter, Rewrite, Value, consumers, inherit
from ..numeric import is_float, rounded, unit_roundoff
from ..ops.conv import Conv
from ..ops.conv_transpose import ConvTranspose
from ..ops.dense import Dense
from ..ops.math import Add, Div, Mul, Sub
from ..ops.moments import ROUNDINGS
from ..ops.norm import BatchNorm
from ..ops.transpose import Transpose

LAYERS = (Conv, ConvTranspose, Dense)
SHOWN = 5  # names in a note
BLOCK = 2**17  # weights that are scaled at a time, in float64: a kernel may be most of a network

ELSEWHERE = "something else reads the value before"
NO_LAYER = "no convolution or dense layer stands beside"
PADDED = "the layer behind pads with zeros, which are not normalised"
COMPUTED = "weights are computed when the network runs"
SHARED = "the layer's weights are shared with others that fold otherwise"
INEXACT = "the folded numbers do not fit the weights' dtype"


class Affine(NamedTuple):
    """x * scale + shift by channel, in float64; `magnitude` is the sum of magnitudes that made the shift."""

    scale: np.ndarray
    shift: np.ndarray
    magnitude: np.ndarray


@dataclasses.dataclass
class Fold:
    """A layer and what it takes in: nodes before and behind it, in their order, some of them transposes that stay."""

    layer: Node
    before: list[tuple[Node, Affine | None]]
    behind: list[tuple[Node, Affine | None]]

    @property
    def taken(self) -> list[Node]:
        return [n for n, affine in (*self.before, *self.behind) if affine is not None]

    @property
    def key(self) -> tuple[Any, ...]:
        """What decides whether two folds give the same numbers."""
        weights = (
            v.const.identity
            for n in (self.layer, *self.taken)
            for v in n.inputs
            if v is not None and v.const is not None
        )
        kind = type(self.layer.op), getattr(self.layer.op, "groups", 1)
        return (*kind, *weights, *((n.op, n.inputs[0].const is None) for n in self.taken), len(self.before))  # type: ignore[union-attr]


def fold_batch_norms(graph: Graph) -> Graph:
    """The graph with every batch norm, scale and shift in the layer beside it, where that is exact; and notes of both."""
    plan, kept = _plan(graph)
    weights: dict[tuple[Any, ...], tuple[Parameter, Parameter] | None] = {}  # by key: shared layers stay shared
    for fold in list(plan.values()):
        if fold.key not in weights:
            weights[fold.key] = _folded(fold)
        if weights[fold.key] is None:
            del plan[id(fold.layer)]
            kept.update((id(n), (n, INEXACT)) for n in fold.taken)
    rewrite = Rewrite(graph)
    before = {id(n): affine for fold in plan.values() for n, affine in fold.before}
    behind = {id(n) for fold in plan.values() for n, _ in fold.behind}
    for node in graph.nodes:
        if id(node) in plan:
            _emit(rewrite, plan[id(node)], weights[plan[id(node)].key])  # type: ignore[arg-type]
        elif id(node) in before and before[id(node)] is None:  # a transpose, of what is not normalised yet
            rewrite.put(node.outputs[0], *rewrite.emit(node, node.op, [rewrite.get(node.inputs[0])]))
        elif id(node) in before:
            rewrite.put(node.outputs[0], rewrite.get(_data(node)))  # type: ignore[arg-type]
        elif id(node) not in behind:
            rewrite.copy(node)
    done = rewrite.finish()
    done.notes += _notes(list(plan.values()), kept)
    return done


def _emit(rewrite: Rewrite, fold: Fold, weights: tuple[Parameter, Parameter]) -> None:
    layer, sources = fold.layer, [n.source for n in (fold.layer, *fold.taken) if n.source]
    like = dataclasses.replace(layer, source=" and ".join(dict.fromkeys(sources)))
    operands = (rewrite.get(layer.inputs[0]), *map(rewrite.new.parameter, weights))
    (made,) = rewrite.emit(
        like, layer.op, operands, name=layer.name or next((n.name for n in fold.taken if n.name), "")
    )
    last = layer
    for node, affine in fold.behind:
        if affine is None:
            (made,) = rewrite.emit(node, node.op, [made])
        last = node
    inherit(made, last.outputs[0])
    rewrite.put(last.outputs[0], made)


# --- what is folded where ---------------------------------------------------------------------------------------------


def _plan(graph: Graph) -> tuple[dict[int, Fold], dict[int, tuple[Node, str]]]:
    """Folds by layer, and the batch norms that stay, each with its reason."""
    users = consumers(graph)
    plan: dict[int, Fold] = {}
    gone: set[int] = set()
    for node in graph.nodes:
        if isinstance(node.op, LAYERS) and _holds(node):
            fold = Fold(node, _before(node, users, gone), _behind(node, users))
            if fold.taken:
                plan[id(node)] = fold
                gone.update(id(n) for n in fold.taken)
    kept = {}
    for fold in _unlike(graph, plan):
        del plan[id(fold.layer)]
        kept.update({id(n): (n, SHARED) for n in fold.taken})
        gone.difference_update(id(n) for n in fold.taken)
    for node in graph.nodes:
        if isinstance(node.op, BatchNorm) and id(node) not in gone and id(node) not in kept:
            kept[id(node)] = node, _why(node, users)
    return plan, kept


def _holds(layer: Node) -> bool:
    """Whether a layer's weights are numbers, of a float type that the data has too."""
    _, kernel, bias = layer.inputs
    return (
        kernel is not None
        and kernel.const is not None
        and (bias is None or bias.const is not None)
        and is_float(kernel.dtype)
    )


def _unlike(graph: Graph, plan: dict[int, Fold]) -> list[Fold]:
    """The folds of a kernel that another node reads too, and does not fold in the same way."""
    readers: dict[int, list[Node]] = {}
    for node in graph.all_nodes():
        for value in node.inputs:
            if value is not None and value.const is not None:
                readers.setdefault(id(value.const.root), []).append(node)
    found = []
    for fold in plan.values():
        kernel = fold.layer.inputs[1]
        others = [plan.get(id(n)) for n in readers[id(kernel.const.root)]]  # type: ignore[union-attr]
        if any(other is None or other.key != fold.key for other in others):
            found.append(fold)
    return found


def _behind(layer: Node, users: dict[int, list[Any]]) -> list[tuple[Node, Affine | None]]:
    value, chain = layer.outputs[0], list[tuple[Node, Affine | None]]()
    axis = value.rank - 1 if isinstance(layer.op, Dense) else 1
    while len(readers := users.get(id(value), [])) == 1 and readers[0] is not None:
        (node,) = readers
        affine = None
        if isinstance(node.op, Transpose):
            axis = node.op.perm.index(axis)
        elif _data(node) is not value or (affine := _affine(node, axis)) is None:
            break
        chain.append((node, affine))
        value = node.outputs[0]
    while chain and chain[-1][1] is None:
        chain.pop()
    return chain


def _before(layer: Node, users: dict[int, list[Any]], gone: set[int]) -> list[tuple[Node, Affine | None]]:
    value, reader, chain = layer.inputs[0], layer, list[tuple[Node, Affine | None]]()
    assert value is not None
    axis = value.rank - 1 if isinstance(layer.op, Dense) else 1
    while (node := value.node) is not None and id(node) not in gone and users[id(value)] == [reader]:
        affine = None
        if isinstance(node.op, Transpose):
            axis = node.op.perm[axis]
        elif (affine := _affine(node, axis)) is None or not _reaches_all(layer, affine):
            break
        chain.append((node, affine))
        reader, value = node, _data(node)
        assert value is not None
    while chain and chain[-1][1] is None:
        chain.pop()
    return chain[::-1]


def _reaches_all(layer: Node, affine: Affine) -> bool:
    """Whether what is added before a layer adds the same everywhere behind it."""
    if isinstance(layer.op, Dense) or not affine.magnitude.any():
        return True
    return isinstance(layer.op, Conv) and all(pair == (0, 0) for pair in layer.op.pads)


def _why(norm: Node, users: dict[int, list[Any]]) -> str:
    """Why a batch norm stays."""
    if _affine(norm, 1) is None:
        return COMPUTED
    above, below = norm.inputs[0], norm.outputs[0]
    behind = above is not None and above.node is not None and isinstance(above.node.op, LAYERS)
    readers = users.get(id(below), [])
    before = [n for n in readers if n is not None and isinstance(n.op, LAYERS)]
    if (behind and not _holds(above.node)) or any(not _holds(n) for n in before):  # type: ignore[union-attr,arg-type]
        return COMPUTED
    if not behind and len(readers) == 1 and before:
        return PADDED
    return ELSEWHERE if behind or before else NO_LAYER


# --- numbers ----------------------------------------------------------------------------------------------------------


def _data(node: Node) -> Value | None:
    """What a node scales or shifts: its operand that is no constant."""
    live = [v for v in node.inputs if v is not None and v.const is None]
    return live[0] if len(live) == 1 else None


def _affine(node: Node, axis: int) -> Affine | None:
    """What a node does to each channel, where it does nothing else; None where it does."""
    if not isinstance(node.op, BatchNorm | Add | Sub | Mul | Div) or (x := _data(node)) is None:
        return None
    if not is_float(x.dtype) or x.rank != node.outputs[0].rank or not isinstance(x.shape[axis], int):
        return None  # of another rank, it is spread over axes that it does not have
    if isinstance(node.op, BatchNorm):
        if axis != 1 or node.inputs[0] is not x:
            return None
        scale, bias, mean, variance = (None if v is None else v.array().astype(np.float64) for v in node.inputs[1:])
        with np.errstate(all="ignore"):
            factor = (1.0 if scale is None else scale) / np.sqrt(variance + node.op.epsilon)
            bias = np.zeros_like(factor) if bias is None else bias
            return Affine(factor, bias - mean * factor, np.abs(bias) + np.abs(mean * factor))
    first = node.inputs[0] is x
    other = node.inputs[1 if first else 0]
    assert other is not None
    numbers = _by_channel(other, x, axis)
    if numbers is None or (isinstance(node.op, Div) and not first):
        return None
    ones, none = np.ones_like(numbers), np.zeros_like(numbers)
    with np.errstate(all="ignore"):
        if isinstance(node.op, Mul | Div):
            return Affine(numbers if isinstance(node.op, Mul) else 1 / numbers, none, none)
    if isinstance(node.op, Add):
        return Affine(ones, numbers, np.abs(numbers))
    return Affine(ones, -numbers, np.abs(numbers)) if first else Affine(-ones, numbers, np.abs(numbers))


def _by_channel(other: Value, x: Value, axis: int) -> np.ndarray | None:
    """One number for each channel of a constant beside x; None where it has another for other places."""
    if other.rank > x.rank or not is_float(other.dtype):
        return None
    shape = (1,) * (x.rank - other.rank) + other.shape
    if any(size != 1 and (a != axis or size != x.shape[axis]) for a, size in enumerate(shape)):
        return None
    return np.broadcast_to(other.array().astype(np.float64).reshape(-1), x.shape[axis : axis + 1])  # type: ignore[arg-type]


def _folded(fold: Fold) -> tuple[Parameter, Parameter] | None:
    """The layer's new kernel and bias; None where they do not fit its dtype."""
    _, kernel, bias = fold.layer.inputs
    assert kernel is not None and kernel.const is not None
    parted, back = _parted(fold.layer.op, kernel.array())
    groups, outputs, *rest = parted.shape
    narrow, added = np.empty(parted.shape, kernel.dtype), np.zeros((groups, outputs))
    if bias is not None:
        added += bias.array().astype(np.float64).reshape(groups, outputs)
    size = np.abs(added)
    rows = max(1, BLOCK // (groups * math.prod(rest)))
    with np.errstate(all="ignore"):
        for start in range(0, outputs, rows):
            part = np.s_[:, start : start + rows]
            wide = parted[part].astype(np.float64)
            added[part], size[part] = _taken_in(fold, wide, added[part], size[part], part)
            narrow[part] = rounded(wide, kernel.dtype)
            if not _fits(wide, narrow[part], (2, 3)):
                return None
        narrow_bias = rounded(added, kernel.dtype)
        if not _fits(added, narrow_bias, ()):
            return None
    name, trainable = kernel.const.name, kernel.const.trainable
    own = name and f"{name.rpartition('.')[0]}.bias".lstrip(".")
    named = own if bias is None or not bias.const.name else bias.const.name  # type: ignore[union-attr]
    summed = (ROUNDINGS * len(fold.taken), size.reshape(-1))
    made, made_bias = back(narrow), narrow_bias.reshape(-1)
    return (
        Parameter(name, made.shape, made.dtype, lambda: made, made, trainable, home="layer"),
        Parameter(
            named, made_bias.shape, made.dtype, lambda: made_bias, made_bias, trainable, home="layer", summed=summed
        ),
    )


def _taken_in(fold: Fold, wide: np.ndarray, added: np.ndarray, size: np.ndarray, part: Any) -> tuple[np.ndarray, np.ndarray]:
    """Scale some outputs' kernel in place by all that folds; what is added behind it, and the magnitudes that made that."""
    groups, _, inputs, _ = wide.shape
    for affine in (a for _, a in reversed(fold.before) if a is not None):
        scale, shift, magnitude = (a.reshape(groups, inputs, 1) for a in affine)
        added = added + (wide.sum(-1) @ shift)[..., 0]
        size = size + (np.abs(wide).sum(-1) @ magnitude)[..., 0]
        wide *= scale.reshape(groups, 1, inputs, 1)
    for affine in (a for _, a in fold.behind if a is not None):
        scale, shift, magnitude = (a.reshape(groups, -1)[part] for a in affine)
        added, size = added * scale + shift, size * np.abs(scale) + magnitude
        wide *= scale[:, :, None, None]
    return added, size


def _parted(op: Any, kernel: np.ndarray) -> tuple[np.ndarray, Any]:
    """A kernel as (groups, outputs, inputs, taps), and what turns such an array back into a kernel."""
    shape, groups = kernel.shape, getattr(op, "groups", 1)
    parted = kernel.reshape(groups, shape[0] // groups, shape[1], -1)
    if isinstance(op, ConvTranspose):
        return parted.swapaxes(1, 2), lambda a: np.ascontiguousarray(a.swapaxes(1, 2)).reshape(shape)
    return parted, lambda a: a.reshape(shape)


def _fits(wide: np.ndarray, narrow: np.ndarray, axes: tuple[int, ...]) -> bool:
    """Whether rounding lost no more than it does in normal numbers, of each output's largest weight."""
    if axes:
        largest = np.maximum(wide.max(axes, initial=0.0, keepdims=True), -wide.min(axes, initial=0.0, keepdims=True))
    else:
        largest = np.abs(wide)
    lost = narrow.astype(np.float64)
    lost -= wide
    np.abs(lost, out=lost)
    return bool(np.isfinite(narrow).all() and (lost <= unit_roundoff(narrow.dtype) * largest).all())


# --- notes ------------------------------------------------------------------------------------------------------------


def _notes(folds: Sequence[Fold], kept: dict[int, tuple[Node, str]]) -> list[str]:
    """What was folded into which layer, and what stays, for each reason."""
    rows = [f"{f.layer.name} takes in {', '.join(dict.fromkeys(n.name or str(n.op) for n in f.taken))}" for f in folds]
    norms = [n for f in folds for n in f.taken if isinstance(n.op, BatchNorm)]
    others = sum(len(f.taken) for f in folds) - len(norms)
    found = []
    if rows:
        what = f"{_counted(len(norms), 'batch norm')} and {_counted(others, 'other scale or shift', 'other scales and shifts')}"
        found.append(f"folded into layers, which do not train as before: {what}; {_listed(rows, '; ')}")
    reasons: dict[str, list[str]] = {}
    for node, why in kept.values():
        if isinstance(node.op, BatchNorm):
            reasons.setdefault(why, []).append(node.name or str(node.op))
    found += [
        f"{_counted(len(names), 'batch norm')} not folded, {why}: {_listed(names, ', ')}"
        for why, names in reasons.items()
    ]
    return found


def _counted(count: int, what: str, several: str = "") -> str:
    return f"{count} {what if count == 1 else several or what + 's'}"


def _listed(texts: Sequence[str], separator: str) -> str:
    more = len(texts) - SHOWN
    return separator.join(texts[:SHOWN]) + (f"{separator}and {more} more" if more > 0 else "")
