"""MobileNetV2: inverted residuals around depthwise convolutions, with ReLU6.

Sandler et al. 2018 (arXiv 1801.04381). Stresses depthwise convolutions (their kernel layout and groups), ReLU clipped
at 6, explicit uneven zero padding before stride 2 as keras.applications writes it, linear bottlenecks and residual
additions. PyTorch's padding=1 pads the other side, so the forms differ at the borders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "mobilenet_v2"
SHAPES = {"image": (3, 32, 32)}
FULLY_CONVOLUTIONAL = True
SIZE_MULTIPLE = 2
SAME_NUMBERS = False

BLOCKS = ((8, 1, 1), (12, 2, 4), (12, 1, 4), (16, 2, 4), (16, 1, 4))  # width, stride, expansion
GAIN = 1.3


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    def norm_relu6(x: Any, name: str) -> Any:
        x = layers.BatchNormalization(momentum=0.999, name=f"{name}_norm")(x)
        return layers.ReLU(max_value=6.0, name=f"{name}_relu6")(x)

    image = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["image"]
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem_conv")(image)
    x = norm_relu6(x, "stem")
    for index, (width, stride, expansion) in enumerate(BLOCKS):
        name, skip = f"block{index}", x
        if expansion > 1:
            x = layers.Conv2D(expansion * x.shape[-1], 1, use_bias=False, name=f"{name}_expand_conv")(x)
            x = norm_relu6(x, f"{name}_expand")
        if stride == 2:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(x)
        padding = "same" if stride == 1 else "valid"
        x = layers.DepthwiseConv2D(3, strides=stride, padding=padding, use_bias=False, name=f"{name}_depthwise_conv")(x)
        x = norm_relu6(x, f"{name}_depthwise")
        x = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_project_conv")(x)
        x = layers.BatchNormalization(momentum=0.999, name=f"{name}_project_norm")(x)
        if stride == 1 and skip.shape[-1] == width:
            x = layers.Add(name=f"{name}_add")([skip, x])
    x = layers.Conv2D(32, 1, use_bias=False, name="last_conv")(x)
    x = norm_relu6(x, "last")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    x = layers.Dense(10, activation="softmax", name="classes")(x)
    return randomise(keras.Model(image, x, name=NAME), seed=0, gain=GAIN)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from torch import nn

    def conv_norm_relu6(inputs: int, outputs: int, window: int, stride: int = 1, groups: int = 1) -> Module:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, window, stride, window // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(inplace=True),
        )

    class InvertedResidual(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int, expansion: int) -> None:
            super().__init__()
            hidden = expansion * inputs
            parts = [conv_norm_relu6(inputs, hidden, 1)] if expansion > 1 else []
            parts += [
                conv_norm_relu6(hidden, hidden, 3, stride, groups=hidden),
                nn.Conv2d(hidden, width, 1, bias=False),
                nn.BatchNorm2d(width),
            ]
            self.conv = nn.Sequential(*parts)
            self.residual = stride == 1 and inputs == width

        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv(x) if self.residual else self.conv(x)

    class MobileNetV2(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inputs, parts = 8, [conv_norm_relu6(3, 8, 3, stride=2)]
            for width, stride, expansion in BLOCKS:
                parts.append(InvertedResidual(inputs, width, stride, expansion))
                inputs = width
            self.features = nn.Sequential(*parts, conv_norm_relu6(inputs, 32, 1))
            self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(32, 10))

        def forward(self, image: Tensor) -> Tensor:
            x = self.features(image).mean([2, 3])
            return self.classifier(x).softmax(dim=-1)

    return randomise(MobileNetV2(), seed=0, gain=GAIN).eval()
