"""Layer and RMS normalisation: the statistics of some axes of one sample.

| field       | keras                          | torch                      | onnx                              |
|-------------|--------------------------------|----------------------------|-----------------------------------|
| axes        | axis: any, the last by default | the last: normalized_shape | from axis on, the last by default |
| epsilon     | 0.001                          | 1e-5                       | 1e-5, in 32 bits                  |
| ... RMSNorm | 1e-6                           | the dtype's own            | 1e-5, in 32 bits                  |
| scale       | gamma, absent if scale=False   | weight                     | always there                      |
| bias        | beta, absent if center=False   | bias                       | may be absent                     |
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ..op import Link, Moved, Op, Operand, Perm, Shape, Value, agree, case, exports, imports, invert, op, weight
from .math import Add, Mul
from .moments import (
    ROUNDINGS,
    filling,
    in_32_bits_in_onnx,
    in_one_dtype,
    reshaped_in_onnx,
    rounds,
    standardized,
    standardized_in_onnx,
    standardized_terms,
    stored,
    unfilled,
    widened,
)
from .norm import reads_further_outputs
from .precision import IN_32_BITS
from .reduce_exports import reduce_in_onnx
from .variance import mean_and_inverse_deviation


class OverAxes(Op):
    """An operator with statistics over `axes`, whose weights have the sizes of these axes, in their order."""

    axes: tuple[int, ...]
    tolerance = "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        x, *weights = inputs
        sizes = tuple(x.shape[a] for a in self.axes)
        for value in weights:
            if value is not None and not agree(value.shape, sizes):
                raise ValueError(f"{self} takes weights of shape {sizes}, not {value!r}")
        return [(x.shape, x.dtype)]

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        """Any axes will do, but last axes stay last: most frameworks compute on no others."""
        if len(perm) != inputs[0].rank:  # type: ignore[union-attr]  # a weight's
            return None
        moved = tuple(sorted(perm[a] for a in self.axes))
        if is_last(self.axes, len(perm)) and not is_last(moved, len(perm)):
            return None
        order = tuple(moved.index(perm[a]) for a in self.axes)
        turned: Any = dataclasses.replace(self, axes=moved)  # type: ignore[type-var]
        return Moved(turned, (perm, *(order,) * (len(inputs) - 1)), (perm,))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        weights = [i for i, v in enumerate(inputs) if i and v is not None]
        found = []
        for axis in range(inputs[0].rank):
            place = dict.fromkeys(weights, self.axes.index(axis)) if axis in self.axes else {}
            found.append(Link({0: axis} | place, axis))
        return found

    def shaped(self, arrays: tuple[np.ndarray, ...]) -> list[Any]:
        """Everything in the dtype of computation, weights ready to broadcast."""
        x, *weights = widened(*arrays)
        shape = tuple(s if a in self.axes else 1 for a, s in enumerate(x.shape))
        return [x, *(None if w is None else w.reshape(shape) for w in weights)]


@op
class LayerNorm(OverAxes):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, statistics over `axes`; scale and bias may be absent."""

    axes: tuple[int, ...]
    epsilon: float
    weights = (1, 2)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, scale, bias = self.shaped(arrays)
        return standardized(x, self.axes, self.epsilon, scale, bias).astype(arrays[0].dtype)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        x, scale, bias = self.shaped(arrays)
        return standardized_terms(x, self.axes, self.epsilon, scale, bias)


@op
class RMSNorm(OverAxes):
    """x / sqrt(mean(x**2) + epsilon) * scale, the mean over `axes`; scale may be absent."""

    axes: tuple[int, ...]
    epsilon: float
    weights = (1,)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, scale = self.shaped(arrays)
        y = x / np.sqrt((x * x).mean(self.axes, keepdims=True) + self.epsilon)
        return (y if scale is None else y * scale).astype(arrays[0].dtype)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """All terms of the sum are positive, so its relative error is that of its length."""
        count = int(np.prod([arrays[0].shape[a] for a in self.axes]))
        return count + ROUNDINGS, np.abs(self.reference(*arrays))


def is_last(axes: tuple[int, ...], rank: int) -> bool:
    """Whether axes are the last ones of so many."""
    return axes == tuple(range(rank - len(axes), rank))


# --- importers --------------------------------------------------------------------------------------------------------


def last_axes(x: Value, count: int) -> tuple[int, ...]:
    """The last axes of x."""
    return tuple(range(x.rank - count, x.rank))


@imports("torch", "aten.layer_norm.default")
def layer_norm_from_torch(call, x, sizes, scale, bias, epsilon, *_):
    return in_one_dtype(LayerNorm(axes=last_axes(x, len(sizes)), epsilon=epsilon), x, unfilled(scale, 1), bias)


@imports("torch", "aten.rms_norm.default")
def rms_norm_from_torch(call, x, sizes, scale, epsilon):
    """An epsilon that was left out is the spacing of the dtype at 1 (of float32 for narrower ones)."""
    if epsilon is None:
        epsilon = float(np.finfo(np.float64 if x.dtype == np.float64 else np.float32).eps)
    return in_one_dtype(RMSNorm(axes=last_axes(x, len(sizes)), epsilon=epsilon), x, scale)


@imports("torch", "aten._fused_rms_norm.default")
def decomposed_rms_norm_from_torch(call, x, sizes, scale, epsilon):
    return rms_norm_from_torch(call, x, sizes, scale, epsilon), None


@imports("onnx", "LayerNormalization")
def layer_norm_from_onnx(node, x, scale, bias=None):
    """Its further results are the mean, and 1 over the deviation."""
    axes, epsilon = last_axes(x, x.rank - node.axis % x.rank), stored(node.epsilon, x)
    y = in_one_dtype(LayerNorm(axes=axes, epsilon=epsilon), x, unfilled(scale, 1), bias)
    if not reads_further_outputs(node):
        return y
    return y, *mean_and_inverse_deviation(x.cast(node.numpy_dtype(node.stash_type)), axes, epsilon)


@imports("onnx", "RMSNormalization", since=23)
def rms_norm_from_onnx(node, x, scale):
    axes = last_axes(x, x.rank - node.axis % x.rank)
    return in_one_dtype(RMSNorm(axes=axes, epsilon=stored(node.epsilon, x)), x, unfilled(scale, 1))


@imports("matlab", "layerNormalizationLayer", channels_last=True)
def layer_norm_from_matlab(layer, x):
    """Statistics of everything but the batch, or of the channels; scale and offset are one number a channel in any case."""
    channels, size = x.shape[1], (1, 1, x.shape[1]) if x.rank > 2 else (x.shape[1], 1)
    scale, bias = (layer.weight(role, *size).reshape(channels) for role in ("Scale", "Offset"))
    if x.rank == 2 or layer.OperationDimension == "channel-only":
        return LayerNorm(axes=(1,), epsilon=layer.Epsilon)(x, scale, bias)
    y = LayerNorm(axes=tuple(range(1, x.rank)), epsilon=layer.Epsilon)(x, None, None)
    return Add()(Mul()(y, scale.reshape(channels, 1, 1)), bias.reshape(channels, 1, 1))


# --- exporters --------------------------------------------------------------------------------------------------------


def fixed_sizes(fw: Any, axes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The sizes of axes; None where one is known only at run time."""
    sizes = tuple(fw.inputs[0].shape[a] for a in axes)
    return sizes if all(isinstance(s, int) for s in sizes) else None


def on_last_axes(
    axes: tuple[int, ...], rank: int, x: Any, turn: Callable[[Any, Perm], Any], compute: Callable[[Any], Any]
) -> Any:
    """`compute` on data whose axes are brought to the end, the result turned back."""
    if is_last(axes, rank):
        return compute(x)
    perm = (*(a for a in range(rank) if a not in axes), *axes)
    return turn(compute(turn(x, perm)), invert(perm))


@exports("torch", LayerNorm)
def layer_norm_to_torch(op, torch, x, scale, bias):
    sizes, plain = fixed_sizes(torch, op.axes), scale is None and bias is None
    if sizes is not None and torch.holds(scale, bias):
        norm = torch.nn.LayerNorm(sizes, eps=op.epsilon, elementwise_affine=not plain, bias=bias is not None)
        norm = torch.place(norm, weight=filling(torch, 1, *sizes) if scale is None and not plain else scale, bias=bias)
    else:
        norm = functional(torch, "layer_norm", op, torch.tensor(scale), torch.tensor(bias))
    return on_last_axes(op.axes, torch.inputs[0].rank, x, permute, norm)


@exports("torch", RMSNorm)
def rms_norm_to_torch(op, torch, x, scale):
    sizes = fixed_sizes(torch, op.axes)
    if sizes is not None and torch.holds(scale):
        norm = torch.nn.RMSNorm(sizes, eps=op.epsilon, elementwise_affine=scale is not None)
        norm = torch.place(norm, weight=scale)
    else:
        norm = functional(torch, "rms_norm", op, torch.tensor(scale))
    return on_last_axes(op.axes, torch.inputs[0].rank, x, permute, norm)


def functional(torch: Any, name: str, op: Any, *weights: Any) -> Callable[[Any], Any]:
    """A function of torch.nn.functional over the sizes of the axes, whatever they are at run time."""
    sizes = tuple(torch.size(torch.inputs[0].shape[a]) for a in op.axes)
    return lambda x: getattr(torch.nn.functional, name)(x, sizes, *weights, op.epsilon)


def permute(x: Any, perm: Perm) -> Any:
    """A torch tensor with its axes in another order."""
    return x.permute(perm)


@exports("matlab", LayerNorm)
def layer_norm_to_matlab(op, matlab, x, scale, bias):
    rank = matlab.inputs[0].rank
    if op.axes != (rank - 1,) or not matlab.holds(scale, bias):
        why = "MATLAB's layer has weights of its own, one a channel"
        raise matlab.refuse(f"{op}", why=why, instead="Normalise along the channels")
    channels = matlab.inputs[0].shape[-1]
    size = (1, 1, channels) if rank > 2 else (channels, 1)
    scale = np.ones(channels, np.float32) if scale is None else scale
    bias = np.zeros(channels, np.float32) if bias is None else bias
    way = {"OperationDimension": "channel-only"} if rank > 2 else {}
    weights = {"Scale": scale.reshape(*size), "Offset": bias.reshape(*size)}
    return matlab.layer("layerNormalizationLayer", x, Epsilon=op.epsilon, **way, **weights)


@exports("onnx", LayerNorm)
def layer_norm_to_onnx(op, onnx, x, scale, bias):
    port, sizes = onnx.inputs[0], fixed_sizes(onnx, op.axes)
    if onnx.opset < 17 or rounds(op.epsilon, port.dtype) or (scale is None and sizes is None):
        scale, bias = (broadcast_in_onnx(onnx, op.axes, w) for w in (scale, bias))
        return standardized_in_onnx(onnx, x, op.axes, op.epsilon, scale, bias)
    scale = filling(onnx, 1, *sizes) if scale is None else scale
    first = port.rank - len(op.axes)

    def norm(data: Any) -> Any:
        return onnx.LayerNormalization(data, scale, bias, axis=first, epsilon=op.epsilon)

    return on_last_axes(op.axes, port.rank, x, lambda data, perm: onnx.Transpose(data, perm=list(perm)), norm)


@exports("onnx", RMSNorm)
def rms_norm_to_onnx(op, onnx, x, scale):
    port = onnx.inputs[0]
    whole = is_last(op.axes, port.rank) and not rounds(op.epsilon, port.dtype) and port.dtype.kind != "V"  # no bfloat16 kernel
    if onnx.opset >= 23 and scale is not None and whole:
        return onnx.RMSNormalization(x, scale, axis=op.axes[0], epsilon=op.epsilon)

    def compute(data: Any, dtype: np.dtype) -> Any:
        square = reduce_in_onnx(onnx, "ReduceMean", onnx.Mul(data, data), op.axes, True)
        return onnx.Div(data, onnx.Sqrt(onnx.Add(square, np.asarray(op.epsilon, dtype))))

    y = in_32_bits_in_onnx(onnx, x, compute)
    return y if scale is None else onnx.Mul(y, broadcast_in_onnx(onnx, op.axes, scale))


def broadcast_in_onnx(onnx: Any, axes: tuple[int, ...], value: Any) -> Any:
    """A weight with axes of size 1 where it has none."""
    if value is None or is_last(axes, onnx.inputs[0].rank):
        return value
    return reshaped_in_onnx(onnx, value, *(size if a in axes else 1 for a, size in enumerate(onnx.inputs[0].shape)))


# --- cases ------------------------------------------------------------------------------------------------------------


def _over(name: str, shape: tuple[int, ...], axes: tuple[int, ...], *, scale: bool = True, bias: bool = True,
          dtype: str = "float32", epsilon: float = 0.03, **reasons: Any) -> None:  # fmt: skip
    """The same case for both operators; data away from zero, so that a mean left in shows."""
    sizes = [shape[a] for a in axes]
    weights = [weight(*sizes, dtype=dtype, low=-1.5, high=2.5) if given else None for given in (scale, bias)]
    x = Operand(shape, dtype=dtype, low=-1.0, high=3.0)
    case(f"layer_norm/{name}", LayerNorm(axes=axes, epsilon=epsilon), x, *weights, **reasons)
    if bias:
        if dtype == "float16":
            reasons["composed"] = {"onnx": "in float32, between casts"}
        case(f"rms_norm/{name}", RMSNorm(axes=axes, epsilon=epsilon), x, weights[0], **reasons)


_turned = {"torch": "between permutes", "onnx": "between transposes", "keras": "between transposes"}
_over("last", (2, 3, 5), (2,))
_over("last_two", (2, 3, 4, 5), (2, 3))
_over("channels", (2, 3, 4, 5), (1,), composed=_turned)
_over("two_apart", (2, 3, 4, 5), (1, 3), composed=_turned)
_over("all_but_batch", (2, 3, 4, 5), (1, 2, 3))
_over("rank_2", (3, 4), (1,))
_over("no_scale", (2, 3, 5), (2,), scale=False)
_over("no_bias", (2, 3, 5), (2,), bias=False)
_over("neither", (2, 3, 5), (2,), scale=False, bias=False)
_over("float16", (2, 3, 5), (2,), dtype="float16")
_over("float64", (2, 3, 5), (2,), dtype="float64", refused=IN_32_BITS)
_over("epsilon_that_32_bits_hold", (2, 3, 5), (2,), dtype="float64", epsilon=2.0**-9, refused=IN_32_BITS)
