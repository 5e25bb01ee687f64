"""Reading data at places between its elements that a grid names, and the grid of an affine map.

| field         | torch grid_sample                   | onnx GridSample                          | keras    |
|---------------|-------------------------------------|------------------------------------------|----------|
| mode          | bilinear, nearest, bicubic (2-D)    | linear, nearest, cubic (bi- before 20)   | composed |
| padding       | zeros, border, reflection           | the same                                 | composed |
| align_corners | -1 and 1 are the outermost elements' centres, or their outer edges (left out: edges) | the same |

The last axis of the grid is (x, y, z): the last axis of the data first. Nearest is the even one of two. Cubic weights
are those of a = -0.75.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Dim, Op, Operand, Shape, Value, agree, case, exports, imports, op, product
from .bounds import Clip, Maximum, Minimum
from .compare import Equal, GreaterOrEqual, LessOrEqual, Where
from .expand import expanded
from .functions import Abs, Floor, Round
from .gather import GatherElements
from .index import selected
from .logic import And
from .math import Add, Div, Mul, Sub
from .matmul import MatMul
from .precision import IN_32_BITS
from .promotion import widest
from .resample import keys
from .shape import with_axes
from .table import widened

MODES = ("linear", "nearest", "cubic")  # as torch numbers them
PADDINGS = ("zeros", "border", "reflection")
CUBIC = -0.75


@op
class GridSample(Op):
    """x (N, C, *sizes) read at the places that a grid (N, *out, dims) names: (N, C, *out)."""

    mode: str
    padding: str
    align_corners: bool
    tolerance = "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        x, grid = inputs
        fits = grid.rank == x.rank and agree(grid.shape[-1], x.rank - 2) and agree(grid.shape[0], x.shape[0])
        if not fits or grid.dtype != x.dtype:
            raise ValueError(f"{self} does not read {x!r} at {grid!r}")
        return [((*x.shape[:2], *grid.shape[1:-1]), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        return widened(lambda x, grid: self.mixed(x, self.taps(grid, x.shape[2:])), *arrays)

    def mixed(self, x: np.ndarray, taps: Sequence[Any]) -> np.ndarray:
        """The sum of elements times weights, over one tap of every axis."""
        batch = np.arange(len(x)).reshape(-1, *(1,) * (taps[0][0][0].ndim - 1))
        total = 0.0
        for chosen in itertools.product(*taps):
            places = tuple(place for place, _ in chosen)
            weights = math.prod(weight for _, weight in chosen)
            total = total + np.moveaxis(x, 1, -1)[(batch, *places)] * weights[..., None]
        return np.moveaxis(np.asarray(total), -1, 1)

    def taps(self, grid: np.ndarray, sizes: Shape) -> list[list[tuple[np.ndarray, np.ndarray]]]:
        """By axis of the data: the elements that are read, and their weights."""
        return [self.taps_along(grid[..., len(sizes) - 1 - axis], size) for axis, size in enumerate(sizes)]

    def taps_along(self, grid: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
        number = grid.dtype.type
        place = (grid + 1) * number((size - 1) / 2) if self.align_corners else ((grid + 1) * number(size) - 1) / 2
        if self.mode != "cubic":
            place = self.kept(place, size)
        if self.mode == "nearest":
            near = np.rint(place)
            return [self.held(near, np.ones_like(near), size)]
        first = np.floor(place)
        if self.mode == "linear":
            return [self.held(first, first + 1 - place, size), self.held(first + 1, place - first, size)]
        offsets = (first + k for k in (-1, 0, 1, 2))
        return [self.held(self.kept(at, size), keys(place - at, CUBIC).astype(grid.dtype), size) for at in offsets]

    def kept(self, place: np.ndarray, size: int) -> np.ndarray:
        """A place beyond the data brought back into it, where the padding says so."""
        if self.padding == "reflection":
            low, span = (0.0, size - 1.0) if self.align_corners else (-0.5, float(size))
            distance = np.abs(place - low)
            span = max(span, 1.0)  # of a single element nothing is left to reflect
            flips = np.floor(distance / span)
            rest = distance - flips * span
            place = np.where(flips % 2 == 0, rest, span - rest) + low
        return place if self.padding == "zeros" else np.clip(place, 0, size - 1)

    def held(self, place: np.ndarray, weight: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """An element that exists; one beyond the data has no weight."""
        inside = (place >= 0) & (place <= size - 1)
        return np.nan_to_num(np.clip(place, 0, size - 1)).astype(np.int64), np.where(inside, weight, 0)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """A place is computed in as many digits as the size has: what that moves its weights by counts, too."""
        x, grid = (a.astype(np.float64) for a in arrays)
        taps = self.taps(grid, x.shape[2:])
        reach = sum((np.abs(grid[..., -1 - a]) + 2) * (n + 1) for a, n in enumerate(x.shape[2:]))
        mixed = [[(place, np.abs(weight) + 0 * place) for place, weight in along] for along in taps]
        moved = [[(place, np.where(weight == 0, 0.0, 1.0)) for place, weight in along] for along in taps]
        size = np.abs(x)
        slope = 0 if self.mode == "nearest" else self.mixed(size, moved) * np.expand_dims(reach, 1)
        return math.prod(map(len, taps)), self.mixed(size, mixed) + slope


# --- importers --------------------------------------------------------------------------------------------------------


def sampled(x: Value, grid: Value, **fields: Any) -> Value:
    """The operator, in the wider dtype of the two."""
    if x.dtype.kind not in "fV":
        raise Refused(f"sampling {x.dtype} at a grid", why="only floats are mixed", hint="Cast it to float32")
    dtype = widest([x.dtype, grid.dtype])
    return GridSample(**fields)(x.cast(dtype), grid.cast(dtype)).cast(x.dtype)


@imports("torch", "aten.grid_sampler.default", "aten.grid_sampler_2d.default", "aten.grid_sampler_3d.default")
def grid_sample_from_torch(call, x, grid, mode, padding, align_corners):
    return sampled(x, grid, mode=MODES[mode], padding=PADDINGS[padding], align_corners=align_corners)


@imports("onnx", "GridSample", since=16)
def grid_sample_from_onnx(node, x, grid):
    mode = node.mode.removeprefix("bi")
    return sampled(x, grid, mode=mode, padding=node.padding_mode, align_corners=bool(node.align_corners))


def affine_grid(theta: Value, sizes: Sequence[Dim], align_corners: bool) -> Value:
    """theta (N, dims, dims + 1) applied to the places of an image of these sizes: (N, *sizes, dims)."""
    if not all(isinstance(n, int) for n in sizes):
        raise Refused("an affine grid of an open size", why="its places are constants", hint="Fix it with input_shapes")
    centres = [(2 * np.arange(n) - (n - 1)) / max(n - 1 if align_corners else n, 1) for n in sizes]
    places = [*reversed(np.meshgrid(*centres, indexing="ij")), np.ones(tuple(sizes))]
    base = np.stack([p.reshape(-1) for p in places], -1).astype(theta.dtype)
    y = MatMul()(theta.graph.constant(base), theta.transpose(0, 2, 1))
    return y.reshape(theta.shape[0], *sizes, len(sizes))


@imports("torch", "aten.affine_grid_generator.default")
def affine_grid_from_torch(call, theta, size, align_corners):
    return affine_grid(theta, size[2:], align_corners)


@imports("onnx", "AffineGrid", since=20)
def affine_grid_from_onnx(node, theta, size):
    return affine_grid(theta, node.sizes(size)[2:], bool(node.align_corners))


# --- exporters --------------------------------------------------------------------------------------------------------


def pieces(op: GridSample, x: Value, grid: Value) -> tuple[Value]:
    """The same in other operators: elements picked by number and mixed."""
    sizes, out = x.shape[2:], grid.shape[1:-1]
    count = product(out)
    flat = x.reshape(*x.shape[:2], product(sizes))
    taps = []
    for axis, size in enumerate(sizes):
        along = selected(grid, -1, len(sizes) - 1 - axis).reshape(grid.shape[0], count)
        taps.append(_taps_along(op, along, size))
    total = None
    for chosen in itertools.product(*taps):
        number, weight = None, None
        for (place, share), size in zip(chosen, sizes, strict=True):
            number = place if number is None else Add()(Mul()(number, _size(x, size, place.dtype)), place)
            weight = share if weight is None or share is None else Mul()(weight, share)
        index = expanded(with_axes(number, [1]), (x.shape[0], x.shape[1], count))
        part = GatherElements(axis=2)(flat, index)
        part = part if weight is None else Mul()(part, with_axes(weight, [1]))
        total = part if total is None else Add()(total, part)
    return (total.reshape(*x.shape[:2], *out),)


def _size(like: Value, size: Dim, dtype: Any) -> Value:
    return like.graph.of_sizes(size).cast(dtype)


def _taps_along(op: GridSample, grid: Value, size: Dim) -> list[tuple[Value, Value | None]]:
    """`GridSample.taps_along`; a weight that is always 1 is None."""
    whole = _size(grid, size, grid.dtype)
    last = Sub()(whole, 1.0)
    place = Add()(grid, 1.0)
    place = Mul()(place, Div()(last, 2.0)) if op.align_corners else Div()(Sub()(Mul()(place, whole), 1.0), 2.0)
    if op.mode != "cubic":
        place = _kept(op, place, last)
    if op.mode == "nearest":
        return [_held(op, Round()(place), None, last)]
    first = Floor()(place)
    if op.mode == "linear":
        second = Add()(first, 1.0)
        return [_held(op, first, Sub()(second, place), last), _held(op, second, Sub()(place, first), last)]
    t = Sub()(place, first)
    back = Sub()(1.0, t)
    weights = (_far(Add()(t, 1.0)), _near(t), _near(back), _far(Add()(back, 1.0)))
    places = (Add()(first, float(k)) if k else first for k in (-1, 0, 1, 2))
    return [_held(op, _kept(op, at, last), weight, last) for at, weight in zip(places, weights, strict=True)]


def _near(t: Value) -> Value:
    """The cubic weight of an element at a distance of at most 1."""
    inner = Sub()(Mul()(t, CUBIC + 2), CUBIC + 3)
    return Add()(Mul()(Mul()(inner, t), t), 1.0)


def _far(t: Value) -> Value:
    """The cubic weight of an element at a distance of 1 to 2."""
    outer = Add()(Mul()(Sub()(Mul()(t, CUBIC), 5 * CUBIC), t), 8 * CUBIC)
    return Sub()(Mul()(outer, t), 4 * CUBIC)


def _kept(op: GridSample, place: Value, last: Value) -> Value:
    if op.padding == "reflection":
        low = 0.0 if op.align_corners else -0.5
        span = Maximum()(last if op.align_corners else Add()(last, 1.0), 1.0)
        distance = Abs()(Sub()(place, low) if low else place)
        flips = Floor()(Div()(distance, span))
        rest = Sub()(distance, Mul()(flips, span))
        even = Equal()(Mul()(Floor()(Div()(flips, 2.0)), 2.0), flips)
        place = Where()(even, rest, Sub()(span, rest))
        place = Add()(place, low) if low else place
    return place if op.padding == "zeros" else _inside(place, last)


def _inside(place: Value, last: Value) -> Value:
    return Minimum()(Clip(minimum=0.0, maximum=None)(place), last)


def _held(op: GridSample, place: Value, weight: Value | None, last: Value) -> tuple[Value, Value | None]:
    if op.padding == "zeros":
        inside = And()(GreaterOrEqual()(place, 0.0), LessOrEqual()(place, last))
        weight = inside.cast(place.dtype) if weight is None else Where()(inside, weight, 0.0)
    return _inside(place, last).cast(np.int64), weight


@exports("torch", GridSample)
def grid_sample_to_torch(op, torch, x, grid):
    if op.mode == "cubic" and torch.inputs[0].rank != 4:
        return torch.composed(lambda *operands: pieces(op, *operands))
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(op.mode, op.mode)
    function = torch.nn.functional.grid_sample
    return function(x, grid, mode=mode, padding_mode=op.padding, align_corners=op.align_corners)


@exports("keras", GridSample)
def grid_sample_to_keras(op, keras, x, grid):
    return keras.composed(lambda *operands: pieces(op, *operands))


@exports("onnx", GridSample)
def grid_sample_to_onnx(op, onnx, x, grid):
    mode, rank = op.mode, onnx.inputs[0].rank
    old = onnx.opset < 20 and (rank != 4 or onnx.inputs[0].dtype == np.float64)
    if old or (rank != 4 and op.mode == "cubic"):  # onnxruntime has no cubic kernel for volumes
        return onnx.composed(lambda *operands: pieces(op, *operands))
    if onnx.opset < 20:
        mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    return onnx.GridSample(x, grid, mode=mode, padding_mode=op.padding, align_corners=int(op.align_corners))


# --- cases ------------------------------------------------------------------------------------------------------------


def _sample(name: str, mode: str, padding: str, align_corners: bool, *, dims: int = 2, dtype: str = "float32",
            composed: Any = (), refused: Any = None) -> None:  # fmt: skip
    sizes, out = (5, 4, 3)[:dims], (2, 3, 2)[:dims]
    case(
        f"grid_sample/{name}",
        GridSample(mode=mode, padding=padding, align_corners=align_corners),
        Operand((2, 3, *sizes), dtype=dtype),
        Operand((2, *out, dims), dtype=dtype, low=-1.6, high=1.6),
        composed=dict.fromkeys(("keras", *composed), "elements picked by number and mixed"),
        refused=refused,
    )


for _mode, _padding, _corners in itertools.product(MODES, PADDINGS, (False, True)):
    _sample(f"{_mode}_{_padding}_{'corners' if _corners else 'edges'}", _mode, _padding, _corners)
for _mode, _padding in (("linear", "reflection"), ("nearest", "zeros"), ("linear", "zeros")):
    _sample(f"volume_{_mode}_{_padding}", _mode, _padding, False, dims=3)
_sample("volume_cubic", "cubic", "border", True, dims=3, composed=("torch", "onnx"))
_sample("float64", "linear", "zeros", False, dtype="float64", refused=IN_32_BITS)
