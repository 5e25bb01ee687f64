"""Small networks for phones: MobileNet v1 to v3, MNASNet, ShuffleNet v2, GhostNet, MixNet, ReXNet."""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from . import family
from .layers import ConvNormAct, GlobalPoolHead, SqueezeExcite, make_divisible


@family(plain=True)
def mobilenet_v1():
    layers = [ConvNormAct(3, 8, 3, 2)]
    for inputs, outputs, stride in ((8, 12, 1), (12, 16, 2), (16, 24, 1)):
        layers += [ConvNormAct(inputs, inputs, 3, stride, groups=inputs), ConvNormAct(inputs, outputs, 1)]
    return nn.Sequential(*layers, GlobalPoolHead(24))


class InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int, expand: int):
        super().__init__()
        hidden = round(inputs * expand)
        self.use_res_connect = stride == 1 and inputs == outputs
        layers = [ConvNormAct(inputs, hidden, 1, act=nn.ReLU6)] if expand != 1 else []
        layers += [
            ConvNormAct(hidden, hidden, 3, stride, groups=hidden, act=nn.ReLU6),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    def __init__(self, width: float = 0.25):
        super().__init__()
        inputs = make_divisible(32 * width)
        features = [ConvNormAct(3, inputs, stride=2, act=nn.ReLU6)]
        for expand, channels, count, stride in ((1, 32, 1, 1), (3, 48, 2, 2), (3, 64, 1, 2)):
            outputs = make_divisible(channels * width)
            for i in range(count):
                features.append(InvertedResidual(inputs, outputs, stride if i == 0 else 1, expand))
                inputs = outputs
        features.append(ConvNormAct(inputs, 32, 1, act=nn.ReLU6))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(32, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


@family(plain=True)
def mobilenet_v2():
    return MobileNetV2()


class InvertedResidualV3(nn.Module):
    def __init__(self, inputs, kernel, expanded, outputs, use_se, activation, stride, dilation=1):
        super().__init__()
        self.use_res_connect = stride == 1 and inputs == outputs
        act = nn.Hardswish if activation == "HS" else nn.ReLU
        norm = functools.partial(ConvNormAct, eps=0.001)
        layers = [norm(inputs, expanded, 1, act=act)] if expanded != inputs else []
        layers.append(norm(expanded, expanded, kernel, stride, expanded, act=act, dilation=dilation))
        if use_se:
            layers.append(SqueezeExcite(expanded, gate=nn.Hardsigmoid))
        layers.append(norm(expanded, outputs, 1, act=None))
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        result = self.block(x)
        if self.use_res_connect:
            result += x
        return result


class MobileNetV3(nn.Module):
    """`settings`: kernel, expanded width, width, squeeze and excite, activation, stride of each block."""

    def __init__(self, settings, first=8, last=48, classes=10):
        super().__init__()
        layers = [ConvNormAct(3, first, 3, 2, act=nn.Hardswish, eps=0.001)]
        inputs = first
        for kernel, expanded, outputs, *rest in settings:
            layers.append(InvertedResidualV3(inputs, kernel, expanded, outputs, *rest))
            inputs = outputs
        layers.append(ConvNormAct(inputs, 6 * inputs, 1, act=nn.Hardswish, eps=0.001))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(
            nn.Linear(6 * inputs, last), nn.Hardswish(inplace=True), nn.Dropout(0.2, inplace=True), nn.Linear(last, classes)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


LARGE = (
    (3, 16, 16, False, "RE", 1), (3, 64, 24, False, "RE", 2), (3, 72, 24, False, "RE", 1), (5, 72, 40, True, "RE", 2),
    (5, 120, 40, True, "RE", 1), (5, 120, 40, True, "RE", 1), (3, 240, 80, False, "HS", 2), (3, 200, 80, False, "HS", 1),
    (3, 184, 80, False, "HS", 1), (3, 184, 80, False, "HS", 1), (3, 480, 112, True, "HS", 1), (3, 672, 112, True, "HS", 1),
    (5, 672, 160, True, "HS", 2), (5, 960, 160, True, "HS", 1), (5, 960, 160, True, "HS", 1),
)  # fmt: skip


def mobilenet_v3_large_full():
    """At its published widths."""
    return MobileNetV3(LARGE, first=16, last=1280, classes=1000)


@family(plain=True, backends=True)
def mobilenet_v3():
    return MobileNetV3(((3, 8, 8, True, "RE", 2), (5, 24, 12, True, "HS", 1), (5, 36, 12, False, "HS", 1)))


class MnasBlock(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride, expansion, momentum=1 - 0.9997):
        super().__init__()
        middle = inputs * expansion
        self.apply_residual = inputs == outputs and stride == 1
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, middle, 1, bias=False),
            nn.BatchNorm2d(middle, momentum=momentum),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, middle, kernel, padding=kernel // 2, stride=stride, groups=middle, bias=False),
            nn.BatchNorm2d(middle, momentum=momentum),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs, momentum=momentum),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + x if self.apply_residual else self.layers(x)


class MNASNet(nn.Module):
    def __init__(self):
        super().__init__()
        stem = [nn.Conv2d(3, 8, 3, padding=1, stride=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)]
        stack = nn.Sequential(MnasBlock(8, 12, 5, 2, 3), MnasBlock(12, 12, 5, 1, 3))
        self.layers = nn.Sequential(*stem, stack, nn.Conv2d(12, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU(inplace=True))
        self.classifier = nn.Sequential(nn.Dropout(p=0.2, inplace=True), nn.Linear(24, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.layers(x).mean([2, 3]))


@family(plain=True)
def mnasnet():
    return MNASNet()


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    batch, channels, height, width = x.size()
    x = x.view(batch, groups, channels // groups, height, width)
    x = torch.transpose(x, 1, 2).contiguous()
    return x.view(batch, channels, height, width)


class ShuffleUnit(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.stride = stride
        features = outputs // 2
        if stride > 1:
            self.branch1 = nn.Sequential(
                self.depthwise_conv(inputs, inputs, 3, stride, 1), nn.BatchNorm2d(inputs),
                nn.Conv2d(inputs, features, 1, bias=False), nn.BatchNorm2d(features), nn.ReLU(inplace=True),
            )  # fmt: skip
        else:
            self.branch1 = nn.Sequential()
        self.branch2 = nn.Sequential(
            nn.Conv2d(inputs if stride > 1 else features, features, 1, bias=False), nn.BatchNorm2d(features), nn.ReLU(inplace=True),
            self.depthwise_conv(features, features, 3, stride, 1), nn.BatchNorm2d(features),
            nn.Conv2d(features, features, 1, bias=False), nn.BatchNorm2d(features), nn.ReLU(inplace=True),
        )  # fmt: skip

    @staticmethod
    def depthwise_conv(inputs, outputs, kernel, stride=1, padding=0):
        return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False, groups=inputs)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            x1, x2 = x.chunk(2, dim=1)
            out = torch.cat((x1, self.branch2(x2)), dim=1)
        else:
            out = torch.cat((self.branch1(x), self.branch2(x)), dim=1)
        return channel_shuffle(out, 2)


@family(plain=True, backends=True)
def shufflenet_v2():
    units = [ShuffleUnit(8, 16, 2), ShuffleUnit(16, 16, 1), ShuffleUnit(16, 24, 2)]
    return nn.Sequential(ConvNormAct(3, 8, 3, 2), nn.MaxPool2d(3, 2, 1), *units, ConvNormAct(24, 32, 1), GlobalPoolHead(32))


class GhostModule(nn.Module):
    """Half the features are made from the other half, cheaply; the few that are too many are cut off."""

    def __init__(self, inputs, outputs, relu=True, ratio=2):
        super().__init__()
        self.outputs = outputs
        first = math.ceil(outputs / ratio)
        act = nn.ReLU if relu else None
        self.primary_conv = ConvNormAct(inputs, first, 1, act=act)
        self.cheap_operation = ConvNormAct(first, first * (ratio - 1), 3, groups=first, act=act)

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.primary_conv(x)
        return torch.cat([x1, self.cheap_operation(x1)], dim=1)[:, : self.outputs, :, :]


class DecoupledAttention(nn.Module):
    """GhostNet v2: a gate from a picture of half the size, along rows and columns, brought back to size."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.short_conv = nn.Sequential(
            ConvNormAct(inputs, outputs, 1, act=None),
            nn.Conv2d(outputs, outputs, (1, 5), padding=(0, 2), groups=outputs, bias=False), nn.BatchNorm2d(outputs),
            nn.Conv2d(outputs, outputs, (5, 1), padding=(2, 0), groups=outputs, bias=False), nn.BatchNorm2d(outputs),
        )  # fmt: skip

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        gate = torch.sigmoid(self.short_conv(F.avg_pool2d(x, kernel_size=2, stride=2)))
        return F.interpolate(gate, size=size, mode="nearest")


class GhostBottleneck(nn.Module):
    def __init__(self, inputs, hidden, outputs, stride, long_range):
        super().__init__()
        self.ghost1 = GhostModule(inputs, hidden)
        self.attention = DecoupledAttention(inputs, hidden) if long_range else None
        self.conv_dw = ConvNormAct(hidden, hidden, 3, stride, hidden, act=None) if stride > 1 else None
        self.se = SqueezeExcite(hidden, 0.25, gate=nn.Hardsigmoid, divisor=4)
        self.ghost2 = GhostModule(hidden, outputs, relu=False)
        self.shortcut = nn.Sequential() if inputs == outputs and stride == 1 else ConvNormAct(inputs, outputs, 1, stride, act=None)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.ghost1(x)
        if self.attention is not None:
            x = x * self.attention(shortcut, x.shape[-2:])
        if self.conv_dw is not None:
            x = self.conv_dw(x)
        x = self.ghost2(self.se(x))
        x += self.shortcut(shortcut)
        return x


@family(plain=True)
def ghostnet_v2():
    blocks = [GhostBottleneck(8, 15, 12, 2, False), GhostBottleneck(12, 24, 12, 1, True)]
    return nn.Sequential(ConvNormAct(3, 8, 3, 2), *blocks, GlobalPoolHead(12))


class MixedConv2d(nn.ModuleDict):
    """Depthwise kernels of several sizes, each over its part of the channels."""

    def __init__(self, channels: int, kernels: tuple[int, ...], stride: int):
        super().__init__()
        splits = [channels // len(kernels)] * len(kernels)
        splits[0] += channels - sum(splits)
        self.splits = splits
        for i, (kernel, width) in enumerate(zip(kernels, splits, strict=True)):
            self.add_module(str(i), nn.Conv2d(width, width, kernel, stride, kernel // 2, groups=width, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.split(x, self.splits, 1)
        return torch.cat([conv(parts[i]) for i, conv in enumerate(self.values())], 1)


@family((3, 19, 19), plain=True)
def mixnet():
    mixed = nn.Sequential(ConvNormAct(8, 20, 1), MixedConv2d(20, (3, 5, 7), 2), nn.BatchNorm2d(20), nn.SiLU(True))
    return nn.Sequential(ConvNormAct(3, 8), mixed, SqueezeExcite(20, 0.5, act=nn.SiLU), nn.Conv2d(20, 16, 1), GlobalPoolHead(16))


class RexBlock(nn.Module):
    """ReXNet: only the first channels are residual."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.inputs = inputs
        self.conv = nn.Sequential(ConvNormAct(inputs, 24, 1, act=nn.SiLU), ConvNormAct(24, 24, 3, groups=24, act=None), nn.ReLU6())
        self.conv_pwl = ConvNormAct(24, outputs, 1, act=None)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.conv_pwl(self.conv(x))
        return torch.cat([x[:, 0 : self.inputs] + shortcut, x[:, self.inputs :]], dim=1)


@family((3, 16, 16), plain=True)
def rexnet():
    return nn.Sequential(ConvNormAct(3, 8, 3, 2, act=nn.SiLU), RexBlock(8, 11), RexBlock(11, 16), GlobalPoolHead(16))
