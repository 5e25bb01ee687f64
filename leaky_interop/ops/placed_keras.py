"""Keras' operations that put numbers somewhere: diagonals, products of all pairs, evenly spaced numbers. Importers only."""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, imports, product
from .bounds import Clip
from .compare import Equal, Where
from .composed_keras import stated
from .expand import filled
from .functions import Abs, Log10, Sign, Sqrt
from .gather import Gather
from .index import selected
from .join import stacked
from .math import Add, Div, Mul, Pow, Sub
from .matmul import matrix_product
from .pad import pad
from .picking import diagonal
from .promotion import floating, in_one_dtype, in_stated_dtype
from .range import ranged
from .reduce import ReduceMean, reduced
from .shape import merged, with_axes
from .transpose import moved_axes


@imports("keras", "ops.Diag")
def diagonal_or_its_matrix(call, x):
    return diagonal(x, call.k, 0, 1) if x.rank == 2 else _on_diagonal(call, x, call.k)


@imports("keras", "ops.Diagflat")
def flat_on_diagonal(call, x):
    return _on_diagonal(call, merged(x, 0, x.rank), call.k)


def _on_diagonal(call: Any, x: Value, offset: int) -> Value:
    """A square matrix with a list on one of its diagonals."""
    behind = abs(offset)
    x = pad(x, [(0, behind)], "constant", 0.0) if behind else x
    places = ranged(call.graph, 0, x.shape[0], 1, np.int64)
    row, column = with_axes(places, [-1]), with_axes(places, [0])
    on = Equal()(Add()(row, offset) if offset else row, column)
    return Where()(on, with_axes(x, [-1] if offset >= 0 else [0]), filled(call.graph, (), 0, x.dtype))


@imports("keras", "ops.Vander")
def powers(call, x):
    x = stated(call, x)[0] if call.stated else x
    count = x.shape[0] if call.N is None else call.N
    if not isinstance(count, int):
        raise Refused("as many powers as a run has numbers", hint="State N")
    columns = [filled(call.graph, x.shape, 1, x.dtype)]
    for _ in range(count - 1):
        columns.append(Mul()(columns[-1], x))
    return stacked(call, columns[:count] if call.increasing else columns[:count][::-1], -1)


@imports("keras", "ops.Kron")
def product_of_all_pairs(call, x, y):
    x, y = in_one_dtype(call, x, y)
    rank = max(x.rank, y.rank)
    x, y = (with_axes(v, range(rank - v.rank)) for v in (x, y))
    shape = tuple(product(pair) for pair in zip(x.shape, y.shape, strict=True))
    outer = Mul()(with_axes(x, range(1, 2 * rank, 2)), with_axes(y, range(0, 2 * rank, 2)))
    return outer.reshape(*shape)


@imports("keras", "ops.Cross")
def cross_product(call, x, y):
    """Of two vectors of two numbers only the third of the result is left. Without an axis torch takes the first of size 3."""
    x, y = in_one_dtype(call, x, y)
    axes = [call.axisa, call.axisb, call.axisc]
    if call.backend == "torch":
        axes = [x.shape.index(3) - x.rank] * 3
    a, b = (_components(v, axis) for v, axis in zip((x, y), axes, strict=False))

    def part(i: int, j: int) -> Value | None:
        pairs = [(a[i], b[j]), (a[j], b[i])]
        made = [None if None in pair else Mul()(*pair) for pair in pairs]
        if made[0] is None:
            return None if made[1] is None else Sub()(0 if made[1].dtype.kind in "iu" else 0.0, made[1])
        return made[0] if made[1] is None else Sub()(*made)

    third = part(0, 1)
    if a[2] is None and b[2] is None:
        return third
    return moved_axes(stacked(call, [part(1, 2), part(2, 0), third], -1), -1, axes[2])


def _components(x: Value, axis: int) -> list[Value | None]:
    return [selected(x, axis, i) if i < x.shape[axis] else None for i in range(3)]


@imports("keras", "ops.Correlate")
def correlation(call, x, y):
    """Sliding products; "same" is as long as the longer of the two, on torch as the first."""
    x, y = stated(call, x, y)
    n, m = x.shape[0], y.shape[0]
    if not isinstance(n, int) or not isinstance(m, int):
        raise Refused("a correlation of a length that only a run knows", hint="Fix it with input_shapes")
    first = n if call.backend == "torch" else max(n, m)
    length = {"full": n + m - 1, "same": first, "valid": abs(n - m) + 1}[call.mode]
    start = (n + m - 1 - length) // 2
    windows = start + np.arange(length)[:, None] + np.arange(m)
    around = pad(x, [(m - 1, m - 1)], "constant", 0.0)
    result = matrix_product(call, Gather(axis=0)(around, call.graph.constant(windows)), y)
    return result.reshape() if call.backend == "torch" and length == 1 else result  # which drops every axis of size 1


@imports("keras", "ops.Corrcoef")
def correlation_matrix(call, x):
    if call.backend == "tensorflow" and x.dtype == np.int64:
        raise Refused("corrcoef of int64", why="TensorFlow rounds the means to whole numbers", hint="Cast it to float32")
    (x,) = in_stated_dtype(call, floating(call, x))
    away = Sub()(x, reduced(ReduceMean, x, -1, True))
    rows = with_axes(away, [0]) if x.rank == 1 else away
    shared = matrix_product(call, rows, rows.transpose(1, 0))
    size = Sqrt()(diagonal(shared, 0, 0, 1))
    result = Div()(Div()(shared, with_axes(size, [-1])), with_axes(size, [0]))
    result = Clip(minimum=-1.0, maximum=1.0)(result)
    return result.reshape() if x.rank == 1 else result


@imports("keras", "ops.Ndim")
def number_of_axes(call, x):
    raise Refused(
        "the number of axes as a result", why="Keras gives a Python number, not an array", hint="Leave it out"
    )


# --- evenly spaced ----------------------------------------------------------------------------------------------------


def _between(call: Any, start: Value, stop: Value) -> Value:
    """`num` numbers from start to stop along the call's axis, or just before it."""
    parts = call.num - 1 if call.endpoint else call.num
    steps = np.arange(call.num) / max(parts, 1)
    rank = max(start.rank, stop.rank)
    share = call.graph.constant(steps.reshape(-1, *(1,) * rank), start.dtype)
    spread = Add()(with_axes(start, [0]), Mul()(share, Sub()(stop, start)))
    return moved_axes(spread, 0, call.axis) if call.axis % (rank + 1) else spread


def _one_array(call: Any) -> None:
    if getattr(call.native, "retstep", False):
        raise Refused("evenly spaced numbers together with their distance", hint="Leave retstep out")


@imports("keras", "ops.Linspace")
def evenly_spaced(call, start, stop):
    _one_array(call)
    return _between(call, *stated(call, start, stop))


@imports("keras", "ops.Logspace")
def evenly_spaced_exponents(call, start, stop):
    return Pow()(float(call.base), _between(call, *stated(call, start, stop)))


@imports("keras", "ops.Geomspace")
def evenly_spaced_factors(call, start, stop):
    start, stop = stated(call, start, stop)
    spread = Pow()(10.0, _between(call, *(Log10()(Abs()(v)) for v in (start, stop))))
    sign = with_axes(Sign()(start), [call.axis % (start.rank + 1)]) if start.rank else Sign()(start)
    return Mul()(spread, sign)
