"""What is done to a sound before a network of samples sees it: nothing that changes how it sounds.

A rate that is not the stated one is an error, since resampling is a choice of filter; a stereo sound for a network of one
channel is the mean of its channels.
"""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any, Literal

import numpy as np

from ..errors import Usage
from .ports import Port

FITS = ("exact", "pad", "cut")


@dataclasses.dataclass(frozen=True)
class Samples:
    """How an input holds sounds."""

    length: int | None
    channels: int
    axis: int | None  # of the channels; None where there is no such axis


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sound:
    """A recipe. fit: what is shorter or longer than the network takes is refused ("exact"), the shorter followed by silence
    ("pad"), or that and the longer ended early ("cut")."""

    sample_rate: int  # of a second
    fit: Literal["exact", "pad", "cut"] = "exact"
    channels: Literal["first", "last"] | None = None  # None: found from the network

    def __post_init__(self) -> None:
        rate = self.sample_rate
        if not isinstance(rate, int) or isinstance(rate, bool) or rate < 1:
            raise Usage(f"preprocessing: sample_rate is {rate!r}", why="it is how many samples a second has")
        if self.fit not in FITS or self.channels not in ("first", "last", None):
            raise Usage("preprocessing: a sound has a fit (exact, pad or cut) and channels (first or last)")

    def fitted(self, port: Port) -> tuple[Sound, Samples]:
        """The recipe, and how the network holds sounds. Raises Usage where its shape does not say."""
        if port.dtype.kind not in "fV":
            raise Usage(f"{port} takes no sounds", why="samples are fractions from -1 to 1")
        if len(port.shape) == 2:
            return self, Samples(port.shape[1], 1, None)
        axes = [a for a in (1, 2) if len(port.shape) == 3 and port.shape[a] in (1, 2)]
        axes = [a for a in axes if self.channels in (None, "first" if a == 1 else "last")]
        if not axes:
            raise Usage(
                f"{port} takes no sounds", why="they are [batch, samples], with one axis more for 1 or 2 channels"
            )
        if len(axes) > 1:
            hint = 'State channels = "first" or "last" in the preprocessing'
            raise Usage(f"{port} does not say its layout", why="its channels may be first or last", hint=hint)
        count = port.shape[axes[0]]
        assert count is not None
        return self, Samples(port.shape[3 - axes[0]], count, axes[0])

    def sample(self, sound: Any, name: str, shape: Samples, kind: np.dtype) -> np.ndarray:
        """A WAV file, or its bytes, as the network takes it, without the batch axis."""
        from .. import files

        if not isinstance(sound, str | os.PathLike | bytes):
            raise Usage(
                "the network takes sounds", why=f"a {type(sound).__name__} is given", hint="Pass WAV files, or arrays"
            )
        rate, samples = files.read_wav(sound, name)
        name = name or "the sound"
        if rate != self.sample_rate:
            raise Usage(
                f"{name} has {rate} samples a second", why=f"the network takes {self.sample_rate}", hint="Resample it"
            )
        if shape.channels == 1 and samples.shape[1] > 1:
            samples = samples.mean(axis=1, keepdims=True)
        if samples.shape[1] != shape.channels:
            raise Usage(f"{name} has {samples.shape[1]} channels", why=f"the network takes {shape.channels}")
        length = shape.length or len(samples)
        if (len(samples) < length and self.fit == "exact") or (len(samples) > length and self.fit != "cut"):
            hint = 'State fit = "pad" or "cut" in the preprocessing'
            raise Usage(f"{name} has {len(samples)} samples", why=f"the network takes {length}", hint=hint)
        made = np.zeros((length, shape.channels), kind)
        made[: len(samples)] = samples[:length]
        return made[:, 0] if shape.axis is None else np.ascontiguousarray(made.T) if shape.axis == 1 else made

    def to_json(self) -> str:
        """What the metadata holds."""
        return json.dumps({name: value for name, value in dataclasses.asdict(self).items() if value is not None})
