"""ResNet-50 in PyTorch, layer for layer as `keras.applications.ResNet50` has it: the same work in both frameworks.

So the stride stands on a block's first 1x1 convolution, convolutions have biases, and the softmax is part of it.
"""

from __future__ import annotations

from torch import Tensor, nn

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # width, blocks, stride
EPSILON = 1.001e-5


def _conv_norm(inputs: int, outputs: int, window: int = 1, stride: int = 1, pad: int = 0) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, window, stride, pad), nn.BatchNorm2d(outputs, eps=EPSILON)]


class Block(nn.Module):
    """Three convolutions beside a shortcut, which is projected where the size or the width changes."""

    def __init__(self, inputs: int, width: int, stride: int, projected: bool):
        super().__init__()
        outputs = 4 * width
        self.shortcut = nn.Sequential(*_conv_norm(inputs, outputs, stride=stride)) if projected else nn.Identity()
        self.body = nn.Sequential(
            *_conv_norm(inputs, width, stride=stride),
            nn.ReLU(),
            *_conv_norm(width, width, 3, pad=1),
            nn.ReLU(),
            *_conv_norm(width, outputs),
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.shortcut(x) + self.body(x))


class ResNet50(nn.Module):
    """Probabilities of 1,000 classes of an image of any size."""

    def __init__(self) -> None:
        super().__init__()
        stem = [*_conv_norm(3, 64, 7, 2, 3), nn.ReLU(), nn.ZeroPad2d(1), nn.MaxPool2d(3, 2)]
        inputs, blocks = 64, []
        for width, count, stride in STAGES:
            for index in range(count):
                blocks.append(Block(inputs, width, stride if index == 0 else 1, projected=index == 0))
                inputs = 4 * width
        self.features = nn.Sequential(*stem, *blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.scores = nn.Linear(inputs, 1000)

    def forward(self, x: Tensor) -> Tensor:
        return self.scores(self.pool(self.features(x)).flatten(1)).softmax(dim=1)
