"""Every native way of saying Resize, read: Keras' layers and operation, torch's upsample family, ONNX of all opsets.

What comes out is one form per meaning: scales only where they say more than the sizes, nearest as "asymmetric, floor"
wherever that picks the same elements, half_pixel for coordinates that are the same. Where a framework's float32
arithmetic picks other elements than exact coordinates would, the elements that it picks are written down.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..deferring import defer
from ..errors import Computed, Refused
from ..op import Dim, Shape, Value, agree, imports, product, shortest
from ..sizes import scaled
from .crop_resize import region_resized
from .gather import Gather
from .index import sliced
from .resample import Index, nearest, nearest_in_onnxruntime, nearest_in_torch
from .resize import Resize, factor

CENTRED = ("half_pixel", "round_prefer_ceil")
PLAIN = ("asymmetric", "floor")
PLACED = ("nearest", "linear", "area")  # modes that ask for no element beyond the border
Picker = Callable[[int, int, float | None], Index]  # the elements that a framework's own arithmetic takes


def resized(
    x: Value, shape: Shape, scales: Sequence[float | None], mode: str, coordinates: str, rounding: str = "", *,
    cubic_a: float = 0.0, inside_only: bool = False, antialias: bool = False, picker: Picker | None = None,
) -> Value:  # fmt: skip
    """Resize in its one form. Axes whose size stays are left alone."""
    scales = tuple(
        None if s is None or _says_nothing(n, m, s) else float(s)
        for n, m, s in zip(x.shape, shape, scales, strict=True)
    )
    changing = [a for a, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if scales[a] or not agree(n, m)]
    sizes = [(x.shape[a], shape[a], scales[a]) for a in changing]
    fixed = all(isinstance(n, int) and isinstance(m, int) for n, m, _ in sizes)
    if not changing:
        return x
    if 1 in changing and x.rank in (3, 4, 5) and max(changing) == x.rank - 2 and changing[0] == 1:  # channels stand last
        first, last = (0, x.rank - 1, *range(1, x.rank - 1)), (0, *range(2, x.rank), 1)
        turned = (tuple(t[a] for a in first) for t in (shape, scales))
        more = {"cubic_a": cubic_a, "inside_only": inside_only, "antialias": antialias, "picker": picker}
        return resized(x.transpose(*first), *turned, mode, coordinates, rounding, **more).transpose(*last)
    if coordinates == "pytorch_half_pixel" and all(_more_than_one(n, m) for n, m, _ in sizes):
        coordinates = "half_pixel"
    if coordinates == "half_pixel_symmetric" and not any(scales):
        coordinates = "half_pixel"
    if mode == "nearest":
        if fixed:
            form = next(
                (
                    f
                    for f in (PLAIN, CENTRED)
                    if all(nearest(*s, *f) == nearest(*s, coordinates, rounding) for s in sizes)
                ),  # type: ignore[arg-type]
                (coordinates, rounding),
            )
            own = [picker(*s) if picker else nearest(*s, *form) for s in sizes]  # type: ignore[arg-type]
            if any(taken != nearest(*s, *form) for taken, s in zip(own, sizes, strict=True)):  # type: ignore[arg-type]
                for axis, taken in zip(changing, own, strict=True):
                    x = Gather(axis=axis)(x, x.graph.constant(np.array(taken, np.int64)))
                return x
            coordinates, rounding = form
        elif (
            coordinates == "half_pixel"
            and rounding.startswith("round")
            and all(factor(n, m) and not s for n, m, s in sizes)
        ):
            coordinates, rounding = PLAIN
    smaller = any(not (factor(n, m) or (isinstance(n, int) and isinstance(m, int) and m >= n)) for n, m, _ in sizes)
    antialias = antialias and smaller and mode != "nearest"
    return Resize(
        shape=tuple(shape), scales=scales, mode=mode, coordinates=coordinates,
        rounding=rounding if mode == "nearest" else "",
        cubic_a=cubic_a if mode == "cubic" else 0.0, inside_only=inside_only and (antialias or mode not in PLACED),
        antialias=antialias,
    )(x)  # fmt: skip


def _says_nothing(size: Dim, count: Dim, scale: float) -> bool:
    """Whether a scale is just output size over input size."""
    if isinstance(size, int) and isinstance(count, int):
        return Fraction(str(float(scale))) * size == count
    return float(scale).is_integer() and agree(size * int(scale), count)


def _more_than_one(size: Dim, count: Dim) -> bool:
    return (isinstance(count, int) and count > 1) or (factor(size, count) or 0) > 1


# --- torch ------------------------------------------------------------------------------------------------------------


def _torch(x: Value, sizes: Any, factors: Any, mode: str, coordinates: str, rounding: str = "", **more: Any) -> Value:
    """Sizes, or factors, or (as recorded after decomposition) both: then the factors are what coordinates use."""
    spatial = x.rank - 2
    factors = tuple(factors or (None,) * spatial)
    if sizes is None:
        sizes = tuple(scaled(n, f) for n, f in zip(x.shape[2:], factors, strict=True))
    if coordinates == "align_corners":
        factors = (None,) * spatial  # not used by the coordinates
    if mode != "nearest":  # torch copies along an axis whose size stays, whatever its factor
        factors = tuple(None if n == m else f for n, m, f in zip(x.shape[2:], sizes, factors, strict=True))
    centred = coordinates == "half_pixel"
    return resized(
        x, (*x.shape[:2], *sizes), (None, None, *factors), mode, coordinates, rounding,
        picker=lambda n, m, s: nearest_in_torch(n, m, s, centred), **more,
    )  # fmt: skip


def _each_rank(stem: str, overload: str) -> list[str]:
    return [f"aten.{stem}{n}d.{overload}" for n in (1, 2, 3)]


@imports("torch", *_each_rank("upsample_nearest", "vec"))
def upsample_nearest_from_torch(call, x, sizes, factors):
    return _torch(x, sizes, factors, "nearest", *PLAIN)


@imports("torch", *_each_rank("_upsample_nearest_exact", "vec"))
def upsample_nearest_exact_from_torch(call, x, sizes, factors):
    return _torch(x, sizes, factors, "nearest", *CENTRED)


@imports("torch", *_each_rank("upsample_nearest", "default"))
def upsample_nearest_from_torch_by_axis(call, x, sizes, *factors):
    return _torch(x, sizes, factors, "nearest", *PLAIN)


@imports("torch", *_each_rank("_upsample_nearest_exact", "default"))
def upsample_nearest_exact_from_torch_by_axis(call, x, sizes, *factors):
    return _torch(x, sizes, factors, "nearest", *CENTRED)


def _corners(align_corners: bool) -> str:
    return "align_corners" if align_corners else "half_pixel"


@imports("torch", "aten.upsample_linear1d.vec", "aten.upsample_bilinear2d.vec", "aten.upsample_trilinear3d.vec")
def upsample_linear_from_torch(call, x, sizes, align_corners, factors):
    return _torch(x, sizes, factors, "linear", _corners(align_corners))


@imports(
    "torch", "aten.upsample_linear1d.default", "aten.upsample_bilinear2d.default", "aten.upsample_trilinear3d.default"
)
def upsample_linear_from_torch_by_axis(call, x, sizes, align_corners, *factors):
    return _torch(x, sizes, factors, "linear", _corners(align_corners))


@imports("torch", "aten.upsample_bicubic2d.vec")
def upsample_bicubic_from_torch(call, x, sizes, align_corners, factors):
    return _torch(x, sizes, factors, "cubic", _corners(align_corners), cubic_a=-0.75)


@imports("torch", "aten.upsample_bicubic2d.default")
def upsample_bicubic_from_torch_by_axis(call, x, sizes, align_corners, *factors):
    return _torch(x, sizes, factors, "cubic", _corners(align_corners), cubic_a=-0.75)


@imports("torch", "aten._upsample_bilinear2d_aa.vec")
def upsample_bilinear_antialiased_from_torch(call, x, sizes, align_corners, factors):
    return _torch(x, sizes, factors, "linear", _centres(align_corners), inside_only=True, antialias=True)


@imports("torch", "aten._upsample_bicubic2d_aa.vec")
def upsample_bicubic_antialiased_from_torch(call, x, sizes, align_corners, factors):
    return _torch(x, sizes, factors, "cubic", _centres(align_corners), cubic_a=-0.5, inside_only=True, antialias=True)


@imports("torch", "aten._upsample_bilinear2d_aa.default")
def upsample_bilinear_antialiased_from_torch_by_axis(call, x, sizes, align_corners, *factors):
    return upsample_bilinear_antialiased_from_torch(call, x, sizes, align_corners, factors)


@imports("torch", "aten._upsample_bicubic2d_aa.default")
def upsample_bicubic_antialiased_from_torch_by_axis(call, x, sizes, align_corners, *factors):
    return upsample_bicubic_antialiased_from_torch(call, x, sizes, align_corners, factors)


def _centres(align_corners: bool) -> str:
    if align_corners:
        raise Refused(
            "antialiased resizing with align_corners",
            why="torch steps from corner to corner and places half a step beside, which no other framework does",
            hint="Leave align_corners out",
        )
    return "half_pixel"


# --- chainer ----------------------------------------------------------------------------------------------------------


@imports("chainer", "Unpooling2D")
def unpooling_from_chainer(call, x):
    """Every element fills its window; what lies beyond the size of the result, which Chainer writes down, is cut off."""
    windows, sizes = (call.kh, call.kw), (call.outh, call.outw)
    call.cover_all  # noqa: B018  (it decided the size of the result)
    whole = tuple(n * k for n, k in zip(x.shape[2:], windows, strict=True))
    if (call.sy, call.sx) != windows or (call.ph, call.pw) != (0, 0) or any(map(int.__lt__, whole, sizes)):
        raise Refused(
            f"unpooling by windows {windows} with stride {(call.sy, call.sx)} and pad {(call.ph, call.pw)}",
            why="only windows that lie side by side and fill the result are copies", hint="Use F.deconvolution_2d",
        )  # fmt: skip
    y = resized(x, (*x.shape[:2], *whole), (None,) * 4, "nearest", *PLAIN)
    return sliced(y, {2 + i: slice(0, size) for i, size in enumerate(sizes) if size != whole[i]})


# --- onnx -------------------------------------------------------------------------------------------------------------


@imports("onnx", "Upsample")
def upsample_from_onnx_by_height_and_width(node, x):
    return _onnx_asymmetric(node, x, (1.0, 1.0, node.height_scale, node.width_scale))


@imports("onnx", "Upsample", since=7)
def upsample_from_onnx_attribute(node, x):
    return _onnx_asymmetric(node, x, node.scales)


@imports("onnx", "Upsample", since=9)
def upsample_from_onnx(node, x, scales):
    if scales.const is None:
        asymmetric = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor", "mode": node.mode}
        return defer(node, "Resize", x, None, scales, opset=11, attributes=asymmetric | {"cubic_coeff_a": -0.75, "exclude_outside": 0})
    return _onnx_asymmetric(node, x, _numbers(scales))


@imports("onnx", "Resize", since=10)
def resize_from_onnx_10(node, x, scales):
    return _onnx_asymmetric(node, x, _numbers(scales))


def _numbers(operand: Value) -> list[float]:
    """Scales, which must be constant."""
    if operand.const is None:
        raise Computed(
            "resizing by a scale that the network computes",
            why="sizes must follow from the inputs' shapes",
            hint="Fix the inputs' sizes with input_shapes, or cut the network before it",
        )
    return [float(s) for s in operand.array().reshape(-1)]


def _onnx_sizes(x: Value, scales: Sequence[float]) -> Shape:
    return tuple(
        int(np.float32(s) * np.float32(n)) if isinstance(n, int) else scaled(n, shortest(s))
        for n, s in zip(x.shape, scales, strict=True)
    )


def _onnx_asymmetric(node: Any, x: Value, scales: Sequence[float]) -> Value:
    """Before opset 11 coordinates are asymmetric; onnxruntime's nearest rounds up where the output is smaller."""
    sizes = _onnx_sizes(x, scales)
    mixed = any(s < 1 for s in scales) and any(s > 1 for s in scales)
    if node.mode != "nearest" or sizes == x.shape or not mixed:
        rounding = "ceil" if any(s < 1 for s in scales) else "floor"
        return _onnx(x, sizes, scales, "nearest" if node.mode == "nearest" else "linear", "asymmetric", rounding)
    for axis, scale in enumerate(scales):  # each axis by itself: which way it rounds depends on its own scale
        alone = [scale if a == axis else 1.0 for a in range(x.rank)]
        shape = (*x.shape[:axis], sizes[axis], *x.shape[axis + 1 :])
        if scale != 1 and shape != x.shape:
            x = _onnx(x, shape, alone, "nearest", "asymmetric", "ceil" if scale < 1 else "floor")
    return x


def _onnx(
    x: Value, shape: Shape, scales: Sequence[float | None], mode: str, coordinates: str, rounding: str, **more: Any
) -> Value:
    if tuple(shape) == x.shape:  # nothing changes size: onnxruntime hands the data on
        return x
    if mode == "nearest" and coordinates == "half_pixel_symmetric":
        raise Refused(
            "nearest resizing with half_pixel_symmetric coordinates",
            why="onnxruntime takes other elements than the definition says",
            hint="Use half_pixel",
        )

    def picker(size: int, count: int, scale: float | None) -> Index:
        return nearest_in_onnxruntime(size, count, scale, coordinates, rounding)

    short = tuple(None if s is None or s == 1 else shortest(s) for s in scales)
    return resized(x, shape, short, mode, coordinates, rounding, picker=picker, **more)


@imports("onnx", "Resize", since=11)
def resize_from_onnx(node, x, roi=None, scales=None, sizes=None):
    chosen = (node.axes if node.has("axes") else None) or range(x.rank)
    axes = [a % x.rank for a in chosen]
    shape, factors = list(x.shape), [None] * x.rank
    if scales is not None and product(scales.shape) != 0:
        for axis, scale in zip(axes, _numbers(scales), strict=True):
            factors[axis] = scale
        shape = list(_onnx_sizes(x, [1.0 if f is None else f for f in factors]))
    else:
        wanted = node.sizes(sizes)
        policy = node.keep_aspect_ratio_policy if node.has("keep_aspect_ratio_policy") else "stretch"
        if policy != "stretch":
            if not all(isinstance(n, int) for n in (*wanted, *(x.shape[a] for a in axes))):
                raise Refused(
                    "resizing that keeps the aspect ratio of an open size", why="its scale depends on all sizes",
                    hint="Fix the sizes with input_shapes",
                )  # fmt: skip
            ratios = [np.float32(m) / np.float32(x.shape[a]) for a, m in zip(axes, wanted, strict=True)]
            scale = (min if policy == "not_larger" else max)(ratios)
            wanted = [int(np.floor(scale * np.float32(x.shape[a]) + np.float32(0.5))) for a in axes]
            factors = [float(scale) if a in axes else None for a in range(x.rank)]
        for axis, size in zip(axes, wanted, strict=True):
            shape[axis] = size
    coordinates, rounding = node.coordinate_transformation_mode, node.nearest_mode
    if coordinates == "tf_half_pixel_for_nn" and node.mode == "nearest" and rounding == "floor":
        coordinates, rounding = CENTRED  # half_pixel without the half, rounded down
    if coordinates == "tf_crop_and_resize":
        if not _whole(roi, len(axes)) or any(m == 1 != n for n, m in zip(x.shape, shape, strict=True)):
            return _region(node, x, roi, tuple(shape), axes)
        node.extrapolation_value  # noqa: B018  (nothing lies beyond the data)
        coordinates = "align_corners"
    if coordinates == "tf_half_pixel_for_nn":
        raise Refused(
            f"resizing with {coordinates} coordinates and {rounding}", why="no other framework has it",
            hint="Write it as slicing and resizing",
        )  # fmt: skip
    return _onnx(
        x, tuple(shape), factors, node.mode, coordinates, rounding,
        cubic_a=shortest(node.cubic_coeff_a), inside_only=bool(node.exclude_outside),
        antialias=node.has("antialias") and bool(node.antialias),
    )  # fmt: skip


def _region(node: Any, x: Value, roi: Value | None, shape: Shape, axes: Sequence[int]) -> Value:
    """Which part of the data is resized must be known, and so must the sizes."""
    if roi is None or (node.has("antialias") and node.antialias):
        raise Refused("resizing with tf_crop_and_resize coordinates, antialiased or of no region", why="it has no meaning")
    if roi.const is None:
        raise Computed("resizing a region that the network computes", why="it must be known", hint="Make a constant of it")
    node.cubic_coeff_a, node.exclude_outside  # noqa: B018  (of cubic only)
    region = roi.array().astype(np.float64).tolist()
    return region_resized(x, shape, axes, region, node.mode, node.nearest_mode, node.extrapolation_value)


def _whole(roi: Value | None, count: int) -> bool:
    """Whether a region of interest is all of the data."""
    return roi is not None and roi.const is not None and roi.array().tolist() == [0.0] * count + [1.0] * count
