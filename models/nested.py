"""A model in a model in a model: a Sequential in a functional model in a functional model.

No paper: the way in which larger Keras programs are put together. Stresses nesting two levels deep, a Sequential
without an Input, a nested model called twice in a row (its weights must stay one set), names that repeat at different
levels, PReLU with a single slope for everything, and PyTorch's in-place aliasing where it counts: `F.leaky_relu_` also
changes the tensor that the residual addition reads afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "nested"
SHAPES = {"image": (3, 24, 24)}
FULLY_CONVOLUTIONAL = True
SIZE_MULTIPLE = 2
SAME_NUMBERS = True


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    stem = keras.Sequential(
        [
            layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.MaxPooling2D(2, name="pool"),
        ],
        name="stem",
    )
    features = keras.Input((None, None, 3), name="picture")
    x = layers.LeakyReLU(negative_slope=0.25, name="leaky")(stem(features))
    y = layers.Conv2D(8, 3, padding="same", name="conv")(x)
    y = layers.PReLU(shared_axes=[1, 2, 3], name="prelu")(y)
    encoder = keras.Model(features, layers.Add(name="add")([x, y]), name="encoder")

    refine = keras.Sequential(
        [
            keras.Input((None, None, 8), name="features"),
            layers.Conv2D(8, 3, padding="same", name="conv"),
            layers.LeakyReLU(negative_slope=0.4, name="leaky"),
        ],
        name="refine",
    )
    image = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["image"]
    x = refine(refine(encoder(image)))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(6, name="scores")(x)
    return randomise(keras.Model(image, x, name=NAME), seed=0)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from collections import OrderedDict

    from torch import nn
    from torch.nn import functional as F

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(
                OrderedDict(
                    conv=nn.Conv2d(3, 8, 3, padding=1, bias=False),
                    norm=nn.BatchNorm2d(8, eps=1e-3),
                    pool=nn.MaxPool2d(2),
                )
            )
            self.conv = nn.Conv2d(8, 8, 3, padding=1)
            self.prelu = nn.PReLU()

        def forward(self, picture: Tensor) -> Tensor:
            x = self.stem(picture)
            y = self.prelu(self.conv(F.leaky_relu_(x, 0.25)))
            return x + y

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = Encoder()
            self.refine = nn.Sequential(OrderedDict(conv=nn.Conv2d(8, 8, 3, padding=1), leaky=nn.LeakyReLU(0.4)))
            self.scores = nn.Linear(8, 6)

        def forward(self, image: Tensor) -> Tensor:
            x = self.refine(self.refine(self.encoder(image)))
            return self.scores(x.mean(dim=(2, 3)))

    return randomise(Network(), seed=0).eval()
