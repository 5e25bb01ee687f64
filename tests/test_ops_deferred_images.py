"""Crops, columns, grids, transforms, windows and frames whose sizes are inputs of the network."""

import numpy as np
import pytest
from family_checks import check_by_definition, onnx_model

import leaky_interop as li
from leaky_interop.errors import Refused

rng = np.random.default_rng(4)
BOTH = ("torch", "onnx")


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def whole(*numbers):
    return np.array(numbers if len(numbers) != 1 else numbers[0], np.int64)


@pytest.mark.parametrize("axes", [None, (2, 0, -2)])
@pytest.mark.parametrize("wanted", [(5, 7, 9), (4, 4, 4), (1, 9, 6), (8, 6, 7)], ids=str)
def test_centred_crops(axes, wanted):
    data = [normal(5, 7, 8), whole(*wanted)]
    check_by_definition(onnx_model("CenterCropPad", data, opset=18, axes=axes), *data, to=BOTH)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize("size", [(7, 4), (1, 9)], ids=str)
@pytest.mark.parametrize("region", [(0.1, 0.3, 0.8, 0.9), (-0.4, 0, 0.7, 1.3)], ids=str)
def test_resized_regions(region, size, mode):
    data = [normal(2, 3, 4, 6), np.float32(region), whole(*size)]
    settings = {"mode": mode, "coordinate_transformation_mode": "tf_crop_and_resize", "axes": [2, 3]}
    model = onnx_model("Resize", [*data[:2], None, data[2]], opset=18, extrapolation_value=-7.5, **settings)
    check_by_definition(model, *data, to=BOTH)


@pytest.mark.parametrize("settings", [{}, {"pads": [1, 1, 1, 1], "strides": [2, 1], "dilations": [1, 2]}], ids=str)
def test_columns(settings):
    count = 18 if settings else 20
    data = [normal(2, 12, count), whole(5, 6), whole(2, 2)]  # four elements of three channels
    model = onnx_model("Col2Im", data, opset=18, **settings)
    check_by_definition(model, *data, to=BOTH)


@pytest.mark.parametrize("align_corners", [0, 1])
@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 3, 2, 4, 5)], ids=str)
def test_affine_grids(align_corners, size):
    dims = len(size) - 2
    data = [normal(2, dims, dims + 1), whole(*size)]
    check_by_definition(onnx_model("AffineGrid", data, opset=20, align_corners=align_corners), *data, to=("torch",))


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("attributes", [{}, {"inverse": 1}, {"onesided": 1}, {"inverse": 1, "onesided": 1}], ids=str)
@pytest.mark.parametrize(("axis", "length"), [(1, 8), (-2, 4), (2, None)])
def test_transforms(parts, attributes, axis, length):
    if attributes.get("onesided") and (parts == 2) != bool(attributes.get("inverse")):
        pytest.skip("one half tells all of real data only")
    data = [normal(2, 8, 4, parts), None if length is None else whole(length), whole(axis)]
    model = onnx_model("DFT", data, opset=20, **attributes)
    inverse_half = len(attributes) == 2  # which onnxruntime has not
    check_by_definition(model, *(a for a in data if a is not None), to=("torch",) if inverse_half else BOTH)


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("window", [None, np.hanning(8).astype(np.float32)], ids=["plain", "hann"])
def test_frames(onesided, window):
    data = [normal(2, 20, 1), whole(3), window, whole(8)]
    model = onnx_model("STFT", data, opset=17, onesided=onesided)
    check_by_definition(model, *(a for a in data if a is not None), to=BOTH)


@pytest.mark.parametrize("name", ["Hann", "Hamming", "Blackman"])
@pytest.mark.parametrize("periodic", [0, 1])
def test_windows(name, periodic):
    model = onnx_model(f"{name}Window", [whole(7)], opset=17, result=np.float32, periodic=periodic)
    for size in (7, 16):
        check_by_definition(model, whole(size), to=BOTH)


def test_mel_filters_are_made_by_onnx_alone():
    data = [whole(8), whole(16), whole(8192), np.array(0.0, np.float32), np.array(4096.0, np.float32)]
    model = onnx_model("MelWeightMatrix", data, opset=17, result=np.float32)
    check_by_definition(model, *data, to=("onnx",))
    with pytest.raises(Refused, match="mel filters"):
        li.convert(model, to="torch")


def test_running_products():
    data = [normal(2, 5), whole(1)]
    model = onnx_model("CumProd", data, opset=26, exclusive=1, reverse=1)
    check_by_definition(model, *data, to=("torch",))
