"""Core ATen that no layer of PyTorch is: strided views, distances, bags, gradients, transforms, statistics."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import leaky_interop as li
from leaky_interop.errors import Refused
from tests.family_checks import check, kinds

rng = np.random.default_rng(0)
aten = torch.ops.aten


def module(function, **buffers):
    class Function(torch.nn.Module):
        def __init__(self):
            super().__init__()
            for name, tensor in buffers.items():
                self.register_buffer(name, tensor)

        def forward(self, *xs):
            return function(*xs, *buffers.values())

    return Function()


def numbers(*shape):
    return rng.standard_normal(shape).astype(np.float32)


# --- strided views ----------------------------------------------------------------------------------------------------


def test_strided_views():
    graph = check(module(lambda x: x.as_strided((x.shape[0], 2, 3), (12, 1, 4), 2)), numbers(3, 12))
    assert graph.inputs[0].shape[0] == graph.outputs[0].shape[0] != 3  # the batch stays open
    check(module(lambda x: (x.as_strided((5, 3), (1, 2)), x.as_strided((), (), 3))), numbers(3, 12), static_batch=True)
    assert kinds(check(module(lambda x: x.as_strided((2, 4), (4, 1), 3)), numbers(12), static_batch=True)) == [
        "Slice",
        "Reshape",
    ]


def test_strided_views_that_would_read_foreign_memory_are_refused():
    for function, what in (
        (lambda x: x.t().as_strided((2, 2), (1, 1)), "as_strided of a view"),
        (lambda x: x[1:].as_strided((2, 2), (1, 1)), "as_strided of a view"),
    ):
        with pytest.raises(Refused, match=what):
            li.load(module(function), (numbers(3, 12),), static_batch=True)


@pytest.mark.parametrize(("axis", "size", "step"), [(1, 3, 2), (-1, 4, 1), (2, 5, 5)])
def test_windows_along_an_axis(axis, size, step):
    check(module(lambda x: x.unfold(axis, size, step)), numbers(2, 7, 5))


def test_memory_that_is_written_over():
    def forward(x):
        y = torch.empty_strided((2, 3), (1, 2))
        y.copy_(x)
        return y, torch.empty_permuted((2, 3), (1, 0)).fill_(2.0) + x, x.new_empty_strided((2, 3), (3, 1)).zero_() - x

    check(module(forward), numbers(2, 3), static_batch=True)


# --- distances --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0.0, 1.0, 2.0, 2.5, float("inf")])
def test_distances(order):
    check(module(lambda x, y: torch.cdist(x, y, order)), numbers(2, 4, 3), numbers(2, 5, 3))
    check(module(lambda x: torch.pdist(x, order)), numbers(5, 3), static_batch=True)


def test_many_distances_are_a_product():
    check(module(lambda x, y: torch.cdist(x, y)), numbers(2, 30, 3), numbers(2, 4, 3) + 3)
    exact = module(lambda x, y: torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist"))
    assert "MatMul" not in kinds(check(exact, numbers(2, 30, 3), numbers(2, 4, 3)))
    with pytest.raises(Refused, match="cdist of an open number of rows"):
        li.load(module(torch.cdist), (numbers(4, 3), numbers(5, 3)))


# --- bags -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding", [None, 2])
def test_bags(mode, padding):
    bag = torch.nn.EmbeddingBag(7, 3, mode=mode, padding_idx=padding)
    bag.weight.data[5] = float("inf")  # of another bag: it must not reach the others
    check(bag, rng.integers(0, 5, (4, 3)), static_batch=True)
    check(bag, rng.integers(0, 5, (4, 3)), to=("torch", "onnx"))
    check(bag, np.array([1, 2, 2, 4, 6]), np.array([0, 2, 2, 4]), static_batch=True)


def test_bags_with_factors_and_ends():
    bag = torch.nn.EmbeddingBag(7, 3, mode="sum", include_last_offset=True)
    function = module(lambda entries, factors: bag(entries, torch.tensor([0, 2, 5]), factors))
    check(function, np.array([1, 2, 2, 4, 6]), numbers(5), static_batch=True)


# --- gradients --------------------------------------------------------------------------------------------------------


def gradients(function, *arrays):
    """A network that gives the gradients of a function's sum of squares."""

    def forward(*xs):
        with torch.enable_grad():
            xs = [x.detach().requires_grad_() for x in xs]
            return torch.autograd.grad(function(*xs).square().sum(), xs)

    return check(module(forward), *arrays, static_batch=True)


@pytest.mark.parametrize(
    ("shape", "kernel", "settings"),
    [
        ((2, 3, 7, 8), (4, 3, 3, 2), ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)),
        ((2, 4, 7, 8), (6, 2, 3, 3), ([2, 1], [1, 2], [1, 2], False, [0, 0], 2)),
        ((1, 4, 5, 6), (4, 3, 3, 3), ([2, 2], [1, 0], [1, 1], True, [1, 0], 1)),
        ((2, 4, 5), (4, 2, 3), ([2], [1], [1], True, [0], 2)),
    ],
)
def test_gradients_of_convolutions(shape, kernel, settings):
    def forward(x, w):
        y = aten.convolution(x, w, None, *settings)
        return aten.convolution_backward(
            y * 0.5, x, w, [y.shape[1]], *settings, [True, True, True]
        )

    check(module(forward), numbers(*shape), numbers(*kernel), static_batch=True)


def test_gradients_of_pools():
    def forward(x):
        averaged = aten.avg_pool2d(x, [3, 2], [2, 1], [1, 1], True, False)
        adapted = aten._adaptive_avg_pool2d(x, [3, 2])
        largest, places = aten.max_pool2d_with_indices(x, [3, 3], [2, 2], [1, 1])
        return (
            aten.avg_pool2d_backward(averaged * 2, x, [3, 2], [2, 1], [1, 1], True, False, None),
            aten.avg_pool2d_backward(averaged * 2, x, [3, 2], [2, 1], [1, 1], True, True, 5),
            aten._adaptive_avg_pool2d_backward(adapted * 2, x),
            aten.max_pool2d_with_indices_backward(largest * 2, x, [3, 3], [2, 2], [1, 1], [1, 1], False, places),
        )

    check(module(forward), numbers(2, 3, 7, 9), static_batch=True)


# --- statistics, transforms, places -----------------------------------------------------------------------------------


def test_statistics_of_normalisations():
    x = numbers(2, 4, 3, 5)
    check(module(lambda x: aten.native_layer_norm(x, [3, 5], None, None, 1e-5)), x)
    check(module(lambda x: aten.native_group_norm(x, None, None, 2, 4, 15, 2, 1e-5)), x, static_batch=True)
    check(module(lambda x: aten._native_batch_norm_legit.no_stats(x, None, None, True, 0.1, 1e-5)), x)
    mean, variance = torch.zeros(4), torch.ones(4)
    step = module(
        lambda x, m, v: aten._native_batch_norm_legit_functional(x, None, None, m, v, True, 0.1, 1e-5),
        mean=mean,
        variance=variance,
    )
    check(step, x)


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_transforms_of_core_aten(mode, dtype):
    to = ("torch", "onnx", "keras") if dtype == "float32" else ("torch", "onnx")

    def forward(x):
        y = aten._fft_r2c(x, [1, 2], mode, True)
        z = aten._fft_c2c(y, [1], mode, False)
        return torch.view_as_real(z), aten._fft_c2r(z, [1, 2], mode, 7)

    check(module(forward), rng.standard_normal((2, 5, 7)).astype(dtype), to=to)


@pytest.mark.parametrize(("rank", "output"), [(1, 3), (2, (2, 3)), (2, 1), (3, (2, 1, 3))])
def test_places_of_adaptive_maxima(rank, output):
    pool = getattr(torch.nn, f"AdaptiveMaxPool{rank}d")(output, return_indices=True)
    check(pool, np.round(numbers(2, 3, *(4, 7, 5)[:rank])))  # with ties


def test_operators_on_a_single_number():
    def forward(x):
        zero = torch.zeros(1, dtype=torch.int64)
        some = x.index_select(0, zero), x.gather(0, zero), x.topk(1)[0], x.sort()[1], x.softmax(0), x.squeeze(0)
        return (
            *some,
            x.scatter(0, zero[0], x * 2),
            x.index_add(0, zero, x),
            x.index_fill(0, zero, 3.0),
            x.unfold(0, 1, 1),
        )

    check(module(forward), np.array(1.5, np.float32), static_batch=True)


def test_what_has_no_entries():
    def forward(x):
        return (
            x.repeat(0, 2),
            torch.cdist(x, x[:0]),
            torch.nn.functional.group_norm(x[:0], 2),
            x[:0].softmax(1),
            torch.nonzero(x[:0]),
        )

    check(module(forward), numbers(3, 4), static_batch=True, to=("torch", "onnx"))
    check(module(lambda x: (x.repeat(0, 2), x[:0] + 1, torch.cat([x[:0], x]))), numbers(3, 4), static_batch=True)


def test_pads_that_cut_all_there_is():
    pad = torch.nn.functional.pad
    check(
        module(lambda x: (pad(x, (0, 0, 2, -4), mode="replicate"), pad(x, (5, -4, -4, 3), mode="replicate"))),
        numbers(2, 3, 4, 4),
    )


@pytest.mark.parametrize("dtype", ["int64", "int32", "bool"])
def test_functions_of_integers_are_those_of_floats(dtype):
    def forward(x):
        floats = x.sigmoid(), x.tanh(), torch.atan2(x, x), torch.nn.functional.silu(x.float())
        return *floats, x.square(), x.sign(), x.max(1)

    check(module(forward), rng.integers(0, 2, (3, 4)).astype(dtype))


def test_bounds_of_integers_are_integers():
    whole = rng.integers(-9, 9, (3, 4))
    functions = torch.nn.functional
    check(module(lambda x: (functions.hardtanh(x, -2, 3), functions.relu6(x), x.clamp(-1, 4))), whole)


@pytest.mark.parametrize("order", [0, 0.5, 6])
def test_norms_of_halves_do_not_overflow(order):
    check(module(lambda x: torch.linalg.vector_norm(x, order, 1)), (numbers(3, 9) * 20).astype(np.float16))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic", "nearest-exact"])
def test_one_axis_may_grow_by_a_whole_factor_and_another_not(mode):
    for factors in ((2.0, 1.5), (1.5, 3.0)):
        check(module(lambda x, f=factors: torch.nn.functional.interpolate(x, scale_factor=f, mode=mode)), numbers(1, 2, 4, 5))


def test_a_negative_number_to_a_power_keeps_its_sign():
    check(module(lambda n: (-1.5) ** n), np.arange(-2, 5))


# --- element types ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [True, False])
def test_statistics_of_halves_are_told_in_the_weights_type(weighted):
    ones = torch.ones(5, dtype=torch.float16) if weighted else None
    x = numbers(3, 5, 4).astype(np.float16)
    graph = check(module(lambda x: aten._native_batch_norm_legit.no_stats(x, ones, ones, True, 0.1, 1e-3)), x)
    assert [v.dtype.name for v in graph.outputs] == ["float16"] * 3


def test_truths_are_in_order():
    functions = torch.lt, torch.le, torch.gt, torch.ge, torch.maximum, torch.minimum
    a, b = np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool)
    check(module(lambda x, y: tuple(f(x, y) for f in functions)), a, b)
    check(module(lambda x: (x < True, x >= True, x > False, x <= False)), a)


def test_a_product_of_nothing_is_added():
    check(module(lambda x, a, b: torch.addmm(x, a, b), a=torch.zeros(3, 0), b=torch.zeros(0, 4)), numbers(3, 4))


def test_nothing_is_reflected():
    pad = torch.nn.functional.pad
    check(module(lambda x: (pad(x, (1, 1), mode="reflect"), pad(x, (0, 2), mode="reflect"))), numbers(0, 3, 4), static_batch=True)


def test_whole_numbers_under_windows():
    mean = torch.nn.functional.avg_pool2d
    x = rng.integers(-50, 50, (1, 2, 6, 7))
    check(module(lambda x: mean(x, 2)), x, to=("torch",))
    with pytest.raises(Refused, match="a divisor of its own"):
        li.load(module(lambda x: mean(x, 2, divisor_override=3)), x)
    for refused in (lambda x: mean(x, 2, padding=1), lambda x: torch.conv2d(x, torch.ones(3, 2, 2, 2, dtype=torch.int64))):
        with pytest.raises(Refused, match="in floats only"):
            li.convert(module(refused), "keras", example=x)
