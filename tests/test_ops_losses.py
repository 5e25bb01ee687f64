"""Losses as PyTorch and ONNX spell them, in every target."""

import itertools

import numpy as np
import pytest
import torch
from family_checks import check, onnx_model
from torch.nn import functional

WEIGHTS = torch.tensor([0.5, 2.0, 0.0, 1.5])
ROWS = {  # scores, classes
    "rows": ((7, 4), (7,)),
    "image": ((2, 4, 3, 5), (2, 3, 5)),
    "one": ((4,), ()),
}


def drawn(row, ignored=None):
    """The same numbers whatever ran before."""
    rng, (scores, classes) = np.random.default_rng(5), ROWS[row]
    ids = rng.integers(0, 4, classes)
    if ignored is not None and classes:
        ids[..., 0] = ignored
    return rng.standard_normal(scores).astype(np.float32), ids


def module(function):
    return type("Loss", (torch.nn.Module,), {"forward": lambda self, *args: function(*args)})().eval()


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("loss", ["nll_loss", "cross_entropy"])
@pytest.mark.parametrize(("reduction", "weighted"), list(itertools.product(("none", "mean", "sum"), (False, True))))
def test_losses_of_torch(loss, row, reduction, weighted):
    weights, ignored = (WEIGHTS, 1) if weighted else (None, -100)
    settings = {"weight": weights, "reduction": reduction, "ignore_index": ignored}
    graph_of = module(lambda x, t: getattr(functional, loss)(x, t, **settings))
    check(graph_of, *drawn(row, ignored), to=("torch", "onnx") if reduction == "none" else ("keras",))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(("row", "weights"), [("one", WEIGHTS), ("image", None), ("image", WEIGHTS)])
def test_cross_entropy_with_smoothing(row, reduction, weights):
    settings = {"weight": weights, "reduction": reduction, "label_smoothing": 0.3}
    check(module(lambda x, t: functional.cross_entropy(x, t, **settings)), *drawn(row, -100), to=("onnx",))


@pytest.mark.parametrize("smoothing", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_examples_of_classes_without_weight(reduction, smoothing):
    """Their mean is NaN, with every smoothing."""
    settings = {"weight": WEIGHTS, "reduction": reduction, "label_smoothing": smoothing}
    scores = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
    loss = module(lambda x, t: functional.cross_entropy(x, t, **settings))
    check(loss, scores, np.full(3, 2), to=("onnx", "torch", "keras"))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(("smoothing", "weights"), [(0.0, None), (0.2, WEIGHTS)])
@pytest.mark.parametrize("row", ROWS)
def test_cross_entropy_against_a_distribution(row, reduction, smoothing, weights):
    scores, _ = drawn(row)
    target = np.random.default_rng(6).random(scores.shape).astype(np.float32)
    settings = {"weight": weights, "reduction": reduction, "label_smoothing": smoothing}
    check(module(lambda x, t: functional.cross_entropy(x, t, **settings)), scores, target, to=("onnx",))


def test_a_mean_over_nothing_is_no_number():
    scores, _ = drawn("rows")
    graph = check(module(functional.nll_loss), scores, np.full(7, -100))
    assert np.isnan(graph.run(scores, np.full(7, -100))[0])


def test_a_score_of_an_ignored_class_does_not_count_even_where_it_is_infinite():
    scores, classes = drawn("rows", 2)
    scores[:, 2] = -np.inf
    graph = check(module(lambda x, t: functional.nll_loss(x, t, ignore_index=2)), scores, classes)
    assert np.isfinite(graph.run(scores, classes)[0])


@pytest.mark.parametrize("opset", [12, 13, 22])
def test_nll_loss_of_onnx_in_every_opset(opset):
    scores, classes = drawn("image", 3)
    model = onnx_model(
        "NegativeLogLikelihoodLoss", [scores, classes], [WEIGHTS.numpy()], opset=opset, reduction="mean", ignore_index=3
    )
    expected = functional.nll_loss(torch.tensor(scores), torch.tensor(classes), WEIGHTS, ignore_index=3)
    check(model, scores, classes, given=[expected.numpy()])
