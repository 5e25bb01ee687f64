"""SRGAN generator: residual blocks, then pixel shuffle up to four times the size.

Ledig et al. 2016 (arXiv 1609.04802). Stresses PReLU with one slope per channel shared over space, a long skip around
all blocks, and the pixel shuffle, whose channels Keras (`depth_to_space`, from Keras 3.14 on) takes in another order
than PyTorch: block position outermost against innermost. The forms are therefore the same network only after the
kernels before each shuffle are permuted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "srgan_generator"
SHAPES = {"image": (3, 12, 12)}
FULLY_CONVOLUTIONAL = True
SIZE_MULTIPLE = 1
SAME_NUMBERS = False

WIDTH = 8
BLOCKS = 3
GAIN = 1.0


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    def norm(x: Any, name: str) -> Any:
        return layers.BatchNormalization(momentum=0.8, name=name)(x)

    def prelu(x: Any, name: str) -> Any:
        return layers.PReLU(shared_axes=[1, 2], name=name)(x)

    image = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["image"]
    x = stem = prelu(layers.Conv2D(WIDTH, 9, padding="same", name="stem_conv")(image), "stem_prelu")
    for index in range(BLOCKS):
        name, skip = f"block{index}", x
        x = layers.Conv2D(WIDTH, 3, padding="same", use_bias=False, name=f"{name}_conv1")(x)
        x = prelu(norm(x, f"{name}_norm1"), f"{name}_prelu")
        x = layers.Conv2D(WIDTH, 3, padding="same", use_bias=False, name=f"{name}_conv2")(x)
        x = layers.Add(name=f"{name}_add")([skip, norm(x, f"{name}_norm2")])
    x = layers.Conv2D(WIDTH, 3, padding="same", use_bias=False, name="trunk_conv")(x)
    x = layers.Add(name="trunk_add")([stem, norm(x, "trunk_norm")])
    for name in ("up1", "up2"):
        x = layers.Conv2D(4 * WIDTH, 3, padding="same", name=f"{name}_conv")(x)
        x = prelu(keras.ops.depth_to_space(x, 2), f"{name}_prelu")
    x = layers.Conv2D(3, 9, padding="same", activation="tanh", name="paint")(x)
    return randomise(keras.Model(image, x, name=NAME), seed=0, gain=GAIN)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from torch import nn

    class ResidualBlock(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(WIDTH)
            self.prelu = nn.PReLU(WIDTH)
            self.conv2 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False)
            self.bn2 = nn.BatchNorm2d(WIDTH)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))

    def up() -> list[Module]:
        return [nn.Conv2d(WIDTH, 4 * WIDTH, 3, padding="same"), nn.PixelShuffle(2), nn.PReLU(WIDTH)]

    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, WIDTH, 9, padding=4), nn.PReLU(WIDTH))
            self.blocks = nn.Sequential(*(ResidualBlock() for _ in range(BLOCKS)))
            self.trunk = nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH))
            self.upscale = nn.Sequential(*up(), *up())
            self.paint = nn.Conv2d(WIDTH, 3, 9, padding=4)

        def forward(self, image: Tensor) -> Tensor:
            stem = self.stem(image)
            x = stem + self.trunk(self.blocks(stem))
            return self.paint(self.upscale(x)).tanh()

    return randomise(Generator(), seed=0, gain=GAIN).eval()
