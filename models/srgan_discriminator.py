"""SRGAN discriminator: pairs of convolutions, the second of each with stride 2, then two dense layers.

Ledig et al. 2016 (arXiv 1609.04802). Stresses a layer instance as another layer's activation
(`activation=LeakyReLU(...)`), 'same' with stride 2 and an odd kernel, whose pads are uneven, and two dense layers
after Flatten. PyTorch's padding=1 puts the single pad on the other side, so the forms differ at the borders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch.nn import Module

NAME = "srgan_discriminator"
SHAPES = {"image": (3, 32, 32)}
FULLY_CONVOLUTIONAL = False
SIZE_MULTIPLE = 1
SAME_NUMBERS = False

STAGES = ((8, 2), (16, 1), (16, 2), (32, 1), (32, 2))


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    image = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["image"]
    x = layers.Conv2D(
        8, 3, padding="same", activation=layers.LeakyReLU(negative_slope=0.2, name="stem_leaky"), name="stem"
    )(image)
    for index, (width, stride) in enumerate(STAGES):
        x = layers.Conv2D(width, 3, strides=stride, padding="same", name=f"stage{index}_conv")(x)
        x = layers.BatchNormalization(momentum=0.8, name=f"stage{index}_norm")(x)
        x = layers.LeakyReLU(negative_slope=0.2, name=f"stage{index}_leaky")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(32, activation=layers.LeakyReLU(negative_slope=0.2, name="hidden_leaky"), name="hidden")(x)
    x = layers.Dense(1, activation="sigmoid", name="judge")(x)
    return randomise(keras.Model(image, x, name=NAME), seed=0)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from torch import nn

    parts = [nn.Conv2d(3, 8, 3, padding=1), nn.LeakyReLU(0.2, inplace=True)]
    inputs = 8
    for width, stride in STAGES:
        parts += [nn.Conv2d(inputs, width, 3, stride, 1), nn.BatchNorm2d(width), nn.LeakyReLU(0.2, inplace=True)]
        inputs = width
    parts += [nn.Flatten(), nn.Linear(32 * 4 * 4, 32), nn.LeakyReLU(0.2, inplace=True), nn.Linear(32, 1), nn.Sigmoid()]
    return randomise(nn.Sequential(*parts), seed=0).eval()
