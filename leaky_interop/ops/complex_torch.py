"""Complex numbers in PyTorch: Fourier transforms, and what is done with a spectrum. Importers only.

A complex tensor is a value with one axis more, which holds its real and imaginary parts; an operator that takes one is
named "complex aten...", which keeps it apart from the same operator of real numbers.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Dim, Value, imports
from .fourier import framed, parts, transformed
from .functions import Neg
from .join import stacked
from .math import Add, Atan2, Hypot, Mul, Sub
from .promotion import floating
from .shape import with_axes


def scaled(y: Value, norm: str | None, count: Dim, inverse: bool) -> Value:
    """ "backward", where nothing is said, divides the inverse alone; "forward" the transform, "ortho" each by the root."""
    if norm in (None, "backward"):
        return y
    if not isinstance(count, int):
        raise Refused(f"a Fourier transform with norm={norm!r} of an open length", why="it is scaled by a constant")
    power = (1.0 if inverse else -1.0) * (0.5 if norm == "ortho" else 1.0)
    return Mul()(y, float(count) ** power)


def spectrum(x: Value, axes: Sequence[int], sizes: Any, norm: str | None, inverse: bool) -> Value:
    """Transforms of pairs, or of real numbers that stand alone in the last axis, along several axes."""
    sizes = [None] * len(axes) if sizes is None else sizes
    for axis, size in zip(axes, sizes, strict=True):
        x = transformed(x, axis, size, inverse=inverse, onesided=False)
        x = scaled(x, norm, x.shape[axis], inverse)
    return x


def _axes(x: Value, axes: Any, sizes: Any) -> list[int]:
    """Axes of a pair's tensor: all where neither axes nor sizes are named, the last ones where sizes are."""
    rank = x.rank - 1
    if axes is None:
        axes = range(0 if sizes is None else rank - len(sizes), rank)
    return [a % rank for a in axes]


def _transform(name: str, inverse: bool) -> None:
    """fft and ifft along one axis (fft_fft) or several (fft_fft2, fft_fftn), of real and of complex tensors."""
    several = name[-1] in "2n"

    def read(call: Any, x: Value, size: Any, axis: Any, norm: Any) -> Value:
        axes = _axes(x, axis, size) if several else [axis % (x.rank - 1)]
        return spectrum(x, axes, size if several else [size], norm, inverse)

    def read_real(call: Any, x: Value, *settings: Any) -> Value:
        return read(call, with_axes(floating(call, x), [-1]), *settings)

    read.__name__, read_real.__name__ = f"{name}_from_complex_torch", f"{name}_from_torch"
    imports("torch", f"complex aten.{name}.default")(read)
    imports("torch", f"aten.{name}.default")(read_real)


for _name in ("fft_fft", "fft_fft2", "fft_fftn"):
    _transform(_name, False)
    _transform(_name.replace("_fft", "_ifft"), True)


@imports("torch", "aten.fft_rfft.default")
def real_dft_from_torch(call, x, size, axis, norm):
    axis %= x.rank
    count = x.shape[axis] if size is None else size
    y = transformed(with_axes(floating(call, x), [-1]), axis, count, inverse=False, onesided=True)
    return scaled(y, norm, count, False)


@imports("torch", "complex aten.fft_irfft.default")
def inverse_real_dft_from_torch(call, x, size, axis, norm):
    axis %= x.rank - 1
    y = transformed(x, axis, size, inverse=True, onesided=True)
    return parts(scaled(y, norm, y.shape[axis], True))[0]


@imports("torch", "aten.fft_irfft.default")
def inverse_real_dft_of_reals_from_torch(call, x, *settings):
    return inverse_real_dft_from_torch(call, with_axes(floating(call, x), [-1]), *settings)


@imports("torch", "aten.fft_rfft2.default", "aten.fft_rfftn.default")
def real_dft_of_axes_from_torch(call, x, sizes, axes, norm):
    """The last axis first, of which half is kept."""
    x = with_axes(floating(call, x), [-1])
    axes = _axes(x, axes, sizes)
    sizes = [x.shape[a] for a in axes] if sizes is None else list(sizes)
    y = transformed(x, axes[-1], sizes[-1], inverse=False, onesided=True)
    y = scaled(y, norm, sizes[-1], False)
    return spectrum(y, axes[:-1], sizes[:-1], norm, False)


@imports("torch", "complex aten.fft_irfft2.default", "complex aten.fft_irfftn.default")
def inverse_real_dft_of_axes_from_torch(call, x, sizes, axes, norm):
    axes = _axes(x, axes, sizes)
    last = None if sizes is None else sizes[-1]
    y = spectrum(x, axes[:-1], None if sizes is None else sizes[:-1], norm, True)
    y = transformed(y, axes[-1], last, inverse=True, onesided=True)
    return parts(scaled(y, norm, y.shape[axes[-1]], True))[0]


@imports("torch", "aten.fft_irfft2.default", "aten.fft_irfftn.default")
def inverse_real_dft_of_axes_of_reals_from_torch(call, x, *settings):
    return inverse_real_dft_of_axes_from_torch(call, with_axes(floating(call, x), [-1]), *settings)


@imports("torch", "aten.stft.default")
def stft_from_torch(call, x, size, step, width, window, normalized, onesided, return_complex, align=None):
    """What is mirrored at the ends when centred is an operator of its own. Frequencies come before the frames."""
    step = size // 4 if step is None else step
    width = size if width is None else width
    if align:
        raise Refused("stft with align_to_window", why="only frames from the start of the signal are read")
    if window is not None and width < size:
        left = (size - width) // 2
        if not window.is_constant:
            raise Refused(
                "an stft whose window is a weight and shorter than its frames", why="it is padded as a constant"
            )
        window = window.graph.constant(np.pad(window.array(), (left, size - width - left)))
    elif width < size:
        left = (size - width) // 2
        window = call.graph.constant(np.pad(np.ones(width), (left, size - width - left)), x.dtype)
    frames = framed(x, x.rank - 1, step, size)
    frames = frames if window is None else Mul()(frames, window)
    half = True if onesided is None else onesided
    y = transformed(with_axes(frames, [-1]), frames.rank - 1, size, inverse=False, onesided=half)
    y = Mul()(y, size**-0.5) if normalized else y
    *before, frame, frequency, pair = range(y.rank)
    return y.transpose(*before, frequency, frame, pair)


# --- pairs ------------------------------------------------------------------------------------------------------------


@imports("torch", "aten.view_as_complex.default", "complex aten.view_as_real.default")
@imports("torch", "complex aten.resolve_conj.default", "complex aten.clone.default", "complex aten.contiguous.default")
def same_pair_from_torch(call, x, *_):
    return x


@imports("torch", "aten.complex.default")
def pair_from_torch(call, real, imaginary):
    return stacked(call, [real, imaginary], -1)


@imports("torch", "complex aten.real.default")
def real_part_from_torch(call, x):
    return parts(x)[0]


@imports("torch", "complex aten.imag.default")
def imaginary_part_from_torch(call, x):
    return parts(x)[1]


@imports("torch", "complex aten.abs.default")
def magnitude_from_torch(call, x):
    return Hypot()(*parts(x))


@imports("torch", "complex aten.angle.default")
def angle_from_torch(call, x):
    real, imaginary = parts(x)
    return Atan2()(imaginary, real)


@imports("torch", "complex aten.conj.default", "complex aten._conj.default", "complex aten.conj_physical.default",
         "complex aten._conj_physical.default")
def conjugate_from_torch(call, x):
    real, imaginary = parts(x)
    return stacked(call, [real, Neg()(imaginary)], -1)


@imports("torch", "complex aten.mul.Tensor")
def complex_product_from_torch(call, x, y):
    if not isinstance(y, Value):
        return Mul()(x, y)
    (a, b), (c, d) = parts(x), parts(y)
    return stacked(call, [Sub()(Mul()(a, c), Mul()(b, d)), Add()(Mul()(a, d), Mul()(b, c))], -1)


@imports("torch", "complex aten.permute.default")
def permuted_from_torch(call, x, dims):
    return x.transpose(*(d % (x.rank - 1) for d in dims), x.rank - 1)


@imports("torch", "complex aten.transpose.int")
def swapped_from_torch(call, x, first, second):
    order = list(range(x.rank))
    first, second = first % (x.rank - 1), second % (x.rank - 1)
    order[first], order[second] = second, first
    return x.transpose(*order)


# --- transforms of core ATen ------------------------------------------------------------------------------------------

NOTHING, BY_ROOT, BY_COUNT = 0, 1, 2  # what the results of core ATen's transforms are divided by


def _divided(y: Value, mode: int, count: Dim, inverse: bool) -> Value:
    """`y`, of which an inverse is divided by the count already."""
    power = {NOTHING: 0.0, BY_ROOT: -0.5, BY_COUNT: -1.0}[mode] + (1.0 if inverse else 0.0)
    if power and not isinstance(count, int):
        raise Refused("a scaled Fourier transform of an open length", why="it is scaled by a constant")
    return Mul()(y, float(count) ** power) if power else y  # type: ignore[arg-type]


def _along(x: Value, axes: Sequence[int], mode: int, inverse: bool) -> Value:
    for axis in axes:
        x = _divided(transformed(x, axis, None, inverse=inverse, onesided=False), mode, x.shape[axis], inverse)
    return x


@imports("torch", "aten._fft_r2c.default")
def core_real_dft_from_torch(call, x, axes, mode, onesided):
    """The last axis first, of which half may be kept."""
    *axes, last = (a % x.rank for a in axes)
    y = transformed(with_axes(x, [-1]), last, x.shape[last], inverse=False, onesided=onesided)
    return _along(_divided(y, mode, x.shape[last], False), axes, mode, False)


@imports("torch", "complex aten._fft_c2r.default")
def core_inverse_real_dft_from_torch(call, x, axes, mode, size):
    *axes, last = (a % (x.rank - 1) for a in axes)
    y = transformed(_along(x, axes, mode, True), last, size, inverse=True, onesided=True)
    return _divided(parts(y)[0], mode, size, True)


@imports("torch", "complex aten._fft_c2c.default")
def core_dft_from_torch(call, x, axes, mode, forward):
    return _along(x, [a % (x.rank - 1) for a in axes], mode, not forward)
