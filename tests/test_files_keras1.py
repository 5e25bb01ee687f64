"""Files of Keras 1, as Keras 1.2.2 wrote them on Theano and on TensorFlow: they compute what it computed."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import leaky_interop as li
from leaky_interop import files
from leaky_interop.errors import Refused, UnsafeFile, Usage
from leaky_interop.files import keras_first, keras_legacy

KERAS1 = Path(__file__).parent / "keras1"
FILES = sorted(path for path in KERAS1.glob("*.h5") if not path.name.startswith("borders"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_keras_1_files_compute_what_keras_1_computed(path):
    """Through onnxruntime, because TensorFlow has no convolution of channels first on a CPU."""
    name, backend = path.stem.split(".")
    films = name.startswith("films")  # run by Keras itself
    if films and name.endswith("th") and keras.backend.backend() == "tensorflow":
        pytest.skip("TensorFlow has no convolution of channels first on a CPU")
    with np.load(KERAS1 / f"expected_{backend}.npz") as stored:
        mine = {key.rpartition("/")[2]: stored[key] for key in stored if key.startswith(f"{name}/")}
    inputs = [array for key, array in mine.items() if key[0] == "x"]
    found = li.run(path if films else li.convert(path, "onnx"), inputs)
    expected = [array for key, array in mine.items() if key[0] == "y"]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5 * np.abs(other).max())


def test_what_theano_divides_otherwise_is_refused():
    with pytest.raises(Refused, match=r'"same" borders that Theano divided at layer'):
        li.load(KERAS1 / "borders.theano.h5")


def changed(tmp_path, source, change):
    """A copy of a file with its configuration changed."""
    import json
    import shutil

    path = tmp_path / "net.h5"
    shutil.copy(KERAS1 / source, path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config, file)
        file.attrs["model_config"] = json.dumps(config).encode()
    return path


def test_a_file_that_does_not_say_its_version_is_known_by_its_words(tmp_path):
    def change(config, file):
        del file.attrs["keras_version"]

    path = changed(tmp_path, "up_tf.tensorflow.h5", change)
    with files.read_keras(path) as file:
        assert file.written_by == (1,) and file.backend == "tensorflow"
    with files.read_keras(KERAS1 / "up_th.theano.h5") as file:
        assert file.written_by == (1, 2, 2) and file.backend == "theano"


@pytest.mark.parametrize(
    "config, words",
    [
        ({"mode": 2, "name": "it"}, r"BatchNormalization with mode=2 of Keras 1 at layer 'it'"),
        ({"mode": 1, "name": "it"}, r"mode=1"),
    ],
)
def test_other_modes_of_batch_normalization_are_refused(config, words):
    with pytest.raises(Refused, match=words):
        keras_legacy.upgraded({"class_name": "BatchNormalization", "config": config}, (1, 2))


@pytest.mark.parametrize("name", ["MaxoutDense", "Highway", "SReLU", "LocallyConnected2D"])
def test_layers_that_are_gone_are_refused_by_name(name):
    for version in ((1, 2), (2, 1)):
        with pytest.raises(Refused, match=name):
            keras_legacy.upgraded({"class_name": name, "name": "it", "config": {"name": "it"}}, version)


@pytest.mark.parametrize("mode, kind", [("cos", "raw"), ("lambda a, b: a", "lambda"), ("f", "function")])
def test_a_merge_that_cannot_be_decided_is_refused(mode, kind):
    config = {"name": "it", "mode": mode, "mode_type": kind, "concat_axis": -1, "dot_axes": -1}
    with pytest.raises(Refused, match="Merge"):
        keras_legacy.upgraded({"class_name": "Merge", "config": config}, (1, 2))


def test_a_deconvolution_of_another_shape_is_refused(tmp_path):
    def change(config, file):
        config["config"][0]["config"]["output_shape"] = [None, 10, 11, 3]

    with pytest.raises(Refused, match=r"Deconvolution2D with output_shape=\(None, 10, 11, 3\)"):
        files.open_keras(changed(tmp_path, "up_tf.tensorflow.h5", change))


def test_code_inside_a_file_of_keras_1_stays_unread(tmp_path):
    def change(config, file):
        config["config"][1] = {
            "class_name": "Lambda",
            "config": {"name": "l", "function": ["x", None, None], "function_type": "lambda"},
        }

    with pytest.raises(UnsafeFile, match="Lambda"):
        files.open_keras(changed(tmp_path, "up_tf.tensorflow.h5", change))


def test_weights_that_are_missing_or_left_over_are_refused(tmp_path):
    def change(config, file):
        del config["config"][1:]
        config["config"].append({"class_name": "BatchNormalization", "config": {"name": "new", "mode": 0, "axis": -1}})

    with pytest.raises(Usage, match="only one of the two has new"):
        files.open_keras(changed(tmp_path, "up_tf.tensorflow.h5", change))


def test_fields_of_keras_1_in_keras_3s_words():
    given = {"class_name": "Convolution1D", "config": {
        "name": "it", "nb_filter": 3, "filter_length": 5, "border_mode": "causal", "subsample_length": 2, "bias": False,
        "W_regularizer": {"name": "L1L2Regularizer", "l1": 0.0, "l2": 0.5}, "b_constraint": {"name": "NonNeg"}, "init": "uniform",
        "W_constraint": {"name": "MaxNorm", "m": 2, "axis": 0},
    }}  # fmt: skip
    assert keras_first.renamed(given) == {"class_name": "Conv1D", "config": {
        "name": "it", "filters": 3, "kernel_size": 5, "padding": "causal", "strides": 2, "use_bias": False,
        "kernel_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.5}},
        "bias_constraint": {"class_name": "NonNeg", "config": {}},
        "kernel_constraint": {"class_name": "MaxNorm", "config": {"max_value": 2, "axis": 0}},
    }}  # fmt: skip


def test_a_layer_that_does_not_say_its_order_has_that_of_the_others():
    pads = {"class_name": "ZeroPadding2D", "config": {"name": "it", "padding": [1, 2, 3, 4]}}
    pools = [{"class_name": "MaxPooling2D", "config": {"name": order, "dim_ordering": order}} for order in ("th", "tf")]
    found = keras_first.renamed({"class_name": "Sequential", "config": [pads, pools[0]]})["config"][0]
    assert found["config"] == {"name": "it", "padding": [[1, 2], [3, 4]], "data_format": "channels_first"}
    for others in ([], pools):
        with pytest.raises(Refused, match="does not say the order of its dimensions"):
            keras_first.renamed({"class_name": "Sequential", "config": [pads, *others]})


def test_lists_of_names_that_were_too_long_for_one_attribute(tmp_path):
    """Keras parts what passes the 64 kB of an HDF5 header into names0, names1, ..."""

    def change(config, file):
        store = file["model_weights"]
        for group, name in [(store, "layer_names"), *((store[key], "weight_names") for key in store)]:
            names = group.attrs[name]
            del group.attrs[name]
            for i, one in enumerate(names):
                group.attrs[f"{name}{i}"] = [one]

    source = KERAS1 / "up_tf.tensorflow.h5"
    whole, parted = (files.open_keras(p) for p in (source, changed(tmp_path, source.name, change)))
    for one, other in zip(whole.get_weights(), parted.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
