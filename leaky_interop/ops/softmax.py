"""Softmax and its relatives, along one axis or several.

| meaning    | keras                         | torch                | onnx                                      |
|------------|-------------------------------|----------------------|-------------------------------------------|
| Softmax    | Softmax(axis=-1), axis a list | softmax(dim)         | Softmax(axis=-1)                          |
| LogSoftmax | log_softmax(axis=-1)          | log_softmax(dim)     | LogSoftmax, as Softmax                    |
| a one at the largest | -                   | -                    | Hardmax, as Softmax: OneHot of ArgMax     |

Before opset 13 ONNX's axis is 1 where nothing is said, and it and everything after it count as one.
"""

import dataclasses
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Link, Moved, Op, Operand, Perm, Value, case, exports, imports, invert, op, product
from .arg import ArgMax
from .compare import Greater, Where
from .math import Sub
from .one_hot import one_hot
from .promotion import floating
from .reduce import ReduceLogSumExp
from .shape import of_rank_1


@dataclasses.dataclass(frozen=True)
class AlongAxes(Op):
    """Base of operators that normalise along axes and keep the shape."""

    axes: tuple[int, ...]
    tolerance = "sum"

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(dataclasses.replace(self, axes=tuple(sorted(perm[a] for a in self.axes))), (perm,), (perm,))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        return [Link({0: axis}, axis) for axis in range(inputs[0].rank)]

    def length(self, *arrays: np.ndarray) -> int:
        return int(np.prod([arrays[0].shape[a] for a in self.axes]))

    def shifted(self, x: np.ndarray) -> np.ndarray:
        """x less its maximum, in a dtype wide enough to compute in."""
        x = x.astype(np.float32) if x.dtype.itemsize < 4 else x
        with np.errstate(invalid="ignore"):
            return x - x.max(self.axes, keepdims=True, initial=-np.inf)


@op
class Softmax(AlongAxes):
    """exp(x) / sum(exp(x)), the sum along `axes`."""

    axes: tuple[int, ...]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        powers = np.exp(self.shifted(arrays[0]))
        return (powers / powers.sum(self.axes, keepdims=True)).astype(arrays[0].dtype)

    def terms(self, *arrays: np.ndarray) -> tuple[Any, np.ndarray]:
        """Relative to the result; exp also carries the rounding of its argument, whose size is that of the shift."""
        shift = np.abs(self.shifted(arrays[0]))
        return self.length(*arrays) + 4, self.reference(arrays[0].astype(np.float64)) * (
            1 + np.where(np.isfinite(shift), shift, 0)
        )


@op
class LogSoftmax(AlongAxes):
    """x - log(sum(exp(x))), the sum along `axes`."""

    axes: tuple[int, ...]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x = self.shifted(arrays[0])
        return (x - np.log(np.exp(x).sum(self.axes, keepdims=True))).astype(arrays[0].dtype)

    def terms(self, *arrays: np.ndarray) -> tuple[Any, np.ndarray]:
        x = self.shifted(arrays[0].astype(np.float64))
        total = np.log(np.exp(x).sum(self.axes, keepdims=True))
        return self.length(*arrays) + 4, np.abs(x) + np.abs(total) + 1


@imports("matlab", "softmaxLayer")
def softmax_from_matlab(layer, x):
    return Softmax(axes=(x.rank - 1,))(x)


@exports("matlab", Softmax, channels_last=True)
def softmax_to_matlab(op, matlab, x):
    if matlab.axes(op) != (matlab.inputs[0].rank - 1,):
        raise matlab.refuse(f"{op}", why="MATLAB's softmaxLayer works along the channels", instead="Use the channels")
    return matlab.layer("softmaxLayer", x)


KINDS = (Softmax, LogSoftmax)


def _along(kind: type[Op], x: Value, axes: Any) -> Value:
    """The operator along an axis, a list of them, or all (None), counted from either end."""
    axes = range(x.rank) if axes is None else axes if isinstance(axes, list | tuple) else (axes,)
    return kind(axes=tuple(sorted(int(a) % x.rank for a in axes)))(x)


def _from_torch(kind):
    @of_rank_1
    def read(call, x, axis, dtype=None):
        return _along(kind, x if dtype is None or isinstance(dtype, bool) else x.cast(dtype), axis)

    return read


def _from_keras(kind):
    def read(call, x):
        return _along(kind, x, call.axis)

    return read


@imports("chainer", "Softmax")
def softmax_from_chainer(call, x):
    return _along(Softmax, x, call.axis)


@imports("chainer", "LogSoftmax")
def log_softmax_from_chainer(call, x):
    """Chainer subtracts the whole logsumexp, largest element and all: a rounding of its size, which others avoid."""
    return Sub()(x, ReduceLogSumExp(axes=(call.axis % x.rank,), keepdims=True)(x))


@imports("keras", "Softmax")
def softmax_from_keras(layer, x, mask=None):
    """Where the mask is false (or up to 0.5) nothing is counted, and the result is 0."""
    layer.follow(mask)
    x = floating(layer, x)
    if mask is None:
        return _along(Softmax, x, layer.axis)
    mask = mask if mask.dtype == bool else Greater()(mask, 0.5)
    lowest = -3e4 if x.dtype == np.float16 else -1e9
    return Where()(mask, _along(Softmax, Where()(mask, x, lowest), layer.axis), 0.0)


def _from_onnx(kind):
    def read(node, x):
        return _along(kind, x, node.axis)

    return read


def _from_old_onnx(kind):
    def read(node, x):
        """Before opset 13 everything from the axis on is one axis; axes of size 1 add nothing to it."""
        axis = node.axis % x.rank
        return _along(kind, x, [a for a in range(axis, x.rank) if x.shape[a] != 1] or axis)

    return read


@imports("onnx", "Hardmax", since=13)
def hardmax_from_onnx(node, x):
    return _hardmax(x, node.axis % x.rank)


@imports("onnx", "Hardmax")
def old_hardmax_from_onnx(node, x):
    axis = node.axis % x.rank
    return _hardmax(x.reshape(product(x.shape[:axis]), product(x.shape[axis:])), 1).reshape(*x.shape)


def _hardmax(x: Value, axis: int) -> Value:
    """1 at the first of the largest along an axis, 0 elsewhere."""
    if not isinstance(x.shape[axis], int):
        raise Refused(
            "Hardmax along an open axis", why="its size must be known", hint="Fix that dimension with input_shapes"
        )
    return one_hot(ArgMax(axis=axis, keepdims=False)(x), x.shape[axis], axis, x.dtype)


def _to_torch(module):
    def write(op, torch, x):
        if len(op.axes) == 1:
            return torch.place(getattr(torch.nn, module)(dim=op.axes[0]))(x)
        shape, function = torch.inputs[0].shape, getattr(torch, "softmax" if module == "Softmax" else "log_softmax")
        order, flat = _last_axes_merged(op.axes, shape)
        back = invert(order)
        y = function(x.permute(*order).reshape(torch.shape(flat)), -1)
        return y.reshape(torch.shape(tuple(shape[a] for a in order))).permute(*back)

    return write


def _last_axes_merged(axes, shape):
    """The order that brings `axes` last, and the shape with them merged."""
    order = (*(a for a in range(len(shape)) if a not in axes), *axes)
    return order, (*(shape[a] for a in order[: len(shape) - len(axes)]), product(shape[a] for a in axes))


def _to_onnx(kind):
    def write(op, onnx, x):
        shape = onnx.inputs[0].shape
        if len(op.axes) == 1:
            return onnx.write(kind, (x,), axis=op.axes[0])
        order, flat = _last_axes_merged(op.axes, shape)
        back = list(invert(order))
        last = len(flat) - 1
        y = onnx.write(kind, (onnx.Reshape(onnx.Transpose(x, perm=list(order)), onnx.shape(flat)),), axis=last)
        return onnx.Transpose(onnx.Reshape(y, onnx.shape(tuple(shape[a] for a in order))), perm=back)

    return write


for _kind, _module in zip(KINDS, ("softmax", "log_softmax"), strict=True):
    imports("torch", f"aten.{_module}.int", f"aten._{_module}.default", f"aten.special_{_module}.int")(
        _from_torch(_kind)
    )
    imports("keras", f"ops.{_kind.__name__}", f"activations.{_module}")(_from_keras(_kind))
    imports("onnx", _kind.__name__, since=13)(_from_onnx(_kind))
    imports("onnx", _kind.__name__)(_from_old_onnx(_kind))
    exports("torch", _kind)(_to_torch(_kind.__name__))
    exports("onnx", _kind)(_to_onnx(_kind.__name__))


@exports("keras", Softmax)
def softmax_to_keras(op, keras, x):
    if len(op.axes) == 1:
        return keras.place(keras.layers.Softmax(axis=op.axes[0]))(x)
    return _merged_in_keras(op, keras, x, keras.place(keras.layers.Softmax(axis=-1)))


@exports("keras", LogSoftmax)
def log_softmax_to_keras(op, keras, x):
    if len(op.axes) == 1:
        return keras.ops.log_softmax(x, axis=op.axes[0])
    return _merged_in_keras(op, keras, x, keras.ops.log_softmax)


def _merged_in_keras(op, keras, x, function):
    """Over several axes at once Keras subtracts one large logarithm, in which small differences are lost."""
    shape = keras.inputs[0].shape
    order, flat = _last_axes_merged(op.axes, shape)
    turned = order != tuple(range(len(shape)))
    x = keras.ops.transpose(x, order) if turned else x
    y = function(keras.ops.reshape(x, keras.static_shape(flat)))
    y = keras.ops.reshape(y, keras.static_shape(tuple(shape[a] for a in order)))
    return keras.ops.transpose(y, invert(order)) if turned else y


for _name, _kind in (("softmax", Softmax), ("log_softmax", LogSoftmax)):
    for _axes in ((1,), (3,)):
        case(f"{_name}/axis={_axes[0]}", _kind(axes=_axes), (2, 3, 4, 5))
    case(
        f"{_name}/two_axes", _kind(axes=(1, 2)), (2, 3, 4, 5),
        composed=dict.fromkeys(("keras", "torch", "onnx"), "reshaped"),
    )  # fmt: skip
    case(f"{_name}/two_axes_of_large_numbers", _kind(axes=(1, 2)), Operand((2, 3, 4, 5), low=-4e6, high=4e6),
         composed=dict.fromkeys(("keras", "torch", "onnx"), "reshaped"))  # fmt: skip
    case(f"{_name}/large_numbers", _kind(axes=(1,)), Operand((3, 7), low=-40.0, high=40.0))
    for _dtype in ("float16", "bfloat16", "float64"):
        case(f"{_name}/{_dtype}", _kind(axes=(1,)), Operand((3, 7), dtype=_dtype))
