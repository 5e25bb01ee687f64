"""What a Keras model holds beside its layers' own weights: free weights, larger constants, sizes of the data.

A Keras model has no place for a weight that belongs to no layer (a class token, a layer scale, a table two layers
share). It lives in an Embedding of its name here, all of whose rows are looked up: trainable, saved, loaded in safe
mode. The rows' numbers are an arange plus a zero that comes from an input, because a layer wants a symbolic tensor; the
importer of Embedding reads such a lookup as the weight itself.

Keras also has no number for a size that is known only at run time. `zeros` makes a vector that long out of an input.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from ... import names
from ...graph import Graph, Parameter, Step, Value, snake
from ...interpreter import measures
from ...numeric import NARROW_FLOATS, NARROW_INTEGERS, is_float
from ...sizes import Dim, Size
from ..base import Builder

FRAMEWORK = "keras"
SMALL = 1024  # bytes; larger arrays do not belong into a model's configuration, where they are text
EXACT = 2**24  # whole numbers up to here are the same as float32
HELD = dict.fromkeys(NARROW_FLOATS, "float32")  # what Keras has no tensors of, and the type that holds its numbers
HELD |= {name: "uint8" if name.startswith("u") else "int8" for name in NARROW_INTEGERS}
LACKING = ("uint16", "uint32", "uint64") if keras.backend.backend() == "torch" else ()  # no arithmetic in these
HELD |= {"uint16": "int32", "uint32": "int64"} if LACKING else {}  # and no wrapping around


def held_as(dtype: np.dtype) -> str:
    """The name of the type in which Keras holds numbers of a dtype."""
    return HELD.get(dtype.name, dtype.name)


def as_held(array: Any) -> np.ndarray:
    """An array in the type in which Keras holds its numbers."""
    array = np.asarray(array)
    return array.astype(held_as(array.dtype)) if array.dtype.name in HELD else array


class Holding(Builder):
    """The part of the Keras builder that holds weights without a layer and measures inputs."""

    def __init__(self, graph: Graph):
        super().__init__(graph, keras)
        self.unique = names.Unique()
        self.named: set[int] = set()  # ids of the operations that have their names
        self.tables: dict[Any, tuple[Any, Parameter]] = {}  # by tie: the Embedding, and the view of the weight in it
        self.rows: dict[int, Any] = {}
        users: dict[Any, set[Any]] = {}
        for node in graph.nodes:
            weights = [v.const for v in node.inputs if v is not None and v.const is not None and v.const.name]
            for weight in weights:
                users.setdefault(weight.tie, set()).add((str(node.op), tuple(w.identity for w in weights)))
        self.shared = {tie for tie, uses in users.items() if len(uses) > 1}
        self.shared.update(*self.mixed.values())

    def call_by_name(self, tensor: Any, name: str) -> None:
        """Name the call that gives a tensor, and those that prepare it: two may not bear the name Keras gave them."""
        operation, index, _ = tensor._keras_history
        if id(operation) in self.named or isinstance(operation, keras.layers.InputLayer):
            return
        self.named.add(id(operation))
        operation.name = self.unique(name)
        for before in operation._inbound_nodes[index].input_tensors:
            self.call_by_name(before, f"{name}_{snake(type(before._keras_history.operation).__name__)}")

    def holds(self, *operands: Any) -> bool:
        """Whether one layer may own these weights: not where operators that are no one layer share them."""
        ties = (o.const.tie for o in operands if isinstance(o, Value) and o.const is not None)
        return super().holds(*operands) and not self.shared.intersection(ties)

    def held(self, value: Value) -> Any:
        """A weight, or a larger constant, out of its Embedding; a small constant as the array that a call keeps."""
        parameter = value.const
        assert parameter is not None
        if 0 in parameter.shape or (not parameter.name and (value.array().nbytes <= SMALL or not _fits(value.array()))):
            return as_held(value.array())
        owned = parameter.ordered if id(parameter.root) in self.mixed else parameter.owned
        layer = self.table(self.graph.parameter(owned), flat=_reshaped(parameter.seen_from(owned)))
        first = self.tables[owned.tie][1]
        held = layer(self.row_numbers(layer.input_dim))
        if not is_float(value.dtype):
            held = keras.ops.cast(held, held_as(value.dtype))
        if held.shape != first.shape:
            held = keras.ops.reshape(held, first.shape)
        for kind, *rest in parameter.seen_from(first) or ():
            if kind == "transpose":
                held = keras.ops.transpose(held, rest[0])
            elif kind == "reshape":
                held = keras.ops.reshape(held, rest[0])
            elif kind == "take":
                held = taken(held, *rest)
            else:
                held = keras.ops.cast(held, held_as(np.dtype(rest[0])))
        return held

    def table(self, value: Value, name: str = "", flat: bool = False) -> keras.layers.Embedding:
        """The Embedding that holds a weight as rows, made when it is first asked for.

        flat: as one row. A matrix that is looked at in another shape would lose its own, which a reshape of the row tells.
        """
        parameter = value.const
        assert parameter is not None
        if parameter.tie not in self.tables:
            if parameter.tie in self.shared and parameter.tie == (id(parameter.root), ()):
                parameter = dataclasses.replace(
                    parameter, steps=(), shape=parameter.read().shape
                )  # as its owner has it
            array = np.asarray(parameter.array())
            columns = array.size if flat or array.ndim < 2 else array.shape[-1]
            array = array.reshape(-1, columns)
            stored = held_as(value.dtype) if is_float(value.dtype) else "float32"
            layer = keras.layers.Embedding(
                *array.shape,
                embeddings_initializer="zeros",
                dtype=stored,
                name=self.unique(names.encode(FRAMEWORK, name or parameter.name or "constant")),
            )
            layer.build()
            layer.embeddings.assign(array.astype(stored) if stored != value.dtype.name else array)
            layer.trainable = parameter.trainable
            self.named.add(id(layer))
            self.tables[parameter.tie] = layer, parameter
        return self.tables[parameter.tie][0]

    def rows_of(self, value: Value, name: str) -> keras.layers.Embedding | None:
        """The Embedding that looks a table's rows up; None where the table is a view of what is stored."""
        parameter = value.const
        layer = self.table(value, name)
        assert parameter is not None
        return layer if self.tables[parameter.tie][1].identity == parameter.identity else None

    def row_numbers(self, rows: int) -> Any:
        """0, 1, ... rows - 1 as a symbolic tensor."""
        if rows not in self.rows:
            if 0 not in self.rows:
                first = self.made[id(self.graph.inputs[0])]
                self.rows[0] = keras.ops.sum(keras.ops.zeros_like(first, dtype="int32"))
                self.call_by_name(self.rows[0], "zero")
            self.rows[rows] = keras.ops.add(np.arange(rows, dtype=np.int32), self.rows[0])
            self.call_by_name(self.rows[rows], f"rows_of_{rows}")
        return self.rows[rows]

    def symbolic(self, array: np.ndarray) -> Any:
        """A constant as a symbolic tensor of the same numbers, where a layer wants one."""
        rows = keras.ops.take(np.atleast_1d(array), self.row_numbers(array.shape[0] if array.ndim else 1), 0)
        return rows if array.ndim else keras.ops.reshape(rows, ())

    # sizes

    def zeros(self, size: Dim) -> Any:
        """A vector of `size` zeros (int32), as long as an input says where the size is not known before the run."""
        if isinstance(size, int):
            return np.zeros(size, np.int32)
        parts, less = [], 0
        for monomial, count in size.terms:
            if count < 0:
                if monomial:
                    raise self._unknown(size)
                less = -count
                continue
            part: Any = None
            for vector in (self._atom(atom, size) for atom in monomial):
                part = vector if part is None else keras.ops.reshape(part[:, None] + vector, (-1,))
            parts.append(
                np.zeros(count, np.int32) if part is None else part if count == 1 else keras.ops.tile(part, [count])
            )
        whole = parts[0] if len(parts) == 1 else keras.ops.concatenate(parts)
        return whole[(slice(less, None),)] if less else whole

    def places(self, start: Dim, step: int, count: Dim) -> Any:
        """start, start + step, ...: `count` numbers (int32), each known only at run time."""
        steps = keras.ops.cumsum(keras.ops.add(self.zeros(count), step))
        first = start - step
        if isinstance(first, Size):
            return keras.ops.add(steps, keras.ops.cast(self.tensor(self.graph.of_sizes(first)), "int32"))
        return keras.ops.add(steps, first) if first else steps

    def _atom(self, atom: Any, size: Size) -> Any:
        if not isinstance(atom, str):
            if atom.name != "//" or not isinstance(atom.right, int):
                raise self._unknown(size)
            return self.zeros(atom.left)[(slice(atom.right - 1, None, atom.right),)]
        if (found := measures(self.graph).get(atom)) is None:
            raise self._unknown(size)
        value, axis = found
        vector = self.made[id(value)][tuple(slice(None) if a == axis else 0 for a in range(value.rank))]
        return keras.ops.zeros_like(vector, dtype="int32")

    def _unknown(self, size: Size) -> Exception:
        return self.refuse(
            f"the size {size}",
            why="Keras has no numbers for sizes of the data",
            instead="Fix the sizes with input_shapes",
        )

    def size_tensor(self, value: Value) -> Any:
        """The integer tensor of a value known as sizes: each is the sum of as many ones."""
        assert value.sizes is not None
        entries = [
            keras.ops.sum(keras.ops.ones_like(self.zeros(size), dtype="int32")) for size in value.sizes.reshape(-1)
        ]
        return keras.ops.cast(keras.ops.reshape(keras.ops.stack(entries), value.shape), value.dtype.name)


def taken(tensor: Any, index: tuple[int, ...], axis: int) -> Any:
    """Entries along an axis, as a slice where they stand in a row."""
    if index == tuple(range(index[0], index[-1] + 1)):
        return tensor[(slice(None),) * axis + (slice(index[0], index[-1] + 1),)]
    return keras.ops.take(tensor, np.asarray(index, np.int32), axis)


def _reshaped(steps: tuple[Step, ...] | None) -> bool:
    """Whether a view begins with another shape."""
    return bool(steps) and steps[0][0] == "reshape"


def _fits(array: np.ndarray) -> bool:
    """Whether an Embedding can hold a constant exactly: floats, and integers that float32 holds."""
    return array.dtype.kind in "fV" or array.dtype.kind == "b" or not array.size or int(np.abs(array).max()) <= EXACT
