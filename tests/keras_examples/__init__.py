"""Small networks built as the examples of keras.io build theirs: custom layers, several inputs, models used as layers.

Each function returns an untrained `keras.Model` whose weights are random, normalisation statistics included.
"""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

from . import generating, pictures, points, segmenting, sequences, tables, transformers, windows

MODULES = (generating, pictures, points, segmenting, sequences, tables, transformers, windows)
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    name: made for module in MODULES for name, made in vars(module).items() if name in module.__all__
}


def network(name: str) -> keras.Model:
    """One of them, seeded."""
    keras.utils.set_random_seed(7)
    model = NETWORKS[name]()
    rng = np.random.default_rng(11)
    for weight in model.weights:
        if weight.dtype != "float32":
            continue
        if weight.path.endswith("variance"):
            weight.assign(rng.uniform(0.5, 2.0, weight.shape))
        elif weight.path.endswith(("mean", "beta", "bias", "gamma")):
            weight.assign(rng.normal(weight.path.endswith("gamma"), 0.2, weight.shape))
    return model
