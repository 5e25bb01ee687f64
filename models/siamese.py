"""Siamese network: one branch embeds two images, their distance says whether they show the same.

Koch, Zemel and Salakhutdinov 2015 (Siamese neural networks for one-shot image recognition). Stresses shared layers
(a nested model called twice, whose weights must stay one set), two inputs of one shape that must not be exchanged, and
subtraction and absolute value between layers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "siamese"
SHAPES = {"left": (1, 20, 20), "right": (1, 20, 20)}
FULLY_CONVOLUTIONAL = False
SIZE_MULTIPLE = 1
SAME_NUMBERS = True


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    image = keras.Input((20, 20, 1), name="image")
    x = layers.Conv2D(8, 5, name="conv1")(image)
    x = layers.LeakyReLU(negative_slope=0.05, name="leaky1")(x)
    x = layers.MaxPooling2D(2, name="pool")(x)
    x = layers.Conv2D(16, 3, name="conv2")(x)
    x = layers.LeakyReLU(negative_slope=0.05, name="leaky2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(24, name="embedding")(x)
    branch = keras.Model(image, x, name="branch")

    inputs = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)
    distance = keras.ops.absolute(branch(inputs["left"]) - branch(inputs["right"]))
    x = layers.Dense(1, activation="sigmoid", name="judge")(distance)
    return randomise(keras.Model(list(inputs.values()), x, name=NAME), seed=0)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from collections import OrderedDict

    import torch
    from torch import nn

    class Siamese(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Sequential(
                OrderedDict(
                    conv1=nn.Conv2d(1, 8, 5),
                    leaky1=nn.LeakyReLU(0.05),
                    pool=nn.MaxPool2d(2),
                    conv2=nn.Conv2d(8, 16, 3),
                    leaky2=nn.LeakyReLU(0.05),
                    flatten=nn.Flatten(),
                    embedding=nn.Linear(16 * 6 * 6, 24),
                )
            )
            self.judge = nn.Linear(24, 1)

        def forward(self, left: Tensor, right: Tensor) -> Tensor:
            distance = torch.abs(self.branch(left) - self.branch(right))
            return torch.sigmoid(self.judge(distance))

    return randomise(Siamese(), seed=0).eval()
