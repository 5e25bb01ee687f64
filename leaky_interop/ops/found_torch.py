"""What PyTorch finds in data and counts: as many results as the data decides, which only Keras cannot say.

| torch                    | read as                                                             |
|--------------------------|---------------------------------------------------------------------|
| unique(x), unique(x, 0)  | Unique                                                              |
| unique_consecutive       | the places where an entry differs from the one before it            |
| bincount                 | BinCount: of constants, a constant                                  |
| nonzero_static           | the first places that are not zero, and a number behind them        |
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Op, Shape, Value, exports, imports, op, product
from ..sizes import symbol
from .compare import NotEqual
from .cumulative import PLAIN, CumSum
from .expand import filled
from .found import Unique, places_of_nonzero
from .gather import Gather
from .index import sliced
from .join import Concat
from .math import Sub
from .promotion import as_value
from .reduce import ReduceAny, reduced
from .shape import without
from .unique_keras import of_length


def _asked(*results: tuple[Value, bool]) -> tuple[Value | None, ...]:
    """None for what was not asked for, where torch gives a tensor of nothing."""
    return tuple(value if wanted else None for value, wanted in results)


def _label(call: Any, name: str) -> str:
    """A name for a number of results that no other one has."""
    return str(call.graph.fresh(name))[1:]


@imports("torch", "aten._unique2.default")
def unique_from_torch(call, x, ordered, with_inverse, with_counts):
    """Sorted whatever is asked: so are PyTorch's on a CPU."""
    y, _, inverse, counts = Unique(label=_label(call, "unique"), axis=None, ordered=True)(x)
    return _asked((y, True), (inverse.reshape(*x.shape), with_inverse or with_counts), (counts, with_counts))


@imports("torch", "aten.unique_dim.default")
def unique_along_from_torch(call, x, axis, ordered, with_inverse, with_counts):
    y, _, inverse, counts = Unique(label=_label(call, "unique"), axis=axis % x.rank, ordered=True)(x)
    return y, inverse, counts


@imports("torch", "aten.unique_consecutive.default")
def unique_consecutive_from_torch(call, x, with_inverse, with_counts, axis):
    shape = x.shape
    x, along = (x.reshape(product(x.shape)), 0) if axis is None else (x, axis % x.rank)
    if not isinstance(x.shape[along], int):
        raise Refused(
            "unique_consecutive along an open axis", why="the first entry starts a run", hint="Fix it with input_shapes"
        )
    differs = NotEqual()(sliced(x, {along: slice(1, None)}), sliced(x, {along: slice(0, -1)}))
    others = [a for a in range(x.rank) if a != along]
    differs = reduced(ReduceAny, differs, others, False) if others else differs
    starts = Concat(axis=0)(filled(call.graph, (1,), True, bool), differs)
    places = places_of_nonzero(starts)
    places = without(places, [1])
    inverse = Sub()(CumSum(axis=0, **PLAIN)(starts.cast(np.int64)), 1)
    ends = Concat(axis=0)(sliced(places, {0: slice(1, None)}), filled(call.graph, (1,), x.shape[along], np.int64))
    inverse = inverse.reshape(*shape) if axis is None else inverse
    return _asked((Gather(axis=along)(x, places), True), (inverse, with_inverse), (Sub()(ends, places), with_counts))


@imports("torch", "aten.nonzero_static.default")
def places_of_fixed_number_from_torch(call, x, size, fill):
    if not isinstance(size, int):
        raise Refused("nonzero_static with an open size", hint="Pass a number")
    return of_length(places_of_nonzero(x), 0, size, fill)


# --- how often each number occurs ---------------------------------------------------------------------------------------


@op
class BinCount(Op):
    """How often each number from 0 on occurs, up to the largest or `least` many. Operands: numbers, weights or none."""

    label: str  # what the number of results is called
    least: int
    tolerance = "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        _, weights = inputs
        return [((symbol(f"?{self.label}"),), np.dtype(np.int64) if weights is None else weights.dtype)]

    def reference(self, *arrays: Any) -> np.ndarray:
        x, weights = arrays
        counts = np.bincount(x.astype(np.int64), None if weights is None else weights.astype(np.float64), self.least)
        return counts.astype(np.int64 if weights is None else weights.dtype)

    def length(self, *arrays: np.ndarray) -> int:
        return max(arrays[0].size, 1)


@imports("torch", "aten.bincount.default")
def bincount_from_torch(call, x, weights, least):
    if weights is not None and weights.dtype not in (np.float32, np.float64):
        weights = weights.cast(np.float64)
    if x.is_constant and weights is None:
        return call.graph.constant(np.bincount(x.array(), minlength=least).astype(np.int64))
    return BinCount(label=_label(call, "bins"), least=int(least))(as_value(call, x), weights)


@exports("torch", BinCount)
def bincount_to_torch(op, torch, x, weights):
    return torch.module.bincount(x, weights, minlength=op.least)


@exports("onnx", BinCount)
def bincount_to_onnx(op, onnx, x, weights):
    """Each number compared with every one that there may be; a last one below 0 stands for data without any."""
    last = np.zeros(1, np.int64)
    x = onnx.Cast(x, to=onnx.element_type(np.int64))
    largest = onnx.ReduceMax(onnx.Concat(x, np.full(1, -1, np.int64), axis=0), last, keepdims=0) if onnx.opset >= 18 else (
        onnx.ReduceMax(onnx.Concat(x, np.full(1, -1, np.int64), axis=0), axes=[0], keepdims=0))  # fmt: skip
    count = onnx.Max(onnx.Add(largest, np.int64(1)), np.int64(op.least))
    numbers = onnx.Range(np.int64(0), count, np.int64(1))
    hot = onnx.Equal(onnx.Unsqueeze(x, np.ones(1, np.int64)), numbers)
    if weights is None:
        return onnx.ReduceSum(onnx.Cast(hot, to=onnx.element_type(np.int64)), last, keepdims=0)
    zero = np.zeros((), onnx.inputs[1].dtype)
    return onnx.ReduceSum(onnx.Where(hot, onnx.Unsqueeze(weights, np.ones(1, np.int64)), zero), last, keepdims=0)


@exports("keras", BinCount)
def bincount_to_keras(op, keras, *operands):
    raise keras.refuse(
        "bincount of computed numbers", why="the largest of them says how long it is, and Keras fixes shapes beforehand",
        instead="Cut the network before it, or convert to PyTorch or ONNX",
    )  # fmt: skip
