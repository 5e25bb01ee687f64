"""Preprocessing: the numbers of Keras' and torchvision's own recipes, bit for bit, in either layout; and its text."""

from __future__ import annotations

import importlib
import json
import pickle
import pkgutil

import keras
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import leaky_interop as li
from leaky_interop.inference import Preprocessing, recipe
from leaky_interop.inference.ports import Picture, Port, picture
from leaky_interop.inference.preprocessing import KEY
from leaky_interop.inference.recipes import RECIPES, stored
from tests.inference_samples import photo, same

FLOAT = np.dtype(np.float32)
FAMILIES = [
    module.name
    for module in pkgutil.iter_modules(keras.applications.__path__)
    if hasattr(importlib.import_module(f"keras.applications.{module.name}"), "preprocess_input")
]


def port(*shape, dtype=FLOAT) -> Port:
    return Port("x", (None, *shape), np.dtype(dtype))


def applied(made: Preprocessing, image: Image.Image, found: Port) -> np.ndarray:
    fitted, shape = made.fitted(found)
    return fitted.apply(image, shape, found.dtype)


# --- Keras ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "imagenet_utils"])
def test_every_keras_application_has_its_recipe(family):
    own = importlib.import_module(f"keras.applications.{family}").preprocess_input
    for width, height in ((32, 32), (50, 41)):
        image = photo(width, height, seed=len(family))
        loaded = image.resize((32, 32), Image.Resampling.NEAREST)
        expected = own(keras.utils.img_to_array(loaded, data_format="channels_last"), data_format="channels_last")
        found = applied(recipe(f"keras:{family}"), image, port(32, 32, 3))
        np.testing.assert_array_equal(found, expected, strict=True)
        first = applied(recipe(f"keras:{family}"), image, port(3, 32, 32))
        np.testing.assert_array_equal(first, expected.transpose(2, 0, 1), strict=True)


@pytest.mark.parametrize("family", ["mobilenet_v2", "vgg16"])
def test_the_size_is_brought_about_as_keras_loader_does(family, tmp_path):
    photo(61, 47).save(tmp_path / "a.png")
    loaded = keras.utils.img_to_array(
        keras.utils.load_img(tmp_path / "a.png", target_size=(40, 24)), data_format="channels_last"
    )
    own = importlib.import_module(f"keras.applications.{family}").preprocess_input
    with li.Session(same(["batch", 40, 24, 3]), preprocess=f"keras:{family}") as made:
        np.testing.assert_array_equal(made.predict(tmp_path / "a.png")[0], own(loaded, data_format="channels_last"))


# --- torchvision ------------------------------------------------------------------------------------------------------


def torchvision_imagenet(image: Image.Image, resize: int, crop: int) -> np.ndarray:
    """Resize, CenterCrop, ToTensor and Normalize of PIL images, as torchvision 0.20 to 0.28 documents and computes them."""
    width, height = image.size
    short, long = (width, height) if width <= height else (height, width)
    new_short, new_long = resize, int(resize * long / short)
    image = image.resize((new_short, new_long) if width <= height else (new_long, new_short), Image.Resampling.BILINEAR)
    top, left = int(round((image.height - crop) / 2.0)), int(round((image.width - crop) / 2.0))  # noqa: RUF046
    image = image.crop((left, top, left + crop, top + crop))
    tensor = torch.from_numpy(np.array(image)).permute(2, 0, 1).to(torch.float32).div(255)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return tensor.sub_(mean[:, None, None]).div_(std[:, None, None]).numpy()


@pytest.mark.parametrize(
    "size", [(500, 375), (375, 500), (640, 427), (256, 256), (100, 80), (224, 1001), (257, 256), (2, 3)]
)
def test_imagenet_is_torchvisions_recipe(size):
    image = photo(*size)
    np.testing.assert_array_equal(
        applied(recipe("imagenet"), image, port(3, 224, 224)), torchvision_imagenet(image, 256, 224), strict=True
    )


def test_another_size_keeps_the_proportion_of_the_crop():
    image = photo(400, 350)
    np.testing.assert_array_equal(
        applied(recipe("imagenet"), image, port(3, 299, 299)), torchvision_imagenet(image, 342, 299)
    )  # as torchvision's weights of Inception V3 state: 342, 299


def test_an_open_size_is_the_recipes():
    assert applied(recipe("imagenet"), photo(400, 350), port(3, None, None)).shape == (3, 224, 224)
    assert applied(recipe("gan"), photo(40, 35), port(None, None, 3)).shape == (35, 40, 3)


# --- the others -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size,inner", [((64, 32), (8, 0, 16, 32)), ((20, 60), (0, 11, 32, 10)), ((32, 32), (0, 0, 32, 32))]
)
def test_a_letterbox_is_half_grey_around_the_whole_picture(size, inner):
    image = photo(*size)
    found = applied(recipe("darknet"), image, port(3, 32, 32)).transpose(1, 2, 0)
    top, left, height, width = inner
    expected = np.full((32, 32, 3), 0.5, np.float32)
    small = image.resize((width, height), Image.Resampling.BILINEAR)
    expected[top : top + height, left : left + width] = np.asarray(small, np.float32) / np.float32(255)
    np.testing.assert_array_equal(found, expected)


def test_a_gans_pictures_lie_between_minus_one_and_one():
    ends = np.zeros((4, 4, 3), np.uint8)
    ends[:2] = 255
    found = applied(recipe("gan"), Image.fromarray(ends), port(4, 4, 3))
    assert found.min() == -1 and found.max() == 1


@pytest.mark.parametrize("colours", ["rgb", "bgr"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8"])
def test_every_field_reaches_the_numbers(colours, layout, dtype):
    """Against the formula, written again and slowly."""
    plain = dtype == "uint8"
    made = Preprocessing(
        size=(6, 9), filter="lanczos", colours=colours, layout=layout, divisor=1.0 if plain else 51.0,
        mean=() if plain else (0.5, 1.5, -2.0), std=() if plain else (3.0, 0.25, 7.0),
    )  # fmt: skip
    image = photo(31, 17)
    small = np.asarray(image.resize((9, 6), Image.Resampling.LANCZOS))
    expected = np.empty((6, 9, 3), np.float32)
    for y, x, c in np.ndindex(6, 9, 3):
        value = np.float32(small[y, x, c if colours == "rgb" else 2 - c])
        if not plain:
            value = (value / np.float32(51) - np.float32(made.mean[c])) / np.float32(made.std[c])
        expected[y, x, c] = value
    shape = (3, 6, 9) if layout == "nchw" else (6, 9, 3)
    found = applied(made, image, port(*shape, dtype=dtype))
    wanted = expected if layout == "nhwc" else expected.transpose(2, 0, 1)
    np.testing.assert_array_equal(found, wanted.astype(dtype), strict=True)
    assert found.flags.c_contiguous


def test_one_channel_is_grey():
    image = photo(9, 7)
    expected = np.asarray(image.convert("L"), np.float32)[None] / np.float32(127.5) - 1
    np.testing.assert_array_equal(applied(recipe("gan"), image, port(1, 7, 9)), expected)
    np.testing.assert_array_equal(
        applied(recipe("gan"), image.convert("L"), port(7, 9, 1)), expected.transpose(1, 2, 0)
    )
    grey = applied(recipe("gan"), image.convert("L"), port(3, 7, 9))
    np.testing.assert_array_equal(grey, np.repeat(expected, 3, axis=0))
    with pytest.raises(li.Usage, match="one channel"):
        recipe("imagenet").fitted(port(1, 7, 9))


def test_a_picture_is_not_blown_up_beyond_reason():
    with pytest.raises(li.Usage, match="on the other"):
        applied(recipe("imagenet"), Image.new("RGB", (1, 50_000_000)), port(3, 224, 224))


# --- layouts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape,expected",
    [
        ((3, 8, 9), Picture("nchw", 3, 8, 9)),
        ((8, 9, 3), Picture("nhwc", 3, 8, 9)),
        ((1, 28, 28), Picture("nchw", 1, 28, 28)),
        ((28, 28, 1), Picture("nhwc", 1, 28, 28)),
        ((3, None, None), Picture("nchw", 3, None, None)),
        ((None, None, 3), Picture("nhwc", 3, None, None)),
    ],
)
def test_the_layout_is_the_networks(shape, expected):
    assert picture(port(*shape)) == expected


@pytest.mark.parametrize("shape", [(3, 8, 3), (1, 1, 1), (3, 28, 1), (1, None, 3)])
def test_a_layout_that_is_not_certain_is_asked_for(shape):
    with pytest.raises(li.Usage, match="layout"):
        picture(port(*shape))
    assert picture(port(*shape), "nchw").channels == shape[0]
    assert picture(port(*shape), "nhwc").channels == shape[2]


@pytest.mark.parametrize("shape", [(8, 9, 4), (4,), (3, 8, 8, 8), (None, None, None), (2, 28, 28)])
def test_what_holds_no_pictures_is_said(shape):
    with pytest.raises(li.Usage, match="pictures"):
        picture(port(*shape))


@pytest.mark.parametrize("dtype,match", [("uint8", "fractions"), ("int64", "no pictures"), ("bool", "no pictures")])
def test_an_input_that_cannot_hold_the_numbers_is_refused(dtype, match):
    with pytest.raises(li.Usage, match=match):
        recipe("imagenet").fitted(port(3, 8, 8, dtype=dtype))


# --- text -------------------------------------------------------------------------------------------------------------


numbers = st.floats(-1e3, 1e3, width=32).filter(lambda x: x != 0)
rows = st.one_of(st.just(()), st.tuples(numbers), st.tuples(numbers, numbers, numbers))
sizes = st.one_of(st.none(), st.tuples(st.integers(1, 512), st.integers(1, 512)))


@settings(max_examples=60, deadline=None)
@given(
    size=sizes, filter=st.sampled_from(["nearest", "box", "bicubic"]), colours=st.sampled_from(["rgb", "bgr"]),
    divisor=numbers, mean=rows, std=rows, padding=numbers, fit=st.sampled_from(["stretch", "pad", "crop"]),
    layout=st.sampled_from([None, "nchw", "nhwc"]), output_range=st.sampled_from([None, (-1.0, 1.0), (0.0, 255.0)]),
)  # fmt: skip
def test_json_holds_every_field(size, fit, **fields):
    shorter = 512 if fit == "crop" and size else None
    made = Preprocessing(size=size, fit=fit, shorter=shorter, **fields)
    assert stored(made.to_json()) == made
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_name_and_survives(name):
    assert stored(recipe(name).to_json()) == recipe(name)


def test_a_file_changes_a_recipe(tmp_path):
    (tmp_path / "own.toml").write_text(
        'base = "keras:resnet50"\nfilter = "bicubic"\nsize = 96\nmean = [1, 2.5, 3]\nstd = 2\n'
    )
    found = recipe(tmp_path / "own.toml")
    assert found == Preprocessing(size=(96, 96), filter="bicubic", colours="bgr", mean=(1.0, 2.5, 3.0), std=(2.0,))


@pytest.mark.parametrize(
    "text,match",
    [
        ("size = 0", "not that of a picture"),
        ("size = [1, 2, 3]", "size is"),
        ("size = [1.5, 2]", "size is"),
        ("size = true", "size is"),
        ("colors = 'rgb'", "no field 'colors'"),
        ("colours = 'gbr'", "one of rgb, bgr"),
        ("filter = 'sinc'", "one of nearest"),
        ("fit = 'crop'\nsize = 8", "shorter"),
        ("shorter = 8", "shorter"),
        ("fit = 'crop'\nsize = [8, 9]\nshorter = 8", "cut out"),
        ("divisor = 0", "not 0"),
        ("divisor = nan", "finite"),
        ("divisor = '255'", "divisor is"),
        ("mean = [1, 2]", "three channels"),
        ("std = [1, 0, 1]", "not 0"),
        ("output_range = [0, 2]", "0..255"),
        ("base = 'keras:alexnet'", "based on"),
        ("layout = 'hwcn'", "one of"),
        ("= 3", "not TOML"),
        ("a = " + "[" * 5000, "not TOML"),
    ],
)
def test_a_wrong_file_says_which_field(tmp_path, text, match):
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(li.Usage, match=match):
        recipe(tmp_path / "own.toml")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"eval": 1}', "[" * 100_000, '{"size": [1, 1], "divisor": NaN}'])
def test_metadata_of_a_stranger_is_judged(text):
    model = same(["batch", 3, 8, 8])
    model.metadata_props.add(key=KEY, value=text)
    with pytest.raises(li.Usage):
        li.Session(model)


def test_a_name_that_is_not_there_lists_those_that_are():
    with pytest.raises(li.Usage, match="imagenet"):
        recipe("imagnet")
    with pytest.raises(FileNotFoundError):
        recipe("nowhere.toml")


def test_metadata_is_used_and_can_be_overruled():
    model = same(["batch", 3, 8, 8])
    model.metadata_props.add(key=KEY, value=json.dumps({"divisor": 2.0}))
    image = photo(8, 8)
    pixels = np.asarray(image, np.float32).transpose(2, 0, 1)[None]
    with li.Session(model) as made:
        np.testing.assert_array_equal(made.predict(image), pixels / 2)
    with li.Session(model, preprocess=Preprocessing()) as made:
        np.testing.assert_array_equal(made.predict(image), pixels)
