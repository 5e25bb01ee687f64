"""Keras files: honest ones of Keras 2 and 3 come back, hostile ones are refused and nothing of them runs."""

import base64
import importlib
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from leaky_interop import files
from leaky_interop.errors import MissingFile, Refused, RuntimeFailure, UnsafeFile, Usage
from leaky_interop.files import keras_allowed, keras_legacy, source

KERAS2 = Path(__file__).parent / "keras2"
DIGITS = Path(__file__).parent.parent / "models" / "digits.keras"
layers, ops = keras.layers, keras.ops


def _small():
    given = keras.Input((8, 8, 2), name="image")
    y = layers.Conv2D(3, 3, name="conv")(given)
    y = layers.LeakyReLU(0.25, name="act")(y)
    return keras.Model(given, layers.Dense(2, name="head")(layers.Flatten(name="flat")(y)), name="small")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One small honest model in every format."""
    folder, model = tmp_path_factory.mktemp("keras"), _small()
    for name in ("net.keras", "net.h5"):
        model.save(folder / name)
    model.save_weights(folder / "net.weights.h5")
    return folder, model


def _equal(one, other):
    assert [w.name for w in one.weights] == [w.name for w in other.weights]
    for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


# Honest files of Keras 3


@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
def test_a_model_comes_back_bit_for_bit(saved, name):
    folder, model = saved
    found = files.open_keras(folder / name)
    _equal(found, model)
    assert found.get_layer("act").negative_slope == 0.25
    x = np.random.default_rng(0).standard_normal((2, 8, 8, 2)).astype("float32")
    np.testing.assert_array_equal(found.predict(x, verbose=0), model.predict(x, verbose=0))


def test_a_model_without_a_suffix_comes_back(saved, tmp_path):
    for name in ("net.keras", "net.h5"):
        shutil.copy(saved[0] / name, tmp_path / "net")
        _equal(files.open_keras(tmp_path / "net"), saved[1])


def test_the_projects_own_model_comes_back():
    assert files.open_keras(DIGITS).count_params() > 0


@pytest.mark.parametrize("name", ["net.weights.h5", "net.h5", "net.keras"])
def test_weights_go_into_a_model_that_the_user_has(saved, name):
    model = _small()
    files.load_keras_weights(model, saved[0] / name)
    _equal(model, saved[1])


def test_a_file_of_weights_alone_asks_for_the_network(saved):
    with pytest.raises(Usage, match="holds weights and no network"):
        files.open_keras(saved[0] / "net.weights.h5")


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


PRECISIONS = [(policy, suffix) for policy in ("float16", "float64", "mixed_bfloat16") for suffix in (".keras", ".h5")]


@pytest.mark.parametrize(("policy", "suffix"), [*PRECISIONS, ("bfloat16", ".keras")])  # Keras writes no .h5 of bfloat16
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
    if policy == "bfloat16":
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
    _equal(found, model)
    random = np.random.default_rng(0)
    inputs = [random.standard_normal((2, *i.shape[1:])).astype("float32") for i in model.inputs]
    given = dict(zip(["a", "b"], inputs, strict=True)) if len(inputs) == 2 else inputs[0]
    for a, b in zip(keras.tree.flatten(found(given)), keras.tree.flatten(model(given)), strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(a), ops.convert_to_numpy(b))


def test_a_quantised_model_comes_back(tmp_path):
    model = _small()
    model.quantize("int8")
    model.save(tmp_path / "net.keras")
    _equal(files.open_keras(tmp_path / "net.keras"), model)


class Twice(layers.Layer):
    """A user's own layer, known to Keras only by custom_objects."""

    def call(self, x):
        return 2 * x


def test_a_users_own_layer_needs_custom_objects(tmp_path):
    given = keras.Input((3,))
    keras.Model(given, Twice()(given)).save(tmp_path / "net.keras")
    with pytest.raises(UnsafeFile, match=r"not Keras' own.*Twice.*custom_objects"):
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


@pytest.mark.parametrize("path", sorted(KERAS2.glob("*.h5")) + sorted(KERAS2.glob("*.keras")), ids=lambda p: p.name)
def test_keras_2_files_compute_what_keras_2_computed(path):
    with np.load(KERAS2 / "expected.npz") as stored:
        mine = {key.rpartition("/")[2]: stored[key] for key in stored if key.startswith(f"{path.stem}/")}
    model = files.open_keras(path)
    inputs = [array for key, array in mine.items() if key[0] == "x"]
    found = keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0], training=False))
    expected = [array for key, array in mine.items() if key[0] == "y"]
    tolerance = 2e-3 if path.stem == "mixed" else 2e-6  # float16 inside, rounded in another order
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(one).astype("float64"), other, rtol=tolerance, atol=tolerance)


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


# Hostile configurations


def _edited(saved, tmp_path, edit, name="net.keras"):
    """The honest model's file with its configuration changed."""
    target = tmp_path / name
    shutil.copy(saved[0] / name, target)
    if name.endswith(".h5"):
        with h5py.File(target, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            edit(config)
            file.attrs["model_config"] = json.dumps(config)
        return target
    with zipfile.ZipFile(saved[0] / name) as given, zipfile.ZipFile(target, "w") as out:
        for entry in given.namelist():
            content = given.read(entry)
            if entry == "config.json":
                config = json.loads(content)
                edit(config)
                content = json.dumps(config)
            out.writestr(entry, content)
    return target


def _replace(class_name, config, **more):
    def edit(model):
        row = model["config"]["layers"][2]
        row.update({"module": "keras.layers", "class_name": class_name, "config": {"name": "act", **config}, **more})

    return edit


def _activation(value):
    return lambda model: model["config"]["layers"][1]["config"].update(activation=value)


def _function(name, module, registered=None):
    return {"module": module, "class_name": "function", "config": name, "registered_name": registered or name}


class Evil:
    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return (open, (self.trace, "w"))


TRACE = Path(os.environ.get("TMPDIR", "/tmp")) / f"leaky_interop_trace_{os.getpid()}"
CODE = base64.b64encode(b"never unmarshalled").decode()
HOSTILE = {
    "lambda": _replace("Lambda", {"function": {"class_name": "__lambda__", "config": {"code": CODE}}}),
    "lambda as a field": _activation({"class_name": "__lambda__", "config": {"value": CODE}}),
    "operating system": _replace("system", {}, module="os"),
    "subprocess": _replace("Popen", {"args": ["touch", str(TRACE)]}, module="subprocess"),
    "builtin": _activation(_function("exec", "builtins")),
    "download": _activation(_function("get_file", "keras.utils")),
    "unsafe loading": _activation(_function("enable_unsafe_deserialization", "keras.config")),
    "loading another model": _activation(_function("load_model", "keras.saving")),
    "module inside keras": _replace("Popen", {}, module="keras.src.utils.subprocess"),
    "class inside keras": _replace("Layer", {}, module="keras.src.layers.layer"),
    "registered name": lambda model: model["config"]["layers"][2].update(registered_name="evil>Layer"),
    "torch module": _replace("TorchModuleWrapper", {"module": base64.b64encode(pickle.dumps(Evil(TRACE))).decode()}),
    "saved model": _replace("TFSMLayer", {"filepath": "/etc"}),
    "jax": _replace("JaxLayer", {"call_fn": CODE}),
    "flax": _replace("FlaxLayer", {"module": CODE}),
    "vocabulary file": _replace("StringLookup", {"vocabulary": "/etc/hostname"}),
    "vocabulary address": _replace("TextVectorization", {"vocabulary": "http://127.0.0.1:1/x"}),
    "vocabulary of integers": _replace("IntegerLookup", {"vocabulary": "/etc/hostname"}),
    "type specification": _activation({"class_name": "__typespec__", "spec_name": "x", "config": []}),
    "nested": _replace("TimeDistributed", {"layer": {"module": "keras.layers", "class_name": "Lambda", "config": {}}}),
    "initializer": lambda model: model["config"]["layers"][1]["config"]["kernel_initializer"].update(module="os"),
    "call argument": lambda model: model["config"]["layers"][2]["inbound_nodes"][0]["kwargs"].update(
        mask={"class_name": "Popen", "module": "subprocess", "config": {}}
    ),
    "compilation": lambda model: model.update(
        module="os", class_name="system", compile_config={"optimizer": _function("exec", "builtins")}
    ),
    "huge size": lambda model: model["config"]["layers"][1]["config"].update(filters=10**18),
    "depth": lambda model: model["config"].update(deep=json.loads("[" * 400 + "]" * 400)),
    "no name": _replace(["os"], {}),
}


@pytest.mark.parametrize("name", ["net.keras", "net.h5"])
@pytest.mark.parametrize("edit", HOSTILE.values(), ids=HOSTILE)
def test_a_configuration_that_could_do_harm_is_refused(saved, tmp_path, edit, name):
    with pytest.raises(UnsafeFile, match=rf"{name} (has an unsafe configuration|names what is not Keras' own)"):
        files.open_keras(_edited(saved, tmp_path, edit, name))
    assert not TRACE.exists()


def test_what_belongs_to_training_is_never_looked_at(saved, tmp_path):
    evil = {"optimizer": {"module": "os", "class_name": "system", "config": "x"}, "loss": _function("exec", "builtins")}
    found = files.open_keras(_edited(saved, tmp_path, lambda model: model.update(compile_config=evil)))
    _equal(found, saved[1])
    assert not found.compiled


def test_a_model_that_keras_cannot_build_is_one_clear_error(saved, tmp_path):
    edit = _replace("Dense", {"units": -3})
    with pytest.raises(RuntimeFailure, match=r"Keras cannot rebuild net.keras: .*units"):
        files.open_keras(_edited(saved, tmp_path, edit))
    with pytest.raises(RuntimeFailure, match="Keras cannot rebuild"):
        files.open_keras(_edited(saved, tmp_path, lambda m: m["config"]["layers"][1]["config"].update(filters=4)))


# Hostile archives


def _rezipped(saved, tmp_path, change):
    with zipfile.ZipFile(saved[0] / "net.keras") as given, zipfile.ZipFile(tmp_path / "net.keras", "w") as out:
        entries = {name: given.read(name) for name in given.namelist()}
        change(entries)
        for name, content in entries.items():
            out.writestr(name, content)
    return tmp_path / "net.keras"


@pytest.mark.parametrize("name", ["evil.py", "config.json/x", "../config.json", "assets/../../x", "model.weights.npz"])
def test_other_entries_are_refused(saved, tmp_path, name):
    with pytest.raises(UnsafeFile):
        files.open_keras(_rezipped(saved, tmp_path, lambda entries: entries.update({name: b"x"})))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda entries: entries.pop("model.weights.h5"), "no weights"),
        (lambda entries: entries.update({"config.json": b"[1, 2]"}), "describes no model"),
        (lambda entries: entries.update({"config.json": b"{"}), "truncated or damaged"),
        (lambda entries: entries.update({"model.weights.h5": b"no HDF5 at all"}), "truncated or damaged"),
        (
            lambda entries: entries.update({"model.weights.h5": entries["model.weights.h5"][:900]}),
            "truncated or damaged",
        ),
    ],
)
def test_a_broken_archive_is_a_clear_error(saved, tmp_path, change, words):
    with pytest.raises(Usage, match=words):
        files.open_keras(_rezipped(saved, tmp_path, change))


def test_a_missing_file_is_one(tmp_path):
    with pytest.raises(MissingFile):
        files.open_keras(tmp_path / "none.keras")


# Hostile HDF5


def _external_storage(file):
    Path("secret.bin").write_bytes(bytes(64))
    file.create_dataset("w", (4,), "f4", external=[("secret.bin", 0, 16)])


def _virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "w", (4,))
    file.create_virtual_dataset("w", layout)


def _ring(file):
    file["a/b"] = file.create_group("a")


def _doubling(file):
    """Thirty groups, each reached by two names from the one before: a billion paths."""
    group = file
    for _ in range(30):
        inner = group.create_group("a")
        group["b"] = inner
        group = inner


def _deep(file):
    group = file
    for _ in range(150):
        group = group.create_group("g")


def _unknown_filter(file):
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4,))
    properties.set_filter(32008, h5py.h5z.FLAG_OPTIONAL, (0, 0))
    h5py.h5d.create(file.id, b"w", h5py.h5t.NATIVE_FLOAT, h5py.h5s.create_simple((4,)), properties)


HOSTILE_HDF5 = {
    "soft link": lambda file: file.__setitem__("w", h5py.SoftLink("/etc")),
    "external link": lambda file: file.__setitem__("w", h5py.ExternalLink("other.h5", "/w")),
    "external storage": _external_storage,
    "virtual dataset": _virtual,
    "shape bomb": lambda file: file.create_dataset("w", (10**6, 10**6), "f4", chunks=(1000, 1000), compression="gzip"),
    "ring of groups": _ring,
    "doubling": _doubling,
    "depth": _deep,
    "text": lambda file: file.create_dataset("w", data=["a", "b"], dtype=h5py.string_dtype()),
    "references": lambda file: file.create_dataset("w", (2,), h5py.ref_dtype),
    "compound": lambda file: file.create_dataset("w", (2,), [("a", "f4"), ("b", "i4")]),
    "named type": lambda file: file.__setitem__("w", np.dtype("f4")),
    "empty": lambda file: file.create_dataset("w", data=h5py.Empty("f4")),
    "plug-in": _unknown_filter,
}


@pytest.mark.parametrize("hostile", HOSTILE_HDF5.values(), ids=HOSTILE_HDF5)
@pytest.mark.parametrize("inside", [False, True])
def test_hdf5_that_leads_elsewhere_or_explodes_is_refused(saved, tmp_path, monkeypatch, hostile, inside):
    monkeypatch.chdir(tmp_path)
    shutil.copy(saved[0] / ("net.weights.h5" if inside else "net.h5"), tmp_path / "net.h5")
    with h5py.File(tmp_path / "net.h5", "r+") as file:
        hostile(file)
    path = tmp_path / "net.h5"
    if inside:
        content = path.read_bytes()
        path = _rezipped(saved, tmp_path, lambda entries: entries.update({"model.weights.h5": content}))
    with pytest.raises(UnsafeFile):
        files.open_keras(path)


def test_many_small_bombs_are_one_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "FLOOR", 10 * source.MIB)
    with h5py.File(tmp_path / "net.h5", "w") as file:
        for i in range(40):
            file.create_dataset(f"w{i}", (source.MIB // 4,), "f4", chunks=(1024,))  # never written, 1 MiB declared
    with pytest.raises(UnsafeFile, match=r"net.h5 declares 40 MiB"), files.read_keras(tmp_path / "net.h5"):
        pass


def test_a_bomb_is_not_hidden_by_honest_weights_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "FLOOR", 10 * source.MIB)
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.create_dataset("bomb", (10 * source.MIB,), "f4", chunks=(1024,))
        file.create_dataset("honest", data=np.random.default_rng(0).standard_normal(source.MIB // 8))
    with pytest.raises(UnsafeFile, match=r"net.h5/bomb declares 40 MiB"), files.read_keras(tmp_path / "net.h5"):
        pass


def test_compressed_honest_weights_are_read(tmp_path):
    values = np.random.default_rng(0).standard_normal((64, 64)).astype("f4")
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file.create_dataset("w", data=values, compression="gzip", shuffle=True, fletcher32=True)
        file.create_dataset("zeros", data=np.zeros(100_000, "f4"), compression="gzip")
    with files.read_keras(tmp_path / "net.h5") as found:
        np.testing.assert_array_equal(found.arrays()["w"], values)


def test_truncated_hdf5_is_a_clear_error(saved, tmp_path):
    whole = (saved[0] / "net.h5").read_bytes()
    for keep in range(9, len(whole), len(whole) // 20):
        (tmp_path / "net.h5").write_bytes(whole[:keep])
        with pytest.raises(Usage, match="truncated or damaged"):
            files.open_keras(tmp_path / "net.h5")


def test_reading_leaves_the_file_as_it_was(saved):
    before = (saved[0] / "net.h5").read_bytes()
    files.open_keras(saved[0] / "net.h5")
    assert (saved[0] / "net.h5").read_bytes() == before
    assert sorted(path.name for path in saved[0].iterdir()) == ["net.h5", "net.keras", "net.weights.h5"]
