"""ESRGAN generator: residual-in-residual dense blocks, then nearest up-sampling to four times the size.

Wang et al. 2018 (arXiv 1809.00219). Stresses concatenation of up to five tensors, residual scaling (`x * 0.2 + skip`
written with operators), leaky ReLU as a `keras.ops` node and as one PyTorch module called many times in place,
and nearest up-sampling as a layer and as `F.interpolate`. No normalisation anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "esrgan_generator"
SHAPES = {"image": (3, 12, 12)}
FULLY_CONVOLUTIONAL = True
SIZE_MULTIPLE = 1
SAME_NUMBERS = True

WIDTH = 8
GROWTH = 4
BLOCKS = 2
GAIN = 1.1


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    def conv(x: Any, width: int, name: str) -> Any:
        return layers.Conv2D(width, 3, padding="same", name=name)(x)

    def leaky(x: Any) -> Any:
        return keras.ops.leaky_relu(x, negative_slope=0.2)

    def dense_block(x: Any, name: str) -> Any:
        features = [x]
        for index in range(1, 5):
            joined = layers.Concatenate(name=f"{name}_join{index}")(features) if index > 1 else x
            features.append(leaky(conv(joined, GROWTH, f"{name}_conv{index}")))
        return conv(layers.Concatenate(name=f"{name}_join5")(features), WIDTH, f"{name}_conv5") * 0.2 + x

    image = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["image"]
    x = stem = conv(image, WIDTH, "stem")
    for index in range(BLOCKS):
        skip = x
        for part in range(3):
            x = dense_block(x, f"blocks_{index}_dense_{part}")
        x = x * 0.2 + skip
    x = conv(x, WIDTH, "trunk") + stem
    for name in ("up1", "up2"):
        x = leaky(conv(layers.UpSampling2D(2, name=f"{name}_nearest")(x), WIDTH, name))
    x = conv(leaky(conv(x, WIDTH, "detail")), 3, "paint")
    return randomise(keras.Model(image, x, name=NAME), seed=0, gain=GAIN)


def torch_model() -> Module:
    """Return the PyTorch form."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class DenseBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(WIDTH, GROWTH, 3, 1, 1)
            self.conv2 = nn.Conv2d(WIDTH + GROWTH, GROWTH, 3, 1, 1)
            self.conv3 = nn.Conv2d(WIDTH + 2 * GROWTH, GROWTH, 3, 1, 1)
            self.conv4 = nn.Conv2d(WIDTH + 3 * GROWTH, GROWTH, 3, 1, 1)
            self.conv5 = nn.Conv2d(WIDTH + 4 * GROWTH, WIDTH, 3, 1, 1)
            self.lrelu = nn.LeakyReLU(0.2, inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            x1 = self.lrelu(self.conv1(x))
            x2 = self.lrelu(self.conv2(torch.cat((x, x1), 1)))
            x3 = self.lrelu(self.conv3(torch.cat((x, x1, x2), 1)))
            x4 = self.lrelu(self.conv4(torch.cat((x, x1, x2, x3), 1)))
            return self.conv5(torch.cat((x, x1, x2, x3, x4), 1)) * 0.2 + x

    class ResidualInResidual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = nn.Sequential(*(DenseBlock() for _ in range(3)))

        def forward(self, x: Tensor) -> Tensor:
            return self.dense(x) * 0.2 + x

    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, WIDTH, 3, 1, 1)
            self.blocks = nn.Sequential(*(ResidualInResidual() for _ in range(BLOCKS)))
            self.trunk = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)
            self.up1 = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)
            self.up2 = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)
            self.detail = nn.Conv2d(WIDTH, WIDTH, 3, 1, 1)
            self.paint = nn.Conv2d(WIDTH, 3, 3, 1, 1)
            self.lrelu = nn.LeakyReLU(0.2, inplace=True)

        def forward(self, image: Tensor) -> Tensor:
            stem = self.stem(image)
            x = stem + self.trunk(self.blocks(stem))
            x = self.lrelu(self.up1(F.interpolate(x, scale_factor=2, mode="nearest")))
            x = self.lrelu(self.up2(F.interpolate(x, scale_factor=2, mode="nearest")))
            return self.paint(self.lrelu(self.detail(x)))

    return randomise(Generator(), seed=0, gain=GAIN).eval()
