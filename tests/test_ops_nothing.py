"""What torch makes of nothing: matrices without rows, sums over no entries, indices that ask for none."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import leaky_interop as li
from leaky_interop.errors import Refused

EMPTY = torch.zeros(2, 0, 0)
CALLS = {
    "cholesky_ex": (lambda x: tuple(torch.linalg.cholesky_ex(x)), EMPTY),
    "inv_ex": (lambda x: tuple(torch.linalg.inv_ex(x)), EMPTY),
    "solve_ex": (lambda x: tuple(torch.linalg.solve_ex(x, torch.zeros(2, 0, 3))), EMPTY),
    "slogdet": (lambda x: tuple(torch.linalg.slogdet(x)), EMPTY),
    "logdet": (lambda x: torch.logdet(x) + 1, EMPTY),
    "logdet of one": (lambda x: torch.logdet(x) + 1, torch.zeros(0, 0)),
    "softmax": (lambda x: F.softmax(x, 1), torch.zeros(3, 0)),
    "log_softmax": (lambda x: F.log_softmax(x, 0), torch.zeros(0, 2)),
    "gather": (lambda x: x.gather(0, torch.zeros(2, 0, dtype=torch.int64)), torch.arange(5.0)),
    "batch_norm": (lambda x: F.batch_norm(x, None, None, training=True), torch.zeros(0)),
}


class Called(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("name", CALLS)
def test_of_nothing_torch_gives_what_it_gives(name):
    """The definitions and every framework that is written agree with torch in numbers, shapes and types."""
    function, x = CALLS[name]
    expected = function(x)
    expected = [e.numpy() for e in (expected if isinstance(expected, tuple) else (expected,))]
    graph = li.load(Called(function).eval(), (x,), static_batch=True)
    ran = {"numpy": graph.run(x.numpy())}
    for to in ("onnx", "torch", "keras"):
        ran[to] = li.run(li.convert(Called(function).eval(), to, example=(x,), static_batch=True), [x.numpy()])
    for route, received in ran.items():
        for e, r in zip(expected, received, strict=True):
            assert (r.dtype, r.shape) == (e.dtype, e.shape), route
            np.testing.assert_array_equal(r, e, err_msg=route)


def test_a_network_without_tensors_is_refused_by_keras():
    model = Called(lambda x: ()).eval()
    with pytest.raises(Refused, match="a network without outputs"):
        li.convert(model, "keras", example=(torch.tensor(2.5),), static_batch=True)
