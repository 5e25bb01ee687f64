"""Sounds from strangers: WAV files of whole numbers, read by the standard library after their header was judged."""

from __future__ import annotations

import io
import os
import wave
from pathlib import Path
from typing import IO

import numpy as np

from leaky_interop.errors import UnsafeFile, Usage

from .source import MIB, damaged, opened, size_of

MOST_SOUND = 1024 * MIB


def read_wav(source: str | os.PathLike[str] | bytes, name: str = "") -> tuple[int, np.ndarray]:
    """The sample rate, and the samples from -1 to 1 as float32 [samples, channels].

    Whole numbers of 8, 16, 24 and 32 bits; the most negative one is -1. Raises Usage for another kind of file or one cut
    short, UnsafeFile for one of more than MOST_SOUND.
    """
    if isinstance(source, bytes):
        return _samples(io.BytesIO(source), name or "the sound")
    with opened(source) as handle:
        return _samples(handle, name or Path(source).name)


def _samples(handle: IO[bytes], name: str) -> tuple[int, np.ndarray]:
    if size_of(handle) > MOST_SOUND:
        raise UnsafeFile(
            f"{name} has {size_of(handle) // MIB:,} MiB", why=f"a sound is read up to {MOST_SOUND // MIB} MiB"
        )
    try:
        with wave.open(handle) as sound:
            rate, channels, width, count = (
                sound.getframerate(),
                sound.getnchannels(),
                sound.getsampwidth(),
                sound.getnframes(),
            )
            if count * channels * width > size_of(handle):  # as much would be allocated before it is read
                raise damaged(name, f"its header tells of {count:,} samples")
            raw = sound.readframes(count)
    except (wave.Error, EOFError, RuntimeError) as error:  # the last: a chunk that is said to lie outside
        hint = "Save it as plain WAV of 16-bit numbers"
        raise Usage(f"{name} is no WAV file that is read", why=str(error) or "it is cut short", hint=hint) from None
    if width not in (1, 2, 3, 4) or not rate or len(raw) != count * channels * width:
        raise damaged(name, f"its header tells of {count:,} samples of {8 * width} bits")
    if width == 1:  # the one width without a sign
        whole = np.frombuffer(raw, np.uint8).astype(np.int32) - 128
    elif width == 3:
        padded = np.zeros((len(raw) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        whole = padded.view("<i4")[:, 0] >> 8
    else:
        whole = np.frombuffer(raw, f"<i{width}")
    return rate, (whole / np.float64(1 << (8 * width - 1))).astype(np.float32).reshape(-1, channels)
