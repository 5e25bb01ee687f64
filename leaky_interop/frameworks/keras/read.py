"""Reads Keras: a model's calls become a channels-first graph.

Layers and `keras.ops` operations are looked up by class name, only where the class is Keras' own. Anything else is
opened: its `call` is traced into operations, so a custom layer made of keras.ops needs no registration.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np

from ... import names
from ...errors import LeakyInteropError, Usage
from ...graph import Anchor, Graph, Parameter, Value
from ...layout import settle, to_first, to_last
from ...numeric import dtype as dtype_of
from ...op import CHANNELS_LAST, importer_of
from ...passes import after_import
from ...sizes import Dim, symbol
from ..base import Call, Importing, output_names, permuted
from .run import Program, describe
from .walk import functional, walk

FRAMEWORK = "keras"


def load(
    model: Any, *, example: Any = None, input_shapes: Any = None, static_batch: bool = False, dynamic_batch: bool = False
) -> Graph:
    """The graph of a Keras model. A subclassed or unbuilt model is traced with `example` or `input_shapes`."""
    function = functional(model)
    if function is None:
        function = traced(model, example, input_shapes)
    return _Reader(model, function, input_shapes, static_batch, dynamic_batch).read()


def traced(model: Any, example: Any, input_shapes: Any) -> Any:
    """A functional graph of a model that has none, from symbolic inputs like the example."""
    if example is None and input_shapes is None:
        raise Usage(
            f"Keras model {model.name!r} needs an example of its inputs",
            why="it is subclassed, or a Sequential without an Input, so the shapes it takes are not known",
            hint="Pass example=(array, ...) or input_shapes=[(None, 28, 28, 1)]",
        )
    if example is not None:
        example = example[0] if isinstance(example, tuple) and len(example) == 1 else example
        specs = keras.tree.map_structure(lambda a: ((None, *np.shape(a)[1:]), str(np.asarray(a).dtype)), example)
        inputs = keras.tree.map_structure_up_to(example, lambda s: keras.Input(batch_shape=s[0], dtype=s[1]), specs)
    else:
        shapes = input_shapes if isinstance(input_shapes, dict | list) else [input_shapes]
        inputs = (
            {k: keras.Input(batch_shape=s, name=k) for k, s in shapes.items()}
            if isinstance(shapes, dict)
            else [keras.Input(batch_shape=s) for s in shapes]
        )
        inputs = inputs[0] if isinstance(inputs, list) and len(inputs) == 1 else inputs
    outputs = model(inputs) if isinstance(model, keras.Sequential) else _call(model, inputs)
    inner = functional(model)
    return inner if inner is not None else keras.Function(inputs, outputs)


def _call(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """The layer's own `call` on symbolic tensors, at inference."""
    if not layer.built:
        layer(*args, **kwargs)  # creates its weights
    if "training" in inspect.signature(layer.call).parameters:
        kwargs["training"] = False
    return layer.call(*args, **kwargs)


class LayerCall(Call):
    """A Keras layer or operation as importers read it."""

    def __init__(self, native: Any, reader: _Reader, name: str, left_out: frozenset[str]):
        super().__init__(native, reader.graph, left_out=left_out)
        self.reader = reader
        self.name = name

    def weight(self, attribute: str, *, cast: bool = True) -> Value | None:
        """A variable of the layer ("kernel") or of a part of it ("cell.kernel") as an operand, in Keras' own layout.

        None where the layer has none. cast: to the dtype in which the layer computes.
        """
        variable = self.native
        for part in attribute.split("."):
            variable = getattr(variable, part, None)
        if variable is None:
            return None
        value = self.reader.variable(variable, f"{self.name}.{attribute.lstrip('_')}")
        compute = getattr(self.native, "compute_dtype", None) if cast else None
        return value if compute is None or value.dtype.kind not in "fV" else value.cast(dtype_of(compute))

    def activate(self, value: Value) -> Value:
        """The layer's activation applied: a string, a function or a layer, with its own settings."""
        return self.reader.activation(getattr(self.native, "activation", None), value)

    def call(self, layer: Any, *operands: Any) -> Any:
        """Another layer or function applied inside this call: a cell, a wrapped layer."""
        return self.reader.inside(layer, self.name, operands)


class _Reader:
    """Walks one functional graph."""

    def __init__(self, model: Any, function: Any, input_shapes: Any, static_batch: bool, dynamic_batch: bool):
        self.function = function
        self.importing = Importing(FRAMEWORK, describe(model))
        self.graph = self.importing.graph
        self.model = model
        self.static_batch, self.dynamic_batch = static_batch, dynamic_batch
        self.input_shapes = input_shapes

    def read(self) -> Graph:
        graph, function = self.graph, self.function
        inputs = [self.input(t, i) for i, t in enumerate(function.inputs)]
        outputs = walk(function, inputs, self.apply)
        self.importing.check()
        graph.outputs = outputs
        count = len(outputs)
        struct = getattr(function, "_outputs_struct", None)
        graph.structure = None if struct is None else keras.tree.pack_sequence_as(struct, list(range(count)))
        graph.output_names = output_names(graph.structure, count)
        graph.program = Program(self.model, function)
        return after_import(settle(self.importing.finish()))

    def input(self, tensor: Any, index: int) -> Value:
        name = names.decode(FRAMEWORK, tensor._keras_history.operation.name)
        shape: list[Dim] = []
        for axis, size in enumerate(self.stated_shape(tensor, index)):
            batch = axis == 0 and (self.dynamic_batch or (size is None and not self.static_batch))
            shape.append(symbol("batch") if batch else 1 if size is None and axis == 0 else size or symbol(f"{name}_{axis}"))
        value = self.graph.input(name, tuple(shape), dtype_of(tensor.dtype))
        value.anchor = Anchor(("input", index))
        return value

    def stated_shape(self, tensor: Any, index: int) -> tuple[int | None, ...]:
        """The input's shape, open sizes fixed where the caller says so."""
        shapes = self.input_shapes
        if isinstance(shapes, tuple) and not isinstance(shapes[0], tuple | list):
            shapes = [shapes]
        stated = None
        if isinstance(shapes, Mapping):
            stated = shapes.get(tensor._keras_history.operation.name)
        elif shapes:
            stated = shapes[index]
        if stated is None:
            return tuple(tensor.shape)
        sizes = tuple(d if isinstance(d, int) and d >= 0 else None for d in stated)
        clash = len(sizes) != len(tensor.shape) or any(t is not None and s not in (None, t) for s, t in zip(sizes, tensor.shape, strict=True))
        if clash:
            raise Usage(f"input {tensor.name!r} takes {tuple(tensor.shape)}, not {tuple(stated)}")
        return tuple(s if t is None else t for s, t in zip(sizes, tensor.shape, strict=True))

    def variable(self, variable: Any, name: str) -> Value:
        """A Keras variable as a weight."""
        return self.graph.parameter(
            Parameter(
                name=name,
                shape=tuple(variable.shape),
                dtype=dtype_of(variable.dtype),
                read=lambda: keras.ops.convert_to_numpy(variable.value),
                root=variable,
                trainable=bool(variable.trainable),
            )
        )

    def operand(self, argument: Any) -> Any:
        """A call argument as importers read it: Values, plain numbers, numpy arrays for captured tensors."""
        if isinstance(argument, keras.Variable):
            return self.variable(argument, names.decode(FRAMEWORK, argument.path.replace("/", names.encode(FRAMEWORK, "a.b")[1:-1])))
        if isinstance(argument, Value | str | int | float | bool | np.ndarray | slice) or argument is None:
            return argument
        if isinstance(argument, dict):
            return {k: self.operand(v) for k, v in argument.items()}
        if isinstance(argument, list | tuple):
            return type(argument)(self.operand(a) for a in argument)
        return keras.ops.convert_to_numpy(argument) if keras.ops.is_tensor(argument) else argument

    # calls

    def apply(self, operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], key: Any, node: Any) -> list[Any]:
        path = [names.decode(FRAMEWORK, part) for part in key[:-2] if not part.isdigit()]
        name = ".".join([*path, names.decode(FRAMEWORK, operation.name)])
        args = [self.operand(a) for a in args]
        kwargs = {k: self.operand(v) for k, v in kwargs.items() if k not in ("training", "mask") or isinstance(v, Value)}
        if any(a is _LACKING for a in keras.tree.flatten((args, kwargs))):
            return [_LACKING] * len(node.output_tensors)  # an earlier call is unsupported: go on only to list others
        claims = [(tuple(t.shape), dtype_of(t.dtype)) for t in node.output_tensors]
        return self.one(operation, args, kwargs, name, claims, [(key, i) for i in range(len(claims))])

    def one(
        self, operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], name: str, claims: Any, keys: Any
    ) -> list[Any]:
        native = native_name(operation)
        source = f"keras {native or type(operation).__name__} {name!r}"
        importer = importer_of(FRAMEWORK, native) if native else None
        if importer is None:
            return self.opened(operation, args, kwargs, name, source, claims)
        left_out = defaults_of(operation)
        turned = importer in CHANNELS_LAST and data_format(operation) == "channels_last"
        if turned:
            args = [*permuted(args[:1], to_first), *args[1:]] if isinstance(args[0], Value) else args
        return self.importing.call(
            functools.partial(_with, importer, kwargs) if kwargs else importer,
            LayerCall(operation, self, name, left_out),
            args,
            name=name,
            source=source,
            left_out=left_out,
            after=(lambda results: permuted(results, to_last)) if turned else None,
            claims=claims,
            keys=keys,
        )

    def opened(
        self, operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], name: str, source: str, claims: Any
    ) -> list[Any]:
        """Trace the call of a layer without an importer into operations, and read those."""
        try:
            stand_ins: list[Any] = []
            values: list[Value] = []

            def stand_in(argument: Any) -> Any:
                if not isinstance(argument, Value):
                    return argument
                shape = tuple(d if isinstance(d, int) else None for d in argument.shape)
                stand_ins.append(keras.KerasTensor(shape, argument.dtype.name))
                values.append(argument)
                return stand_ins[-1]

            symbolic_args, symbolic_kwargs = keras.tree.map_structure(stand_in, (list(args), dict(kwargs)))
            outputs = _call(operation, *symbolic_args, **symbolic_kwargs)
            function = keras.Function(stand_ins, outputs)
        except LeakyInteropError:
            raise
        except Exception:  # the user's own code may raise anything; what cannot be traced is reported as unsupported
            self.importing.unsupported(type(operation).__name__, source)
            return [_LACKING] * (len(claims) if claims else 1)
        return walk(function, values, lambda op, a, k, key, node: self.apply(op, a, k, (name, *key), node), ())

    def activation(self, activation: Any, value: Value) -> Value:
        """An activation applied: None, a Keras function, a layer, or the user's own function."""
        if activation is None:
            return value
        if isinstance(activation, keras.Layer):
            (result,) = self.one(activation, [value], {}, names.decode(FRAMEWORK, activation.name), None, None)
            return result
        name = getattr(activation, "__name__", "")
        if name == "linear":
            return value
        own = getattr(activation, "__module__", "").startswith("keras.")
        importer = importer_of(FRAMEWORK, f"activations.{name}") if own else None
        if importer is not None:
            defaults = {k: p.default for k, p in inspect.signature(activation).parameters.items() if p.default is not p.empty}
            return importer(Call(SimpleNamespace(**defaults), self.graph, left_out=defaults), value)
        shape = tuple(d if isinstance(d, int) else None for d in value.shape)
        stand_in = keras.KerasTensor(shape, value.dtype.name)
        function = keras.Function([stand_in], activation(stand_in))
        (result,) = walk(function, [value], self.apply)
        return result

    def inside(self, layer: Any, name: str, operands: Sequence[Any]) -> Any:
        results = self.one(layer, list(operands), {}, name, None, None)
        return results[0] if len(results) == 1 else results


_LACKING = object()  # the result of a call without an importer


def _with(importer: Any, kwargs: Mapping[str, Any], *args: Any) -> Any:
    return importer(*args, **kwargs)


def native_name(operation: Any) -> str:
    """How importers name an operation: a Keras layer's class, "ops." and the class of a Keras operation; "" for others."""
    kind = type(operation)
    if not kind.__module__.startswith("keras."):
        return ""
    return kind.__name__ if isinstance(operation, keras.Layer) else f"ops.{kind.__name__}"


def data_format(operation: Any) -> str:
    """The data format of an operation; Keras' own setting where it has none."""
    return getattr(operation, "data_format", None) or keras.config.image_data_format()


@functools.cache
def _signature(kind: type) -> dict[str, Any]:
    return {k: p.default for k, p in inspect.signature(kind.__init__).parameters.items() if p.default is not p.empty}


def defaults_of(operation: Any) -> frozenset[str]:
    """Arguments of a layer or operation that hold Keras' own default (Keras keeps no trace of who wrote them)."""
    missing = object()
    return frozenset(
        name
        for name, default in _signature(type(operation)).items()
        if isinstance(default, int | float | str | bool) and getattr(operation, name, missing) == default
    )
