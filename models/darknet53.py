"""Darknet-53: residual blocks of a 1x1 and a 3x3 convolution, each stage entered by a strided convolution.

Redmon and Farhadi 2018 (arXiv 1804.02767), with fewer blocks. Stresses the slope 0.1 after every convolution, explicit
zero padding at the top and left only (darknet's, which is not 'same'), residual additions and global average pooling.
PyTorch's padding=1 pads all sides, which is the same wherever the size is even.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "darknet53"
SHAPES = {"image": (3, 32, 32)}
FULLY_CONVOLUTIONAL = True
SIZE_MULTIPLE = 1
SAME_NUMBERS = True

STAGES = ((8, 1), (16, 2), (32, 2))  # width, blocks
GAIN = 1.2


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    def block(x: Any, width: int, window: int, name: str, **options: Any) -> Any:
        x = layers.Conv2D(width, window, use_bias=False, name=f"{name}_conv", **options)(x)
        x = layers.BatchNormalization(epsilon=1e-5, name=f"{name}_norm")(x)
        return layers.LeakyReLU(negative_slope=0.1, name=f"{name}_leaky")(x)

    image = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["image"]
    x = block(image, 4, 3, "stem", padding="same")
    for stage, (width, blocks) in enumerate(STAGES):
        x = layers.ZeroPadding2D(((1, 0), (1, 0)), name=f"stages_{stage}_pad")(x)
        x = block(x, width, 3, f"stages_{stage}_down", strides=2)
        for index in range(blocks):
            name, skip = f"stages_{stage}_blocks_{index}", x
            x = block(x, width // 2, 1, f"{name}_narrow")
            x = block(x, width, 3, f"{name}_widen", padding="same")
            x = layers.Add(name=f"{name}_add")([skip, x])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(10, name="scores")(x)
    return randomise(keras.Model(image, x, name=NAME), seed=0, gain=GAIN)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, window: int, stride: int = 1) -> None:
            super().__init__()
            self.conv = nn.Conv2d(inputs, outputs, window, stride, window // 2, bias=False)
            self.norm = nn.BatchNorm2d(outputs)
            self.leaky = nn.LeakyReLU(0.1)

        def forward(self, x: Tensor) -> Tensor:
            return self.leaky(self.norm(self.conv(x)))

    class Residual(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.narrow = Block(width, width // 2, 1)
            self.widen = Block(width // 2, width, 3)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.widen(self.narrow(x))

    class Stage(nn.Module):
        def __init__(self, inputs: int, width: int, blocks: int) -> None:
            super().__init__()
            self.down = Block(inputs, width, 3, stride=2)
            self.blocks = nn.Sequential(*(Residual(width) for _ in range(blocks)))

        def forward(self, x: Tensor) -> Tensor:
            return self.blocks(self.down(x))

    class Darknet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = Block(3, 4, 3)
            inputs = (4, *(width for width, _ in STAGES))
            self.stages = nn.Sequential(*(Stage(inputs[i], *stage) for i, stage in enumerate(STAGES)))
            self.pool = nn.AdaptiveAvgPool2d(1)
            self.scores = nn.Linear(STAGES[-1][0], 10)

        def forward(self, image: Tensor) -> Tensor:
            return self.scores(self.pool(self.stages(self.stem(image))).flatten(1))

    return randomise(Darknet(), seed=0, gain=GAIN).eval()
