"""The networks that are measured: small ones of `models/`, and ones whose weights pass 10 MB.

Frameworks are imported by the functions that build, so that an environment without one can use the rest.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

import models
from models.inputs import channels_last, example
from models.seeding import randomise


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network in the forms it is measured in; None where it has no such form."""

    NAME: str
    SHAPES: dict[str, tuple[int, ...]]  # channels-first, without the batch, as in `models.Network`
    keras_model: Callable[[], Any] | None
    torch_model: Callable[[], Any] | None


def application(name: str, gain: float, size: int | None = None) -> Any:
    """A network of `keras.applications`; `gain` keeps its softmax apart and off its ends, so that errors show.

    size: of its pictures, instead of the usual one.
    """
    import keras

    shape = {} if size is None else {"input_shape": (size, size, 3)}
    return randomise(getattr(keras.applications, name)(weights=None, **shape), seed=0, gain=gain)


def _application(name: str, gain: float) -> Callable[[], Any]:
    return lambda: application(name, gain)


def _torch_resnet50() -> Any:
    from benchmarks.resnet50 import ResNet50

    return randomise(ResNet50(), seed=0, gain=1.0).eval()


def _family(module: str, function: str) -> Callable[[], Any]:
    """A network of the test suite's PyTorch families, at its published widths and with seeded fresh weights."""

    def build() -> Any:
        import torch

        torch.manual_seed(0)
        return getattr(importlib.import_module(f"tests.torch_families.{module}"), function)().eval()

    return build


def _tagger() -> Any:
    from torch import nn

    class Tagger(nn.Module):
        """A recurrent network with a label for each step."""

        def __init__(self) -> None:
            super().__init__()
            self.cells, self.head = nn.LSTM(16, 32, 2, batch_first=True, bidirectional=True), nn.Linear(64, 9)

        def forward(self, x: Any) -> Any:
            return self.head(self.cells(x)[0])

    return Tagger().eval()


def _encoder() -> Any:
    from torch import nn

    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()


def _of_the_tests(name: str) -> Subject | None:
    """A PyTorch family of the test suite, as small as it stands there."""
    from tests.torch_families import all_families

    found = next((family for family in all_families() if family.name == name), None)
    return found and Subject(name, {f"x{i}": shape for i, shape in enumerate(found.shapes)}, None, found.model)


def _one_layer_keras() -> Any:
    import keras

    image = keras.Input((8, 8, 3))
    return keras.Model(image, keras.layers.Conv2D(4, 3)(image))


def _one_layer_torch() -> Any:
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 4, 3)).eval()


ONE_LAYER = Subject("one_layer", {"image": (3, 8, 8)}, _one_layer_keras, _one_layer_torch)  # only to warm up with
SMALL = ("dcgan_discriminator", "dcgan_generator", "resnet", "mobilenet_v2", "tiny_yolov3", "pix2pix_generator")
IMAGE = {"image": (3, 224, 224)}
BIG = (
    Subject("MobileNetV2", IMAGE, _application("MobileNetV2", 1.2), None),
    Subject("DenseNet121", IMAGE, _application("DenseNet121", 1.2), _family("dense", "densenet121_full")),
    Subject("ResNet50", IMAGE, _application("ResNet50", 1.0), _torch_resnet50),
    Subject("MobileNetV3-large", IMAGE, None, _family("mobile", "mobilenet_v3_large_full")),
    Subject("Swin-T", IMAGE, None, _family("windows", "swin_tiny_full")),
)
SEQUENCES = (Subject("LSTM tagger", {"x": (12, 16)}, None, _tagger), Subject("Encoder", {"x": (12, 32)}, None, _encoder))
GAIN = 1.2
SIZES = {  # by network of keras.applications, one or more of each family: its usual picture, and the smallest it takes
    **dict.fromkeys(("VGG16", "ResNet50", "ResNet50V2", "DenseNet121", "MobileNet", "MobileNetV2"), (224, 32)),
    **dict.fromkeys(("MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0", "NASNetMobile", "ConvNeXtTiny"), (224, 32)),
    **{"InceptionV3": (299, 75), "InceptionResNetV2": (299, 75), "Xception": (299, 71)},
}
APPLICATIONS = tuple(
    Subject(name, {"image": (3, size, size)}, _application(name, 1.0 if name == "ResNet50" else GAIN), None)
    for name, (size, _) in SIZES.items()
)
NAMES = (*SMALL, *(subject.NAME for subject in BIG))
QUICK = ("dcgan_discriminator", "resnet")


def get(name: str) -> Any:
    """The network called `name`: a `Subject`, a family of the tests, or a module of `models/`, which offers the same."""
    known = next((subject for subject in (*BIG, *SEQUENCES, *APPLICATIONS) if name == subject.NAME), None)
    return known or (models.get(name) if name in models.NAMES else _of_the_tests(name) or models.get(name))


def form(subject: Any, framework: str) -> Any:
    """A new model of the network in a framework."""
    return getattr(subject, f"{framework}_model")()


def arrays(subject: Any, framework: str, batch: int = 1) -> list[np.ndarray]:
    """Seeded inputs in a framework's layout."""
    channels_first = example(subject, batch)
    return [channels_last(a) for a in channels_first] if framework == "keras" else channels_first
