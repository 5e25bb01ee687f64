"""Networks of concatenated features: DenseNet with its lists of features, DPN's double path, VoVNet, DLA's trees."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import family
from .layers import ConvNormAct


class DenseLayer(nn.Module):
    """Takes a list of features, concatenates them itself, and gives the new ones."""

    def __init__(self, inputs: int, growth: int, bn_size: int, drop_rate: float):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, bn_size * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(bn_size * growth)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(bn_size * growth, growth, 3, padding=1, bias=False)
        self.drop_rate = float(drop_rate)

    def bn_function(self, inputs: list[Tensor]) -> Tensor:
        return self.conv1(self.relu1(self.norm1(torch.cat(inputs, 1))))

    def forward(self, inputs: Tensor | list[Tensor]) -> Tensor:
        previous = [inputs] if isinstance(inputs, Tensor) else inputs
        features = self.conv2(self.relu2(self.norm2(self.bn_function(previous))))
        return F.dropout(features, p=self.drop_rate, training=self.training) if self.drop_rate > 0 else features


class DenseBlock(nn.ModuleDict):
    def __init__(self, layers: int, inputs: int, growth: int, bn_size: int = 2, drop_rate: float = 0.1):
        super().__init__()
        for i in range(layers):
            self.add_module(f"denselayer{i + 1}", DenseLayer(inputs + i * growth, growth, bn_size, drop_rate))

    def forward(self, first: Tensor) -> Tensor:
        features = [first]
        for _, layer in self.items():
            features.append(layer(features))
        return torch.cat(features, 1)


class Transition(nn.Sequential):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(inputs, outputs, 1, bias=False)
        self.pool = nn.AvgPool2d(kernel_size=2, stride=2)


class DenseNet(nn.Module):
    def __init__(self, growth=4, blocks=(2, 3), initial=8, bn_size=2, classes=10):
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(3, initial, 7, 2, 3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(initial))
        self.features.add_module("relu0", nn.ReLU(inplace=True))
        self.features.add_module("pool0", nn.MaxPool2d(3, 2, 1))
        width = initial
        for i, layers in enumerate(blocks):
            self.features.add_module(f"denseblock{i + 1}", DenseBlock(layers, width, growth, bn_size))
            width += layers * growth
            if i != len(blocks) - 1:
                self.features.add_module(f"transition{i + 1}", Transition(width, width // 2))
                width //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(width))
        self.classifier = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        features = F.relu(self.features(x), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(features, (1, 1)), 1))


def densenet121_full():
    """At its published widths."""
    return DenseNet(growth=32, blocks=(6, 12, 24, 16), initial=64, bn_size=4, classes=1000)


@family(plain=True, backends=True)
def densenet121():
    return DenseNet()


class DualPathBlock(nn.Module):
    """Its first channels are added to what they come from, the others are appended."""

    def __init__(self, inputs: int, width: int, kept: int, added: int, stride: int = 1, project: bool = False):
        super().__init__()
        self.kept = kept
        self.project = ConvNormAct(inputs, kept + 2 * added, 1, stride, act=None) if project else None
        self.body = nn.Sequential(ConvNormAct(inputs, width, 1), ConvNormAct(width, width, 3, stride, groups=4))
        self.last = nn.Conv2d(width, kept + added, 1, bias=False)

    def forward(self, x: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        joined = torch.cat(x, dim=1) if isinstance(x, tuple) else x
        if self.project is None:
            residual, dense = x[0], x[1]
        else:
            shortcut = self.project(joined)
            residual, dense = shortcut[:, : self.kept, :, :], shortcut[:, self.kept :, :, :]
        out = self.last(self.body(joined))
        return residual + out[:, : self.kept], torch.cat([dense, out[:, self.kept :]], dim=1)


class DPN(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = ConvNormAct(3, 8, 3, 2)
        self.blocks = nn.Sequential(DualPathBlock(8, 16, 12, 4, project=True), DualPathBlock(24, 16, 12, 4))
        self.norm = nn.BatchNorm2d(28, eps=0.001)
        self.classifier = nn.Conv2d(28, 10, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.elu(self.norm(torch.cat(self.blocks(self.stem(x)), dim=1)))
        return self.classifier(x.mean((2, 3), keepdim=True)).flatten(1)


@family((3, 20, 20), plain=True)
def dpn():
    return DPN()


class EffectiveSE(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.fc(x.mean((2, 3), keepdim=True)))


class OneShotAggregation(nn.Module):
    """VoVNet: every convolution's result is kept, and all are concatenated once."""

    def __init__(self, inputs: int, middle: int, outputs: int, layers: int, residual: bool):
        super().__init__()
        self.residual = residual
        self.conv_mid = nn.ModuleList(ConvNormAct(middle if i else inputs, middle) for i in range(layers))
        self.conv_concat = ConvNormAct(inputs + layers * middle, outputs, 1)
        self.attn = EffectiveSE(outputs)

    def forward(self, x: Tensor) -> Tensor:
        kept = [x]
        for conv in self.conv_mid:
            kept.append(conv(kept[-1]))
        y = self.attn(self.conv_concat(torch.cat(kept, dim=1)))
        return y + x if self.residual else y


@family((3, 23, 23), plain=True)
def vovnet():
    stages = [OneShotAggregation(8, 6, 16, 2, False), OneShotAggregation(16, 6, 16, 2, True)]
    pool = nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
    return nn.Sequential(ConvNormAct(3, 8, 3, 2), pool, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(16, 10))


class DlaBasic(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1):
        super().__init__()
        self.conv1 = ConvNormAct(inputs, outputs, 3, stride)
        self.conv2 = ConvNormAct(outputs, outputs, act=None)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, shortcut: Tensor | None = None, children: list[Tensor] | None = None) -> Tensor:
        out = self.conv2(self.conv1(x))
        out += x if shortcut is None else shortcut
        return self.relu(out)


class DlaRoot(nn.Module):
    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.conv = ConvNormAct(inputs, outputs, 1, act=None)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, children: list[Tensor]) -> Tensor:
        return self.relu(self.conv(torch.cat(children, 1)) + children[0])


class DlaTree(nn.Module):
    """Two subtrees and a root that joins their results with those from outside."""

    def __init__(self, levels: int, inputs: int, outputs: int, stride: int = 1, root_dim: int = 0, level_root: bool = False):
        super().__init__()
        root_dim = (root_dim or 2 * outputs) + (inputs if level_root else 0)
        self.downsample = nn.MaxPool2d(stride, stride) if stride > 1 else nn.Identity()
        projects = inputs != outputs and levels == 1  # what a deeper tree projects, nobody reads
        self.project = ConvNormAct(inputs, outputs, 1, act=None) if projects else nn.Identity()
        self.levels, self.level_root = levels, level_root
        if levels == 1:
            self.tree1, self.tree2 = DlaBasic(inputs, outputs, stride), DlaBasic(outputs, outputs)
            self.root = DlaRoot(root_dim, outputs)
        else:
            self.tree1 = DlaTree(levels - 1, inputs, outputs, stride)
            self.tree2 = DlaTree(levels - 1, outputs, outputs, root_dim=root_dim + outputs)

    def forward(self, x: Tensor, shortcut: Tensor | None = None, children: list[Tensor] | None = None) -> Tensor:
        children = [] if children is None else children
        bottom = self.downsample(x)
        shortcut = self.project(bottom)
        if self.level_root:
            children.append(bottom)
        x1 = self.tree1(x, shortcut)
        if self.levels == 1:
            return self.root([self.tree2(x1), x1, *children])
        children.append(x1)
        return self.tree2(x1, None, children)


@family(plain=True)
def dla():
    trees = [DlaTree(1, 8, 8, stride=2), DlaTree(2, 8, 12, stride=2, level_root=True)]
    return nn.Sequential(ConvNormAct(3, 8, 7), *trees, nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 10, 1), nn.Flatten(1))
