"""A Keras layer or operation as importers see it: its settings, its weights, its arguments as it receives them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ...graph import Graph, Value
from ...layout import to_first, to_last
from ...numeric import dtype as dtype_of
from ...sizes import Dim, Shape
from ..base import Call, permuted
from .bodies import read_body, read_states, read_traced
from .foreign import native_name
from .masks import refusal
from .operations import float64_kept

if TYPE_CHECKING:
    from .read import Reader



class LayerCall(Call):
    """A Keras layer or operation as importers read it."""

    def __init__(
        self, native: Any, reader: Reader, name: str, left_out: frozenset[str], attribute: Any = getattr, claims: Any = None
    ):
        super().__init__(native, reader.graph, left_out=left_out)
        self.reader = reader
        self.name = name
        self.stated = tuple(None if c is None else c[1] for c in claims or ())  # the dtypes that Keras states of the results
        self.attribute = attribute
        self.turned = False  # whether the importer sees data whose axes the engine turned
        self.in_code = reader.in_code  # whether Python code says it, in which `x * 0.3` is the backend's own
        self.masked = reader.masked  # whether a mask comes along with an input (Masking, Embedding's mask_zero)
        self.mask_lost = reader.mask_lost  # and nothing says which

    def __getattr__(self, name: str) -> Any:
        value = self.attribute(self.native, name)
        return keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else value

    @property
    def backend(self) -> str:
        """Which of Keras' backends runs the model: a few operations compute otherwise on each."""
        return str(keras.backend.backend())

    @property
    def image_data_format(self) -> str:
        """Where channels stand for layers that are not told."""
        return str(keras.config.image_data_format())

    def weight(self, attribute: str, *, cast: bool = True) -> Value | None:
        """A variable of the layer ("kernel") or of a part of it ("cell.kernel") as an operand, in Keras' own layout.

        None where the layer has none. cast: to the dtype in which the layer computes.
        """
        variable = self.native
        for part in attribute.split("."):
            variable = variable[int(part)] if part.isdigit() else getattr(variable, part, None)
        if variable is None:
            return None
        name = f"{self.name}.{attribute.lstrip('_')}"
        if not isinstance(variable, keras.Variable):  # with its low-rank changes (LoRA) merged in, as Keras saves it
            return self.reader.merged(self.native, attribute, variable, name)
        value = self.reader.variable(variable, name)
        compute = getattr(self.native, "compute_dtype", None) if cast else None
        return in_float32(self.native, value if compute is None or value.dtype.kind not in "fV" else value.cast(dtype_of(compute)))

    def follow(self, mask: Value | None) -> None:
        """Refuse a mask that comes along, but not as an operand."""
        if mask is None and self.mask_lost:
            raise refusal()

    def activate(self, value: Value) -> Value:
        """The layer's activation applied: a string, a function or a layer, with its own settings."""
        function = getattr(self.native, "activation", None)
        if not self.turned or value.rank < 3 or getattr(function, "__name__", "") in ("linear", "relu", "sigmoid", "tanh"):
            return self.reader.activation(function, value)
        return permuted([self.reader.activation(function, permuted([value], to_last)[0])], to_first)[0]  # softmax has an axis

    def written(self, code: Any, *operands: Value) -> Any:
        """What `code(keras.ops, *operands)` computes: the definition of this call in other operations, in its own precision."""
        with float64_kept():
            return self.reader.written(lambda *tensors: code(keras.ops, *tensors), operands)

    def call(self, layer: Any, *operands: Any) -> Any:
        """Another layer, or a function of keras.ops, applied inside this call: a cell, a wrapped layer."""
        return self.reader.inside(layer, self.name, operands)

    def body(self, kinds: Sequence[tuple[Shape, Any]], apply: Callable[..., Sequence[Value]]) -> Graph:
        """A graph that an operator runs: what `apply` makes of inputs of these shapes and dtypes."""
        return read_body(self.reader, self.name, kinds, apply)

    def traced(
        self, owns: Sequence[Sequence[tuple[Shape, Any]]], captured: Sequence[Value], apply: Callable[..., Sequence[Value]]
    ) -> tuple[list[Graph], list[Value]]:
        """The bodies of traced control flow as graphs, and the values that they take behind their own inputs.

        owns: shapes and dtypes of these, for each body. `apply(run, *inputs)` gives a graph's results; `run` is the body.
        """
        return read_traced(self.reader, self.name, self.bodies, owns, captured, apply)

    def states(self, layer: Any, batch: Dim, given: Sequence[Value]) -> Any:
        """The flat states that a recurrent layer begins with, and what nests such states as its cell does."""
        return read_states(self.reader, layer, batch, given)

    def recalled(self, layer: Any, path: str) -> list[Value]:
        """What a stateful layer remembers from its call before; path: where this layer holds it."""
        return self.reader.memory.recalled(self.reader.graph, self.reader.root, layer, f"{self.name}.{path}".rstrip("."))

    def keep(self, layer: Any, states: Sequence[Value]) -> None:
        """Let a stateful layer remember its states."""
        self.reader.memory.keep(layer, states)

    def unique(self, part: str) -> str:
        """A name that no other part of the network has."""
        return self.reader.root.unique(f"{self.name}.{part}")

    def called(self, layer: Any, part: str, *operands: Any, **more: Any) -> list[Any]:
        """The flat results of a layer that this one holds as its `part`; no mask comes along with what it hands over."""
        self.reader.masked = self.reader.mask_lost = False
        return self.reader.one(layer, list(operands), more, f"{self.name}.{part}")


# What Keras computes of float64 in float32, on every backend but TensorFlow, and hands on in float64 again.
_NARROWING = """BatchNormalization GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GroupNormalization
    LayerNormalization RMSNormalization ops.LayerNorm ops.Mean ops.RMSNorm"""
NARROWING = frozenset(_NARROWING.split())


def in_float32(operation: Any, value: Value) -> Value:
    """An operand of float64 in the float32 in which a few layers and operations compute it."""
    narrow = value.dtype == np.float64 and native_name(operation) in NARROWING
    return value.cast(keras.backend.result_type("float64")) if narrow else value


HELD_BY_TORCH = {"uint16": "int32", "uint32": "int64"}  # what Keras on torch makes of integers that torch barely has


def as_computed(operation: Any, argument: Any) -> Any:
    """An argument as a layer receives it: floats in the dtype that it computes in (mixed precision)."""
    if isinstance(argument, Value) and argument.dtype.name in HELD_BY_TORCH and keras.backend.backend() == "torch":
        return argument.cast(HELD_BY_TORCH[argument.dtype.name])
    casting = getattr(operation, "autocast", False) and getattr(operation, "_convert_input_args", True)
    if not isinstance(argument, Value) or argument.dtype.kind not in "fV":
        return argument
    if not casting:
        return in_float32(operation, argument)
    return in_float32(operation, argument.cast(dtype_of(operation.input_dtype)) if operation.input_dtype else argument)


def given(importer: Any, kwargs: Mapping[str, Any]) -> Any:
    """The importer, given its keyword arguments beforehand, still under its own name."""
    return functools.wraps(importer)(lambda *args: importer(*args, **kwargs))


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
