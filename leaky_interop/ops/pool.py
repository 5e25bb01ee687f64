"""Pooling over sliding windows, and the maximum. Pads are explicit pairs; ceil mode is longer pads at the end.

| field    | keras           | torch                              | onnx                                     |
|----------|-----------------|------------------------------------|------------------------------------------|
| pads     | valid or "same" | one number a side, at most half    | begins, then ends, less than the window  |
| ceil     | no              | ceil_mode                          | ceil_mode                                |
| dilation | no              | yes                                | from opset 10 on                         |

A maximum is padded with what never wins, never with zeros. Means: see average_pool.py. The
window's spellings are here for both, beside the operator that has all of them.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..op import Link, Op, Operand, Shape, Value, agree, case, exports, imports, op
from .bounds import Clip
from .precision import extreme
from .relu import Relu
from .transpose import Transpose
from .window import (
    Pads,
    batched,
    ceil_pads,
    counts,
    covering_pads,
    even,
    fixed,
    flat_pads,
    is_same,
    no_pads,
    pads_from_matlab,
    pads_from_onnx,
    reach,
    same_pads,
    sides_for_matlab,
    spread,
    taps,
    windows,
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


def zeros_lose(pool: MaxPool, x: Value, pads: Pads) -> bool:
    """Whether zeros around the data never are a maximum: a Relu made it, or a Clip, and every window holds some of it."""
    held = all(isinstance(p, int) and p < size for pair, size in zip(pads, pool.kernel, strict=True) for p in pair)
    node = x.node
    while node is not None and isinstance(node.op, Transpose):
        node = node.inputs[0].node  # type: ignore[union-attr]
    kind = node.op if node is not None else None
    raised = isinstance(kind, Relu) or (isinstance(kind, Clip) and kind.minimum is not None and kind.minimum >= 0)
    return raised and held and max(pool.dilations) == 1


@op
class MaxIndices(Op):
    """Where the maxima that `of` finds stand: their numbers among the elements of an image, the last axis fastest."""

    of: Op
    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        return [(shape, np.dtype(np.int64)) for shape, _ in self.of.infer(*inputs)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        """The first of equal ones; padding is none of them."""
        (x,), pool = arrays, self.of
        if not isinstance(pool, MaxPool):
            numbers = pool.numbers(x.shape[2:])  # type: ignore[attr-defined]
            places = x.reshape(*x.shape[:2], -1)[..., numbers].argmax(-1)
            return numbers[np.arange(len(numbers)), places].reshape(*x.shape[:2], *pool.output)  # type: ignore[attr-defined]
        sizes, pads = x.shape[2:], ((0, 0), (0, 0), *pool.pads)
        how = (pool.kernel, pool.strides, pool.dilations)
        numbers = np.pad(np.arange(math.prod(sizes)).reshape(1, 1, *sizes), pads, constant_values=-1)
        padded = np.pad(x, pads, constant_values=lowest(x.dtype))
        numbers, values = (windows(a, *how).reshape(*a.shape[:2], *pool.counts(sizes), -1) for a in (numbers, padded))
        largest = (values == values.max(-1, keepdims=True)) | (values != values)
        first = np.argmax(largest & (numbers >= 0), -1)
        return np.take_along_axis(np.broadcast_to(numbers, values.shape), first[..., None], -1)[..., 0].astype(np.int64)


# --- importing --------------------------------------------------------------------------------------------------------


def max_pool(x: Value, kernel: Any, strides: Any, pads: Pads, dilations: Any, ceil: bool) -> tuple[Value, Value]:
    """The maxima and their places, which nothing is emitted for unless something reads them."""
    if ceil:
        pads = ceil_pads(x.shape[2:], kernel, strides, dilations, pads)
    pool = MaxPool(kernel=tuple(kernel), strides=tuple(strides), pads=pads, dilations=tuple(dilations))
    indices = MaxIndices(of=pool)(x)
    return pool(x), indices


def torch_window(x: Value, kernel: Any, stride: Any, padding: Any) -> tuple[Any, Any, Pads]:
    spatial = x.rank - 2
    kernel = spread(kernel, spatial)
    return kernel, spread(stride, spatial) if stride else kernel, tuple((p, p) for p in spread(padding, spatial))


@imports(
    "torch", "aten.max_pool1d_with_indices.default", "aten.max_pool2d_with_indices.default",
    "aten.max_pool3d_with_indices.default",
)  # fmt: skip
@batched
def max_pool_with_indices_from_torch(call, x, kernel, stride, padding, dilation, ceil_mode):
    return max_pool(x, *torch_window(x, kernel, stride, padding), spread(dilation, x.rank - 2), ceil_mode)


@imports("torch", "aten.max_pool1d.default", "aten.max_pool2d.default", "aten.max_pool3d.default")
def max_pool_from_torch(call, x, *settings):
    return max_pool_with_indices_from_torch(call, x, *settings)[0]


@imports("chainer", "MaxPoolingND")
def max_pool_from_chainer(call, x):
    """Unlike ceil mode, cover_all keeps a window that starts in the padding at the end."""
    plain = (1,) * call.ndim
    pads = covering_pads(x.shape[2:], call.ksize, call.stride, plain, call.pad, call.cover_all)
    return max_pool(x, call.ksize, call.stride, pads, plain, False)[0]


def keras_window(layer: Any, x: Value) -> tuple[Any, Any, Pads, Any]:
    spatial = x.rank - 2
    kernel = spread(layer.pool_size, spatial)
    strides = kernel if layer.strides is None else spread(layer.strides, spatial)
    plain = (1,) * spatial
    return (
        kernel,
        strides,
        same_pads(x.shape[2:], kernel, strides, plain) if layer.padding == "same" else no_pads(spatial),
        plain,
    )


@imports("keras", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "ops.MaxPool", channels_last=True)
def max_pool_from_keras(layer, x):
    return max_pool(x, *keras_window(layer, x), False)[0]


def matlab_window(layer: Any, x: Value) -> tuple[Any, Any, Pads, Any]:
    """MATLAB's stride is 1 where nothing is said."""
    kernel, strides, plain = layer.PoolSize, layer.Stride, (1, 1)
    pads = pads_from_matlab(layer.Padding, x.shape[2:], kernel, strides, plain)
    if any(p >= k for pair, k in zip(pads, kernel, strict=True) for p in pair):
        raise layer.refuse(f"Padding {layer.Padding} around a window of {kernel}", "MATLAB wants the pads smaller than the window")
    return kernel, strides, pads, plain


@imports("matlab", "maxPooling2dLayer", channels_last=True)
def max_pool_from_matlab(layer, x):
    if layer.HasUnpoolingOutputs:
        raise layer.refuse("HasUnpoolingOutputs", "no other framework gives the places of the maxima in MATLAB's order")
    return max_pool(x, *matlab_window(layer, x), False)[0]


def onnx_window(node: Any, x: Value) -> tuple[Any, Any, Pads, Any, bool]:
    """Kernel, strides, pads, dilations and ceil mode of an ONNX pool of any opset."""
    kernel = tuple(node.kernel_shape)
    strides = tuple(node.strides or (1,) * len(kernel))
    dilations = tuple((node.dilations if node.has("dilations") else None) or (1,) * len(kernel))
    pads = pads_from_onnx(node, x.shape[2:], kernel, strides, dilations)
    ceil = bool(node.has("ceil_mode") and node.ceil_mode) and node.auto_pad in ("NOTSET", "VALID")
    return kernel, strides, pads, dilations, ceil


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
    half = all(isinstance(p, int) and 2 * p <= w for (p, _), w in zip(declared, reach(op.kernel, (1,) * len(op.kernel)), strict=True))
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
    window = (op.kernel, op.strides, padding, op.dilations)
    if spatial == 1 and torch.inputs[0].dtype.kind in "iu":  # torch slides over whole numbers in planes and volumes only
        plane = [(rest, *sizes) for rest, sizes in zip((1, 1, 0, 1), window, strict=True)]
        return torch.place(torch.nn.MaxPool2d(*plane, ceil_mode=ceil))(x.unsqueeze(2)).squeeze(2)
    return torch.place(getattr(torch.nn, f"MaxPool{spatial}d")(*window, ceil_mode=ceil))(x)


def refuse_blind(op: Pool, target: Any) -> None:
    """Refuse windows that are known to see padding alone, where the maximum is -infinity."""
    sizes = target.inputs[0].shape[2:]
    axes = zip(op.pads, sizes, op.counts(sizes), reach(op.kernel, op.dilations), op.strides, strict=True)
    known = ((b, n, (count - 1) * s - b, w) for (b, _), n, count, w, s in axes)
    alone = any(b >= w or last >= n for b, n, last, w in known if all(isinstance(i, int) for i in (b, n, last)))
    if alone and target.inputs[0].dtype.kind in "fV":
        raise target.refuse(
            f"a maximum over padding alone, with pads {op.pads}",
            why="it is -infinity, and onnxruntime and TensorFlow have the lowest finite number there",
            instead="Pad less, or crop the result",
        )  # fmt: skip


def window_for_matlab(op: Any, matlab: Any) -> dict[str, Any]:
    """The arguments of a pooling layer. Raises Refused where MATLAB has no such window."""
    matlab.must_be_image(op)
    sides = sides_for_matlab(op, matlab, op.kernel)
    too_wide = sides != "same" and any(p >= k for pair, k in zip(op.pads, op.kernel, strict=True) for p in pair)
    if max(op.dilations) > 1 or too_wide:
        why = "MATLAB's pooling windows have no gaps, and pads are smaller than the window"
        raise matlab.refuse(f"{op}", why=why, instead="Use a smaller pad")
    return {"PoolSize": op.kernel, "Stride": op.strides, "Padding": sides}


@exports("matlab", MaxPool, channels_last=True)
def max_pool_to_matlab(op, matlab, x):
    return matlab.layer("maxPooling2dLayer", x, **window_for_matlab(op, matlab))


@exports("keras", MaxPool, channels_last=True)
def max_pool_to_keras(op, keras, x):
    refuse_blind(op, keras)
    spatial, port = len(op.kernel), keras.inputs[0]
    planes = spatial == 2 or port.dtype.kind not in "iu"  # each backend lacks whole numbers in rows or in volumes
    plain, padding = max(op.dilations) == 1 and planes, "valid"
    pads = used(op, port.shape[2:])
    if (
        plain
        and any(pair != (0, 0) for pair in pads)
        and is_same(op.pads, port.shape[2:], op.kernel, op.strides, op.dilations)
    ):
        padding = "same"
    elif any(pair != (0, 0) for pair in pads):
        if not fixed(pads):
            raise open_pads(keras, pads)
        pads = op.pads if fixed(op.pads) else pads  # as they were said, where some are needed
        if zeros_lose(op, keras.node.inputs[0], pads):
            x = keras.place(getattr(keras.layers, f"ZeroPadding{spatial}D")(pads if spatial > 1 else pads[0]), part="pad")(x)
        else:
            x = keras.ops.pad(x, ((0, 0), *pads, (0, 0)), "constant", lowest(port.dtype))
    if not plain:
        return op.over(x, lambda a, b: extreme(keras, "maximum", a, b), first=1)
    if port.dtype.kind in "iu":  # the layer would claim to give floats
        kernel, strides = (n[0] if len(set(n)) == 1 else n for n in (op.kernel, op.strides))  # on JAX a list, as read from a file, is none
        return keras.ops.max_pool(x, kernel, strides, padding, data_format="channels_last")
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
    refuse_blind(op, onnx)
    settings, dtype = onnx_settings(op, onnx), onnx.inputs[0].dtype
    doubled = dtype.kind in "iu" and dtype.itemsize in (2, 4)
    if doubled:  # onnxruntime has no kernel for these, and 64-bit floats hold them
        x = onnx.Cast(x, to=onnx.element_type("float64"))
    if settings is None:
        begins, ends = ([pair[side] for pair in op.pads] for side in (0, 1))
        value = np.asarray(lowest(dtype), "float64" if doubled else dtype)
        x, settings = onnx.Pad(x, onnx.sizes([0, 0, *begins, 0, 0, *ends]), value), {}
    window = {"kernel_shape": list(op.kernel), "strides": list(op.strides), "dilations": list(op.dilations)}
    y = onnx.MaxPool(x, **window, **settings)
    return onnx.Cast(y, to=onnx.element_type(dtype)) if doubled else y


def onnx_settings(op: Pool, onnx: Any, sizes: Shape | None = None) -> dict[str, Any] | None:
    """How ONNX says these pads in the pool itself, if it can: the numbers, or what makes them of an open size."""
    sizes = onnx.inputs[0].shape[2:] if sizes is None else sizes
    if fixed(op.pads):
        fits = all(max(pair) < w for pair, w in zip(op.pads, reach(op.kernel, op.dilations), strict=True))
        return {"pads": flat_pads(op.pads)} if fits else None
    if is_same(op.pads, sizes, op.kernel, op.strides, op.dilations) and max(op.dilations) == 1:
        return {"auto_pad": "SAME_UPPER"}
    declared = begins(op.pads)
    if fixed(declared) and ceil_mode(op, sizes, declared):
        return {"pads": flat_pads(declared), "ceil_mode": 1}
    return None


def old_opset(onnx: Any, what: str, since: int) -> Exception:
    """The refusal of something that opset `onnx.opset` does not have yet."""
    return onnx.refuse(what, why=f"ONNX has it from opset {since} on", instead=f"Write opset {since} or newer")


# --- cases ------------------------------------------------------------------------------------------------------------

SLICES = "comes back as slices and their maximum or sum: this framework does not dilate a pool"
SHARED: tuple[tuple[str, Any, tuple[int, ...], dict[str, Any]], ...] = (
    ("2d", (2, 3, 7, 8), (2, 3), {}),
    ("stride_one", (2, 3, 6, 5), (2, 2), {"strides": (1, 1)}),
    ("1d", (2, 3, 9), (3,), {"strides": (2,)}),
    ("3d", (2, 3, 5, 6, 4), (2, 3, 2), {"strides": (2, 1, 2)}),
    ("same_even", (2, 3, 7, 7), (3, 3), {"strides": (2, 2), "pads": ((1, 1), (1, 1))}),
    ("float16", Operand((2, 3, 7, 8), dtype="float16"), (2, 3), {}),
    ("bfloat16", Operand((2, 3, 7, 8), dtype="bfloat16"), (2, 3), {"strides": (1, 2)}),
)


def pool_case(
    kind: type[Pool], title: str, x: Any, kernel: tuple[int, ...], differences: Any = None, **fields: Any
) -> None:
    """A case of a pool: windows side by side, no pads and no dilation where nothing else is said."""
    plain = {"strides": kernel, "pads": no_pads(len(kernel)), "dilations": (1,) * len(kernel)}
    case(title, kind(kernel=kernel, **plain | fields), x, **differences or {})


for _name, _x, _kernel, _fields in SHARED:
    pool_case(MaxPool, f"max_pool/{_name}", _x, _kernel, **_fields)
pool_case(MaxPool, "max_pool/float64", Operand((2, 3, 7, 8), dtype="float64"), (2, 3), strides=(1, 2))
for _dtype in ("int8", "uint8", "int16", "int32"):
    _x = Operand((2, 3, 7, 8), dtype=_dtype, low=0 if _dtype == "uint8" else -9, high=9)
    _ways = {"composed": {"onnx": "between casts: onnxruntime has no kernel for it"}} if "8" not in _dtype else None
    pool_case(MaxPool, f"max_pool/{_dtype}", _x, (2, 3), _ways, strides=(1, 2), pads=((1, 0), (0, 1)))
_row = Operand((2, 3, 9), dtype="int32", low=-9, high=9)
_ways = {"composed": {"onnx": "between casts", "torch": "a plane of one row", "keras": SLICES}}
pool_case(MaxPool, "max_pool/row_of_int32", _row, (3,), _ways, strides=(2,), pads=((1, 1),))
for _name, _x, _kernel, _strides, _pads in (
    ("same_uneven", (2, 3, 8, 8), (3, 3), (2, 2), ((0, 1), (0, 1))),
    ("stride_one_same", (2, 3, 5, 6), (2, 2), (1, 1), ((0, 1), (0, 1))),
    ("pads_before", (2, 3, 5, 6), (3, 2), (1, 2), ((2, 0), (1, 1))),
    ("ceil_with_pads", (2, 3, 8, 6), (3, 3), (2, 2), ((1, 2), (1, 2))),
    ("pads_of_a_side", (2, 3, 5, 6), (3, 3), (1, 1), ((0, 2), (2, 0))),
):
    pool_case(MaxPool, f"max_pool/{_name}", _x, _kernel, strides=_strides, pads=_pads)
pool_case(
    MaxPool, "max_pool/dilated", (2, 3, 9, 8), (3, 2), {"composed": {"keras": SLICES}},
    strides=(2, 1), dilations=(2, 3), pads=((1, 1), (0, 0)),
)  # fmt: skip
