"""An image and a list of attributes in; a box, a label and a mask out.

After FiLM (Perez et al. 2017, arXiv 1709.07871): the attributes scale and shift the image's channels. Stresses several
inputs and outputs of different ranks, outputs by name (a dict, in alphabetical order, which is how Keras flattens it),
broadcasting of one value per channel, a depthwise convolution with two outputs per channel, global max pooling, and
the slope 0.2 of the function `keras.activations.leaky_relu`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "multi_input_output"
SHAPES = {"image": (3, 24, 24), "attributes": (6,)}
FULLY_CONVOLUTIONAL = True
SIZE_MULTIPLE = 1
SAME_NUMBERS = True

GAIN = 1.0


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    inputs = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)
    x = layers.Conv2D(8, 3, padding="same", activation=keras.activations.leaky_relu, name="stem")(inputs["image"])
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", name="spread")(x)
    x = layers.BatchNormalization(name="norm")(x)
    scale = layers.Dense(16, name="scale")(inputs["attributes"])
    shift = layers.Dense(16, name="shift")(inputs["attributes"])
    x = layers.Multiply(name="modulate")([x, layers.Reshape((1, 1, 16), name="scale_as_image")(scale)])
    x = layers.Add(name="move")([x, layers.Reshape((1, 1, 16), name="shift_as_image")(shift)])
    x = layers.LeakyReLU(negative_slope=0.15, name="leaky")(x)
    joined = layers.Concatenate(name="join")([layers.GlobalMaxPooling2D(name="pool")(x), inputs["attributes"]])
    outputs = {
        "box": layers.Dense(4, name="box")(joined),
        "label": layers.Dense(5, activation="softmax", name="label")(joined),
        "mask": layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x),
    }
    return randomise(keras.Model(list(inputs.values()), outputs, name=NAME), seed=0, gain=GAIN)


def torch_model() -> Module:
    """Return the PyTorch form."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 8, 3, padding=1)
            self.spread = nn.Conv2d(8, 16, 3, padding=1, groups=8)
            self.norm = nn.BatchNorm2d(16, eps=1e-3)
            self.scale = nn.Linear(6, 16)
            self.shift = nn.Linear(6, 16)
            self.box = nn.Linear(16 + 6, 4)
            self.label = nn.Linear(16 + 6, 5)
            self.mask = nn.Conv2d(16, 1, 1)

        def forward(self, image: Tensor, attributes: Tensor) -> dict[str, Tensor]:
            x = self.norm(self.spread(F.leaky_relu(self.stem(image), 0.2)))
            x = x * self.scale(attributes)[:, :, None, None] + self.shift(attributes)[:, :, None, None]
            x = F.leaky_relu(x, 0.15)
            joined = torch.cat([torch.amax(x, dim=(2, 3)), attributes], dim=1)
            return {
                "box": self.box(joined),
                "label": F.softmax(self.label(joined), dim=1),
                "mask": torch.sigmoid(self.mask(x)),
            }

    return randomise(Network(), seed=0, gain=GAIN).eval()
