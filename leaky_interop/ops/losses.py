"""Losses of class scores against class numbers: compositions of other operators, importers only.

| meaning                     | torch                       | onnx                      |
|-----------------------------|-----------------------------|---------------------------|
| -log probability of a class | nll_loss                    | NegativeLogLikelihoodLoss |
| the same of raw scores      | cross_entropy               | SoftmaxCrossEntropyLoss   |
| a class that does not count | ignore_index=-100           | ignore_index, none if left out |
| mean                        | over the weights that count | the same                  |

Classes stand along axis 1. A mean over no class that counts is NaN, as it is in both.
"""

from ..op import Value, imports
from .compare import NotEqual, Where
from .functions import Neg
from .gather import Gather, GatherElements
from .math import Div, Mul, Sub
from .promotion import floating
from .reduce import ReduceMean, ReduceSum, reduced
from .shape import with_axes, without
from .softmax import LogSoftmax

REDUCTIONS = ("none", "mean", "sum")  # as torch numbers them


def class_loss(
    log: Value, classes: Value, weights: Value | None, reduction: str, ignored: int | None, smoothing: float = 0.0
) -> Value:
    """-log[classes], weighted by class and reduced.

    smoothing: the share of the loss that all classes bear alike.
    """
    counts = None if ignored is None else NotEqual()(classes, ignored)
    ids = classes if counts is None else Where()(counts, classes, 0)
    loss = without(Neg()(GatherElements(axis=1)(log, with_axes(ids, [1]))), [1])
    share = None if weights is None else Gather(axis=0)(weights, ids)
    loss = loss if share is None else Mul()(loss, share)
    parts = [loss, reduced(ReduceMean, _weighted(log, weights), 1, False)] if smoothing else [loss]
    if counts is not None:
        parts = [Where()(counts, part, 0.0) for part in parts]
        share = counts.cast(loss.dtype) if share is None else Where()(counts, share, 0.0)
    if reduction == "mean" and share is not None:  # each by itself: what has no weight at all is NaN, whatever it is added to
        total = reduced(ReduceSum, share, None, False)
        parts = [Div()(reduced(ReduceSum, part, None, False), total) for part in parts]
    else:
        parts = [_reduced(part, reduction) for part in parts]
    return _smoothed(*parts, smoothing) if smoothing else parts[0]


def _reduced(loss: Value, reduction: str) -> Value:
    return loss if reduction == "none" else reduced(ReduceMean if reduction == "mean" else ReduceSum, loss, None, False)


def _weighted(log: Value, weights: Value | None) -> Value:
    return log if weights is None else Mul()(log, with_axes(weights, [0, *range(2, log.rank)]))


def _smoothed(loss: Value, log: Value, smoothing: float) -> Value:
    """The loss, a share of which all classes bear alike: the mean of their logarithms."""
    return Sub()(Mul()(loss, 1.0 - smoothing), Mul()(log, smoothing))


# --- torch ------------------------------------------------------------------------------------------------------------


def _batched(scores: Value, target: Value, reduction: int) -> tuple[Value, Value, bool]:
    """Scores of one example get the batch that torch does without; and whether the result has to lose it."""
    alone = scores.rank == 1
    return (with_axes(scores, [0]), with_axes(target, [0]), not reduction) if alone else (scores, target, False)


@imports("torch", "aten.nll_loss_nd.default")
def nll_loss_from_torch(call, log, classes, weights, reduction, ignored):
    log, classes, alone = _batched(log, classes, reduction)
    loss = class_loss(log, classes, weights, REDUCTIONS[reduction], ignored)
    return without(loss, [0]) if alone else loss


@imports("torch", "aten.nll_loss_forward.default", "aten.nll_loss2d_forward.default")
def decomposed_nll_loss_from_torch(call, *settings):
    """Its second result, the sum of the weights, only training reads."""
    return nll_loss_from_torch(call, *settings), None


@imports("torch", "aten.cross_entropy_loss.default")
def cross_entropy_from_torch(call, scores, target, weights, reduction, ignored, smoothing):
    """The target is class numbers, or a distribution over the classes."""
    spread = target.shape == scores.shape and target.dtype.kind in "fV"
    scores, target, alone = _batched(scores, target, reduction)
    log = LogSoftmax(axes=(1,))(scores)
    if not spread:
        loss = class_loss(log, target, weights, REDUCTIONS[reduction], ignored, smoothing)
    else:
        weighted = _weighted(log, weights)
        loss = Neg()(reduced(ReduceSum, Mul()(weighted, target), 1, False))
        loss = _smoothed(loss, reduced(ReduceMean, weighted, 1, False), smoothing) if smoothing else loss
        loss = _reduced(loss, REDUCTIONS[reduction])
    return without(loss, [0]) if alone else loss


# --- onnx -------------------------------------------------------------------------------------------------------------


@imports("onnx", "NegativeLogLikelihoodLoss")
def nll_loss_from_onnx(node, log, classes, weights=None):
    return class_loss(log, classes, weights, node.reduction, node.ignore_index)


@imports("onnx", "SoftmaxCrossEntropyLoss")
def cross_entropy_from_onnx(node, scores, classes, weights=None):
    log = LogSoftmax(axes=(1,))(floating(node, scores))
    return class_loss(log, classes, weights, node.reduction, node.ignore_index), log
