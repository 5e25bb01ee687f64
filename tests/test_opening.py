"""What a user may allow: links into one folder, the code of a file, classes of one's own; through every verb and command."""

from __future__ import annotations

import inspect

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import leaky_interop as li
from leaky_interop.cli import main
from leaky_interop.errors import UnsafeFile

X = np.array([[1.0, -2.0, 0.5]], np.float32)
VERBS = {
    "load": lambda path, **more: li.load(path, **more).nodes,
    "inspect": lambda path, **more: li.inspect(path, **more).operators,
    "run": lambda path, **more: li.run(path, X, **more),
    "convert": lambda path, **more: li.convert(path, "onnx", **more).graph.node,
    "verify": lambda path, **more: [li.verify(path, path, **more).passed or None],
}


def refused_then_allowed(verb, path, words, **more):
    with pytest.raises(UnsafeFile, match=words):
        VERBS[verb](path)
    found = VERBS[verb](path, **more)
    assert len(found) > 0 and not any(one is None for one in found)


@pytest.fixture
def cached(tmp_path):
    """A model whose data is a link into the cache's store of blobs, as model hubs lay it out."""
    root, folder = tmp_path / "cache", tmp_path / "cache" / "snapshots" / "main"
    (root / "blobs").mkdir(parents=True)
    folder.mkdir(parents=True)
    (root / "blobs" / "abc").write_bytes(np.float32([1, 2, 3]).tobytes())
    (folder / "w.bin").symlink_to("../../blobs/abc")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in "xy")
    weight = TensorProto(name="w", data_type=1, dims=[3], data_location=TensorProto.EXTERNAL)
    weight.external_data.add(key="location", value="w.bin")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    (folder / "net.onnx").write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    )
    return folder / "net.onnx", root


@pytest.mark.parametrize("verb", VERBS)
def test_allow_root(cached, verb):
    path, root = cached
    refused_then_allowed(verb, path, "external data", allow_root=root)


def test_allow_root_when_weights_are_transferred(cached):
    path, root = cached
    target = li.convert(path, "torch", allow_root=root)
    with pytest.raises(UnsafeFile):
        li.transfer(path, target)
    assert li.transfer(path, target, allow_root=root).passed


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory):
    import keras

    class Twice(keras.layers.Layer):
        def call(self, x):
            return x * 2.0

    folder = tmp_path_factory.mktemp("keras")
    given = keras.Input((3,))
    for name, layer in (("lambda", keras.layers.Lambda(lambda x: x * 2.0 + 1.0)), ("own", Twice())):
        model = keras.Model(given, layer(keras.layers.Dense(2)(given)))
        model.save(folder / f"{name}.keras")
        model.save(folder / f"{name}.h5")
    return folder, {"Twice": Twice}


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("verb", VERBS)
def test_trust_takes_lambda_layers(keras_files, verb, suffix):
    refused_then_allowed(verb, keras_files[0] / f"lambda.{suffix}", "Lambda|__lambda__", trust=True)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("verb", VERBS)
def test_custom_objects(keras_files, verb, suffix):
    refused_then_allowed(verb, keras_files[0] / f"own.{suffix}", "Twice", custom_objects=keras_files[1])


def test_trust_takes_no_more_than_that(keras_files):
    with pytest.raises(UnsafeFile, match="Twice"):
        li.load(keras_files[0] / "own.keras", trust=True)


def test_trust_takes_trees_of_onnx(tmp_path):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in "xy")
    node = helper.make_node("Scaler", ["x"], ["y"], domain="ai.onnx.ml", offset=[1.0], scale=[2.0])
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=opsets, ir_version=10)
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(UnsafeFile, match=r"ai\.onnx\.ml at Scaler"):
        li.run(tmp_path / "net.onnx", X)
    np.testing.assert_array_equal(li.run(tmp_path / "net.onnx", X, trust=True)[0], (X - 1) * 2)


def test_every_verb_that_opens_files_has_the_options():
    for verb in (li.load, li.inspect, li.run, li.convert, li.verify, li.transfer):
        given = inspect.signature(verb).parameters
        assert [given[name].default for name in ("allow_root", "trust", "custom_objects")] == [None, False, None]


def _exit_code(*arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return ended.value.code


@pytest.mark.parametrize("command", ["inspect", "run", "convert", "verify"])
def test_the_commands_have_the_options(cached, keras_files, tmp_path, command):
    path, root = cached
    np.save(tmp_path / "x.npy", X)
    more = {
        "inspect": [],
        "run": ["--input", tmp_path / "x.npy"],
        "convert": [tmp_path / "out.onnx"],
    }
    for file, option in ((path, ("--allow-root", root)), (keras_files[0] / "lambda.keras", ("--trust",))):
        rest = more.get(command, [file])
        assert _exit_code(command, file, *rest) == 4
        assert not (tmp_path / "out.onnx").exists()
        assert _exit_code(command, file, *rest, *option) == 0
        (tmp_path / "out.onnx").unlink(missing_ok=True)
