"""Max pooling with indices, and putting maxima back: PyTorch's and ONNX's ways of counting."""

import numpy as np
import pytest
import torch
from family_checks import check, check_by_definition, onnx_model
from torch import nn

rng = np.random.default_rng(1)


class Both(nn.Module):
    """A pool whose places an unpool reads."""

    def __init__(self, pool, unpool, size=None):
        super().__init__()
        self.pool, self.unpool, self.size = pool, unpool, size

    def forward(self, x):
        y, places = self.pool(x)
        return self.unpool(y * 2, places, output_size=self.size), places


@pytest.mark.parametrize(
    ("spatial", "settings"),
    [
        (2, {"kernel_size": 2}),
        (2, {"kernel_size": (3, 2), "stride": (3, 2), "padding": (1, 0)}),
        (1, {"kernel_size": 2}),
        (3, {"kernel_size": 2}),
    ],
    ids=str,
)
def test_there_and_back_in_torch(spatial, settings):
    x = rng.standard_normal((2, 3, *(6, 4, 4)[:spatial])).astype(np.float32)
    pool = getattr(nn, f"MaxPool{spatial}d")(return_indices=True, **settings)
    unpool = getattr(nn, f"MaxUnpool{spatial}d")(**settings)
    check(Both(pool, unpool, x.shape[2:]).eval(), x, static_batch=True)


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("padding", [0, 1])
def test_places_of_torch(ceil, padding):
    """Data below zero, and lowest numbers: padding is never the largest."""
    x = -np.abs(rng.standard_normal((2, 3, 7, 6))).astype(np.float32)
    pool = nn.MaxPool2d(3, 2, padding, ceil_mode=ceil, return_indices=True)
    graph = check(pool, x)
    assert graph.run(x)[1].min() >= 0


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 0, 1, 0]])
def test_places_of_onnx(order, pads):
    """They count in the whole tensor: those of the second image begin where the first one's end."""
    x = rng.standard_normal((2, 3, 6, 5)).astype(np.float32)
    settings = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": pads, "storage_order": order}
    model = onnx_model("MaxPool", [x], opset=12, outputs=2, shown=2, **settings)
    model.graph.output[1].type.tensor_type.elem_type = 7
    expected = nn.functional.max_pool2d(
        torch.tensor(np.pad(x, ((0, 0), (0, 0), (pads[0],) * 2, (0, 0)), constant_values=-9)), 2
    )
    _, places = check(model, x).run(x)
    flat = x.transpose(0, 1, 3, 2).reshape(-1) if order else x.reshape(-1)
    np.testing.assert_array_equal(flat[places], expected.numpy())


@pytest.mark.parametrize("shape", [None, [2, 3, 7, 6]])
@pytest.mark.parametrize("opset", [9, 11, 22])
def test_unpooling_of_onnx(shape, opset):
    x = rng.standard_normal((2, 3, 3, 2)).astype(np.float32)
    places = np.stack([rng.permutation(24)[:6] + 24 * i for i in range(6)]).reshape(x.shape)
    weights = [] if shape is None else [np.array(shape)]
    model = onnx_model("MaxUnpool", [x, places], weights, opset=opset, kernel_shape=[2, 2], strides=[2, 2])
    check_by_definition(model, x, places)
