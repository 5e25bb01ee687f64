"""Results as many as the data decides: boxes that survive, values that differ. Their number is a size that a run tells.

| meaning           | keras   | torch                                             | onnx              |
|-------------------|---------|---------------------------------------------------|-------------------|
| NonMaxSuppression | refused | the best box in turn, for as many steps as it takes | NonMaxSuppression |
| Unique            | unique  | unique, and where each value stands first         | Unique            |
| NonZero           | read    | nonzero, masked_select, x[mask]                   | NonZero           |

Keras fixes shapes when a model is made. PyTorch's suppression of boxes is torchvision's, an extension.
"""

from typing import Any

import numpy as np

from ..op import Op, Shape, Value, exports, imports, op, product
from ..sizes import symbol
from .index import selected
from .shape import without

# --- boxes ------------------------------------------------------------------------------------------------------------


@op
class NonMaxSuppression(Op):
    """(image, class, box) of the boxes that are kept: the best in turn, none of which overlaps a better one too much.

    Operands: boxes (images, boxes, 4), scores (images, classes, boxes), and numbers, absent where they are 0: how many
    are kept of a class at most, from which overlap on (of the union) a box is dropped, above which score it counts.
    centred: a box is its centre, width and height instead of two corners (y, x).
    """

    label: str  # what the number of rows is called
    centred: bool
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [((symbol(f"?{self.label}_boxes"), 3), np.dtype(np.int64))]

    def reference(self, *arrays: Any) -> np.ndarray:
        boxes, scores, *numbers = arrays
        most, overlap, least = (0 if n is None else np.asarray(n).reshape(-1)[0] for n in numbers)
        least = -np.inf if numbers[2] is None else least
        rows = []
        for image, label in np.ndindex(scores.shape[:2]):
            shares = self.overlaps(boxes[image])
            kept: list[int] = []
            for box in np.argsort(-scores[image, label], kind="stable"):
                if len(kept) >= most or not scores[image, label, box] > least:
                    break
                if not any(shares[box, better] > overlap for better in kept):
                    kept.append(box)
            rows += [(image, label, box) for box in kept]
        return np.asarray(rows, np.int64).reshape(-1, 3)

    def overlaps(self, boxes: np.ndarray) -> np.ndarray:
        """The share of the union that each two boxes have in common."""
        first, second = boxes[:, :2], boxes[:, 2:]
        if self.centred:
            first, second = first - second / 2, first + second / 2
        low, high = np.minimum(first, second), np.maximum(first, second)
        common = np.minimum(high[:, None], high) - np.maximum(low[:, None], low)
        common = np.maximum(common, 0).prod(-1)
        area = (high - low).prod(-1)
        union = area[:, None] + area - common
        return np.where(common > 0, common / np.where(union > 0, union, 1), 0)


@imports("onnx", "NonMaxSuppression", since=10)
def non_max_suppression_from_onnx(node, boxes, scores, most=None, overlap=None, least=None):
    numbers = (None if n is None else without(n, range(n.rank)) for n in (most, overlap, least))
    return NonMaxSuppression(label=node.label, centred=bool(node.center_point_box))(boxes, scores, *numbers)


@exports("onnx", NonMaxSuppression)
def non_max_suppression_to_onnx(op, onnx, *operands):
    return onnx.NonMaxSuppression(*operands, center_point_box=int(op.centred))


@exports("torch", NonMaxSuppression)
def non_max_suppression_to_torch(op, torch, boxes, scores, most, overlap, least):
    """Every class of every image at once: take the best box, drop what overlaps it, as often as boxes may be kept."""
    images, classes, count = torch.inputs[1].shape
    known = torch.node.inputs[2]
    bound = 0 if known is None else known.content()
    steps = min((n for n in (count, bound) if isinstance(n, int)), default=None)
    if steps is None:
        raise torch.refuse(
            "a suppression of an open number of boxes to a computed number", why="its steps are written out",
            instead="Make max_output_boxes_per_class an initializer",
        )  # fmt: skip
    first, second = boxes[..., :2], boxes[..., 2:]
    if op.centred:
        first, second = first - second / 2, first + second / 2
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    common = (
        (torch.minimum(high[:, :, None], high[:, None]) - torch.maximum(low[:, :, None], low[:, None]))
        .clamp(min=0)
        .prod(-1)
    )
    area = (high - low).prod(-1)
    union = area[:, :, None] + area[:, None] - common
    share = torch.where(common > 0, common / union, torch.zeros_like(common))
    near = (share > (0 if overlap is None else overlap))[:, None]  # (images, 1, boxes, boxes)
    lowest = float("-inf")
    left = torch.where(scores > (lowest if least is None else least), scores, torch.full_like(scores, lowest))
    chosen = []
    for step in range(steps):
        best = left.argmax(-1, keepdim=True)
        alive = left.gather(-1, best) > lowest
        alive = alive if bound is not None else alive & (most > step)
        chosen.append(torch.where(alive, best, torch.full_like(best, -1)))
        shape = [torch.size(n) for n in (images, classes, count)]
        struck = (
            near.expand([*shape, shape[2]])
            .gather(2, best[..., None].expand([shape[0], shape[1], 1, shape[2]]))
            .squeeze(2)
        )
        struck = struck | torch.zeros_like(struck).scatter(-1, best, alive)
        left = torch.where(struck & alive, torch.full_like(left, lowest), left)
    if not chosen:
        return torch.call(torch.module.zeros, (0, 3), dtype=torch.module.int64)
    numbers = torch.cat(chosen, -1)
    places = (numbers >= 0).nonzero()
    box = numbers[places[:, 0], places[:, 1], places[:, 2]]
    return torch.cat([places[:, :2], box[:, None]], 1)


# --- values that differ -----------------------------------------------------------------------------------------------


HAVE_KERNELS = ("float32", "float64", "int64", "int8", "object")  # dtypes whose Unique onnxruntime runs


@op
class Unique(Op):
    """The different entries along an axis (none: of all numbers), sorted or in the order in which they come.

    Results: the entries, where each stands first, which of them stands at every place, how often each comes.
    """

    label: str  # what the number of entries is called
    axis: int | None
    ordered: bool
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        count, whole = symbol(f"?{self.label}_entries"), np.dtype(np.int64)
        if self.axis is None:
            return [((count,), x.dtype), ((count,), whole), ((product(x.shape),), whole), ((count,), whole)]
        shape = (*x.shape[: self.axis], count, *x.shape[self.axis + 1 :])
        return [(shape, x.dtype), ((count,), whole), ((x.shape[self.axis],), whole), ((count,), whole)]

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        (x,) = arrays
        y, first, inverse, counts = np.unique(x, True, True, True, axis=self.axis)
        inverse = inverse.reshape(-1)
        if not self.ordered:
            order = np.argsort(first)
            y, first, counts = np.take(y, order, self.axis or 0), first[order], counts[order]
            inverse = np.argsort(order)[inverse]
        return y, *(a.astype(np.int64) for a in (first, inverse, counts))


@imports("onnx", "Unique", since=11)
def unique_from_onnx(node, x):
    axis = None if node.axis is None else node.axis % x.rank
    return Unique(label=node.label, axis=axis, ordered=bool(node.sorted))(x)


@exports("onnx", Unique)
def unique_to_onnx(op, onnx, x):
    kind = onnx.inputs[0].dtype
    if kind.name in HAVE_KERNELS:
        return onnx.Unique(x, outputs=4, axis=op.axis, sorted=int(op.ordered))
    if kind.name == "uint64":
        raise onnx.refuse("values of uint64 that differ", why="onnxruntime has no kernel for them", instead="Cast to int64")
    wide = onnx.Cast(x, to=onnx.element_type("float32" if kind.kind in "fV" else "int64"))
    y, *places = onnx.Unique(wide, outputs=4, axis=op.axis, sorted=int(op.ordered))
    return [onnx.Cast(y, to=onnx.element_type(kind.name)), *places]


@exports("torch", Unique)
def unique_to_torch(op, torch, x):
    found = torch.module.unique(x, sorted=True, return_inverse=True, return_counts=True, dim=op.axis)
    y, inverse, counts = torch.unpack(found, 3)
    inverse = inverse.reshape(-1)
    size = product(torch.inputs[0].shape) if op.axis is None else torch.inputs[0].shape[op.axis]
    places = torch.call(torch.module.arange, torch.size(size), device=counts.device)
    first = torch.full_like(counts, 0).scatter_reduce(0, inverse, places, "amin", include_self=False)
    if not op.ordered:
        order = first.argsort()
        y, first, counts = y.index_select(op.axis or 0, order), first[order], counts[order]
        inverse = order.argsort()[inverse]
    return y, first, inverse, counts


# --- places that are not zero -----------------------------------------------------------------------------------------


@op
class NonZero(Op):
    """The coordinates (count, axes) of every entry that is not zero, in their order."""

    label: str  # what the number of rows is called
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [((symbol(f"?{self.label}"), inputs[0].rank), np.dtype(np.int64))]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return np.argwhere(arrays[0]).astype(np.int64)


def places_of_nonzero(x: Value) -> Value:
    """The operator; places that are known before the run are a constant."""
    if x.is_constant:
        return x.graph.constant(np.argwhere(x.array()).astype(np.int64))
    return NonZero(label=str(x.graph.fresh("places"))[1:])(x)


@imports("torch", "aten.nonzero.default")
def nonzero_from_torch(call, x):
    return places_of_nonzero(x)


@imports("keras", "ops.Nonzero")
def nonzero_from_keras(call, x):
    """The places along each axis by themselves."""
    places = places_of_nonzero(x)
    return tuple(selected(places, 1, axis).cast(np.int32) for axis in range(x.rank))


@exports("torch", NonZero)
def nonzero_to_torch(op, torch, x):
    return x.nonzero()


@exports("onnx", NonZero)
def nonzero_to_onnx(op, onnx, x):
    places = onnx.Transpose(onnx.NonZero(x), perm=[1, 0])
    if onnx.inputs[0].rank:
        return places
    nothing, last = np.zeros(1, np.int64), np.ones(1, np.int64)
    return onnx.Slice(places, nothing, nothing, last)  # of data without axes it names one


@exports("keras", NonMaxSuppression)
@exports("keras", NonZero)
@exports("keras", Unique)
def found_to_keras(op, keras, *operands):
    raise keras.refuse(
        type(op).__name__, why="how many results there are depends on the data, and Keras fixes shapes beforehand",
        instead="Cut the network before it, or convert to PyTorch or ONNX",
    )  # fmt: skip
