"""Operators along axes that the network computes: reductions, Squeeze, Unsqueeze, CumSum, and the diagonal of Trilu.

How many axes there are is known from their operand's shape, so the rank of the result is.
"""

from collections.abc import Callable
from typing import Any

from ..deferring import Deferred, Results, deferrable
from ..errors import Refused
from ..op import Value, product
from .deferred import entries, listed, single


def count_of(numbers: Value, what: str) -> int:
    """How many numbers an operand holds. Raises Refused where only a run tells."""
    count = product(numbers.shape)
    if not isinstance(count, int):
        raise Refused(f"{what} that only a run counts", why="the rank of the result would depend on the data")
    return count


def _reduced(node: Any, new: Callable[[], Any], x: Value, axes: Value) -> Results:
    free = not isinstance(product(axes.shape), int) and node.keepdims and not node.noop_with_empty_axes
    count = 0 if free else count_of(axes, "axes")  # no axes mean all of them; dimensions stay however many there are
    if count == x.rank:
        return [((1,) * x.rank if node.keepdims else (), x.dtype)]
    return [(tuple(new() for _ in range(x.rank if node.keepdims else x.rank - count)), x.dtype)]


def _sum_dtype(torch: Any) -> dict[str, Any]:
    """Whole numbers are summed up in their own dtype only if torch is told to."""
    dtype = torch.outputs[0].dtype
    return {"dtype": torch.torch_dtype(dtype)} if dtype.kind in "iu" else {}


def _floats(torch: Any) -> None:
    if torch.inputs[0].dtype.kind not in "fV":
        raise torch.refuse("a mean or norm of integers", why="only ONNX has it", instead="Cast to a floating dtype before")


def _sum(torch: Any, x: Any, axes: Any, keep: bool) -> Any:
    return x.sum(axes, keepdim=keep, **_sum_dtype(torch))


def _mean(torch: Any, x: Any, axes: Any, keep: bool) -> Any:
    _floats(torch)
    return x.mean(axes, keepdim=keep)


def _largest(torch: Any, x: Any, axes: Any, keep: bool) -> Any:
    return (x.any if torch.inputs[0].dtype == bool else x.amax)(axes, keepdim=keep)


def _smallest(torch: Any, x: Any, axes: Any, keep: bool) -> Any:
    return (x.all if torch.inputs[0].dtype == bool else x.amin)(axes, keepdim=keep)


def _euclidean(torch: Any, x: Any, axes: Any, keep: bool) -> Any:
    _floats(torch)
    return torch.linalg.vector_norm(x, 2, axes, keepdim=keep)


def _log_sum_exp(torch: Any, x: Any, axes: Any, keep: bool) -> Any:
    _floats(torch)
    return x.logsumexp(axes, keepdim=keep)


REDUCTIONS: dict[str, tuple[str, Callable[..., Any]]] = {  # ONNX's name -> the tolerance's class, torch's form
    "ReduceSum": ("sum", _sum),
    "ReduceMean": ("sum", _mean),
    "ReduceMax": ("exact", _largest),
    "ReduceMin": ("exact", _smallest),
    "ReduceL1": ("sum", lambda torch, x, axes, keep: _sum(torch, x.abs(), axes, keep)),
    "ReduceL2": ("sum", _euclidean),
    "ReduceSumSquare": ("sum", lambda torch, x, axes, keep: _sum(torch, x.square(), axes, keep)),
    "ReduceLogSum": ("sum", lambda torch, x, axes, keep: _sum(torch, x, axes, keep).log()),
    "ReduceLogSumExp": ("sum", _log_sum_exp),
}

for _kind, (_class, _say) in REDUCTIONS.items():

    @deferrable(_kind, numbers=[1], since=13 if _kind == "ReduceSum" else 18, results=_reduced, tolerance=_class)
    def _reduction_to_torch(op: Deferred, torch: Any, x: Any, axes: Any, say: Callable[..., Any] = _say) -> Any:
        return say(torch, x, listed(torch, 1), bool(op["keepdims"]))


@deferrable("ReduceProd", numbers=[1], since=18, results=_reduced, tolerance="sum")
def product_to_torch(op, torch, x, axes):
    """torch multiplies along one axis at a time."""
    if not isinstance(product(torch.inputs[1].shape), int):
        raise torch.refuse("a product over axes that only a run counts", why="torch multiplies along one at a time", instead="Fix the length")
    numbers = entries(torch, 1)
    for axis in numbers:
        x = x.prod(axis, keepdim=True, **_sum_dtype(torch))
    return x if op["keepdims"] else x.squeeze(listed(torch, 1))


def _squeezed(node: Any, new: Callable[[], Any], x: Value, axes: Value) -> Results:
    if (known := axes.content()) is not None:  # it is the sizes that are not
        gone = {a % x.rank for a in (known if isinstance(known, tuple) else (known,))}
        return [(tuple(d for a, d in enumerate(x.shape) if a not in gone), x.dtype)]
    return [(tuple(new() for _ in range(x.rank - count_of(axes, "axes"))), x.dtype)]


@deferrable("Squeeze", numbers=[1], since=13, results=_squeezed)
def squeeze_to_torch(op, torch, x, axes):
    return x.squeeze(listed(torch, 1))


def _unsqueezed(node: Any, new: Callable[[], Any], x: Value, axes: Value) -> Results:
    return [(tuple(new() for _ in range(x.rank + count_of(axes, "axes"))), x.dtype)]


@deferrable("Unsqueeze", numbers=[1], since=13, results=_unsqueezed)
def unsqueeze_to_torch(op, torch, x, axes):
    """Several axes go in one after the other, the first of the result first."""
    if torch.inputs[1].shape in ((), (1,)):
        return x.unsqueeze(single(torch, 1))
    places = (torch.tensor(axes) % len(op.results[0][0])).sort().values.tolist()
    for position in range(len(op.results[0][0]) - torch.inputs[0].rank):
        x = x.unsqueeze(places[position])
    return x


def _as_data(node: Any, new: Callable[[], Any], x: Value, *numbers: Value) -> Results:
    return [(x.shape, x.dtype)]


@deferrable("Trilu", numbers=[1], since=14, results=_as_data)
def triangle_to_torch(op, torch, x, diagonal):
    return (x.triu if op["upper"] else x.tril)(single(torch, 1))


@deferrable("CumSum", "CumProd", numbers=[1], since=11, results=_as_data, tolerance="sum")
def running_to_torch(op, torch, x, axis):
    axis, dtype = single(torch, 1), torch.torch_dtype(torch.outputs[0].dtype)
    x = x.flip(axis) if op["reverse"] else x
    if op["exclusive"]:
        neutral = torch.zeros_like if op.kind == "CumSum" else torch.ones_like
        first = neutral(x.narrow(axis, 0, 1))
        x = torch.cat([first, x.narrow(axis, 0, x.size(axis) - 1)], axis)
    x = (x.cumsum if op.kind == "CumSum" else x.cumprod)(axis, dtype=dtype)
    return x.flip(axis) if op["reverse"] else x
