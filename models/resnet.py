"""ResNet: basic blocks with projection shortcuts where the size halves.

He et al. 2015 (arXiv 1512.03385), two blocks per stage. Stresses 'same' with stride 2: a 7x7 convolution padded by 2
and 3, a 3x3 max pool and 3x3 convolutions padded by 0 and 1, a strided 1x1 convolution; batch norm before the
addition. PyTorch pads both sides alike, so the forms differ at the borders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "resnet"
SHAPES = {"image": (3, 32, 32)}
FULLY_CONVOLUTIONAL = True
SIZE_MULTIPLE = 1
SAME_NUMBERS = False

STAGES = ((8, 1), (16, 2), (32, 2))  # width, stride
GAIN = 1.0


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    def conv_norm(x: Any, width: int, window: int, stride: int, name: str) -> Any:
        x = layers.Conv2D(width, window, strides=stride, padding="same", use_bias=False, name=f"{name}_conv")(x)
        return layers.BatchNormalization(name=f"{name}_norm")(x)

    image = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["image"]
    x = layers.ReLU(name="stem_relu")(conv_norm(image, 8, 7, 2, "stem"))
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
    for stage, (width, stage_stride) in enumerate(STAGES):
        for index in range(2):
            name, stride = f"stage{stage}_block{index}", stage_stride if index == 0 else 1
            skip = conv_norm(x, width, 1, stride, f"{name}_shortcut") if stride == 2 else x
            x = layers.ReLU(name=f"{name}_relu1")(conv_norm(x, width, 3, stride, f"{name}_first"))
            x = layers.Add(name=f"{name}_add")([skip, conv_norm(x, width, 3, 1, f"{name}_second")])
            x = layers.ReLU(name=f"{name}_relu2")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(10, name="scores")(x)
    return randomise(keras.Model(image, x, name=NAME), seed=0, gain=GAIN)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from torch import nn

    class BasicBlock(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(outputs)
            self.relu = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(outputs)
            self.downsample: Module | None = None
            if stride != 1 or inputs != outputs:
                self.downsample = nn.Sequential(
                    nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
                )

        def forward(self, x: Tensor) -> Tensor:
            identity = x if self.downsample is None else self.downsample(x)
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.bn2(self.conv2(out))
            out += identity
            return self.relu(out)

    class ResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(8)
            self.relu = nn.ReLU(inplace=True)
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            inputs, blocks = 8, []
            for width, stride in STAGES:
                blocks += [BasicBlock(inputs, width, stride), BasicBlock(width, width, 1)]
                inputs = width
            self.layers = nn.Sequential(*blocks)
            self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
            self.fc = nn.Linear(inputs, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            return self.fc(self.avgpool(self.layers(x)).flatten(1))

    return randomise(ResNet(), seed=0, gain=GAIN).eval()
