"""CycleGAN generator: residual blocks between two strided and two transposed convolutions.

Zhu et al. 2017 (arXiv 1703.10593). Stresses reflection padding, instance normalisation (in Keras a
GroupNormalization with groups=-1), residual additions and `keras.ops` nodes between layers. The forms differ at the
borders, as they do in practice: Keras' 'same' puts the odd pad (or crop) at the end, PyTorch's padding=1 at the
beginning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "cyclegan_generator"
SHAPES = {"image": (3, 32, 32)}
FULLY_CONVOLUTIONAL = True
SIZE_MULTIPLE = 4
SAME_NUMBERS = False

WIDTH = 8
BLOCKS = 3


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    def reflect(x: Any, margin: int) -> Any:
        return keras.ops.pad(x, [[0, 0], [margin, margin], [margin, margin], [0, 0]], mode="reflect")

    def norm(x: Any, name: str) -> Any:
        return layers.GroupNormalization(groups=-1, epsilon=1e-5, name=f"{name}_norm")(x)

    image = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["image"]
    x = layers.Conv2D(WIDTH, 7, name="stem_conv")(reflect(image, 3))
    x = layers.ReLU(name="stem_relu")(norm(x, "stem"))
    for name, width in (("down1", 2 * WIDTH), ("down2", 4 * WIDTH)):
        x = layers.Conv2D(width, 3, strides=2, padding="same", name=f"{name}_conv")(x)
        x = layers.ReLU(name=f"{name}_relu")(norm(x, name))
    for index in range(BLOCKS):
        name, skip = f"block{index}", x
        x = layers.Conv2D(4 * WIDTH, 3, name=f"{name}_conv1")(reflect(x, 1))
        x = layers.ReLU(name=f"{name}_relu")(norm(x, f"{name}_1"))
        x = layers.Conv2D(4 * WIDTH, 3, name=f"{name}_conv2")(reflect(x, 1))
        x = layers.Add(name=f"{name}_add")([skip, norm(x, f"{name}_2")])
    for name, width in (("up1", 2 * WIDTH), ("up2", WIDTH)):
        x = layers.Conv2DTranspose(width, 3, strides=2, padding="same", name=f"{name}_conv")(x)
        x = layers.ReLU(name=f"{name}_relu")(norm(x, name))
    x = layers.Conv2D(3, 7, activation="tanh", name="paint")(reflect(x, 3))
    return randomise(keras.Model(image, x, name=NAME), seed=0)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from torch import nn

    def norm(channels: int) -> Module:
        return nn.InstanceNorm2d(channels, affine=True)

    class ResidualBlock(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.ReflectionPad2d(1),
                nn.Conv2d(channels, channels, 3),
                norm(channels),
                nn.ReLU(inplace=True),
                nn.ReflectionPad2d(1),
                nn.Conv2d(channels, channels, 3),
                norm(channels),
            )

        def forward(self, x: Tensor) -> Tensor:
            return x + self.body(x)

    parts = [nn.ReflectionPad2d(3), nn.Conv2d(3, WIDTH, 7), norm(WIDTH), nn.ReLU(inplace=True)]
    for width in (WIDTH, 2 * WIDTH):
        parts += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), norm(2 * width), nn.ReLU(inplace=True)]
    parts += [ResidualBlock(4 * WIDTH) for _ in range(BLOCKS)]
    for width in (4 * WIDTH, 2 * WIDTH):
        parts += [
            nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1),
            norm(width // 2),
            nn.ReLU(inplace=True),
        ]
    parts += [nn.ReflectionPad2d(3), nn.Conv2d(WIDTH, 3, 7), nn.Tanh()]
    return randomise(nn.Sequential(*parts), seed=0).eval()
