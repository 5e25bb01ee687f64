"""Fourier transforms, and the windows and mel filters that stand before and behind them.

| meaning     | keras                                  | torch                      | onnx                              |
|-------------|----------------------------------------|----------------------------|-----------------------------------|
| DFT         | ops.fft, fft2, ifft2, rfft, irfft      | fft.fft, ifft, rfft, irfft | DFT since 17                      |
| frames      | ops.stft, centred unless told otherwise| (complex numbers: not read) | STFT                             |
| windows     | ops.stft by name                       | torch makes them at once   | HannWindow, HammingWindow, BlackmanWindow |
| mel filters |                                        |                            | MelWeightMatrix                   |

Complex numbers are pairs along the last axis, real ones stand alone in it. The inverse divides by the length. One half
of the spectrum of real data tells all of it: length // 2 + 1 entries.
"""

import math
from typing import Any

import numpy as np

from ..errors import Computed, Refused
from ..op import Dim, Op, Operand, Shape, Value, case, exports, imports, op
from .functions import Cos
from .gather import Gather
from .index import selected, sliced
from .join import joined, stacked
from .math import Add, Div, Mul
from .pad import pad
from .precision import IN_32_BITS, exact_in_keras
from .promotion import as_value, floating
from .range import ranged
from .shape import with_axes


@op
class DFT(Op):
    """The discrete Fourier transform along an axis, of data that zeros make `count` entries long, or that is cut.

    onesided: of real data, or inverse to real data, with one half of the spectrum.
    """

    axis: int
    count: Dim
    inverse: bool
    onesided: bool
    tolerance = "sum"

    def infer(self, *inputs: Value | None) -> list[tuple[Shape, Any]]:
        (x,) = inputs
        real = self.onesided and not self.inverse
        if x.shape[-1] != (1 if real else 2) and (self.inverse or x.shape[-1] != 1):
            raise ValueError(f"{self} does not transform {x!r}: its last axis holds a number, or a pair")
        count = self.count // 2 + 1 if real else self.count
        parts = 1 if self.onesided and self.inverse else 2
        return [((*x.shape[: self.axis], count, *x.shape[self.axis + 1 : -1], parts), x.dtype)]

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        x = arrays[0].astype(np.float64)
        x = x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]
        function = {
            (False, False): np.fft.fft, (True, False): np.fft.ifft, (False, True): np.fft.rfft, (True, True): np.fft.irfft,
        }[self.inverse, self.onesided]  # fmt: skip
        with np.errstate(all="ignore"):
            y = function(x, self.count, self.axis)
            pair = (y.real, y.imag) if np.iscomplexobj(y) else (y,)
            return np.stack(pair, -1).astype(arrays[0].dtype)

    def terms(self, *arrays: np.ndarray) -> tuple[int, np.ndarray]:
        """Every entry adds up all data, turned; an awkward length is three transforms of at least twice its size."""
        kept = np.abs(arrays[0].astype(np.float64)).sum(-1, keepdims=True)
        kept = kept.take(range(min(self.count, kept.shape[self.axis])), self.axis)
        total = kept.sum(self.axis, keepdims=True) * (2 if self.onesided else 1) / (self.count if self.inverse else 1)
        return 12 * self.count, np.broadcast_to(total, self.reference(*arrays).shape)


def transformed(x: Value, axis: int, length: Dim | None, *, inverse: bool, onesided: bool) -> Value:
    """The operator; a length that is left out is that of the data, or of the data that one half of a spectrum tells."""
    if length is None:
        length = 2 * (x.shape[axis] - 1) if inverse and onesided else x.shape[axis]
    if inverse and x.shape[-1] == 1:  # real numbers alone, as pairs
        x = pad(x, [(0, 0)] * (x.rank - 1) + [(0, 1)], "constant", 0.0)
    return DFT(axis=axis % x.rank, count=length, inverse=inverse, onesided=onesided)(x)


# --- onnx -------------------------------------------------------------------------------------------------------------


@imports("onnx", "DFT", since=17)
def dft_from_onnx_17(node, x, length=None):
    return _dft_from_onnx(node, x, length, node.axis)


@imports("onnx", "DFT", since=20)
def dft_from_onnx(node, x, length=None, axis=None):
    return _dft_from_onnx(node, x, length, -2 if axis is None else node.sizes(axis)[0])


def _dft_from_onnx(node: Any, x: Value, length: Value | None, axis: int) -> Value:
    """Of a pair a half is cut off after the transform: only real data has a half that tells all."""
    size, axis = None if length is None else node.sizes(length)[0], axis % x.rank
    inverse, onesided = bool(node.inverse), bool(node.onesided)
    if axis == x.rank - 1:
        raise Refused("a DFT along the last axis", why="that holds the pairs of complex numbers")
    if onesided and not inverse and x.shape[-1] == 2:
        y = transformed(x, axis, size, inverse=False, onesided=False)
        return sliced(y, {axis: slice(0, y.shape[axis] // 2 + 1)})
    return transformed(x, axis, size, inverse=inverse, onesided=onesided)


@exports("onnx", DFT)
def dft_to_onnx(op, onnx, x):
    """onnxruntime takes no half back: the other half is its mirror image, each number conjugate.

    It divides an inverse in float32; in float64 that is a transform of conjugates, as often conjugate and divided.
    """
    axis, inverse = op.axis, op.inverse and op.onesided
    length = onnx.Reshape(onnx.size(op.count), np.zeros(0, np.int64))
    if inverse:
        x = onnx.composed(lambda x: (_whole_spectrum(x, axis, op.count),))[0]
    exactly = op.inverse and onnx.inputs[0].dtype == np.float64
    settings = {"inverse": int(op.inverse and not exactly), "onesided": int(op.onesided and not op.inverse)}
    conjugate = np.array([1.0, -1.0])
    x = onnx.Mul(x, conjugate) if exactly else x
    if onnx.opset < 20:
        y = onnx.DFT(x, length, axis=axis, **settings)
    else:
        y = onnx.DFT(x, length, np.array(axis, np.int64), **settings)
    if exactly:
        y = onnx.Div(onnx.Mul(y, conjugate), onnx.Cast(onnx.size(op.count), to=onnx.element_type(np.dtype(np.float64))))
    last = np.array([onnx.inputs[0].rank - 1], np.int64)
    return onnx.Slice(y, np.array([0], np.int64), np.array([1], np.int64), last) if inverse else y


def _whole_spectrum(x: Value, axis: int, length: Dim) -> Value:
    if not isinstance(length, int):
        raise Refused(
            "the inverse of one half of a spectrum of an open length", why="its other half has no known place"
        )
    have, half = x.shape[axis], length // 2 + 1
    if not isinstance(have, int):
        raise Refused("one half of a spectrum of an open size", why="its other half has no known place")
    x = pad(x, [(0, half - have) if a == axis else (0, 0) for a in range(x.rank)], "constant", 0.0)
    x = Mul()(x, x.graph.constant(_ends(x.rank, axis, length), x.dtype))
    mirrored = Gather(axis=axis)(x, x.graph.constant(np.arange(length - half, 0, -1)))
    signs = x.graph.constant(np.array([1, -1]).reshape(*(1,) * (x.rank - 1), 2), x.dtype)
    return joined(x, [x, Mul()(mirrored, signs)], axis) if length > half else x


def _ends(rank: int, axis: int, length: int) -> np.ndarray:
    """0 for the imaginary parts that the inverse to real data does not read, 1 for all else."""
    kept = np.ones((length // 2 + 1, 2))
    kept[0, 1] = 0
    if length % 2 == 0:
        kept[-1, 1] = 0
    return kept.reshape(*(kept.shape[0] if a == axis else 1 for a in range(rank - 1)), 2)


# --- torch ------------------------------------------------------------------------------------------------------------


@exports("torch", DFT)
def dft_to_torch(op, torch, x):
    function = getattr(torch.fft, f"{'i' if op.inverse else ''}{'r' if op.onesided else ''}fft")
    x = x[..., 0] if torch.inputs[0].shape[-1] == 1 else torch.view_as_complex(x.contiguous())
    y = function(x, torch.size(op.count), op.axis)
    return y.unsqueeze(-1) if op.inverse and op.onesided else torch.view_as_real(y)


# --- keras ------------------------------------------------------------------------------------------------------------


def paired(call: Any, x: Any) -> Value:
    """Keras' pair of real and imaginary parts as one value."""
    return stacked(call, [floating(call, part) for part in x], -1)


def parts(x: Value) -> tuple[Value, Value]:
    """And back."""
    return selected(x, -1, 0), selected(x, -1, 1)


@imports("keras", "ops.FFT")
def dft_from_keras(call, x):
    return parts(transformed(paired(call, x), -2, None, inverse=False, onesided=False))


@imports("keras", "ops.FFT2", "ops.IFFT2")
def dft_of_two_axes_from_keras(call, x):
    inverse, y = type(call.native).__name__ == "IFFT2", paired(call, x)
    for axis in (y.rank - 2, y.rank - 3):
        y = transformed(y, axis, None, inverse=inverse, onesided=False)
    return parts(y)


@imports("keras", "ops.RFFT")
def real_dft_from_keras(call, x):
    x = with_axes(floating(call, x), [-1])
    return parts(transformed(x, x.rank - 2, call.fft_length, inverse=False, onesided=True))


@imports("keras", "ops.IRFFT")
def inverse_real_dft_from_keras(call, x):
    return selected(transformed(paired(call, x), -2, call.fft_length, inverse=True, onesided=True), -1, 0)


@exports("keras", DFT)
def dft_to_keras(op, keras, x):
    exact_in_keras(keras, "a Fourier transform")
    rank, size = keras.inputs[0].rank, keras.inputs[0].shape[op.axis]
    if not isinstance(op.count, int) or not isinstance(size, int):
        raise keras.refuse(
            "a Fourier transform of an open length", why="Keras takes a fixed one", instead="Fix it with input_shapes"
        )
    order = [a for a in range(rank - 1) if a != op.axis] + [op.axis]
    pair = [keras.ops.transpose(x[..., part], order) for part in range(keras.inputs[0].shape[-1])]
    wanted = op.count // 2 + 1 if op.inverse and op.onesided else op.count
    if wanted > size:
        pair = [keras.ops.pad(p, [(0, 0)] * (rank - 2) + [(0, wanted - size)]) for p in pair]
    pair = [p[..., :wanted] for p in pair] if wanted < size else pair
    if op.onesided:
        made = keras.ops.irfft(tuple(pair), op.count) if op.inverse else keras.ops.rfft(pair[0], op.count)
    else:
        real, imaginary = pair if len(pair) == 2 else (pair[0], keras.ops.zeros_like(pair[0]))
        sign = -1.0 if op.inverse else 1.0  # the inverse is the conjugate of the transform of the conjugate
        made = keras.ops.fft((real, keras.ops.multiply(imaginary, sign)))
        if op.inverse:
            made = [keras.ops.multiply(part, factor / op.count) for part, factor in zip(made, (1.0, -1.0), strict=True)]
    made = list(made) if isinstance(made, tuple | list) else [made]
    back = [order.index(a) for a in range(rank - 1)]
    return keras.ops.stack([keras.ops.transpose(part, back) for part in made], -1)


# --- frames -----------------------------------------------------------------------------------------------------------


def framed(x: Value, axis: int, step: int, length: int) -> Value:
    """Stretches of `length` entries that begin every `step`: their number and their entries take the axis's place."""
    count = (x.shape[axis] - length) // step + 1
    starts = ranged(x.graph, 0, count * step, step, np.int64).reshape(count, 1)
    return Gather(axis=axis)(x, Add()(starts, x.graph.constant(np.arange(length))))


@imports("onnx", "STFT", since=17)
def stft_from_onnx(node, x, step, window=None, length=None):
    """The signal is (batch, length, 1 or 2)."""
    (step,) = node.sizes(step)
    length = node.sizes(length)[0] if length is not None else x.shape[1] if window is None else window.shape[0]
    if not isinstance(length, int):
        raise Refused("frames of an open length", why="their places are constants", hint="Fix it with input_shapes")
    frames = framed(x, 1, step, length)
    if window is not None:
        frames = Mul()(frames, window.reshape(length, 1))
    y = transformed(frames, 2, length, inverse=False, onesided=bool(node.onesided) and x.shape[-1] == 1)
    return sliced(y, {2: slice(0, length // 2 + 1)}) if node.onesided else y


@imports("keras", "ops.STFT")
def stft_from_keras(call, x):
    """Centred: the signal is mirrored at both ends. The window stands in the middle of fft_length zeros."""
    x, wide = floating(call, x), call.fft_length
    if call.center:
        x = pad(x, [(0, 0)] * (x.rank - 1) + [(wide // 2, wide // 2)], "reflect", 0.0)
    window = keras_window(call)
    frames = framed(x, x.rank - 1, call.sequence_stride, wide)
    if window is not None:
        frames = Mul()(frames, x.graph.constant(window, x.dtype))
    y = transformed(with_axes(frames, [-1]), frames.rank - 1, wide, inverse=False, onesided=True)
    return parts(y)


def keras_window(call: Any) -> np.ndarray | None:
    """A window of Keras in the middle of fft_length zeros; None for all ones."""
    size, wide = call.sequence_length, call.fft_length
    if call.window is None and size == wide:
        return None
    window = np.ones(size)
    if isinstance(call.window, str):
        if size % 2:  # tf.signal's windows of odd length are symmetric, those of the other backends periodic
            why, hint = "Keras' backends differ in it", "Pass the window's numbers, or an even length"
            raise Refused(f"a {call.window} window of odd length {size}", why=why, hint=hint)
        window = cosine_window(IN_KERAS[call.window], size, size)
    elif call.window is not None:
        window = as_value(call, call.window).array().astype(np.float64)
    left = (wide - size) // 2
    return np.pad(window, (left, wide - size - left))


# --- windows and filters ----------------------------------------------------------------------------------------------

COEFFICIENTS = {"Hann": (0.5, -0.5), "Hamming": (25 / 46, -21 / 46), "Blackman": (0.42, -0.5, 0.08)}
IN_KERAS = {"hann": COEFFICIENTS["Hann"], "hamming": (0.54, -0.46)}


def cosine_window(coefficients: Any, size: int, period: int) -> np.ndarray:
    """c0 + c1 cos(2 pi i / period) + c2 cos(4 pi i / period) ..."""
    turn = 2 * math.pi * np.arange(size) / period
    return sum(c * np.cos(k * turn) for k, c in enumerate(coefficients))


def _window(name: str) -> None:
    """The importer of a window. Periodic: as long as one period. Symmetric: the last entry ends it."""

    def read(node: Any, size: Value) -> Value:
        (count,) = node.sizes(size)
        coefficients, dtype = COEFFICIENTS[name], node.numpy_dtype(node.output_datatype)
        if isinstance(count, int):
            with np.errstate(all="ignore"):
                made = cosine_window(coefficients, count, count - (not node.periodic))
            return node.graph.constant(made.astype(dtype))
        period = node.graph.of_sizes(count if node.periodic else count - 1).cast(np.float32)
        turn = Div()(Mul()(ranged(node.graph, 0, count, 1, np.float32), 2 * math.pi), period)
        total = node.graph.constant(coefficients[0], np.float32)
        for k, c in enumerate(coefficients[1:], 1):
            total = Add()(Mul()(Cos()(Mul()(turn, float(k)) if k > 1 else turn), c), total)
        return total.cast(dtype)

    read.__name__ = f"{name.lower()}_window_from_onnx"
    imports("onnx", f"{name}Window", since=17)(read)


for _name in COEFFICIENTS:
    _window(_name)


@imports("onnx", "MelWeightMatrix", since=17)
def mel_filters_from_onnx(node, *settings):
    """Triangles whose corners lie evenly on the mel scale; (entries of half a spectrum, filters)."""
    numbers = [v.content() for v in settings]
    if None in numbers:
        raise Computed(
            "mel filters that the network computes", why="they are constants", hint="Make initializers of the settings"
        )
    count, length, rate, low, high = (n[0] if isinstance(n, tuple) else n for n in numbers)
    low, high = (2595 * math.log10(1 + edge / 700) for edge in (low, high))
    mels = low + np.arange(count + 2) * ((high - low) / (count + 2))
    corners = ((length + 1) * (700 * (10 ** (mels / 2595) - 1)) // rate).astype(int)
    entries = np.arange(length // 2 + 1)[:, None]
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    with np.errstate(all="ignore"):
        rising = np.where(entries >= left, (entries - left) / (centre - left), 0)
        falling = np.where(entries < right, (right - entries) / (right - centre), 0)
    filters = np.where(entries < centre, rising, falling)
    filters = np.where((entries == centre) & (right <= centre), 1.0, filters)
    return node.graph.constant(filters.astype(node.numpy_dtype(node.output_datatype)))


# --- cases ------------------------------------------------------------------------------------------------------------

_PARTS = "comes back with the parts of its numbers apart"


def _dft(name: str, shape: Any, axis: int, count: int, *, inverse: bool = False, onesided: bool = False,
         dtype: str = "float32", onnx: bool = True, refused: Any = None) -> None:  # fmt: skip
    made = DFT(axis=axis, count=count, inverse=inverse, onesided=onesided)
    composed = {"keras": _PARTS} | ({} if onnx else {"onnx": "the inverse of the whole spectrum, or of conjugates"})
    case(f"dft/{name}", made, Operand(shape, dtype=dtype), composed=composed, refused=refused)


_dft("complex", (2, 6, 3, 2), 1, 6)
_dft("real", (2, 3, 7, 1), 2, 7)
_dft("longer", (2, 5, 2), 1, 8)
_dft("shorter", (2, 3, 6, 2), 2, 4)
_dft("inverse", (2, 5, 3, 2), 1, 5, inverse=True)
_dft("half", (2, 8, 3, 1), 1, 8, onesided=True)
_dft("half_odd_longer", (2, 3, 6, 1), 2, 9, onesided=True)
_dft("inverse_half", (2, 5, 3, 2), 1, 8, inverse=True, onesided=True, onnx=False)
_dft("inverse_half_odd", (2, 3, 4, 2), 2, 7, inverse=True, onesided=True, onnx=False)
_dft("inverse_half_shorter", (2, 6, 2), 1, 5, inverse=True, onesided=True, onnx=False)
_dft("float64", (2, 6, 2), 1, 6, dtype="float64", refused=IN_32_BITS)
_dft("inverse_float64", (2, 7, 2), 1, 7, inverse=True, onnx=False, dtype="float64", refused=IN_32_BITS)
_dft("inverse_half_float64", (2, 6, 2), 1, 10, inverse=True, onesided=True, onnx=False, dtype="float64", refused=IN_32_BITS)
