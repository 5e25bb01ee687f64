"""A network in float16: weights rounded once, every operator computed as its class says for float16.

The float32 network is verified first, as always. Its float16 form is then held to what its own operators compute in
float16, node by node, and end to end to the float32 source: within what float16 arithmetic and the rounded weights
explain. An infinity where the source has a number is beyond that limit always.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from . import frameworks
from .converting import Conversion
from .draws import draws, given_arrays, turned
from .errors import Refused
from .graph import Anchor, Graph, Parameter, Rewrite, Value
from .interpreter import bind, interpret
from .judging import network_limits, outcome
from .numeric import compare, network_limit
from .op import Op
from .ops.cast import Cast
from .ops.quantize import Coding
from .ops.quantized import Codes
from .report.record import OutputResult

HALF = np.dtype(np.float16)
WIDE = ("float32", "float64", "bfloat16")
LARGEST = float(np.finfo(HALF).max)


def halved(graph: Graph, ports: str) -> Graph:
    """The graph in float16; ports "inside": inputs and outputs stay as they are, "everywhere": they are float16 too.

    Raises Refused where a weight or constant is too large for float16, and where the network is quantised.
    """
    if (coded := next((n for n in graph.all_nodes() if isinstance(n.op, Coding | Codes)), None)) is not None:
        why = "its codes belong to the scales that they were made with, and float16 would round those"
        hint = "Keep it as it is, or convert the network that it was quantised from"
        raise Refused("float16 for a quantised network", where=coded.source or coded.name, why=why, hint=hint)
    done = _in_half(graph, ports)
    for node in done.nodes:
        for value in node.outputs:
            value.anchor = Anchor(value.name)
    done.description = f"{graph.description} in float16"
    done.program = Program(done)
    return done


def _in_half(graph: Graph, ports: str) -> Graph:
    """A graph in float16, the graphs that its operators hold included: their ports are of it."""
    rewrite = Rewrite(graph)
    new = rewrite.new
    for old, value in zip(graph.inputs, new.inputs, strict=True):
        value.anchor = Anchor(value.name)
        if old.dtype.name in WIDE and ports == "everywhere":
            value.dtype = HALF
        elif old.dtype.name in WIDE:
            rewrite.put(old, new.emit(Cast(dtype=HALF.name), (value,))[0])
    for node in graph.nodes:
        operands = [_operand(rewrite, v) for v in node.inputs]
        for old, made in zip(node.outputs, rewrite.emit(node, _op_in_half(node.op), operands), strict=True):
            rewrite.put(old, made)
    outputs: list[Value] = []
    for old in graph.outputs:
        made = _operand(rewrite, old)
        assert made is not None
        outputs.append(
            new.emit(Cast(dtype=old.dtype.name), (made,))[0] if ports == "inside" and made.dtype != old.dtype else made
        )
    return rewrite.finish(outputs)


def _operand(rewrite: Rewrite, value: Value | None, dtype: np.dtype = HALF) -> Value | None:
    """An operand of the new graph; weights and constants are views of the old ones, rounded to float16, in `dtype`."""
    if value is None or value.const is None or value.dtype.name not in WIDE:
        return rewrite.get(value)
    narrow = rounded(value.const)
    wide = narrow if dtype == HALF else dataclasses.replace(narrow, dtype=dtype, steps=(*narrow.steps, ("cast", dtype)))
    return rewrite.new.parameter(wide)


def rounded(parameter: Parameter) -> Parameter:
    """A weight or constant in float16. Raises Refused where one of its finite numbers would become infinite."""
    array = parameter.array().astype(np.float64)
    finite = np.abs(array[np.isfinite(array)])
    if finite.size and finite.max() >= LARGEST + 16:  # half a step above the largest: it would round to infinity
        why = f"it holds {finite.max():.6g}, and float16 ends at {LARGEST:g}"
        raise Refused(f"float16 for {parameter.name or 'a constant'}", why=why, hint="Keep the network in float32")
    return dataclasses.replace(parameter, dtype=HALF, steps=(*parameter.steps, ("cast", HALF)))


def with_rounded_weights(graph: Graph) -> Graph:
    """The source as it is, but for its weights and constants, which are those of the float16 network."""
    rewrite = Rewrite(graph)
    for node in graph.nodes:
        operands = [_operand(rewrite, v, HALF if v is None else v.dtype) for v in node.inputs]
        rewrite.copy(node, node.op.with_bodies(with_rounded_weights), operands)
    return rewrite.finish()


def _op_in_half(op: Op) -> Op:
    """An operator that names its result's dtype names float16 instead, and its bodies compute in it."""
    op = op.with_bodies(lambda body: _in_half(body, "everywhere")) if op.bodies else op
    fields = {f.name: getattr(op, f.name) for f in dataclasses.fields(op)}  # type: ignore[arg-type]
    changed: dict[str, Any] = {k: HALF.name for k, v in fields.items() if k == "dtype" and str(v) in WIDE}
    return dataclasses.replace(op, **changed) if changed else op  # type: ignore[type-var]


class Program:
    """The float16 network computed by the operators' own definitions: what its conversion is compared with."""

    def __init__(self, graph: Graph):
        self.graph = graph

    def whole(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Flat outputs."""
        return self.run(arrays)

    def run(
        self,
        arrays: Sequence[np.ndarray],
        watch: Callable[[Any, np.ndarray], None] | None = None,
        *,
        keys: Collection[Any] | None = None,
        given: Mapping[Any, np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Flat outputs. `watch(key, array)` sees each value in `keys` (all, if None); consumers read the `given` values."""

        def see(value: Value, array: np.ndarray) -> Any:
            if watch is not None and (keys is None or value.name in keys):
                watch(value.name, array)
            return (given or {}).get(value.name)

        for value, array in zip(self.graph.inputs, arrays, strict=True):
            see(value, array)
        with np.errstate(all="ignore"):
            return interpret(self.graph, arrays, watch=see)


def fitting(half: Graph, source: Graph, inputs: Any) -> list[np.ndarray]:
    """The user's arrays in the dtypes that the float16 network takes. Raises Usage where they do not fit the source."""
    arrays = given_arrays(source, [None] * len(source.inputs), inputs)
    return [a.astype(v.dtype) for a, v in zip(arrays, half.inputs, strict=True)]


def against(source: Graph, made: Conversion, half: Graph, inputs: Any = None) -> list[OutputResult]:
    """End to end: the float32 source and what was built in float16, on arrays that float16 holds.

    source, half : the graph before and after `halved`

    Its limit is what the definitions in float16 differ by from themselves in float64, times a factor, and what the
    rounded weights alone change: the propagated bound of float16 would hide a wrong slope.
    """
    target = frameworks.get(made.framework).Program(made.model)
    none: list[Any] = [None] * max(len(source.inputs), len(source.outputs))
    perms, output_perms = made.graph.input_perms or none, made.graph.output_perms or none
    approximate = with_rounded_weights(source)
    found = []
    for draw in draws(source, none, inputs):
        arrays = [a.astype(HALF).astype(a.dtype) if a.dtype.name in WIDE else a for a in draw.arrays]
        narrow = [a.astype(v.dtype) for a, v in zip(arrays, half.inputs, strict=True)]
        expected = source.program.whole(arrays)
        received = target.whole([turned(a, p) for a, p in zip(narrow, perms, strict=False)])
        with np.errstate(all="ignore"):
            exact, with_rounded = (interpret(g, arrays, dtype=np.float64) for g in (source, approximate))
        bounds = network_limits(half, narrow, bind((v.shape for v in half.inputs), narrow))
        for i, name in enumerate(source.output_names):
            wanted = turned(expected[i], output_perms[i]).astype(half.outputs[i].dtype)
            moved = turned(
                np.abs(np.asarray(exact[i], np.float64) - np.asarray(with_rounded[i], np.float64)), output_perms[i]
            )
            bound = bounds.get(id(half.outputs[i]))
            arithmetic = 0.0 if bound is None else network_limit(0.0, bound.distance, bound.scale, HALF)
            limit = arithmetic + np.where(np.isfinite(moved), moved, 0.0)
            error = compare(wanted, received[i], limit)
            found.append(
                OutputResult(
                    name=name,
                    runtime=f"{made.framework} in float16 against the source",
                    batch=arrays[0].shape[0] if arrays and arrays[0].ndim else None,
                    shape=tuple(received[i].shape),
                    dtype=received[i].dtype.name,
                    **outcome(error),
                )
            )
    return found
