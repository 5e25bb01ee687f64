"""Hostile and broken Keras files: refused with one clear sentence, and nothing of them runs or is read."""

import base64
import json
import os
import pickle
import shutil
import tempfile
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from leaky_interop import files
from leaky_interop.errors import MissingFile, RuntimeFailure, UnsafeFile, Usage
from leaky_interop.files import source
from tests.keras_samples import assert_equal, save_all


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """One small honest model in every format."""
    folder = tmp_path_factory.mktemp("keras")
    return folder, save_all(folder)


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


TRACE = Path(tempfile.gettempdir()) / f"leaky_interop_trace_{os.getpid()}"
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
    assert_equal(found, saved[1])
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


def test_truncated_hdf5_is_a_clear_error(saved, tmp_path):
    whole = (saved[0] / "net.h5").read_bytes()
    for keep in range(9, len(whole), len(whole) // 20):
        (tmp_path / "net.h5").write_bytes(whole[:keep])
        with pytest.raises(Usage, match="truncated or damaged"):
            files.open_keras(tmp_path / "net.h5")
