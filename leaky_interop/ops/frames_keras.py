"""Sequences cut into frames, and put together again: keras.ops.extract_sequences and istft.

The inverse adds overlapping frames up and divides by what the squared windows add up to. Where Keras on torch calls torch's
own inverse (a centred one, with a window of fft_length) that is the sum over the frames that there are, otherwise the sum
over endlessly many: the two differ at both ends.
"""

from typing import Any

import numpy as np

from ..errors import Refused
from ..op import Value, imports
from .expand import expanded
from .fourier import framed, keras_window, paired, transformed
from .index import selected, sliced
from .math import Add, Div, Mul
from .pad import pad


@imports("keras", "ops.ExtractSequences")
def frames_from_keras(call, x):
    return framed(x, x.rank - 1, call.sequence_stride, call.sequence_length)


@imports("keras", "ops.ISTFT")
def istft_from_keras(call, x):
    spectrum, step, wide = paired(call, x), call.sequence_stride, call.fft_length
    frames = selected(transformed(spectrum, spectrum.rank - 2, wide, inverse=True, onesided=True), -1, 0)
    window = None if call.window is None else keras_window(call)
    by_torch = call.backend == "torch" and call.sequence_length == wide and call.center is True and window is not None
    if window is not None:
        squares = frames.graph.constant(window**2, frames.dtype)
        if not by_torch:
            with np.errstate(invalid="ignore"):  # where all windows are 0, TensorFlow's inverse is 0, the others' NaN
                window = window / endless(window**2, step)
            window = np.nan_to_num(window) if call.backend == "tensorflow" else window
        frames = Mul()(frames, frames.graph.constant(window, frames.dtype))
    total = added_up(frames, step)
    start = wide // 2 if call.center else 0
    end = (
        start + call.length
        if call.length is not None
        else total.shape[-1] - wide // 2
        if call.center
        else total.shape[-1]
    )
    if by_torch:
        sums = added_up(expanded(squares, frames.shape[-2:]), step)
        return divided(call, sliced(total, {-1: slice(start, end)}), sliced(sums, {-1: slice(start, end)}), end - start)
    return sliced(total, {-1: slice(start, end)})


def divided(call: Any, total: Value, sums: Value, length: Any) -> Value:
    """What torch makes of the sums: nothing where windows leave a hole, zeros behind the last frame."""
    if sums.is_constant and np.any(np.abs(sums.array()) < 1e-11):
        raise Refused("windows that leave holes", why="torch's inverse refuses them", hint="Use a shorter stride")
    y = Div()(total, sums)
    if call.length is None:
        return y
    if not isinstance(y.shape[-1], int):
        raise Refused(
            "an inverse of fixed length of open many frames", why="zeros may follow", hint="Fix it with input_shapes"
        )
    return pad(y, [(0, 0)] * (y.rank - 1) + [(0, length - y.shape[-1])], "constant", 0.0)


def endless(squares: np.ndarray, step: int) -> np.ndarray:
    """What squared windows add up to at each place, were there frames on all sides."""
    count = -(-len(squares) // step)
    padded = np.pad(squares, (0, count * step - len(squares))).reshape(count, step)
    return np.tile(padded.sum(0), count)[: len(squares)]


def added_up(frames: Value, step: int) -> Value:
    """The sum of frames (..., number, length) that begin every `step` places."""
    number, length = frames.shape[-2:]
    parts, none = -(-length // step), [(0, 0)] * (frames.rank - 2)
    frames = pad(frames, [*none, (0, 0), (0, parts * step - length)], "constant", 0.0)
    split = frames.reshape(*frames.shape[:-1], parts, step)
    total = None
    for part in range(parts):
        moved = pad(selected(split, -2, part), [*none, (part, parts - 1 - part), (0, 0)], "constant", 0.0)
        total = moved if total is None else Add()(total, moved)
    assert total is not None
    whole = total.reshape(*total.shape[:-2], total.shape[-2] * step)
    return sliced(whole, {-1: slice(0, (number - 1) * step + length)})
