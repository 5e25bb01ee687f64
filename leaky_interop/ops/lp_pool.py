"""Pooling by the p-norm of every window: (sum |x| ** p) ** (1 / p). Padding adds nothing.

| keras                        | torch                                   | onnx                     |
|------------------------------|-----------------------------------------|--------------------------|
| powers around AveragePooling | powers around avg_pool, as lp_pool does | LpPool, p 2 when left out |
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ..op import case, exports, imports, op
from .average_pool import AveragePool, average_pool_to_keras, average_pool_to_torch
from .pool import Pool, old_opset, onnx_settings, onnx_window
from .window import Pads, ceil_pads, flat_pads, no_pads


@op
class LpPool(Pool):
    """The p-norm of every window."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: Pads
    dilations: tuple[int, ...]
    p: int
    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        wide = np.abs(x.astype(np.float32 if x.dtype.itemsize < 4 else x.dtype)) ** self.p
        total = self.over(np.pad(wide, ((0, 0), (0, 0), *self.pads)), np.add)
        return (total ** wide.dtype.type(1 / self.p)).astype(x.dtype)

    def length(self, *arrays: np.ndarray) -> int:
        return int(np.prod(self.kernel))

    def mean(self) -> AveragePool:
        """The mean over the same windows, every pad counted as zero."""
        return AveragePool(
            kernel=self.kernel, strides=self.strides, pads=self.pads, counted=self.pads, dilations=self.dilations
        )


@imports("onnx", "LpPool")
def lp_pool_from_onnx(node, x):
    kernel, strides, pads, dilations, ceil = onnx_window(node, x)
    if ceil:
        pads = ceil_pads(x.shape[2:], kernel, strides, dilations, pads)
    return LpPool(kernel=kernel, strides=strides, pads=pads, dilations=dilations, p=int(node.p))(x)


@exports("torch", LpPool)
def lp_pool_to_torch(op, torch, x):
    return rooted(
        op, average_pool_to_torch(op.mean(), torch, x.abs() if op.p == 1 else x.abs().pow(op.p)), lambda y, p: y.pow(p)
    )


@exports("keras", LpPool, channels_last=True)
def lp_pool_to_keras(op, keras, x):
    powers = keras.ops.abs(x) if op.p == 1 else keras.ops.power(keras.ops.abs(x), op.p)
    return rooted(op, average_pool_to_keras(op.mean(), keras, powers), keras.ops.power)


def rooted(op: LpPool, mean: Any, power: Callable[[Any, float], Any]) -> Any:
    """The norm of windows out of the mean of the p-th powers."""
    total = mean * float(np.prod(op.kernel))
    return total if op.p == 1 else power(total, 1 / op.p)


@exports("onnx", LpPool)
def lp_pool_to_onnx(op, onnx, x):
    settings = onnx_settings(op, onnx)
    if settings is None:
        x, settings = onnx.Pad(x, onnx.sizes(flat_pads(((0, 0), (0, 0), *op.pads)))), {}
    dilations = list(op.dilations) if max(op.dilations) > 1 else None
    if dilations is not None and onnx.opset < 18:
        raise old_opset(onnx, "a dilated norm pool", 18)
    return onnx.LpPool(
        x, kernel_shape=list(op.kernel), strides=list(op.strides), dilations=dilations, p=op.p, **settings
    )


POWERS = dict.fromkeys(("keras", "torch"), "comes back as powers around AveragePool")


def _lp(name: str, x: tuple[int, ...], kernel: tuple[int, ...], p: int, **fields: Any) -> None:
    plain = {"strides": kernel, "pads": no_pads(len(kernel)), "dilations": (1,) * len(kernel)}
    case(f"lp_pool/{name}", LpPool(kernel=kernel, p=p, **plain | fields), x, composed=POWERS)


_lp("p=2", (2, 3, 6, 8), (2, 3), 2)
_lp("p=1_padded", (2, 3, 7, 8), (3, 3), 1, strides=(2, 1), pads=((1, 1), (0, 1)))
_lp("p=3_1d", (2, 3, 9), (3,), 3, strides=(2,))
_lp("p=2_dilated", (2, 3, 7, 8), (3, 2), 2, strides=(1, 2), dilations=(2, 3))
