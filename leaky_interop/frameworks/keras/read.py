"""Reads Keras: a model's calls become a channels-first graph.

Layers and `keras.ops` operations are looked up by class name, only where the class is Keras' own. Anything else is
opened: its `call` is traced into operations, so a custom layer made of keras.ops needs no registration. The reader is
one class: every part of it reads or sets the graph and the scope at hand.
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
from ...bodies import Captures
from ...errors import LeakyInteropError, Refused, Usage
from ...graph import Anchor, Graph, Parameter, Value
from ...layout import settle, to_first, to_last
from ...numeric import dtype as dtype_of
from ...op import CHANNELS_LAST, importer_of
from ...ops.expand import expanded
from ...ops.math import Add, Mul
from ...ops.range import ranged
from ...passes import after_import
from ...sizes import Dim, Size, symbol
from ..base import Call, Importing, output_names, permuted
from . import calls
from .claims import claimed
from .foreign import called, native_name, reason
from .masks import Masks, find_masked, given_masks, ignores_masks, is_empty, refusal, takes_mask
from .operations import backend_as_operations
from .remembering import Memory
from .run import Program, describe, to_numpy
from .standing import stand_in
from .tensorflow import without_tensorflow
from .trace import Progression, Rows, Trace, call, traced_model, variables_as_tensors
from .trace import trace as traced
from .walk import functional, nodes, walk

FRAMEWORK = "keras"


@without_tensorflow()
def load(
    model: Any, *, example: Any = None, input_shapes: Any = None, static_batch: bool = False, dynamic_batch: bool = False
) -> Graph:
    """The graph of a Keras model. A subclassed or unbuilt model is traced with `example` or `input_shapes`."""
    function = functional(model)
    trace = Trace(function, made_here=False) if function is not None else traced_model(model, example, input_shapes)
    return Reader(model, trace, input_shapes, static_batch, dynamic_batch).read()


class Reader:
    """Walks one functional graph."""

    def __init__(self, model: Any, trace: Trace, input_shapes: Any, static_batch: bool, dynamic_batch: bool):
        self.function = trace.function
        self.trace = trace
        self.importing = Importing(FRAMEWORK, describe(model))
        self.graph = self.root = self.importing.graph
        self.model = model
        self.static_batch, self.dynamic_batch = static_batch, dynamic_batch
        self.input_shapes = input_shapes
        self.masked = self.mask_lost = self.in_code = False
        self.captures: Captures | None = None  # what the graph at hand takes from the one around it
        self.memory = Memory()
        self.roots: dict[Any, Any] = {}  # of weights that layers compute

    def read(self) -> Graph:
        graph, function = self.graph, self.function
        weights = [self.variable(v, v.name) for v in self.trace.weights]
        inputs = [self.input(t, i) for i, t in enumerate(function.inputs[: len(function.inputs) - len(weights)])]
        inputs += weights
        outputs = self.walk(self.trace, inputs)
        count = len(outputs)
        struct = getattr(function, "_outputs_struct", None)
        graph.structure = None if struct is None else in_order(keras.tree.pack_sequence_as(struct, list(range(count))))
        graph.output_names = output_names(graph.structure, count)
        self.memory.leave(graph, outputs)
        graph.outputs = [v for v in outputs if isinstance(v, Value)]
        run = None if self.trace.others else function
        graph.program = Program(self.model, run, self.trace.pack, self.trace.weights, self.memory.variables)
        return self.importing.finish(settle, after_import)

    def input(self, tensor: Any, index: int) -> Value:
        name = names.decode(FRAMEWORK, tensor._keras_history.operation.name)
        shape: list[Dim] = []
        for axis, size in enumerate(self.stated_shape(tensor, index)):
            size = None if axis == 0 and self.trace.others else size  # a batch that only the trace needed
            batch = axis == 0 and (self.dynamic_batch or (size is None and not self.static_batch))
            shape.append(symbol("batch") if batch else size if size is not None else symbol(f"{name}_{axis}") if axis else 1)
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
                read=lambda: numbers(variable),
                root=variable,
                trainable=bool(variable.trainable),
                home="layer",
            )
        )

    def merged(self, layer: Any, attribute: str, tensor: Any, name: str) -> Value:
        """A weight that a layer computes from several variables: frozen, as Keras has what they change."""
        root = self.roots.setdefault((id(layer), attribute), (layer, attribute))
        dtype = dtype_of(keras.backend.standardize_dtype(tensor.dtype))

        def read() -> np.ndarray:
            return np.asarray(keras.ops.convert_to_numpy(getattr(layer, attribute)))

        return self.graph.parameter(Parameter(name=name, shape=tuple(tensor.shape), dtype=dtype, read=read, root=root))

    def operand(self, argument: Any) -> Any:
        """A call argument as importers read it: Values, plain numbers, numpy arrays for captured tensors."""
        if isinstance(argument, keras.Variable):
            return self.variable(argument, ".".join(names.decode(FRAMEWORK, part) for part in argument.path.split("/")))
        if isinstance(argument, Rows):
            return expanded(self.graph.constant(argument.array), argument.shape)
        if isinstance(argument, Size | Value | str | int | float | bool | np.ndarray | slice) or argument is None:
            return argument
        if isinstance(argument, Progression):
            return self.progression(argument)
        if isinstance(argument, dict):
            return {k: self.operand(v) for k, v in argument.items()}
        if isinstance(argument, list | tuple):
            return type(argument)(self.operand(a) for a in argument)
        return to_numpy(argument) if keras.ops.is_tensor(argument) else argument

    def progression(self, found: Progression) -> Value:
        """A captured array that is as long as the batch."""
        first = self.graph.constant(found.first)
        places = ranged(self.graph, 0, found.size, 1, np.int64).cast(first.dtype)
        places = places.reshape(found.size, *(1,) * (first.rank - 1 - found.axis))
        return Add()(Mul()(places, self.graph.constant(found.step)), first)

    # calls

    def walk(self, trace: Trace, inputs: Sequence[Any], path: tuple[str, ...] = ()) -> list[Any]:
        """Read every call of a traced graph."""

        masked: dict[int, bool] = {}
        find_masked(trace.function, self.masked, masked)
        counts: dict[str, int] = {}
        other_sizes: set[int] = set()  # calls in models that were built for fewer sizes than they are called with here

        def enter(inner: Any, given: list[Any]) -> None:
            pairs = ((v.shape, t.shape) for v, t in zip(given, inner.inputs, strict=True) if isinstance(v, Value))
            if any(isinstance(s, Size) and t is not None for pair in pairs for s, t in zip(*pair, strict=False)):
                other_sizes.update(map(id, nodes(inner)))

        def stated_shape(node: Any, index: int) -> tuple[Any, ...]:
            stated = trace.shape(node, index)
            return (None,) * len(stated) if id(node) in other_sizes else stated

        def apply(operation: Any, args: Any, kwargs: Any, key: Any, node: Any) -> list[Any]:
            shown = operation.name
            if trace.made_here and not isinstance(operation, keras.Layer):  # Keras numbers such names through the process
                kind = called(operation)[1]
                count = counts[kind] = counts.get(kind, -1) + 1
                shown = f"{kind}_{count}" if count else kind
            claims = claimed(node, stated_shape, (args, kwargs))
            self.masked, self.mask_lost = id(node) in masked, masked.get(id(node)) is False
            self.in_code = trace.made_here
            return self.apply(operation, args, masks.added(node, kwargs), key, shown, claims, trace.attributes(node))

        def of_mask(operation: Any, args: Any, kwargs: Any, node: Any) -> list[Any]:
            return apply(operation, args, kwargs, (*path, operation.name, 0), node)

        env: dict[int, Any] = {}
        masks = Masks(env, of_mask, bool(trace.others))
        return walk(trace.function, inputs, apply, path, trace.arguments, enter, env)

    def apply(
        self, operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], key: Any, shown: str, claims: Any, attribute: Any
    ) -> list[Any]:
        """The results of a call: `key` finds it when the model runs, `shown` names it."""
        path = [names.decode(FRAMEWORK, part) for part in key[:-2] if not part.isdigit()]
        name = ".".join([*path, names.decode(FRAMEWORK, shown)])
        args = [self.operand(a) for a in args]
        kwargs = {k: self.operand(v) for k, v in kwargs.items() if k != "training" and not (k == "mask" and is_empty(v))}
        if any(a is _LACKING for a in keras.tree.flatten((args, kwargs))):
            return [_LACKING] * len(claims)  # an earlier call is unsupported: go on only to list others
        return self.one(operation, args, kwargs, name, claims, [(key, i) for i in range(len(claims))], attribute)

    def one(
        self,
        operation: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        name: str,
        claims: Any = None,
        keys: Any = None,
        attribute: Any = getattr,
    ) -> list[Any]:
        given = (list(args), dict(kwargs))
        args, kwargs = keras.tree.map_structure(functools.partial(calls.as_computed, operation), given)
        narrow = any(calls.in_float32(operation, v) is not v for v in keras.tree.flatten(given) if isinstance(v, Value))
        if not args and (first := next(iter(inspect.signature(operation.call).parameters), None)) in kwargs:
            args = [kwargs.pop(first)]
        native = native_name(operation)
        source = f"keras {called(operation)[0]} {name!r}"
        quantized = getattr(operation, "quantization_mode", None)  # another computation, on weights that importers don't know
        importer = None if quantized else importer_of(FRAMEWORK, native)
        if self.masked and ignores_masks(importer) and takes_mask(operation) and (importer or not given_masks(kwargs)):
            raise refusal(source)
        if importer is None or any(isinstance(a, dict) for a in args):  # images with their boxes, labels and masks
            return self.opened(operation, args, kwargs, name, source, claims, keys)
        left_out = calls.defaults_of(operation)
        turned = importer in CHANNELS_LAST and calls.data_format(operation) == "channels_last"
        if turned:
            args = [*permuted(args[:1], to_first), *args[1:]] if isinstance(args[0], Value) else args
        layer = calls.LayerCall(operation, self, name, left_out, attribute, claims)
        layer.turned = turned

        def after(results: list[Any]) -> list[Any]:
            results = permuted(results, to_last) if turned else results
            return narrowed([r if r is None else r.cast(np.float64) for r in results] if narrow else results, claims)

        results = self.importing.call(
            calls.given(importer, kwargs) if kwargs else importer,
            layer,
            args,
            name=name,
            source=source,
            left_out=left_out,
            after=after,
            claims=claims,
            keys=keys,
        )
        return [_LACKING if result is None else result for result in results]

    def opened(
        self, operation: Any, args: Sequence[Any], kwargs: Mapping[str, Any], name: str, source: str, claims: Any, keys: Any
    ) -> list[Any]:
        """Trace the call of a layer without an importer into operations, and read those."""
        native = native_name(operation)
        given = keras.tree.flatten((list(args), dict(kwargs)))

        def unread(why: str = "") -> list[Any]:
            if not claims or any(claim is None for claim in claims):
                self.importing.missing.append((native, source, why))
                return [_LACKING] * max(1, len(claims or ()))
            return self.importing.unsupported(native, source, given, name=name, claims=claims, keys=keys, why=why)

        operands = [a for a in given if isinstance(a, Value)]
        fixed: dict[int, Any] = {}  # results that depend on no operand
        try:
            with backend_as_operations(operation), variables_as_tensors(operation) as (variables, tensors):

                def code(packed: Any) -> Any:
                    found = keras.tree.flatten(call(operation, *packed[0], **packed[1]))
                    found = [o for o in found if isinstance(o, keras.KerasTensor) or keras.ops.is_tensor(o)]
                    fixed.update((i, o) for i, o in enumerate(found) if not isinstance(o, keras.KerasTensor))
                    return [o for o in found if isinstance(o, keras.KerasTensor)]

                def stand_ins(batch: int | None) -> tuple[list[Any], Any]:
                    made = {id(v): _stand_in(v, batch) for v in operands}
                    packed = keras.tree.map_structure(lambda a: made.get(id(a), a), (list(args), dict(kwargs)))
                    return [*(made[id(v)] for v in operands), *tensors], packed

                trace = traced(code, stand_ins, operands[0].shape[0] if operands and operands[0].rank else 1)
        except Refused as error:
            raise error if error.where else Refused(error.what, source, error.why, error.hint) from None
        except LeakyInteropError:
            raise
        except Exception as error:  # the user's own code may raise anything; what cannot be traced is unsupported
            return unread(reason(type(operation).call, error))
        if any(type(node.operation) is type(operation) for node in nodes(trace.function)):  # the backend computes it
            return unread()
        weights = [
            self.variable(v, f"{name}.{v.name}").cast(dtype_of(t.dtype)) for v, t in zip(variables, tensors, strict=True)
        ]
        results = self.walk(trace, [*operands, *weights], (name,))
        for index, array in sorted(fixed.items()):
            results.insert(index, self.graph.constant(keras.ops.convert_to_numpy(array)))
        if claims and len(results) != len(claims):
            why = f"Keras states {len(claims)} results of it and computes {len(results)}, so that no model can be made of it"
            raise Refused(f"{native} as it is called", source, why, "Call it on one tensor")
        for value, key in zip(results, keys or (), strict=False):
            if isinstance(value, Value) and value.node is not None:
                value.anchor = Anchor(key)  # only the layer's result shows in a run of the source
        return results

    def activation(self, activation: Any, value: Value) -> Value:
        """An activation applied: None, a Keras function, a layer, or the user's own function."""
        if activation is None:
            return value
        if isinstance(activation, keras.Layer):
            (result,) = self.one(activation, [value], {}, names.decode(FRAMEWORK, activation.name))
            return result
        name = getattr(activation, "__name__", "")
        if name == "linear":
            return value
        own = str(getattr(activation, "__module__", "")).startswith(("keras.", "leaky_interop."))  # ours: Keras 2's
        importer = importer_of(FRAMEWORK, f"activations.{name}") if own else None
        if importer is not None:
            defaults = {k: p.default for k, p in inspect.signature(activation).parameters.items() if p.default is not p.empty}
            layers, self.graph.left_out = self.graph.left_out, frozenset(defaults)
            result = importer(Call(SimpleNamespace(**defaults), self.graph, left_out=defaults), value)
            self.graph.left_out = layers
            return result
        return self.written(activation, [value])

    def written(self, code: Any, operands: Sequence[Any]) -> Any:
        """What Python code made of Keras operations computes: one result alone, several as a list. Values go in as tensors."""
        values = [value for value in operands if isinstance(value, Value)]

        def stand_ins(batch: int | None) -> tuple[list[Any], Any]:
            made = {id(value): _stand_in(value, batch) for value in values}
            return [made[id(value)] for value in values], [made.get(id(o), o) for o in operands]

        batch = values[0].shape[0] if values[0].shape else 1
        try:
            trace = traced(lambda arguments: code(*arguments), stand_ins, batch)
        except LeakyInteropError:
            raise
        except Exception as error:  # the user's own code may raise anything
            name = getattr(code, "__qualname__", type(code).__qualname__)
            hint = "Write it with keras.ops, or as a layer with an importer of its own"
            raise Refused(f"the function {name}", why=reason(code, error), hint=hint) from error
        results = self.walk(trace, values)
        return results[0] if len(results) == 1 else results

    def inside(self, layer: Any, name: str, operands: Sequence[Any]) -> Any:
        if not isinstance(layer, keras.Operation):
            return self.written(layer, operands)
        results = self.one(layer, list(operands), {}, name)
        return results[0] if len(results) == 1 else results


def _stand_in(value: Value, batch: int | None) -> Any:
    """A symbolic tensor like a value; its open sizes are unknown, the batch perhaps known."""
    shape = [d if isinstance(d, int) else None for d in value.shape]
    if batch is not None and shape and shape[0] is None:
        shape[0] = batch
    return stand_in(tuple(shape), value.dtype.name)


def in_order(structure: Any) -> Any:
    """Nested places of outputs, the keys of dicts in the outputs' order: not every target sorts them as Keras does."""
    if type(structure) in (list, tuple):
        return type(structure)(map(in_order, structure))
    if isinstance(structure, dict):
        return dict(sorted(((k, in_order(v)) for k, v in structure.items()), key=lambda item: keras.tree.flatten(item[1])[:1]))
    return structure


_LACKING = object()  # the result of a call without an importer


def narrowed(results: Sequence[Any], claims: Any) -> list[Any]:
    """Results of 64 bits in 32 where Keras says so, and whole numbers of one width with or without a sign.

    But for TensorFlow's, its backends compute keras.ops no wider, and torch knows few integers without a sign.
    """
    found = list(results)
    for index, (value, claim) in enumerate(zip(results, claims or (), strict=False)):
        if claim is None or not isinstance(value, Value):
            continue
        mine, theirs = value.dtype, claim[1]
        narrower = mine.itemsize == 8 and (mine.kind, 4) == (theirs.kind, theirs.itemsize)
        signed = {mine.kind, theirs.kind} == {"i", "u"} and mine.itemsize == theirs.itemsize
        if narrower or signed:
            found[index] = value.cast(theirs)
    return found


def numbers(variable: Any) -> np.ndarray:
    """A variable's array. TensorFlow lends its own memory, which it never changes once it is lent."""
    value = variable.value
    if keras.backend.backend() != "tensorflow":
        return keras.ops.convert_to_numpy(value)
    try:
        return np.asarray(memoryview(value.value()))
    except ValueError:  # a buffer has no such element type
        return value.numpy()
