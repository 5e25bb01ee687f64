"""Batch normalisation, by stored statistics or by those of the batch at hand. Channels stand on axis 1.

| field    | keras BatchNormalization    | torch BatchNorm                | onnx BatchNormalization      |
|----------|-----------------------------|--------------------------------|------------------------------|
| epsilon  | epsilon, 0.001              | eps, 1e-5                      | epsilon, 1e-5, in 32 bits    |
| momentum | share that is kept, 0.99    | share that is new, 0.1; None: the average of all | share that is kept, 0.9 |
| scale    | gamma, absent if scale=False | weight, absent if affine=False | always there                 |
| axis     | any, the last by default    | 1                              | 1                            |
| frozen   | trainable=False             | the function, training=False   | not said                     |

MATLAB's batchNormalizationLayer: Epsilon 1e-5, MeanDecay 0.1 (the share that is new), Scale and Offset always there.

Frameworks store a batch's variance differently: PyTorch n / (n - 1) of it, Keras and ONNX the variance itself. That
shows only where training goes on, never at inference. Both kinds are one file, since every framework reads and writes them
as one layer with a flag.
"""

import dataclasses
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Link, Moved, Op, Operand, Perm, Value, case, exports, imports, invert, op, product, shortest, weight
from .math import Add, Mul
from .moments import (
    ROUNDINGS,
    affine,
    in_one_dtype,
    per_channel,
    reshaped_in_onnx,
    rounds,
    scaled_in_keras,
    standardized,
    standardized_in_keras,
    standardized_in_onnx,
    standardized_terms,
    stored,
    unfilled,
    widened,
)
from .precision import IN_32_BITS, exact_in_keras
from .promotion import floating
from .reduce import ReduceMean
from .variance import ReduceVariance

CHAINER_MOMENTUM = 0.9  # its link's own; at inference nothing of it is recorded
KERAS_MOMENTUM = 0.99  # what Keras gets where its source averages over all batches, which Keras cannot


class PerChannel(Op):
    """An operator on each channel by itself (axis 1), with one number a channel in each weight."""

    tolerance = "sum"

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        others = (None,) * (len(inputs) - 1)
        return Moved(self, (perm, *others), (perm,)) if perm[:2] == (0, 1) else None

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        weights = {i: 0 for i, v in enumerate(inputs) if i and v is not None}
        return [Link({0: axis} | (weights if axis == 1 else {}), axis) for axis in range(inputs[0].rank)]


@op
class BatchNorm(PerChannel):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, per channel, with stored statistics.

    Operands: x, scale, bias, mean, variance; scale and bias may be absent. `momentum` is the share of the old
    statistic that one training step keeps; None stands for the average over all steps. `frozen`: it keeps its stored
    statistics even while the network trains.
    """

    epsilon: float
    momentum: float | None
    frozen: bool
    weights = (1, 2, 3, 4)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, scale, bias, mean, variance = self.shaped(arrays)
        y = (x - mean) / np.sqrt(variance + self.epsilon)
        y = y if scale is None else y * scale
        return (y if bias is None else y + bias).astype(arrays[0].dtype)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """The terms of x * factor + (bias - mean * factor), with factor = scale / sqrt(variance + epsilon)."""
        x, scale, bias, mean, variance = (None if a is None else np.abs(a) for a in self.shaped(arrays))
        magnitude = (x + mean) / np.sqrt(variance + self.epsilon) * (1 if scale is None else scale)
        return ROUNDINGS, magnitude if bias is None else magnitude + bias

    @staticmethod
    def shaped(arrays: tuple[np.ndarray, ...]) -> list[Any]:
        """Everything in the dtype of computation, ready to broadcast."""
        x, *rest = widened(*arrays)
        return [x, *(per_channel(a, x.ndim) for a in rest)]


@op
class BatchStatisticsNorm(PerChannel):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, per channel, with the mean and variance of this very batch.

    Batch normalisation as in training. A network that does so at inference (PyTorch's track_running_stats=False) gives
    each sample a result that depends on the others; with frozen statistics it would be another network.
    """

    epsilon: float
    weights = (1, 2)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return standardized(*self.parts(arrays)).astype(arrays[0].dtype)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        return standardized_terms(*self.parts(arrays))

    def parts(self, arrays: tuple[np.ndarray, ...]) -> tuple[Any, ...]:
        """What the formula takes."""
        x, scale, bias = widened(*arrays)
        return x, (0, *range(2, x.ndim)), self.epsilon, per_channel(scale, x.ndim), per_channel(bias, x.ndim)


# --- importers --------------------------------------------------------------------------------------------------------


@imports("torch", "aten.batch_norm.default")
def batch_norm_from_torch(call, x, scale, bias, mean, variance, training, momentum, epsilon, *_):
    """In evaluation PyTorch exports momentum=None as 0.0, a share that nobody chooses: it reads as None.

    A call of the function that does not take the batch's statistics in training mode either never learns: it is frozen.
    """
    if x.rank < 2:  # which torch takes where there is nothing in it
        return x
    scale, bias = unfilled(scale, 1), unfilled(bias, 0)
    if training or mean is None:
        return in_one_dtype(BatchStatisticsNorm(epsilon=epsilon), x, scale, bias)
    kept = None if momentum == 0.0 else round(1 - momentum, 12)
    learns = any(w is not None and (w.const is None or w.const.trainable) for w in (scale, bias))
    frozen = call.function and mean.const is not None and not learns
    return in_one_dtype(BatchNorm(epsilon=epsilon, momentum=kept, frozen=frozen), x, scale, bias, mean, variance)


@imports("chainer", "FixedBatchNormalization")
def batch_norm_from_chainer(call, x, scale, bias, mean, variance):
    """Each number of the weights is one place of the axes `key_axis`: the channel, or all axes but the first."""
    call.axis  # noqa: B018  (the other axes)
    places, op = tuple(call.key_axis), BatchNorm(epsilon=call.eps, momentum=CHAINER_MOMENTUM, frozen=False)
    scale, bias = unfilled(scale, 1), unfilled(bias, 0)
    if len(places) == 1:
        turned, back = to_channel_axis(x, places[0])
        return in_one_dtype(op, turned, scale, bias, mean, variance).transpose(*back)
    if places != tuple(range(1, x.rank)):
        raise Refused(f"statistics for each place of the axes {places}", why="only channels, or all axes after the first, have theirs")
    flat = [None if v is None else v.reshape(product(v.shape)) for v in (scale, bias, mean, variance)]
    return in_one_dtype(op, x.reshape(x.shape[0], product(x.shape[1:])), *flat).reshape(*x.shape)


@imports("keras", "BatchNormalization")
def batch_norm_from_keras(layer, x, mask=None):
    turned, back = to_channel_axis(floating(layer, x), layer.axis)
    weights = (layer.weight(n, cast=False) for n in ("gamma", "beta", "moving_mean", "moving_variance"))
    norm = BatchNorm(epsilon=layer.epsilon, momentum=layer.momentum, frozen=not layer.trainable)
    return in_one_dtype(norm, turned, *weights).transpose(*back)


@imports("keras", "ops.BatchNorm")
def batch_norm_function_from_keras(call, x, mean, variance, offset=None, scale=None):
    """The function never updates a statistic: it keeps the old one whole, momentum 1."""
    turned, back = to_channel_axis(x, call.axis)
    return BatchNorm(epsilon=call.epsilon, momentum=1.0, frozen=True)(turned, scale, offset, mean, variance).transpose(*back)


def to_channel_axis(x: Value, axis: int) -> tuple[Value, tuple[int, ...]]:
    """x with `axis` brought to place 1, and the permutation that brings a result back."""
    axis %= x.rank
    turn = (0, axis, *(a for a in range(1, x.rank) if a != axis))
    return x.transpose(*turn), invert(turn)


@imports("onnx", "BatchNormalization")
def batch_norm_from_onnx(node, x, scale, bias, mean, variance):
    """Opset 14 and later say whether it is training; before, a node with several outputs is."""
    scale, bias = unfilled(scale, 1), unfilled(bias, 0)
    several = sum(map(bool, node.native.output)) > 1
    if node.training_mode if node.has("training_mode") else several:
        running = ()
        if several and reads_further_outputs(node):
            running = _updated(node, x, mean, variance)
        return in_one_dtype(BatchStatisticsNorm(epsilon=stored(node.epsilon, x)), x, scale, bias), *running
    norm = BatchNorm(epsilon=stored(node.epsilon, x), momentum=shortest(node.momentum), frozen=False)
    weights = (scale, bias, *(frozen(node, v) for v in (mean, variance)))
    if node.has("spatial") and not node.spatial:  # up to opset 8: statistics of each element, channels once flattened
        size = int(np.prod(mean.shape))
        weights = (None if w is None else w.reshape(size) for w in weights)
        return in_one_dtype(norm, x.reshape(x.shape[0], size), *weights).reshape(*x.shape)
    return in_one_dtype(norm, x, *weights)


def _updated(node: Any, x: Value, mean: Value, variance: Value) -> tuple[Value, Value]:
    """The running statistics after a step of training: a share `momentum` of the old ones, the rest of this batch's."""
    if not node.has("training_mode"):
        what = "the running statistics that BatchNormalization updates in training mode are read"
        raise Refused(what, why="before opset 14 the operator did not say how it computes them", hint="Write it in opset 15")
    axes, kept = tuple(a for a in range(x.rank) if a != 1), shortest(node.momentum)
    wide = x.cast(mean.dtype)
    own = ReduceMean(axes=axes, keepdims=False)(wide), ReduceVariance(axes=axes, keepdims=False, correction=0.0)(wide)
    shares = (Add()(Mul()(old, kept), Mul()(new, 1 - kept)) for old, new in zip((mean, variance), own, strict=True))
    return tuple(shares)  # type: ignore[return-value]


def reads_further_outputs(node: Any) -> bool:
    """Whether anything but the first output of an ONNX node is used."""
    graph = node.reader.model.graph
    used = {name for other in graph.node for name in other.input} | {o.name for o in graph.output}
    return not used.isdisjoint(name for name in node.native.output[1:] if name)


def frozen(node: Any, value: Value) -> Value:
    """A statistic as a weight that no gradient reaches."""
    if value.const is None or not value.const.trainable:
        return value
    return node.graph.parameter(dataclasses.replace(value.const, trainable=False))


@imports("matlab", "batchNormalizationLayer", channels_last=True)
def batch_norm_from_matlab(layer, x):
    size = (1, 1, x.shape[1]) if x.rank > 2 else (x.shape[1], 1)
    roles = ("Scale", "Offset", "TrainedMean", "TrainedVariance")
    weights = (layer.weight(role, *size).reshape(x.shape[1]) for role in roles)
    return BatchNorm(epsilon=layer.Epsilon, momentum=round(1 - layer.MeanDecay, 12), frozen=False)(x, *weights)


# --- exporters --------------------------------------------------------------------------------------------------------

STATISTICS = (
    "PyTorch keeps n / (n - 1) of a batch's variance as its running statistic, Keras and ONNX the variance itself: "
    "nothing changes at inference, but batch normalisation that goes on learning learns a little differently"
)


def note_statistics(fw: Any) -> None:
    """Say once that training goes on differently, where PyTorch is on one side only."""
    source, notes = fw.graph.framework, fw.graph.notes
    if source and (source == "torch") != (fw.framework == "torch") and STATISTICS not in notes:
        notes.append(STATISTICS)


def module_of(torch: Any, name: str, rank: int) -> Any:
    """torch.nn's class of a name for data of this rank, batch and channels included; None where it has none."""
    spatial = max(rank - 2, 1)
    return getattr(torch.nn, f"{name}{spatial}d") if spatial <= 3 else None


@exports("torch", BatchNorm)
def batch_norm_to_torch(op, torch, x, scale, bias, mean, variance):
    """A frozen one is the function: torch.nn's modules normalise by the batch's statistics in training mode."""
    if not op.frozen:
        note_statistics(torch)
    momentum = None if op.momentum is None else round(1 - op.momentum, 12)
    kind = module_of(torch, "BatchNorm", torch.inputs[0].rank)
    if op.frozen or kind is None or not torch.holds(scale, bias, mean, variance):
        mean, variance, scale, bias = (torch.tensor(v) for v in (mean, variance, scale, bias))
        return torch.nn.functional.batch_norm(x, mean, variance, scale, bias, False, momentum or 0.0, op.epsilon)
    channels, plain = mean.shape[0], scale is None and bias is None
    norm = kind(channels, eps=op.epsilon, momentum=momentum, affine=not plain)
    scale, bias = (None, None) if plain else affine(torch, scale, bias, channels)
    return torch.place(norm, weight=scale, bias=bias, running_mean=mean, running_var=variance)(x)


@exports("torch", BatchStatisticsNorm)
def batch_statistics_norm_to_torch(op, torch, x, scale, bias):
    kind = module_of(torch, "BatchNorm", torch.inputs[0].rank)
    if kind is None or not torch.holds(scale, bias):
        scale, bias = torch.tensor(scale), torch.tensor(bias)
        return torch.nn.functional.batch_norm(x, None, None, scale, bias, True, 0.0, op.epsilon)
    channels, plain = torch.inputs[0].shape[1], scale is None and bias is None
    norm = kind(channels, eps=op.epsilon, affine=not plain, track_running_stats=False)
    scale, bias = (None, None) if plain else affine(torch, scale, bias, channels)
    return torch.place(norm, weight=scale, bias=bias)(x)


@exports("matlab", BatchNorm, channels_last=True)
def batch_norm_to_matlab(op, matlab, x, scale, bias, mean, variance):
    if not matlab.holds(scale, bias, mean, variance):
        raise matlab.refuse("a batch norm with computed weights", why="the layer has its own", instead="Write it out")
    channels, rank = mean.shape[0], matlab.inputs[0].rank
    size = (1, 1, channels) if rank > 2 else (channels, 1)
    scale = np.ones(channels, np.float32) if scale is None else scale
    bias = np.zeros(channels, np.float32) if bias is None else bias
    roles = {"Scale": scale, "Offset": bias, "TrainedMean": mean, "TrainedVariance": variance}
    training = {} if op.momentum is None else {"MeanDecay": round(1 - op.momentum, 12), "VarianceDecay": round(1 - op.momentum, 12)}
    weights = {role: value.reshape(*size) for role, value in roles.items()}
    return matlab.layer("batchNormalizationLayer", x, Epsilon=op.epsilon, **training, **weights)


@exports("keras", BatchNorm, channels_last=True)
def batch_norm_to_keras(op, keras, x, scale, bias, mean, variance):
    exact_in_keras(keras, type(op).__name__)
    if not op.frozen:
        note_statistics(keras)
    if not keras.holds(scale, bias, mean, variance):
        y = keras.ops.batch_normalization(x, keras.tensor(mean), keras.tensor(variance), -1, epsilon=op.epsilon)
        return scaled_in_keras(keras, y, scale, bias, (-1,))
    momentum = op.momentum
    if momentum is None:
        momentum = KERAS_MOMENTUM
        keras.graph.notes.append(
            f"{keras.origin()}: Keras cannot average statistics over all batches (momentum=None); "
            f"training that goes on keeps {momentum} of the old ones at each step"
        )
    norm = keras.layers.BatchNormalization(
        momentum=momentum, epsilon=op.epsilon, center=bias is not None, scale=scale is not None
    )
    placed = keras.place(norm, gamma=scale, beta=bias, moving_mean=mean, moving_variance=variance)(x)
    if op.frozen:
        norm.trainable = False
    return placed


@exports("keras", BatchStatisticsNorm, channels_last=True)
def batch_statistics_norm_to_keras(op, keras, x, scale, bias):
    exact_in_keras(keras, type(op).__name__)
    axes = tuple(range(keras.inputs[0].rank - 1))
    return scaled_in_keras(keras, standardized_in_keras(keras, x, axes, op.epsilon), scale, bias, (-1,))


@exports("onnx", BatchNorm)
def batch_norm_to_onnx(op, onnx, x, scale, bias, mean, variance):
    if not op.frozen:
        note_statistics(onnx)
    channels, port = onnx.inputs[3].shape[0], onnx.inputs[0]
    if rounds(op.epsilon, port.dtype):
        shape = (channels, *(1,) * (port.rank - 2))
        scale, bias, mean, variance = (reshaped_in_onnx(onnx, v, *shape) for v in (scale, bias, mean, variance))
        deviation = onnx.Sqrt(onnx.Add(variance, np.asarray(op.epsilon, port.dtype)))
        y = onnx.Div(onnx.Sub(x, mean), deviation)
        y = y if scale is None else onnx.Mul(y, scale)
        return y if bias is None else onnx.Add(y, bias)
    scale, bias = affine(onnx, scale, bias, channels)
    return onnx.BatchNormalization(x, scale, bias, mean, variance, epsilon=op.epsilon, momentum=op.momentum)


@exports("onnx", BatchStatisticsNorm)
def batch_statistics_norm_to_onnx(op, onnx, x, scale, bias):
    """ONNX' training mode would say this, but runtimes for inference leave it out: each channel is normalised as one
    instance that holds the whole batch."""
    port = onnx.inputs[0]
    channels, rank = port.shape[1], port.rank
    if port.dtype == np.float64:
        shape = (channels, *(1,) * (rank - 2))
        scale, bias = (reshaped_in_onnx(onnx, v, *shape) for v in (scale, bias))
        return standardized_in_onnx(onnx, x, (0, *range(2, rank)), op.epsilon, scale, bias)
    swap = [1, 0, *range(2, rank)]
    first = onnx.Transpose(x, perm=swap)
    flat = onnx.Reshape(first, np.asarray([1, channels, -1], np.int64))
    y = onnx.InstanceNormalization(flat, *affine(onnx, scale, bias, channels), epsilon=op.epsilon)
    return onnx.Transpose(onnx.Reshape(y, onnx.Shape(first)), perm=swap)


# --- cases ------------------------------------------------------------------------------------------------------------


def _stored(name: str, shape: tuple[int, ...], *, scale: bool = True, bias: bool = True, dtype: str = "float32",
            epsilon: float = 0.002, momentum: float | None = 0.7, frozen: bool = False, **reasons: Any) -> None:  # fmt: skip
    """Statistics and data away from zero, so that mean, variance and epsilon all count."""
    some = {"dtype": dtype, "low": -1.5, "high": 2.5}
    case(
        f"batch_norm/{name}", BatchNorm(epsilon=epsilon, momentum=momentum, frozen=frozen), Operand(shape, **some),
        weight(shape[1], **some) if scale else None, weight(shape[1], **some) if bias else None,
        weight(shape[1], **some), weight(shape[1], dtype=dtype, low=0.02, high=3.0), **reasons,
    )  # fmt: skip


for axes in (2, 3, 4, 5, 6):
    _function = {"torch": "a function, whose momentum is lost"} if axes == 6 else {}
    _stored(f"rank_{axes}", (2, 3, 5, 2, 4, 3)[:axes], composed=_function)
_stored("float16", (2, 3, 4, 5), dtype="float16")
_in_pieces = {"onnx": "Sub, Add, Sqrt, Div, Mul, Add"}
_stored("float64", (2, 3, 4, 5), dtype="float64", refused=IN_32_BITS, composed=_in_pieces)
_stored("epsilon_that_32_bits_hold", (2, 3, 4), dtype="float64", epsilon=2.0**-9, refused=IN_32_BITS)
_stored("no_scale", (2, 3, 4, 5), scale=False)
_stored("no_bias", (2, 3, 4, 5), bias=False)
_stored("neither", (2, 3, 4), scale=False, bias=False)
_stored("frozen", (2, 3, 4, 5), frozen=True, composed={"torch": "the function", "onnx": "it says nothing of training"})
_stored("average_of_all", (2, 3, 4, 5), momentum=None, composed={f: "momentum is lost" for f in ("keras", "onnx")})


def _of_batch(name: str, shape: tuple[int, ...], *, scale: bool = True, bias: bool = True, dtype: str = "float32",
              **reasons: Any) -> None:  # fmt: skip
    weights = (weight(shape[1], dtype=dtype, low=-1.5, high=2.5) if given else None for given in (scale, bias))
    composed = {"keras": "reductions", "onnx": "InstanceNormalization between transposes, in float64 reductions"}
    case(
        f"batch_statistics_norm/{name}", BatchStatisticsNorm(epsilon=0.03),
        Operand(shape, dtype=dtype, low=-1.0, high=3.0), *weights, composed=composed, **reasons,
    )  # fmt: skip


_of_batch("rank_2", (5, 3))
_of_batch("rank_3", (2, 3, 4), scale=False)
_of_batch("rank_4", (2, 3, 4, 5))
_of_batch("rank_5", (2, 3, 4, 5, 2), bias=False)
_of_batch("neither", (2, 3, 4, 5), scale=False, bias=False)
_of_batch("float16", (2, 3, 4, 5), dtype="float16")
_of_batch("float64", (2, 3, 4, 5), dtype="float64", refused=IN_32_BITS)
