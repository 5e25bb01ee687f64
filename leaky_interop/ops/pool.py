"""Pooling over sliding windows. Pads are explicit pairs; ceil mode is longer pads at the end.

| field    | keras                                  | torch                              | onnx                      |
|----------|----------------------------------------|------------------------------------|---------------------------|
| pads     | valid or "same"                        | one number a side, at most half    | begins, then ends         |
| average  | pads never count                       | count_include_pad, True            | count_include_pad, 0      |
| ceil     | no                                     | ceil_mode                          | ceil_mode                 |
| dilation | no                                     | max only                           | both (average: opset 19)  |

A maximum is padded with what never wins, never with zeros.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from ..op import Link, Op, Operand, Shape, Value, agree, case, exports, imports, op
from .math import Mul
from .window import (
    Pads, batched, ceil_pads, counts, even, fixed, flat_pads, is_same, no_pads, pads_from_onnx, reach, same_pads, spread,
    taps,
)  # fmt: skip


class Pool(Op):
    """What both kinds share: one result per channel and window."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: Pads
    dilations: tuple[int, ...]

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        return [((*x.shape[:2], *self.counts(x.shape[2:])), x.dtype)]

    def counts(self, sizes: Shape, pads: Pads | None = None) -> Shape:
        """How many windows there are along each axis, under these pads or others."""
        return counts(sizes, self.kernel, self.strides, self.dilations, self.pads if pads is None else pads)

    def over(self, padded: Any, combine: Callable[[Any, Any], Any], first: int = 2) -> Any:
        """`combine` over the elements of every window."""
        return taps(padded, first, self.kernel, self.strides, self.dilations, combine)

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        return [Link({0: 1}, 1)]


@op
class MaxPool(Pool):
    """The largest element of every window; padding never is."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: Pads
    dilations: tuple[int, ...]
    tolerance = "exact"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        return self.over(np.pad(x, ((0, 0), (0, 0), *self.pads), constant_values=lowest(x.dtype)), np.maximum)


def lowest(dtype: np.dtype) -> Any:
    """What no element of a dtype is smaller than."""
    return int(np.iinfo(dtype).min) if dtype.kind in "iu" else float("-inf")


@op
class MaxIndices(Op):
    """Where the maxima that `of` finds stand. Frameworks count differently, so nothing converts it: see its exporter."""

    of: Op

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(shape, np.dtype(np.int64)) for shape, _ in self.of.infer(*inputs)]


@op
class AveragePool(Pool):
    """The mean of every window. Of the pads, `counted` are elements of value zero; the others are no elements at all."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: Pads
    counted: Pads
    dilations: tuple[int, ...]
    tolerance = "sum"

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        wide = x.astype(np.float32 if x.dtype.itemsize < 4 else x.dtype)
        total = self.over(np.pad(wide, ((0, 0), (0, 0), *self.pads)), np.add)
        return (total / self.elements(x.shape[2:]).astype(wide.dtype)).astype(x.dtype)

    def elements(self, sizes: tuple[int, ...]) -> np.ndarray:
        """How many elements each window has, as an array of shape (1, 1, *counts)."""
        ones = np.pad(np.ones((1, 1, *sizes), np.int64), ((0, 0), (0, 0), *self.counted), constant_values=1)
        return self.over(np.pad(ones, ((0, 0), (0, 0), *self.uncounted())), np.add)

    def uncounted(self) -> Pads:
        """The pads that are no elements."""
        return tuple((b - x, a - y) for (b, a), (x, y) in zip(self.pads, self.counted, strict=True))

    def length(self, *arrays: np.ndarray) -> int:
        return int(np.prod(self.kernel))


# --- importing --------------------------------------------------------------------------------------------------------


def max_pool(x: Value, kernel: Any, strides: Any, pads: Pads, dilations: Any, ceil: bool) -> tuple[Value, Value]:
    """The maxima and their places, which nothing is emitted for unless something reads them."""
    if ceil:
        pads = ceil_pads(x.shape[2:], kernel, strides, dilations, pads)
    pool = MaxPool(kernel=tuple(kernel), strides=tuple(strides), pads=pads, dilations=tuple(dilations))
    indices = MaxIndices(of=pool)(x)
    return pool(x), indices


def average_pool(x: Value, kernel: Any, strides: Any, pads: Pads, dilations: Any, ceil: bool, count_pads: bool) -> Value:
    """The means, as a framework's settings ask for them."""
    counted = pads if count_pads else no_pads(len(pads))
    if ceil:
        pads = ceil_pads(x.shape[2:], kernel, strides, dilations, pads)
    return AveragePool(kernel=tuple(kernel), strides=tuple(strides), pads=pads, counted=counted, dilations=tuple(dilations))(x)


def _torch_window(x: Value, kernel: Any, stride: Any, padding: Any) -> tuple[Any, Any, Pads]:
    spatial = x.rank - 2
    kernel = spread(kernel, spatial)
    return kernel, spread(stride, spatial) if stride else kernel, tuple((p, p) for p in spread(padding, spatial))


@imports(
    "torch", "aten.max_pool1d_with_indices.default", "aten.max_pool2d_with_indices.default",
    "aten.max_pool3d_with_indices.default",
)  # fmt: skip
@batched
def max_pool_with_indices_from_torch(call, x, kernel, stride, padding, dilation, ceil_mode):
    return max_pool(x, *_torch_window(x, kernel, stride, padding), spread(dilation, x.rank - 2), ceil_mode)


@imports("torch", "aten.max_pool1d.default", "aten.max_pool2d.default", "aten.max_pool3d.default")
def max_pool_from_torch(call, x, *settings):
    return max_pool_with_indices_from_torch(call, x, *settings)[0]


@imports("torch", "aten.avg_pool1d.default", "aten.avg_pool2d.default", "aten.avg_pool3d.default")
@batched
def average_pool_from_torch(call, x, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override=None):
    kernel, strides, pads = _torch_window(x, kernel, stride, padding)
    plain = (1,) * len(kernel)
    y = average_pool(x, kernel, strides, pads, plain, ceil_mode, count_include_pad)
    if divisor_override is None:
        return y
    if ceil_mode:
        pads = ceil_pads(x.shape[2:], kernel, strides, plain, pads)
    whole = average_pool(x, kernel, strides, pads, plain, False, True)
    return Mul()(whole, float(np.prod(kernel)) / divisor_override)


def _keras_window(layer: Any, x: Value) -> tuple[Any, Any, Pads, Any]:
    spatial = x.rank - 2
    kernel = spread(layer.pool_size, spatial)
    strides = kernel if layer.strides is None else spread(layer.strides, spatial)
    plain = (1,) * spatial
    return kernel, strides, same_pads(x.shape[2:], kernel, strides, plain) if layer.padding == "same" else no_pads(spatial), plain


@imports("keras", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "ops.MaxPool", channels_last=True)
def max_pool_from_keras(layer, x):
    return max_pool(x, *_keras_window(layer, x), False)[0]


@imports("keras", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "ops.AveragePool", channels_last=True)
def average_pool_from_keras(layer, x):
    return average_pool(x, *_keras_window(layer, x), False, False)


def onnx_window(node: Any, x: Value) -> tuple[Any, Any, Pads, Any, bool]:
    """Kernel, strides, pads, dilations and ceil mode of an ONNX pool of any opset."""
    kernel = tuple(node.kernel_shape)
    strides = tuple(node.strides or (1,) * len(kernel))
    dilations = tuple((node.dilations if node.has("dilations") else None) or (1,) * len(kernel))
    pads = pads_from_onnx(node, x.shape[2:], kernel, strides, dilations)
    ceil = bool(node.has("ceil_mode") and node.ceil_mode) and node.auto_pad in ("NOTSET", "VALID")
    return kernel, strides, pads, dilations, ceil


@imports("onnx", "MaxPool")
def max_pool_from_onnx(node, x):
    return max_pool(x, *onnx_window(node, x))


@imports("onnx", "AveragePool")
def average_pool_from_onnx(node, x):
    count = node.has("count_include_pad") and node.count_include_pad
    return average_pool(x, *onnx_window(node, x), bool(count))


# --- exporting the maximum --------------------------------------------------------------------------------------------


def ceil_mode(op: Pool, sizes: Shape, declared: Pads) -> bool | None:
    """Whether `declared` pads give the operator's windows in ceil mode or without it; None where neither does."""
    if any(a[0] != b[0] for a, b in zip(op.pads, declared, strict=True)):
        return None
    for ceil, pads in ((False, declared), (True, ceil_pads(sizes, op.kernel, op.strides, op.dilations, declared))):
        if agree(op.counts(sizes), op.counts(sizes, pads)):
            return ceil
    return None


def torch_padding(op: Pool, sizes: Shape, declared: Pads) -> tuple[tuple[int, ...], bool] | None:
    """The padding and ceil mode by which torch's own pooling has these windows, if it can."""
    ceil = ceil_mode(op, sizes, declared) if even(declared) else None
    half = all(2 * p <= w for (p, _), w in zip(declared, reach(op.kernel, (1,) * len(op.kernel)), strict=True))
    return (tuple(p for p, _ in declared), ceil) if ceil is not None and half else None


def begins(pads: Pads) -> Pads:
    """As much after as there is before."""
    return tuple((before, before) for before, _ in pads)


@exports("torch", MaxPool)
def max_pool_to_torch(op, torch, x):
    spatial = len(op.kernel)
    native = torch_padding(op, torch.inputs[0].shape[2:], begins(op.pads))
    if native is None:
        flat = [torch.size(p) for pair in reversed(op.pads) for p in pair]
        x, native = torch.nn.functional.pad(x, flat, value=lowest(torch.inputs[0].dtype)), ((0,) * spatial, False)
    padding, ceil = native
    return torch.place(getattr(torch.nn, f"MaxPool{spatial}d")(op.kernel, op.strides, padding, op.dilations, ceil_mode=ceil))(x)


@exports("keras", MaxPool, channels_last=True)
def max_pool_to_keras(op, keras, x):
    spatial, port = len(op.kernel), keras.inputs[0]
    plain, padding = max(op.dilations) == 1, "valid"
    pads = used(op, port.shape[2:])
    if plain and any(pair != (0, 0) for pair in pads) and is_same(op.pads, port.shape[2:], op.kernel, op.strides, op.dilations):
        padding = "same"
    elif any(pair != (0, 0) for pair in pads):
        if not fixed(pads):
            raise open_pads(keras, pads)
        x = keras.ops.pad(x, ((0, 0), *pads, (0, 0)), "constant", lowest(port.dtype))
    if not plain:
        return op.over(x, keras.ops.maximum, first=1)
    return keras.place(getattr(keras.layers, f"MaxPooling{spatial}D")(op.kernel, op.strides, padding))(x)


def open_pads(keras: Any, pads: Pads) -> Exception:
    """The refusal where a pad is not known and 'same' does not say it."""
    return keras.refuse(
        f"pads {pads} that depend on the input's size",
        why="Keras knows no size that is open, and only its own 'same' pads by size",
        instead="Fix the size with input_shapes",
    )


def used(op: Pool, sizes: Shape) -> Pads:
    """The pads without what no window reaches at the end."""
    spans = zip(op.pads, sizes, op.counts(sizes), reach(op.kernel, op.dilations), op.strides, strict=True)
    needed = ((before, after, (n - 1) * s + w - size - before) for (before, after), size, n, w, s in spans)
    return tuple((b, max(0, min(a, n)) if isinstance(a, int) and isinstance(n, int) else a) for b, a, n in needed)


@exports("onnx", MaxPool)
def max_pool_to_onnx(op, onnx, x):
    settings = onnx_settings(op, onnx)
    if settings is None:
        begins, ends = ([pair[side] for pair in op.pads] for side in (0, 1))
        value = np.asarray(lowest(onnx.inputs[0].dtype), onnx.inputs[0].dtype)
        x, settings = onnx.Pad(x, onnx.sizes([0, 0, *begins, 0, 0, *ends]), value), {}
    dilations = list(op.dilations) if onnx.opset >= 10 else None
    if dilations is None and max(op.dilations) > 1:
        raise old_opset(onnx, "dilated max pooling", 10)
    return onnx.MaxPool(x, kernel_shape=list(op.kernel), strides=list(op.strides), dilations=dilations, **settings)


def onnx_settings(op: Pool, onnx: Any, sizes: Shape | None = None) -> dict[str, Any] | None:
    """How ONNX says these pads in the pool itself, if it can: the numbers, or what makes them of an open size."""
    sizes = onnx.inputs[0].shape[2:] if sizes is None else sizes
    if fixed(op.pads):
        fits = all(max(pair) < w for pair, w in zip(op.pads, reach(op.kernel, op.dilations), strict=True))
        return {"pads": flat_pads(op.pads)} if fits else None
    if is_same(op.pads, sizes, op.kernel, op.strides, op.dilations):
        return {"auto_pad": "SAME_UPPER"}
    declared = begins(op.pads)
    if fixed(declared) and ceil_mode(op, sizes, declared) and onnx.opset >= 10:
        return {"pads": flat_pads(declared), "ceil_mode": 1}
    return None


def old_opset(onnx: Any, what: str, since: int) -> Exception:
    """The refusal of something that opset `onnx.opset` does not have yet."""
    return onnx.refuse(what, why=f"ONNX has it from opset {since} on", instead=f"Write opset {since} or newer")


@exports("torch", MaxIndices)
@exports("keras", MaxIndices)
@exports("onnx", MaxIndices)
def max_indices_to_nothing(op, framework, x):
    raise framework.refuse(
        "the places of the maxima (max pooling with indices)",
        why="frameworks count them differently and Keras has none",
        instead="Cut the network before whatever reads the indices",
    )


# --- exporting the average --------------------------------------------------------------------------------------------


@exports("torch", AveragePool)
def average_pool_to_torch(op, torch, x):
    spatial, sizes = len(op.kernel), torch.inputs[0].shape[2:]
    if max(op.dilations) == 1:
        counts_pads = any(pair != (0, 0) for pair in op.counted)
        native = torch_padding(op, sizes, op.counted if counts_pads else begins(op.pads))
        if native is not None:
            padding, ceil = native
            return torch.place(getattr(torch.nn, f"AvgPool{spatial}d")(op.kernel, op.strides, padding, ceil, counts_pads))(x)

    def padded(y: Any, pads: Pads, value: float) -> Any:
        return torch.nn.functional.pad(y, [torch.size(p) for pair in reversed(pads) for p in pair], value=value)

    def pooled(y: Any) -> Any:
        if max(op.dilations) > 1:
            return op.over(y, lambda a, b: a + b) / int(np.prod(op.kernel))
        return getattr(torch.nn.functional, f"avg_pool{spatial}d")(y, op.kernel, op.strides)

    factor = share(op, sizes, torch.inputs[0].dtype)
    held = None if factor is None else torch.tensor(torch.graph.constant(factor))
    return averaged(op, x, padded, pooled, held, lambda: torch.ones_like(x[:1, :1]))


def averaged(op: AveragePool, x: Any, padded: Any, pooled: Any, factor: Any, ones: Callable[[], Any]) -> Any:
    """The mean out of a framework's own mean over zero padding, which counts every pad, corrected where some do not."""
    mean = pooled(padded(x, op.pads, 0.0))
    if agree(op.counted, op.pads):
        return mean
    if factor is not None:
        return mean * factor
    return mean / pooled(padded(padded(ones(), op.counted, 1.0), op.uncounted(), 0.0))


def share(op: AveragePool, sizes: Shape, dtype: Any) -> np.ndarray | None:
    """Window size over counted elements, of every window; None where the sizes are open."""
    if not all(isinstance(n, int) for n in sizes) or not fixed(op.pads):
        return None
    return (np.prod(op.kernel) / op.elements(sizes)).astype(dtype)


@exports("keras", AveragePool, channels_last=True)
def average_pool_to_keras(op, keras, x):
    spatial, port = len(op.kernel), keras.inputs[0]
    sizes, plain = port.shape[2:], max(op.dilations) == 1
    bare = all(pair == (0, 0) for pair in op.counted)
    pads = used(op, sizes) if bare else op.pads
    same = bare and is_same(op.pads, sizes, op.kernel, op.strides, op.dilations)
    if plain and (all(pair == (0, 0) for pair in pads) or (same and even(pads))):
        padding = "same" if any(pair != (0, 0) for pair in pads) else "valid"
        return keras.place(getattr(keras.layers, f"AveragePooling{spatial}D")(op.kernel, op.strides, padding))(x)
    if not fixed(pads):  # Keras on torch averages uneven 'same' pads wrongly: sum by a convolution, which it pads rightly
        if not (same and plain and spatial < 3 and len(set(op.strides)) == 1):
            raise open_pads(keras, pads)
        return sums(op, keras, x, port.shape[1]) / sums(op, keras, keras.ops.ones_like(x[..., :1]), 1)

    def padded(y: Any, pads: Pads, value: float) -> Any:
        return keras.ops.pad(y, ((0, 0), *pads, (0, 0)), "constant", value)

    def pooled(y: Any) -> Any:
        if not plain:
            return op.over(y, keras.ops.add, first=1) / int(np.prod(op.kernel))
        return keras.ops.average_pool(y, op.kernel, op.strides, "valid", "channels_last")

    fitted = dataclasses.replace(op, pads=pads)
    factor = share(fitted, sizes, port.dtype)
    held = None if factor is None else factor.transpose(0, *range(2, spatial + 2), 1)
    return averaged(fitted, x, padded, pooled, held, lambda: keras.ops.ones_like(x[:1, ..., :1]))


def sums(op: AveragePool, keras: Any, x: Any, channels: int) -> Any:
    """The mean over windows padded with zeros as 'same' does, every pad counted."""
    kernel = np.full((*op.kernel, channels, 1), 1 / np.prod(op.kernel), keras.inputs[0].dtype)
    return keras.ops.depthwise_conv(x, kernel, op.strides, "same", "channels_last")


@exports("onnx", AveragePool)
def average_pool_to_onnx(op, onnx, x):
    whole = agree(op.counted, op.pads)
    settings = onnx_settings(op, onnx)
    if any(pair != (0, 0) for pair in op.counted) and (not whole or settings is None):
        begins, ends = ([pair[side] for pair in op.counted] for side in (0, 1))
        x = onnx.Pad(x, onnx.sizes([0, 0, *begins, 0, 0, *ends]))
        sizes = tuple(n + sum(p) for n, p in zip(onnx.inputs[0].shape[2:], op.counted, strict=True))
        op = dataclasses.replace(op, pads=op.uncounted(), counted=no_pads(len(op.pads)))
        whole, settings = False, onnx_settings(op, onnx, sizes)
    if settings is None:
        raise onnx.refuse(
            f"an average over windows padded by {op.pads} that do not count",
            why="ONNX pads a pool by less than its window, and by numbers known in advance",
            instead="Fix the size with input_shapes",
        )
    dilations = list(op.dilations) if max(op.dilations) > 1 else None
    if dilations is not None and onnx.opset < 19:
        raise old_opset(onnx, "dilated average pooling", 19)
    return onnx.AveragePool(
        x, kernel_shape=list(op.kernel), strides=list(op.strides), dilations=dilations,
        count_include_pad=int(whole and any(pair != (0, 0) for pair in op.pads)), **settings,
    )  # fmt: skip


# --- cases ------------------------------------------------------------------------------------------------------------

NO_DOUBLE = {"onnx": "onnxruntime has no kernel for a mean in float64"}
UNEVEN = "comes back as Pad, AveragePool, Mul: a mean over uneven pads that do not count"
SLICES = "comes back as slices and their maximum or sum: this framework does not dilate a pool"


def _pool(kind: type[Pool], name: str, x: Any, kernel: tuple[int, ...], composed: Any = None, refused: Any = None, **fields: Any) -> None:
    spatial = len(kernel)
    plain = {"strides": kernel, "pads": no_pads(spatial), "dilations": (1,) * spatial}
    if kind is AveragePool:
        plain["counted"] = no_pads(spatial)
    title = "max_pool" if kind is MaxPool else "average_pool"
    case(f"{title}/{name}", kind(kernel=kernel, **plain | fields), x, composed=composed, refused=refused)


for _kind in (MaxPool, AveragePool):
    _pool(_kind, "2d", (2, 3, 7, 8), (2, 3))
    _pool(_kind, "stride_one", (2, 3, 6, 5), (2, 2), strides=(1, 1))
    _pool(_kind, "1d", (2, 3, 9), (3,), strides=(2,))
    _pool(_kind, "3d", (2, 3, 5, 6, 4), (2, 3, 2), strides=(2, 1, 2))
    _pool(_kind, "same_even", (2, 3, 7, 7), (3, 3), strides=(2, 2), pads=((1, 1), (1, 1)))
    _pool(_kind, "float16", Operand((2, 3, 7, 8), dtype="float16"), (2, 3))
    _pool(_kind, "float64", Operand((2, 3, 7, 8), dtype="float64"), (2, 3), strides=(1, 2), refused=NO_DOUBLE if _kind is AveragePool else None)
_average = {"keras": UNEVEN}
_pool(MaxPool, "same_uneven", (2, 3, 8, 8), (3, 3), strides=(2, 2), pads=((0, 1), (0, 1)))
_pool(AveragePool, "same_uneven", (2, 3, 8, 8), (3, 3), strides=(2, 2), pads=((0, 1), (0, 1)), composed=_average)
_pool(MaxPool, "stride_one_same", (2, 3, 5, 6), (2, 2), strides=(1, 1), pads=((0, 1), (0, 1)))
_pool(AveragePool, "stride_one_same", (2, 3, 5, 6), (2, 2), strides=(1, 1), pads=((0, 1), (0, 1)), composed=_average | {"torch": UNEVEN})
_pool(MaxPool, "pads_before", (2, 3, 5, 6), (3, 2), strides=(1, 2), pads=((2, 0), (1, 1)))
_pool(AveragePool, "pads_before", (2, 3, 5, 6), (3, 2), strides=(1, 2), pads=((2, 0), (1, 1)), composed=_average | {"torch": UNEVEN})
_pool(MaxPool, "ceil_with_pads", (2, 3, 8, 6), (3, 3), strides=(2, 2), pads=((1, 2), (1, 2)))
_pool(AveragePool, "ceil_with_pads", (2, 3, 8, 6), (3, 3), strides=(2, 2), pads=((1, 2), (1, 2)), composed=_average)
_pool(MaxPool, "pads_of_a_side", (2, 3, 5, 6), (3, 3), strides=(1, 1), pads=((0, 2), (2, 0)))
_pool(AveragePool, "counted", (2, 3, 7, 6), (3, 2), strides=(2, 2), pads=((1, 1), (1, 1)), counted=((1, 1), (1, 1)))
_pool(AveragePool, "counted_uneven", (2, 3, 7, 6), (3, 2), pads=((2, 1), (0, 1)), counted=((2, 1), (0, 1)))
_pool(AveragePool, "counted_ceil", (2, 3, 8, 6), (3, 3), strides=(2, 2), pads=((1, 2), (1, 2)), counted=((1, 1), (1, 1)), composed=_average | {"onnx": "comes back as Pad, AveragePool"})
_pool(MaxPool, "dilated", (2, 3, 9, 8), (3, 2), strides=(2, 1), dilations=(2, 3), pads=((1, 1), (0, 0)), composed={"keras": SLICES})
_pool(AveragePool, "dilated", (2, 3, 9, 8), (3, 2), strides=(2, 1), dilations=(2, 3), composed={"keras": SLICES, "torch": SLICES})
_pool(AveragePool, "dilated_padded", (2, 3, 9, 8), (3, 2), strides=(2, 1), dilations=(2, 3), pads=((1, 2), (0, 1)), composed={"keras": SLICES, "torch": SLICES})
