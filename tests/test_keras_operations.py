"""Layers and operations of Keras that are read by what they do: in keras.ops, in Keras' own code or in definitions here."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import leaky_interop as li
from leaky_interop.errors import Refused, Unsupported

layers, image, ops = keras.layers, keras.ops.image, keras.ops
BACKEND = keras.backend.backend()


def pixels(*shape, high=255.0, dtype="float32", seed=0):
    return np.random.default_rng(seed).uniform(0, high, shape).astype(dtype)


def agrees(code, *arrays, rtol=1e-5, batch=True):
    """What `code` makes of the arrays is the same as an ONNX file and in torch; with a batch of 1, 2 and 7 where there is one."""
    inputs = [
        keras.Input(a.shape[1:], dtype=a.dtype.name) if batch else keras.Input(batch_shape=a.shape, dtype=a.dtype.name)
        for a in arrays
    ]
    model = keras.Model(inputs, code(*inputs))
    made = [li.convert(model, to=to) for to in ("onnx", "torch")]
    for size in (1, 2, 7) if batch else (0,):
        given = [np.resize(a, (size, *a.shape[1:])) for a in arrays] if batch else list(arrays)
        for expected, *received in zip(li.run(model, given), *(li.run(m, given) for m in made), strict=True):
            for found in received:
                assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
                scale = np.abs(expected[np.isfinite(expected)]).max(initial=0)
                np.testing.assert_allclose(found.astype(float), expected.astype(float), rtol=rtol, atol=rtol * scale)


LAYERS = {
    "contrast": (lambda: layers.AutoContrast((20, 200)), pixels(2, 6, 5, 3)),
    "crop": (lambda: layers.CenterCrop(3, 4), pixels(2, 7, 9, 3)),
    "crop_grows": (lambda: layers.CenterCrop(8, 4), pixels(2, 7, 9, 3)),
    "random_crop": (lambda: layers.RandomCrop(3, 4), pixels(2, 7, 9, 3)),
    "categories": (lambda: layers.CategoryEncoding(4, output_mode="count"), np.array([[1, 1, 3], [0, 2, 2]])),
    "categories_one": (lambda: layers.CategoryEncoding(4, output_mode="one_hot"), np.array([[1], [3]])),
    "bins": (lambda: layers.Discretization([-1.0, 0.5, 2.0]), np.array([[-1.0, -1.01, 0.5, 7.0, np.nan]], np.float32)),
    "bins_hot": (
        lambda: layers.Discretization([-1.0, 2.0], output_mode="multi_hot"),
        np.array([[-1.0, 3.0]], np.float32),
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_that_compute_with_their_backend_are_opened(name):
    make, x = LAYERS[name]
    agrees(make(), x)


VOCABULARIES = {"near": [3, 1, 7], "far": [3, -10_000_000, 7, 2**40]}


@pytest.mark.parametrize("vocabulary", VOCABULARIES)
@pytest.mark.parametrize(
    "settings",
    [{}, {"num_oov_indices": 3}, {"mask_token": 5}, {"output_mode": "count"}, {"output_mode": "multi_hot"},
     {"output_mode": "tf_idf", "idf_weights": True}, {"invert": True}, {"output_mode": "one_hot", "max_tokens": 9, "pad_to_max_tokens": True}],
)  # fmt: skip
def test_integers_are_looked_up(vocabulary, settings):
    pytest.importorskip("tensorflow")  # which the layer computes with, whatever the backend
    tokens = VOCABULARIES[vocabulary]
    settings = settings | ({"idf_weights": [0.5 + i for i in range(len(tokens))]} if "idf_weights" in settings else {})
    layer = layers.IntegerLookup(vocabulary=tokens, **settings)
    x = np.array([[0, 2, 3, 1]] if settings.get("invert") else [[3, 9, -1, 7], [2**40, 5, -10_000_000, 2**33]])
    agrees(layer, x)


def test_an_empty_vocabulary_and_hashes_are_refused_or_read():
    pytest.importorskip("tensorflow")
    x = keras.Input((3,), dtype="int64")
    for layer in (layers.Hashing(4), layers.IntegerLookup(vocabulary=[1], num_oov_indices=2, oov_method="farmhash")):
        with pytest.raises(Refused, match="FarmHash"):
            li.convert(keras.Model(x, layer(x)), to="onnx")


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.TextVectorization(vocabulary=["a", "b"]),
        lambda: layers.Hashing(num_bins=5),
    ],
    ids=["TextVectorization", "Hashing"],
)
def test_layers_that_read_text_are_refused_by_name(make):
    pytest.importorskip("tensorflow")
    x = keras.Input((1,), dtype="string")
    layer = make()
    with pytest.raises(Refused, match=rf"{type(layer).__name__}.*Compute it before the network"):
        li.convert(keras.Model(x, layer(x)), to="onnx")


@pytest.mark.parametrize("mode", ["int", "one_hot", "multi_hot", "count", "tf_idf"])
def test_a_masked_number_leaves_no_trace_in_vectors(mode):
    pytest.importorskip("tensorflow")
    more = {"idf_weights": [0.5, 1.5]} if mode == "tf_idf" else {}
    x, rows = keras.Input((3,), dtype="int64"), np.array([[7, 0, 5], [0, 0, 9], [9, 5, 5]])
    model = keras.Model(x, layers.IntegerLookup(vocabulary=[5, 9], mask_token=0, output_mode=mode, **more)(x))
    wanted = np.asarray(keras.ops.convert_to_numpy(model(rows)))
    for to in ("onnx", "torch"):
        found = li.run(li.convert(model, to=to), [rows])
        np.testing.assert_array_equal(np.asarray(found[0] if isinstance(found, list) else found), wanted)


OPERATIONS = {
    "grey": (lambda x: image.rgb_to_grayscale(x), pixels(2, 4, 5, 3)),
    "hsv": (lambda x: image.rgb_to_hsv(x), np.concatenate([pixels(1, 4, 5, 3, high=1), np.zeros((1, 4, 5, 3), np.float32)])),
    "rgb": (lambda x: image.hsv_to_rgb(x), pixels(2, 4, 5, 3, high=1)),
    "blur": (lambda x: image.gaussian_blur(x, (3, 3), (0.7, 1.4)), pixels(2, 6, 5, 3)),
    "blur_even": (lambda x: image.gaussian_blur(x, (4, 4), (0.7, 1.4)), pixels(2, 6, 5, 2)),
    "edges": (lambda x: image.sobel_edges(x, data_format="channels_last"), pixels(2, 6, 5, 3)),
    "patches": (lambda x: image.extract_patches(x, (2, 3), strides=(2, 1), padding="same"), pixels(2, 6, 5, 3)),
    "crop": (lambda x: image.crop_images(x, top_cropping=1, left_cropping=2, target_height=3, target_width=2), pixels(2, 6, 5, 3)),
    "pad": (lambda x: image.pad_images(x, top_padding=1, left_padding=2, target_height=9, target_width=9), pixels(2, 6, 5, 3)),
    "digitize": (lambda x: ops.digitize(x, np.array([-1.0, 0.5], "float32")), np.array([[-1, 0.5, np.nan, np.inf, -2]], np.float32)),
    "multi_hot": (lambda x: ops.multi_hot(x, 5), np.array([[1, 1, 4], [0, 2, 3]], np.int32)),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_read_by_their_definitions(name):
    agrees(*OPERATIONS[name])


def test_the_same_places_of_ties_and_of_infinities_are_among_the_first():
    predictions = np.array([[1, 3, 3, 2], [4, 4, 4, 4], [np.inf, 1, 2, 3]], np.float32)
    for k in (1, 2, 3):
        agrees(lambda x, k=k: ops.in_top_k(np.array([1, 3, 3]), x, k), predictions, batch=False)


@pytest.mark.parametrize("name", ["segment_sum", "segment_max", "segment_min", "segment_prod"])
@pytest.mark.parametrize(
    "ids", [[0, 2, 2, 5, -1], [0, 0, 1, 2, -1 if BACKEND == "tensorflow" else 9]]
)  # which TensorFlow refuses
def test_rows_of_segments_are_brought_together(name, ids):
    rows = np.array([[1, 2], [-3, np.inf], [0.5, 4], [7, -8], [9, 10]], np.float32)
    agrees(lambda x: getattr(ops, name)(x, np.array(ids, "int32"), 6), rows, batch=False)
    agrees(lambda x, i: getattr(ops, name)(x, i, 6), rows, np.array(ids, np.int32), batch=False)


@pytest.mark.parametrize("fill", ["constant", "nearest", "wrap", "reflect"])
@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("form", ["channels_last", "channels_first"])
def test_images_are_bent_by_affine_maps(fill, interpolation, form):
    x = pixels(2, 5, 6, 3) if form == "channels_last" else pixels(2, 3, 5, 6)
    maps = np.array([[0.9, 0.31, -4.3, -0.2, 1.07, 9.4, 0, 0], [-1.1, 0.2, 8.6, 0.3, 0.8, -3.2, 0, 0]], np.float32)
    bent = lambda x, m: image.affine_transform(x, m, interpolation, fill, 7, data_format=form)  # noqa: E731
    agrees(bent, x, maps, rtol=1e-4)


def test_images_are_bent_by_four_points():
    start = np.array([[[0, 0], [5, 1], [0, 4], [6, 5]]], np.float32)
    end = np.array([[[1, 0], [4, 1], [0, 3], [5, 4]]], np.float32)
    agrees(lambda x: image.perspective_transform(x, start, end), pixels(1, 6, 7, 3), rtol=1e-4, batch=False)


@pytest.mark.parametrize("method", ["linear", "cubic", "lanczos3", "lanczos5"])
@pytest.mark.parametrize("antialias", [True, False])
def test_images_are_scaled_and_moved(method, antialias):
    scale, translation = np.array([0.6, 1.7], np.float32), np.array([0.4, -1.3], np.float32)
    agrees(
        lambda x, s, t: image.scale_and_translate(x, (4, 9, 3), s, t, (0, 1), method, antialias),
        pixels(6, 5, 3), scale, translation, rtol=1e-4, batch=False,
    )  # fmt: skip


@pytest.mark.parametrize("fill", ["constant", "nearest", "wrap", "reflect"])
@pytest.mark.parametrize("order", [0, 1])
def test_numbers_are_read_at_coordinates(fill, order):
    places = np.random.default_rng(1).uniform(-6, 9, (2, 3, 4)).astype(np.float32)
    agrees(lambda x, c: image.map_coordinates(x, c, order, fill, 2.5), pixels(4, 5), places, rtol=1e-4, batch=False)


def test_layers_that_are_given_images_and_boxes():
    given = {
        "images": keras.Input((6, 5, 3)),
        "bounding_boxes": {"boxes": keras.Input((2, 4)), "labels": keras.Input((2,))},
    }
    model = keras.Model(given, layers.MaxNumBoundingBoxes(3, bounding_box_format="xyxy")(given))
    arrays = [pixels(2, 2, 4, high=5), pixels(2, 2), pixels(2, 6, 5, 3)]
    for expected, received in zip(li.run(model, arrays), li.run(li.convert(model, to="onnx"), arrays), strict=True):
        np.testing.assert_array_equal(received, expected)


def test_what_keras_names_no_operations_for_is_still_unsupported():
    class Own(keras.Operation):
        def call(self, x):
            return np.linalg.norm(x)

        def compute_output_spec(self, x):
            return keras.KerasTensor((), x.dtype)

    x = keras.Input((3,))
    with pytest.raises(Unsupported, match="Own"):
        li.convert(keras.Model(x, Own()(x)), to="onnx")


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="Keras on torch loses the input of nonzero")
@pytest.mark.parametrize("dtype", ["float32", "int32", "bool"])
@pytest.mark.parametrize("shape", [(3,), (5, 6), (2, 3, 4)], ids=str)
def test_nonzero_tells_its_size_when_it_runs(shape, dtype):
    x = keras.Input(shape, dtype=dtype)
    model = keras.Model(x, list(keras.ops.nonzero(x)))
    array = np.random.default_rng(0).integers(-1, 2, (3, *shape)).astype(dtype)
    for given in (array, np.zeros_like(array), np.ones_like(array)):
        for to in ("onnx", "torch"):
            for received, expected in zip(li.run(li.convert(model, to=to), [given]), np.nonzero(given), strict=True):
                assert received.dtype == np.int32
                np.testing.assert_array_equal(received, expected)
