"""Reductions: one number for all entries along some axes.

| meaning        | keras                          | torch                      | onnx                            |
|----------------|--------------------------------|----------------------------|---------------------------------|
| ReduceMean     | ops.mean, GlobalAveragePooling | mean, AdaptiveAvgPool to 1 | ReduceMean, GlobalAveragePool   |
| ReduceMax      | ops.max, GlobalMaxPooling      | amax, AdaptiveMaxPool to 1 | ReduceMax, GlobalMaxPool        |
| ReduceSum ...  | ops.sum, min, prod, logsumexp  | sum, amin, prod, logsumexp | ReduceSum, Min, Prod, LogSumExp |
| ReduceL1 ...   | ops.norm, composed             | vector_norm, composed      | ReduceL1, L2, SumSquare, LogSum |
| ReduceAll, Any | ops.all, any                   | all, any                   | ReduceMin, Max of booleans      |

Axes are written out, in increasing order. Plain ones are rows of a table; global pooling is a reduction over the
spatial axes. Variance stands in variance.py.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Link, Moved, Op, Operand, Perm, Shape, Value, case, imports, op
from .expand import filled, uniform
from .index import dropped
from .precision import IN_32_BITS
from .promotion import as_value, floating
from .table import widened


@op
class Reduction(Op):
    """Base of the reductions: `function(x, axis=axes, keepdims=keepdims)` in numpy."""

    axes: tuple[int, ...]
    keepdims: bool

    def function(self, x: np.ndarray, **how: Any) -> np.ndarray:
        """The reduction in numpy."""
        raise NotImplementedError

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        kept = (
            1 if a in self.axes else d for a, d in enumerate(inputs[0].shape) if self.keepdims or a not in self.axes
        )
        return [(tuple(kept), inputs[0].dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(lambda x: self.function(x, axis=self.axes, keepdims=self.keepdims), arrays[0])

    def length(self, *arrays: np.ndarray) -> int:
        return math.prod(arrays[0].shape[a] for a in self.axes)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        moved = dataclasses.replace(self, axes=tuple(sorted(perm[a] for a in self.axes)))
        return Moved(moved, (perm,), (perm if self.keepdims else dropped(perm, self.axes),))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        found, place = [], 0
        for axis in range(inputs[0].rank):
            found.append(Link({0: axis}, None if axis in self.axes else place))
            place += self.keepdims or axis not in self.axes
        return found


def axes_of(x: Value, axes: Any) -> tuple[int, ...]:
    """Axes as frameworks state them (None or none: all; one number; negative ones), in canonical form."""
    stated = () if axes is None else axes if isinstance(axes, tuple | list) else (axes,)
    return tuple(sorted(a % x.rank for a in stated)) or tuple(range(x.rank))


def entries(x: Value, axis: Any, keepdims: bool) -> tuple[Value, Any, bool]:
    """The data, axes and whether they stay, as Keras takes them: an empty list reduces nothing, each entry is a list of one."""
    if axis is not None and not isinstance(axis, int) and not len(axis):
        return x.reshape(*x.shape, 1), x.rank, False
    return x, axis, keepdims


def reduced(kind: type[Reduction], x: Value, axes: Any, keepdims: Any, **fields: Any) -> Value:
    """One reduction; a value without axes counts as one entry. Zeros add up to zero, however many they are."""
    if x.rank == 0:
        return kind(axes=(0,), keepdims=False, **fields)(x.reshape(1))
    made = kind(axes=axes_of(x, axes), keepdims=bool(keepdims), **fields)
    if kind.function is np.sum and uniform(x) == 0:
        return filled(x.graph, made.infer(x)[0][0], 0, x.dtype)
    return made(x)


# --- the table --------------------------------------------------------------------------------------------------------


def _row(
    name: str,
    meaning: str,
    function: Callable[..., Any],
    *,
    aten: Sequence[str] = (),
    keras: Sequence[str] = (),
    onnx: str = "",
    prepared: Callable[[Any, Value], Value] = as_value,
    **fields: Any,
) -> type[Reduction]:
    """A reduction with its importers: torch operators `aten`, operations `keras`, the operator `onnx`.

    prepared: what torch and Keras do to the dtype first. Further fields of the class: tolerance, symbolic.
    """
    kind = op(type(name, (Reduction,), {"__doc__": meaning, "function": staticmethod(function), **fields}))

    def from_torch(call: Any, x: Value, *how: Any) -> Value:
        axes, keepdims = how[:2] if len(how) > 1 else (None, False)
        dtype = how[0] if len(how) == 1 else how[2] if len(how) > 2 else None
        y = reduced(kind, x.cast(dtype) if dtype is not None else prepared(call, x), axes, keepdims)
        return y.cast(x.dtype) if prepared is _boolean and x.dtype == np.uint8 else y  # which torch held truths in

    def from_keras(call: Any, x: Any) -> Value:
        x, dtype = as_value(call, x), getattr(call.native, "dtype", None)
        x, axis, keepdims = entries(x.cast(dtype) if dtype is not None else prepared(call, x), call.axis, call.keepdims)
        if name == "ReduceSum" and axis is None and call.backend == "torch":
            keepdims = False  # which is then forgotten
        initial = getattr(call.native, "initial", None)
        if initial is not None and 0 in x.shape:  # nothing else is there
            shape = kind(axes=axes_of(x, axis), keepdims=bool(keepdims)).infer(x)[0][0]
            return filled(call.graph, shape, initial, call.stated[0])
        y = reduced(kind, x, axis, keepdims)
        y = y.cast(call.stated[0]) if name == "ReduceMean" and call.stated else y
        return y if initial is None else bounded(name, y, as_value(call, initial, y.dtype))

    def from_onnx(node: Any, x: Value, axes: Value | None = None) -> Value:
        return read_onnx(kind, node, x, axes)

    for framework, adapter, natives in (
        ("torch", from_torch, aten), ("keras", from_keras, keras), ("onnx", from_onnx, [onnx] if onnx else []),
    ):  # fmt: skip
        adapter.__name__ = f"{name}_from_{framework}"
        imports(framework, *natives)(adapter)
    return kind


def read_onnx(kind: type[Reduction], node: Any, x: Value, axes: Value | None) -> Value:
    """A node of any opset: axes are an attribute, later an operand; none means all, or by a flag no reduction."""
    stated = node.axes if node.has("axes") else None if axes is None else node.sizes(axes)
    none_means_none = node.has("noop_with_empty_axes") and node.noop_with_empty_axes  # asked for even where axes are stated
    if none_means_none and not stated:
        if kind not in (ReduceSum, ReduceMean, ReduceProd, ReduceMax, ReduceMin, ReduceAll, ReduceAny):
            raise Refused(f"{kind.__name__} over no axes", why="runtimes disagree about what is left of it", hint="State axes")
        return x
    return reduced(kind, x, stated, node.keepdims)


def _summed(call: Any, x: Value) -> Value:
    """The dtype that sums and products are taken in: whole numbers get room."""
    if x.dtype.kind in "fV":
        return x
    if call.graph.framework == "torch":
        return x.cast(np.int64)
    return x if x.dtype.itemsize >= 4 else x.cast(np.uint32 if x.dtype.kind == "u" else np.int32)


def bounded(name: str, y: Value, initial: Value) -> Value:
    """A maximum or minimum of one entry more."""
    from .bounds import Maximum, Minimum

    return (Maximum if name == "ReduceMax" else Minimum)()(y, initial)


def _averaged(call: Any, x: Value) -> Value:
    """The dtype that means are taken in; Keras on torch takes those of float64 in float32."""
    x = floating(call, x)
    narrow = call.graph.framework == "keras" and x.dtype == np.float64 and call.backend == "torch"
    return x.cast(np.float32) if narrow else x


def _boolean(call: Any, x: Value) -> Value:
    return x.cast(bool)


def _log_sum_exp(x: np.ndarray, axis: Any, keepdims: bool) -> np.ndarray:
    top = x.max(axis, keepdims=True, initial=-np.inf)
    top = np.where(np.isfinite(top), top, 0)
    result = np.log(np.exp(x - top).sum(axis, keepdims=True)) + top
    return result if keepdims else result.squeeze(axis)


def _sum_of_logs_terms(self: Reduction, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
    """The logarithm turns the sum's relative error into an absolute one."""
    how = {"axis": self.axes, "keepdims": self.keepdims}
    total = arrays[0].astype(float).sum(**how)
    with np.errstate(all="ignore"):
        return self.length(*arrays), np.abs(arrays[0]).astype(float).sum(**how) / np.abs(total) + np.abs(
            np.log(np.abs(total))
        )


def _log_sum_exp_terms(self: Reduction, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
    """One relative rounding of the sum, which is an absolute one of its logarithm, and those of the shift."""
    return self.length(*arrays), 1 + np.abs(arrays[0]).astype(float).max(self.axes, keepdims=self.keepdims)


ReduceSum = _row("ReduceSum", "The sum.", np.sum, aten=["aten.sum.default", "aten.sum.dim_IntList"], keras=["ops.Sum"],
                 onnx="ReduceSum", prepared=_summed, tolerance="sum", symbolic=True)  # fmt: skip
ReduceMean = _row("ReduceMean", "The arithmetic mean.", np.mean, aten=["aten.mean.default", "aten.mean.dim"],
                  keras=["ops.Mean"], onnx="ReduceMean", prepared=_averaged, tolerance="sum")  # fmt: skip
ReduceProd = _row("ReduceProd", "The product.", np.prod, aten=["aten.prod.default", "aten.prod.dim_int"],
                  keras=["ops.Prod"], onnx="ReduceProd", prepared=_summed, tolerance="sum", symbolic=True)  # fmt: skip
ReduceMax = _row("ReduceMax", "The largest entry; NaN wins.", np.max, aten=["aten.amax.default", "aten.max.default"],
                 keras=["ops.Max", "ops.Amax"], tolerance="exact")  # fmt: skip
ReduceMin = _row("ReduceMin", "The smallest entry; NaN wins.", np.min, aten=["aten.amin.default", "aten.min.default"],
                 keras=["ops.Min", "ops.Amin"], tolerance="exact")  # fmt: skip
ReduceAll = _row("ReduceAll", "Whether all entries are true.", np.all,
                 aten=["aten.all.default", "aten.all.dim", "aten.all.dims"], keras=["ops.All"], prepared=_boolean,
                 tolerance="exact")  # fmt: skip
ReduceAny = _row("ReduceAny", "Whether any entry is true.", np.any,
                 aten=["aten.any.default", "aten.any.dim", "aten.any.dims"], keras=["ops.Any"], prepared=_boolean,
                 tolerance="exact")  # fmt: skip
ReduceLogSumExp = _row("ReduceLogSumExp", "The logarithm of the sum of e to the power of the entries.", _log_sum_exp,
                       aten=["aten.logsumexp.default"], keras=["ops.Logsumexp"], onnx="ReduceLogSumExp",
                       prepared=floating, tolerance="sum", terms=_log_sum_exp_terms)  # fmt: skip
ReduceL1 = _row("ReduceL1", "The sum of absolute values.", lambda x, **how: np.abs(x).sum(**how), onnx="ReduceL1",
                tolerance="sum")  # fmt: skip
ReduceL2 = _row("ReduceL2", "The square root of the sum of squares.", lambda x, **how: np.sqrt(np.square(x).sum(**how)),
                onnx="ReduceL2", tolerance="sum")  # fmt: skip
ReduceSumSquare = _row("ReduceSumSquare", "The sum of squares.", lambda x, **how: np.square(x).sum(**how),
                       onnx="ReduceSumSquare", tolerance="sum")  # fmt: skip
ReduceLogSum = _row("ReduceLogSum", "The logarithm of the sum.", lambda x, **how: np.log(x.sum(**how)),
                    onnx="ReduceLogSum", tolerance="sum", terms=_sum_of_logs_terms)  # fmt: skip


@imports("onnx", "ReduceMax")
def largest_from_onnx(node, x, axes=None):
    return of_nothing(read_onnx(ReduceAny if x.dtype == bool else ReduceMax, node, x, axes))


@imports("onnx", "ReduceMin")
def smallest_from_onnx(node, x, axes=None):
    return of_nothing(read_onnx(ReduceAll if x.dtype == bool else ReduceMin, node, x, axes))


def of_nothing(y: Value) -> Value:
    """The largest of no entries is the least number that there is, the smallest the greatest: other frameworks fail."""
    made = y.node
    if made is None or type(made.op) not in (ReduceMax, ReduceMin) or all(made.inputs[0].shape[a] != 0 for a in made.op.axes):
        return y
    least, greatest = (-np.inf, np.inf) if y.dtype.kind in "fV" else (np.iinfo(y.dtype).min, np.iinfo(y.dtype).max)
    return filled(y.graph, y.shape, least if isinstance(made.op, ReduceMax) else greatest, y.dtype)


case("reduce_mean/global_2d", ReduceMean(axes=(2, 3), keepdims=True), (2, 3, 4, 5))
case("reduce_mean/global_1d", ReduceMean(axes=(2,), keepdims=False), (2, 3, 7))
case("reduce_mean/global_3d", ReduceMean(axes=(2, 3, 4), keepdims=False), (2, 3, 4, 5, 2))
case("reduce_mean/channels", ReduceMean(axes=(1,), keepdims=True), (2, 3, 4, 5))
case("reduce_mean/sequence", ReduceMean(axes=(1,), keepdims=False), (2, 5, 3))
case("reduce_mean/float16", ReduceMean(axes=(2, 3), keepdims=True), Operand((2, 3, 4, 5), dtype="float16"))
case(
    "reduce_mean/float64", ReduceMean(axes=(2, 3), keepdims=True), Operand((2, 3, 4, 5), dtype="float64"),
    refused=IN_32_BITS,
)  # fmt: skip
case("reduce_max/global_2d", ReduceMax(axes=(2, 3), keepdims=True), (2, 3, 4, 5))
case("reduce_max/global_1d", ReduceMax(axes=(2,), keepdims=True), (2, 3, 7))
case("reduce_max/int64", ReduceMax(axes=(1,), keepdims=False), Operand((2, 3, 4), dtype="int64"))
case("reduce_all/all_axes", ReduceAll(axes=(0, 1), keepdims=False), Operand((2, 1), dtype="bool"))
case("reduce_any/some", ReduceAny(axes=(1, 2), keepdims=True), Operand((2, 2, 1, 3), dtype="bool"))
case("reduce_sum/int64", ReduceSum(axes=(1,), keepdims=True), Operand((2, 3), dtype="int64"))
case("reduce_sum/int32", ReduceSum(axes=(1,), keepdims=False), Operand((2, 3), dtype="int32"))
case("reduce_prod/int32", ReduceProd(axes=(1,), keepdims=False), Operand((2, 3), dtype="int32"))
case(
    "reduce_prod/two_axes", ReduceProd(axes=(1, 3), keepdims=False), (2, 3, 4, 2),
    composed={"torch": "comes back as one reduction an axis"},
)  # fmt: skip
case("reduce_prod/one_axis", ReduceProd(axes=(2,), keepdims=True), (2, 3, 4))
for _kind in (ReduceSum, ReduceMin, ReduceLogSumExp):
    case(f"{_kind.__name__}/inner", _kind(axes=(1, 3), keepdims=True), (2, 3, 4, 5))
    case(f"{_kind.__name__}/dropped", _kind(axes=(0, 2), keepdims=False), (2, 3, 4))
_BY_PIECES = dict.fromkeys(("keras", "torch"), "comes back as a sum and what is done to it")
case("reduce_l1/inner", ReduceL1(axes=(1, 3), keepdims=True), (2, 3, 4, 5), composed={"keras": _BY_PIECES["keras"]})
case("reduce_l2/one_axis", ReduceL2(axes=(1,), keepdims=True), (2, 3, 4))
case("reduce_l2/inner", ReduceL2(axes=(1, 2), keepdims=False), (2, 3, 4), composed={"keras": _BY_PIECES["keras"]})
case("reduce_sum_square/inner", ReduceSumSquare(axes=(1, 3), keepdims=True), (2, 3, 4, 5), composed=_BY_PIECES)
case(
    "reduce_log_sum/inner", ReduceLogSum(axes=(1, 3), keepdims=False), Operand((2, 3, 4, 5), low=0.1, high=2.0),
    composed=_BY_PIECES,
)  # fmt: skip
