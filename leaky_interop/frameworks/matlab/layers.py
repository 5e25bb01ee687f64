"""Layer arrays as objects: what MATLAB's layer functions make, without MATLAB; and the names that it gives layers."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from ...errors import Usage
from .functions import FUNCTIONS, Function


@dataclasses.dataclass(eq=False)
class Layer:
    """One layer: its function, every argument with its default filled in, and the numbers it has learned."""

    function: str
    line: int
    settings: dict[str, Any]
    given: frozenset[str]  # the arguments that the source states
    name: str = ""  # as stated; "" until MATLAB names it
    title: str = ""  # unique in its network

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["settings"][name]
        except KeyError:
            raise AttributeError(f"{self.function} has no {name}") from None

    @property
    def kind(self) -> Function:
        return FUNCTIONS[self.function]

    @property
    def learnables(self) -> dict[str, np.ndarray]:
        """The numbers that are known, in MATLAB's layout."""
        return {role: self.settings[role] for role in self.kind.learnables if self.settings[role] is not None}


@dataclasses.dataclass(eq=False)
class Slot:
    """Where a learnable is kept."""

    layer: Layer
    role: str


@dataclasses.dataclass(eq=False)
class Network:
    """A layer array or layer graph. `feeds` are, by title, the layers that a layer reads, in the order of its inputs."""

    name: str
    layers: list[Layer]
    feeds: dict[str, list[str]]
    row: bool = False  # the array is a row: one line of a source
    weights_from: str = ""  # the file that has the numbers, where there is one
    initialised: dict[tuple[str, str], np.ndarray] = dataclasses.field(default_factory=dict)  # by title and learnable
    slots: dict[tuple[str, str], Slot] = dataclasses.field(default_factory=dict)

    def slot(self, layer: Layer, role: str) -> Slot:
        """The place of a learnable, always the same object."""
        return self.slots.setdefault((layer.title, role), Slot(layer, role))


Connection = tuple["Layer | str", "Layer | str", int]  # from, to, which input of `to`; layers, or their names


@dataclasses.dataclass(eq=False)
class Array:
    """Layers in a row or column; with `joined`, a layer graph with its connections."""

    layers: list[Layer]
    row: bool = False
    joined: list[Connection] | None = None


def assembled(array: Array, name: str) -> Network:
    """A network of layers, named and joined as MATLAB's trainNetwork does."""
    stated = [layer.name for layer in array.layers if layer.name]
    if twice := next((n for n in stated if stated.count(n) > 1), None):
        raise Usage(f"two layers of {name} are called {twice!r}", why="MATLAB wants every name once")
    taken = set(stated)
    stems = [layer.kind.stem for layer in array.layers]
    for layer, stem in zip(array.layers, stems, strict=True):
        layer.title = layer.name
        names = itertools.chain([stem] if stems.count(stem) == 1 else [], (f"{stem}_{i}" for i in itertools.count(1)))
        if not layer.name:
            layer.title = next(n for n in names if n not in taken)
            taken.add(layer.title)
    if array.joined is None:
        feeds = {b.title: [a.title] for a, b in itertools.pairwise(array.layers)}
    else:
        feeds = _joined(array)
    return Network(name, array.layers, feeds, array.row)


def _joined(array: Array) -> dict[str, list[str]]:
    """What each layer of a graph reads, in the order of its inputs."""
    titles = {layer.title for layer in array.layers}
    found: dict[str, dict[int, str]] = {}
    for *ends, place in array.joined or ():
        start, target = (end if isinstance(end, str) else end.title for end in ends)  # type: ignore[attr-defined]
        if unknown := {start, target} - titles:
            raise Usage(f"a connection names the layer {min(unknown)!r}", why="there is none of that name")
        if place in found.setdefault(target, {}):
            raise Usage(f"input {place} of the layer {target!r} is connected twice")
        found[target][place] = start
    for target, places in found.items():
        if sorted(places) != list(range(1, len(places) + 1)):
            raise Usage(f"not every input of the layer {target!r} is connected")
    return {target: [places[i] for i in sorted(places)] for target, places in found.items()}
