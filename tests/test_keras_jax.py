"""Keras on jax: converted networks load there without this package and compute the same, and its live networks convert."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import leaky_interop as li
from leaky_interop import files

pytestmark = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")

ROOT = Path(__file__).parent.parent
KERAS2 = ROOT / "tests" / "keras2"
# By file, those that hold convolutions, recurrent layers, attention, and a network in a network.
WRITTEN = ["small_cnn", "gru", "bidirectional", "states", "attention", "nested", "early_films"]

LOADING = """
import sys
sys.modules["leaky_interop"] = None  # whoever imports it fails
import keras, numpy as np
assert keras.backend.backend() == "jax"
for name in sys.argv[1:]:
    model = keras.saving.load_model(f"{name}.keras", compile=False, safe_mode=True)
    with np.load(f"{name}.npz") as stored:
        given, wanted = ([stored[f"{kind}{i}"] for i in range(sum(k[0] == kind for k in stored))] for kind in "xy")
    found = keras.tree.flatten(model(given if len(given) > 1 else given[0], training=False))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(one), other, rtol=1e-5, atol=1e-5, err_msg=name)
print(len(sys.argv[1:]), "loaded")
"""

LIVE = """
import sys
import keras, numpy as np
import leaky_interop as li
assert keras.backend.backend() == "jax"
layers, ops = keras.layers, keras.ops

class Scaled(layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones")
    def call(self, x):
        return ops.where(x > 0, x, 0.2 * x) * self.scale * ops.shape(x)[1]

def through(*chain, shape):
    return keras.Sequential([keras.Input(shape), *chain])

networks = {
    "cnn": through(layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization(), layers.LeakyReLU(0.1),
                   layers.MaxPooling2D(), layers.SeparableConv2D(4, 3), layers.Flatten(), layers.Dense(3), shape=(9, 9, 3)),
    "recurrent": through(layers.Bidirectional(layers.LSTM(3, return_sequences=True)), layers.GRU(3), shape=(5, 4)),
    "resizing": through(layers.Resizing(7, 9, interpolation="bicubic"), layers.UpSampling2D(2, interpolation="bilinear"), shape=(5, 5, 2)),
    "custom": through(Scaled(), layers.LayerNormalization(), shape=(5, 4)),
}
for name, model in networks.items():
    x = np.random.default_rng(0).standard_normal((2, *model.input_shape[1:])).astype("float32")
    wanted = np.asarray(model(x))
    for to in ("onnx", "torch", "keras"):
        made = li.convert(model, to=to)
        found = li.run(made, [x])
        found = np.asarray(found[0] if isinstance(found, list) else found)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5, err_msg=f"{name} to {to}")
    assert li.verify(model, li.convert(model, to="onnx"), inputs=[x]).passed, name
print(len(networks), "converted")
"""


def on_jax(code, *arguments, folder):
    """What the code prints in a process of its own, whose Keras runs on jax."""
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_converted_networks_load_on_jax_without_this_package(tmp_path):
    for name in WRITTEN:
        made = li.convert(li.convert(KERAS2 / f"{name}.h5", to="onnx"), to="keras")
        made.save(tmp_path / f"{name}.keras")
        shapes = [tuple(2 if n is None else n for n in i.shape) for i in made.inputs]
        given = [np.random.default_rng(i).standard_normal(s).astype("float32") for i, s in enumerate(shapes)]
        wanted = li.run(files.open_keras(KERAS2 / f"{name}.h5"), given)
        numbered = {f"x{i}": a for i, a in enumerate(given)} | {f"y{i}": a for i, a in enumerate(wanted)}
        np.savez(tmp_path / f"{name}.npz", **numbered)
    assert f"{len(WRITTEN)} loaded" in on_jax(LOADING, *WRITTEN, folder=tmp_path)


def test_networks_that_run_on_jax_convert(tmp_path):
    assert "4 converted" in on_jax(LIVE, folder=tmp_path)
