"""Reads a layer array: layer by layer, in MATLAB's own layout but for the batch.

MATLAB's images are height x width x channels x batch. The arrays that users give to the network, and get from it, have
the batch first, as everywhere else here: (N, H, W, C) for images, (N, C) for features and for what a fully connected
layer makes. What is left of an image after global pooling keeps its two axes of size 1.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import Refused, Usage
from ...graph import Anchor, Graph, Parameter, Value
from ...layout import settle, to_first, to_last
from ...op import CHANNELS_LAST, importer_of
from ...passes import after_import
from ...sizes import Dim, symbol
from ..base import Call, Importing, output_names, permuted
from .layers import Layer, Network
from .run import NOT_RUN, STATISTICS, Program, describe

FRAMEWORK = "matlab"
FROZEN = frozenset(
    {"TrainedMean", "TrainedVariance", "Mean", "StandardDeviation", "Min", "Max"}
)  # training follows no gradient there
ALPHA = 0.25  # of a PReLU before training


def load(
    model: Network,
    *,
    example: Any = None,
    input_shapes: Any = None,
    static_batch: bool = False,
    dynamic_batch: bool = False,
) -> Graph:
    """The graph of a network; learnables without numbers get those that MATLAB's training would begin with."""
    return _Reader(model, input_shapes, static_batch).read()


class LayerCall(Call):
    """A layer as importers read it: its settings as attributes, its learnables as weights."""

    def __init__(self, reader: _Reader, layer: Layer):
        super().__init__(layer, reader.graph, left_out=set(layer.kind.defaults) - layer.given)
        self.reader = reader

    def weight(self, role: str, *shape: int, fans: tuple[int, int] = (1, 1)) -> Value:
        """A learnable of this size in MATLAB's own layout. fans: numbers that go into and out of a unit, for its start."""
        return self.reader.weight(self.native, role, shape, fans)

    def statistic(self, role: str) -> np.ndarray | None:
        """What an input layer knows of the training data, to broadcast over a batch; None where it is not known."""
        return self.reader.statistic(self.native, role)

    def refuse(self, what: str, why: str, hint: str = "") -> Refused:
        """The error for a setting that is not read."""
        return Refused(what, where_of(self.native, self.reader.network), why, hint)


def where_of(layer: Layer, network: Network) -> str:
    """A layer's place in the source, its name last and quoted."""
    line = f", line {layer.line} of {network.name}.m," if layer.line else ""
    return f"matlab {layer.function}{line} '{layer.title}'"


class _Reader:
    def __init__(self, network: Network, input_shapes: Any, static_batch: bool):
        self.network, self.input_shapes, self.static_batch = network, input_shapes, static_batch
        self.importing = Importing(FRAMEWORK, "")
        self.graph = self.importing.graph
        self.values: dict[str, Value] = {}

    def read(self) -> Graph:
        graph, network = self.graph, self.network
        for layer in _in_order(network):
            self.layer(layer)
        read = {title for feeds in network.feeds.values() for title in feeds}
        ends = [layer.title for layer in network.layers if layer.title not in read]
        graph.outputs = [self.values[title] for title in ends]
        graph.structure = None if len(ends) == 1 else tuple(range(len(ends)))
        graph.output_names = output_names(graph.structure, len(ends))
        graph.description = describe(network)
        graph.notes.append(NOT_RUN)
        graph.program = Program(network, graph)
        return self.importing.finish(settle, after_import)

    def layer(self, layer: Layer) -> None:
        operands = [self.values[title] for title in self.network.feeds.get(layer.title, [])]
        where = where_of(layer, self.network)
        if layer.kind.computes and "InputSize" in layer.kind.required:
            operands = [self.input(layer)]
        elif len(operands) != (layer.NumInputs if layer.kind.inputs else 1):
            raise Usage(
                f"the layer has {len(operands)} inputs", where, hint="Begin with imageInputLayer or featureInputLayer"
            )
        if not layer.kind.computes:
            (self.values[layer.title],) = operands
            return
        importer = importer_of(FRAMEWORK, layer.function)
        if importer is None:
            raise AssertionError(f"{layer.function} has no importer")
        if layer.kind.images and any(value.rank != 4 for value in operands):
            raise Usage("the layer takes images, and gets features", where)
        turned = importer in CHANNELS_LAST
        call = LayerCall(self, layer)
        (self.values[layer.title],) = self.importing.call(
            importer,
            call,
            permuted(operands, to_first) if turned else operands,
            name=layer.title,
            source=where,
            left_out=call.left_out,
            after=(lambda results: permuted(results, to_last)) if turned else None,
            keys=[layer.title],
        )
        if any(isinstance(size, int) and size < 1 for size in self.values[layer.title].shape):
            raise Usage("nothing is left of the image", where, "its window is larger than what it reads")

    def input(self, layer: Layer) -> Value:
        sizes = layer.InputSize if isinstance(layer.InputSize, tuple) else (layer.InputSize,)
        batch: Dim = 1 if self.static_batch else symbol("batch")
        stated = self.stated(layer.title)
        if stated is not None:
            fits = len(stated) == len(sizes) + 1 and all(
                s in (None, n) for s, n in zip(stated[1:], sizes, strict=False)
            )
            if not fits:
                raise Usage(f"input {layer.title!r} takes (batch, {', '.join(map(str, sizes))}), not {tuple(stated)}")
            batch = batch if stated[0] is None else stated[0]
        value = self.graph.input(layer.title, (batch, *sizes), np.float32)
        value.anchor = Anchor((layer.title, "in"))
        return value

    def stated(self, title: str) -> Sequence[int | None] | None:
        shapes = self.input_shapes
        if isinstance(shapes, tuple) and shapes and not isinstance(shapes[0], tuple | list):
            shapes = [shapes]
        place = len(self.graph.inputs)
        found = (
            shapes.get(title)
            if isinstance(shapes, Mapping)
            else shapes[place]
            if shapes and place < len(shapes)
            else None
        )
        return None if found is None else [d if isinstance(d, int) and d >= 0 else None for d in found]

    # numbers

    def weight(self, layer: Layer, role: str, shape: tuple[int, ...], fans: tuple[int, int]) -> Value:
        key = (layer.title, role)
        where = where_of(layer, self.network)
        array = layer.settings[role]
        if array is None:
            if self.network.weights_from:
                what = f"{self.network.weights_from} has no {role} for the layer"
                raise Usage(what, where, hint="Save it whole, or convert the layer array without any numbers")
            if key not in self.network.initialised:
                self.network.initialised[key] = _initial(layer, role, shape, fans)
            array = self.network.initialised[key]
        slot = self.network.slot(layer, role)
        fitted = fit(array, shape)
        if fitted is None:
            size, wanted = ("x".join(map(str, s)) for s in (array.shape, shape))
            raise Usage(f"{role} has the size {size}", where, f"the layer takes {wanted}")
        return self.graph.parameter(
            Parameter(f"{layer.title}.{role}", shape, np.dtype(np.float32), lambda: fitted, slot, role not in FROZEN)
        )

    def statistic(self, layer: Layer, role: str) -> np.ndarray | None:
        array = layer.settings[role]
        if array is None:
            if self.network.weights_from and role in STATISTICS.get(layer.Normalization, ()):
                what = f"{self.network.weights_from} has no {role} for the layer"
                hint = "Save it with the weights, or state 'Normalization','none'"
                raise Usage(what, where_of(layer, self.network), "it is part of what the network computes", hint)
            return None
        sizes = layer.InputSize if isinstance(layer.InputSize, tuple) else (layer.InputSize,)
        for shape in (sizes, (*(1,) * (len(sizes) - 1), sizes[-1]), (1,)):
            if (fitted := fit(array, shape)) is not None:
                return fitted
        size = "x".join(map(str, array.shape))
        raise Usage(
            f"{role} has the size {size}",
            where_of(layer, self.network),
            "it is one number, one a channel, or one an element",
        )


def fit(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """An array under a shape that has the same axes but for those of size 1, in single precision; None where it has not.

    MATLAB drops axes of size 1 at the end and has no array of less than two axes; the one number a channel may stand
    along any axis.
    """
    long, wanted = (tuple(n for n in s if n != 1) for s in (array.shape, shape))
    kept = _without_last_ones(array.shape) == _without_last_ones(shape)
    if array.dtype.kind not in "fiub" or not (kept or (long == wanted and len(long) < 2)):
        return None
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32).reshape(shape)


def _without_last_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _initial(layer: Layer, role: str, shape: tuple[int, ...], fans: tuple[int, int]) -> np.ndarray:
    """What a learnable begins with in MATLAB's training, drawn from a generator that the layer's name seeds.

    Source: the pages of convolution2dLayer and fullyConnectedLayer, "WeightsInitializer".
    """
    if role == "Alpha":
        return np.full(shape, ALPHA, np.float32)
    rule = layer.settings.get(f"{role}Initializer") or {"TrainedVariance": "ones"}.get(role, "zeros")
    if rule in ("zeros", "ones"):
        return np.full(shape, float(rule == "ones"), np.float32)
    rng = np.random.default_rng(zlib.crc32(f"{layer.title}.{role}".encode()))
    if rule == "glorot":
        limit = np.sqrt(6 / sum(fans))
        return rng.uniform(-limit, limit, shape).astype(np.float32)
    deviation = 0.01 if rule == "narrow-normal" else np.sqrt(2 / fans[0])
    return (rng.standard_normal(shape) * deviation).astype(np.float32)


def _in_order(network: Network) -> list[Layer]:
    """Layers, each after those that it reads; otherwise as they stand in the source."""
    by_title = {layer.title: layer for layer in network.layers}
    done: dict[str, bool] = {}
    ordered: list[Layer] = []
    for first in network.layers:
        waiting = [first.title]
        while waiting:
            title = waiting[-1]
            before = [t for t in network.feeds.get(title, []) if not done.get(t)]
            if done.get(title) or not before:
                waiting.pop()
                if not done.get(title):
                    ordered.append(by_title[title])
                done[title] = True
            elif title in done:
                raise Usage(
                    f"the layers of {network.name} read each other in a circle", where_of(by_title[title], network)
                )
            else:
                done[title] = False
                waiting += before
    return ordered
