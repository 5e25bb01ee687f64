"""Writes MATLAB: a graph becomes a layer array, or a layer graph where it branches, as source text and a `.mat` file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import LeakyInteropError, Refused
from ...graph import Graph, Value
from ...layout import ChannelsLast, to_first
from ...op import EXPORTERS
from ...sizes import Size
from ..base import DTYPES, NARROW, Builder
from .functions import FUNCTIONS, anything
from .layers import Layer, Network
from .run import Program
from .source import field_of, source_of

FRAMEWORK = "matlab"
FIXED_LAYOUT = True  # images are channels last whatever the source has: nothing can turn them
ALWAYS = frozenset({"Scale", "Alpha", "Epsilon"})  # settings that are written even where they are MATLAB's default
NOTHING = {  # normalisations with the numbers under which they do nothing
    "zerocenter": {"Mean": np.zeros((1, 1), np.float32)},
    "zscore": {"Mean": np.zeros((1, 1), np.float32), "StandardDeviation": np.ones((1, 1), np.float32)},
    "rescale-zero-one": {"Min": np.zeros((1, 1), np.float32), "Max": np.ones((1, 1), np.float32)},
}
LONGEST = 48  # of a layer's name; a field of a structure has at most 63 letters


def assign(model: Network, numbers: Iterable[tuple[Any, np.ndarray]]) -> None:
    """Write new numbers into a network's own learnables."""
    for slot, array in numbers:
        slot.layer.settings[slot.role] = np.array(array)
        model.initialised.pop((slot.layer.title, slot.role), None)


def build(graph: Graph, *, opset: int | None = None) -> tuple[Network, dict[int, Any]]:
    """A network, and the title of the layer that computes each canonical value (by id)."""
    builder = MatlabBuilder(graph)
    builder.export()
    return builder.finish()


def save(model: Network, path: Path, graph: Graph) -> None:
    """Write a source and, beside it, the `.mat` file with its numbers."""
    from ...files.mat import write_mat

    numbers = {field_of(layer.title): layer.learnables for layer in model.layers if layer.learnables}
    mat = path.with_suffix(".mat")
    if numbers:
        write_mat(mat, numbers)
    path.write_text(source_of(model, mat.name), encoding="utf-8")


@dataclasses.dataclass(eq=False)
class Symbol:
    """A value of the network being written: what a layer computes, and what is still to be done to it."""

    layer: Layer
    steps: tuple[tuple[str, Any], ...] = ()  # of an input: the arithmetic that normalises it
    flat: str | None = None  # it is to be flattened, by a layer of this name; "" where the next one does


class MatlabBuilder(Builder):
    """`matlab` as exporters see it: `layer` writes a layer, `flattened` and `normalised` what others take up."""

    framework = FRAMEWORK
    lacking = (DTYPES | NARROW) - {"float32"}

    def __init__(self, graph: Graph):
        super().__init__(graph)
        self.layers: list[Layer] = []
        self.feeds: dict[str, list[str]] = {}
        self.taken: set[str] = set()
        source = graph.program.network if isinstance(graph.program, Program) else None
        self.source = source
        self.by_title = {} if source is None else {layer.title: layer for layer in source.layers}
        for value in graph.inputs:
            self.made[id(value)] = self.input(value)

    # what exporters call

    def layer(self, function: str, *inputs: Any, flattens: bool = False, **settings: Any) -> Symbol:
        """Write a layer. Arguments that are MATLAB's defaults are left out, but for slopes and the like.

        flattens: it flattens images itself.
        """
        kind = FUNCTIONS[function]
        name = self.title(self.node.name or kind.stem)
        feeds = [self.finished_input(i, name if flattens else "") for i in inputs]
        own = self.own(function)
        if own is not None:  # what only training reads comes along
            trained = {role for role, check in kind.checks.items() if check is anything} & own.given
            settings |= {role: own.settings[role] for role in trained}
        kept = {}
        for role, value in settings.items():
            numbers = value.array() if isinstance(value, Value) else value
            checked = kind.checks[role](_as_matlab(numbers))
            if role in kind.learnables:
                checked = np.asarray(numbers, np.float32)
            elif role in kind.defaults and role not in ALWAYS and checked == kind.defaults[role]:
                continue
            kept[role] = checked
        made = Layer(function, 0, kind.defaults | kept, frozenset(kept), name, name)
        self.layers.append(made)
        if feeds:
            self.feeds[name] = feeds
        return Symbol(made)

    def flattened(self, x: Symbol, *, implied: bool = False) -> Symbol:
        """An image to be flattened: by its own layer, or by the fully connected one behind it."""
        return dataclasses.replace(x, flat="" if implied else self.node.name)

    def normalised(self, kind: str, x: Any, by: Any) -> Symbol:
        """Arithmetic with fixed numbers, which MATLAB has in its input layer alone."""
        steps = (("Sub",), ("Sub", "Div"), ("Sub", "Div", "Mul"), ("Sub", "Div", "Mul", "Sub"))
        known = (
            isinstance(x, Symbol)
            and not isinstance(by, Symbol)
            and x.flat is None
            and "InputSize" in x.layer.kind.required
        )
        if not known or (*(name for name, _ in x.steps), kind) not in steps:
            raise self.refuse(
                f"{kind} with fixed numbers", why="MATLAB's layers compute with such only to normalise the input",
                instead="Fold it into the weights before or behind it",
            )  # fmt: skip
        return dataclasses.replace(x, steps=(*x.steps, (kind, np.asarray(by, np.float32))))

    def stated(self, role: str) -> Any:
        """What the source says of the layer at hand, where it is a MATLAB source; None where it says nothing."""
        own = self.own()
        return own.settings.get(role) if own is not None else None

    def own(self, function: str = "") -> Layer | None:
        found = self.by_title.get(self.node.name)
        return found if found is not None and function in ("", found.function) else None

    def axes(self, op: Any) -> tuple[int, ...]:
        """An operator's axes as MATLAB's data has them: of images the channels stand last."""
        if not isinstance(self.node.op, ChannelsLast) or self.inputs[0] is None:
            return op.axes
        return tuple(sorted(to_first(self.inputs[0].rank)[a] for a in op.axes))

    def must_be_image(self, op: Any, *weights: Any) -> None:
        """Refuse what is no image, and weights that are computed."""
        if self.inputs[0] is None or self.inputs[0].rank != 4:
            raise self.refuse(
                f"{op}", why="only images, of two axes and channels, are written", instead="Add an axis of size 1"
            )
        if not self.holds(*weights):
            raise self.refuse(
                f"{op} with computed weights", why="the layer has weights of its own", instead="Fold them"
            )

    def computed(self, operand: Any) -> bool:
        """Whether an operand is what a layer computes, and no fixed number."""
        return isinstance(operand, Symbol)

    # how they are carried out

    def export(self) -> None:
        """Run every exporter; what has no layer or is refused is reported all at once."""
        problems: list[Refused] = []
        for node in self.graph.nodes:
            try:
                self.node = node
                inner = node.op.op if isinstance(node.op, ChannelsLast) else node.op
                if (FRAMEWORK, type(inner)) not in EXPORTERS:
                    raise self.refuse(type(inner).__name__, why="no layer of MATLAB is known here that computes it",
                                      instead="Put layers that MATLAB has in its place")  # fmt: skip
                self.export_node(node)
            except Refused as error:
                problems.append(error)
                stand_in = Symbol(Layer("reluLayer", 0, {}, frozenset(), "", "refused"))  # so that others are found too
                self.made |= {id(value): stand_in for value in node.outputs}
        if len(problems) > 1:
            raise Refused(
                f"{len(problems)} things cannot be written as MATLAB layers", why="\n  ".join(["", *map(str, problems)])
            )
        if problems:
            raise problems[0]

    def check_dtypes(self, op: Any) -> None:
        try:
            super().check_dtypes(op)
        except LeakyInteropError:
            raise self.refuse(f"{type(op).__name__} in {self.outputs[0].dtype}", why="MATLAB's networks compute in single precision",
                              instead="Convert the network in float32") from None  # fmt: skip

    def held(self, value: Value) -> Any:
        return value.array()

    def size_tensor(self, value: Value) -> Any:
        raise self.refuse("a size that is known only at run time", why="no layer computes with sizes", instead="Fix it")

    def title(self, name: str) -> str:
        """A name for a layer: letters that MATLAB and its structures take, and unique there."""
        plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:LONGEST] or "layer"
        given, count = plain, 1
        while field_of(given).lower() in self.taken:
            given, count = f"{plain}_{count}", count + 1
        self.taken.add(field_of(given).lower())
        return given

    def input(self, value: Value) -> Symbol:
        """The input layer of a graph input. What normalises it is added when the first layer reads it."""
        sizes = value.shape[1:]
        if value.rank not in (2, 4) or any(isinstance(d, Size) for d in sizes) or value.dtype != np.float32:
            shape = ", ".join(map(str, value.shape))
            raise Refused(
                f"the input {value.name!r}, {value.dtype}[{shape}]", self.graph.description,
                "MATLAB's input layers here take images or features of a fixed size, in single precision",
                "Fix the size with input_shapes",
            )  # fmt: skip
        name = self.title(value.name)
        function = "imageInputLayer" if value.rank == 4 else "featureInputLayer"
        size = {"InputSize": tuple(sizes) if value.rank == 4 else sizes[0]}
        made = Layer(function, 0, FUNCTIONS[function].defaults | size, frozenset(size), name, name)
        self.layers.append(made)
        return Symbol(made)

    def finished_input(self, x: Any, flattener: str = "") -> str:
        """The title of the layer that a symbol stands for, after what was left to do to it."""
        assert isinstance(x, Symbol), x
        layer = x.layer
        if "InputSize" in layer.kind.required:
            self.normalise(layer, x.steps)
        if x.flat is not None and not (flattener and x.flat in ("", f"{flattener}_reshape")):
            name = self.title(x.flat or f"{layer.title}_flatten")
            self.layers.append(Layer("flattenLayer", 0, {}, frozenset(), name, name))
            self.feeds[name] = [layer.title]
            return name
        return layer.title

    def normalise(self, layer: Layer, steps: tuple[tuple[str, Any], ...]) -> None:
        """Give an input layer the arithmetic that stands behind it."""
        numbers = [array for _, array in steps]
        own = self.by_title.get(layer.title)
        own = own if own is not None and own.function == layer.function else None
        kinds = {0: ("none", ()), 1: ("zerocenter", ("Mean",)), 2: ("zscore", ("Mean", "StandardDeviation"))}
        if own is not None and own.Normalization.startswith("rescale") and _rescales(own, numbers):
            name, roles, numbers = own.Normalization, ("Min", "Max"), [own.Min, own.Max]
        elif len(steps) == 4 and np.all(numbers[2] == 2) and np.all(numbers[3] == 1):
            high = numbers[0] + numbers[1]
            if not np.array_equal(high - numbers[0], np.broadcast_to(numbers[1], high.shape)):
                raise self.refuse("a scaling of the input", why="its range cannot be said by a largest and a smallest number",
                                  instead="Scale the data outside the network")  # fmt: skip
            name, roles, numbers = "rescale-symmetric", ("Min", "Max"), [numbers[0], high]
        elif len(steps) in kinds:
            name, roles = kinds[len(steps)]
        else:
            raise self.refuse(
                "this scaling of the input", why="MATLAB's input layer has no such", instead="Scale the data before"
            )
        found = {role: _statistic(layer, array) for role, array in zip(roles, numbers, strict=True)}
        if own is not None and not steps and own.Normalization in NOTHING:
            name, found = own.Normalization, NOTHING[own.Normalization]  # the source's statistics are not known
        settings = {"Normalization": name, **found}
        if layer.given - {"InputSize"} and any(not np.array_equal(layer.settings[k], v) for k, v in settings.items()):
            raise self.refuse("an input that is read as it is and normalised", why="the input layer gives one or the other",
                              instead="Normalise the data outside the network")  # fmt: skip
        layer.settings |= settings
        layer.given |= set(settings)

    def finish(self) -> tuple[Network, dict[int, Any]]:
        titles = []
        for value in self.graph.outputs:
            found = self.tensor(value)
            if not isinstance(found, Symbol):
                raise Refused(
                    "an output that no layer computes", self.graph.description, "a MATLAB network has none such"
                )
            self.node = value.node or self.node
            titles.append(self.finished_input(found))
        read = {title for feeds in self.feeds.values() for title in feeds}
        ends = [layer.title for layer in self.layers if layer.title not in read]
        if ends != titles:
            raise Refused(
                f"the outputs {', '.join(titles)}", self.graph.description,
                f"MATLAB's network gives what no layer reads, in the order of its layers: {', '.join(ends)}", "Cut the network",
            )  # fmt: skip
        network = Network(getattr(self.source, "name", "net"), self.layers, self.feeds)
        self.add_output_layers(network, titles)
        handles = {
            key: (s.layer.title, "in") if key in {id(v) for v in self.graph.inputs} else s.layer.title
            for key, s in self.made.items()
            if isinstance(s, Symbol) and s.flat is None and not s.steps
        }
        return network, handles

    def add_output_layers(self, network: Network, titles: list[str]) -> None:
        """Output layers compute nothing; those of a MATLAB source come along."""
        for layer in self.source.layers if self.source is not None else ():
            before = self.source.feeds.get(layer.title, [""])[0]
            if not layer.kind.computes and before in titles:
                name = self.title(layer.title)
                network.layers.append(Layer(layer.function, 0, dict(layer.settings), layer.given, name, name))
                network.feeds[name] = [before]


def _as_matlab(value: Any) -> Any:
    """A setting as a source would state it."""
    if isinstance(value, tuple | list):
        return np.asarray([value], float)
    return float(value) if isinstance(value, int | np.floating | np.integer) and not isinstance(value, bool) else value


def _rescales(own: Layer, numbers: list[np.ndarray]) -> bool:
    """Whether the arithmetic behind an input is what the source's smallest and largest numbers say."""
    if own.Min is None or own.Max is None or len(numbers) != (4 if own.Normalization == "rescale-symmetric" else 2):
        return False
    low, high = (np.asarray(n, np.float32) for n in (own.Min, own.Max))
    return all(np.array_equal(a.reshape(-1), b.reshape(-1)) for a, b in zip(numbers, (low, high - low), strict=False))


def _statistic(layer: Layer, array: np.ndarray) -> np.ndarray:
    """Numbers of an input layer: one, one a channel, or one an element."""
    size = layer.InputSize if isinstance(layer.InputSize, tuple) else (layer.InputSize, 1)
    if array.size == 1:
        return np.asarray(array, np.float32).reshape(1, 1)
    if len(size) == 2:
        return np.broadcast_to(array.reshape(-1), size[:1]).reshape(size).astype(np.float32)
    shape = (1,) * (3 - array.ndim) + array.shape[-3:]
    per_channel = shape[:2] == (1, 1)
    return np.broadcast_to(array.reshape(shape), (1, 1, size[2]) if per_channel else size).astype(np.float32)
