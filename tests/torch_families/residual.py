"""Residual networks: basic and bottleneck blocks, groups, wide ones, dilation, pre-activation, deep stems, Res2Net, RegNet."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from . import family
from .layers import BlurPool2d, ConvNormAct, SqueezeExcite, make_divisible


def conv3x3(inputs, outputs, stride=1, groups=1, dilation=1):
    return nn.Conv2d(inputs, outputs, 3, stride, dilation, dilation, groups, bias=False)


def conv1x1(inputs, outputs, stride=1):
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inplanes, planes, stride=1, downsample=None, groups=1, base_width=64, dilation=1, norm_layer=nn.BatchNorm2d):
        super().__init__()
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = norm_layer(planes)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inplanes, planes, stride=1, downsample=None, groups=1, base_width=64, dilation=1, norm_layer=nn.BatchNorm2d):
        super().__init__()
        width = int(planes * (base_width / 64.0)) * groups
        self.conv1 = conv1x1(inplanes, width)
        self.bn1 = norm_layer(width)
        self.conv2 = conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm_layer(width)
        self.conv3 = conv1x1(width, planes * self.expansion)
        self.bn3 = norm_layer(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, block, layers, widths=(8, 12, 16), groups=1, width_per_group=64, dilate=(False, False), norm_layer=nn.BatchNorm2d, classes=10):
        super().__init__()
        self._norm_layer, self.groups, self.base_width = norm_layer, groups, width_per_group
        self.inplanes, self.dilation = widths[0], 1
        self.conv1 = nn.Conv2d(3, self.inplanes, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = norm_layer(self.inplanes)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, widths[0], layers[0])
        self.layer2 = self._make_layer(block, widths[1], layers[1], stride=2, dilate=dilate[0])
        self.layer3 = self._make_layer(block, widths[2], layers[2], stride=2, dilate=dilate[1])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(widths[2] * block.expansion, classes)

    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
        downsample, previous = None, self.dilation
        if dilate:
            self.dilation *= stride
            stride = 1
        if stride != 1 or self.inplanes != planes * block.expansion:
            downsample = nn.Sequential(
                conv1x1(self.inplanes, planes * block.expansion, stride), self._norm_layer(planes * block.expansion)
            )
        options = {"groups": self.groups, "base_width": self.base_width, "norm_layer": self._norm_layer}
        layers = [block(self.inplanes, planes, stride, downsample, dilation=previous, **options)]
        self.inplanes = planes * block.expansion
        layers += [block(self.inplanes, planes, dilation=self.dilation, **options) for _ in range(1, blocks)]
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(self.avgpool(x), 1))


@family((3, 33, 33), plain=True, backends=True)
def resnet18():
    return ResNet(BasicBlock, (1, 2, 1))


@family(plain=True)
def resnext50():
    return ResNet(Bottleneck, (1, 1, 1), groups=2, width_per_group=32)


@family(plain=True)
def wide_resnet50_dilated():
    return ResNet(Bottleneck, (1, 1, 1), width_per_group=128, dilate=(False, True))


class PreActBottleneck(nn.Module):
    """Norm and activation before each convolution; the shortcut leaves after the first."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        middle = make_divisible(outputs * 0.25, 4)
        self.downsample = conv1x1(inputs, outputs, stride) if stride != 1 or inputs != outputs else None
        self.norm1 = nn.GroupNorm(2, inputs)
        self.conv1 = conv1x1(inputs, middle)
        self.norm2 = nn.GroupNorm(2, middle)
        self.conv2 = conv3x3(middle, middle, stride)
        self.norm3 = nn.GroupNorm(2, middle)
        self.conv3 = conv1x1(middle, outputs)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        preact = self.act(self.norm1(x))
        shortcut = x if self.downsample is None else self.downsample(preact)
        x = self.conv1(preact)
        x = self.conv2(self.act(self.norm2(x)))
        x = self.conv3(self.act(self.norm3(x)))
        return x + shortcut


@family(plain=True)
def resnetv2_group_norm():
    stages = [PreActBottleneck(8, 16, 1), PreActBottleneck(16, 24, 2), PreActBottleneck(24, 24, 1)]
    stem = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.ConstantPad2d(1, 0.0), nn.MaxPool2d(3, 2))
    return nn.Sequential(stem, *stages, nn.GroupNorm(2, 24), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(24, 10, 1), nn.Flatten(1))


class BottleneckD(nn.Module):
    """A block of ResNet-D: the shortcut is pooled by a mean before it is projected; blurred strides, squeeze and excite."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = ConvNormAct(inputs, outputs // 4, 1)
        self.conv2 = ConvNormAct(outputs // 4, outputs // 4, 3)
        self.aa = BlurPool2d(outputs // 4, stride=stride) if stride == 2 else nn.Identity()
        self.conv3 = ConvNormAct(outputs // 4, outputs, 1, act=None)
        self.se = SqueezeExcite(outputs)
        pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False) if stride == 2 else nn.Identity()
        self.downsample = nn.Sequential(pool, conv1x1(inputs, outputs), nn.BatchNorm2d(outputs))
        self.act3 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        out = self.se(self.conv3(self.aa(self.conv2(self.conv1(x)))))
        out += self.downsample(x)
        return self.act3(out)


@family((3, 35, 35), plain=True)
def seresnet_d_blurred():
    """The mean pool rounds up at odd sizes and leaves padding out of its means."""
    stem = [ConvNormAct(3, 8, 3, 2), ConvNormAct(8, 8), ConvNormAct(8, 12), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, BottleneckD(12, 16, 1), BottleneckD(16, 24, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))


class Bottle2neck(nn.Module):
    """Res2Net: pieces of the channels are convolved one after the other, each with what the last gave."""

    def __init__(self, inputs, outputs, stride=1, scale=4, base=26, is_first=False):
        super().__init__()
        width = int(math.floor(outputs // 4 * (base / 64.0)) * 2)
        self.scale, self.width, self.is_first = scale, width, is_first
        self.conv1 = ConvNormAct(inputs, width * scale, 1)
        self.convs = nn.ModuleList([nn.Conv2d(width, width, 3, stride, 1, bias=False) for _ in range(scale - 1)])
        self.bns = nn.ModuleList([nn.BatchNorm2d(width) for _ in range(scale - 1)])
        self.pool = nn.AvgPool2d(3, stride, 1) if is_first else None
        self.relu = nn.ReLU(inplace=True)
        self.conv3 = ConvNormAct(width * scale, outputs, 1, act=None)
        self.shortcut = ConvNormAct(inputs, outputs, 1, stride, act=None)

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.split(self.conv1(x), self.width, 1)
        outs: list[Tensor] = []
        sp = parts[0]
        for i, (conv, bn) in enumerate(zip(self.convs, self.bns, strict=True)):
            sp = parts[i] if i == 0 or self.is_first else sp + parts[i]
            sp = self.relu(bn(conv(sp)))
            outs.append(sp)
        outs.append(parts[-1] if self.pool is None else self.pool(parts[-1]))
        out = self.conv3(torch.cat(outs, 1))
        return self.relu(out.add_(self.shortcut(x)))


@family((3, 24, 24), plain=True)
def res2net50():
    blocks = [Bottle2neck(8, 16, 2, is_first=True), Bottle2neck(16, 16)]
    return nn.Sequential(ConvNormAct(3, 8, 3, 2), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(1), nn.Linear(16, 10))


def regnet_widths(depth: int, initial: int, slope: float, multiplier: float, step: int = 4) -> list[int]:
    """Block widths on a line, rounded to powers of a multiplier and then to whole steps."""
    line = torch.arange(depth) * slope + initial
    exponents = torch.round(torch.log(line / initial) / math.log(multiplier))
    return (torch.round(initial * multiplier**exponents / step) * step).int().tolist()


class RegNetBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, group_width, se_ratio):
        super().__init__()
        self.proj = ConvNormAct(inputs, outputs, 1, stride, act=None) if inputs != outputs or stride != 1 else None
        layers = [ConvNormAct(inputs, outputs, 1), ConvNormAct(outputs, outputs, 3, stride, outputs // group_width)]
        if se_ratio:
            layers.append(SqueezeExcite(outputs, se_ratio * inputs / outputs, divisor=4))
        self.f = nn.Sequential(*layers, ConvNormAct(outputs, outputs, 1, act=None))
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = (x if self.proj is None else self.proj(x)) + self.f(x)
        return self.activation(x)


@family(plain=True)
def regnet_y():
    widths = regnet_widths(depth=3, initial=8, slope=5.0, multiplier=1.6)
    inputs, blocks = 8, []
    for width in widths:
        blocks.append(RegNetBlock(inputs, width, 2 if width != inputs else 1, 4, 0.25))
        inputs = width
    return nn.Sequential(ConvNormAct(3, 8, 3, 2), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))
