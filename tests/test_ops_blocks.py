"""Sliding blocks in every native spelling."""

import keras
import numpy as np
import pytest
import torch
from family_checks import check, check_by_definition, kinds, onnx_model
from torch.nn import functional

rng = np.random.default_rng(2)
SETTINGS = [
    {"kernel_size": 2}, {"kernel_size": (3, 2), "stride": 2}, {"kernel_size": (2, 3), "padding": (1, 2), "dilation": (2, 1)},
]  # fmt: skip


def normal(*shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


def module(function):
    return type("Net", (torch.nn.Module,), {"forward": lambda self, *args: function(*args)})().eval()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("batch", [(), (2,)], ids=["alone", "batch"])
def test_blocks_of_torch(settings, batch):
    x = normal(*batch, 3, 6, 7)
    graph = check(module(lambda x: functional.unfold(x, **settings)), x, static_batch=not batch)
    assert "Unfold" in kinds(graph)

    columns = functional.unfold(torch.tensor(x), **settings).numpy()
    graph = check(module(lambda x: functional.fold(x, (6, 7), **settings)), columns, static_batch=not batch)
    assert "Fold" in kinds(graph)


def test_there_and_back_again_counts_how_often_an_element_is_covered():
    x = np.ones((1, 1, 4, 4), np.float32)
    again = module(lambda x: functional.fold(functional.unfold(x, 3), (4, 4), 3))
    graph = check(again, x, static_batch=True)
    assert graph.run(x)[0].max() == 4


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_blocks_of_keras(settings):
    inputs = keras.Input((3, 6, 7))
    x = normal(2, 3, 6, 7)
    check(keras.Model(inputs, keras.ops.unfold(inputs, **settings)), x)
    columns = functional.unfold(torch.tensor(x), **settings).numpy()
    inputs = keras.Input(columns.shape[1:])
    check(keras.Model(inputs, keras.ops.fold(inputs, (6, 7), **settings)), columns)


@pytest.mark.parametrize("opset", [17, 18, 21])
def test_every_opset_that_is_written(opset):
    x = normal(2, 12, 20)
    check(module(lambda x: functional.fold(x, (5, 6), 2)), x, to=("onnx",), opset=opset)


@pytest.mark.parametrize("attributes", [{}, {"strides": [2], "pads": [1, 2], "dilations": [2]}], ids=str)
def test_one_dimension_in_onnx(attributes):
    columns = normal(2, 6, 6 if not attributes else 4)
    model = onnx_model("Col2Im", [columns], [np.array([8]), np.array([3])], opset=18, **attributes)
    check_by_definition(model, columns)


def test_halves_are_added_in_float32():
    x = normal(2, 12, 20, dtype=np.float16)
    check(module(lambda x: functional.fold(x, (5, 6), 2)), x, to=("keras", "onnx"))
