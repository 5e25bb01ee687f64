"""Operations that run traced functions: what the control flow of keras.ops becomes while code is traced.

Keras runs the functions of its control flow anew in every call and notes nothing of what they read from around them. Here
each is traced once, so that what it reads (layers' weights, values computed before) is an operand of the operation.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras.src.ops.node import Node

from .walk import beside_float64, walk


class Body:
    """A traced function: its inputs, behind them what it reads from around it, and its results.

    `results` are flat: symbolic tensors, variables, and constants as arrays; `packed` has the structure that they came in.
    """

    def __init__(self, function: Callable[..., Any], *stand_ins: Any):
        self.own = list(keras.tree.flatten(stand_ins))
        with _noted() as made:
            self.packed = function(*stand_ins)
        self.results = [as_tensor(r) for r in keras.tree.flatten(self.packed) if r is not None]
        self.outputs = [r for r in self.results if isinstance(r, keras.KerasTensor)]
        self.captured: list[Any] = []
        self.reads: set[int] = set()  # of what the operation captures, the ids of what this body reads
        self.nodes: list[Any] = []
        self._follow(made)

    def _follow(self, made: set[int]) -> None:
        """Find the calls that the results need, in order, and the tensors from around."""
        known = {id(tensor) for tensor in self.own}
        stack = [(tensor, False) for tensor in reversed(self.outputs)]
        while stack:
            tensor, ready = stack.pop()
            node = _node(tensor)
            if ready:
                if id(tensor) not in known:
                    self.nodes.append(node)
                    known.update(map(id, node.output_tensors))
            elif id(tensor) not in known and (node is None or id(node) not in made):
                known.add(id(tensor))
                self.captured.append(tensor)
            elif id(tensor) not in known:
                stack.append((tensor, True))
                stack += [(given, False) for given in reversed(node.input_tensors)]

    @property
    def inputs(self) -> list[Any]:
        return [*self.own, *self.captured]

    @property
    def _nodes_by_depth(self) -> dict[int, list[Any]]:  # as Keras' own graphs have them
        return {len(self.nodes) - place: [node] for place, node in enumerate(self.nodes)}


def _node(tensor: Any) -> Any:
    operation, index, _ = tensor._keras_history
    return None if operation is None else operation._inbound_nodes[index]


@contextlib.contextmanager
def _noted() -> Iterator[set[int]]:
    """The ids of the calls that are made inside the block; the calls themselves live on with their operations."""
    made: set[int] = set()
    own = Node.__init__

    def noted(self: Any, *args: Any, **kwargs: Any) -> None:
        own(self, *args, **kwargs)
        made.add(id(self))

    Node.__init__ = noted
    try:
        yield made
    finally:
        Node.__init__ = own


class Known(Exception):
    """Control flow over constants alone: Keras itself says what comes of it."""


class Flow(keras.Operation):
    """An operation that runs bodies. What these read from around stands behind the other operands, the same for all."""

    native = ""  # how importers name it

    def __init__(self, called: str, place: str, *bodies: Body):
        super().__init__()
        self.called, self.place = called, place  # what the user called, and where the function stands that is run
        captured = {id(tensor): tensor for body in bodies for tensor in body.captured}
        for body in bodies:
            body.reads = {id(tensor) for tensor in body.captured}
            body.captured = list(captured.values())
        self.bodies = bodies

    def symbolic(self, operands: Sequence[Any], shapes: Sequence[Any]) -> list[Any]:
        """The results, of these shapes and dtypes. Raises Known where none of it is symbolic."""
        if not any(isinstance(v, keras.KerasTensor) for v in (*operands, *self.bodies[0].captured)):
            raise Known
        outputs = [keras.KerasTensor(shape, dtype) for shape, dtype in shapes]
        Node(self, call_args=(*operands, *self.bodies[0].captured), call_kwargs={}, outputs=outputs)
        return outputs

    def run(self, body: Body, own: Sequence[Any], captured: Sequence[Any]) -> list[Any]:
        """What a body makes of tensors of the backend."""
        computed = iter(walk(body, [*own, *captured], _applied))
        return [
            next(computed) if isinstance(r, keras.KerasTensor) else keras.ops.convert_to_tensor(r) for r in body.results
        ]


def _applied(operation: Any, args: Any, kwargs: Any, key: Any, node: Any) -> list[Any]:
    if isinstance(operation, keras.Layer) and operation._call_has_training_arg:
        kwargs = {**kwargs, "training": False}
    args, kwargs = beside_float64((args, kwargs))
    found: list[Any] = keras.tree.flatten(operation(*args, **kwargs))
    return found


def _stacked(rows: Sequence[Sequence[Any]], results: Sequence[Any]) -> list[Any]:
    """Rows along a new first axis, in arrays without any where there are none."""
    if rows:
        return [keras.ops.stack(each) for each in zip(*rows, strict=True)]
    return [keras.ops.zeros((0, *(d or 0 for d in shape)), dtype) for shape, dtype in map(kind, results)]


class Branch(Flow):
    """Operands: the condition. Bodies: for true, for false."""

    native = "traced ops.Cond"

    def call(self, condition: Any, *captured: Any) -> list[Any]:
        return self.run(self.bodies[0 if bool(condition) else 1], [], captured)


class Repeat(Flow):
    """Operands: rounds, whether to begin, `carried` values. The body: step, carried values to whether to go on, those, rows."""

    native = "traced ops.WhileLoop"

    def __init__(self, called: str, place: str, body: Body, carried: int):
        super().__init__(called, place, body)
        self.carried = carried

    def call(self, rounds: Any, going: Any, *values: Any) -> list[Any]:
        carried, captured = list(map(keras.ops.convert_to_tensor, values[: self.carried])), values[self.carried :]
        step, rows = 0, []
        while step < int(rounds) and bool(going):
            going, *found = self.run(self.bodies[0], [keras.ops.convert_to_tensor(step, "int32"), *carried], captured)
            carried = found[: self.carried]
            rows.append(found[self.carried :])
            step += 1
        return [*carried, *_stacked(rows, self.bodies[0].results[1 + self.carried :])]


class Walk(Flow):
    """Operands: `carried` states, lists. The body: states, a place of each list to states and rows; along the first axis."""

    native = "traced ops.Scan"

    def __init__(self, called: str, place: str, body: Body, carried: int, backwards: bool):
        super().__init__(called, place, body)
        self.carried, self.backwards = carried, backwards

    def call(self, *values: Any) -> list[Any]:
        (body,) = self.bodies
        lists = values[self.carried : len(body.own)]
        states, captured = list(map(keras.ops.convert_to_tensor, values[: self.carried])), values[len(body.own) :]
        order = range(len(lists[0]))[:: -1 if self.backwards else 1]
        rows = []
        for place in order:
            found = self.run(body, [*states, *(x[place] for x in lists)], captured)
            states = found[: self.carried]
            rows.append(found[self.carried :])
        return [*states, *_stacked(rows[:: -1 if self.backwards else 1], body.results[self.carried :])]


def as_tensor(value: Any) -> Any:
    """A symbolic tensor or a variable as it is; anything else as an array."""
    return value if isinstance(value, keras.KerasTensor | keras.Variable) else constant(value)


def constant(value: Any) -> np.ndarray:
    """A number, array, tensor or variable as an array in the dtype that Keras gives it."""
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(value)))


def kind(value: Any) -> tuple[tuple[int | None, ...], str]:
    """Shape and dtype."""
    dtype = value.dtype if isinstance(value.dtype, str) else value.dtype.name
    return tuple(value.shape), dtype


def place(function: Any) -> str:
    """File and line of a function of the user's."""
    code = getattr(inspect.unwrap(getattr(function, "__func__", function)), "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code else type(function).__name__
