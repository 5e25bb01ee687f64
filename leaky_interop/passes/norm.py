"""Recognises layer and RMS normalisation written out in pieces, as other exporters and people write it.

What is recognised is the same formula, statistic by statistic and epsilon for epsilon; the operator then computes the
last piece's value, at that piece's anchor. Values in between that something else reads stay.

    mean = ReduceMean(x); y = (x - mean) / sqrt(ReduceMean((x - mean)**2) + epsilon) * scale + bias
    y = x / sqrt(ReduceMean(x**2) + epsilon) * scale
    factor = scale / sqrt(variance + epsilon); y = x * factor + (bias - mean * factor)
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..graph import Graph, Node, Rewrite, Value, consumers, inherit
from ..numeric import shortest
from ..op import Op
from ..ops.functions import Neg, Reciprocal, Rsqrt, Sqrt
from ..ops.layer_norm import LayerNorm, OverAxes, RMSNorm
from ..ops.math import Add, Div, Mul, Pow, Sub
from ..ops.reduce import ReduceMean
from ..ops.variance import ReduceVariance


class Found(NamedTuple):
    """A normalisation: the operator, what it normalises, and weights that are already in it."""

    op: OverAxes
    x: Value
    scale: Value | None = None
    bias: Value | None = None


def recognise_norms(graph: Graph) -> Graph:
    """Replace written-out normalisations by LayerNorm and RMSNorm, with the weights that follow them."""
    users = consumers(graph)
    rewrite = Rewrite(graph)
    norms: dict[int, Found] = {}  # by the value that the normalisation so far computes
    for node in graph.nodes:
        found = _normalisation(node) or _weighted(node, norms, users)
        if found is None:
            rewrite.copy(node)
            continue
        norms[id(node.outputs[0])] = found
        weights = (found.scale,) if isinstance(found.op, RMSNorm) else (found.scale, found.bias)
        operands = [rewrite.get(v) for v in (found.x, *weights)]
        (made,) = rewrite.emit(node, found.op, operands, name=_name(node, found))
        inherit(made, node.outputs[0])
        rewrite.put(node.outputs[0], made)
    return rewrite.finish() if norms else graph


def _name(node: Node, found: Found) -> str:
    """What owns the scale, "block.norm" of "block.norm.weight"; otherwise the last piece's name."""
    scale = None if found.scale is None else found.scale.const
    return (scale.name.rpartition(".")[0] if scale is not None else "") or node.name


def _weighted(node: Node, norms: dict[int, Found], users: dict[int, list[Any]]) -> Found | None:
    """A normalisation times its scale or plus its bias, where nothing else reads what comes before."""
    if not isinstance(node.op, Mul | Add):
        return None
    for value, other in _both_ways(node):
        found = norms.get(id(value))
        if found is None or found.bias is not None or users[id(value)] != [node]:
            continue
        weight = _over_axes(found, other)
        if weight is None:
            continue
        if isinstance(node.op, Mul) and found.scale is None:
            return found._replace(scale=weight)
        if isinstance(node.op, Add) and isinstance(found.op, LayerNorm):
            return found._replace(bias=weight)
    return None


def _over_axes(found: Found, value: Value | None) -> Value | None:
    """A weight that has the normalised axes and no other, as the operator takes it."""
    if value is None or value.const is None or value.rank > found.x.rank:
        return None
    sizes = (1,) * (found.x.rank - value.rank) + value.shape
    if any(s != (found.x.shape[a] if a in found.op.axes else 1) for a, s in enumerate(sizes)):
        return None
    return value.reshape(*(sizes[a] for a in found.op.axes))


def _normalisation(node: Node) -> Found | None:
    """The normalisation that this node completes, without weights or with weights inside its factor."""
    if isinstance(node.op, Div | Mul):
        for data, divisor in _quotients(node):
            if (found := _centred(data, divisor) or _by_mean_square(data, divisor)) is not None:
                return found
    if isinstance(node.op, Add):
        for product, shift in _both_ways(node):
            if (found := _by_factor(product, shift)) is not None:
                return found
    return None


def _quotients(node: Node) -> list[tuple[Value, Value]]:
    """(x, v) for every way of reading the node as x / sqrt(v)."""
    found = []
    if isinstance(node.op, Div):
        x, root = node.inputs
        if (inner := _made(root, Sqrt)) is not None:
            found.append((x, inner[0]))
    else:
        for x, inverse in _both_ways(node):
            if (radicand := _inverse_root(inverse)) is not None:
                found.append((x, radicand))
    return found


def _inverse_root(value: Value | None) -> Value | None:
    """v of 1 / sqrt(v), in any spelling."""
    if (inner := _made(value, Rsqrt)) is not None:
        return inner[0]
    if _made(value, Mul) is not None:  # PyTorch's 1 / x is x.reciprocal() * 1
        return next((_inverse_root(v) for v, one in _both_ways(value.node) if _number(one) == 1), None)
    if (inner := _made(value, Pow)) is not None and _number(inner[1]) == -0.5:
        return inner[0]
    root = None
    if (inner := _made(value, Reciprocal)) is not None:
        root = _made(inner[0], Sqrt)
    elif (inner := _made(value, Div)) is not None and _number(inner[0]) == 1:
        root = _made(inner[1], Sqrt)
    return None if root is None else root[0]


def _centred(data: Value, radicand: Value) -> Found | None:
    """(x - mean) / sqrt(variance + epsilon)."""
    inner, shifted = _made(data, Sub), _shifted(radicand)
    if inner is None or shifted is None:
        return None
    x, mean = inner
    axes = _variance_of(x, shifted[0])
    if axes is None or not _is_mean(mean, x, axes):
        return None
    return Found(LayerNorm(axes=axes, epsilon=shifted[1]), x)


def _by_mean_square(data: Value, radicand: Value) -> Found | None:
    """x / sqrt(mean(x**2) + epsilon)."""
    shifted = _shifted(radicand)
    mean = None if shifted is None else _mean(shifted[0])
    if mean is None or _squared(mean[0]) is not data:
        return None
    return Found(RMSNorm(axes=mean[1], epsilon=shifted[1]), data)


def _by_factor(product: Value | None, shift: Value | None) -> Found | None:
    """x * factor + (bias - mean * factor), the factor with or without a scale."""
    for x, factor in _both_ways(product.node) if _made(product, Mul) is not None else ():
        scale, radicand = None, _inverse_root(factor)
        for inverse, weight in _both_ways(factor.node) if _made(factor, Mul) is not None else ():
            if radicand is None and _inverse_root(inverse) is not None:
                scale, radicand = weight, _inverse_root(inverse)
        shifted = _shifted(radicand)
        axes = None if shifted is None else _variance_of(x, shifted[0])
        moved = None if axes is None else _moved_mean(shift, x, axes, factor)
        if moved is None:
            continue
        plain = Found(LayerNorm(axes=axes, epsilon=shifted[1]), x)
        weights = [None if w is None else _over_axes(plain, w) for w in (scale, *moved)]
        if all((w is None) == (v is None) for w, v in zip(weights, (scale, *moved), strict=True)):
            return plain._replace(scale=weights[0], bias=weights[1])
    return None


def _moved_mean(shift: Value | None, x: Value, axes: tuple[int, ...], factor: Value) -> tuple[Value | None] | None:
    """(bias,) where `shift` is bias - mean * factor, in any spelling; (None,) where there is no bias."""

    def is_product(value: Value | None, negated: bool) -> bool:
        for mean, other in _both_ways(value.node) if _made(value, Mul) is not None else ():
            inner = _made(mean, Neg) if negated else (mean,)
            if other is factor and inner is not None and _is_mean(inner[0], x, axes):
                return True
        return False

    if (inner := _made(shift, Sub)) is not None and is_product(inner[1], False):
        return (inner[0],)
    if (inner := _made(shift, Neg)) is not None and is_product(inner[0], False):
        return (None,)
    if is_product(shift, True):
        return (None,)
    if _made(shift, Add) is not None:
        for value, bias in _both_ways(shift.node):
            if is_product(value, True):
                return (bias,)
    return None


def _variance_of(x: Value, value: Value | None) -> tuple[int, ...] | None:
    """The axes over which `value` is the variance of x, its axes kept."""
    if (inner := _made(value, ReduceVariance)) is not None:
        op: Any = value.node.op
        return op.axes if inner[0] is x and op.correction == 0 and op.keepdims and 0 not in op.axes else None
    mean = _mean(value)
    distance = None if mean is None else _made(_squared(mean[0]), Sub)
    return mean[1] if distance is not None and distance[0] is x and _is_mean(distance[1], x, mean[1]) else None


def _is_mean(value: Value | None, x: Value, axes: tuple[int, ...]) -> bool:
    mean = _mean(value)
    return mean is not None and mean[0] is x and mean[1] == axes


def _mean(value: Value | None) -> tuple[Value, tuple[int, ...]] | None:
    """(x, axes) of a mean whose axes are kept; the batch is not one of them."""
    inner = _made(value, ReduceMean)
    if inner is None or not value.node.op.keepdims or 0 in value.node.op.axes:
        return None
    return inner[0], value.node.op.axes


def _squared(value: Value | None) -> Value | None:
    """x of x**2 or x * x."""
    if (inner := _made(value, Pow)) is not None:
        return inner[0] if _number(inner[1]) == 2 else None
    inner = _made(value, Mul)
    return inner[0] if inner is not None and inner[0] is inner[1] else None


def _shifted(value: Value | None) -> tuple[Value, float] | None:
    """(v, epsilon) of v + epsilon."""
    if _made(value, Add) is not None:
        for inner, constant in _both_ways(value.node):
            if (epsilon := _number(constant)) is not None and epsilon >= 0:
                return inner, shortest(epsilon)
    return None


def _made(value: Value | None, kind: type[Op]) -> tuple[Value, ...] | None:
    """The operands of the node that made a value, if it is of this kind."""
    node = None if value is None else value.node
    return node.inputs if node is not None and isinstance(node.op, kind) else None


def _both_ways(node: Node) -> tuple[tuple[Value, Value], ...]:
    first, second = node.inputs
    return (first, second), (second, first)


def _number(value: Value | None) -> float | None:
    """A constant of one element."""
    if value is None or not value.is_constant or value.array().size != 1:
        return None
    return float(value.array().reshape(()))
