"""Sampling at a grid: PyTorch's and ONNX's spellings, sizes that are open, places beyond the data."""

import itertools

import numpy as np
import pytest
import torch
from family_checks import check, kinds, onnx_model
from torch.nn import functional

rng = np.random.default_rng(4)
SETTINGS = list(itertools.product(("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True)))


class Sample(torch.nn.Module):
    """grid_sample with settings."""

    def __init__(self, *settings):
        super().__init__()
        self.settings = settings

    def forward(self, x, grid):
        return functional.grid_sample(x, grid, *self.settings)


def drawn(batch=2, sizes=(5, 4), out=(3, 7), channels=3):
    x = rng.standard_normal((batch, channels, *sizes)).astype(np.float32)
    return x, rng.uniform(-2.5, 2.5, (batch, *out, len(sizes))).astype(np.float32)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_settings_of_torch(settings):
    graph = check(Sample(*settings), *drawn(), to=("torch", "onnx"))
    assert kinds(graph) == ["GridSample"]
    for batch in (1, 7):
        arrays = drawn(batch)
        np.testing.assert_allclose(
            graph.run(*arrays)[0], Sample(*settings)(*map(torch.tensor, arrays)).numpy(), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("settings", SETTINGS[:12:5], ids=str)
def test_volumes(settings):
    check(Sample(*settings), *drawn(sizes=(3, 4, 5), out=(2, 1, 3)))


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_a_single_element_and_the_outermost_places(padding, align_corners):
    x, _ = drawn(sizes=(1, 6))
    grid = np.stack(np.meshgrid(np.linspace(-2, 2, 9), [-3, -1, 0, 1]), -1).astype(np.float32)
    check(Sample("bilinear", padding, align_corners), x, np.stack([grid, grid]))


def test_places_far_away():
    x, grid = drawn()
    grid[0, 0] = 1e9
    grid[1, 0] = -1e9  # far beyond, onnxruntime's whole numbers overflow
    check(Sample("bilinear", "zeros", False), x, grid)
    check(Sample("bicubic", "border", False), x, grid, to=("torch", "onnx"))


class Warp(torch.nn.Module):
    """The sampler of a spatial transformer."""

    def __init__(self, align_corners):
        super().__init__()
        self.align_corners = align_corners

    def forward(self, x, theta):
        grid = functional.affine_grid(theta, (x.shape[0], *x.shape[1:]), self.align_corners)
        return functional.grid_sample(x, grid, align_corners=self.align_corners)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("sizes", [(5, 4), (1, 3), (3, 2, 4)], ids=str)
def test_spatial_transformer(align_corners, sizes):
    x, _ = drawn(sizes=sizes)
    theta = rng.uniform(-1, 1, (2, len(sizes), len(sizes) + 1)).astype(np.float32)
    check(Warp(align_corners), x, theta)


@pytest.mark.parametrize("opset", [16, 20, 22])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_modes_of_onnx_in_every_opset(opset, mode):
    """As onnxruntime and PyTorch compute them: onnx's reference brings a cubic place back before it looks around it."""
    name = f"bi{mode}" if opset < 20 and mode != "nearest" else mode
    x, grid = drawn()
    model = onnx_model("GridSample", [x, grid], opset=opset, mode=name, padding_mode="border")
    same = Sample(mode if mode == "nearest" else {"linear": "bilinear", "cubic": "bicubic"}[mode], "border", False)
    check(model, x, grid, given=[same(torch.tensor(x), torch.tensor(grid)).numpy()])


@pytest.mark.parametrize("target", [16, 19, 20, 22])
def test_every_opset_that_is_written(target):
    for sizes, out in (((5, 4), (3, 7)), ((3, 4, 5), (2, 1, 3))):
        check(Sample("bilinear", "reflection", True), *drawn(sizes=sizes, out=out), to=("onnx",), opset=target)


def test_float64_is_sampled_in_float64():
    arrays = [a.astype(np.float64) for a in drawn()]
    check(Sample("bicubic", "zeros", True), *arrays, to=("torch", "onnx"))
