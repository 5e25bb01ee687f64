"""Reads recordings of Chainer networks: function by function, every setting accounted for."""

from __future__ import annotations

from typing import Any

from ...errors import Refused, Usage
from ...files.chainer import Function, Recording
from ...graph import Anchor, Graph, Parameter, Value
from ...op import importer_of
from ...passes import after_import
from ...sizes import Dim, symbol
from ..base import Call, Importing, check_dtype, output_names
from .run import Program, describe

FRAMEWORK = "chainer"
HARMLESS = frozenset(  # what only training reads, what is computed from the rest, and what cuDNN is told
    "cudnn_fast expander return_indices inv_std inv_var y x_hat kh_scale indexes".split()
)


def load(
    model: Recording,
    *,
    example: Any = None,
    input_shapes: Any = None,
    static_batch: bool = False,
    dynamic_batch: bool = False,
) -> Graph:
    """The graph of a recording. Its sizes are those of the example, the batch open if it was recorded at two.

    Raises Usage for other shapes, Refused for an open batch that was not recorded.
    """
    if input_shapes:
        raise Usage(
            "input shapes are given",
            why="a recording keeps its own",
            hint="Record the network on an example of these shapes",
        )
    if dynamic_batch and not any(_follows_batch(model.values[i].shape) for i in model.inputs):
        raise Refused(
            "an open batch", describe(model), model.note, "Record it on an example whose first axes are the batch"
        )
    return _Reader(model, static_batch).read()


class FunctionCall(Call):
    """A function as importers read it: its settings, whole sizes, and which of them nothing has read yet."""

    def __init__(self, reader: _Reader, function: Function):
        super().__init__(function, reader.graph, left_out=function.defaults)
        self.settings = {name: reader.setting(s) for name, s in function.attributes.items()}
        self.unread = set(self.settings) - HARMLESS

    def __getattr__(self, name: str) -> Any:
        self.unread.discard(name)
        try:
            return self.settings[name]
        except KeyError:
            raise AttributeError(f"{self.native.function} has no setting {name!r}") from None


class _Reader:
    def __init__(self, model: Recording, static_batch: bool):
        self.model = model
        self.importing = Importing(FRAMEWORK, describe(model))
        self.graph = self.importing.graph
        first = next((a.shape[0] for i in model.inputs if (a := model.runs[0][i]).ndim), 1)
        self.batch: Dim = first if static_batch else symbol("batch")
        self.values: dict[int, Value | None] = {}
        self.weights: dict[int, Value] = {}

    def read(self) -> Graph:
        model, graph = self.model, self.graph
        for number, index in enumerate(model.inputs):
            port = model.values[index]
            value = graph.input(port.name or f"x{number}", self.shape(port.shape), port.dtype)
            check_dtype(value, f"chainer input {value.name!r}")
            value.anchor = Anchor(index)
            self.values[index] = value
        for function in model.functions:
            self.call(function)
        graph.outputs = [v for i in model.outputs if (v := self.values.get(i)) is not None]
        graph.structure = model.structure
        graph.output_names = output_names(graph.structure, len(model.outputs))
        graph.program = Program(model)
        graph.notes += [model.note] if model.note else []
        return self.importing.finish(after_import)

    def call(self, function: Function) -> None:
        source = f"chainer {function.function} {function.name!r}"
        operands = [self.weight(i) if kind == "weight" else self.values[i] for kind, i in function.inputs]
        ports = [
            None if i is None else (self.shape(self.model.values[i].shape), self.model.values[i].dtype)
            for i in function.outputs
        ]
        importer = importer_of(FRAMEWORK, function.function)
        if importer is None:
            claims = [((), "float32") if p is None else p for p in ports]
            results = self.importing.unsupported(
                function.function, source, operands, name=function.name, claims=claims, keys=function.outputs
            )  # fmt: skip
        else:
            call = FunctionCall(self, function)
            results = self.importing.call(
                importer, call, operands, name=function.name, source=source, left_out=function.defaults, claims=ports,
                keys=function.outputs,
            )  # fmt: skip
            if call.unread and not self.importing.missing:
                listed = ", ".join(f"{name}={call.settings[name]!r}" for name in sorted(call.unread))
                raise Refused(
                    listed, source, "its meaning is not known here", "Leave it out if the network does not need it"
                )
        for index, value in zip(function.outputs, results, strict=False):
            if index is not None:
                self.values[index] = value

    def weight(self, index: int) -> Value:
        if index not in self.weights:
            weight = self.model.weights[index]
            array = weight.array
            if weight.name:
                name = weight.name.strip("/").replace("/", ".")
                made = Parameter(name, array.shape, array.dtype, lambda: array, weight, weight.trainable)
            else:
                made = Parameter.constant(array)
            self.weights[index] = self.graph.parameter(made)
        return self.weights[index]

    def shape(self, dims: tuple[Any, ...]) -> tuple[Dim, ...]:
        return tuple(self.setting(d) for d in dims)

    def setting(self, recorded: Any) -> Any:
        """A setting as importers read it: lists as tuples, slices as slices, multiples of the batch as sizes."""
        if isinstance(recorded, list):
            return tuple(self.setting(part) for part in recorded)
        if isinstance(recorded, dict):
            if list(recorded) == ["batch"]:
                return self.batch * int(recorded["batch"])
            if list(recorded) == ["slice"]:
                return slice(*map(self.setting, recorded["slice"]))
            if list(recorded) == ["ellipsis"]:
                return Ellipsis
            raise Usage(f"a recording holds the setting {recorded!r}", hint="Record the network again")
        return recorded


def _follows_batch(shape: tuple[Any, ...]) -> bool:
    return any(isinstance(d, dict) for d in shape)
