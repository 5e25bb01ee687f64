"""One-hot vectors.

| setting           | keras ops.one_hot           | torch one_hot          | onnx OneHot                              |
|-------------------|-----------------------------|------------------------|------------------------------------------|
| axis              | axis, the last              | the last               | axis, the last                           |
| dtype             | dtype, float32              | int64                  | that of the two values                   |
| outside the range | zeros; on torch an error    | an error               | off; negative counts from the end (11)   |
"""

from typing import Any

import numpy as np

from ..errors import Computed
from ..op import Moved, Op, Operand, Perm, Shape, Value, case, exports, imports, op
from .compare import Less, Where
from .index import Select
from .math import Add
from .promotion import as_value


@op
class OneHot(Op):
    """1 at the place that each entry names along a new axis, 0 elsewhere; one outside 0 .. depth - 1 names none.

    strict: none may be outside, as in PyTorch, which stops there.
    """

    depth: int
    axis: int
    dtype: str
    strict: bool
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        from ..numeric import dtype

        shape = inputs[0].shape
        return [((*shape[: self.axis], self.depth, *shape[self.axis :]), dtype(self.dtype))]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        from ..numeric import dtype

        places = np.arange(self.depth).reshape(-1, *(1,) * (arrays[0].ndim - self.axis))
        return (np.expand_dims(arrays[0], self.axis) == places).astype(dtype(self.dtype))

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        """The new axis goes behind all others, whose order then does not matter."""
        last = len(perm)
        out = [*perm]
        out.insert(self.axis, last)
        return Moved(OneHot(depth=self.depth, axis=last, dtype=self.dtype, strict=self.strict), (perm,), (tuple(out),))


def one_hot(ids: Value, depth: int, axis: int, dtype: Any, *, strict: bool = False) -> Value:
    """One-hot vectors along a new axis of the result."""
    return OneHot(depth=int(depth), axis=axis % (ids.rank + 1), dtype=np.dtype(dtype).name, strict=strict)(ids)


@imports("torch", "aten.one_hot.default")
def one_hot_from_torch(call, ids, depth):
    return one_hot(ids, depth, -1, np.int64, strict=True)


@imports("keras", "ops.OneHot")
def one_hot_from_keras(call, ids):
    ids = as_value(call, ids)
    return one_hot(
        ids if ids.dtype.kind in "iu" else ids.cast(np.int32), call.num_classes, call.axis, call.dtype or np.float32
    )


@imports("onnx", "OneHot", since=9)
def old_one_hot_from_onnx(node, ids, depth, values):
    ids = ids if ids.dtype.kind in "iu" else ids.cast(np.int64)
    (count,) = node.sizes(depth)
    if not isinstance(count, int | float):
        raise Computed("OneHot of a depth that the data's sizes tell", why="its places are constants")
    if values.const is not None and values.array().tolist() == [0, 1]:
        return one_hot(ids, count, node.axis, values.dtype)
    off, on = (Select(axis=0, index=i)(values) for i in (0, 1))
    return Where()(one_hot(ids, count, node.axis, bool), on, off)


@imports("onnx", "OneHot", since=11)
def one_hot_from_onnx(node, ids, depth, values):
    """Here negative entries count from the end."""
    ids = ids if ids.dtype.kind in "iu" else ids.cast(np.int64)
    (count,) = node.sizes(depth)
    return old_one_hot_from_onnx(node, Where()(Less()(ids, 0), Add()(ids, count), ids), depth, values)


@exports("torch", OneHot)
def one_hot_to_torch(op, torch, ids):
    rank = torch.inputs[0].rank
    if op.strict and op.axis == rank and op.dtype == "int64":
        return torch.nn.functional.one_hot(ids if torch.inputs[0].dtype == np.int64 else ids.long(), op.depth)
    places = np.arange(op.depth, dtype=torch.inputs[0].dtype).reshape(-1, *(1,) * (rank - op.axis))
    return (ids.unsqueeze(op.axis) == torch.tensor(torch.graph.constant(places))).to(torch.torch_dtype(op.dtype))


@exports("keras", OneHot)
def one_hot_to_keras(op, keras, ids):
    rank = keras.inputs[0].rank
    if op.strict:
        return keras.ops.one_hot(ids, op.depth, axis=-1 if op.axis == rank else op.axis, dtype=op.dtype)
    places = np.arange(op.depth, dtype=keras.inputs[0].dtype).reshape(-1, *(1,) * (rank - op.axis))
    return keras.ops.cast(keras.ops.equal(keras.ops.expand_dims(ids, op.axis), places), op.dtype)


@exports("onnx", OneHot)
def one_hot_to_onnx(op, onnx, ids):
    """Compared with all places: the operator of that name counts negative entries from the end."""
    places = np.arange(op.depth, dtype=onnx.inputs[0].dtype).reshape(-1, *(1,) * (onnx.inputs[0].rank - op.axis))
    found = onnx.Equal(onnx.Unsqueeze(ids, np.array([op.axis], np.int64)), places)
    return found if op.dtype == "bool" else onnx.Cast(found, to=onnx.element_type(op.dtype))


def _ids(*shape: int, low: int = -1, dtype: str = "int64") -> Operand:
    return Operand(shape, dtype=dtype, low=low, high=5 if low == 0 else 8)


_COMPARED = dict.fromkeys(("keras", "onnx", "torch"), "comes back as a comparison with all places")
_CHECKED = {"onnx": _COMPARED["onnx"], "keras": "it does not stop at entries outside"}
case("one_hot/strict", OneHot(depth=5, axis=2, dtype="int64", strict=True), _ids(2, 3, low=0), composed=_CHECKED)
case("one_hot/last_axis_int64", OneHot(depth=5, axis=2, dtype="int64", strict=False), _ids(2, 3), composed=_COMPARED)
case("one_hot/outside_the_range", OneHot(depth=5, axis=1, dtype="float32", strict=False), _ids(7), composed=_COMPARED)
case("one_hot/channels", OneHot(depth=5, axis=1, dtype="float32", strict=False), _ids(2, 3, 4, dtype="int32"), composed=_COMPARED)
