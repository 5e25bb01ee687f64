"""Resizing in every native spelling: torch's modes, Keras' layers and operation, ONNX of all opsets and coordinate modes."""

import itertools

import keras
import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from family_checks import check, kinds, onnx_model
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from spatial_checks import Call, draw, keras_model, open_sizes
from torch import nn

import leaky_interop as li
from leaky_interop.errors import Refused
from leaky_interop.ops.resample import mixing, nearest, nearest_in_onnxruntime, nearest_in_torch
from leaky_interop.ops.resize import Resize

layers, ops = keras.layers, keras.ops
X1, X2, X3 = draw(2, 3, 5), draw(2, 3, 4, 6), draw(1, 2, 3, 4, 2)
LAST1, LAST2, LAST3 = (np.moveaxis(x, 1, -1) for x in (X1, X2, X3))


def the_one(graph):
    (op,) = (n.op for n in graph.nodes if isinstance(n.op, Resize))
    return op


@pytest.mark.parametrize("settings_, x", [
    ({"scale_factor": 2}, X1), ({"scale_factor": (2, 3)}, X2), ({"scale_factor": 2}, X3),
    ({"size": (7, 3)}, X2), ({"size": 3}, X1), ({"scale_factor": 1.5}, X2), ({"scale_factor": 0.7}, X2),
    ({"scale_factor": (0.5, 2.5)}, X2), ({"scale_factor": 1.3, "recompute_scale_factor": True}, X2),
])  # fmt: skip
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_R36_torch_nearest(mode, settings_, x):
    check(Call(lambda x: F.interpolate(x, mode=mode, **settings_)), x)


@pytest.mark.parametrize("size", [{"scale_factor": 2}, {"size": 7}, {"size": 3}, {"scale_factor": 1.3}, {"size": 1}])
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("mode, x", [("linear", X1), ("bilinear", X2), ("trilinear", X3), ("bicubic", X2)])
def test_R36_torch_linear_and_cubic(mode, x, align_corners, size):
    check(Call(lambda x: F.interpolate(x, mode=mode, align_corners=align_corners, **size)), x)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(2, 3), (3, 9), (9, 8)])
def test_torch_antialias(mode, size):
    check(Call(lambda x: F.interpolate(x, size, mode=mode, antialias=True)), draw(1, 2, 7, 8))
    with pytest.raises(Refused, match="align_corners"):
        li.load(Call(lambda x: F.interpolate(x, size, mode=mode, antialias=True, align_corners=True)), (draw(1, 2, 7, 8),))


def test_torch_modules():
    for module in (nn.Upsample(scale_factor=2), nn.UpsamplingBilinear2d(scale_factor=2), nn.UpsamplingNearest2d(size=(8, 9))):
        check(module, X2)


@pytest.mark.parametrize("function", [
    lambda x: torch.ops.aten.upsample_nearest2d(x, [8, 9], 2.0, 1.5),
    lambda x: torch.ops.aten._upsample_nearest_exact2d(x, [8, 9]),
    lambda x: torch.ops.aten.upsample_bilinear2d(x, [8, 9], False, 2.0, None),
    lambda x: torch.ops.aten.upsample_bicubic2d(x, [8, 9], True),
])  # fmt: skip
def test_torch_overloads_with_a_scale_an_axis(function):
    check(Call(function), X2, to=("torch", "onnx"))


def test_area_of_torch_is_adaptive_pooling():
    assert kinds(check(Call(lambda x: F.interpolate(x, (2, 4), mode="area")), X2)) == ["AdaptiveAveragePool"]


# --- keras ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer, x", [
    (layers.UpSampling1D(3), LAST1), (layers.UpSampling2D((2, 3)), LAST2), (layers.UpSampling3D((1, 2, 3)), LAST3),
    (layers.UpSampling2D((3, 2), interpolation="bilinear"), LAST2),
    (layers.UpSampling2D((2, 3), data_format="channels_first"), X2),
])  # fmt: skip
def test_R36_keras_upsampling(layer, x):
    op = the_one(check(keras_model(layer, x.shape[1:]), x))
    assert op.coordinates == ("asymmetric" if op.mode == "nearest" else "half_pixel")


@pytest.mark.parametrize("size", [(8, 12), (7, 4), (3, 3), (2, 11)])
@pytest.mark.parametrize("interpolation, antialias", [("nearest", False), ("bilinear", False), ("bilinear", True)])
def test_keras_resizing(interpolation, antialias, size):
    for call in (
        layers.Resizing(*size, interpolation=interpolation, antialias=antialias),
        lambda x: ops.image.resize(x, size, interpolation=interpolation, antialias=antialias),
    ):
        check(keras_model(call, LAST2.shape[1:]), LAST2)


def test_keras_resizing_of_a_single_image():
    model = keras.Model(i := keras.Input(batch_shape=(4, 6, 3)), ops.image.resize(i, (5, 3)))
    check(model, LAST2[0], static_batch=True)


TENSORFLOW = keras.backend.backend() == "tensorflow"


@pytest.mark.parametrize("size", [(8, 12), (7, 4), (2, 3), (4, 11)])
@pytest.mark.parametrize("interpolation, antialias", [
    ("bicubic", False), ("bicubic", True), ("lanczos3", False), ("lanczos5", True), ("area", False),
])  # fmt: skip
def test_R54_keras_interpolations_as_the_backend_computes_them(interpolation, antialias, size):
    """Checked by the kernel's own formula where Keras does not compute it: torch has no lanczos and no area."""
    model = keras_model(lambda x: ops.image.resize(x, size, interpolation, antialias=antialias), LAST2.shape[1:])
    mode = {"bicubic": "cubic"}.get(interpolation, interpolation)
    plain = mode == "cubic" and not antialias
    coefficient, inside, steps = (-0.75, False, 0) if plain and not TENSORFLOW else (-0.5, True, 1024 if plain else 0)
    expected = LAST2.astype(np.float64)
    for axis, count in ((1, size[0]), (2, size[1])):
        matrix = mixing(expected.shape[axis], count, None, mode, "half_pixel", coefficient, inside, antialias, steps)
        assert abs(matrix.sum(1) - 1).max() < 1e-12
        expected = np.moveaxis(np.moveaxis(expected, axis, -1) @ matrix.T, -1, axis)
    np.testing.assert_allclose(li.load(model).run(LAST2)[0], expected, rtol=1e-5, atol=1e-6)
    check(model, LAST2, **({} if TENSORFLOW or mode == "cubic" else {"given": [expected.astype(np.float32)]}))


def test_R54_area_averages():
    x = draw(1, 4, 6, 1)
    graph = li.load(keras_model(lambda x: ops.image.resize(x, (2, 3), "area"), x.shape[1:]))
    np.testing.assert_allclose(graph.run(x)[0], x.reshape(1, 2, 2, 3, 2, 1).mean((2, 4)), rtol=1e-6)


@pytest.mark.parametrize("option", ["crop_to_aspect_ratio", "pad_to_aspect_ratio"])
@pytest.mark.parametrize("size", [(5, 5), (3, 8), (9, 2), (7, 49)])
def test_keras_resizing_that_keeps_the_aspect_ratio(option, size):
    check(keras_model(layers.Resizing(*size, fill_value=0.5, **{option: True}), LAST2.shape[1:]), LAST2)
    with pytest.raises(Refused, match="aspect ratio"):
        li.load(keras_model(layers.Resizing(*size, **{option: True}), (None, None, 3)))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float16"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_keras_resizing_of_other_dtypes(interpolation, dtype):
    x = np.random.default_rng(0).integers(0, 256, LAST2.shape).astype(dtype)
    given = keras.Input(x.shape[1:], dtype=dtype)
    model = keras.Model(given, layers.Resizing(5, 8, interpolation, dtype=dtype if dtype == "float16" else None)(given))
    expected, received = (li.run(m, x)[0] for m in (model, li.convert(model, to="onnx")))
    assert expected.dtype == received.dtype == np.dtype(dtype)
    off = abs(received.astype(float) - expected.astype(float))
    assert off.max() <= (0.25 if dtype == "float16" else 1)  # a number that falls in the middle of two integers
    assert dtype == "float16" or (off > 0).mean() < 0.01


def test_keras_resizing_to_the_ratio_that_the_images_have():
    check(keras_model(layers.Resizing(8, 12, crop_to_aspect_ratio=True), LAST2.shape[1:]), LAST2)  # which it has already


# --- onnx -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(1, 1, 2, 3), (1, 1, 1.5, 0.6), (1, 1, 0.5, 0.5)])
def test_onnx_upsample_and_resize_before_opset_11(mode, scales):
    scales = np.array(scales, np.float32)
    if (scales >= 1).all():
        check(onnx_model("Upsample", [X2], opset=7, mode=mode, scales=scales.tolist()), X2)
        check(onnx_model("Upsample", [X2], [scales], opset=9, mode=mode), X2)
    check(onnx_model("Resize", [X2], [scales], opset=10, mode=mode), X2)


def test_onnx_upsample_of_opset_1():
    """onnxruntime does not take it; it says the same as opset 7 with two scales."""
    node = helper.make_node("Upsample", ["x"], ["y"], height_scale=2.0, width_scale=3.0, mode="nearest")
    ports = [[helper.make_tensor_value_info(n, 1, s)] for n, s in (("x", X2.shape), ("y", None))]
    model = helper.make_model(helper.make_graph([node], "g", *ports), opset_imports=[helper.make_opsetid("", 1)])
    check(model, X2, given=[X2.repeat(2, 2).repeat(3, 3)])


COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@pytest.mark.parametrize("coordinates, rounding", itertools.product(COORDINATES, ROUNDINGS))
@pytest.mark.parametrize("opset", [11, 13, 18, 19])
def test_R37_onnx_nearest_in_every_coordinate_mode(coordinates, rounding, opset):
    """Exact everywhere: by index where a target has no such mode."""
    settings_ = {"mode": "nearest", "coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    empty = np.array([], np.float32)
    for sizes in ((2, 3, 7, 4), (2, 3, 3, 11), (2, 3, 8, 12)):
        check(onnx_model("Resize", [X2], [empty, empty, np.array(sizes)], opset=opset, **settings_), X2)
    scales = np.array([1, 1, 1.7, 0.6], np.float32)
    check(onnx_model("Resize", [X2], [empty, scales], opset=opset, **settings_), X2)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_onnx_linear_and_cubic(mode, coordinates):
    settings_ = {"mode": mode, "coordinate_transformation_mode": coordinates}
    empty = np.array([], np.float32)
    for sizes in ((2, 3, 7, 4), (2, 3, 1, 12)):
        check(onnx_model("Resize", [X2], [empty, empty, np.array(sizes)], opset=13, **settings_), X2)
    scales = np.array([1, 1, 1.7, 0.6], np.float32)
    check(onnx_model("Resize", [X2], [empty, scales], opset=13, **settings_), X2)


@pytest.mark.parametrize("a, outside", itertools.product((-0.75, -0.5), (0, 1)))
def test_onnx_cubic_coefficients(a, outside):
    sizes, empty = np.array([2, 3, 7, 4]), np.array([], np.float32)
    check(onnx_model("Resize", [X2], [empty, empty, sizes], opset=13, mode="cubic", cubic_coeff_a=a, exclude_outside=outside), X2)


def test_onnx_axes_and_aspect_ratio():
    settings_ = {"axes": [2, 3], "mode": "linear"}
    sizes = np.array([7, 15])
    check(onnx_model("Resize", [X2], [None, None, sizes], opset=19, keep_aspect_ratio_policy="stretch", **settings_), X2)
    for policy in ("not_larger", "not_smaller"):
        check(onnx_model("Resize", [X2], [None, None, sizes], opset=19, keep_aspect_ratio_policy=policy, **settings_), X2)
    check(onnx_model("Resize", [X2], [None, np.array([2, 1.5], np.float32)], opset=18, axes=[-1, 2], mode="nearest"), X2)


def test_onnx_channels_last_and_batch():
    last = np.ascontiguousarray(LAST2)
    check(onnx_model("Resize", [last], [None, np.array([1, 2, 3, 1], np.float32)], opset=13, mode="nearest"), last)
    check(onnx_model("Resize", [X2], [None, None, np.array([4, 6, 4, 6])], opset=13, mode="nearest"), X2, static_batch=True)


def test_onnx_what_no_other_framework_has():
    sizes = np.array([2, 3, 7, 4])
    region = np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32)
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "mode": "linear"}
    check(onnx_model("Resize", [X2], [region, None, sizes], opset=13, **crop), X2)  # all of it: corners are aligned
    with pytest.raises(Refused, match="onnxruntime ignores the region"):
        li.load(onnx_model("Resize", [X2], [region * 0.5, None, np.array([4, 6, 7, 6])], opset=13, **crop))
    with pytest.raises(Refused, match="cubic resizing of a region"):
        li.load(onnx_model("Resize", [X2], [region * 0.5, None, sizes], opset=13, **crop | {"mode": "cubic"}))
    centred = {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "mode": "nearest", "nearest_mode": "floor"}
    empty = np.array([], np.float32)
    check(onnx_model("Resize", [X2], [empty, empty, sizes], opset=11, **centred), X2)


@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"])
@pytest.mark.parametrize("mode, exclude_outside", [("linear", 0), ("linear", 1), ("cubic", 0), ("cubic", 1)])
@pytest.mark.parametrize("to", [{"sizes": (2, 5)}, {"sizes": (3, 1)}, {"sizes": (9, 2)}, {"scales": (0.6, 0.55)}, {"scales": (1.5, 0.3)}])
def test_onnx_antialias(to, mode, exclude_outside, coordinates):
    """Smaller images: the border is repeated, or left out; what becomes larger is mixed as without it."""
    scales = np.array([1, 1, *to["scales"]], np.float32) if "scales" in to else None
    sizes = np.array([*X2.shape[:2], *to["sizes"]]) if "sizes" in to else None
    settings = {"mode": mode, "exclude_outside": exclude_outside, "coordinate_transformation_mode": coordinates}
    check(onnx_model("Resize", [X2], [None, scales, sizes], opset=19, antialias=1, **settings), X2)


@pytest.mark.parametrize("mode, rounding", [("linear", "floor"), *(("nearest", r) for r in ROUNDINGS)])
@pytest.mark.parametrize("region", [(0.1, 0.3, 0.8, 0.9), (-0.4, 0, 0.7, 1.3), (0.9, 0.2, 0.05, 0.2), (0, 0, 1, 1)], ids=str)
@pytest.mark.parametrize("size", [(7, 4), (1, 9), (3, 1), (5, 7)], ids=str)
def test_onnx_region(size, region, mode, rounding):
    """Regions within, reaching beyond, turned round, of no width, and the whole."""
    settings = {"mode": mode, "nearest_mode": rounding, "coordinate_transformation_mode": "tf_crop_and_resize"}
    numbers = [np.float32([0, 0, *region[:2], 1, 1, *region[2:]]), None, np.array([2, 3, *size])]
    check(onnx_model("Resize", [X2], numbers, opset=13, extrapolation_value=-7.5, **settings), X2)
    numbers = [np.float32(region), None, np.array(size)]
    check(onnx_model("Resize", [X2], numbers, opset=18, axes=[2, 3], **settings), X2)


def test_onnx_half_pixel_symmetric():
    scales = np.array([1, 1, 1.7, 0.6], np.float32)
    settings_ = {"coordinate_transformation_mode": "half_pixel_symmetric"}
    check(onnx_model("Resize", [X2], [None, scales], opset=19, mode="linear", **settings_), X2)
    with pytest.raises(Refused, match="half_pixel_symmetric"):  # onnxruntime and the definition differ
        li.load(onnx_model("Resize", [X2], [None, scales], opset=19, mode="nearest", **settings_))


def test_float64_is_written_out_where_onnxruntime_has_no_kernel():
    module = nn.Upsample(scale_factor=2, mode="bilinear").double()
    check(module, X2.astype(np.float64))


# --- one form per meaning ---------------------------------------------------------------------------------------------


def test_nearest_by_a_whole_factor_is_one_operator_however_it_is_said():
    said = [
        li.load(nn.Upsample(scale_factor=2), (X2,)),
        li.load(nn.Upsample(scale_factor=2, mode="nearest-exact"), (X2,)),
        li.load(Call(lambda x: F.interpolate(x, (8, 12))), (X2,)),
        li.load(onnx_model("Resize", [X2], [None, np.array([1, 1, 2, 2], np.float32)], opset=13)),
        li.load(onnx_model("Upsample", [X2], [np.array([1, 1, 2, 2], np.float32)], opset=9)),
    ]
    for op in map(the_one, said):
        assert (op.coordinates, op.rounding, op.scales) == ("asymmetric", "floor", (None,) * 4)


@pytest.mark.parametrize("size, count", [(26, 22), (39, 33), (591, 540), (45, 243)])
def test_sizes_where_float32_picks_a_neighbour(size, count):
    """torch's coordinate comes out just below an element: what it takes is kept, and every target takes the same."""
    x = draw(1, 1, size)
    assert nearest_in_torch(size, count, None, False) != nearest(size, count, None, "asymmetric", "floor")
    graph = check(Call(lambda x: F.interpolate(x, count)), x)
    assert kinds(graph) == ["Gather"]


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(COORDINATES), st.sampled_from(ROUNDINGS))
def test_what_onnxruntime_takes(size, count, coordinates, rounding):
    x = np.arange(size, dtype=np.float32).reshape(1, 1, size)
    settings_ = {"mode": "nearest", "coordinate_transformation_mode": coordinates, "nearest_mode": rounding}
    model = onnx_model("Resize", [x], [None, None, np.array([1, 1, count])], opset=13, **settings_)
    taken = nearest_in_onnxruntime(size, count, None, coordinates, rounding)
    assert li.run(model, [x])[0].reshape(-1).astype(int).tolist() == list(taken)


# --- open sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [
    lambda x: F.interpolate(x, scale_factor=2),
    lambda x: F.interpolate(x, scale_factor=(3, 2), mode="nearest-exact"),
    lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
    lambda x: F.interpolate(x, size=(x.shape[2] * 2, x.shape[3] * 3)),
])  # fmt: skip
def test_open_height_and_width_from_torch(function):
    open_sizes(Call(function), X2, draw(3, 3, 7, 5), input_shapes=(None, 3, None, None))


@pytest.mark.parametrize("function", [
    lambda x: F.interpolate(x, scale_factor=0.5),
    lambda x: F.interpolate(x, scale_factor=1.5, mode="bilinear"),
    lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
    lambda x: F.interpolate(x, scale_factor=2, mode="bicubic"),
    lambda x: F.interpolate(x, size=(x.shape[2] + 1, 7), mode="bilinear"),
])  # fmt: skip
def test_open_height_and_width_that_keras_cannot(function):
    options = {"input_shapes": (None, 3, None, None)}
    open_sizes(Call(function), X2, draw(3, 3, 7, 5), to=("torch", "onnx"), **options)
    with pytest.raises(Refused, match="open size"):
        li.convert(Call(function), to="keras", example=(X2,), **options)


@pytest.mark.parametrize("layer", [layers.UpSampling2D(2), layers.UpSampling2D((2, 3), interpolation="bilinear")])
def test_open_height_and_width_from_keras(layer):
    open_sizes(keras_model(layer, (None, None, 3)), LAST2, draw(3, 7, 5, 3))


def test_open_length():
    open_sizes(keras_model(layers.UpSampling1D(2), (None, 3)), LAST1, draw(3, 8, 3))
    open_sizes(Call(lambda x: F.interpolate(x, scale_factor=2, mode="linear")), X1, draw(3, 3, 8), input_shapes=(None, 3, None))


def test_an_upsampling_to_the_size_of_another_input():
    """As feature pyramids do: the sizes are another value's, computed when the network runs."""
    x, skip = X2, draw(2, 3, 9, 13)
    shapes = (None, 3, None, None)
    module = Call(lambda x, skip: F.interpolate(x, skip.shape[2:]) + skip)
    graph = li.load(module, (x, skip), input_shapes=[shapes, shapes])
    from leaky_interop.converting import transfer_graph

    for framework in ("torch", "onnx"):
        made = transfer_graph(graph, framework).model
        for small, large in ((x, skip), (draw(1, 3, 5, 5), draw(1, 3, 10, 15))):
            expected = torch.nn.functional.interpolate(torch.tensor(small), large.shape[2:]).numpy() + large
            np.testing.assert_array_equal(li.run(made, [small, large])[0], expected)


def test_onnx_sizes_computed_from_the_shape():
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]), helper.make_node("Mul", ["shape", "twice"], ["sizes"]),
        helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric"),
    ]  # fmt: skip
    ports = [[helper.make_tensor_value_info(n, 1, s)] for n, s in (("x", ["n", 3, "h", "w"]), ("y", None))]
    stored = [onnx.numpy_helper.from_array(np.array([1, 1, 2, 3]), "twice")]
    model = helper.make_model(helper.make_graph(nodes, "g", *ports, stored), opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    open_sizes(model, X2, draw(3, 3, 7, 5))
