"""A model in the form of every framework that has a runtime, as files that any of them opens; and what it is fed.

Runtimes are never given a stranger's file: what they open was read by `files` and written anew here, or is the user's
own code with the weights that it had.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import frameworks
from ..converting import transfer_graph
from ..draws import batch_symbols, example_arrays
from ..errors import LeakyInteropError
from ..graph import Graph
from ..interpreter import bind
from ..judging import network_limits
from ..loading import FACTORY, load
from ..numeric import compare, exact_limit
from ..report.record import Error
from .worker import write_arrays

SUFFIXES = {"keras": ".keras", "torch": ".pt2", "onnx": ".onnx"}


@dataclasses.dataclass(eq=False)
class Subjected:
    """One model, ready to be measured in every runtime of `forms`."""

    name: str
    framework: str  # its own
    graph: Graph
    folder: Path
    forms: dict[str, dict[str, str]]  # by framework
    order: dict[str, list[int] | None]  # where each output of the model stands among those of its form
    refused: dict[str, str]  # frameworks that cannot have it, and why
    batches: list[int]

    def arrays(self, batch: int) -> list[np.ndarray]:
        return example_arrays(self.graph, batch=batch)

    @functools.cache  # noqa: B019  (as long as its folder)
    def judges(self, batch: int) -> Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], Error | str]:
        """Compares two computations of the outputs on the arrays of a batch size: the worst error, held to the network's limits."""
        arrays = self.arrays(batch)
        bounds = network_limits(self.graph, arrays, bind((v.shape for v in self.graph.inputs), arrays))

        def judge(expected: Sequence[np.ndarray], received: Sequence[np.ndarray]) -> Error | str:
            if len(expected) != len(received):
                return f"{len(received)} outputs, but should be {len(expected)}"
            worst: Error | None = None
            for name, value, a, b in zip(self.graph.output_names, self.graph.outputs, expected, received, strict=True):
                limit = bounds[id(value)].limit(a) if id(value) in bounds else exact_limit(a)
                found = compare(a, b, limit)
                if isinstance(found, str):
                    return f"output {name}: {found}"
                worst = found if worst is None or found.ratio > worst.ratio else worst
            return worst or "there is no output"

        return judge


def prepare(
    opened: tuple[Any, Any],
    name: str,
    wanted: Iterable[str],
    batches: Iterable[int],
    folder: Path,
    input_shapes: Any,
    trust: bool,
) -> Subjected:
    """Write a model into `folder` in the forms of the `wanted` frameworks, with its arrays. opened: what was given, and the model."""
    source, native = opened
    graph = load(native, input_shapes=input_shapes)
    open_batch = bool(batch_symbols(graph))
    sizes = list(batches) if open_batch else [int(graph.inputs[0].shape[0]) if graph.inputs[0].shape else 1]  # type: ignore[arg-type]
    own = frameworks.of(native) or ""
    made = Subjected(name, own, graph, folder, {}, {}, {}, sizes)
    for framework in dict.fromkeys(wanted):
        path = folder / f"net{SUFFIXES[framework]}"
        try:
            if framework == own:
                made.forms[own], made.order[own] = _own_form(own, source, native, path), None
                if trust and own == "keras":
                    made.forms[own]["trusted"] = "yes"
                if made.forms[own]:
                    continue
            conversion = transfer_graph(graph, framework, path=path)
            made.forms[framework], made.order[framework] = {"path": str(path)}, conversion.order
        except LeakyInteropError as error:
            made.forms.pop(framework, None)
            made.refused[framework] = str(error)
    for batch in sizes:
        write_arrays(folder / f"{batch}.npz", made.arrays(batch))
    return made


def _own_form(framework: str, source: Any, native: Any, path: Path) -> dict[str, str]:
    """The model as it is; nothing where it is living PyTorch code, which no file holds."""
    if isinstance(source, str | os.PathLike) and FACTORY.fullmatch(str(source)) and not Path(source).exists():
        return {"factory": str(source), "weights": _weights(framework, native, path)}
    if framework == "keras":
        native.save(path)
    elif framework == "onnx":
        from ..ort import write_for_runtime

        write_for_runtime(native, path)
    elif type(native).__name__ == "ExportedProgram":
        import torch

        torch.export.save(native, path)
    else:
        return {}
    return {"path": str(path)}


def _weights(framework: str, native: Any, path: Path) -> str:
    """The weights that the user's code gave its model here, in a file: it may draw others in the next process."""
    if framework == "keras":
        written = path.with_suffix(".weights.h5")
        native.save_weights(written)
    else:
        import torch

        written = path.with_suffix(".pth")
        torch.save(native.state_dict(), written)
    return str(written)
