"""Whole networks, one file each, written by hand in Keras 3 and in PyTorch: what a converter has to survive.

Every network module offers the names of `Network` below. Frameworks are imported inside the functions, so listing the
networks imports none of them. `all()` yields every network, `get(name)` one; `models/README.md` lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from keras import Model
    from torch.nn import Module

NAMES = (
    "matlab_cnn",
    "digits",
    "dcgan_generator",
    "dcgan_discriminator",
    "pix2pix_generator",
    "cyclegan_generator",
    "srgan_generator",
    "srgan_discriminator",
    "esrgan_generator",
    "tiny_yolov3",
    "darknet53",
    "resnet",
    "mobilenet_v2",
    "vae_decoder",
    "audio_cnn",
    "voxnet",
    "siamese",
    "multi_input_output",
    "nested",
)


class Network(Protocol):
    """A network module: what it is called, the inputs it takes and its two forms."""

    __doc__: str | None
    """What the network is (the first line), where it comes from, what it stresses."""

    NAME: str
    """The module's own name."""

    SHAPES: dict[str, tuple[int, ...]]
    """Input name -> shape in the PyTorch form: channels-first, without the batch; `keras_inputs` derives Keras'."""

    FULLY_CONVOLUTIONAL: bool
    """Whether inputs of other heights and widths (lengths, depths) go through the network."""

    SIZE_MULTIPLE: int
    """Sizes of a fully convolutional network must be multiples of this (a U-Net's skips meet only then)."""

    SAME_NUMBERS: bool
    """Whether both forms compute the same numbers, at the sizes of SHAPES, after `models.pairing.copy_weights`."""

    def keras_model(self, *, dynamic: bool = False) -> Model:
        """Return the Keras form, channels-last, with seeded random weights.

        `dynamic=True` leaves height and width open (None) where the network is fully convolutional, and changes
        nothing where it is not.
        """
        ...

    def torch_model(self) -> Module:
        """Return the PyTorch form, channels-first, with seeded random weights of its own, in evaluation mode."""
        ...


def get(name: str) -> Network:
    """Return the network called `name`."""
    if name not in NAMES:
        raise KeyError(f"There is no network {name!r}; there are {', '.join(NAMES)}.")
    return cast(Network, import_module(f"models.{name}"))


def all() -> Iterator[Network]:
    """Yield every network, the simplest first."""
    return map(get, NAMES)
