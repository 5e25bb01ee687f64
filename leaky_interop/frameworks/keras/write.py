"""Writes Keras: a graph becomes a functional model of native, named, trainable layers, channels last."""

from __future__ import annotations

import contextlib
import dataclasses
import operator
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ... import names
from ...errors import Refused
from ...graph import Graph, Node, Parameter, Value
from ...layout import settle, wrap
from ...numeric import is_float
from ...op import CHANNELS_LAST, EXPORTERS, Op
from ...ops.heads import in_keras
from ...passes import before_keras
from ...passes.heads import group_heads
from ...passes.lowering import lower
from ...passes.masked import mark_masked
from ...passes.unroll import unroll
from ...passes.unsigned import signed
from ...sizes import Dim, Size
from ..base import arrange
from .holding import HELD, LACKING, Holding, held_as
from .run import NARROW
from .tensorflow import without_tensorflow
from .walk import nodes

FRAMEWORK = "keras"


@without_tensorflow()
def build(graph: Graph, *, opset: int | None = None) -> tuple[keras.Model, dict[int, Any]]:
    """A functional model, and which call computes each canonical value (by id)."""
    builder = KerasBuilder(graph)
    builder.export()
    return builder.finish()


@without_tensorflow()
def save(model: keras.Model, path: Path, graph: Graph) -> None:
    """Write a `.keras` file; or source code (`.py`) with its `.weights.h5`."""
    if path.suffix == ".py":
        from .source import save_source

        save_source(model, path, graph)
    else:
        model.save(path)


def assign(model: keras.Model, numbers: Iterable[tuple[Any, np.ndarray]]) -> None:
    """Write new numbers into a model's own variables."""
    for variable, array in numbers:
        variable.assign(array)


def prepare(graph: Graph) -> Graph:
    """The graph as Keras computes it: channels last where its layers want that, transposes settled."""
    grouped = group_heads(unroll(mark_masked(graph)), in_keras)
    lowered = lower(grouped, FRAMEWORK, KerasBuilder.exact)
    lowered = signed(lowered, [name for name in LACKING if name in HELD])
    return before_keras(settle(wrap(lowered, _wants_channels_last)))


def _wants_channels_last(node: Node) -> bool:
    return EXPORTERS.get((FRAMEWORK, type(node.op))) in CHANNELS_LAST


class KerasBuilder(Holding):
    """`keras` as exporters see it: the module, and `place`, `tensor`, `static_shape`."""

    framework = FRAMEWORK
    exact = np.float32  # but on TensorFlow, Keras computes in no wider type

    def __init__(self, graph: Graph):
        super().__init__(graph)
        self.lacking, self.unknown = LACKING, [name for name in LACKING if name not in HELD]
        self.placed: dict[str, tuple[Any, Any]] = {}
        self.owner: dict[Any, str] = {}  # by signature: the name of the layer that holds its weights
        for value in graph.inputs:
            shape = tuple(None if isinstance(d, Size) else d for d in value.shape)
            name = self.unique(names.encode(FRAMEWORK, value.name))
            self.made[id(value)] = keras.Input(batch_shape=shape, dtype=held_as(value.dtype), name=name)

    def place(self, layer: keras.Layer, *, part: str = "", **weights: Value | None) -> Callable[..., Any]:
        """Put a native layer under the node's name, its variables filled from weights once it is built.

        part: what is appended to the name of a layer that only prepares the node's own.
        """
        held = {k: v.const.identity for k, v in weights.items() if v is not None and v.const is not None}
        config = {k: v for k, v in layer.get_config().items() if k != "name"}
        signature = (type(layer).__name__, repr(config), tuple(sorted(held.items())))
        own = self.node.name or type(layer).__name__.lower()
        base, count = names.encode(FRAMEWORK, f"{own}_{part}" if part else own), 0
        name = self.owner.setdefault(signature, base) if held else base  # the same layer with the same weights is one
        while name in self.placed and self.placed[name][1] != signature:
            count += 1
            name = f"{base}_{count}"
        if held:
            self.owner[signature] = name
        if name not in self.placed:
            layer.name = self.unique(name)
            self.placed[name] = (layer, signature)
        layer = self.placed[name][0]
        self.named.add(id(layer))

        def call(*args: Any, **kwargs: Any) -> Any:
            built = layer.built
            if not any(isinstance(a, keras.KerasTensor) for a in keras.tree.flatten((args, kwargs))):
                args = keras.tree.map_structure(lambda a: self.symbolic(a) if isinstance(a, np.ndarray) else a, args)
            if built:
                return layer(*args, **kwargs)
            with beginning(layer, weights) as filled:
                result = layer(*args, **kwargs)
            fill(layer, weights, filled)
            return result

        return call

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Layers are made in the dtype of the node at hand, not in what the user has set for new ones."""
        chosen = keras.config.dtype_policy()
        floats = [held_as(p.dtype) for p in (*self.outputs, *self.inputs) if p is not None and is_float(p.dtype)]
        if floats:
            keras.config.set_dtype_policy(floats[0])
        try:
            yield
        finally:
            keras.config.set_dtype_policy(chosen)

    def operand(self, op: Op, position: int, value: Value | None) -> Any:
        """As everywhere, but a number beside tensors without axes keeps its dtype: torch takes it for one of 32 bits."""
        made = super().operand(op, position, value)
        alone = isinstance(made, int | float) and value is not None and not any(port.rank for port in self.inputs if port)
        return self.tensor(value) if alone and value.dtype.name not in ("float32", "int32", "bool") else made  # type: ignore[union-attr]

    def static_shape(self, dims: Iterable[Dim]) -> tuple[int, ...]:
        """A shape for keras: -1 for one size that is known only at run time; more than one cannot be said."""
        dims = tuple(dims)
        if sum(isinstance(d, Size) for d in dims) > 1:
            raise self.refuse(
                f"a reshape to {dims}",
                why="Keras knows at most one open size in a shape",
                instead="Fix the others with input_shapes",
            )
        return tuple(-1 if isinstance(d, Size) else d for d in dims)

    def finished(self, value: Value, native: Any) -> Any:
        if not isinstance(native, keras.KerasTensor):  # of constants alone Keras makes numbers at once
            array = np.asarray(keras.ops.convert_to_numpy(native))
            native = self.symbolic(array) if array.size else array
        result = self.as_wide(value, native)
        for tensor in (native, result):
            if isinstance(tensor, keras.KerasTensor):
                self.call_by_name(tensor, names.encode(FRAMEWORK, value.name))
        return result

    def as_wide(self, value: Value, native: Any) -> Any:
        """A result in the value's dtype: but for TensorFlow's, Keras' backends compute keras.ops in 32 bits at most."""
        if native.dtype == held_as(value.dtype):
            return native
        if not is_float(value.dtype) and value.dtype != bool:  # told wrongly: the numbers of most have all bits, see ops/precision.py
            return keras.ops.cast(native, held_as(value.dtype))
        raise self.refuse(
            f"{self.node.op} in {value.dtype}",
            why=f"Keras on the {keras.backend.backend()} backend computes it in {native.dtype}",
            instead="Use KERAS_BACKEND=tensorflow, or convert the network in float32",
        )

    def finish(self) -> tuple[keras.Model, dict[int, Any]]:
        inputs = [self.made[id(v)] for v in self.graph.inputs]
        if not inputs:
            raise Refused("a network without inputs", self.graph.description, "a Keras model has at least one", "Use its outputs as they are")
        if not self.graph.outputs:
            why = "a Keras model has at least one tensor"
            raise Refused("a network without outputs", self.graph.description, why, "Return a tensor")
        outputs = [self.tensor(v) for v in self.graph.outputs]
        outputs = [self.symbolic(t) if isinstance(t, np.ndarray) else t for t in outputs]
        model = keras.Model(inputs, arrange(self.graph.structure, outputs))
        keys: dict[int, Any] = {id(t): ("input", i) for i, t in enumerate(inputs)}
        counts: dict[str, int] = {}
        for node in nodes(model):
            name = node.operation.name
            count = counts[name] = counts.get(name, -1) + 1
            keys.update({id(t): ((name, count), i) for i, t in enumerate(node.output_tensors)})
        handles = {key: keys[id(t)] for key, t in self.made.items() if id(t) in keys}
        values = [*self.graph.outputs, *(v for n in self.graph.nodes for v in n.outputs)]
        narrow = {handles[id(v)]: v.dtype.name for v in values if v.dtype.name in HELD and id(v) in handles}
        ends = [v.dtype.name if v.dtype.name in HELD else "" for v in self.graph.outputs]
        if narrow or any(ends):
            NARROW[model] = narrow, keras.tree.flatten(arrange(self.graph.structure, ends))
        return model, handles


@dataclasses.dataclass
class _Numbers:
    """A weight as the initializer of a variable, which on jax may keep the array that it is given."""

    parameter: Parameter

    def __call__(self, shape: Any, dtype: Any = None) -> np.ndarray:
        return np.array(self.parameter.array(), order="C", copy=None if self.parameter.is_copied() else True)


@contextlib.contextmanager
def beginning(layer: keras.Layer, weights: dict[str, Value | None]) -> Iterator[set[str]]:
    """Inside the block the variables that a layer makes begin with their numbers, not with random ones; gives their names.

    Random numbers take time, and the memory of another copy.
    """
    own, filled = layer.add_weight, set[str]()

    def add_weight(shape: Any = None, initializer: Any = None, *args: Any, name: str | None = None, **more: Any) -> Any:
        value = weights.get(name or "")
        if value is not None and value.const is not None and value.shape == shape:
            filled.add(name)  # type: ignore[arg-type]
            initializer = _Numbers(value.const)
        return own(shape, initializer, *args, name=name, **more)

    layer.__dict__["add_weight"] = add_weight  # past Keras, which would note it among the layer's attributes
    try:
        yield filled
    finally:
        del layer.__dict__["add_weight"]


def fill(layer: keras.Layer, weights: dict[str, Value | None], filled: Collection[str] = ()) -> None:
    """Assign the numbers of a layer's variables, but those filled already, and the trainable flags of all."""
    flags = []
    for name, value in weights.items():
        if value is None:
            continue
        variable, parameter = operator.attrgetter(name)(layer), value.const
        assert parameter is not None
        if name not in filled:
            variable.assign(np.asarray(parameter.array()))
        if variable.trainable:
            flags.append((variable, parameter.trainable))
    if flags and not any(trainable for _, trainable in flags):
        layer.trainable = False
    else:
        for variable, trainable in flags:
            if not trainable:
                variable.trainable = False
