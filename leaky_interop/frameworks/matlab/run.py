"""Stands in for MATLAB, which is not run here: computes what the layers of a network are documented to compute."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ...graph import Graph, Value
from ...interpreter import interpret
from ...op import Op
from .layers import Network

NOT_RUN = "MATLAB is not run here: what its layers compute by their documentation is computed with numpy instead"
RUNTIME = "numpy in place of MATLAB, which is not run here"


def owns(model: Any) -> bool:
    """Whether a model is a layer array or layer graph."""
    return isinstance(model, Network)


class Program:
    """Computes a network layer by layer. Keys are the titles of layers; an input's is (title, "in")."""

    def __init__(self, network: Network, graph: Graph | None = None):
        self.network = network
        self._graph = graph  # as it was read, in MATLAB's layout

    @property
    def graph(self) -> Graph:
        if self._graph is None:
            from .read import load

            self._graph = load(self.network).program.graph
        return self._graph

    def whole(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Flat outputs."""
        return self.run(arrays)

    def settings(self, arrays: Sequence[np.ndarray]) -> list[tuple[str, list[np.ndarray]]]:
        """Outputs in every setting that users run the network in."""
        return [(RUNTIME, self.whole(arrays))]

    def run(
        self,
        arrays: Sequence[np.ndarray],
        watch: Callable[[Any, np.ndarray], None] | None = None,
        *,
        keys: Collection[Any] | None = None,
        given: Mapping[Any, np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """Flat outputs. `watch(key, array)` sees each value in `keys` (all, if None); consumers read the `given` values."""

        def see(value: Value, array: np.ndarray) -> np.ndarray | None:
            key = None if value.anchor is None else value.anchor.key
            if key is None:
                return None
            if watch is not None and (keys is None or key in keys):
                watch(key, array)
            return (given or {}).get(key)

        for value, array in zip(self.graph.inputs, arrays, strict=True):
            see(value, array)
        return interpret(self.graph, arrays, watch=see, compute=_rounded_once)


def _rounded_once(op: Op, operands: list[Any]) -> Any:
    """An operator's results in single precision; where they are rounded, they are computed in double before."""
    if op.tolerance == "exact":
        return op.reference(*operands)
    results = op.reference(*(a.astype(np.float64) if a is not None and a.dtype == np.float32 else a for a in operands))
    return tuple(map(_single, results)) if isinstance(results, tuple) else _single(results)


def _single(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return array.astype(np.float32) if array.dtype == np.float64 else array


def run(model: Network, arrays: Sequence[np.ndarray] | Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Flat outputs; arrays in order, or by the names of the input layers."""
    program = Program(model)
    if isinstance(arrays, Mapping):
        arrays = [arrays[value.name] for value in program.graph.inputs]
    return program.run([np.asarray(a) for a in arrays])


def describe(model: Network) -> str:
    """A network in a line."""
    held = [a.size for layer in model.layers for role, a in layer.learnables.items()]
    count = sum(held) + sum(a.size for a in model.initialised.values())
    return f"matlab {model.name!r} ({count:,} parameters)"


def knows_inputs(model: Any) -> bool:
    """Whether the model itself tells what inputs it takes: always."""
    return True


def hazards(model: Network) -> list[str]:
    """What the user should know of a network: above all, that its numbers are not its own."""
    found = []
    if model.initialised:
        layers = list(dict.fromkeys(title for title, _ in model.initialised))
        shown = ", ".join(layers[:6]) + (f" and {len(layers) - 6} more" if len(layers) > 6 else "")
        found.append(
            f"the network has no numbers for {shown}: they begin as in MATLAB's training (Glorot's random weights, drawn by "
            f"the layer's name; biases 0; batch norms the identity). Save trained ones as {model.name}.mat beside the source"
        )
    for layer in model.layers:
        norm = layer.settings.get("Normalization", "none")
        lacking = [role for role in STATISTICS.get(norm, ()) if layer.settings[role] is None]
        if lacking:
            found.append(
                f"{layer.title}: '{norm}' does nothing, for want of the training data's {' and '.join(lacking)}"
            )
    return found


STATISTICS = {
    "zerocenter": ("Mean",), "zscore": ("Mean", "StandardDeviation"), "rescale-symmetric": ("Min", "Max"),
    "rescale-zero-one": ("Min", "Max"),
}  # fmt: skip
