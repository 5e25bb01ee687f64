"""Keras files: honest ones, of Keras 2 and 3, come back as they were."""

import importlib
import json
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import leaky_interop as li
from leaky_interop import files
from leaky_interop.errors import Refused, RuntimeFailure, UnsafeFile, Usage
from leaky_interop.files import keras_allowed, keras_legacy
from tests.keras_samples import assert_equal, save_all, small

KERAS2 = Path(__file__).parent / "keras2"
DIGITS = Path(__file__).parent.parent / "models" / "digits.keras"
layers, ops = keras.layers, keras.ops


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One small honest model in every format."""
    folder = tmp_path_factory.mktemp("keras")
    return folder, save_all(folder)


# Honest files of Keras 3


@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_a_model_comes_back_bit_for_bit(saved, name):
    folder, model = saved
    found = files.open_keras(folder / name)
    assert_equal(found, model)
    assert found.get_layer("act").negative_slope == 0.25
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 2)).astype("float32")
    np.testing.assert_array_equal(found.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_model_without_a_suffix_comes_back(saved, tmp_path):
    for name in ("net.keras", "net.h5"):
        shutil.copy(saved[0] / name, tmp_path / "net")
        assert_equal(files.open_keras(tmp_path / "net"), saved[1])


def test_the_projects_own_model_comes_back():
    assert files.open_keras(DIGITS).count_params() > 0


@pytest.mark.parametrize("name", ["net.weights.h5", "net.h5", "net.keras"])
def test_weights_go_into_a_model_that_the_user_has(saved, name):
    model = small()
    files.load_keras_weights(model, saved[0] / name)
    assert_equal(model, saved[1])


def test_a_file_of_weights_alone_asks_for_the_network(saved):
    with pytest.raises(Usage, match="holds weights and no network"):
        files.open_keras(saved[0] / "net.weights.h5")


def bigger():
    """`small` with one layer more than its file has weights for."""
    model = small()
    return keras.Sequential([*model.layers, layers.Dense(2)])


def unbuilt():
    return keras.Sequential([layers.Dense(2)])


@pytest.mark.parametrize("name", ["net.weights.h5", "net.h5", "net.keras"])
def test_a_factory_takes_the_weights_of_a_file(saved, name):
    graph = li.load("tests.keras_samples:small", weights=saved[0] / name)
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 2)).astype("float32")
    np.testing.assert_array_equal(graph.program.whole([x])[0], saved[1].predict(x, verbose=0))


def test_weights_that_do_not_fit_a_factory_are_refused(saved, tmp_path):
    with pytest.raises(Usage, match="has no weights yet"):
        li.load(f"{__name__}:unbuilt", weights=saved[0] / "net.weights.h5")
    bigger().save_weights(tmp_path / "more.weights.h5")
    with pytest.raises(Usage, match="do not fit the network: the file has"):
        li.load("tests.keras_samples:small", weights=tmp_path / "more.weights.h5")
    with pytest.raises(RuntimeFailure, match="cannot take the weights"):
        li.load(f"{__name__}:bigger", weights=saved[0] / "net.weights.h5")


def test_weights_are_read_as_arrays(saved):
    with files.read_keras(saved[0] / "net.keras") as file:
        found = file.arrays()
        assert file.config["config"]["name"] == "small"
    np.testing.assert_array_equal(found["layers/conv2d/vars/0"], saved[1].get_layer("conv").kernel.numpy())


def test_the_private_copy_is_gone_afterwards(saved):
    with files.read_keras(saved[0] / "net.keras") as file:
        assert file.folder.exists()
        assert file.folder.stat().st_mode & 0o077 == 0
    assert not file.folder.exists()


@pytest.mark.parametrize("policy", ["float16", "bfloat16", "float64", "mixed_bfloat16"])
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_other_precisions_come_back(tmp_path, policy, suffix):
    given = keras.Input((4,))
    model = keras.Model(given, layers.Dense(3, dtype=policy)(given))
    model.save(tmp_path / f"net{suffix}")
    found = files.open_keras(tmp_path / f"net{suffix}")
    assert [w.dtype for w in found.weights] == [w.dtype for w in model.weights]
    for a, b in zip(found.weights, model.weights, strict=True):
        np.testing.assert_array_equal(
            ops.convert_to_numpy(ops.cast(a, "float64")), ops.convert_to_numpy(ops.cast(b, "float64"))
        )
    if (policy, suffix) == ("bfloat16", ".keras"):
        with files.read_keras(tmp_path / f"net{suffix}") as file:
            assert {str(array.dtype) for array in file.arrays().values()} == {"bfloat16"}


def _shared():
    one, other = keras.Input((6,)), keras.Input((6,))
    inner = keras.Sequential([keras.Input((6,)), layers.Dense(4), layers.PReLU()], name="inner")
    tied = layers.Dense(4, activation=layers.LeakyReLU(0.1))
    return keras.Model({"a": one, "b": other}, [inner(one) - inner(other), tied(inner(one)), tied(inner(other))])


def _operations():
    x = keras.Input((6, 6, 2))
    y = ops.leaky_relu(x * 2 + 1, negative_slope=0.3)
    y = ops.concatenate([y[:, 1:, ::2], ops.where(x > 0, x, -x)[:, 1:, ::2]], axis=-1)
    return keras.Model(
        x, [ops.mean(ops.einsum("bhwc->bhc", y), axis=1), ops.image.resize(x, (3, 3)), ops.linalg.norm(y, axis=-1)]
    )


def _recurrent():
    x = keras.Input((5, 3))
    y = layers.Bidirectional(layers.LSTM(4, return_sequences=True), merge_mode="sum")(x)
    y = layers.RNN([layers.GRUCell(3), layers.SimpleRNNCell(2)], return_sequences=True)(y)
    return keras.Model(x, layers.TimeDistributed(layers.Dense(2))(y))


def _settings():
    x = keras.Input((6, 6, 4))
    y = layers.Conv2D(
        4,
        3,
        padding="same",
        groups=2,
        kernel_initializer=keras.initializers.VarianceScaling(2.0),
        kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2),
        kernel_constraint=keras.constraints.MaxNorm(2, axis=[0, 1]),
        bias_initializer=keras.initializers.Constant(0.5),
        activation="leaky_relu",
    )(x)
    y = layers.SpectralNormalization(layers.DepthwiseConv2D(3))(y)
    y = layers.GroupNormalization(2)(layers.Identity()(y))
    return keras.Model(x, layers.MultiHeadAttention(2, 3)(y, y))


def _functions():
    x = keras.Input((6,))
    return keras.Model(x, layers.Activation(ops.leaky_relu)(layers.Dense(3, activation=keras.activations.gelu)(x)))


def _preprocessing():
    x = keras.Input((8, 8, 3))
    y = layers.RandomFlip(seed=1234567890)(layers.Rescaling(1 / 255.0)(x))
    y = layers.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0])(y)
    return keras.Model(x, layers.Resizing(4, 4)(layers.CenterCrop(6, 6)(y)))


HONEST = [_shared, _operations, _recurrent, _settings, _functions, _preprocessing]


@pytest.mark.parametrize("network", HONEST, ids=lambda function: function.__name__.strip("_"))
def test_every_kind_of_honest_model_comes_back(tmp_path, network):
    model = network()
    model.save(tmp_path / "net.keras")
    found = files.open_keras(tmp_path / "net.keras")
    assert_equal(found, model)
    random = np.random.default_rng(0)
    inputs = [random.standard_normal((2, *i.shape[1:])).astype("float32") for i in model.inputs]
    given = dict(zip(["a", "b"], inputs, strict=True)) if len(inputs) == 2 else inputs[0]
    for a, b in zip(keras.tree.flatten(found(given)), keras.tree.flatten(model(given)), strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))


def test_a_quantised_model_comes_back(tmp_path):
    model = small()
    model.quantize("int8")
    model.save(tmp_path / "net.keras")
    assert_equal(files.open_keras(tmp_path / "net.keras"), model)


class Twice(layers.Layer):
    """A user's own layer, known to Keras only by custom_objects."""

    def call(self, x):
        return 2 * x


def test_a_users_own_layer_needs_custom_objects(tmp_path):
    given = keras.Input((3,))
    keras.Model(given, Twice()(given)).save(tmp_path / "net.keras")
    with pytest.raises(UnsafeFile, match=r"not Keras' own.*Twice.*convert it live"):
        files.open_keras(tmp_path / "net.keras")
    assert isinstance(files.open_keras(tmp_path / "net.keras", {"Twice": Twice}).layers[-1], Twice)


@pytest.mark.parametrize("name", ["ConvNeXtTiny", "EfficientNetV2B0", "MobileNetV3Small"])
def test_the_networks_that_keras_ships_are_honest(name):
    config = json.loads(getattr(keras.applications, name)(weights=None).to_json())
    assert keras_allowed.allowed(config)["config"].keys() == config["config"].keys()


def test_identity_is_a_layer_or_an_initializer_by_where_it_stands():
    given = {"class_name": "Identity", "module": None, "config": {}}
    assert keras_allowed.allowed({"layer": given})["layer"]["module"] == "keras.layers"
    assert keras_allowed.allowed({"kernel_initializer": given})["kernel_initializer"]["module"] == "keras.initializers"


@pytest.mark.parametrize("name", keras_allowed.DENIED)
def test_a_denied_class_is_refused_with_its_reason(name):
    with pytest.raises(UnsafeFile, match=f"{name}: {keras_allowed.DENIED[name]}"):
        keras_allowed.allowed({"class_name": name, "config": {}})


def test_every_layer_of_keras_is_judged():
    if not keras.__version__.startswith("3.15."):
        pytest.skip("the lists were read against Keras 3.15")
    exported = {getattr(layers, n).__name__ for n in dir(layers) if isinstance(getattr(layers, n), type)}
    judged = keras_allowed.CLASSES["keras.layers"] | keras_allowed.DENIED.keys()
    # Bases, and one class whose public name differs from its own.
    assert exported - judged == {"InputSpec", "Layer", "Wrapper", "GroupedQueryAttention"}
    for module, names in keras_allowed.CLASSES.items():
        space = importlib.import_module(module) if ".src." in module else getattr(keras, module.rpartition(".")[2])
        assert [name for name in names if not isinstance(getattr(space, name), type)] == []
    assert not keras_allowed.DENIED.keys() & frozenset().union(*keras_allowed.CLASSES.values())


# Files of Keras 2, as Keras 2 wrote them


@pytest.mark.filterwarnings("error:The structure of `inputs`")
@pytest.mark.parametrize("path", sorted(KERAS2.glob("*.h5")) + sorted(KERAS2.glob("*.keras")), ids=lambda p: p.name)
def test_keras_2_files_compute_what_keras_2_computed(path):
    with np.load(KERAS2 / ("early.npz" if path.stem.startswith("early") else "expected.npz")) as stored:
        mine = {key.rpartition("/")[2]: stored[key] for key in stored if key.startswith(f"{path.stem}/")}
    model = files.open_keras(path)
    inputs = [array for key, array in mine.items() if key[0] == "x"]
    found = keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0], training=False))
    expected = [array for key, array in mine.items() if key[0] == "y"]
    tolerance = 2e-3 if path.stem == "mixed" else 2e-6  # float16 inside, rounded in another order
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(one).astype("float64"), other, rtol=tolerance, atol=tolerance)


def test_names_of_keras_2_come_back_as_they_were():
    """Keras 3 takes neither "/" nor "."; each is written as every backend takes it, and read as it was."""
    for suffix in ("h5", "keras"):
        model = files.open_keras(KERAS2 / f"slashes.{suffix}")
        assert [layer.name for layer in model.layers[:2]] == ["data_u002f_in", "b_u002f_1"]
        graph = li.load(model)
        assert graph.inputs[0].name == "data/in"
        assert {"b/1", "b.2", "s/um"} <= {node.name for node in graph.nodes}


@pytest.mark.parametrize("path", sorted(KERAS2.glob("*.h5")), ids=lambda p: p.name)
def test_keras_2_files_become_onnx(path):
    with np.load(KERAS2 / ("early.npz" if path.stem.startswith("early") else "expected.npz")) as stored:
        mine = {key.rpartition("/")[2]: stored[key] for key in stored if key.startswith(f"{path.stem}/")}
    found = li.run(li.convert(path, to="onnx"), [array for key, array in mine.items() if key[0] == "x"])
    tolerance = 2e-3 if path.stem == "mixed" else 1e-5
    for one, other in zip(found, (array for key, array in mine.items() if key[0] == "y"), strict=True):
        np.testing.assert_allclose(one.astype("float64"), other, rtol=tolerance, atol=tolerance)


def test_keras_2_hard_sigmoid_is_not_keras_3s():
    x = np.array([-3.0, -1.0, 0.0, 1.0, 2.5], "float32")
    found = ops.convert_to_numpy(keras_legacy.hard_sigmoid_keras2(ops.convert_to_tensor(x)))
    np.testing.assert_allclose(found, np.clip(0.2 * x + 0.5, 0, 1), rtol=1e-6)
    assert abs(found[3] - ops.convert_to_numpy(ops.hard_sigmoid(1.0))) > 0.03


def _upgrade(config, class_name, **around):
    config = {"name": "it", **config}
    return keras_legacy.upgraded({"class_name": class_name, "config": config, **around}, (2, 3, 1))["config"]


@pytest.mark.parametrize(
    ("config", "slope"),
    [
        ({"alpha": 0.1}, 0.1),
        ({"alpha": {"type": "ndarray", "value": 0.1}}, 0.1),
        ({"alpha": 0.0}, 0.0),
        ({"negative_slope": 0.2}, 0.2),
        ({}, 0.3),  # the layer's own default
    ],
)
def test_keras_2_leaky_relu_keeps_its_slope(config, slope):
    assert _upgrade(config, "LeakyReLU") == {"name": "it", "negative_slope": slope}


def test_a_sequential_without_input_gets_one():
    dense = {
        "class_name": "Dense",
        "config": {"name": "d", "units": 2, "batch_input_shape": [None, 3], "dtype": "float32"},
    }
    for config in ([dense], {"layers": [dense]}):
        found = keras_legacy.upgraded({"class_name": "Sequential", "config": config}, (2, 1))["config"]["layers"]
        assert found[0]["config"] == {"batch_shape": [None, 3], "dtype": "float32", "name": "d_input"}
        assert found[1]["config"] == {"name": "d", "units": 2, "dtype": "float32"}


def test_other_words_of_keras_2():
    assert _upgrade({"theta": 0.5}, "ThresholdedReLU") == {"name": "it", "threshold": 0.5}
    assert _upgrade({"axis": [3]}, "BatchNormalization") == {"name": "it", "axis": 3}
    assert _upgrade({"units": 3}, "GRU")["reset_after"] is False
    assert _upgrade({"units": 3, "time_major": False}, "LSTM") == {"name": "it", "units": 3}
    assert _upgrade({"batch_input_shape": [None, 2]}, "InputLayer") == {"name": "it", "batch_shape": [None, 2]}
    with pytest.raises(Refused, match="time_major=True at layer 'it'"):
        _upgrade({"units": 3, "time_major": True}, "LSTM")
    with pytest.raises(Refused, match=r"TensorFlow calls.*tf.math.add"):
        keras_legacy.upgraded({"class_name": "TFOpLambda", "name": "tf.math.add", "config": {}}, (2, 9))
    assert keras_legacy.upgraded({"class_name": "LeakyReLU", "config": {"alpha": 1}}, (3,))["config"] == {"alpha": 1}


@pytest.mark.parametrize(
    ("config", "kind", "version", "words"),
    [
        ({"dilation_rate": [2, 1]}, "SeparableConv2D", (2, 0, 8), r"dilation_rate=\[2, 1\] at layer 'it': Keras before 2.0.9"),
        ({"interpolation": "bilinear"}, "UpSampling2D", (2, 3, 1), "UpSampling2D with interpolation='bilinear'"),
        ({"interpolation": "mitchellcubic"}, "Resizing", (2, 12), "mitchellcubic"),
        ({"height": 3}, "RandomCrop", (2, 12), "RandomCrop at layer 'it': Keras 2 resizes"),
        ({}, "RandomHeight", (2, 12), "RandomHeight at layer 'it'"),
    ],
)
def test_what_keras_2_computed_otherwise_is_refused(config, kind, version, words):
    with pytest.raises(Refused, match=words):
        keras_legacy.upgraded({"class_name": kind, "config": {"name": "it", **config}}, version)


def test_what_keras_2_computed_alike_is_taken():
    for config, kind, version in (
        ({"dilation_rate": [2, 1]}, "SeparableConv2D", (2, 0, 9)),
        ({"dilation_rate": [1, 1]}, "SeparableConv2D", (2, 0, 8)),
        ({"interpolation": "bilinear"}, "UpSampling2D", (2, 4)),
        ({"interpolation": "nearest"}, "UpSampling2D", (2, 2)),
    ):
        given = {"class_name": kind, "config": {"name": "it", **config}}
        assert keras_legacy.upgraded(given, version)["config"] == given["config"]


@pytest.mark.parametrize("kind", ["UpSampling2D", "Resizing"])
def test_keras_2_bicubic_is_tensorflows(kind):
    given = {"class_name": kind, "config": {"name": "it", "interpolation": "bicubic"}}
    if keras.backend.backend() == "tensorflow":
        assert keras_legacy.upgraded(given, (2, 12)) == given
    else:
        with pytest.raises(Refused, match=r"bicubic interpolation of Keras 2 at layer 'it'.*KERAS_BACKEND=tensorflow"):
            keras_legacy.upgraded(given, (2, 12))


def test_compressed_honest_weights_are_read(tmp_path):
    values = np.random.default_rng(0).standard_normal((64, 64)).astype("f4")
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.create_dataset("w", data=values, compression="gzip", shuffle=True, fletcher32=True)
        file.create_dataset("zeros", data=np.zeros(100_000, "f4"), compression="gzip")
    with files.read_keras(tmp_path / "net.h5") as found:
        np.testing.assert_array_equal(found.arrays()["w"], values)


def test_reading_leaves_the_file_as_it_was(saved):
    before = (saved[0] / "net.h5").read_bytes()
    files.open_keras(saved[0] / "net.h5")
    assert (saved[0] / "net.h5").read_bytes() == before
    assert sorted(path.name for path in saved[0].iterdir()) == ["net.h5", "net.keras", "net.weights.h5"]
