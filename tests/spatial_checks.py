"""What the tests of spatial families share: tiny models of one call, and open sizes."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import torch
from family_checks import ALL, close

import leaky_interop as li
from leaky_interop.converting import transfer_graph
from leaky_interop.graph import Graph


def draw(*shape: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    """Seeded normal numbers: negative ones are half of them."""
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


class Call(torch.nn.Module):
    """A function as a PyTorch module; modules that it uses are given by name."""

    def __init__(self, function: Any, **modules: torch.nn.Module):
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *args: torch.Tensor) -> Any:
        return self.function(*args)


def keras_model(call: Any, *shapes: tuple[int | None, ...], dtype: str = "float32") -> keras.Model:
    """A Keras model of a layer or a function of its inputs; weights and biases are drawn anew, so that none is zero."""
    inputs = [keras.Input(shape, dtype=dtype) for shape in shapes]
    model = keras.Model(inputs, call(*inputs))
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.standard_normal(weight.shape) * 0.4)
    return model


def open_sizes(model: Any, small: np.ndarray, large: np.ndarray, to: tuple[str, ...] = ALL, **options: Any) -> Graph:
    """Convert with every size but the channels open, and compare on two sizes; the example is the small one."""
    graph = li.load(model, (small,), **options)
    for framework in to:
        made = transfer_graph(graph, framework).model
        for array in (small, large):
            close(graph, [array], graph.program.whole([array]), li.run(made, [array]), f"{framework}, {array.shape}")
    for array in (small, large):
        close(graph, [array], graph.program.whole([array]), graph.run(array), f"read, {array.shape}")
    return graph
