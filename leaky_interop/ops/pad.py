"""Padding in every mode, on any axes. Pads are explicit (before, after) pairs, one per axis, none of them negative.

| mode      | keras                    | torch     | onnx           | row 1 2 3, two on each side |
|-----------|--------------------------|-----------|----------------|-----------------------------|
| constant  | ZeroPadding, ops.pad     | constant  | constant       | 0 0 1 2 3 0 0               |
| reflect   | ops.pad                  | reflect   | reflect        | 3 2 1 2 3 2 1               |
| symmetric | ops.pad (wrong on torch) | none      | none           | 2 1 1 2 3 3 2               |
| edge      | none                     | replicate | edge           | 1 1 1 2 3 3 3               |
| wrap      | none                     | circular  | wrap, opset 19 | 2 3 1 2 3 1 2               |

What a framework cannot say is written as slices of the data joined to it. Negative pads are slices.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import Computed, Refused
from ..op import Dim, Link, Moved, Op, Operand, Perm, Shape, Value, case, exports, imports, invert, op, shortest
from .gather import Gather
from .index import sliced
from .window import Pads, fixed, flat_pads

MODES = ("constant", "reflect", "symmetric", "edge", "wrap")
FROM_TORCH = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
TORCH_MODULES = {"constant": "ConstantPad", "reflect": "ReflectionPad", "edge": "ReplicationPad", "wrap": "CircularPad"}


@op
class Pad(Op):
    """Data with elements added around it: a constant, or the data's own, mirrored or repeated."""

    pads: Pads
    mode: str
    value: float
    tolerance = "exact"
    symbolic = True

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        return [(tuple(n + before + after for n, (before, after) in zip(x.shape, self.pads, strict=True)), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        settings = {"constant_values": self.value} if self.mode == "constant" else {}
        return np.pad(arrays[0], self.pads, self.mode, **settings)

    def under(self, perm: Perm, inputs: tuple[Value | None, ...]) -> Moved | None:
        return Moved(dataclasses.replace(self, pads=tuple(self.pads[i] for i in invert(perm))), (perm,), (perm,))

    def links(self, inputs: tuple[Value | None, ...]) -> list[Link]:
        return [Link({0: axis}, axis) for axis, pair in enumerate(self.pads) if pair == (0, 0)]


def pad(x: Value, pads: Sequence[tuple[Dim, Dim]], mode: str, value: Any) -> Value:
    """Pad while importing: negative pads crop first, and nothing is emitted for nothing."""
    for axis, pair in enumerate(pads):
        if any(isinstance(p, int) and p < 0 for p in pair):
            before, after = (min(p, 0) if isinstance(p, int) else 0 for p in pair)
            x = sliced(x, {axis: slice(-before, after or None)})
    pads = [tuple(max(p, 0) if isinstance(p, int) else p for p in pair) for pair in pads]  # type: ignore[misc]
    if all(pair == (0, 0) for pair in pads):
        return x
    if mode != "constant":
        value = 0.0
    elif x.dtype.kind not in "fV":
        value = bool(value) if x.dtype == bool else int(value)
    return Pad(pads=tuple(map(tuple, pads)), mode=mode, value=value)(x)


# --- torch ------------------------------------------------------------------------------------------------------------


def torch_pads(x: Value, flat: Sequence[Dim]) -> list[tuple[Dim, Dim]]:
    """torch lists the last axis first."""
    pairs = list(zip(flat[::2], flat[1::2], strict=True))
    return [(0, 0)] * (x.rank - len(pairs)) + pairs[::-1]


@imports("torch", "aten.pad.default")
def pad_from_torch(call, x, flat, mode, value):
    if mode == "replicate":
        return ends_repeated(x, torch_pads(x, flat))
    return pad(x, torch_pads(x, flat), FROM_TORCH[mode], 0.0 if value is None else value)


@imports("torch", "aten.constant_pad_nd.default")
def constant_pad_from_torch(call, x, flat, value):
    return pad(x, torch_pads(x, flat), "constant", value)


@imports("torch", "aten.reflection_pad1d.default", "aten.reflection_pad2d.default", "aten.reflection_pad3d.default")
def reflection_pad_from_torch(call, x, flat):
    return pad(x, torch_pads(x, flat), "reflect", 0.0)


@imports("torch", "aten.replication_pad1d.default", "aten.replication_pad2d.default", "aten.replication_pad3d.default")
def replication_pad_from_torch(call, x, flat):
    return ends_repeated(x, torch_pads(x, flat))


def ends_repeated(x: Value, pads: Sequence[tuple[Dim, Dim]]) -> Value:
    """Negative pads may cut all there is: what comes beyond are the entries at the ends nevertheless."""
    left = []
    for axis, (n, (before, after)) in enumerate(zip(x.shape, pads, strict=True)):
        known = isinstance(n, int) and isinstance(before, int) and isinstance(after, int)
        if known and 0 < n <= -min(before, 0) - min(after, 0):  # type: ignore[operator, type-var]
            places = np.arange(-before, n + after).clip(0, n - 1)  # type: ignore[operator]
            x = Gather(axis=axis)(x, x.graph.constant(places))
            before = after = 0
        left.append((before, after))
    return pad(x, left, "edge", 0.0)


@imports("torch", "aten._pad_circular.default")
def circular_pad_from_torch(call, x, flat):
    return pad(x, torch_pads(x, flat), "wrap", 0.0)


@exports("torch", Pad)
def pad_to_torch(op, torch, x):
    rank = torch.inputs[0].rank
    axes = rank - next(axis for axis, pair in enumerate(op.pads) if pair != (0, 0))  # how many of the last are padded
    if op.mode != "constant":
        axes = max(axes, rank - 2)
    flat = [torch.size(p) for pair in reversed(op.pads[rank - axes :]) for p in pair]
    moves = op.mode == "constant" or (
        axes in (1, 2, 3) and rank - axes in (1, 2) and torch.inputs[0].dtype.kind in "fV"
    )
    if op.mode == "symmetric" or not moves:
        return mirrored(
            op, torch, x, cut, lambda y, axis: torch.flip(y, [axis]), lambda parts, axis: torch.cat(parts, axis)
        )
    if axes > 3 or not fixed(op.pads):
        return torch.nn.functional.pad(x, flat, value=op.value)
    settings = (flat, op.value) if op.mode == "constant" else (flat,)
    return torch.place(getattr(torch.nn, f"{TORCH_MODULES[op.mode]}{axes}d")(*settings))(x)


# --- keras ------------------------------------------------------------------------------------------------------------


@imports("keras", "ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", channels_last=True)
def zero_padding_from_keras(layer, x):
    pairs = layer.padding if x.rank > 3 else (layer.padding,)
    return pad(x, ((0, 0), (0, 0), *(tuple(pair) for pair in pairs)), "constant", 0.0)


@imports("keras", "ops.Pad")
def pad_from_keras(call, x, constant_values=None):
    pairs = [tuple(pair) for pair in call.pad_width]
    pairs = pairs * x.rank if len(pairs) == 1 else pairs
    mode = "wrap" if call.mode == "circular" else call.mode
    if mode not in MODES:
        raise Refused(
            f"padding mode {mode!r}", why="what it fills in depends on the data", hint="Write it as operations"
        )
    return pad(x, pairs, mode, 0.0 if constant_values is None else constant_values)


@exports("keras", Pad)
def pad_to_keras(op, keras, x):
    if not fixed(op.pads):
        raise keras.refuse(
            f"pads {op.pads} that depend on the input's size",
            why="Keras knows no size that is open",
            instead="Fix the size with input_shapes",
        )
    rank, inner = keras.inputs[0].rank, op.pads[1:-1]
    if op.mode == "constant":
        if op.value == 0 and rank in (3, 4, 5) and op.pads[0] == op.pads[-1] == (0, 0):
            layer = getattr(keras.layers, f"ZeroPadding{rank - 2}D")(inner if rank > 3 else inner[0])
            return keras.place(layer)(x)
        return keras.ops.pad(x, op.pads, "constant", op.value)
    axes = rank - next(axis for axis, pair in enumerate(op.pads) if pair != (0, 0))
    own = axes <= 3 and (rank - axes in (1, 2) or rank < 3)  # what the torch backend can
    if op.mode == "reflect" and own and 0 not in keras.inputs[0].shape:  # TensorFlow takes no empty data
        return keras.ops.pad(x, op.pads, "reflect")
    return mirrored(op, keras, x, cut, keras.ops.flip, keras.ops.concatenate)


# --- onnx -------------------------------------------------------------------------------------------------------------


def onnx_pads(x: Value, flat: Sequence[Dim], axes: Sequence[int]) -> list[tuple[Dim, Dim]]:
    """onnx lists every begin, then every end, of some axes."""
    pairs: list[tuple[Dim, Dim]] = [(0, 0)] * x.rank
    for place, axis in enumerate(axes):
        pairs[axis % x.rank] = (flat[place], flat[len(axes) + place])
    return pairs


@imports("onnx", "Pad")
def pad_from_onnx_attributes(node, x):
    flat = node.pads if node.has("pads") else node.paddings  # opset 1 says paddings
    return pad(x, onnx_pads(x, flat, range(x.rank)), node.mode, shortest(node.value))


@imports("onnx", "Pad", since=11)
def pad_from_onnx(node, x, pads, value=None, axes=None):
    if value is not None and value.const is None:
        raise Computed("padding with a number that the network computes", why="only a constant is supported")
    number = 0.0 if value is None else value.array().reshape(-1)[0].item()
    number = shortest(number) if x.dtype == np.float32 else number
    axes = range(x.rank) if axes is None else node.sizes(axes)
    return pad(x, onnx_pads(x, node.sizes(pads), axes), node.mode, number)


@imports("onnx", "CenterCropPad", since=18)
def centre_crop_pad_from_onnx(node, x, sizes):
    """The middle of a larger image, a smaller one in the middle: an odd element is cut off, or added, at the end."""
    pads: list[tuple[Dim, Dim]] = [(0, 0)] * x.rank
    axes = range(x.rank) if node.axes is None else [a % x.rank for a in node.axes]
    for axis, wanted in zip(axes, node.sizes(sizes), strict=True):
        more = wanted - x.shape[axis]
        if not isinstance(more, int):
            raise Refused(f"CenterCropPad of the open size {x.shape[axis]}", why="it is not known which of the two it does",
                          hint="Fix the size with input_shapes")  # fmt: skip
        first = more // 2 if more > 0 else -(-more // 2)
        pads[axis] = (first, more - first)
    return pad(x, pads, "constant", 0.0)


@exports("onnx", Pad)
def pad_to_onnx(op, onnx, x):
    if op.mode == "symmetric" or (op.mode == "wrap" and (onnx.opset < 19 or 0 in onnx.inputs[0].shape)):  # nor of no data
        return mirrored(op, onnx, x, *_pieces_of_onnx(onnx))
    value = np.asarray(op.value, onnx.inputs[0].dtype) if op.mode == "constant" and op.value != 0 else None
    if op.mode == "constant" and op.value == 0 and _feeds_max_pool(onnx.graph, onnx.node.outputs[0]):
        # onnxruntime before 1.32 takes these zeros for -inf and leaves them to the pool: keep the two apart.
        first = np.array([0], np.int64)
        longer = onnx.sizes(flat_pads(((0, 0), *op.pads)))
        return onnx.Squeeze(onnx.Pad(onnx.Unsqueeze(x, first), longer, value, mode=op.mode), first)
    return onnx.Pad(x, onnx.sizes(flat_pads(op.pads)), value, mode=op.mode)


VANISHING = ("Cast", "Dropout", "Identity")  # operators that onnxruntime, or an exporter, may remove between two others


def _feeds_max_pool(graph: Any, value: Value) -> bool:
    """Whether a max pool reads this value, perhaps past operators that may vanish."""
    for node in graph.nodes:
        if any(v is value for v in node.inputs):
            name = type(node.op).__name__
            if name == "MaxPool" or (name in VANISHING and _feeds_max_pool(graph, node.outputs[0])):
                return True
    return False


def _pieces_of_onnx(onnx: Any) -> tuple[Callable[..., Any], ...]:
    """How ONNX cuts, flips and joins."""

    def cut(x: Any, axis: int, *bounds: int, step: int = 1) -> Any:
        return onnx.Slice(x, *(np.array([n], np.int64) for n in (*bounds, axis, step)))

    def flip(x: Any, axis: int) -> Any:
        return cut(x, axis, -1, np.iinfo(np.int64).min, step=-1)

    return cut, flip, lambda parts, axis: onnx.Concat(*parts, axis=axis)


# --- padding out of slices --------------------------------------------------------------------------------------------


END = np.iinfo(np.int64).max


def cut(x: Any, axis: int, start: int, stop: int) -> Any:
    """A slice along one axis, in frameworks that slice as Python does."""
    return x[(slice(None),) * axis + (slice(start, None if stop == END else stop),)]


def mirrored(
    op: Pad,
    fw: Any,
    x: Any,
    cut: Callable[..., Any],
    flip: Callable[[Any, int], Any],
    join: Callable[[list[Any], int], Any],
) -> Any:
    """Pad with the data's own elements, axis by axis: slices, flipped where the mode mirrors, joined to the data."""
    for axis, (size, (before, after)) in enumerate(zip(fw.inputs[0].shape, op.pads, strict=True)):
        inner = int(op.mode == "reflect")  # the border itself is not repeated
        if (before, after) == (0, 0):
            continue
        if op.mode != "edge" and isinstance(size, int) and max(before, after) + inner > size:
            raise fw.refuse(
                f"{op.mode} pads {op.pads[axis]} around {size} elements",
                why="the data would have to be repeated more than once",
                instead="Pad twice",
            )
        if op.mode == "edge":
            first, last = [cut(x, axis, 0, 1)] * before, [cut(x, axis, -1, END)] * after
        elif op.mode == "wrap":
            first, last = [cut(x, axis, -before, END)], [cut(x, axis, 0, after)]
        else:
            first, last = (
                [flip(cut(x, axis, inner, before + inner), axis)],
                [flip(cut(x, axis, -after - inner, -inner or END), axis)],
            )
        parts = [*(first if before else ()), x, *(last if after else ())]
        x = join(parts, axis) if len(parts) > 1 else x
    return x


# --- cases ------------------------------------------------------------------------------------------------------------


def _pad(
    name: str, pads: Any, mode: str = "constant", value: float = 0.0, x: Any = (2, 3, 5, 6), **differences: Any
) -> None:
    case(f"pad/{name}", Pad(pads=pads, mode=mode, value=value), x, **differences)


MIRRORED = "comes back as slices, flipped and joined"

_pad("zeros", ((0, 0), (0, 0), (1, 2), (0, 3)))
_pad("zeros_on_every_axis", ((1, 0), (0, 2), (1, 1), (2, 0)))
_pad("zeros_1d", ((0, 0), (0, 0), (2, 1)), x=(2, 3, 5))
_pad("zeros_3d", ((0, 0), (0, 0), (2, 1), (0, 1), (1, 1)), x=(2, 3, 5, 4, 3))
_pad("zeros_rank_2", ((0, 0), (2, 1)), x=(2, 3))
_pad("value=1.5", ((0, 0), (0, 0), (1, 2), (0, 3)), value=1.5)
_pad("value=-inf", ((0, 0), (0, 0), (1, 2), (0, 3)), value=float("-inf"))
_pad("value=0.1_on_batch", ((1, 2), (0, 0), (0, 3)), value=0.1, x=(2, 3, 5))
_pad("integers", ((0, 0), (0, 0), (1, 2), (0, 3)), value=-7, x=Operand((2, 3, 5, 6), dtype="int32"))
_pad("half_precision", ((0, 0), (0, 0), (1, 2), (0, 3)), value=0.5, x=Operand((2, 3, 5, 6), dtype="float16"))
_pad("double_precision", ((0, 0), (0, 0), (1, 2), (0, 3)), value=0.1, x=Operand((2, 3, 5, 6), dtype="float64"))
for _mode in ("reflect", "symmetric", "edge", "wrap"):
    _slices = {
        f: MIRRORED for f in ("keras", "torch", "onnx") if _mode == "symmetric" or (f == "keras" and _mode != "reflect")
    }
    _pad(f"{_mode}_2d", ((0, 0), (0, 0), (1, 2), (0, 3)), _mode, composed=_slices)
    _pad(f"{_mode}_1d", ((0, 0), (0, 0), (3, 2)), _mode, x=(2, 3, 5), composed=_slices)
    _pad(
        f"{_mode}_3d",
        ((0, 0), (0, 0), (2, 1), (1, 2), (1, 1)),
        _mode,
        x=(2, 3, 4, 3, 5),
        composed=_slices | {"keras": MIRRORED},
    )
    _pad(f"{_mode}_on_channels", ((0, 0), (1, 2), (0, 1), (2, 0)), _mode, composed=_slices)
    _pad(
        f"{_mode}_on_batch",
        ((1, 0), (0, 0), (0, 0), (2, 0)),
        _mode,
        composed=dict.fromkeys(("keras", "torch"), MIRRORED) | _slices,
    )
    _pad(
        f"{_mode}_integers",
        ((0, 0), (0, 0), (1, 2), (0, 3)),
        _mode,
        x=Operand((2, 3, 5, 6), dtype="int32"),
        composed=_slices | {"torch": MIRRORED},
    )
