"""DCGAN generator: a dense layer reshaped to an image, then transposed convolutions.

Radford, Metz and Chintala 2015 (arXiv 1511.06434), in the form of the Keras and PyTorch tutorials. Stresses
Dense -> batch norm -> leaky ReLU -> Reshape, where the order of features changes between the layouts before they are
an image, transposed convolutions 'same' with stride 2, and no biases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "dcgan_generator"
SHAPES = {"latent": (32,)}
FULLY_CONVOLUTIONAL = False
SIZE_MULTIPLE = 1
SAME_NUMBERS = True


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    latent = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["latent"]
    x = layers.Dense(4 * 4 * 32, use_bias=False, name="project")(latent)
    x = layers.BatchNormalization(name="project_norm")(x)
    x = layers.LeakyReLU(negative_slope=0.2, name="project_leaky")(x)
    x = layers.Reshape((4, 4, 32), name="to_image")(x)
    for name, channels in (("up1", 16), ("up2", 8)):
        x = layers.Conv2DTranspose(channels, 4, strides=2, padding="same", use_bias=False, name=f"{name}_conv")(x)
        x = layers.BatchNormalization(name=f"{name}_norm")(x)
        x = layers.LeakyReLU(negative_slope=0.2, name=f"{name}_leaky")(x)
    x = layers.Conv2DTranspose(3, 4, strides=2, padding="same", use_bias=False, activation="tanh", name="paint")(x)
    return randomise(keras.Model(latent, x, name=NAME), seed=0)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from collections import OrderedDict

    from torch import nn

    def up(inputs: int, outputs: int) -> Module:
        return nn.Sequential(
            OrderedDict(
                conv=nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False),
                norm=nn.BatchNorm2d(outputs, eps=1e-3),
                leaky=nn.LeakyReLU(0.2, inplace=True),
            )
        )

    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.project = nn.Linear(32, 32 * 4 * 4, bias=False)
            self.project_norm = nn.BatchNorm1d(32 * 4 * 4, eps=1e-3)
            self.project_leaky = nn.LeakyReLU(0.2, inplace=True)
            self.up1 = up(32, 16)
            self.up2 = up(16, 8)
            self.paint = nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1, bias=False)

        def forward(self, latent: Tensor) -> Tensor:
            x = self.project_leaky(self.project_norm(self.project(latent)))
            x = x.view(-1, 32, 4, 4)
            return self.paint(self.up2(self.up1(x))).tanh()

    return randomise(Generator(), seed=0).eval()
