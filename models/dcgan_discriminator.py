"""DCGAN discriminator: strided convolutions with leaky ReLU down to one probability.

Radford, Metz and Chintala 2015 (arXiv 1511.06434). Stresses stride 2 with 'same' and an even kernel, the slope 0.2
that hides in Keras' `Activation("leaky_relu")`, dropout, and Flatten before a dense layer with dropout between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch.nn import Module

NAME = "dcgan_discriminator"
SHAPES = {"image": (3, 32, 32)}
FULLY_CONVOLUTIONAL = False
SIZE_MULTIPLE = 1
SAME_NUMBERS = True


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    image = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["image"]
    x = layers.Conv2D(8, 4, strides=2, padding="same", name="down1_conv")(image)
    x = layers.Activation("leaky_relu", name="down1_leaky")(x)
    for name, channels in (("down2", 16), ("down3", 32)):
        x = layers.Conv2D(channels, 4, strides=2, padding="same", use_bias=False, name=f"{name}_conv")(x)
        x = layers.BatchNormalization(name=f"{name}_norm")(x)
        x = layers.Activation("leaky_relu", name=f"{name}_leaky")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    x = layers.Dense(1, activation="sigmoid", name="judge")(x)
    return randomise(keras.Model(image, x, name=NAME), seed=0)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from collections import OrderedDict

    from torch import nn

    def down(inputs: int, outputs: int) -> Module:
        return nn.Sequential(
            OrderedDict(
                conv=nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
                norm=nn.BatchNorm2d(outputs, eps=1e-3),
                leaky=nn.LeakyReLU(0.2, inplace=True),
            )
        )

    model = nn.Sequential(
        OrderedDict(
            down1_conv=nn.Conv2d(3, 8, 4, stride=2, padding=1),
            down1_leaky=nn.LeakyReLU(0.2, inplace=True),
            down2=down(8, 16),
            down3=down(16, 32),
            flatten=nn.Flatten(),
            dropout=nn.Dropout(0.3),
            judge=nn.Linear(32 * 4 * 4, 1),
            sigmoid=nn.Sigmoid(),
        )
    )
    return randomise(model, seed=0).eval()
