"""How PyTorch spells branches and loops: torch.cond, while_loop, scan and map, as torch.export records them."""

import numpy as np

from ..op import agree, imports
from .compare import Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual
from .control import FOREVER, If, Loop, Scan

OF_SIZES = {
    "Equality": Equal,
    "Unequality": NotEqual,
    "StrictLessThan": Less,
    "LessThan": LessOrEqual,
    "StrictGreaterThan": Greater,
    "GreaterThan": GreaterOrEqual,
}


@imports("torch", "cond")
def if_from_torch(call, condition, then, other, operands):
    if isinstance(condition, tuple):
        kind, *sizes = condition
        condition = OF_SIZES[kind]()(*(call.graph.of_sizes(s) for s in sizes))
    known = condition if isinstance(condition, bool) else condition.content()
    if known is not None:
        return call.run(then if known else other, operands)
    bodies = [call.body([], lambda branch=branch: call.run(branch, operands)) for branch in (then, other)]
    (then, other), captured = call.closed(*bodies)
    return If(label=call.label, then=then, other=other)(condition.reshape(), *captured)


@imports("torch", "while_loop")
def loop_from_torch(call, condition, body, carried, captured):
    kinds = call.kinds(body, carried)

    def turn(step, going, *values):
        results = call.run(body, [*values, *captured])
        (again,) = call.run(condition, [*results, *captured])
        return again.reshape(), *results

    (begins,) = call.run(condition, [*carried, *captured])
    turned = call.body([((), np.dtype(np.int64)), ((), np.dtype(bool)), *kinds], turn)
    _keep(call, kinds, turned.outputs[1:])
    (turned,), outside = call.closed(turned)
    rounds = call.graph.constant(FOREVER, np.int64)
    return Loop(label=call.label, carried=len(carried), body=turned)(rounds, begins.reshape(), *carried, *outside)


@imports("torch", "scan")
def scan_from_torch(call, function, states, lists, captured):
    kinds = [(v.shape, v.dtype) for v in states] + [(x.shape[1:], x.dtype) for x in lists]
    body = call.body(kinds, lambda *values: call.run(function, [*values, *captured]))
    _keep(call, kinds[: len(states)], body.outputs)
    return _scanned(call, body, states, lists)


@imports("torch", "map_impl")
def map_from_torch(call, function, lists, captured):
    kinds = [(x.shape[1:], x.dtype) for x in lists]
    return _scanned(call, call.body(kinds, lambda *values: call.run(function, [*values, *captured])), [], lists)


def _scanned(call, body, states, lists):
    (body,), outside = call.closed(body)
    rows = len(body.outputs) - len(states)
    return Scan(
        label=call.label,
        states=len(states),
        axes=(0,) * len(lists),
        backwards=(False,) * len(lists),
        result_axes=(0,) * rows,
        result_backwards=(False,) * rows,
        body=body,
    )(*states, *lists, *outside)


def _keep(call, kinds, results):
    """Refuse what goes round and comes back as something else."""
    for (shape, dtype), value in zip(kinds, results, strict=False):
        if value.dtype != dtype or not agree(value.shape, shape):
            raise call.refused(
                f"a loop whose value {shape} of {dtype} comes back as {value.shape} of {value.dtype}",
                why="the next round takes what it took", hint="Cast and reshape it inside the loop",
            )  # fmt: skip
