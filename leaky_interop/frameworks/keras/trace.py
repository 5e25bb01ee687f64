"""Traces Python code made of Keras operations into a functional graph: subclassed models, custom layers, functions.

Symbolic tensors with an open batch go through the code first. Where the code asks for the batch (`ops.shape(x)` is None
then, and arithmetic on it fails), it is traced twice, with batches 7 and 11, and the two traces are unified: an integer
that differs is an expression in the batch, anything else that differs is refused.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from ...errors import LeakyInteropError, Refused, Usage
from ...sizes import Dim, Size, symbol
from .control import traced_flow
from .flow import Body, Flow
from .foreign import reason, without_random
from .operations import float64_kept
from .standing import stand_in
from .walk import functional, nodes, stated_arguments

BATCHES = (7, 11)


class Rows(NamedTuple):
    """An array of equal rows, as many as the batch says."""

    array: np.ndarray
    shape: tuple[Dim, ...]


class Trace:
    """One traced call: `function` computes it; `twin` is the same with another batch, where the batch had to be known."""

    def __init__(self, function: Any, twin: Any = None, batch: Dim = 1, *, made_here: bool = True):
        self.function, self.twin, self.batch = function, twin, batch
        self.pack: Callable[[Sequence[Any]], Any] | None = None  # flat inputs as a subclassed model takes them
        self.made_here = made_here  # and not the functional graph that the model has anyway
        self.weights: list[Any] = []  # the model's own variables, whose numbers the last inputs stand for
        self.others = {} if twin is None else dict(zip(map(id, nodes(function)), nodes(twin), strict=True))

    def arguments(self, node: Any) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments of a call, batch-dependent integers as sizes."""
        other = self.others.get(id(node))
        return stated_arguments(node) if other is None else self.unify(stated_arguments(node), stated_arguments(other))

    def attributes(self, node: Any) -> Callable[[Any, str], Any]:
        """How to read the settings of a call's operation, batch-dependent integers as sizes."""
        other = self.others.get(id(node))
        if other is None:
            return getattr

        def read(operation: Any, name: str) -> Any:
            mine = getattr(operation, name)
            plain = isinstance(mine, int | list | tuple | slice)
            return self.unify(mine, getattr(other.operation, name)) if plain else mine

        return read

    def shape(self, node: Any, index: int) -> tuple[Dim | None, ...]:
        """The shape that Keras states for a result."""
        mine = tuple(node.output_tensors[index].shape)
        other = self.others.get(id(node))
        return mine if other is None else self.unify(mine, tuple(other.output_tensors[index].shape))

    def unify(self, a: Any, b: Any) -> Any:
        """What is equal in both traces as it is; integers that differ as p * batch + q; bodies as traces of their own."""
        if isinstance(a, keras.KerasTensor):
            return a
        if isinstance(a, Body):
            return Trace(a, b, self.batch)
        if isinstance(a, dict):
            return {k: self.unify(v, b[k]) for k, v in a.items()}
        if isinstance(a, list | tuple):
            return type(a)(self.unify(x, y) for x, y in zip(a, b, strict=True))
        if isinstance(a, slice):
            return slice(*(self.unify(getattr(a, f), getattr(b, f)) for f in ("start", "stop", "step")))
        if isinstance(a, int) and isinstance(b, int) and a != b:
            per, rest = divmod(b - a, BATCHES[1] - BATCHES[0])
            if rest == 0:
                return per * self.batch + (a - BATCHES[0] * per)
        if keras.ops.is_tensor(a) or isinstance(a, np.ndarray):
            return self.unify_arrays(*(np.asarray(keras.ops.convert_to_numpy(t)) for t in (a, b)))
        if a is b or (type(a) is type(b) and (callable(a) or isinstance(a, keras.Variable) or a == b)):
            return a
        raise Refused(
            f"a value that depends on the batch in a way that is not linear ({a!r} at 7, {b!r} at 11)",
            hint="Fix the batch with static_batch=True",
        )

    def unify_arrays(self, a: np.ndarray, b: np.ndarray) -> Any:
        """A captured array that is the same in both traces, or longer by equal rows or even steps."""
        if a.shape == b.shape and np.array_equal(a, b):
            return a
        if (found := progression(a, b, self.batch)) is not None:
            return found
        if a.ndim == b.ndim:
            row = a[tuple(slice(None) if m == n else slice(1) for m, n in zip(a.shape, b.shape, strict=True))]
            if all(np.array_equal(np.broadcast_to(row, x.shape), x) for x in (a, b)):
                return Rows(row, self.unify(a.shape, b.shape))
        raise Refused(
            "an array made in `call` whose size or numbers depend on the batch",
            why=f"it has shape {a.shape} at batch 7 and {b.shape} at batch 11",
            hint="Make it from the input, with keras.ops.zeros_like or by broadcasting, or use static_batch=True",
        )


class Progression:
    """A captured array of whole numbers as long as the batch along an axis, each entry a step further than the one before."""

    def __init__(self, first: np.ndarray, step: np.ndarray, axis: int, size: Dim):
        self.first, self.step, self.axis, self.size = first, step, axis, size


def _whole(array: np.ndarray) -> bool:
    return array.dtype.kind in "iuf" and np.array_equal(array, np.rint(array))  # others are rounded on the way


def progression(a: np.ndarray, b: np.ndarray, batch: Dim) -> Progression | None:
    """What two captured arrays are at any batch, where they grow with it evenly."""
    axes = [i for i, sizes in enumerate(zip(a.shape, b.shape, strict=False)) if sizes == BATCHES]
    if a.ndim != b.ndim or len(axes) != 1 or not _whole(b) or not np.array_equal(a, b.take(range(BATCHES[0]), axes[0])):
        return None
    (axis,) = axes
    first, second = b.take([0], axis), b.take([1], axis)
    step = second - first
    places = np.arange(BATCHES[1]).reshape(-1, *(1,) * (b.ndim - 1 - axis))
    return Progression(first, step, axis, batch) if step.any() and np.array_equal(first + step * places, b) else None


def trace(code: Callable[..., Any], stand_ins: Callable[[int | None], tuple[list[Any], Any]], batch: Dim) -> Trace:
    """Trace `code`. `stand_ins(batch)` makes its symbolic tensors, flat, and the structure that goes into `code`.

    Symbols of float64 stay such, as most numbers do when a backend runs: what it computes otherwise, `claims` finds out.
    """
    with without_random(), traced_flow(), float64_kept():
        return _trace(code, stand_ins, batch)


def _trace(code: Callable[..., Any], stand_ins: Callable[[int | None], tuple[list[Any], Any]], batch: Dim) -> Trace:
    with contextlib.suppress(Exception):  # the user's code may raise anything where the batch is not known
        flat, packed = stand_ins(None)
        function = graph_of(flat, code(packed))
        if not any(map(_asks_for_the_batch, _all_nodes(function))):
            return Trace(function)
    if not isinstance(batch, Size):
        flat, packed = stand_ins(batch)
        return Trace(graph_of(flat, code(packed)))
    functions = []
    for size in BATCHES:
        flat, packed = stand_ins(size)
        functions.append(graph_of(flat, code(packed)))
    return Trace(*functions, batch=batch)


def graph_of(inputs: list[Any], outputs: Any) -> Any:
    """The graph between symbolic tensors; an input that nothing reads is one all the same."""
    for tensor in inputs:
        if not hasattr(tensor, "_keras_history"):  # any operation gives it a place to stand
            keras.ops.stop_gradient(tensor)
    return keras.Function(inputs, outputs)


def _all_nodes(function: Any) -> Iterator[Any]:
    """The calls of a graph, and after each those of its bodies."""
    for node in nodes(function):
        yield node
        for body in node.operation.bodies if isinstance(node.operation, Flow) else ():
            yield from _all_nodes(body)


def _asks_for_the_batch(node: Any) -> bool:
    """Whether None stands among the sizes in a call's arguments."""
    found: list[Any] = []

    def visit(value: Any) -> None:
        if isinstance(value, list | tuple) and not isinstance(value, keras.KerasTensor):
            if any(isinstance(v, int) and not isinstance(v, bool) for v in value):
                found.extend(v for v in value if v is None)
            for inner in value:
                visit(inner)

    visit((node.arguments.args, list(node.arguments.kwargs.values())))
    settings = getattr(node.operation, "__dict__", {})
    visit([v for k, v in settings.items() if k in ("newshape", "shape", "target_shape")])
    return bool(found)


def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
    """The layer's own `call` on symbolic tensors, at inference; a quantized layer's call is another one."""
    own = layer.quantized_call if getattr(layer, "quantization_mode", None) else layer.call
    if "training" in inspect.signature(layer.call).parameters:
        kwargs["training"] = False
    with without_gradients():
        return own(*args, **kwargs)


@contextlib.contextmanager
def without_gradients() -> Iterator[None]:
    """Inside the block a function with a gradient of its own (`keras.ops.custom_gradient`) is what it computes."""
    from keras.src import ops

    rooms = (ops, keras.ops)
    before = [room.custom_gradient for room in rooms]
    for room in rooms:
        room.custom_gradient = lambda function: lambda *args, **kwargs: function(*args, **kwargs)[0]
    try:
        yield
    finally:
        for room, own in zip(rooms, before, strict=True):
            room.custom_gradient = own


@contextlib.contextmanager
def variables_as_tensors(layer: Any) -> Iterator[tuple[list[Any], list[Any]]]:
    """Let a layer's own variables be symbolic tensors, so that arithmetic on them is traced too.

    They have the dtype in which the layer computes: it sees its floats cast (mixed precision).
    """
    variables: list[Any] = []
    tensors: list[Any] = []
    before = dict(layer.__dict__)

    def swap(value: Any) -> Any:
        if isinstance(value, keras.Variable):
            if not any(v is value for v in variables):
                variables.append(value)
                floats = layer.autocast and value._autocast and keras.backend.is_float_dtype(value.dtype)
                dtype = layer.compute_dtype if floats and layer.compute_dtype else value.dtype
                tensors.append(stand_in(tuple(value.shape), dtype))
            return tensors[next(i for i, v in enumerate(variables) if v is value)]
        if isinstance(value, dict):
            inner: Any = {k: swap(v) for k, v in value.items()}
            return inner if any(inner[k] is not v for k, v in value.items()) else value
        if isinstance(value, list | tuple):
            inner = [swap(v) for v in value]
            return inner if any(a is not b for a, b in zip(inner, value, strict=True)) else value
        return value

    own = ("_trainable_variables", "_non_trainable_variables", "_tracker", "_layers", "_metrics")
    try:
        for name, value in before.items():
            if name not in own and isinstance(value, keras.Variable | dict | list | tuple):
                layer.__dict__[name] = swap(value)
        yield variables, tensors
    finally:
        layer.__dict__.update(before)


def traced_model(model: Any, example: Any, input_shapes: Any) -> Trace:
    """A functional graph of a model that has none, from symbolic inputs like the example."""
    if example is None and input_shapes is None:
        raise Usage(
            f"Keras model {model.name!r} needs an example of its inputs",
            why="it is subclassed, or a Sequential without an Input, so the shapes it takes are not known",
            hint="Pass example=(array, ...) or input_shapes=[(None, 28, 28, 1)]",
        )
    specs = _specs(example, input_shapes)
    is_spec = lambda s: isinstance(s, _Spec)  # noqa: E731

    def stand_ins(batch: int | None) -> tuple[list[Any], Any]:
        packed = keras.tree.map_structure(
            lambda s: keras.Input(batch_shape=(batch if s.batch is None else s.batch, *s.shape), dtype=s.dtype, name=s.name) if is_spec(s) else s,
            specs,
        )
        return keras.tree.flatten(packed), packed

    if isinstance(model, keras.Sequential):
        model(stand_ins(None)[1])  # as its first call does
        return Trace(functional(model), made_here=False)
    if not model.built:
        zeros = keras.tree.map_structure(lambda s: keras.ops.zeros((s.batch or 2, *(d or 8 for d in s.shape)), s.dtype), specs)
        model(zeros)  # creates its weights, as its first call does
    try:
        with variables_as_tensors(model) as (variables, tensors):

            def with_weights(batch: int | None) -> tuple[list[Any], Any]:
                flat, packed = stand_ins(batch)
                return [*flat, *tensors], packed

            made = trace(lambda packed: call(model, packed), with_weights, symbol("batch"))
        made.weights = variables
        made.pack = lambda flat: keras.tree.pack_sequence_as(specs, list(flat))
        return made
    except LeakyInteropError:
        raise
    except Exception as error:  # the user's own code may raise anything
        raise Usage(f"Keras model {model.name!r} cannot be traced", why=reason(type(model).call, error)) from error


class _Spec:
    """Shape, dtype and name of one input: a leaf of the model's input structure."""

    def __init__(self, shape: Sequence[int | None], dtype: str, name: str | None):
        self.batch, self.shape, self.dtype, self.name = shape[0], tuple(shape[1:]), dtype, name


def _specs(example: Any, input_shapes: Any) -> Any:
    if example is not None:
        example = example[0] if isinstance(example, tuple) and len(example) == 1 else example
        if isinstance(example, dict):
            return {k: _Spec((None, *np.shape(a)[1:]), _dtype(a), k) for k, a in example.items()}
        if isinstance(example, list | tuple):
            return [_Spec((None, *np.shape(a)[1:]), _dtype(a), f"input_{i}") for i, a in enumerate(example)]
        return _Spec((None, *np.shape(example)[1:]), _dtype(example), "input")
    open_shape = lambda s: tuple(d if isinstance(d, int) and d >= 0 else None for d in s)  # noqa: E731
    if isinstance(input_shapes, dict):
        return {k: _Spec(open_shape(s), "float32", k) for k, s in input_shapes.items()}
    several = isinstance(input_shapes[0], list | tuple)
    shapes = input_shapes if several else [input_shapes]
    specs = [_Spec(open_shape(s), "float32", f"input_{i}" if len(shapes) > 1 else "input") for i, s in enumerate(shapes)]
    return specs[0] if len(specs) == 1 else specs


def _dtype(array: Any) -> str:
    return str(array.dtype).rpartition(".")[2] if hasattr(array, "dtype") else np.asarray(array).dtype.name
