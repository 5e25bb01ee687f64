"""Medians, entries of a rank, places in a sorted list, and functions that torch.vmap maps over a batch."""

import numpy as np
import pytest
import torch

import leaky_interop as li
from leaky_interop.errors import Refused

SORTED = torch.tensor([-1.0, -0.5, 0.0, 0.0, 0.25, 1.0])
FUNCTIONS = {
    "median": lambda x: x.median(),
    "median along": lambda x: x.median(1),
    "median kept": lambda x: x.median(-1, keepdim=True),
    "median of an open axis": lambda x: x.median(0)[0],
    "of integers": lambda x: (x * 8).round().int().median(1)[0],
    "kthvalue": lambda x: x.kthvalue(3, 1),
    "kthvalue first": lambda x: x.kthvalue(1, -1, keepdim=True),
    "kthvalue last": lambda x: x.kthvalue(5)[0],
    "searchsorted": lambda x: torch.searchsorted(SORTED, x),
    "searchsorted right": lambda x: torch.searchsorted(SORTED, x, right=True, out_int32=True),
    "searchsorted side": lambda x: torch.searchsorted(SORTED, x, side="right"),
    "searchsorted rows": lambda x: torch.searchsorted(x.sort(1)[0], x[:, :2]),
    "searchsorted unsorted": lambda x: torch.searchsorted(x, x[:, :2].contiguous(), sorter=x.argsort(1)),
    "searchsorted number": lambda x: torch.searchsorted(x[0].sort()[0], 0.1),
    "vmap": lambda x: torch.vmap(lambda row: torch.nn.functional.leaky_relu(row, 0.2) * row.sum())(x),
    "vmap of two": lambda x: torch.vmap(lambda a, b: a.cumsum(0) - b)(x, x.flip(1)),
}


class Function(torch.nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_as_pytorch_computes_it(function, to):
    made = li.convert(Function(function), to=to, example=(torch.randn(3, 5),))
    for batch in (1, 2, 7):
        x = torch.randn(batch, 5, generator=torch.Generator().manual_seed(batch))
        wanted, found = function(x), li.run(made, [x.numpy()])
        wanted = [wanted] if isinstance(wanted, torch.Tensor) else wanted
        for one, two in zip(wanted, found if isinstance(found, list | tuple) else [found], strict=True):
            np.testing.assert_allclose(np.asarray(two), one.numpy(), rtol=1e-5, strict=True)


@pytest.mark.parametrize("to", ["onnx", "torch"])
@pytest.mark.parametrize("name", ["median along", "kthvalue", "searchsorted", "searchsorted right"])
def test_not_a_number_and_infinities(name, to):
    x = torch.tensor([[0.0, np.nan, 1.0, np.inf, np.nan], [-np.inf, np.inf, -0.5, 0.25, -0.0]])
    found = li.run(li.convert(Function(FUNCTIONS[name]), to=to, example=(torch.randn(3, 5),)), [x.numpy()])
    wanted = FUNCTIONS[name](x)
    wanted = [wanted] if isinstance(wanted, torch.Tensor) else wanted
    for one, two in zip(wanted, found if isinstance(found, list | tuple) else [found], strict=True):
        np.testing.assert_array_equal(np.asarray(two), one.numpy())


def test_an_open_size_that_keras_cannot_count_with_is_refused():
    with pytest.raises(Refused, match="open size"):
        li.convert(Function(lambda x: torch.nn.functional.unfold(x[None, None], 2)), to="keras", example=(torch.randn(5, 5),))


@pytest.mark.parametrize("function", [lambda x: torch.linalg.lu_factor(x @ x.T)[0], lambda x: (x @ x.T).diagonal()])
@pytest.mark.parametrize("to", ["onnx", "keras", "torch"])
def test_an_operator_that_needs_a_plain_number_refuses_an_open_size_with_its_place(function, to):
    with pytest.raises(Refused, match=r"batch.*at torch aten.*input_shapes"):
        li.convert(Function(function), to=to, example=(torch.randn(5, 5),))
