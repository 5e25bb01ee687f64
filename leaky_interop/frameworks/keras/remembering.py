"""What layers remember from call to call (stateful=True): inputs and outputs of the network that they become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from ...errors import Refused
from ...graph import Anchor, Graph, Value
from ...numeric import dtype as dtype_of


class Memory:
    """The states of stateful layers: each comes in as a last input, and goes out as a last output."""

    def __init__(self) -> None:
        self.variables: list[Any] = []
        self.names: list[str] = []
        self.current: dict[int, Value] = {}  # by the variable's id: what it holds after the calls read so far

    def recalled(self, graph: Graph, root: Graph, layer: Any, name: str) -> list[Value]:
        """The states before a call of a layer. Raises Refused inside a loop, whose rounds would not follow each other."""
        if graph is not root:
            raise Refused(
                "a stateful layer inside a branch, a loop or another layer's steps", why="what it remembers would stay inside",
                hint="Build it with stateful=False and return_state=True, and carry its states along",
            )  # fmt: skip
        if keras.backend.backend() == "torch" and layer.compute_dtype != layer.variable_dtype:
            raise Refused(
                f"a stateful layer under {layer.dtype_policy.name}", why="Keras on torch writes its states to a copy and forgets them",
                hint="Use KERAS_BACKEND=tensorflow, or a policy with one dtype",
            )  # fmt: skip
        for index, variable in enumerate(keras.tree.flatten(layer.states)):
            if id(variable) not in self.current:
                value = root.input(f"{name}.state_{index}", tuple(variable.shape), dtype_of(variable.dtype))
                value.anchor = Anchor(("input", len(root.inputs) - 1))
                self.variables.append(variable)
                self.names.append(value.name)
                self.current[id(variable)] = value
        computed = dtype_of(layer.compute_dtype)  # under a mixed policy it remembers wider numbers than it computes with
        return [self.current[id(variable)].cast(computed) for variable in keras.tree.flatten(layer.states)]

    def keep(self, layer: Any, states: Sequence[Value]) -> None:
        """Note the states after a call."""
        for variable, value in zip(keras.tree.flatten(layer.states), states, strict=True):
            self.current[id(variable)] = value.cast(dtype_of(variable.dtype))

    def leave(self, graph: Graph, outputs: list[Any]) -> None:
        """Add the last states to the outputs, under the names of the inputs that they are for."""
        if not self.variables:
            return
        places = list(range(len(outputs), len(outputs) + len(self.variables)))
        outputs += [self.current[id(v)] for v in self.variables]
        names = [f"{name}.next" for name in self.names]
        graph.output_names += names
        found = graph.structure
        if isinstance(found, dict):
            graph.structure = {**found, **dict(zip(names, places, strict=True))}
        else:
            graph.structure = (*(found if isinstance(found, list | tuple) else (0,)), *places)
        graph.notes.append(
            f"{', '.join(self.names)}: what stateful layers remember between calls are inputs here, and the last outputs: "
            "give zeros first, then what came out"
        )
