"""How Keras spells branches and loops: the control flow of keras.ops, its functions traced.

| keras.ops                                   | op    | the traced function gives                   |
|---------------------------------------------|-------|---------------------------------------------|
| cond, switch (as several)                   | If    | the results                                 |
| while_loop, fori_loop, scan without xs      | Loop  | whether to go on, carried values, a row     |
| scan, map, vectorized_map, associative_scan | Scan  | states, a row; along the first axis         |

Keras wants a carried value to keep its shape, so what a round gives has the shape that went in.
"""

from typing import Any

import numpy as np

from ..op import Shape, Value, imports, prune
from .control import If, Loop, Scan, counted


@imports("keras", "traced ops.Cond")
def branch_from_keras(layer, condition, *captured):
    def results(run: Any) -> list[Value]:
        return run()

    (then, other), operands = layer.traced([(), ()], captured, results)
    return If(label=layer.unique("if"), then=then, other=other)(as_condition(condition), *operands)


@imports("keras", "traced ops.WhileLoop")
def loop_from_keras(layer, rounds, begins, *operands):
    graph = layer.graph
    carried, captured = split(graph, operands, layer.carried)
    rounds, begins = as_value(graph, rounds, np.int64), as_value(graph, begins, bool)

    def results(run: Any, step: Value, _: Value, *values: Value) -> list[Value]:
        going, *found = run(step.cast(np.int32), *values)
        return [as_condition(going), *kept(found, values), *found[len(values) :]]

    kinds = [((), np.dtype(np.int64)), ((), np.dtype(bool)), *map(kind_of, carried)]
    (body,), taken = layer.traced([kinds], captured, results)
    rounds, begins = rounds.reshape().cast(np.int64), as_condition(begins)
    count = counted(body, rounds, begins, carried)
    if count is not None:
        rounds, begins, body.outputs[0] = graph.constant(count), graph.constant(True), body.constant(True)
        prune(body)
    return Loop(label=layer.unique("loop"), carried=len(carried), body=body)(rounds, begins, *carried, *taken)


@imports("keras", "traced ops.Scan")
def scan_from_keras(layer, *operands):
    bodies = layer.bodies
    lists = len(getattr(bodies[0], "function", bodies[0]).own) - layer.carried
    given, captured = split(layer.graph, operands, layer.carried + lists)
    states, places = given[: layer.carried], given[layer.carried :]

    def results(run: Any, *values: Value) -> list[Value]:
        found = run(*values)
        return [*kept(found, values[: len(states)]), *found[len(states) :]]

    kinds = [*map(kind_of, states), *((x.shape[1:], x.dtype) for x in places)]
    (body,), taken = layer.traced([kinds], captured, results)
    rows = len(body.outputs) - len(states)
    return Scan(
        label=layer.unique("scan"), states=len(states), axes=(0,) * lists, backwards=(layer.backwards,) * lists,
        result_axes=(0,) * rows, result_backwards=(layer.backwards,) * rows, body=body,
    )(*states, *places, *taken)  # fmt: skip


def split(graph: Any, operands: Any, count: int) -> tuple[list[Value], tuple[Value, ...]]:
    """The first operands as values, and what is captured behind them."""
    return [as_value(graph, operand) for operand in operands[:count]], operands[count:]


def as_value(graph: Any, operand: Any, dtype: Any = None) -> Value:
    """An operand that may be a number, an array or a size."""
    if isinstance(operand, Value):
        return operand
    return graph.constant(operand, dtype) if isinstance(operand, np.ndarray | bool) else graph.of_sizes(operand)


def as_condition(value: Value) -> Value:
    """One boolean."""
    return value.reshape().cast(bool)


def kind_of(value: Value) -> tuple[Shape, Any]:
    """Shape and dtype."""
    return value.shape, value.dtype


def kept(found: Any, before: Any) -> list[Value]:
    """Carried values after a round, as they were before it: in shape, and in dtype where Keras misstates that (float64)."""
    return [after.cast(value.dtype).reshape(*value.shape) for after, value in zip(found, before, strict=False)]
