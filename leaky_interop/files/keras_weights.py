"""Weights of older files in Keras 3's order: Keras 1's separate gates, Theano's turned kernels, cuDNN's layers.

Keras 3 takes the weights of an old file as they stand there. What must change is told by the file: which Keras wrote it,
with which backend (Theano's names lack the ":0" of TensorFlow's), and by shapes (the two biases of cuDNN).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from leaky_interop.errors import Refused, Usage

from .hdf5 import array, hdf5, text
from .keras_legacy import legal

Arrays = list[np.ndarray]
GATES = {"GRU": (0, 1, 2), "LSTM": (0, 2, 1, 3), "ConvLSTM2D": (0, 2, 1, 3)}  # Keras 1's i, c, f, o in Keras 2's order
CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "ConvLSTM2D")
NOT_TURNED = ("SeparableConv1D", "SeparableConv2D", "DepthwiseConv1D", "DepthwiseConv2D")
POOLS = tuple(f"{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3))


def backend_of(file: Any, store: Any) -> str:
    """The backend that wrote an old file: what it says, or else how its weights are named."""
    stated = text(file.attrs.get("backend")) or text(store.attrs.get("backend"))
    names = [str(text(name)) for _, group in _groups(store) for name in _listed(group, "weight_names")]
    return stated or ("tensorflow" if not names or any(name.endswith(":0") for name in names) else "theano")


def load(model: Any, path: Path, name: str, written_by: tuple[int, ...], backend: str) -> None:
    """The file's weights into the model, layer by layer, by name. Raises Refused for what Keras 3 computes differently."""
    layers = [layer for layer in model.layers if layer.weights]
    reader = _Reader(first=written_by < (2,), turned=backend == "theano")
    reader.judge(model)
    with hdf5(path, name) as file:
        store = file["model_weights"] if "model_weights" in file else file
        groups = {legal(key): group for key, group in _groups(store)}
        found = {key: [array(group[text(w)]) for w in _listed(group, "weight_names")] for key, group in groups.items()}
    found = {key: arrays for key, arrays in found.items() if arrays}
    named = {layer.name: layer for layer in layers}
    if len(found) != len(layers):
        listed = ", ".join(sorted(set(found) ^ set(named))[:5])
        raise Usage(f"the weights of {name} do not fit the network", why=f"only one of the two has {listed}")
    # Models inside had no names of their own in the oldest files; the order is that of the layers.
    pairs = [(named[key], key) for key in found] if set(found) == set(named) else zip(layers, found, strict=True)
    for layer, key in pairs:
        _assign(layer, reader.arrays(layer, found[key]), name)


def _groups(store: Any) -> Iterator[tuple[str, Any]]:
    for key in _listed(store, "layer_names"):
        yield str(text(key)), store[text(key)]


def _listed(group: Any, name: str) -> Iterator[Any]:
    """A list that an attribute holds, or where it was too long for one, several: "names0", "names1", ..."""
    parts = [name] if name in group.attrs else (f"{name}{i}" for i in itertools.count())
    for part in itertools.takewhile(lambda part: part in group.attrs, parts):
        yield from group.attrs[part]


def _assign(layer: Any, arrays: Arrays, name: str) -> None:
    variables = [*layer.trainable_weights, *layer.non_trainable_weights]
    shapes = ([tuple(v.shape) for v in variables], [a.shape for a in arrays])
    if shapes[0] != shapes[1]:
        raise Usage(
            f"the weights of {name} do not fit layer {layer.name!r}",
            why=f"it takes {shapes[0]}, and they have {shapes[1]}",
        )
    for variable, values in zip(variables, arrays, strict=True):
        variable.assign(values)


class _Reader:
    """What one file's weights mean: first: Keras 1 wrote them; turned: Theano did, which turns kernels round."""

    def __init__(self, first: bool, turned: bool):
        self.first, self.turned = first, turned

    def arrays(self, layer: Any, arrays: Arrays) -> Arrays:
        """A layer's weights in the order of its variables today: trainable ones, then the others."""
        kind = type(layer).__name__
        if kind == "Bidirectional":
            half = len(arrays) // 2
            return self.arrays(layer.forward_layer, arrays[:half]) + self.arrays(layer.backward_layer, arrays[half:])
        if kind == "TimeDistributed":
            return self.arrays(layer.layer, arrays)
        if hasattr(layer, "layers"):
            return self.nested(layer, arrays)
        if self.first:
            arrays = _today(layer, kind, list(arrays))
        if kind in ("LSTM", "GRU") and len(arrays) == 3:
            arrays = _from_cudnn(kind, list(arrays))
        if self.turned and kind in CONVOLUTIONS:
            rank = len(layer.kernel_size)
            kernels = 2 if kind == "ConvLSTM2D" else 1
            arrays = [a[(slice(None, None, -1),) * rank] if i < kernels else a for i, a in enumerate(arrays)]
        return arrays

    def nested(self, model: Any, arrays: Arrays) -> Arrays:
        """A model used as a layer: all trainable weights of its layers, then all others."""
        rest, parts = list(arrays), {id(layer): [] for layer in model.layers}  # type: ignore[var-annotated]
        for which in ("trainable_weights", "non_trainable_weights"):
            for layer in model.layers:
                count = self.stored(layer, which)
                parts[id(layer)] += rest[:count]
                rest = rest[count:]
        values = {}
        for layer in model.layers:
            variables = [*layer.trainable_weights, *layer.non_trainable_weights]
            values |= dict(zip(map(id, variables), self.arrays(layer, parts[id(layer)]), strict=True))
        return [values[id(v)] for v in (*model.trainable_weights, *model.non_trainable_weights)]

    def stored(self, layer: Any, which: str) -> int:
        """How many arrays of a layer the file holds: one a gate where Keras 1 wrote it."""
        inner = (
            [layer.forward_layer, layer.backward_layer]
            if type(layer).__name__ == "Bidirectional"
            else [getattr(layer, "layer", layer)]
        )
        gates = [len(GATES.get(type(part).__name__, (0,))) if self.first else 1 for part in inner]
        return sum(len(getattr(part, which)) * count for part, count in zip(inner, gates, strict=True))

    def judge(self, layer: Any) -> None:
        """Refuse what Theano computed otherwise than TensorFlow: how it divides the border of "same"."""
        for part in getattr(layer, "layers", None) or [getattr(layer, "layer", None)]:
            if part is not None:
                self.judge(part)
        kind = type(layer).__name__
        if not self.turned:
            return
        same = getattr(layer, "padding", "valid") == "same"
        uneven = kind in CONVOLUTIONS and (
            any(k % 2 == 0 for k in layer.kernel_size) or any(s != 1 for s in layer.strides)
        )
        if kind in NOT_TURNED or (same and (kind in POOLS or kind == "Conv2DTranspose" or uneven)):
            raise Refused(
                f"{kind} that Theano computed"
                if kind in NOT_TURNED
                else f'{kind} with "same" borders that Theano divided',
                where=f"layer {layer.name!r}",
                why="Theano adds as much on both sides, every other backend one more behind"
                if same
                else "its kernels are not known",
                hint='Train it again, or write it with ZeroPadding and border_mode="valid"',
            )


def _today(layer: Any, kind: str, arrays: Arrays) -> Arrays:
    """Keras 1's weights as Keras 2 and later keep them."""
    first = getattr(layer, "data_format", "") == "channels_first"
    if kind == "Conv1D":
        kernel = arrays[0]
        if kernel.shape[:2] != (layer.kernel_size[0], 1):  # of Keras 1.1: (filters, channels, length, 1)
            kernel = kernel.transpose(2, 3, 1, 0)
        arrays[0] = kernel[:, 0]
    elif kind in ("Conv2D", "Conv3D") and first:  # (filters, channels, ...)
        arrays[0] = np.moveaxis(arrays[0], (1, 0), (-2, -1))
    elif kind == "Conv2DTranspose":
        arrays[0] = arrays[0].transpose(2, 3, 0, 1) if first else arrays[0].transpose(0, 1, 3, 2)
    elif kind == "SeparableConv2D" and first:
        arrays[:2] = [a.transpose(2, 3, 1, 0) for a in arrays[:2]]
    elif kind in GATES and len(arrays) == 3 * len(GATES[kind]):
        parts = [[arrays[3 * gate + part] for gate in GATES[kind]] for part in range(3)]
        if kind == "ConvLSTM2D" and first:
            parts[:2] = [[a.transpose(2, 3, 1, 0) for a in kernels] for kernels in parts[:2]]
        arrays = [np.concatenate(part, axis=-1) for part in parts]
    return arrays


def _from_cudnn(kind: str, arrays: Arrays) -> Arrays:
    """Weights of CuDNNLSTM and CuDNNGRU, whose gates lie the other way round and have two biases each."""
    gates, units = (4 if kind == "LSTM" else 3), arrays[1].shape[0]
    if arrays[2].shape != (2 * gates * units,):
        return arrays
    kernel = np.hstack([k.T.reshape(k.shape, order="F") for k in np.hsplit(arrays[0], gates)])
    recurrent = np.hstack([k.T for k in np.hsplit(arrays[1], gates)])
    both = arrays[2].reshape(2, -1)
    return [kernel, recurrent, both if kind == "GRU" else both.sum(axis=0)]
