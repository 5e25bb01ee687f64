"""MATLAB's eleven-layer image classifier with leaky ReLU.

Source: the example of MATLAB's `leakyReluLayer` page (its eleventh layer only holds the training loss). Stresses the
slope 0.01 written out in Keras and left to the default in PyTorch, an epsilon that is not Keras' own, and Flatten
before a dense layer, which sees the features in another order in the two layouts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch.nn import Module

NAME = "matlab_cnn"
SHAPES = {"image": (1, 28, 28)}
FULLY_CONVOLUTIONAL = False
SIZE_MULTIPLE = 1
SAME_NUMBERS = True


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    image = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["image"]
    x = layers.Conv2D(16, 3, name="conv1")(image)
    x = layers.BatchNormalization(epsilon=1e-5, name="norm1")(x)
    x = layers.LeakyReLU(negative_slope=0.01, name="leaky1")(x)
    x = layers.MaxPooling2D(2, strides=2, name="pool")(x)
    x = layers.Conv2D(32, 3, name="conv2")(x)
    x = layers.BatchNormalization(epsilon=1e-5, name="norm2")(x)
    x = layers.LeakyReLU(negative_slope=0.01, name="leaky2")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(10, name="scores")(x)
    x = layers.Softmax(name="softmax")(x)
    return randomise(keras.Model(image, x, name=NAME), seed=0)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from collections import OrderedDict

    from torch import nn

    model = nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 16, 3),
            norm1=nn.BatchNorm2d(16),
            leaky1=nn.LeakyReLU(),
            pool=nn.MaxPool2d(2, stride=2),
            conv2=nn.Conv2d(16, 32, 3),
            norm2=nn.BatchNorm2d(32),
            leaky2=nn.LeakyReLU(),
            flatten=nn.Flatten(),
            scores=nn.Linear(32 * 11 * 11, 10),
            softmax=nn.Softmax(dim=1),
        )
    )
    return randomise(model, seed=0).eval()
