"""Preprocessing in an ONNX file: stated, or folded into its graph, where it equals the Python one bit for bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from PIL import Image

import leaky_interop as li
from leaky_interop.inference import Preprocessing, Sound, recipe
from leaky_interop.inference.embedding import embed
from leaky_interop.inference.preprocessing import KEY
from leaky_interop.inference.recipes import RECIPES, stored
from tests.inference_samples import classifier, network, photo, same, saved

KINDS = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "float64": TensorProto.DOUBLE}
NOISE = Image.fromarray(np.random.default_rng(5).integers(0, 256, (6, 7, 3), dtype=np.uint8))
ALL = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).convert("RGB")  # every byte


def both(model: onnx.ModelProto, made: Preprocessing, images, folder) -> tuple[np.ndarray, np.ndarray]:
    """What the model computes of pictures, preprocessed here and in its graph."""
    with li.Session(model, preprocess=made) as session:
        here = session.predict(images)
    path = saved(model, folder / "net.onnx")
    embed(folder / "net.onnx", made, fold=True)
    with li.Session(path) as session:
        assert session.inputs[0].dtype == np.uint8 and session.inputs[0].shape[3] == session.held.channels
        return here, session.predict(images)


@pytest.mark.parametrize("name", [name for name in RECIPES if name != "darknet"])
@pytest.mark.parametrize("shape", [(3, 16, 16), (16, 16, 3)], ids=["nchw", "nhwc"])
def test_every_recipe_folds_exactly(name, shape, tmp_path):
    here, folded = both(same(["batch", *shape]), recipe(name), [ALL, photo(40, 30), NOISE], tmp_path)
    np.testing.assert_array_equal(folded, here, strict=True)


values = st.floats(-300, 300, width=32).filter(lambda x: abs(x) > 1e-3)
rows = st.one_of(st.just(()), st.tuples(values), st.tuples(values, values, values))


@settings(max_examples=40, deadline=None)
@given(
    divisor=values,
    mean=rows,
    std=rows,
    colours=st.sampled_from(["rgb", "bgr"]),
    chw=st.booleans(),
    kind=st.sampled_from(list(KINDS)),
)
def test_any_numbers_fold_exactly(divisor, mean, std, colours, chw, kind, tmp_path_factory):
    made = Preprocessing(divisor=divisor, mean=mean, std=std, colours=colours)
    shape = ["batch", 3, 16, 16] if chw else ["batch", 16, 16, 3]
    here, folded = both(same(shape, KINDS[kind]), made, [ALL, NOISE.resize((16, 16))], tmp_path_factory.mktemp("fold"))
    np.testing.assert_array_equal(folded, here, strict=True)


@pytest.mark.parametrize("level", ["ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_ALL"])
def test_no_optimisation_of_the_runtime_changes_it(level, tmp_path):
    """A division by a constant must not become a product with its reciprocal."""
    path = saved(same(["batch", 3, 16, 16]), tmp_path / "net.onnx")
    with li.Session(path, preprocess="imagenet") as session:
        here = session.predict([ALL])
    embed(tmp_path / "net.onnx", recipe("imagenet"), fold=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    made = onnxruntime.InferenceSession((tmp_path / "net.onnx").read_bytes(), options)
    with li.Session(path) as session:
        pixels = session.sample(ALL)[None]
    np.testing.assert_array_equal(made.run(None, {"image": pixels})[0], here)


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("batch", ["batch", 1, 3])
def test_a_whole_network_takes_bytes(count, batch, tmp_path):
    images = [photo(20 + n, 30, seed=n) for n in range(count)]
    here, folded = both(classifier(batch=batch), recipe("imagenet"), images, tmp_path)
    np.testing.assert_allclose(folded, here, rtol=1e-6, atol=1e-6)
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [i.name for i in model.graph.input] == ["image"]
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in dims] == [batch, 8, 8, 3]


def test_raw_bytes_of_pictures_go_straight_in(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    path = saved(classifier(), tmp_path / "net.onnx")
    embed(tmp_path / "net.onnx", recipe("imagenet"), fold=True)
    by_hand = (pixels.astype(np.float32) / 255 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    with li.Session(path) as made:
        expected = li.run(classifier(), np.ascontiguousarray(by_hand.transpose(0, 3, 1, 2)))[0]
        np.testing.assert_allclose(made.predict(pixels), expected, rtol=1e-6, atol=1e-6)


def test_one_channel_and_open_sizes_fold(tmp_path):
    grey = photo(9, 7).convert("L")
    here, folded = both(same(["batch", 1, "h", "w"]), recipe("gan"), [grey], tmp_path)
    np.testing.assert_array_equal(folded, here)
    assert folded.shape == (1, 1, 7, 9)


def test_names_that_are_taken_are_left_alone(tmp_path):
    nodes = [helper.make_node("Neg", ["image"], ["image_cast"]), helper.make_node("Neg", ["image_cast"], ["image_div"])]
    model = network(nodes, ["batch", 3, 8, 8], inputs=("image",), outputs=("image_div",))
    here, folded = both(model, recipe("gan"), [photo(8, 8)], tmp_path)
    np.testing.assert_array_equal(folded, here)


def test_what_does_not_fold_exactly_is_refused_and_the_file_stays(tmp_path):
    path = tmp_path / "net.onnx"
    saved(same(["batch", 3, 8, 8]), path)
    before = path.read_bytes()
    with pytest.raises(li.Refused, match=r"127\.5"):
        embed(path, recipe("darknet"), fold=True)
    with pytest.raises(li.Usage, match="sounds"):
        embed(path, Sound(sample_rate=8000))
    assert path.read_bytes() == before
    here, folded = both(
        same(["batch", 3, 8, 8]), dataclasses.replace(recipe("darknet"), padding=128.0), [photo(20, 9)], tmp_path
    )
    np.testing.assert_array_equal(folded, here)
    saved(same(["batch", 3, 8, 8], TensorProto.UINT8), path)
    with pytest.raises(li.Refused, match="takes uint8"):
        embed(path, Preprocessing(), fold=True)
    saved(network([helper.make_node("Add", ["a", "b"], ["y"])], ["batch", 3, 8, 8], inputs=("a", "b")), path)
    with pytest.raises(li.Usage, match="2 inputs"):
        embed(path, recipe("gan"))


def test_the_recipe_is_kept_once_and_fitted(tmp_path):
    path = tmp_path / "net.onnx"
    saved(classifier(), path)
    for name in ("gan", "imagenet"):
        embed(path, recipe(name))
    (kept,) = [p.value for p in onnx.load(path).metadata_props if p.key == KEY]
    assert stored(kept) == dataclasses.replace(recipe("imagenet"), size=(8, 8), shorter=9)
    image = photo()
    with li.Session(path) as own, li.Session(classifier(), preprocess="imagenet") as stated:
        np.testing.assert_array_equal(own.predict(image), stated.predict(image))


def test_onnxruntimes_own_resize_is_close_to_pillows_and_not_equal():
    """Why resizing is not folded. If this fails because they are equal, it can be."""
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    node = helper.make_node(
        "Resize", ["x", "", "", "sizes"], ["y"], mode="cubic", antialias=1, cubic_coeff_a=-0.5, exclude_outside=1
    )  # fmt: skip
    sizes = {"sizes": np.int64([1, 56, 57, 3])}
    model = network([node], [1, 90, 120, 3], kind=TensorProto.UINT8, result=TensorProto.UINT8, weights=sizes)
    (found,) = li.run(model, pixels[None])
    wanted = np.asarray(Image.fromarray(pixels).resize((57, 56), Image.Resampling.BICUBIC))
    assert 0 < np.abs(found[0].astype(int) - wanted).max() <= 1


def test_a_foreign_files_numbers_and_external_weights_are_kept(tmp_path):
    """Numbers in fields of their type, as `onnx.helper.make_tensor` writes them, and weights beside the file."""
    model = network([helper.make_node("Add", ["x", "k"], ["y"])], ["batch", 3, 16, 16])
    numbers = np.random.default_rng(0).standard_normal((3, 16, 16)).astype(np.float32)
    model.graph.initializer.append(helper.make_tensor("k", TensorProto.FLOAT, numbers.shape, numbers.ravel().tolist()))
    path = tmp_path / "net.onnx"
    for external in (None, True):
        saved(model, path)
        with li.Session(path, preprocess="gan") as session:
            here = session.predict([ALL])
        embed(path, recipe("gan"), fold=True, external_data=external)
        assert (tmp_path / "net.onnx.data").exists() == bool(external)
        with li.Session(path) as session:
            np.testing.assert_array_equal(session.predict([ALL]), here)


@pytest.mark.parametrize("options", [[], ["--with-preprocessing"], ["--external-data"]], ids=" ".join)
def test_convert_keeps_the_preprocessing(options, tmp_path, monkeypatch, capsys):
    from leaky_interop.cli import main

    monkeypatch.chdir(tmp_path)
    saved(classifier(), tmp_path / "net.onnx")
    (tmp_path / "own.toml").write_text('base = "imagenet"\nfilter = "bicubic"\n')
    with pytest.raises(SystemExit) as ended:
        main(["convert", "net.onnx", "out.onnx", "--preprocess", "own.toml", *options])
    assert ended.value.code == 0, capsys.readouterr().err
    with li.Session("out.onnx") as own, li.Session("net.onnx", preprocess="own.toml") as stated:
        np.testing.assert_allclose(own.predict([photo()]), stated.predict([photo()]), rtol=1e-6, atol=1e-6)
        assert (own.inputs[0].dtype == np.uint8) == ("--with-preprocessing" in options)


@pytest.mark.parametrize("command,match", [
    ("convert net.onnx out.onnx --preprocess nothing", "there is no preprocessing"),
    ("convert net.onnx out.torch --preprocess gan", "is none"),
    ("convert net.onnx out.onnx --with-preprocessing", "without --preprocess"),
    ("convert flat.onnx out.onnx --preprocess gan", "four axes"),
    ("convert net.onnx out.onnx --preprocess darknet --with-preprocessing", "127.5"),
])  # fmt: skip
def test_preprocessing_that_does_not_fit_leaves_no_file(command, match, tmp_path, monkeypatch, capsys):
    from leaky_interop.cli import main

    monkeypatch.chdir(tmp_path)
    saved(classifier(), tmp_path / "net.onnx")
    saved(same(["batch", 4]), tmp_path / "flat.onnx")
    with pytest.raises(SystemExit) as ended:
        main(command.split())
    assert ended.value.code in (2, 3)
    assert match in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir()} == {"net.onnx", "flat.onnx"}
