"""pix2pix generator: a U-Net whose skip connections are concatenated.

Isola et al. 2016 (arXiv 1611.07004). Stresses concatenation along the channels, leaky ReLU 0.2 on the way down and
ReLU on the way up, dropout, and PyTorch's in-place aliasing: `LeakyReLU(inplace=True)` also changes the tensor that
was kept as the skip, so the skip carries the activated values (in the Keras form as well; the ReLU that follows makes
both the same). The original keeps batch norm and dropout in training mode when it paints; this is the deterministic
evaluation form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "pix2pix_generator"
SHAPES = {"image": (3, 32, 32)}
FULLY_CONVOLUTIONAL = True
SIZE_MULTIPLE = 16
SAME_NUMBERS = True

WIDTHS = (8, 16, 32, 32)


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    image = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["image"]
    x = layers.Conv2D(WIDTHS[0], 4, strides=2, padding="same", use_bias=False, name="down_0_conv")(image)
    skips = []
    for depth, width in enumerate(WIDTHS[1:], start=1):
        x = layers.LeakyReLU(negative_slope=0.2, name=f"down_{depth}_leaky")(x)
        skips.append(x)
        x = layers.Conv2D(width, 4, strides=2, padding="same", use_bias=False, name=f"down_{depth}_conv")(x)
        if depth < len(WIDTHS) - 1:
            x = layers.BatchNormalization(epsilon=1e-5, name=f"down_{depth}_norm")(x)
    for depth, width in reversed(list(enumerate(WIDTHS[:-1]))):
        x = layers.ReLU(name=f"up_{depth}_relu")(x)
        x = layers.Conv2DTranspose(width, 4, strides=2, padding="same", use_bias=False, name=f"up_{depth}_conv")(x)
        x = layers.BatchNormalization(epsilon=1e-5, name=f"up_{depth}_norm")(x)
        x = layers.Dropout(0.5, name=f"up_{depth}_dropout")(x)
        x = layers.Concatenate(name=f"up_{depth}_join")([skips[depth], x])
    x = layers.ReLU(name="paint_relu")(x)
    x = layers.Conv2DTranspose(3, 4, strides=2, padding="same", name="paint_conv")(x)
    x = layers.Activation("tanh", name="paint_tanh")(x)
    return randomise(keras.Model(image, x, name=NAME), seed=0)


def torch_model() -> Module:
    """Return the PyTorch form."""
    from collections import OrderedDict

    import torch
    from torch import nn

    def down(depth: int) -> Module:
        parts: OrderedDict[str, Module] = OrderedDict()
        if depth > 0:
            parts["leaky"] = nn.LeakyReLU(0.2, inplace=True)
        inputs = WIDTHS[depth - 1] if depth > 0 else 3
        parts["conv"] = nn.Conv2d(inputs, WIDTHS[depth], 4, stride=2, padding=1, bias=False)
        if 0 < depth < len(WIDTHS) - 1:
            parts["norm"] = nn.BatchNorm2d(WIDTHS[depth])
        return nn.Sequential(parts)

    def up(depth: int) -> Module:
        inputs = WIDTHS[depth + 1] * (1 if depth == len(WIDTHS) - 2 else 2)
        return nn.Sequential(
            OrderedDict(
                relu=nn.ReLU(inplace=True),
                conv=nn.ConvTranspose2d(inputs, WIDTHS[depth], 4, stride=2, padding=1, bias=False),
                norm=nn.BatchNorm2d(WIDTHS[depth]),
                dropout=nn.Dropout(0.5),
            )
        )

    class Generator(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList(down(depth) for depth in range(len(WIDTHS)))
            self.up = nn.ModuleList(up(depth) for depth in range(len(WIDTHS) - 1))
            self.paint = nn.Sequential(
                OrderedDict(
                    relu=nn.ReLU(inplace=True),
                    conv=nn.ConvTranspose2d(2 * WIDTHS[0], 3, 4, stride=2, padding=1),
                    tanh=nn.Tanh(),
                )
            )

        def forward(self, x: Tensor) -> Tensor:
            skips: list[Tensor] = []
            for down in self.down:
                x = down(x)  # changes the last skip in place
                skips.append(x)
            skips.pop()
            for up in reversed(self.up):
                x = torch.cat([skips.pop(), up(x)], dim=1)
            return self.paint(x)

    return randomise(Generator(), seed=0).eval()
