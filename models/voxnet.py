"""VoxNet: three-dimensional convolutions over a grid of voxels.

Maturana and Scherer 2015 (VoxNet, IROS), which has leaky ReLU of 0.1. Stresses three-dimensional kernels, strides and
pools, Flatten of a volume before a dense layer, and leaky ReLU spelled `keras.layers.ReLU(negative_slope=...)` and,
in place, `F.leaky_relu_`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "voxnet"
SHAPES = {"voxels": (1, 16, 18, 20)}
FULLY_CONVOLUTIONAL = False
SIZE_MULTIPLE = 1
SAME_NUMBERS = True


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    voxels = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["voxels"]
    x = layers.Conv3D(8, 5, strides=2, name="conv1")(voxels)
    x = layers.ReLU(negative_slope=0.1, name="leaky1")(x)
    x = layers.Conv3D(16, 3, padding="same", name="conv2")(x)
    x = layers.BatchNormalization(name="norm2")(x)
    x = layers.ReLU(negative_slope=0.1, name="leaky2")(x)
    x = layers.MaxPooling3D(2, name="pool")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(32, activation="relu", name="hidden")(x)
    x = layers.Dropout(0.4, name="dropout")(x)
    x = layers.Dense(10, name="scores")(x)
    return randomise(keras.Model(voxels, x, name=NAME), seed=0)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from torch import nn
    from torch.nn import functional as F

    class VoxNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv3d(1, 8, 5, stride=2)
            self.conv2 = nn.Conv3d(8, 16, 3, padding="same")
            self.norm2 = nn.BatchNorm3d(16, eps=1e-3)
            self.hidden = nn.Linear(16 * 3 * 3 * 4, 32)
            self.dropout = nn.Dropout(0.4)
            self.scores = nn.Linear(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = F.leaky_relu_(self.conv1(x), 0.1)
            x = F.leaky_relu_(self.norm2(self.conv2(x)), 0.1)
            x = F.max_pool3d(x, 2).flatten(start_dim=1)
            return self.scores(self.dropout(F.relu(self.hidden(x))))

    return randomise(VoxNet(), seed=0).eval()
