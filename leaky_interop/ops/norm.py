"""Normalisation by stored or computed statistics.

| field    | keras BatchNormalization       | torch BatchNorm       | onnx BatchNormalization |
|----------|--------------------------------|-----------------------|-------------------------|
| epsilon  | epsilon, 0.001                 | eps, 1e-5             | epsilon, 1e-5           |
| momentum | kept share, 0.99               | new share, 0.1        | kept share, 0.9         |
| scale    | gamma, absent if scale=False   | weight                | always there            |
| axis     | any, last by default           | 1                     | 1                       |
"""

import numpy as np

from ..op import Op, case, exports, imports, op, shortest, weight


@op
class BatchNorm(Op):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, per channel (axis 1), with stored statistics.

    Operands: x, scale, bias, mean, variance; scale and bias may be absent. `momentum` is the share of the old
    statistic that one training step keeps.
    """

    epsilon: float
    momentum: float
    weights = (1, 2, 3, 4)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, *rest = arrays
        wide = np.float32 if x.dtype.itemsize < 4 else x.dtype
        scale, bias, mean, variance = (None if a is None else a.astype(wide).reshape(-1, *(1,) * (x.ndim - 2)) for a in rest)
        y = (x.astype(wide) - mean) / np.sqrt(variance + wide.type(self.epsilon) if isinstance(wide, np.dtype) else variance + wide(self.epsilon))
        y = y if scale is None else y * scale
        return (y if bias is None else y + bias).astype(x.dtype)


@imports("torch", "aten.batch_norm.default")
def batch_norm_from_torch(call, x, scale, bias, mean, variance, training, momentum, epsilon, *_):
    return BatchNorm(epsilon=epsilon, momentum=round(1 - momentum, 12))(x, scale, bias, mean, variance)


@imports("keras", "BatchNormalization")
def batch_norm_from_keras(layer, x):
    axis = layer.axis % x.rank
    turn = (0, axis, *(a for a in range(1, x.rank) if a != axis))
    weights = (layer.weight(n) for n in ("gamma", "beta", "moving_mean", "moving_variance"))
    y = BatchNorm(epsilon=layer.epsilon, momentum=layer.momentum)(x.transpose(*turn), *weights)
    return y.transpose(*(int(i) for i in np.argsort(turn)))


@imports("onnx", "BatchNormalization", since=14)
def batch_norm_from_onnx(node, x, scale, bias, mean, variance):
    return BatchNorm(epsilon=shortest(node.epsilon), momentum=shortest(node.momentum))(x, scale, bias, mean, variance)


@exports("torch", BatchNorm)
def batch_norm_to_torch(op, torch, x, scale, bias, mean, variance):
    channels, rank = mean.shape[0], torch.inputs[0].rank
    kind = {2: torch.nn.BatchNorm1d, 3: torch.nn.BatchNorm1d, 4: torch.nn.BatchNorm2d, 5: torch.nn.BatchNorm3d}[rank]
    norm = kind(channels, eps=op.epsilon, momentum=round(1 - op.momentum, 12), affine=True)
    return torch.place(norm, weight=scale, bias=bias, running_mean=mean, running_var=variance)(x)


@exports("keras", BatchNorm, channels_last=True)
def batch_norm_to_keras(op, keras, x, scale, bias, mean, variance):
    norm = keras.layers.BatchNormalization(
        axis=-1, momentum=op.momentum, epsilon=op.epsilon, center=bias is not None, scale=scale is not None
    )
    return keras.place(norm, gamma=scale, beta=bias, moving_mean=mean, moving_variance=variance)(x)


@exports("onnx", BatchNorm)
def batch_norm_to_onnx(op, onnx, x, scale, bias, mean, variance):
    return onnx.BatchNormalization(x, scale, bias, mean, variance, epsilon=op.epsilon, momentum=op.momentum)


case(
    "batch_norm/2d", BatchNorm(epsilon=0.002, momentum=0.7), (2, 3, 4, 5), weight(3), weight(3), weight(3),
    weight(3, low=0.5, high=2.0),
)  # fmt: skip
