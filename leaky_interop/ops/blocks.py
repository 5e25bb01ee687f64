"""Sliding blocks as columns, and columns added up to an image again.

| meaning | keras      | torch            | onnx                               |
|---------|------------|------------------|------------------------------------|
| Unfold  | ops.unfold | unfold (im2col)  | Gather of every block's elements   |
| Fold    | ops.fold   | fold (col2im)    | Col2Im since 18                    |

A column holds a block channel by channel, the last axis fastest. Keras and PyTorch know two dimensions, and pads that
are alike on both sides; anything else picks elements by number.
"""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Op, Operand, Shape, Value, case, exports, imports, op, product
from .expand import filled
from .gather import Gather
from .index import sliced
from .pad import pad
from .precision import IN_32_BITS, exact_in_keras
from .scatter import ScatterND
from .window import Pads, counts, even, reach, spread, windows


@op
class Blocks(Op):
    """Base: how blocks lie on an image."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: Pads
    dilations: tuple[int, ...]

    @property
    def settings(self) -> tuple[Any, ...]:
        """As PyTorch and Keras take them: kernel, dilation, padding, stride."""
        return self.kernel, self.dilations, tuple(before for before, _ in self.pads), self.strides

    def plain(self, x: Value) -> bool:
        """Whether PyTorch and Keras have it."""
        return len(self.kernel) == 2 and even(self.pads) and x.dtype.kind in "fV"

    def numbers(self, sizes: Shape) -> np.ndarray:
        """(elements of a block, blocks): the number of each element in the padded image."""
        whole = tuple(n + sum(p) for n, p in zip(sizes, self.pads, strict=True))
        image = np.arange(math.prod(whole)).reshape(1, 1, *whole)
        view = windows(image, self.kernel, self.strides, self.dilations)[0, 0]
        return view.reshape(-1, math.prod(self.kernel)).T

    def known(self, sizes: Shape) -> None:
        """Raise Refused where the elements have no number before the run."""
        if not all(isinstance(n, int) for n in sizes):
            raise Refused(f"{type(self).__name__} of an open size", why="every element is picked by its number",
                          hint="Fix the size with input_shapes")  # fmt: skip


@op
class Unfold(Blocks):
    """(N, C, *sizes) as (N, C * elements of a block, blocks)."""

    tolerance = "exact"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        blocks = counts(x.shape[2:], self.kernel, self.strides, self.dilations, self.pads)
        return [((x.shape[0], x.shape[1] * math.prod(self.kernel), product(blocks)), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        padded = np.pad(x, ((0, 0), (0, 0), *self.pads))
        columns = padded.reshape(*x.shape[:2], math.prod(padded.shape[2:]))[..., self.numbers(x.shape[2:])]
        return columns.reshape(x.shape[0], x.shape[1] * math.prod(self.kernel), columns.shape[-1])


@op
class Fold(Blocks):
    """(N, C * elements of a block, blocks) added up to (N, C, *sizes)."""

    sizes: tuple[int, ...]
    tolerance = "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        blocks = math.prod(counts(self.sizes, self.kernel, self.strides, self.dilations, self.pads))
        elements = math.prod(self.kernel)
        if x.rank != 3 or x.shape[2] != blocks or (isinstance(x.shape[1], int) and x.shape[1] % elements):
            raise ValueError(f"{self} does not fold {x!r}: it takes {blocks} blocks of {elements} elements")
        return [((x.shape[0], x.shape[1] // elements, *self.sizes), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        (x,) = arrays
        wide = x.astype(np.float32) if x.dtype.itemsize < 4 else x
        numbers, whole = self.numbers(self.sizes), [n + sum(p) for n, p in zip(self.sizes, self.pads, strict=True)]
        columns = wide.reshape(-1, numbers.size).T
        image = np.zeros((math.prod(whole), columns.shape[1]), wide.dtype)
        np.add.at(image, numbers.reshape(-1), columns)
        image = image.T.reshape(x.shape[0], -1, *whole)
        inside = (slice(before, before + n) for n, (before, _) in zip(self.sizes, self.pads, strict=True))
        return image[(slice(None), slice(None), *inside)].astype(x.dtype)

    def length(self, *arrays: np.ndarray) -> int:
        return math.prod(-(-w // s) for w, s in zip(reach(self.kernel, self.dilations), self.strides, strict=True))


# --- importers --------------------------------------------------------------------------------------------------------


def blocks(kernel: Any, dilations: Any, padding: Any, strides: Any) -> dict[str, Any]:
    """The settings of two dimensions, each a number or a pair."""
    pads = tuple((p, p) for p in spread(padding, 2))
    return {"kernel": spread(kernel, 2), "strides": spread(strides, 2), "dilations": spread(dilations, 2), "pads": pads}


@imports("torch", "aten.im2col.default")
def unfold_from_torch(call, x, *settings):
    return _alone(Unfold(**blocks(*settings)), x, 4)


@imports("torch", "aten.col2im.default")
def fold_from_torch(call, x, sizes, *settings):
    return _alone(Fold(sizes=tuple(sizes), **blocks(*settings)), x, 3)


def _alone(op: Blocks, x: Value, rank: int) -> Value:
    """The operator, also of one image without a batch."""
    if x.rank == rank:
        return op(x)
    y = op(x.reshape(1, *x.shape))
    return y.reshape(*y.shape[1:])


@imports("keras", "ops.Unfold")
def unfold_from_keras(call, x):
    return Unfold(**blocks(call.kernel_size, call.dilation, call.padding, call.stride))(x)


@imports("keras", "ops.Fold")
def fold_from_keras(call, x):
    sizes = spread(call.output_size, 2)
    return Fold(sizes=sizes, **blocks(call.kernel_size, call.dilation, call.padding, call.stride))(x)


@imports("onnx", "Col2Im", since=18)
def fold_from_onnx(node, x, sizes, kernel):
    sizes, kernel = node.sizes(sizes), node.sizes(kernel)
    strides, dilations = (tuple(given or (1,) * len(kernel)) for given in (node.strides, node.dilations))
    flat = tuple(node.pads or (0,) * 2 * len(kernel))
    pads = tuple(zip(flat[: len(kernel)], flat[len(kernel) :], strict=True))
    fold = Fold(sizes=tuple(sizes), kernel=tuple(kernel), strides=strides, dilations=dilations, pads=pads)
    fold.known(sizes)
    return fold(x)


# --- exporters --------------------------------------------------------------------------------------------------------


def columns(op: Unfold, x: Value) -> tuple[Value]:
    """Every element of every block, picked by its number."""
    op.known(x.shape[2:])
    padded = pad(x, ((0, 0), (0, 0), *op.pads), "constant", 0.0)
    numbers = op.numbers(x.shape[2:])
    flat = padded.reshape(*x.shape[:2], product(padded.shape[2:]))
    picked = Gather(axis=2)(flat, x.graph.constant(numbers.reshape(-1)))
    return (picked.reshape(x.shape[0], x.shape[1] * numbers.shape[0], numbers.shape[1]),)


def image(op: Fold, x: Value) -> tuple[Value]:
    """Every element of every block, added at its number."""
    numbers, whole = op.numbers(op.sizes), [n + sum(p) for n, p in zip(op.sizes, op.pads, strict=True)]
    channels = x.shape[1] // numbers.shape[0]
    updates = x.reshape(x.shape[0] * channels, numbers.size).transpose(1, 0)
    empty = filled(x.graph, (math.prod(whole), x.shape[0] * channels), 0, x.dtype)
    y = ScatterND(reduction="add")(empty, x.graph.constant(numbers.reshape(-1, 1)), updates)
    y = y.transpose(1, 0).reshape(x.shape[0], channels, *whole)
    inside = {a: slice(p[0], p[0] + n) for a, (n, p) in enumerate(zip(op.sizes, op.pads, strict=True), start=2)}
    return (sliced(y, inside),)


@exports("torch", Unfold)
def unfold_to_torch(op, torch, x):
    if not op.plain(torch.inputs[0]):
        return torch.composed(lambda x: columns(op, x))
    return torch.nn.functional.unfold(x, *op.settings)


@exports("torch", Fold)
def fold_to_torch(op, torch, x):
    if not op.plain(torch.inputs[0]):
        return torch.composed(lambda x: image(op, x))
    return torch.nn.functional.fold(x, op.sizes, *op.settings)


@exports("keras", Unfold)
def unfold_to_keras(op, keras, x):
    if not op.plain(keras.inputs[0]) or not all(isinstance(d, int) for d in keras.inputs[0].shape[1:]):
        return keras.composed(lambda x: columns(op, x))
    exact_in_keras(keras, "blocks as columns")
    return keras.ops.unfold(x, *op.settings)


@exports("keras", Fold)
def fold_to_keras(op, keras, x):
    exact_in_keras(keras, "a sum of blocks")
    if not op.plain(keras.inputs[0]):
        return keras.composed(lambda x: image(op, x))
    return keras.ops.fold(x, op.sizes, *op.settings)


@exports("onnx", Unfold)
def unfold_to_onnx(op, onnx, x):
    return onnx.composed(lambda x: columns(op, x))


@exports("onnx", Fold)
def fold_to_onnx(op, onnx, x):
    """onnxruntime 1.32 leaves dilations out of account, except in two dimensions."""
    wrong = len(op.kernel) != 2 and max(op.dilations) > 1
    if wrong or onnx.opset < 18 or not onnx.runs("Col2Im"):
        return onnx.composed(lambda x: image(op, x))
    pads = [pair[side] for side in (0, 1) for pair in op.pads]
    shapes = (np.array(n, np.int64) for n in (op.sizes, op.kernel))
    return onnx.Col2Im(x, *shapes, strides=list(op.strides), dilations=list(op.dilations), pads=pads)


# --- cases ------------------------------------------------------------------------------------------------------------

PICKED = "elements picked by their numbers"
ROWS: tuple[tuple[str, tuple[int, ...], tuple[int, ...], tuple[int, ...], Pads, tuple[int, ...]], ...] = (
    ("2d", (5, 6), (2, 3), (1, 1), ((0, 0), (0, 0)), (1, 1)),
    ("settings", (7, 6), (3, 2), (2, 1), ((1, 1), (2, 2)), (1, 2)),
    ("uneven", (5, 4), (2, 2), (1, 2), ((1, 0), (0, 2)), (2, 1)),
    ("1d", (7,), (3,), (2,), ((1, 1),), (1,)),
    ("3d_dilated", (3, 5, 4), (2, 2, 2), (1, 1, 2), ((0, 1), (1, 1), (0, 0)), (2, 1, 3)),
    ("3d", (3, 4, 5), (2, 2, 3), (1, 2, 1), ((0, 0), (1, 1), (0, 0)), (1, 1, 1)),
)
for _name, _sizes, _kernel, _strides, _pads, _dilations in ROWS:
    _fields: dict[str, Any] = {"kernel": _kernel, "strides": _strides, "pads": _pads, "dilations": _dilations}
    _blocks = math.prod(counts(_sizes, _kernel, _strides, _dilations, _pads))
    _other = {} if len(_sizes) == 2 and even(_pads) else dict.fromkeys(("keras", "torch"), PICKED)
    case(f"unfold/{_name}", Unfold(**_fields), (2, 3, *_sizes), composed=_other | {"onnx": PICKED})
    _dilated = {"onnx": PICKED} if len(_sizes) != 2 and max(_dilations) > 1 else {}
    case(f"fold/{_name}", Fold(sizes=_sizes, **_fields), (2, 3 * math.prod(_kernel), _blocks), composed=_other | _dilated)
case("fold/float64", Fold(sizes=(4, 4), kernel=(2, 2), strides=(1, 1), pads=((0, 0), (0, 0)), dilations=(1, 1)),
     Operand((2, 4, 9), dtype="float64"), refused=IN_32_BITS, composed={"onnx": PICKED})  # fmt: skip
