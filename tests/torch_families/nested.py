"""U-Net++: every level of a U-Net meets all nodes of its own level and the one below, and several depths give results."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from . import family


class Twice(nn.Module):
    """Two convolutions, each normed and activated."""

    def __init__(self, inputs: int, middle: int, outputs: int):
        super().__init__()
        self.act = nn.LeakyReLU(0.05, inplace=True)
        self.conv1, self.bn1 = nn.Conv2d(inputs, middle, 3, padding=1), nn.BatchNorm2d(middle)
        self.conv2, self.bn2 = nn.Conv2d(middle, outputs, 3, padding=1), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn2(self.conv2(self.act(self.bn1(self.conv1(x))))))


class NestedUNet(nn.Module):
    """Node (i, j) stands at level i and takes the j nodes left of it and one from below, doubled."""

    def __init__(self, widths: tuple[int, ...] = (4, 6, 8, 10), classes: int = 3, deep: bool = True, smooth: bool = True):
        super().__init__()
        self.depth, self.deep = len(widths), deep
        self.pool = nn.MaxPool2d(2, 2)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear" if smooth else "nearest", align_corners=True if smooth else None)
        for level, width in enumerate(widths):
            self.add_module(f"conv{level}_0", Twice(widths[level - 1] if level else 3, width, width))
        for step in range(1, self.depth):
            for level in range(self.depth - step):
                inputs = widths[level] * step + widths[level + 1]
                self.add_module(f"conv{level}_{step}", Twice(inputs, widths[level], widths[level]))
        self.final = nn.ModuleList(nn.Conv2d(widths[0], classes, 1) for _ in range(self.depth - 1 if deep else 1))

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        nodes: list[list[Tensor]] = []
        for level in range(self.depth):
            nodes.append([getattr(self, f"conv{level}_0")(x if level == 0 else self.pool(nodes[level - 1][0]))])
            for step in range(1, level + 1):  # what became known by the new level
                above = level - step
                joined = torch.cat([*nodes[above], self.up(nodes[above + 1][step - 1])], 1)
                nodes[above].append(getattr(self, f"conv{above}_{step}")(joined))
        if self.deep:
            return [final(node) for final, node in zip(self.final, nodes[0][1:], strict=True)]
        return self.final[0](nodes[0][-1])


@family((3, 24, 16), plain=True, backends=True)
def unet_plus_plus():
    return NestedUNet()


@family((3, 16, 24), plain=True)
def unet_plus_plus_without_deep_supervision():
    return NestedUNet((4, 6, 8), deep=False, smooth=False)
