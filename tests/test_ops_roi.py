"""Pooling over regions and deformable convolution, read from ONNX in every opset."""

import numpy as np
import pytest
from family_checks import check, check_by_definition, kinds, onnx_model

import leaky_interop as li
from leaky_interop.errors import Refused

rng = np.random.default_rng(6)
X = rng.standard_normal((2, 3, 7, 9)).astype(np.float32)
CORNERS = np.array([[0, 0, 5, 6], [1.5, 2.2, 3.1, 2.9], [-4, -1, 20, 9], [3, 3, 3, 3], [6, 5, 2, 1]], np.float32)
IMAGES = np.array([0, 1, 1, 0, 1])


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("transform", ["half_pixel", "output_half_pixel"])
def test_means_of_regions(samples, transform):
    settings = {"output_height": 2, "output_width": 3, "spatial_scale": 0.7, "sampling_ratio": samples}
    model = onnx_model("RoiAlign", [X, CORNERS, IMAGES], opset=16, coordinate_transformation_mode=transform, **settings)
    check_by_definition(model, X, CORNERS, IMAGES)
    for opset in (16, 21):
        graph = check_by_definition(model, X, CORNERS, IMAGES, to=("onnx",), opset=opset)
    assert kinds(graph) == ["RoiAlign"]


@pytest.mark.parametrize("settings", [{"mode": "max", "sampling_ratio": 2}, {"sampling_ratio": 0}], ids=str)
def test_what_only_onnx_has(settings):
    settings = {"output_height": 2, "output_width": 2, **settings}
    regions, images = CORNERS[:2], IMAGES[:2]
    model = onnx_model("RoiAlign", [X, regions, images], opset=16, **settings)
    check_by_definition(model, X, regions, images, to=("onnx",), opset=16)
    for target in ("torch", "keras"):
        with pytest.raises(Refused, match="region"):
            li.convert(model, to=target)


def test_regions_of_opset_10_are_not_shifted():
    model = onnx_model("RoiAlign", [X, CORNERS, IMAGES], opset=10, output_height=2, output_width=2, sampling_ratio=2)
    graph = check(model, X, CORNERS, IMAGES, to=("torch", "onnx"))
    assert not graph.nodes[-1].op.half


def test_one_image_is_not_repeated():
    model = onnx_model(
        "RoiAlign", [X[:1], CORNERS, IMAGES * 0], opset=16, output_height=2, output_width=2, sampling_ratio=2
    )
    check_by_definition(model, X[:1], CORNERS, IMAGES * 0)


@pytest.mark.parametrize("scale", [1.0, 0.5])
@pytest.mark.parametrize("opset", [1, 22])
def test_largest_of_regions(scale, opset):
    regions = np.concatenate([IMAGES[:, None], CORNERS], 1).astype(np.float32)
    model = onnx_model("MaxRoiPool", [X, regions], opset=min(opset, 21), pooled_shape=[3, 2], spatial_scale=scale)
    check(model, X, regions)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strides": [2, 1], "pads": [1, 0, 1, 2], "dilations": [1, 2]},
        {"group": 2, "offset_group": 2},
        {"offset_group": 4, "pads": [1, 1, 1, 1]},
    ],
    ids=str,
)
@pytest.mark.parametrize("masked", [False, True])
def test_deformable_convolution(settings, masked):
    from leaky_interop.ops.window import counts

    x, groups, shared = normal(2, 4, 6, 5), settings.get("group", 1), settings.get("offset_group", 1)
    kernel = normal(6, 4 // groups, 2, 3)
    flat = settings.get("pads", [0] * 4)
    out = counts(
        (6, 5),
        (2, 3),
        settings.get("strides", (1, 1)),
        settings.get("dilations", (1, 1)),
        ((flat[0], flat[2]), (flat[1], flat[3])),
    )
    offset = normal(2, shared * 12, *out)
    mask = rng.random((2, shared * 6, *out)).astype(np.float32) if masked else None
    data = [x, kernel, offset, normal(6), mask] if masked else [x, kernel, offset]
    model = onnx_model("DeformConv", data, opset=19 if masked else 22, **settings)
    check_by_definition(model, *data)


def test_a_stored_kernel_stays_a_weight():
    x, offset = normal(2, 3, 5, 5), normal(2, 18, 3, 3)
    model = onnx_model("DeformConv", [x, offset], [normal(4, 3, 3, 3)], opset=19)
    model.graph.node[0].input[:] = ["x0", "w0", "x1"]
    assert [p.name for p in check(model, x, offset, given=li.load(model).run(x, offset)).parameters()] == ["w0"]
