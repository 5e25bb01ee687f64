"""Group and instance normalisation: the statistics of a few channels of one sample. Channels stand on axis 1.

| meaning             | keras                         | torch          | onnx                      |
|---------------------|-------------------------------|----------------|---------------------------|
| GroupNorm           | GroupNormalization, axis any  | GroupNorm      | GroupNormalization        |
| a group per channel | GroupNormalization(groups=-1) | InstanceNormNd | InstanceNormalization     |
| scale and bias      | per channel                   | per channel    | per group up to opset 20  |
| epsilon             | epsilon, 0.001                | eps, 1e-5      | epsilon, 1e-5, in 32 bits |

Instance normalisation is the case of as many groups as channels, not an operator of its own.
"""

from typing import Any

import numpy as np

from ..op import Operand, Value, case, exports, imports, op, product, weight
from .moments import (
    affine,
    in_one_dtype,
    reshaped_in_onnx,
    scaled_in_keras,
    standardized,
    standardized_in_onnx,
    standardized_terms,
    stored,
    unfilled,
    widened,
)
from .norm import PerChannel, batch_norm_from_torch, module_of, to_channel_axis
from .precision import IN_32_BITS, exact_in_keras


@op
class GroupNorm(PerChannel):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, statistics over neighbouring channels and all of space.

    `groups` groups of equally many channels; operands x, scale, bias, the weights per channel, either may be absent.
    """

    groups: int
    epsilon: float
    weights = (1, 2)

    def infer(self, *inputs: Value | None) -> list[tuple[Any, Any]]:
        x = inputs[0]
        if not isinstance(x.shape[1], int) or x.shape[1] % self.groups:
            raise ValueError(f"{self} does not divide the channels of {x!r}")
        return [(x.shape, x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return standardized(*self.parts(arrays)).reshape(arrays[0].shape).astype(arrays[0].dtype)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        count, magnitude = standardized_terms(*self.parts(arrays))
        return count, magnitude.reshape(arrays[0].shape)

    def parts(self, arrays: tuple[np.ndarray, ...]) -> tuple[Any, ...]:
        """What the formula takes, channels split into (group, channel of the group)."""
        x, scale, bias = widened(*arrays)
        split = (self.groups, x.shape[1] // self.groups)
        weights = [None if w is None else w.reshape(*split, *(1,) * (x.ndim - 2)) for w in (scale, bias)]
        x = x.reshape(x.shape[0], *split, *x.shape[2:])
        return x, tuple(range(2, x.ndim)), self.epsilon, *weights

    def links(self, inputs: tuple[Value | None, ...]) -> list[Any]:
        """Reordered channels would change groups, unless every channel is one."""
        channels = inputs[0].shape[1]
        return [link for link in super().links(inputs) if link.output != 1 or self.groups == channels]


# --- importers --------------------------------------------------------------------------------------------------------


@imports("torch", "aten.group_norm.default")
def group_norm_from_torch(call, x, groups, scale, bias, epsilon, *_):
    return in_one_dtype(GroupNorm(groups=groups, epsilon=epsilon), x, unfilled(scale, 1), unfilled(bias, 0))


@imports("torch", "aten.instance_norm.default")
def instance_norm_from_torch(call, x, scale, bias, mean, variance, use_input_stats, momentum, epsilon, *_):
    """With running statistics (track_running_stats=True, in evaluation) it is batch normalisation."""
    if not use_input_stats:
        return batch_norm_from_torch(call, x, scale, bias, mean, variance, False, momentum, epsilon)
    return group_norm_from_torch(call, x, x.shape[1], scale, bias, epsilon)


@imports("keras", "GroupNormalization")
def group_norm_from_keras(layer, x):
    turned, back = to_channel_axis(x, layer.axis)
    weights = (layer.weight(n, cast=False) for n in ("gamma", "beta"))
    groups = turned.shape[1] if layer.groups == -1 else layer.groups
    y = in_one_dtype(GroupNorm(groups=groups, epsilon=layer.epsilon), turned, *weights)
    return y.cast(layer.compute_dtype).transpose(*back)


@imports("onnx", "InstanceNormalization")
def instance_norm_from_onnx(node, x, scale, bias):
    norm = GroupNorm(groups=x.shape[1], epsilon=stored(node.epsilon, x))
    return in_one_dtype(norm, x, unfilled(scale, 1), unfilled(bias, 0))


@imports("onnx", "GroupNormalization", since=18)
def group_norm_with_weights_per_group_from_onnx(node, x, scale, bias):
    """One scale a group: the same as groups that are channels."""
    groups = node.num_groups
    rest = x.shape[1] // groups * product(x.shape[2:])
    return instance_norm_from_onnx(node, x.reshape(x.shape[0], groups, rest), scale, bias).reshape(*x.shape)


@imports("onnx", "GroupNormalization", since=21)
def group_norm_from_onnx(node, x, scale, bias):
    norm = GroupNorm(groups=node.num_groups, epsilon=stored(node.epsilon, x))
    return in_one_dtype(norm, x, unfilled(scale, 1), unfilled(bias, 0))


# --- exporters --------------------------------------------------------------------------------------------------------


@exports("torch", GroupNorm)
def group_norm_to_torch(op, torch, x, scale, bias):
    if not torch.holds(scale, bias):
        return torch.nn.functional.group_norm(x, op.groups, torch.tensor(scale), torch.tensor(bias), op.epsilon)
    shape = torch.inputs[0].shape
    channels, plain = shape[1], scale is None and bias is None
    instance = module_of(torch, "InstanceNorm", len(shape)) if op.groups == channels and several(shape[2:]) else None
    if instance is not None:
        norm = instance(channels, eps=op.epsilon, affine=not plain)
    else:
        norm = torch.nn.GroupNorm(op.groups, channels, eps=op.epsilon, affine=not plain)
    scale, bias = (None, None) if plain else affine(torch, scale, bias, channels)
    return torch.place(norm, weight=scale, bias=bias)(x)


def several(space: tuple[Any, ...]) -> bool:
    """Whether a channel surely has more than one element, without which PyTorch's instance norms raise an error."""
    return any(isinstance(size, int) and size > 1 for size in space)


@exports("keras", GroupNorm, channels_last=True)
def group_norm_to_keras(op, keras, x, scale, bias):
    exact_in_keras(keras, type(op).__name__)
    held = keras.holds(scale, bias)
    groups = -1 if op.groups == keras.inputs[0].shape[1] else op.groups
    norm = keras.layers.GroupNormalization(
        groups, epsilon=op.epsilon, center=held and bias is not None, scale=held and scale is not None
    )
    if held:
        return keras.place(norm, gamma=scale, beta=bias)(x)
    return scaled_in_keras(keras, keras.place(norm)(x), scale, bias, (-1,))


@exports("onnx", GroupNorm)
def group_norm_to_onnx(op, onnx, x, scale, bias):
    """InstanceNormalization where groups are channels, GroupNormalization from opset 21 on; otherwise groups are made
    channels and scaled afterwards."""
    port = onnx.inputs[0]
    channels, rank = port.shape[1], port.rank
    if op.groups == channels and rank > 2 and port.dtype != np.float64:
        return onnx.InstanceNormalization(x, *affine(onnx, scale, bias, channels), epsilon=op.epsilon)
    if onnx.opset >= 21 and rank > 2 and port.dtype != np.float64:  # of which it takes the statistics in float32
        scale, bias = affine(onnx, scale, bias, channels)
        return onnx.GroupNormalization(x, scale, bias, epsilon=op.epsilon, num_groups=op.groups)
    rest = product(port.shape[1:]) // op.groups
    flat = onnx.Reshape(x, np.asarray([0, op.groups, rest if isinstance(rest, int) else -1], np.int64))
    if port.dtype == np.float64:
        y = standardized_in_onnx(onnx, flat, (2,), op.epsilon)
    else:
        y = onnx.InstanceNormalization(flat, *affine(onnx, None, None, op.groups), epsilon=op.epsilon)
    y = onnx.Reshape(y, onnx.Shape(x))
    shape = (channels, *(1,) * (rank - 2))
    y = y if scale is None else onnx.Mul(y, reshaped_in_onnx(onnx, scale, *shape))
    return y if bias is None else onnx.Add(y, reshaped_in_onnx(onnx, bias, *shape))


# --- cases ------------------------------------------------------------------------------------------------------------


def _grouped(name: str, shape: tuple[int, ...], groups: int, *, scale: bool = True, bias: bool = True,
             dtype: str = "float32", **reasons: Any) -> None:  # fmt: skip
    weights = (weight(shape[1], dtype=dtype, low=-1.5, high=2.5) if given else None for given in (scale, bias))
    x = Operand(shape, dtype=dtype, low=-1.0, high=3.0)
    case(f"group_norm/{name}", GroupNorm(groups=groups, epsilon=0.03), x, *weights, **reasons)


_flat_in_onnx = {"onnx": "reshapes around InstanceNormalization or reductions"}
_grouped("two_of_three", (2, 6, 4, 5), 2)
_grouped("one", (2, 6, 5), 1, bias=False)
_grouped("rank_2", (3, 6), 2, scale=False, composed=_flat_in_onnx)
_grouped("rank_5", (2, 4, 3, 2, 5), 2, scale=False, bias=False)
_grouped("instance", (2, 3, 4, 5), 3)
_grouped("instance_1d", (2, 3, 5), 3, scale=False)
_grouped("instance_3d", (2, 3, 2, 3, 4), 3, scale=False, bias=False)
_grouped("instance_rank_2", (3, 4), 4, composed=_flat_in_onnx)
_grouped("instance_of_one_element", (2, 3, 1, 1), 3)
_grouped("float16_groups", (2, 6, 4), 3, dtype="float16")
_grouped("float16_instance", (2, 3, 4, 5), 3, dtype="float16")
_grouped("float64_groups", (2, 6, 4), 3, dtype="float64", refused=IN_32_BITS, composed=_flat_in_onnx)
_grouped("float64_instance", (2, 3, 4, 5), 3, dtype="float64", refused=IN_32_BITS, composed=_flat_in_onnx)
