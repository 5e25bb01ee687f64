"""What every operator that slides a window over space needs: pads, counts, and the windows themselves as a numpy view.

Sizes may be symbolic. Pads are explicit (before, after) pairs, one per spatial axis; "same", auto_pad and ceil mode are
only ways of writing them, and end here.
"""

import re
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from ..op import Dim, Shape, Value, agree, ceil_divide, maximum

Pads = tuple[tuple[Dim, Dim], ...]


def spread(numbers: Any, spatial: int) -> tuple[int, ...]:
    """One number for every spatial axis, or the numbers themselves."""
    numbers = (numbers,) if isinstance(numbers, int) else tuple(numbers)
    return numbers * spatial if len(numbers) == 1 else numbers


def no_pads(spatial: int) -> Pads:
    """No padding on any side."""
    return ((0, 0),) * spatial


def reach(kernel: Sequence[int], dilations: Sequence[int]) -> tuple[int, ...]:
    """How many elements a window spans, the gaps of dilation included."""
    return tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))


def counts(sizes: Shape, kernel: Any, strides: Any, dilations: Any, pads: Pads) -> Shape:
    """How many windows fit along each axis."""
    spans = reach(kernel, dilations)
    return tuple((n + sum(p) - w) // s + 1 for n, p, w, s in zip(sizes, pads, spans, strides, strict=True))


def same_pads(sizes: Shape, kernel: Any, strides: Any, dilations: Any) -> Pads:
    """What 'same' means to Keras and TensorFlow: as even as possible, the odd one at the end (ONNX SAME_UPPER)."""
    pads = []
    for size, w, s in zip(sizes, reach(kernel, dilations), strides, strict=True):
        total = (ceil_divide(size, s) - 1) * s + w - size
        if w < s or isinstance(total, int):
            total = maximum(total, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def ceil_pads(sizes: Shape, kernel: Any, strides: Any, dilations: Any, pads: Pads) -> Pads:
    """The pads under which counting rounds down to what ceil mode counts: the last, partial window is completed.

    A window that would start in the padding at the end does not count.
    """
    grown = []
    for n, (before, after), w, s in zip(sizes, pads, reach(kernel, dilations), strides, strict=True):
        more = ceil_divide(n + before + after - w, s)
        if not isinstance(after, int) or after + s > w:  # otherwise no window can start beyond the data
            more = -1 * maximum(-1 * more, -1 * ((n + before - 1) // s))
        needed = more * s + w - n - before
        grown.append((before, maximum(after, needed)))
    return tuple(grown)


def covering_pads(
    sizes: Shape, kernel: Any, strides: Any, dilations: Any, padding: Sequence[int], cover: bool
) -> Pads:
    """Chainer's padding, one number a side; to cover all, the end gets what completes the last window, wherever it starts."""
    ends = []
    for n, p, w, s in zip(sizes, padding, reach(kernel, dilations), strides, strict=True):
        ends.append(ceil_divide(n + 2 * p - w, s) * s + w - n - p if cover else p)
    return tuple(zip(padding, ends, strict=True))


def pads_from_onnx(node: Any, sizes: Shape, kernel: Any, strides: Any, dilations: Any) -> Pads:
    """The explicit pads of an ONNX window operator: its `pads`, or what `auto_pad` makes of the sizes."""
    if node.auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        upper = same_pads(sizes, kernel, strides, dilations)
        return upper if node.auto_pad == "SAME_UPPER" else tuple((after, before) for before, after in upper)
    flat = tuple(node.pads or ()) if node.auto_pad == "NOTSET" else ()
    flat = flat or (0,) * (2 * len(sizes))
    return tuple(zip(flat[: len(sizes)], flat[len(sizes) :], strict=True))


def flat_pads(pads: Pads) -> list[Dim]:
    """ONNX order: every begin, then every end."""
    return [pair[side] for side in (0, 1) for pair in pads]


def pads_from_matlab(sides: Any, sizes: Shape, kernel: Any, strides: Any, dilations: Any) -> Pads:
    """MATLAB's Padding: 'same', or top, bottom, left and right."""
    return same_pads(sizes, kernel, strides, dilations) if sides == "same" else (sides[:2], sides[2:])


def sides_for_matlab(op: Any, matlab: Any, kernel: Any) -> Any:
    """Pads as top, bottom, left and right; as 'same' where the source, MATLAB too, said so and it still is that."""
    same = matlab.stated("Padding") == "same"
    if same and is_same(op.pads, matlab.inputs[0].shape[2:], kernel, op.strides, op.dilations):
        return "same"
    return op.pads[0] + op.pads[1]


def is_same(pads: Pads, sizes: Shape, kernel: Any, strides: Any, dilations: Any) -> bool:
    """Whether explicit pads are what 'same' would make."""
    return agree(pads, same_pads(sizes, kernel, strides, dilations))


def fixed(pads: Pads) -> bool:
    """Whether every pad is a known number."""
    return all(isinstance(p, int) for pair in pads for p in pair)


def even(pads: Pads) -> bool:
    """Whether both sides of every axis have the same known pad."""
    return fixed(pads) and all(before == after for before, after in pads)


def windows(padded: np.ndarray, kernel: Sequence[int], strides: Any, dilations: Any) -> np.ndarray:
    """Every window of (N, C, *spatial) data, as a view of shape (N, C, *counts, *kernel)."""
    spatial = tuple(range(2, padded.ndim))
    view = np.lib.stride_tricks.sliding_window_view(padded, reach(kernel, dilations), axis=spatial)
    steps = (slice(None), slice(None), *(slice(None, None, s) for s in strides))
    return view[(*steps, *(slice(None, None, d) for d in dilations))]


def taps(x: Any, first: int, kernel: Any, strides: Any, dilations: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """`combine` over the elements of every window, axis by axis, in a framework's own slices.

    first: where the spatial axes start in x. Works without known sizes: slices end at a distance from the end.
    """
    for axis, (k, s, d) in enumerate(zip(kernel, strides, dilations, strict=True), start=first):
        total = None
        for tap in range(k):
            after = (k - 1 - tap) * d
            index = (slice(None),) * axis + (slice(tap * d, -after if after else None, s),)
            total = x[index] if total is None else combine(total, x[index])
        x = total
    return x


def batched(importer: Callable[..., Any]) -> Callable[..., Any]:
    """Let an importer of a torch spatial operator take data without a batch axis: one is added, and removed after.

    The native name says how many spatial axes there are: aten.conv2d.
    """

    @wraps(importer)
    def either(call: Any, x: Value, *rest: Any) -> Any:
        spatial = re.search(r"(\d)d", str(call.native))
        if spatial is None or x.rank == int(spatial[1]) + 2:
            return importer(call, x, *rest)
        results = importer(call, x.reshape(1, *x.shape), *rest)
        alone = not isinstance(results, tuple)
        made = tuple(y.reshape(*y.shape[1:]) for y in ((results,) if alone else results))
        return made[0] if alone else made

    return either
