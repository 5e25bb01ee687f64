"""Decoder of a variational autoencoder: from a latent vector to an image.

Kingma and Welling 2013 (arXiv 1312.6114), in the form of the Keras example. Stresses Dense -> Reshape -> transposed
convolutions with an odd kernel and 'same', which crop at the end only, and the slope 0.2 that hides in
`activation="leaky_relu"`. PyTorch's padding=1, output_padding=1 crops at the beginning, so the forms differ by a shift.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "vae_decoder"
SHAPES = {"latent": (8,)}
FULLY_CONVOLUTIONAL = False
SIZE_MULTIPLE = 1
SAME_NUMBERS = False


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    latent = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["latent"]
    x = layers.Dense(7 * 7 * 16, activation="leaky_relu", name="project")(latent)
    x = layers.Reshape((7, 7, 16), name="to_image")(x)
    for name, channels in (("up1", 16), ("up2", 8)):
        x = layers.Conv2DTranspose(channels, 3, strides=2, padding="same", activation="leaky_relu", name=name)(x)
    x = layers.Conv2DTranspose(1, 3, padding="same", activation="sigmoid", name="paint")(x)
    return randomise(keras.Model(latent, x, name=NAME), seed=0)


def torch_model() -> Module:
    """Return the PyTorch form."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 16 * 7 * 7)
            self.up1 = nn.ConvTranspose2d(16, 16, 3, stride=2, padding=1, output_padding=1)
            self.up2 = nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1)
            self.paint = nn.ConvTranspose2d(8, 1, 3, padding=1)

        def forward(self, latent: Tensor) -> Tensor:
            x = F.leaky_relu(self.fc(latent), negative_slope=0.2)
            x = x.reshape(x.shape[0], 16, 7, 7)
            x = F.leaky_relu(self.up1(x), negative_slope=0.2)
            x = F.leaky_relu(self.up2(x), negative_slope=0.2)
            return torch.sigmoid(self.paint(x))

    return randomise(Decoder(), seed=0).eval()
