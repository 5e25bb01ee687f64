"""How each framework spells a reduction: global pools are pools again, what has no name is composed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..op import exports
from .precision import exact_in_keras
from .reduce import (
    ReduceAll,
    ReduceAny,
    ReduceL1,
    ReduceL2,
    ReduceLogSum,
    ReduceLogSumExp,
    ReduceMax,
    ReduceMean,
    ReduceMin,
    ReduceProd,
    ReduceSum,
    ReduceSumSquare,
)

POOLS = {3: "1D", 4: "2D", 5: "3D"}  # by rank


def _torch(name: str) -> Callable[..., Any]:
    def write(op, torch, x):
        return getattr(x, name)(op.axes, keepdim=op.keepdims)

    return write


def _dtype_of_sum(torch: Any) -> dict[str, Any]:
    """Whole numbers are summed up in their own dtype only if torch is told to."""
    dtype = torch.outputs[0].dtype
    return {"dtype": torch.torch_dtype(dtype)} if dtype.kind in "iu" and dtype.itemsize < 8 else {}


def _sum_to_torch(op, torch, x):
    return x.sum(op.axes, keepdim=op.keepdims, **_dtype_of_sum(torch))


def _keras(name: str) -> Callable[..., Any]:
    def write(op, keras, x):
        told = {}
        if name == "prod":
            exact_in_keras(keras, "a product")
            told = {"dtype": "int64"} if keras.outputs[0].dtype == np.int64 else {}  # or some multiply in 32 bits
        y = getattr(keras.ops, name)(x, axis=op.axes, keepdims=op.keepdims, **told)
        return y if y.dtype == keras.outputs[0].dtype.name else keras.ops.cast(y, keras.outputs[0].dtype.name)

    return write


def _onnx(name: str) -> Callable[..., Any]:
    def write(op, onnx, x):
        return reduce_in_onnx(onnx, name, x, op.axes, op.keepdims)

    return write


def reduce_in_onnx(onnx: Any, name: str, x: Any, axes: Sequence[int], keepdims: bool) -> Any:
    """A reduction node: axes became an operand in opset 18, those of sums before."""
    if name == "ReduceSum" or onnx.opset >= 18:
        return getattr(onnx, name)(x, np.array(axes, np.int64), keepdims=int(keepdims))
    return getattr(onnx, name)(x, axes=list(axes), keepdims=int(keepdims))


def _norm_to_torch(op, torch, x):
    if isinstance(op, ReduceL1) and torch.inputs[0].dtype.kind in "iu":
        return _sum_to_torch(op, torch, x.abs())
    _only_floats(torch, "a norm")
    return torch.linalg.vector_norm(x, 1 if isinstance(op, ReduceL1) else 2, op.axes, keepdim=op.keepdims)


def _only_floats(fw: Any, what: str) -> None:
    """Refuse what ONNX has for integers too, rounded somehow."""
    if fw.inputs[0].dtype.kind in "iu":
        raise fw.refuse(f"{what} of integers", why="only ONNX has it", instead="Cast to a floating dtype before")


def _prod_to_torch(op, torch, x):
    for axis in reversed(op.axes):
        x = x.prod(axis, keepdim=op.keepdims, **_dtype_of_sum(torch))
    return x


def _square_to_torch(op, torch, x):
    return _sum_to_torch(op, torch, x.square())


def _log_sum_to_torch(op, torch, x):
    return x.sum(op.axes, keepdim=op.keepdims).log()


def _absolute_to_keras(op, keras, x):
    return keras.ops.sum(keras.ops.abs(x), axis=op.axes, keepdims=op.keepdims)


def _norm_to_keras(op, keras, x):
    exact_in_keras(keras, "a norm")
    _only_floats(keras, "a norm")
    if len(op.axes) == 1:
        return keras.ops.norm(x, ord=2, axis=op.axes[0], keepdims=op.keepdims)
    return keras.ops.sqrt(_square_to_keras(op, keras, x))


def _square_to_keras(op, keras, x):
    return keras.ops.sum(keras.ops.square(x), axis=op.axes, keepdims=op.keepdims)


def _log_sum_to_keras(op, keras, x):
    return keras.ops.log(keras.ops.sum(x, axis=op.axes, keepdims=op.keepdims))


def _boolean_to_onnx(name: str) -> Callable[..., Any]:
    def write(op, onnx, x):
        if onnx.opset >= 20:
            return reduce_in_onnx(onnx, name, x, op.axes, op.keepdims)
        whole = onnx.Cast(x, to=onnx.element_type(np.int32))
        return onnx.Cast(reduce_in_onnx(onnx, name, whole, op.axes, op.keepdims), to=onnx.element_type(bool))

    return write


def _pool_to_torch(name: str, kind: str) -> Callable[..., Any]:
    """A pooling module where the reduction is one of images or volumes, the plain method elsewhere."""

    def write(op, torch, x):
        rank = torch.inputs[0].rank
        if name == "mean":
            _only_floats(torch, "a mean")
        if rank > 3 and op.keepdims and op.axes == tuple(range(2, rank)) and torch.inputs[0].dtype.kind in "fV":
            return torch.place(getattr(torch.nn, f"Adaptive{kind}Pool{rank - 2}d")(1))(x)
        return getattr(x, name)(op.axes, keepdim=op.keepdims)

    return write


def _pool_to_keras(name: str, kind: str) -> Callable[..., Any]:
    """A pooling layer where all axes between the first and the last go, which in Keras are the spatial ones."""

    def write(op, keras, x):
        rank = keras.inputs[0].rank
        if name == "mean":
            exact_in_keras(keras, "a mean")
            _only_floats(keras, "a mean")
        if rank in POOLS and op.axes == tuple(range(1, rank - 1)) and keras.inputs[0].dtype.kind in "fV":
            layer = getattr(keras.layers, f"Global{kind}Pooling{POOLS[rank]}")
            return keras.place(layer(keepdims=op.keepdims, data_format="channels_last"))(x)
        return getattr(keras.ops, name)(x, axis=op.axes, keepdims=op.keepdims)

    return write


def _pool_to_onnx(name: str, kind: str) -> Callable[..., Any]:
    def write(op, onnx, x):
        rank, global_pool = onnx.inputs[0].rank, f"Global{kind}Pool"
        spatial = rank > 2 and op.keepdims and op.axes == tuple(range(2, rank))
        if spatial and onnx.inputs[0].dtype.kind in "fV" and onnx.runs(global_pool):
            return getattr(onnx, global_pool)(x)
        return reduce_in_onnx(onnx, name, x, op.axes, op.keepdims)

    return write


for _kind, _to_torch, _to_keras, _to_onnx in (
    (ReduceSum, _sum_to_torch, _keras("sum"), _onnx("ReduceSum")),
    (ReduceMean, _pool_to_torch("mean", "Avg"), _pool_to_keras("mean", "Average"),
     _pool_to_onnx("ReduceMean", "Average")),
    (ReduceProd, _prod_to_torch, _keras("prod"), _onnx("ReduceProd")),
    (ReduceMax, _pool_to_torch("amax", "Max"), _pool_to_keras("max", "Max"), _pool_to_onnx("ReduceMax", "Max")),
    (ReduceMin, _torch("amin"), _keras("min"), _onnx("ReduceMin")),
    (ReduceAll, _torch("all"), _keras("all"), _boolean_to_onnx("ReduceMin")),
    (ReduceAny, _torch("any"), _keras("any"), _boolean_to_onnx("ReduceMax")),
    (ReduceLogSumExp, _torch("logsumexp"), _keras("logsumexp"), _onnx("ReduceLogSumExp")),
    (ReduceL1, _norm_to_torch, _absolute_to_keras, _onnx("ReduceL1")),
    (ReduceL2, _norm_to_torch, _norm_to_keras, _onnx("ReduceL2")),
    (ReduceSumSquare, _square_to_torch, _square_to_keras, _onnx("ReduceSumSquare")),
    (ReduceLogSum, _log_sum_to_torch, _log_sum_to_keras, _onnx("ReduceLogSum")),
):  # fmt: skip
    for _framework, _adapter in (("torch", _to_torch), ("keras", _to_keras), ("onnx", _to_onnx)):
        if _adapter.__name__ == "write":
            _adapter.__name__ = f"{_kind.__name__}_to_{_framework}"
        exports(_framework, _kind)(_adapter)
