"""What PyTorch finds in data: different values, runs, how often each occurs; running extremes, medians, modes."""

import numpy as np
import pytest
import torch

import leaky_interop as li
from leaky_interop.errors import Refused
from tests.native import Applied

NAN, INF = float("nan"), float("inf")
NUMBERS = np.array(
    [[1.0, 3.0, -0.0, 3.0, 0.0, 2.0, 3.0], [NAN, 1.0, INF, NAN, -INF, 0.0, 2.0], [NAN] * 7, [2.0] * 7], np.float32
)
RUNNING = {
    "cummax": lambda x: x.cummax(1),
    "cummin": lambda x: x.cummin(-1),
    "logcumsumexp": lambda x: x.logcumsumexp(1),
    "nanmedian": lambda x: x.nanmedian(1)[0],
    "nanmedian and its place": lambda x: x.nanmedian(1),
    "nanmedian kept": lambda x: x.nanmedian(1, keepdim=True)[0],
    "nanmedian of all": lambda x: x.nanmedian(),
}
FOUND = {
    "unique": lambda x: torch.unique(x),
    "unique with all": lambda x: torch.unique(x, return_inverse=True, return_counts=True),
    "unique rows": lambda x: torch.unique(x, dim=0, return_inverse=True, return_counts=True),
    "unique columns": lambda x: torch.unique(x, dim=1),
    "runs": lambda x: torch.unique_consecutive(x[:, :3], return_inverse=True, return_counts=True),
    "runs of columns": lambda x: torch.unique_consecutive(x, return_inverse=True, return_counts=True, dim=1),
    "bincount": lambda x: torch.bincount(x.reshape(-1)),
    "bincount of at least": lambda x: torch.bincount(x.reshape(-1), minlength=9),
    "bincount of weights": lambda x: torch.bincount(x.reshape(-1), x.reshape(-1) * 0.5),
    "bincount of whole weights": lambda x: torch.bincount(x.reshape(-1), x.reshape(-1)),
    "places": lambda x: torch.nonzero_static(x, size=4, fill_value=-7),
}


def same(function, made, x):
    wanted, found = function(x), li.run(made, [x.numpy()])
    wanted = [wanted] if isinstance(wanted, torch.Tensor) else wanted
    for one, two in zip(wanted, found if isinstance(found, list | tuple) else [found], strict=True):
        np.testing.assert_allclose(np.asarray(two), one.numpy(), rtol=1e-6, atol=1e-6, strict=True)


@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
@pytest.mark.parametrize("name", RUNNING)
def test_running_and_middle(name, to):
    made = li.convert(Applied(RUNNING[name]), to=to, example=(torch.randn(3, 7),))
    generator = torch.Generator().manual_seed(7)
    for x in (
        torch.from_numpy(NUMBERS),
        torch.randn(1, 7, generator=generator),
        torch.randn(2, 7, generator=generator) * 50,
    ):
        if x.shape[0] < 3 or "place" not in name:  # which of equal entries is named is left open
            same(RUNNING[name], made, x)


@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
def test_running_extremes_of_other_types(to):
    for dtype in (torch.int64, torch.uint8, torch.bool, torch.float16):
        x = torch.tensor([[1, 0, 3, 3, 2], [0, 0, 1, 0, 4]]).to(dtype)
        for function in (lambda x: x.cummax(1), lambda x: x.cummin(0)):
            same(function, li.convert(Applied(function), to=to, example=(x,), static_batch=True), x)


@pytest.mark.parametrize("to", ["onnx", "torch", "keras"])
def test_the_most_frequent(to):
    made = li.convert(Applied(lambda x: torch.mode(x, 1)), to=to, example=(torch.randint(0, 4, (3, 9)),))
    x = torch.tensor([[3, 1, 3, 1, 2, 0, 9, 8, 7], [5] * 9, [4, 4, 1, 2, 3, 3, 3, 9, 9], [-2, -1, 9, 8, 7, 6, 5, 4, 3]])
    same(lambda x: torch.mode(x, 1), made, x)
    long = torch.randint(0, 3, (2, 40), generator=torch.Generator().manual_seed(1))
    made = li.convert(Applied(lambda x: torch.mode(x, -1, keepdim=True)), to=to, example=(long,))
    value, place = (torch.from_numpy(np.asarray(a)) for a in li.run(made, [long.numpy()]))
    assert torch.equal(value, long.mode(-1, keepdim=True)[0])
    assert torch.equal(long.gather(1, place), value)  # which of the equal ones is left open


@pytest.mark.parametrize("to", ["onnx", "torch"])
@pytest.mark.parametrize("name", FOUND)
def test_as_many_as_the_data_decides(name, to):
    function = FOUND[name]
    example = torch.randint(0, 5, (4, 5), generator=torch.Generator().manual_seed(0))
    made = li.convert(Applied(function), to=to, example=(example,), static_batch=True)
    for x in (example, example * 0, torch.arange(20).reshape(4, 5), torch.tensor([[1, 1, 2, 2, 1]] * 4)):
        same(function, made, x)


def test_keras_has_no_results_as_many_as_the_data_decides():
    for name in ("unique", "runs", "bincount"):
        with pytest.raises(Refused, match="Keras fixes shapes"):
            li.convert(Applied(FOUND[name]), to="keras", example=(torch.randint(0, 5, (4, 5)),), static_batch=True)


def test_what_would_need_an_open_size_is_refused():
    for function in (lambda x: x.cummax(0), lambda x: torch.unique_consecutive(x, dim=0)):
        with pytest.raises(Refused, match="open"):
            li.convert(Applied(function), to="onnx", example=(torch.randn(3, 5),))
