"""The networks themselves: their outputs say something, both forms agree where they claim it, the digits are learnt.

The Keras forms run on the backend that KERAS_BACKEND names (torch unless set).
"""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import torch

import models
from models import digits, inputs, pairing, seeding

ROOT = Path(models.__file__).parent
FULLY_CONVOLUTIONAL = [name for name in models.NAMES if models.get(name).FULLY_CONVOLUTIONAL]
SAME_NUMBERS = [name for name in models.NAMES if models.get(name).SAME_NUMBERS]

# Keras' own conversion of PyTorch and TensorFlow tensors to numpy warns like this.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

built = {
    "keras": cache(lambda name: models.get(name).keras_model()),
    "torch": cache(lambda name: models.get(name).torch_model()),
}
dynamic = cache(lambda name: models.get(name).keras_model(dynamic=True))
every_network = pytest.mark.parametrize("name", models.NAMES)
both_forms = pytest.mark.parametrize("form", built)


def run_keras(model: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Run a Keras model on channels-first arrays, and return its outputs channels-first."""
    native = [inputs.channels_last(array) for array in arrays]
    outputs = keras.tree.flatten(model(native if len(native) > 1 else native[0], training=False))
    return [np.moveaxis(keras.ops.convert_to_numpy(y), -1, 1) for y in outputs]


def run_torch(model: torch.nn.Module, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Run a PyTorch model on channels-first arrays."""
    with torch.no_grad():
        outputs = model(*map(torch.from_numpy, arrays))
    outputs = list(outputs.values()) if isinstance(outputs, dict) else outputs
    return [y.numpy() for y in ([outputs] if isinstance(outputs, torch.Tensor) else outputs)]


RUN: dict[str, Callable[[Any, list[np.ndarray]], list[np.ndarray]]] = {"keras": run_keras, "torch": run_torch}


def weights(form: str, model: Any) -> dict[str, np.ndarray]:
    if form == "keras":
        return {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


# The collection


def test_every_network_is_listed() -> None:
    files = [path for path in ROOT.glob("*.py") if re.search(r"^SHAPES = ", path.read_text(), re.MULTILINE)]
    assert {path.stem for path in files} == set(models.NAMES)
    assert [network.NAME for network in models.all()] == list(models.NAMES)


def test_unknown_network_is_named() -> None:
    with pytest.raises(KeyError, match="no network 'alexnet'; there are matlab_cnn"):
        models.get("alexnet")


def test_readme_lists_every_network() -> None:
    rows = []
    for network in models.all():
        summary = str(network.__doc__).splitlines()[0].rstrip(".")
        shapes = ", ".join(f"{name} {'x'.join(map(str, shape))}" for name, shape in network.SHAPES.items())
        size = f"multiples of {network.SIZE_MULTIPLE}" if network.SIZE_MULTIPLE > 1 else "any"
        same = "yes" if network.SAME_NUMBERS else "no"
        rows.append(
            f"| `{network.NAME}` | {summary} | {shapes} | {size if network.FULLY_CONVOLUTIONAL else '-'} | {same} |"
        )
    assert [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| `")] == rows


def test_listing_imports_no_framework() -> None:
    code = "import sys, models; list(models.all()); print({'keras', 'torch', 'tensorflow', 'jax'} & set(sys.modules))"
    listed = subprocess.run([sys.executable, "-c", code], cwd=ROOT.parent, capture_output=True, text=True, check=True)
    assert listed.stdout.strip() == "set()"


@every_network
def test_keras_form_uses_no_backend(name: str) -> None:
    assert not re.search(r"tensorflow|\btf\.|\bjax\b", (ROOT / f"{name}.py").read_text())


@every_network
def test_keras_layers_are_named(name: str) -> None:
    """Building again gives the same names: automatic ones would have counted on."""
    names = [[layer.name for layer in seeding.keras_layers(m)] for m in (built["keras"](name), dynamic(name))]
    assert names[0] == names[1]


# What the networks compute


@every_network
@both_forms
def test_outputs_follow_the_inputs(form: str, name: str) -> None:
    """Every output is finite, differs from sample to sample, lies off the rails, and no sample sees another."""
    network, model = models.get(name), built[form](name)
    arrays = inputs.example(network, 7)
    outputs = RUN[form](model, arrays)
    for batch in (1, 2):
        for part, whole in zip(RUN[form](model, [x[:batch] for x in arrays]), outputs, strict=True):
            assert part.shape == (batch, *whole.shape[1:])
            np.testing.assert_allclose(part, whole[:batch], rtol=0, atol=1e-5 * np.abs(whole).max())
    for output in outputs:
        assert output.dtype == np.float32
        assert np.isfinite(output).all()
        assert np.std(output, axis=0).mean() > 0.02 * np.abs(output).max(), "the output hardly depends on the input"
        assert 0.1 < np.abs(output).max() < 20
        if np.abs(output).max() <= 1:
            assert np.mean((np.abs(output) > 0.999) | (np.abs(output) < 1e-5)) < 0.05, "the output is saturated"


@every_network
@both_forms
def test_every_input_counts(form: str, name: str) -> None:
    """A change of one input changes every output that it can reach."""
    network, model = models.get(name), built[form](name)
    arrays = inputs.example(network, 2)
    before = RUN[form](model, arrays)
    for index in range(len(arrays)):
        changed = [-x if i == index else x for i, x in enumerate(arrays)]
        for was, now in zip(before, RUN[form](model, changed), strict=True):
            assert np.abs(was - now).max() > 0.01


@every_network
@both_forms
def test_activations_stay_near_unit_scale(form: str, name: str) -> None:
    for layer, scale in activation_scales(form, built[form](name), inputs.example(models.get(name), 4)).items():
        assert 0.02 < scale < 8, f"{layer}: {scale:.3g}"


@every_network
def test_rectifiers_meet_both_signs(name: str) -> None:
    """Every leaky layer of the Keras form puts out both signs, so that a wrong slope changes the result."""
    model = built["keras"](name)
    leaky = [layer for layer in model.layers if type(layer).__name__ in ("LeakyReLU", "PReLU")]
    if leaky:
        probe = keras.Model(model.input, [layer.output for layer in leaky])
        for output in run_keras(probe, inputs.example(models.get(name), 2)):
            assert output.min() < -0.01
            assert output.max() > 0.1


def activation_scales(form: str, model: Any, arrays: list[np.ndarray]) -> dict[str, float]:
    """Return the root mean square of what each layer puts out."""
    if form == "keras":
        layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
        layers = [layer for layer in layers if not hasattr(layer, "layers")]
        probe = keras.Model(model.input, [layer.output for layer in layers])
        names = [layer.name for layer in layers]
        return dict(zip(names, map(root_mean_square, run_keras(probe, arrays)), strict=True))
    scales: dict[str, float] = {}
    hooks = [
        module.register_forward_hook(
            lambda _module, _inputs, y, path=path: scales.update({path: root_mean_square(y.numpy())})
        )
        for path, module in model.named_modules()
        if not list(module.children())
    ]
    run_torch(model, arrays)
    for hook in hooks:
        hook.remove()
    return scales


def root_mean_square(values: np.ndarray) -> float:
    return math.sqrt(np.mean(np.square(values, dtype=np.float64)))


@pytest.mark.parametrize("name", FULLY_CONVOLUTIONAL)
def test_dynamic_form_computes_the_same(name: str) -> None:
    network = models.get(name)
    arrays = inputs.example(network, 2)
    assert any(None in tensor.shape[1:] for tensor in dynamic(name).inputs)
    for a, b in zip(run_keras(dynamic(name), arrays), run_keras(built["keras"](name), arrays), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", FULLY_CONVOLUTIONAL)
@pytest.mark.parametrize("factors", [(1, 3), (3, 1)], ids=["wide", "tall"])
def test_other_sizes_run(name: str, factors: tuple[int, int]) -> None:
    """The dynamic Keras form and the PyTorch form take odd multiples of the network's unit and agree on shapes."""
    network = models.get(name)
    unit = network.SIZE_MULTIPLE * (2 * (8 // network.SIZE_MULTIPLE) + 1)
    arrays = inputs.example(network, 2, size=tuple(factor * unit for factor in factors))
    from_keras = run_keras(dynamic(name), arrays)
    from_torch = run_torch(built["torch"](name), arrays)
    assert [y.shape for y in from_keras] == [y.shape for y in from_torch]
    for output in (*from_keras, *from_torch):
        assert np.isfinite(output).all()
        assert np.abs(output[0] - output[1]).max() > 0.01


@pytest.mark.parametrize("name", sorted(set(models.NAMES) - set(FULLY_CONVOLUTIONAL)))
def test_dynamic_changes_nothing_elsewhere(name: str) -> None:
    assert dynamic(name).input_shape == built["keras"](name).input_shape


@pytest.mark.parametrize("name", SAME_NUMBERS)
def test_both_forms_are_the_same_network(name: str) -> None:
    network = models.get(name)
    model, copy = built["keras"](name), network.torch_model()
    pairing.copy_weights(model, copy)
    arrays = inputs.example(network, 3)
    for a, b in zip(run_keras(model, arrays), run_torch(copy, arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=5e-6 * np.abs(a).max())


# Weights


@every_network
@both_forms
def test_weights_come_from_the_seed(form: str, name: str) -> None:
    """Building again gives the same weights, another seed others; no vector is left at the value it starts with."""
    build = getattr(models.get(name), f"{form}_model")
    first, again = weights(form, built[form](name)), weights(form, build())
    other = weights(form, seeding.randomise(build(), seed=1))
    drawn = [key for key in first if not key.endswith(("num_batches_tracked", "seed_generator_state"))]
    for one, two, three in zip(*([w[key] for key in drawn] for w in (first, again, other)), strict=True):
        np.testing.assert_array_equal(one, two)
        assert np.mean(three == one) < 0.01
        assert not np.isin(one, (0.0, 1.0)).any()
        assert one.size == 1 or np.std(one) > 0.01


@every_network
@both_forms
def test_networks_stay_small(form: str, name: str) -> None:
    assert sum(array.size for array in weights(form, built[form](name)).values()) < 150_000


# The digits

FIRST_TEST_LABELS = [7, 6, 3, 7, 7, 3, 2, 8, 9, 3, 2, 6]  # the shipped weights have not seen these images


def test_digits_are_split_once_and_for_all() -> None:
    x_train, y_train, x_test, y_test = digits.load_data()
    assert x_train.shape == (1437, 8, 8, 1)
    assert x_test.shape == (360, 8, 8, 1)
    assert x_train.dtype == x_test.dtype == np.float32
    assert x_train.min() == x_test.min() == 0
    assert x_train.max() == x_test.max() == 1
    assert np.bincount(y_test).min() >= 34
    np.testing.assert_array_equal(digits.load_data()[2], x_test)
    assert not {x.tobytes() for x in x_train} & {x.tobytes() for x in x_test}
    assert y_train.shape == (1437,)
    assert y_test[:12].tolist() == FIRST_TEST_LABELS


def test_trained_digits_are_recognised() -> None:
    assert digits.TRAINED.stat().st_size <= 300 * 1024
    model = digits.trained_model()
    _, _, x_test, y_test = digits.load_data()
    outputs = keras.ops.convert_to_numpy(model(x_test, training=False))
    assert np.mean(outputs.argmax(axis=-1) == y_test) >= 0.97
    assert model.get_layer("leaky1").negative_slope == pytest.approx(0.3, abs=1e-7)
    assert model.get_layer("leaky2").negative_slope == pytest.approx(0.12, abs=1e-7)
    layers = [[layer.get_config() for layer in m.layers] for m in (model, digits.untrained_model())]
    assert layers[0] == layers[1]


@pytest.mark.parametrize("command", [["-m", "models.train_digits"], ["models/train_digits.py"]], ids=["module", "file"])
def test_training_script_runs(command: list[str], tmp_path: Path) -> None:
    output = tmp_path / "digits.keras"
    ran = subprocess.run(
        [sys.executable, *command, "--epochs", "1", "--output", str(output)],
        cwd=ROOT.parent,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"accuracy on held-back images: \d+\.\d\d%", ran.stdout)
    assert keras.saving.load_model(output).count_params() == digits.untrained_model().count_params()
