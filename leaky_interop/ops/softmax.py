"""Softmax and its relatives, along one axis or several.

| meaning    | keras                         | torch                | onnx                                      |
|------------|-------------------------------|----------------------|-------------------------------------------|
| Softmax    | Softmax(axis=-1), axis a list | softmax(dim)         | Softmax(axis=-1); before opset 13 axis=1 and everything after it is one axis |
| LogSoftmax | log_softmax(axis=-1)          | log_softmax(dim)     | LogSoftmax, as Softmax                    |
"""

import dataclasses
from typing import Any

import numpy as np

from ..op import Link, Moved, Op, Operand, Perm, Value, case, exports, imports, op, product


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
            return x - x.max(self.axes, keepdims=True)


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
        return self.length(*arrays) + 4, self.reference(arrays[0].astype(np.float64)) * (1 + np.where(np.isfinite(shift), shift, 0))


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


KINDS = (Softmax, LogSoftmax)


def _over_one_axis(kind: type[Op], x: Value, axes: tuple[int, ...]) -> Value:
    return kind(axes=tuple(sorted(a % x.rank for a in axes)))(x)


def _from_torch(kind):
    def read(call, x, axis, dtype=None):
        x = x if dtype is None or isinstance(dtype, bool) else x.cast(dtype)
        return _over_one_axis(kind, x, (axis,))

    return read


def _from_keras(kind):
    def read(call, x, *mask):
        axis = call.axis
        return _over_one_axis(kind, x, tuple(axis) if isinstance(axis, list | tuple) else (axis,))

    return read


def _from_onnx(kind):
    def read(node, x):
        return _over_one_axis(kind, x, (node.axis,))

    return read


def _from_old_onnx(kind):
    def read(node, x):
        """Before opset 13 everything from the axis on is one axis."""
        axis = node.axis % x.rank
        if axis == x.rank - 1:
            return _over_one_axis(kind, x, (axis,))
        return kind(axes=tuple(range(axis, x.rank)))(x)

    return read


def _to_torch(module):
    def write(op, torch, x):
        if len(op.axes) == 1:
            return torch.place(getattr(torch.nn, module)(dim=op.axes[0]))(x)
        shape, function = torch.inputs[0].shape, getattr(torch, "softmax" if module == "Softmax" else "log_softmax")
        order, flat = _last_axes_merged(op.axes, shape)
        back = tuple(int(i) for i in np.argsort(order))
        y = function(x.permute(*order).reshape(torch.shape(flat)), -1)
        return y.reshape(torch.shape(tuple(shape[a] for a in order))).permute(*back)

    return write


def _last_axes_merged(axes, shape):
    """The order that brings `axes` last, and the shape with them merged."""
    order = (*(a for a in range(len(shape)) if a not in axes), *axes)
    return order, (*(shape[a] for a in order[: len(shape) - len(axes)]), product(shape[a] for a in axes))


def _to_onnx(kind):
    def write(op, onnx, x):
        if len(op.axes) == 1:
            return onnx.write(kind, (x,), axis=op.axes[0])
        shape = onnx.inputs[0].shape
        order, flat = _last_axes_merged(op.axes, shape)
        back = [int(i) for i in np.argsort(order)]
        y = onnx.write(kind, (onnx.Reshape(onnx.Transpose(x, perm=list(order)), onnx.shape(flat)),), axis=-1)
        return onnx.Transpose(onnx.Reshape(y, onnx.shape(tuple(shape[a] for a in order))), perm=back)

    return write


for _kind, _module in zip(KINDS, ("softmax", "log_softmax"), strict=True):
    imports("torch", f"aten.{_module}.int", f"aten._{_module}.default", f"aten.special_{_module}.int")(_from_torch(_kind))
    imports("keras", f"ops.{_kind.__name__}", f"activations.{_module}", *(("Softmax",) if _kind is Softmax else ()))(_from_keras(_kind))
    imports("onnx", _kind.__name__, since=13)(_from_onnx(_kind))
    imports("onnx", _kind.__name__)(_from_old_onnx(_kind))
    exports("torch", _kind)(_to_torch(_kind.__name__))
    exports("onnx", _kind)(_to_onnx(_kind.__name__))


@exports("keras", Softmax)
def softmax_to_keras(op, keras, x):
    return keras.place(keras.layers.Softmax(axis=op.axes[0] if len(op.axes) == 1 else list(op.axes)))(x)


@exports("keras", LogSoftmax)
def log_softmax_to_keras(op, keras, x):
    if len(op.axes) == 1:
        return keras.ops.log_softmax(x, axis=op.axes[0])
    return keras.ops.subtract(x, keras.ops.logsumexp(x, axis=op.axes, keepdims=True))


for _name, _kind in (("softmax", Softmax), ("log_softmax", LogSoftmax)):
    for _axes in ((1,), (3,)):
        case(f"{_name}/axis={_axes[0]}", _kind(axes=_axes), (2, 3, 4, 5))
    case(
        f"{_name}/two_axes", _kind(axes=(1, 2)), (2, 3, 4, 5),
        composed={f: "reshaped" for f in ("torch", "onnx")} | ({"keras": "logsumexp"} if _kind is LogSoftmax else {}),
    )  # fmt: skip
    case(f"{_name}/large_numbers", _kind(axes=(1,)), Operand((3, 7), low=-90.0, high=90.0))
    for _dtype in ("float16", "float64"):
        case(f"{_name}/{_dtype}", _kind(axes=(1,)), Operand((3, 7), dtype=_dtype))
