"""A signature as TensorFlow runs it, in a session, and as the function of TensorFlow 2 that tf2onnx takes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ...errors import RuntimeFailure, require
from ...files.saved_model import SavedModel

ARGUMENT, RESULT = (
    "argument_of_signature_{}",
    "result_of_signature_{}",
)  # by place: a signature's names may be none of Python's


class Session:
    """A signature, open: its graph with the variables in it, in a session of its own.

    A session and no function of TensorFlow 2: the names of the functions that a graph calls are its own there, whatever
    other graphs of this process call theirs.
    """

    def __init__(self, model: SavedModel) -> None:
        self.model, self.tf = model, require("tensorflow")
        v1 = self.tf.compat.v1
        with self._telling("does not take"), self.tf.Graph().as_default() as graph:
            self.ports = [v1.placeholder(_dtype(self.tf, p.dtype), p.shape) for p in model.inputs.values()]
            given = {port.name: own for port, own in zip(model.inputs.values(), self.ports, strict=True)}
            begun, numbers = [], {}
            for node, array in model.variables.items():
                number = v1.placeholder(array.dtype, array.shape)
                variable = v1.Variable(number, use_resource=True, trainable=False)
                given[f"{node}:0"] = variable.value() if node in model.references else variable.handle
                begun.append(variable.initializer)
                numbers[number] = array
            wanted = [port.name for port in model.outputs.values()]
            self.results = self.tf.graph_util.import_graph_def(model.graph, given, wanted, name="")
            cpu_alone = v1.ConfigProto(device_count={"GPU": 0})
            self.session = v1.Session(graph=graph, config=cpu_alone)
            self.session.run(begun, numbers)

    def run(self, arrays: Sequence[Any]) -> list[np.ndarray]:
        """Outputs in the order of their names."""
        with self._telling("fails on"):
            found = self.session.run(self.results, dict(zip(self.ports, arrays, strict=True)))
        return [np.asarray(array) for array in found]

    def __del__(self) -> None:
        if hasattr(self, "session"):
            self.session.close()

    def _telling(self, what: str) -> Any:
        return telling(
            f"TensorFlow {self.tf.__version__} {what} signature {self.model.signature!r} of {self.model.name}"
        )


def function_of(model: SavedModel) -> Any:
    """A `tf.function` of the signature's inputs, named by `ARGUMENT`, that gives its outputs by `RESULT`."""
    tf = require("tensorflow")
    held = {n: tf.Variable(a, trainable=False) for n, a in model.variables.items() if n not in model.references}
    ports = enumerate(model.inputs.values())
    specs = [tf.TensorSpec(port.shape, _dtype(tf, port.dtype), ARGUMENT.format(index)) for index, port in ports]

    def computed(*arguments: Any) -> dict[str, Any]:
        given = {port.name: a for port, a in zip(model.inputs.values(), arguments, strict=True)}
        graph = tf.compat.v1.get_default_graph()
        for node, variable in held.items():
            graph.watch_variable(variable)  # what freezes a function looks for its variables there
            given[f"{node}:0"] = graph.capture(variable.handle)
        given |= {f"{node}:0": tf.constant(model.variables[node]) for node in model.references}
        wanted = [port.name for port in model.outputs.values()]
        results = tf.graph_util.import_graph_def(model.graph, given, wanted, name="")
        return {RESULT.format(index): tf.identity(result) for index, result in enumerate(results)}

    made = tf.function(computed, input_signature=specs, autograph=False)
    made.held = held  # which the traced function does not keep alive
    return made


@contextlib.contextmanager
def telling(what: str) -> Iterator[None]:
    """Whatever a library raises, as one clear error."""
    try:
        yield
    except Exception as error:
        why = (str(error).strip() or type(error).__name__).partition("\n")[0][:300]
        raise RuntimeFailure(what, why=why, hint="Convert the network from the code that built it") from error


def _dtype(tf: Any, dtype: Any) -> Any:
    return tf.string if dtype.kind == "O" else tf.dtypes.as_dtype(dtype)
