"""Runs ONNX by onnxruntime on the CPU: a model as its owner would, or value by value."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from ...errors import RuntimeFailure
from ...ort import feed, outline, session

OWN = ":own"  # what a value is called where consumers are fed something else in its place


def owns(model: Any) -> bool:
    """Whether a model is an ONNX ModelProto or an onnx_ir model."""
    ir = sys.modules.get("onnx_ir")
    return isinstance(model, onnx.ModelProto) or (ir is not None and isinstance(model, ir.Model))


@functools.cache
def newest_opset() -> int:
    """The newest released operator set of the installed onnx for which the installed onnxruntime has its kernels.

    onnxruntime opens models of operator sets whose new operators it cannot run yet: the probe holds what it was last in
    getting, class numbers and quantisation.
    """
    floats, counts = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale"], ["codes"]),
        helper.make_node("Cast", ["codes"], ["classes"], to=counts),
        helper.make_node("OneHot", ["classes", "depth", "values"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info("x", floats, [1]), helper.make_tensor_value_info("y", floats, [1, 2])]
    weights = [
        helper.make_tensor("scale", floats, [], [1]),
        helper.make_tensor("depth", counts, [], [2]),
        helper.make_tensor("values", floats, [2], [0, 1]),
    ]
    graph = helper.make_graph(nodes, "probe", ports[:1], ports[1:], weights)
    for opset in range(max(row[2] for row in helper.VERSION_TABLE), 0, -1):
        with contextlib.suppress(RuntimeFailure):
            session(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))
            return opset
    raise RuntimeFailure("onnxruntime takes no operator set of ONNX")


def run(model: Any, arrays: Any) -> list[np.ndarray]:
    """Outputs of the model, in its own order. Raises ValueError where the arrays do not fit it."""
    try:
        return compute(model, arrays)
    except RuntimeFailure as error:
        cause = error.__cause__
        if isinstance(cause, ValueError) or type(cause).__name__ == "InvalidArgument":  # wrong names, shapes or dtypes
            raise ValueError(error.why) from error
        raise


def compute(model: Any, arrays: Any, *, optimise: bool = True) -> list[np.ndarray]:
    """Outputs of the model, in its own order. Raises RuntimeFailure whatever the reason."""
    return feed(session(model, optimise=optimise), arrays)


class Program:
    """Runs a model value by value, with onnxruntime's optimisations off so that every value exists.

    whole : makes the model of which the first has all but large weights; called when it first runs
    """

    def __init__(self, model: onnx.ModelProto, whole: Callable[[], onnx.ModelProto] | None = None):
        self.complete = whole or (lambda: model)
        graph = model.graph
        self.weights = {t.name for t in graph.initializer} | {s.values.name for s in graph.sparse_initializer}
        self.inputs = [i for i in graph.input if i.name not in self.weights]

    @functools.cached_property
    def model(self) -> onnx.ModelProto:
        """With all its weights."""
        return self.complete()

    def whole(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Flat outputs of the model as users run it."""
        return compute(self.model, arrays)

    def settings(self, arrays: Sequence[np.ndarray]) -> list[tuple[str, list[np.ndarray]]]:
        """Outputs in every setting that users run the model in."""
        plain, fast = (compute(self.model, arrays, optimise=optimise) for optimise in (False, True))
        return [("onnxruntime, optimisations off", plain), ("onnxruntime", fast)]

    def run(
        self,
        arrays: Sequence[np.ndarray],
        watch: Callable[[Any, np.ndarray], None] | None = None,
        *,
        keys: Collection[Any] | None = None,
        given: Mapping[Any, np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Flat outputs. `watch(key, array)` sees each value in `keys` (all, if None); consumers read the `given` values."""
        if watch is None:
            return compute(self.model, arrays, optimise=False)
        known = {i.name: a for i, a in zip(self.inputs, arrays, strict=True)}
        for key, array in known.items():
            watch(key, array)
        wanted = [o for n in self.model.graph.node for o in n.output if o and (keys is None or o in keys)]
        part, names = self.part(wanted, known, given or {})
        opened = session(part, optimise=False)
        half = {o.name for o in opened.get_outputs() if o.type == "tensor(float16)"} - set(known)
        if half and not given:
            part, names = self.part(wanted, known, {}, half)
            opened = session(part, optimise=False)
        outputs = feed(opened, [{**known, **(given or {})}[i.name] for i in part.graph.input])
        found = dict(zip(names, outputs, strict=True))
        for key in wanted:
            watch(key, found[key])
        return [found[o.name] if o.name in found else known.get(o.name) for o in self.model.graph.output]  # type: ignore[misc]

    def part(
        self,
        wanted: Sequence[str],
        known: Mapping[str, np.ndarray],
        given: Mapping[str, np.ndarray],
        rounded: Collection[str] = (),
    ) -> tuple[onnx.ModelProto, list[str]]:
        """The model that computes `wanted` (and the outputs, where nothing is given) from inputs and given values.

        rounded : values that consumers read as they are shown. onnxruntime computes float16 in float32 and hands the
            float32 numbers on from node to node, even with optimisations off; an Identity between them stops it.
        """
        graph = self.model.graph
        results = list(wanted)
        if not given:
            results += [o.name for o in graph.output if o.name not in results and o.name not in known]
        needed, nodes = set(results), []
        for node in reversed(graph.node):
            if any(o in needed for o in node.output):
                nodes.append(node)
                needed.update(i for i in _reads(node) if i not in given)
        feeds = {k: a for k, a in known.items() if k in needed}
        feeds |= {k: a for k, a in given.items() if any(k in _reads(n) for n in nodes)}
        part = onnx.ModelProto()
        part.ir_version = self.model.ir_version
        part.opset_import.extend(self.model.opset_import)
        part.functions.extend(self.model.functions)
        part.graph.name = graph.name or "part"
        for node in reversed(nodes):
            made = part.graph.node.add()
            made.CopyFrom(node)
            for i, name in enumerate(made.output):
                if name in feeds or name in rounded:
                    made.output[i] = name + OWN
            part.graph.node.extend(helper.make_node("Identity", [o + OWN], [o]) for o in node.output if o in rounded)
        kept = {i for n in nodes for i in _reads(n)}
        part.graph.initializer.extend(t for t in graph.initializer if t.name in kept)
        part.graph.sparse_initializer.extend(s for s in graph.sparse_initializer if s.values.name in kept)
        ports = {i.name: i for i in self.inputs}
        for name, array in feeds.items():
            if not isinstance(array, np.ndarray):
                part.graph.input.append(ports[name])
                continue
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            part.graph.input.append(helper.make_tensor_value_info(name, kind, array.shape))  # Resize wants them known
        part.graph.output.extend(onnx.ValueInfoProto(name=r + OWN if r in feeds else r) for r in results)
        return part, results


def _reads(node: Any) -> set[str]:
    """Every outer name that a node reads, through its subgraphs too."""
    names = set(node.input) - {""}
    for attribute in node.attribute:
        for graph in [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs:
            inner = {o for n in graph.node for o in n.output} | {i.name for i in graph.input} | {t.name for t in graph.initializer}
            names |= {o.name for o in graph.output} - inner
            for child in graph.node:
                names |= _reads(child) - inner
    return names


def describe(model: Any) -> str:
    """A model in a line."""
    graph = outline(model).graph
    return f"onnx {graph.name or 'model'!r} ({sum(int(np.prod(t.dims)) for t in graph.initializer):,} parameters)"


def knows_inputs(model: Any) -> bool:
    """Whether the model itself tells what inputs it takes: always."""
    return True
