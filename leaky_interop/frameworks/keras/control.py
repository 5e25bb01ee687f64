"""The control flow of keras.ops while code is traced: its functions become bodies of three operations.

| keras.ops                                                      | operation |
|----------------------------------------------------------------|-----------|
| cond, switch                                                   | Branch    |
| while_loop, fori_loop, scan without xs                         | Repeat    |
| scan, map, vectorized_map, associative_scan of an open length  | Walk      |
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras.src.backend.common.symbolic_scope import in_symbolic_scope
from keras.src.ops import core

from ...errors import Refused
from ...graph import snake
from .flow import Body, Branch, Known, Repeat, Walk, as_tensor, constant, kind, place
from .standing import stand_in

FOREVER = 2**63 - 1  # rounds: as many as the condition lets
WRITTEN_OUT = 64  # rounds that are traced one by one where a function cannot be traced for all of them


# the functions of keras.ops


def cond(pred: Any, true_fn: Any, false_fn: Any) -> Any:
    if not isinstance(pred, keras.KerasTensor):
        return true_fn() if bool(constant(pred)) else false_fn()
    if len(pred.shape) and any(size != 1 for size in pred.shape):
        raise Refused(
            f"a condition of shape {tuple(pred.shape)}", why=f"{place(true_fn)}: a branch is taken or not: one boolean"
        )
    then, other = Body(true_fn), Body(false_fn)
    kinds = [[kind(r) for r in body.results] for body in (then, other)]
    if [(len(shape), dtype) for shape, dtype in kinds[0]] != [(len(shape), dtype) for shape, dtype in kinds[1]]:
        raise Refused(
            "branches whose results differ in number, rank or dtype", why=f"{place(true_fn)}: {_texts(kinds[0])}, or {_texts(kinds[1])}",
            hint="Let both give the same kind, with keras.ops.cast or reshape",
        )  # fmt: skip
    shapes = [(_common(a, b), dtype) for (a, dtype), (b, _) in zip(*kinds, strict=True)]
    return (
        nested(then.packed, Branch("cond", place(true_fn), then, other).symbolic([pred], shapes))
        if shapes
        else then.packed
    )


def switch(index: Any, branches: Sequence[Any], *operands: Any) -> Any:
    last = len(branches) - 1
    if not isinstance(index, keras.KerasTensor):
        return branches[min(max(int(constant(index)), 0), last)](*operands)

    def chosen(at: int) -> Any:
        if at == last:
            return branches[at](*operands)
        return cond(index <= at, lambda: branches[at](*operands), lambda: chosen(at + 1))

    return chosen(0)


def fori_loop(lower: Any, upper: Any, body_fun: Any, init_val: Any) -> Any:
    """The body sees its step as a tensor; where it cannot (it indexes a list), rounds that are known are written out."""
    if isinstance(lower, keras.KerasTensor) or isinstance(upper, keras.KerasTensor):
        rounds, kind_of_step = keras.ops.maximum(keras.ops.subtract(upper, lower), 0), dtype_of(upper, lower)
    else:
        lower, upper = int(constant(lower)), int(constant(upper))
        rounds, kind_of_step = max(upper - lower, 0), "int32"

    def body(step: Any, *state: Any) -> Any:
        at = keras.ops.cast(step, kind_of_step)
        at = at if isinstance(lower, int) and lower == 0 else at + lower
        return True, body_fun(at, *state)

    try:
        return repeated("fori_loop", body_fun, body, rounds, True, (init_val,))[0]
    except (TypeError, ValueError, IndexError, KeyError, Refused):
        if not isinstance(rounds, int) or rounds > WRITTEN_OUT:
            raise
    for step in range(lower, upper):
        init_val = body_fun(step, init_val)
    return init_val


def while_loop(cond: Any, body: Any, loop_vars: Any, maximum_iterations: Any = None) -> Any:
    several = isinstance(loop_vars, list | tuple)
    given = tuple(loop_vars) if several else (loop_vars,)
    most = FOREVER if maximum_iterations is None else maximum_iterations

    def step(_: Any, *values: Any) -> Any:
        found = body(*values)
        found = tuple(found) if isinstance(found, list | tuple) and (several or len(found) == 1) else (found,)
        return (cond(*found), *found)

    given = keras.tree.map_structure(as_tensor, given)
    found = repeated("while_loop", body, step, most, cond(*given), given)
    return (tuple(found) if isinstance(loop_vars, tuple) else list(found)) if several else found[0]


def scan(f: Any, init: Any, xs: Any = None, length: Any = None, reverse: bool = False, unroll: Any = 1) -> Any:
    if xs is None:  # rows of a loop, turned around where it counts down

        def step(_: Any, carry: Any) -> Any:
            after, row = f(carry, None)
            return True, after, row

        rounds = length if isinstance(length, keras.KerasTensor) else int(length)
        carry, rows = repeated("scan", f, step, rounds, True, (init,), rows=True)
        return carry, keras.tree.map_structure(lambda r: keras.ops.flip(r, 0), rows) if reverse else rows
    if length is not None and not isinstance(length, keras.KerasTensor):
        xs = keras.tree.map_structure(lambda x: x if x.shape[0] == length else x[: int(length)], xs)
    return walked("scan", f, f, init, xs, bool(reverse))


def map_(f: Any, xs: Any, called: str = "map") -> Any:
    return walked(called, f, lambda _, x: ((), f(x)), (), xs)[1]


def vectorized_map(function: Any, elements: Any) -> Any:
    return map_(function, elements, "vectorized_map")


def associative_scan(f: Any, elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """In Keras' own order of combining where the length is known: neighbours first, then what lies between; else in a row."""
    flat = [as_tensor(e) for e in keras.tree.flatten(elems)]
    axis = axis % len(flat[0].shape)

    def part(values: Sequence[Any], start: int | None, stop: int | None, step: int | None = None) -> list[Any]:
        return [v[(slice(None),) * axis + (slice(start, stop, step),)] for v in values]

    def combined(one: Sequence[Any], two: Sequence[Any]) -> list[Any]:
        return keras.tree.flatten(f(*(keras.tree.pack_sequence_as(elems, list(v)) for v in (one, two))))

    def joined(*parts: Sequence[Any]) -> list[Any]:
        return [keras.ops.concatenate(p, axis) for p in zip(*parts, strict=True)]

    def turned(values: Sequence[Any]) -> list[Any]:
        return [keras.ops.flip(v, axis) for v in values] if reverse else list(values)

    def interleaved(evens: Sequence[Any], odds: Sequence[Any]) -> list[Any]:
        first, second = evens[0].shape[axis], odds[0].shape[axis]
        order = [place // 2 + first * (place % 2) for place in range(first + second)]
        return [keras.ops.take(v, order, axis) for v in joined(evens, odds)]

    def known(values: list[Any]) -> list[Any]:
        count = values[0].shape[axis]
        if count < 2:
            return values
        odds = known(combined(part(values, 0, count - 1, 2), part(values, 1, None, 2)))
        others = combined(odds if count % 2 else part(odds, 0, -1), part(values, 2, None, 2)) if count > 2 else []
        evens = joined(part(values, 0, 1), others) if others else part(values, 0, 1)
        return interleaved(evens, odds)

    def in_a_row(values: list[Any]) -> list[Any]:
        def step(carry: Any, x: Any) -> Any:
            found = combined(carry, [keras.ops.expand_dims(v, axis) for v in x])
            return found, [keras.ops.squeeze(v, axis) for v in found]

        first = [keras.ops.expand_dims(v[(slice(None),) * axis + (0,)], axis) for v in values]
        rest = [keras.ops.moveaxis(v, axis, 0) for v in part(values, 1, None)]
        rows = walked("associative_scan", f, step, first, rest)[1]
        return joined(first, [keras.ops.moveaxis(r, 0, axis) for r in rows])

    values = turned(flat)
    found = known(values) if values[0].shape[axis] is not None else in_a_row(values)
    return keras.tree.pack_sequence_as(elems, turned(found))


# what they have in common


def repeated(
    called: str, function: Any, body: Any, rounds: Any, begins: Any, given: tuple[Any, ...], rows: bool = False
) -> list[Any]:
    """The carried values after a loop, packed as given, and behind them the rows if there are any."""
    given, traced = carried(function, given, lambda *values: Body(body, stand_in((), "int32"), *values))
    flat = keras.tree.flatten(given)
    stacked = [
        ((rounds if isinstance(rounds, int) else None, *shape), dtype)
        for shape, dtype in map(kind, traced.results[1 + len(flat) :])
    ]
    found = Repeat(called, place(function), traced, len(flat)).symbolic(
        [rounds, begins, *flat], [*map(kind, flat), *stacked]
    )
    after = keras.tree.pack_sequence_as(given, found[: len(flat)])
    if not rows:
        return list(after)
    return [*after, nested(traced.packed[-1], found[len(flat) :])]


def walked(called: str, function: Any, f: Any, init: Any, xs: Any, backwards: bool = False) -> tuple[Any, Any]:
    """The states after a walk of `f`, made of the user's function, along the first axis, and what each place gave."""
    lists = keras.tree.map_structure(as_tensor, xs)
    flat_lists = keras.tree.flatten(lists)
    length = flat_lists[0].shape[0]
    if any(not _agree(x.shape[:1], (length,)) for x in flat_lists):
        raise Refused(
            "a walk along lists of different lengths", why=f"{place(function)}: {_texts(list(map(kind, flat_lists)))}"
        )

    def traced(states: Any) -> Body:
        places = keras.tree.map_structure(lambda x: stand_in(tuple(x.shape[1:]), kind(x)[1]), lists)
        return Body(f, states, places)

    (states,), body = carried(function, (init,), traced, first=0)
    flat = keras.tree.flatten(states)
    rows = [((length, *shape), dtype) for shape, dtype in map(kind, body.results[len(flat) :])]
    found = Walk(called, place(function), body, len(flat), backwards).symbolic(
        [*flat, *flat_lists], [*map(kind, flat), *rows]
    )
    return keras.tree.pack_sequence_as(states, found[: len(flat)]), nested(body.packed[1], found[len(flat) :])


def carried(
    function: Any, given: tuple[Any, ...], traced: Callable[..., Body], first: int = 1
) -> tuple[tuple[Any, ...], Body]:
    """Carried values as tensors, and the body on them. Python numbers take the dtype that the body makes of them.

    first: where the carried values begin among the body's results. Raises Refused where they do not keep their kinds.
    """
    flat = keras.tree.flatten(given)
    tensors = keras.tree.map_structure(as_tensor, given)
    while True:
        body = traced(*keras.tree.map_structure(lambda t: stand_in(*kind(t)), tensors))
        before = [kind(t) for t in keras.tree.flatten(tensors)]
        after = [kind(r) for r in body.results[first : first + len(before)]]
        fits = len(before) == len(after) and all(_agree(b[0], a[0]) for b, a in zip(before, after, strict=True))
        if fits and [b[1] for b in before] == [a[1] for a in after]:
            return tensors, body
        free = [
            isinstance(leaf, int | float) and not isinstance(leaf, bool) and a[1] != b[1]
            for leaf, a, b in zip(flat, after, before, strict=False)
        ]
        if not fits or not any(free):
            raise Refused(
                "a loop whose carried value changes its structure, shape or dtype",
                why=f"{place(function)}: {_texts(before)} becomes {_texts(after)}", hint="Cast or reshape it at the end of the round",
            )  # fmt: skip
        flat = [np.asarray(leaf, a[1]) if f else leaf for leaf, a, f in zip(flat, after, free, strict=True)]
        tensors = keras.tree.map_structure(as_tensor, keras.tree.pack_sequence_as(given, flat))


def dtype_of(*values: Any) -> str:
    """The dtype of the first symbolic tensor."""
    return next(str(v.dtype) for v in values if isinstance(v, keras.KerasTensor))


def nested(packed: Any, found: Sequence[Any]) -> Any:
    """Results nested as a body's are; None stays."""
    left = iter(found)
    flat = [None if leaf is None else next(left) for leaf in keras.tree.flatten(packed)]
    return keras.tree.pack_sequence_as(packed, flat)


def _agree(one: Sequence[int | None], two: Sequence[int | None]) -> bool:
    return len(one) == len(two) and all(a is None or b is None or a == b for a, b in zip(one, two, strict=True))


def _common(one: Sequence[int | None], two: Sequence[int | None]) -> tuple[int | None, ...]:
    return tuple(a if a == b else None for a, b in zip(one, two, strict=True))


def _texts(kinds: Sequence[tuple[Any, str]]) -> str:
    return ", ".join(f"{dtype}{list(shape)}" for shape, dtype in kinds) or "nothing"


# in Keras' place

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Cond": cond, "Switch": switch, "WhileLoop": while_loop, "ForiLoop": fori_loop, "Scan": scan, "Map": map_,
    "VectorizedMap": vectorized_map, "AssociativeScan": associative_scan,
}  # fmt: skip


def _dispatched(name: str, own: str) -> Callable[..., Any]:
    """A function of FUNCTIONS in the place of a backend's; the backend's where Keras only asks for shapes."""

    def call(*args: Any, **kwargs: Any) -> Any:
        real = getattr(keras.src.backend.core, own)
        if in_symbolic_scope():
            return real(*args, **kwargs)
        try:
            return FUNCTIONS[name](*args, **kwargs)
        except Known:
            return real(*args, **kwargs)

    return call


class _Room:
    """A module with some of its names replaced."""

    def __init__(self, module: Any, **names: Any):
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


@contextlib.contextmanager
def traced_flow() -> Iterator[None]:
    """Inside the block the control flow of keras.ops is traced, on symbolic tensors and on others: functions may read symbols."""
    backend = core.backend
    functions = {snake(name): _dispatched(name, snake(name)) for name in FUNCTIONS}
    kinds = [getattr(core, name) for name in FUNCTIONS]
    before = [{n: vars(kind)[n] for n in ("__call__", "symbolic_call") if n in vars(kind)} for kind in kinds]
    core.backend = _Room(backend, core=_Room(backend.core, **functions))
    for each in kinds:
        each.__call__ = each.symbolic_call = lambda self, *args, **kwargs: self.call(*args, **kwargs)
    try:
        yield
    finally:
        core.backend = backend
        for each, own in zip(kinds, before, strict=True):
            del each.__call__, each.symbolic_call
            for name, method in own.items():
                setattr(each, name, method)
