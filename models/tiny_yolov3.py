"""Tiny YOLOv3: a convolutional detector with outputs at two scales.

Redmon and Farhadi 2018 (arXiv 1804.02767), `yolov3-tiny.cfg` at an eighth of the width. Stresses darknet's slope 0.1,
a max pool of stride 1 with 'same' (one pad, at the end, that never wins: PyTorch repeats the edge), up-sampling joined
with an earlier layer, and two outputs. The outputs are raw scores, three boxes of (x, y, w, h, object, 2 classes) each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.inputs import keras_inputs
from models.seeding import randomise

if TYPE_CHECKING:
    from keras import Model
    from torch import Tensor
    from torch.nn import Module

NAME = "tiny_yolov3"
SHAPES = {"image": (3, 64, 64)}
FULLY_CONVOLUTIONAL = True
SIZE_MULTIPLE = 32
SAME_NUMBERS = True

BACKBONE = (4, 8, 16, 16, 32)
BOXES = 3 * (5 + 2)


def keras_model(*, dynamic: bool = False) -> Model:
    """Return the Keras form."""
    import keras
    from keras import layers

    def block(x: Any, width: int, window: int, name: str) -> Any:
        x = layers.Conv2D(width, window, padding="same", use_bias=False, name=f"{name}_conv")(x)
        x = layers.BatchNormalization(name=f"{name}_norm")(x)
        return layers.LeakyReLU(negative_slope=0.1, name=f"{name}_leaky")(x)

    image = keras_inputs(SHAPES, dynamic=dynamic and FULLY_CONVOLUTIONAL)["image"]
    x = image
    for index, width in enumerate(BACKBONE):
        fine = block(x, width, 3, f"backbone_{index}")
        x = layers.MaxPooling2D(2, name=f"pool_{index}")(fine)
    x = block(x, 64, 3, "deep")
    x = layers.MaxPooling2D(2, strides=1, padding="same", name="pool_stride_one")(x)
    x = block(x, 64, 3, "wide")
    x = neck = block(x, 32, 1, "neck")
    coarse = layers.Conv2D(BOXES, 1, name="coarse")(block(x, 64, 3, "coarse_block"))
    x = layers.UpSampling2D(2, name="up")(block(neck, 16, 1, "lateral"))
    x = layers.Concatenate(name="join")([x, fine])
    fine = layers.Conv2D(BOXES, 1, name="fine")(block(x, 32, 3, "fine_block"))
    return randomise(keras.Model(image, [coarse, fine], name=NAME), seed=0)


def torch_model() -> Module:
    """Return the PyTorch form."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, window: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(inputs, outputs, window, padding=window // 2, bias=False)
            self.norm = nn.BatchNorm2d(outputs, eps=1e-3)

        def forward(self, x: Tensor) -> Tensor:
            return F.leaky_relu(self.norm(self.conv(x)), 0.1)

    class TinyYolo(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inputs = (3, *BACKBONE)
            self.backbone = nn.ModuleList(Block(inputs[i], width, 3) for i, width in enumerate(BACKBONE))
            self.deep = Block(32, 64, 3)
            self.wide = Block(64, 64, 3)
            self.neck = Block(64, 32, 1)
            self.coarse_block = Block(32, 64, 3)
            self.coarse = nn.Conv2d(64, BOXES, 1)
            self.lateral = Block(32, 16, 1)
            self.fine_block = Block(16 + 32, 32, 3)
            self.fine = nn.Conv2d(32, BOXES, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            for block in self.backbone:
                skip = block(x)
                x = F.max_pool2d(skip, 2)
            x = F.pad(self.deep(x), (0, 1, 0, 1), mode="replicate")
            neck = self.neck(self.wide(F.max_pool2d(x, 2, stride=1)))
            coarse = self.coarse(self.coarse_block(neck))
            up = F.interpolate(self.lateral(neck), scale_factor=2)
            fine = self.fine(self.fine_block(torch.cat([up, skip], dim=1)))
            return coarse, fine

    return randomise(TinyYolo(), seed=0).eval()
