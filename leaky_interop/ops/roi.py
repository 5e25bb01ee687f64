"""Pooling over regions that the network computes, and convolution at places that it computes.

| meaning    | keras    | torch    | onnx                                                                    |
|------------|----------|----------|-------------------------------------------------------------------------|
| RoiAlign   | composed | composed | RoiAlign; before opset 16 corners are not shifted by half an element    |
| MaxRoiPool | composed | composed | composed: MaxRoiPool                                                    |
| DeformConv | composed | composed | composed: DeformConv                                                    |

PyTorch itself has none of them: torchvision, which does, is an extension. Reading between elements is separable, so a
region's mean is two matrix products; a deformed convolution is a GridSample and a matrix product.
"""

import math
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Dim, Op, Operand, Shape, Value, case, constant, exports, imports, op, product, shortest
from .bounds import Clip, Minimum
from .compare import Equal, GreaterOrEqual, Less, LessOrEqual, Where
from .functions import Abs, Ceil, Floor
from .gather import Gather
from .grid_sample import GridSample
from .index import selected
from .join import stacked
from .logic import And
from .math import Add, Div, Mul, Sub
from .matmul import MatMul
from .precision import IN_32_BITS
from .range import ranged
from .reduce import ReduceMax, ReduceMean, reduced
from .shape import with_axes
from .window import counts


@op
class RoiAlign(Op):
    """Regions (x1, y1, x2, y2) of images, by number, as `size` cells: each a mean or maximum of values between elements.

    samples: how many a side of a cell; 0: as many as elements meet it. half: the first element's centre is at 0.5.
    """

    size: tuple[int, int]
    samples: int
    scale: float
    half: bool
    mode: str
    tolerance = "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        x, regions, _ = inputs
        return [((regions.shape[0], x.shape[1], *self.size), x.dtype)]

    def places(self, region: np.ndarray, axis: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """(cells, samples): where the samples are along an axis, and whether they are on the image."""
        begin, end = region[[1 - axis, 3 - axis]] * region.dtype.type(self.scale) - region.dtype.type(self.half / 2)
        length = end - begin if self.half else max(end - begin, region.dtype.type(1))
        cell = length / self.size[axis]
        count = self.samples or max(math.ceil(cell), 0)
        steps = np.arange(self.size[axis])[:, None] + (np.arange(count) + 0.5) / max(count, 1)
        at = begin + cell * steps.astype(region.dtype)
        return np.clip(at, 0, size - 1), (at >= -1) & (at <= size)

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x, regions, numbers = arrays
        wide = np.float32 if x.dtype.itemsize < 4 else x.dtype
        made = [
            self.pooled(x[n].astype(wide), r.astype(wide)) for r, n in zip(regions, numbers.astype(int), strict=True)
        ]
        return np.stack(made).astype(x.dtype) if made else np.zeros((0, x.shape[1], *self.size), x.dtype)

    def pooled(self, image: np.ndarray, region: np.ndarray) -> np.ndarray:
        """One region of an image (C, height, width)."""
        along = [self.places(region, axis, image.shape[axis + 1]) for axis in (0, 1)]
        if self.mode == "max":
            return self.largest(image, along)
        rows, columns = (
            (np.maximum(1 - np.abs(at[..., None] - np.arange(n)), 0) * inside[..., None]).sum(1) / max(at.shape[1], 1)
            for (at, inside), n in zip(along, image.shape[1:], strict=True)
        )
        return (rows.astype(image.dtype) @ image) @ columns.astype(image.dtype).T

    def largest(self, image: np.ndarray, along: Any) -> np.ndarray:
        """The largest product of an element with its weight: not the largest mixture, which is what ONNX says."""
        total = None
        (rows, on_rows), (columns, on_columns) = along
        if not rows.size or not columns.size:
            return np.zeros((image.shape[0], *self.size), image.dtype)
        on = (on_rows[:, :, None, None] & on_columns).astype(image.dtype)
        for high_row in (0, 1):
            for high_column in (0, 1):
                sides = []
                for at, high, n in ((rows, high_row, image.shape[1]), (columns, high_column, image.shape[2])):
                    low = np.minimum(np.floor(at), n - 1)
                    weight = at - low if high else 1 - (at - low)
                    sides.append((np.minimum(low + high, n - 1).astype(int), weight))
                (row, down), (column, right) = sides
                part = image[:, row[:, :, None, None], column] * (down[:, :, None, None] * right * on)
                total = part if total is None else np.maximum(total, part)
        return total.max((2, 4)).astype(image.dtype)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """Places are computed in as many digits as they are large: what that moves the weights by counts, too."""
        x, regions, numbers = arrays
        size = np.abs(x).astype(np.float64)
        reach = np.abs(regions.astype(np.float64)).max(-1, initial=0) * abs(self.scale) + sum(x.shape[2:])
        highest = size.max((2, 3))[numbers.astype(int)] * reach[:, None]
        return max(self.samples, 1) ** 2 * 4, np.abs(self.reference(size, regions, numbers)) + highest[..., None, None]


@imports("onnx", "RoiAlign", since=10)
def roi_align_from_onnx(node, x, regions, numbers):
    half = node.has("coordinate_transformation_mode") and node.coordinate_transformation_mode == "half_pixel"
    made = RoiAlign(
        size=(node.output_height, node.output_width), samples=node.sampling_ratio, scale=shortest(node.spatial_scale),
        half=half, mode=node.mode,
    )  # fmt: skip
    return made(x, regions, numbers)


@exports("onnx", RoiAlign)
def roi_align_to_onnx(op, onnx, x, regions, numbers):
    """onnxruntime 1.32 has kernels up to opset 21."""
    if onnx.opset > 21 or not onnx.runs("RoiAlign"):
        return roi_align_to_framework(op, onnx, x, regions, numbers)
    coordinates = {"coordinate_transformation_mode": "half_pixel" if op.half else "output_half_pixel"}
    if onnx.opset < 16 and op.half:
        raise onnx.refuse(
            "regions shifted by half an element",
            why="ONNX has them from opset 16 on",
            instead="Write opset 16 or newer",
        )
    numbers = numbers if onnx.inputs[2].dtype == np.int64 else onnx.Cast(numbers, to=onnx.element_type("int64"))
    return onnx.RoiAlign(
        x, regions, numbers, mode=op.mode, output_height=op.size[0], output_width=op.size[1],
        sampling_ratio=op.samples, spatial_scale=op.scale, **(coordinates if onnx.opset >= 16 else {}),
    )  # fmt: skip


@exports("torch", RoiAlign)
@exports("keras", RoiAlign)
def roi_align_to_framework(op, framework, x, regions, numbers):
    if op.mode != "avg" or not op.samples:
        what = "the maximum of a region's samples" if op.mode != "avg" else "a region with as many samples as it takes"
        raise framework.refuse(
            what, why="only ONNX of opset 10 to 21 has it", instead="Take the mean of a fixed sampling_ratio"
        )
    return framework.composed(lambda *operands: _means(op, *operands))


def _means(op: RoiAlign, x: Value, regions: Value, numbers: Value) -> tuple[Value]:
    """One matrix a region and side, whose rows are the weights of a cell's elements."""
    regions = regions if op.scale == 1.0 else Mul()(regions, op.scale)
    regions = Sub()(regions, 0.5) if op.half else regions
    rows, columns = (_weights(op, regions, axis, x.shape[axis + 2]) for axis in (0, 1))
    images = x if x.shape[0] == 1 else Gather(axis=0)(x, numbers)
    return (MatMul()(MatMul()(with_axes(rows, [1]), images), with_axes(columns.transpose(0, 2, 1), [1])),)


def _weights(op: RoiAlign, regions: Value, axis: int, size: Dim) -> Value:
    begin, end = (selected(regions, 1, column).reshape(regions.shape[0], 1) for column in (1 - axis, 3 - axis))
    length = Sub()(end, begin)
    length = length if op.half else Clip(minimum=1.0, maximum=None)(length)
    count, last = op.size[axis], x_size(regions, size)
    steps = (np.arange(count)[:, None] + (np.arange(op.samples) + 0.5) / op.samples).reshape(-1)
    at = Add()(begin, Mul()(Div()(length, float(count)), regions.graph.constant(steps, regions.dtype)))
    inside = And()(GreaterOrEqual()(at, -1.0), LessOrEqual()(at, last))
    at = Minimum()(Clip(minimum=0.0, maximum=None)(at), Sub()(last, 1.0))
    distance = Abs()(Sub()(with_axes(at, [2]), ranged(regions.graph, 0, size, 1, regions.dtype)))
    weights = Clip(minimum=0.0, maximum=None)(Sub()(1.0, distance))
    weights = Where()(with_axes(inside, [2]), weights, 0.0)
    return reduced(ReduceMean, weights.reshape(regions.shape[0], count, op.samples, size), 2, False)


def x_size(like: Value, size: Dim) -> Value:
    """A size as a number of the dtype of a value."""
    return like.graph.of_sizes(size).cast(like.dtype)


# --- the largest of a region ------------------------------------------------------------------------------------------


@imports("onnx", "MaxRoiPool")
def max_roi_pool_from_onnx(node, x, regions):
    """Regions are (image, x1, y1, x2, y2), rounded to elements, both ends included; a cell without any is 0."""
    scale = shortest(node.spatial_scale)
    numbers = selected(regions, 1, 0).cast(np.int64)
    images = x if x.shape[0] == 1 else Gather(axis=0)(x, numbers)
    y = images
    for axis, count in ((2, node.pooled_shape[0]), (3, node.pooled_shape[1])):
        begin, end = (Floor()(Add()(Mul()(selected(regions, 1, c), scale), 0.5)) for c in (4 - axis, 6 - axis))
        cell = Div()(Clip(minimum=1.0, maximum=None)(Add()(Sub()(end, begin), 1.0)), float(count))
        begin, cell = (v.reshape(regions.shape[0], 1) for v in (begin, cell))
        cells = x.graph.constant(np.arange(count), regions.dtype)
        first = Add()(Floor()(Mul()(cells, cell)), begin)
        behind = Add()(Ceil()(Mul()(Add()(cells, 1.0), cell)), begin)
        places = ranged(x.graph, 0, x.shape[axis], 1, regions.dtype)
        inside = And()(GreaterOrEqual()(places, with_axes(first, [2])), Less()(places, with_axes(behind, [2])))
        shape = [regions.shape[0], 1, *(1,) * (axis - 2), count, x.shape[axis], *(1,) * (3 - axis)]
        wide = with_axes(y, [axis])
        y = reduced(ReduceMax, Where()(inside.reshape(*shape), wide, -math.inf), axis + 1, False)
    return Where()(Equal()(y, -math.inf), 0.0, y)


# --- convolution at computed places -----------------------------------------------------------------------------------


@imports("onnx", "DeformConv", since=19)
def deform_conv_from_onnx(node, x, kernel, offset, bias=None, mask=None):
    """Offsets move every element of every window, by axis in the data's order; what lies outside is 0."""
    dims, groups, shared = x.rank - 2, node.group, node.offset_group
    strides, dilations = (tuple(given or (1,) * dims) for given in (node.strides, node.dilations))
    flat = tuple(node.pads or (0,) * 2 * dims)
    pads = tuple(zip(flat[:dims], flat[dims:], strict=True))
    window, sizes = kernel.shape[2:], x.shape[2:]
    out = counts(sizes, window, strides, dilations, pads)
    if not all(isinstance(n, int) for n in (*out, *window)) or dims not in (2, 3):
        raise Refused("a deformable convolution of open sizes or other than two or three dimensions",
                      why="where its windows lie is a constant", hint="Fix the sizes with input_shapes")  # fmt: skip
    batch, taps = x.shape[0], math.prod(window)
    offset = offset.reshape(batch * shared, taps, dims, *out)
    places = []
    for axis in range(dims):
        base = np.arange(out[axis]) * strides[axis] - pads[axis][0]
        tap = np.unravel_index(np.arange(taps), window)[axis] * dilations[axis]
        base = base.reshape(*(-1 if a == axis else 1 for a in range(dims))) + tap.reshape(-1, *(1,) * dims)
        place = Add()(selected(offset, 2, axis), x.graph.constant(base, x.dtype))
        twice = Add()(Mul()(place, 2.0), 1.0)  # as a grid counts: -1 and 1 are the outer edges
        places.append(Sub()(Div()(twice, x_size(x, sizes[axis])), 1.0))
    grid = stacked(node, places[::-1], -1).reshape(batch * shared, taps * out[0], *out[1:], dims)
    data = x.reshape(batch * shared, x.shape[1] // shared, *sizes)
    y = GridSample(mode="linear", padding="zeros", align_corners=False)(data, grid)
    y = y.reshape(batch, shared, x.shape[1] // shared, taps, product(out))
    if mask is not None:
        y = Mul()(y, mask.reshape(batch, shared, 1, taps, product(out)))
    length = x.shape[1] // groups * taps
    y = y.reshape(batch, groups, length, product(out))
    y = MatMul()(kernel.reshape(groups, kernel.shape[0] // groups, length), y).reshape(batch, kernel.shape[0], *out)
    return y if bias is None else Add()(y, bias.reshape(bias.shape[0], *(1,) * dims))


# --- cases ------------------------------------------------------------------------------------------------------------

REGIONS = [[0.2, 0.5, 5.1, 4.0], [1.0, 2.0, 3.5, 3.0], [-2.0, -3.0, 9.0, 8.0], [4.0, 4.0, 4.1, 4.2]]
_SAMPLES = dict.fromkeys(("keras", "torch", "onnx"), "means as matrix products")
NEWEST = dict.fromkeys(("keras", "torch", "onnx"), "only ONNX of opset 10 to 21 has it")


def _roi(
    name: str, *, images: int = 2, half: bool = True, dtype: str = "float32", refused: Any = None, **fields: Any
) -> None:
    made: Any = {"size": (3, 2), "samples": 2, "scale": 1.0, "half": half, "mode": "avg"} | fields
    numbers = constant([0, images - 1, 0, images - 1], "int64")
    case(f"roi_align/{name}", RoiAlign(**made), Operand((images, 3, 6, 7), dtype=dtype), constant(REGIONS, dtype), numbers,
         composed=_SAMPLES, refused=refused)  # fmt: skip


_roi("half")
_roi("whole", half=False)
_roi("one_image", images=1, samples=3)
_roi("scaled", scale=0.75, size=(1, 4))
_roi("largest", mode="max", refused=NEWEST)
_roi("adaptive", samples=0, refused=NEWEST)
_roi("float64", dtype="float64", refused=IN_32_BITS)
